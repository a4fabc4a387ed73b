"""What tells of changes in a store that others made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from distcache_replication.backing.inbound import Changes

Known = tuple[str, int]
"""A place up to which all changes are known: in which source, and where."""


@dataclass(frozen=True)
class Wanted:
    """How changes are to be heard of."""

    mode: str
    """decoding, notify or poll."""
    slot: str
    """The name of the slot, or the channel of NOTIFY."""
    publication: str
    stream: str
    """The name of what the cache itself writes."""
    max_lag: int
    """Bytes of WAL that are still read; with more, all keys are dropped instead.  0: any."""
    address: str
    timeout_s: float


class NotSetUp(Exception):
    """The database was not prepared to tell of changes; the text says what lacks."""


class Feed(Protocol):
    """A source of changes.  Everything raises Away and Refused."""

    source: str
    """Which places in it mean the same: those of one slot of one database."""
    lag: int
    """How far it is behind, in bytes of the store's log, as far as that is known."""

    @property
    def behind(self) -> bool:
        """Whether changes that were made before it was opened are still to come."""

    async def check(self) -> None:
        """See whether the database is prepared; raises NotSetUp."""

    async def open(self, known: Known | None) -> bool:
        """Connect; whether all changes behind ``known`` are still to come.

        Changes made after this returns are told in any case.
        """

    async def read(self) -> Changes:
        """Wait for what changed next, or for a later place at which nothing did."""

    def confirm(self, position: int) -> None:
        """What came up to there need not be told again."""

    async def close(self) -> None:
        """Let go of it."""
