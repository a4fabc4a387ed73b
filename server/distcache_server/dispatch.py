"""Which function answers a command, in each state of a client; and running a batch of them.

State is a table, not a question: a client that is not authenticated, in MULTI or subscribed has
another table, whose handlers refuse, queue or allow.  What the whole server does besides (MONITOR,
maxmemory, CLIENT PAUSE) is wrapped around the handlers while it is on, so that what is off costs
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from time import time_ns
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.blocking import Hold, Wait
from distcache_server.config import ConfigError
from distcache_server.errors import (
    CommandError,
    NotAllowedInMulti,
    NotAuthenticated,
    NotInThisContext,
    OutOfMemory,
)
from distcache_server.lookup import REFUSALS, Entry, Table, misfit, other_spelling
from distcache_server.registry import (
    COMMANDS,
    NO_FLAGS,
    Command,
    Flag,
    Handler,
)
from distcache_server.reply import QUEUED, Wire, encode_run
from distcache_server.stats import Stats

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine

SMALLEST_AVERAGED_NS = 1_000_000
"""Below this slow log threshold every command is timed alone."""
FULL = 1 << 20
"""Replies of a batch that are larger are sent before the next command runs."""

log = logging.getLogger("distcache")


Wrapper = Callable[[Command, Handler], Handler]


def every_command() -> Iterator[Command]:
    """All commands and subcommands."""
    for command in COMMANDS.values():
        yield command
        yield from command.subcommands.values()


# What may stand around a handler


def logged(engine: Engine, handler: Handler) -> Handler:
    """Give the effect of a write to the log and wake who waits for it, if anything changed."""
    ready = engine.ready

    def run(client: Client, words: Args) -> Any:
        keyspace = client.keyspace
        before = keyspace.changes
        reply = handler(client, words)
        if keyspace.changes != before:
            if engine.log is not None:
                engine.log(client, words)
            client.effect = None
            if ready and not engine.in_transaction:
                engine.blocking.serve(ready)
        return reply

    return run


def within_memory(engine: Engine, handler: Handler) -> Handler:
    """Make room before a command that may take more memory; refuse it where that fails."""

    def run(client: Client, words: Args) -> Any:
        if not engine.make_room():
            raise OutOfMemory
        return handler(client, words)

    return run


def evict_first(engine: Engine, handler: Handler) -> Handler:
    """Make room before any other command, as far as that goes."""

    def run(client: Client, words: Args) -> Any:
        engine.make_room()
        return handler(client, words)

    return run


def monitored(engine: Engine, handler: Handler) -> Handler:
    """Show a command to the clients in MONITOR before it runs."""

    def run(client: Client, words: Args) -> Any:
        engine.show_monitors(client, words)
        return handler(client, words)

    return run


def held(client: Client, _: Args) -> Any:
    """CLIENT PAUSE: put the command back until the pause is over."""
    client.engine.held[client] = None
    raise Hold


def refuse_unauthenticated(_: Client, __: Args) -> Any:
    raise NotAuthenticated


def refuse_subscribed(_: Client, words: Args) -> Any:
    raise NotInThisContext(words[0].lower())


def refuse_in_multi(_: Client, __: Args) -> Any:
    raise NotAllowedInMulti


def queue(client: Client, words: Args) -> Any:
    """Keep a command for EXEC."""
    client.queue.append(words)
    client.queued_bytes += sum(map(len, words)) + 64 * len(words)
    return QUEUED


def build(engine: Engine) -> dict[str, Table]:
    """The tables of all states, as the server's situation asks for."""
    paused = engine.paused_until_ms > 0
    limited = engine.config.maxmemory > 0
    averaged = engine.slow_ns >= SMALLEST_AVERAGED_NS and not engine.monitors and not paused

    def usual(command: Command) -> Handler:
        handler = command.handler
        flags = command.flags
        if flags & Flag.WRITE:
            handler = logged(engine, handler)
        if limited:
            handler = (within_memory if flags & Flag.DENYOOM else evict_first)(engine, handler)
        if engine.monitors and not flags & (Flag.SKIP_MONITOR | Flag.ADMIN):
            handler = monitored(engine, handler)
        if paused and _pausable(engine, command):
            handler = held
        return handler

    def table(
        refuse: Handler | None = None, unless: Flag = NO_FLAGS, never: Handler | None = None
    ) -> Table:
        entries: Table = {}
        for command in every_command():
            handler = usual(command)
            if never is not None and command.flags & Flag.NO_MULTI:
                handler = never
            elif refuse is not None and not command.flags & unless:
                handler = refuse
            # A command that is only refused or queued does not count as called.
            real = handler not in (refuse, never, held)
            stats = engine.stats.setdefault(command.name, Stats()) if real else Stats()
            entry = Entry(command, handler, stats)
            if not real or not averaged or (limited and command.flags & Flag.DENYOOM):
                entry.run = None
            entries[command.key] = entries[command.key.lower()] = entry
        for old, new in engine.config.rename_command:
            _rename(entries, old.upper(), new)
        return entries

    return {
        "normal": table(),
        "unauthenticated": table(refuse_unauthenticated, unless=Flag.NO_AUTH),
        "multi": table(queue, unless=Flag.INSTANT, never=refuse_in_multi),
        "subscribed": table(refuse_subscribed, unless=Flag.SUBSCRIBED),
    }


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


