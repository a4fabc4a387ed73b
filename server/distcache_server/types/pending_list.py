"""Entries of a stream that were delivered and are not acknowledged yet, in the order of their ids.

    found   {id: Delivery}          what is pending
    _ids    [..., 3, 5, 8, 9]       ids in order, from _head on; some may be pending no more

New ids mostly come at the end and the oldest are acknowledged first, so both cost next to nothing.
An id that goes elsewhere stays in the list until half of it is such ids.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from distcache_server.types.stream_id import LARGEST

SPARE = 64
"""So many ids may be left over in any case."""
BYTES = 250
"""What a pending entry takes in two lists, its delivery included."""


class Delivery:
    """To whom an entry was delivered, when last and how often."""

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: bytes, time_ms: int, count: int) -> None:
        self.consumer = consumer
        """Its name."""
        self.time_ms = time_ms
        self.count = count


class PendingList:
    """Deliveries by id."""

    __slots__ = ("_head", "_ids", "found")

    def __init__(self) -> None:
        self.found: dict[int, Delivery] = {}
        self._ids: list[int] = []
        self._head = 0

    def __len__(self) -> int:
        return len(self.found)

    def put(self, number: int, delivery: Delivery) -> None:
        """Add a delivery, or replace one."""
        found, ids = self.found, self._ids
        if number not in found:
            if not ids or number > ids[-1]:
                ids.append(number)
            else:
                at = bisect_left(ids, number, self._head)
                if at == len(ids) or ids[at] != number:
                    insort(ids, number, self._head)
        found[number] = delivery

    def pop(self, number: int) -> Delivery | None:
        """Take a delivery out; None if there is none."""
        delivery = self.found.pop(number, None)
        if delivery is not None:
            self._tidy()
        return delivery

    def _tidy(self) -> None:
        found, ids, head = self.found, self._ids, self._head
        size = len(ids)
        while head < size and ids[head] not in found:
            head += 1
        self._head = head
        if size - head > 2 * len(found) + SPARE:
            self._ids = [number for number in ids[head:] if number in found]
            self._head = 0
        elif head > SPARE and 2 * head > size:
            del ids[:head]
            self._head = 0

    def between(self, start: int, end: int = LARGEST) -> Iterator[int]:
        """Pending ids from ``start`` to ``end``, in order; the list must not change meanwhile."""
        found, ids = self.found, self._ids
        for at in range(bisect_left(ids, start, self._head), len(ids)):
            number = ids[at]
            if number > end:
                break
            if number in found:
                yield number

    @property
    def first(self) -> int:
        """The least id of a list that is not empty."""
        return self._ids[self._head]

    @property
    def last(self) -> int:
        """The largest id of a list that is not empty."""
        return next(number for number in reversed(self._ids) if number in self.found)

    def drain(self, count: int) -> bool:
        """Free some deliveries of a list that is no longer used; False where none are left."""
        self._ids = []
        for _ in range(min(count, len(self.found))):
            self.found.popitem()
        return bool(self.found)
