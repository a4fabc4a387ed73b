"""Writing rows to SQLite: the statements, and our own tables beside those of the user.

Like postgres_writing.py, in one thread.  Values are parameters, so many for each statement as
SQLite takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from distcache_replication.backing.changes import Batch
from distcache_replication.backing.errors import Deposed
from distcache_replication.backing.packing import pack
from distcache_replication.backing.plan import Column, Plan
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

SIZE = 1000
"""Rows of one step, at most."""
ARCHIVED = "archived_at"
LONG_AGO = -1e9
NOW = "(julianday('now') - 2440587.5) * 86400.0"
"""Unix time by the clock of the store."""

OURS = (
    "CREATE TABLE IF NOT EXISTS distcache_position (stream TEXT PRIMARY KEY NOT NULL,"
    " epoch INTEGER NOT NULL, history TEXT NOT NULL, log_offset INTEGER NOT NULL,"
    " database INTEGER NOT NULL, seen REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS distcache_dead_letter (id INTEGER PRIMARY KEY, at TEXT NOT NULL"
    " DEFAULT (datetime('now')), stream TEXT NOT NULL, history TEXT NOT NULL,"
    " log_offset INTEGER NOT NULL, mapping TEXT NOT NULL, key BLOB NOT NULL, value BLOB,"
    " expires_at INTEGER, reason TEXT NOT NULL)",
)
_STORED = (
    f"SELECT epoch, history, log_offset, database, {NOW} - seen"  # noqa: S608
    " FROM distcache_position WHERE stream = ?"
)
_FIRST = f"INSERT OR IGNORE INTO distcache_position VALUES (?, ?, ?, ?, ?, {NOW})"  # noqa: S608
_MOVE = (
    "UPDATE distcache_position SET epoch = ?, history = ?, log_offset = ?, database = ?,"  # noqa: S608
    f" seen = {NOW}"
    " WHERE stream = ? AND epoch = ? AND history = ? AND log_offset = ? AND database = ?"
)
_LEAVE = "UPDATE distcache_position SET seen = ? WHERE stream = ? AND epoch = ? AND history = ?"
_DEAD = (
    "INSERT INTO distcache_dead_letter"
    " (stream, history, log_offset, mapping, key, value, expires_at, reason)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def quoted(name: Sequence[str]) -> str:
    """A name as SQL has it, whatever it consists of."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)


def family(column: Column) -> str:
    assert column.kind is not None
    return column.kind.family


def place(column: Column) -> str:
    """A parameter for a column of a key; all come as text or bytes."""
    return "CAST(? AS INTEGER)" if family(column) == "integer" else "?"


def upsert_statement(plan: Plan, omitted: Sequence[int]) -> str:
    """The statement that inserts or updates a row."""
    written = [it for at, it in enumerate(plan.columns) if at not in omitted]
    columns = [*plan.keys, *written]
    values = ", ".join(map(place, columns))
    keys = ", ".join(quoted((it.name,)) for it in plan.keys)
    changed = [f"{quoted((it.name,))} = excluded.{quoted((it.name,))}" for it in written]
    changed += [
        f"{quoted((plan.columns[at].name,))} = ({plan.columns[at].default})" for at in omitted
    ]
    return (
        f"INSERT INTO {quoted(plan.table.name)} AS t"  # noqa: S608
        f" ({', '.join(quoted((it.name,)) for it in columns)})"
        f" VALUES ({values}) ON CONFLICT ({keys}) DO UPDATE SET {', '.join(changed)}"
    )


def _with_key(plan: Plan) -> str:
    on = " AND ".join(f"{quoted((it.name,))} = {place(it)}" for it in plan.keys)
    return f"{quoted(plan.table.name)} WHERE {on}"


