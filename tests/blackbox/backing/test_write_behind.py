"""What clients write reaches the rows: each form, each type, what expires, what is refused."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.backing.conftest import PATIENT, Backed
from tests.support import Error, Process, StartServer, eventually, free_port
from tests.support.databases import Database
from tests.support.replication import ask, info
from tests.support.resp import encode
from tests.support.rows import dead_letters, figure, position, rows, write_all
from tests.support.samples import commands

pytestmark = pytest.mark.ours("the backing store")

USERS = """
[users]
key = "user:{id}"
direction = "write-behind"
"""


@pytest.fixture
def users(database: Database) -> Database:
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL, age integer)")
    return database


def test_rows_come_change_and_go(users: Database, backed: Backed) -> None:
    server = backed(USERS)
    ask(server, "HSET", "user:1", "name", "one", "age", "1")
    ask(server, "HSET", "user:2", "name", "two")
    eventually(lambda: rows(users) == [(1, "one", 1), (2, "two", None)])
    ask(server, "HDEL", "user:1", "age")
    ask(server, "HSET", "user:2", "name", "zwei", "age", "2")
    ask(server, "HSET", "user:3", "name", "three")
    eventually(lambda: rows(users) == [(1, "one", None), (2, "zwei", 2), (3, "three", None)])
    ask(server, "DEL", "user:1", "user:3")
    eventually(lambda: rows(users) == [(2, "zwei", 2)])
    assert ask(server, "HGETALL", "user:1") == []


@pytest.mark.parametrize("name", ["backing-batch-delay", "backing-batch-size"])
def test_settings_count_at_once(users: Database, lazy: Backed, name: str) -> None:
    server = lazy(USERS)
    write_all(server)
    ask(server, "HSET", "user:1", "name", "one")
    eventually(lambda: figure(server, "pending") == "1")
    ask(server, "CONFIG", "SET", name, "1")
    eventually(lambda: rows(users) == [(1, "one", None)])


def test_other_forms(database: Database, backed: Backed) -> None:
    database.execute(
        "CREATE TABLE things (id text PRIMARY KEY, name text, size numeric(5,1), ok boolean,"
        " data bytea, at timestamp, more text DEFAULT 'kept')",
        "CREATE TABLE prices (sku text PRIMARY KEY, price integer NOT NULL)",
    )
    server = backed(
        """
[things]
key = "thing:{id}"
as = "json"
columns = ["name", "size", "ok", "data", "at"]
direction = "write-behind"

