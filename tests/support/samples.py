"""Values of every type and encoding, and the commands that make them anywhere.

``python -m tests.support.samples host:port`` makes them in a server, with the other things that a
snapshot can hold; that is where tests/data/redis-*.rdb come from: redis-server 6.2.14 or 7.0.15,
then SAVE.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from distcache_replication import rdb

Words: TypeAlias = list[bytes | str | float]

LATER_MS = 4_102_444_800_000
"""A deadline in the year 2100."""


class Sample(NamedTuple):
    key: bytes
    kind: int
    value: Any
    encoding: bytes
    """What OBJECT ENCODING says, in the versions that have it."""


def numbered(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix}{number}".encode() for number in range(count)]


def hash_of(fields: Iterable[bytes], value: bytes = b"value") -> dict[bytes, bytes]:
    return {field: value + field for field in fields}


INTEGERS = [b"0", b"127", b"128", b"-1", b"4095", b"-4096", b"4096", b"32767", b"-32768"]
LARGE_INTEGERS = [
    b"8388607",
    b"-8388608",
    b"2147483647",
    b"-2147483649",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"007",
]
TEXTS = [b"", b"x" * 63, b"y" * 64, b"\0\xff\r\n", b"z" * 200]

SAMPLES = [
    Sample(b"string", rdb.STRING, b"hello", b"embstr"),
    Sample(b"string:empty", rdb.STRING, b"", b"embstr"),
    Sample(b"string:raw", rdb.STRING, bytes(range(256)), b"raw"),
    Sample(b"string:long", rdb.STRING, b"abcdefgh" * 5000, b"raw"),
    *(
        Sample(b"string:" + number, rdb.STRING, number, b"")
        for number in (*INTEGERS, *LARGE_INTEGERS, b"-0", b"1.5", b"+1")
    ),
    Sample(b"list", rdb.LIST, [b"a", b"b", b"a"], b""),
    Sample(b"list:mixed", rdb.LIST, [*INTEGERS, *LARGE_INTEGERS, *TEXTS], b""),
    Sample(b"list:long", rdb.LIST, numbered("entry:", 3000), b"quicklist"),
    Sample(b"list:large", rdb.LIST, [b"a", b"w" * 9000, b"b", b"v" * 20000], b"quicklist"),
    Sample(b"set:16", rdb.SET, [b"-32768", b"0", b"32767"], b"intset"),
    Sample(b"set:32", rdb.SET, [b"-2147483648", b"7", b"2147483647"], b"intset"),
    Sample(b"set:64", rdb.SET, [b"-9223372036854775808", b"1"], b"intset"),
    Sample(b"set:mixed", rdb.SET, [*INTEGERS, *TEXTS[1:]], b""),
    Sample(b"set:many", rdb.SET, numbered("member:", 300), b"hashtable"),
    Sample(b"hash", rdb.HASH, hash_of([b"a", b"b", b"1", b"-70000"]), b"listpack"),
    Sample(b"hash:numbers", rdb.HASH, {b"n": b"12", b"m": b"-1"}, b"listpack"),
    Sample(b"hash:many", rdb.HASH, hash_of(numbered("field:", 600)), b"hashtable"),
    Sample(b"hash:large", rdb.HASH, {b"field": b"t" * 70}, b"hashtable"),
    Sample(
        b"zset",
        rdb.ZSET,
        [
            (b"least", float("-inf")),
            (b"a", -2.0),
            (b"b", 0.0),
            (b"c", 2.5),
            (b"most", float("inf")),
        ],
        b"listpack",
    ),
    Sample(
        b"zset:many",
        rdb.ZSET,
        [(member, float(rank)) for rank, member in enumerate(numbered("member:", 300))],
        b"skiplist",
    ),
    Sample(b"zset:large", rdb.ZSET, [(b"u" * 70, 0.5)], b"skiplist"),
]


def commands() -> Iterator[Words]:
    """What makes the samples."""
    for key, kind, value, _ in SAMPLES:
        if kind == rdb.STRING:
            yield ["SET", key, value]
        elif kind == rdb.LIST:
            yield ["RPUSH", key, *value]
        elif kind == rdb.SET:
            yield ["SADD", key, *value]
        elif kind == rdb.HASH:
            yield ["HSET", key, *chain.from_iterable(value.items())]
        else:
            yield ["ZADD", key, *chain.from_iterable((repr(s), member) for member, s in value)]


def same(kind: int, one: Any, other: Any) -> bool:
    """Whether plain values are equal; the members of a set have no order."""
    if kind in (rdb.SET, rdb.ZSET):
        return bool(sorted(one) == sorted(other))
    return bool(one == other)


ADDED: list[Words] = [["XADD", "stream", f"{ms}-1", "a", ms, "b", "same"] for ms in range(1, 251)]
STREAM: list[Words] = [
    *ADDED,
    ["XADD", "stream", "300-5", "other", "fields", "in", "this"],
    ["XADD", "stream", "9000000000000-0", "a", "1", "b", "2"],
    ["XDEL", "stream", "1-1", "7-1"],
    ["XGROUP", "CREATE", "stream", "group", "0"],
    ["XGROUP", "CREATE", "stream", "idle group", "$"],
    ["XREADGROUP", "GROUP", "group", "one", "COUNT", "3", "STREAMS", "stream", ">"],
    ["XREADGROUP", "GROUP", "group", "two", "COUNT", "2", "STREAMS", "stream", ">"],
    ["XACK", "stream", "group", "3-1"],
    ["XADD", "stream:empty", "5-5", "a", "1"],
    ["XDEL", "stream:empty", "5-5"],
]
LIBRARY = "#!lua name=library\nredis.register_function('one', function() return 1 end)"
OTHERS: list[Words] = [
    ["SET", "expires", "value", "PXAT", LATER_MS],
    ["FUNCTION", "LOAD", LIBRARY],
    ["SELECT", 9],
    ["SET", "string", "in database 9"],
    ["SELECT", 0],
]


def main() -> None:
    from tests.support.wire import Wire

    host, _, port = sys.argv[1].rpartition(":")
    with Wire((host, int(port))) as wire:
        for words in chain(commands(), STREAM, OTHERS):
            print(words[:2], wire.call(*words))


if __name__ == "__main__":
    main()
