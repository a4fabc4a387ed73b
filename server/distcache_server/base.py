"""A value as commands that make it again: the base of a log in its plain form.

The commands are those that Redis's own rewrite uses; only deadlines of fields need HPEXPIREAT,
which Redis has from 7.4 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from distcache_replication.segment import encode

from distcache_server.reply import double
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet

if TYPE_CHECKING:
    from distcache_server.keyspace import Value

AT_ONCE = 64
"""Members in a command."""


def commands_for(key: bytes, value: Value, deadline: int | None) -> Iterator[list[bytes]]:
    """The commands that make a key again."""
    kind = type(value)
    if kind is List:
        yield from _in_pieces([b"RPUSH", key], list(value), 1)
    elif kind is Set:
        yield from _in_pieces([b"SADD", key], list(value), 1)
    elif kind is SortedSet:
        words = [word for member in value for word in (double(value.score(member)), member)]
        yield from _in_pieces([b"ZADD", key], words, 2)
    elif kind is Hash:
        words = [word for item in value.items() for word in item]
        yield from _in_pieces([b"HSET", key], words, 2)
        if value.deadlines is not None:
            yield from _field_deadlines(key, value)
    else:
        yield [b"SET", key, bytes(value)]
    if deadline is not None:
        yield [b"PEXPIREAT", key, b"%d" % deadline]


def _in_pieces(start: list[bytes], words: Sequence[bytes], stride: int) -> Iterator[list[bytes]]:
    size = AT_ONCE * stride
    for at in range(0, len(words), size):
        yield [*start, *words[at : at + size]]


def _field_deadlines(key: bytes, value: Hash) -> Iterator[list[bytes]]:
    for field in value.fields():
        deadline = value.deadline(field)
        if deadline is not None:
            yield [b"HPEXPIREAT", key, b"%d" % deadline, b"FIELDS", b"1", field]


def encoded(key: bytes, value: Value, deadline: int | None) -> bytes:
    """``commands_for``, as the log has them."""
    return b"".join(map(encode, commands_for(key, value, deadline)))
