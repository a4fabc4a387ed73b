"""What events carry of the values in a keyspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distcache_replication.changefeed import event
from distcache_replication.changefeed.event import OMITTED, Omitted, Plain, State

from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import LARGEST, shown

if TYPE_CHECKING:
    from distcache_server.keyspace import Keyspace, Value

KINDS = {
    bytes: event.STRING,
    Buffer: event.STRING,
    List: event.LIST,
    Set: event.STRINGS,
    SortedSet: event.ZSET,
    Hash: event.HASH,
    Stream: event.STREAM,
}
MEMBER = 8
"""What a member takes in an event besides its bytes, about."""


def state_of(keyspace: Keyspace, key: bytes, most: int) -> State | None:
    """A key as it is now, with its value where that takes no more than ``most`` bytes."""
    value = keyspace.values.get(key)
    if value is None:
        return None
    kind = KINDS[type(value)]
    carried: Plain | Omitted = OMITTED
    # A member of no bytes takes some, too: what has too many needs no look at all of them.
    if most and len(value) * (1 if kind == event.STRING else MEMBER) <= most:
        plain, size = _plain(kind, value)
        if size <= most:
            carried = plain
    dated = None
    if kind == event.HASH and value.deadlines is not None:
        dated = sorted(value.deadlines.by_field.items())
    return State(kind, carried, keyspace.deadlines.get(key), dated, len(value))


def _plain(kind: str, value: Value) -> tuple[Plain, int]:
    """A value, and about how many bytes it takes."""
    if kind == event.STRING:
        return bytes(value), len(value)
    if kind == event.LIST:
        members = list(value)
        return members, sum(map(len, members)) + MEMBER * len(members)
    if kind == event.STRINGS:
        members = sorted(value)
        return members, sum(map(len, members)) + MEMBER * len(members)
    if kind == event.ZSET:
        scores = list(value.items((0, len(value))))
        return scores, sum(len(member) for member, _ in scores) + 2 * MEMBER * len(scores)
    if kind == event.HASH:
        pairs = list(value.items())
        return pairs, sum(len(f) + len(v) for f, v in pairs) + 2 * MEMBER * len(pairs)
    entries: list[tuple[bytes, Sequence[bytes]]] = [
        (shown(number), list(words)) for number, words in value.range(0, LARGEST)
    ]
    size = sum(len(id_) + sum(map(len, words)) + MEMBER * len(words) for id_, words in entries)
    return entries, size
