"""Whatever ends when it should not: rows are keys as of a position, nothing missing or twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from distcache_replication import rdb
from distcache_replication.backing.packing import unpack
from distcache_replication.segment import commands
from distcache_server import snapshot
from distcache_server.engine import Engine
from distcache_server.replay import Replay

from tests.blackbox.backing.conftest import PATIENT, Backed
from tests.support import Error, Process, StartServer, eventually
from tests.support.commits import Commits
from tests.support.databases import Database, PostgresDatabase
from tests.support.direct import Direct
from tests.support.replication import SETTINGS, Follower, ask, follow, info
from tests.support.rows import NO_BEAT, figure, is_written, ours, position, rows, write_all
from tests.support.sentinels import LONG, Group, redis_sentinel
from tests.support.writes import write

pytestmark = pytest.mark.ours("the backing store")

only_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)

USERS = """
[users]
key = "user:{id}"
direction = "write-behind"
"""
TABLE = "CREATE TABLE users (id integer PRIMARY KEY, name text, age integer)"


@pytest.fixture
def users(database: Database) -> Database:
    database.execute(TABLE)
    return database


def stop_writing(server: Process) -> None:
    """From now on batches wait for who waits for them, where there is no beat that writes them."""
    ask(server, "CONFIG", "SET", "backing-batch-delay", "300000")


def wait_name(server: Process, name: str) -> None:
    """Until a replica has it that user 1 is called so."""
    eventually(lambda: ask(server, "HGET", "user:1", "name") == name.encode())


def wait_loaded(server: Process) -> None:
    """Until it knows which rows are out of date."""
    eventually(lambda: ask(server, "PING") == b"PONG")


@pytest.fixture
def logged(tmp_path: Path) -> tuple[str, ...]:
    """Settings of a server with a log, which is there again when it starts again."""
    folder = tmp_path / "data"
    folder.mkdir()
    return ("--dir", str(folder), "--appendonly", "yes", *PATIENT)


def seen(database: Database) -> tuple[int, dict[bytes, Any]]:
    """The position and the keys of any type that are there, of one moment."""
    found = database.query(
        "SELECT p.log_offset, c.key, c.value, c.expires_at"  # noqa: S608
        f" FROM {ours(database, 'position')} p LEFT JOIN distcache_cache c ON 1 = 1"
    )
    keys = {bytes(it[1]): (*unpack(bytes(it[2])), it[3]) for it in found if it[1] is not None}
    return found[0][0], keys


def contents(engine: Engine) -> dict[bytes, Any]:
    """The keys of the first database in the same form."""
    home = engine.databases[0]
    return {
        key: (*comparable(*snapshot.plain(value)), home.deadlines.get(key))
        for key, value in home.values.items()
    }


def comparable(kind: int, value: Any) -> tuple[int, Any]:
    """The same for all that a log makes the same: it does not say when a consumer was seen."""
    if isinstance(value, rdb.Stream):
        groups = [
            group._replace(
                consumers=[it._replace(seen_ms=0, active_ms=0) for it in group.consumers]
            )
            for group in value.groups
        ]
        return kind, value._replace(groups=groups)
    return kind, sorted(value) if kind == rdb.SET else value


def test_rows_are_the_keys_as_of_a_position(database: Database, start_server: StartServer) -> None:
    """At every moment, whatever is written: what a prefix of the log makes of nothing."""
    server = start_server(
        *("--backing-store", database.address, *PATIENT, "--backing-batch-delay", "0"),
        *(*SETTINGS, "--repl-timeout", "3600", "--backing-batch-size", "5"),
    )
    generator = random.Random(5)
    found = []
    with Follower(server) as replica, server.wire() as wire:
        begin = replica.offset
        for number in range(3000):
            if number % 40 == 0:
                wire.call("SELECT", generator.choice([0, 0, 0, 3]))
            words = write(generator, 12)
            if words[0].startswith("B"):
                continue
            if number % 9 == 0:
                wire.call("MULTI")
                wire.call("RPUSH", "list", number)
                wire.call(*words)
                wire.call("EXEC")
            else:
                wire.call(*words)
            if number % 200 == 0:
                wire.call("DISTCACHE", "WAIT", "backing", "50000")
            if number % 60 == 0:
                found.append(seen(database))
        wire.call("SELECT", 0)
        wire.call("SET", "end-of-all", "x")
        assert wire.call("DISTCACHE", "WAIT", "backing", "50000") == 1
        found.append(seen(database))
        # Behind the last command there may be keys that have expired since.
        log = replica.wire.read(found[-1][0] - begin)
    assert b"end-of-all\r\n$1\r\nx\r\n" in log
    assert len({offset for offset, _ in found}) > 10
    engine = Direct().engine
    replay = Replay(engine)
    at = 0
    for offset, keys in found:
        if offset <= begin:
            assert not keys
            continue
        replay.apply(commands(log[at : offset - begin]))
        at = offset - begin
        assert {
            key: (*comparable(kind, value), deadline)
            for key, (kind, value, deadline) in keys.items()
        } == contents(engine), offset
    assert at == len(log)


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_killed_at_any_moment(
    users: Database, backed: Backed, logged: tuple[str, ...], policy: str
) -> None:
    """What was acknowledged reaches the rows after the restart; each counter once."""
    options = (*logged, "--appendfsync", policy, "--backing-batch-delay", "5")
    server = backed(USERS, *options)
    acknowledged = 0
    for _ in range(4):
        wait_loaded(server)
        with server.wire() as wire, contextlib.suppress(OSError, AssertionError):
            killer = threading.Timer(random.uniform(0.05, 0.3), server.process.kill)
            killer.start()
            while True:
                acknowledged += wire.call("HINCRBY", f"user:{acknowledged % 7}", "age", "1") > 0
                wire.call("HSET", "user:100", "name", f"name {acknowledged}")
        killer.join()
        server.kill()
        server = backed(USERS, *options)
    wait_loaded(server)
    write_all(server)
    total = sum(age for number, _, age in rows(users) if number < 100)
    # The last write of each round may have happened without its reply.
    assert acknowledged <= total <= acknowledged + 4
    assert is_written(server, users)
    assert figure(server, "full_passes") == "0"
    assert position(users)[0] > 1


def test_a_restart_goes_on_where_the_rows_are(
    users: Database, backed: Backed, logged: tuple[str, ...]
) -> None:
    """Also when another database is selected there, and when the log has a new base since."""
    server = backed(USERS, *logged, command=NO_BEAT)
    with server.wire() as wire:
        wire.call("HSET", "user:1", "name", "one")
        wire.call("SELECT", "2")
        wire.call("HSET", "user:1", "name", "not a row")
        assert wire.call("DISTCACHE", "WAIT", "backing", "50000") == 1
        stop_writing(server)
        wire.call("HSET", "user:2", "name", "not a row")
        wire.call("SELECT", "0")
        wire.call("HSET", "user:3", "name", "three")
        wire.call("DEL", "user:1")
    ask(server, "BGREWRITEAOF")
    eventually(lambda: info(server, "persistence")["aof_rewrite_in_progress"] == "0")
    ask(server, "HSET", "user:4", "name", "four")
    assert rows(users) == [(1, "one", None)]
    server.kill()
    server = backed(USERS, *logged)
    eventually(lambda: rows(users) == [(3, "three", None), (4, "four", None)])
    assert figure(server, "full_passes") == "0"


def test_the_log_is_no_longer_kept(
    users: Database, backed: Backed, logged: tuple[str, ...]
) -> None:
    """All keys are written, and the log says so."""
    limits = (
        *("--repl-disk-retention", "0", "--repl-disk-slot-limit", "0"),
        *("--repl-backlog-size", "16kb", "--changefeed-retention", "0"),
    )
    server = backed(USERS, *logged, *limits, command=NO_BEAT)
    ask(server, "HSET", "user:1", "name", "one")
    write_all(server)
    stop_writing(server)
    with server.wire() as wire:
        for number in range(2, 600):
            wire.command("HSET", f"user:{number}", "name", "x" * 100)
        for _ in range(2, 600):
            assert not isinstance(wire.reply(), Error)
    ask(server, "BGREWRITEAOF")
    eventually(lambda: info(server, "persistence")["aof_rewrite_in_progress"] == "0")
    files = Path(logged[1]) / "appendonlydir"
    eventually(lambda: len(list(files.iterdir())) == 3)
    server.kill()
    server = backed(USERS, *logged, *limits)
    eventually(lambda: len(rows(users)) == 599)
    assert figure(server, "full_passes") == "1"
    assert "All keys are written to the backing store" in server.log()
    write_all(server)
    assert is_written(server, users)


def test_a_server_that_has_lost_its_log(
    users: Database, backed: Backed, start_server: StartServer
) -> None:
    """The rows are newer than what it has; and it waits until nobody else writes."""
    server = backed(USERS, "--save", "3600 1")
    ask(server, "HSET", "user:1", "name", "one")
    ask(server, "HSET", "user:2", "name", "two")
    write_all(server)
    ask(server, "SAVE")
    ask(server, "HSET", "user:1", "name", "newer")
    write_all(server)
    server.kill()
    users.execute("UPDATE users SET age = 5")
    other = backed(USERS, "--dir", str(server.folder), *PATIENT, "--backing-takeover-time", "1")
    assert ask(other, "HGETALL", "user:1") == [b"name", b"newer", b"age", b"5"]
    ask(other, "HSET", "user:2", "age", "6")
    write_all(other)
    assert rows(users) == [(1, "newer", 5), (2, "two", 6)]
    assert "Rows are newer than our keys" in other.log()


@only_postgres
def test_the_reply_to_a_commit_is_lost(
    users: Database, start_server: StartServer, tmp_path: Path
) -> None:
    assert isinstance(users, PostgresDatabase)
    users.execute(
        "CREATE TABLE counts (n integer)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO counts VALUES (NEW.age); RETURN NEW; END'",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note()",
    )
    (tmp_path / "map.toml").write_text(USERS)
    with Commits(users) as way:
        server = start_server(
            *("--backing-store", way.address, "--backing-map", str(tmp_path / "map.toml")),
            *PATIENT,
            command=NO_BEAT,
        )
        eventually(lambda: figure(server, "write_status") == "writing")
        way.catch()
        ask(server, "HSET", "user:1", "age", "1")
        write_all(server)
        assert way.caught.is_set()
        assert int(figure(server, "write_failures")) > 0
        ask(server, "HSET", "user:1", "age", "2")
        write_all(server)
    assert rows(users) == [(1, None, 2)]
    assert rows(users, "counts") == [(1,), (2,)]


@only_postgres
def test_a_database_that_goes_away(users: Database, backed: Backed) -> None:
    """Writes go on up to the limit; then they wait; all is there when it is back."""
    assert isinstance(users, PostgresDatabase)
    server = backed(USERS, "--backing-max-lag", "20kb", "--backing-batch-delay", "1")
    ask(server, "HSET", "user:1", "name", "one")
    write_all(server)
    users.server.kill()
    number = 1
    with server.wire() as wire, server.wire() as other:
        # Rows that are here are written to without the database.
        while figure(server, "held_writes") == "0":
            number += 1
            wire.command("HSET", "user:1", "name", f"name {number} {'x' * 500}")
            eventually(lambda: wire.has_reply() or figure(server, "held_writes") == "1")
            if wire.has_reply():
                assert wire.reply() == 0
        assert 20 < number < 60
        assert other.call("SET", "unmapped", "x") == b"OK"
        assert other.call("CONFIG", "SET", "backing-on-lag", "fail") == b"OK"
        reply = other.call("HSET", "user:1", "name", "y")
        assert isinstance(reply, Error)
        assert reply.code == b"BACKINGLAG"
        assert other.call("MULTI") == b"OK"
        assert other.call("HSET", "user:1", "name", "y") == b"QUEUED"
        reply = other.call("EXEC")
        assert isinstance(reply, Error)
        assert reply.code == b"BACKINGLAG"
        assert figure(server, "write_status") == "failing"
        assert int(figure(server, "lag_bytes")) > 20_000
        assert figure(server, "pending") != "0"
        users.server.start()
        users.reconnect()
        assert wire.reply() == 0
    write_all(server)
    assert rows(users) == [(1, f"name {number} {'x' * 500}", None)]
    assert figure(server, "write_status") == "writing"
    assert figure(server, "lag_bytes") == "0"
    assert "too far behind" in server.log()
    assert "can be written to again" in server.log()


FAILS_AT_FIRST = """
import sys
from distcache_server import __main__
from distcache_server.succession import Succession

