"""PostgreSQL as the store, through asyncpg.

Keys go to the server as arrays and are joined with the table, so that one statement loads any
number of rows, and is prepared once.  Values travel as text, in the form that PostgreSQL itself
gives them, but for bytea.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg

from distcache_replication.backing import kinds
from distcache_replication.backing.changes import Batch
from distcache_replication.backing.errors import Away, Refused, RowRefused, StoreError
from distcache_replication.backing.kinds import Kind
from distcache_replication.backing.plan import Column, Plan, Row, Table, cache_table
from distcache_replication.backing.position import Position, Stored
from distcache_replication.backing.postgres_writing import (
    FOUND,
    OURS,
    Writing,
    archive_table,
    cache_table_statement,
    family,
    grants,
    names,
    parameters,
    quoted,
)
from distcache_replication.backing.transaction import Dead

T = TypeVar("T")

SETTINGS = {
    "application_name": "distcache",
    "client_encoding": "utf8",
    "datestyle": "ISO",
    "timezone": "UTC",
}
_INTEGERS = {"int2": 16, "int4": 32, "int8": 64}

_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, format_type(b.oid, NULL),
       b.typname, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       e.typname, a.attnotnull OR t.typnotnull,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       has_column_privilege(c.oid, a.attnum, 'SELECT'),
       has_column_privilege(c.oid, a.attnum, 'INSERT')
       AND has_column_privilege(c.oid, a.attnum, 'UPDATE')
       AND a.attgenerated = '' AND a.attidentity <> 'a',
       has_table_privilege(c.oid, 'DELETE')
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
 WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND has_schema_privilege(n.oid, 'USAGE')
 ORDER BY a.attnum
"""
_KEYS = """
SELECT array_agg(a.attname ORDER BY a.attnum)
  FROM pg_index i
  JOIN pg_attribute a ON a.attrelid = i.indrelid
   AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
 WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid
   AND i.indpred IS NULL AND i.indexprs IS NULL
 GROUP BY i.indexrelid, i.indisprimary
 ORDER BY i.indisprimary DESC, i.indexrelid
"""


