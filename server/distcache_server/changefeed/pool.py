"""Answers readers: finds a cursor that can serve them, or begins one.

There are few cursors, since each has a copy of all keys: one that follows the log, and one more
while somebody reads what is long past.  What looks back (ranges, counting) uses one of its own,
which is gone afterwards; such requests have their turn one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from itertools import count as counting

from distcache_replication.changefeed.position import BEGINNING, Position

from distcache_server.changefeed.changes import Changes, Source
from distcache_server.changefeed.cursor import REPLY, Cursor, Found, Passed
from distcache_server.changefeed.settings import Settings

MOST_CURSORS = 2
FAR = 16 << 20
"""So much of the log is passed over by a cursor rather than to begin another one."""
UNUSED_S = 60.0
"""A cursor that nobody has used for so long is closed while there is another."""
PATIENCE_S = 0.05
PAGE = 1000
ROUNDS = 5
"""Times that a reader is told to begin again before it is given up."""

Id = tuple[int, int]


class Pool:
    """The cursors of this process."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self.source = source
        self.settings = settings
        self.cursors: list[Cursor] = []
        self._numbers = counting(1)
        self._looking_back = asyncio.Lock()

    # What can be asked for

    async def read(self, offset: int, number: int, count: int, until: int | None) -> Found:
        """The entries behind a position; without ``until``, once there are some."""
        after = Position(offset, number)
        for _ in range(ROUNDS):
            cursor = await self._cursor(after)
            try:
                return await cursor.read(max(after, cursor.first), count, until)
            except Passed:
                continue
        raise Passed("the changes come faster than they are read")

    async def heartbeat(self, offset: int, number: int, count: int, until: int) -> Found:
        """The same; where there are none, one that says so."""
        found = await self.read(offset, number, count, until)
        if found:
            return found
        if Position(until) <= Position(offset, number):
            return []
        cursor = await self._cursor(Position(offset, number))
        return [cursor.heartbeat(Position(until))]

    async def range(self, start: Id, end: Id, count: int, until: int, backwards: bool) -> Found:
        """Entries from one position to another."""
        first, last = Position(*start), Position(*end)
        async with self._looking_back:
            if not backwards:
                return await self._scan(first, last, count, until)
            for cursor in self.cursors:
                if cursor.keeps(_before(first)) or cursor.keeps_last(count, last):
                    return await cursor.last(first, last, count, until)
            kept: deque[tuple[int, int, list[bytes]]] = deque(maxlen=count)
            async for page in self._pages(first, last, until):
                kept.extend(page)
                while sum(len(it[2][-1]) for it in kept) > REPLY:
                    kept.popleft()
            return list(reversed(kept))

    async def pick(self, ids: list[Id], until: int) -> Found:
        """The entries with these ids, which are in order, as far as they are left."""
        wanted = set(map(tuple, ids))
        if not wanted:
            return []
        found: Found = []
        async with self._looking_back:
            first, last = Position(*ids[0]), Position(*ids[-1])
            async for page in self._pages(first, last, until):
                found += [it for it in page if it[:2] in wanted]
        return found

    async def count(self, until: int) -> tuple[int, Found]:
        """How many entries there are, and the first of them."""
        total, first = 0, Found()
        async with self._looking_back:
            async for page in self._pages(BEGINNING, Position(until), until):
                total += len(page)
                first = first or page[:1]
        return total, first

    # How it is found

    async def _cursor(self, after: Position) -> Cursor:
        """One that can go on from a position."""
        await self._tidy()
        best: Cursor | None = None
        for cursor in self.cursors:
            if cursor.covers(after) and (best is None or cursor.floor > best.floor):
                best = cursor
        far = best is not None and after.offset - best.position > FAR
        if best is None or (far and len(self.cursors) < MOST_CURSORS):
            best = self._begin(after, earliest=False)
            self.cursors.append(best)
            await self._spare_others(best)
        best.readers += 1
        try:
            await best.begun.wait()
        finally:
            best.readers -= 1
        if best.error is not None:
            raise best.error
        return best

    def _begin(self, after: Position, earliest: bool) -> Cursor:
        number = next(self._numbers)
        return Cursor(Changes(self.source, self.settings, number, after, earliest))

    async def _tidy(self) -> None:
        """Let go of cursors that came to an end, or that nobody uses."""
        now_s = time.monotonic()
        for cursor in self.cursors[:]:
            unused = not cursor.readers and now_s - cursor.used_s > UNUSED_S
            if cursor.error is not None or (unused and len(self.cursors) > 1):
                await self._end(cursor)

    async def _spare_others(self, new: Cursor) -> None:
        """Have no more cursors than there may be; one that is read from is waited for."""
        new.readers += 1
        try:
            while len(self.cursors) > MOST_CURSORS and new in self.cursors:
                free = [it for it in self.cursors if not it.readers]
                if free:
                    await self._end(min(free, key=lambda it: it.used_s))
                else:
                    await asyncio.sleep(PATIENCE_S)
        finally:
            new.readers -= 1

    async def _end(self, cursor: Cursor) -> None:
        if cursor in self.cursors:
            self.cursors.remove(cursor)
        await cursor.close()
        await self.source.call("close", cursor.changes.number)

    # Looking back

    async def _scan(self, first: Position, last: Position, count: int, until: int) -> Found:
        found: Found = []
        async for page in self._pages(first, last, until):
            found += page[: count - len(found)]
            if len(found) >= count or sum(len(it[2][-1]) for it in found) > REPLY:
                break
        return found

    async def _pages(self, first: Position, last: Position, until: int) -> AsyncIterator[Found]:
        """All entries from one position to another, as far back as there are any."""
        after = _before(first)
        try:
            for cursor in self.cursors:
                if cursor.keeps(after):
                    while found := await cursor.read(after, PAGE, until, last):
                        yield found
                        after = Position(*found[-1][:2])
                    return
        except Passed:
            pass
        cursor = self._begin(after, earliest=True)
        try:
            await cursor.begun.wait()
            after = max(after, cursor.first)
            while found := await cursor.read(after, PAGE, until, last):
                yield found
                after = Position(*found[-1][:2])
        finally:
            await self._end(cursor)


def _before(position: Position) -> Position:
    """The place right before a position."""
    offset, number = position
    return Position(offset, number - 1) if number else Position(offset)
