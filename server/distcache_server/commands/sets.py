"""The set commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, filterfalse
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, Columns, draws, integer_between, turns
from distcache_server.errors import (
    BadNumkeys,
    NegativeLimit,
    NotPositive,
    SyntaxFailure,
    TooManyKeys,
)
from distcache_server.events import GENERIC, SET
from distcache_server.registry import (
    ALL_KEYS,
    DENYOOM,
    FAST,
    NUMKEYS,
    ONE_KEY,
    READONLY,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import SetReply
from distcache_server.scanning import cursor_of, scan_options
from distcache_server.types.set import Set

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("set")

SOURCES = Keys(first=2, last=-1, access="RO ACCESS")
STORED = (ONE_KEY("OW UPDATE"), SOURCES)
UNORDERED = "nondeterministic_output_order"
RANDOM = "nondeterministic_output"
POPPED = "Without the count argument O(1), otherwise O(N) where N is the value of the passed count."
INTERSECTING = (
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets."
)
TOGETHER = "O(N) where N is the total number of elements in all given sets."


def sadd_run(client: Client, columns: Columns) -> list[Any] | None:
    """SADD of one member each, many times; None, with nothing done, where a key is no set."""
    keyspace = client.keyspace
    limits, changed = keyspace.limits, keyspace.changed
    _, keys, members = columns
    sets: dict[bytes, Set] = {}
    for key in set(keys):
        found = keyspace.find(key)
        if found is not None and type(found) is not Set:
            return None
        sets[key] = Set() if found is None else found
    for key, found in sets.items():
        if not found:
            keyspace.put(key, found)
    replies = []
    for key, member in zip(keys, members, strict=True):
        if sets[key].add(member, limits):
            changed(key, b"sadd", SET)
            replies.append(1)
        else:
            replies.append(0)
    return replies


@command(
    "SADD key member [member ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="1.0.0",
    complexity="O(1) for each element added, so O(N) to add N elements when the command is called "
    "with multiple arguments.",
    run=sadd_run,
)
def sadd(client: Client, words: Args) -> int:
    """Adds members to a set, which creates it."""
    keyspace, key = client.keyspace, words[1]
    members = keyspace.find_as(key, Set)
    if members is None:
        members = Set()
        keyspace.put(key, members)
    added = members.update(words[2:], keyspace.limits)
    if added:
        keyspace.changed(key, b"sadd", SET)
    return added


@command(
    "SREM key member [member ...]",
    WRITE | FAST,
    keys=ONE_KEY("RW DELETE"),
    since="1.0.0",
    complexity="O(N) where N is the number of members to be removed.",
)
def srem(client: Client, words: Args) -> int:
    """Removes members from a set, and the set with its last member."""
    keyspace, key = client.keyspace, words[1]
    members = keyspace.find_as(key, Set)
    if members is None:
        return 0
    removed = sum(map(members.remove, words[2:]))
    if removed:
        keyspace.changed(key, b"srem", SET)
        keyspace.remove_if_empty(key, members)
    return removed


@command(
    "SMOVE source destination member",
    WRITE | FAST,
    keys=(ONE_KEY("RW ACCESS DELETE"), Keys(first=2, access="RW INSERT")),
    since="1.0.0",
)
def smove(client: Client, words: Args) -> int:
    """Moves a member from one set to another."""
    keyspace = client.keyspace
    _, source, destination, member = words
    members = keyspace.find_as(source, Set)
    others = keyspace.find_as(destination, Set) if members is not None else None
    if members is None or member not in members:
        return 0
    if source == destination:
        return 1
    members.remove(member)
    keyspace.changed(source, b"srem", SET)
    keyspace.remove_if_empty(source, members)
    if others is None:
        others = Set()
        keyspace.replace(destination, others)
    if others.add(member, keyspace.limits):
        keyspace.changed(destination, b"sadd", SET)
    return 1


@command("SISMEMBER key member", READONLY | FAST, keys=ONE_KEY("RO"), since="1.0.0")
def sismember(client: Client, words: Args) -> int:
    """Tells whether a set has a member."""
    _, key, member = words
    members = client.keyspace.read_as(key, Set)
    return 1 if members is not None and member in members else 0


@command(
    "SMISMEMBER key member [member ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="6.2.0",
    complexity="O(N) where N is the number of elements being checked for membership",
)
def smismember(client: Client, words: Args) -> list[int]:
    """Tells for each of several members whether a set has it."""
    members = client.keyspace.read_as(words[1], Set)
    if members is None:
        return [0] * (len(words) - 2)
    return [1 if member in members else 0 for member in words[2:]]


@command("SCARD key", READONLY | FAST, keys=ONE_KEY("RO"), since="1.0.0")
def scard(client: Client, words: Args) -> int:
    """Returns how many members a set has."""
    _, key = words
    members = client.keyspace.read_as(key, Set)
    return 0 if members is None else len(members)


@command(
    "SMEMBERS key",
    READONLY,
    keys=ONE_KEY,
    since="1.0.0",
    tips=UNORDERED,
    complexity="O(N) where N is the set cardinality.",
)
def smembers(client: Client, words: Args) -> SetReply:
    """Returns all members of a set."""
    _, key = words
    return SetReply(client.keyspace.read_as(key, Set) or ())


def spop_run(client: Client, columns: Columns) -> list[Any] | None:
    """SPOP of one member, many times; None, with nothing done, where a key is no set."""
    keyspace = client.keyspace
    changed = keyspace.changed
    sets: dict[bytes, Set] = {}
    popped: dict[bytes, list[bytes]] = {}
    for key in set(columns[1]):
        found = keyspace.find(key)
        if found is not None and type(found) is not Set:
            return None
        sets[key] = Set() if found is None else found
    replies: list[bytes | None] = []
    for key in columns[1]:
        members = sets[key]
        if not members:
            replies.append(None)
            continue
        member = members.pop()
        replies.append(member)
        popped.setdefault(key, []).append(member)
        changed(key, b"spop", SET)
        if not members:
            keyspace.remove_if_empty(key, members)
    if popped:
        client.effect = [[b"SREM", key, *members] for key, members in popped.items()]
    return replies


@command(
    "SPOP key [count]",
    WRITE | FAST,
    keys=ONE_KEY("RW ACCESS DELETE"),
    since="1.0.0",
    tips=RANDOM,
    complexity=POPPED,
    run=spop_run,
)
def spop(client: Client, words: Args) -> bytes | SetReply | None:
    """Removes members of a set at random and returns them."""
    keyspace, key = client.keyspace, words[1]
    if len(words) > 3:
        raise SyntaxFailure
    if len(words) == 3:
        return _pop_several(client, key, words[2])
    members = keyspace.find_as(key, Set)
    if members is None:
        return None
    member = members.pop()
    client.effect = [b"SREM", key, member]
    keyspace.changed(key, b"spop", SET)
    keyspace.remove_if_empty(key, members)
    return member


def _pop_several(client: Client, key: bytes, word: bytes) -> SetReply:
    keyspace = client.keyspace
    count = integer_between(word, 0, INT64_MAX, NotPositive)
    members = keyspace.find_as(key, Set)
    if members is None or not count:
        return SetReply()
    if count < len(members):
        popped = members.pop_several(count)
        client.effect = [b"SREM", key, *popped]
        keyspace.changed(key, b"spop", SET)
        return SetReply(popped)
    popped = list(members)
    keyspace.changed(key, b"spop", SET)
    keyspace.remove(key)
    keyspace.changed(key, b"del", GENERIC)
    client.effect = [b"DEL", key]
    return SetReply(popped)


@command(
    "SRANDMEMBER key [count]",
    READONLY,
    keys=ONE_KEY,
    since="1.0.0",
    tips=RANDOM,
    complexity="Without the count argument O(1), otherwise O(N) where N is the absolute value of "
    "the passed count.",
)
def srandmember(client: Client, words: Args) -> bytes | list[bytes] | None:
    """Returns members of a set at random; a negative count may give one several times."""
    keyspace, key = client.keyspace, words[1]
    if len(words) == 2:
        members = keyspace.read_as(key, Set)
        return None if members is None else members.draw()
    if len(words) > 3:
        raise SyntaxFailure
    count = draws(words[2])
    members = keyspace.read_as(key, Set)
    if members is None:
        return []
    return members.sample(count) if count >= 0 else [members.draw() for _ in turns(count)]


# Algebra


def _found(client: Client, keys: Args) -> list[Set | None]:
    """The sets at these keys; WrongType for anything else, even where one is missing."""
    return [client.keyspace.read_as(key, Set) for key in keys]


def intersection(sets: list[Set | None]) -> Iterable[bytes]:
    """Members of all sets, in the order of the smallest; none where a set is missing."""
    present = [members for members in sets if members is not None]
    if len(present) < len(sets):
        return ()
    smallest, *others = sorted(present, key=len)
    members: Iterable[bytes] = smallest
    for other in others:
        members = filter(other.membership(), members)
    return members


def union(sets: list[Set | None]) -> Iterable[bytes]:
    """Members of any set, in order where all are intsets."""
    present = [members for members in sets if members is not None]
    arrays = [members.numbers for members in present if members.numbers is not None]
    if len(arrays) == len(present):
        return map(b"%d".__mod__, sorted(set().union(*arrays)))
    return dict.fromkeys(chain.from_iterable(present))


def difference(sets: list[Set | None]) -> Iterable[bytes]:
    """Members of the first set that are in no other."""
    first, *others = sets
    members: Iterable[bytes] = () if first is None else first
    for other in others:
        if other is not None:
            members = filterfalse(other.membership(), members)
    return members


Algebra = Callable[[list[Set | None]], Iterable[bytes]]


def _store(client: Client, words: Args, operation: Algebra, event: bytes) -> int:
    """Put what comes of the sets into a key; how many members there are."""
    keyspace, key = client.keyspace, words[1]
    result = Set.of(operation(_found(client, words[2:])), keyspace.limits)
    if not result:
        if keyspace.remove(key):
            keyspace.changed(key, b"del", GENERIC)
        return 0
    keyspace.put(key, result)
    keyspace.changed(key, event, SET)
    return len(result)


@command(
    "SINTER key [key ...]",
    READONLY,
    keys=ALL_KEYS,
    since="1.0.0",
    tips=UNORDERED,
    complexity=INTERSECTING,
)
def sinter(client: Client, words: Args) -> SetReply:
    """Returns the members that all of the sets have."""
    return SetReply(intersection(_found(client, words[1:])))


@command(
    "SINTERSTORE destination key [key ...]",
    WRITE | DENYOOM,
    keys=STORED,
    since="1.0.0",
    complexity=INTERSECTING,
)
def sinterstore(client: Client, words: Args) -> int:
    """Stores the members that all of the sets have as another set."""
    return _store(client, words, intersection, b"sinterstore")


@command(
    "SINTERCARD numkeys key [key ...] [LIMIT limit]",
    READONLY,
    keys=NUMKEYS,
    since="7.0.0",
    complexity=INTERSECTING,
)
def sintercard(client: Client, words: Args) -> int:
    """Returns how many members all of the sets have, at most LIMIT."""
    number = integer_between(words[1], 1, INT64_MAX, BadNumkeys)
    if number > len(words) - 2:
        raise TooManyKeys
    limit = 0
    options = words[2 + number :]
    while options:
        if options[0].upper() != b"LIMIT" or len(options) < 2:
            raise SyntaxFailure
        limit = integer_between(options[1], 0, INT64_MAX, NegativeLimit)
        options = options[2:]
    count = 0
    for _ in intersection(_found(client, words[2 : 2 + number])):
        count += 1
        if count == limit:
            break
    return count


@command(
    "SUNION key [key ...]",
    READONLY,
    keys=ALL_KEYS,
    since="1.0.0",
    tips=UNORDERED,
    complexity=TOGETHER,
)
def sunion(client: Client, words: Args) -> SetReply:
    """Returns the members that any of the sets has."""
    return SetReply(union(_found(client, words[1:])))


@command(
    "SUNIONSTORE destination key [key ...]",
    WRITE | DENYOOM,
    keys=STORED,
    since="1.0.0",
    complexity=TOGETHER,
)
def sunionstore(client: Client, words: Args) -> int:
    """Stores the members that any of the sets has as another set."""
    return _store(client, words, union, b"sunionstore")


@command(
    "SDIFF key [key ...]",
    READONLY,
    keys=ALL_KEYS,
    since="1.0.0",
    tips=UNORDERED,
    complexity=TOGETHER,
)
def sdiff(client: Client, words: Args) -> SetReply:
    """Returns the members that only the first set has."""
    return SetReply(difference(_found(client, words[1:])))


@command(
    "SDIFFSTORE destination key [key ...]",
    WRITE | DENYOOM,
    keys=STORED,
    since="1.0.0",
    complexity=TOGETHER,
)
def sdiffstore(client: Client, words: Args) -> int:
    """Stores the members that only the first set has as another set."""
    return _store(client, words, difference, b"sdiffstore")


@command(
    "SSCAN key cursor [MATCH pattern] [COUNT count]",
    READONLY,
    keys=ONE_KEY,
    since="2.8.0",
    tips=RANDOM,
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the collection.",
)
def sscan(client: Client, words: Args) -> Any:
    """Walks through the members of a set, a few at a time."""
    cursor = cursor_of(words[2])
    members = client.keyspace.read_as(words[1], Set)
    if members is None:
        return [b"0", []]
    matches, count, _, _ = scan_options(words[3:])
    following, found = members.scan(cursor, count)
    if matches is not None:
        found = [member for member in found if matches(member)]
    return [b"%d" % following, found]
