"""Rows of SQLite are changed by others: all that is known is that something was."""

import subprocess
from pathlib import Path

import pytest

from tests.blackbox.backing.conftest import Backed
from tests.support import eventually
from tests.support.databases import SqliteDatabase
from tests.support.servers import OURS

pytestmark = [
    pytest.mark.ours("the backing store"),
    pytest.mark.parametrize("database", ["sqlite"], indirect=True),
]


def test_a_commit_of_others_drops_all_mapped_keys(database: SqliteDatabase, backed: Backed) -> None:
    database.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO users VALUES (1, 'one'), (2, 'two')",
    )
    server = backed('[users]\nkey = "user:{id}"\n', "--backing-invalidation", "poll")
    with server.client(decode_responses=True) as client:
        eventually(lambda: client.info("backing")["backing_changes_status"] == "up")
        assert client.hget("user:1", "name") == "one"
        assert client.hget("user:2", "name") == "two"
        assert client.set("mine", "x")
        database.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.info("backing")["backing_invalidated"] == 2)
        assert client.hget("user:1", "name") == "new"
        assert client.get("mine") == "x"


def test_what_is_read_most_is_loaded_ahead(
    database: SqliteDatabase, backed: Backed, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    database.fill("users", [(number, f"name {number}") for number in range(100)])
    words = ("--backing-warm", "10", "--dir", str(tmp_path))
    server = backed('[users]\nkey = "user:{id}"\n', *words)
    with server.client() as client:

        def was_seen() -> bool:
            client.hgetall("user:7")
            return bool(client.info("backing")["backing_warm_keys"])

        eventually(was_seen)
    server.stop()
    server = backed('[users]\nkey = "user:{id}"\n', *words)
    with server.client() as client:
        eventually(lambda: client.info("backing")["backing_warmed"] == 1)
        assert client.keys() == [b"user:7"]
    assert "Loaded keys ahead" in server.log()


def test_there_is_nothing_to_set_up(database: SqliteDatabase) -> None:
    for words, reason in (((), "set backing-store"), (("--backing-store", database.address), "no")):
        command = [*OURS, *words, "--backing-setup-sql"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert reason in done.stderr
        assert not done.stdout
