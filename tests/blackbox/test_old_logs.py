"""The log read again by DEBUG LOADAOF, and the one file that Redis wrote before version 7."""

from __future__ import annotations

from pathlib import Path

import pytest
from distcache_replication.segment import encode

from tests.support import Process, StartServer, Wire
from tests.support.samples import commands
from tests.support.servers import OURS, redis_server
from tests.support.waiting import eventually

COMMANDS = (
    [b"SELECT", b"0"],
    [b"SET", b"key", b"value"],
    [b"SELECT", b"5"],
    [b"RPUSH", b"list", b"a", b"b"],
)
OLD = b"".join(encode(list(words)) for words in COMMANDS)


def put(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    (folder / "appendonly.aof").write_bytes(data)
    return folder


def loaded(server: Process) -> Wire:
    """A connection, once all is loaded."""
    wire = server.wire()
    eventually(lambda: wire.call("PING") == b"PONG")
    return wire


def preamble(start_server: StartServer) -> bytes:
    """A snapshot with one key."""
    server = start_server("--rdb-version", "10")
    with server.wire() as wire:
        wire.call("SET", "from the snapshot", "value")
        assert wire.call("SAVE") == b"OK"
    return (server.folder / "dump.rdb").read_bytes()


def test_the_log_is_read_again(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    with server.wire() as wire:
        for words in commands():
            wire.call(*words)
        wire.call("BGREWRITEAOF")
        eventually(lambda: b"aof_rewrites:1\r\n" in wire.call("INFO", "persistence"))
        wire.call("SET", "later", "value", "EX", 1000)
        wire.call("SELECT", 3)
        wire.call("SET", "other database", "value")
        digest = wire.call("DEBUG", "DIGEST")
        assert wire.call("DEBUG", "LOADAOF") == b"OK"
        assert wire.call("DEBUG", "DIGEST") == digest
        assert wire.call("SET", "new", "value") == b"OK"
        assert wire.call("DEBUG", "LOADAOF") == b"OK"
        assert wire.call("GET", "new") == b"value"
    server.kill()
    second = Process(OURS, ("--appendonly", "yes"), server.folder)
    try:
        with loaded(second) as wire:
            wire.call("SELECT", 3)
            assert wire.call("GET", "new") == b"value"
    finally:
        second.kill()


@pytest.mark.ours("Redis loads what there is, or nothing")
def test_without_a_log_nothing_is_read(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("DEBUG", "LOADAOF").startswith(b"ERR nothing is kept on disk")
        assert wire.call("GET", "key") == b"value"


@pytest.mark.ours("the folder is prepared by hand")
@pytest.mark.parametrize("with_preamble", [False, True])
@pytest.mark.parametrize("torn", [False, True])
def test_an_old_log_is_taken_over(
    start_server: StartServer, tmp_path: Path, with_preamble: bool, torn: bool
) -> None:
    data = (preamble(start_server) if with_preamble else b"") + OLD
    data += encode([b"SET", b"torn", b"value"])[:-5] if torn else b""
    folder = put(tmp_path / "old", data)
    server = Process(OURS, ("--appendonly", "yes", "--rdb-version", "10"), folder)
    try:
        with loaded(server) as wire:
            assert wire.call("GET", "key") == b"value"
            assert wire.call("EXISTS", "from the snapshot") == with_preamble
            wire.call("SELECT", 5)
            assert wire.call("LRANGE", "list", 0, -1) == [b"a", b"b"]
            wire.call("RPUSH", "list", "c")
        assert not (folder / "appendonly.aof").exists()
        server.kill()
        real = redis_server()
        for command in [OURS] if real is None else [OURS, [real]]:
            server = Process(command, ("--appendonly", "yes"), folder)
            with loaded(server) as wire:
                wire.call("SELECT", 5)
                assert wire.call("LRANGE", "list", 0, -1) == [b"a", b"b", b"c"]
            server.kill()
    finally:
        server.kill()


@pytest.mark.ours("the folder is prepared by hand")
def test_it_is_taken_over_from_where_that_was_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    put(folder / "appendonlydir", OLD)
    server = Process(OURS, ("--appendonly", "yes"), folder)
    try:
        with loaded(server) as wire:
            assert wire.call("GET", "key") == b"value"
    finally:
        server.kill()


@pytest.mark.ours("the folder is prepared by hand")
def test_beside_a_new_log_an_old_one_is_left_alone(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    server.stop()
    (server.folder / "appendonly.aof").write_bytes(OLD)
    second = Process(OURS, ("--appendonly", "yes"), server.folder)
    try:
        with loaded(second) as wire:
            assert wire.call("GET", "key") is None
        assert (server.folder / "appendonly.aof").read_bytes() == OLD
    finally:
        second.kill()
