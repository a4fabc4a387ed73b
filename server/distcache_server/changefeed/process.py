"""The server's side of the changefeed's process: starts it, gives it what it asks for, ends it.

It is fed like a replica: by a reader of the log for each of its cursors, up to the durable
frontier.  What it begins with is a base of the log that is still on disk; or all keys as they are
now, walked and sent as a snapshot.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from time import time_ns
from typing import TYPE_CHECKING, Any

from distcache_replication import rdb
from distcache_replication.archive import Lost
from distcache_replication.bases import bases
from distcache_replication.log import Trimmed
from distcache_replication.reader import Reader
from distcache_replication.segment import encode

from distcache_server import logs
from distcache_server.base import SnapshotBase, slices
from distcache_server.capture import Walk
from distcache_server.changefeed import settings
from distcache_server.changefeed.changes import FILE, NOTHING, WALK
from distcache_server.changefeed.peer import Answer, Peer
from distcache_server.journal import UNKNOWN

if TYPE_CHECKING:
    from distcache_server.persistence import Persistence

PIECE = 256 << 10
"""Bytes of the log that are sent at once."""
RESOLUTION_MS = 5
"""Changes within so long of each other are said to have happened at the same time."""
MOST_TIMES = 100_000
VERSION = 10
"""Of the snapshots that are sent."""


def snapshot_offset(persistence: Persistence) -> int:
    """The offset as of which who asks now is told of all keys; 0 where there are none."""
    engine, log = persistence.engine, persistence.log
    if log.frontier or not any(map(len, engine.databases)):
        return log.frontier
    # A snapshot stands before its offset, and before the beginning of the log there is no place.
    if not log.end and not engine.follows:
        log.append(encode([b"PING"]))
    return 1


class Gap(Exception):
    """The log that a cursor needs next is gone."""


class Follower:
    """A cursor of the process, as the log sees it."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Times:
    """When the log came so far, while anybody wants to know."""

    def __init__(self, end: int) -> None:
        self._ends: deque[tuple[int, int]] = deque(maxlen=MOST_TIMES)
        self._unknown = end
        """When anything before this happened nobody has seen, or it is forgotten."""

    def note(self, end: int) -> None:
        """The log has just come so far."""
        now_ms = time_ns() // 1_000_000
        ends = self._ends
        if ends and now_ms - ends[-1][1] < RESOLUTION_MS:
            ends[-1] = end, ends[-1][1]
            return
        if len(ends) == MOST_TIMES:
            self._unknown = ends[0][0]
        ends.append((end, now_ms))

    def between(
        self, start: int, end: int, written: Callable[[int, int], list[tuple[int, int]]]
    ) -> list[tuple[int, int | None]]:
        """Where times end among the bytes from ``start`` to ``end``, and which they are.

        ``written`` has less precise ones, and says where they begin.
        """
        found: list[tuple[int, int | None]] = []
        for it in reversed(self._ends):
            if it[0] <= start:
                break
            if it[0] >= end:
                found.clear()
            found.append(it)
        found.reverse()
        if start < self._unknown:
            end = min(end, self._unknown)
            begins = [(start, None), *written(start, end)]
            ends = [*(at for at, _ in begins[1:]), end]
            old = zip(ends, (time_ms for _, time_ms in begins), strict=True)
            found[:0] = [it for it in old if it[0] > start]
        return found


