"""MULTI, EXEC, DISCARD, WATCH and UNWATCH."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.blocking import Wait
from distcache_server.errors import (
    CommandError,
    DiscardWithoutMulti,
    ExecAborted,
    ExecAbortedBy,
    ExecWithoutMulti,
    NestedMulti,
    OutOfMemory,
    WatchInMulti,
)
from distcache_server.lookup import Entry, find
from distcache_server.registry import (
    ALL_KEYS,
    ALLOW_BUSY,
    DENYOOM,
    FAST,
    INSTANT,
    LOADING,
    MAY_WRITE,
    NOSCRIPT,
    SKIP_SLOWLOG,
    STALE,
    WRITE,
    group,
)
from distcache_server.reply import ENCODERS, OK, NullArray, Push, Replies, Wire
from distcache_server.unconfirmed import mark

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("transactions")

PLAIN = NOSCRIPT | LOADING | STALE | INSTANT


@command("MULTI", PLAIN | FAST | ALLOW_BUSY, since="1.2.0")
def multi(client: Client, _: Args) -> Any:
    """Starts a transaction."""
    if client.state == "multi":
        raise NestedMulti
    client.enter("multi")
    return OK


def leave_multi(client: Client) -> None:
    """Forget the queued commands and the watched keys, and take commands as usual again."""
    client.queue = []
    client.queued_bytes = 0
    client.failed = False
    client.engine.unwatch(client)
    client.enter(client.usual_state())


@command("DISCARD", PLAIN | FAST | ALLOW_BUSY, since="2.0.0", complexity="O(N)")
def discard(client: Client, _: Args) -> Any:
    """Discards a transaction."""
    if client.state != "multi":
        raise DiscardWithoutMulti
    leave_multi(client)
    return OK


def abort(client: Client, error: CommandError) -> CommandError:
    """EXEC that is refused, whatever for, ends the transaction."""
    if client.state == "multi":
        leave_multi(client)
    return ExecAbortedBy(error.text.removeprefix(b"ERR "))


@command(
    "EXEC",
    PLAIN | SKIP_SLOWLOG,
    since="1.2.0",
    complexity="Depends on commands",
    refusal=abort,
)
def exec_(client: Client, _: Args) -> Any:
    """Executes all commands in a transaction."""
    if client.state != "multi":
        raise ExecWithoutMulti
    engine, queue, failed = client.engine, client.queue, client.failed
    if engine.pause.writes_only and any(
        find(client, words).command.flags & MAY_WRITE for words in queue
    ):
        engine.pause.hold(client)
    if engine.refusal is not None and any(
        find(client, words).command.flags & WRITE for words in queue
    ):
        engine.refusal(client, queue[0])
    if not engine.evictor.make_room() and any(
        find(client, words).command.flags & DENYOOM for words in queue
    ):
        raise OutOfMemory
    if engine.reader is not None and not (failed or engine.follows):
        try:
            engine.reader.prepare(client, queue)
        except CommandError:
            leave_multi(client)
            raise
    conflict = client.conflict or _watched_key_lapsed(client)
    leave_multi(client)
    if failed:
        raise ExecAborted
    if conflict:
        return NullArray
    answered, logged = not client.silent, client.logged
    replies: list[Any] = [] if client.unanswered else [Wire(b"*%d\r\n" % len(queue))]
    engine.in_transaction = True
    aside: list[Push] = []
    client.aside = aside
    try:
        replies += [_run(client, words) for words in queue]
    finally:
        engine.in_transaction = False
        client.aside = None
        client.enter(client.state)
        if engine.transaction_ended is not None:
            engine.transaction_ended(client)
    if engine.ready:
        engine.blocking.serve(engine.ready)
    if answered and client.silent:
        # CLIENT REPLY among the commands is for what follows.
        sent = b"".join(replies)
        waits = engine.confirm is not None and client.logged != logged
        client.send(mark(sent, client.logged) if waits else sent)
        replies = []
    return Replies([*replies, *aside])


def _watched_key_lapsed(client: Client) -> bool:
    """A watched key that has gone by its deadline since WATCH is a change like any other."""
    for keyspace, key in list(client.watching):
        keyspace.now_ms = client.keyspace.now_ms
        keyspace.peek(key)
    return client.conflict


def _run(client: Client, words: Args) -> Wire:
    """Run one command of a transaction; the reply is encoded at once, as HELLO may follow."""
    engine = client.engine
    started = time_ns()
    entry: Entry | None = None
    # What could be queued may run, whatever state the commands before it have brought about.
    client.table = engine.tables["normal"]
    try:
        entry = find(client, words)
        reply = entry.handler(client, words)
    except Wait as wait:
        reply = wait.otherwise
    except CommandError as error:
        engine.counters.errors[error.code] += 1
        if entry is not None:
            entry.stats.failed += 1
        reply = Wire(error.wire())
    if entry is not None:
        elapsed = time_ns() - started
        entry.stats.add(1, elapsed)
        if elapsed > engine.notable_ns:
            engine.note_slow(client, entry.command, words, elapsed)
    encoders = client.encoders if client.unanswered else ENCODERS[client.protocol]
    return Wire(encoders[type(reply)](reply))


@command(
    "WATCH key [key ...]",
    NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | INSTANT,
    keys=ALL_KEYS("RO"),
    since="2.2.0",
    complexity="O(1) for every key.",
)
def watch(client: Client, words: Args) -> Any:
    """Monitors changes to keys to determine the execution of a transaction."""
    if client.state == "multi":
        raise WatchInMulti
    for key in words[1:]:
        # A key past its deadline counts as missing from the start.
        client.keyspace.peek(key)
        client.engine.watch(client, client.keyspace, key)
    return OK


@command("UNWATCH", NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY, since="2.2.0")
def unwatch(client: Client, _: Args) -> Any:
    """Forgets about watched keys of a transaction."""
    client.engine.unwatch(client)
    return OK
