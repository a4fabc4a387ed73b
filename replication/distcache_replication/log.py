"""The replication log: bytes addressed by their offset in a history; append, read, trim, follow.

Appending never waits and does no I/O.  The recent part is kept in memory: ``limit`` bytes, and more
only while a follower that must not miss any (the disk) is behind.  What is older is the business of
the disk's segments.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Protocol

BLOCK = 1 << 16
"""The newest bytes are gathered until there are so many, and then kept as one block."""


class Trimmed(Exception):
    """The bytes at this offset are no longer in memory."""


class Follower(Protocol):
    """A position in the log: all before ``offset`` has been taken."""

    offset: int


class Log:
    """The stream of commands, from ``start`` (the first byte in memory) to ``end``."""

    __slots__ = (
        "_blocks",
        "_starts",
        "_tail",
        "_tail_start",
        "_waiting",
        "confirmed",
        "durable",
        "end",
        "holders",
        "limit",
        "start",
    )

    def __init__(self, limit: int = 1 << 20, offset: int = 0) -> None:
        self.limit = limit
        self.start = self.end = offset
        self.durable: int | None = None
        """Up to where the disk has it for good; None while there is no disk."""
        self.confirmed: int | None = None
        """Up to where enough replicas have it; None where none is waited for."""
        self.holders: list[Follower] = []
        """Nothing is trimmed that one of these has not taken."""
        self._blocks: list[bytes] = []
        self._starts: list[int] = []
        self._tail = bytearray()
        self._tail_start = offset
        self._waiting: list[Callable[[], None]] = []
        """Told, once, that the log is longer or that more of it is safe."""

    def append(self, data: bytes) -> None:
        """Add bytes at the end: one command, or several that belong together."""
        self._tail += data
        self.end += len(data)
        if len(self._tail) > BLOCK:
            self._close_block()
        if self._waiting:
            self._wake()

    def restart(self, offset: int) -> None:
        """Forget all bytes, and go on at another offset."""
        self._blocks, self._starts = [], []
        self._tail = bytearray()
        self.start = self.end = self._tail_start = offset

    @property
    def frontier(self) -> int:
        """Up to where nothing can be lost any more, as far as disk and replicas are concerned."""
        end = self.end if self.durable is None else self.durable
        return end if self.confirmed is None else min(end, self.confirmed)

    def advance(self, durable: int | None) -> None:
        """The disk has everything up to here for good; None: there is no disk."""
        if durable is None or self.durable is None or durable > self.durable:
            self.durable = durable
            if self._waiting:
                self._wake()

    def confirm(self, offset: int | None) -> None:
        """Replicas have everything up to here; None: nobody waits for them."""
        self.confirmed = offset
        if self._waiting:
            self._wake()

    def slice(self, offset: int, most: int | None = None) -> bytes:
        """The bytes from ``offset`` on, up to ``most`` of them; raises Trimmed."""
        if not self.start <= offset <= self.end:
            raise Trimmed(offset)
        end = self.end if most is None else min(self.end, offset + most)
        at = offset - self._tail_start
        if at >= 0:
            return bytes(memoryview(self._tail)[at : end - self._tail_start])
        parts: list[bytes] = []
        index = bisect_right(self._starts, offset) - 1
        while offset < end and index < len(self._blocks):
            block, first = self._blocks[index], self._starts[index]
            parts.append(block[offset - first : end - first])
            offset = first + len(block)
            index += 1
        if offset < end:
            parts.append(bytes(memoryview(self._tail)[: end - self._tail_start]))
        return b"".join(parts)

    async def read(self, offset: int, most: int | None = None, durable: bool = False) -> bytes:
        """``slice``, once there is something; ``durable`` stops at what can no longer be lost."""
        end = await self.wait(offset, durable)
        return self.slice(offset, end - offset if most is None else min(most, end - offset))

    async def wait(self, offset: int, durable: bool = False) -> int:
        """Until there is something behind ``offset``; where that ends."""
        while (end := self.frontier if durable else self.end) <= offset:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(partial(_end, waiter))
            await waiter
        return end

    def tell(self, whom: Callable[[], None]) -> None:
        """Call this when the log is longer: once, and perhaps too early."""
        self._waiting.append(whom)

    def trim(self) -> None:
        """Drop the oldest blocks beyond the limit that every holder has taken."""
        needed = min([self.end - self.limit, *(holder.offset for holder in self.holders)])
        count = 0
        for first, block in zip(self._starts, self._blocks, strict=True):
            if first + len(block) > needed:
                break
            count += 1
        if count:
            del self._blocks[:count], self._starts[:count]
            self.start = self._starts[0] if self._starts else self._tail_start

    def _close_block(self) -> None:
        self._blocks.append(bytes(self._tail))
        self._starts.append(self._tail_start)
        self._tail = bytearray()
        self._tail_start = self.end
        self.trim()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def follow(log: Log, follower: Taker) -> None:
    """Feed one follower for as long as it lives.  It may see bytes twice, never a gap."""
    while True:
        data = await log.read(follower.offset)
        await follower.take(data)
        follower.offset += len(data)


class Taker(Follower, Protocol):
    """A follower that is fed by `follow`."""

    async def take(self, data: bytes) -> None: ...
