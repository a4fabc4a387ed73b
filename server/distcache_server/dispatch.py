"""Which function answers a command, in each state of a client; and running a batch of them.

State is a table, not a question: a client that is not authenticated, in MULTI or subscribed has
another table, whose handlers refuse, queue or allow.  What the whole server does besides (MONITOR,
maxmemory, CLIENT PAUSE) is wrapped around the handlers while it is on, so that what is off costs
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from distcache_server.arguments import Args, Columns
from distcache_server.blocking import Hold, Wait
from distcache_server.config import ConfigError
from distcache_server.errors import (
    CommandError,
    ReservedKey,
    Unblocked,
)
from distcache_server.lookup import REFUSALS, Entry, Table, find, misfit, other_spelling, refused
from distcache_server.registry import (
    MAY_WRITE,
    Command,
    Flag,
    Handler,
    every_command,
)
from distcache_server.reply import Wire
from distcache_server.reserved import CHANGEFEED, READS_CHANGEFEED
from distcache_server.stats import BUCKETS, GRAIN, Stats, bucket
from distcache_server.unconfirmed import marking
from distcache_server.wrappers import (
    evict_first,
    logged,
    monitored,
    own_messages_last,
    paused,
    queue,
    refuse_broken,
    refuse_in_multi,
    refuse_loading,
    refuse_lonely,
    refuse_monitor,
    refuse_read_only,
    refuse_stale,
    refuse_subscribed,
    refuse_unauthenticated,
    relayed,
    untouched,
    within_memory,
)

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.loading import Loader

SMALLEST_AVERAGED_NS = 1_000_000
"""Below this slow log threshold every command is timed alone."""
FULL = 1 << 20
"""Replies of a batch that are larger are sent before the next command runs."""


class _Row(NamedTuple):
    """A command on its way into the tables."""

    command: Command
    handler: Handler
    waits: bool
    """CLIENT PAUSE holds it, or it is refused for the time being: it is not queued either."""
    stats: Stats


def build(engine: Engine) -> dict[str, Table]:
    """The tables of all states, as the server's situation asks for."""
    queueing = within_memory(engine, queue) if engine.evictor.active else queue
    reader = None if engine.follows else engine.reader
    rows = _rows(engine, reader)
    engine.refusal = _refusal(engine)
    plain = not (engine.monitors or engine.untouching)
    averaged = engine.slow_ns >= SMALLEST_AVERAGED_NS and plain
    # What is only refused or queued does not count as called.
    uncounted = Stats()

    def table(
        refuse: Handler | None = None,
        refused: Callable[[int], bool] = bool,
        around: Callable[[Handler], Handler] | None = None,
    ) -> Table:
        entries: Table = {}
        for command, handler, waits, stats in rows:
            # A write waits for a pause before it is queued, as it would before it runs.  Where all
            # writes are refused, they are so to who is subscribed.
            first = refuse is queueing and waits
            first |= refuse is refuse_subscribed and handler is engine.refusal
            if refuse is queueing and command.bits & NO_MULTI:
                entry = Entry(command, refuse_in_multi, uncounted)
                entry.counts, entry.run = False, None
            elif refuse is not None and refused(command.bits) and not first:
                entry = Entry(command, refuse, uncounted)
                entry.counts, entry.run = False, None
            else:
                handler = around(handler) if around else handler
                if engine.confirm is not None and command.bits & LOGS:
                    handler = marking(handler)
                entry = Entry(command, handler, stats)
                if waits or around or not averaged or (engine.follows and command.bits & WRITES):
                    entry.run = None
                elif reader is not None:
                    entry.run = reader.run_of(command)
                else:
                    entry.alike = _is_alike(command)
            for key in command.keys_in_table:
                entries[key] = entry
        for old, new in engine.config.rename_command:
            _rename(entries, old.upper(), new)
        return entries

    return {
        "normal": table(),
        "listening": table(around=own_messages_last),
        "unauthenticated": table(refuse_unauthenticated, lambda bits: not bits & NO_AUTH),
        "multi": table(queueing, lambda bits: not bits & INSTANT),
        "subscribed": table(refuse_subscribed, lambda bits: not bits & SUBSCRIBED),
        "monitoring": table(refuse_monitor, lambda bits: bool(bits & USES_KEYS)),
    }


