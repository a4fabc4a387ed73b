"""What the keys of a database take, kept up to date while they come and go.

There is a ledger only while ``maxmemory`` or its policy asks for one.  The sum is over

- each key: its bytes and its entries in tables;
- each string: its bytes, worked out from its length whenever it comes or goes;
- any other value: its own estimate as of the last change, which the ledger remembers (a large one
  is not asked again after every small change);
- each deadline.

A ledger that begins with keys already there counts them bit by bit, in the order of a scan
(types/table.py): what the count has passed is kept up to date, what it has not is left to it.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from distcache_server.eviction import Policy
from distcache_server.memory import DEADLINE, ENTRY, STAMP, STRING
from distcache_server.types.buffer import Buffer
from distcache_server.types.table import MAX_BITS, Table, reverse_bits

END = 1 << MAX_BITS
LARGE = 64
"""Values with more entries than this are not measured after every change ..."""
PATIENCE = 8
"""... but after one of so many, and when the number of entries has changed by a sixteenth."""
GRAIN = 4
"""The sizes of values are kept in units of 2**GRAIN bytes: small numbers take no memory."""


class Budget:
    """What all databases take together, and may take."""

    __slots__ = ("limit", "quiet", "used")

    def __init__(self) -> None:
        self.used = 0
        self.limit = 0
        """Past it keys go."""
        self.quiet = False
        """The command that runs is to leave no trace of its accesses (CLIENT NO-TOUCH)."""


def place_of(key: bytes) -> int:
    """Where a scan comes to the key, between 0 and END, however the table is divided."""
    return reverse_bits(hash(key) & (END - 1), MAX_BITS)


class Ledger:
    """The sum of one database."""

    __slots__ = (
        "budget",
        "counted",
        "lengths",
        "patience",
        "per_key",
        "policy",
        "sizes",
        "total",
        "tracks",
    )

    def __init__(self, budget: Budget, policy: Policy | None) -> None:
        self.budget = budget
        self.policy = policy
        self.tracks = policy if policy is not None and policy.tracks else None
        """The policy, if it wants to be told what happens to keys."""
        self.per_key = STRING + ENTRY + (ENTRY + STAMP if self.tracks is not None else 0)
        self.sizes: Table[bytes, int] = Table()
        """Of values that are no plain strings."""
        self.lengths: Table[bytes, int] = Table()
        """Entries that large values had when they were measured."""
        self.patience = PATIENCE
        self.total = 0
        self.counted = 0
        """How far the count has come, as ``place_of`` has it."""

    # What the keyspace tells

    def touch(self, key: bytes, now_ms: int) -> None:
        """The key is used, if it is there."""
        if self.tracks is not None and not self.budget.quiet:
            self.tracks.touched(key, now_ms)

    def stored(self, key: bytes, old: Any, value: Any, now_ms: int) -> None:
        """The key has a value in place of another, or of None where it is new."""
        if old is None and self.tracks is not None:
            self.tracks.added(key, now_ms)
        if self.counted < END and place_of(key) >= self.counted:
            return
        size = len(key) + self.per_key if old is None else 0
        if type(old) is bytes:
            size -= len(old) + STRING
        elif old is not None and old is not value:
            size -= self._unweigh(key)
        if type(value) is bytes:
            size += len(value) + STRING
        elif old is not value:
            self.sizes[key] = 0  # until the change is told
        self.total += size
        self.budget.used += size

    def measure(self, key: bytes, value: Any) -> None:
        """The key's value may have been changed in place."""
        if type(value) is bytes or (self.counted < END and place_of(key) >= self.counted):
            return
        length = len(value)
        if length > LARGE and type(value) is not Buffer:
            measured = self.lengths.get(key) or 0
            self.patience -= 1
            if self.patience and abs(length - measured) <= measured >> 4:
                return
            self.patience = PATIENCE
            self.lengths[key] = length
        before = (self.sizes.get(key) or 0) << GRAIN
        self._add(self._weigh(key, value) - before)

    def forget(self, key: bytes, value: Any) -> None:
        """The key is gone, and what was its value."""
        if self.tracks is not None:
            self.tracks.removed(key)
        if self.counted < END and place_of(key) >= self.counted:
            return
        size = len(value) + STRING if type(value) is bytes else self._unweigh(key)
        self._add(-size - len(key) - self.per_key)

    def dated(self, change: int) -> None:
        """So many more keys have a deadline, or fewer."""
        self._add(DEADLINE * change)

    def clear(self) -> list[Table[bytes, int]]:
        """All keys are gone; the tables of what was known of them, to be freed by and by."""
        self._add(-self.total)
        old = [self.sizes, self.lengths]
        self.sizes, self.lengths = Table(), Table()
        self.counted = END
        return old + self.tracks.clear() if self.tracks is not None else old

    # What OBJECT asks

    def idle_seconds(self, key: bytes, now_ms: int) -> int:
        """How long the key was not used; 0 where the policy does not care."""
        return 0 if self.policy is None else self.policy.idle_seconds(key, now_ms)

    def frequency(self, key: bytes, now_ms: int) -> int:
        """How much the key is used, from 0 to 255; 0 where the policy does not care."""
        return 0 if self.policy is None else self.policy.frequency(key, now_ms)

    # What a snapshot keeps

    def recorded(self, key: bytes, now_ms: int) -> tuple[int | None, int | None]:
        """The seconds that the key was not used, or how much it is used, where that is known."""
        return (None, None) if self.policy is None else self.policy.recorded(key, now_ms)

    def recall(self, key: bytes, idle_s: int | None, frequency: int | None, now_ms: int) -> None:
        """Take what ``recorded`` gave, here or elsewhere."""
        if self.policy is not None:
            self.policy.recall(key, idle_s, frequency, now_ms)

    # What it does with that

    def _add(self, size: int) -> None:
        self.total += size
        self.budget.used += size

    def _weigh(self, key: bytes, value: Any) -> int:
        size: int = (ENTRY + value.memory()) >> GRAIN
        self.sizes[key] = size
        return size << GRAIN

    def _unweigh(self, key: bytes) -> int:
        if self.lengths.count:
            self.lengths.pop(key)
        return (self.sizes.pop(key) or 0) << GRAIN

    # Keys that were there before

    def count(self, values: Table[bytes, Any], now_ms: int, end: int) -> bool:
        """Go on counting until ``end`` (perf_counter_ns); True where there is more to count."""
        while self.counted < END:
            slot = reverse_bits(self.counted, MAX_BITS) & values.mask
            bits = values.sizes[slot]
            first = reverse_bits(slot & ((1 << bits) - 1), bits) << (MAX_BITS - bits)
            size = 0
            for key, value in values.parts[slot].items():
                # Where parts have been merged, some of the keys may have been counted.
                if first < self.counted and place_of(key) < self.counted:
                    continue
                if self.tracks is not None:
                    self.tracks.added(key, now_ms)
                size += len(key) + self.per_key
                size += len(value) + STRING if type(value) is bytes else self._weigh(key, value)
            self._add(size)
            self.counted = first + (1 << (MAX_BITS - bits))
            if perf_counter_ns() > end:
                return self.counted < END
        return False
