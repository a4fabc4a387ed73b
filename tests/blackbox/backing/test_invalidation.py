"""Rows are changed by others, and the cache hears of it."""

import pytest

from tests.blackbox.backing.conftest import Backed
from tests.support import eventually
from tests.support.databases import PostgresDatabase

pytestmark = [
    pytest.mark.ours("the backing store"),
    pytest.mark.parametrize("database", ["postgres"], indirect=True),
]

MAP = """
[users]
key = "user:{id}"
absent = "1h"

[profiles]
key = "profile:{tenant}:{login}"
table = "users"
as = "column"
column = "name"
"""


@pytest.fixture
def users(database: PostgresDatabase) -> PostgresDatabase:
    database.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, tenant text NOT NULL, login text NOT NULL,"
        " name text, UNIQUE (tenant, login))",
        "CREATE TABLE others (id integer PRIMARY KEY)",
        "INSERT INTO users SELECT i, 'acme', 'login' || i, 'name ' || i"
        " FROM generate_series(1, 100) AS i",
    )
    return database


def test_an_update_drops_the_cached_row(users: PostgresDatabase, backed: Backed) -> None:
    users.execute(
        "ALTER TABLE users REPLICA IDENTITY FULL", "CREATE PUBLICATION distcache FOR TABLE users"
    )
    server = backed(MAP, "--backing-invalidation", "decoding")
    with server.client(decode_responses=True) as client:
        eventually(lambda: client.info("backing")["backing_changes_status"] == "up")
        assert client.hget("user:1", "name") == "name 1"
        assert client.get("profile:acme:login1") == "name 1"
        users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.hget("user:1", "name") == "new")
        eventually(lambda: client.get("profile:acme:login1") == "new")
    server.stop()
    print(server.log())
    users.execute("SELECT pg_drop_replication_slot('distcache')")
