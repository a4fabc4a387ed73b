"""Changes in a file of SQLite, which tells no more than that somebody has changed something.

``PRAGMA data_version`` is another number after a commit of another connection.  So all mapped keys
count as changed then.
"""

from __future__ import annotations

import asyncio

from distcache_replication.backing.feed import Known
from distcache_replication.backing.inbound import Changes, Rows
from distcache_replication.backing.sqlite import Sqlite

PAUSE_S = 0.05


class Polling:
    """The feed of one file."""

    def __init__(self, store: Sqlite, rows: Rows) -> None:
        self.source = "poll"
        self.lag = 0
        self.behind = False
        self._store = store
        self._all = [number for numbers in rows.tables.values() for number in numbers]
        self._version = 0

    async def check(self) -> None:
        """There is nothing to prepare."""

    async def open(self, known: Known | None) -> bool:
        self._version = await self._store.data_version()
        return False

    async def read(self) -> Changes:
        while (version := await self._store.data_version()) == self._version:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
        self._version = version
        return Changes((), self._all)

    def confirm(self, position: int) -> None:
        """Nobody keeps changes."""

    async def close(self) -> None:
        """There is nothing to let go of."""
