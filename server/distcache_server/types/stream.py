"""A stream: entries in the order of their ids, and the consumer groups that read them.

    _blocks   [Block, Block, ...]   packed entries (stream_block.py), none of them empty
    _tail     Entries               the last entries, as they came

The tail becomes a block when it is as large as a node of a stream in Redis may be, so that both
remove the same entries where a stream is trimmed about.  One block is kept unpacked, since who
reads or deletes a little at a time comes to the same block again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from sys import getsizeof
from typing import TYPE_CHECKING

from distcache_server.types.consumer_group import UNKNOWN, Group
from distcache_server.types.kept import keep, released
from distcache_server.types.stream_block import Block, Entries, Words

if TYPE_CHECKING:
    from distcache_server.types.limits import Limits

MOST_BYTES = 1 << 20
MOST_ENTRIES = 10_000
"""The largest tail where the settings allow any size."""
HEADER, ENTRY, WORD = 14, 10, 2
"""About how many bytes a node, an entry and a word take in Redis besides their text."""
DRAINED = 1000
"""Blocks that are freed together."""

COPIED = (
    "_bytes",
    "_size",
    "_spared",
    "_tail_fields",
    "_used",
    "added",
    "deleted_id",
    "last_id",
)
NOTHING = Entries([], [])

_last = attrgetter("last")


class Stream:
    """Entries of a log.  ``len`` counts those that are there."""

    __slots__ = (
        "_blocks",
        "_bytes",
        "_open",
        "_opened",
        "_size",
        "_spared",
        "_tail",
        "_tail_fields",
        "_used",
        "added",
        "deleted_id",
        "groups",
        "last_id",
    )
    encoding = b"stream"

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._tail = Entries([], [])
        self._tail_fields: list[bytes] = []
        """The fields of the first entry of the tail."""
        self._used = 0
        """Entries that the tail has had, those that were deleted included."""
        self._bytes = 0
        """What it would take in Redis."""
        self._spared = 0
        """What an entry with these fields takes less than its text."""
        self._size = 0
        self._open: Block | None = None
        self._opened = NOTHING
        """The entries of the block that is unpacked."""
        self.last_id = 0
        """The largest id that was ever given to an entry."""
        self.deleted_id = 0
        """The largest id that was deleted."""
        self.added = 0
        """Entries that were ever added."""
        self.groups: dict[bytes, Group] = {}

    def copy(self) -> Stream:
        other = Stream()
        other._blocks = [block.copy() for block in self._blocks]
        other._tail = Entries(self._tail.ids[:], self._tail.rows[:], self._tail.fields)
        for name in COPIED:
            setattr(other, name, getattr(self, name))
        other.groups = {name: group.copy() for name, group in self.groups.items()}
        return other

    def __len__(self) -> int:
        return self._size

    # Adding

    def add(self, number: int, words: Words, limits: Limits) -> None:
        """Append an entry whose id is larger than the last one."""
        size = len(b"".join(words))
        if self._used and (
            self._used >= limits.stream_entries or self._bytes + size >= limits.stream_bytes
        ):
            self._pack()
        fields = words[::2]
        if not self._used:
            self._set_fields(list(fields))
            self._bytes = HEADER + size
        tail = self._tail
        if tail.fields is None:
            tail.rows.append(words)
        elif fields == self._tail_fields:
            tail.rows.append(words[1::2])
        else:
            tail.rows = [whole for _, whole in tail.between(0, len(tail.ids))]
            tail.fields = None
            tail.rows.append(words)
        tail.ids.append(number)
        self._bytes += size - self._spared if tail.fields else size + WORD * len(words) + ENTRY
        self._used += 1
        self._size += 1
        self.added += 1
        self.last_id = number

    def extend(self, first: int, columns: Sequence[Words], limits: Limits) -> None:
        """Append entries whose ids follow each other: all first words, all second words, ..."""
        fields = [column[0] for column in columns[::2]]
        count = len(columns[0])
        uniform = [column.count(column[0]) for column in columns[::2]] == [count] * len(fields)
        values = columns[1::2]
        each = WORD * len(values) + ENTRY
        largest = sum(max(map(len, column)) for column in values) + each
        at = 0
        while at < count:
            tail = self._tail
            room = 0
            if uniform and self._used and tail.fields is not None and fields == self._tail_fields:
                free = limits.stream_bytes - self._bytes - self._spared
                room = min(free // largest - 2, limits.stream_entries - self._used, count - at)
            if room <= 0:
                self.add(first + at, [column[at] for column in columns], limits)
                at += 1
                continue
            parts = [column[at : at + room] for column in values]
            tail.ids += range(first + at, first + at + room)
            tail.rows += zip(*parts, strict=True)
            self._bytes += sum(len(b"".join(part)) for part in parts) + room * each
            self._used += room
            self._size += room
            self.added += room
            at += room
        self.last_id = first + count - 1

    def _set_fields(self, fields: list[bytes]) -> None:
        """The tail begins, with an entry of these fields."""
        known = self._blocks[-1].fields if self._blocks else None
        if known is None or list(known) != fields:
            known = tuple(fields) or None
        self._tail.fields = known
        self._tail_fields = fields
        self._spared = len(b"".join(fields)) - WORD * len(fields) - ENTRY

    def _pack(self) -> None:
        """Turn the tail into a block."""
        if self._tail.ids:
            self._blocks.append(Block(self._tail))
        self._begin_tail()

    def _begin_tail(self) -> None:
        self._tail = Entries([], [])
        self._used = self._bytes = 0

    # Finding

    def _entries(self, block: Block | None) -> Entries:
        """The entries of a block, or of the tail."""
        if block is None:
            return self._tail
        if self._open is not block:
            self._opened = block.unpacked()
            self._open = block
        return self._opened

    def _close(self) -> None:
        self._open, self._opened = None, NOTHING

    def _parts(self, start: int) -> Iterator[Block | None]:
        """The blocks that may have an id of at least ``start``, then the tail."""
        blocks = self._blocks
        for at in range(bisect_left(blocks, start, key=_last), len(blocks)):
            yield blocks[at]
        yield None

    def _parts_backwards(self, end: int) -> Iterator[Block | None]:
        yield None
        blocks = self._blocks
        last = bisect_left(blocks, end, key=_last)
        for at in range(min(last, len(blocks) - 1), -1, -1):
            yield blocks[at]

    def range(self, start: int, end: int, count: int = 0) -> list[tuple[int, Words]]:
        """Ids and words from ``start`` to ``end``, the first ``count`` of them (0: all)."""
        found: list[tuple[int, Words]] = []
        left = count or self._size
        for part in self._parts(start):
            entries = self._entries(part)
            ids = entries.ids
            first = bisect_left(ids, start)
            stop = min(bisect_right(ids, end), first + left)
            if first < stop:
                found += entries.between(first, stop)
                left -= stop - first
            if not left or (ids and ids[-1] > end):
                break
        return found

    def range_backwards(self, start: int, end: int, count: int = 0) -> list[tuple[int, Words]]:
        """``range`` from its end to its start."""
        found: list[tuple[int, Words]] = []
        left = count or self._size
        for part in self._parts_backwards(end):
            entries = self._entries(part)
            ids = entries.ids
            stop = bisect_right(ids, end)
            first = max(bisect_left(ids, start), stop - left)
            if first < stop:
                found += reversed(entries.between(first, stop))
                left -= stop - first
            if not left or (ids and ids[0] < start):
                break
        return found

    def get(self, number: int) -> Words | None:
        """The words of an entry."""
        found = self.range(number, number, 1)
        return found[0][1] if found else None

    def __contains__(self, number: int) -> bool:
        blocks = self._blocks
        at = bisect_left(blocks, number, key=_last)
        ids = self._entries(blocks[at] if at < len(blocks) else None).ids
        place = bisect_left(ids, number)
        return place < len(ids) and ids[place] == number

    def nodes(self, kept: bool = False) -> Iterator[list[tuple[int, Words]]]:
        """All ids and words, block by block; if ``kept``, as they are now, until ``release``."""
        blocks: Iterator[Block] = iter(self._blocks)
        if kept:
            count = len(self._blocks)
            self._blocks, parts = keep(self._blocks, Block.copy)
            blocks = map(parts.take, range(count))
        packed = (block.unpacked().between(0, block.count) for block in blocks)
        tail = self._tail
        return chain(packed, (tail.between(0, len(tail.ids)),)) if tail.ids else packed

    def release(self) -> None:
        """Who read the stream is done."""
        self._blocks = released(self._blocks)
        for group in self.groups.values():
            group.release()

    @property
    def node_count(self) -> int:
        return len(self._blocks) + bool(self._tail.ids)

    @property
    def first_id(self) -> int:
        """The id of the first entry; 0 where there is none."""
        if not self._blocks:
            return self._tail.ids[0] if self._tail.ids else 0
        block = self._blocks[0]
        if block.first is None:
            block.first = self._entries(block).ids[0]
        return block.first

    @property
    def top_id(self) -> int:
        """The id of the last entry; 0 where there is none."""
        if self._tail.ids:
            return self._tail.ids[-1]
        return self._blocks[-1].last if self._blocks else 0

    # Deleting

    def delete(self, numbers: Iterable[int]) -> int:
        """Remove entries; how many there were."""
        gone = 0
        changed: Block | None = None
        for number in sorted(set(numbers)):
            blocks = self._blocks
            at = bisect_left(blocks, number, key=_last)
            block = blocks[at] if at < len(blocks) else None
            if changed is not None and block is not changed:
                changed.pack(self._opened)
                changed = None
            entries = self._entries(block)
            place = bisect_left(entries.ids, number)
            if place == len(entries.ids) or entries.ids[place] != number:
                continue
            entries.remove(place)
            gone += 1
            self.deleted_id = max(self.deleted_id, number)
            if block is not None:
                changed = block
                if not entries.ids:
                    del blocks[at]
                    self._close()
                    changed = None
            elif not entries.ids:
                self._begin_tail()
        if changed is not None:
            changed.pack(self._opened)
        self._size -= gone
        return gone

    def trim_to_length(self, length: int, limit: int | None = None) -> int:
        """Remove the first entries until so many are left; how many went.

        With a ``limit``, only whole nodes and no more entries than that (0: any number).
        """
        before = self._size
        excess = before - length
        while excess > 0 and self._take_node(excess, before, limit):
            excess = self._size - length
        if excess > 0 and limit is None:
            self._drop(excess)
        return before - self._size

    def trim_to_id(self, least: int, limit: int | None = None) -> int:
        """Remove entries whose ids are less; how many.  ``limit`` as above."""
        before = self._size
        while self._size:
            block = self._blocks[0] if self._blocks else None
            last = block.last if block is not None else self._tail.ids[-1]
            if last >= least or not self._take_node(self._size, before, limit):
                break
        if limit is None and self._size:
            ids = self._entries(self._blocks[0] if self._blocks else None).ids
            self._drop(bisect_left(ids, least))
        return before - self._size

    def _take_node(self, most: int, before: int, limit: int | None) -> bool:
        """Remove the first block, or the tail, if it has no more than ``most`` entries."""
        count = self._blocks[0].count if self._blocks else len(self._tail.ids)
        if not count or count > most or (limit and before - self._size + count > limit):
            return False
        if self._blocks:
            if self._blocks.pop(0) is self._open:
                self._close()
        else:
            self._begin_tail()
        self._size -= count
        return True

    def _drop(self, count: int) -> None:
        """Remove the first entries of the first block or the tail, but not all."""
        if not count:
            return
        if self._blocks:
            block = self._blocks[0]
            block.skip(count)
            if block is self._open:
                self._opened.drop(count)
        else:
            self._tail.drop(count)
        self._size -= count

    # How far a group has come

    def has_gaps(self, start: int) -> bool:
        """Whether an entry was deleted at ``start`` or behind it, and behind the first entry."""
        return bool(self._size and self.first_id <= self.deleted_id >= start and self.deleted_id)

    def place_of(self, number: int) -> int:
        """How many entries were added up to this id; UNKNOWN where that cannot be told."""
        if not self.added:
            return 0
        if number == self.last_id or (number < self.last_id and not self._size):
            return self.added
        if number > self.last_id:
            return UNKNOWN
        first = self.first_id
        if not self.deleted_id or self.deleted_id < first:
            if number < first:
                return self.added - self._size
            if number == first:
                return self.added - self._size + 1
        return UNKNOWN

    def lag(self, group: Group) -> int | None:
        """How many entries the group has yet to read; None where that cannot be told."""
        if not self.added:
            return 0
        if group.read != UNKNOWN and not self.has_gaps(group.last_id):
            return self.added - group.read
        place = self.place_of(group.last_id)
        return None if place == UNKNOWN else self.added - place

    def read_on(self, group: Group, numbers: list[int]) -> bool:
        """The group was given these entries, in order; True if it had not come so far."""
        new = numbers[bisect_right(numbers, group.last_id) :]
        if not new:
            return False
        if group.read != UNKNOWN and not self.has_gaps(new[0]):
            group.read += len(new)
        else:
            for number in new:
                if group.read != UNKNOWN and not self.has_gaps(number):
                    group.read += 1
                elif self.added:
                    group.read = self.place_of(number)
        group.last_id = new[-1]
        return True

    # Memory

    def memory(self) -> int:
        """About how many bytes it takes, from the size of a few blocks and of the tail."""
        blocks, tail = self._blocks, self._tail
        size = getsizeof(self) + getsizeof(blocks) + 3 * getsizeof(tail.ids)
        if blocks:
            seen = blocks[:: len(blocks) // 4 + 1]
            size += len(blocks) * sum(block.memory() for block in seen) // len(seen)
        if tail.ids:
            row = tail.rows[len(tail.rows) // 2]
            size += len(tail.ids) * (56 + getsizeof(row) + sum(map(getsizeof, row)) + 8 * len(row))
        return size + sum(group.memory() for group in self.groups.values())

    def drain(self) -> bool:
        """Free a part of a stream that is no longer used; False where nothing is left."""
        if self._blocks:
            self._close()
            del self._blocks[-DRAINED:]
            return True
        if self.groups:
            if not next(iter(self.groups.values())).drain():
                self.groups.popitem()
            return True
        return False
