"""What a store can do, and which one an address means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from distcache_replication.backing.address import without_password
from distcache_replication.backing.errors import BadMap
from distcache_replication.backing.mapping import Mapping
from distcache_replication.backing.plan import Plan, Row, Table, bind

KeyValues = tuple[str | bytes, ...]


class Store(Protocol):
    """A database with tables.  Everything raises Away and Refused."""

    shown: str
    """Where it is, without passwords."""

    async def open(self) -> None:
        """Connect; once, before anything else."""

    async def close(self) -> None:
        """Let go of all connections."""

    async def describe(self, name: tuple[str, ...]) -> Table | None:
        """A table, or None where there is none."""

    async def create_cache(self, name: tuple[str, ...]) -> None:
        """Create a table for keys of any type."""

    async def load(self, plan: Plan, keys: Sequence[KeyValues]) -> list[Row | None]:
        """The rows with these keys, in this order; None for each that is not there."""


class BadAddress(Exception):
    """An address of a store that cannot be used."""


def open_store(address: str, folder: str, connections: int, timeout_s: float) -> Store:
    """The store at an address; raises BadAddress.  Relative paths start at ``folder``."""
    scheme = address.partition(":")[0]
    if scheme in ("postgresql", "postgres"):
        try:
            from distcache_replication.backing.postgres import Postgres
        except ImportError:
            raise BadAddress(
                "PostgreSQL needs asyncpg: pip install 'distcache-server[postgres]'"
            ) from None
        return Postgres(address, without_password(address), connections, timeout_s)
    if scheme == "sqlite":
        from distcache_replication.backing.sqlite import Sqlite, path_in

        return Sqlite(path_in(address, folder), timeout_s)
    raise BadAddress("write postgresql://user@host/database or sqlite:///file")


async def bind_all(store: Store, mappings: Sequence[Mapping]) -> list[Plan]:
    """The plans of all mappings; BadMap where the store does not have what they name."""
    plans = []
    for mapping in mappings:
        table = await store.describe(mapping.table)
        if table is None and mapping.form == "any":
            await store.create_cache(mapping.table)
            table = await store.describe(mapping.table)
        plans.append(bind(mapping, table))
    _no_table_twice(plans)
    return plans


def _no_table_twice(plans: Sequence[Plan]) -> None:
    """Two mappings of one row would not know of each other's changes."""
    seen: dict[tuple[str, ...], str] = {}
    for plan in plans:
        other = seen.setdefault(plan.table.name, plan.mapping.name)
        if other != plan.mapping.name and plan.any_type:
            raise BadMap(
                plan.mapping.name, f"table {plan.table} is that of mapping '{other}' already"
            )
