"""What the database behind the cache has, and how far it is."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.databases import Database
from tests.support.replication import ask, info
from tests.support.servers import Server

LAZY = ("--backing-batch-delay", "300000")
"""Rows are not written before somebody waits for them, by a server of this command:"""
NO_BEAT = (
    sys.executable,
    "-c",
    "import sys\n"
    "from distcache_server import __main__, writing\n"
    "writing.BEAT_S = 3600.0\n"
    "sys.exit(__main__.main())",
)
"""Any other writes after five seconds all the same, which a busy machine may need for anything."""


def rows(database: Database, table: str = "users") -> list[tuple[Any, ...]]:
    """The rows of a table, by their first column."""
    return [tuple(row) for row in database.query(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608


def ours(database: Database, table: str) -> str:
    """The name of one of our own tables."""
    return f"distcache.{table}" if database.kind == "postgres" else f"distcache_{table}"


def position(database: Database) -> tuple[int, str, int]:
    """Epoch, history and offset of the rows."""
    table = ours(database, "position")
    epoch, history, offset = database.query(
        f"SELECT epoch, history, log_offset FROM {table}"  # noqa: S608
    )[0]
    return epoch, history, offset


def dead_letters(database: Database) -> list[tuple[Any, ...]]:
    """Mapping, key and reason of what was refused."""
    table = ours(database, "dead_letter")
    found = database.query(f"SELECT mapping, key, reason FROM {table} ORDER BY id")  # noqa: S608
    return [(mapping, bytes(key), reason) for mapping, key, reason in found]


def is_written(server: Server, database: Database) -> bool:
    """Whether the rows are the keys as of the present end of the log."""
    found = info(server)
    there = (found["master_replid"], int(found["master_repl_offset"]))
    assert position(database)[1:] == there, (position(database), there)
    return True


def figure(server: Server, name: str) -> str:
    """A line of INFO backing."""
    return info(server, "backing")[f"backing_{name}"]


def write_all(server: Server) -> None:
    """Wait until the rows are what the keys are."""
    with server.wire() as wire:
        # The wait is for what this client has written.
        assert wire.call("PUBLISH", "nobody", "x") == 0
        assert wire.call("SET", "unmapped", "x") == b"OK"
        assert wire.call("DISTCACHE", "WAIT", "backing", 50_000) == 1


__all__ = ["ask", "dead_letters", "figure", "info", "is_written", "ours", "position", "rows"]
