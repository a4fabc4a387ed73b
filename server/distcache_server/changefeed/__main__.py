"""The process of the changefeed: ``python -m distcache_server.changefeed <file descriptor>``.

A server starts it with its end of a socket, over which each calls the other (peer.py), and which
ends it: it has no other work, and listens nowhere.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from distcache_server import logs
from distcache_server.changefeed.cursor import Found, Passed
from distcache_server.changefeed.peer import Failed, Gone, Peer
from distcache_server.changefeed.pool import Id, Pool
from distcache_server.changefeed.settings import Settings

NICE = 5
GROWTH = 500_000
"""Objects more than there were, before the collector looks at them: batches come and go."""
COLLECT_S = 5.0
"""Shadows that are done with are collected that often: an engine refers to itself."""


class Child:
    """What the server may call."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self.peer: Peer | None = None

    async def begin(self, settings: list[Any]) -> None:
        """The first call: what is configured."""
        assert self.peer is not None
        self._pool = Pool(self.peer, Settings(*settings))

    async def publish(
        self,
        target: dict[str, Any],
        topic: str,
        groups: list[bytes],
        heartbeat_s: float,
        backoff_s: float,
    ) -> None:
        """Publish all changes from now on."""
        from distcache_replication.changefeed.kafka import Sink, Target

        from distcache_server.changefeed.publisher import Publisher, Topics

        assert self.peer is not None
        topics = Topics(topic, groups)
        self._publisher = Publisher(
            self.peer,
            self.pool.settings,
            Sink(Target(topics=topics.names, **target)),
            topics.of,
            heartbeat_s,
            backoff_s,
        )
        self._publishing = asyncio.get_running_loop().create_task(self._publisher.run())
        self._publishing.add_done_callback(_end)

    @property
    def pool(self) -> Pool:
        assert self._pool is not None
        return self._pool

    async def read(self, offset: int, number: int, count: int, until: int | None) -> Found:
        return await self.pool.read(offset, number, count, until)

    async def heartbeat(self, offset: int, number: int, count: int, until: int) -> Found:
        return await self.pool.heartbeat(offset, number, count, until)

    async def range(self, start: Id, end: Id, count: int, until: int, backwards: bool) -> Found:
        return await self.pool.range(start, end, count, until, backwards)

    async def pick(self, ids: list[Id], until: int) -> Found:
        return await self.pool.pick(ids, until)

    async def count(self, until: int) -> tuple[int, Found]:
        return await self.pool.count(until)


class Told(logging.Handler):
    """Tells the server what is to be in its log."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(logs.one_line(record)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, line: str) -> None:
        with suppress(Gone, Failed):
            await self._peer.call("tell", line)


async def _run(sock: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=sock)
    child = Child()
    answers = {
        name: getattr(child, name)
        for name in ("begin", "publish", "read", "heartbeat", "range", "pick", "count")
    }
    peer = child.peer = Peer(reader, writer, answers, (Passed, Failed, Gone, OSError))
    logging.root.handlers = [Told(peer)]
    collecting = asyncio.get_running_loop().create_task(_collect())
    await peer.run()
    collecting.cancel()


def _end(publishing: asyncio.Task[None]) -> None:
    """A bug: the server starts another process."""
    if not publishing.cancelled() and (error := publishing.exception()):
        traceback.print_exception(error)
        os._exit(1)


async def _collect() -> None:
    while True:
        await asyncio.sleep(COLLECT_S)
        gc.collect(0)


def main() -> None:
    gc.set_threshold(GROWTH)
    # Where there is not enough of the processor for all, clients of the server go first.
    os.nice(NICE)
    for number in (signal.SIGINT, signal.SIGTERM):
        # The terminal sends these to the server, too, which ends us when it is done.
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.setblocking(False)
    asyncio.run(_run(sock))
    sys.stdout.flush()
    os._exit(0)  # freeing all keys one by one would only take time


if __name__ == "__main__":
    main()
