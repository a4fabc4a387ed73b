"""A replica as its primary sees it: a follower of the log that may need a snapshot first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from distcache_replication.archive import Archive
from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_replication.reader import Reader

WAITING, SENDING, LOADING, ONLINE = "waiting", "sending", "loading", "online"
SERVED, GONE = "served", "gone"
"""It waits for a snapshot to begin, gets one, loads it, follows the log; or wanted nothing more, or
is gone."""
SHOWN = {WAITING: "wait_bgsave", SENDING: "send_bulk", LOADING: "send_bulk", ONLINE: "online"}
"""The states as INFO names them."""
MOST = 1 << 20
"""Bytes of the log that are handed over at once."""


def can_go_on(history: History, log: Log, archive: Archive, id_: str, offset: int) -> bool:
    """Whether who has that history up to ``offset`` needs no snapshot."""
    there = log.start <= offset <= log.end or archive.covers(offset)
    return there and history.holds(id_, offset)


class Replica:
    """What is known about a replica.  Times are seconds of a clock that never goes back."""

    def __init__(self, send: Callable[[bytes], None], unsent: Callable[[], int]) -> None:
        self.send = send
        self.unsent = unsent
        """Bytes that were sent and that the kernel did not take yet."""
        self.state = WAITING
        self.offset = 0
        """It was sent the log up to here."""
        self.acknowledged = 0
        """It has applied the log up to here ..."""
        self.flushed = -1
        """... and has it on its disk up to here."""
        self.heard_s = 0.0
        self.since_s = 0.0
        """When it asked for the log."""
        self.soft_since_s = 0.0
        """Since when too much waits to be sent to it; 0 if not."""
        self._moved_s = 0.0
        self._seen = 0, 0
        """When a full sync was last seen to go on, and how far it was."""
        self.port = 0
        self.address = ""
        """Where it says that others find it."""
        self.takes_unknown_length = False
        """It can read a snapshot whose length nobody knows (capa eof)."""
        self.knows_histories = False
        """It understands a new history id after +CONTINUE (capa psync2)."""
        self.only_snapshot = False
        """It wants no log (rdb-only)."""
        self.no_keys = False
        """It wants no keys either (rdb-filter-only)."""
        self.silent = False
        """It asked by SYNC and will not acknowledge anything."""
        self.drained = asyncio.Event()
        """Set while the kernel takes what is sent."""
        self.drained.set()
        self.behind = asyncio.Event()
        """Set while it has to be sent what cannot be sent at once."""
        self.behind.set()
        self.reader: Reader | None = None
        """Gives it the log, and keeps it until then."""
        self.task: asyncio.Task[None] | None = None
        """Feeds it."""

    def lag_s(self, now_s: float) -> int:
        """For how long it has not been heard of."""
        return max(int(now_s - self.heard_s), 0)

    def stuck_s(self, now_s: float, taken: int, said: int) -> float:
        """For how long a full sync has not gone on, given how many bytes were taken and said.

        While its snapshot is sent the replica has to take it, and while it loads it, to say
        something now and then.
        """
        unsent = self.unsent()
        seen = taken - unsent, said
        loads = self.state == LOADING and not self.silent
        due = unsent > 0 if self.state == SENDING else loads
        if seen != self._seen or not due:
            self._seen, self._moved_s = seen, now_s
        return now_s - self._moved_s

    def pending(self, log: Log) -> int:
        """Bytes of the log that are kept for it."""
        behind = log.end - self.offset if self in log.holders else 0
        return behind + (self.unsent() if self.state == ONLINE else 0)

    def ship(self) -> None:
        """Send what comes next here and now, where it is in memory and the kernel takes it."""
        reader = self.reader
        if self.state != ONLINE or reader is None:
            return
        if self.drained.is_set() and (data := reader.at_hand(MOST)):
            self.send(data)
            self.offset += len(data)
        if self.offset < reader.log.end:
            self.behind.set()

    async def follow(self, reader: Reader) -> None:
        """Send what `ship` could not, for as long as it lives."""
        while True:
            await self.behind.wait()
            await self.drained.wait()
            if self.offset == reader.log.end:
                self.behind.clear()
                reader.hold()
                continue
            data = await reader.read(MOST)
            self.send(data)
            self.offset += len(data)

    async def give(self, data: bytes) -> None:
        """Send a part of a snapshot, and wait until it was taken."""
        self.send(data)
        await self.drained.wait()


def having(replicas: Iterable[Replica], offset: int) -> int:
    """How many have applied the log up to ``offset``."""
    return sum(it.state == ONLINE and it.acknowledged >= offset for it in replicas)


def keeping(replicas: Iterable[Replica], offset: int) -> int:
    """How many have the log on their disks up to ``offset``."""
    return sum(it.state == ONLINE and it.flushed >= offset for it in replicas)


def confirming(replicas: Iterable[Replica]) -> int:
    """How many follow the log and acknowledge it."""
    return sum(it.state == ONLINE and not it.silent for it in replicas)


def confirmed(replicas: Iterable[Replica], number: int) -> int:
    """Up to where ``number`` replicas have applied the log."""
    offsets = sorted((it.acknowledged for it in replicas if it.state == ONLINE), reverse=True)
    return offsets[number - 1] if len(offsets) >= number else 0


def well(replicas: Iterable[Replica], now_s: float, most_s: int) -> int:
    """How many are online and were heard of lately."""
    return sum(it.state == ONLINE and it.lag_s(now_s) <= most_s for it in replicas)
