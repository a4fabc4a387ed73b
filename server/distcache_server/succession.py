"""Who writes to the backing store: how a server that is the primary now goes on where another was.

What the store says of its position is compared with our log (position.py).  Where it is a place in
it, what came after is noted; where that is not kept any more, all keys are written.  Where the rows
are newer than our keys, these are dropped, and read again when somebody asks for them.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from distcache_replication.archive import Lost, Slot
from distcache_replication.backing.changes import First
from distcache_replication.backing.errors import StoreError
from distcache_replication.backing.position import (
    AHEAD,
    HERE,
    NEW,
    STRANGE,
    UNKNOWN,
    Position,
    Stored,
    relation,
)
from distcache_replication.reader import Reader

from distcache_server import logs
from distcache_server.events import EVICTED

if TYPE_CHECKING:
    from distcache_server.writing import Writer

PIECE = 1 << 20
"""Bytes of the log that are read at once."""
SLICE = 1000
"""Keys that are looked at before others have their turn."""
WATCH_S = 2.0
"""A replica looks so often how far the store is, so as to keep the log from there."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
"""Between two attempts, growing."""


class Succession:
    """How a server becomes the one that writes."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.stored: Stored | None = None
        """What the store said before we wrote to it."""
        self.whole = False
        """The log is not known from the store's position on: all keys have to be written."""
        self.dropped = False
        """Keys whose rows are newer have been dropped, since the store was last ours."""
        self._slot: Slot | None = None

    async def ask(self) -> None:
        """Ask the store how far it is, ahead of `learn`."""
        self.stored = await self.writer.store.stored(self.writer.stream)

    def _relation(self) -> str:
        position = self.stored.position if self.stored is not None else None
        writer = self.writer
        return relation(position, writer.persistence.history, writer.log.end)

    async def learn(self) -> None:
        """Find out what the store lacks of what was before we became the primary."""
        writer, stored, how = self.writer, self.stored, self._relation()
        if stored is not None and how == HERE:
            self.hold(stored.position.offset)
            if not await self._read(stored.position):
                self._pass_is_due()
            writer.following = True
            return
        self.hold(writer.noter.offset)
        writer.following = True
        if how in (AHEAD, STRANGE):
            await self._drop(how)
        elif len(writer.home):
            self._pass_is_due()

    async def _read(self, before: Position) -> bool:
        """Note what has changed since the store's position; False where the log is gone."""
        writer = self.writer
        persistence, log, noter = writer.persistence, writer.log, writer.noter
        if log.start > before.offset and not persistence.archive.covers(before.offset):
            return False
        past, end = noter.another(), noter.offset
        past.follow(before.offset, before.database)
        reader = Reader(log, persistence.archive, persistence.off_reading, past, "backing store")
        try:
            while past.offset < end:
                past.feed(await reader.read(min(PIECE, end - past.offset)))
                await asyncio.sleep(0)
        except Lost as error:
            logs.warning("The log cannot be read for the backing store", reason=str(error))
            return False
        finally:
            reader.close()
        noter.gathering.precede(past.gathering)
        writer.woken.set()
        return True

    def _pass_is_due(self) -> None:
        self.whole = True
        self.writer.figures.passes += 1
        stored = self.stored
        known = stored is not None and stored.position.history != UNKNOWN
        logs.warning(
            "All keys are written to the backing store: what has changed since is not known",
            position=stored.position.offset if stored is not None and known else "none",
        )

    async def _drop(self, how: str) -> None:
        """Drop the keys of rows, but for those that have changes which are not written yet."""
        writer, stored = self.writer, self.stored
        assert stored is not None
        self.dropped = True
        logs.warning(
            "Rows are newer than our keys, which are dropped and read again",
            reason="it has more of our history than we do"
            if how == AHEAD
            else "it knows a history that is not ours",
            history=stored.position.history,
            offset=stored.position.offset,
        )
        home, journal = writer.home, writer.persistence.journal
        keys = list(home)
        for start in range(0, len(keys), SLICE):
            home.now_ms = writer.engine.now_ms
            for key in keys[start : start + SLICE]:
                found = writer.noter.plan_of(key)
                if found is None or writer.unwritten(key, found[0]):
                    continue
                if home.remove(key):
                    home.changed(key, b"evicted", EVICTED)
                    journal.evicted(home, key)
                    writer.figures.dropped += 1
            await asyncio.sleep(0)

    async def take_over(self) -> None:
        """Be the one that writes, as soon as that is right."""
        writer, pause = self.writer, Pause()
        patience_s = writer.engine.config.backing_takeover_time
        while writer.position is None:
            try:
                await self.ask()
                stored, how = self.stored, self._relation()
                if stored is not None and how == STRANGE and stored.silent_s < patience_s:
                    writer.problem = "another server writes there"
                    await pause.wait(patience_s - stored.silent_s)
                    continue
                if how in (AHEAD, STRANGE) and not self.dropped:
                    await self._drop(how)
                before = stored.position if stored is not None else None
                after = self._begun(before, how)
                if not await writer.store.take_over(writer.stream, before, after):
                    continue
            except StoreError as error:
                writer.failed(error)
                await pause.wait()
                continue
            writer.position, writer.problem = after, ""
            logs.notice(
                "Writing to the backing store",
                store=writer.store.shown,
                epoch=after.epoch,
                offset=after.offset,
                pending=writer.pending,
            )
            writer.tell()  # some may wait for what is there already

    def _begun(self, before: Position | None, how: str) -> Position:
        """What we write to the store as our own first position."""
        writer = self.writer
        history = writer.persistence.history.id
        epoch = before.epoch + 1 if before is not None else 1
        if before is not None and how == HERE:
            if self.whole:
                return before._replace(epoch=epoch)
            return before._replace(epoch=epoch, history=history)
        if how == NEW and self.whole:
            return Position(epoch, UNKNOWN, 0)
        first = writer.oldest() or First(writer.noter.offset, writer.noter.selected, 0.0)
        return Position(epoch, history, first.offset, first.database)

    # What the disk keeps

    def hold(self, offset: int) -> None:
        """Have the disk keep the log from here on."""
        archive, slot = self.writer.persistence.archive, self._slot
        if slot is not None and not slot.lost:
            slot.offset = offset
            return
        if slot is not None:
            archive.release(slot)
            self._slot = None
        if archive.covers(offset):
            self._slot = archive.take("backing store", offset)

    async def watch(self) -> None:
        """On a replica: keep the log from the store's position on, for when we are promoted."""
        while True:
            try:
                await self.ask()
                if self.stored is not None and self._relation() == HERE:
                    self.hold(self.stored.position.offset)
            except StoreError:
                pass  # the primary tells of it
            except Exception as error:
                self.writer.unexpected(error)
            await asyncio.sleep(WATCH_S)

    def end(self) -> None:
        """We write no more."""
        self.whole = self.dropped = False
        if self._slot is not None:
            self.writer.persistence.archive.release(self._slot)
            self._slot = None


class Pause:
    """Waits longer and longer, with some chance, so that not all servers come back at once."""

    def __init__(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    async def wait(self, most_s: float = LONGEST_PAUSE_S) -> None:
        """Wait, no longer than that."""
        await asyncio.sleep(min(self._pause_s * random.uniform(0.5, 1.0), max(most_s, 0.0)))
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
