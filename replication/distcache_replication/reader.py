"""Reads the log for a follower, from wherever it stands: from the disk, and then from memory.

What comes from the disk is read off the event loop, in pieces, one batch of the file after the
other; each is handed on only if its checksum fits.  Where the next byte is in memory the reader
goes on from there.  It holds the log in memory only while it is less than the log's limit behind,
or where there is no other place; else it holds a slot of the archive.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice

from distcache_replication.archive import Archive, Lost, Segment, Slot
from distcache_replication.disk import MARK
from distcache_replication.log import Follower, Log
from distcache_replication.segment import Damaged
from distcache_replication.segment import Reader as Taken

PIECE = 1 << 15
"""Bytes of a file that are read at once, at least, ..."""
PIECES = 1 << 20
"""... at most, ..."""
LONG = 1 << 22
"""... and in the middle of a long batch."""
BATCHES = 256
"""So many batches are checked at once: that of many short ones holds up the event loop, too."""

Off = Callable[[Callable[[], bytes]], Awaitable[bytes]]
"""Runs a function off the event loop."""


class Reader:
    """The log from the offset of a follower on, which the follower moves by what it has taken.

    One that is ``durable`` gives out only what can no longer be lost.
    """

    def __init__(
        self,
        log: Log,
        archive: Archive,
        off: Off,
        follower: Follower,
        name: str,
        *,
        durable: bool = False,
    ) -> None:
        self.log = log
        self.archive = archive
        self.follower = follower
        self._off = off
        self._cursor: Cursor | None = None
        self._left = b""
        """What was read from disk, ..."""
        self._at = 0
        """... which was handed on up to here."""
        self._times: Sequence[tuple[int, int]] = ()
        self._name = name
        self._durable = durable
        self._slot: Slot | None = None
        self.hold()

    @property
    def on_disk(self) -> bool:
        """What comes next has to come from disk."""
        return self.follower.offset < self.log.start

    def hold(self) -> None:
        """Have the log kept from here on: in memory, where that is not too much."""
        log, offset = self.log, self.follower.offset
        if self.follower in log.holders:
            return
        near = log.end - offset <= log.limit or not self.archive.covers(offset)
        if near and log.start <= offset:
            log.holders.append(self.follower)
            self._release()
        elif self._slot is None:
            self._slot = self.archive.take(self._name, offset)
        else:
            self._slot.offset = offset

    def relax(self) -> None:
        """Let go of the log in memory, where that has become too much and the disk has it."""
        log, offset = self.log, self.follower.offset
        behind = log.end - offset
        if behind > log.limit and self.follower in log.holders and self.archive.covers(offset):
            log.holders.remove(self.follower)
            self.hold()
            log.trim()

    def close(self) -> None:
        """Nothing more is wanted."""
        self._release()
        if self.follower in self.log.holders:
            self.log.holders.remove(self.follower)

    def _release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self.archive.release(slot)

    def at_hand(self, most: int) -> bytes:
        """``read``, of what is in memory; nothing where that is not what comes next."""
        log, offset = self.log, self.follower.offset
        self.hold()
        if self._left or not log.start <= offset < log.end:
            return b""
        return log.slice(offset, most)

    async def read(self, most: int) -> bytes:
        """Up to ``most`` bytes from the follower's offset on, once there are some; raises Lost."""
        while True:
            offset = self.follower.offset
            self.hold()
            size = min(most, await self.log.wait(offset, self._durable) - offset)
            if self._left:
                assert self._cursor is not None
                self._times = self._cursor.times
                data = self._left[self._at : self._at + size]
                self._at += len(data)
                if self._at == len(self._left):
                    self._left = b""
                return data
            if self.log.start <= offset:
                self._cursor = None
                self._times = self.archive.times
                return self.log.slice(offset, size)
            self._left, self._at = await self._piece(offset), 0

    def times(self, start: int, end: int) -> list[tuple[int, int]]:
        """When what ``read`` has just given was written, from which offset on, if that is known."""
        times = self._times
        first = max(bisect_right(times, start, key=lambda it: it[0]) - 1, 0)
        return [it for it in islice(times, first, None) if it[0] < end]

    async def _piece(self, offset: int) -> bytes:
        """Some bytes from the disk; none where the log goes on in memory.  Raises Lost."""
        archive = self.archive
        while self.log.start > offset:
            at = archive.find(offset)
            cursor = self._cursor
            if cursor is None or cursor.segment is not at:
                cursor = self._cursor = Cursor(archive, at, offset)
            try:
                piece = await self._off(partial(cursor.step, at.end, at.size))
            except Damaged as error:
                archive.condemn(at)
                raise Lost(f"{cursor.path} at offset {error.at}: {error.reason}") from None
            except OSError as error:
                archive.condemn(at)
                raise Lost(f"{cursor.path}: {error.strerror}") from None
            cursor.mark()
            if piece:
                return piece
        return b""


class Cursor:
    """A place in a file."""

    def __init__(self, archive: Archive, at: Segment, offset: int) -> None:
        self.segment = at
        self.path = archive.path(at)
        self.offset = offset
        """What is before it is not wanted, or was handed on."""
        self._files = archive.files
        self._most = PIECE
        self.times: list[tuple[int, int]] = []
        """When what was read last was written, from which offset on."""
        found = at.mark(offset)
        self._position = found[1] if found else 0
        self._taken = Taken(found[1], found[0], found[2], found[3]) if found else Taken()

    def step(self, end: int, size: int) -> bytes:
        """What comes next, out of so many bytes up to an offset; in a thread.  Raises Damaged."""
        taken = self._taken
        most = min(max(self._most, min(taken.rest, LONG)), size - self._position)
        data = self._files.read(self.path, self._position, most) if most > 0 else b""
        if not data:
            raise Damaged(self._position, self._position, f"the log should go on to {end} here")
        self._position += len(data)
        taken.feed(data)
        times = [] if taken.time_ms is None else [(taken.offset, taken.time_ms)]
        parts = taken.sound(end)
        while taken.offset < end and (batch := next(iter(taken), None)) is not None:
            if batch.offset is None or batch.offset + len(batch.data) > end:
                raise Damaged(batch.at, batch.at, "commands that are not of this log")
            if taken.time_ms is not None and (not times or times[-1][1] != taken.time_ms):
                times.append((batch.offset, taken.time_ms))
            parts += [batch.data, *taken.sound(end)]
        self._most = min(max(PIECE, BATCHES * len(data) // max(len(parts), 1)), PIECES)
        self.times = times
        piece = b"".join(parts)
        skipped = max(self.offset - (taken.offset - len(piece)), 0)
        self.offset = max(self.offset, taken.offset)
        return piece[skipped:]

    def mark(self) -> None:
        """Remember the place, for others."""
        taken, marks = self._taken, self.segment.marks
        if taken.start is not None and taken.at >= (marks[-1][1] + MARK if marks else 0):
            marks.append((taken.offset, taken.at, taken.salt, taken.time_ms))
