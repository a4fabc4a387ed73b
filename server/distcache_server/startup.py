"""Reads the append-only directory back at a start, in slices, so that clients get LOADING."""

from __future__ import annotations

import asyncio
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING

from distcache_replication.directory import RESTORE, Directory, Refused
from distcache_replication.manifest import INCREMENT, File
from distcache_replication.segment import Batch, commands

from distcache_server import logs
from distcache_server.replay import CannotApply, Replay

if TYPE_CHECKING:
    from distcache_server.engine import Engine

SLICE_NS = 10_000_000
"""Clients are served that often."""
REPORT_S = 1.0
TRUNCATE = "or cut the file there with redis-check-aof --fix, which loses the rest"


class Progress:
    """How far a load has come, for INFO and the log."""

    def __init__(self, total: int, now_s: float) -> None:
        self.total = total
        self.loaded = 0
        self.started_s = now_s

    @property
    def percent(self) -> float:
        return 100 * self.loaded / self.total if self.total else 100.0

    def seconds_left(self, now_s: float) -> int:
        """A guess from the speed so far."""
        elapsed = now_s - self.started_s
        return int(elapsed * (self.total - self.loaded) / self.loaded) if self.loaded else 1


class Loader:
    """Applies all files of a directory to an engine."""

    def __init__(self, engine: Engine, directory: Directory) -> None:
        self.engine = engine
        self.directory = directory
        self.replay = Replay(engine)
        self.progress = Progress(directory.size, monotonic())
        self._slice_end = perf_counter_ns() + SLICE_NS
        self._report_s = self.progress.started_s + REPORT_S
        self._cut_torn = engine.config.aof_load_truncated

    async def load(self) -> None:
        """Load everything; raises Refused."""
        done = 0
        for file in self.directory.manifest.files:
            path = self.directory.path(file.name)
            self.replay.begin()
            at = 0
            if self.directory.is_snapshot(file):
                raise Refused(path, 0, "a base in snapshot form cannot be read yet", RESTORE)
            await self._load_commands(file, path, done, at)
            done += self.directory.files.size(path)
        if cut := self.directory.cut:
            logs.warning(
                "The log ended in the middle of a write: cut",
                file=cut.path,
                offset=cut.at,
                bytes=cut.size,
            )

    async def _load_commands(self, file: File, path: str, done: int, at: int) -> None:
        opened: Batch | None = None
        for batch in self.directory.read(file, self._cut_torn, at):
            was_open = self.replay.in_transaction
            self._apply(path, batch)
            if self.replay.in_transaction and not was_open:
                opened = batch
            self.progress.loaded = done + batch.at + len(batch.data)
            if perf_counter_ns() > self._slice_end:
                await self._rest()
        if self.replay.in_transaction and opened is not None:
            self._drop_transaction(file, path, opened.at)

    def _apply(self, path: str, batch: Batch) -> None:
        try:
            self.replay.apply(commands(batch.data))
        except CannotApply as error:
            name = error.words[0][:64].decode("latin-1")
            reason = f"{name} cannot be applied: {error.reason}"
            raise Refused(path, batch.at, reason, f"{RESTORE}; {TRUNCATE}") from None
        except (ValueError, TypeError) as error:
            raise Refused(path, batch.at, str(error), f"{RESTORE}; {TRUNCATE}") from None

    def _drop_transaction(self, file: File, path: str, at: int) -> None:
        """Redis was stopped while it wrote a transaction: it is taken off like a torn record."""
        last = file.type == INCREMENT and file is self.directory.manifest.increments[-1]
        if not (last and self._cut_torn):
            raise Refused(path, at, "a transaction has no end", f"{RESTORE}; {TRUNCATE}")
        self.directory.take_off(path, at)

    async def _rest(self) -> None:
        """Let clients be served."""
        now_s = monotonic()
        if now_s >= self._report_s:
            self._report_s = now_s + REPORT_S
            logs.notice("Loading", percent=f"{self.progress.percent:.1f}")
        await asyncio.sleep(0)
        self._slice_end = perf_counter_ns() + SLICE_NS
