"""Saves the snapshot in the background: on BGSAVE, or when a save point is reached.

The file has all keys as they were at one moment (capture.py).  It is written in slices between
commands under a name of its own, flushed, and then takes the place of the snapshot before it.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from distcache_server import logs
from distcache_server.base import SnapshotBase
from distcache_server.capture import Walk
from distcache_server.rewriting import Stopped, write_base

if TYPE_CHECKING:
    from distcache_server.persistence import Persistence

RETRY_S = 5
"""How long after a failure the next attempt begins."""


class Saver:
    """Saves the snapshot of a server, one at a time."""

    def __init__(self, persistence: Persistence) -> None:
        self.persistence = persistence
        self.file = persistence.engine.snapshot
        self.last_s = -1
        """Seconds that the last one took."""
        self.scheduled = False
        """One is to begin as soon as nobody else walks over the keys."""
        self._began_s = 0.0
        self._form: SnapshotBase | None = None
        self._total = 0
        self._tried_s = 0
        """Unix time of the last attempt."""
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._naming = Lock()
        """Held while the file gets its name, which one that was stopped must not get."""

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def seconds(self) -> int:
        """For how long the present one has been running; -1 if none is."""
        return int(monotonic() - self._began_s) if self.running else -1

    @property
    def keys(self) -> tuple[int, int]:
        """How many keys the present one has, and how many it will have; zeros if there is none."""
        if self._form is None:
            return 0, 0
        return self._form.keys, self._total

    def begin(self) -> None:
        """Start one, where there is none."""
        if self._task is None:
            self.scheduled = False
            self._began_s = monotonic()
            self._tried_s = int(time.time())
            with self._naming:
                self._stopped = False
            self.file.saves += 1
            self._task = self.persistence.loop.create_task(self._run())

    def stop(self) -> None:
        """Give up; the file does not get its name from now on."""
        with self._naming:
            self._stopped = self.running
        self.scheduled = False

    async def wait(self) -> None:
        """Until there is none."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def tick(self, now_s: int) -> None:
        """Start one where it is due, at a Unix time; nobody else must walk over the keys."""
        if self.file.failed and now_s - self._tried_s <= RETRY_S:
            return
        if self.scheduled:
            self.begin()
            return
        changes = self.file.changes
        for point in self.persistence.engine.config.save:
            if changes >= point.changes and now_s - self.file.saved_s > point.seconds:
                logs.notice(f"{point.changes} changes in {point.seconds} seconds. Saving...")
                self.begin()
                return

    async def _run(self) -> None:
        logs.notice("Background saving started")
        try:
            async with self.persistence.walking:
                self._check()
                await self._save()
        except Stopped:
            logs.notice("Background saving stopped")
        except OSError as error:
            self.file.failed = True
            logs.warning("Background saving failed", error=error.strerror, file=error.filename)
        except Exception as error:
            self.file.failed = True
            logs.failure("Background saving failed", error)
        else:
            logs.notice("Background saving terminated with success")
        self.last_s = self.seconds
        self._task = None
        self.persistence.judge()

    async def _save(self) -> None:
        it, file = self.persistence, self.file
        files, path = it.files, file.path
        temporary = os.path.join(os.path.dirname(path), f"temp-{os.getpid()}-background.rdb")
        changes = file.all_changes()
        form = SnapshotBase(file.style, it.engine.limits, it.engine.config.rdbchecksum, file.aux())
        walk = Walk(it.engine.databases, form.add)
        self._form, self._total = form, sum(map(len, it.engine.databases))
        target = -1
        try:
            # A file of this name is what a crash has left, or somebody's trap.
            await it.off(lambda: files.remove(temporary))
            target = await it.off(lambda: files.create(temporary))
            size = await write_base(it, target, form, walk, self._check)
            await it.off(partial(self._name, temporary, path))
        finally:
            walk.stop()
            self._form = None
            if target >= 0:
                files.close(target)
            await it.off(lambda: files.remove(temporary))
        file.saved(changes)
        logs.notice("DB saved on disk", file=path, bytes=size)

    def _name(self, temporary: str, path: str) -> None:
        """Give the file its name; in a thread."""
        with self._naming:
            self._check()
            self.persistence.files.rename(temporary, path)
        self.persistence.files.sync_folder(os.path.dirname(path))

    def _check(self) -> None:
        if self._stopped:
            raise Stopped
