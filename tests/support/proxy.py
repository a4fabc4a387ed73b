"""A proxy between a replica and its primary that harms what the primary sends, when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Stands at ``port``; one connection at a time is of interest."""

    target: int
    port: int = 0
    cut_after: int | None = None
    """The connection ends after so many bytes more from the primary."""
    lose: int | None = None
    """The byte after so many more gets lost ..."""
    double: int | None = None
    """... or comes twice."""
    connections: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear: nothing of what the primary sends gets through."""

    @property
    def is_due(self) -> bool:
        """Whether the harm is still to be done."""
        return (self.cut_after, self.lose, self.double) != (None, None, None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            theirs = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        tasks = [
            asyncio.ensure_future(self._pass_on(reader, theirs[1])),
            asyncio.ensure_future(self._harm(theirs[0], writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            theirs[1].close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

    async def _harm(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self.open.wait()
                size = len(data)
                if self.cut_after is not None and self.cut_after <= size:
                    writer.write(data[: self.cut_after])
                    await writer.drain()
                    self.cut_after = None
                    return
                if self.lose is not None and self.lose < size:
                    data = data[: self.lose] + data[self.lose + 1 :]
                    self.lose = None
                elif self.double is not None and self.double < size:
                    data = data[: self.double + 1] + data[self.double :]
                    self.double = None
                self.cut_after, self.lose, self.double = (
                    None if left is None else left - size
                    for left in (self.cut_after, self.lose, self.double)
                )
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine."""
    it = Proxy(target)
    it.open.set()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()


__all__ = ["Proxy", "proxy"]
