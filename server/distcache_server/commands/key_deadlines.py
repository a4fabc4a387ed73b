"""The commands for deadlines of keys: EXPIRE and its kin, TTL and its kin, PERSIST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distcache_server.arguments import INT64_MAX, INT64_MIN, Args, integer
from distcache_server.errors import Failure, InvalidExpire
from distcache_server.events import GENERIC
from distcache_server.registry import FAST, ONE_KEY, READONLY, WRITE, group

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("generic")

NX, XX, GT, LT = (1 << n for n in range(4))
_CONDITIONS = {b"NX": NX, b"XX": XX, b"GT": GT, b"LT": LT}

UPDATED = ONE_KEY("RW UPDATE")
READ = ONE_KEY("RO ACCESS")


def conditions(words: Args) -> int:
    """The words after the time, as a mask."""
    mask = 0
    for word in words:
        condition = _CONDITIONS.get(word.upper())
        if condition is None:
            raise Failure(b"Unsupported option %b" % word)
        mask |= condition
    if mask & NX and mask & (XX | GT | LT):
        raise Failure(b"NX and XX, GT or LT options at the same time are not compatible")
    if mask & GT and mask & LT:
        raise Failure(b"GT and LT options at the same time are not compatible")
    return mask


def holds(mask: int, deadline: int, current: int | None) -> bool:
    """Whether a deadline may take the place of the current one; none at all is the latest."""
    if current is None:
        return not mask & (XX | GT)
    return not (
        mask & NX or (mask & GT and deadline <= current) or (mask & LT and deadline >= current)
    )


def set_deadline(client: Client, words: Args, unit_ms: int, start_ms: int, name: bytes) -> int:
    """EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: a time in some unit, counted from some start."""
    key = words[1]
    mask = conditions(words[3:])
    time = integer(words[2])
    deadline = time * unit_ms
    if not INT64_MIN <= deadline <= INT64_MAX or deadline > INT64_MAX - start_ms:
        raise InvalidExpire(name)
    deadline += start_ms
    keyspace = client.keyspace
    if keyspace.find(key) is None or not holds(mask, deadline, keyspace.deadline(key)):
        return 0
    if deadline <= keyspace.now_ms:
        keyspace.remove(key)
        keyspace.changed(key, b"del", GENERIC)
        client.effect = [b"DEL", key]
    else:
        keyspace.expire_at(key, deadline)
        keyspace.changed(key, b"expire", GENERIC)
        # The log gets the deadline, not the delay: a replica that replays late must agree with us.
        client.effect = [b"PEXPIREAT", key, b"%d" % deadline]
    return 1


@command("EXPIRE key seconds [NX | XX | GT | LT]", WRITE | FAST, keys=UPDATED, since="1.0.0")
def expire(client: Client, words: Args) -> int:
    """Sets the time to live of a key in seconds."""
    return set_deadline(client, words, 1000, client.keyspace.now_ms, b"expire")


@command("PEXPIRE key milliseconds [NX | XX | GT | LT]", WRITE | FAST, keys=UPDATED, since="2.6.0")
def pexpire(client: Client, words: Args) -> int:
    """Sets the time to live of a key in milliseconds."""
    return set_deadline(client, words, 1, client.keyspace.now_ms, b"pexpire")


@command(
    "EXPIREAT key unix-time-seconds [NX | XX | GT | LT]", WRITE | FAST, keys=UPDATED, since="1.2.0"
)
def expireat(client: Client, words: Args) -> int:
    """Sets the deadline of a key in Unix time in seconds."""
    return set_deadline(client, words, 1000, 0, b"expireat")


@command(
    "PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]",
    WRITE | FAST,
    keys=UPDATED,
    since="2.6.0",
)
def pexpireat(client: Client, words: Args) -> int:
    """Sets the deadline of a key in Unix time in milliseconds."""
    return set_deadline(client, words, 1, 0, b"pexpireat")


def time_left(client: Client, words: Args, start_ms: int, unit_ms: int) -> int:
    """The deadline of a key, counted from some start; -1 if it has none, -2 without a key."""
    _, key = words
    keyspace = client.keyspace
    if keyspace.look(key) is None:
        return -2
    deadline = keyspace.deadline(key)
    if deadline is None:
        return -1
    return (max(deadline - start_ms, 0) + unit_ms // 2) // unit_ms


VARIES = "nondeterministic_output"


@command("TTL key", READONLY | FAST, keys=READ, since="1.0.0", tips=VARIES)
def ttl(client: Client, words: Args) -> int:
    """Returns the time to live of a key in seconds."""
    return time_left(client, words, client.keyspace.now_ms, 1000)


@command("PTTL key", READONLY | FAST, keys=READ, since="2.6.0", tips=VARIES)
def pttl(client: Client, words: Args) -> int:
    """Returns the time to live of a key in milliseconds."""
    return time_left(client, words, client.keyspace.now_ms, 1)


@command("EXPIRETIME key", READONLY | FAST, keys=READ, since="7.0.0")
def expiretime(client: Client, words: Args) -> int:
    """Returns the deadline of a key in Unix time in seconds."""
    return time_left(client, words, 0, 1000)


@command("PEXPIRETIME key", READONLY | FAST, keys=READ, since="7.0.0")
def pexpiretime(client: Client, words: Args) -> int:
    """Returns the deadline of a key in Unix time in milliseconds."""
    return time_left(client, words, 0, 1)


@command("PERSIST key", WRITE | FAST, keys=UPDATED, since="2.2.0")
def persist(client: Client, words: Args) -> int:
    """Takes the deadline off a key."""
    _, key = words
    keyspace = client.keyspace
    if keyspace.find(key) is None or not keyspace.persist(key):
        return 0
    keyspace.changed(key, b"persist", GENERIC)
    return 1
