"""The string commands."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from distcache_server import long_double
from distcache_server.arguments import (
    INT64_MAX,
    INT64_MIN,
    Args,
    Columns,
    integer,
    is_integer,
)
from distcache_server.errors import (
    Failure,
    IncrementOverflow,
    InvalidExpire,
    NotFloat,
    NotInteger,
    StringTooLong,
    SyntaxFailure,
    WrongArity,
    WrongType,
)
from distcache_server.events import GENERIC, STRING
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
from distcache_server.reply import OK
from distcache_server.types.buffer import Buffer

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("string")

LARGE = 1 << 20
"""Values of a run of GETs that take more are better sent one by one."""


def get_run(client: Client, columns: Columns) -> list[Any] | None:
    """GET of many keys that arrived together; None for another type, or for too much at once."""
    keyspace = client.keyspace
    before = keyspace.hits, keyspace.misses
    values = keyspace.read_many(columns[1])
    plain = {bytes, type(None)}.issuperset(map(type, values))
    if plain and sum(map(len, filter(None, values))) < LARGE:
        return values
    keyspace.hits, keyspace.misses = before
    return None


@command("GET key", READONLY | FAST, keys=ONE_KEY, since="1.0.0", run=get_run)
def get(client: Client, words: Args) -> bytes | Buffer | None:
    """Returns the string at a key."""
    _, key = words
    value = client.keyspace.read(key)
    if value is None or type(value) is bytes or type(value) is Buffer:
        return value
    raise WrongType


def set_run(client: Client, columns: Columns) -> list[Any]:
    """SET of many keys that arrived together, without options."""
    _, keys, values = columns
    client.keyspace.put_many(keys, values, b"set", STRING)
    return [OK] * len(keys)


# The words of SET and GETEX, to the bits of one option mask.
NX, XX, GET, KEEPTTL, EX, PX, EXAT, PXAT, PERSIST = (1 << n for n in range(9))
_SET_WORDS = {
    b"NX": NX,
    b"XX": XX,
    b"GET": GET,
    b"KEEPTTL": KEEPTTL,
    b"EX": EX,
    b"PX": PX,
    b"EXAT": EXAT,
    b"PXAT": PXAT,
}
_GETEX_WORDS = {b"EX": EX, b"PX": PX, b"EXAT": EXAT, b"PXAT": PXAT, b"PERSIST": PERSIST}
_TIMES = EX | PX | EXAT | PXAT
_EXCLUSIVE = (NX | XX, _TIMES | KEEPTTL | PERSIST)


def deadline_of(option: int, word: bytes, now_ms: int, name: bytes) -> int:
    """Unix milliseconds for EX, PX, EXAT or PXAT; InvalidExpire outside of what 64 bits hold."""
    value = integer(word)
    if value <= 0:
        raise InvalidExpire(name)
    if option & (EX | EXAT):
        value *= 1000
    if option & (EX | PX):
        value += now_ms
    if value > INT64_MAX:
        raise InvalidExpire(name)
    return value


def set_options(words: Args, known: dict[bytes, int]) -> tuple[int, bytes]:
    """Option words to their mask and the number that one of them carries (the last, if several)."""
    mask, number, at = 0, b"", 0
    while at < len(words):
        option = known.get(words[at].upper(), 0)
        if not option:
            raise SyntaxFailure
        mask |= option
        at += 1
        if option & _TIMES:
            if at == len(words):
                raise SyntaxFailure
            number = words[at]
            at += 1
    for several in _EXCLUSIVE:
        if (mask & several).bit_count() > 1:
            raise SyntaxFailure
    return mask, number


def set_keys(words: Args) -> list[tuple[int, str]]:
    """The key of SET: whether its old value is read depends on the options."""
    reads = any(word.upper() == b"GET" for word in words[3:])
    return [(1, "RW ACCESS UPDATE" if reads else "OW UPDATE")]


@command(
    "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds"
    " | PXAT unix-time-milliseconds | KEEPTTL]",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW ACCESS UPDATE VARIABLE_FLAGS", "GET reads the old value"),
    since="1.0.0",
    run=set_run,
    getkeys=set_keys,
)
def set_(client: Client, words: Args) -> Any:
    """Sets a key to a string, whatever it held before."""
    keyspace = client.keyspace
    if len(words) == 3:
        _, key, value = words
        keyspace.put(key, value)
        keyspace.changed(key, b"set", STRING)
        return OK
    key, value = words[1], words[2]
    mask, number = set_options(words[3:], _SET_WORDS)
    deadline = deadline_of(mask, number, keyspace.now_ms, b"set") if mask & _TIMES else 0
    reply: Any = OK
    if mask & GET:
        reply = old = keyspace.read_string(key)
    else:
        old = keyspace.find(key)
    if (mask & NX and old is not None) or (mask & XX and old is None):
        return reply if mask & GET else None
    if mask & KEEPTTL:
        keyspace.replace(key, value)
    else:
        keyspace.put(key, value)
    keyspace.changed(key, b"set", STRING)
    if deadline:
        # One that has come already is no exception: the key is set, and then expires.
        keyspace.expire_at(key, deadline)
        keyspace.also(key, b"expire", GENERIC)
        client.effect = [b"SET", key, value, b"PXAT", b"%d" % deadline]
    elif mask & GET:
        client.effect = [*words[:3], *(word for word in words[3:] if word.upper() != b"GET")]
    return reply


def increment(client: Client, key: bytes, amount: int) -> int:
    """Add to the integer at a key; the new value."""
    keyspace = client.keyspace
    old = keyspace.find(key)
    if old is None:
        number = amount
    elif type(old) is bytes:
        number = integer(old, NotInteger) + amount
    elif type(old) is Buffer:
        number = integer(bytes(old), NotInteger) + amount
    else:
        raise WrongType
    if not INT64_MIN <= number <= INT64_MAX:
        raise IncrementOverflow
    keyspace.replace(key, b"%d" % number)
    keyspace.changed(key, b"incrby", STRING)
    return number


def incr_run(client: Client, columns: Columns) -> list[Any] | None:
    """INCR of many keys that arrived together; None, with nothing done, if one cannot be."""
    keyspace = client.keyspace
    numbers: dict[bytes, int] = {}
    replies = []
    for key in columns[1]:
        number = numbers.get(key)
        if number is None:
            old = keyspace.find(key)
            if old is None:
                number = 0
            elif type(old) is bytes and is_integer(old):
                number = int(old)
            else:
                return None
        number += 1
        if number > INT64_MAX:
            return None
        numbers[key] = number
        replies.append(number)
    for key, number in numbers.items():
        keyspace.replace(key, b"%d" % number)
    if keyspace.observed:
        for key in columns[1]:
            keyspace.changed(key, b"incrby", STRING)
    else:
        keyspace.changes += len(replies)
    return replies


@command(
    "INCR key",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
    run=incr_run,
)
def incr(client: Client, words: Args) -> int:
    """Adds one to the integer at a key; a missing key counts as 0."""
    _, key = words
    return increment(client, key, 1)


@command(
    "INCRBY key increment",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
)
def incrby(client: Client, words: Args) -> int:
    """Adds a number to the integer at a key; a missing key counts as 0."""
    _, key, amount = words
    return increment(client, key, integer(amount))


@command(
    "DECR key",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
)
def decr(client: Client, words: Args) -> int:
    """Takes one from the integer at a key; a missing key counts as 0."""
    _, key = words
    return increment(client, key, -1)


@command(
    "DECRBY key decrement",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
)
def decrby(client: Client, words: Args) -> int:
    """Takes a number from the integer at a key; a missing key counts as 0."""
    _, key, word = words
    amount = integer(word)
    if amount == INT64_MIN:
        raise Failure(b"decrement would overflow")
    return increment(client, key, -amount)


@command(
    "INCRBYFLOAT key increment",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="2.6.0",
)
def incrbyfloat(client: Client, words: Args) -> bytes:
    """Adds a number with a fraction to the number at a key; a missing key counts as 0."""
    _, key, amount = words
    keyspace = client.keyspace
    old = keyspace.find_as(key, bytes)
    before = long_double.number(b"0" if old is None else old, NotFloat)
    result = long_double.total(before, long_double.number(amount, NotFloat))
    keyspace.replace(key, result)
    keyspace.changed(key, b"incrbyfloat", STRING)
    client.effect = [b"SET", key, result, b"KEEPTTL"]
    return result


@command(
    "MGET key [key ...]",
    READONLY | FAST,
    keys=ALL_KEYS,
    since="1.0.0",
    tips="request_policy:multi_shard",
    complexity="O(N) where N is the number of keys to retrieve.",
)
def mget(client: Client, words: Args) -> list[bytes | Buffer | None]:
    """Returns the strings at several keys; null for a missing key or another type."""
    values = client.keyspace.read_many(words[1:])
    if _STRINGS.issuperset(map(type, values)):
        return values
    return [value if type(value) in _STRINGS else None for value in values]


_STRINGS = frozenset((bytes, Buffer, type(None)))
_PAIRS = Keys(last=-1, step=2)


def _check_pairs(words: Args, name: bytes) -> None:
    if not len(words) % 2:
        raise WrongArity(name)


def mset_run(client: Client, columns: Columns) -> list[Any] | None:
    """MSETs of as many keys each that arrived together."""
    if len(columns) % 2 == 0:
        return None
    # Command by command: each is whole, and a later one overwrites an earlier one.
    flat = list(chain.from_iterable(zip(*columns[1:], strict=True)))
    client.keyspace.put_many(flat[::2], flat[1::2], b"set", STRING)
    return [OK] * len(columns[0])


@command(
    "MSET key value [key value ...]",
    WRITE | DENYOOM,
    keys=_PAIRS("OW UPDATE"),
    since="1.0.1",
    tips="request_policy:multi_shard response_policy:all_succeeded",
    complexity="O(N) where N is the number of keys to set.",
    run=mset_run,
    runs_all=True,
)
def mset(client: Client, words: Args) -> Any:
    """Sets several keys to strings at once."""
    _check_pairs(words, b"mset")
    client.keyspace.put_many(words[1::2], words[2::2], b"set", STRING)
    return OK


@command(
    "MSETNX key value [key value ...]",
    WRITE | DENYOOM,
    keys=_PAIRS("OW INSERT"),
    since="1.0.1",
    complexity="O(N) where N is the number of keys to set.",
)
def msetnx(client: Client, words: Args) -> int:
    """Sets several keys to strings at once, unless one of them exists."""
    keyspace = client.keyspace
    _check_pairs(words, b"msetnx")
    if any(keyspace.find(key) is not None for key in words[1::2]):
        return 0
    keyspace.put_many(words[1::2], words[2::2], b"set", STRING)
    return 1


@command("SETNX key value", WRITE | DENYOOM | FAST, keys=ONE_KEY("OW INSERT"), since="1.0.0")
def setnx(client: Client, words: Args) -> int:
    """Sets a key to a string, unless it exists."""
    _, key, value = words
    keyspace = client.keyspace
    if keyspace.find(key) is not None:
        return 0
    keyspace.put(key, value)
    keyspace.changed(key, b"set", STRING)
    return 1


def set_for(client: Client, words: Args, option: int, name: bytes) -> Any:
    """SETEX and PSETEX: store a string with a time to live."""
    _, key, time, value = words
    keyspace = client.keyspace
    deadline = deadline_of(option, time, keyspace.now_ms, name)
    keyspace.put(key, value)
    keyspace.expire_at(key, deadline)
    keyspace.changed(key, b"set", STRING)
    keyspace.also(key, b"expire", GENERIC)
    client.effect = [b"SET", key, value, b"PXAT", b"%d" % deadline]
    return OK


@command("SETEX key seconds value", WRITE | DENYOOM, keys=ONE_KEY("OW UPDATE"), since="2.0.0")
def setex(client: Client, words: Args) -> Any:
    """Sets a key to a string that lives for some seconds."""
    return set_for(client, words, EX, b"setex")


@command("PSETEX key milliseconds value", WRITE | DENYOOM, keys=ONE_KEY("OW UPDATE"), since="2.6.0")
def psetex(client: Client, words: Args) -> Any:
    """Sets a key to a string that lives for some milliseconds."""
    return set_for(client, words, PX, b"psetex")


@command(
    "GETSET key value",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
)
def getset(client: Client, words: Args) -> bytes | Buffer | None:
    """Sets a key to a string and returns the one that was there."""
    _, key, value = words
    keyspace = client.keyspace
    old = keyspace.read_string(key)
    keyspace.put(key, value)
    keyspace.changed(key, b"set", STRING)
    client.effect = [b"SET", key, value]
    return old


@command("GETDEL key", WRITE | FAST, keys=ONE_KEY("RW ACCESS DELETE"), since="6.2.0")
def getdel(client: Client, words: Args) -> bytes | Buffer | None:
    """Returns the string at a key and deletes the key."""
    _, key = words
    keyspace = client.keyspace
    value = keyspace.read_string(key)
    if value is not None:
        keyspace.remove(key)
        keyspace.changed(key, b"del", GENERIC)
        client.effect = [b"DEL", key]
    return value


@command(
    "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds"
    " | PXAT unix-time-milliseconds | PERSIST]",
    WRITE | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE", "The time to live is written"),
    since="6.2.0",
)
def getex(client: Client, words: Args) -> bytes | Buffer | None:
    """Returns the string at a key, and sets or removes its time to live."""
    key = words[1]
    mask, number = set_options(words[2:], _GETEX_WORDS)
    keyspace = client.keyspace
    value = keyspace.read_string(key)
    if value is None:
        return None
    if mask & _TIMES:
        deadline = deadline_of(mask, number, keyspace.now_ms, b"getex")
        if deadline <= keyspace.now_ms:
            keyspace.remove(key)
            keyspace.changed(key, b"del", GENERIC)
            client.effect = [b"DEL", key]
        else:
            keyspace.expire_at(key, deadline)
            keyspace.changed(key, b"expire", GENERIC)
            client.effect = [b"PEXPIREAT", key, b"%d" % deadline]
    elif mask & PERSIST and keyspace.persist(key):
        keyspace.changed(key, b"persist", GENERIC)
        client.effect = [b"PERSIST", key]
    return value


@command(
    "APPEND key value",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="2.0.0",
    complexity="O(1), counted over many calls: the string gets room to grow.",
)
def append(client: Client, words: Args) -> int:
    """Adds to the end of the string at a key; a missing key counts as empty."""
    _, key, more = words
    keyspace = client.keyspace
    value = keyspace.find_string(key)
    if value is None:
        keyspace.replace(key, more)
        length = len(more)
    else:
        length = len(value) + len(more)
        if length > client.engine.config.proto_max_bulk_len:
            raise StringTooLong
        keyspace.buffer(key, value).extend(more)
    keyspace.changed(key, b"append", STRING)
    return length


@command("STRLEN key", READONLY | FAST, keys=ONE_KEY("RO"), since="2.2.0")
def strlen(client: Client, words: Args) -> int:
    """Returns the length of the string at a key."""
    _, key = words
    return len(client.keyspace.read_string(key) or b"")


@command(
    "SETRANGE key offset value",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW UPDATE"),
    since="2.2.0",
    complexity="O(M) where M is the length of the value argument.",
)
def setrange(client: Client, words: Args) -> int:
    """Writes over part of the string at a key, from an offset on; zeros fill what is missing."""
    _, key, word, part = words
    offset = integer(word)
    if offset < 0:
        raise Failure(b"offset is out of range")
    keyspace = client.keyspace
    value = keyspace.find_string(key)
    if not part:
        return len(value or b"")
    end = offset + len(part)
    if end > client.engine.config.proto_max_bulk_len:
        raise StringTooLong
    buffer = keyspace.buffer(key, b"" if value is None else value)
    buffer.extend_to(offset)
    buffer[offset:end] = part
    keyspace.changed(key, b"setrange", STRING)
    return len(buffer)


def get_range(client: Client, words: Args) -> bytes:
    """GETRANGE and SUBSTR: both ends are part of the range, negative ones count from the end."""
    _, key, first, last = words
    start, end = integer(first), integer(last)
    value = client.keyspace.read_string(key)
    if value is None or (start < 0 and end < 0 and start > end):
        return b""
    if start < 0:
        start = max(start + len(value), 0)
    if end < 0:
        # As in Redis, an end before the first byte stands for that byte.
        end = max(end + len(value), 0)
    return bytes(value[start : end + 1])


@command(
    "GETRANGE key start end",
    READONLY,
    keys=ONE_KEY("RO ACCESS"),
    since="2.4.0",
    complexity="O(N) where N is the length of the returned string.",
)
def getrange(client: Client, words: Args) -> bytes:
    """Returns part of the string at a key."""
    return get_range(client, words)


@command(
    "SUBSTR key start end",
    READONLY,
    keys=ONE_KEY("RO ACCESS"),
    since="1.0.0",
    complexity="O(N) where N is the length of the returned string.",
)
def substr(client: Client, words: Args) -> bytes:
    """Returns part of the string at a key, by the old name of GETRANGE."""
    return get_range(client, words)
