"""Keys that are being loaded from the backing store, and the commands that wait for them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from distcache_server.blocking import Wait
from distcache_server.errors import BackingDown, CommandError
from distcache_server.reply import Wire

if TYPE_CHECKING:
    from distcache_replication.backing.plan import Plan
    from distcache_replication.backing.store import KeyValues

    from distcache_server.client import Client


class Load:
    """A key that is being loaded, and the commands that wait for it."""

    __slots__ = ("began_s", "fenced", "key", "plan", "values", "waits")

    def __init__(self, key: bytes, plan: Plan, values: KeyValues) -> None:
        self.key = key
        self.plan = plan
        self.values = values
        self.waits: list[LoadWait] = []
        self.fenced = False
        """The key was changed or dropped since: what was read is of no use."""
        self.began_s = monotonic()


class LoadWait(Wait):
    """Raised in place of a command: its keys are being loaded."""

    def __init__(self, client: Client) -> None:
        refused = Wire(BackingDown(b"", b"the client was unblocked").wire())
        super().__init__([], None, 0, refused)
        self.client = client
        self.pending: set[Load] = set()
        self.absent: set[bytes] = set()
        """Keys that turned out to have no row, since the command came."""
        self.error: CommandError | None = None
        self.rounds = 1


class Figures:
    """What was done so far."""

    __slots__ = ("absent", "failed", "fenced", "loaded", "queries", "refreshed", "shed", "stale")

    def __init__(self) -> None:
        self.loaded = 0
        """Rows that were put into the cache."""
        self.absent = 0
        """Keys that have no row."""
        self.failed = 0
        """Keys that could not be loaded."""
        self.fenced = 0
        """Keys that changed while they were loaded."""
        self.queries = 0
        self.refreshed = 0
        """Loads ahead of the end of a key's time."""
        self.shed = 0
        """Keys that were not asked for: too many were, or the store is away."""
        self.stale = 0
        """Reads that were answered with a value past its time."""
