"""Which keys a feed is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Matcher = Callable[[bytes], bool]


class Filter(NamedTuple):
    """Keys that match one of these, in one of these databases; any where there are none."""

    matchers: Sequence[Matcher] = ()
    databases: frozenset[int] = frozenset()

    def passes(self, database: int, key: bytes) -> bool:
        """Whether events of that key are wanted."""
        if self.databases and database not in self.databases:
            return False
        return not self.matchers or any(matches(key) for matches in self.matchers)
