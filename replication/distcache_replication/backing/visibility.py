"""Which transactions of PostgreSQL others can see.

A walsender tells of a commit once it is in the WAL.  Others see it a little later, or much later
where the commit waits for a synchronous standby: who reads in between reads what was before.
"""

from __future__ import annotations

from typing import NamedTuple, Self

SNAPSHOT = "SELECT pg_current_snapshot()::text"
MASK = (1 << 32) - 1
"""Transactions are told by the lower half of their numbers, which begins again at some time."""


class Snapshot(NamedTuple):
    """What a statement would see."""

    end: int
    """Transactions from this one on are not seen, ..."""
    running: frozenset[int]
    """... nor are these."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``xmin:xmax:xip,xip``, as `SNAPSHOT` gives it."""
        _, end, running = text.split(":")
        return cls(int(end) & MASK, frozenset(int(it) & MASK for it in running.split(",") if it))

    def sees(self, transaction: int) -> bool:
        """Whether what a transaction did, which has committed, is seen."""
        from_end = (transaction - self.end) & MASK
        return from_end > MASK >> 1 and transaction not in self.running
