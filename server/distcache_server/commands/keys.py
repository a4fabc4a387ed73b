"""The commands for keys of any type; their deadlines are in key_deadlines.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer
from distcache_server.errors import (
    Failure,
    InvalidDatabase,
    NoSuchKey,
    NotWithin,
    SameObject,
    SyntaxFailure,
)
from distcache_server.events import GENERIC
from distcache_server.glob import matcher
from distcache_server.registry import (
    ALL_KEYS,
    DENYOOM,
    FAST,
    ONE_KEY,
    READONLY,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import OK, Status
from distcache_server.scanning import cursor_of, scan_options
from distcache_server.types.names import TYPES, encoding_of, is_int

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("generic")

SUMMED = "request_policy:multi_shard response_policy:agg_sum"

INT32_MAX = 2**31 - 1
SHARED_INTEGERS = range(10_000)
"""Small integers are one object for all keys in Redis, which counts as this many references:"""
SHARED = INT32_MAX


# Whether keys are there


def remove_keys(client: Client, words: Args) -> int:
    """DEL and UNLINK: large values are freed later, a little at a time, in either case."""
    keyspace = client.keyspace
    count = 0
    for key in words[1:]:
        if keyspace.remove(key):
            keyspace.changed(key, b"del", GENERIC)
            count += 1
    if count and not words[0].isupper():
        # In small letters the log says that a key expired or was evicted (journal.py).
        client.effect = [words[0].upper(), *words[1:]]
    return count


@command(
    "DEL key [key ...]",
    WRITE,
    keys=ALL_KEYS("RM DELETE"),
    since="1.0.0",
    tips=SUMMED,
    complexity="O(N) where N is the number of keys that will be removed.",
)
def del_(client: Client, words: Args) -> int:
    """Deletes keys."""
    return remove_keys(client, words)


@command(
    "UNLINK key [key ...]",
    WRITE | FAST,
    keys=ALL_KEYS("RM DELETE"),
    since="4.0.0",
    tips=SUMMED,
    complexity="O(1) for each key removed regardless of its size.",
)
def unlink(client: Client, words: Args) -> int:
    """Deletes keys, and frees their values later."""
    return remove_keys(client, words)


@command(
    "EXISTS key [key ...]",
    READONLY | FAST,
    keys=ALL_KEYS("RO"),
    since="1.0.0",
    tips=SUMMED,
    complexity="O(N) where N is the number of keys to check.",
)
def exists(client: Client, words: Args) -> int:
    """Counts how many of the keys exist; one that is named twice counts twice."""
    look = client.keyspace.look
    return sum([look(key) is not None for key in words[1:]])


@command(
    "TOUCH key [key ...]",
    READONLY | FAST,
    keys=ALL_KEYS("RO"),
    since="3.2.1",
    tips=SUMMED,
    complexity="O(N) where N is the number of keys that will be touched.",
)
def touch(client: Client, words: Args) -> int:
    """Notes that the keys are used now, and counts how many exist."""
    # Also for a client that otherwise leaves no trace (CLIENT NO-TOUCH).
    client.engine.evictor.budget.quiet = False
    read = client.keyspace.read
    return sum([read(key) is not None for key in words[1:]])


@command("TYPE key", READONLY | FAST, keys=ONE_KEY("RO"), since="1.0.0")
def type_(client: Client, words: Args) -> Status:
    """Names the type of the value at a key, or none."""
    _, key = words
    value = client.keyspace.look(key)
    return Status(b"none" if value is None else TYPES[type(value)])


# Which keys are there


@command(
    "KEYS pattern",
    READONLY,
    since="1.0.0",
    acl="dangerous",
    tips="request_policy:all_shards nondeterministic_output_order",
    complexity="O(N) where N is the number of keys in the database.",
)
def keys(client: Client, words: Args) -> list[bytes]:
    """Returns all keys that match a pattern."""
    _, pattern = words
    keyspace = client.keyspace
    # Unlike any other pattern, a plain star matches the empty key too.
    matches = None if pattern == b"*" else matcher(pattern)
    found = list(keyspace) if matches is None else list(filter(matches, keyspace))
    if keyspace.field_wheel.slots:
        return list(filter(keyspace.exists, found))
    deadlines = keyspace.deadlines
    if not deadlines.count:
        return found
    now_ms = keyspace.now_ms
    return [key for key in found if (deadlines.get(key) or now_ms + 1) > now_ms]


@command(
    "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
    READONLY,
    since="2.8.0",
    tips="nondeterministic_output request_policy:special response_policy:special",
    complexity="O(1) for every call, O(N) for all keys.",
)
def scan(client: Client, words: Args) -> Any:
    """Returns some of the keys, and a cursor to go on with; 0 where there are no more."""
    cursor = cursor_of(words[1])
    matches, count, kind, _ = scan_options(words[2:], typed=True)
    keyspace = client.keyspace
    values = keyspace.values
    cursor, found = values.scan(cursor, count)
    if matches is not None:
        found = list(filter(matches, found))
    if keyspace.special:
        found = [key for key in found if keyspace.exists(key)]
    if kind is not None:
        # Each is looked at, which is no use of it.
        keyspace.hits += len(found)
        keyspace.looks += len(found)
        kinds = [one for one, name in TYPES.items() if name == kind]
        found = [key for key in found if type(values.get(key)) in kinds]
    return [b"%d" % cursor, found]


@command(
    "RANDOMKEY",
    READONLY,
    since="1.0.0",
    tips="request_policy:all_shards response_policy:special nondeterministic_output",
)
def randomkey(client: Client, _: Args) -> bytes | None:
    """Returns a key at random."""
    return client.keyspace.random_key()


# From one key to another


def rename_key(client: Client, words: Args, overwrite: bool) -> bool:
    """Give a value another key; False where nothing is to be overwritten."""
    _, key, new = words
    keyspace = client.keyspace
    if keyspace.find(key) is None:
        raise NoSuchKey
    if key == new:
        return overwrite
    deadline = keyspace.deadline(key)
    if keyspace.find(new) is not None:
        if not overwrite:
            return False
        keyspace.remove(new)
    _settle(keyspace, new, keyspace.take(key), deadline)
    keyspace.changed(key, b"rename_from", GENERIC)
    keyspace.also(new, b"rename_to", GENERIC)
    return True


def _settle(keyspace: Keyspace, key: bytes, value: Any, deadline: int | None) -> None:
    keyspace.put(key, value)
    if deadline is not None:
        keyspace.expire_at(key, deadline)


@command(
    "RENAME key newkey",
    WRITE,
    keys=(ONE_KEY("RW ACCESS DELETE"), Keys(2, access="OW UPDATE")),
    since="1.0.0",
)
def rename(client: Client, words: Args) -> Any:
    """Gives a value another key, in place of what was there."""
    rename_key(client, words, True)
    return OK


@command(
    "RENAMENX key newkey",
    WRITE | FAST,
    keys=(ONE_KEY("RW ACCESS DELETE"), Keys(2, access="OW INSERT")),
    since="1.0.0",
)
def renamenx(client: Client, words: Args) -> int:
    """Gives a value another key, unless that exists."""
    return int(rename_key(client, words, False))


def database_at(client: Client, word: bytes) -> Keyspace:
    """The database of a number given by a client."""
    index = integer(word)
    if not -INT32_MAX - 1 <= index <= INT32_MAX:
        raise NotWithin(-INT32_MAX - 1, INT32_MAX)
    if not 0 <= index < len(client.engine.databases):
        raise InvalidDatabase
    return client.database(index)


@command("MOVE key db", WRITE | FAST, keys=ONE_KEY("RW ACCESS UPDATE"), since="1.0.0")
def move(client: Client, words: Args) -> int:
    """Moves a key to another database, unless it is there too."""
    _, key, word = words
    source, target = client.keyspace, database_at(client, word)
    if source is target:
        raise SameObject
    if source.find(key) is None or target.find(key) is not None:
        return 0
    deadline = source.deadline(key)
    _settle(target, key, source.take(key), deadline)
    source.changed(key, b"move_from", GENERIC)
    target.also(key, b"move_to", GENERIC)
    return 1


@command(
    "COPY source destination [DB destination-db] [REPLACE]",
    WRITE | DENYOOM,
    keys=(ONE_KEY("RO ACCESS"), Keys(2, access="OW UPDATE")),
    since="6.2.0",
    complexity="O(N) where N is the number of entries of a collection, O(1) for strings.",
)
def copy(client: Client, words: Args) -> int:
    """Copies the value of a key to another key."""
    key, new = words[1], words[2]
    source = target = client.keyspace
    replace, at = False, 3
    while at < len(words):
        option = words[at].upper()
        if option == b"REPLACE":
            replace = True
        elif option == b"DB" and at + 1 < len(words):
            at += 1
            target = database_at(client, words[at])
        else:
            raise SyntaxFailure
        at += 1
    if source is target and key == new:
        raise SameObject
    value = source.read(key)
    if value is None:
        return 0
    deadline = source.deadline(key)
    if target.find(new) is not None:
        if not replace:
            return 0
        target.remove(new)
    _settle(target, new, value if type(value) is bytes else value.copy(), deadline)
    # Counted in the client's own database, where the log looks.
    source.changes += 1
    target.also(new, b"copy_to", GENERIC)
    return 1


# OBJECT


@command("OBJECT", since="2.2.3", arity=-2, complexity="Depends on subcommand.", help="6.2.0")
def object_(_: Client, __: Args) -> Any:
    """Tells how values are kept."""


LOOKED_AT = Keys(2, access="RO")
VARIES = "nondeterministic_output"


def looked_at(client: Client, key: bytes) -> Any:
    """The value at a key, or None: a hit or a miss, but no use of the key, and no event."""
    keyspace = client.keyspace
    value = keyspace.peek(key)
    keyspace.count(key, value, event=False)
    keyspace.looks += 1
    return value


@command("OBJECT ENCODING key", READONLY, sub=True, keys=LOOKED_AT, since="2.2.3", tips=VARIES)
def object_encoding(client: Client, words: Args) -> bytes | None:
    """Names the way in which the value of a key is kept."""
    value = looked_at(client, words[2])
    return None if value is None else encoding_of(value)


@command("OBJECT REFCOUNT key", READONLY, sub=True, keys=LOOKED_AT, since="2.2.3", tips=VARIES)
def object_refcount(client: Client, words: Args) -> int | None:
    """Counts the references to the value of a key."""
    value = looked_at(client, words[2])
    if value is None:
        return None
    config = client.engine.config
    # A shared object could not have a time of use of its own, and so Redis shares none then.
    own = config.maxmemory and config.maxmemory_policy.endswith(("lru", "lfu"))
    return SHARED if is_int(value) and int(value) in SHARED_INTEGERS and not own else 1


@command("OBJECT IDLETIME key", READONLY, sub=True, keys=LOOKED_AT, since="2.2.3", tips=VARIES)
def object_idletime(client: Client, words: Args) -> int | None:
    """Returns the seconds since the key was used, or any key where maxmemory-policy tracks none."""
    keyspace, key = client.keyspace, words[2]
    if looked_at(client, key) is None:
        return None
    policy = client.engine.config.maxmemory_policy
    if policy.endswith("lfu"):
        raise Failure(
            b"An LFU maxmemory policy is selected, idle time not tracked. Please note that when"
            b" switching between policies at runtime LRU and LFU data will take some time to"
            b" adjust."
        )
    if keyspace.ledger is not None and policy.endswith("lru"):
        return keyspace.ledger.idle_seconds(key, keyspace.now_ms)
    return keyspace.idle_ms() // 1000


@command("OBJECT FREQ key", READONLY, sub=True, keys=LOOKED_AT, since="4.0.0", tips=VARIES)
def object_freq(client: Client, words: Args) -> int | None:
    """Returns how often the key was used, on a logarithmic scale, where maxmemory-policy is LFU."""
    keyspace, key = client.keyspace, words[2]
    if looked_at(client, key) is None:
        return None
    if keyspace.ledger is None or not client.engine.config.maxmemory_policy.endswith("lfu"):
        raise Failure(
            b"An LFU maxmemory policy is not selected, access frequency not tracked. Please note"
            b" that when switching between policies at runtime LRU and LFU data will take some"
            b" time to adjust."
        )
    return keyspace.ledger.frequency(key, keyspace.now_ms)
