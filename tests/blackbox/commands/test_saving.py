"""SAVE and LASTSAVE, and where they write."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Server, StartServer


def folder_of(server: Server) -> Path:
    with server.wire() as wire:
        return Path(os.fsdecode(wire.call("CONFIG", "GET", "dir")[1]))


def test_save_writes_a_file(ask: Ask, server: Server) -> None:
    path = folder_of(server) / "dump.rdb"
    path.unlink(missing_ok=True)
    ask("SET", "key", "value")
    assert ask("SAVE") == b"OK"
    assert path.read_bytes().startswith(b"REDIS00")
    assert not list(path.parent.glob("temp-*"))
    before = path.read_bytes()
    ask("SET", "key", "other")
    assert ask("SAVE") == b"OK"
    assert path.read_bytes() != before
    path.unlink()


@pytest.mark.ours("Redis leaves that to the umask")
def test_nobody_else_can_read_it(ask: Ask, server: Server) -> None:
    path = folder_of(server) / "dump.rdb"
    path.unlink(missing_ok=True)
    aim = path.parent / "somewhere else"
    aim.write_bytes(b"untouched")
    path.symlink_to(aim)
    assert ask("SAVE") == b"OK"
    assert aim.read_bytes() == b"untouched"
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    path.unlink()


def test_lastsave(ask: Ask, server: Server) -> None:
    assert 0 < ask("LASTSAVE") <= time.time() + 1
    started = int(time.time())
    assert ask("SAVE") == b"OK"
    assert ask("LASTSAVE") >= started
    (folder_of(server) / "dump.rdb").unlink()


def test_save_is_counted(ask: Ask, server: Server) -> None:
    ask("SET", "key", "value")

    def facts() -> dict[bytes, bytes]:
        lines = ask("INFO", "persistence").split(b"\r\n")
        return dict(line.split(b":", 1) for line in lines if b":" in line)

    saves = int(facts()[b"rdb_saves"])
    assert int(facts()[b"rdb_changes_since_last_save"]) > 0
    ask("SAVE")
    assert int(facts()[b"rdb_saves"]) == saves + 1
    assert facts()[b"rdb_changes_since_last_save"] == b"0"
    assert facts()[b"rdb_last_bgsave_status"] == b"ok"
    ask("SET", "key", "value")
    assert facts()[b"rdb_changes_since_last_save"] == b"1"
    (folder_of(server) / "dump.rdb").unlink()


def test_save_where_it_may_not(ask: Ask) -> None:
    ask("MULTI")
    assert ask("SAVE") == b"ERR Command not allowed inside a transaction"
    assert ask("SAVE", "now") == b"ERR wrong number of arguments for 'save' command"


def test_save_that_fails(start_server: StartServer) -> None:
    server = start_server()
    # A file cannot take the place of a folder.
    path = server.folder / "dump.rdb"
    path.mkdir()
    with server.wire() as wire:
        wire.call("SET", "key", "value")
        assert wire.call("SAVE") == Error(b"ERR")
        assert wire.call("GET", "key") == b"value"
        assert list(server.folder.glob("temp-*")) == []
        assert wire.call("SHUTDOWN", "SAVE") == b"ERR Errors trying to SHUTDOWN. Check logs."
        path.rmdir()
        assert wire.call("SAVE") == b"OK"
