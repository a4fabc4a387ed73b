"""Clients write to keys and others to their rows: in the end both say the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import Process, StartServer, eventually
from tests.support.commits import Commits
from tests.support.databases import PostgresDatabase, Session
from tests.support.replication import ask, follow, wait_linked
from tests.support.rows import LAZY, NO_BEAT, figure, position, rows, write_all
from tests.support.servers import OURS

pytestmark = pytest.mark.ours("the backing store")

MAP = """
[users]
key = "user:{id}"
columns = ["name", "age"]
direction = "write-behind"
absent = "1h"

[posts]
key = "post:{id}"
as = "column"
column = "text"
absent = "1h"
"""
LOG = ("--appendonly", "yes")
QUIET = 1000
"""A user whom nobody touches but who wants to know that all before was told."""


class Both:
    """A database that others write to, and where to start servers that do, too."""

    def __init__(
        self, database: PostgresDatabase, start: StartServer, mode: str, folder: Path
    ) -> None:
        self.database = database
        self.mode = mode
        self.folder = folder / "data"
        self.folder.mkdir()
        self._start = start
        self._told = 0
        (folder / "map.toml").write_text(MAP)
        self.words = (
            *("--backing-store", database.address, "--backing-map", str(folder / "map.toml")),
            *("--backing-invalidation", mode, "--backing-slot", database.name),
            *("--backing-timeout", "20000", "--repl-diskless-sync-delay", "0"),
        )

    def set_up(self) -> None:
        """Run the SQL that the command prints."""
        done = subprocess.run(
            [*OURS, *self.words, "--backing-setup-sql"], capture_output=True, text=True, check=True
        )
        self.database.execute(done.stdout)

    def start(self, *words: str, lazy: bool = False) -> Process:
        """A server; a lazy one writes rows only when somebody waits for them."""
        server = self._run(*words, lazy=lazy)
        wait_up(server)
        return server

    def start_replica(self, primary: Process, *words: str, lazy: bool = False) -> Process:
        server = self._run("--replicaof", f"{primary.host} {primary.port}", *words, lazy=lazy)
        wait_linked(server)
        return server

    def start_logged(self, *words: str, lazy: bool = False) -> Process:
        """One with a log, which is there again when it starts again."""
        return self.start("--dir", str(self.folder), *LOG, *words, lazy=lazy)

    def _run(self, *words: str, lazy: bool) -> Process:
        if lazy:
            return self._start(*self.words, *LAZY, *words, command=NO_BEAT)
        return self._start(*self.words, *words)

    def wait_told(self, server: Process) -> None:
        """Until the server knows of all that others have done so far.

        It may read the first from the row before it is told; the second only when it was.
        """
        self._wait_seen(server)
        self._wait_seen(server)

    def _wait_seen(self, server: Process) -> None:
        self._told += 1
        name = f"told {self._told}"
        self.database.execute(
            f"INSERT INTO users VALUES ({QUIET}, '{name}')"  # noqa: S608
            " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name"
        )
        eventually(lambda: ask(server, "HGET", f"user:{QUIET}", "name") == name.encode())


def wait_up(server: Process) -> None:
    eventually(lambda: ask(server, "PING") == b"PONG")
    eventually(lambda: figure(server, "changes_status") == "up")


def wait_writing(server: Process) -> None:
    """Until a replica that was promoted has taken over."""
    eventually(lambda: figure(server, "write_status") == "writing")
    wait_up(server)


@pytest.fixture(params=["decoding", "notify"])
def both(
    request: pytest.FixtureRequest,
    postgres: PostgresDatabase,
    start_server: StartServer,
    tmp_path: Path,
) -> Iterator[Both]:
    """The cache has a role that may do no more than it must."""
    role = postgres.name
    postgres.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text, age integer, more text)",
        "CREATE TABLE posts (id integer PRIMARY KEY, text text,"
        " author integer REFERENCES users (id) ON DELETE CASCADE)",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {role}",
        f"GRANT SELECT ON posts TO {role}",
    )
    postgres.address = postgres.address.replace("postgres@", f"{role}@")
    there = Both(postgres, start_server, request.param, tmp_path)
    there.set_up()
    yield there
    if request.param == "decoding":
        postgres.refuse_connections()
        postgres.drop_slots()


decoding = pytest.mark.parametrize("both", ["decoding"], indirect=True)


def user(server: Process, number: int) -> dict[str, str]:
    found = ask(server, "HGETALL", f"user:{number}")
    texts = [it.decode() for it in found]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def expected(row: tuple[Any, ...]) -> dict[str, str]:
    """What the cache says of a row."""
    _, name, age, *_ = row
    found = {"name": name, "age": age}
    return {field: str(value) for field, value in found.items() if value is not None}


def agree(server: Process, database: PostgresDatabase, numbers: range) -> bool:
    """Whether keys and rows are the same."""
    there = {row[0]: expected(row) for row in rows(database)}
    for number in numbers:
        assert user(server, number) == there.get(number, {}), number
    return True


def test_our_own_batches_drop_nothing(both: Both) -> None:
    server = both.start()
    ask(server, "HSET", "user:1", "name", "one")
    ask(server, "HSET", "user:2", "name", "two")
    write_all(server)
    ask(server, "DEL", "user:2")
    write_all(server)
    both.wait_told(server)
    loaded, written = figure(server, "loaded"), figure(server, "rows")
    assert user(server, 1) == {"name": "one"}
    assert user(server, 2) == {}
    assert figure(server, "loaded") == loaded
    if both.mode == "decoding":
        assert int(figure(server, "changes_own")) >= 2
    # What others change is known, and nothing is written for that.
    both.database.execute("UPDATE users SET age = 7 WHERE id = 1")
    both.wait_told(server)
    assert user(server, 1) == {"name": "one", "age": "7"}
    assert figure(server, "rows") == written


def test_what_was_written_here_wins_until_it_is_written_there(both: Both) -> None:
    """All columns of the mapping; the others are not ours."""
    database = both.database
    database.execute("INSERT INTO users VALUES (1, 'old', 1, 'old'), (2, 'old', 2, 'old')")
    server = both.start(lazy=True)
    assert user(server, 1) == {"name": "old", "age": "1"}
    write_all(server)
    ask(server, "HSET", "user:1", "name", "mine")
    ask(server, "DEL", "user:2")
    database.execute("UPDATE users SET name = 'theirs', age = 9, more = 'theirs'")
    both.wait_told(server)
    assert user(server, 1) == {"name": "mine", "age": "1"}
    assert user(server, 2) == {}
    write_all(server)
    assert rows(database)[0] == (1, "mine", 1, "theirs")
    assert [row[0] for row in rows(database)] == [1, QUIET]
    assert agree(server, database, range(1, 3))
    # From now on theirs is newer.
    database.execute(
        "UPDATE users SET name = 'newer' WHERE id = 1", "INSERT INTO users VALUES (2, 'again')"
    )
    both.wait_told(server)
    assert user(server, 1) == {"name": "newer", "age": "1"}
    assert user(server, 2) == {"name": "again"}


def test_a_change_while_the_batch_waits_for_its_row(both: Both) -> None:
    database = both.database
    server = both.start("--backing-write-timeout", "60000")
    ask(server, "HSET", "user:1", "name", "one")
    write_all(server)
    database.execute("BEGIN", "UPDATE users SET name = 'theirs', age = 1 WHERE id = 1")
    ask(server, "HSET", "user:1", "name", "mine")
    other = Session(database.server.port, database.name)
    waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
    eventually(lambda: other.query(waits) != [])
    database.execute("COMMIT")
    other.close()
    write_all(server)
    both.wait_told(server)
    eventually(lambda: agree(server, database, range(1, 2)))
    assert user(server, 1) == {"name": "mine"}


def test_a_change_behind_a_batch_of_which_nobody_knows_yet(both: Both) -> None:
    """It is committed, and the reply is still under way: their change is the newer one."""
    database = both.database
    with Commits(database, late=True) as way:
        store = ("--backing-store", way.address, "--backing-write-timeout", "60000")
        # No other batch may come in between.
        server = both.start(*store, "--backing-batch-delay", "100", lazy=True)
        ask(server, "HSET", "user:1", "name", "one")
        write_all(server)
        way.catch()
        ask(server, "HSET", "user:1", "name", "mine")
        assert way.caught.wait(60)
        database.execute("UPDATE users SET name = 'theirs' WHERE id = 1")
        both.wait_told(server)
        assert user(server, 1) == {"name": "mine"}
        way.let_go.set()
        eventually(lambda: user(server, 1) == {"name": "theirs"})
        write_all(server)
        assert rows(database)[0] == (1, "theirs", None, None)


@decoding
def test_what_our_batch_changes_elsewhere(both: Both) -> None:
    """A cascade within our own transaction: those rows are not what we wrote."""
    both.database.execute(
        "INSERT INTO users VALUES (1, 'one'), (2, 'two')",
        "INSERT INTO posts VALUES (5, 'of one', 1), (6, 'of two', 2)",
    )
    server = both.start()
    assert ask(server, "GET", "post:5") == b"of one"
    assert ask(server, "GET", "post:6") == b"of two"
    ask(server, "DEL", "user:1")
    write_all(server)
    eventually(lambda: ask(server, "GET", "post:5") is None)
    assert ask(server, "GET", "post:6") == b"of two"
    assert figure(server, "invalidated") == "1"


def test_a_start_after_a_crash(both: Both) -> None:
    """Our changes that were not written yet, and those of others meanwhile."""
    database = both.database
    database.execute("INSERT INTO users SELECT i, 'old', i FROM generate_series(1, 3) AS i")
    server = both.start_logged("--appendfsync", "always", lazy=True)
    for number in range(1, 4):
        assert user(server, number) == {"name": "old", "age": str(number)}
    ask(server, "HSET", "user:3", "name", "written")
    write_all(server)
    both.wait_told(server)
    if both.mode == "decoding":
        eventually(lambda: b"distcache changes" in log_of(both))
    ask(server, "HSET", "user:1", "name", "mine")
    server.kill()
    database.execute("UPDATE users SET name = 'theirs', age = 9 WHERE id < 3")
    database.wait_left()
    server = both.start_logged()
    eventually(lambda: figure(server, "write_status") == "writing")
    write_all(server)
    both.wait_told(server)
    assert rows(database)[:3] == [
        (1, "mine", 1, None),
        (2, "theirs", 9, None),
        (3, "written", 3, None),
    ]
    eventually(lambda: agree(server, database, range(1, 4)))
    if both.mode == "decoding":
        assert figure(server, "swept") == "0"
    assert figure(server, "full_passes") == "0"


def log_of(both: Both) -> bytes:
    files = sorted((both.folder / "appendonlydir").glob("*.incr.aof"))
    return b"".join(file.read_bytes() for file in files)


def test_a_promoted_replica(both: Both) -> None:
    database = both.database
    database.execute("INSERT INTO users SELECT i, 'old', i FROM generate_series(1, 4) AS i")
    one = both.start("--backing-takeover-time", "3600", lazy=True)
    other = both.start_replica(one, "--backing-takeover-time", "3600", lazy=True)
    for number in range(1, 5):
        user(one, number)
    ask(one, "HSET", "user:1", "name", "written")
    write_all(one)
    both.wait_told(one)
    ask(one, "HSET", "user:2", "name", "queued")
    eventually(lambda: ask(other, "HGET", "user:2", "name") == b"queued")
    os.kill(one.pid, signal.SIGSTOP)
    database.execute("UPDATE users SET name = 'theirs', age = 9 WHERE id IN (2, 3)")
    ask(other, "REPLICAOF", "NO", "ONE")
    wait_writing(other)
    ask(other, "HSET", "user:4", "name", "new")
    write_all(other)
    both.wait_told(other)
    assert rows(database)[:4] == [
        (1, "written", 1, None),
        (2, "queued", 2, None),
        (3, "theirs", 9, None),
        (4, "new", 4, None),
    ]
    eventually(lambda: agree(other, database, range(1, 5)))
    assert position(database)[0] == 2
    # The old primary does not know yet: whatever it gets now is no row, and drops nothing.
    os.kill(one.pid, signal.SIGCONT)
    ask(one, "HSET", "user:1", "name", "late")
    follow(one, other)
    ask(other, "HSET", "user:1", "age", "5")
    write_all(other)
    assert rows(database)[0] == (1, "written", 5, None)
    # A replica has what its primary has: who reads there brings back what a late notice dropped.
    eventually(lambda: agree(other, database, range(1, 5)) and agree(one, database, range(1, 5)))


NUMBERS = range(1, 9)


class Others(threading.Thread):
    """Writes to the rows, past the cache, until it is stopped."""

    def __init__(self, database: PostgresDatabase, seed: int) -> None:
        super().__init__()
        self._database = database
        self._generator = random.Random(seed)
        self._ended = threading.Event()
        self.problem: Exception | None = None
        self.start()

    def run(self) -> None:
        session = Session(self._database.server.port, self._database.name)
        generator = self._generator
        try:
            count = 0
            while not self._ended.wait(generator.choice([0, 0.001, 0.02])):
                count += 1
                number, age = generator.choice(NUMBERS), count
                name = f"'theirs {count}'"
                # Our batch may be what it meets in a deadlock.
                with suppress(asyncpg.DeadlockDetectedError):
                    session.execute(
                        generator.choice(
                            [
                                f"UPDATE users SET age = {age}, name = {name} WHERE id = {number}",  # noqa: S608
                                f"UPDATE users SET age = {age} WHERE id <> {number}",  # noqa: S608
                                f"DELETE FROM users WHERE id = {number}",  # noqa: S608
                                f"INSERT INTO users VALUES ({number}, {name}, {age})"  # noqa: S608
                                f" ON CONFLICT (id) DO UPDATE SET age = {age}",
                                "TRUNCATE users CASCADE" if count % 50 == 0 else "SELECT 1",
                            ]
                        )
                    )
        except Exception as error:
            self.problem = error
        finally:
            session.close()

    def end(self) -> None:
        self._ended.set()
        self.join(60)
        if self.problem is not None:
            raise self.problem


def some_words(generator: random.Random, count: int) -> tuple[str, ...]:
    key = f"user:{generator.choice(NUMBERS)}"
    return generator.choice(
        [
            ("HGETALL", key),
            ("HGETALL", key),
            ("HGETALL", key),
            ("EXISTS", key),
            ("HSET", key, "name", f"name {count}"),
            ("HSET", key, "name", "mine", "age", str(count)),
            ("HINCRBY", key, "age", "1"),
            ("HDEL", key, "age"),
            ("DEL", key),
            ("RENAME", key, f"user:{generator.choice(NUMBERS)}"),
        ]
    )


def work(server: Process, generator: random.Random, count: int) -> None:
    """Clients read and write, over two connections."""
    with server.wire() as wire, server.wire() as other:
        for number in range(count):
            (wire if generator.random() < 0.5 else other).call(*some_words(generator, number))


@pytest.mark.parametrize("delay", ["0", "20"])
def test_clients_and_others_at_random(both: Both, delay: str) -> None:
    generator = random.Random(7)
    server = both.start("--backing-batch-delay", delay)
    others = Others(both.database, 3)
    try:
        work(server, generator, 3000)
    finally:
        others.end()
    work(server, generator, 20)
    settle(both, server)


def settle(both: Both, server: Process) -> None:
    """Nobody writes any more: keys and rows come to be the same, and stay so."""
    write_all(server)
    both.wait_told(server)
    eventually(lambda: agree(server, both.database, NUMBERS))
    written = figure(server, "rows")
    both.wait_told(server)
    assert agree(server, both.database, NUMBERS)
    assert figure(server, "rows") == written
    assert both.database.query("SELECT 1 FROM distcache.dead_letter") == []


def kill(server: Process, begun: threading.Event) -> None:
    begun.set()
    server.process.kill()


def test_crashes_at_random(both: Both) -> None:
    generator = random.Random(11)
    words = ("--appendfsync", "always", "--backing-batch-delay", "5")
    server = both.start_logged(*words)
    others = Others(both.database, 5)
    try:
        for _ in range(3):
            begun = threading.Event()
            killer = threading.Timer(generator.uniform(0.1, 0.6), kill, (server, begun))
            killer.start()
            try:
                while not begun.is_set():
                    work(server, generator, 50)
            except (OSError, AssertionError):
                assert begun.is_set()
            killer.join()
            server.kill()
            server = both.start_logged(*words)
    finally:
        others.end()
    settle(both, server)


def test_promotions_at_random(both: Both) -> None:
    """The replica has what the primary has acknowledged; the primary does not come back."""
    generator = random.Random(13)
    words = ("--backing-batch-delay", "5", "--backing-takeover-time", "1")
    one = both.start(*words)
    others = Others(both.database, 9)
    try:
        for _ in range(2):
            other = both.start_replica(one, *words)
            work(one, generator, 300)
            one.kill()
            assert ask(other, "REPLICAOF", "NO", "ONE") == b"OK"
            wait_writing(other)
            work(other, generator, 100)
            one = other
    finally:
        others.end()
    settle(both, one)


def test_a_role_without_rights(
    postgres: PostgresDatabase, start_server: StartServer, tmp_path: Path
) -> None:
    """The start says what has to be run, be our own tables there or not."""
    role = f"bare_{postgres.name}"
    postgres.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text, age integer)",
        "CREATE TABLE posts (id integer PRIMARY KEY, text text)",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {role}",
        f"GRANT SELECT ON posts TO {role}",
    )
    postgres.address = postgres.address.replace("postgres@", f"{role}@")
    there = Both(postgres, start_server, "no", tmp_path)
    with pytest.raises(AssertionError, match=r"let its owner run CREATE SCHEMA"):
        start_server(*there.words)
    postgres.execute(
        "CREATE SCHEMA distcache",
        "CREATE TABLE distcache.position (stream text)",
        "CREATE TABLE distcache.dead_letter (stream text)",
    )
    with pytest.raises(AssertionError, match=rf"GRANT USAGE ON SCHEMA distcache TO {role}"):
        start_server(*there.words)
    postgres.execute("DROP SCHEMA distcache CASCADE")
    there.set_up()
    server = start_server(*there.words)
    ask(server, "HSET", "user:1", "name", "one")
    write_all(server)
    assert rows(postgres) == [(1, "one", None)]
