"""Writing rows to PostgreSQL: the statements, and our own tables in the schema ``distcache``.

The rows of a step go to the server as one array for each column, so that one statement writes any
number of them and is prepared once.  Values are text but for bytea, and are cast there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from distcache_replication.backing.changes import Batch
from distcache_replication.backing.errors import Deposed
from distcache_replication.backing.packing import pack
from distcache_replication.backing.plan import EXPIRES, KEY, VALUE, Column, Plan
from distcache_replication.backing.position import Position, Stored
from distcache_replication.backing.transaction import (
    ARCHIVE,
    DELETE,
    EMPTY,
    Conversation,
    Dead,
    Step,
    steps,
)

SIZE = 2000
"""Rows of one statement, at most."""
SCHEMA = "distcache"
ARCHIVED = "archived_at"
"""The column that an archive has besides those of its table."""

OURS = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.position (stream text PRIMARY KEY,"
    " epoch bigint NOT NULL, history text NOT NULL, log_offset bigint NOT NULL,"
    " database integer NOT NULL, seen timestamptz NOT NULL DEFAULT clock_timestamp())",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.dead_letter (id bigint GENERATED ALWAYS AS IDENTITY"
    " PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), stream text NOT NULL,"
    " history text NOT NULL, log_offset bigint NOT NULL, mapping text NOT NULL,"
    " key bytea NOT NULL, value bytea, expires_at bigint, reason text NOT NULL)",
)
FOUND = f"""
SELECT quote_ident(current_user), count(*) = 2,
       bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT')
                AND (c.relname <> 'position' OR has_table_privilege(c.oid, 'SELECT')
                     AND has_table_privilege(c.oid, 'UPDATE')))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = '{SCHEMA}' AND c.relname IN ('position', 'dead_letter')
"""  # noqa: S608


def grants(role: str) -> tuple[str, ...]:
    """What allows a role, whose name is quoted, to use our own tables."""
    return (
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.position TO {role}",
        f"GRANT INSERT ON {SCHEMA}.dead_letter TO {role}",
    )


_STORED = f"""
SELECT epoch, history, log_offset, database, extract(epoch FROM clock_timestamp() - seen)::float8
  FROM {SCHEMA}.position WHERE stream = $1
"""  # noqa: S608
_FIRST = f"""
INSERT INTO {SCHEMA}.position (stream, epoch, history, log_offset, database)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1
"""  # noqa: S608
# Who hears of changes knows ours by the row that this changes, or by the setting (inbound.py).
_MOVE = f"""
UPDATE {SCHEMA}.position
   SET epoch = $6, history = $7, log_offset = $8, database = $9, seen = clock_timestamp()
 WHERE stream = $1 AND epoch = $2 AND history = $3 AND log_offset = $4 AND database = $5
RETURNING set_config('distcache.own', $1, true)
"""  # noqa: S608
_LEAVE = f"""
UPDATE {SCHEMA}.position SET seen = 'epoch'
 WHERE stream = $1 AND epoch = $2 AND history = $3
"""  # noqa: S608
_DEAD = f"""
INSERT INTO {SCHEMA}.dead_letter
       (stream, history, log_offset, mapping, key, value, expires_at, reason)
SELECT $1, $2, $3, * FROM unnest($4::text[], $5::bytea[], $6::bytea[], $7::bigint[], $8::text[])
"""  # noqa: S608


def quoted(name: Sequence[str]) -> str:
    """A name as SQL has it, whatever it consists of."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)


def family(column: Column) -> str:
    assert column.kind is not None
    return column.kind.family


def parameters(columns: Sequence[Column]) -> str:
    """Arrays with the values of these columns, from the first parameter on."""
    return ", ".join(
        f"${number}::{'bytea' if family(column) == 'bytes' else 'text'}[]"
        for number, column in enumerate(columns, 1)
    )


def names(count: int) -> str:
    return ", ".join(f"c{number}" for number in range(count))


def _cast(column: Column, number: int) -> str:
    return f"x.c{number}::{column.type}"


def upsert_statement(plan: Plan, omitted: Sequence[int]) -> str:
    """The statement that inserts or updates rows."""
    written = [it for at, it in enumerate(plan.columns) if at not in omitted]
    columns = [*plan.keys, *written]
    values = ", ".join(_cast(column, number) for number, column in enumerate(columns))
    keys = ", ".join(quoted((it.name,)) for it in plan.keys)
    changed = [f"{quoted((it.name,))} = EXCLUDED.{quoted((it.name,))}" for it in written]
    changed += [f"{quoted((plan.columns[at].name,))} = DEFAULT" for at in omitted]
    return (
        f"INSERT INTO {quoted(plan.table.name)} AS t"  # noqa: S608 -- names are quoted
        f" ({', '.join(quoted((it.name,)) for it in columns)}) SELECT {values}"
        f" FROM unnest({parameters(columns)}) AS x({names(len(columns))})"
        f" ON CONFLICT ({keys}) DO UPDATE SET {', '.join(changed)}"
    )


