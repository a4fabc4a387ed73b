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
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.disk import ALWAYS
from distcache_replication.files import Files
from distcache_replication.manifest import File
from distcache_replication.segment import NO_HISTORY, annotation, encode, head

from distcache_server import base, logs, snapshot
from distcache_server.capture import Walk
from distcache_server.engine import REDIS_VERSION
from distcache_server.journal import UNKNOWN

if TYPE_CHECKING:
    from distcache_server.keyspace import Limits, Value
    from distcache_server.persistence import Persistence

REDIS = REDIS_VERSION.encode()
SLICE_NS = 1_000_000
CHUNK = 1 << 18
"""Bytes of a base that are gathered before they are written."""
FLUSH = 4 << 20
"""Written bytes after which they are flushed, so that the last flush is no long one."""


class PlainBase:
    """A base as commands, with the annotations of a file of ours."""

    snapshot = False

    def __init__(self, selected: int) -> None:
        self._selected = selected
        self._salt = secrets.randbits(32)
        self._offset = 0
        self._index = -1
        self._parts: list[bytes] = []
        self.size = 0
        """Bytes that wait to be taken."""
        self._head = head(NO_HISTORY, 0, self._salt)

    def add(self, index: int, key: bytes, value: Value, deadline: int | None) -> None:
        data = base.encoded(key, value, deadline)
        if index != self._index:
            self._index = index
            data = encode([b"SELECT", b"%d" % index]) + data
        self._parts.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """What has been added, to be written next."""
        data = b"".join(self._parts)
        self._parts, self.size = [], 0
        start, self._head = self._head, b""
        line = annotation(data, self._offset, self._salt) if data else b""
        self._offset += len(data)
        return b"".join([start, line, data])

    def end(self) -> bytes:
        """What is left; the log behind it goes on in the database that it has selected."""
        if self._selected != max(self._index, 0):
            data = encode([b"SELECT", b"%d" % self._selected])
            self._parts.append(data)
        return self.take()


class SnapshotBase:
    """A base as a snapshot, which Redis loads faster than commands."""

    snapshot = True

    def __init__(
        self, style: rdb.Style, limits: Limits, checksum: bool, aux: dict[bytes, bytes]
    ) -> None:
        self._style = style
        self._limits = limits
        self._index = -1
        self._checksum = checksum
        self._crc = 0
        self._parts = [rdb.header(style.version, aux)]
        self.size = 0
        """Bytes that wait to be taken."""

    def add(self, index: int, key: bytes, value: Value, deadline: int | None) -> None:
        parts, style = self._parts, self._style
        if index != self._index:
            self._index = index
            parts.append(rdb.select(index, 0, 0))
        if deadline is None and type(value) is bytes:
            pieces = [rdb.plain_entry(key, value, style.compress)]
        else:
            form = snapshot.form_of(value, self._limits, style)
            pieces = [*rdb.entry(key, form, style.compress, deadline)]
        parts += pieces
        self.size += sum(map(len, pieces))

    def take(self) -> bytes:
        """What has been added, to be written next."""
        data = b"".join(self._parts)
        self._parts, self.size = [], 0
        if self._checksum:
            self._crc = rdb.crc64(data, self._crc)
        return data

    def end(self) -> bytes:
        """What is left, and the end."""
        self._parts.append(rdb.END)
        return self.take() + self._crc.to_bytes(8, "little")


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
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._again = False

    @property
    def running(self) -> bool:
        return self._task is not None

    @property
    def seconds(self) -> int:
        """For how long the present one has been running; -1 if none is."""
        return int(monotonic() - self.started_s) if self.running else -1

    def begin(self) -> None:
        """Start one, or if one is giving up, when it has."""
        if self._task is not None:
            self._again = self._stopped
            return
        self.started_s = monotonic()
        self._stopped = False
        self._task = self.persistence.loop.create_task(self._run())

    def stop(self) -> None:
        """Give up."""
        self._stopped = self.running
        self._again = False

    async def wait(self) -> None:
        """Until there is none."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        logs.notice("Background append only file rewriting started")
        status = "err"
        try:
            async with self.persistence.walking, self.persistence.filing:
                self._check()
                await self._rewrite()
        except Stopped:
            logs.notice("Background append only file rewriting stopped")
        except OSError as error:
            logs.warning("Rewriting the append only file failed", error=error.strerror)
        except Exception as error:
            logs.failure("Rewriting the append only file failed", error)
        else:
            status = "ok"
            self.count += 1
            logs.notice("Background AOF rewrite finished successfully")
        self.status, self.last_s = status, self.seconds
        self._task = None
        again, self._again = self._again, False
        self.persistence.rewritten(status == "ok")
        if again:
            self.begin()

    async def _rewrite(self) -> None:
        it = self.persistence
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
                create = directory.append if known else directory.create
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
            size = await self._write(target, form, walk)
            await it.off(partial(directory.rebase, temporary, form.snapshot, offset, *increments))
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
        if disk is not None and disk.policy != ALWAYS and disk.write():
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
                it.attach()
            elif known and (disk.lost or not disk.write()):
                raise disk.error or OSError("the log cannot be written")
            it.switch(file, descriptor)
        except (OSError, Stopped):
            it.files.close(descriptor)
            raise
        it.journal.selected = UNKNOWN

    async def _write(self, target: int, form: PlainBase | SnapshotBase, walk: Walk) -> int:
        """Write all that the walk gives out; how many bytes."""
        it = self.persistence
        written = unflushed = 0
        more = True
        while more:
            more = walk.step(perf_counter_ns() + SLICE_NS)
            if more and form.size < CHUNK:
                await asyncio.sleep(0)
                self._check()
                continue
            data = form.take() if more else form.end()
            written += len(data)
            unflushed += len(data)
            flush = unflushed >= FLUSH or not more
            unflushed = 0 if flush else unflushed
            await it.off(partial(write_all, it.files, target, data, flush))
            self._check()
        return written


def write_all(files: Files, descriptor: int, data: bytes, flush: bool) -> None:
    """Write all of it, and flush the file where that is due."""
    while data:
        data = data[files.write(descriptor, data) :]
    if flush:
        files.sync(descriptor)
