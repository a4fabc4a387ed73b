"""The example: an application before and after can do the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from examples.customers import after, before
from tests.blackbox.backing.conftest import PATIENT
from tests.support import Process, StartServer, eventually
from tests.support.databases import PostgresDatabase
from tests.support.replication import ask
from tests.support.rows import figure, write_all
from tests.support.servers import OURS

pytestmark = pytest.mark.ours("the backing store")

FOLDER = Path(before.__file__).parent


@pytest.fixture
def shop(postgres: PostgresDatabase) -> PostgresDatabase:
    postgres.execute((FOLDER / "schema.sql").read_text())
    return postgres


def started(shop: PostgresDatabase, start_server: StartServer) -> Process:
    """distcache, as the example says, with a name of its own in the database."""
    shop.execute("DROP TRIGGER changed ON customers")
    words = (
        *("--backing-store", shop.address, "--backing-map", str(FOLDER / "map.toml")),
        *("--backing-invalidation", "notify", "--backing-slot", shop.name, *PATIENT),
    )
    done = subprocess.run(
        [*OURS, *words, "--backing-setup-sql"], capture_output=True, text=True, check=True
    )
    shop.execute(done.stdout)
    server = start_server(*words)
    eventually(lambda: ask(server, "PING") == b"PONG")
    eventually(lambda: figure(server, "changes_status") == "up")
    return server


async def until(found: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(60):
        while await found() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def play(customers: before.Customers | after.Customers, database: Any) -> None:
    """What both can do."""
    assert await customers.get(1) == {"name": "Ada", "city": "London"}
    assert await customers.get(7) is None
    await customers.put(7, "Alan", "Wilmslow")
    await customers.move(1, "Paris")
    await customers.remove(2)
    assert await customers.get(1) == {"name": "Ada", "city": "Paris"}
    assert await customers.get(2) is None
    assert await customers.get(7) == {"name": "Alan", "city": "Wilmslow"}
    await customers.stored()
    rows = await database.fetch("SELECT * FROM customers ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "Ada", "Paris"), (7, "Alan", "Wilmslow")]
    # Somebody else changes rows.
    await database.execute("UPDATE customers SET city = 'Rome' WHERE id = 1")
    await database.execute("DELETE FROM customers WHERE id = 7")
    await database.execute("INSERT INTO customers VALUES (2, 'Barbara', NULL)")
    await until(lambda: customers.get(1), {"name": "Ada", "city": "Rome"})
    await until(lambda: customers.get(7), None)
    await until(lambda: customers.get(2), {"name": "Barbara"})


async def test_before(shop: PostgresDatabase, start_server: StartServer) -> None:
    server = start_server()  # where there is no store it is what Redis is
    pool = await asyncpg.create_pool(shop.address, min_size=1, max_size=3)
    async with redis.Redis(port=server.port, decode_responses=True) as cache:
        customers = before.Customers(cache, pool)
        await customers.listen()
        await play(customers, pool)
    pool.terminate()


async def test_after(shop: PostgresDatabase, start_server: StartServer) -> None:
    server = await asyncio.to_thread(started, shop, start_server)
    database = await asyncpg.connect(shop.address)
    async with redis.Redis(port=server.port, decode_responses=True) as cache:
        await play(after.Customers(cache), database)
    await database.close()


def test_both_print_the_same(shop: PostgresDatabase, start_server: StartServer) -> None:
    def run(file: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(FOLDER / file), *words], capture_output=True, text=True, check=True
        )
        return done.stdout

    plain = start_server()
    said = run("before.py", f"redis://127.0.0.1:{plain.port}", shop.address)
    assert said.splitlines()[0] == "1 {'name': 'Ada', 'city': 'Paris'}"
    shop.execute("DELETE FROM customers WHERE id = 3", "UPDATE customers SET city = 'London'")
    server = started(shop, start_server)
    assert run("after.py", f"redis://127.0.0.1:{server.port}") == said.replace("New York", "London")
    write_all(server)
    assert shop.query("SELECT city FROM customers WHERE id IN (1, 3) ORDER BY id") == [
        ("Paris",),
        ("Austin",),
    ]
