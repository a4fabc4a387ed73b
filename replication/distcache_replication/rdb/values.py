"""Reading values: from each form in which Redis has ever written one to plain Python values.

A reader takes the data and a position, as those of primitives.py do.  It builds nothing from a
number alone: what it holds has been there in the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isnan, nan
from struct import unpack
from typing import NamedTuple, TypeAlias

from distcache_replication.rdb import intset, listpack, ziplist
from distcache_replication.rdb.errors import BadRdb, Short, Unsupported
from distcache_replication.rdb.primitives import (
    read_length,
    read_string,
    read_strings,
    read_uint64,
)
from distcache_replication.rdb.stream import Stream, read_stream

STRING, LIST, SET, ZSET, HASH, STREAM = range(6)
"""What a value is, however it was written."""

TYPE_STRING = 0
TYPE_LIST = 1
TYPE_SET = 2
TYPE_ZSET = 3
TYPE_HASH = 4
TYPE_ZSET_2 = 5
TYPE_MODULE = 6
TYPE_MODULE_2 = 7
TYPE_HASH_ZIPMAP = 9
TYPE_LIST_ZIPLIST = 10
TYPE_SET_INTSET = 11
TYPE_ZSET_ZIPLIST = 12
TYPE_HASH_ZIPLIST = 13
TYPE_LIST_QUICKLIST = 14
TYPE_STREAM_LISTPACKS = 15
TYPE_HASH_LISTPACK = 16
TYPE_ZSET_LISTPACK = 17
TYPE_LIST_QUICKLIST_2 = 18
TYPE_STREAM_LISTPACKS_2 = 19
TYPE_SET_LISTPACK = 20
TYPE_STREAM_LISTPACKS_3 = 21
TYPE_HASH_METADATA_PRE_GA = 22
TYPE_HASH_LISTPACK_EX_PRE_GA = 23
TYPE_HASH_METADATA = 24
TYPE_HASH_LISTPACK_EX = 25

PLAIN, PACKED = 1, 2
"""The containers of a quicklist's nodes."""

Item: TypeAlias = tuple[bytes, float]


class Expiring(NamedTuple):
    """A hash some of whose fields have deadlines, in Unix milliseconds."""

    fields: dict[bytes, bytes]
    deadlines: dict[bytes, int]


Value: TypeAlias = bytes | list[bytes] | list[Item] | dict[bytes, bytes] | Expiring | Stream
"""A string, list or set; sorted set; hash; hash with deadlines; stream."""
Reader: TypeAlias = Callable[[bytes, int], tuple[Value, int]]


def read_value(data: bytes, pos: int, kind: int) -> tuple[int, Value, int]:
    """What a value of this type is (STRING, LIST, ...), the value, the position after it.

    A collection may be empty: some old versions of Redis have written such.
    """
    found = READERS.get(kind)
    if found is None:
        if kind in (TYPE_MODULE, TYPE_MODULE_2):
            raise Unsupported("The value belongs to a module of Redis", pos)
        raise BadRdb(f"Unknown type of value {kind}", pos)
    what, read = found
    value, pos = read(data, pos)
    return what, value, pos


# Lists


def _read_strings(data: bytes, pos: int) -> tuple[list[bytes], int]:
    count, pos = read_length(data, pos)
    if pos + count > len(data):
        raise Short(pos + count)
    return read_strings(data, pos, count)


def _packed(
    decode: Callable[[bytes], list[bytes]],
) -> Callable[[bytes, int], tuple[list[bytes], int]]:
    """A reader of entries that are packed in one string."""

    def read(data: bytes, pos: int) -> tuple[list[bytes], int]:
        packed, pos = read_string(data, pos)
        return decode(packed), pos

    return read


def _read_quicklist(data: bytes, pos: int) -> tuple[list[bytes], int]:
    nodes, pos = read_length(data, pos)
    entries: list[bytes] = []
    for _ in range(nodes):
        packed, pos = read_string(data, pos)
        entries += ziplist.decode(packed)
    return entries, pos


def _read_quicklist_2(data: bytes, pos: int) -> tuple[list[bytes], int]:
    nodes, pos = read_length(data, pos)
    entries: list[bytes] = []
    for _ in range(nodes):
        container, pos = read_length(data, pos)
        node, pos = read_string(data, pos)
        if container == PLAIN:
            entries.append(node)
        elif container == PACKED:
            entries += listpack.decode(node)
        else:
            raise BadRdb("Unknown kind of node in a list", pos)
    return entries, pos


