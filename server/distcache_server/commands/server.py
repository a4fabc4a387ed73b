"""Commands for the server as a whole: its databases, its role, its clock, its end."""

from __future__ import annotations

from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any

from distcache_server import logs
from distcache_server.arguments import Args, is_integer
from distcache_server.blocking import Wait
from distcache_server.engine import Engine, Shutdown
from distcache_server.errors import (
    BadFirstDatabase,
    BadSecondDatabase,
    CannotSave,
    Failure,
    InvalidDatabase,
    NoShutdown,
    SyntaxFailure,
)
from distcache_server.registry import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_MULTI,
    NOSCRIPT,
    READONLY,
    STALE,
    WRITE,
    group,
)
from distcache_server.reply import NOTHING, OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")


# Databases


@command(
    "DBSIZE",
    READONLY | FAST,
    since="1.0.0",
    acl="keyspace",
    tips="request_policy:all_shards response_policy:agg_sum",
)
def dbsize(client: Client, _: Args) -> int:
    """Returns the number of keys in the database."""
    return len(client.keyspace)


EVERY_SHARD = "request_policy:all_shards response_policy:all_succeeded"


def check_flush_mode(words: Args) -> None:
    """ASYNC or SYNC: either way the values are freed a little at a time."""
    if len(words) > 2 or (len(words) == 2 and words[1].upper() not in (b"ASYNC", b"SYNC")):
        raise SyntaxFailure


def note_flush(client: Client, keys: int) -> None:
    """Log a flush like a change, also where there was nothing to remove."""
    client.keyspace.changes += max(keys, 1)


@command(
    "FLUSHALL [ASYNC | SYNC]",
    WRITE,
    since="1.0.0",
    acl="keyspace dangerous",
    complexity="O(N) where N is the number of keys",
    tips=EVERY_SHARD,
)
def flushall(client: Client, words: Args) -> Any:
    """Removes every key of every database."""
    check_flush_mode(words)
    databases = client.engine.databases
    note_flush(client, sum(map(len, databases)))
    for keyspace in databases:
        keyspace.clear()
    if client.engine.persistence is not None:
        client.engine.persistence.flushed()
    return OK


@command(
    "FLUSHDB [ASYNC | SYNC]",
    WRITE,
    since="1.0.0",
    acl="keyspace dangerous",
    complexity="O(N) where N is the number of keys in the database",
    tips=EVERY_SHARD,
)
def flushdb(client: Client, words: Args) -> Any:
    """Removes every key of the database."""
    check_flush_mode(words)
    note_flush(client, len(client.keyspace))
    client.keyspace.clear()
    return OK


@command(
    "SWAPDB index1 index2",
    WRITE | FAST,
    since="4.0.0",
    acl="keyspace dangerous",
    complexity="O(N) where N is the number of clients that watch keys or wait for them",
)
def swapdb(client: Client, words: Args) -> Any:
    """Exchanges the keys of two databases; clients stay where they are."""
    _, first, second = words
    if not is_integer(first):
        raise BadFirstDatabase
    if not is_integer(second):
        raise BadSecondDatabase
    count = len(client.engine.databases)
    if not (0 <= int(first) < count and 0 <= int(second) < count):
        raise InvalidDatabase
    if first != second:
        client.database(int(first)).swap(client.database(int(second)))
    client.keyspace.changes += 1
    return OK


# Time


@command("TIME", LOADING | STALE | FAST, since="2.6.0", tips="nondeterministic_output")
def time(_: Client, __: Args) -> list[bytes]:
    """Returns the Unix time in seconds, and microseconds of the second."""
    now_us = time_ns() // 1000
    return [b"%d" % (now_us // 1_000_000), b"%d" % (now_us % 1_000_000)]


# Operation


@command("MONITOR", ADMIN | NOSCRIPT | LOADING | STALE, since="1.0.0")
def monitor(client: Client, _: Args) -> Any:
    """Shows the client every command that the server runs from now on."""
    if client.monitoring:
        return NOTHING
    if client.engine.in_transaction:
        raise Failure(b"MONITOR isn't allowed for DENY BLOCKING client")
    client.engine.monitor(client)
    client.enter(client.usual_state())
    return OK


@command(
    "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY,
    since="1.0.0",
)
def shutdown(client: Client, words: Args) -> Any:
    """Stops the server."""
    options = {word.upper() for word in words[1:]}
    wrong = options - {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}
    if wrong or {b"NOSAVE", b"SAVE"} <= options or (b"ABORT" in options and len(options) > 1):
        raise SyntaxFailure
    if b"ABORT" in options:
        if client.engine.stopping is None or not client.engine.stopping.abort():
            raise NoShutdown
        return OK
    logs.notice("Shutdown requested", client=client.id, address=client.address)
    engine, stopping = client.engine, client.engine.stopping
    if stopping is not None and b"NOW" not in options and stopping.must_wait():
        stopping.begin(partial(_stop, engine, options))
        stopping.clients[client] = wait = Wait([], None, 0)
        raise wait
    stop = _end(engine, options)
    if stopping is not None:
        stopping.let_go()
    raise stop


def _stop(engine: Engine, options: set[bytes]) -> None:
    """Stop the server, after waiting."""
    assert engine.stop is not None
    engine.stop(_end(engine, options))


def _end(engine: Engine, options: set[bytes]) -> Shutdown:
    """Save the keys as these options say, before the server stops; raises CannotSave."""
    save = True if b"SAVE" in options else False if b"NOSAVE" in options else None
    persistence = engine.persistence
    if persistence is not None and not persistence.save_at_end(save, b"FORCE" in options):
        raise CannotSave
    engine.drains &= b"NOW" not in options
    return Shutdown()


@command("MODULE", arity=-2, since="4.0.0", complexity="Depends on subcommand.", help="5.0.0")
def module(_: Client, __: Args) -> Any:
    """Looks at modules."""


@command(
    "MODULE LIST",
    ADMIN | NOSCRIPT,
    since="4.0.0",
    tips="nondeterministic_output_order",
    sub=True,
)
def module_list(_: Client, __: Args) -> list[Any]:
    """Returns the loaded modules: none, since there can be none."""
    return []
