"""An engine without sockets, for tests that look inside: commands go straight to dispatch."""

from __future__ import annotations

from time import time_ns

from distcache_server import commands, dispatch
from distcache_server.client import Client
from distcache_server.config import Config
from distcache_server.engine import Engine
from distcache_server.keyspace import Keyspace

commands.load()


class Direct:
    """One client of an engine of its own.  Time stands still unless ``now_ms`` is set."""

    def __init__(self, *arguments: str, now_ms: int | None = None) -> None:
        config = Config()
        config.load_arguments(arguments)
        self.engine = Engine(config)
        dispatch.install(self.engine)
        self.client = Client(self.engine, 1)
        self.engine.clients[1] = self.client
        self.now_ms = now_ms if now_ms is not None else time_ns() // 1_000_000

    @property
    def keyspace(self) -> Keyspace:
        """The database that the client has selected."""
        return self.client.keyspace

    def __call__(self, *words: str | bytes | int) -> bytes:
        """Run a command; its reply as it would be sent."""
        given = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.client.keyspace.now_ms = self.now_ms
        replies: list[bytes] = []
        dispatch.execute(self.client, [given], replies, time_ns())
        return b"".join(replies)


__all__ = ["Direct"]
