"""Read-through: a command whose key is a row that was not loaded waits until it is.

The wrappers of ``around`` stand before the handlers while there is a backing store.  A command that
misses a mapped key raises LoadWait, which parks its client; what is missed in one turn of the event
loop goes to the store together, and one load serves everybody who asks for its key.  When the row
is here, or known to be nowhere, the command runs, in the same step.

A load must never bring back what was true before a write: whatever changes or drops a key fences
the load that is under way, whose result is then thrown away, and those who waited ask again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from distcache_replication import rdb
from distcache_replication.backing.breaker import Breaker
from distcache_replication.backing.errors import Away, StoreError
from distcache_replication.backing.packing import BadValue
from distcache_replication.backing.pattern import matcher
from distcache_replication.backing.plan import Loaded, Plan, Row

from distcache_server import dispatch, logs, overwriting, snapshot
from distcache_server.arguments import Args, Columns
from distcache_server.client import Client
from distcache_server.errors import (
    BackingDown,
    MappedElsewhere,
    OutOfMemory,
)
from distcache_server.events import GENERIC
from distcache_server.fitting import Fitting
from distcache_server.journal import EVICTED, LOADED
from distcache_server.loads import Figures, Load, LoadWait
from distcache_server.registry import Command, Flag, Handler, Run
from distcache_server.touching import Touched, touched_by

if TYPE_CHECKING:
    from distcache_replication.backing.store import Store

    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace
    from distcache_server.store_waits import StoreWaits
    from distcache_server.warming import Warming

BATCH = 1000
"""Keys that are loaded by one statement, at most."""
SLICE = 100
"""Rows that are taken over, and clients that are served, before others have their turn."""
AHEAD = 1000
"""Commands behind one that waits whose keys are loaded with its own."""
AHEAD_MS = 100
"""For so long it is remembered at least that one of these has no row."""
ABSENT = 100_000
"""Keys without a row that are remembered, at most."""
ROUNDS = 5
"""Times that a command waits before it is told that its keys do not stay."""
WRITES = int(Flag.WRITE)


def _name(command: Command, words: Args) -> str:
    """The name of the command or subcommand that the words ask for."""
    if command.subcommands and len(words) > 1:
        return f"{command.name}|{words[1].lower().decode('latin-1')}"
    return command.name


class Loader:
    """The read-through of a server: keys of its first database are rows."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        plans: Sequence[Plan],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.engine = engine
        self.store = store
        self.plans = plans
        self._call_soon = call_soon
        config = engine.config
        self._most = config.backing_max_loads
        self._timeout_s = config.backing_timeout / 1000
        self._slots = asyncio.Semaphore(config.backing_connections)
        self.home: Keyspace = engine.databases[0]
        self.window_ms = max(it.mapping.stale_ms + it.mapping.refresh_ms for it in plans)
        """A key with less time left may have to be loaded anew."""
        self.match = matcher([plan.pattern for plan in plans])
        self._client = Client(engine)
        self._fitting = Fitting(engine)
        self._touched: dict[str, Touched] = {}
        self.loads: dict[bytes, Load] = {}
        self._queued: dict[Plan, list[Load]] = {}
        """Loads that begin at the end of this turn."""
        self.absent: dict[bytes, int] = {}
        """Keys without a row, and until when that is taken for granted."""
        self.breaker = Breaker()
        self.figures = Figures()
        self.warming: Warming | None = None
        """Looks at what is read, to load it ahead after the next start."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: LoadWait | None = None
        """The wait of the command that now runs again."""
        self._rarely = logs.Rarely()
        self.waits: StoreWaits | None = None
        """Writes rows, too, and who waits for that; None where rows are only read."""

    # Around the handlers

    def around(self, command: Command, handler: Handler) -> Handler:
        """The handler of a command, with what it needs loaded and judged before it runs."""
        touched = touched_by(command)
        writes = bool(command.bits & WRITES)
        waits = self.waits
        if touched is None:
            if writes:
                return self._fencing_all(
                    handler if waits is None else waits.sparing(command, handler)
                )
            if waits is not None and command.name == "exec":
                return waits.around_exec(handler)
            return handler
        self._touched[command.name] = touched
        if writes:
            general = self._writing(command, touched, handler)
            if command.name == "set":
                return overwriting.one(self, self._fitting, command, general, handler)
            return general
        place, reading = touched.place, self._reading
        run = self._reading_one(place, handler) if place else reading(touched, handler)
        return run if self.warming is None else self.warming.around(touched, run)

    def _reading_one(self, place: int, handler: Handler) -> Handler:
        engine, home, near = self.engine, self.home, self._near

        def run(client: Client, words: Args) -> Any:
            if client.keyspace is home:
                key, table = words[place], home.values
                if (
                    table.parts[hash(key) & table.mask].get(key) is None
                    or (home.deadlines.count and near(key))
                ) and not engine.in_transaction:
                    self.require(client, (key,))
            return handler(client, words)

        return run

    def _reading(self, touched: Touched, handler: Handler) -> Handler:
        engine, home = self.engine, self.home

        def run(client: Client, words: Args) -> Any:
            if client.keyspace is home and not engine.in_transaction:
                self.require(client, touched.read(words))
            return handler(client, words)

        return run

    def _writing(self, command: Command, touched: Touched, handler: Handler) -> Handler:
        engine, home, match = self.engine, self.home, self.match
        plans = self.plans
        # With one key, what is no row is found out at once.
        only = 0 if touched.crosses else touched.only

        def run(client: Client, words: Args) -> Any:
            if only and match(words[only]) is None:
                return handler(client, words)
            if client.keyspace is not home:
                if touched.crosses and any(map(match, touched.written(words))):
                    raise MappedElsewhere
                return handler(client, words)
            waits = self.waits
            if not engine.in_transaction:
                if waits is not None and waits.writer.full:
                    waits.hold_back(client, touched.written(words))
                self.require(client, self._needed(touched, words), writes=True)
            judged = []
            through = False
            for key in touched.written(words):
                if (found := match(key)) is not None:
                    self.fence(key)
                    plan = plans[found[0]]
                    through |= plan.mapping.through
                    if not plan.any_type:
                        judged.append((key, plan, found[1]))
            if judged:
                self._fitting.judge(home, command, words, touched.all(words), judged)
            if through and waits is not None:
                return waits.run(client, words, handler)
            return handler(client, words)

        return run

    def _fencing_all(self, handler: Handler) -> Handler:
        """A write without keys (FLUSHALL) is one to all of them."""

        def run(client: Client, words: Args) -> Any:
            reply = handler(client, words)
            self.fence_all()
            return reply

        return run

    def run_of(self, command: Command) -> Run | None:
        """What runs many such commands at once, where nothing of theirs has to wait."""
        touched, original = self._touched.get(command.name), command.run
        if original is None or touched is None:
            return original
        home, match, near = self.home, self.match, self._near
        writes = bool(command.bits & WRITES)
        warming = None if writes else self.warming
        if command.name == "set":
            return overwriting.many(self, original)

        def run(client: Client, columns: Columns) -> list[Any] | None:
            if client.keyspace is home:
                table = home.values
                parts, mask = table.parts, table.mask
                dated = home.deadlines.count
                for at in touched.columns(len(columns)):
                    for key in columns[at]:
                        if writes or parts[hash(key) & mask].get(key) is None:
                            if match(key) is not None:
                                return None
                        elif dated and near(key):
                            return None
                if warming is not None:
                    warming.note_run(touched, columns)
            return original(client, columns)

        return run

    def _near(self, key: bytes) -> bool:
        """The end of the key's time has come, or is so near that it may have to be loaded."""
        home = self.home
        deadlines = home.deadlines
        deadline = deadlines.parts[hash(key) & deadlines.mask].get(key)
        return deadline is not None and deadline - home.now_ms <= self.window_ms

    def prepare(self, client: Client, queue: Sequence[Args]) -> None:
        """Before EXEC: have all that its commands read loaded, as none may wait in between."""
        if client.keyspace is not self.home and all(it[0].upper() != b"SELECT" for it in queue):
            return
        read: dict[bytes, None] = {}
        changed: dict[bytes, None] = {}
        for words in queue:
            entry = client.table.get(words[0]) or client.table.get(words[0].upper())
            if entry is None:
                continue
            touched = self._touched.get(_name(entry.command, words))
            if touched is not None:
                writes = bool(entry.command.bits & WRITES)
                (changed if writes else read).update(dict.fromkeys(self._needed(touched, words)))
                if writes and self.waits is not None and self.waits.writer.full:
                    self.waits.hold_back(client, touched.written(words))
        if missing := self._missing(changed, True) | self._missing(read, False):
            self._wait(client, missing)

    # What is missing

    def _needed(self, touched: Touched, words: Args) -> Sequence[bytes]:
        """Keys that must be here: those whose values count, and those whose rows are to go."""
        read = touched.read(words)
        if self.waits is None or not (dropped := touched.dropped(words)):
            return read
        plan_of = self.waits.writer.noter.plan_of
        return [*read, *(key for key in dropped if plan_of(key) is not None)]

    def require(self, client: Client, keys: Iterable[bytes], *, writes: bool = False) -> None:
        """Raise LoadWait unless all that is mapped among these keys is here, or nowhere."""
        if missing := self._missing(keys, writes):
            self._wait(client, missing)

    def _missing(self, keys: Iterable[bytes], writes: bool) -> dict[bytes, Load]:
        """The loads of what is mapped among these keys, and neither here nor nowhere."""
        home, now_ms, again = self.home, self.home.now_ms, self._again
        missing: dict[bytes, Load] = {}
        for key in keys:
            if home.peek(key) is not None and not self._is_old(key, writes):
                continue
            if again is not None and key in again.absent:
                continue
            until_ms = self.absent.get(key)
            if until_ms is not None:
                if until_ms > now_ms:
                    continue
                del self.absent[key]
            load = self.loads.get(key) or self._new(key)
            if load is not None:
                missing[key] = load
        return missing

    def _new(self, key: bytes) -> Load | None:
        """A load of the key, which has not begun; None where it is no row, or cannot be one."""
        found = self.match(key)
        if found is None:
            return None
        plan = self.plans[found[0]]
        values = plan.key_of(key, found[1])
        if values is None:
            return None
        if plan.mapping.writes and self.waits is not None:
            writer = self.waits.writer
            if writer.following and writer.unwritten(key, plan):
                # Its row is not what the key holds, or that it is gone.
                return self._taken_back(Load(key, plan, values))
        return Load(key, plan, values)

    def _taken_back(self, load: Load) -> Load | None:
        """A key expired whose row stays, and is about to be written: it is here again.

        None, as there is nothing to be loaded; but during a pause the load must wait for its end.
        """
        assert self.waits is not None
        if load.key in self.home.values:
            return None
        held = self.waits.writer.left_behind(load.key, load.plan)
        if held is None:
            return None
        if self.engine.pause.until_ms:
            return load
        deadline = held.deadline_ms if load.plan.any_type else None  # rows have none
        self._put(load, Loaded(held.kind, held.value, deadline))
        return None

    def _is_away(self) -> bool:
        """Whether the store is not to be asked now."""
        unknown = self.waits is not None and not self.waits.writer.following
        return unknown or not self.breaker.allows(monotonic())

    def plan_of(self, key: bytes) -> Plan | None:
        """The plan that a key is mapped by; None where it is no row."""
        found = self.match(key)
        return None if found is None else self.plans[found[0]]

    def preload(self, key: bytes) -> bool:
        """Load a key that nobody has asked for yet; False where that cannot be."""
        if key in self.loads or key in self.home.values or len(self.loads) >= self._most:
            return False
        load = None if self._is_away() else self._new(key)
        if load is not None:
            self._begin(load)
        return load is not None

    def _is_old(self, key: bytes, writes: bool) -> bool:
        """Whether a key that is here must be loaded first; see to loading it in the background."""
        if not self.window_ms or (deadline := self.home.deadline(key)) is None:
            return False
        left_ms = deadline - self.home.now_ms
        if left_ms > self.window_ms or (found := self.match(key)) is None:
            return False
        plan = self.plans[found[0]]
        mapping = plan.mapping
        if left_ms > mapping.stale_ms + mapping.refresh_ms:
            return False
        away = self._is_away()
        if left_ms <= mapping.stale_ms:
            if writes or (away and mapping.away != "stale"):
                return True
            self.figures.stale += 1
        if key not in self.loads and not away and len(self.loads) < self._most:
            load = self._new(key)
            if load is not None:
                self.figures.refreshed += 1
                self._begin(load)
        return False

    def _wait(self, client: Client, missing: dict[bytes, Load]) -> None:
        """Raise LoadWait, where the store may be asked; BackingDown where it is not."""
        wait, again = LoadWait(client), self._again
        if again is not None:
            wait.absent, wait.rounds = again.absent, again.rounds + 1
        if self.engine.pause.until_ms:
            self.engine.pause.hold(client)
        away = self._is_away()
        for load in missing.values():
            mapping = load.plan.mapping
            begun = load.key in self.loads
            if wait.rounds > ROUNDS:
                raise BackingDown(mapping.name.encode(), b"it does not stay in memory")
            if not begun and (away or len(self.loads) >= self._most):
                self.figures.shed += 1
                if mapping.away != "miss":
                    reason = b"the store is away" if away else b"too many keys are being loaded"
                    raise BackingDown(mapping.name.encode(), reason)
                continue
            wait.pending.add(load)
        if wait.pending:
            for load in missing.values():
                if load in wait.pending:
                    load.waits.append(wait)
                    if load.key not in self.loads:
                        self._begin(load)
            raise wait

    # Loading

    def _begin(self, load: Load) -> None:
        """Load the key with all others of this turn."""
        self.loads[load.key] = load
        if not self._queued:
            self._call_soon(self._flush)
        self._queued.setdefault(load.plan, []).append(load)

    def _flush(self) -> None:
        """The turn is over: ask the store for what was missed."""
        for loads in list(self._queued.values()):
            for load in list(loads):
                for wait in load.waits:
                    self._look_ahead(wait.client)
        queued, self._queued = self._queued, {}
        loop = asyncio.get_running_loop()
        for plan, loads in queued.items():
            for start in range(0, len(loads), BATCH):
                task = loop.create_task(self._load(plan, loads[start : start + BATCH]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _look_ahead(self, client: Client) -> None:
        """Load also what the commands need that the client has sent behind the one that waits."""
        if client.keyspace is not self.home or self._is_away():
            return
        home = self.home
        for words in client.backlog[:AHEAD]:
            entry = client.table.get(words[0])
            touched = self._touched.get(entry.command.name) if entry is not None else None
            if touched is None or entry is None or not entry.least <= len(words) <= entry.most:
                continue
            for key in self._needed(touched, words):
                if (
                    key not in home.values
                    and key not in self.loads
                    and key not in self.absent
                    and len(self.loads) < self._most
                    and (load := self._new(key)) is not None
                ):
                    self._begin(load)

    async def _load(self, plan: Plan, loads: list[Load]) -> None:
        """Load some keys of one mapping, and let those go on that waited for them."""
        rows: Sequence[Row | None] = ()
        problem = ""
        try:
            rows = await self._ask(plan, loads)
        except StoreError as error:
            problem = error.reason
        except Exception as error:
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error: a load failed", error)
            problem = "an unexpected error"
            self.breaker.failed(monotonic())
        for start in range(0, len(loads), SLICE):
            part = loads[start : start + SLICE]
            self._take(part, rows[start : start + SLICE], problem)
            await self._serve(part)

    async def _ask(self, plan: Plan, loads: list[Load]) -> Sequence[Row | None]:
        breaker, now_s = self.breaker, monotonic()
        breaker.begin()
        self.figures.queries += 1
        left_s = loads[0].began_s + self._timeout_s - now_s
        try:
            async with asyncio.timeout(left_s), self._slots:
                rows = await self.store.load(plan, [load.values for load in loads])
        except TimeoutError:
            self._failed(Away("it does not answer in time"))
            raise Away("it does not answer in time") from None
        except StoreError as error:
            self._failed(error)
            raise
        if breaker.failures:
            logs.notice("The backing store answers again", store=self.store.shown)
        breaker.succeeded()
        return rows

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, Away):
            self.breaker.failed(monotonic())
        else:
            self.breaker.succeeded()
        self._rarely.warning(
            type(error).__name__,
            "The backing store cannot be read",
            store=self.store.shown,
            reason=error.reason,
        )

    def _take(self, loads: Sequence[Load], rows: Sequence[Row | None], problem: str) -> None:
        """Put what was loaded into the cache, but for what has changed since."""
        engine = self.engine
        self.home.now_ms = engine.now_ms
        for at, load in enumerate(loads):
            if self.loads.get(load.key) is load:
                del self.loads[load.key]
            if load.fenced or engine.pause.until_ms or engine.follows:
                self.figures.fenced += load.fenced
            elif problem:
                self._not_loaded(load, problem)
            else:
                try:
                    self._arrived(load, rows[at])
                except BadValue as bad:
                    self._not_loaded(load, f"it holds no value ({bad})")
        if engine.ready:
            engine.blocking.serve(engine.ready)

    def _not_loaded(self, load: Load, reason: str) -> None:
        self.figures.failed += 1
        mapping = load.plan.mapping
        for wait in load.waits:
            if mapping.away == "miss":
                wait.absent.add(load.key)
            else:
                wait.error = BackingDown(mapping.name.encode(), reason.encode("utf-8", "replace"))

    def _arrived(self, load: Load, row: Row | None) -> None:
        """Install a row, or note that there is none."""
        loaded = load.plan.value_of(row) if row is not None else None
        if loaded is not None and self._put(load, loaded):
            return
        mapping, now_ms = load.plan.mapping, self.home.now_ms
        self.figures.absent += 1
        if self.home.exists(load.key):
            self._remove(load.key)
        # What was loaded ahead is for a command that comes next.
        kept_ms = mapping.absent_ms or (0 if load.waits else AHEAD_MS)
        if kept_ms:
            self.absent.pop(load.key, None)
            while len(self.absent) >= ABSENT:
                del self.absent[next(iter(self.absent))]
            self.absent[load.key] = now_ms + kept_ms
        for wait in load.waits:
            wait.absent.add(load.key)

    def _put(self, load: Load, loaded: Loaded) -> bool:
        """Put what a row holds into the cache; False where its time is over."""
        mapping, now_ms = load.plan.mapping, self.home.now_ms
        deadline = loaded.deadline_ms
        if deadline is not None and deadline <= now_ms:
            return False
        if deadline is None and mapping.ttl_ms:
            kept_ms = mapping.ttl_ms * (1 - mapping.jitter * random.random())
            deadline = now_ms + max(int(kept_ms), 1) + mapping.stale_ms
        value = loaded.value
        if loaded.kind != rdb.STRING:
            value = snapshot.value_of(loaded.kind, value, self.home.limits)
        self._install(load, value, deadline)
        return True

    def _install(self, load: Load, value: Any, deadline: int | None) -> None:
        engine, home, key = self.engine, self.home, load.key
        if not engine.evictor.make_room():
            for wait in load.waits:
                wait.error = OutOfMemory()
            return
        self.figures.loaded += 1
        home.remove(key)
        snapshot.install(home, key, value, deadline)
        home.changed(key, b"loaded", GENERIC)
        if engine.log is not None:
            config = engine.config
            style = rdb.Style(config.rdb_version, config.rdbcompression)
            payload = snapshot.dump(value, home.limits, style)
            words = [b"RESTORE", key, b"%d" % (deadline or 0), payload, *LOADED]
            engine.log(self._client, words)

    def _remove(self, key: bytes) -> None:
        """The row of a key that is here is gone."""
        self.home.remove(key)
        self.home.changed(key, b"del", GENERIC)
        if self.engine.log is not None:
            # The key goes, and no client deleted the row.
            self.engine.log(self._client, [EVICTED, key])

    async def _serve(self, loads: Iterable[Load]) -> None:
        """Run the commands that waited for these loads and now have all they need."""
        served = 0
        for load in loads:
            for wait in load.waits:
                wait.pending.discard(load)
                if not wait.pending and wait.client.blocked is wait:
                    self.run_again(wait)
                    served += 1
                    if served % SLICE == 0:
                        await asyncio.sleep(0)
            load.waits = []
        await asyncio.sleep(0)

    def run_again(self, wait: LoadWait) -> None:
        """Run the command of a client that waited."""
        if wait.error is not None:
            self.engine.blocking.fail(wait.client, wait.error)
            return
        self._again = wait
        try:
            dispatch.run_again(wait.client, wait)
        except Exception as error:
            # This is the top of that client's command: others wait for the same load.
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error: closing the client", error, id=wait.client.id)
            self.engine.blocking.forget(wait.client)
            wait.client.kill()
        finally:
            self._again = None

    # What is not to be installed

    def fence(self, key: bytes) -> None:
        """The key is changed or dropped: what is being loaded for it is out of date."""
        load = self.loads.pop(key, None)
        if load is not None:
            load.fenced = True
        self.absent.pop(key, None)

    def fence_all(self) -> None:
        """So are all keys."""
        for load in self.loads.values():
            load.fenced = True
        self.loads.clear()
        self.absent.clear()

    async def stop(self) -> None:
        """Load nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
