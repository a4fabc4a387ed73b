"""Builds the parts of a server, runs them in one TaskGroup, and stops them in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from distcache_server import commands, dispatch
from distcache_server.blocking import Cancel
from distcache_server.config import Config
from distcache_server.connection import Connection
from distcache_server.engine import VERSION, Engine, Shutdown
from distcache_server.gate import Gate

log = logging.getLogger("distcache")

commands.load()


class Server:
    """A running server: ``async with Server(config) as server: ...``; ``server.port`` is where."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(self.config, self._call_later)
        dispatch.install(self.engine)
        self.gate = Gate(self.engine, self.loop.call_soon, self._shutdown)
        self.stopped = asyncio.Event()
        self.listeners: list[asyncio.Server] = []
        self.port = 0

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Cancel:
        return self.loop.call_later(seconds, callback).cancel

    def _shutdown(self, _: Shutdown) -> None:
        self.stopped.set()

    async def start(self) -> None:
        """Listen on all configured addresses."""
        for address in self.config.bind:
            server = await self.loop.create_server(
                lambda: Connection(self.gate), address, self.config.port
            )
            self.listeners.append(server)

    async def stop(self) -> None:
        """Close the listeners and all clients."""
        for listener in self.listeners:
            listener.close()
        for client in list(self.engine.clients.values()):
            client.kill()
        await asyncio.sleep(0)


async def serve(config: Config) -> int:
    """Run until a signal or SHUTDOWN; the exit status."""
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopped.set)
    await server.start()
    await server.stopped.wait()
    await server.stop()
    return 0


def run(config: Config) -> int:
    """Run the daemon in this process until it is told to stop; the exit status."""
    try:
        import uvloop

        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        loop_factory = None
    gc.disable()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(serve(config))
