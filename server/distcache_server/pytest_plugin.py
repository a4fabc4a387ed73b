"""pytest fixtures: a fresh, empty server for each test, in a thread of the test's own process.

``distcache`` gives one with the default settings; ``distcache_factory(**settings)`` starts as many
as a test needs.  Starting one takes a few milliseconds: no process, no file, a port of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own, so that tests may block."""

    def __init__(self) -> None:
        from distcache_server.daemon import new_event_loop

        self.loop = new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="distcache", daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class DistcacheServer:
    """Where a test's server is: ``host``, ``port``, ``url`` (``redis://...``)."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.url = f"redis://{host}:{port}"

    def client(self, **options: Any) -> Any:
        """A redis-py client of this server; needs the package ``redis``."""
        import redis

        return redis.Redis(host=self.host, port=self.port, **options)


@contextmanager
def _served(loop: _Loop, settings: dict[str, Any]) -> Iterator[DistcacheServer]:
    from distcache_server.daemon import serve

    serving = serve(**settings)
    server = loop.run(_enter(serving))
    try:
        yield DistcacheServer("127.0.0.1", server.port)
    finally:
        loop.run(_leave(serving))


async def _enter(serving: Any) -> Any:
    return await serving.__aenter__()


async def _leave(serving: Any) -> None:
    await serving.__aexit__(None, None, None)


@pytest.fixture(scope="session")
def _distcache_loop() -> Iterator[_Loop]:
    loop = _Loop()
    yield loop
    loop.close()


@pytest.fixture
def distcache_factory(_distcache_loop: _Loop) -> Iterator[Callable[..., DistcacheServer]]:
    """Starts servers with settings of redis.conf: ``distcache_factory(maxmemory="1mb")``."""
    with ExitStack() as stack:

        def start(**settings: Any) -> DistcacheServer:
            return stack.enter_context(_served(_distcache_loop, settings))

        yield start


@pytest.fixture
def distcache(_distcache_loop: _Loop) -> Iterator[DistcacheServer]:
    """A fresh, empty server with the default settings."""
    with _served(_distcache_loop, {}) as server:
        yield server
