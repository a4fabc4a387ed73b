"""Write-behind: what clients write to mapped keys goes to their rows, in batches with their places.

A follower of the log.  It notes which keys change (noting.py), makes batches of their present
values, and writes each in one transaction with the position in the log that it brings the rows to,
once that part of the log cannot be lost any more.  So the rows are the keys as of that position,
whatever happens, and whoever takes over goes on from there.

Only a primary writes, and only while the store's position is the one that it left there itself
(position.py): another server that takes over writes its own epoch, and ours is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.backing.changes import Batch, Change, First
from distcache_replication.backing.errors import Deposed, RowRefused, StoreError
from distcache_replication.backing.mapping import DELETE
from distcache_replication.backing.position import Position

from distcache_server import logs, snapshot
from distcache_server.arguments import Columns
from distcache_server.noting import Noter
from distcache_server.succession import Pause, Succession

if TYPE_CHECKING:
    from distcache_replication.backing.pattern import Matcher
    from distcache_replication.backing.plan import Plan
    from distcache_replication.backing.store import WritableStore
    from distcache_replication.log import Log

    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace
    from distcache_server.persistence import Persistence

PAUSE_S = 0.002
"""Between two looks at the log, so that many commands are noted together."""
SLICE = 200
"""Keys that are looked at before others have their turn."""
RESTS, LONGEST_REST_S = 7, 1.0
"""After a batch the writer rests for so many times as long as it took, at most so long, if nobody
waits for the next: so that clients have their time, and what changes again and again is written
once.  It does not rest where the store is more than half as far behind as it may be."""
BEAT_S = 5.0
"""A server that has nothing to write says so often that it is there."""


class Figures:
    """What was done so far."""

    __slots__ = ("batches", "dead", "deposed", "dropped", "failed", "passes", "rows")

    def __init__(self) -> None:
        self.batches = 0
        self.rows = 0
        """Changes that were written."""
        self.dead = 0
        """Changes that the store refused, and that are dead letters."""
        self.failed = 0
        """Attempts that failed."""
        self.deposed = 0
        """How often another server had taken over."""
        self.passes = 0
        """How often all keys had to be written."""
        self.dropped = 0
        """Keys that were dropped, since rows were newer."""


class Writer:
    """The write-behind of a server."""

    def __init__(
        self,
        engine: Engine,
        store: WritableStore,
        plans: Sequence[Plan],
        match: Matcher,
        stream: str,
    ) -> None:
        self.engine = engine
        self.store = store
        self.stream = stream
        self.home: Keyspace = engine.databases[0]
        self.noter = Noter(self.home, plans, match, monotonic)
        self.figures = Figures()
        self.position: Position | None = None
        """What we left in the store; None while it is not ours to write."""
        self.sealed: Batch | None = None
        """The batch that waits to be safe, or is being written."""
        self.following = False
        """All changes since the store's position are noted."""
        self.full = self.pressing = False
        """The store is so far behind that no more may be written; or half as far."""
        self.problem = ""
        """Why nothing can be written at present."""
        self.told: list[Callable[[], None]] = []
        """Told when the store has come further, or is not too far behind any more."""
        self._wanted = 0
        """Somebody waits for the store to have the log up to here."""
        self.succession = Succession(self)
        self._attached = False
        self.woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self._begun_s = self._written_s = monotonic()
        """When the last batch was begun, and when it was written."""
        self._rarely = logs.Rarely()
        engine.config.on_change(self.woken.set, "backing-batch-delay", "backing-batch-size")

    @property
    def persistence(self) -> Persistence:
        assert self.engine.persistence is not None
        return self.engine.persistence

    @property
    def log(self) -> Log:
        return self.persistence.log

    # Beginning and end

    async def begin(self) -> None:
        """We are the primary: find out what the store lacks; then write.

        Until then nobody knows what is not written, and no row is loaded or evicted.
        """
        self.promoted(wait=True)
        await self.succession.learn()
        self._task = self.persistence.loop.create_task(self._run())

    def promoted(self, *, wait: bool = False) -> None:
        """We are the primary now; `begin` in the background."""
        if self._task is not None:
            self._task.cancel()
        persistence = self.persistence
        persistence.journal.attach()
        persistence.journal.ran = self._ran
        self._attached = True
        self.noter.follow(self.log.end, max(persistence.journal.selected, 0))
        self.log.holders.append(self.noter)
        if any(it.mapping.writes and it.mapping.expired != DELETE for it in self.noter.plans):
            self.home.on_expiring = self._expiring
        self._follow_task = persistence.loop.create_task(self._follow())
        if not wait:
            self._task = persistence.loop.create_task(self._learn_and_run())

    async def _learn_and_run(self) -> None:
        pause = Pause()
        while not self.following:
            try:
                await self.succession.ask()
                await self.succession.learn()
            except StoreError as error:
                self.failed(error)
                await pause.wait()
            except Exception as error:
                self.unexpected(error)
                await pause.wait()
        await self._run()

    def demoted(self) -> None:
        """We are a replica now: what is not written yet is the business of our primary."""
        self._rest()
        self._task = self.persistence.loop.create_task(self.succession.watch())

    def _rest(self) -> None:
        for task in (self._task, self._follow_task):
            if task is not None:
                task.cancel()
        self._task = self._follow_task = None
        if self.noter in self.log.holders:
            self.log.holders.remove(self.noter)
        self.following = self.full = self.pressing = False
        self.position = self.sealed = None
        self._wanted = 0
        self.noter.follow(0, 0)
        self.home.on_expiring = None
        self.succession.end()
        if self._attached:
            self._attached = False
            self.persistence.journal.ran = None
            self.persistence.journal.detach()
        self.tell()

    # What is not written yet

    def unwritten(self, key: bytes, plan: Plan) -> bool:
        """Whether the row of a key may not be what the key holds."""
        if not self.following:
            return True
        self.note()
        sealed = self.sealed
        return self.noter.gathering.holds(key, plan) or (
            sealed is not None and sealed.holds(key, plan)
        )

    def left_behind(self, key: bytes, plan: Plan) -> Change | None:
        """What the row of a key will hold that is not here: it expired, and its row stays."""
        gathering, sealed = self.noter.gathering, self.sealed
        if key in gathering.noted:
            return None
        for part in (gathering, sealed):
            if part is None:
                continue
            found = part.changes.get(key)
            if found is not None:
                return found if found.row is not None else None
            if key in part.archived or plan in part.emptied:
                return None
        return None

    def pins(self, keyspace: Keyspace, key: bytes) -> bool:
        """Whether a key must stay in memory, as its row is not what it holds."""
        if keyspace is not self.home or self.engine.follows:
            return False
        found = self.noter.plan_of(key)
        return found is not None and self.unwritten(key, found[0])

    def _expiring(self, keyspace: Keyspace, key: bytes) -> None:
        """A key is about to expire: where its row stays, or goes elsewhere, it must be complete."""
        engine = self.engine
        found = self.noter.plan_of(key)
        if found is None or found[0].mapping.expired == DELETE or engine.log is None:
            return
        # What a transaction has done so far is not in the log yet.
        if engine.in_transaction or self.unwritten(key, found[0]):
            style = rdb.Style(engine.config.rdb_version, engine.config.rdbcompression)
            payload = snapshot.dump(keyspace.values[key], keyspace.limits, style)
            deadline = keyspace.deadlines.get(key) or 0
            self.persistence.journal.held_at_last(keyspace, key, deadline, payload)

    def oldest(self) -> First | None:
        """Where the oldest change is that is not written."""
        if self.sealed is not None and self.sealed.size:
            return self.sealed.first
        gathering = self.noter.gathering
        return gathering.first if gathering else None

    @property
    def pending(self) -> int:
        """Changes that are not written."""
        sealed = self.sealed
        return self.noter.gathering.size + (sealed.size if sealed is not None else 0)

    @property
    def status(self) -> str:
        """What it does, in a word."""
        if self.engine.follows:
            return "replica"
        if self.problem:
            return "waiting" if self.position is None else "failing"
        return "starting" if self.position is None else "writing"

    def lag(self) -> tuple[int, float]:
        """How far the store is behind: bytes of the log, and seconds."""
        first = self.oldest()
        if first is None:
            return 0, 0.0
        return self.log.end - first.offset, monotonic() - first.seen_s

    def measure(self) -> None:
        """See whether the store is too far behind."""
        config = self.engine.config
        size, seconds = self.lag()
        most, longest = config.backing_max_lag, config.backing_max_lag_time
        full = (0 < most < size) or (0 < longest < seconds)
        self.pressing = (0 < most < 2 * size) or (0 < longest < 2 * seconds)
        if full != self.full:
            self.full = full
            if full:
                logs.warning("The backing store is too far behind", bytes=size, seconds=seconds)
            else:
                logs.notice("The backing store has caught up: writes go on")
                self.tell()

    def tell(self) -> None:
        """The store has come further, or writes may go on."""
        for tell in self.told:
            tell()

    # Following the log

    def note(self) -> None:
        """Note what has happened since the last time."""
        log, noter = self.log, self.noter
        noter.fold()
        if noter.offset < log.end:
            noter.feed(log.slice(noter.offset))

    def _ran(self, keyspace: Keyspace, columns: Columns, start: int) -> None:
        """Many commands of a kind were logged: note them before they have to be read."""
        log, noter, name = self.log, self.noter, columns[0][0].upper()
        if noter.knows(name):
            if noter.offset < start:
                noter.feed(log.slice(noter.offset, start - noter.offset))
            noter.ran(name, columns, keyspace.index, log.end)

    async def _follow(self) -> None:
        log, noter = self.log, self.noter
        while True:
            await log.wait(noter.offset)
            try:
                self.note()
            except Exception as error:
                self.unexpected(error)
                await asyncio.sleep(1)
            if noter.gathering:
                self.woken.set()
            self.measure()
            await asyncio.sleep(PAUSE_S)

    # Writing

    def unexpected(self, error: Exception) -> None:
        """A bug, which must not end what follows the log."""
        self.engine.counters.unexpected_errors += 1
        logs.failure("Unexpected error: writing to the backing store", error)

    async def _run(self) -> None:
        while True:
            try:
                await self.succession.take_over()
                if self.succession.whole:
                    await self._pass()
                await self._write()
            except Deposed:
                self.position = None
                self.succession.dropped = False
                self.figures.deposed += 1
                logs.warning("Another server writes to the backing store now: ours is refused")
            except Exception as error:
                self.unexpected(error)
                await asyncio.sleep(1)

    async def _pass(self) -> None:
        """Write all keys, part by part; the position stays until the next batch."""
        keys = list(self.home)
        for start in range(0, len(keys), SLICE):
            assert self.position is not None
            self.note()
            for key in keys[start : start + SLICE]:
                if key in self.home.values:
                    self.noter.note(key)
            self.noter.look()
            await self._send(self.noter.renew().seal(self.position, self.log.end))
        self.succession.whole = False
        self._wanted = self.log.end

    async def _write(self) -> None:
        """Write whatever comes."""
        while True:
            if self.sealed is None:
                await self._due()
            await self._send(await self._seal())

    async def _due(self) -> None:
        """Until a batch is to be made."""
        loop = self.persistence.loop
        while (left_s := self._left_s()) > 0:
            self.woken.clear()
            timer = loop.call_later(left_s, self.woken.set)
            await self.woken.wait()
            timer.cancel()

    def _left_s(self) -> float:
        config, gathering, position = self.engine.config, self.noter.gathering, self.position
        assert position is not None
        if self._wanted > position.offset:
            return 0.0
        now_s, due_s = monotonic(), self._written_s + BEAT_S
        if gathering.size >= config.backing_batch_size:
            due_s = now_s
        elif gathering:
            due_s = min(due_s, gathering.first.seen_s + config.backing_batch_delay / 1000)
        rest_s = min(RESTS * (self._written_s - self._begun_s), LONGEST_REST_S)
        if self.pressing:
            rest_s = 0.0
        return max(due_s, self._written_s + rest_s) - now_s

    async def _seal(self) -> Batch:
        """Everything up to the present end of the log; or the batch that was not written yet."""
        noter, position = self.noter, self.position
        assert position is not None
        history = self.persistence.history.id
        if self.sealed is not None:
            # It was made before another server took over from us, and we from it.
            there = self.sealed.position._replace(epoch=position.epoch, history=history)
            return self.sealed._replace(position=there)
        self._begun_s = monotonic()
        self.note()
        # Little by little, so that nobody is held up; what changes meanwhile is looked at again.
        keys = list(noter.gathering.noted)
        for stop in range(SLICE, len(keys) + 1, SLICE):
            noter.look(keys[stop - SLICE : stop])
            await asyncio.sleep(0)
            self.note()
        noter.look()
        there = Position(position.epoch, history, noter.offset, noter.selected)
        return noter.renew().seal(there, noter.offset)

    async def _send(self, batch: Batch) -> None:
        self.sealed = batch
        self._hurry()
        await self.log.wait(batch.until - 1, durable=True)
        pause = Pause()
        careful = False
        while True:
            assert self.position is not None
            try:
                dead = await self.store.write(self.stream, self.position, batch, careful)
                break
            except Deposed:
                raise
            except StoreError as error:
                # A part that is refused is looked for at once, and only then is it a failure.
                if not (isinstance(error, RowRefused) and not careful):
                    self.failed(error)
                    await pause.wait()
                careful = careful or isinstance(error, RowRefused)
        self._written(batch)
        for it in dead[:1]:
            self._rarely.warning(
                "dead",
                "Rows were refused: they are dead letters",
                mapping=it.change.plan.mapping.name,
                key=it.change.key[:100].decode("utf-8", "backslashreplace"),
                reason=it.reason,
                count=len(dead),
            )
        self.figures.dead += len(dead)

    def _written(self, batch: Batch) -> None:
        if self.problem:
            logs.notice("The backing store can be written to again", store=self.store.shown)
        self.problem = ""
        self.sealed = None
        self.position = batch.position
        self._written_s = monotonic()
        self.figures.batches += bool(batch.size)
        self.figures.rows += batch.size
        self.succession.hold(batch.position.offset)
        self.measure()
        self.tell()

    def failed(self, error: StoreError) -> None:
        """The store did not do what it was asked."""
        self.figures.failed += 1
        self.problem = error.reason
        self.measure()
        self._rarely.warning(
            type(error).__name__,
            "The backing store cannot be written to",
            store=self.store.shown,
            reason=error.reason,
        )

    # Those who wait

    def reached(self, offset: int) -> bool:
        """Whether the store has the log up to there."""
        position = self.position
        return position is not None and not self.succession.whole and position.offset >= offset

    def want(self, offset: int) -> None:
        """Somebody waits for the store to have the log up to there."""
        if offset > self._wanted:
            self._wanted = offset
            self.woken.set()
            self._hurry()

    def _hurry(self) -> None:
        """Do not let those who wait for the store wait for the disk's second to be over."""
        sealed, persistence = self.sealed, self.persistence
        if sealed is None or self._wanted <= self.log.frontier:
            return
        disk = persistence.disk
        if disk is not None and not disk.flushing and disk.write():
            disk.commit()
        if self.engine.confirm is not None and self.engine.replication is not None:
            self.engine.replication.replicas.ask_soon()

    async def drain(self, patience_s: float) -> None:
        """Write what is left, for a while."""
        if not self.following or self._task is None:
            return
        end_s = monotonic() + patience_s
        while not self.reached(self.log.end) and monotonic() < end_s:
            self.want(self.log.end)
            self._hurry()
            await asyncio.sleep(0.01)
        if self.pending:
            logs.warning(
                "Stopping before all is written to the backing store", pending=self.pending
            )

    async def stop(self) -> None:
        """Write nothing any more."""
        tasks = [it for it in (self._task, self._follow_task) if it is not None]
        position = self.position
        self._rest()
        await asyncio.gather(*tasks, return_exceptions=True)
        if position is not None:
            try:
                await self.store.leave(self.stream, position)
            except StoreError as error:
                logs.notice("The backing store was not told of the end", reason=error.reason)
