"""Reads the append-only directory back at a start, in slices, so that clients get LOADING."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.directory import RESTORE, Directory, Refused
from distcache_replication.manifest import INCREMENT, File
from distcache_replication.segment import Batch, commands

from distcache_server import logs, snapshot
from distcache_server.replay import CannotApply, Replay
from distcache_server.snapshot_file import CHUNK, PROGRESS_S, Progress

if TYPE_CHECKING:
    from distcache_server.engine import Engine

SLICE_NS = 10_000_000
"""Clients are served that often."""
TRUNCATE = "or cut the file there with redis-check-aof --fix, which loses the rest"
MORE = "set databases to the number that it was written with"


class Loader:
    """Applies all files of a directory to an engine."""

    def __init__(self, engine: Engine, directory: Directory) -> None:
        self.engine = engine
        self.directory = directory
        self.replay = Replay(engine)
        self.progress = Progress(directory.size)
        self._slice_end = 0
        self._told_s = monotonic()
        self._cut_torn = engine.config.aof_load_truncated

    def load(self) -> Iterator[Progress]:
        """Load everything, a slice with each step; raises Refused."""
        done = 0
        yield self.progress
        for file in self.directory.manifest.files:
            path = self.directory.path(file.name)
            at = 0
            if self.directory.is_snapshot(file):
                for at in self._load_snapshot(path):
                    if self._is_slice_over(done + at):
                        yield self.progress
            self.replay.begin()
            for end in self._load_commands(file, path, at):
                if self._is_slice_over(done + end):
                    yield self.progress
                    # Commands of clients, such as INFO, have set the clock.
                    self.replay.stop_clock()
            done += self.directory.files.size(path)
        if cut := self.directory.cut:
            logs.warning(
                "The log ended in the middle of a write: cut",
                file=cut.path,
                offset=cut.at,
                bytes=cut.size,
            )

    def _is_slice_over(self, loaded: int) -> bool:
        """Whether clients are to be served; tells how far it is."""
        now = perf_counter_ns()
        if now < self._slice_end:
            return False
        self._slice_end = now + SLICE_NS
        self.progress.loaded_bytes = loaded
        if monotonic() > self._told_s + PROGRESS_S:
            self._told_s = monotonic()
            logs.notice("Loading the log", done=f"{self.progress.percent:.0f}%")
        return True

    def _load_snapshot(self, path: str) -> Iterator[int]:
        """Load the snapshot that a base begins with; how far it is, at last where it ends."""
        engine, files = self.engine, self.directory.files
        # Whether a key that is past its deadline goes, the log says.
        loader = snapshot.Loader(
            engine.databases,
            engine.now_ms,
            keep_expired=True,
            checksum=engine.config.rdbchecksum,
            size=files.size(path),
        )
        at = 0
        try:
            while not loader.decoder.done and (data := files.read(path, at, CHUNK)):
                at += len(data)
                loader.feed(data)
                yield min(at, loader.decoder.offset)
            loader.finish()
        except rdb.BadRdb as error:
            raise Refused(path, error.offset, error.reason, RESTORE) from None
        number = loader.decoder.aux.get(b"repl-stream-db", b"")
        if number.isdigit():
            self.replay.select(int(number))
        yield loader.decoder.offset

    def _load_commands(self, file: File, path: str, at: int) -> Iterator[int]:
        """Apply the commands in a file; how far it is."""
        opened: Batch | None = None
        size = 0
        for batch in self.directory.read(file, self._cut_torn, at):
            was_open = self.replay.in_transaction
            self._apply(path, batch)
            if self.replay.in_transaction and not was_open:
                opened, size = batch, 0
            size += len(batch.data)
            yield batch.at + len(batch.data)
        if self.replay.in_transaction and opened is not None:
            self._drop_transaction(file, path, opened.at)
            self.directory.offset -= size

    def _apply(self, path: str, batch: Batch) -> None:
        try:
            self.replay.apply(commands(batch.data))
        except CannotApply as error:
            name = error.words[0][:64].decode("latin-1")
            reason = f"{name} cannot be applied: {error.reason}"
            cure = MORE if name.upper() == "SELECT" else f"{RESTORE}; {TRUNCATE}"
            raise Refused(path, batch.at, reason, cure) from None
        except (ValueError, TypeError) as error:
            raise Refused(path, batch.at, str(error), f"{RESTORE}; {TRUNCATE}") from None

    def _drop_transaction(self, file: File, path: str, at: int) -> None:
        """Redis was stopped while it wrote a transaction: it is taken off like a torn record."""
        last = file.type == INCREMENT and file is self.directory.manifest.increments[-1]
        if not (last and self._cut_torn):
            raise Refused(path, at, "a transaction has no end", f"{RESTORE}; {TRUNCATE}")
        self.directory.take_off(path, at)