[prices]
key = "price:{sku}"
as = "column"
column = "price"
direction = "write-behind"
"""
    )
    text = '{"name": "x", "size": 1.5, "ok": true, "data": "AAE=", "at": "2026-11-26T08:00:00"}'
    ask(server, "SET", "thing:a b", text)
    ask(server, "SET", "thing:'", "{}")
    ask(server, "SET", "price:7", "12")
    ask(server, "INCRBY", "price:7", "3")
    assert isinstance(server.wire().call("SET", "price:7", "x"), Error)
    write_all(server)
    found = database.query("SELECT id, name, size, ok, data, more FROM things ORDER BY id")
    assert [(it[0], it[1], it[5]) for it in found] == [("'", None, "kept"), ("a b", "x", "kept")]
    assert float(found[1][2]) == 1.5
    assert bool(found[1][3])
    assert bytes(found[1][4]) == b"\0\1"
    assert rows(database, "prices") == [("7", 15)]
    database.execute("UPDATE things SET more = 'changed'")
    ask(server, "SET", "thing:a b", '{"name": "y"}')
    write_all(server)
    found = database.query("SELECT name, size, more FROM things WHERE id = 'a b'")
    assert [tuple(it) for it in found] == [("y", None, "changed")]


def test_many_writes_that_come_together(database: Database, backed: Backed) -> None:
    """Each is judged by itself, and the last one of a key counts."""
    database.execute("CREATE TABLE prices (id integer PRIMARY KEY, price integer)")
    server = backed(
        '[prices]\nkey = "price:{id}"\nas = "column"\ncolumn = "price"\n'
        'direction = "write-behind"\n'
    )
    with server.wire() as wire:
        for price in (1, "x", 3):
            wire.send(
                b"".join(
                    b"*3\r\n$3\r\nSET\r\n$9\r\nprice:%03d\r\n$1\r\n%b\r\n"
                    % (100 + number % 50, str(price).encode())
                    for number in range(100)
                )
            )
        replies = [wire.reply() for _ in range(300)]
        assert replies[:100] + replies[200:] == [b"OK"] * 200
        assert all(isinstance(reply, Error) for reply in replies[100:200])
        wire.call("SET", "price:100", "7", "EX", "1000")
        wire.call("SET", "price:101", "8", "XX")
        assert isinstance(wire.call("SET", "price:102", "y", "EX", "1000"), Error)
        assert wire.call("DISTCACHE", "WAIT", "backing", "50000") == 1
    found = dict(rows(database, "prices"))
    assert found == {100 + number: 3 for number in range(50)} | {100: 7, 101: 8}


def test_rows_that_are_not_in_memory_go_too(users: Database, backed: Backed) -> None:
    """DEL and what may leave nothing: the row would come back otherwise."""
    users.execute(
        "INSERT INTO users VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3), (4, 'four', 4)"
    )
    server = backed(USERS)
    assert ask(server, "DEL", "user:1", "user:9") == 1
    with server.wire() as wire:
        payload = wire.call("DUMP", "user:3")
        assert isinstance(payload, bytes)
        # What is past its time when it comes takes the place of what was there.
        assert wire.call("RESTORE", "user:4", "1", payload, "ABSTTL", "REPLACE") == b"OK"
        wire.call("MULTI")
        wire.call("UNLINK", "user:2")
        assert wire.call("EXEC") == [1]
    assert ask(server, "EXISTS", "user:1", "user:2", "user:4") == 0
    write_all(server)
    assert rows(users) == [(3, "three", 3)]


def test_all_types_are_there_for_a_server_that_has_nothing(
    database: Database, start_server: StartServer
) -> None:
    """Without a map: keys of any type, in a table of our own."""
    options = ("--backing-store", database.address, "--backing-stream", "one", *PATIENT)
    server = start_server(*options)
    keys: list[str | bytes] = ["dated", "stream"]
    keys += {words[1] for words in commands() if isinstance(words[1], str | bytes)}
    with server.wire() as wire:
        for words in commands():
            assert not isinstance(wire.call(*words), Error), words
    ask(server, "SET", "dated", "x", "PX", "100000000")
    for number in range(300):
        ask(server, "XADD", "stream", f"5-{number + 1}", "field", number, "other", "x")
    ask(server, "XDEL", "stream", "5-7")
    ask(server, "XGROUP", "CREATE", "stream", "group", "0")
    ask(server, "XREADGROUP", "GROUP", "group", "me", "COUNT", "9", "STREAMS", "stream", ">")
    ask(server, "XREADGROUP", "GROUP", "group", "you", "COUNT", "2", "STREAMS", "stream", ">")
    write_all(server)
    present = [key for key in keys if ask(server, "EXISTS", key)]
    assert len(present) > 20
    types = {ask(server, "TYPE", key) for key in present}
    assert types == {b"string", b"list", b"set", b"zset", b"hash", b"stream"}
    expected = {key: value_of(server, key) for key in present}
    assert server.stop() == 0
    other = start_server(*options)
    assert {key: value_of(other, key) for key in present} == expected
    for key in present:
        ask(other, "DEL", key)
    ask(other, "DEL", "unmapped")
    write_all(other)
    assert [bytes(key) for key, *_ in rows(database, "distcache_cache")] == [b"unmapped"]


def value_of(server: Process, key: str | bytes) -> Any:
    """Type, value and deadline of a key; of a stream also who has what to acknowledge."""
    kind = ask(server, "TYPE", key)
    groups = ask(server, "XPENDING", "stream", "group") if kind == b"stream" else None
    return (
        *(kind, ask(server, "DEBUG", "DIGEST-VALUE", key), ask(server, "PEXPIRETIME", key)),
        *(groups, ask(server, "XINFO", "GROUPS", key) if groups else None),
    )


def test_what_becomes_of_a_key_that_expires(database: Database, lazy: Backed) -> None:
    for table in ("kept", "gone", "moved"):
        database.execute(f"CREATE TABLE {table} (id integer PRIMARY KEY, name text, age integer)")
    server = lazy(
        """
[kept]
key = "kept:{id}"
direction = "write-behind"

[gone]
key = "gone:{id}"
direction = "write-behind"
expired = "delete"

