"""A circuit breaker: a store that does not answer is left alone for a while.

Closed, everything passes.  After some failures in a row it opens, and nothing passes until a pause
is over that grows with every failure.  Then one attempt passes: it closes the breaker or opens it
for longer.
"""

from __future__ import annotations

import random

FAILURES = 3
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0


class Breaker:
    """Counts failures; times are seconds of any clock that does not go back."""

    __slots__ = ("_pause_s", "_trying", "failures", "until_s")

    def __init__(self) -> None:
        self.failures = 0
        self.until_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._trying = False

    @property
    def is_open(self) -> bool:
        return self.failures >= FAILURES

    def allows(self, now_s: float) -> bool:
        """May there be an attempt now?  Of an open breaker one at a time."""
        if not self.is_open:
            return True
        return now_s >= self.until_s and not self._trying

    def begin(self) -> None:
        """There is an attempt."""
        self._trying = self.is_open

    def succeeded(self) -> None:
        self.failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._trying = False

    def failed(self, now_s: float) -> None:
        self.failures += 1
        self._trying = False
        if self.is_open:
            # Many servers that lost the same database shall not come back at the same moment.
            self.until_s = now_s + self._pause_s * random.uniform(0.5, 1.0)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
