"""The log read again by DEBUG LOADAOF, the one file that Redis wrote before version 7, and what
another run has left where a log begins."""

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


@pytest.mark.ours("Redis exits")
def test_without_a_log_nothing_is_read(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("DEBUG", "LOADAOF").startswith(b"ERR nothing is kept on disk")
        assert wire.call("GET", "key") == b"value"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_log_that_is_not_written_any_more_is_read(
    start_server: StartServer, restarted: bool
) -> None:
    server = start_server("--appendonly", "yes")
    with server.wire() as wire:
        wire.call("SET", "in the log", "value")
        assert wire.call("CONFIG", "SET", "appendonly", "no") == b"OK"
    if restarted:
        server.stop()
        server = Process(
            OURS, ("--appendonly", "no", "--enable-debug-command", "yes"), server.folder
        )
    try:
        with loaded(server) as wire:
            wire.call("SET", "later", "value")
            assert wire.call("DEBUG", "LOADAOF") == b"OK"
            assert wire.call("KEYS", "*") == [b"in the log"]
    finally:
        server.kill()


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


MANIFEST = b"file appendonly.aof seq 1 type b\n"


def stopped(folder: Path, moment: str) -> None:
    """What an upgrade that was stopped at some moment has left: ours, or that of Redis 7."""
    put(folder, OLD)
    inside = folder / "appendonlydir"
    inside.mkdir()
    if moment == "our manifest is missing" or moment == "the file was moved":
        (folder / "appendonly.aof").rename(inside / "appendonly.aof")
    if moment == "the manifest is half written":
        (inside / "temp-appendonly.aof.manifest").write_bytes(MANIFEST[:10])
    if moment == "the file was not moved" or moment == "the file was moved":
        (inside / "appendonly.aof.manifest").write_bytes(MANIFEST)


@pytest.mark.ours("the folder is prepared by hand")
@pytest.mark.parametrize(
    "moment",
    [
        "the folder was made",
        "our manifest is missing",
        "the manifest is half written",
        "the file was not moved",
        "the file was moved",
    ],
)
def test_it_is_taken_over_from_where_that_was_stopped(tmp_path: Path, moment: str) -> None:
    stopped(tmp_path / "old", moment)
    stopped(tmp_path / "copy", moment)
    real = redis_server()
    places: list[tuple[tuple[str, ...], str, str]] = [(OURS, "old", "value"), (OURS, "old", "new")]
    if real is not None and moment != "our manifest is missing":
        # As Redis does it, and with what we have made of it.
        places += [((real,), "copy", "value"), ((real,), "old", "new")]
    for command, name, value in places:
        server = Process(command, ("--appendonly", "yes"), tmp_path / name)
        try:
            with loaded(server) as wire:
                assert wire.call("GET", "key") == value.encode()
                assert wire.call("SET", "key", "new") == b"OK"
        finally:
            server.stop()


@pytest.mark.ours("the folder is prepared by hand")
def test_a_file_that_is_missing_is_not_made_up(tmp_path: Path) -> None:
    stopped(tmp_path / "old", "the file was not moved")
    (tmp_path / "old" / "appendonly.aof").unlink()
    with pytest.raises(AssertionError, match="it is missing"):
        Process(OURS, ("--appendonly", "yes"), tmp_path / "old")


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


def rewritten(wire: Wire) -> None:
    """Wait until the log has a base."""

    def done() -> bool:
        facts = wire.call("INFO", "persistence")
        return b"aof_rewrite_in_progress:0\r\n" in facts and b"aof_enabled:1\r\n" in facts

    eventually(done)


def test_what_was_left_goes_when_a_log_begins(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes", "--repl-disk-retention", "0")
    with server.wire() as wire:
        wire.call("SET", "old", "value")
        wire.call("BGREWRITEAOF")
        rewritten(wire)
    server.stop()
    second = Process(OURS, ("--appendonly", "no"), server.folder)
    try:
        with loaded(second) as wire:
            wire.call("SET", "new", "value")
            assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
            rewritten(wire)
            folder = server.folder / "appendonlydir"
            named = (folder / "appendonly.aof.manifest").read_text()
            files = {it.name for it in folder.iterdir()} - {"appendonly.aof.manifest"}
            assert len(files) == 2
            assert all(f'file "{name}"' in named for name in files), (files, named)
    finally:
        second.kill()
    third = Process(OURS, ("--appendonly", "yes"), server.folder)
    try:
        with loaded(third) as wire:
            assert wire.call("KEYS", "*") == [b"new"]
    finally:
        third.kill()


def test_a_damaged_log_is_given_up_when_another_begins(
    start_server: StartServer, tmp_path: Path
) -> None:
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    server = start_server("--enable-protected-configs", "yes")
    with server.wire() as wire:
        wire.call("SET", "new", "value")
        assert wire.call("CONFIG", "SET", "dir", str(tmp_path), "appendonly", "yes") == b"OK"
        rewritten(wire)
    assert "An old log is in the way" in server.log()
    assert "type b" in (folder / "appendonly.aof.manifest").read_text()


def test_a_log_begins_where_dir_says(start_server: StartServer, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    server = start_server("--enable-protected-configs", "yes")
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("CONFIG", "SET", "dir", str(one)) == b"OK"
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        rewritten(wire)
        # It is not moved while it is written.
        assert wire.call("CONFIG", "SET", "dir", str(other)) == b"OK"
        assert "The log stays where it is" in server.log()
        wire.call("SET", "later", "value")
        digest = wire.call("DEBUG", "DIGEST")
        assert wire.call("DEBUG", "LOADAOF") == b"OK"
        assert wire.call("DEBUG", "DIGEST") == digest
        server.kill()
    second = Process(OURS, ("--appendonly", "yes"), one)
    try:
        with loaded(second) as wire:
            assert sorted(wire.call("KEYS", "*")) == [b"key", b"later"]
    finally:
        second.kill()
    assert list(other.iterdir()) == []


def test_no_log_begins_where_no_file_can_be_made(start_server: StartServer, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    server = start_server("--enable-protected-configs", "yes")
    with server.wire() as wire:
        assert wire.call("CONFIG", "SET", "dir", str(gone)) == b"OK"
        gone.rmdir()
        refused = wire.call("CONFIG", "SET", "appendonly", "yes")
        assert refused.endswith(b"Unable to turn on AOF. Check server logs."), refused
        assert wire.call("BGREWRITEAOF").startswith(b"ERR Can't execute an AOF background")
        assert wire.call("CONFIG", "SET", "dir", "").endswith(b"No such file or directory")
        assert wire.call("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]
        assert b"aof_enabled:0\r\n" in wire.call("INFO", "persistence")
        gone.mkdir()
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        rewritten(wire)


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_too_few_databases(start_server: StartServer, appendonly: str) -> None:
    server = start_server("--appendonly", appendonly)
    with server.wire() as wire:
        wire.call("SELECT", 12)
        wire.call("SET", "key", "value")
        assert wire.call("SAVE") == b"OK"
    server.stop()
    with pytest.raises(AssertionError, match="set databases to"):
        Process(OURS, ("--appendonly", appendonly, "--databases", "4"), server.folder)


@pytest.mark.ours("Redis starts with nothing")
@pytest.mark.parametrize("saved", [False, True])
def test_a_crash_before_the_first_base_is_complete(start_server: StartServer, saved: bool) -> None:
    server = start_server("--rdb-key-save-delay", "1000000000", "--save", "")
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        if saved:
            assert wire.call("CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
            assert wire.call("SAVE") == b"OK"
            assert wire.call("CONFIG", "SET", "rdb-key-save-delay", 1_000_000_000) == b"OK"
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        eventually(lambda: b"aof_flushed_offset" in wire.call("INFO", "persistence"))
        wire.call("SET", "meanwhile", "value")
    server.kill()
    inside = server.folder / "appendonlydir"
    assert (inside / "appendonly.aof.1.incr.aof").stat().st_size
    for keys in (saved, saved + 1, saved + 2):
        second = Process(OURS, ("--appendonly", "yes", "--save", ""), server.folder)
        try:
            with loaded(second) as wire:
                assert wire.call("DBSIZE") == keys
                wire.call("SET", keys, "value")
                eventually(lambda: b"aof_rewrite_in_progress:0" in wire.call("INFO", "persistence"))
        finally:
            second.kill()
    assert not list(inside.glob("temp-*"))
    assert (inside / "appendonly.aof.manifest").exists()


@pytest.mark.ours("the folder is prepared by hand")
def test_a_log_that_lost_its_manifest_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    """Also where another was begun in its place."""
    folder = tmp_path / "lost"
    server = Process(OURS, ("--appendonly", "yes"), folder)
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        wire.call("BGREWRITEAOF")
        eventually(lambda: b"aof_rewrites:1\r\n" in wire.call("INFO", "persistence"))
    server.kill()
    (folder / "appendonlydir" / "appendonly.aof.manifest").unlink()
    server = Process(OURS, ("--rdb-key-save-delay", "1000000000"), folder)
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        eventually(lambda: b"aof_flushed_offset" in wire.call("INFO", "persistence"))
    server.kill()
    with pytest.raises(AssertionError, match="the manifest is missing"):
        Process(OURS, ("--appendonly", "yes"), folder)


@pytest.mark.ours("the segments are ours")
def test_bases_that_are_kept_make_no_hole_in_the_log(start_server: StartServer) -> None:
    """After one that was made while nothing was logged, increments are counted from one again."""
    server = start_server("--appendonly", "yes", "--changefeed-retention", "100mb")
    with server.wire() as wire:

        def rewrite(number: int) -> None:
            wire.call("BGREWRITEAOF")
            eventually(lambda: b"aof_rewrites:%d\r\n" % number in wire.call("INFO", "persistence"))

        for number in (1, 2, 3):
            rewrite(number)
        assert wire.call("CONFIG", "SET", "appendonly", "no") == b"OK"
        rewrite(4)
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        eventually(lambda: b"aof_rewrites:5\r\n" in wire.call("INFO", "persistence"))
        wire.call("SET", "key", "value")
    server.kill()
    for _ in range(2):
        server = Process(OURS, ("--appendonly", "yes"), server.folder)
        with loaded(server) as wire:
            assert wire.call("GET", "key") == b"value"
            wire.call("APPEND", "other", "value")
        server.kill()
