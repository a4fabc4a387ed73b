"""PostgreSQL fails while a batch is written: it is written once, whole, and nothing else waits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.blackbox.backing.conftest import Backed
from tests.support import Process, StartServer, eventually
from tests.support.commits import Commits
from tests.support.databases import PostgresDatabase, Session
from tests.support.replication import ask
from tests.support.rows import dead_letters, figure, is_written, rows, write_all

pytestmark = [
    pytest.mark.ours("the backing store"),
    pytest.mark.parametrize("database", ["postgres"], indirect=True),
]

USERS = """
[users]
key = "user:{id}"
direction = "write-behind"
"""
PATIENT = ("--backing-write-timeout", "60000", "--backing-timeout", "20000")
MANY = range(1, 101)


@pytest.fixture
def users(database: PostgresDatabase) -> PostgresDatabase:
    """Each time that a row is written, it is counted within the same transaction."""
    database.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text, age integer)",
        "CREATE TABLE counts (id integer, age integer)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO counts VALUES (NEW.id, NEW.age); RETURN NEW; END'",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note()",
    )
    return database


def write_many(server: Process, age: int) -> None:
    """Change all, together."""
    with server.wire() as wire:
        assert wire.call("MULTI") == b"OK"
        for number in MANY:
            assert wire.call("HSET", f"user:{number}", "age", age) == b"QUEUED"
        assert isinstance(wire.call("EXEC"), list)


def wait_for_lock(database: PostgresDatabase) -> None:
    """Until a batch stands before a row that somebody else has."""
    session = Session(database.server.port, database.name)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '"
    try:
        eventually(lambda: session.query(f"{waits}{database.name}'") != [])
    finally:
        session.close()


def wait_batches(server: Process, count: int) -> None:
    eventually(lambda: int(figure(server, "batches")) >= count)


def all_once(server: Process, database: PostgresDatabase, *ages: int) -> None:
    """All rows are the keys, and each change was made once."""
    write_all(server)
    assert rows(database) == [(number, None, ages[-1]) for number in MANY]
    found = sorted(database.query("SELECT id, age FROM counts"))
    assert found == [(number, age) for number in MANY for age in ages]
    assert dead_letters(database) == []
    assert is_written(server, database)


def test_it_stops_at_once_within_a_batch(users: PostgresDatabase, backed: Backed) -> None:
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    users.execute("BEGIN", "SELECT * FROM users WHERE id = 50 FOR UPDATE")
    write_many(server, 2)
    wait_for_lock(users)
    users.server.kill()
    eventually(lambda: figure(server, "write_status") == "failing")
    users.server.start()
    users.reconnect()
    all_once(server, users, 1, 2)


@pytest.mark.parametrize("stage", ["noted", "within", "committed"])
def test_the_cache_is_killed(
    users: PostgresDatabase, start_server: StartServer, tmp_path: Path, stage: str
) -> None:
    """Before a batch, within it, and when it is there and nobody knows."""
    (tmp_path / "map.toml").write_text(USERS)
    (tmp_path / "data").mkdir()
    words = (
        *("--backing-map", str(tmp_path / "map.toml"), "--dir", str(tmp_path / "data")),
        *("--appendonly", "yes", "--appendfsync", "always", *PATIENT),
    )
    with Commits(users, late=True) as way:
        server = start_server(*words, "--backing-store", way.address)
        write_many(server, 1)
        write_all(server)
        if stage == "noted":
            ask(server, "CONFIG", "SET", "backing-batch-delay", "300000")
        elif stage == "within":
            users.execute("BEGIN", "SELECT * FROM users WHERE id = 50 FOR UPDATE")
        else:
            way.catch()
        write_many(server, 2)
        if stage == "within":
            wait_for_lock(users)
        elif stage == "committed":
            assert way.caught.wait(60)
        server.kill()
    if stage == "within":
        users.execute("ROLLBACK")
    server = start_server(*words, "--backing-store", users.address)
    eventually(lambda: ask(server, "PING") == b"PONG")
    eventually(lambda: figure(server, "write_status") == "writing")
    all_once(server, users, 1, 2)


def test_a_deadlock(users: PostgresDatabase, backed: Backed) -> None:
    """Whoever it is that PostgreSQL ends: the batch is written."""
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    users.execute("BEGIN", "SELECT * FROM users WHERE id = 100 FOR UPDATE")
    write_many(server, 2)
    wait_for_lock(users)
    try:
        users.execute("SELECT * FROM users WHERE id = 1 FOR UPDATE")
        eventually(lambda: int(figure(server, "write_failures")) > 0)
    except asyncpg.DeadlockDetectedError:
        pass
    users.execute("ROLLBACK")
    all_once(server, users, 1, 2)


def test_transactions_that_cannot_be_put_in_a_row(users: PostgresDatabase, backed: Backed) -> None:
    users.execute(f"ALTER DATABASE {users.name} SET default_transaction_isolation = 'serializable'")
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    users.execute("BEGIN", "UPDATE users SET name = NULL, age = 7 WHERE id = 50")
    write_many(server, 2)
    wait_for_lock(users)
    users.execute("COMMIT", "DELETE FROM counts WHERE age = 7")
    all_once(server, users, 1, 2)
    assert int(figure(server, "write_failures")) > 0


@pytest.mark.parametrize(
    "code",
    ["53100", "53200", "40001", "40P01", "55P03", "57014", "58030", "25006", "XX000"],
    ids=[
        *("disk_full", "out_of_memory", "serialization_failure", "deadlock_detected"),
        *("lock_not_available", "query_canceled", "io_error", "read_only", "internal_error"),
    ],
)
def test_what_is_no_fault_of_the_rows(users: PostgresDatabase, backed: Backed, code: str) -> None:
    """It is tried again until it succeeds, and nothing becomes a dead letter."""
    users.execute(
        "CREATE TABLE faults (id integer)",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.id = 50 AND EXISTS (SELECT FROM faults) THEN"
        " RAISE 'it fails' USING ERRCODE = TG_ARGV[0]; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON users FOR EACH ROW"
        f" EXECUTE FUNCTION fail('{code}')",
    )
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    users.execute("INSERT INTO faults VALUES (1)")
    write_many(server, 2)
    eventually(lambda: int(figure(server, "write_failures")) > 1)
    assert figure(server, "write_status") == "failing"
    assert "it fails" in figure(server, "write_problem")
    assert ask(server, "HGET", "user:50", "age") == b"2"
    users.execute("DELETE FROM faults")
    all_once(server, users, 1, 2)


def test_the_schema_changes_under_way(users: PostgresDatabase, backed: Backed) -> None:
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    # What it does not know of, and what it need not know.
    users.execute("ALTER TABLE users ADD more text", "ALTER TABLE users ALTER age TYPE bigint")
    write_many(server, 2)
    write_all(server)
    users.execute("ALTER TABLE users DROP more")
    # What it cannot do without.
    users.execute("ALTER TABLE users RENAME age TO years")
    write_many(server, 3)
    eventually(lambda: figure(server, "write_status") == "failing")
    assert "age" in figure(server, "write_problem")
    users.execute("ALTER TABLE users RENAME years TO age", "ALTER TABLE users RENAME TO people")
    write_many(server, 4)
    eventually(lambda: "users" in figure(server, "write_problem"))
    users.execute("ALTER TABLE people RENAME TO users")
    write_all(server)
    assert rows(users) == [(number, None, 4) for number in MANY]
    assert dead_letters(users) == []
    assert is_written(server, users)


def test_a_lock_for_a_change_of_the_schema(users: PostgresDatabase, backed: Backed) -> None:
    """Writes wait for it; whoever reads keys that are here does not."""
    server = backed(USERS, *PATIENT)
    write_many(server, 1)
    write_all(server)
    users.execute("BEGIN", "ALTER TABLE users ALTER age TYPE bigint", "TRUNCATE counts")
    write_many(server, 2)
    wait_for_lock(users)
    assert ask(server, "HGET", "user:1", "age") == b"2"
    users.execute("COMMIT")
    all_once(server, users, 2)


@contextmanager
def small_disk(users: PostgresDatabase) -> Iterator[Path]:
    """Put the table on a file system of 8 MB, where we may have one; a file to fill it with."""
    place = users.server.folder / f"disk-{users.name}"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    ballast = place / "ballast"
    try:
        if users.server.user is not None:
            shutil.chown(place, users.server.user)
        users.execute(
            f"CREATE TABLESPACE {users.name} LOCATION '{place}'",
            "DROP TRIGGER note ON users",
            f"ALTER TABLE users SET TABLESPACE {users.name}",
        )
        yield ballast
    finally:
        # PostgreSQL could not start again without it.
        ballast.unlink(missing_ok=True)
        users.execute("DROP TABLE users", f"DROP TABLESPACE {users.name}")
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_is_full(users: PostgresDatabase, backed: Backed) -> None:
    server = backed(USERS, *PATIENT)
    with small_disk(users) as ballast:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        with server.wire() as wire:
            for number in range(1, 2001):
                wire.command("HSET", f"user:{number}", "name", "x" * 200)
            for _ in range(1, 2001):
                assert wire.reply() == 1
        eventually(lambda: "No space left" in figure(server, "write_problem"))
        assert ask(server, "HGET", "user:7", "name") == b"x" * 200
        ballast.unlink()
        write_all(server)
        assert len(rows(users)) == 2000
        assert dead_letters(users) == []
        assert is_written(server, users)


def test_a_database_that_goes_away_again_and_again(users: PostgresDatabase, backed: Backed) -> None:
    """Counters, which show what is missing and what is there twice."""
    server = backed(USERS, *PATIENT, "--backing-batch-delay", "0")
    sent = [0]
    ended = threading.Event()

    def count() -> None:
        with server.wire() as wire:
            while not ended.is_set():
                assert wire.call("HINCRBY", "user:1", "age", "1") == sent[0] + 1
                sent[0] += 1

    ask(server, "HSET", "user:1", "age", "0")
    write_all(server)
    worker = threading.Thread(target=count)
    worker.start()
    try:
        for _ in range(3):
            written = int(figure(server, "batches"))
            wait_batches(server, written + 4)
            users.server.kill()
            users.server.start()
            users.reconnect()
    finally:
        ended.set()
        worker.join(60)
    write_all(server)
    assert rows(users) == [(1, None, sent[0])]
    ages = [age for _, age in users.query("SELECT id, age FROM counts ORDER BY age")]
    assert ages == sorted(set(ages))  # no value was written twice
    assert is_written(server, users)


def test_connections_that_are_ended_while_nobody_looks(
    users: PostgresDatabase, backed: Backed
) -> None:
    """A command that comes before it was noticed is no reason for alarm."""
    server = backed(USERS, *PATIENT)
    with server.wire() as wire:
        for number in range(20):
            wire.call("HGETALL", f"user:{number}")
            os.kill(server.pid, signal.SIGSTOP)
            users.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608
                f" WHERE datname = '{users.name}' AND pid <> pg_backend_pid()"
            )
            wire.command("HGETALL", f"user:{number}")
            os.kill(server.pid, signal.SIGCONT)
            wire.reply()
        eventually(lambda: wire.call("HSET", "user:1", "age", "1") == 1)
    write_all(server)
    assert rows(users) == [(1, None, 1)]
    assert "Unexpected error" not in server.log()
