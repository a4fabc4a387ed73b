"""The file of the snapshot: written whole or not at all, and loaded at the start.

A snapshot is written to a file of its own, flushed to the disk, and then takes the name of the one
before it; so there is always one that is complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from distcache_replication import rdb

from distcache_server import logs, memory, snapshot
from distcache_server.config import Config
from distcache_server.keyspace import Keyspace

CHUNK = 128 << 10
"""Bytes that are read at once, at most: what takes a few milliseconds."""
PROGRESS_S = 1.0


class Progress:
    """How far loading has come."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.loaded_bytes = 0
        self.keys = 0
        """Those that a snapshot had so far."""
        self.started_s = time.time()

    @property
    def percent(self) -> float:
        return 100 * self.loaded_bytes / max(self.total_bytes, 1)

    @property
    def left_s(self) -> float:
        """How long it will still take, if it goes on like this."""
        spent = time.time() - self.started_s
        return spent * (self.total_bytes - self.loaded_bytes) / max(self.loaded_bytes, 1)


class CannotLoad(Exception):
    """The snapshot cannot be used; the text says which file, where in it, and why."""


class SnapshotFile:
    """Where a server keeps its snapshot, and what became of it."""

    def __init__(self, config: Config, databases: list[Keyspace], redis_version: str) -> None:
        self.config = config
        self.databases = databases
        self.redis_version = redis_version
        self.saved_s = int(time.time())
        """Unix time of the last snapshot, or of the start."""
        self.failed = False
        """The last one that was made in the background failed, and none was made since."""
        self.saves = 0
        """How many clients and save points asked for."""
        self.saved_changes = 0
        """Changes that the last snapshot has."""
        self.whereabouts: Callable[[], dict[bytes, bytes]] = dict
        """What a snapshot is to say of our place in the history of the log."""
        self.loaded_aux: dict[bytes, bytes] = {}
        """What the snapshot that was loaded says of itself."""
        self.lapsed: list[tuple[int, bytes]] = []
        """Databases and keys that it had, but past their deadlines."""
        self.loaded_keys = 0
        self.loaded_expired = 0

    @property
    def path(self) -> str:
        return self.config.locate(self.config.dbfilename)

    @property
    def style(self) -> rdb.Style:
        """How values are written."""
        return rdb.Style(self.config.rdb_version, self.config.rdbcompression)

    @property
    def changes(self) -> int:
        """Changes since the last snapshot."""
        return self.all_changes() - self.saved_changes

    def all_changes(self) -> int:
        return sum(keyspace.changes for keyspace in self.databases)

    # Writing

    def aux(self) -> dict[bytes, bytes]:
        """What a snapshot of now says of itself."""
        aux = snapshot.aux(self.redis_version, int(time.time()), memory.resident())
        return aux | self.whereabouts()

    def blocks(self) -> Iterator[bytes]:
        """The snapshot of what is there now, in blocks."""
        pieces = snapshot.pieces(self.databases, self.style, self.aux())
        return rdb.sealed(pieces, self.config.rdbchecksum)

    def save(self) -> bool:
        """Write a snapshot now; False where that fails, for a reason that is logged."""
        started = time.monotonic()
        changes = self.all_changes()
        try:
            size = write_whole(self.path, self.blocks())
        except OSError as error:
            logs.warning("Cannot save the snapshot", file=self.path, error=error.strerror)
            return False
        self.saved(changes)
        seconds = f"{time.monotonic() - started:.3f}"
        logs.notice("DB saved on disk", file=self.path, bytes=size, seconds=seconds)
        return True

    def saved(self, changes: int) -> None:
        """There is a new snapshot, with the changes up to a count of `all_changes`."""
        self.saved_s = int(time.time())
        self.saved_changes = changes
        self.failed = False

    # Loading

    def reload(self, keep: bool, merge: bool) -> None:
        """Load the snapshot, into databases that are empty unless they are to keep what they have.

        Raises CannotLoad; what was read until then is there.
        """
        if not keep:
            for keyspace in self.databases:
                keyspace.clear()
        if not os.path.exists(self.path):
            raise CannotLoad(f"{self.path}: there is no such file")
        for _ in self.load(merge):
            pass

    def load(self, merge: bool = False, keep_expired: bool = False) -> Iterator[Progress]:
        """Load the snapshot, if there is one, a part with each step.  CannotLoad."""
        path = self.path
        try:
            with open(path, "rb") as file:
                yield from self._load(file, merge, keep_expired)
        except FileNotFoundError:
            return
        except rdb.BadRdb as error:
            raise CannotLoad(
                f"{path}: {error.reason}, at offset {error.offset}. Put a good copy in"
                " its place, or move it away to start empty."
            ) from None
        except OSError as error:
            raise CannotLoad(f"{path}: {error.strerror}") from None

    def _load(self, file: BinaryIO, merge: bool, keep_expired: bool) -> Iterator[Progress]:
        config, started = self.config, time.monotonic()
        told = started
        progress = Progress(os.fstat(file.fileno()).st_size)
        loader = snapshot.Loader(
            self.databases,
            time.time_ns() // 1_000_000,
            merge=merge,
            keep_expired=keep_expired,
            checksum=config.rdbchecksum,
            size=progress.total_bytes,
        )
        yield progress
        while chunk := file.read(min(CHUNK, config.loading_process_events_interval_bytes)):
            loader.feed(chunk)
            progress.loaded_bytes += len(chunk)
            progress.keys = loader.loaded
            if time.monotonic() > told + PROGRESS_S:
                told = time.monotonic()
                done = f"{progress.percent:.0f}%"
                logs.notice("Loading the snapshot", file=self.path, done=done, keys=loader.loaded)
            yield progress
        loader.finish()
        decoder = loader.decoder
        if decoder.functions or decoder.skipped:
            logs.warning(
                "Parts of the snapshot have no meaning here",
                libraries=len(decoder.functions),
                others=decoder.skipped,
            )
        self.loaded_keys, self.loaded_expired = loader.loaded, loader.expired
        self.loaded_aux, self.lapsed = decoder.aux, loader.lapsed
        logs.notice(
            "DB loaded from disk",
            file=self.path,
            keys=loader.loaded,
            expired=loader.expired,
            seconds=f"{time.monotonic() - started:.3f}",
        )


def write_whole(path: str, blocks: Iterable[bytes]) -> int:
    """Write a file that takes the place of the one before it; its size.  OSError."""
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f"temp-{os.getpid()}.rdb")
    size = 0
    try:
        # A file of this name is what a crash has left, or somebody's trap: it is not written to.
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "wb", buffering=0) as file:
            for block in blocks:
                left = memoryview(block)
                while left:
                    left = left[file.write(left) :]
                size += len(block)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    flush_folder(folder)
    return size


def flush_folder(folder: str) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
