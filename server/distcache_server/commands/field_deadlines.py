"""The hash commands of Redis 7.4 that give fields a time to live.

The keyspace removes fields past their deadlines before a handler sees the hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from distcache_server.arguments import Args, integer
from distcache_server.errors import (
    Failure,
    FieldsMismatch,
    FieldsMissing,
    InvalidExpire,
    NotInteger,
)
from distcache_server.events import HASH
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.types.hash import Hash

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("hash")

OF_FIELDS = "O(N) where N is the number of specified fields"

NO_FIELD = -2
NO_DEADLINE = -1
REFUSED, GIVEN, DELETED = 0, 1, 2
"""What HEXPIRE and its like answer for each field, besides NO_FIELD."""

LATEST_MS = (1 << 46) - 1
"""Redis keeps no later deadlines of fields."""

Condition = Callable[[int | None, int], bool]
_CONDITIONS: dict[bytes, Condition] = {
    b"NX": lambda old, new: old is None,
    b"XX": lambda old, new: old is not None,
    b"GT": lambda old, new: old is not None and new > old,
    b"LT": lambda old, new: old is None or new < old,
}


def _always(_: int | None, __: int) -> bool:
    return True


def listed_fields(words: Args, at: int, bad_number: bytes) -> list[bytes]:
    """The fields behind ``FIELDS numfields``, which stand at ``at``."""
    if words[at].upper() != b"FIELDS":
        raise FieldsMissing
    try:
        count = integer(words[at + 1])
    except NotInteger:
        count = 0
    if count < 1:
        raise Failure(bad_number)
    if count != len(words) - at - 2:
        raise FieldsMismatch
    return words[at + 2 :]


def _expire(client: Client, words: Args, unit_ms: int, base_ms: int) -> list[int]:
    """Give fields a deadline, or remove those for which it has passed."""
    keyspace, key = client.keyspace, words[1]
    found = keyspace.find_as(key, Hash)
    deadline = integer(words[2])
    if deadline < 0:
        raise Failure(b"invalid expire time, must be >= 0")
    deadline = deadline * unit_ms + base_ms
    if deadline > LATEST_MS:
        raise InvalidExpire(words[0].lower())
    condition = _CONDITIONS.get(words[3].upper(), _always)
    at = 3 if condition is _always else 4
    fields = listed_fields(words, at, b"Parameter `numFields` should be greater than 0")
    if found is None:
        return [NO_FIELD] * len(fields)
    before_ms = found.next_ms
    past = deadline <= keyspace.now_ms
    replies = []
    done = []
    for field in fields:
        if field not in found:
            replies.append(NO_FIELD)
        elif not condition(found.deadline(field), deadline):
            replies.append(REFUSED)
        else:
            done.append(field)
            if past:
                found.remove(field)
                replies.append(DELETED)
            else:
                found.expire_at(field, deadline)
                replies.append(GIVEN)
    if done and past:
        client.effect = [b"HDEL", key, *done]
        keyspace.changed(key, b"hdel", HASH)
        keyspace.remove_if_empty(key, found)
    elif done:
        keyspace.note_fields(key, found, before_ms)
        listed = [b"FIELDS", b"%d" % len(done), *done]
        client.effect = [b"HPEXPIREAT", key, b"%d" % deadline, *listed]
        keyspace.changed(key, b"hexpire", HASH)
    return replies


@command(
    "HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hexpire(client: Client, words: Args) -> list[int]:
    """Gives fields of a hash a time to live in seconds."""
    return _expire(client, words, 1000, client.keyspace.now_ms)


@command(
    "HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hpexpire(client: Client, words: Args) -> list[int]:
    """Gives fields of a hash a time to live in milliseconds."""
    return _expire(client, words, 1, client.keyspace.now_ms)


@command(
    "HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hexpireat(client: Client, words: Args) -> list[int]:
    """Gives fields of a hash a deadline in seconds of Unix time."""
    return _expire(client, words, 1000, 0)


@command(
    "HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hpexpireat(client: Client, words: Args) -> list[int]:
    """Gives fields of a hash a deadline in milliseconds of Unix time."""
    return _expire(client, words, 1, 0)


BAD_NUMBER = b"Number of fields must be a positive integer"


def _deadlines(client: Client, words: Args, unit_ms: int, base_ms: int) -> list[int]:
    """When fields go, counted from ``base_ms`` on."""
    found = client.keyspace.read_as(words[1], Hash)
    fields = listed_fields(words, 2, BAD_NUMBER)
    replies = []
    for field in fields:
        if found is None or field not in found:
            replies.append(NO_FIELD)
            continue
        deadline = found.deadline(field)
        # A part of a second counts as one.
        left = NO_DEADLINE if deadline is None else -(-(deadline - base_ms) // unit_ms)
        replies.append(left)
    return replies


@command(
    "HTTL key FIELDS numfields field [field ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
    tips="nondeterministic_output",
)
def httl(client: Client, words: Args) -> list[int]:
    """Returns how many seconds fields have to live."""
    return _deadlines(client, words, 1000, client.keyspace.now_ms)


@command(
    "HPTTL key FIELDS numfields field [field ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
    tips="nondeterministic_output",
)
def hpttl(client: Client, words: Args) -> list[int]:
    """Returns how many milliseconds fields have to live."""
    return _deadlines(client, words, 1, client.keyspace.now_ms)


@command(
    "HEXPIRETIME key FIELDS numfields field [field ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hexpiretime(client: Client, words: Args) -> list[int]:
    """Returns when fields go, in seconds of Unix time."""
    return _deadlines(client, words, 1000, 0)


@command(
    "HPEXPIRETIME key FIELDS numfields field [field ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hpexpiretime(client: Client, words: Args) -> list[int]:
    """Returns when fields go, in milliseconds of Unix time."""
    return _deadlines(client, words, 1, 0)


@command(
    "HPERSIST key FIELDS numfields field [field ...]",
    WRITE | FAST,
    keys=ONE_KEY,
    since="7.4.0",
    complexity=OF_FIELDS,
)
def hpersist(client: Client, words: Args) -> list[int]:
    """Takes the deadlines of fields off."""
    keyspace, key = client.keyspace, words[1]
    found = keyspace.find_as(key, Hash)
    replies = []
    for field in listed_fields(words, 2, BAD_NUMBER):
        if found is None or field not in found:
            replies.append(NO_FIELD)
        else:
            replies.append(GIVEN if found.persist(field) else NO_DEADLINE)
    if GIVEN in replies:
        keyspace.changed(key, b"hpersist", HASH)
    return replies
