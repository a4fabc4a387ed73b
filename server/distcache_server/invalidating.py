"""Keys whose rows others changed in the store go, or are loaded anew.

A feed tells of the changes.  Each key concerned is fenced, so that no load which began before
installs what it read, and dropped: the log says ``unlink`` in small letters, as of a key that was
evicted, since its row is not to be deleted.  Where the feed cannot tell all that has happened, all
mapped keys are dropped.

A key that is about to be written to the store is newer than what others did: its batch overwrites
that.  It stays, and goes only if it turns out that the batch had been written before (``Late``).

What was told is confirmed only when the log with the drops cannot be lost any more: it is durable,
and replicas have it.  Marks in the log (marks.py) tell who starts from it, or takes over, where to
go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from distcache_replication.backing.errors import Away, StoreError
from distcache_replication.backing.inbound import Changes
from distcache_replication.primary import ONLINE

from distcache_server import logs
from distcache_server.client import Client
from distcache_server.events import GENERIC
from distcache_server.journal import EVICTED
from distcache_server.marks import mark

if TYPE_CHECKING:
    from distcache_replication.backing.feed import Feed
    from distcache_replication.backing.plan import Plan

    from distcache_server.engine import Engine
    from distcache_server.loading import Loader

TICK_S = 0.1
MARK_S = 1.0
"""Between two marks, where there is something new ..."""
IDLE_S = 10.0
"""... and where there is not: a new base of the log, or a snapshot, begins without a mark."""
PATIENCE_S, HURRY_S = 10.0, 0.02
"""How long clients wait at the start for what has changed meanwhile."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between two attempts to connect."""
SLICE = 200
"""Keys that are dropped before others have their turn."""
UP, DOWN, STANDBY = "up", "down", "standby"


class Figures:
    """What was done so far."""

    __slots__ = ("dropped", "own", "reconnects", "seen", "swept")

    def __init__(self) -> None:
        self.seen = 0
        """Changes that were told: transactions, or notifications taken together."""
        self.own = 0
        """Those that the cache wrote itself."""
        self.dropped = 0
        """Keys that went."""
        self.swept = 0
        """Times that all mapped keys went, as changes may have been missed."""
        self.reconnects = 0


class Late(NamedTuple):
    """A key that others changed while it was about to be written."""

    end: int
    """Of the log then: what came behind it is written after their change, and overwrites it."""
    place: int
    """Up to where changes were known before, as the key must not be forgotten; -1: nowhere."""


def never(_: bytes, __: Plan) -> bool:
    """No key is about to be written to the store."""
    return False


def nothing(_: int) -> bool:
    """Nothing of the log is written to the store."""
    return False


