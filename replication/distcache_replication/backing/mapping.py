"""The map: a TOML file that says which keys are which rows.

::

    [users]                      # the name of the mapping, and of the table unless `table` says
    key = "user:{id}"            # variables are columns of the primary key
    as = "hash"                  # hash: fields are columns; json: one object; column; any
    columns = ["name", "email"]  # all but those in the key, where nothing is said
    direction = "read"           # read; write-behind; write-through
    expired = "keep"             # the row of a key that expires: keep, delete, archive
    archive = "old_users"        # the table it goes to then; [table]_archive
    ttl = "10m"                  # how long a loaded row stays; "0" for ever
    jitter = 0.1                 # up to this part of ttl is taken off, at random
    refresh = 0.2                # a read in the last part of ttl loads it anew in the background
    stale = "1h"                 # it is kept this much longer, and served while it is loaded anew
    absent = "5s"                # how long to remember that there is no row
    away = "error"               # without the store: error, miss or stale
    changes = "drop"             # a row that others change: drop, load or ignore

This module knows what a map may say; whether the database agrees is found out by ``binding``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping as Entries
from dataclasses import dataclass, fields
from typing import Any

from distcache_replication.backing.errors import BadMap
from distcache_replication.backing.pattern import Pattern, parse

FORMS = ("hash", "json", "column", "any")
READ, WRITE_BEHIND, WRITE_THROUGH = "read", "write-behind", "write-through"
DIRECTIONS = (READ, WRITE_BEHIND, WRITE_THROUGH)
KEEP, DELETE, ARCHIVE = "keep", "delete", "archive"
OUTCOMES = (KEEP, DELETE, ARCHIVE)
POLICIES = ("error", "miss", "stale")
CHANGES = ("drop", "load", "ignore")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)?")
_UNITS = {None: 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS = 100 * 365 * 86_400_000
CACHE_TABLE = "distcache_cache"
"""Where keys of any type are kept, if nothing else is said."""


@dataclass(frozen=True)
class Mapping:
    """An entry of the map."""

    name: str
    pattern: Pattern
    table: tuple[str, ...]
    """The table, with its schema before it where there is one."""
    form: str
    columns: tuple[str, ...] | None
    """None for all that are not in the key."""
    direction: str = READ
    ttl_ms: int = 0
    jitter: float = 0.1
    refresh: float = 0.0
    stale_ms: int = 0
    absent_ms: int = 0
    away: str = "error"
    changes: str = "drop"
    expired: str = KEEP
    archive: tuple[str, ...] = ()
    """The table that rows of keys that expired go to."""

    @property
    def writes(self) -> bool:
        """What clients write goes to the rows."""
        return self.direction != READ

    @property
    def through(self) -> bool:
        """They are answered when it is there."""
        return self.direction == WRITE_THROUGH

    @property
    def refresh_ms(self) -> int:
        return int(self.ttl_ms * self.refresh)


_OPTIONS = (
    {it.name for it in fields(Mapping)}
    - {"name", "pattern", "ttl_ms", "stale_ms"}
    - {
        "absent_ms",
        "form",
    }
)
OPTIONS = sorted(_OPTIONS | {"key", "as", "column", "ttl", "stale", "absent"})


def whole_cache() -> Mapping:
    """Keys of any type in a table of our own: what holds where there is no map."""
    return Mapping(
        *("any", parse("{key}", "any"), (CACHE_TABLE,), "any", None),
        direction=WRITE_BEHIND,
        expired=DELETE,
    )


def load(source: str) -> list[Mapping]:
    """The mappings of a file; BadMap says which is wrong, and what to write."""
    try:
        found = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise BadMap("", f"not TOML: {error}") from None
    mappings = []
    for name, entry in found.items():
        if not isinstance(entry, dict):
            raise BadMap("", f"'{name}' stands outside of a mapping: begin one with [name]")
        mappings.append(_mapping(name, entry))
    if not mappings:
        raise BadMap("", "there is no mapping: begin one with [name]")
    return mappings


def _mapping(name: str, entry: Entries[str, Any]) -> Mapping:
    for option in entry:
        if option not in OPTIONS:
            raise BadMap(name, f"unknown option '{option}'; there are {', '.join(OPTIONS)}")
    pattern = parse(_text(name, entry, "key"), name)
    form = _one_of(name, entry, "as", FORMS, "hash")
    table = _table(name, entry, "table", CACHE_TABLE if form == "any" else name)
    direction = _one_of(name, entry, "direction", DIRECTIONS, READ)
    expired = _one_of(name, entry, "expired", OUTCOMES, DELETE if form == "any" else KEEP)
    mapping = Mapping(
        name,
        pattern,
        table,
        form,
        _columns(name, form, entry),
        direction,
        _duration(name, entry, "ttl", 0),
        _part(name, entry, "jitter", 0.1),
        _part(name, entry, "refresh", 0.0),
        _duration(name, entry, "stale", 0),
        _duration(name, entry, "absent", 0),
        _one_of(name, entry, "away", POLICIES, "error"),
        _one_of(name, entry, "changes", CHANGES, "drop"),
        expired,
        _archive(name, entry, table) if expired == ARCHIVE else (),
    )
    if mapping.writes:
        _check_writing(mapping)
    elif "expired" in entry:
        raise BadMap(name, "expired is about rows that are written: set direction")
    if "archive" in entry and expired != ARCHIVE:
        raise BadMap(name, "archive is where rows go with expired = 'archive': set that")
    if not mapping.ttl_ms and (mapping.refresh or mapping.stale_ms):
        raise BadMap(name, "refresh and stale count from the end of ttl: set ttl")
    if mapping.away == "stale" and not mapping.stale_ms:
        raise BadMap(name, "away = 'stale' has nothing to serve: say how long with stale = '1h'")
    return mapping


def _check_writing(mapping: Mapping) -> None:
    """BadMap where rows would go that nobody deleted."""
    if not mapping.ttl_ms:
        return
    if mapping.form == "any":
        raise BadMap(
            mapping.name,
            "as = 'any' keeps the deadlines of keys, that of ttl among them: leave ttl out",
        )
    if mapping.expired != KEEP:
        raise BadMap(
            mapping.name,
            f"with ttl rows that were only read expire, and expired = '{mapping.expired}' would"
            " take them away: leave out one of them",
        )


def _table(name: str, entry: Entries[str, Any], option: str, default: str) -> tuple[str, ...]:
    table = tuple(_text(name, entry, option, default).split("."))
    if not 1 <= len(table) <= 2 or not all(table):
        raise BadMap(name, f"{option} has to be 'table' or 'schema.table'")
    return table


def _archive(name: str, entry: Entries[str, Any], table: tuple[str, ...]) -> tuple[str, ...]:
    return _table(name, entry, "archive", ".".join(table) + "_archive")


def _columns(name: str, form: str, entry: Entries[str, Any]) -> tuple[str, ...] | None:
    if form == "column":
        if "columns" in entry:
            raise BadMap(name, "as = 'column' is of one column: write column = 'name'")
        return (_text(name, entry, "column"),)
    if "column" in entry:
        raise BadMap(name, "column is for as = 'column': write columns = ['name', ...]")
    columns = entry.get("columns", "all")
    if columns == "all":
        return None
    if form == "any":
        raise BadMap(name, "as = 'any' has columns of its own: leave columns out")
    if not isinstance(columns, list) or not all(isinstance(it, str) and it for it in columns):
        raise BadMap(name, "columns has to be 'all' or a list of names")
    if not columns or len(set(columns)) < len(columns):
        raise BadMap(name, "columns has to name at least one column, and each once")
    for column in columns:
        if column in (it.name for it in parse(_text(name, entry, "key"), name).variables):
            raise BadMap(name, f"column '{column}' is in the key already: take it out of columns")
    return tuple(columns)


def _text(name: str, entry: Entries[str, Any], option: str, default: str = "") -> str:
    value = entry.get(option, default)
    if not isinstance(value, str) or not value:
        raise BadMap(name, f"{option} is missing, or no text: write {option} = '...'")
    return value


def _one_of(
    name: str, entry: Entries[str, Any], option: str, choices: tuple[str, ...], default: str
) -> str:
    value = entry.get(option, default)
    if value not in choices:
        raise BadMap(name, f"{option} = {value!r} is none of {', '.join(choices)}")
    assert isinstance(value, str)
    return value


def _part(name: str, entry: Entries[str, Any], option: str, default: float) -> float:
    value = entry.get(option, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadMap(name, f"{option} has to be a number from 0 to 1")
    return float(value)


def _duration(name: str, entry: Entries[str, Any], option: str, default: int) -> int:
    value = entry.get(option, default)
    found = None if isinstance(value, bool) else _DURATION.fullmatch(str(value))
    if found is None or (length := int(found[1]) * _UNITS[found[2]]) > LONGEST_MS:
        raise BadMap(name, f"{option} has to be a time: '500ms', '30s', '10m', '1h' or '7d'")
    return length
