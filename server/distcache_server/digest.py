"""A digest of values and of whole databases, the same as that of Redis 7.2 (debug.c).

Format: a digest is 20 bytes.  What has an order is mixed in: exclusive-or with the SHA-1 of the
bytes, then SHA-1 of the result.  What has none is only combined by exclusive-or.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from distcache_server.reply import double
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.names import TYPES
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import BITS, SEQUENCE

if TYPE_CHECKING:
    from distcache_server.keyspace import Keyspace

EMPTY = bytes(20)
NUMBERS = {b"string": 0, b"list": 1, b"set": 2, b"zset": 3, b"hash": 4, b"stream": 6}


def either(one: bytes, other: bytes) -> bytes:
    """Exclusive or."""
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return both.to_bytes(20, "big")


def hashed(data: bytes) -> bytes:
    return sha1(data, usedforsecurity=False).digest()


def mixed(digest: bytes, parts: Iterable[bytes]) -> bytes:
    """The digest with parts added whose order matters."""
    for part in parts:
        digest = hashed(either(digest, hashed(part)))
    return digest


def of_list(digest: bytes, value: List) -> bytes:
    return mixed(digest, value)


def of_set(digest: bytes, value: Set) -> bytes:
    for member in value:
        digest = either(digest, hashed(member))
    return digest


def of_sorted_set(digest: bytes, value: SortedSet) -> bytes:
    for member in value:
        score = value.score(member)
        assert score is not None
        digest = either(digest, hashed(mixed(EMPTY, (member, double(score)))))
    return digest


def of_hash(digest: bytes, value: Hash) -> bytes:
    for item in value.items():
        digest = either(digest, hashed(mixed(EMPTY, item)))
    return digest


def of_stream(digest: bytes, value: Stream) -> bytes:
    for node in value.nodes():
        for number, words in node:
            digest = mixed(digest, (b"%d.%d" % (number >> BITS, number & SEQUENCE), *words))
    return digest


BY_CLASS: dict[type, Callable[[bytes, Any], bytes]] = {
    List: of_list,
    Set: of_set,
    SortedSet: of_sorted_set,
    Hash: of_hash,
    Stream: of_stream,
}


def of_value(value: Any, expires: bool, digest: bytes = EMPTY) -> bytes:
    """The digest of a value, or with it added to that of its key."""
    kind = type(value)
    digest = mixed(digest, (NUMBERS[TYPES[kind]].to_bytes(4, "big"),))
    add = BY_CLASS.get(kind)
    digest = add(digest, value) if add else mixed(digest, (bytes(value),))
    return either(digest, hashed(b"!!expire!!")) if expires else digest


def of_databases(databases: Iterable[Keyspace]) -> bytes:
    """The digest of everything that a server holds."""
    digest = EMPTY
    for keyspace in databases:
        if len(keyspace):
            digest = mixed(digest, (keyspace.index.to_bytes(4, "big"),))
        for key, value in keyspace.values.items():
            expires = keyspace.deadline(key) is not None
            digest = either(digest, hashed(of_value(value, expires, mixed(EMPTY, (key,)))))
    return digest
