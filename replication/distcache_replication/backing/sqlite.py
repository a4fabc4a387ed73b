"""SQLite as the store: a file beside the cache, read and written in a thread of its own.

SQLite has four kinds of values and lets columns be declared as anything.  The declared type
decides how a column is written in the cache; times, UUIDs and JSON are kept as text.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from distcache_replication.backing import kinds
from distcache_replication.backing.changes import Batch
from distcache_replication.backing.errors import Away, Refused, RowRefused, StoreError
from distcache_replication.backing.kinds import Kind
from distcache_replication.backing.plan import (
    EXPIRES,
    KEY,
    VALUE,
    Column,
    Plan,
    Row,
    Table,
    cache_table,
)
from distcache_replication.backing.position import Position, Stored
from distcache_replication.backing.sqlite_writing import (
    OURS,
    Writing,
    archive_table,
    family,
    place,
    quoted,
)
from distcache_replication.backing.transaction import Dead

T = TypeVar("T")

VARIABLES = 500
"""Parameters of a statement, at most."""
_SIZED = re.compile(r"([A-Z ]+?)\s*\((\d+)(?:\s*,\s*(\d+))?\)")
_INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INT2": 16, "MEDIUMINT": 32}
_TEXTS = ("TEXT", "VARCHAR", "CHARACTER VARYING", "CHARACTER", "CHAR", "NVARCHAR", "CLOB", "STRING")


def path_in(address: str, folder: str) -> str:
    """The file of ``sqlite:///file`` in a folder, or of ``sqlite:////absolute/file``."""
    parts = urlsplit(address)
    path = unquote(parts.path).removeprefix("/")
    return path if path == ":memory:" else os.path.join(folder, path)


def kind_of(declared: str) -> Kind | None:
    """What a column of a declared type holds; None where the type is not supported."""
    text = " ".join(declared.upper().split())
    sized = _SIZED.fullmatch(text)
    name = sized[1] if sized else text
    if name in ("INTEGER", "INT", "BIGINT", "INT8", "INT4"):
        return kinds.integer("integer", 64)
    if name in _INTEGERS:
        return kinds.integer(name.lower(), _INTEGERS[name])
    if name in ("NUMERIC", "DECIMAL"):
        return kinds.numeric(int(sized[2]), int(sized[3] or 0)) if sized else kinds.numeric()
    if name in ("REAL", "DOUBLE", "DOUBLE PRECISION", "FLOAT"):
        return kinds.real("real")
    if name in _TEXTS:
        return kinds.text(declared.lower(), int(sized[2])) if sized else kinds.text()
    if name in ("BLOB", "BYTEA"):
        return kinds.BYTES
    if name in ("BOOLEAN", "BOOL"):
        return kinds.BOOLEAN
    if name == "UUID":
        return kinds.UUID
    if name in ("TIMESTAMP", "DATETIME"):
        return kinds.TIMESTAMP
    if name in ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
        return kinds.TIMESTAMPTZ
    if name == "DATE":
        return kinds.DATE
    if name in ("JSON", "JSONB"):
        return kinds.json_("json")
    return None