# Flags as plain numbers: testing an enum.Flag takes ten times as long, and there are many to test.
READS, DENIES, UNPAUSABLE = int(Flag.READONLY), int(Flag.DENYOOM), int(Flag.UNPAUSABLE)
WRITES, PAUSABLE = int(Flag.WRITE), int(MAY_WRITE)
NO_AUTH, NO_MULTI = int(Flag.NO_AUTH), int(Flag.NO_MULTI)
LOADS, SERVES_STALE = int(Flag.LOADING), int(Flag.STALE)
RELAYED = int(Flag.MAY_REPLICATE)
INSTANT, SUBSCRIBED = int(Flag.INSTANT), int(Flag.SUBSCRIBED)
UNSHOWN = int(Flag.SKIP_MONITOR | Flag.ADMIN)
USES_KEYS = int(MAY_WRITE | Flag.READONLY)
LOGS = int(MAY_WRITE | Flag.INSTANT)
"""What may write to the log: EXEC among them."""
QUICK, WAITS = int(Flag.FAST), int(Flag.BLOCKING)


def _refusal(engine: Engine) -> Handler | None:
    """What answers all writes, where nothing else does."""
    if engine.broken is not None:
        return refuse_broken
    if engine.lonely:
        return refuse_lonely
    return refuse_read_only if engine.read_only else None


def _rows(engine: Engine, reader: Loader | None) -> list[_Row]:
    """Each command with what runs it where nothing speaks against it."""
    pausing, writes_only = engine.pause.until_ms > 0, engine.pause.writes_only
    refusal, rows = _refusal(engine), []
    for command in every_command():
        handler, bits = command.handler, command.bits
        if engine.feed is not None:
            handler = engine.feed.around(command, handler)
        if bits & WRITES or (bits & READS and bits & RELAYED):
            handler = logged(engine, handler)
            if engine.follows and bits & WRITES:
                handler = engine.own_deadlines.around(command, handler)
        elif engine.relaying and bits & RELAYED and command.group == "pubsub":
            handler = relayed(engine, handler)
        if engine.untouching and bits & READS:
            handler = untouched(handler)
        if engine.monitors and not bits & UNSHOWN:
            handler = monitored(command, handler)
        if reader is not None:
            handler = reader.around(command, handler)
        if engine.evictor.active:
            # Around the reader: what it has found to be here must not go before the command runs.
            handler = (within_memory if bits & DENIES else evict_first)(engine, handler)
        waits = pausing and bool(bits & PAUSABLE if writes_only else not bits & UNPAUSABLE)
        if waits:
            handler = paused(engine, handler)
        if refusal is not None and bits & WRITES:
            handler, waits = refusal, True
        elif engine.broken is not None and command.name == "ping":
            handler, waits = refuse_broken, True
        elif engine.stale and not bits & SERVES_STALE:
            handler, waits = refuse_stale, True
        elif engine.loading is not None and not bits & LOADS:
            handler, waits = refuse_loading, True
        stats = engine.stats.get(command.name)
        if stats is None:
            stats = engine.stats[command.name] = Stats()
        rows.append(_Row(command, handler, waits, stats))
    return rows


def _is_alike(command: Command) -> bool:
    """Such commands need nothing of a client but its database, and soon have an answer."""
    bits = command.bits
    quick = bits & (READS | WRITES) and bits & QUICK and not bits & WAITS
    # A pop of many takes its time; and the changefeed may have to be waited for.
    waits = "[count]" in command.usage or command.name in READS_CHANGEFEED
    return bool(quick and command.keys and not waits)


def _rename(entries: Table, old: bytes, new: bytes) -> None:
    """Give a command another name, or none (rename-command)."""
    entry = entries.pop(old, None)
    if entry is None:
        raise ConfigError("No such command in rename-command")
    del entries[old.lower()]
    if new:
        if new.upper() in entries:
            raise ConfigError("Target command name already exists")
        entries[new.upper()] = entries[new.lower()] = entry


def install(engine: Engine) -> None:
    """Build an engine's tables, and again whenever its situation changes."""

    def rebuild() -> None:
        engine.tables = build(engine)
        for client in engine.clients.values():
            client.enter(client.state)

    engine.rebuild = rebuild
    engine.blocking.finished = unblocked
    rebuild()


# Running


