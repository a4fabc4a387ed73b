"""What a store can do, and which one an address means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from distcache_replication.backing.address import without_password
from distcache_replication.backing.changes import Batch
from distcache_replication.backing.errors import BadMap, Refused
from distcache_replication.backing.mapping import Mapping
from distcache_replication.backing.plan import Plan, Row, Table, bind
from distcache_replication.backing.position import Position, Stored
from distcache_replication.backing.transaction import Dead

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

    async def future_cache(self, name: tuple[str, ...]) -> Table:
        """What that table will be, before anybody has created it."""

    async def load(self, plan: Plan, keys: Sequence[KeyValues]) -> list[Row | None]:
        """The rows with these keys, in this order; None for each that is not there."""


class WritableStore(Store, Protocol):
    """One that can be written to, too."""

    write_timeout_s: float

    async def prepare(self, plans: Sequence[Plan]) -> None:
        """Create what is missing of our own tables, and of archives."""

    async def stored(self, stream: str) -> Stored | None:
        """How far a stream has been written."""

    async def take_over(self, stream: str, before: Position | None, after: Position) -> bool:
        """Be its writer from now on; False where ``before`` is not its position any more."""

    async def write(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        """Write a batch, in one transaction with its position; what was refused of it.

        A batch that is there already, as the reply to the commit was lost, is not written again.
        Raises RowRefused unless ``careful``, Deposed where the position is neither of the two.
        """

    async def leave(self, stream: str, position: Position) -> None:
        """Say that nobody writes any more."""


class BadAddress(Exception):
    """An address of a store that cannot be used."""


def open_store(address: str, folder: str, connections: int, timeout_s: float) -> WritableStore:
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


async def bind_all(store: Store, mappings: Sequence[Mapping], *, create: bool = True) -> list[Plan]:
    """The plans of all mappings; BadMap where the store does not have what they name.

    Tables for keys of any type are created, or only imagined where ``create`` is false.
    """
    plans = []
    for mapping in mappings:
        table = await store.describe(mapping.table)
        if table is None and mapping.form == "any":
            if create:
                table = await _created(store, mapping)
            else:
                table = await store.future_cache(mapping.table)
        plans.append(bind(mapping, table))
    _no_table_twice(plans)
    return plans


async def _created(store: Store, mapping: Mapping) -> Table | None:
    """The new table of a mapping; BadMap where it cannot be created."""
    try:
        await store.create_cache(mapping.table)
    except Refused as error:
        raise BadMap(mapping.name, error.reason) from None
    return await store.describe(mapping.table)


def _no_table_twice(plans: Sequence[Plan]) -> None:
    """Two mappings of one row would not know of each other's changes."""
    seen: dict[tuple[str, ...], Plan] = {}
    for plan in plans:
        other = seen.setdefault(plan.table.name, plan)
        if other is plan:
            continue
        if plan.any_type or plan.mapping.writes or other.mapping.writes:
            raise BadMap(
                plan.mapping.name,
                f"table {plan.table} is that of mapping '{other.mapping.name}' already"
                + ("" if plan.any_type else ", and what one writes the other would not know"),
            )