def kind_of(type_: str, modifier: int, element: str | None) -> Kind | None:
    """What a column of a type of pg_type holds; None where it is not supported."""
    if element is not None:
        of = kind_of(element, -1, None)
        return kinds.array(of) if of is not None and of.family in _IN_ARRAYS else None
    if type_ in _INTEGERS:
        return kinds.integer(type_, _INTEGERS[type_])
    if type_ == "numeric":
        if modifier < 0:
            return kinds.numeric()
        # The scale has 11 bits and, from PostgreSQL 15 on, a sign.
        scale = (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400
        return kinds.numeric((modifier - 4) >> 16, scale)
    if type_ in ("float4", "float8"):
        single = type_ == "float4"
        return kinds.real("real" if single else "double precision", single)
    if type_ == "text":
        return kinds.text()
    if type_ == "varchar":
        most = modifier - 4 if modifier >= 0 else None
        return kinds.text("varchar" if most is None else f"varchar({most})", most)
    if type_ in ("json", "jsonb"):
        return kinds.json_(type_)
    return _SIMPLE.get(type_)


_IN_ARRAYS = {"integer", "decimal", "text", "boolean", "uuid"}
_SIMPLE = {
    "bytea": kinds.BYTES,
    "bool": kinds.BOOLEAN,
    "uuid": kinds.UUID,
    "timestamp": kinds.TIMESTAMP,
    "timestamptz": kinds.TIMESTAMPTZ,
    "date": kinds.DATE,
}


def load_statement(plan: Plan) -> str:
    """The statement that loads the rows of many keys: their places, and the columns."""
    on = " AND ".join(
        f"t.{quoted((column.name,))} = k.c{number}::{column.type}"
        for number, column in enumerate(plan.keys)
    )
    columns = ", ".join(_selected(column) for column in plan.columns)
    return (
        f"SELECT k.at, {columns}"  # noqa: S608 -- names are quoted
        f" FROM unnest({parameters(plan.keys)}) WITH ORDINALITY AS k({names(len(plan.keys))}, at)"
        f" JOIN {quoted(plan.table.name)} AS t ON {on}"
    )


def _selected(column: Column) -> str:
    name = f"t.{quoted((column.name,))}"
    if family(column) == "bytes":
        return name
    if family(column) == "time":
        return f"to_jsonb({name}) #>> '{{}}'"
    return f"to_jsonb({name})::text" if family(column) == "array" else f"{name}::text"


class _Plain(asyncpg.Connection):
    """A connection of which no statement leaves anything behind, so that nothing has to be reset.

    That would be a second trip to the server for each query.
    """

    def get_reset_query(self) -> str:
        return ""


def end(connection: Any) -> None:
    """Give up a connection, which may have ended by itself."""
    # asyncpg says farewell, and uvloop takes nothing for a socket that it has just closed.
    with suppress(RuntimeError):
        connection.terminate()


class Postgres:
    """A database of PostgreSQL."""

    def __init__(self, address: str, shown: str, connections: int, timeout_s: float) -> None:
        self.shown = shown
        self._address = address
        self._connections = connections
        self._timeout_s = timeout_s
        self._pool: Any = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._statements: dict[Plan, str] = {}
        self._writer: Any = None
        """The connection for writing."""
        self.write_timeout_s = timeout_s
        """For each statement that writes."""

    async def open(self) -> None:
        try:
            self._pool = await asyncpg.create_pool(
                self._address,
                min_size=0,  # more it would try to keep by itself, and tell our log of that
                max_size=self._connections,
                timeout=self._timeout_s,
                command_timeout=self._timeout_s,
                server_settings=SETTINGS,
                connection_class=_Plain,
            )
        except Exception as error:
            raise _understood(error) from None

    async def close(self) -> None:
        self._drop_writer()
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        if self._pool is None:
            raise Away("not connected")
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._pool.acquire()
                try:
                    found: list[Any] = await connection.fetch(statement, *values)
                except asyncio.CancelledError:
                    self._leave(connection)
                    raise
                except asyncpg.InternalClientError:
                    end(connection)  # else the pool would give it out again
                    raise
                except Exception:
                    await self._pool.release(connection)
                    raise
                await self._pool.release(connection)
                return found
        except Exception as error:
            raise _understood(error) from None

    def _leave(self, connection: Any) -> None:
        """Time is up: the server is told so, for which nobody waits, as it may stand still."""

        def done(task: asyncio.Task[None]) -> None:
            self._leaving.discard(task)
            if not task.cancelled():
                task.exception()  # then the connection is ended, and that is all

        task = asyncio.get_running_loop().create_task(self._pool.release(connection))
        self._leaving.add(task)
        task.add_done_callback(done)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """The rows of a statement of others."""
        return await self._fetch(statement, *values)

    async def describe(self, name: tuple[str, ...]) -> Table | None:
        rows = await self._fetch(_COLUMNS, quoted(name))
        if not rows:
            return None
        keys = await self._fetch(_KEYS, quoted(name))
        columns = tuple(
            Column(
                row[2],
                kind_of(base, modifier, element),
                row[3],
                nullable=not required,
                filled=filled,
                readable=readable,
                writable=writable,
            )
            for row in rows
            for base, modifier, element, required, filled, readable, writable in (row[4:11],)
        )
        unique = tuple(tuple(it[0]) for it in keys)
        return Table((rows[0][0], rows[0][1]), columns, unique, deletable=rows[0][-1])

    async def create_cache(self, name: tuple[str, ...]) -> None:
        await self._create([cache_table_statement(name)])

    async def future_cache(self, name: tuple[str, ...]) -> Table:
        if len(name) == 1:
            ((schema,),) = await self._fetch("SELECT coalesce(current_schema(), 'public')::text")
            name = (schema, *name)
        return cache_table(name)

    async def load(self, plan: Plan, keys: Sequence[tuple[str | bytes, ...]]) -> list[Row | None]:
        statement = self._statements.get(plan)
        if statement is None:
            statement = self._statements[plan] = load_statement(plan)
        found: list[Row | None] = [None] * len(keys)
        for at, *values in await self._fetch(statement, *map(list, zip(*keys, strict=True))):
            found[at - 1] = [it.encode() if isinstance(it, str) else it for it in values]
        return found

    # Writing

    async def prepare(self, plans: Sequence[Plan]) -> None:
        ((role, there, usable),) = await self._fetch(FOUND)
        if not there:
            await self._create(OURS)
        elif not usable:
            cure = "; ".join(grants(role))
            raise Refused(f"the role may not use our tables: let their owner run {cure}")
        for plan in plans:
            archive = plan.mapping.archive
            if archive and await self.describe(archive) is None:
                await self._create([archive_table(plan)])

    async def _create(self, statements: Sequence[str]) -> None:
        for statement in statements:
            try:
                await self._fetch(statement)
            except Refused as error:
                reason = f"{error.reason}: let its owner run {'; '.join(statements)}"
                raise Refused(reason) from None

    def _drop_writer(self) -> None:
        connection, self._writer = self._writer, None
        if connection is not None:
            end(connection)

    async def _with_writer(self, work: Callable[[Writing], Awaitable[T]]) -> T:
        """Work over the connection for writing, which is given up where that fails."""
        done = False
        try:
            if self._writer is None:
                # A server that stands still must not hold its locks, so that another can take over.
                idle_ms = str(int(self.write_timeout_s * 1000))
                self._writer = await asyncpg.connect(
                    self._address,
                    timeout=self._timeout_s,
                    server_settings=SETTINGS | {"idle_in_transaction_session_timeout": idle_ms},
                )
            result = await work(Writing(self._writer, self.write_timeout_s, _refusal))
            done = True
            return result
        except StoreError:
            raise
        except Exception as error:
            raise _understood(error) from None
        finally:
            if not done:
                self._drop_writer()

    async def stored(self, stream: str) -> Stored | None:
        return await self._with_writer(lambda it: it.stored(stream))

    async def take_over(self, stream: str, before: Position | None, after: Position) -> bool:
        return await self._with_writer(lambda it: it.take_over(stream, before, after))

    async def write(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        return await self._with_writer(lambda it: it.write(stream, before, batch, careful))

    async def leave(self, stream: str, position: Position) -> None:
        await self._with_writer(lambda it: it.leave(stream, position))


_AWAY = (
    OSError,  # TimeoutError is one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server has just ended the connection, or begun to
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


def _understood(error: Exception) -> StoreError:
    # The frames of asyncpg refer to what they raised: a cycle, which nobody would collect.
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__context__
    if isinstance(error, TimeoutError):
        return Away("it does not answer in time")
    if isinstance(error, _AWAY):
        return Away(str(error) or type(error).__name__)
    if (reason := _refusal(error)) is not None:
        return RowRefused(reason)
    if isinstance(error, asyncpg.PostgresError):
        return Refused(str(error))
    raise error


understood = _understood
"""For others who talk to PostgreSQL."""


ROWS = ("21", "22", "23", "44", "54", "P0")
"""Classes of errors that are about values: data, constraints, limits, and what triggers raise."""


def _refusal(error: Exception) -> str | None:
    """Why a statement was refused, where that is for the rows in it."""
    code = getattr(error, "sqlstate", None)
    return str(error) if code is not None and code[:2] in ROWS else None