class Invalidation:
    """Drops what others change."""

    def __init__(self, engine: Engine, loader: Loader, feed: Feed, mode: str) -> None:
        self.engine = engine
        self.loader = loader
        self.feed = feed
        self.mode = mode
        self.status = DOWN
        self.figures = Figures()
        self.holds: Callable[[bytes, Plan], bool] = never
        """Whether a key is about to be written to the store: it is newer than what others did."""
        self.written: Callable[[int], bool] = nothing
        """Whether the store has the log up to an offset."""
        self._late: dict[bytes, Late] = {}
        self._client = Client(engine)
        self._pending: deque[tuple[int, int]] = deque()
        """Ends of the log, and what may be confirmed once they are safe."""
        self._marked_s = -IDLE_S
        self._marked = -1
        self._work: asyncio.Task[None] | None = None
        """Reads what the feed tells."""
        self._rarely = logs.Rarely()

    async def run(self) -> None:
        """Follow the feed while this is a primary, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            if self.engine.follows:
                self.status = STANDBY
                self._late.clear()
                await asyncio.sleep(TICK_S)
                continue
            begun_s = monotonic()
            try:
                try:
                    await self._session()
                finally:
                    await self._close()
            except StoreError as error:
                self._rarely.warning(
                    type(error).__name__,
                    "Changes in the backing store cannot be read",
                    reason=error.reason,
                )
                if not isinstance(error, Away):
                    # The store answers, others may well change it, and we shall not hear of it.
                    await self._sweep_all()
            except Exception as error:
                self.engine.counters.unexpected_errors += 1
                logs.failure("Unexpected error: reading changes failed", error)
            if monotonic() - begun_s > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def begin(self) -> None:
        """At the start, before clients are served: drop what is, or may be, out of date."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                work = await self._open()
                while self.feed.behind and not work.done():
                    self.confirm(monotonic())
                    await asyncio.wait([work], timeout=HURRY_S)
        except (StoreError, TimeoutError) as error:
            reason = error.reason if isinstance(error, StoreError) else "it takes too long"
            logs.warning("Changes in the backing store cannot be read yet", reason=reason)
            await self._close()
            await self._sweep_all()

    async def _open(self) -> asyncio.Task[None]:
        """Connect, and begin to read."""
        engine = self.engine
        complete = await self.feed.open(engine.known_changes)
        self._pending.clear()
        self._marked = -1
        if not complete:
            engine.known_changes = None
            await self._sweep_all()
        self.figures.reconnects += 1
        self.status = UP
        logs.notice("Following changes in the backing store", source=self.feed.source)
        self._work = asyncio.get_running_loop().create_task(self._read())
        return self._work

    async def _close(self) -> None:
        self.status = DOWN
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await self.feed.close()

    async def _session(self) -> None:
        """From connecting to the loss of the connection."""
        work = self._work or await self._open()
        while not work.done() and not self.engine.follows:
            self.confirm(monotonic())
            await self.drop_late()
            await asyncio.wait([work], timeout=TICK_S)
        if work.done():
            work.result()

    async def _read(self) -> None:
        while True:
            changes = await self.feed.read()
            await self.apply(changes)
            if changes.position:
                self.engine.known_changes = self.feed.source, changes.position

    # Keys

    async def apply(self, changes: Changes) -> None:
        """Drop what changed."""
        figures = self.figures
        figures.own += changes.own
        if changes.keys or changes.mappings:
            figures.seen += not changes.own
            await self._drop_all(changes.keys)
        if changes.mappings:
            await self.sweep(changes.mappings)

    async def _drop_all(self, keys: Iterable[bytes]) -> None:
        for count, key in enumerate(keys):
            if count % SLICE == 0:
                await self._turn()
            self.drop(key)

    async def _turn(self) -> None:
        """Let others have theirs; nothing is dropped during CLIENT PAUSE."""
        await asyncio.sleep(0)
        while self.engine.pause.until_ms and not self.engine.follows:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S / 10)
        self.loader.home.now_ms = self.engine.now_ms

    def drop(self, key: bytes) -> None:
        """The row of a key was changed by others."""
        loader = self.loader
        home = loader.home
        plan = loader.plan_of(key)
        if plan is None or self.engine.follows:
            return
        if self.holds(key, plan):
            before = self._late.get(key)
            if before is None or self.written(before.end):
                before = Late(0, self._place())
            self._late[key] = before._replace(end=self._end())
            return
        loader.fence(key)
        if key not in home.values:
            return
        home.remove(key)
        home.changed(key, b"invalidated", GENERIC)
        if self.engine.log is not None:
            self.engine.log(self._client, [EVICTED, key])
        self.figures.dropped += 1
        if plan.mapping.changes == "load":
            loader.preload(key)

    async def _sweep_all(self) -> None:
        """Changes may have been missed: drop all mapped keys."""
        if count := await self.sweep(range(len(self.loader.plans))):
            self.figures.swept += 1
            logs.warning("Changes may have been missed: mapped keys were dropped", keys=count)

    async def drop_late(self) -> None:
        """Drop what was held when it was changed, and is not any more."""
        loader = self.loader
        for count, (key, late) in enumerate(list(self._late.items())):
            if count % SLICE == 0:
                await self._turn()
            plan = loader.plan_of(key)
            if plan is not None and self.holds(key, plan):
                if self.written(late.end) and self._late.get(key) is late:
                    del self._late[key]  # it was changed again
            elif self._late.pop(key, None) is not None:
                self.drop(key)

    async def sweep(self, numbers: Collection[int]) -> int:
        """Drop all keys of these mappings that want to hear of changes; how many."""
        loader, before = self.loader, self.figures.dropped
        plans = {
            loader.plans[number]
            for number in numbers
            if loader.plans[number].mapping.changes != "ignore"
        }
        loader.fence_all()
        values, cursor = loader.home.values, 0
        while True:
            await self._turn()
            if loader.home.values is not values:  # FLUSHALL, or a snapshot of a primary
                values, cursor = loader.home.values, 0
            cursor, keys = values.scan(cursor, SLICE)
            for key in keys:
                if loader.plan_of(key) in plans:
                    self.drop(key)
            if not cursor:
                return self.figures.dropped - before

    # What is confirmed

    def _place(self) -> int:
        """Up to where the feed's changes are known; -1 where that is not known itself."""
        known = self.engine.known_changes
        return known[1] if known is not None and known[0] == self.feed.source else -1

    def confirm(self, now_s: float) -> None:
        """Mark how far we are, and confirm what cannot be lost any more."""
        engine, known = self.engine, self.engine.known_changes
        place = min((it.place for it in self._late.values()), default=self._place())
        if known is not None and place >= 0:
            known, new = (known[0], place), place != self._marked
            if now_s - self._marked_s >= (MARK_S if new else IDLE_S) and not engine.pause.until_ms:
                self._marked, self._marked_s = known[1], now_s
                if engine.log is not None:
                    engine.log(self._client, mark(known))
                if new:
                    self._pending.append((self._end(), known[1]))
        confirmed, frontier = 0, self._frontier()
        while self._pending and self._pending[0][0] <= frontier:
            confirmed = self._pending.popleft()[1]
        self.feed.confirm(confirmed)

    def _end(self) -> int:
        persistence = self.engine.persistence
        return persistence.log.end if persistence is not None else 0

    def _frontier(self) -> int:
        """Up to where the log cannot be lost: it is on disk, and replicas have it."""
        persistence, replication = self.engine.persistence, self.engine.replication
        if persistence is None:
            return 0
        log = persistence.log
        frontier = log.end if log.durable is None else log.durable
        if replication is not None:
            for replica in replication.replicas.clients.values():
                if replica.state == ONLINE and not replica.silent:
                    frontier = min(frontier, replica.acknowledged)
        return frontier