def _pausable(engine: Engine, command: Command) -> bool:
    """Whether CLIENT PAUSE holds the command: all, or those that write or may."""
    if command.name in ("client|pause", "client|unpause") or command.flags & Flag.ADMIN:
        return False
    if engine.paused_writes_only:
        return bool(command.flags & (Flag.WRITE | Flag.MAY_REPLICATE))
    return True


def install(engine: Engine) -> None:
    """Build an engine's tables, and again whenever its situation changes."""

    def rebuild() -> None:
        engine.tables = build(engine)
        for client in engine.clients.values():
            client.enter(client.state)

    engine.rebuild = rebuild
    rebuild()


# Running


def execute(client: Client, batch: list[Args], replies: list[bytes], started: int) -> bool:
    """Run commands in order, and append their encoded replies; ``started`` is now, from time_ns.

    False where the rest has to wait, in the client's backlog: the client blocks, was put on hold,
    is to be closed, or has so many reply bytes that they are to be sent first.
    """
    engine = client.engine
    notable = engine.notable_ns
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
            _failed(client, entry, error)
            replies.append(client.encoders[Wire](error.wire()))
            if isinstance(error, REFUSALS):
                entry = None
        except Wait as wait:
            assert entry is not None
            wait.words = words
            wait.handler = entry.handler
            engine.blocking.park(client, wait)
        except Hold:
            client.backlog = [words, *rest]
            return False
        # The bookkeeping of Stats.add, spelled out.
        now = time_ns()
        elapsed = now - started
        started = now
        if entry is not None:
            stats = entry.stats
            stats.ns += elapsed
            square = elapsed * elapsed
            stats.histogram[(square * square).bit_length()] += 1
            if elapsed > notable and _notable(client, entry, words, elapsed, replies):
                client.backlog = list(rest)
                return not client.backlog
        if client.blocked is not None or client.close_after_reply:
            client.backlog = list(rest)
            return False
    client.last_command = entry.command.name if entry is not None else client.last_command
    return True


def execute_run(client: Client, batch: list[Args]) -> bytes | None:
    """Run a batch of one command in one call, if that command has such a way; else None.

    All of ``batch`` have the same name and the fewest words that the command takes.
    """
    engine = client.engine
    entry = client.table.get(batch[0][0])
    if entry is None or entry.run is None or len(batch[0]) != entry.least:
        return None
    keyspace = client.keyspace
    before = keyspace.changes
    started = time_ns()
    values = entry.run(client, batch)
    if values is None:
        return None
    entry.stats.add(len(values), time_ns() - started)
    if keyspace.changes != before:
        if engine.log is not None:
            for words in batch:
                engine.log(client, words)
        if engine.ready:
            engine.blocking.serve(engine.ready)
    client.last_command = entry.command.name
    return encode_run(values, client.encoders)


def _failed(client: Client, entry: Entry | None, error: CommandError) -> None:
    """Count an error reply; a command that could not be queued spoils its transaction."""
    engine = client.engine
    engine.counters.errors[error.code] += 1
    if entry is not None:
        stats = engine.stats[entry.command.name]
        if isinstance(error, REFUSALS):
            stats.rejected += 1
        else:
            stats.failed += 1
    if client.state == "multi" and (entry is None or isinstance(error, REFUSALS)):
        client.failed = True


def _notable(client: Client, entry: Entry, words: Args, elapsed: int, replies: list[bytes]) -> bool:
    """A command took long: slow log and latency; True where its replies fill the buffer."""
    engine = client.engine
    if elapsed > engine.slow_ns and not entry.command.flags & Flag.SKIP_SLOWLOG:
        now_s = engine.now_ms // 1000
        engine.slowlog.add(now_s, elapsed // 1000, words, client.address, client.name)
    return sum(map(len, replies)) > FULL
