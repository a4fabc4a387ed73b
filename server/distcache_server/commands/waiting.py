"""WAIT and WAITAOF: until replicas or the disk have what the client wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, integer, integer_between
from distcache_server.blocking import Wait
from distcache_server.errors import (
    AppendOnlyOff,
    NegativeTimeout,
    NotATimeout,
    NotOnReplica,
    NotOnReplicaEither,
    NotPositive,
    NotWithin,
    TimeoutTooLong,
)
from distcache_server.registry import NOSCRIPT, group
from distcache_server.waits import Wanted

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("generic")

LEAST = "request_policy:all_shards response_policy:agg_min"


def milliseconds(client: Client, word: bytes) -> int:
    """A timeout in milliseconds; 0 waits for ever."""
    timeout = integer(word, NotATimeout)
    if timeout < 0:
        raise NegativeTimeout
    if timeout > INT64_MAX - client.keyspace.now_ms:
        raise TimeoutTooLong
    return timeout


@command("WAIT numreplicas timeout", since="3.0.0", acl="connection -keyspace", tips=LEAST)
def wait(client: Client, words: Args) -> int:
    """Waits until so many replicas have what this client wrote; how many have it."""
    _, word, timeout = words
    replicas, timeout_ms = integer(word), milliseconds(client, timeout)
    engine = client.engine
    if engine.follows:
        raise NotOnReplica(b"WAIT")
    if engine.replication is None:
        raise Wait([], None, timeout_ms, otherwise=0)
    waits = engine.replication.replicas.waits
    count = waits.having(client.logged)
    if count >= replicas:
        return count
    stop = Wait([], None, timeout_ms, otherwise=count)
    if not engine.in_transaction:
        waits.add(client, Wanted(stop, client.logged, replicas))
    raise stop


@command(
    "WAITAOF numlocal numreplicas timeout",
    NOSCRIPT,
    since="7.2.0",
    acl="connection -keyspace",
    tips=LEAST,
)
def waitaof(client: Client, words: Args) -> Any:
    """Waits until this client's writes are on disk, here and at replicas; how many have them."""
    _, local, word, timeout = words
    numlocal = integer(local)
    if not 0 <= numlocal <= 1:
        raise NotWithin(0, 1)
    replicas = integer_between(word, 0, INT64_MAX, NotPositive)
    timeout_ms = milliseconds(client, timeout)
    engine = client.engine
    if engine.follows:
        raise NotOnReplicaEither
    if numlocal and not engine.config.appendonly:
        raise AppendOnlyOff
    if engine.replication is None:
        raise Wait([], None, timeout_ms, otherwise=[0, 0])
    waits = engine.replication.replicas.waits
    here, there = counts = waits.on_disk(client.logged)
    if here >= numlocal and there >= replicas:
        return counts
    stop = Wait([], None, timeout_ms, otherwise=counts)
    if not engine.in_transaction:
        waits.add(client, Wanted(stop, client.logged, replicas, numlocal))
    raise stop
