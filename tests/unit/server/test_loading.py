"""Loading a snapshot at the start, while clients are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from distcache_replication import rdb
from distcache_server import CannotLoad, Config, Server, serve
from distcache_server.snapshot_file import Progress, SnapshotFile

from tests.support import Error, Wire, free_port
from tests.support.direct import Direct

REFUSED = b"-LOADING Redis is loading the dataset in memory\r\n"


def snapshot_of(folder: Path, keys: int) -> None:
    pieces = [rdb.header(11, {}), rdb.select(0, keys, 0)]
    pieces += [rdb.plain_entry(b"key:%d" % number, b"x" * 500, False) for number in range(keys)]
    (folder / "dump.rdb").write_bytes(b"".join(rdb.sealed(pieces)))


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def __call__(self, line: str) -> bytes:
        self.writer.write(line.encode() + b"\r\n")
        reply = await self.reader.readline()
        if reply.startswith(b"$") and reply != b"$-1\r\n":
            reply = await self.reader.readexactly(int(reply[1:]) + 2)
        return reply


async def slowly_starting(
    folder: Path, patch: pytest.MonkeyPatch
) -> tuple[Server, asyncio.Task[Server], Talk, asyncio.Event]:
    """A server that has loaded a part, and goes on to do so until the event."""
    config = Config()
    step = ("--loading-process-events-interval-bytes", "1024")
    config.load_arguments(["--dir", str(folder), "--bind", "127.0.0.1", "--port", "0", *step])
    server = Server(config, any_port=True)
    load, go_on = server.engine.snapshot.load, asyncio.Event()

    def held(**options: bool) -> Iterator[Progress]:
        for progress in load(**options):
            yield progress
            while progress.loaded_bytes and not go_on.is_set():
                yield progress

    patch.setattr(server.engine.snapshot, "load", held)
    starting = asyncio.create_task(server.__aenter__())
    while not server.port:  # noqa: ASYNC110 -- one turn of the loop, no time
        await asyncio.sleep(0)
    talk = Talk(*await asyncio.open_connection("127.0.0.1", server.port))
    return server, starting, talk, go_on


async def test_clients_are_told_while_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_of(tmp_path, 4000)
    server, starting, talk, go_on = await slowly_starting(tmp_path, monkeypatch)
    assert await talk("GET key:0") == REFUSED
    assert await talk("PING") == REFUSED
    assert await talk("MULTI") == b"+OK\r\n"
    assert await talk("SET key value") == REFUSED
    assert (await talk("EXEC")).startswith(b"-EXECABORT")
    facts = await talk("INFO persistence")
    assert b"loading:1\r\n" in facts
    assert b"loading_total_bytes:%d\r\n" % (tmp_path / "dump.rdb").stat().st_size in facts
    assert not starting.done()
    go_on.set()
    await starting
    assert await talk("GET key:3999") == b"x" * 500 + b"\r\n"
    facts = await talk("INFO persistence")
    assert b"loading:0\r\n" in facts
    assert b"loading_total_bytes" not in facts
    await server.stop()


@pytest.mark.parametrize("keys", [10, 4000])
async def test_nobody_sees_an_empty_server_first(tmp_path: Path, keys: int) -> None:
    snapshot_of(tmp_path, keys)
    config = Config()
    places = ("--port", "0", "--unixsocket", "socket", "--metrics-port", str(free_port()))
    config.load_arguments(["--dir", str(tmp_path), "--bind", "127.0.0.1", *places])
    server = Server(config, any_port=True)
    starting = asyncio.create_task(server.__aenter__())
    while not server.port:  # noqa: ASYNC110 -- one turn of the loop, no time
        await asyncio.sleep(0)
    with Wire(("127.0.0.1", server.port)) as tcp, Wire(str(tmp_path / "socket")) as unix:
        for wire in (tcp, unix):
            wire.command("GET", "key:0")
        await starting
        for wire in (tcp, unix):
            reply = await asyncio.to_thread(wire.reply)
            assert reply in (b"x" * 500, Error(REFUSED[1:-2]))
    await server.stop()


async def test_a_shutdown_while_it_loads_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_of(tmp_path, 4000)
    before = (tmp_path / "dump.rdb").read_bytes()
    server, starting, talk, _ = await slowly_starting(tmp_path, monkeypatch)
    talk.writer.write(b"SHUTDOWN SAVE\r\n")
    await starting
    assert server.stopped.is_set()
    assert len(server.engine.databases[0]) < 4000
    await server.stop()
    assert (tmp_path / "dump.rdb").read_bytes() == before


async def test_a_snapshot_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0011\xfe")
    with pytest.raises(CannotLoad, match=r"dump\.rdb: .*at offset 9"):
        async with serve(dir=str(tmp_path)):
            pass


async def test_embedded_servers_load_what_they_are_told_to(tmp_path: Path) -> None:
    snapshot_of(tmp_path, 10)
    async with serve(dir=str(tmp_path)) as server:
        assert len(server.engine.databases[0]) == 10
    async with serve(dir=str(tmp_path), dbfilename="other.rdb") as server:
        assert len(server.engine.databases[0]) == 0


def test_progress(tmp_path: Path) -> None:
    snapshot_of(tmp_path, 1000)
    direct = Direct("--dir", str(tmp_path))
    file: SnapshotFile = direct.engine.snapshot
    seen = [progress.percent for progress in file.load()]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 100)
    assert file.loaded_keys == 1000
    assert direct("GET", "key:7").endswith(b"x" * 500 + b"\r\n")
