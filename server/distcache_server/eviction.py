"""Which key goes first when memory is full.

A policy draws a part of the keys at random and says what each is *worth*.  A small share of them
goes: those worth least.  Redis draws five keys and keeps the best in a pool (evict.c).  To
look at a hundred or so at once costs Python less, and comes closer to the order of all keys.

To add a policy, write a class with the methods of `Policy` and give it a name in `POLICIES`.
maxmemory.py says when keys go, and how many.
"""

from __future__ import annotations

import random
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.config import Config

TICK = 4
"""Times of use are kept in units of 2**TICK milliseconds."""
MINUTE_MS = 60_000
FIRST_COUNT = 5
"""The count of a new key, so that it does not go before it can be used."""
MOST = 255
"""Counts end here."""
EXACTNESS = 4
"""One key goes of so many times ``maxmemory-samples``."""


class Policy:
    """One key is as good as another (random).  The base of the other policies."""

    tracks = False
    """Wants to be told when keys come, are used and go."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def added(self, key: bytes, now_ms: int) -> None:
        """A key is new, or was there before the policy."""

    def touched(self, key: bytes, now_ms: int) -> None:
        """A key is used, if it is there."""

    def removed(self, key: bytes) -> None:
        """A key is gone."""

    def clear(self) -> list[Table[bytes, int]]:
        """All keys are gone; the tables of what was known of them, to be freed by and by."""
        return []

    def draw(self, keys: Table[bytes, Any], every: bool, now_ms: int) -> dict[bytes, int]:
        """Some of these keys, drawn at random, with what each is worth.

        ``keys`` have their deadlines as values where only such keys may go.  They are ``every`` key
        that there is, or only some of those that the policy knows of.
        """
        part = keys.draw()
        return dict(zip(part, random.randbytes(len(part)), strict=True))

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        """What a key is worth: of several, the one worth least goes first."""
        return 0

    def idle_seconds(self, key: bytes, now_ms: int) -> int:
        """How long the key was not used, as far as is known (OBJECT IDLETIME)."""
        return 0

    def frequency(self, key: bytes, now_ms: int) -> int:
        """How much the key is used, from 0 to 255, as far as is known (OBJECT FREQ)."""
        return 0

    def recorded(self, key: bytes, now_ms: int) -> tuple[int | None, int | None]:
        """What a snapshot keeps of the key's use: seconds idle, or how much it is used."""
        return None, None

    def recall(self, key: bytes, idle_s: int | None, frequency: int | None, now_ms: int) -> None:
        """Take what ``recorded`` gave, as far as it means something here."""


class Soonest(Policy):
    """The key whose deadline comes first (ttl)."""

    def draw(self, keys: Table[bytes, Any], every: bool, now_ms: int) -> dict[bytes, int]:
        return keys.draw()

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        return deadline or 0


class Recency(Policy):
    """The key that was not used for the longest time (lru).

    Keys used in the same tick of the clock share one number object.
    """

    tracks = True

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

    def clear(self) -> list[Table[bytes, int]]:
        old, self.used = self.used, Table()
        return [old]

    def draw(self, keys: Table[bytes, Any], every: bool, now_ms: int) -> dict[bytes, int]:
        if every:
            return self.used.draw()
        return {key: self.used.get(key) or 0 for key in keys.draw()}

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        return self.used.get(key) or 0

    def idle_seconds(self, key: bytes, now_ms: int) -> int:
        used = self.used.get(key)
        return 0 if used is None else max(now_ms - (used << TICK), 0) // 1000

    def recorded(self, key: bytes, now_ms: int) -> tuple[int | None, int | None]:
        return self.idle_seconds(key, now_ms), None

    def recall(self, key: bytes, idle_s: int | None, frequency: int | None, now_ms: int) -> None:
        if idle_s is not None:
            self.used[key] = max(now_ms - idle_s * 1000, 0) >> TICK


class Frequency(Policy):
    """The key that is used least, by a count that grows slowly and fades (lfu).

    A key has the minute of its last use and, in the lowest eight bits, its count as of then.  Keys
    with the same number share one object.
    """

    tracks = True

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

    def clear(self) -> list[Table[bytes, int]]:
        old, self.used = self.used, Table()
        return [old]

    def draw(self, keys: Table[bytes, Any], every: bool, now_ms: int) -> dict[bytes, int]:
        if every:
            part = self.used.draw()
            counts = {number: self._count(number, now_ms) for number in set(part.values())}
            return {key: counts[number] for key, number in part.items()}
        return {key: self.frequency(key, now_ms) for key in keys.draw()}

    def worth(self, key: bytes, deadline: int | None, now_ms: int) -> int:
        return self.frequency(key, now_ms)

    def frequency(self, key: bytes, now_ms: int) -> int:
        number = self.used.get(key)
        return 0 if number is None else self._count(number, now_ms)

    def recorded(self, key: bytes, now_ms: int) -> tuple[int | None, int | None]:
        return None, self.frequency(key, now_ms)

    def recall(self, key: bytes, idle_s: int | None, frequency: int | None, now_ms: int) -> None:
        if frequency is not None:
            self.used[key] = self._number(frequency, now_ms)


POLICIES: dict[str, type[Policy]] = {
    "random": Policy,
    "ttl": Soonest,
    "lru": Recency,
    "lfu": Frequency,
}
"""By what stands after ``allkeys-`` and ``volatile-``."""


def growth(count: int, log_factor: int) -> float:
    """How likely it is that one more use raises the count."""
    return 1.0 / (max(count - FIRST_COUNT, 0) * log_factor + 1) if count < MOST else 0.0


def faded(count: int, minutes: int, decay_time: int) -> int:
    """The count after so many minutes without a use: one less for every ``decay_time`` of them."""
    return max(count - max(minutes, 0) // decay_time, 0) if decay_time else count


def least(worths: dict[bytes, int], samples: int) -> list[tuple[bytes, int]]:
    """The keys that go, the one worth least first: as many as ``maxmemory-samples`` lets go."""
    return sorted(worths.items(), key=_worth)[: max(len(worths) // (samples * EXACTNESS), 1)]


_worth = itemgetter(1)