well, failed = Succession.ask, set()

async def ask(self):
    role = self.writer.engine.follows
    if role not in failed:
        failed.add(role)
        raise RuntimeError("it fails")
    await well(self)

Succession.ask = ask
sys.exit(__main__.main())
"""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_bug_does_not_end_writing(users: Database, tmp_path: Path) -> None:
    """It is told, and tried again: once by a replica, and once by who is promoted."""
    path = tmp_path / "map.toml"
    path.write_text(USERS)
    store = ("--backing-store", users.address, "--backing-map", str(path))
    primary = ("--replicaof", "127.0.0.1 1")
    server = Process(
        (sys.executable, "-c", FAILS_AT_FIRST), (*store, *primary), tmp_path / "replica"
    )
    try:
        eventually(lambda: info(server, "stats")["unexpected_error_replies"] == "1")
        assert ask(server, "REPLICAOF", "NO", "ONE") == b"OK"
        eventually(lambda: figure(server, "write_status") == "writing")
        ask(server, "HSET", "user:1", "name", "one")
        write_all(server)
        assert rows(users) == [(1, "one", None)]
        assert info(server, "stats")["unexpected_error_replies"] == "2"
    finally:
        server.kill()


def test_a_promoted_replica_goes_on(users: Database, lazy: Backed) -> None:
    """Where the rows are; the old primary's changes that were queued are no rows."""
    options = ("--repl-diskless-sync-delay", "0", "--backing-takeover-time", "3600")
    one = lazy(USERS, *options)
    eventually(lambda: figure(one, "write_status") == "writing")
    other = lazy(USERS, *options)
    follow(other, one)
    for number in range(10):
        ask(one, "HSET", f"user:{number}", "name", "one")
    write_all(one)
    ask(one, "HSET", "user:3", "name", "queued")
    ask(one, "DEL", "user:4")
    eventually(lambda: ask(other, "HGET", "user:3", "name") == b"queued")
    eventually(lambda: ask(other, "EXISTS", "user:4") == 0)
    os.kill(one.pid, signal.SIGSTOP)
    ask(other, "REPLICAOF", "NO", "ONE")
    ask(other, "HSET", "user:5", "name", "other")
    ask(other, "HDEL", "user:5", "age")
    write_all(other)
    expected = {number: "one" for number in range(10) if number != 4} | {3: "queued", 5: "other"}
    assert {number: name for number, name, _ in rows(users)} == expected
    assert position(users)[0] == 2
    assert figure(other, "full_passes") == "0"
    os.kill(one.pid, signal.SIGCONT)
    with one.wire() as wire:
        assert wire.call("HSET", "user:6", "name", "late") == 0
        assert wire.call("DISTCACHE", "WAIT", "backing", "300") == 0
    eventually(lambda: figure(one, "deposed") == "1")
    eventually(lambda: figure(one, "write_status") == "waiting")
    assert {number: name for number, name, _ in rows(users)} == expected
    follow(one, other)
    ask(other, "HSET", "user:7", "name", "seven")
    write_all(other)
    assert (7, "seven", None) in rows(users)
    assert ask(one, "HGET", "user:6", "name") == b"one"
    assert figure(one, "write_status") == "replica"

    def is_complete() -> bool:  # unless a ping to the replica came in between
        write_all(other)
        return is_written(other, users)

    eventually(is_complete)


