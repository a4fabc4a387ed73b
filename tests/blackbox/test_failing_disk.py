"""A disk whose flushes fail: nothing is acknowledged that was not flushed, until a new base is."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from distcache_replication.files import Files
from distcache_server import serve
from distcache_server.daemon import Server
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

pytestmark = pytest.mark.ours("the failures are put into the process")


class Failing(Files):
    """The real files, some steps of which fail while ``failing`` names them."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.error = errno.EIO

    def _step(self, kind: str) -> None:
        if kind in self.failing:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, descriptor: int, data: bytes) -> int:
        self._step("write")
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        super().sync(descriptor)

    def rename(self, old: str, new: str) -> None:
        self._step("rename")
        super().rename(old, new)

    def create(self, path: str) -> int:
        self._step("create")
        return super().create(path)


@pytest.fixture
def files() -> Failing:
    return Failing()


@pytest.fixture(params=["always", "everysec"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, files: Failing
) -> AsyncIterator[Server]:
    settings = {"appendonly": "yes", "appendfsync": request.param, "save": '""'}
    async with serve(dir=str(tmp_path), **settings) as server:
        it = server.persistence
        it.files = it.directory.files = files
        assert it.disk is not None
        it.disk.files = files
        yield server


async def until(condition: str, server: Server) -> None:
    """Wait until INFO has this line."""
    async with redis.asyncio.Redis(port=server.port) as client:
        name, value = condition.split(":")
        for _ in range(2000):
            if str((await client.info("persistence"))[name]) == value:
                return
            await asyncio.sleep(0.01)
    raise AssertionError(f"never {condition}")


async def stand_still(server: Server) -> None:
    """Wait until all is flushed, and have nothing done on the disk but for clients."""
    assert server.persistence.disk is not None
    while server.persistence.disk.flushed != server.persistence.log.end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    server.engine.ticking = False


async def test_flushes_that_fail_and_work_again(
    server: Server, files: Failing, tmp_path: Path
) -> None:
    always = server.config.appendfsync == "always"
    # A client that tries again would get the answer to another attempt.
    async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        await client.set("a", 1)
        await stand_still(server)
        files.failing = {"sync"}
        if always:
            with pytest.raises(redis.ConnectionError):
                await client.set("b", 1)
        else:
            await client.set("b", 1)
        server.engine.ticking = True
        await until("aof_last_write_status:err", server)
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            await client.set("c", 1)
        assert await client.mget("a", "c") == [b"1", None]
        # What is tried meanwhile fails too, and changes nothing of that.
        await until("aof_last_bgrewrite_status:err", server)
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            await client.set("c", 1)
        files.failing = set()
        await until("aof_last_write_status:ok", server)
        await client.set("d", 1)
    await server.stop()
    async with (
        serve(dir=str(tmp_path), appendonly="yes") as again,
        redis.asyncio.Redis(port=again.port) as client,
    ):
        assert await client.mget("a", "b", "c", "d") == [b"1", b"1", None, b"1"]


@pytest.mark.parametrize("kind", ["create", "rename"])
async def test_a_rewrite_that_fails_changes_nothing(
    server: Server, files: Failing, tmp_path: Path, kind: str
) -> None:
    async with redis.asyncio.Redis(port=server.port) as client:
        await client.set("a", 1)
        files.failing = {kind}
        await client.bgrewriteaof()
        await until("aof_last_bgrewrite_status:err", server)
        await client.set("b", 1)
        files.failing = set()
        await client.bgrewriteaof()
        await until("aof_rewrites:1", server)
        await client.set("c", 1)
    await server.stop()
    assert not [name for name in os.listdir(tmp_path / "appendonlydir") if "temp" in name]
    async with (
        serve(dir=str(tmp_path), appendonly="yes") as again,
        redis.asyncio.Redis(port=again.port) as client,
    ):
        assert await client.mget("a", "b", "c") == [b"1", b"1", b"1"]


async def test_a_full_disk_takes_what_is_superfluous(
    server: Server, files: Failing, tmp_path: Path
) -> None:
    async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        await client.set("a", 1)
        await client.bgrewriteaof()
        await until("aof_rewrites:1", server)
        assert (await client.info("replication"))["repl_disk_retained"] > 0
        names = {path.name for path in (tmp_path / "appendonlydir").iterdir()}
        await stand_still(server)
        files.failing, files.error = {"write"}, errno.ENOSPC
        with pytest.raises(redis.ConnectionError):
            await client.set("b", 1)
        server.engine.ticking = True
        assert (await client.info("replication"))["repl_disk_retained"] == 0
        for _ in range(2000):
            left = {path.name for path in (tmp_path / "appendonlydir").iterdir()}
            if names - left == {"appendonly.aof.1.incr.aof"}:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError(left)
        files.failing = set()
        await until("aof_last_write_status:ok", server)
        await client.set("c", 1)
