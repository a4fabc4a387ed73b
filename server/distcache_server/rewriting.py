"""Rewrites the log: a base that holds all keys, and an increment that goes on from there.

The base is the data set at the very moment at which the increment begins (capture.py).  It is
written in slices between commands; until the manifest names it, the old files remain what a start
would load. The same way leads out of a failed flush, after which nothing in the old files can be
trusted, and into appendonly at run time: then the manifest learns of the increment together with
the base.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.disk import ALWAYS
from distcache_replication.files import Files
from distcache_replication.manifest import File

from distcache_server import logs
from distcache_server.base import PlainBase, SnapshotBase, slices
from distcache_server.capture import Walk
from distcache_server.engine import REDIS_VERSION
from distcache_server.journal import UNKNOWN

if TYPE_CHECKING:
    from distcache_server.persistence import Persistence

REDIS = REDIS_VERSION.encode()
FLUSH = 4 << 20
"""Written bytes after which they are flushed, so that the last flush is no long one."""


class Stopped(Exception):
    """The rewrite was told to give up."""


class Rewriter:
    """Rewrites the log of a server, one rewrite at a time."""

    def __init__(self, persistence: Persistence) -> None:
        self.persistence = persistence
        self.status = "ok"
        self.started_s = 0.0
        self.last_s = -1
        """Seconds that the last one took."""
        self.count = 0
        self.failures = 0
        """How many have failed since the last that did not."""
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._again = False
        self.scheduled = False
        """One is to begin with the next tick."""
        self.walking = False
        """It has begun: nobody else walks over the keys any more."""

    @property
    def running(self) -> bool:
        """Whether there is one, that has begun, is about to, or gives up."""
        return self._task is not None

    @property
    def waits(self) -> bool:
        """It begins when nobody else walks over the keys."""
        it = self.persistence
        return self.running and not self.walking and (it.walking.locked() or it.saver.running)

    @property
    def in_progress(self) -> bool:
        """It neither waits nor gives up."""
        return self.running and not self.waits and (self._again or not self._stopped)

    @property
    def seconds(self) -> int:
        """For how long the present one has been running; -1 if none is."""
        return int(monotonic() - self.started_s) if self.in_progress else -1

    def begin(self) -> None:
        """Start one, or if one is giving up, when it has."""
        self.scheduled = False
        if self._task is not None:
            self._again = self._stopped
            return
        self.started_s = monotonic()
        self._stopped = False
        self._task = self.persistence.loop.create_task(self._run())

    def stop(self) -> None:
        """Give up."""
        self._stopped = self.running
        self._again = self.scheduled = False

    async def wait(self) -> None:
        """Until there is none."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        logs.notice("Background append only file rewriting started")
        status, well = "err", False
        try:
            async with self.persistence.walking:
                self.walking = True
                async with self.persistence.filing:
                    self._check()
                    self.started_s = monotonic()
                    await self._rewrite()
        except Stopped:
            # Who told it to give up did not find that it failed.
            status = self.status
            logs.notice("Background append only file rewriting stopped")
        except OSError as error:
            self.failures += 1
            logs.warning("Rewriting the append only file failed", error=error.strerror)
        except Exception as error:
            self.failures += 1
            logs.failure("Rewriting the append only file failed", error)
        else:
            status, well = "ok", True
            self.count += 1
            self.failures = 0
            logs.notice("Background AOF rewrite finished successfully")
        self.status, self.last_s = status, int(monotonic() - self.started_s)
        self._task, self.walking = None, False
        again, self._again = self._again, False
        self.persistence.rewritten(well)
        if again:
            self.begin()

    async def _rewrite(self) -> None:
        it = self.persistence
        if it.disk is None:
            it.directory = await it.off(it.place)
        directory, files = it.directory, it.files
        config = it.engine.config
        await it.off(lambda: files.make_folder(directory.folder))
        temporary = directory.temporary_base(secrets.token_hex(4))
        target = await it.off(lambda: files.create(temporary))
        walk: Walk | None = None
        try:
            known = it.disk is not None and not it.disk.lost
            file = None
            if it.engine.config.appendonly:
                create = directory.append if known else directory.create_first
                file, descriptor = await it.off(create)
                await self.flush_ahead()
                self._go_on_in(file, descriptor, known)
            # From here to the walk nothing may wait: the base is what the increment goes on from.
            form: PlainBase | SnapshotBase = PlainBase(it.engine.selected)
            if config.aof_use_rdb_preamble:
                style = rdb.Style(config.rdb_version, config.rdbcompression)
                aux = {b"redis-ver": REDIS, b"aof-base": b"1"}
                aux[b"repl-stream-db"] = b"%d" % it.engine.selected
                form = SnapshotBase(style, it.engine.limits, config.rdbchecksum, aux)
            walk = Walk(it.engine.databases, form.add)
            offset, increments = it.log.end, (file,) if file is not None else ()
            size = await write_base(it, target, form, walk, self._check)
            rebase = partial(directory.rebase, anew=not known)
            await it.off(partial(rebase, temporary, form.snapshot, offset, *increments))
            self._check()
        finally:
            if walk is not None:
                walk.stop()
            with suppress(OSError):
                # What counts was flushed.
                files.close(target)
            await it.off(lambda: files.remove(temporary))
        it.base_size, it.closed_size = size, 0
        await it.keeper.rebased(file)

    def _check(self) -> None:
        if self._stopped:
            raise Stopped

    async def flush_ahead(self) -> None:
        """Flush what is written, so that replies do not wait long for it when the file changes."""
        disk = self.persistence.disk
        if disk is None:
            return
        while disk.held:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        if disk.policy != ALWAYS and disk.write():
            disk.commit()
            while disk.flushing:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    def _go_on_in(self, file: File, descriptor: int, known: bool) -> None:
        """Let the log go on in the new increment."""
        it = self.persistence
        disk = it.disk
        try:
            self._check()
            if disk is None:
                # Who takes only what cannot be lost waits for the base.
                it.attach().complete = False
            elif known and (disk.lost or not disk.write()):
                raise disk.error or OSError("the log cannot be written")
            it.switch(file, descriptor)
        except (OSError, Stopped):
            it.files.close(descriptor)
            raise
        it.journal.selected = UNKNOWN


async def write_base(
    it: Persistence,
    target: int,
    form: PlainBase | SnapshotBase,
    walk: Walk,
    check: Callable[[], None],
) -> int:
    """Write all that a walk gives out, and flush it; how many bytes.

    ``check`` is asked after each step, and may raise.
    """
    written = unflushed = keys = 0
    for data in slices(walk, form):
        if data:
            written += len(data)
            unflushed += len(data)
            flush = unflushed >= FLUSH
            unflushed = 0 if flush else unflushed
            await it.off(partial(write_all, it.files, target, data, flush))
        else:
            await asyncio.sleep(0)
        check()
        began_s, new, keys = monotonic(), form.keys - keys, form.keys
        while monotonic() - began_s < new * it.engine.config.rdb_key_save_delay / 1e6:
            await asyncio.sleep(0.01)
            check()
    await it.off(partial(it.files.sync, target))
    return written


def write_all(files: Files, descriptor: int, data: bytes, flush: bool) -> None:
    """Write all of it, and flush the file where that is due."""
    while data:
        data = data[files.write(descriptor, data) :]
    if flush:
        files.sync(descriptor)