# Sets


def _different(members: list[bytes]) -> list[bytes]:
    if len(set(members)) < len(members):
        raise BadRdb("A member comes twice")
    return members


def _read_set(data: bytes, pos: int) -> tuple[list[bytes], int]:
    members, pos = _read_strings(data, pos)
    return _different(members), pos


def _read_set_listpack(data: bytes, pos: int) -> tuple[list[bytes], int]:
    packed, pos = read_string(data, pos)
    return _different(listpack.decode(packed)), pos


def _read_intset(data: bytes, pos: int) -> tuple[list[bytes], int]:
    packed, pos = read_string(data, pos)
    return list(map(b"%d".__mod__, intset.decode(packed))), pos


# Sorted sets


def _scored(members: list[bytes], scores: Sequence[float]) -> list[Item]:
    items = list(zip(_different(members), scores, strict=True))
    if any(map(isnan, scores)):
        raise BadRdb("A score is not a number")
    return items


def _count_of_items(data: bytes, pos: int) -> tuple[int, int]:
    count, pos = read_length(data, pos)
    if pos + 2 * count > len(data):
        raise Short(pos + 2 * count)
    return count, pos


def _read_zset_2(data: bytes, pos: int) -> tuple[list[Item], int]:
    count, pos = _count_of_items(data, pos)
    members: list[bytes] = []
    scores: list[bytes] = []
    for _ in range(count):
        first = data[pos]
        if first < 0x40:
            begin = pos + 1
            pos = begin + first
            members.append(data[begin:pos])
        else:
            member, pos = read_string(data, pos)
            members.append(member)
        begin, pos = pos, pos + 8
        scores.append(data[begin:pos])
    if pos > len(data):
        raise Short(pos)
    return _scored(members, unpack(f"<{count}d", b"".join(scores))), pos


def _read_old_zset(data: bytes, pos: int) -> tuple[list[Item], int]:
    count, pos = _count_of_items(data, pos)
    members, scores = [], []
    for _ in range(count):
        member, pos = read_string(data, pos)
        score, pos = _read_text_score(data, pos)
        members.append(member)
        scores.append(score)
    return _scored(members, scores), pos


WORDS = {253: nan, 254: inf, 255: -inf}
"""Scores that are no decimal text, in the place of its length."""


def _read_text_score(data: bytes, pos: int) -> tuple[float, int]:
    size = data[pos]
    if size in WORDS:
        return WORDS[size], pos + 1
    end = pos + 1 + size
    if end > len(data):
        raise Short(end)
    return _scores([data[pos + 1 : end]])[0], end


def _scores(texts: list[bytes]) -> list[float]:
    try:
        if b"_" in b"".join(texts):
            raise ValueError
        return list(map(float, texts))
    except ValueError:
        raise BadRdb("A score is not a number") from None


def _read_zset_packed(decode: Callable[[bytes], list[bytes]]) -> Reader:
    def read(data: bytes, pos: int) -> tuple[list[Item], int]:
        packed, pos = read_string(data, pos)
        entries = decode(packed)
        if len(entries) % 2:
            raise BadRdb("A member has no score")
        return _scored(entries[::2], _scores(entries[1::2])), pos

    return read


# Hashes


def _fields(fields: list[bytes], values: list[bytes]) -> dict[bytes, bytes]:
    if len(fields) != len(values):
        raise BadRdb("A field has no value")
    found = dict(zip(fields, values, strict=True))
    if len(found) < len(fields):
        raise BadRdb("A field comes twice")
    return found


def _read_hash(data: bytes, pos: int) -> tuple[dict[bytes, bytes], int]:
    count, pos = read_length(data, pos)
    if pos + 2 * count > len(data):
        raise Short(pos + 2 * count)
    words, pos = read_strings(data, pos, 2 * count)
    return _fields(words[::2], words[1::2]), pos


def _read_hash_packed(decode: Callable[[bytes], list[bytes]]) -> Reader:
    def read(data: bytes, pos: int) -> tuple[dict[bytes, bytes], int]:
        packed, pos = read_string(data, pos)
        entries = decode(packed)
        return _fields(entries[::2], entries[1::2]), pos

    return read


