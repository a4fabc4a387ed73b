"""When the fields of a hash go.

Few deadlines stand in a dict and are all looked at when one may be due; many have a timing wheel
beside them, which finds those that are due without looking at the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from sys import getsizeof

from distcache_server.types.table import Table
from distcache_server.types.wheel import SHIFT, Wheel

NEVER = 1 << 62
FEW = 128
"""More deadlines than this get a wheel."""
NUMBER = 32
"""Bytes of an integer of this size."""


class Deadlines:
    """Fields with the Unix time in milliseconds at which each of them goes."""

    __slots__ = ("by_field", "next_ms", "wheel")

    def __init__(self) -> None:
        self.by_field: dict[bytes, int] | Table[bytes, int] = {}
        self.next_ms = NEVER
        """No field goes before this; it may lie before the first of them."""
        self.wheel: Wheel | None = None

    def __len__(self) -> int:
        return len(self.by_field)

    def get(self, field: bytes) -> int | None:
        return self.by_field.get(field)

    def reader(self, kept: bool) -> Callable[[bytes], int | None]:
        """What ``get`` says; if ``kept``, of the deadlines as they are now, until ``release``."""
        known = self.by_field
        if not kept:
            return known.get
        if type(known) is dict:
            return known.copy().get
        assert isinstance(known, Table)
        parts, sizes, mask = known.keep().parts, known.sizes[:], known.mask

        def get(field: bytes) -> int | None:
            slot = hash(field) & mask
            return parts[slot & ((1 << sizes[slot]) - 1)].get(field)

        return get

    def batches(self, kept: bool) -> Iterator[list[tuple[bytes, int]]]:
        """Fields and deadlines, part by part; if ``kept``, as they are now, until ``release``."""
        if isinstance(self.by_field, Table):
            return self.by_field.batches(kept)
        return iter((list(self.by_field.items()),))

    def release(self) -> None:
        """Who read the deadlines is done."""
        if isinstance(self.by_field, Table):
            self.by_field.release()

    @property
    def earliest_ms(self) -> int:
        """When the first field goes; where there are many, no field goes before that."""
        if self.wheel is not None:
            return self.next_ms
        return min(self.by_field.values(), default=0)

    def set(self, field: bytes, deadline: int) -> None:
        """Give a field a deadline in place of the one it may have."""
        wheel = self.wheel
        if wheel is not None:
            self.drop(field)
            wheel.add(field, deadline)
        self.by_field[field] = deadline
        if deadline < self.next_ms:
            self.next_ms = deadline
        if wheel is None and len(self.by_field) > FEW:
            self._use_wheel()

    def drop(self, field: bytes) -> bool:
        """Take a field's deadline off; whether it had one."""
        old = self.by_field.pop(field, None)
        if old is not None and self.wheel is not None:
            self.wheel.remove(field, old)
        return old is not None

    def due(self, now_ms: int) -> list[bytes]:
        """The fields whose deadline has come."""
        if now_ms < self.next_ms:
            return []
        return [field for field, deadline in self.by_field.items() if deadline <= now_ms]

    def take_due(self, now_ms: int, most: int) -> list[bytes]:
        """Take out fields whose deadline has come, at most so many."""
        if now_ms < self.next_ms:
            return []
        if self.wheel is not None:
            return self._take_turned(self.wheel, now_ms, most)
        due = self.due(now_ms)[:most]
        for field in due:
            self.by_field.pop(field)
        self.next_ms = min(self.by_field.values(), default=NEVER)
        return due

    def _take_turned(self, wheel: Wheel, now_ms: int, most: int) -> list[bytes]:
        taken: list[bytes] = []
        while len(taken) < most and (due := wheel.due(now_ms, most - len(taken))):
            for field in due:
                self.drop(field)
            taken += due
        if len(taken) == most:
            return taken
        by_field = self.by_field
        # The slot that has not ended yet.
        slot = wheel.slots.get(now_ms >> SHIFT, ())
        due = [field for field in slot if by_field[field] <= now_ms][: most - len(taken)]
        for field in due:
            self.drop(field)
        start = wheel.earliest()
        if start is None:
            self.next_ms = NEVER
        elif start > now_ms:
            self.next_ms = start
        else:
            self.next_ms = min([by_field[field] for field in wheel.slots[start >> SHIFT]])
        return taken + due

    def _use_wheel(self) -> None:
        self.wheel = Wheel()
        for field, deadline in self.by_field.items():
            self.wheel.add(field, deadline)
        self.by_field = Table.of(dict(self.by_field.items()))

    def copy(self) -> Deadlines:
        other = Deadlines()
        other.by_field = self.by_field.copy()
        other.next_ms = self.next_ms
        if self.wheel is not None:
            other._use_wheel()
        return other

    def drain(self) -> bool:
        """Free a part of what is no longer used; False where nothing is left."""
        if isinstance(self.by_field, Table) and self.by_field.drain():
            return True
        self.by_field = {}
        return bool(self.wheel is not None and self.wheel.slots and self.wheel.slots.popitem())

    def memory(self) -> int:
        """About how many bytes this takes, without the fields."""
        known = self.by_field
        size = getsizeof(self) + known.memory() if isinstance(known, Table) else getsizeof(known)
        # With a wheel, a field stands in two tables.
        return size * (2 if self.wheel is not None else 1) + NUMBER * len(known)
