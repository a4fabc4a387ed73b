"""Customers in PostgreSQL behind distcache, which keeps itself in step.

python after.py redis://localhost:6380
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import redis.asyncio as redis


class Customers:
    """Keys of a cache: `map.toml` says that they are rows."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    async def get(self, number: int) -> dict[str, str] | None:
        found: dict[str, str] = await self._cache.hgetall(f"customer:{number}")
        return found or None

    async def put(self, number: int, name: str, city: str) -> None:
        await self._cache.hset(f"customer:{number}", mapping={"name": name, "city": city})

    async def move(self, number: int, city: str) -> None:
        await self._cache.hset(f"customer:{number}", "city", city)

    async def remove(self, number: int) -> None:
        await self._cache.delete(f"customer:{number}")

    async def stored(self) -> None:
        """Wait until all that was put is in the database: nobody else needs to."""
        await self._cache.execute_command("DISTCACHE", "WAIT", "backing", 10_000)


async def main(cache_url: str) -> None:
    async with redis.from_url(cache_url, decode_responses=True) as cache:
        customers = Customers(cache)
        await customers.put(3, "Edsger", "Austin")
        await customers.move(1, "Paris")
        for number in range(1, 5):
            print(number, await customers.get(number))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
