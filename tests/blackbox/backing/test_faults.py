"""The store goes away, is slow, or changes under way."""

import pytest
import redis

from tests.blackbox.backing.conftest import Backed
from tests.support import Error, eventually
from tests.support.databases import Database, PostgresDatabase

pytestmark = pytest.mark.ours("the backing store")

only_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)

TABLE = "CREATE TABLE users (id integer PRIMARY KEY, name text)"
ROWS = [(number, f"name {number}") for number in range(1, 101)]


@pytest.fixture
def users(database: Database) -> Database:
    database.execute(TABLE)
    database.fill("users", ROWS)
    return database


def mapped(name: str, *options: str) -> str:
    lines = [f"[{name}]", f'key = "{name}:{{id}}"', 'table = "users"', 'as = "column"']
    return "\n".join([*lines, 'column = "name"', *options, ""])


@only_postgres
def test_a_server_that_goes_away_and_comes_back(users: Database, backed: Backed) -> None:
    assert isinstance(users, PostgresDatabase)
    server = backed(
        mapped("error")
        + mapped("miss", 'away = "miss"')
        + mapped("stale", 'ttl = "1ms"', 'stale = "1h"', 'away = "stale"')
        + mapped("fresh", 'ttl = "1ms"', 'stale = "1h"'),
    )
    with server.client(decode_responses=True) as client:
        assert client.get("error:1") == "name 1"
        assert client.get("stale:1") == "name 1"
        assert client.get("fresh:1") == "name 1"
        users.server.kill()
        with pytest.raises(redis.ResponseError, match=r"BACKINGDOWN.*mapping 'error'"):
            client.get("error:2")
        assert client.get("error:1") == "name 1"
        assert client.get("miss:2") is None

        def is_down() -> bool:
            assert client.get("stale:1") == "name 1"
            assert client.get("miss:3") is None
            return bool(client.info("backing")["backing_status"] == "down")

        eventually(is_down)
        with pytest.raises(redis.ResponseError, match="BACKINGDOWN"):
            client.get("stale:2")

        def is_refused() -> bool:
            try:
                assert client.get("fresh:1") == "name 1"
            except redis.ResponseError as error:
                return "BACKINGDOWN" in str(error)
            return False

        eventually(is_refused)  # now and then the store is asked, and what is here serves meanwhile
        with pytest.raises(redis.ResponseError, match="BACKINGDOWN"):
            client.append("stale:1", "!")  # nothing is built on what is out of date
        assert client.set("other", "x")
        users.server.start()
        users.reconnect()
        users.execute("UPDATE users SET name = 'back'")
        eventually(lambda: client.get("miss:3") == "back")
        assert client.get("error:2") == "back"
        eventually(lambda: client.get("stale:1") == "back")
        assert client.info("backing")["backing_status"] == "up"
    assert "answers again" in server.log()


def test_a_table_that_changes(users: Database, backed: Backed) -> None:
    server = backed(mapped("name") + mapped("miss", 'away = "miss"'))
    with server.client(decode_responses=True) as client:
        assert client.get("name:1") == "name 1"
        users.execute("ALTER TABLE users RENAME TO people")
        for _ in range(5):
            with pytest.raises(redis.ResponseError, match=r"BACKINGDOWN.*users"):
                client.get("name:2")
        with client.pipeline() as pipe, pytest.raises(redis.ResponseError, match="BACKINGDOWN"):
            pipe.set("other", "x").get("name:2").execute()
        assert client.exists("other") == 0  # nothing of the transaction was run, and it is over
        assert client.get("miss:2") is None
        # It answers, so that it is asked again at once.
        assert client.info("backing")["backing_status"] == "up"
        users.execute("ALTER TABLE people RENAME TO users")
        assert client.get("name:2") == "name 2"


@only_postgres
def test_a_load_that_takes_too_long(users: Database, backed: Backed) -> None:
    server = backed(mapped("name"), "--backing-timeout", "5000")  # for the start, too
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.wire() as wire:
        reply = wire.call("GET", "name:1")
        assert isinstance(reply, Error)
        assert b"in time" in bytes(reply)
        # The statement does not stay behind in the database.
        eventually(lambda: users.query("SELECT FROM pg_locks WHERE NOT granted") == [])
        users.execute("COMMIT")
        eventually(lambda: wire.call("GET", "name:1") == b"name 1")


@only_postgres
def test_too_many_loads(users: Database, backed: Backed) -> None:
    options = ("--backing-timeout", "20000", "--backing-max-loads", "2")
    server = backed(mapped("name"), *options)
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.wire() as wire, server.client() as other:
        wire.send(b"*3\r\n$4\r\nMGET\r\n$6\r\nname:1\r\n$6\r\nname:2\r\n")
        eventually(lambda: other.info("backing")["backing_loading"] == 2)
        with pytest.raises(redis.ResponseError, match="too many"):
            other.get("name:3")
        assert other.info("backing")["backing_shed"] == 1
        users.execute("COMMIT")
        wire.expect(b"*2\r\n$6\r\nname 1\r\n$6\r\nname 2\r\n")
        assert other.get("name:3") == b"name 3"


@only_postgres
def test_a_pause_and_a_load(users: Database, backed: Backed) -> None:
    """Nothing changes during CLIENT PAUSE: a load that ends then is begun again after it."""
    server = backed(mapped("name"), "--backing-timeout", "20000")
    users.execute("BEGIN", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    with server.wire() as wire, server.wire() as late, server.client() as other:
        wire.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:1\r\n*1\r\n$4\r\nPING\r\n")
        eventually(lambda: other.info("backing")["backing_loading"] == 1)
        other.client_pause(60_000, all=False)
        users.execute("COMMIT")
        eventually(lambda: other.info("backing")["backing_loading"] == 0)
        late.send(b"*2\r\n$3\r\nGET\r\n$6\r\nname:2\r\n")
        eventually(lambda: other.info("clients")["blocked_clients"] == 2)
        assert other.info("keyspace") == {}
        other.client_unpause()
        wire.expect(b"$6\r\nname 1\r\n+PONG\r\n")
        late.expect(b"$6\r\nname 2\r\n")


def test_refresh_ahead(users: Database, backed: Backed) -> None:
    """A read near the end of a key's time loads it anew, and does not wait for that."""
    server = backed(mapped("name", 'ttl = "1h"', "refresh = 1", "jitter = 0"))
    with server.client(decode_responses=True) as client:
        assert client.get("name:1") == "name 1"
        users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.get("name:1") == "new")
        assert client.info("backing")["backing_refreshed"] > 0
        users.execute("DELETE FROM users WHERE id = 1")
        eventually(lambda: client.get("name:1") is None)


def test_stale_while_it_is_loaded(users: Database, backed: Backed) -> None:
    server = backed(mapped("name", 'ttl = "1ms"', 'stale = "1h"'))
    with server.client(decode_responses=True) as client:
        assert client.get("name:1") == "name 1"
        users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.get("name:1") == "new")
        assert client.info("backing")["backing_stale"] > 0
        assert client.ttl("name:1") > 3000


def test_memory_is_bounded(users: Database, backed: Backed) -> None:
    server = backed(mapped("name"))
    with server.client(decode_responses=True) as client:
        client.set("large", "x" * 100_000)
        client.config_set("maxmemory", 10_000)
        with pytest.raises(redis.OutOfMemoryError):
            client.get("name:1")
        client.config_set("maxmemory", 0)
        assert client.get("name:1") == "name 1"
