"""Changes by logical decoding: a slot of PostgreSQL remembers which were not told yet.

The slot is made here where there is none.  One that was made anew, whose WAL is gone, that somebody
else has moved on, or that is further behind than is allowed cannot tell all: ``open`` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

import asyncpg

from distcache_replication.backing import pgoutput, streaming
from distcache_replication.backing.errors import Away, Refused
from distcache_replication.backing.feed import Known, NotSetUp, Wanted
from distcache_replication.backing.inbound import POSITIONS, Changes, Rows, Tracker
from distcache_replication.backing.pgoutput import BadMessage
from distcache_replication.backing.postgres import SETTINGS, Postgres, end, understood
from distcache_replication.backing.postgres_writing import quoted
from distcache_replication.backing.streaming import SlotInUse, Stream
from distcache_replication.backing.visibility import SNAPSHOT, Snapshot

SILENCE_S = 30.0
"""Without a word for so long, the connection is taken for dead; it is asked every second."""
ASK_S, HURRY_S = 1.0, 0.05
CONNECT_S = 10.0
"""For connecting, where `backing-timeout`, which is for loads, is shorter."""
SLOW_S = 60.0
"""For what takes its time."""
PATIENCE = 6
"""Attempts before the connection is ended that has the slot."""
USELESS = 3
"""Failures in a row after which a slot is made anew."""
FIRST_LOOK_S, LONGEST_LOOK_S = 0.0005, 0.02
"""Between two looks whether a commit can be seen."""
OLDEST = 140000
"""The first version of PostgreSQL whose logical messages can be told."""

_SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('wal_level'),
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
       pg_is_in_recovery()
"""
_PUBLISHED = """
SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1
"""
_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = $1
"""
_IDENTITY = """
SELECT c.relreplident::text, array_agg(a.attname)
  FROM pg_class c
  LEFT JOIN pg_index i ON i.indrelid = c.oid
   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
 WHERE c.oid = to_regclass($1) AND c.relkind = 'r'
 GROUP BY c.oid, c.relreplident
"""
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
_SLOT = """
SELECT confirmed_flush_lsn::text, wal_status, pg_current_wal_flush_lsn()::text, active_pid,
       plugin = 'pgoutput' AND database = current_database()
  FROM pg_replication_slots WHERE slot_name = $1
"""
_CREATE = "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')"
_DROP = "SELECT pg_drop_replication_slot($1)"
_ADVANCE = "SELECT end_lsn::text FROM pg_replication_slot_advance($1, pg_current_wal_flush_lsn())"
_TERMINATE = """
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
 WHERE slot_name = $1 AND active_pid IS NOT NULL
