"""Customers in PostgreSQL behind Redis, kept in step by the application.

python before.py redis://localhost:6379 postgresql://localhost/shop
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import redis.asyncio as redis

TTL_S = 600
ABSENT = {"": ""}
"""What a key holds of whose row it is known that there is none."""


class Customers:
    """Cache-aside, dual writes, invalidation."""

    def __init__(self, cache: Any, database: Any) -> None:
        self._cache = cache
        self._database = database

    async def get(self, number: int) -> dict[str, str] | None:
        """The cache, then the database, then the cache again."""
        key = f"customer:{number}"
        found: dict[str, str] = await self._cache.hgetall(key)
        if not found:
            row = await self._database.fetchrow(
                "SELECT name, city FROM customers WHERE id = $1", number
            )
            # Whoever changes the row now has deleted the key already: what comes next is old.
            found = {k: v for k, v in row.items() if v is not None} if row is not None else ABSENT
            async with self._cache.pipeline() as pipe:
                await pipe.hset(key, mapping=found).expire(key, TTL_S).execute()
        return None if found == ABSENT else found

    async def put(self, number: int, name: str, city: str) -> None:
        """Two writes: a crash between them leaves the old copy."""
        await self._database.execute(
            "INSERT INTO customers (id, name, city) VALUES ($1, $2, $3)"
            " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, city = EXCLUDED.city",
            number,
            name,
            city,
        )
        await self._cache.delete(f"customer:{number}")

    async def move(self, number: int, city: str) -> None:
        await self._database.execute("UPDATE customers SET city = $2 WHERE id = $1", number, city)
        await self._cache.delete(f"customer:{number}")

    async def remove(self, number: int) -> None:
        await self._database.execute("DELETE FROM customers WHERE id = $1", number)
        await self._cache.delete(f"customer:{number}")

    async def stored(self) -> None:
        """All that was put is in the database already."""

    async def listen(self) -> None:
        """Hear of changes by others, for as long as the connection lasts."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[int]] = set()

        def changed(_: object, __: int, ___: str, number: object) -> None:
            task = loop.create_task(self._cache.delete(f"customer:{number}"))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        connection = await self._database.acquire()
        await connection.add_listener("customers", changed)


async def main(cache_url: str, database_url: str) -> None:
    pool = await asyncpg.create_pool(database_url)
    async with pool, redis.from_url(cache_url, decode_responses=True) as cache:
        customers = Customers(cache, pool)
        await customers.put(3, "Edsger", "Austin")
        await customers.move(1, "Paris")
        for number in range(1, 5):
            print(number, await customers.get(number))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
