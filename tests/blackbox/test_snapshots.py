"""Snapshots on disk: what comes back after a restart, and what moves from and to a real Redis."""

from __future__ import annotations

import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from tests.support import Process, StartServer, Wire
from tests.support.samples import SAMPLES, STREAM, commands
from tests.support.servers import OURS, free_port, redis_server
from tests.support.waiting import eventually

DATA = Path(__file__).parents[1] / "data"
KEYS = len(SAMPLES) + len({words[1] for words in STREAM if words[0] == "XADD"}) + 2
"""How many ``fill`` makes."""


def fill(wire: Wire) -> None:
    for words in chain(commands(), STREAM):
        wire.call(*words)
    wire.call("SET", "expires", "value", "PXAT", 4_000_000_000_000)
    wire.call("SELECT", 9)
    wire.call("SET", "other database", "value")
    wire.call("SELECT", 0)


def digest(server: Process) -> bytes:
    with server.wire() as wire:
        found = wire.call("DEBUG", "DIGEST")
        assert isinstance(found, bytes)
        return found


def again(server: Process) -> Process:
    """The same server, killed and started in the same folder."""
    server.kill()
    return Process(OURS, (), server.folder)


def refused(folder: Path, data: bytes, *arguments: str) -> str:
    """What the log says where the server does not start with this snapshot."""
    folder.mkdir(exist_ok=True)
    (folder / "dump.rdb").write_bytes(data)
    command = [*OURS, "--port", str(free_port()), "--dir", str(folder), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 1
    return ended.stdout


# From start to start


@pytest.mark.ours("the server is started again by hand")
def test_everything_comes_back(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        fill(wire)
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 0) == b"OK"
        wire.call("SET", "soon gone", "value", "PX", 1)
        assert wire.call("SAVE") == b"OK"
        wire.call("DEL", "soon gone")
        wire.call("HSET", "not saved", "field", "value")
        before = digest(server)
        wire.call("DEL", "not saved")
        after = digest(server)
        assert before != after
    second = again(server)
    try:
        assert digest(second) == after
        with second.wire() as wire:
            facts = wire.call("INFO", "persistence")
            assert b"rdb_changes_since_last_save:0\r\n" in facts
            assert b"rdb_last_load_keys_loaded:%d\r\n" % KEYS in facts
            assert b"rdb_last_load_keys_expired:1\r\n" in facts
            assert wire.call("PEXPIRETIME", "expires") == 4_000_000_000_000
        assert "DB loaded from disk" in second.log()
    finally:
        second.kill()


@pytest.mark.ours("the server is started again by hand")
@pytest.mark.parametrize(("policy", "ask"), [("allkeys-lru", "IDLETIME"), ("allkeys-lfu", "FREQ")])
def test_the_use_of_keys_comes_back(start_server: StartServer, policy: str, ask: str) -> None:
    # A count does not fade with the minute.
    settings = ("--maxmemory", "1gb", "--maxmemory-policy", policy, "--lfu-decay-time", "0")
    server = start_server(*settings)
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        payload = wire.call("DUMP", "key")
        wire.call("RESTORE", "used", 0, payload, ask, 200)
        assert wire.call("SAVE") == b"OK"
    server.kill()
    second = Process(OURS, settings, server.folder)
    try:
        with second.wire() as wire:
            assert 200 <= wire.call("OBJECT", ask, "used") <= 260
            assert wire.call("OBJECT", ask, "key") < 200
    finally:
        second.kill()


@pytest.mark.ours("Redis says it differently")
def test_a_shutdown_that_saves(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.command("SHUTDOWN", "SAVE")
        wire.expect_closed()
    assert server.process.wait(60) == 0
    second = Process(OURS, (), server.folder)
    try:
        with second.wire() as wire:
            eventually(lambda: wire.call("GET", "key") == b"value")
    finally:
        second.kill()


def test_reload(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        fill(wire)
        before = digest(server)
        assert wire.call("DEBUG", "RELOAD") == b"OK"
        assert digest(server) == before
        wire.call("SET", "new", "value")
        assert wire.call("DEBUG", "RELOAD", "NOSAVE") == b"OK"
        assert digest(server) == before
        wire.call("DEL", "string")
        assert wire.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE") == b"OK"
        assert digest(server) == before
        error = b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
        assert wire.call("DEBUG", "RELOAD", "NOW") == error


# Files that cannot be used


@pytest.mark.ours("Redis loads what its checksum does not cover")
def test_damaged_snapshots_are_refused(tmp_path: Path) -> None:
    good = (DATA / "redis-7.0-lfu.rdb").read_bytes()
    for place in (0, 7, 20, 100, len(good) - 4):
        damaged = good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :]
        log = refused(tmp_path, damaged)
        assert f"{tmp_path / 'dump.rdb'}: " in log
        assert "at offset" in log
    for end in (0, 5, 50, len(good) - 1):
        assert "at offset" in refused(tmp_path, good[:end])
    assert (tmp_path / "dump.rdb").read_bytes() == good[: len(good) - 1]


@pytest.mark.ours("Redis says it differently")
def test_too_many_databases(tmp_path: Path) -> None:
    data = b"REDIS0011\xfe\x09\0\1k\1v\xff" + bytes(8)
    assert "database 9" in refused(tmp_path, data, "--databases", "5")


@pytest.mark.ours("Redis says it differently")
def test_a_key_that_comes_twice(tmp_path: Path) -> None:
    data = b"REDIS0011" + b"\0\1k\1v" * 2 + b"\xff" + bytes(8)
    assert "comes twice in database 0" in refused(tmp_path, data)


# A real Redis


@pytest.mark.ours("its snapshots are loaded by ours")
@pytest.mark.parametrize("version", ["6.2", "7.0"])
def test_ours_loads_those_of_a_real_redis(
    start_server: StartServer, tmp_path: Path, version: str
) -> None:
    shutil.copy(DATA / f"redis-{version}.rdb", tmp_path / "dump.rdb")
    server = Process(OURS, (), tmp_path)
    try:
        with server.wire() as wire, start_server().wire() as other:
            for words in STREAM:
                other.call(*words)
            lines: list[tuple[str, ...]] = [("XPENDING", "stream", "group")]
            for key in ("stream", "stream:empty"):
                lines += [("XRANGE", key, "-", "+"), ("XLEN", key), ("DEBUG", "DIGEST-VALUE", key)]
                if version != "6.2":  # which does not count what was added
                    lines += [("XINFO", "STREAM", key), ("XINFO", "GROUPS", key)]
            for line in lines:
                assert wire.call(*line) == other.call(*line)
    finally:
        server.kill()


@pytest.mark.ours("the data of ours moves to a real one")
@pytest.mark.parametrize("compress", ["yes", "no"])
def test_a_real_redis_loads_ours(start_server: StartServer, tmp_path: Path, compress: str) -> None:
    real = redis_server()
    if real is None:
        pytest.skip("redis-server is not installed")
    server = start_server("--rdb-version", "10", "--rdbcompression", compress)
    with server.wire() as wire:
        fill(wire)
        # Its digests have another text for scores that are no integers.
        wire.call("DEL", "zset", "zset:large")
        wire.call("SAVE")
    folder = tmp_path / "real"
    folder.mkdir()
    shutil.copy(server.folder / "dump.rdb", folder)
    other = Process((real,), (), folder)
    try:
        assert digest(other) == digest(server)
        with other.wire() as wire:
            for sample in SAMPLES:
                if sample.encoding and sample.kind != 2 and not sample.key.startswith(b"zset"):
                    assert wire.call("OBJECT", "ENCODING", sample.key) == sample.encoding
            # And back.
            wire.call("SADD", "one more", "member")
            wire.call("SAVE")
            shutil.copy(folder / "dump.rdb", server.folder)
        with server.wire() as wire:
            assert wire.call("DEBUG", "RELOAD", "NOSAVE") == b"OK"
        assert digest(other) == digest(server)
    finally:
        other.kill()


@pytest.mark.ours("it is ours that is checked")
def test_the_checker_of_redis_finds_nothing(start_server: StartServer) -> None:
    checker = shutil.which("redis-check-rdb")
    if checker is None:
        pytest.skip("redis-check-rdb is not installed")
    for version in ("10", "11"):
        server = start_server("--rdb-version", version)
        with server.wire() as wire:
            fill(wire)
            wire.call("SAVE")
        path = server.folder / "dump.rdb"
        assert path.read_bytes()[:9] == b"REDIS00" + version.encode()
        if version == "10":
            checked = subprocess.run([checker, path], capture_output=True, text=True, check=False)
            assert "RDB looks OK" in checked.stdout
            assert f"{KEYS} keys read" in checked.stdout
