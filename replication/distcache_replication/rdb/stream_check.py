"""Checking a stream before it is built (see checking.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import inf

from distcache_replication.rdb import listpack
from distcache_replication.rdb.checking import Different, Rows, Walked, Words, container, word
from distcache_replication.rdb.errors import BadRdb, Short
from distcache_replication.rdb.primitives import PIECE, read_int64, read_length
from distcache_replication.rdb.stream import (
    DELETED,
    LARGEST,
    SAME_FIELDS,
    Id,
    node_entries,
    read_consumer_head,
    read_group_head,
    read_head,
    read_node_id,
)
from distcache_replication.rdb.window import FEW, walk

ID, PENDING = 16, 25
"""Bytes of an id, and of an entry that is pending, at least."""


def check_stream(data: bytes, pos: int, version: int) -> int:
    """The position after a stream that ``read_stream`` takes; BadRdb, Short, IndexError."""
    nodes, pos = read_length(data, pos)
    count, last = 0, (0, 0)
    for _ in range(nodes):
        first, pos = read_node_id(data, pos)
        window, pos = container(data, pos)
        if window.size <= FEW:
            window.move(0)
            ids: Iterable[Id] = (entry.id for entry in node_entries(first, window.data))
        else:
            ids = _node_ids(first, walk(listpack.Walk(), window))
        for number in ids:
            if count and number <= last:
                raise BadRdb("The entries of a stream are not in order", pos)
            count, last = count + 1, number
    head, pos = read_head(data, pos, version)
    if head.entries != count or last > head.last_id:
        raise BadRdb("A stream does not have the entries that it says", pos)

    groups = Walked(_groups(data, pos, head.groups, version))
    known = Different(lambda: _groups(data, pos, head.groups, version), inf)
    for name in groups:
        known.add(name)
    known.settle()
    return groups.after


def _node_ids(first: Id, pieces: Iterator[list[bytes]]) -> Iterator[Id]:
    """The ids of a node's entries, as ``node_entries`` would find them."""
    words = (one for piece in pieces for one in piece)
    try:
        count, gone, size = [int(next(words)) for _ in range(3)]
        if min(count, gone, size) < 0 or _after(words, size) != b"0":
            raise ValueError
        left = count + gone
        for text in words:
            flags, ms, number = int(text), int(next(words)), int(next(words))
            used = size
            if not flags & SAME_FIELDS:
                own = int(next(words))
                if own < 0:
                    raise ValueError
                used = 1 + 2 * own
            if int(_after(words, used - (not flags & SAME_FIELDS))) != 3 + used:
                raise ValueError
            left -= 1
            if flags & DELETED:
                gone -= 1
            else:
                yield first[0] + ms & LARGEST, first[1] + number & LARGEST
        if left or gone:
            raise ValueError
    except (ValueError, StopIteration):
        raise BadRdb("A node of a stream does not hold entries") from None


def _after(words: Iterator[bytes], count: int) -> bytes:
    """The word after so many."""
    return next(islice(words, count, None))


def _groups(data: bytes, pos: int, count: int, version: int) -> Words:
    """The names of so many groups, each of which is checked."""
    for _ in range(count):
        name, pos = word(data, pos)
        _, _, size, pos = read_group_head(data, pos, version)
        pos = _check_pending(data, pos, size, version)
        yield [name]
    return pos


def _check_pending(data: bytes, pos: int, size: int, version: int) -> int:
    """What is pending in a group, and its consumers: the position after them."""
    if not size:
        count, after = read_length(data, pos)
        if not count:
            return after
    begin = pos
    delivered = Walked(_pending(data, begin, size))
    known = Different(lambda: _pending(data, begin, size), inf)
    for ids in delivered:
        known.add(ids)
    known.settle()
    count, begin = read_length(data, delivered.after)
    names = Different(lambda: (name for name, _ in _consumers(data, begin, count, version)), inf)
    owned = Different(lambda: (ids for _, ids in _consumers(data, begin, count, version)), inf)
    consumers = Walked(_consumers(data, begin, count, version))
    for name, ids in consumers:
        names.add(name)
        owned.add(ids)
    names.settle()
    owned.settle()
    if not owned.same(known):
        raise BadRdb("The pending entries of a group and its consumers differ", pos)
    return consumers.after


def _pending(data: bytes, pos: int, count: int) -> Words:
    """The ids that are pending in a group."""
    if pos + PENDING * count > len(data):
        raise Short(pos + PENDING * count)
    for _ in range(count):
        ids = [data[pos : pos + ID]]
        _, pos = read_int64(data, pos + ID)
        _, pos = read_length(data, pos)
        yield ids
    return pos


def _consumers(data: bytes, pos: int, count: int, version: int) -> Rows:
    """The names of so many consumers, and the ids that are pending for them."""
    for _ in range(count):
        name, pos = word(data, pos)
        _, _, size, pos = read_consumer_head(data, pos, version)
        end = pos + ID * size
        if end > len(data):
            raise Short(end)
        names = [name]
        while pos < end:
            part = min(end, pos + ID * PIECE)
            yield names, [data[at : at + ID] for at in range(pos, part, ID)]
            names, pos = [], part
        if names:
            yield names, []
    return pos
