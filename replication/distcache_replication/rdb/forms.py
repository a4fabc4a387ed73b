"""Writing values: plain Python values in the forms that Redis 7 reads.

Which form a value gets is for the caller to say, since only that knows the limits of the compact
ones.  A form is the number of its type and its bytes, piece by piece, so that a large collection is
never there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from distcache_replication.rdb import intset, listpack
from distcache_replication.rdb.checking import PACKED, PLAIN
from distcache_replication.rdb.primitives import (
    LONGEST_COMPRESSED,
    double,
    int64,
    length,
    string,
)
from distcache_replication.rdb.stream import Nodes, Stream, write_stream
from distcache_replication.rdb.values import (
    TYPE_HASH,
    TYPE_HASH_LISTPACK,
    TYPE_HASH_LISTPACK_EX,
    TYPE_HASH_METADATA,
    TYPE_LIST_QUICKLIST_2,
    TYPE_SET,
    TYPE_SET_INTSET,
    TYPE_SET_LISTPACK,
    TYPE_STREAM_LISTPACKS,
    TYPE_STREAM_LISTPACKS_2,
    TYPE_STREAM_LISTPACKS_3,
    TYPE_STRING,
    TYPE_ZSET_2,
    TYPE_ZSET_LISTPACK,
    Item,
)

NODE_BYTES = (4096, 8192, 16384, 32768, 65536)
"""What list-max-listpack-size -1 to -5 stand for."""
SAFE = 8192
"""A node is no larger than this where the setting is a number of entries."""
LONG = 1 << 14
"""A longer string is written when its turn comes, and not before."""
BLOCK = 1 << 18
OVERHEAD = 11
"""A listpack's header and end are shorter, and so is what it needs besides an entry."""


class Style(NamedTuple):
    """How to write: for which version of the format, and whether strings are compressed."""

    version: int = 11
    compress: bool = True


class Form(NamedTuple):
    type: int
    body: Iterable[bytes]


Items: TypeAlias = Iterable[tuple[bytes, bytes]]


def of_string(value: bytes, style: Style) -> Form:
    if len(value) > LONG:
        return Form(TYPE_STRING, _long(value, style.compress))
    return Form(TYPE_STRING, (string(value, style.compress),))


def _long(value: bytes, compress: bool) -> Iterator[bytes]:
    if len(value) <= LONGEST_COMPRESSED:
        yield string(value, compress)
        return
    yield length(len(value))
    for at in range(0, len(value), BLOCK):
        yield value[at : at + BLOCK]


def of_list(
    looked: Iterable[Sequence[bytes]], parts: Iterable[Sequence[bytes]], limit: int, style: Style
) -> Form:
    """A quicklist, with nodes as list-max-listpack-size asks for.

    It is given part by part, and that twice: to count the nodes, and then to write them.
    """
    return Form(TYPE_LIST_QUICKLIST_2, _quicklist(looked, parts, limit, style.compress))


def _quicklist(
    looked: Iterable[Sequence[bytes]],
    parts: Iterable[Sequence[bytes]],
    limit: int,
    compress: bool,
) -> Iterator[bytes]:
    ends = []
    for part in looked:
        ends.append(list(_node_ends(part, limit)))
        yield b""  # so that who has little time can go on later
    yield length(sum(map(len, ends)))
    for part, nodes in zip(parts, ends, strict=True):
        start = 0
        for end in nodes:
            node = part[start:end]
            if len(node) == 1 and len(node[0]) > SAFE:
                yield length(PLAIN) + string(node[0], compress)
            else:
                yield length(PACKED) + string(listpack.encode(node), compress)
            start = end


def _node_ends(values: Sequence[bytes], limit: int) -> Iterator[int]:
    """Where the nodes end; they are no larger than the limit unless one entry is."""
    most = NODE_BYTES[min(-limit, len(NODE_BYTES)) - 1] if limit < 0 else SAFE
    count = len(values) if limit < 0 else max(limit, 1)
    size = start = 0
    for at, value in enumerate(values):
        own = len(value) + OVERHEAD
        if at > start and (size + own > most or at - start >= count):
            yield at
            start, size = at, 0
        size += own
    if values:
        yield len(values)


