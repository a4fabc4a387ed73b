"""Reading values: from each form in which Redis has ever written one to plain Python values.

A reader takes the data and a position, as those of primitives.py do.  It builds nothing from a
number alone: what it holds has been there in the data.  Where the value takes more than ``allowed``
it raises Large.  Then the value is checked as a whole before it is read again with any ``room``, so
that one that is refused takes no more than four times its bytes and 1 MB.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import inf, isnan, nan
from typing import NamedTuple, TypeAlias

from distcache_replication.rdb import checking, intset, listpack, ziplist
from distcache_replication.rdb.checking import (
    PACKED,
    PLAIN,
    Check,
    Rows,
    dated,
    different,
    each,
    nodes,
    packed,
    strings,
)
from distcache_replication.rdb.errors import BadRdb, Large, Short, Unsupported
from distcache_replication.rdb.primitives import (
    PIECE,
    ROOM,
    allowed,
    read_length,
    read_string,
    read_strings,
    read_uint64,
)
from distcache_replication.rdb.stream import Stream, read_stream
from distcache_replication.rdb.stream_check import check_stream
from distcache_replication.rdb.window import FEW, LONG, Container, short, unpack

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

Item: TypeAlias = tuple[bytes, float]


class Expiring(NamedTuple):
    """A hash some of whose fields have deadlines, in Unix milliseconds."""

    fields: dict[bytes, bytes]
    deadlines: dict[bytes, int]


Value: TypeAlias = bytes | list[bytes] | list[Item] | dict[bytes, bytes] | Expiring | Stream
"""A string, list or set; sorted set; hash; hash with deadlines; stream."""
Reader: TypeAlias = Callable[[bytes, int, float], tuple[Value, int]]

ELEMENT, MEMBER, NUMBER, SCORED, WORD, DATED = 48, 124, 112, 216, 96, 372
"""What each of these takes besides its bytes: an element of a list, a member of a set, of an
intset, of a sorted set, a word of a hash, a field with a deadline and its value."""
LONGEST_DEADLINE = 20

MORE = "There is more in the payload than a value"


def read_value(data: bytes, pos: int, kind: int, end: int | None = None) -> tuple[int, Value, int]:
    """What a value of this type is (STRING, LIST, ...), the value, the position after it.

    That must be ``end``, where this is given.  A collection may be empty: some old versions of
    Redis have written such.
    """
    found = READERS.get(kind)
    if found is None:
        if kind in (TYPE_MODULE, TYPE_MODULE_2):
            raise Unsupported("The value belongs to a module of Redis", pos)
        raise BadRdb(f"Unknown type of value {kind}", pos)
    what, read = found
    try:
        value, after = read(data, pos, ROOM)
    except Large:
        pass
    else:
        if end is None or end == after:
            return what, value, after
        raise BadRdb(MORE, after)
    # Not in the handler, while which what was built until then is held.
    after = CHECKS[kind](data, pos)
    if end is not None and end != after:
        raise BadRdb(MORE, after)
    value, after = read(data, pos, inf)
    return what, value, after


# Strings and lists


def _read_string(data: bytes, pos: int, room: float) -> tuple[bytes, int]:
    return read_string(data, pos, room)


def _read_strings(
    data: bytes, pos: int, room: float, each: int = ELEMENT
) -> tuple[list[bytes], int]:
    count, pos = read_length(data, pos)
    if pos + count > len(data):
        raise Short(pos + count)
    return read_strings(data, pos, count, room, each)


def _packed(container: Container, each: int) -> Callable[..., tuple[list[bytes], int]]:
    """A reader of a container's entries, which take so much ``each``."""
    _, decode = container

    def read(data: bytes, pos: int, room: float) -> tuple[list[bytes], int]:
        packed, after = read_string(data, pos, room)
        if len(packed) <= FEW:
            return decode(packed), after
        return unpack(container, packed, allowed(after - pos, room), each), after

    return read


def _read_quicklist(container: Container, kinds: bool) -> Reader:
    """Elements in nodes, each a container or, if there are ``kinds`` before them, an element."""
    _, decode = container

    def read(data: bytes, pos: int, room: float) -> tuple[list[bytes], int]:
        begin = pos
        nodes, pos = read_length(data, pos)
        entries: list[bytes] = []
        taken = 0
        left = room
        for _ in range(nodes):
            kind = PACKED
            if kinds:
                kind, pos = read_length(data, pos)
            if kind == PACKED:
                node, after = read_string(data, pos, left)
                if len(node) <= FEW:
                    found = decode(node)
                else:
                    found = unpack(container, node, allowed(after - pos, left), ELEMENT)
                pos = after
            elif kind == PLAIN:
                element, pos = read_string(data, pos, left)
                found = [element]
            else:
                raise BadRdb("Unknown kind of node in a list", pos)
            entries += found
            if nodes > 1:
                taken += sum(map(len, found)) + ELEMENT * len(found)
                left = allowed(pos - begin, room) - taken
                if left < 0:
                    raise Large
        return entries, pos

    return read


