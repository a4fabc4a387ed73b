"""A mapping that the database agrees with: how its rows become values, and values rows.

``bind`` compares a mapping with a table as the store describes it.  The Plan that comes out knows
the type of every column, so that rows are read and values are judged without asking again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from distcache_replication import rdb
from distcache_replication.backing.errors import BadMap, Unfit
from distcache_replication.backing.kinds import BYTES, Kind, dumped, integer, parsed
from distcache_replication.backing.mapping import Mapping
from distcache_replication.backing.packing import pack, unpack
from distcache_replication.backing.pattern import Pattern

KEY, VALUE, EXPIRES = "key", "value", "expires_at"
"""The columns of a table that keeps keys of any type: two of bytes, and Unix milliseconds."""

_IN_KEYS = {"integer": "int", "uuid": "uuid", "text": "text", "bytes": "text"}
"""What a variable matches, by the family of its column."""

Field = str | bytes | None
Row = Sequence[bytes | None]
"""The columns of a plan, each as it is written in the cache."""


@dataclass(frozen=True)
class Column:
    """A column as the store describes it."""

    name: str
    kind: Kind | None
    """None for a type that is not supported."""
    type: str
    """The type in the words of the store, for casts and messages."""
    nullable: bool = True
    filled: bool = False
    """The store has a value where none is given."""
    readable: bool = True
    writable: bool = True
    default: str = ""
    """Its default as an expression, where a statement cannot ask for it otherwise (SQLite)."""


@dataclass(frozen=True)
class Table:
    """A table as the store describes it."""

    name: tuple[str, ...]
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]
    """Columns that are unique together, those of the primary key first."""
    deletable: bool = True

    def __str__(self) -> str:
        return ".".join(self.name)


def cache_table(name: tuple[str, ...]) -> Table:
    """A table for keys of any type that nobody has created yet."""
    columns = (
        Column(KEY, BYTES, "bytea", nullable=False),
        Column(VALUE, BYTES, "bytea", nullable=False),
        Column(EXPIRES, integer("int8", 64), "bigint"),
    )
    return Table(name, columns, ((KEY,),))


class Loaded(NamedTuple):
    """A value out of a row: of which type, in plain form, until when."""

    kind: int
    value: Any
    deadline_ms: int | None = None


class Plan:
    """A mapping with the columns of its table."""

    __slots__ = (
        "_ascii_keys",
        "_by_field",
        "_fit_keys",
        "_longest_key",
        "any_type",
        "columns",
        "form",
        "keys",
        "mapping",
        "pattern",
        "table",
    )

    def __init__(
        self,
        mapping: Mapping,
        pattern: Pattern,
        table: Table,
        keys: tuple[Column, ...],
        columns: tuple[Column, ...],
    ) -> None:
        self.mapping = mapping
        self.pattern = pattern
        self.table = table
        self.keys = keys
        self.columns = columns
        self.form = mapping.form
        self.any_type = mapping.form == "any"
        """It keeps whole keys, whatever they hold."""
        self._by_field = {column.name.encode(): column for column in columns}
        self._fit_keys = [_kind(column).fit for column in keys]
        self._ascii_keys = any(_kind(column).family == "text" for column in keys)
        self._longest_key: int | None = None
        """Keys that are not longer fit, if they are in ASCII where that counts; None: all."""
        longest = [it for column in keys if (it := _kind(column).longest) is not None]
        if longest:
            others = len("".join(pattern.texts).encode()) + len(keys) - 1
            self._longest_key = others + min(longest)

    def key_of(self, key: bytes, variables: Sequence[bytes]) -> tuple[str | bytes, ...] | None:
        """What the key columns hold in the row of a key; None where no row can have it."""
        if self.any_type:
            return (key,)
        fits = self._fit_keys
        try:
            if len(fits) == 1:
                return (fits[0](variables[0]),)
            return tuple([fit(value) for fit, value in zip(fits, variables, strict=True)])
        except Unfit:
            return None

    def judge_key(self, key: bytes, variables: Sequence[bytes]) -> None:
        """Raise Unfit where no row can have this key."""
        if self.key_of(key, variables) is not None:
            return
        for column, fit, value in zip(self.keys, self._fit_keys, variables, strict=True):
            try:
                fit(value)
            except Unfit as error:
                raise Unfit(f"column {column.name}, in the key: {error.reason}") from None

    def takes_keys(self, keys: Sequence[bytes]) -> bool:
        """Whether all of these that are keys of this plan are known to fit; others may, too."""
        if self._longest_key is not None and max(map(len, keys)) > self._longest_key:
            return False
        if self._ascii_keys:
            joined = b"".join(keys)
            return joined.isascii() and 0 not in joined
        return True

    # Rows to values

    def value_of(self, row: Row) -> Loaded | None:
        """The value in a row; None where it has none (NULL).  Raises BadValue."""
        if self.any_type:
            data, deadline = row
            if data is None:
                return None
            kind, value = unpack(data)
            return Loaded(kind, value, None if deadline is None else int(deadline))
        if self.form == "column":
            return None if row[0] is None else Loaded(rdb.STRING, row[0])
        if self.form == "json":
            parts = [
                f"{dumped(column.name)}:"
                + ("null" if value is None else _kind(column).to_json(value))
                for column, value in zip(self.columns, row, strict=True)
            ]
            return Loaded(rdb.STRING, ("{" + ",".join(parts) + "}").encode())
        found = {
            column.name.encode(): value
            for column, value in zip(self.columns, row, strict=True)
            if value is not None
        }
        return Loaded(rdb.HASH, found) if found else None

    # Values to rows

    def fit(self, kind: int, value: Any, deadline_ms: int | None = None) -> list[Field]:
        """What the columns get for a plain value; Unfit says why they cannot."""
        form = self.form
        if form == "any":
            return [pack(kind, value), None if deadline_ms is None else str(deadline_ms)]
        if form == "hash":
            if kind != rdb.HASH:
                raise Unfit("it is mapped to a row, and has to be a hash")
            if isinstance(value, rdb.Expiring):
                raise Unfit("the columns of a row have no time to live")
            for field in value.keys() - self._by_field.keys():
                self.fit_field(field, b"")
            return [self._fit(column, value.get(column.name.encode())) for column in self.columns]
        if kind != rdb.STRING:
            raise Unfit("it is mapped to a column or a JSON object, and has to be a string")
        if form == "column":
            return [self._fit(self.columns[0], value)]
        found = parsed(value)
        if not isinstance(found, dict):
            raise Unfit("the value is not a JSON object")
        for name in found:
            if _encoded(name) not in self._by_field:
                raise Unfit(f"there is no column for {name[:40]!r}")
        return [self._fit(column, _member(column, found)) for column in self.columns]

    def takes(self, values: Sequence[bytes]) -> bool:
        """Whether all these strings are known to fit; some that do may not be."""
        if self.form == "column":
            return _kind(self.columns[0]).are_simple(values)
        return self.any_type

    def fit_strings(self, values: Sequence[bytes]) -> None:
        """Raise Unfit unless each of these strings fits."""
        if not self.takes(values):
            for value in values:
                self.fit(rdb.STRING, value)

    def fit_all(
        self, variables: Iterable[Sequence[bytes]], values: Sequence[bytes]
    ) -> tuple[Iterable[tuple[str | bytes, ...]], Iterable[list[Field]]] | None:
        """What the columns of the key and the others get for many strings, in fewer steps.

        None where that cannot be, or one of them does not fit.
        """
        if self.form != "column" or len(self.keys) > 1:
            return None
        try:
            keys = _kind(self.keys[0]).fit_all([it[0] for it in variables])
            fields = _kind(self.columns[0]).fit_all(values)
        except Unfit:
            return None
        return zip(keys, strict=True), map(list, zip(fields, strict=True))

    def fit_field(self, field: bytes, value: bytes) -> Field:
        """What a column gets for one field of a hash; Unfit."""
        column = self._by_field.get(field)
        if column is None:
            shown = field[:40].decode("utf-8", "backslashreplace")
            raise Unfit(f"there is no column for the field {shown!r}")
        return self._fit(column, value)

    def omitted(self, row: Sequence[Field]) -> tuple[int, ...]:
        """Which columns of a row that was fit get their defaults, as they must not be NULL."""
        if None not in row:
            return ()
        return tuple(
            at
            for at, (column, value) in enumerate(zip(self.columns, row, strict=True))
            if value is None and not column.nullable
        )

    def _fit(self, column: Column, value: bytes | None) -> Field:
        if value is None:
            if not column.nullable and not column.filled:
                raise Unfit(f"column {column.name} must not be empty")
            return None
        try:
            return _kind(column).fit(value)
        except Unfit as error:
            raise Unfit(f"column {column.name}: {error.reason}") from None


def _member(column: Column, found: dict[str, Any]) -> bytes | None:
    value = found.get(column.name)
    try:
        return None if value is None else _kind(column).from_json(value)
    except Unfit as error:
        raise Unfit(f"column {column.name}: {error.reason}") from None


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _kind(column: Column) -> Kind:
    assert column.kind is not None
    return column.kind


def bind(mapping: Mapping, table: Table | None) -> Plan:
    """The plan of a mapping; BadMap names what the table lacks and the cure."""
    name = mapping.name
    if table is None:
        raise BadMap(
            name,
            f"there is no table {'.'.join(mapping.table)}, or this role may not see it:"
            " create it, or say which with table = '...'",
        )
    by_name = {column.name: column for column in table.columns}
    if mapping.form == "any":
        return _bind_any(mapping, table, by_name)
    variables = mapping.pattern.variables
    for variable in variables:
        if variable.name not in by_name:
            raise BadMap(name, _no_column(table, variable.name, "a variable of key"))
    named = {variable.name for variable in variables}
    if not any(set(key) == named for key in table.keys):
        raise BadMap(
            name,
            f"{', '.join(sorted(named))} is no primary key of table {table}, nor unique:"
            " let key name the columns of its primary key, or create one",
        )
    keys = tuple(by_name[variable.name] for variable in variables)
    types = [_variable_type(name, v.type, c) for v, c in zip(variables, keys, strict=True)]
    wanted = mapping.columns
    if wanted is None:
        wanted = tuple(column.name for column in table.columns if column.name not in named)
    if not wanted:
        raise BadMap(name, f"table {table} has no column besides its key")
    for column in wanted:
        if column not in by_name:
            raise BadMap(name, _no_column(table, column, "columns"))
    columns = tuple(by_name[column] for column in wanted)
    for each in (*keys, *columns):
        if each.kind is None:
            raise BadMap(
                name,
                f"column {each.name} of table {table} is of the type {each.type}, which is not"
                " supported: leave it out of columns",
            )
        if not each.readable:
            raise BadMap(
                name,
                f"this role may not read column {each.name} of table {table}:"
                f" GRANT SELECT ON {table} TO it, or leave it out of columns",
            )
    if mapping.writes:
        _can_write(name, table, (*keys, *columns))
    return Plan(mapping, mapping.pattern.typed(types), table, keys, columns)


def _can_write(name: str, table: Table, columns: Sequence[Column]) -> None:
    """BadMap where rows of the table cannot be written by these columns alone."""
    for column in columns:
        if not column.writable:
            raise BadMap(
                name,
                f"column {column.name} of table {table} is generated, or this role may not write"
                f" it: GRANT INSERT, UPDATE ON {table} TO it, or leave it out of columns",
            )
    if not table.deletable:
        raise BadMap(
            name,
            f"this role may not delete rows of table {table}: GRANT DELETE ON {table} TO it",
        )
    written = {column.name for column in columns}
    for column in table.columns:
        if column.name not in written and not (column.nullable or column.filled):
            raise BadMap(
                name,
                f"column {column.name} of table {table} must not be empty, and nothing would be"
                " written to it: add it to columns, or give it a default",
            )


def _no_column(table: Table, column: str, where: str) -> str:
    names = ", ".join(it.name for it in table.columns)
    return f"{where} names {column}, and table {table} has no such column: it has {names}"


def _variable_type(name: str, given: str, column: Column) -> str:
    family = column.kind.family if column.kind is not None else ""
    usual = _IN_KEYS.get(family)
    if usual is None:
        raise BadMap(
            name,
            f"column {column.name} is of the type {column.type}, which cannot stand in a key:"
            " integers, text, bytea and uuid can",
        )
    if given and given != usual and usual != "text":
        raise BadMap(
            name, f"column {column.name} is of the type {column.type}: write {{{column.name}}}"
        )
    return given or usual


def _bind_any(mapping: Mapping, table: Table, by_name: dict[str, Column]) -> Plan:
    found = []
    for name, family in ((KEY, "bytes"), (VALUE, "bytes"), (EXPIRES, "integer")):
        column = by_name.get(name)
        if column is None or column.kind is None or column.kind.family != family:
            raise BadMap(
                mapping.name,
                f"table {table} has to have the columns key bytea primary key, value bytea not null"
                " and expires_at bigint: say which other with table = '...'",
            )
        if not column.readable:
            raise BadMap(
                mapping.name,
                f"this role may not read table {table}: GRANT SELECT ON {table} TO it",
            )
        found.append(column)
    if mapping.writes:
        _can_write(mapping.name, table, found)
    if (KEY,) not in table.keys:
        raise BadMap(mapping.name, f"the column key of table {table} has to be its primary key")
    types = [variable.type or "text" for variable in mapping.pattern.variables]
    return Plan(mapping, mapping.pattern.typed(types), table, (found[0],), tuple(found[1:]))