def of_intset(numbers: Sequence[int], style: Style) -> Form:
    """A set of integers, in order."""
    return Form(TYPE_SET_INTSET, (string(intset.encode(numbers), style.compress),))


def of_set(members: Iterable[bytes], count: int, packed: bool, style: Style) -> Form:
    """A set of so many members."""
    if packed and style.version >= 11:
        return Form(TYPE_SET_LISTPACK, (string(listpack.encode(members), style.compress),))
    return Form(TYPE_SET, _members(members, count, style.compress))


def _members(members: Iterable[bytes], count: int, compress: bool) -> Iterator[bytes]:
    yield length(count)
    for member in members:
        yield string(member, compress)


def of_zset(items: Iterable[Item], count: int, packed: bool, style: Style) -> Form:
    """A sorted set of so many members; a packed one has them in order, lowest score first."""
    if not packed:
        return Form(TYPE_ZSET_2, _scored(items, count, style.compress))
    words: list[bytes] = []
    for member, score in items:
        words += (member, score_text(score))
    return Form(TYPE_ZSET_LISTPACK, (string(listpack.encode(words), style.compress),))


def _scored(items: Iterable[Item], count: int, compress: bool) -> Iterator[bytes]:
    yield length(count)
    for member, score in items:
        yield string(member, compress) + double(score)


def score_text(score: float) -> bytes:
    """A score as it stands in a listpack: the shortest text that means the same."""
    if score.is_integer() and abs(score) < 1 << 53:
        return b"%d" % int(score)
    return b"%a" % score


def of_hash(items: Items, count: int, packed: bool, style: Style) -> Form:
    """A hash of so many fields."""
    if not packed:
        return Form(TYPE_HASH, _fields(items, count, style.compress))
    words: list[bytes] = []
    for item in items:
        words += item
    return Form(TYPE_HASH_LISTPACK, (string(listpack.encode(words), style.compress),))


def _fields(items: Items, count: int, compress: bool) -> Iterator[bytes]:
    yield length(count)
    for field, value in items:
        yield string(field, compress) + string(value, compress)


def of_expiring(
    items: Items,
    count: int,
    deadline: Callable[[bytes], int | None],
    earliest: int,
    packed: bool,
    style: Style,
) -> Form:
    """A hash of so many fields, some of which have deadlines; only Redis 7.4 and later read it.

    No deadline is before the earliest.
    """
    if not packed:
        return Form(TYPE_HASH_METADATA, _dated(items, count, deadline, earliest, style.compress))
    # Redis keeps fields in the order of their deadlines, those without one at the end.
    dated = [(deadline(field), field, value) for field, value in items]
    words: list[bytes] = []
    for when, field, value in sorted(dated, key=lambda it: 1 << 62 if it[0] is None else it[0]):
        words += (field, value, b"%d" % (when or 0))
    body = string(listpack.encode(words), style.compress)
    return Form(TYPE_HASH_LISTPACK_EX, (int64(earliest), body))


def _dated(
    items: Items,
    count: int,
    deadline: Callable[[bytes], int | None],
    earliest: int,
    compress: bool,
) -> Iterator[bytes]:
    yield int64(earliest) + length(count)
    for field, value in items:
        when = deadline(field)
        after = 0 if when is None else when - earliest + 1
        yield b"%b%b%b" % (length(after), string(field, compress), string(value, compress))


def of_stream(stream: Stream, style: Style, nodes: Nodes | None = None) -> Form:
    """A stream; ``nodes`` in place of its entries."""
    if style.version >= 11:
        return Form(TYPE_STREAM_LISTPACKS_3, write_stream(stream, 3, nodes))
    if style.version == 10:
        return Form(TYPE_STREAM_LISTPACKS_2, write_stream(stream, 2, nodes))
    return Form(TYPE_STREAM_LISTPACKS, write_stream(stream, 1, nodes))