# Sets


def _read_set(data: bytes, pos: int, room: float) -> tuple[list[bytes], int]:
    members, pos = _read_strings(data, pos, room, MEMBER)
    if room < inf and len(set(members)) < len(members):
        raise BadRdb("A member comes twice")
    return members, pos


def _read_set_listpack(data: bytes, pos: int, room: float) -> tuple[list[bytes], int]:
    members, pos = _members_in_listpack(data, pos, room)
    if room < inf and len(set(members)) < len(members):
        raise BadRdb("A member comes twice")
    return members, pos


_members_in_listpack = _packed(listpack.FORM, MEMBER)


def _read_intset(data: bytes, pos: int, room: float) -> tuple[list[bytes], int]:
    packed, after = read_string(data, pos, room)
    if NUMBER * (len(packed) // 2) > allowed(after - pos, room):
        raise Large
    return list(map(b"%d".__mod__, intset.decode(packed))), after


# Sorted sets


def _scored(members: list[bytes], scores: Sequence[float], room: float) -> list[Item]:
    if room < inf and len(set(members)) < len(members):
        raise BadRdb("A member comes twice")
    if any(map(isnan, scores)):
        raise BadRdb("A score is not a number")
    return list(zip(members, scores, strict=True))


def _count_of_items(data: bytes, pos: int) -> tuple[int, int]:
    count, pos = read_length(data, pos)
    if pos + 2 * count > len(data):
        raise Short(pos + 2 * count)
    return count, pos


def _read_zset_2(data: bytes, pos: int, room: float) -> tuple[list[Item], int]:
    count, pos = read_length(data, pos)
    if count <= PIECE:
        members, scores, pos = _read_items(data, pos, count, room)
    else:
        members, scores, pos = _read_many_items(data, pos, count, room)
    return _scored(members, struct.unpack(f"<{count}d", b"".join(scores)), room), pos


def _read_many_items(
    data: bytes, pos: int, count: int, room: float
) -> tuple[list[bytes], list[bytes], int]:
    members: list[bytes] = []
    scores: list[bytes] = []
    begin, taken = pos, 0
    if pos + 9 * count > len(data):
        raise Short(pos + 9 * count)
    while left := count - len(members):
        room_left = allowed(pos - begin, room) - taken
        if room_left < 0:
            raise Large
        more, their, pos = _read_items(data, pos, min(left, PIECE), room_left)
        members += more
        scores += their
        taken += SCORED * len(more) + sum(map(len, more))
    return members, scores, pos


def _read_items(
    data: bytes, pos: int, count: int, room: float
) -> tuple[list[bytes], list[bytes], int]:
    """So many members, and the bytes of their scores."""
    members: list[bytes] = []
    scores: list[bytes] = []
    for _ in range(count):
        first = data[pos]
        if first < 0x40:
            begin = pos + 1
            pos = begin + first
            members.append(data[begin:pos])
        else:
            member, after = read_string(data, pos, room)
            room -= max(len(member) - (after - pos), 0)
            pos = after
            members.append(member)
        begin, pos = pos, pos + 8
        scores.append(data[begin:pos])
    if pos > len(data):
        raise Short(pos)
    return members, scores, pos


def _read_old_zset(data: bytes, pos: int, room: float) -> tuple[list[Item], int]:
    count, pos = _count_of_items(data, pos)
    members: list[bytes] = []
    scores: list[float] = []
    begin, taken = pos, 0
    for _ in range(count):
        member, pos = read_string(data, pos, allowed(pos - begin, room) - taken)
        score, pos = _read_text_score(data, pos)
        members.append(member)
        scores.append(score)
        taken += len(member) + SCORED
        if taken > allowed(pos - begin, room):
            raise Large
    return _scored(members, scores, room), pos


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
        text = b"".join(texts)
        if b"_" in text or (len(text) > LONG and max(map(len, texts)) > LONG):
            raise ValueError
        return list(map(float, texts))
    except ValueError:
        raise BadRdb("A score is not a number") from None


def _read_zset_packed(container: Container) -> Reader:
    read_packed = _packed(container, SCORED // 2)

    def read(data: bytes, pos: int, room: float) -> tuple[list[Item], int]:
        entries, pos = read_packed(data, pos, room)
        if len(entries) % 2:
            raise BadRdb("A member has no score")
        return _scored(entries[::2], _scores(entries[1::2]), room), pos

    return read


# Hashes


def _fields(fields: list[bytes], values: list[bytes]) -> dict[bytes, bytes]:
    if len(fields) != len(values):
        raise BadRdb("A field has no value")
    found = dict(zip(fields, values, strict=True))
    if len(found) < len(fields):
        raise BadRdb("A field comes twice")
    return found


def _read_hash(data: bytes, pos: int, room: float) -> tuple[dict[bytes, bytes], int]:
    count, pos = read_length(data, pos)
    if pos + 2 * count > len(data):
        raise Short(pos + 2 * count)
    words, pos = read_strings(data, pos, 2 * count, room, WORD)
    return _fields(words[::2], words[1::2]), pos


def _read_hash_packed(container: Container) -> Reader:
    _, decode = container

    def read(data: bytes, pos: int, room: float) -> tuple[dict[bytes, bytes], int]:
        packed, after = read_string(data, pos, room)
        if len(packed) <= FEW:
            entries = decode(packed)
        else:
            entries = unpack(container, packed, allowed(after - pos, room), WORD)
        return _fields(entries[::2], entries[1::2]), after

    return read


def _read_hash_metadata(relative: bool) -> Reader:
    """Fields with deadlines, as Redis 7.4 has them.

    Each field has its deadline before it: 0 for none, else one more than the milliseconds since the
    earliest deadline, which stands first.  Before the release that was the Unix time itself.
    """

    def read(data: bytes, pos: int, room: float) -> tuple[dict[bytes, bytes] | Expiring, int]:
        begin, taken = pos, 0
        found = Expiring({}, {})
        count, earliest, pos = checking.dated_head(data, pos, relative)
        for _ in range(count):
            left = allowed(pos - begin, room) - taken
            if left < 0:
                raise Large
            after, pos = read_length(data, pos)
            field, pos = read_string(data, pos, left)
            value, pos = read_string(data, pos, left - len(field))
            found.fields[field] = value
            taken += len(field) + len(value) + DATED
            if after:
                found.deadlines[field] = _deadline(earliest + after - 1)
        if len(found.fields) < count:
            raise BadRdb("A field comes twice")
        return (found if found.deadlines else found.fields), pos

    return read


def _read_hash_listpack_ex(has_earliest: bool) -> Reader:
    """The same in a listpack: field, value, deadline or 0."""
    read_packed = _packed(listpack.FORM, DATED // 3)

    def read(data: bytes, pos: int, room: float) -> tuple[dict[bytes, bytes] | Expiring, int]:
        if has_earliest:
            _, pos = read_uint64(data, pos)
        entries, pos = read_packed(data, pos, room)
        if len(entries) % 3:
            raise BadRdb("A field has no value or deadline")
        fields = entries[::3]
        found = Expiring(_fields(fields, entries[1::3]), {})
        for field, text in zip(fields, entries[2::3], strict=True):
            if text != b"0":
                found.deadlines[field] = _deadline_in(text)
        return (found if found.deadlines else found.fields), pos

    return read


def _deadline_in(text: bytes) -> int:
    if not text.isdigit() or len(text) > LONG:
        raise BadRdb("A deadline is not a number")
    return _deadline(int(text.lstrip(b"0")[:LONGEST_DEADLINE] or b"0"))


def _deadline(time_ms: int) -> int:
    if time_ms >= 1 << 48:
        raise BadRdb("A deadline is later than it can be")
    return time_ms


def _read_stream(version: int) -> Reader:
    return lambda data, pos, room: read_stream(data, pos, version, room)


READERS: dict[int, tuple[int, Reader]] = {
    TYPE_STRING: (STRING, _read_string),
    TYPE_LIST: (LIST, _read_strings),
    TYPE_SET: (SET, _read_set),
    TYPE_ZSET: (ZSET, _read_old_zset),
    TYPE_HASH: (HASH, _read_hash),
    TYPE_ZSET_2: (ZSET, _read_zset_2),
    TYPE_HASH_ZIPMAP: (HASH, _read_hash_packed(ziplist.ZIPMAP)),
    TYPE_LIST_ZIPLIST: (LIST, _packed(ziplist.FORM, ELEMENT)),
    TYPE_SET_INTSET: (SET, _read_intset),
    TYPE_ZSET_ZIPLIST: (ZSET, _read_zset_packed(ziplist.FORM)),
    TYPE_HASH_ZIPLIST: (HASH, _read_hash_packed(ziplist.FORM)),
    TYPE_LIST_QUICKLIST: (LIST, _read_quicklist(ziplist.FORM, kinds=False)),
    TYPE_STREAM_LISTPACKS: (STREAM, _read_stream(1)),
    TYPE_HASH_LISTPACK: (HASH, _read_hash_packed(listpack.FORM)),
    TYPE_ZSET_LISTPACK: (ZSET, _read_zset_packed(listpack.FORM)),
    TYPE_LIST_QUICKLIST_2: (LIST, _read_quicklist(listpack.FORM, kinds=True)),
    TYPE_STREAM_LISTPACKS_2: (STREAM, _read_stream(2)),
    TYPE_SET_LISTPACK: (SET, _read_set_listpack),
    TYPE_STREAM_LISTPACKS_3: (STREAM, _read_stream(3)),
    TYPE_HASH_METADATA_PRE_GA: (HASH, _read_hash_metadata(relative=False)),
    TYPE_HASH_LISTPACK_EX_PRE_GA: (HASH, _read_hash_listpack_ex(has_earliest=False)),
    TYPE_HASH_METADATA: (HASH, _read_hash_metadata(relative=True)),
    TYPE_HASH_LISTPACK_EX: (HASH, _read_hash_listpack_ex(has_earliest=True)),
}


# Checks


def _check_intset(data: bytes, pos: int) -> int:
    window, after = checking.container(data, pos)
    intset.check(window)
    return after


def _item_rows(data: bytes, pos: int) -> Rows:
    count, pos = _count_of_items(data, pos)
    while count:
        some = min(count, PIECE)
        try:
            members, scores, after = _read_items(data, pos, some, checking.SPARE)
            yield list(map(short, members)) if after - pos > LONG else members, scores
            pos = after
        except Large:
            for _ in range(some):
                member, at = checking.word(data, pos)
                pos = at + 8
                if pos > len(data):
                    raise Short(pos) from None
                yield [member], [data[at:pos]]
        count -= some
    return pos


def _old_item_rows(data: bytes, pos: int) -> Rows:
    count, pos = _count_of_items(data, pos)
    for _ in range(count):
        member, pos = checking.word(data, pos)
        score, pos = _read_text_score(data, pos)
        yield [member], [b"%r" % score]
    return pos


def _check_numbers(scores: Sequence[float]) -> None:
    if any(map(isnan, scores)):
        raise BadRdb("A score is not a number")


def _check_doubles(scores: list[bytes]) -> None:
    _check_numbers(struct.unpack(f"<{len(scores)}d", b"".join(scores)))


def _check_scores(texts: list[bytes]) -> None:
    _check_numbers(_scores(texts))


def _check_deadlines(texts: list[bytes]) -> None:
    for text in texts:
        _deadline_in(text)


def _check_stream(version: int) -> Check:
    return lambda data, pos: check_stream(data, pos, version)


CHECKS: dict[int, Check] = {
    TYPE_STRING: checking.skip,
    TYPE_LIST: each(strings()),
    TYPE_SET: different(strings()),
    TYPE_ZSET: different(_old_item_rows, _check_scores),
    TYPE_HASH: different(strings(2)),
    TYPE_ZSET_2: different(_item_rows, _check_doubles),
    TYPE_HASH_ZIPMAP: different(packed(ziplist.MapWalk, 2)),
    TYPE_LIST_ZIPLIST: each(packed(ziplist.Walk)),
    TYPE_SET_INTSET: _check_intset,
    TYPE_ZSET_ZIPLIST: different(packed(ziplist.Walk, 2, 1), _check_scores),
    TYPE_HASH_ZIPLIST: different(packed(ziplist.Walk, 2)),
    TYPE_LIST_QUICKLIST: nodes(ziplist.Walk, kinds=False),
    TYPE_STREAM_LISTPACKS: _check_stream(1),
    TYPE_HASH_LISTPACK: different(packed(listpack.Walk, 2)),
    TYPE_ZSET_LISTPACK: different(packed(listpack.Walk, 2, 1), _check_scores),
    TYPE_LIST_QUICKLIST_2: nodes(listpack.Walk, kinds=True),
    TYPE_STREAM_LISTPACKS_2: _check_stream(2),
    TYPE_SET_LISTPACK: different(packed(listpack.Walk)),
    TYPE_STREAM_LISTPACKS_3: _check_stream(3),
    TYPE_HASH_METADATA_PRE_GA: different(dated(relative=False), _check_deadlines),
    TYPE_HASH_LISTPACK_EX_PRE_GA: different(packed(listpack.Walk, 3, 2), _check_deadlines),
    TYPE_HASH_METADATA: different(dated(relative=True), _check_deadlines),
    TYPE_HASH_LISTPACK_EX: different(packed(listpack.Walk, 3, 2, before=8), _check_deadlines),
}