def test_a_replica_that_lacks_what_the_rows_have(users: Database, backed: Backed) -> None:
    """The rows win: its keys are dropped and read again."""
    options = (*PATIENT, "--repl-diskless-sync-delay", "0")
    one = backed(USERS, *options)
    eventually(lambda: figure(one, "write_status") == "writing")
    other = backed(USERS, *options)
    follow(other, one)
    ask(one, "HSET", "user:1", "name", "one")
    eventually(lambda: ask(other, "HGET", "user:1", "name") == b"one")
    os.kill(other.pid, signal.SIGSTOP)
    ask(one, "HSET", "user:1", "name", "newer")
    write_all(one)
    one.kill()
    os.kill(other.pid, signal.SIGCONT)
    ask(other, "REPLICAOF", "NO", "ONE")
    eventually(lambda: figure(other, "write_status") == "writing")
    assert ask(other, "HGET", "user:1", "name") in (b"newer",)
    ask(other, "HSET", "user:1", "age", "3")
    write_all(other)
    assert rows(users) == [(1, "newer", 3)]


@only_postgres
@pytest.mark.skipif(redis_sentinel() is None, reason="redis-sentinel is not installed")
def test_sentinel_fails_over(users: Database, tmp_path: Path) -> None:
    """The old primary is paused with changes queued, and gets more before it knows."""
    (tmp_path / "map.toml").write_text(USERS)
    group = Group(
        tmp_path,
        ("ours", "ours", "ours"),
        *("--backing-store", users.address, "--backing-map", str(tmp_path / "map.toml")),
        *("--backing-takeover-time", "3600", "--backing-batch-delay", "50", *PATIENT),
        down_ms=5000,  # a stall is no reason for one more
    )
    try:
        old = group.primary
        for number in range(10):
            ask(old.server, "HSET", f"user:{number}", "name", "old")
        write_all(old.server)
        stop_writing(old.server)
        ask(old.server, "HSET", "user:1", "name", "queued")
        for node in group.replicas:
            wait_name(node.server, "queued")
        with old.server.wire(90) as late:
            assert late.call("CONFIG", "SET", "backing-batch-delay", "0") == b"OK"
            old.pause()
            late.command("HSET", "user:2", "name", "late")
            late.command("HSET", "user:11", "name", "late")
            new = group.wait_promoted()
            ask(new.server, "HSET", "user:3", "name", "new")
            write_all(new.server)
            old.go_on()
            eventually(lambda: old.follows(new), timeout=LONG)
        ask(new.server, "HSET", "user:4", "name", "new")
        write_all(new.server)
        names = {number: name for number, name, _ in rows(users)}
        expected = dict.fromkeys(range(10), "old") | {1: "queued", 3: "new", 4: "new"}
        assert names == expected
        assert position(users)[0] == 2
        assert figure(new.server, "full_passes") == "0"
        assert figure(new.server, "dropped") == "0"

        def is_complete() -> bool:  # unless a ping to the replicas came in between
            write_all(new.server)
            return is_written(new.server, users)

        eventually(is_complete)
    finally:
        group.stop()


@only_postgres
def test_a_write_that_is_not_there_in_time(users: Database, backed: Backed) -> None:
    """The client of write-through is told; the write follows."""
    assert isinstance(users, PostgresDatabase)
    server = backed(USERS.replace("behind", "through"))
    with server.wire() as wire:
        assert wire.call("HSET", "user:1", "name", "one") == 1
        assert wire.call("CONFIG", "SET", "backing-through-timeout", "200") == b"OK"
        users.server.kill()
        reply = wire.call("HSET", "user:1", "name", "two")
        assert isinstance(reply, Error)
        assert reply.code == b"NOTSTORED"
        assert wire.call("HGET", "user:1", "name") == b"two"
        users.server.start()
        users.reconnect()
        eventually(lambda: rows(users) == [(1, "two", None)])
