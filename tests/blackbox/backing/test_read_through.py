"""Rows that nobody loaded are there for every command that reads them."""

import contextlib
import threading
from typing import Any

import pytest
import redis

from tests.blackbox.backing.conftest import Backed
from tests.support import Error, Process, eventually, plain
from tests.support.databases import Database
from tests.support.replication import SETTINGS, ask

pytestmark = pytest.mark.ours("the backing store")

only_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
"""Its locks can hold up a load; nobody holds up readers of SQLite."""

MAP = """
[users]
key = "user:{id}"
ttl = "10m"

[names]
key = "name:{id}"
table = "users"
as = "column"
column = "name"

[objects]
key = "object:{id}"
table = "users"
as = "json"
columns = ["name", "age"]
"""


@pytest.fixture
def users(database: Database) -> Database:
    database.execute("CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL, age integer)")
    database.fill("users", [(number, f"name {number}", number % 90) for number in range(1, 1001)])
    database.execute("UPDATE users SET age = NULL WHERE id = 3")
    return database


def figures(server: Process) -> dict[str, Any]:
    with server.client(decode_responses=True) as client:
        found: dict[str, Any] = client.info("backing")
    return found


def test_each_form(users: Database, backed: Backed, protocol: int) -> None:
    with backed(MAP).client(protocol, decode_responses=True) as client:
        assert client.hgetall("user:1") == {"name": "name 1", "age": "1"}
        assert client.get("name:2") == "name 2"
        assert client.get("object:2") == '{"name":"name 2","age":2}'
        assert client.get("object:3") == '{"name":"name 3","age":null}'
        assert client.hgetall("user:3") == {"name": "name 3"}  # NULL is no field
        assert client.hgetall("user:2000") == {}
        assert client.get("user:x") is None
        assert client.hgetall("user:007") == {}  # not the usual form of a number
        assert 0 < client.ttl("user:1") <= 600
        assert client.ttl("name:2") == -1


COMMANDS: list[tuple[tuple[str, ...], Any]] = [
    (("EXISTS", "user:11", "user:12", "user:1001"), 2),
    (("TYPE", "user:13"), b"hash"),
    (("TTL", "name:14"), -1),
    (("MGET", "name:15", "name:16", "other", "name:1001"), [b"name 15", b"name 16", None, None]),
    (("STRLEN", "name:17"), 7),
    (("TOUCH", "name:18", "name:19"), 2),
    (("OBJECT", "ENCODING", "user:20"), b"listpack"),
    (("HINCRBY", "user:21", "age", "1"), 22),
    (("APPEND", "name:22", "!"), 8),
    (("SETNX", "name:23", "x"), 0),
    (("SET", "name:24", "x", "NX"), None),
    (("SET", "name:25", "x", "GET"), b"name 25"),
    (("SET", "name:26", "x"), b"OK"),
    (("GETDEL", "name:27"), b"name 27"),
    (("RENAME", "name:28", "other"), b"OK"),
    (("LPUSH", "name:29", "x"), b"WRONGTYPE"),
    (("EXPIRE", "name:30", "100"), 1),
    (("PERSIST", "user:31"), 1),
    (("HSET", "user:32", "age", "5"), 0),
    (("DEL", "name:33"), 0),
    (("BITCOUNT", "name:34"), 25),
    (("LCS", "name:35", "name:36"), b"name 3"),
    (("SORT", "user:37"), b"WRONGTYPE"),
    (("COPY", "name:38", "copied"), 1),
    (("GETRANGE", "name:39", "0", "3"), b"name"),
    (("HGET", "user:40", "name"), b"name 40"),
    (("COPY", "name:41", "name:42"), 0),
    (("RESTORE", "name:43", "0", "x"), b"BUSYKEY"),
    (("RENAMENX", "name:44", "name:45"), 0),
]


def test_every_command_finds_the_row(users: Database, backed: Backed) -> None:
    with backed(MAP).wire() as wire:
        for words, expected in COMMANDS:
            reply = wire.call(*words)
            found = reply.code if isinstance(reply, Error) else plain(reply)
            assert found == expected, (words, reply)


def test_many_ask_for_one_key(users: Database, backed: Backed) -> None:
    """One query, however many clients ask."""
    server = backed(MAP)
    wires = [server.wire() for _ in range(200)]
    with contextlib.ExitStack() as stack:
        for wire in wires:
            stack.callback(wire.close)
        for wire in wires:
            wire.send(b"*2\r\n$3\r\nGET\r\n$7\r\nname:77\r\n" * 50)
        for wire in wires:
            wire.expect(b"$7\r\nname 77\r\n" * 50)
    assert figures(server)["backing_queries"] == 1


