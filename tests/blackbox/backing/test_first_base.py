"""The first base of a log: until it is complete a crash would lose everything, and so rows wait."""

from __future__ import annotations

import threading

import pytest

from tests.support import StartServer, eventually
from tests.support.databases import Database
from tests.support.replication import ask, info

pytestmark = pytest.mark.ours("the backing store")

FOR_EVER = "1000000000"
"""Microseconds for each key of a base."""


@pytest.fixture
def settings(database: Database) -> tuple[str, ...]:
    return ("--backing-store", database.address, "--backing-batch-delay", "0")


def keys(database: Database) -> set[bytes]:
    return {bytes(key) for (key,) in database.query("SELECT key FROM distcache_cache")}


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_rows_wait_for_the_first_base(
    database: Database, settings: tuple[str, ...], start_server: StartServer, policy: str
) -> None:
    server = start_server(*settings, "--appendfsync", policy, "--rdb-key-save-delay", FOR_EVER)
    with server.wire() as wire:
        assert wire.call("SET", "before", "x") == b"OK"
        assert wire.call("DISTCACHE", "WAIT", "backing", 0) == 1
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        eventually(lambda: "aof_flushed_offset" in info(server, "persistence"))
        assert wire.call("SET", "meanwhile", "x") == b"OK"
        assert wire.call("DISTCACHE", "WAIT", "backing", 700) == 0
        assert keys(database) == {b"before"}
        # Nobody waits for a base that will never be ...
        assert wire.call("CONFIG", "SET", "appendonly", "no") == b"OK"
        assert wire.call("DISTCACHE", "WAIT", "backing", 0) == 1
        assert keys(database) == {b"before", b"meanwhile"}
        # ... and who waits for one goes on when it is there.
        wire.call("CONFIG", "SET", "rdb-key-save-delay", 500_000)
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        eventually(lambda: "aof_flushed_offset" in info(server, "persistence"))
        assert wire.call("SET", "later", "x") == b"OK"
        assert wire.call("DISTCACHE", "WAIT", "backing", 0) == 1
        assert info(server, "persistence")["aof_rewrite_in_progress"] == "0"
        assert keys(database) == {b"before", b"meanwhile", b"later"}


def test_what_waits_for_the_first_base_is_written_when_the_server_stops(
    database: Database, settings: tuple[str, ...], start_server: StartServer
) -> None:
    server = start_server(*settings, "--rdb-key-save-delay", FOR_EVER)
    with server.wire() as wire:
        wire.call("SET", "before", "x")
        wire.call("CONFIG", "SET", "appendonly", "yes")
        eventually(lambda: "aof_flushed_offset" in info(server, "persistence"))
        assert wire.call("SET", "meanwhile", "x") == b"OK"
        wire.command("SHUTDOWN", "FORCE")
    assert server.process.wait(60) == 0
    assert keys(database) == {b"before", b"meanwhile"}


def test_rows_do_not_wait_for_a_flush_of_a_log_that_is_off(
    database: Database, settings: tuple[str, ...], start_server: StartServer
) -> None:
    server = start_server(*settings, "--appendonly", "yes", "--appendfsync", "always")
    done = threading.Event()

    def write() -> None:
        with server.wire() as wire:
            while not done.is_set():
                wire.call("SET", "key", "x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with server.wire() as wire:
            for _ in range(5):
                ask(server, "CONFIG", "SET", "appendonly", "no")
                wire.call("SET", "off", "x")
                assert wire.call("DISTCACHE", "WAIT", "backing", 50_000) == 1
                ask(server, "CONFIG", "SET", "appendonly", "yes")
                wire.call("SET", "on", "x")
                assert wire.call("DISTCACHE", "WAIT", "backing", 50_000) == 1
    finally:
        done.set()
        writer.join()