class Process:
    """The process, from its start to its end."""

    def __init__(
        self, persistence: Persistence, answers: Mapping[str, Answer] | None = None
    ) -> None:
        self.persistence = persistence
        self._answers = answers or {}
        """What it may call besides."""
        self.peer: Peer | None = None
        self._times = Times(persistence.log.end)
        self._readers: dict[int, Reader] = {}
        self._histories: dict[int, str] = {}
        """Of each of them the one that the log had when something was read last."""
        self._walks: dict[int, asyncio.Task[None]] = {}
        self._pieces: dict[int, asyncio.Queue[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; raises OSError, Gone, Failed."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "distcache_server.changefeed", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        answers: dict[str, Answer] = {
            "base": self._base,
            "part": self._part,
            "log": self._log,
            "close": self._close,
            "tell": self._tell,
            **self._answers,
        }
        self.peer = Peer(reader, writer, answers, (Lost, Gap, OSError))
        self._running = self._begin(self.peer.run())
        self._begin(self._watch_times())
        logs.notice("The changefeed has begun", pid=self._child.pid)
        await self.peer.call("begin", settings.of(self.persistence.engine.config))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.persistence.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End it."""
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for number in list(self._readers):
            await self._close(number)
        if self._child is not None:
            with suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
            logs.notice("The changefeed has ended")

    async def wait(self, timeout_s: float) -> None:
        """Until it has ended by itself, but no longer than that."""
        if self._running is not None:
            await asyncio.wait([self._running], timeout=timeout_s)

    @property
    def is_up(self) -> bool:
        return self.peer is not None and not self.peer.closed

    @property
    def offsets(self) -> list[int]:
        """How far its cursors are."""
        return [reader.follower.offset for reader in self._readers.values()]

    @property
    def is_of_our_history(self) -> bool:
        """What its cursors have taken is still a part of our log."""
        return all(map(self._has_ours, self._readers))

    def _has_ours(self, number: int) -> bool:
        it, offset = self.persistence, self._readers[number].follower.offset
        return it.history.holds(self._histories[number], offset) and offset <= it.log.end

    async def _watch_times(self) -> None:
        log = self.persistence.log
        end = log.end
        while True:
            end = await log.wait(end)
            self._times.note(end)

    # What it asks for

    async def _base(self, number: int, wanted: int, earliest: bool) -> list[Any]:
        """What a cursor begins with that wants the log from an offset on, or what is left of it."""
        it = self.persistence
        bases = self._bases()
        fitting = [base for base in bases if base[0] <= wanted]
        if not fitting:
            fitting = bases[:1] if earliest else bases[-1:]
        if fitting:
            offset, path = fitting[-1]
            self._take(number, offset)
            kind = FILE if path else NOTHING
        else:
            kind, path = WALK, ""
            started = asyncio.get_running_loop().create_future()
            self._pieces[number] = asyncio.Queue(2)
            walk = self._walks[number] = self._begin(self._walk(number, started))
            await asyncio.wait([walk, started], return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                raise Gap("the keys cannot be sent")
            offset = started.result()
        if kind != WALK:
            await it.log.wait(offset - 1, durable=True)
        history, epoch = self._source_at(offset)
        return [kind, offset, path, it.log.frontier, history, epoch]

    def _bases(self) -> list[tuple[int, str]]:
        """The places from which the log is left, the oldest first: offset, and the file of keys."""
        it = self.persistence
        if it.disk is None or not it.complete or it.disk.lost:
            return []
        found = bases(it.directory.manifest, it.archive)
        return [(base.offset, base.name and it.directory.path(base.name)) for base in found]

    def _take(self, number: int, offset: int) -> None:
        it = self.persistence
        self._readers[number] = Reader(
            it.log, it.archive, it.off_reading, Follower(offset), "changefeed", durable=True
        )
        self._histories[number] = it.history.id

    async def _walk(self, number: int, started: asyncio.Future[int]) -> None:
        """All keys as they are now, to a cursor."""
        it = self.persistence
        engine, pieces = it.engine, self._pieces[number]
        async with it.walking:
            offset = it.log.end
            form = SnapshotBase(
                rdb.Style(VERSION, False),
                engine.limits,
                False,
                {b"repl-stream-db": b"%d" % engine.selected},
            )
            walk = Walk(engine.databases, form.add)
            it.journal.selected = UNKNOWN
            self._take(number, offset)
            started.set_result(offset)
            try:
                for data in slices(walk, form):
                    if data:
                        await pieces.put(data)
                    else:
                        await asyncio.sleep(0)
                await pieces.put(b"")
            finally:
                walk.stop()

    async def _part(self, number: int) -> bytes:
        """The next piece of a snapshot; nothing behind the last, once none of it can be lost.

        It is sent before: else nobody else could walk, and a new base or a replica, without which
        all can be lost for ever, would not come about.
        """
        piece = await self._pieces[number].get()
        if not piece:
            self._pieces.pop(number, None)
            reader = self._readers.get(number)
            if reader is not None:
                await self.persistence.log.wait(reader.follower.offset - 1, durable=True)
            if number not in self._readers or not self._has_ours(number):
                raise Gap("the log is not the one that the cursor began with")
        return piece

    async def _log(self, number: int) -> list[Any]:
        """What comes next in the log, once there is something; it then counts as taken."""
        reader = self._readers.get(number)
        if reader is None:
            raise Gap("the cursor is closed")
        follower = reader.follower
        offset = follower.offset
        # What is sent together is of one history.
        ends = (end for _, end in self.persistence.history.lineage)
        most = min((end - offset for end in ends if end > offset), default=PIECE)
        try:
            data = await reader.read(min(most, PIECE))
        except Trimmed:
            raise Gap(f"offset {offset} is not in the log any more") from None
        if number not in self._readers or not self._has_ours(number):
            raise Gap("the log is not the one that the cursor began with")
        self._histories[number] = self.persistence.history.id
        history, epoch = self._source_at(offset)
        follower.offset += len(data)
        times = self._times.between(offset, follower.offset, reader.times)
        return [history, epoch, times, data]

    def _source_at(self, offset: int) -> tuple[str, int]:
        """The history that the log has at an offset, and its epoch."""
        history = self.persistence.history
        for former, end in history.lineage:
            if offset < end:
                return former, 0
        return history.id, 0

    async def _tell(self, line: str) -> None:
        """What is to be in our log."""
        logs.warning(f"Changefeed: {line}")

    async def _close(self, number: int) -> None:
        """A cursor needs nothing more."""
        reader = self._readers.pop(number, None)
        self._histories.pop(number, None)
        self._pieces.pop(number, None)
        # Else it would wait for ever, and nobody else could walk.
        if (walk := self._walks.pop(number, None)) is not None:
            walk.cancel()
        if reader is not None:
            reader.close()
