"""The string commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, INT64_MIN, Args, integer, is_integer
from distcache_server.errors import (
    IncrementOverflow,
    InvalidExpire,
    NotInteger,
    SyntaxFailure,
    WrongType,
)
from distcache_server.events import GENERIC, STRING
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("string")


def get_run(client: Client, batch: list[Args]) -> list[Any] | None:
    """GET of many keys that arrived together; None where one holds another type."""
    keyspace = client.keyspace
    before = keyspace.hits, keyspace.misses
    values = keyspace.read_many([key for _, key in batch])
    if {bytes, type(None)}.issuperset(map(type, values)):
        return values
    keyspace.hits, keyspace.misses = before
    return None


@command("GET key", READONLY | FAST, keys=ONE_KEY, since="1.0.0", run=get_run)
def get(client: Client, words: Args) -> bytes | None:
    """Returns the string value of a key."""
    _, key = words
    value = client.keyspace.read(key)
    if value is None or type(value) is bytes:
        return value
    raise WrongType


def set_run(client: Client, batch: list[Args]) -> list[Any]:
    """SET of many keys that arrived together, without options."""
    client.keyspace.put_many([(key, value) for _, key, value in batch], b"set", STRING)
    return [OK] * len(batch)


# SET's words, to the bits of one option mask.
NX, XX, GET, KEEPTTL, EX, PX, EXAT, PXAT = (1 << n for n in range(8))
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
_TIMES = EX | PX | EXAT | PXAT
_EXCLUSIVE = (NX | XX, _TIMES | KEEPTTL)


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
    """Option words to their mask and the number that one of them may carry."""
    mask, number, at = 0, b"", 0
    while at < len(words):
        option = known.get(words[at].upper(), 0)
        mask, before = mask | option, mask
        if not option or (before & option and option & _TIMES):
            raise SyntaxFailure
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


@command(
    "SET key value [NX | XX] [GET] "
    "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW ACCESS UPDATE VARIABLE_FLAGS"),
    since="1.0.0",
    run=set_run,
)
def set_(client: Client, words: Args) -> Any:
    """Sets the string value of a key, ignoring its type. The key is created if it doesn't exist."""
    keyspace = client.keyspace
    if len(words) == 3:
        _, key, value = words
        keyspace.put(key, value)
        keyspace.changed(key, b"set", STRING)
        return OK
    key, value = words[1], words[2]
    mask, number = set_options(words[3:], _SET_WORDS)
    deadline = deadline_of(mask, number, keyspace.now_ms, b"set") if mask & _TIMES else 0
    old = keyspace.find(key)
    reply: Any = OK
    if mask & GET:
        if old is not None and type(old) is not bytes:
            raise WrongType
        reply = old
    if (mask & NX and old is not None) or (mask & XX and old is None):
        return reply if mask & GET else None
    if mask & KEEPTTL:
        keyspace.replace(key, value)
    else:
        keyspace.put(key, value)
    keyspace.changed(key, b"set", STRING)
    if deadline:
        if deadline <= keyspace.now_ms:
            keyspace.remove(key)
            keyspace.changed(key, b"del", GENERIC)
            client.effect = [b"DEL", key]
            return reply
        keyspace.expire_at(key, deadline)
        keyspace.changed(key, b"expire", GENERIC)
        client.effect = [b"SET", key, value, b"PXAT", b"%d" % deadline]
    return reply


def increment(client: Client, key: bytes, amount: int) -> int:
    """Add to the integer at a key; the new value."""
    keyspace = client.keyspace
    old = keyspace.find(key)
    if old is None:
        number = amount
    elif type(old) is bytes:
        number = integer(old, NotInteger) + amount
    else:
        raise WrongType
    if not INT64_MIN <= number <= INT64_MAX:
        raise IncrementOverflow
    keyspace.replace(key, b"%d" % number)
    keyspace.changed(key, b"incrby", STRING)
    return number


def incr_run(client: Client, batch: list[Args]) -> list[Any] | None:
    """INCR of many keys that arrived together; None, with nothing done, if one cannot be."""
    keyspace = client.keyspace
    numbers: dict[bytes, int] = {}
    replies = []
    for _, key in batch:
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
    for _, key in batch:
        keyspace.changed(key, b"incrby", STRING)
    return replies


@command(
    "INCR key",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.0.0",
    run=incr_run,
)
def incr(client: Client, words: Args) -> int:
    """Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."""
    _, key = words
    return increment(client, key, 1)
