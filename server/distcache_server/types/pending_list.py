"""Entries of a stream that were delivered and are not acknowledged yet, in the order of their ids.

    _chunks   [{3: Delivery, 5: ...}, {8: ..., 9: ...}, ...]
    _firsts   [0,                     8,                ...]   no id of the chunk is less

All ids of a chunk are less than those of the next one; within a chunk they are as they came.  New
ids mostly come at the end, and the oldest are acknowledged first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from distcache_server.types.kept import keep, released
from distcache_server.types.stream_id import LARGEST

CHUNK = 256
"""A chunk with twice as many is cut in two."""
FEW = CHUNK // 8
"""A chunk with fewer joins a neighbour that has not many."""
BYTES = 250
"""What a pending entry takes in two lists, its delivery included."""


class Delivery:
    """To whom an entry was delivered, when last and how often.

    Only who takes it from the list of its group may change it.
    """

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: bytes, time_ms: int, count: int) -> None:
        self.consumer = consumer
        """Its name."""
        self.time_ms = time_ms
        self.count = count

    def copy(self) -> Delivery:
        return Delivery(self.consumer, self.time_ms, self.count)


Chunk = dict[int, Delivery]


def _copied(chunk: Chunk) -> Chunk:
    return {number: delivery.copy() for number, delivery in chunk.items()}


class PendingList:
    """Deliveries by id."""

    __slots__ = ("_chunks", "_firsts", "_size", "_top")

    def __init__(self) -> None:
        self._chunks: list[Chunk] = [{}]
        self._firsts = [0]
        self._size = 0
        self._top = -1
        """The largest id that ever was here."""

    def __len__(self) -> int:
        return self._size

    def _at(self, number: int) -> int:
        """The chunk of this id."""
        return bisect_right(self._firsts, number) - 1 if len(self._firsts) > 1 else 0

    def get(self, number: int) -> Delivery | None:
        """The delivery of this id; None if there is none."""
        return self._chunks[self._at(number)].get(number)

    def put(self, number: int, delivery: Delivery) -> None:
        """Add a delivery, or replace one."""
        if number > self._top:
            self._top = number
            chunk = self._chunks[-1]
            if len(chunk) >= CHUNK:
                chunk = {}
                self._chunks.append(chunk)
                self._firsts.append(number)
            chunk[number] = delivery
            self._size += 1
            return
        at = self._at(number)
        chunk = self._chunks[at]
        before = len(chunk)
        chunk[number] = delivery
        if len(chunk) != before:
            self._size += 1
            if before >= 2 * CHUNK:
                self._split(at)

    def pop(self, number: int) -> Delivery | None:
        """Take a delivery out; None if there is none."""
        at = self._at(number)
        chunk = self._chunks[at]
        delivery = chunk.pop(number, None)
        if delivery is not None:
            self._size -= 1
            if len(chunk) < FEW and len(self._chunks) > 1:
                self._join(at)
        return delivery

    def _split(self, at: int) -> None:
        items = sorted(self._chunks[at].items())
        half = len(items) // 2
        self._chunks[at : at + 1] = [dict(items[:half]), dict(items[half:])]
        self._firsts.insert(at + 1, items[half][0])

    def _join(self, at: int) -> None:
        """Drop an empty chunk, or make one of this and a neighbour, where they are small."""
        chunk = self._chunks[at]
        for left in (at - 1, at):
            if 0 <= left < len(self._chunks) - 1:
                one, other = self._chunks[left], self._chunks[left + 1]
                if not chunk or len(one) + len(other) <= CHUNK // 2:
                    self._chunks[left : left + 2] = [{**one, **other}]
                    del self._firsts[left + 1]
                    return

    def deliveries(self, start: int = 0, end: int = LARGEST) -> Iterator[tuple[int, Delivery]]:
        """Pending ids from ``start`` to ``end`` in order; the list must not change meanwhile."""
        for at in range(self._at(start), len(self._chunks)):
            if self._firsts[at] > end:
                break
            chunk = self._chunks[at]
            for number in sorted(chunk):
                if number > end:
                    break
                if number >= start:
                    yield number, chunk[number]

    def between(self, start: int, end: int = LARGEST) -> Iterator[int]:
        """The ids alone."""
        return (number for number, _ in self.deliveries(start, end))

    @property
    def first(self) -> int:
        """The least id of a list that is not empty."""
        return next(self.between(0))

    @property
    def last(self) -> int:
        """The largest id of a list that is not empty."""
        return max(next(chunk for chunk in reversed(self._chunks) if chunk))

    def batches(self, kept: bool) -> Iterator[list[tuple[int, Delivery]]]:
        """All ids and deliveries in order, part by part; if ``kept``, as they are now.

        That holds until ``release``, and for a part until it was given out.
        """
        if not kept:
            return (sorted(chunk.items()) for chunk in self._chunks)
        count = len(self._chunks)
        self._chunks, chunks = keep(self._chunks, _copied)
        return (sorted(chunks.take(place).items()) for place in range(count))

    def release(self) -> None:
        """Who read the list is done."""
        self._chunks = released(self._chunks)

    def drain(self, count: int) -> bool:
        """Free some deliveries of a list that is no longer used; False where none are left."""
        while count > 0 and self._chunks:
            count -= len(self._chunks.pop())
        return bool(self._chunks)