def _read_hash_metadata(relative: bool) -> Reader:
    """Fields with deadlines, as Redis 7.4 has them.

    Each field has its deadline before it: 0 for none, else one more than the milliseconds since the
    earliest deadline, which stands first.  Before the release that was the Unix time itself.
    """

    def read(data: bytes, pos: int) -> tuple[dict[bytes, bytes] | Expiring, int]:
        earliest = 1
        if relative:
            earliest, pos = read_uint64(data, pos)
        count, pos = read_length(data, pos)
        if pos + 3 * count > len(data):
            raise Short(pos + 3 * count)
        found = Expiring({}, {})
        for _ in range(count):
            after, pos = read_length(data, pos)
            field, pos = read_string(data, pos)
            found.fields[field], pos = read_string(data, pos)
            if after:
                found.deadlines[field] = _deadline(earliest + after - 1)
        if len(found.fields) < count:
            raise BadRdb("A field comes twice")
        return (found if found.deadlines else found.fields), pos

    return read


def _read_hash_listpack_ex(has_earliest: bool) -> Reader:
    """The same in a listpack: field, value, deadline or 0."""

    def read(data: bytes, pos: int) -> tuple[dict[bytes, bytes] | Expiring, int]:
        if has_earliest:
            _, pos = read_uint64(data, pos)
        packed, pos = read_string(data, pos)
        entries = listpack.decode(packed)
        if len(entries) % 3:
            raise BadRdb("A field has no value or deadline")
        fields = entries[::3]
        found = Expiring(_fields(fields, entries[1::3]), {})
        for field, text in zip(fields, entries[2::3], strict=True):
            if text != b"0":
                if not text.isdigit():
                    raise BadRdb("A deadline is not a number")
                found.deadlines[field] = _deadline(int(text))
        return (found if found.deadlines else found.fields), pos

    return read


def _deadline(time_ms: int) -> int:
    if time_ms >= 1 << 48:
        raise BadRdb("A deadline is later than it can be")
    return time_ms


def _read_stream(version: int) -> Reader:
    return lambda data, pos: read_stream(data, pos, version)


READERS: dict[int, tuple[int, Reader]] = {
    TYPE_STRING: (STRING, read_string),
    TYPE_LIST: (LIST, _read_strings),
    TYPE_SET: (SET, _read_set),
    TYPE_ZSET: (ZSET, _read_old_zset),
    TYPE_HASH: (HASH, _read_hash),
    TYPE_ZSET_2: (ZSET, _read_zset_2),
    TYPE_HASH_ZIPMAP: (HASH, _read_hash_packed(ziplist.decode_zipmap)),
    TYPE_LIST_ZIPLIST: (LIST, _packed(ziplist.decode)),
    TYPE_SET_INTSET: (SET, _read_intset),
    TYPE_ZSET_ZIPLIST: (ZSET, _read_zset_packed(ziplist.decode)),
    TYPE_HASH_ZIPLIST: (HASH, _read_hash_packed(ziplist.decode)),
    TYPE_LIST_QUICKLIST: (LIST, _read_quicklist),
    TYPE_STREAM_LISTPACKS: (STREAM, _read_stream(1)),
    TYPE_HASH_LISTPACK: (HASH, _read_hash_packed(listpack.decode)),
    TYPE_ZSET_LISTPACK: (ZSET, _read_zset_packed(listpack.decode)),
    TYPE_LIST_QUICKLIST_2: (LIST, _read_quicklist_2),
    TYPE_STREAM_LISTPACKS_2: (STREAM, _read_stream(2)),
    TYPE_SET_LISTPACK: (SET, _read_set_listpack),
    TYPE_STREAM_LISTPACKS_3: (STREAM, _read_stream(3)),
    TYPE_HASH_METADATA_PRE_GA: (HASH, _read_hash_metadata(relative=False)),
    TYPE_HASH_LISTPACK_EX_PRE_GA: (HASH, _read_hash_listpack_ex(has_earliest=False)),
    TYPE_HASH_METADATA: (HASH, _read_hash_metadata(relative=True)),
    TYPE_HASH_LISTPACK_EX: (HASH, _read_hash_listpack_ex(has_earliest=True)),
}
