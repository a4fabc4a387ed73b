"""The hash commands; those for the deadlines of fields are in field_deadlines.py.

The keyspace removes fields past their deadlines before a handler sees the hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, INT64_MIN, Args, Columns, draws, integer, turns
from distcache_server.errors import (
    Failure,
    HashNotFloat,
    HashNotInteger,
    IncrementOverflow,
    NotFloat,
    OutOfRange,
    SyntaxFailure,
    WrongArity,
)
from distcache_server.events import HASH
from distcache_server.long_double import number, total
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import OK, Bulks, MapReply, Pairs
from distcache_server.scanning import cursor_of, scan_options
from distcache_server.types.hash import Hash

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.types.limits import Limits

command = group("hash")

LOOKED_AT = ONE_KEY("RO")
OF_SIZE = "O(N) where N is the size of the hash."


# Setting


def hset_run(client: Client, columns: Columns) -> list[Any] | None:
    """HSET of one field each, many times; None, with nothing done, where a key is no hash."""
    keyspace = client.keyspace
    limits, changed = keyspace.limits, keyspace.changed
    _, keys, fields, values = columns
    hashes: dict[bytes, Hash] = {}
    for key in set(keys):
        found = keyspace.find(key)
        if found is not None and type(found) is not Hash:
            return None
        hashes[key] = Hash() if found is None else found
    stores: dict[bytes, Callable[[bytes, bytes, Limits], bool]] = {}
    for key, found in hashes.items():
        if not found:
            keyspace.put(key, found)
        stores[key] = found.replace if found.deadlines is None else found.set
    replies = []
    for key, field, value in zip(keys, fields, values, strict=True):
        replies.append(1 if stores[key](field, value, limits) else 0)
        changed(key, b"hset", HASH)
    return replies


def _set(client: Client, words: Args) -> int:
    """Set the fields that the words after the key name; how many are new."""
    if len(words) & 1:
        raise WrongArity(words[0].lower())
    keyspace = client.keyspace
    key = words[1]
    found = keyspace.find_as(key, Hash)
    if found is None:
        found = Hash()
        keyspace.put(key, found)
    if len(words) == 4:
        added = 1 if found.set(words[2], words[3], keyspace.limits) else 0
    else:
        added = found.update(words[2:], keyspace.limits)
    keyspace.changed(key, b"hset", HASH)
    return added


@command(
    "HSET key field value [field value ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="2.0.0",
    complexity="O(1) for each field/value pair added, so O(N) to add N field/value pairs when the "
    "command is called with multiple field/value pairs.",
    run=hset_run,
)
def hset(client: Client, words: Args) -> int:
    """Sets fields of a hash to values, which creates what is missing."""
    return _set(client, words)


@command(
    "HMSET key field value [field value ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="2.0.0",
    complexity="O(N) where N is the number of fields being set.",
)
def hmset(client: Client, words: Args) -> bytes:
    """Sets fields of a hash to values; HSET does the same and says more."""
    _set(client, words)
    return OK


@command("HSETNX key field value", WRITE | DENYOOM | FAST, keys=ONE_KEY("RW INSERT"), since="2.0.0")
def hsetnx(client: Client, words: Args) -> int:
    """Sets a field of a hash to a value, unless the field is there."""
    _, key, field, value = words
    keyspace = client.keyspace
    found = keyspace.find_as(key, Hash)
    if found is None:
        found = Hash()
        keyspace.put(key, found)
    elif field in found:
        return 0
    found.set(field, value, keyspace.limits)
    keyspace.changed(key, b"hset", HASH)
    return 1


def _increment(client: Client, key: bytes, field: bytes) -> tuple[Hash, bytes]:
    """The hash to change, which may be a new one, and the old value, b"0" if there is none."""
    found = client.keyspace.find_as(key, Hash)
    if found is None:
        return Hash(), b"0"
    value = found.get(field)
    return found, b"0" if value is None else value


@command(
    "HINCRBY key field increment",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="2.0.0",
)
def hincrby(client: Client, words: Args) -> int:
    """Adds an integer to that of a field; a missing field counts as 0."""
    _, key, field, word = words
    amount = integer(word)
    found, old = _increment(client, key, field)
    value = integer(old, HashNotInteger) + amount
    if not INT64_MIN <= value <= INT64_MAX:
        raise IncrementOverflow
    _keep(client, key, found, field, b"%d" % value, b"hincrby")
    return value


@command(
    "HINCRBYFLOAT key field increment",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="2.6.0",
)
def hincrbyfloat(client: Client, words: Args) -> bytes:
    """Adds a number to that of a field; a missing field counts as 0."""
    _, key, field, word = words
    amount = number(word, NotFloat)
    if amount is None:
        raise Failure(b"value is NaN or Infinity")
    found, old = _increment(client, key, field)
    value = total(number(old, HashNotFloat), amount)
    _keep(client, key, found, field, value, b"hincrbyfloat")
    client.effect = [b"HSET", key, field, value]
    deadline = found.deadline(field)
    if deadline is not None:
        # HSET takes the deadline off.
        again = [b"HPEXPIREAT", key, b"%d" % deadline, b"FIELDS", b"1", field]
        client.effect = [client.effect, again]
    return value


def _keep(
    client: Client, key: bytes, found: Hash, field: bytes, value: bytes, event: bytes
) -> None:
    """Store the sum, and the hash if it is new; the field keeps its deadline."""
    keyspace = client.keyspace
    if not found:
        keyspace.put(key, found)
    found.replace(field, value, keyspace.limits)
    keyspace.changed(key, event, HASH)


@command(
    "HDEL key field [field ...]",
    WRITE | FAST,
    keys=ONE_KEY("RW DELETE"),
    since="2.0.0",
    complexity="O(N) where N is the number of fields to be removed.",
)
def hdel(client: Client, words: Args) -> int:
    """Removes fields from a hash, and the hash with its last field."""
    keyspace = client.keyspace
    key = words[1]
    found = keyspace.find_as(key, Hash)
    if found is None:
        return 0
    removed = sum(map(found.remove, words[2:]))
    if removed:
        keyspace.changed(key, b"hdel", HASH)
        keyspace.remove_if_empty(key, found)
    return removed


# Reading


def hget_run(client: Client, columns: Columns) -> list[Any] | None:
    """HGET many times; None where a key is no hash."""
    keyspace = client.keyspace
    before = keyspace.hits, keyspace.misses
    _, keys, fields = columns
    found = keyspace.read_many(keys)
    if not {Hash, type(None)}.issuperset(map(type, found)):
        keyspace.hits, keyspace.misses = before
        return None
    return [
        None if value is None else value.get(field)
        for value, field in zip(found, fields, strict=True)
    ]


@command("HGET key field", READONLY | FAST, keys=ONE_KEY, since="2.0.0", run=hget_run)
def hget(client: Client, words: Args) -> bytes | None:
    """Returns the value of a field."""
    _, key, field = words
    found = client.keyspace.read_as(key, Hash)
    return None if found is None else found.get(field)


@command(
    "HMGET key field [field ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="2.0.0",
    complexity="O(N) where N is the number of fields being requested.",
)
def hmget(client: Client, words: Args) -> list[bytes | None]:
    """Returns the values of several fields, in the order asked for."""
    found = client.keyspace.read_as(words[1], Hash)
    if found is None:
        return [None] * (len(words) - 2)
    return list(map(found.get, words[2:]))


@command(
    "HGETALL key",
    READONLY,
    keys=ONE_KEY,
    since="2.0.0",
    complexity=OF_SIZE,
    tips="nondeterministic_output_order",
)
def hgetall(client: Client, words: Args) -> MapReply:
    """Returns all fields of a hash with their values."""
    found = client.keyspace.read_as(words[1], Hash)
    return MapReply() if found is None else MapReply(found.items())


@command(
    "HKEYS key",
    READONLY,
    keys=ONE_KEY,
    since="2.0.0",
    complexity=OF_SIZE,
    tips="nondeterministic_output_order",
)
def hkeys(client: Client, words: Args) -> Bulks:
    """Returns all fields of a hash."""
    found = client.keyspace.read_as(words[1], Hash)
    return Bulks() if found is None else Bulks(found.fields())


@command(
    "HVALS key",
    READONLY,
    keys=ONE_KEY,
    since="2.0.0",
    complexity=OF_SIZE,
    tips="nondeterministic_output_order",
)
def hvals(client: Client, words: Args) -> Bulks:
    """Returns all values of a hash."""
    found = client.keyspace.read_as(words[1], Hash)
    return Bulks() if found is None else Bulks(found.values())


@command("HLEN key", READONLY | FAST, keys=LOOKED_AT, since="2.0.0")
def hlen(client: Client, words: Args) -> int:
    """Returns how many fields a hash has."""
    found = client.keyspace.read_as(words[1], Hash)
    return 0 if found is None else len(found)


@command("HSTRLEN key field", READONLY | FAST, keys=LOOKED_AT, since="3.2.0")
def hstrlen(client: Client, words: Args) -> int:
    """Returns the length of the value of a field."""
    return len(hget(client, words) or b"")


@command("HEXISTS key field", READONLY | FAST, keys=LOOKED_AT, since="2.0.0")
def hexists(client: Client, words: Args) -> int:
    """Tells whether a hash has a field."""
    return 0 if hget(client, words) is None else 1


@command(
    "HRANDFIELD key [count [WITHVALUES]]",
    READONLY,
    keys=ONE_KEY,
    since="6.2.0",
    complexity="O(N) where N is the number of fields returned",
    tips="nondeterministic_output",
)
def hrandfield(client: Client, words: Args) -> bytes | list[Any] | None:
    """Returns fields of a hash at random; a negative count may give one several times."""
    keyspace, key = client.keyspace, words[1]
    if len(words) == 2:
        found = keyspace.read_as(key, Hash)
        return None if found is None else found.draw()
    count = draws(words[2])
    if len(words) > 4 or (len(words) == 4 and words[3].upper() != b"WITHVALUES"):
        raise SyntaxFailure
    if len(words) == 4 and abs(count) > INT64_MAX // 2:
        raise OutOfRange
    found = keyspace.read_as(key, Hash)
    if found is None:
        return Bulks()
    fields = found.sample(count) if count >= 0 else [found.draw() for _ in turns(count)]
    if len(words) == 3:
        return Bulks(fields)
    return Pairs([(field, found.get(field)) for field in fields])


@command(
    "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    READONLY,
    keys=ONE_KEY,
    since="2.8.0",
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the collection.",
    tips="nondeterministic_output",
)
def hscan(client: Client, words: Args) -> list[Any]:
    """Walks through the fields of a hash, a few at a time."""
    cursor = cursor_of(words[2])
    found = client.keyspace.read_as(words[1], Hash)
    if found is None:
        return [b"0", Bulks()]
    match, count, _, novalues = scan_options(words[3:], command=b"HSCAN")
    cursor, items = found.scan(cursor, count)
    if match is not None:
        items = [item for item in items if match(item[0])]
    flat = [item[0] for item in items] if novalues else [word for item in items for word in item]
    return [b"%d" % cursor, Bulks(flat)]