[moved]
key = "moved:{id}"
direction = "write-behind"
expired = "archive"
archive = "past"
"""
    )
    for table in ("kept", "gone", "moved"):
        ask(server, "HSET", f"{table}:1", "name", "one")
    write_all(server)
    for table in ("kept", "gone", "moved"):
        assert rows(database, table) == [(1, "one", None)]
        # It changes once more, and is gone before that is written.
        ask(server, "HSET", f"{table}:1", "age", "7")
        ask(server, "HSET", f"{table}:2", "name", "two")
        ask(server, "PEXPIRE", f"{table}:1", "1")
    eventually(lambda: ask(server, "EXISTS", "gone:1", "moved:1") == 0)
    ask(server, "HSET", "moved:1", "name", "new")
    write_all(server)
    assert rows(database, "kept") == [(1, "one", 7), (2, "two", None)]
    assert rows(database, "gone") == [(2, "two", None)]
    assert rows(database, "moved") == [(1, "new", None), (2, "two", None)]
    assert [row[:3] for row in rows(database, "past")] == [(1, "one", 7)]
    assert ask(server, "HGETALL", "kept:1") == [b"name", b"one", b"age", b"7"]  # read again
    assert ask(server, "HGETALL", "gone:1") == []


def test_what_expired_is_archived_though_it_is_overwritten(
    database: Database, backed: Backed
) -> None:
    database.execute("CREATE TABLE prices (id integer PRIMARY KEY, price integer)")
    server = backed(
        '[prices]\nkey = "price:{id}"\nas = "column"\ncolumn = "price"\n'
        'direction = "write-behind"\nexpired = "archive"\n',
        *("--enable-debug-command", "yes"),
    )
    with server.wire() as wire:
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"OK"
        for number in range(1, 4):
            assert wire.call("SET", f"price:{number}", number, "PXAT", "1") == b"OK"
        assert wire.call("MSET", "price:1", "10", "price:2", "20") == b"OK"
        wire.send(encode("SET", "price:3", "30") * 10)
        assert [wire.reply() for _ in range(10)] == [b"OK"] * 10
    write_all(server)
    assert rows(database, "prices") == [(1, 10), (2, 20), (3, 30)]
    assert [row[:2] for row in rows(database, "prices_archive")] == [(1, 1), (2, 2), (3, 3)]


def test_a_key_that_expired_before_its_row_was_written(users: Database, lazy: Backed) -> None:
    """The row stays: it is read, changed and deleted as if it was there already."""
    server = lazy(f"{USERS}ttl = 1000\njitter = 0\n")
    write_all(server)
    for number in (1, 2, 3):
        ask(server, "HSET", f"user:{number}", "name", "one", "age", "1")
        ask(server, "PEXPIRE", f"user:{number}", "1")
    # From now on they are rows that were loaded, with the time of such.
    eventually(lambda: ask(server, "PTTL", "user:1") > 1)
    eventually(lambda: ask(server, "PTTL", "user:2") > 1)
    eventually(lambda: ask(server, "PTTL", "user:3") > 1)
    assert ask(server, "HGETALL", "user:1") == [b"name", b"one", b"age", b"1"]
    assert ask(server, "HINCRBY", "user:2", "age", "1") == 2
    assert ask(server, "DEL", "user:3") == 1
    assert figure(server, "queries") == "3"  # there was nothing to be asked for at first
    write_all(server)
    assert rows(users) == [(1, "one", 1), (2, "one", 2)]
    assert dead_letters(users) == []


def test_what_the_database_refuses(database: Database, backed: Backed) -> None:
    """It goes to a table of its own with the reason, and does not hold up the rest."""
    database.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text UNIQUE, age integer"
        " CHECK (age < 200), boss integer REFERENCES users (id) DEFERRABLE)",
    )
    server = backed(USERS)
    with server.wire() as wire:
        wire.call("MULTI")
        for number in range(1, 101):
            wire.call("HSET", f"user:{number}", "name", f"name {number}", "age", number)
        wire.call("HSET", "user:7", "age", "999")
        wire.call("HSET", "user:8", "name", "name 9")
        wire.call("HSET", "user:10", "boss", "100")
        assert not isinstance(wire.call("EXEC"), Error)
        assert wire.call("DISTCACHE", "WAIT", "BACKING", "50000") == 1
    found = dead_letters(database)
    assert len(found) == 2
    assert found[0][:2] == ("users", b"user:7")
    assert found[1][1] in (b"user:8", b"user:9")
    assert all(reason for *_, reason in found)
    assert len(rows(database)) == 98
    assert figure(server, "dead_letters") == "2"
    assert "dead letters" in server.log()
    ask(server, "HSET", "user:7", "age", "7")
    write_all(server)
    assert len(rows(database)) == 99


def test_flushall(database: Database, backed: Backed, start_server: StartServer) -> None:
    """It empties tables that are ours alone, and is refused where it would drop rows."""
    server = start_server("--backing-store", database.address, *PATIENT)
    for number in range(5):
        ask(server, "SET", f"key:{number}", "x")
    write_all(server)
    ask(server, "SET", "one", "x")
    ask(server, "FLUSHALL")
    assert ask(server, "GET", "key:1") is None
    ask(server, "SET", "two", "x")
    write_all(server)
    assert [bytes(it[0]) for it in rows(database, "distcache_cache")] == [b"two", b"unmapped"]
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, name text)")
    server = backed(USERS, "--backing-stream", "other")
    with server.wire() as wire:
        for words in (("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("SWAPDB", "0", "1")):
            assert isinstance(wire.call(*words), Error)
        assert wire.call("SELECT", "1") == b"OK"
        assert wire.call("FLUSHDB") == b"OK"


def test_keys_that_are_not_written_stay_in_memory(database: Database, lazy: Backed) -> None:
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, name text)")
    server = lazy(USERS, "--maxmemory-policy", "allkeys-lru")
    with server.wire() as wire:
        for number in range(100):
            wire.command("HSET", f"user:{number}", "name", "x" * 100)
        assert [wire.reply() for _ in range(100)] == [1] * 100
        assert wire.call("CONFIG", "SET", "maxmemory", "1kb") == b"OK"
        reply = wire.call("HSET", "user:100", "name", "y")
        assert isinstance(reply, Error)
        assert reply.code == b"OOM"
        assert wire.call("DBSIZE") == 100
        assert wire.call("CONFIG", "SET", "backing-batch-delay", "1") == b"OK"
        eventually(lambda: wire.call("DBSIZE") < 100)
    assert len(rows(database)) == 100
    ask(server, "CONFIG", "SET", "maxmemory", "0")
    assert ask(server, "HGET", "user:7", "name") == b"x" * 100  # its row was not deleted


def test_a_key_that_is_deleted_does_not_come_back(users: Database, lazy: Backed) -> None:
    server = lazy(USERS)
    ask(server, "HSET", "user:1", "name", "one")
    write_all(server)
    ask(server, "DEL", "user:1")
    assert rows(users) == [(1, "one", None)]
    assert ask(server, "EXISTS", "user:1") == 0
    ask(server, "HSET", "user:1", "name", "again")
    write_all(server)
    assert rows(users) == [(1, "again", None)]


def test_waiting_for_the_database(users: Database, lazy: Backed) -> None:
    server = lazy(USERS)
    with server.wire() as wire:
        assert wire.call("DISTCACHE", "WAIT", "backing", "0") == 1  # it has written nothing
        assert wire.call("HSET", "user:1", "name", "one") == 1
        assert wire.call("DISTCACHE", "WAIT", "backing", "0") == 1
        assert rows(users) == [(1, "one", None)]
        assert isinstance(wire.call("DISTCACHE", "WAIT", "nothing", "0"), Error)
        assert isinstance(wire.call("DISTCACHE", "WAIT", "backing", "x"), Error)
        assert isinstance(wire.call("DISTCACHE", "WAIT", "backing"), Error)
    assert position(users)[0] == 1


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_who_waits_before_it_is_known_how_far_the_rows_are(users: Database, lazy: Backed) -> None:
    assert lazy(USERS).stop() == 0
    users.execute("BEGIN", "LOCK TABLE distcache.position IN SHARE ROW EXCLUSIVE MODE")
    server = lazy(USERS)
    with server.wire() as wire:
        wire.command("DISTCACHE", "WAIT", "backing", "0")
        eventually(lambda: info(server, "clients")["blocked_clients"] == "1")
        assert figure(server, "write_status") != "writing"
        users.execute("COMMIT")
        assert wire.reply() == 1


def test_write_through(users: Database, lazy: Backed) -> None:
    """The reply comes when the row is there."""
    server = lazy(USERS.replace("behind", "through"), "--appendonly", "yes")
    with server.wire() as wire:
        for number in range(5):
            assert wire.call("HSET", f"user:{number}", "name", "one") == 1
            assert len(rows(users)) == number + 1
        wire.call("MULTI")
        wire.call("HSET", "user:5", "name", "in a transaction")
        wire.call("SET", "other", "x")
        assert wire.call("EXEC") == [1, b"OK"]
        assert len(rows(users)) == 6
        assert wire.call("HGET", "user:5", "name") == b"in a transaction"
        for number in range(6, 20):
            wire.command("HSET", f"user:{number}", "name", "pipelined")
        for _ in range(6, 20):
            assert wire.reply() == 1
    assert len(rows(users)) == 20


def test_clean_ends(users: Database, lazy: Backed) -> None:
    """A shutdown writes what is left; NOSAVE does not."""
    server = lazy(USERS)
    ask(server, "HSET", "user:1", "name", "one")
    assert server.stop() == 0
    assert rows(users) == [(1, "one", None)]
    server = lazy(USERS)
    ask(server, "HSET", "user:2", "name", "two")
    with server.wire() as wire:
        wire.command("SHUTDOWN", "NOSAVE")
        server.process.wait(60)
    assert rows(users) == [(1, "one", None)]


def test_write_through_of_clients_that_block(
    database: Database, start_server: StartServer, tmp_path: Path
) -> None:
    """What a push hands on to a client that waits is written before either is answered."""
    file = tmp_path / "map.toml"
    file.write_text('[any]\nkey = "{key}"\nas = "any"\ndirection = "write-through"\n')
    server = start_server(
        *("--backing-store", database.address, *PATIENT),
        *("--backing-map", str(file)),
    )
    with server.wire() as waiting, server.wire() as wire:
        waiting.command("BLMOVE", "list", "other", "LEFT", "RIGHT", "0")
        eventually(lambda: wire.call("INFO", "clients").count(b"blocked_clients:1"))
        eventually(lambda: figure(server, "loading") == "0")
        assert wire.call("RPUSH", "list", "x", "y") == 2
        assert waiting.reply() == b"x"
        assert {bytes(it[0]) for it in rows(database, "distcache_cache")} == {b"list", b"other"}
        assert waiting.call("LPOP", "list") == b"y"
        assert {bytes(it[0]) for it in rows(database, "distcache_cache")} == {b"other"}


def test_metrics(users: Database, lazy: Backed) -> None:
    port = free_port()
    server = lazy(USERS, "--metrics-port", str(port))
    ask(server, "HSET", "user:1", "name", "one")

    def found() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = [line.split(" ") for line in lines if line.startswith("distcache_backing_")]
        return {name.removeprefix("distcache_backing_"): float(value) for name, value in pairs}

    eventually(lambda: found()["pending"] == 1)
    assert found()["lag_bytes"] > 0
    write_all(server)
    now = found()
    assert (now["writing"], now["epoch"], now["pending"], now["lag_bytes"]) == (1, 1, 0, 0)
    assert (now["rows_total"], now["dead_letters_total"]) == (1, 0)
    assert now["offset"] > 0


def test_a_table_that_cannot_be_written(database: Database, backed: Backed) -> None:
    """It is found out at the start, with the reason."""
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, name text, more text NOT NULL)")
    with pytest.raises(AssertionError, match=r"column more of table .* must not be empty"):
        backed(USERS + 'columns = ["name"]\n')
    with pytest.raises(AssertionError, match="is that of mapping 'users' already"):
        backed(USERS + USERS.replace("[users]", "[others]\ntable = 'users'").replace("user:", "o:"))


def test_a_row_is_not_evicted_by_the_command_that_needs_it(
    database: Database, backed: Backed
) -> None:
    """It would count as missing: read as nothing, and begun anew by a write."""
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, age integer, note text)")
    for number in (1, 2):
        database.execute(f"INSERT INTO users VALUES ({number}, 5, '{'x' * 400_000}')")  # noqa: S608
    server = backed(USERS, "--maxmemory-policy", "allkeys-lru")
    with server.wire() as wire:
        assert wire.call("HGET", "user:1", "age") == b"5"
        # Now it is the one that goes first.
        eventually(lambda: wire.call("OBJECT", "IDLETIME", "user:1"))
        assert wire.call("HGET", "user:2", "age") == b"5"
        used = int(info(server, "memory")["used_memory"])
        wire.send(
            encode("CONFIG", "SET", "maxmemory", used - 200_000)
            + encode("HINCRBY", "user:1", "age", 1)
        )
        assert wire.reply() == b"OK"
        assert wire.reply() == 6
        assert wire.call("HSTRLEN", "user:1", "note") == 400_000
    write_all(server)
    assert [row[:2] for row in rows(database)] == [(1, 6), (2, 5)]
    assert all(len(row[2]) == 400_000 for row in rows(database))
