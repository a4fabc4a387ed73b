"""What may stand around a handler, and what answers instead of one.

Each is there only while the server or the client is in a state that needs it (dispatch.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.blocking import Wait
from distcache_server.errors import (
    CommandError,
    Misconfigured,
    NotAllowedInMulti,
    NotAuthenticated,
    NotInThisContext,
    NotWhileMonitoring,
    OutOfMemory,
    PrimaryDown,
    ReadOnly,
    StillLoading,
    TooFewReplicas,
)
from distcache_server.lookup import find
from distcache_server.monitoring import show
from distcache_server.registry import MAY_WRITE, READONLY, Command, Handler
from distcache_server.reply import QUEUED, Push, Replies, Wire

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine


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
    evictor = engine.evictor
    budget = evictor.budget

    def run(client: Client, words: Args) -> Any:
        budget.quiet = client.no_touch
        # A transaction made room before it began, and is not torn.
        if budget.used > budget.limit and not (engine.in_transaction or evictor.make_room()):
            raise OutOfMemory
        return handler(client, words)

    return run


def evict_first(engine: Engine, handler: Handler) -> Handler:
    """Make room before any other command, as far as that goes."""
    evictor = engine.evictor
    budget = evictor.budget

    def run(client: Client, words: Args) -> Any:
        budget.quiet = client.no_touch
        if budget.used > budget.limit and not engine.in_transaction:
            evictor.make_room()
        return handler(client, words)

    return run


def untouched(handler: Handler) -> Handler:
    """CLIENT NO-TOUCH: what the client reads does not count as used."""

    def run(client: Client, words: Args) -> Any:
        keyspace = client.keyspace
        before, looks = keyspace.hits + keyspace.misses, keyspace.looks
        reply = handler(client, words)
        if client.no_touch:
            keyspace.looks = looks + keyspace.hits + keyspace.misses - before
        return reply

    return run


def monitored(command: Command, handler: Handler) -> Handler:
    """Show a command to the clients in MONITOR once it has run, for the first time if it blocks."""

    def run(client: Client, words: Args) -> Any:
        try:
            reply = handler(client, words)
        except Wait as wait:
            wait.handler = handler
            show(client, command.shown(words))
            raise
        except CommandError:
            show(client, command.shown(words))
            raise
        line = show(client, command.shown(words))
        return Replies([reply, Wire(line)]) if client.monitoring else reply

    return run


def paused(engine: Engine, handler: Handler) -> Handler:
    """CLIENT PAUSE: put the command back until the pause is over; a transaction is not torn."""

    def run(client: Client, words: Args) -> Any:
        if not engine.in_transaction:
            engine.pause.hold(client)
        return handler(client, words)

    return run


def own_messages_last(handler: Handler) -> Handler:
    """What a client's own command publishes to it comes behind the reply."""

    def run(client: Client, words: Args) -> Any:
        if client.aside is not None:
            return handler(client, words)  # EXEC keeps them for the end of the transaction
        aside: list[Push] = []
        client.aside = aside
        try:
            reply = handler(client, words)
        except Exception:
            client.aside = None
            for message in aside:
                client.push(message)
            raise
        client.aside = None
        return Replies([reply, *aside]) if aside else reply

    return run


def refuse_unauthenticated(_: Client, __: Args) -> Any:
    raise NotAuthenticated


def refuse_subscribed(client: Client, words: Args) -> Any:
    raise NotInThisContext(find(client, words).command.name.encode())


def refuse_loading(_: Client, __: Args) -> Any:
    raise StillLoading


def refuse_monitor(_: Client, __: Args) -> Any:
    raise NotWhileMonitoring


def refuse_broken(client: Client, _: Args) -> Any:
    raise Misconfigured(client.engine.broken or b"")


def refuse_read_only(_: Client, __: Args) -> Any:
    raise ReadOnly


def refuse_lonely(_: Client, __: Args) -> Any:
    raise TooFewReplicas


def refuse_stale(_: Client, __: Args) -> Any:
    raise PrimaryDown


def relayed(engine: Engine, handler: Handler) -> Handler:
    """Give a message to the replicas, too."""

    def run(client: Client, words: Args) -> Any:
        reply = handler(client, words)
        if engine.log is not None:
            engine.log(client, words)
        return reply

    return run


def refuse_in_multi(_: Client, __: Args) -> Any:
    raise NotAllowedInMulti


def queue(client: Client, words: Args) -> Any:
    """Keep a command for EXEC."""
    if client.monitoring and find(client, words).command.flags & (MAY_WRITE | READONLY):
        raise NotWhileMonitoring
    client.queue.append(words)
    client.queued_bytes += sum(map(len, words)) + 64 * len(words)
    return QUEUED
