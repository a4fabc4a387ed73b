"""Which key goes first when memory is full.

A policy says what a key of a database is *worth*.  Of a few keys drawn at random, and the best that
earlier draws have left in the pool, the one worth least goes.  That is Redis's way (evict.c): it
needs no order of all keys, and comes close to having one.

To add a policy, write a class with the methods of `Policy` and give it a name in `POLICIES`.
maxmemory.py says when and how many keys go.
"""

from __future__ import annotations

import random
from bisect import insort
from typing import TYPE_CHECKING, Generic, TypeVar

from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.config import Config

T = TypeVar("T")

POOL = 16
"""Candidates that the pool keeps."""
TICK = 4
"""Times of use are kept in units of 2**TICK milliseconds."""
MINUTE_MS = 60_000
FIRST_COUNT = 5
"""The count of a new key, so that it does not go before it can be used."""
MOST = 255
"""Counts end here."""


class Policy:
    """One key is as good as another (random).  The base of the other policies."""

    tracks = False
    """Wants to be told when keys come, are used and go."""
    draws = 1
    """How many keys to look at for one that goes; 0 for ``maxmemory-samples``."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def added(self, key: bytes, now_ms: int) -> None:
        """A key is new, or was there before the policy."""

    def touched(self, key: bytes, now_ms: int) -> None:
        """A key is used, if it is there."""

    def removed(self, key: bytes) -> None:
        """A key is gone."""

    def clear(self) -> None:
        """All keys are gone."""

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        """Of several keys the one worth least goes first."""
        return 0

    def idle_seconds(self, key: bytes, now_ms: int) -> int:
        """How long the key was not used, as far as is known (OBJECT IDLETIME)."""
        return 0

    def frequency(self, key: bytes, now_ms: int) -> int:
        """How much the key is used, from 0 to 255, as far as is known (OBJECT FREQ)."""
        return 0


class Soonest(Policy):
    """The key whose deadline comes first (ttl)."""

    draws = 0

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        return deadline or 0


class Recency(Policy):
    """The key that was not used for the longest time (lru).

    Keys used in the same tick of the clock share one number object.
    """

    tracks = True
    draws = 0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.used: Table[bytes, int] = Table()
        self._tick = 0

    def added(self, key: bytes, now_ms: int) -> None:
        tick = now_ms >> TICK
        if tick != self._tick:
            self._tick = tick
        self.used[key] = self._tick

    def touched(self, key: bytes, now_ms: int) -> None:
        tick = now_ms >> TICK
        if tick != self._tick:
            self._tick = tick
        used = self.used
        part = used.parts[hash(key) & used.mask]
        if key in part:
            part[key] = self._tick

    def removed(self, key: bytes) -> None:
        self.used.pop(key)

    def clear(self) -> None:
        self.used = Table()

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        return self.used.get(key) or 0

    def idle_seconds(self, key: bytes, now_ms: int) -> int:
        used = self.used.get(key)
        return 0 if used is None else max(now_ms - (used << TICK), 0) // 1000


class Frequency(Policy):
    """The key that is used least, by a count that grows slowly and fades (lfu).

    A key has the minute of its last use and, in the lowest eight bits, its count as of then.  Keys
    with the same number share one object.
    """

    tracks = True
    draws = 0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.used: Table[bytes, int] = Table()
        self._minute = -1
        self._numbers: list[int] = []

    def _number(self, count: int, now_ms: int) -> int:
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._numbers = [minute << 8 | each for each in range(MOST + 1)]
        return self._numbers[count]

    def _count(self, number: int, now_ms: int) -> int:
        minutes = now_ms // MINUTE_MS - (number >> 8)
        return faded(number & MOST, minutes, self.config.lfu_decay_time)

    def added(self, key: bytes, now_ms: int) -> None:
        self.used[key] = self._number(FIRST_COUNT, now_ms)

    def touched(self, key: bytes, now_ms: int) -> None:
        used = self.used
        part = used.parts[hash(key) & used.mask]
        number = part.get(key)
        if number is not None:
            count = self._count(number, now_ms)
            if random.random() < growth(count, self.config.lfu_log_factor):
                count += 1
            part[key] = self._number(count, now_ms)

    def removed(self, key: bytes) -> None:
        self.used.pop(key)

    def clear(self) -> None:
        self.used = Table()

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        number = self.used.get(key)
        return 0 if number is None else self._count(number, now_ms)

    def frequency(self, key: bytes, now_ms: int) -> int:
        return self.worth(key, None, now_ms)


def growth(count: int, log_factor: int) -> float:
    """How likely it is that one more use raises the count."""
    return 1.0 / (max(count - FIRST_COUNT, 0) * log_factor + 1) if count < MOST else 0.0


def faded(count: int, minutes: int, decay_time: int) -> int:
    """The count after so many minutes without a use: one less for every ``decay_time`` of them."""
    return max(count - max(minutes, 0) // decay_time, 0) if decay_time else count


POLICIES: dict[str, type[Policy]] = {
    "random": Policy,
    "ttl": Soonest,
    "lru": Recency,
    "lfu": Frequency,
}
"""By what stands after ``allkeys-`` and ``volatile-``."""


class Pool(Generic[T]):
    """The candidates worth least of all that were offered, the least first."""

    def __init__(self, size: int = POOL) -> None:
        self.size = size
        self._entries: list[tuple[int, int, T]] = []
        self._offers = 0

    def offer(self, worth: int, candidate: T) -> None:
        entries = self._entries
        if len(entries) >= self.size:
            if worth >= entries[-1][0]:
                return
            entries.pop()
        self._offers += 1
        insort(entries, (worth, self._offers, candidate))

    def take(self) -> tuple[int, T] | None:
        """The candidate worth least, with its worth as of the offer; None where there is none."""
        if not self._entries:
            return None
        worth, _, candidate = self._entries.pop(0)
        return worth, candidate

    def clear(self) -> None:
        self._entries.clear()