class Sqlite:
    """A file of SQLite."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self.path = path
        self.shown = f"sqlite:///{path}"
        self._timeout_s = timeout_s
        self.write_timeout_s = timeout_s
        """For each batch."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        await self._run(self._open)

    def _open(self) -> None:
        connection = sqlite3.connect(
            self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        # Others can read while we write, and we while they do.
        connection.execute("PRAGMA journal_mode = WAL").fetchall()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T], timeout_s: float = 0) -> T:
        """Work in the thread; what takes too long is interrupted."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, _outcome, work)
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                done, failure, reason = await asyncio.shield(running)
        except TimeoutError:
            if self._connection is not None:
                self._connection.interrupt()
            raise Away("it does not answer in time") from None
        if failure is not None:
            raise failure(reason)
        return cast(T, done)

    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            raise sqlite3.OperationalError("the file is closed")
        return self._connection.execute(statement, values).fetchall()

    async def describe(self, name: tuple[str, ...]) -> Table | None:
        return await self._run(lambda: self._describe(name))

    def _describe(self, name: tuple[str, ...]) -> Table | None:
        schema, table = name if len(name) == 2 else ("main", name[0])
        rows = self._fetch(
            'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?)'
            " WHERE hidden <> 1",
            (table, schema),
        )
        if not rows:
            return None
        primary = [it[0] for it in sorted(rows, key=lambda it: int(it[4])) if it[4]]
        row_id = len(primary) == 1 and [it[1].upper() for it in rows if it[4]] == ["INTEGER"]
        unique = self._fetch(
            "SELECT l.name, i.name FROM pragma_index_list(?, ?) AS l,"
            " pragma_index_info(l.name, ?) AS i"
            ' WHERE l."unique" AND NOT l.partial ORDER BY l.seq, i.seqno',
            (table, schema, schema),
        )
        indexes: dict[str, list[str]] = {}
        for index, column in unique:
            indexes.setdefault(index, []).append(column)
        keys = ([primary] if primary else []) + [it for it in indexes.values() if None not in it]
        columns = tuple(
            Column(
                column,
                kind_of(type_),
                type_ or "(none)",
                nullable=not (required or number),
                filled=default is not None or bool(number and row_id),
                writable=hidden not in (2, 3),
                default=default or "",
            )
            for column, type_, required, default, number, hidden in rows
        )
        return Table(name, columns, tuple(tuple(key) for key in keys))

    async def create_cache(self, name: tuple[str, ...]) -> None:
        statement = (
            f"CREATE TABLE IF NOT EXISTS {quoted(name)} ({KEY} BLOB PRIMARY KEY NOT NULL,"
            f" {VALUE} BLOB NOT NULL, {EXPIRES} INTEGER) WITHOUT ROWID"
        )
        await self._run(lambda: self._fetch(statement))

    async def future_cache(self, name: tuple[str, ...]) -> Table:
        return cache_table(name)

    async def data_version(self) -> int:
        """Another number after every commit of another connection."""
        return await self._run(lambda: int(self._fetch("PRAGMA data_version")[0][0]))

    async def load(self, plan: Plan, keys: Sequence[tuple[str | bytes, ...]]) -> list[Row | None]:
        return await self._run(lambda: self._load(plan, keys))

    def _load(self, plan: Plan, keys: Sequence[tuple[str | bytes, ...]]) -> list[Row | None]:
        found: list[Row | None] = [None] * len(keys)
        size = max(VARIABLES // len(plan.keys), 1)
        readers = [_READERS.get(family(column), _plain) for column in plan.columns]
        names = ", ".join(f"t.{quoted((column.name,))}" for column in plan.columns)
        on = " AND ".join(
            f"t.{quoted((column.name,))} = k.column{number + 2}"
            for number, column in enumerate(plan.keys)
        )
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            places = ", ".join(
                f"({at}, {', '.join(map(place, plan.keys))})"
                for at in range(start, start + len(part))
            )
            rows = self._fetch(
                f"SELECT k.column1, {names} FROM (VALUES {places}) AS k"  # noqa: S608
                f" JOIN {quoted(plan.table.name)} AS t ON {on}",
                [value for key in part for value in key],
            )
            for at, *values in rows:
                found[at] = [
                    None if value is None else read(value)
                    for read, value in zip(readers, values, strict=True)
                ]
        return found

    # Writing

    async def prepare(self, plans: Sequence[Plan]) -> None:
        archives = [archive_table(plan) for plan in plans if plan.mapping.archive]
        for statement in (*OURS, *archives):
            await self._run(partial(self._fetch, statement))

    def _writing(self) -> Writing:
        if self._connection is None:
            raise sqlite3.OperationalError("the file is closed")
        return Writing(self._connection, _refusal)

    async def stored(self, stream: str) -> Stored | None:
        return await self._run(lambda: self._writing().stored(stream))

    async def take_over(self, stream: str, before: Position | None, after: Position) -> bool:
        return await self._run(lambda: self._writing().take_over(stream, before, after))

    async def write(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        write = partial(self._writing_of, stream, before, batch, careful)
        return await self._run(write, self.write_timeout_s)

    def _writing_of(self, stream: str, before: Position, batch: Batch, careful: bool) -> list[Dead]:
        return self._writing().write(stream, before, batch, careful)

    async def leave(self, stream: str, position: Position) -> None:
        await self._run(lambda: self._writing().leave(stream, position))


_AWAY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL}


def _outcome(work: Callable[[], T]) -> tuple[T | None, type[StoreError] | None, str]:
    """What work gives, or why it failed.

    An exception in a future that the frame waiting for it knows would be a cycle, for ever.
    """
    try:
        return work(), None, ""
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return None, Away if code in _AWAY else Refused, str(error)
    except sqlite3.Error as error:
        return None, Refused if _refusal(error) is None else RowRefused, str(error)
    except StoreError as error:
        return None, type(error), error.reason


def _refusal(error: sqlite3.Error) -> str | None:
    """Why a statement was refused, where that is for the rows in it."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return str(error) if code in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH) else None


def _plain(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return repr(value).encode() if isinstance(value, float) else str(value).encode()


def _boolean(value: Any) -> bytes:
    return {0: b"false", 1: b"true"}.get(value) or _plain(value)


_READERS: dict[str, Callable[[Any], bytes]] = {"boolean": _boolean}
