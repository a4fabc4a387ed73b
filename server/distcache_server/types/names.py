"""What Redis calls the types of values, and the encodings of strings."""

from __future__ import annotations

from typing import Any

from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet
from distcache_server.types.stream import Stream

TYPES: dict[type, bytes] = {
    bytes: b"string",
    Buffer: b"string",
    List: b"list",
    Hash: b"hash",
    Set: b"set",
    SortedSet: b"zset",
    Stream: b"stream",
}
"""The answer of TYPE, by the class of the value."""

EMBEDDED = 44
"""Strings up to this length share an allocation with their object in Redis."""
_INTEGER_DIGITS = 20


def encoding_of(value: Any) -> bytes:
    """The answer of OBJECT ENCODING."""
    if type(value) is not bytes:
        encoding: bytes = value.encoding
        return encoding
    if is_int(value):
        return b"int"
    return b"embstr" if len(value) <= EMBEDDED else b"raw"


def is_int(value: Any) -> bool:
    """Whether Redis keeps the value as an integer."""
    if type(value) is not bytes or len(value) > _INTEGER_DIGITS:
        return False
    try:
        number = int(value)
    except ValueError:
        return False
    return b"%d" % number == value and -(2**63) <= number < 2**63
