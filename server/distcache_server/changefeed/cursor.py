"""Changes as entries of a stream, some of them kept for readers.

A cursor goes on only while somebody waits for what comes next, until it has caught up with the log
once.  From then on it follows the log by itself, and lets go of the oldest entries that it keeps.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress

from distcache_replication.changefeed.event import HEARTBEAT, Event, Run
from distcache_replication.changefeed.formats import encode
from distcache_replication.changefeed.position import Position

from distcache_server import logs
from distcache_server.changefeed.changes import Changes
from distcache_server.changefeed.peer import Failed, Gone

ENTRY = 300
"""What an entry takes besides its bytes."""
REPLY = 16 << 20
"""Bytes of entries in an answer, about."""

Words = list[bytes]
Found = list[tuple[int, int, Words]]
"""Entries as they are sent: offset, number, words."""


class Passed(Exception):
    """The entries that are wanted are no longer kept here."""


def entry(event: Event, data: bytes) -> Words:
    """The fields of an event's entry."""
    words = [b"op", event.operation.encode(), b"db", b"%d" % event.database]
    if event.key is not None:
        words += [b"key", event.key]
    return [*words, b"event", data]


class Cursor:
    """A place in the feed that moves on, and the entries just behind it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.used_s = time.monotonic()
        self.readers = 0
        """Requests that wait here."""
        self.floor = changes.after
        """Entries behind this are kept, or yet to come."""
        self.first = changes.after
        """The floor at the beginning ..."""
        self.begun = asyncio.Event()
        """... which holds from here on: where nothing that old is left it is not what was asked."""
        self._limit = changes.settings.buffer
        self._style = changes.settings.style
        self._ids: list[Position] = []
        self._entries: list[Words] = []
        self._sizes: list[int] = []
        self._size = 0
        self._moved = asyncio.Event()
        self._asked = asyncio.Event()
        self._waiting = 0
        """Readers who need what comes next."""
        self._eager = False
        self.error: Exception | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def position(self) -> int:
        """All events that begin before this have been made."""
        return self.changes.position

    def covers(self, after: Position) -> bool:
        """Whether somebody who has all up to there can go on here."""
        if self.error is not None or self.floor > after:
            return False
        # A snapshot is only made by who began with it.
        began = self.first
        return not after.in_snapshot or (began.in_snapshot and began.offset == after.offset)

    def keeps(self, after: Position) -> bool:
        """Whether all changes behind that are in the buffer, or to come."""
        return self.covers(after) and self.begun.is_set() and not self.floor.in_snapshot

    def keeps_last(self, count: int, end: Position) -> bool:
        """Whether that many of the last entries up to there are in the buffer."""
        if self.error is not None or not self._eager or self.floor.in_snapshot:
            return False
        return bisect_right(self._ids, end) >= count

    async def last(self, start: Position, end: Position, count: int, until: int) -> Found:
        """The last entries between two positions, backwards; for who ``keeps`` them."""
        await self.read(max(self.floor, Position(self.position)), 1, until, end)
        ids = self._ids
        stop = bisect_right(ids, end)
        begin = max(bisect_left(ids, start), stop - count)
        found, size = Found(), 0
        for at in range(stop - 1, begin - 1, -1):
            found.append((*ids[at], self._entries[at]))
            size += self._sizes[at]
            if size > REPLY:
                break
        return found

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        changes = self.changes
        try:
            async for event in changes.events():
                if not self.begun.is_set():
                    self.floor = self.first = changes.after
                    self.begun.set()
                if changes.position >= changes.caught_up and not changes.in_snapshot:
                    self._eager = True
                if event is not None:
                    for each in event.events() if isinstance(event, Run) else (event,):
                        await self._make_room()
                        self._add(each)
                if event is None or self._waiting:
                    self._tell()
        except (Gone, Failed, OSError) as error:
            self.error = error
        except Exception as error:
            logs.failure("Unexpected error in the changefeed", error)
            self.error = Failed("an unexpected error")
        finally:
            self.error = self.error or Gone()
            self.begun.set()
            self._tell()

    def _tell(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _add(self, event: Event) -> None:
        data = encode(event, time.time_ns() // 1_000_000, self._style)
        words = entry(event, data)
        size = sum(map(len, words)) + ENTRY
        self._ids.append(event.position)
        self._entries.append(words)
        self._sizes.append(size)
        self._size += size

    async def _make_room(self) -> None:
        while self._size > self._limit:
            # Readers take what they want of this before a part of it goes.
            self._asked.clear()
            self._tell()
            await (asyncio.sleep(0) if self._eager else self._asked.wait())
            self._drop()

    def _drop(self) -> None:
        """Let go of the older half."""
        count = (len(self._ids) + 1) // 2
        self.floor = self._ids[count - 1]
        self._size -= sum(self._sizes[:count])
        del self._ids[:count], self._entries[:count], self._sizes[:count]

    # Reading

    async def read(
        self, after: Position, count: int, until: int | None, end: Position | None = None
    ) -> Found:
        """Up to ``count`` entries behind a position, up to ``end``.

        Without ``until`` it waits for the first one.  With it, as long as the log up to there may
        have more.  Raises Passed.
        """
        self.readers += 1
        try:
            await self.begun.wait()
            while True:
                if self.error is not None:
                    raise self.error
                if self.floor > after:
                    raise Passed
                found, more = self._find(after, count, end)
                self.used_s = time.monotonic()
                if more or self._is_past(until, end) or (until is None and found):
                    return found
                if found and self._size > self._limit:
                    return found
                self._waiting += 1
                self._asked.set()
                try:
                    await self._moved.wait()
                finally:
                    self._waiting -= 1
        finally:
            self.readers -= 1

    def _is_past(self, until: int | None, end: Position | None) -> bool:
        if self.changes.in_snapshot:
            return False
        if until is not None and self.position >= until:
            return True
        return end is not None and Position(self.position) > end

    def _find(self, after: Position, count: int, end: Position | None) -> tuple[Found, bool]:
        """What there is, and whether that is all that is wanted."""
        ids, found, size = self._ids, Found(), 0
        for at in range(bisect_right(ids, after), len(ids)):
            if end is not None and ids[at] > end:
                return found, True
            found.append((*ids[at], self._entries[at]))
            size += self._sizes[at]
            if len(found) == count or size > REPLY:
                return found, True
        return found, False

    def heartbeat(self, position: Position) -> tuple[int, int, Words]:
        """An entry that says that all is told of up to there."""
        event = Event(position, HEARTBEAT, *self.changes.source_of_now)
        now_ms = time.time_ns() // 1_000_000
        event.time_ms = now_ms
        return (*position, entry(event, encode(event, now_ms, self._style)))
