"""Key groups: which keys are read in vain, and which take the memory, by pattern (``key-groups``).

Hits and misses are counted as they happen, while there are groups.  How many keys a group has, and
what they take, is only known after a survey of all keys, made in small steps when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from distcache_server.glob import matcher
from distcache_server.memory import size_with_key

if TYPE_CHECKING:
    from distcache_server.keyspace import Keyspace

SLICE = 50
"""Keys that a survey looks at before it reads the clock, about."""


class Group:
    """A pattern, and the reads of keys that match it and none before it."""

    __slots__ = ("hits", "matches", "misses", "pattern")

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        self.matches = matcher(pattern)
        self.hits = 0
        self.misses = 0

    @property
    def name(self) -> str:
        return self.pattern.decode("utf-8", "backslashreplace")

    @property
    def hit_ratio(self) -> float:
        """The share of reads that found a key; 0 where there were none."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


class Groups:
    """All groups, in the order in which they are tried."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def configure(self, patterns: Sequence[bytes]) -> None:
        """Have a group for each pattern; one that was there before keeps its counts."""
        before = {group.pattern: group for group in self.groups}
        self.groups = [before.get(each) or Group(each) for each in dict.fromkeys(patterns)]

    def find(self, key: bytes) -> Group | None:
        for group in self.groups:
            if group.matches(key):
                return group
        return None

    def note(self, key: bytes, hit: bool) -> None:
        """A key was read."""
        group = self.find(key)
        if group is not None:
            if hit:
                group.hits += 1
            else:
                group.misses += 1

    def reset(self) -> None:
        """Count from zero (CONFIG RESETSTAT)."""
        for group in self.groups:
            group.hits = group.misses = 0


class Survey:
    """Counts the keys of each group, and the bytes that they take, a step at a time.

    A key that is there all the time is counted; one that comes or goes meanwhile may be.
    """

    def __init__(self, groups: Groups, databases: Sequence[Keyspace]) -> None:
        self.groups = groups
        self.counts: dict[tuple[int, Group], int] = {}
        """By database and group."""
        self.sizes: dict[tuple[int, Group], int] = {}
        self._left = [keyspace for keyspace in reversed(databases) if len(keyspace)]
        self._cursor = 0

    def step(self, end: int) -> bool:
        """Go on until ``end`` (perf_counter_ns); True where there is more to do."""
        while self._left and self.groups.groups:
            keyspace = self._left[-1]
            self._cursor, keys = keyspace.values.scan(self._cursor, SLICE)
            for key in keys:
                self._count(keyspace, key)
            if not self._cursor:
                self._left.pop()
            if perf_counter_ns() > end:
                return bool(self._left)
        return False

    def _count(self, keyspace: Keyspace, key: bytes) -> None:
        group = self.groups.find(key)
        if group is not None:
            place = keyspace.index, group
            size = size_with_key(key, keyspace.values[key], key in keyspace.deadlines)
            self.counts[place] = self.counts.get(place, 0) + 1
            self.sizes[place] = self.sizes.get(place, 0) + size
