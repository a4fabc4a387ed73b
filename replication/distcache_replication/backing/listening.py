"""Changes by triggers and NOTIFY, where logical decoding is not allowed.

What is notified while nobody listens is lost: ``open`` never promises to tell all.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import asyncpg

from distcache_replication.backing.errors import Away
from distcache_replication.backing.feed import Known, NotSetUp, Wanted
from distcache_replication.backing.inbound import Changes, Gathered, Rows
from distcache_replication.backing.postgres import SETTINGS, Postgres, end, understood
from distcache_replication.backing.postgres_writing import quoted

ASK_S = 1.0
"""Without a word for so long, the connection is asked whether it still lives."""
MOST = 100_000
"""Notifications that wait to be read; with more, all mapped keys count as changed."""
SLICE = 200
"""Notifications that are taken together."""
TRIGGER, TRUNCATED = "distcache_changed", "distcache_truncated"

_TRIGGERS = """
SELECT tgname FROM pg_trigger
 WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled <> 'D'
"""


class Listening:
    """The feed of one channel."""

    def __init__(self, store: Postgres, rows: Rows, wanted: Wanted) -> None:
        self.store = store
        self.rows = rows
        self.source = f"notify:{wanted.slot}"
        self.lag = 0
        self.behind = False
        self._wanted = wanted
        self._connection: Any = None
        self._payloads: deque[str] = deque(maxlen=MOST)
        self._overflowed = False
        self._heard = asyncio.Event()

    async def check(self) -> None:
        for table in self.rows.tables:
            found = {row[0] for row in await self.store.fetch(_TRIGGERS, quoted(table))}
            for name in (TRIGGER, TRUNCATED):
                if name not in found:
                    raise NotSetUp(f"table {'.'.join(table)} lacks the trigger {name}")

    async def open(self, known: Known | None) -> bool:
        self._payloads.clear()
        self._overflowed = False
        try:
            async with asyncio.timeout(self._wanted.timeout_s):
                self._connection = await asyncpg.connect(
                    self._wanted.address,
                    server_settings=SETTINGS,
                    command_timeout=self._wanted.timeout_s,
                )
                self._connection.add_termination_listener(self._wake)
                await self._connection.add_listener(self._wanted.slot, self._notified)
        except Exception as error:
            raise understood(error) from None
        return False

    def _notified(self, _: object, __: int, ___: str, payload: object) -> None:
        self._overflowed |= len(self._payloads) == MOST
        self._payloads.append(str(payload))
        self._heard.set()

    def _wake(self, _: object) -> None:
        self._heard.set()

    async def read(self) -> Changes:
        while not self._payloads:
            self._heard.clear()
            try:
                async with asyncio.timeout(ASK_S):
                    await self._heard.wait()
            except TimeoutError:
                await self._ask()
            if self._connection is None or self._connection.is_closed():
                raise Away("it has closed the connection")
        gathered = Gathered(self.rows)
        if self._overflowed:
            self._overflowed = False
            gathered.whole(range(len(self.rows.plans)))
        for _ in range(min(len(self._payloads), SLICE)):
            gather(gathered, self._payloads.popleft())
        return Changes(gathered.keys, gathered.mappings)

    async def _ask(self) -> None:
        if self._connection is None:
            raise Away("not connected")
        try:
            await self._connection.execute("SELECT 1")
        except Exception as error:
            raise understood(error) from None

    def confirm(self, position: int) -> None:
        """Nobody keeps notifications."""

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            end(connection)


def gather(gathered: Gathered, payload: str) -> None:
    """Note what a notification says.  Anybody can send one: what is no JSON of ours is nothing."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return
    table = told.get("t") if isinstance(told, dict) else None
    for name, numbers in gathered.rows.tables.items():
        if ".".join(name) != table:
            continue
        rows = [told[it] for it in ("o", "n") if isinstance(told.get(it), dict)]
        for number in numbers:
            if not rows:
                gathered.whole([number])
            for row in rows:
                gathered.named(number, row)
