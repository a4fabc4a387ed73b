"""The engine creates no reference cycles: the daemon runs with Python's collector off."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
from distcache_replication.segment import encode
from distcache_server import serve
from distcache_server.daemon import Server, new_event_loop

COMMANDS = [
    "SET key value EX 100",
    "GET key",
    "GET",
    "NOSUCH command",
    "INCR key",
    "LPUSH list a b c",
    "LRANGE list 0 -1",
    "BLPOP nothing 0.01",
    "HSET hash field value",
    "HGETALL hash",
    "SADD set a b c",
    "SINTERSTORE other set set",
    "ZADD zset 1 a 2 b",
    "ZRANGE zset 0 -1 WITHSCORES",
    "ZPOPMIN zset",
    "PFADD hll a b",
    "GEOADD geo 13.3 38.1 place",
    "SORT set ALPHA",
    "MULTI",
    "SET key value",
    "LPOP key",
    "EXEC",
    "WATCH key",
    "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru",
    "SET key value",
    "CONFIG SET maxmemory 0",
    "INFO",
    "COMMAND DOCS get",
    "CLIENT LIST",
    "SCAN 0",
    "SUBSCRIBE news",
    "PSUBSCRIBE n*",
    "PUBLISH news text",
    "HELLO 3",
    "UNSUBSCRIBE",
    "FLUSHALL",
]


async def _talk(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for command in COMMANDS:
        writer.write(command.encode() + b"\r\n")
        await asyncio.sleep(0)
    writer.write(b"PING end\r\n" * 2)
    while b"end" not in await reader.readline():
        pass
    writer.write(b"*1\r\n:oops\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def _fetch(port: int, request: bytes, size: int) -> None:
    """Be a replica until so many bytes have come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.readexactly(size)
    writer.close()
    await writer.wait_closed()


async def _cycles(server: Server, talk: Callable[[int], Awaitable[None]]) -> Counter[str]:
    """What of ours is left in cycles after some connections."""
    await talk(server.port)
    gc.collect()
    gc.freeze()
    for _ in range(20):
        await talk(server.port)
    while server.engine.clients:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return Counter(
        type(found).__name__
        for found in gc.garbage
        if type(found).__module__.startswith("distcache")
    )


def _expect_none(main: Coroutine[None, None, Counter[str]]) -> None:
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            found = runner.run(main)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    if found:
        pytest.fail(f"objects in cycles: {found}")


def test_commands_and_connections_leave_no_cycles() -> None:
    async def main() -> Counter[str]:
        async with serve(enable_debug_command="yes") as server:
            return await _cycles(server, _talk)

    _expect_none(main())


@pytest.mark.parametrize("source", ["disk", "memory"])
def test_replicas_leave_no_cycles(tmp_path: Path, source: str) -> None:
    async def main() -> Counter[str]:
        async with serve(dir=str(tmp_path), appendonly="yes", repl_backlog_size="16kb") as server:
            it = server.persistence
            assert it.disk is not None
            for _ in range(30):
                it.log.append(encode([b"SET", b"key", b"x" * 70_000]))
                it.disk.write()
            start = 0 if source == "disk" else it.log.start
            request = b"PSYNC %b %d\r\n" % (it.history.id.encode(), start + 1)
            return await _cycles(server, lambda port: _fetch(port, request, 3000))

    _expect_none(main())
