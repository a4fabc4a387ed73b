"""Which segments of the log stay on disk: new ones begin, and old ones go.

The log goes on in a new segment when the present one is long, so that old ones can go one by one,
and an offset is soon found.  What a rewrite has made superfluous stays for replicas that come back,
and for others who read the log from disk, within the limits that are configured (archive.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING

from distcache_replication.archive import Limits
from distcache_replication.bases import Base, bases, kept, needed
from distcache_replication.manifest import File

from distcache_server import logs
from distcache_server.journal import UNKNOWN

if TYPE_CHECKING:
    from distcache_server.persistence import Persistence

PAUSE_S = 1.0
"""Between two looks at what may go, and after a failure."""
NOTHING = Limits(0, 0, 0)


class Keeper:
    """Keeps the segments of a server."""

    def __init__(self, persistence: Persistence) -> None:
        self.persistence = persistence
        self._task: asyncio.Task[None] | None = None
        self._looked_s = 0.0
        self._tried_s = 0.0
        self._bases: list[Base] = []
        """From which the log is kept."""

    @property
    def _names(self) -> set[str]:
        """The files that are not to be deleted."""
        return self.persistence.archive.names | {it.name for it in self._bases}

    @property
    def limits(self) -> Limits:
        config = self.persistence.engine.config
        return Limits(
            config.repl_disk_retention,
            config.repl_disk_retention_time,
            config.repl_disk_slot_limit,
        )

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        it = self.persistence
        disk = it.disk
        if disk is None or not it.complete or it.filing.locked():
            return
        if disk.size >= it.engine.config.aof_segment_size and disk.error is None:
            if now_s - self._tried_s >= PAUSE_S:
                self._tried_s = now_s
                self._begin(self._rotate())
        elif now_s - self._looked_s >= PAUSE_S:
            self._looked_s = now_s
            self._shrink(now_s)
            if any(file.name not in self._names for file in it.directory.manifest.history):
                self._begin(self._clean())

    def make_room(self) -> None:
        """The disk is full: nothing superfluous is kept."""
        self._bases = self._bases[-1:]
        if self._give_up(NOTHING, 0.0):
            self._looked_s = 0.0

    async def rebased(self, file: File | None) -> None:
        """A start needs the log only from this file on."""
        it = self.persistence
        if file is not None:
            it.archive.rebased(file.name)
        self._shrink(monotonic())
        await self._clean()

    async def wait(self) -> None:
        """Until nothing is going on."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self._task = self.persistence.loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[None, None, None]) -> None:
        try:
            async with self.persistence.filing:
                await work
        except OSError as error:
            logs.warning("Cannot change the segments of the log", error=error.strerror)
        except Exception as error:
            logs.failure("Cannot change the segments of the log", error)
        finally:
            work.close()
            self._task = None

    async def _rotate(self) -> None:
        """Go on in a new segment."""
        it = self.persistence
        disk = it.disk
        file, descriptor = await it.off(it.directory.append)
        await it.rewriter.flush_ahead()
        if disk is None or it.disk is not disk or disk.lost or not disk.write():
            it.files.close(descriptor)
            return
        it.switch(file, descriptor)
        # Redis reads each file as if the first database was selected.
        it.journal.selected = UNKNOWN
        self._tried_s = 0.0

    def _shrink(self, now_s: float) -> None:
        it = self.persistence
        config = it.engine.config
        found = bases(it.directory.manifest, it.archive)
        limits = config.changefeed_retention, config.changefeed_retention_time
        count = kept(found, it.archive, *limits, now_s)
        if it.published is not None:
            most = config.changefeed_max_lag
            count = max(count, needed(found, it.archive, it.published, most))
        self._bases = found[-count:]
        self._give_up(self.limits, now_s, self._bases[0].offset if self._bases else None)

    def _give_up(self, limits: Limits, now_s: float, kept: int | None = None) -> bool:
        archive = self.persistence.archive
        held = [slot for slot in archive.slots if not slot.lost]
        gone = archive.shrink(limits, now_s, kept)
        for slot in held:
            if slot.lost:
                logs.warning(
                    "A follower is too far behind: the log that it needs is no longer kept",
                    follower=slot.name,
                    offset=slot.offset,
                )
        return bool(gone)

    async def _clean(self) -> None:
        it = self.persistence
        names = self._names
        await it.off(lambda: it.directory.clean(names))
