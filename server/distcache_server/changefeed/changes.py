"""All changes from a position on: a base is loaded, the log applied, and what it does told.

What comes before the position is applied and not told of.  Where nothing that old is left, or where
it is asked for, all keys come first as a snapshot, as of an offset that belongs to the position: so
it can be gone on with from any place in it, by whoever makes it again.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Protocol

import hiredis
from distcache_replication.changefeed import event
from distcache_replication.changefeed.event import Event, Run, State, Transaction
from distcache_replication.changefeed.position import SNAPSHOT, Position, before_snapshot
from distcache_replication.segment import Reader, commands

from distcache_server import snapshot
from distcache_server.arguments import Args
from distcache_server.changefeed.settings import Settings
from distcache_server.changefeed.shadow import Change, Shadow
from distcache_server.framing import command_length

CHUNK = 1 << 20
"""Bytes of a base that are read at once."""
SLICE_S = 0.005
"""Whoever else works in this process has its turn that often."""
STEPS = 16
"""Commands or events between two looks at the clock."""
FEW, MOST = 4, 256
"""So many commands are a run."""
NOTHING, FILE, WALK = "nothing", "file", "walk"
"""What there is at the offset that the server begins with: no keys, a file, or what it sends."""


class Source(Protocol):
    """The server, as this process calls it."""

    def call(self, name: str, *arguments: Any) -> Awaitable[Any]: ...


class Changes:
    """The changes behind a position; ``number`` is what the server knows this by."""

    def __init__(
        self, source: Source, settings: Settings, number: int, after: Position, earliest: bool
    ) -> None:
        self.source = source
        self.settings = settings
        self.number = number
        self.after = after
        """All events up to here are passed over."""
        self.position = 0
        """Applied up to here; where a command begins that is not within a transaction."""
        self.caught_up = 0
        """Past this there was nothing yet when it began."""
        self._earliest = earliest
        """Begin with the oldest changes that are left, where all that is wanted is not."""
        self._shadow = Shadow(settings.databases, settings.filter, settings.most, settings.before)
        self._passes_all = not (settings.before or any(settings.filter))
        self._history, self._epoch = "", 0
        self._times: list[tuple[int, int | None]] = []
        """Offsets, and when the log had come so far."""
        self._timed: tuple[int, int, int | None] = (0, 0, None)
        """From one offset to another, the time that was looked up last."""
        self._parser = hiredis.Reader()
        self._read = 0
        """The offset behind the last command that was parsed."""
        self._queue: list[Args] | None = None
        self._queue_at = 0
        self._slice_end = 0.0
        self._steps = 0
        self._watching = False
        self.in_snapshot = after.in_snapshot
        """The keys are yet to be told of."""

    @property
    def source_of_now(self) -> tuple[str, int]:
        """The history and the epoch of what comes next."""
        return self._history, self._epoch

    async def events(self) -> AsyncIterator[Event | Run | None]:
        """The events, some in runs; None where ``position`` has moved without one."""
        await self._begin()
        yield None
        if self.position >= self.after.applied:
            async for each in self._watch():
                yield each
            yield None
        while True:
            history, epoch, self._times, data = await self.source.call("log", self.number)
            self._history, self._epoch = history, epoch
            self._parser.feed(data)
            for group in _grouped(list(iter(self._parser.gets, False))):
                run = None
                if len(group) >= FEW and (
                    self._pass_over(group) or (self._simple and (run := self._run(group)))
                ):
                    if run is not None:
                        yield run
                    self.position = self._read
                    if self._is_tired(STEPS):
                        await self._rest()
                    continue
                for words in group:
                    if self._simple and (single := self._set(words)) is not None:
                        yield single
                        self.position = self._read
                    else:
                        for made in self._take(words):
                            yield made
                            if self._is_tired():
                                await self._rest()
                        if not self._watching and self.position >= self.after.applied:
                            async for each in self._watch():
                                yield each
                    if self._is_tired():
                        await self._rest()
            yield None

    # The beginning

    async def _begin(self) -> None:
        kind, offset, path, frontier, self._history, self._epoch = await self.source.call(
            "base", self.number, self.after.applied, self._earliest
        )
        if kind == FILE:
            await self._load_file(path)
        elif kind == WALK:
            await self._load_pieces()
        self.position = self._read = offset
        self.caught_up = frontier
        if self.after.applied < offset:
            if self._earliest:
                self.after = Position(offset)
            else:
                self.after = before_snapshot(max(frontier, offset))
        self.in_snapshot = self.after.in_snapshot

    async def _load_file(self, path: str) -> None:
        """Load a base, as far as it is a snapshot as one, else as commands."""
        with open(path, "rb") as file:  # noqa: ASYNC230 -- nobody else waits for this process
            data = file.read(CHUNK)
            loader = self._loader() if data.startswith(b"REDIS") else None
            reader = Reader()
            while data:
                if loader is not None:
                    loader.feed(data)
                else:
                    reader.feed(data)
                    for batch in reader:
                        for words in commands(batch.data):
                            self._shadow.apply(words)
                await asyncio.sleep(0)
                data = file.read(CHUNK)
            if loader is not None:
                self._loaded(loader)

    async def _load_pieces(self) -> None:
        loader = self._loader()
        while data := await self.source.call("part", self.number):
            loader.feed(data)
        self._loaded(loader)

    def _loader(self) -> snapshot.Loader:
        return snapshot.Loader(self._shadow.databases, 0, keep_expired=True)

    def _loaded(self, loader: snapshot.Loader) -> None:
        loader.finish()
        selected = loader.decoder.aux.get(b"repl-stream-db", b"0")
        self._shadow.replay.select(int(selected) if selected.isdigit() else 0)

    # The log

    @property
    def _simple(self) -> bool:
        """Commands stand alone, all of their events are wanted, and no value before."""
        return (
            self._passes_all
            and self._watching
            and self._queue is None
            and self._read > self.after.offset
        )

    def _pass_over(self, group: Sequence[Args]) -> bool:
        """Set many keys to strings that are not to be told of; False, with nothing done, else."""
        if self._watching or self._queue is not None:
            return False
        end = self._read + sum(map(command_length, group))
        if end >= self.after.applied:
            return False
        _, keys, values = zip(*group, strict=True)
        if not self._shadow.set_many(keys, values):
            return False
        self._read = end
        return True

    def _run(self, group: Sequence[Args]) -> Run | None:
        """Many keys that are set to strings; None where these have to be looked at one by one."""
        _, keys, values = zip(*group, strict=True)
        longest = len(b"SET") + max(map(len, keys)) + max(map(len, values))
        if longest > self.settings.most or not self._shadow.set_many(keys, values):
            return None
        offsets = list(accumulate(map(command_length, group), initial=self._read))
        self._read = offsets.pop()
        times = [self._time_of(offsets[0])] * len(offsets)
        if self._timed[1] <= offsets[-1]:
            times = list(map(self._time_of, offsets))
        return Run(self._history, self._epoch, self._shadow.selected, offsets, keys, values, times)

    def _set(self, words: Args) -> Event | None:
        """A key that is set to a string, the most frequent of all, in one step."""
        if not self._shadow.set(words):
            return None
        start = self._read
        self._read = start + command_length(words)
        _, key, value, *deadline = words
        size, most = len(value), self.settings.most
        return Event(
            Position(start, 1),
            event.SET,
            self._history,
            self._epoch,
            self._shadow.selected,
            key,
            State(
                event.STRING,
                value if size <= most else event.OMITTED,
                int(deadline[1]) if deadline else None,
                None,
                size,
            ),
            None,
            self._bounded(words),
            self._time_of(start),
        )

    def _take(self, words: Args) -> Iterator[Event]:
        start = self._read
        self._read += command_length(words)
        name = words[0].upper() if len(words[0]) < 6 else b""
        if name == b"MULTI":
            self._queue, self._queue_at = [], start
            return
        if name == b"EXEC":
            queue, self._queue = self._queue or [], None
            made = self._apply(self._queue_at, queue, Transaction)
        elif self._queue is not None:
            self._queue.append(words)
            return
        else:
            made = self._apply(start, [words], None)
        yield from made
        self.position = self._read

    def _apply(
        self, start: int, batch: list[Args], transaction: Callable[[int, int], Transaction] | None
    ) -> Iterator[Event]:
        """Apply commands that stand there together, and tell of them if that is wanted."""
        if not self._watching:
            for words in batch:
                self._shadow.apply(words)
            return
        size = sum(words[0].upper() != b"SELECT" for words in batch)
        number = index = 0
        for words in batch:
            index += words[0].upper() != b"SELECT"
            for change in self._shadow.changes(words):
                number += 1
                position = Position(start, number)
                if position > self.after:
                    made = self._event(position, change)
                    made.command = self._bounded(words)
                    made.time_ms = self._time_of(start)
                    made.transaction = transaction(size, index) if transaction else None
                    yield made

    def _bounded(self, words: Args) -> Args | None:
        return words if sum(map(len, words)) <= self.settings.most else None

    def _event(self, position: Position, change: Change) -> Event:
        return Event(
            position,
            change.operation,
            self._history,
            self._epoch,
            change.database,
            change.key,
            change.after,
            change.before if self.settings.before else None,
        )

    def _time_of(self, offset: int) -> int | None:
        """When the command at an offset was logged, if anybody saw it."""
        start, end, time_ms = self._timed
        if not start <= offset < end:
            times = self._times
            at = bisect_right(times, offset, key=lambda it: it[0])
            if at == len(times):
                return None
            end, time_ms = times[at]
            self._timed = offset, end, time_ms
        return time_ms

    # Telling of it

    async def _watch(self) -> AsyncIterator[Event]:
        """From here on events are made; all keys first, where a snapshot is wanted."""
        self._watching = True
        if self.after.in_snapshot:
            offset = self.after.offset
            for number, change in enumerate(self._marked(self._shadow.snapshot()), SNAPSHOT + 1):
                position = Position(offset, number)
                if change == event.END:
                    position = Position(self.position)
                if position > self.after:
                    if isinstance(change, str):
                        made = Event(position, event.SNAPSHOT, self._history, self._epoch)
                        made.mark = change
                    else:
                        made = self._event(position, change)
                    made.time_ms = time.time_ns() // 1_000_000
                    yield made
                if self._is_tired():
                    await self._rest()
        self._shadow.watch()
        self.in_snapshot = False

    def _marked(self, changes: Iterable[Change]) -> Iterator[Change | str]:
        yield event.BEGIN
        yield from changes
        yield event.END

    def _is_tired(self, steps: int = 1) -> bool:
        """Others have waited for long enough; the clock is not looked at each time."""
        self._steps += steps
        if self._steps < STEPS:
            return False
        self._steps = 0
        return time.monotonic() > self._slice_end

    async def _rest(self) -> None:
        """Let others work."""
        await asyncio.sleep(0)
        self._slice_end = time.monotonic() + SLICE_S


def _grouped(batch: Sequence[Args]) -> Iterator[Sequence[Args]]:
    """Commands that may be a run together, others one by one."""
    plain = [len(words) == 3 and words[0] == b"SET" for words in batch]
    at = 0
    while at < len(batch):
        stop = at + 1
        if plain[at]:
            stop = min(at + MOST, len(batch))
            if False in plain[at:stop]:
                stop = plain.index(False, at)
        yield batch[at:stop]
        at = stop
