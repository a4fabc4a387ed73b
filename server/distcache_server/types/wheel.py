"""Which keys are due: a timing wheel with one place per key.

Varghese and Lauck, 1987, "Hashed and hierarchical timing wheels", with slots in a dict instead of a
ring.  A key stands in the slot of its deadline, 32 ms wide; moving it to another is two operations
on dicts, and the due slots are found by counting time, without looking at any other key.
"""

from __future__ import annotations

from distcache_server.types.table import Table

SHIFT = 5
"""A slot is 2**SHIFT milliseconds wide."""
LARGE = 512
"""From here on a slot is kept in a Table, since a large set grows with a long pause."""
SOME = 16
"""Slots that are freed in one go."""

_Slot = dict[bytes, None] | Table[bytes, None]


class Wheel:
    """Keys by the time slot of their deadlines."""

    __slots__ = ("next_slot", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, _Slot] = {}
        self.next_slot = 0
        """No slot before this one holds a key."""

    def add(self, key: bytes, deadline: int) -> None:
        at = deadline >> SHIFT
        slot = self.slots.get(at)
        if slot is None:
            slot = self.slots[at] = {}
            if at < self.next_slot or len(self.slots) == 1:
                self.next_slot = at
        elif len(slot) == LARGE and type(slot) is dict:
            slot = self.slots[at] = Table.of(slot)
        slot[key] = None

    def remove(self, key: bytes, deadline: int) -> None:
        at = deadline >> SHIFT
        slot = self.slots.get(at)
        if slot is not None:
            slot.pop(key, None)
            if not slot:
                del self.slots[at]

    def take(self, now_ms: int) -> bytes | None:
        """Take out one of the keys that are due, if there is one."""
        for key in self.due(now_ms, 1):
            self.remove(key, self.next_slot << SHIFT)
            return key
        return None

    def earliest(self) -> int | None:
        """When the first slot begins; no key is due before.  Cheap where it is asked for often."""
        if not self.slots:
            return None
        last = self.next_slot + len(self.slots)
        while self.next_slot not in self.slots:
            self.next_slot += 1
            if self.next_slot > last:
                self.next_slot = min(self.slots)
        return self.next_slot << SHIFT

    def drain(self) -> bool:
        """Free some slots of a wheel that is no longer used; False where nothing is left."""
        for _ in range(SOME):
            if not self.slots:
                return False
            at, slot = self.slots.popitem()
            if type(slot) is Table and slot.drain():
                self.slots[at] = slot
        return True

    def due(self, now_ms: int, count: int) -> list[bytes]:
        """Up to ``count`` keys whose deadline has come: those of slots that have ended."""
        if not self.slots:
            return []
        ended = now_ms >> SHIFT
        if ended - self.next_slot > len(self.slots):
            self.next_slot = min(self.slots)
        while self.next_slot < ended:
            slot = self.slots.get(self.next_slot)
            if slot is not None:
                return slot.scan(0, count)[1][:count] if type(slot) is Table else list(slot)[:count]
            self.next_slot += 1
        return []
