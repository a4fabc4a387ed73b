"""The engine creates no reference cycles: the daemon runs with Python's collector off."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
from distcache_server import serve
from distcache_server.daemon import new_event_loop

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


def test_commands_and_connections_leave_no_cycles() -> None:
    async def main() -> Counter[str]:
        async with serve(enable_debug_command="yes") as server:
            await _talk(server.port)
            gc.collect()
            gc.freeze()
            for _ in range(20):
                await _talk(server.port)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            return Counter(
                type(found).__name__
                for found in gc.garbage
                if type(found).__module__.startswith("distcache")
            )

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            found = runner.run(main())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    if found:
        pytest.fail(f"objects in cycles: {found}")