def _with_keys(plan: Plan) -> str:
    on = " AND ".join(
        f"t.{quoted((column.name,))} = {_cast(column, number)}"
        for number, column in enumerate(plan.keys)
    )
    return f"unnest({parameters(plan.keys)}) AS x({names(len(plan.keys))}) WHERE {on}"


def delete_statement(plan: Plan) -> str:
    """The statement that deletes rows by their keys."""
    return f"DELETE FROM {quoted(plan.table.name)} AS t USING {_with_keys(plan)}"  # noqa: S608


def archive_statement(plan: Plan) -> str:
    """The statement that moves rows to the archive."""
    columns = ", ".join(quoted((it.name,)) for it in plan.table.columns)
    return (
        f"WITH gone AS ({delete_statement(plan)} RETURNING t.*)"  # noqa: S608
        f" INSERT INTO {quoted(plan.mapping.archive)} ({columns}, {ARCHIVED})"
        f" SELECT {columns}, clock_timestamp() FROM gone"
    )


def archive_table(plan: Plan) -> str:
    """The statement that creates an archive."""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(plan.mapping.archive)}"
        f" (LIKE {quoted(plan.table.name)}, {ARCHIVED} timestamptz NOT NULL)"
    )


def cache_table_statement(name: Sequence[str]) -> str:
    """The statement that creates a table for keys of any type."""
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(name)}"
        f" ({KEY} bytea PRIMARY KEY, {VALUE} bytea NOT NULL, {EXPIRES} bigint)"
    )


def statement_of(step: Step) -> tuple[str, list[list[Any]]]:
    """A step as a statement, and its parameters."""
    plan, changes = step.plan, step.changes
    if step.verb == EMPTY:
        return f"DELETE FROM {quoted(plan.table.name)}", []  # noqa: S608
    keys = [list(column) for column in zip(*(it.values for it in changes), strict=True)]
    if step.verb == DELETE:
        return delete_statement(plan), keys
    if step.verb == ARCHIVE:
        return archive_statement(plan), keys
    rows = list(zip(*(it.row or () for it in changes), strict=True))
    columns = [list(column) for at, column in enumerate(rows) if at not in step.omitted]
    return upsert_statement(plan, step.omitted), [*keys, *columns]


class Writing:
    """Writes over one connection, which has no transaction of its own.

    Raises what asyncpg does, and RowRefused by ``refusal``, which knows those errors.
    """

    def __init__(self, connection: Any, timeout_s: float, refusal: Any) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._refusal = refusal

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        async with asyncio.timeout(self._timeout_s):
            found: list[Any] = await self._connection.fetch(statement, *values)
            return found

    async def stored(self, stream: str) -> Stored | None:
        rows = await self._fetch(_STORED, stream)
        if not rows:
            return None
        epoch, history, offset, database, silent_s = rows[0]
        return Stored(Position(epoch, history, offset, database), silent_s)

    async def take_over(self, stream: str, before: Position | None, after: Position) -> bool:
        if before is None:
            return bool(await self._fetch(_FIRST, stream, *after))
        return bool(await self._fetch(_MOVE, stream, *before, *after))

    async def leave(self, stream: str, position: Position) -> None:
        await self._fetch(_LEAVE, stream, position.epoch, position.history)

    async def write(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        await self._fetch("BEGIN")
        if not await self._fetch(_MOVE, stream, *before, *batch.position):
            found = await self.stored(stream)
            if found is None or found.position != batch.position:
                raise Deposed("another server writes there now")
            await self._fetch("ROLLBACK")
            return []
        if careful:
            await self._fetch("SET CONSTRAINTS ALL IMMEDIATE")
        dead = await self._do(batch, careful)
        if dead:
            await self._bury(stream, batch.position, dead)
        await self._fetch("COMMIT")
        return dead

    async def _do(self, batch: Batch, careful: bool) -> list[Dead]:
        todo = Conversation(steps(batch, SIZE))
        while (step := todo.step) is not None:
            todo.answer(await (self._try(step) if careful else self._run(step)))
        return todo.dead

    async def _run(self, step: Step) -> str:
        statement, values = statement_of(step)
        await self._fetch(statement, *values)
        return ""

    async def _try(self, step: Step) -> str:
        """Do a step, or leave no trace of it; why it was refused."""
        await self._fetch("SAVEPOINT step")
        try:
            await self._run(step)
        except Exception as error:
            reason = self._refusal(error)
            if reason is None or step.verb == EMPTY:
                raise
            await self._fetch("ROLLBACK TO SAVEPOINT step")
            return str(reason)
        await self._fetch("RELEASE SAVEPOINT step")
        return ""

    async def _bury(self, stream: str, position: Position, dead: Sequence[Dead]) -> None:
        for start in range(0, len(dead), SIZE):
            some = dead[start : start + SIZE]
            changes = [it.change for it in some]
            await self._fetch(
                _DEAD,
                stream,
                position.history,
                position.offset,
                [it.plan.mapping.name for it in changes],
                [it.key for it in changes],
                [None if it.value is None else pack(it.kind, it.value) for it in changes],
                [it.deadline_ms for it in changes],
                [it.reason for it in some],
            )
