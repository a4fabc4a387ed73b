"""The keys that are read most, kept in a file, to be loaded first after the next start.

Reads are not counted one by one: a hundred times a second the last read tells its key.  The file
has a count and a quoted key on each line, those that are read most first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from heapq import nlargest
from time import monotonic
from typing import TYPE_CHECKING, Any

from distcache_replication.files import Files

from distcache_server import logs
from distcache_server.arguments import Args, Columns
from distcache_server.client import Client
from distcache_server.quoting import Unbalanced, quote, split
from distcache_server.registry import Handler
from distcache_server.touching import Touched

if TYPE_CHECKING:
    from distcache_server.engine import Engine
    from distcache_server.loading import Loader

NAME = "backing-warm.keys"
HEAD = b"# The keys of the backing store that are read most."
SAMPLE_S = 0.01
SAVE_S = 60.0
TELL_S = 2.0
PAUSE_S = 0.01
BATCH = 1000
"""Keys that are being loaded ahead at a time."""
LARGEST = 1 << 28
"""Bytes of the file that are read."""
FULL = 0.9
"""Nothing is loaded ahead where memory is this full: what was loaded first would have to go."""


class Hot:
    """Counts samples of keys, of no more than twice as many as are wanted."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.counts: dict[bytes, int] = {}

    def note(self, key: bytes) -> None:
        """The key was read."""
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        if len(counts) > 2 * self.most:
            # What was read long ago counts for less and less.
            self.counts = {key: (count + 1) // 2 for key, count in self.top()}

    def top(self, counts: dict[bytes, int] | None = None) -> list[tuple[bytes, int]]:
        """Those that are read most, beginning with the first."""
        found = self.counts if counts is None else counts
        return nlargest(self.most, found.items(), key=lambda it: it[1])


def encoded(top: Iterable[tuple[bytes, int]]) -> bytes:
    """The file."""
    return b"\n".join([HEAD, *(b"%d %b" % (count, quote(key)) for key, count in top), b""])


def decoded(data: bytes, most: int) -> dict[bytes, int]:
    """The keys in a file, and their counts; ValueError where it is another."""
    head, *lines = data.split(b"\n")
    if head != HEAD:
        raise ValueError("it has not been written by this server")
    found: dict[bytes, int] = {}
    for line in lines[:most]:
        try:
            words = split(line)
        except Unbalanced:
            words = []
        if len(words) == 2 and words[0].isdigit() and len(words[0]) < 19:
            found[words[1]] = int(words[0])
    return found


class Warming:
    """Knows what is read most, and loads it ahead."""

    def __init__(self, engine: Engine, loader: Loader) -> None:
        self.engine = engine
        self.loader = loader
        self.hot = Hot(engine.config.backing_warm)
        self.warmed = 0
        """Keys that were loaded ahead."""
        self._path = engine.config.locate(NAME)
        self._files = Files()
        self._last: tuple[Touched, Args, Columns] | None = None
        """The last read, until it is looked at."""
        self._saved: list[tuple[bytes, int]] = []

    # Sampling

    def around(self, touched: Touched, handler: Handler) -> Handler:
        """The handler of a command that reads, with a look at what it reads."""
        home = self.loader.home

        def run(client: Client, words: Args) -> Any:
            if client.keyspace is home:
                self._last = touched, words, ()
            return handler(client, words)

        return run

    def note_run(self, touched: Touched, columns: Columns) -> None:
        """Many commands at once, their words in columns."""
        self._last = touched, [], columns

    def sample(self) -> None:
        """Count a key of the last read."""
        last, self._last = self._last, None
        if last is None:
            return
        touched, words, columns = last
        if columns:
            at = random.randrange(len(columns[0]))
            words = [column[at] for column in columns]
        key = random.choice(touched.all(words) or [b""])
        if self.loader.plan_of(key) is not None:
            self.hot.note(key)

    # The file

    def read(self) -> None:
        """Take over what the file says."""
        try:
            data = self._files.read(self._path, 0, LARGEST)
            self.hot.counts = decoded(data, self.hot.most)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            logs.warning("The keys to load ahead cannot be read", file=self._path, reason=reason)

    def save(self, counts: dict[bytes, int] | None = None) -> None:
        """Write the file, if there is anything new; in a thread, with a copy of what is there."""
        top = self.hot.top(counts)
        if not top or top == self._saved:
            return
        try:
            self._write(encoded(top))
            self._saved = top
        except OSError as error:
            reason = error.strerror or str(error)
            logs.warning("The keys to load ahead cannot be kept", file=self._path, reason=reason)

    def _write(self, data: bytes) -> None:
        files, temporary = self._files, f"{self._path}.temp"
        descriptor = files.create(temporary)
        try:
            while data:
                data = data[files.write(descriptor, data) :]
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(temporary, self._path)

    # What goes on besides

    async def run(self) -> None:
        """Load ahead, then sample and save, until cancelled."""
        self.read()
        try:
            if not self.engine.follows:
                await self.warm()
        except Exception as error:
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error: loading ahead failed", error)
        saved_s = monotonic()
        while True:
            await asyncio.sleep(SAMPLE_S)
            self.sample()
            if monotonic() - saved_s >= SAVE_S:
                saved_s = monotonic()
                await asyncio.to_thread(self.save, dict(self.hot.counts))

    async def warm(self) -> None:
        """Load the keys that were read most, those first."""
        loader, keys = self.loader, [key for key, _ in self.hot.top()]
        began_s = told_s = monotonic()
        started: set[bytes] = set()
        for number, key in enumerate(keys):
            while len(started) >= BATCH or not loader.breaker.allows(monotonic()):
                await asyncio.sleep(PAUSE_S)
                self._settle(started)
            if self.engine.follows or self._is_full():
                break
            if loader.preload(key):
                started.add(key)
            if monotonic() - told_s >= TELL_S:
                told_s = monotonic()
                logs.notice("Loading keys ahead", done=f"{number * 100 // len(keys)}%")
        while started and not self.engine.follows:
            await asyncio.sleep(PAUSE_S)
            self._settle(started)
        if keys:
            seconds = f"{monotonic() - began_s:.3f}"
            logs.notice("Loaded keys ahead", keys=self.warmed, of=len(keys), seconds=seconds)

    def _settle(self, started: set[bytes]) -> None:
        """See which loads have ended."""
        loader = self.loader
        for key in [key for key in started if key not in loader.loads]:
            started.discard(key)
            self.warmed += key in loader.home.values

    def _is_full(self) -> bool:
        limit = self.engine.config.maxmemory
        return bool(limit) and self.engine.evictor.used() > FULL * limit