def test_a_pipeline_is_loaded_together(users: Database, backed: Backed) -> None:
    server = backed(MAP)
    with server.client(decode_responses=True) as client:
        with client.pipeline(transaction=False) as pipe:
            for number in range(1, 301):
                pipe.hget(f"user:{number}", "name")
            assert pipe.execute() == [f"name {number}" for number in range(1, 301)]
        assert client.mget([f"name:{number}" for number in range(1, 301)])[299] == "name 300"
    assert figures(server)["backing_queries"] <= 4


def test_transactions(users: Database, backed: Backed) -> None:
    """EXEC loads what its commands need, then runs them as one."""
    server = backed(MAP)
    with server.client(decode_responses=True) as client:
        with client.pipeline() as pipe:
            pipe.hgetall("user:50")
            pipe.hincrby("user:51", "age", 1)
            pipe.get("name:52")
            pipe.get("name:1001")
            assert pipe.execute() == [{"name": "name 50", "age": "50"}, 52, "name 52", None]
        assert figures(server)["backing_queries"] == 2
        with client.pipeline() as pipe:
            pipe.watch("name:53")
            pipe.get("name:53")
            pipe.multi()
            pipe.set("name:53", "new")
            assert pipe.execute() == [True]


def test_other_databases_have_no_rows(users: Database, backed: Backed) -> None:
    server = backed(MAP)
    with server.client(decode_responses=True) as client:
        client.select(1)
        assert client.get("name:1") is None
        client.set("name:1", "x")
        with pytest.raises(redis.ResponseError, match="another database"):
            client.copy("name:1", "name:2", destination_db=0)
        with pytest.raises(redis.ResponseError, match="another database"):
            client.move("name:1", 0)
        client.select(0)
        assert client.get("name:1") == "name 1"


def test_missing_rows_are_remembered(users: Database, backed: Backed) -> None:
    server = backed('[users]\nkey = "user:{id}"\nabsent = "1h"\n')
    with server.client(decode_responses=True) as client:
        for _ in range(3):
            assert client.exists("user:5000") == 0
        assert figures(server)["backing_queries"] == 1
        users.fill("users", [(5000, "late", 1)])
        assert client.exists("user:5000") == 0
        # Who drops a key says that what is known of it is out of date.
        client.delete("user:5000")
        assert client.exists("user:5000") == 1


def test_what_is_dropped_is_loaded_again(users: Database, backed: Backed) -> None:
    with backed(MAP).client(decode_responses=True) as client:
        assert client.get("name:1") == "name 1"
        users.execute("UPDATE users SET name = 'changed'")
        assert client.get("name:1") == "name 1"
        for drop in (lambda: client.delete("name:1"), client.flushall, client.flushdb):
            drop()
            assert client.get("name:1") == "changed"


def test_keys_of_several_columns(database: Database, backed: Backed) -> None:
    database.execute(
        "CREATE TABLE items (shop text, number integer, label text, PRIMARY KEY (number, shop))"
    )
    database.fill("items", [("a", 1, "first"), ("b", 1, "second"), ("a:b", 2, "third")])
    text = '[items]\nkey = "item:{number}:{shop}/label"\nas = "column"\ncolumn = "label"\n'
    with backed(text).client(decode_responses=True) as client:
        keys = ["item:1:a/label", "item:1:b/label", "item:2:a:b/label", "item:2:a/label"]
        assert client.mget(keys) == ["first", "second", "third", None]


def test_replicas_get_rows_and_load_none(users: Database, backed: Backed) -> None:
    primary = backed(MAP, *SETTINGS)
    replica = backed(MAP, "--replicaof", f"127.0.0.1 {primary.port}")
    with (
        primary.client(decode_responses=True) as first,
        replica.client(decode_responses=True) as second,
    ):
        eventually(lambda: second.info("replication")["master_link_status"] == "up")
        assert second.hgetall("user:1") == {}
        assert first.hgetall("user:1") == {"name": "name 1", "age": "1"}
        eventually(lambda: second.hgetall("user:1") == {"name": "name 1", "age": "1"})
        assert abs(first.pttl("user:1") - second.pttl("user:1")) < 60_000
        assert second.hgetall("user:2") == {}
        assert figures(replica)["backing_queries"] == 0
        second.execute_command("REPLICAOF", "NO", "ONE")
        assert second.hgetall("user:2") == {"name": "name 2", "age": "2"}


def test_rows_are_in_the_log(users: Database, backed: Backed) -> None:
    server = backed(MAP, "--appendonly", "yes")
    with server.client(decode_responses=True) as client:
        before = client.hgetall("user:1")
        deadline = client.pexpiretime("user:1")
    server.stop()
    users.execute("DELETE FROM users")
    again = backed(MAP, "--appendonly", "yes", "--dir", str(server.folder))
    with again.client(decode_responses=True) as client:
        assert client.hgetall("user:1") == before
        assert client.pexpiretime("user:1") == deadline