def execute_one(client: Client, words: Args) -> bytes | None:
    """Run a command that came alone; its encoded reply, or None where it goes on later.

    It then blocks, or waits in the client's backlog.  Reads the clock for the whole batch.
    """
    started = time_ns()
    client.keyspace.now_ms = client.last_ms = started // 1_000_000
    entry = None
    try:
        entry = client.table.get(words[0]) or other_spelling(client, words)
        if not entry.least <= len(words) <= entry.most:
            entry = misfit(client, entry, words)
        reply = entry.handler(client, words)
        out = client.encoders[type(reply)](reply)
    except CommandError as error:
        entry, error = _failed(client, entry, words, error)
        out = client.encoders[Wire](error.wire())
    except (Wait, Hold) as stop:
        assert entry is not None
        _set_aside(client, entry, words, stop, started)
        return None
    client.commands += 1
    if entry is not None:
        client.last_command = entry.command.name
        # The bookkeeping of Stats.add, spelled out.
        elapsed = time_ns() - started
        stats = entry.stats
        stats.ns += elapsed
        try:
            stats.histogram[BUCKETS[elapsed >> GRAIN]] += 1
        except IndexError:
            stats.histogram[bucket(elapsed)] += 1
        if elapsed > client.engine.notable_ns and entry.counts:
            client.engine.note_slow(client, entry.command, words, elapsed)
    return out


def execute(client: Client, batch: list[Args], replies: list[bytes], started: int) -> bool:
    """Run commands in order, and append their encoded replies; ``started`` is now, from time_ns.

    False where the rest has to wait, in the client's backlog: the client blocks, was put on hold,
    is to be closed, or these commands have so many reply bytes that they are to be sent first.
    """
    engine = client.engine
    notable, begun = engine.notable_ns, len(replies)
    client.commands += len(batch)
    rest = iter(batch)
    for words in rest:
        entry = None
        try:
            entry = client.table.get(words[0]) or other_spelling(client, words)
            if not entry.least <= len(words) <= entry.most:
                entry = misfit(client, entry, words)
            reply = entry.handler(client, words)
            replies.append(client.encoders[type(reply)](reply))
        except CommandError as error:
            entry, error = _failed(client, entry, words, error)
            replies.append(client.encoders[Wire](error.wire()))
        except (Wait, Hold) as stop:
            assert entry is not None
            # One that blocks is counted when it ends; one that is put back, with the backlog.
            client.commands -= isinstance(stop, Wait)
            _set_aside(client, entry, words, stop, started)
            _stopped(client, client.backlog + list(rest))
            return False
        now = time_ns()
        elapsed = now - started
        started = now
        if entry is not None:
            stats = entry.stats
            stats.ns += elapsed
            try:
                stats.histogram[BUCKETS[elapsed >> GRAIN]] += 1
            except IndexError:
                stats.histogram[bucket(elapsed)] += 1
            if elapsed > notable:
                if entry.counts:
                    engine.note_slow(client, entry.command, words, elapsed)
                if sum(map(len, replies[begun:])) > FULL:
                    client.last_command = entry.command.name
                    return _stopped(client, list(rest))
        if client.close_after_reply:
            _stopped(client, list(rest))
            return False
    if entry is not None:
        client.last_command = entry.command.name
    return True


def _set_aside(client: Client, entry: Entry, words: Args, stop: Wait | Hold, started: int) -> None:
    """Keep a command that has no answer yet: it waits for a key, or is put back."""
    client.last_command = entry.command.name
    if isinstance(stop, Hold):
        client.backlog = [words]
        return
    stop.words = stop.words or words
    stop.command = entry.command
    stop.handler = stop.handler or entry.handler
    stop.elapsed_ns = time_ns() - started
    client.engine.blocking.park(client, stop)