def statements_of(step: Step) -> list[tuple[str, list[list[Any]]]]:
    """A step as statements, each with the parameters of every row."""
    plan, changes = step.plan, step.changes
    if step.verb == EMPTY:
        return [(f"DELETE FROM {quoted(plan.table.name)}", [[]])]  # noqa: S608
    keys: list[list[Any]] = [list(it.values) for it in changes]
    if step.verb == DELETE:
        return [(f"DELETE FROM {_with_key(plan)}", keys)]  # noqa: S608
    if step.verb == ARCHIVE:
        columns = ", ".join(quoted((it.name,)) for it in plan.table.columns)
        copy = (
            f"INSERT INTO {quoted(plan.mapping.archive)} ({columns}, {ARCHIVED})"  # noqa: S608
            f" SELECT {columns}, datetime('now') FROM {_with_key(plan)}"
        )
        return [(copy, keys), (f"DELETE FROM {_with_key(plan)}", keys)]  # noqa: S608
    columns_ = [it for at, it in enumerate(plan.columns) if at not in step.omitted]
    rows = [
        [
            *it.values,
            *(
                _stored_form(column, value)
                for column, value in zip(
                    columns_,
                    [v for at, v in enumerate(it.row or ()) if at not in step.omitted],
                    strict=True,
                )
            ),
        ]
        for it in changes
    ]
    return [(upsert_statement(plan, step.omitted), rows)]


def _stored_form(column: Column, value: str | bytes | None) -> Any:
    """A value as SQLite has it in a column of this type."""
    if value is not None and family(column) == "boolean":
        return int(value == "true")
    return value


def archive_table(plan: Plan) -> str:
    """The statement that creates an archive."""
    columns = ", ".join(quoted((it.name,)) for it in plan.table.columns)
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(plan.mapping.archive)} AS"  # noqa: S608
        f" SELECT {columns}, '' AS {ARCHIVED} FROM {quoted(plan.table.name)} WHERE 0"
    )


class Writing:
    """Writes over a connection, in the thread of the store; raises what sqlite3 does."""

    def __init__(
        self, connection: sqlite3.Connection, refusal: Callable[[sqlite3.Error], str | None]
    ) -> None:
        self._connection = connection
        self._refusal = refusal

    def stored(self, stream: str) -> Stored | None:
        row = self._connection.execute(_STORED, (stream,)).fetchone()
        if row is None:
            return None
        epoch, history, offset, database, silent_s = row
        return Stored(Position(epoch, history, offset, database), silent_s)

    def take_over(self, stream: str, before: Position | None, after: Position) -> bool:
        if before is None:
            return self._connection.execute(_FIRST, (stream, *after)).rowcount == 1
        return self._connection.execute(_MOVE, (*after, stream, *before)).rowcount == 1

    def leave(self, stream: str, position: Position) -> None:
        self._connection.execute(_LEAVE, (LONG_AGO, stream, position.epoch, position.history))

    def write(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            if not self.take_over(stream, before, batch.position):
                found = self.stored(stream)
                if found is None or found.position != batch.position:
                    raise Deposed("another server writes there now")
                execute("ROLLBACK")
                return []
            todo = Conversation(steps(batch, SIZE))
            while (step := todo.step) is not None:
                todo.answer(self._try(step) if careful else self._run(step))
            for each in todo.dead:
                change = each.change
                value = None if change.value is None else pack(change.kind, change.value)
                execute(
                    _DEAD,
                    (
                        *(stream, batch.position.history, batch.position.offset),
                        *(change.plan.mapping.name, change.key, value, change.deadline_ms),
                        each.reason,
                    ),
                )
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return todo.dead

    def _run(self, step: Step) -> str:
        for statement, rows in statements_of(step):
            self._connection.executemany(statement, rows)
        return ""

    def _try(self, step: Step) -> str:
        """Do a step, or leave no trace of it; why it was refused."""
        execute = self._connection.execute
        execute("SAVEPOINT step")
        try:
            self._run(step)
        except sqlite3.Error as error:
            reason = self._refusal(error)
            if reason is None or step.verb == EMPTY:
                raise
            execute("ROLLBACK TO step")
            execute("RELEASE step")
            return reason
        execute("RELEASE step")
        return ""