def test_a_key_that_expires_as_it_is_overwritten(users: Database, backed: Backed) -> None:
    """That it went is in the log ahead of what took its place."""
    words = ("--appendonly", "yes", "--enable-debug-command", "yes")
    server = backed(MAP, *words)
    with server.wire() as wire:
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"OK"
        assert wire.call("SET", "name:1", "old", "PXAT", "1") == b"OK"
        assert wire.call("SETEX", "name:1", "1000", "new") == b"OK"
        assert wire.call("MULTI") == b"OK"
        wire.call("SET", "other", "x")
        assert wire.call("EXEC") == [b"OK"]
    server.kill()
    again = backed(MAP, *words, "--dir", str(server.folder))
    eventually(lambda: ask(again, "PING") == b"PONG")
    assert ask(again, "GET", "name:1") == b"new"


@only_postgres
def test_others_do_not_wait(users: Database, backed: Backed) -> None:
    """A table that is locked holds up who asks for its rows, and nobody else."""
    server = backed(MAP, "--backing-timeout", "20000")
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.client(decode_responses=True) as client, server.client() as other:
        replies: list[Any] = []
        asking = threading.Thread(target=lambda: replies.append(client.get("name:1")))
        asking.start()
        eventually(lambda: other.info("clients")["blocked_clients"] == 1)
        other.set("x", "1")
        assert other.get("x") == b"1"
        users.execute("COMMIT")
        asking.join(20)
        assert replies == ["name 1"]


@only_postgres
def test_a_write_wins_over_a_load(users: Database, backed: Backed) -> None:
    """What began to load before a write, or before the key was dropped, is not installed."""
    server = backed(MAP, "--backing-timeout", "20000")
    for drop, expected in ((("DEL", "name:1"), "new"), (("SET", "name:1", "set"), "set")):
        with server.client(decode_responses=True) as other:
            other.flushall()
            # The statement waits for the lock with an older snapshot of nothing: what counts is
            # that the load began before.
            users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            with server.wire() as wire:
                wire.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:1\r\n")
                eventually(lambda: other.info("clients")["blocked_clients"] == 1)
                before = figures(server)["backing_fenced"]
                other.execute_command(*drop)
                users.execute("UPDATE users SET name = 'new' WHERE id = 1", "COMMIT")
                wire.expect(b"$%d\r\n%s\r\n" % (len(expected), expected.encode()))
            assert figures(server)["backing_fenced"] == before + 1
            assert other.get("name:1") == expected


@only_postgres
def test_clients_that_go_while_they_wait(users: Database, backed: Backed) -> None:
    server = backed(MAP, "--backing-timeout", "20000")
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.client(decode_responses=True) as other:
        wire = server.wire()
        wire.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:1\r\n")
        eventually(lambda: other.info("clients")["blocked_clients"] == 1)
        wire.close()
        eventually(lambda: other.info("clients")["blocked_clients"] == 0)
        with server.wire() as second:
            second.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:1\r\n")
            eventually(lambda: other.info("clients")["blocked_clients"] == 1)
            users.execute("COMMIT")
            second.expect(b"$6\r\nname 1\r\n")


@only_postgres
def test_clients_can_be_unblocked(users: Database, backed: Backed) -> None:
    server = backed(MAP, "--backing-timeout", "20000")
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.client(decode_responses=True) as other, server.wire() as wire:
        number = wire.call("CLIENT", "ID")
        wire.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:1\r\n*1\r\n$4\r\nPING\r\n")
        eventually(lambda: other.info("clients")["blocked_clients"] == 1)
        assert other.execute_command("CLIENT", "UNBLOCK", number) == 1
        wire.expect(b"-BACKINGDOWN ")
        users.execute("ROLLBACK")


@pytest.mark.parametrize(
    "table", ["k", "t", "x", "gone", "Key", 'odd "name"', "select", "excluded"]
)
def test_tables_of_any_name(database: Database, backed: Backed, table: str) -> None:
    quoted = '"' + table.replace('"', '""') + '"'
    database.execute(
        f"CREATE TABLE {quoted} (k integer PRIMARY KEY, t text)",
        f"INSERT INTO {quoted} VALUES (1, 'one')",  # noqa: S608
    )
    map_ = f'[rows]\nkey = "row:{{k}}"\ntable = \'{table}\'\ndirection = "write-behind"\n'
    with backed(map_).wire() as wire:
        assert wire.call("HGETALL", "row:1") == [b"t", b"one"]
        assert wire.call("HSET", "row:1", "t", "new") == 0
        assert wire.call("HSET", "row:2", "t", "two") == 1
        assert wire.call("DISTCACHE", "WAIT", "backing", 50_000) == 1
    assert database.query(f"SELECT * FROM {quoted} ORDER BY 1") == [  # noqa: S608
        (1, "new"),
        (2, "two"),
    ]