def run_again(client: Client, wait: Wait) -> None:
    """Run a command that waited for what it needs, as if it had just come."""
    engine, words = client.engine, wait.words
    started = time_ns()
    client.keyspace.now_ms = max(client.keyspace.now_ms, started // 1_000_000)
    entry = None
    try:
        entry = find(client, words)
        reply = entry.handler(client, words)
    except CommandError as error:
        entry, error = _failed(client, entry, words, error)
        reply = Wire(error.wire())
    except (Wait, Hold) as stop:
        assert entry is not None
        engine.blocking.forget(client)
        backlog = client.backlog
        _set_aside(client, entry, words, stop, started)
        client.backlog = [*client.backlog, *backlog] if isinstance(stop, Hold) else backlog
        return
    wait.elapsed_ns += time_ns() - started
    engine.blocking.answer(client, reply)


def _stopped(client: Client, rest: list[Args]) -> bool:
    """Keep the rest of a batch for later; True where there is none."""
    client.backlog = rest
    client.commands -= len(rest)
    return not rest


def unblocked(client: Client, wait: Wait, error: CommandError | None) -> None:
    """Count a command that blocked, now that it has been answered: not the time it waited."""
    engine, command = client.engine, wait.command
    assert command is not None
    if client.state == "multi" and command.refusal is not None:
        command.refusal(client, Unblocked())  # EXEC, which did not get what it needed
    client.commands += 1
    stats = engine.stats[command.name]
    stats.add(1, wait.elapsed_ns)
    if error is not None:
        engine.counters.errors[error.code] += 1
        stats.failed += 1
    if wait.elapsed_ns > engine.notable_ns:
        engine.note_slow(client, command, wait.words, wait.elapsed_ns)


def execute_run(client: Client, columns: Columns, data: bytes = b"") -> list[Any] | None:
    """Run commands of one name together, if they may be; their replies, or None.

    The client stands for all who sent them, in the same state and database.  ``data`` are the
    commands as they came, where no other bytes could be meant.
    """
    engine = client.engine
    entry = client.table.get(columns[0][0])
    width = len(columns)
    if entry is None or client.silent or not entry.least <= width <= entry.most:
        return None
    command, keyspace = entry.command, client.keyspace
    run = entry.run if width == entry.least or command.runs_all else None
    # Notifications are sent one by one, and a run may turn out to be none.
    if (
        run is None
        or keyspace.notify is not None
        or (command.bits & WRITES and not command.runs_all and CHANGEFEED in columns[1])
    ):
        return _execute_each(client, entry, columns) if entry.alike else None
    started = time_ns()
    budget = engine.evictor.budget
    budget.quiet = client.no_touch
    if budget.used > budget.limit:
        return None  # one by one each makes room for itself
    before = keyspace.changes
    try:
        values = run(client, columns)
    except ReservedKey:
        return None
    if values is None:
        return None
    entry.stats.add(len(values), time_ns() - started)
    if keyspace.changes != before:
        if engine.log is not None and entry.command.flags & Flag.WRITE:
            if client.effect is None and engine.log_run is not None:
                engine.log_run(client, columns, data)
            else:
                # One effect is that of the whole run.
                batch = rows(columns)
                for words in batch if client.effect is None else batch[:1]:
                    engine.log(client, words)
        client.effect = None
        if engine.ready:
            engine.blocking.serve(engine.ready)
    client.commands += len(values)
    client.last_command = entry.command.name
    return values


def _execute_each(client: Client, entry: Entry, columns: Columns) -> list[Any]:
    """Run quick commands one after the other, timed together; their replies."""
    started = time_ns()
    handler = entry.handler
    values: list[Any] = []
    refusals = 0
    for words in rows(columns):
        try:
            values.append(handler(client, words))
        except CommandError as error:
            ran, error = _failed(client, entry, words, error)
            refusals += ran is None
            values.append(Wire(error.wire()))
    if len(values) > refusals:
        entry.stats.add(len(values) - refusals, time_ns() - started)
    client.commands += len(values)
    client.last_command = entry.command.name
    return values


def rows(columns: Columns) -> list[Args]:
    """The commands one by one."""
    return list(map(list, zip(*columns, strict=True)))


def _failed(
    client: Client, entry: Entry | None, words: Args, error: CommandError
) -> tuple[Entry | None, CommandError]:
    """Count an error reply; the entry, where the command ran at all, and what the client is told.

    A command that could not be queued spoils its transaction.
    """
    engine = client.engine
    if not isinstance(error, REFUSALS):
        assert entry is not None
        engine.counters.errors[error.code] += 1
        entry.stats.failed += 1
        return entry, error
    command = refused(entry, words)
    if command is not None:
        engine.stats[command.name].rejected += 1
        if command.refusal is not None:
            error = command.refusal(client, error)
    if client.state == "multi":
        client.failed = True
    engine.counters.errors[error.code] += 1
    return None, error
