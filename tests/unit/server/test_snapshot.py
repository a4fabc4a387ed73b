"""Keyspace to snapshot and back: encodings, deadlines, uses; and the effect of RESTORE."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from distcache_replication import rdb
from distcache_server import digest, snapshot, stream_form
from distcache_server.client import Client
from distcache_server.config import Config
from distcache_server.engine import Engine
from distcache_server.types.names import encoding_of

from tests.support.direct import Direct
from tests.support.samples import SAMPLES, STREAM, commands

NOW_MS = 1_700_000_000_000


def filled(*arguments: str) -> Direct:
    direct = Direct(*arguments, now_ms=NOW_MS)
    for words in commands():
        direct(*(repr(word) if isinstance(word, float) else word for word in words))
    return direct


def written(direct: Direct) -> bytes:
    pieces = snapshot.pieces(direct.engine.databases, rdb.Style(), {b"a": b"b"})
    return b"".join(rdb.sealed(pieces))


def loaded(data: bytes, *arguments: str, now_ms: int = NOW_MS, keep: bool = False) -> Direct:
    direct = Direct(*arguments, now_ms=now_ms)
    loader = snapshot.Loader(direct.engine.databases, now_ms, keep_expired=keep, size=len(data))
    for at in range(0, len(data), 1000):
        loader.feed(data[at : at + 1000])
    loader.finish()
    return direct


def test_values_and_encodings_come_back() -> None:
    one = filled()
    two = loaded(written(one))
    for sample in SAMPLES:
        before, after = one.keyspace.values[sample.key], two.keyspace.values[sample.key]
        assert encoding_of(after) == encoding_of(before)
        if sample.encoding:
            assert encoding_of(before) == sample.encoding
        assert digest.of_value(after, False) == digest.of_value(before, False)
    assert digest.of_databases(two.engine.databases) == digest.of_databases(one.engine.databases)
    assert two.keyspace.changes == 0


def test_values_can_be_changed_after_it() -> None:
    two = loaded(written(filled()))
    assert two("HSET", "hash", "new", "value") == b":1\r\n"
    assert two("SADD", "set:many", "new", "member:1") == b":1\r\n"
    assert two("ZADD", "zset:many", "0.5", "new") == b":1\r\n"
    assert two("LPUSH", "list:long", "new") == b":3001\r\n"
    assert two("APPEND", "string:1.5", "0") == b":4\r\n"


def test_settings_of_the_new_server_count() -> None:
    settings = ("--hash-max-listpack-entries", "1", "--set-max-intset-entries", "1")
    two = loaded(written(filled()), *settings)
    assert encoding_of(two.keyspace.values[b"hash"]) == b"hashtable"
    assert encoding_of(two.keyspace.values[b"set:16"]) == b"hashtable"


def test_deadlines() -> None:
    one = Direct(now_ms=NOW_MS)
    one("SET", "stays", "value")
    one("SET", "later", "value", "PXAT", NOW_MS + 1000)
    one("HSET", "hash", "field", "value", "other", "value")
    one("HPEXPIREAT", "hash", NOW_MS + 500, "FIELDS", 1, "field")
    data = written(one)
    two = loaded(data)
    assert two("PEXPIRETIME", "later") == b":%d\r\n" % (NOW_MS + 1000)
    assert two("HPEXPIRETIME", "hash", "FIELDS", 1, "field").endswith(b":%d\r\n" % (NOW_MS + 500))
    two.now_ms += 1000
    assert two("EXISTS", "later", "stays") == b":1\r\n"
    assert two("HLEN", "hash") == b":1\r\n"
    late = loaded(data, now_ms=NOW_MS + 1000)
    assert b"later" not in late.keyspace.values
    assert late.keyspace.expired == 0
    replica = loaded(data, now_ms=NOW_MS + 1000, keep=True)
    assert b"later" in replica.keyspace.values


@pytest.mark.parametrize(
    ("policy", "asked"), [("allkeys-lru", "IDLETIME"), ("volatile-lfu", "FREQ")]
)
def test_the_use_of_keys(policy: str, asked: str) -> None:
    settings = ("--maxmemory", "1gb", "--maxmemory-policy", policy)
    one = Direct(*settings, now_ms=NOW_MS)
    one("SET", "key", "value")
    one("RESTORE", "used", "0", rdb.dump(rdb.of_string(b"v", rdb.Style()), 11), asked, "99")
    data = written(one)
    assert loaded(data, *settings)("OBJECT", asked, "used") == b":99\r\n"
    # Where nobody wants to know, it does no harm.
    assert loaded(data)("GET", "used") == b"$1\r\nv\r\n"
    other = "allkeys-lru" if asked == "FREQ" else "allkeys-lfu"
    assert loaded(data, *settings[:3], other)("GET", "used") == b"$1\r\nv\r\n"


def test_memory_is_counted() -> None:
    settings = ("--maxmemory", "1gb")
    one, two = filled(*settings), loaded(written(filled()), *settings)
    used = [direct.engine.evictor.budget.used for direct in (one, two)]
    assert abs(used[0] - used[1]) < used[0] / 10


def test_several_databases() -> None:
    one = Direct(now_ms=NOW_MS)
    one("SELECT", 3)
    one("SET", "key", "value")
    two = loaded(written(one))
    assert two("DBSIZE") == b":0\r\n"
    assert two("SELECT", 3) == b"+OK\r\n"
    assert two("GET", "key") == b"$5\r\nvalue\r\n"
    with pytest.raises(rdb.BadRdb, match="database 3"):
        loaded(written(one), "--databases", "3")


def test_keys_that_come_twice() -> None:
    data = b"".join(rdb.sealed([b"REDIS0011", *[rdb.plain_entry(b"k", b"v", False)] * 2]))
    with pytest.raises(rdb.BadRdb, match="comes twice"):
        loaded(data)
    engine = Engine(Config())
    loader = snapshot.Loader(engine.databases, NOW_MS, merge=True)
    loader.feed(data)
    loader.finish()
    assert engine.databases[0].values[b"k"] == b"v"


def test_streams_with_their_groups() -> None:
    one = Direct(now_ms=NOW_MS)
    for words in STREAM:
        one(*map(str, words))
    two = loaded(written(one))
    assert digest.of_databases(two.engine.databases) == digest.of_databases(one.engine.databases)
    for key, value in one.keyspace.values.items():
        other = two.keyspace.values[key]
        assert list(stream_form.commands_for(key, other)) == list(
            stream_form.commands_for(key, value)
        )
        for line in (("XINFO", "STREAM", key, "FULL"), ("XRANGE", key, "-", "+")):
            assert two(*line) == one(*line)


# The effect of RESTORE

PAYLOAD = rdb.dump(rdb.of_string(b"value", rdb.Style()), 11)
LATER = b"%d" % (NOW_MS + 1000)


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        ((b"0",), None),
        ((b"0", b"ABSTTL"), None),
        ((b"0", b"REPLACE", b"IDLETIME", b"5"), None),
        ((b"1000",), [b"RESTORE", b"key", LATER, PAYLOAD, b"ABSTTL"]),
        ((b"1000", b"REPLACE"), [b"RESTORE", b"key", LATER, PAYLOAD, b"REPLACE", b"ABSTTL"]),
        ((LATER, b"ABSTTL"), None),
        ((b"1", b"ABSTTL", b"REPLACE"), [b"DEL", b"key"]),
    ],
)
def test_what_the_log_gets(words: tuple[bytes, ...], effect: list[bytes] | None) -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SET", "key" if b"REPLACE" in words else "other", "old")
    log: list[object] = []

    def write(client: Client, given: object) -> None:
        log.append(client.effect or given)

    direct.engine.log = write
    time, *options = words
    sent = [b"RESTORE", b"key", time, PAYLOAD, *options]
    assert direct(*sent) == b"+OK\r\n"
    assert log == [sent if effect is None else effect]


@pytest.mark.parametrize(
    "words",
    [
        (b"1", b"ABSTTL"),
        (b"-1",),
        (b"0", b"NONSENSE"),
    ],
)
def test_what_changes_nothing_is_not_logged(words: tuple[bytes, ...]) -> None:
    direct = Direct(now_ms=NOW_MS)
    log: list[object] = []
    write: Callable[[Client, object], None] = lambda _, given: log.append(given)  # noqa: E731
    direct.engine.log = write
    time, *options = words
    direct("RESTORE", "key", time, PAYLOAD, *options)
    assert log == []
