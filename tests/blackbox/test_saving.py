"""Snapshots that are saved in the background, by save points, and when the server stops."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import Process, StartServer, Wire
from tests.support.replication import SETTINGS
from tests.support.resp import encode
from tests.support.samples import commands
from tests.support.servers import OURS, redis_server
from tests.support.waiting import eventually

SLOW = ("CONFIG", "SET", "rdb-key-save-delay", 1_000_000_000)
"""What is begun then ends when it is stopped, or when this is changed."""
PROTECTED = ("--enable-protected-configs", "yes")


def fact(wire: Wire, name: str, section: str = "persistence") -> str:
    info = wire.call("INFO", section)
    assert isinstance(info, bytes)
    return dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)[name]


def is_saved(wire: Wire) -> bool:
    return fact(wire, "rdb_bgsave_in_progress") == "0"


def again(server: Process, *settings: str) -> Process:
    """The same server, killed and started in the same folder."""
    server.kill()
    return Process(OURS, settings, server.folder)


def value_after_restart(server: Process, key: str) -> Any:
    second = again(server)
    try:
        with second.wire() as wire:
            eventually(lambda: wire.call("PING") == b"PONG")
            return wire.call("GET", key)
    finally:
        second.kill()


def test_a_save_in_the_background(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        for words in commands():
            wire.call(*words)
        digest = wire.call("DEBUG", "DIGEST")
        before = int(wire.call("LASTSAVE"))
        assert wire.call("BGSAVE") == b"Background saving started"
        eventually(lambda: is_saved(wire))
        assert fact(wire, "rdb_last_bgsave_status") == "ok"
        assert fact(wire, "rdb_changes_since_last_save") == "0"
        assert fact(wire, "rdb_saves") == "1"
        assert int(fact(wire, "rdb_last_bgsave_time_sec")) >= 0
        assert int(wire.call("LASTSAVE")) >= before
        assert wire.call("FLUSHALL") == b"OK"
        assert wire.call("DEBUG", "RELOAD", "NOSAVE") == b"OK"
        assert wire.call("DEBUG", "DIGEST") == digest


def test_what_happens_meanwhile(start_server: StartServer) -> None:
    server = start_server()
    busy = b"ERR Background save already in progress"
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.call(*SLOW)
        assert wire.call("BGSAVE") == b"Background saving started"
        assert wire.call("BGSAVE") == busy
        assert wire.call("BGSAVE", "SCHEDULE") == busy
        assert wire.call("SAVE") == busy
        assert fact(wire, "rdb_bgsave_in_progress") == "1"
        assert fact(wire, "rdb_current_bgsave_time_sec") != "-1"
        scheduled = b"Background append only file rewriting scheduled"
        assert wire.call("BGREWRITEAOF") == scheduled
        assert wire.call("BGREWRITEAOF") == scheduled
        assert fact(wire, "aof_rewrite_scheduled") == "1"
        assert wire.call("DEBUG", "RELOAD") == b"OK"
        wire.call("FLUSHALL")
        eventually(lambda: is_saved(wire))
        assert fact(wire, "rdb_last_bgsave_status") == "ok"
        assert fact(wire, "rdb_saves") == "1"
        eventually(lambda: fact(wire, "aof_rewrite_scheduled") == "0")
        assert not list(server.folder.glob("temp*"))


def test_a_rewrite_comes_first(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    refused = (
        b"ERR Another child process is active (AOF?): can't BGSAVE right now."
        b" Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible."
    )
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.call(*SLOW)
        wire.call("BGREWRITEAOF")
        assert wire.call("BGSAVE") == refused
        assert wire.call("BGSAVE", "SCHEDULE") == b"Background saving scheduled"
        wire.call("CONFIG", "SET", "rdb-key-save-delay", 0, "appendonly", "no")
        eventually(lambda: fact(wire, "rdb_saves") == "1" and is_saved(wire))


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_rewrite_shows_at_once(start_server: StartServer, appendonly: str) -> None:
    with start_server("--appendonly", appendonly).wire() as wire:
        wire.send(encode("BGREWRITEAOF") + encode("INFO", "persistence"))
        assert wire.reply() == b"Background append only file rewriting started"
        reply = wire.reply()
        assert isinstance(reply, bytes)
        assert b"aof_rewrite_in_progress:1\r\naof_rewrite_scheduled:0\r\n" in reply
        assert b"aof_current_rewrite_time_sec:0\r\n" in reply
        eventually(lambda: fact(wire, "aof_rewrite_in_progress") == "0")


def test_a_rewrite_that_is_stopped_has_not_failed(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.call(*SLOW)
        wire.call("BGREWRITEAOF")
        wire.send(encode("CONFIG", "SET", "appendonly", "no") + encode("INFO", "persistence"))
        assert wire.reply() == b"OK"
        reply = wire.reply()
        assert isinstance(reply, bytes)
        assert b"aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n" in reply
        assert b"aof_current_rewrite_time_sec:-1\r\n" in reply
        wire.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        eventually(lambda: "rewriting stopped" in server.log())
        assert fact(wire, "aof_last_bgrewrite_status") == "ok"
        assert fact(wire, "aof_rewrites_consecutive_failures") == "0"


def test_in_a_transaction_it_is_scheduled(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        wire.call("MULTI")
        wire.call("BGSAVE")
        wire.call("BGREWRITEAOF")
        wire.call("INFO", "persistence")
        saving, rewriting, info = wire.call("EXEC")
        assert saving == b"Background saving scheduled"
        assert rewriting == b"Background append only file rewriting scheduled"
        assert b"aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:1\r\n" in info
        eventually(lambda: fact(wire, "aof_rewrites") == "1")
        eventually(lambda: fact(wire, "rdb_saves") == "1" and is_saved(wire))
        assert wire.call("BGSAVE", "NOW") == b"ERR syntax error"


def test_the_file_is_the_state_at_its_beginning(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        wire.call("SADD", "set", *range(1000), "word")
        wire.call("SET", "key", "before")
        wire.call(*SLOW)
        wire.call("BGSAVE")
        wire.call("SET", "key", "after")
        wire.call("SET", "new", "after")
        wire.call("SADD", "set", "more")
        assert fact(wire, "rdb_bgsave_in_progress") == "1"
        wire.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        eventually(lambda: is_saved(wire))
        assert fact(wire, "rdb_changes_since_last_save") == "3"
        wire.call("DEBUG", "RELOAD", "NOSAVE")
        assert wire.call("MGET", "key", "new") == [b"before", None]
        assert wire.call("SCARD", "set") == 1001


def test_save_points(start_server: StartServer) -> None:
    server = start_server("--save", "1", "3")
    with server.wire() as wire:
        wire.call("MSET", "a", 1, "b", 2)
        assert fact(wire, "rdb_saves") == "0"
        wire.call("SET", "c", 3)
        eventually(lambda: fact(wire, "rdb_saves") == "1" and is_saved(wire))
    assert value_after_restart(server, "c") == b"3"


def test_a_failure_stops_writes(start_server: StartServer) -> None:
    server = start_server(*PROTECTED, "--save", "3600", "1")
    (server.folder / "folder.rdb").mkdir()
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.call("CONFIG", "SET", "dbfilename", "folder.rdb")
        assert wire.call("BGSAVE") == b"Background saving started"
        eventually(lambda: fact(wire, "rdb_last_bgsave_status") == "err")
        error = wire.call("SET", "key", "value")
        assert isinstance(error, bytes)
        assert error.startswith(b"MISCONF Redis is configured to save RDB snapshots, but it's")
        assert wire.call("PING") == error
        wire.call("REPLICAOF", "127.0.0.1", 1)
        assert wire.call("SET", "key", "value") == error
        wire.call("REPLICAOF", "NO", "ONE")
        assert wire.call("GET", "key") == b"value"
        wire.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        assert wire.call("SET", "key", "other") == b"OK"
        wire.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        assert wire.call("SHUTDOWN") == b"ERR Errors trying to SHUTDOWN. Check logs."
        assert wire.call("PING") == error
        wire.call("CONFIG", "SET", "dbfilename", "good.rdb")
        assert wire.call("SAVE") == b"OK"
        assert wire.call("SET", "key", "value") == b"OK"
        assert not list(server.folder.glob("temp*"))


# The end


@pytest.mark.parametrize(
    ("points", "words", "kept"),
    [
        ("3600 1", (), True),
        ("3600 1", ("NOSAVE",), False),
        ("", (), False),
        ("", ("SAVE",), True),
        ("3600 1", ("NOW", "FORCE"), True),
    ],
)
def test_shutdown_saves(
    start_server: StartServer, points: str, words: tuple[str, ...], kept: bool
) -> None:
    server = start_server("--save", points)
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.command("SHUTDOWN", *words)
        wire.expect_closed()
    assert server.process.wait(60) == 0
    assert (server.folder / "dump.rdb").exists() == kept


@pytest.mark.parametrize(
    ("points", "flags", "kept"),
    [("3600 1", "default", True), ("3600 1", "nosave", False), ("", "save", True)],
)
def test_a_signal_saves(start_server: StartServer, points: str, flags: str, kept: bool) -> None:
    server = start_server("--save", points, "--shutdown-on-sigterm", flags)
    with server.wire() as wire:
        wire.call("SET", "key", "value")
    assert server.stop(signal.SIGTERM) == 0
    assert (server.folder / "dump.rdb").exists() == kept


def test_a_signal_that_cannot_save(start_server: StartServer) -> None:
    server = start_server("--save", "3600", "1", "--dbfilename", "folder.rdb")
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        (server.folder / "folder.rdb").mkdir()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "rror" in server.log())
        assert wire.call("GET", "key") == b"value"
        (server.folder / "folder.rdb").rmdir()
        wire.command("SHUTDOWN")
        wire.expect_closed()
    assert server.process.wait(60) == 0


def test_shutdown_ends_a_save(start_server: StartServer) -> None:
    server = start_server("--save", "3600", "1")
    with server.wire() as wire:
        wire.call("SET", "key", "before")
        wire.call(*SLOW)
        wire.call("BGSAVE")
        wire.call("SET", "key", "after")
        wire.command("SHUTDOWN")
        wire.expect_closed()
    assert server.process.wait(60) == 0
    assert value_after_restart(server, "key") == b"after"


def test_a_flush_is_saved(start_server: StartServer) -> None:
    server = start_server("--save", "3600", "1")
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("SAVE") == b"OK"
        wire.call("FLUSHALL")
        assert fact(wire, "rdb_changes_since_last_save") == "0"
    assert value_after_restart(server, "key") is None


# The place in the history of the log


@pytest.mark.ours("the servers are started again by hand")
def test_a_replica_goes_on_from_the_beginning_of_the_history(tmp_path: Path) -> None:
    """It was stopped before its primary had a log."""
    points = ("--save", "3600", "1")
    primary = Process(OURS, (*SETTINGS, *points), tmp_path / "primary")
    follow = ("--replicaof", f"127.0.0.1 {primary.port}", *points)
    replica = Process(OURS, follow, tmp_path / "replica")
    try:
        with primary.wire() as one:
            for count in ("0", "1"):
                with replica.wire() as other:
                    eventually(lambda: fact(other, "master_link_status", "replication") == "up")
                    assert fact(other, "master_repl_offset", "replication") == "0"
                assert fact(one, "sync_full", "stats") == "1"
                assert fact(one, "sync_partial_ok", "stats") == count
                if count == "0":
                    replica.stop()
                    replica = Process(OURS, follow, tmp_path / "replica")
    finally:
        replica.stop()
        primary.stop()


@pytest.mark.ours("the servers are started again by hand")
@pytest.mark.parametrize("replica_is", ["ours", "redis"])
@pytest.mark.parametrize("primary_is", ["ours", "redis"])
def test_a_restart_goes_on_with_a_partial_resync(
    tmp_path: Path, primary_is: str, replica_is: str
) -> None:
    """Primary, then replica are stopped and started again: each goes on where it was."""
    real = redis_server()
    if real is None:
        pytest.skip("there is no redis-server")
    which = {"ours": OURS, "redis": [real]}
    points = ("--save", "3600", "1")
    version = ("--rdb-version", "10", "--repl-diskless-sync-delay", "0")

    def start(who: str, folder: str, *settings: str) -> Process:
        ours = version if who == "ours" else version[2:]
        return Process(which[who], (*points, *ours, *settings), tmp_path / folder)

    primary = start(primary_is, "primary")
    port = ("--port", str(primary.port))
    follow = ("--replicaof", f"127.0.0.1 {primary.port}")
    replica = start(replica_is, "replica", *follow)
    try:
        with primary.wire() as one, replica.wire() as other:
            eventually(lambda: fact(other, "master_link_status", "replication") == "up")
            one.call("SELECT", 3)
            one.call("SET", "key", "1")
            eventually(lambda: b"db3" in other.call("INFO", "keyspace"))
        replica.stop()
        replica = start(replica_is, "replica", *follow)
        with primary.wire() as one, replica.wire() as other:
            eventually(lambda: fact(other, "master_link_status", "replication") == "up")
            assert fact(one, "sync_partial_ok", "stats") == "1"
            one.call("SELECT", 3)
            one.call("SET", "key", "2")
            other.call("SELECT", 3)
            eventually(lambda: other.call("GET", "key") == b"2")
        primary.stop()
        primary = start(primary_is, "primary", *port)
        with primary.wire() as one, replica.wire() as other:
            # It may not have noticed yet that the one before is gone.
            eventually(lambda: fact(one, "sync_partial_ok", "stats") == "1")
            eventually(lambda: fact(other, "master_link_status", "replication") == "up")
            assert fact(one, "sync_full", "stats") == "0"
            one.call("SELECT", 3)
            one.call("SET", "key", "3")
            other.call("SELECT", 3)
            eventually(lambda: other.call("GET", "key") == b"3")
    finally:
        replica.kill()
        primary.kill()
