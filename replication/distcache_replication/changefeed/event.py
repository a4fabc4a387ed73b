"""An event: what happened to a key, and where in the log that stands.

Values are plain: ``bytes`` for a string, a list for a list or a set (in order of its members),
pairs of member and score for a sorted set, pairs of field and value for a hash, pairs of id and
words for a stream.  What is too large to be carried is OMITTED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from distcache_replication.changefeed.position import Position

SET, DELETE, EXPIRE, EVICT, LOAD, FLUSH = "set", "delete", "expire", "evict", "load", "flush"
SNAPSHOT, HEARTBEAT = "snapshot", "heartbeat"
OPERATIONS = (SET, DELETE, EXPIRE, EVICT, LOAD, FLUSH, SNAPSHOT, HEARTBEAT)
REMOVALS = frozenset((DELETE, EXPIRE, EVICT, FLUSH))
"""After these the key is gone."""

BEGIN, END = "begin", "end"
"""The marks of a snapshot: events of that operation without a key."""

STRING, LIST, STRINGS, ZSET, HASH, STREAM = "string", "list", "set", "zset", "hash", "stream"

Plain = (
    bytes
    | Sequence[bytes]
    | Sequence[tuple[bytes, float]]
    | Sequence[tuple[bytes, bytes]]
    | Sequence[tuple[bytes, Sequence[bytes]]]
)


class Omitted:
    """In place of a value that is larger than what events may carry."""


OMITTED: Final = Omitted()


@dataclass(slots=True)
class State:
    """A key at one moment."""

    type: str
    value: Plain | Omitted
    expires_ms: int | None = None
    field_expiry: list[tuple[bytes, int]] | None = None
    """Of a hash: its fields that have deadlines, with these."""
    length: int = 0
    """Bytes of a string, or members of anything else."""


@dataclass(slots=True)
class Transaction:
    """The MULTI that a change belongs to."""

    size: int
    """Commands in it."""
    index: int
    """Which of them this is, from 1."""


@dataclass(slots=True)
class Event:
    """One change of one key; or a mark of a snapshot, or a heartbeat."""

    position: Position
    operation: str
    history: str
    epoch: int = 0
    database: int = 0
    key: bytes | None = None
    after: State | None = None
    before: State | None = None
    command: Sequence[bytes] | None = None
    """As the log has it."""
    time_ms: int | None = None
    """When it happened, where that is known."""
    transaction: Transaction | None = None
    mark: str | None = None


@dataclass(slots=True)
class Run:
    """Strings that were set one after the other, by SET without options: an event each."""

    history: str
    epoch: int
    database: int
    offsets: Sequence[int]
    """Where each command begins."""
    keys: Sequence[bytes]
    values: Sequence[bytes]
    times_ms: Sequence[int | None]

    def event(self, index: int) -> Event:
        """One of the events."""
        key, value = self.keys[index], self.values[index]
        return Event(
            Position(self.offsets[index], 1),
            SET,
            self.history,
            self.epoch,
            self.database,
            key,
            State(STRING, value, length=len(value)),
            command=[b"SET", key, value],
            time_ms=self.times_ms[index],
        )

    def events(self) -> Iterator[Event]:
        """All of them."""
        return map(self.event, range(len(self.keys)))
