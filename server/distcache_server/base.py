"""All keys as bytes, gathered from a walk: a snapshot, or commands that make the keys again.

A large value is encoded a piece at a time: `add` says that it is still being read, and `work` goes
on with it, as it was then (types/kept.py).  What is added meanwhile comes behind it.

The commands are those that Redis's own rewrite uses; only deadlines of fields need HPEXPIREAT,
which Redis has from 7.4 on.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from time import perf_counter_ns
from typing import TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.segment import NO_HISTORY, annotation, encode, head

from distcache_server import snapshot, stream_form
from distcache_server.capture import Walk
from distcache_server.reply import double
from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet
from distcache_server.types.stream import Stream

if TYPE_CHECKING:
    from distcache_server.keyspace import Value
    from distcache_server.types.limits import Limits

AT_ONCE = 64
"""Members in a command."""
SLICE_NS = 1_000_000
CHUNK = 1 << 18
"""Bytes that are gathered before they are written."""
LONG = 1 << 14
"""A string of more bytes than this is not compressed on the spot."""


def commands_for(
    key: bytes, value: Value, deadline: int | None, kept: bool = False
) -> Iterator[list[bytes]]:
    """The commands that make a key again; if ``kept``, as it is now, until its ``release``."""
    kind = type(value)
    made: Iterator[list[bytes]]
    if kind is List or kind is Set:
        start = [b"RPUSH" if kind is List else b"SADD", key]
        made = _in_pieces(start, value.batches(kept), 1)
    elif kind is SortedSet:
        scored = map(_scores_first, value.batches(kept))
        made = _in_pieces([b"ZADD", key], scored, 2)
    elif kind is Hash:
        flat = (list(chain.from_iterable(items)) for items in value.batches(kept))
        made = _in_pieces([b"HSET", key], flat, 2)
        if value.deadlines is not None:
            deadlines = value.deadlines.batches(kept)
            made = chain(made, _field_deadlines(key, deadlines))
    elif kind is Stream:
        made = stream_form.commands_for(key, value, kept)
    else:
        made = iter(([b"SET", key, bytes(value)],))
    if deadline is None:
        return made
    return chain(made, ([b"PEXPIREAT", key, b"%d" % deadline],))


def _scores_first(items: Iterable[tuple[bytes, float]]) -> list[bytes]:
    return [word for member, score in items for word in (double(score), member)]


def _in_pieces(
    start: list[bytes], parts: Iterable[Sequence[bytes]], stride: int
) -> Iterator[list[bytes]]:
    size = AT_ONCE * stride
    for words in parts:
        for at in range(0, len(words), size):
            yield [*start, *words[at : at + size]]


def _field_deadlines(
    key: bytes, parts: Iterable[Sequence[tuple[bytes, int]]]
) -> Iterator[list[bytes]]:
    for part in parts:
        for field, deadline in part:
            yield [b"HPEXPIREAT", key, b"%d" % deadline, b"FIELDS", b"1", field]


class Base:
    """Gathers pieces."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._behind: deque[Iterator[bytes]] = deque()
        """Pieces that are made one by one, before any that come later."""
        self.size = 0
        """Bytes that wait to be taken."""
        self.keys = 0

    def _put(self, pieces: Iterable[bytes], slow: bool) -> None:
        """Add pieces: at once, or if that may take long, when there is time for it."""
        if slow:
            self._behind.append(iter(pieces))
            return
        made = list(pieces)
        if self._behind:
            self._behind.append(iter(made))
            return
        self._parts += made
        self.size += sum(map(len, made))

    @property
    def busy(self) -> bool:
        """Whether there are pieces to be made."""
        return bool(self._behind)

    def work(self, end: int) -> bool:
        """Make pieces until ``end`` (perf_counter_ns); True where there is more."""
        behind, parts = self._behind, self._parts
        while behind:
            for piece in behind[0]:
                parts.append(piece)
                self.size += len(piece)
                if perf_counter_ns() > end:
                    return True
            behind.popleft()
        return False

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts, self.size = [], 0
        return data


class PlainBase(Base):
    """A base as commands, with the annotations of a file of ours."""

    snapshot = False

    def __init__(self, selected: int) -> None:
        super().__init__()
        self._selected = selected
        self._salt = secrets.randbits(32)
        self._offset = 0
        self._index = -1
        self._head = head(NO_HISTORY, 0, self._salt)

    def add(self, index: int, key: bytes, value: Value, deadline: int | None) -> bool:
        """Add a key; whether its value is still being read."""
        self.keys += 1
        if index != self._index:
            self._index = index
            self._put((encode([b"SELECT", b"%d" % index]),), slow=False)
        plain = type(value) is bytes or type(value) is Buffer
        slow = not plain and (len(value) > AT_ONCE or type(value) is Stream)
        self._put(map(encode, commands_for(key, value, deadline, kept=slow)), slow)
        return slow

    def take(self) -> bytes:
        """What has been added, to be written next."""
        data = self._take()
        start, self._head = self._head, b""
        line = annotation(data, self._offset, self._salt) if data else b""
        self._offset += len(data)
        return b"".join([start, line, data])

    def end(self) -> bytes:
        """What is left; the log behind it goes on in the database that it has selected."""
        if self._selected != max(self._index, 0):
            self._put((encode([b"SELECT", b"%d" % self._selected]),), slow=False)
        return self.take()


class SnapshotBase(Base):
    """A base as a snapshot, which Redis loads faster than commands."""

    snapshot = True

    def __init__(
        self, style: rdb.Style, limits: Limits, checksum: bool, aux: dict[bytes, bytes]
    ) -> None:
        super().__init__()
        self._style = style
        self._limits = limits
        self._index = -1
        self._checksum = checksum
        self._crc = 0
        self._put((rdb.header(style.version, aux),), slow=False)

    def add(self, index: int, key: bytes, value: Value, deadline: int | None) -> bool:
        """Add a key; whether its value is still being read."""
        self.keys += 1
        style = self._style
        if index != self._index:
            self._index = index
            self._put((rdb.select(index, 0, 0),), slow=False)
        plain = type(value) is bytes
        if plain and deadline is None and len(value) <= LONG:
            self._put((rdb.plain_entry(key, value, style.compress),), slow=False)
            return False
        form = snapshot.form_of(value, self._limits, style, kept=not plain)
        # Of a compact value the bytes are there already; those of any other are yet to be made.
        slow = type(form.body) is not tuple
        self._put(rdb.entry(key, form, style.compress, deadline), slow)
        return slow and not plain and type(value) is not Buffer

    def take(self) -> bytes:
        """What has been added, to be written next."""
        data = self._take()
        if self._checksum:
            self._crc = rdb.crc64(data, self._crc)
        return data

    def end(self) -> bytes:
        """What is left, and the end."""
        self._put((rdb.END,), slow=False)
        return self.take() + self._crc.to_bytes(8, "little")


def slices(walk: Walk, form: PlainBase | SnapshotBase) -> Iterator[bytes]:
    """Work for SLICE_NS with each step; what is to be written then, if there is enough of it."""
    more = True
    while more:
        end = perf_counter_ns() + SLICE_NS
        more = form.work(end) or walk.step(end) or form.busy
        if more:
            yield form.take() if form.size >= CHUNK else b""
    yield form.end()
