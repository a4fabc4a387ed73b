"""The commands of replication: what operators tell a server, and replicas their primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_replication.primary import ONLINE

from distcache_server import logs
from distcache_server.arguments import Args, integer, is_integer
from distcache_server.errors import (
    AddressTooLong,
    BadFilter,
    BadPrimaryPort,
    BadReplicaOption,
    FailingOver,
    Failure,
    NoFilter,
    NoPrimaryLink,
    NoReplication,
    NotWithin,
    SyntaxFailure,
)
from distcache_server.quoting import Unbalanced, split
from distcache_server.registry import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    group,
)
from distcache_server.reply import NOTHING, OK, Status

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.replication import Replication

command = group("server")

NONE = "no-failover"
LONGEST_ADDRESS = 255


def part_of(client: Client) -> Replication:
    """The server's part in replication."""
    replication = client.engine.replication
    if replication is None:
        raise NoReplication
    return replication


# For operators


@command("ROLE", NOSCRIPT | LOADING | STALE | FAST, since="2.8.12", acl="admin dangerous")
def role(client: Client, _: Args) -> list[Any]:
    """Returns the server's part in replication."""
    replication = client.engine.replication
    if replication is None:
        return [b"master", 0, []]
    end = replication.persistence.log.end
    if replication.primary is not None:
        (host, port), link = replication.primary, replication.link
        offset = end if link is not None and link.is_up else -1
        return [b"slave", host.encode(), port, replication.state.encode(), offset]
    replicas = []
    for each, it in replication.replicas.clients.items():
        if it.state == ONLINE:
            place = replication.replicas.host(each).encode()
            replicas.append([place, b"%d" % it.port, b"%d" % it.acknowledged])
    return [b"master", end, replicas]


def follow(client: Client, words: Args) -> Any:
    """Be a replica of that server, or a primary."""
    _, host, port = words
    replication = part_of(client)
    if replication.failing_over.state != NONE:
        raise Failure(b"REPLICAOF not allowed while failing over.")
    if (host.upper(), port.upper()) == (b"NO", b"ONE"):
        replication.promote()
        return OK
    if not is_integer(port) or not 0 <= int(port) <= 65535:
        raise BadPrimaryPort
    if not replication.follow(host.decode("utf-8", "surrogateescape"), int(port)):
        return Status(b"OK Already connected to specified master")
    return OK


REPLICATION = NO_ASYNC_LOADING | ADMIN | NOSCRIPT | STALE


@command("REPLICAOF <host port | NO ONE>", REPLICATION, since="5.0.0")
def replicaof(client: Client, words: Args) -> Any:
    """Makes the server a replica of another, or a primary."""
    return follow(client, words)


@command("SLAVEOF <host port | NO ONE>", REPLICATION, since="1.0.0")
def slaveof(client: Client, words: Args) -> Any:
    """The older name of REPLICAOF."""
    return follow(client, words)


@command(
    "FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
    ADMIN | NOSCRIPT | STALE,
    since="6.2.0",
)
def failover(client: Client, words: Args) -> Any:
    """Hands the part of the primary over to one of its replicas."""
    it = part_of(client).failing_over
    if len(words) == 2 and words[1].upper() == b"ABORT":
        if it.state == NONE:
            raise Failure(b"No failover in progress.")
        it.abort("Failover manually aborted")
        return OK
    target: tuple[str, int] | None = None
    timeout_ms, force = 0, False
    rest = iter(words[1:])
    for word in rest:
        match word.upper():
            case b"TIMEOUT" if not timeout_ms and (value := next(rest, None)) is not None:
                timeout_ms = integer(value)
                if timeout_ms <= 0:
                    raise Failure(b"FAILOVER timeout must be greater than 0")
            case b"TO" if target is None and (host := next(rest, None)) is not None:
                if (port := next(rest, None)) is None:
                    raise SyntaxFailure
                target = host.decode("latin-1"), integer(port)
            case b"FORCE" if not force:
                force = True
            case _:
                raise SyntaxFailure
    it.begin(target, timeout_ms, force)
    return OK


# For replicas


@command(
    "REPLCONF",
    ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY,
    arity=-1,
    since="3.0.0",
)
def replconf(client: Client, words: Args) -> Any:
    """Tells a primary about its replica, and how far it is."""
    if not len(words) % 2:
        raise SyntaxFailure
    options = [word.lower() for word in words[1::2]]
    replicas = part_of(client).replicas
    values = words[2::2]
    for at, (option, value) in enumerate(zip(options, values, strict=True)):
        if option in (b"ack", b"getack"):
            if option == b"ack" and is_integer(value):
                fact = options[at + 1 : at + 2] == [b"fack"] and is_integer(values[at + 1])
                flushed = int(values[at + 1]) if fact else None
                replicas.acknowledge(client, int(value), flushed)
            return NOTHING
        it = replicas.known(client)
        match option:
            case b"listening-port":
                it.port = integer(value)
            case b"ip-address":
                if len(value) > LONGEST_ADDRESS:
                    raise AddressTooLong(len(value))
                it.address = value.decode("latin-1")
            case b"capa":
                it.takes_unknown_length |= value.lower() == b"eof"
                it.knows_histories |= value.lower() == b"psync2"
            case b"rdb-only":
                if (only := integer(value)) not in (0, 1):
                    raise NotWithin(0, 1)
                it.only_snapshot = only == 1
            case b"rdb-filter-only":
                check_filter(value)
                it.no_keys = True
            case b"version":
                pass
            case _:
                raise BadReplicaOption(option)
    return OK


def check_filter(value: bytes) -> None:
    """Refuse a list of parts of a snapshot that has others than functions."""
    try:
        parts = split(value)
    except Unbalanced:
        raise NoFilter from None
    for part in parts:
        if part.lower() != b"functions":
            raise BadFilter(part)


SYNC = NO_ASYNC_LOADING | ADMIN | NO_MULTI | NOSCRIPT


@command("PSYNC replicationid offset", SYNC, arity=-3, since="2.8.0")
def psync(client: Client, words: Args) -> Any:
    """Sends the log from an offset of a history on, or a snapshot first."""
    history, replication = words[1].decode("latin-1"), part_of(client)
    if words[3:4] and words[3].upper() == b"FAILOVER":
        if replication.link is None:
            raise Failure(b"PSYNC FAILOVER can't be sent to a master.")
        if history.lower() != client.engine.history.id:
            raise Failure(b"PSYNC FAILOVER replid must match my replid.")
        logs.notice("Failover request received", history=history, client=client.address)
        replication.promote()
    check_link(replication)
    offset = integer(words[2]) - 1
    return replication.replicas.ask(client, history, None if history == "?" else offset)


@command("SYNC", SYNC, since="1.0.0")
def sync(client: Client, _: Args) -> Any:
    """Sends a snapshot and then the log."""
    replication = part_of(client)
    check_link(replication)
    return replication.replicas.ask(client, "?", None, old=True)


def check_link(replication: Replication) -> None:
    """Refuse replicas while the log may go on as another."""
    if replication.failing_over.state != NONE:
        raise FailingOver
    if replication.link is not None and not replication.link.is_up:
        raise NoPrimaryLink