"""


async def identity(store: Postgres, table: Sequence[str]) -> tuple[str, set[str]] | None:
    """The replica identity of a table and its columns; None where it is no plain table."""
    rows = await store.fetch(_IDENTITY, quoted(table))
    if not rows:
        return None
    return rows[0][0], {name for name in rows[0][1] if name is not None}


class Decoding:
    """The feed of one slot."""

    def __init__(self, store: Postgres, rows: Rows, names: Wanted) -> None:
        self.store = store
        self.rows = rows
        self.names = names
        self.source = f"decoding:{names.slot}"
        self.lag = 0
        self._end = 0
        """Where the WAL ended when it was opened."""
        self._tracker = Tracker(rows, names.stream)
        self._snapshot: Snapshot | None = None
        """What loads see at least."""
        self._stream: Stream | None = None
        self._received = self._confirmed = self._told = 0
        self._asked_s = 0.0
        self._in_use = 0
        """Attempts, since the last success, that found another connection at the slot ..."""
        self._failures = 0
        """... and times that what the slot has could not be decoded."""

    @property
    def behind(self) -> bool:
        return self._received < self._end

    async def check(self) -> None:
        ((version, level, may, standby),) = await self.store.fetch(_SERVER)
        if version < OLDEST:
            raise NotSetUp("logical decoding needs PostgreSQL 14 or later")
        if standby:
            raise NotSetUp("this is a standby: the changes are told by its primary")
        if level != "logical":
            raise NotSetUp(f"wal_level is {level}, and has to be logical")
        if not may:
            raise NotSetUp("the role has to have the attribute REPLICATION")
        name = self.names.publication
        found = await self.store.fetch(_PUBLICATION, name)
        if not found:
            raise NotSetUp(f"there is no publication {name}")
        if not found[0][0]:
            raise NotSetUp(f"the publication {name} has to publish all kinds of changes")
        published = {tuple(row) for row in await self.store.fetch(_PUBLISHED, name)}
        writes = any(plan.mapping.direction != "read" for plan in self.rows.plans)
        for table in (*self.rows.tables, *((POSITIONS,) if writes else ())):
            if table not in published:
                raise NotSetUp(f"table {'.'.join(table)} is not in the publication {name}")
        for table in self.rows.tables:
            known = await identity(self.store, table)
            if known is None or known[0] == "f":
                continue
            lacks = sorted(set(self.rows.columns(table)) - known[1])
            if lacks:
                raise NotSetUp(
                    f"the replica identity of table {'.'.join(table)} does not tell"
                    f" {', '.join(lacks)}"
                )

    async def open(self, known: Known | None) -> bool:
        names = self.names
        ((system,),) = await self.store.fetch(_SYSTEM)
        self.source = f"decoding:{system}:{names.slot}"
        place = known[1] if known is not None and known[0] == self.source else -1
        found = await self.store.fetch(_SLOT, names.slot)
        if found and not found[0][4]:
            raise Refused(f"the slot {names.slot} belongs to somebody else")
        lost = found and found[0][1] in ("lost", None)
        if found and (lost or self._failures >= USELESS) and found[0][3] is None:
            self._failures = 0
            await self.store.fetch(_DROP, names.slot)
            found = []
        if not found:
            created = await self._slowly(_CREATE)
            self._end = 0
            await self._connect(pgoutput.lsn(created))
            return False
        confirmed, end = map(pgoutput.lsn, (found[0][0], found[0][2]))
        complete = confirmed <= place <= end
        self._end = end
        start = place if complete else confirmed
        if names.max_lag and end - start > names.max_lag and found[0][3] is None:
            moved = await self._slowly(_ADVANCE)
            start, complete = pgoutput.lsn(moved), False
        await self._connect(start)
        return complete

    async def _slowly(self, statement: str) -> str:
        """Run what may wait for transactions of others, or read much WAL."""
        connection = None
        try:
            async with asyncio.timeout(SLOW_S):
                connection = await asyncpg.connect(self.names.address, server_settings=SETTINGS)
                return str(await connection.fetchval(statement, self.names.slot))
        except Exception as error:
            raise understood(error) from None
        finally:
            if connection is not None:
                end(connection)

    async def _connect(self, start: int) -> None:
        names = self.names
        patience_s = max(names.timeout_s, CONNECT_S)
        self._stream = await streaming.connect(names.address, patience_s, SILENCE_S)
        try:
            await self._stream.start(names.slot, names.publication, start)
        except SlotInUse:
            await self._take_over()
            raise
        self._in_use = 0
        self._received = self._confirmed = self._told = start
        self._tracker = Tracker(self.rows, names.stream)
        # After a crash the ids of transactions that wrote nothing are given again.
        self._snapshot = None

    async def _take_over(self) -> None:
        """After some attempts, end the connection that has the slot: that of a dead primary."""
        self._in_use += 1
        if self._in_use >= PATIENCE:
            await self.store.fetch(_TERMINATE, self.names.slot)

    async def read(self) -> Changes:
        stream, tracker = self._stream, self._tracker
        if stream is None:
            raise Away("not connected")
        while True:
            try:
                said = await stream.read()
            except Refused:
                # A publication that was made anew is not there in the past: that never gets well.
                self._failures += 1
                raise
            if isinstance(said, streaming.Alive):
                if said.asks:
                    stream.tell(self._received, self._confirmed)
                if tracker.inside or said.end <= self._received:
                    continue
                self._received = said.end
                self.lag = 0
                return Changes((), (), said.end)
            if not tracker.wants(said.content):
                continue
            try:
                changes = tracker.take(pgoutput.decode(said.content))
            except BadMessage as error:
                self._failures += 1
                raise Refused(f"a message of pgoutput is not understood: {error}") from None
            if changes is not None:
                self._failures = 0
                if changes.keys or changes.mappings:
                    await self._wait_visible(tracker.transaction)
                self._received = max(self._received, changes.position)
                self.lag = max(said.end - changes.position, 0)
                return changes

    async def _wait_visible(self, transaction: int) -> None:
        """Until loads see what a transaction did: else they would bring back what was before."""
        pause_s = FIRST_LOOK_S
        while self._snapshot is None or not self._snapshot.sees(transaction):
            if self._snapshot is not None:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_LOOK_S)
            ((text,),) = await self.store.fetch(SNAPSHOT)
            self._snapshot = Snapshot.parse(text)

    def confirm(self, position: int) -> None:
        stream, now_s = self._stream, monotonic()
        if stream is None:
            return
        self._confirmed = max(self._confirmed, position)
        asks = now_s - self._asked_s >= (HURRY_S if self.behind else ASK_S)
        if asks or self._confirmed > self._told:
            self._told = self._confirmed
            if asks:
                self._asked_s = now_s
            stream.tell(max(self._received, self._confirmed), self._confirmed, asks)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
