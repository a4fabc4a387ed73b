"""The file of the snapshot: written whole or not at all, and loaded at the start.

A snapshot is written to a file of its own, flushed to the disk, and then takes the name of the one
before it; so there is always one that is complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from distcache_replication import rdb

from distcache_server import logs, snapshot
from distcache_server.config import Config
from distcache_server.keyspace import Keyspace

CHUNK = 1 << 20
"""Bytes that are read at once."""
PROGRESS_S = 1.0


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
        self.saves = 0
        self.saved_changes = 0
        """Changes that the last snapshot has."""
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
        return self._all_changes() - self.saved_changes

    def _all_changes(self) -> int:
        return sum(keyspace.changes for keyspace in self.databases)

    # Writing

    def blocks(self, used_memory: int = 0) -> Iterator[bytes]:
        """The snapshot of what is there now, in blocks."""
        aux = snapshot.aux(self.redis_version, used_memory)
        pieces = snapshot.pieces(self.databases, self.style, aux)
        return rdb.sealed(pieces, self.config.rdbchecksum)

    def save(self) -> bool:
        """Write a snapshot now; False where that fails, for a reason that is logged."""
        started = time.monotonic()
        changes = self._all_changes()
        try:
            size = write_whole(self.path, self.blocks())
        except OSError as error:
            logs.warning("Cannot save the snapshot", file=self.path, error=error.strerror)
            return False
        self.saved_s = int(time.time())
        self.saved_changes = changes
        self.saves += 1
        seconds = f"{time.monotonic() - started:.3f}"
        logs.notice("DB saved on disk", file=self.path, bytes=size, seconds=seconds)
        return True

    # Loading

    def reload(self, keep: bool, merge: bool) -> None:
        """Load the snapshot, into databases that are empty unless they are to keep what they have.

        Raises CannotLoad; what was read until then is there.
        """
        if not keep:
            for keyspace in self.databases:
                keyspace.clear()
        if not self.load(merge):
            raise CannotLoad(f"{self.path}: there is no such file")

    def load(self, merge: bool = False) -> bool:
        """Load the snapshot into the databases; False where there is none.  CannotLoad."""
        path = self.path
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._load(path, iter(lambda: file.read(CHUNK), b""), size, merge)
        except FileNotFoundError:
            return False
        except rdb.BadRdb as error:
            raise CannotLoad(
                f"{path}: {error.reason}, at offset {error.offset}. Put a good copy in"
                " its place, or move it away to start empty."
            ) from None
        except OSError as error:
            raise CannotLoad(f"{path}: {error.strerror}") from None
        return True

    def _load(self, path: str, chunks: Iterable[bytes], size: int, merge: bool) -> None:
        started = told = time.monotonic()
        loader = snapshot.Loader(
            self.databases,
            time.time_ns() // 1_000_000,
            merge=merge,
            checksum=self.config.rdbchecksum,
            size=size,
        )
        read = 0
        for chunk in chunks:
            loader.feed(chunk)
            read += len(chunk)
            if time.monotonic() > told + PROGRESS_S:
                told = time.monotonic()
                part = f"{100 * read // max(size, 1)}%"
                logs.notice("Loading the snapshot", file=path, done=part, keys=loader.loaded)
        loader.finish()
        decoder = loader.decoder
        if decoder.functions or decoder.skipped:
            logs.warning(
                "Parts of the snapshot have no meaning here",
                libraries=len(decoder.functions),
                others=decoder.skipped,
            )
        self.loaded_keys, self.loaded_expired = loader.loaded, loader.expired
        logs.notice(
            "DB loaded from disk",
            file=path,
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
