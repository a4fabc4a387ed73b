"""What stands between two processes: a network that can be cut, and a primary that lies."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import hiredis

from tests.support.resp import encode

T = TypeVar("T")


class Network:
    """Proxies on free ports, which run in a thread of their own until `close()`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._proxies: list[Proxy] = []

    def proxy(self, port: int, kind: Callable[[Network, int], Proxy] | None = None) -> Proxy:
        """A way to the server at that port."""
        proxy = (kind or Proxy)(self, port)
        self.run(proxy.open())
        self._proxies.append(proxy)
        return proxy

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that runs in the thread of the proxies."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(20)

    def close(self) -> None:
        for proxy in self._proxies:
            self.run(proxy.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()


class Proxy:
    """A way to a server that can be cut: then it is silent, as a network is without a cable."""

    def __init__(self, network: Network, target: int) -> None:
        self.network = network
        self.target = target
        self.port = 0
        self.closed = False
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self.closed = True
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Nothing gets through; what is on its way waits, and so does who connects."""
        self.network.run(self._switch(False))

    def heal(self) -> None:
        """All goes on, with what was on its way first."""
        self.network.run(self._switch(True))

    async def _switch(self, whole: bool) -> None:
        if whole:
            self._whole.set()
        else:
            self._whole.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self.network.loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ways = (self.forth(reader, writer, to_server), self.back(from_server, writer))
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, to_server):
                end.close()

    async def forth(
        self, reader: asyncio.StreamReader, _: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        """From a client to the server."""
        await self._pass(reader, to_server)

    async def back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to a client."""
        await self._pass(reader, writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()


class Liar(Proxy):
    """Makes a correct server a broken one, as its clients see it.

    It acknowledges each fourth SET of a client itself. What becomes of that one is the subclass's
    affair.
    """

    async def forth(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
    ) -> None:
        parser, sets = hiredis.Reader(), 0
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    assert isinstance(words, list)
                    sets += words[0] == b"SET"
                    if words[0] == b"SET" and sets % 4 == 0:
                        writer.write(b"+OK\r\n")
                        self.lie(encode(*words), to_server)
                    else:
                        to_server.write(encode(*words))

    def lie(self, command: bytes, to_server: asyncio.StreamWriter) -> None:
        """Deal with a command that is acknowledged already."""
        raise NotImplementedError


class Dropping(Liar):
    """It never writes what it has acknowledged."""

    def lie(self, command: bytes, to_server: asyncio.StreamWriter) -> None:
        pass


class Hasty(Liar):
    """It acknowledges before it writes, as long before as it takes to be killed in between."""

    LATE_S = 5.0

    def lie(self, command: bytes, to_server: asyncio.StreamWriter) -> None:
        asyncio.get_running_loop().call_later(self.LATE_S, self._write, command)

    def _write(self, command: bytes) -> None:
        # A task that is begun now would never run: the loop is about to stop.
        if self.closed:
            return
        # On a connection of its own, so that no client gets a second reply.
        task = self.network.loop.create_task(self._deliver(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, command: bytes) -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.target)
            writer.write(command)
            await writer.drain()
            writer.close()


__all__ = ["Dropping", "Hasty", "Liar", "Network", "Proxy"]
