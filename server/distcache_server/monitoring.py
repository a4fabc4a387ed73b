"""MONITOR: a line for each command that runs, to every client that asked for it.

Format: ``+<seconds>.<microseconds> [<database> <address>] "word" "word"``.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from distcache_server.arguments import Args
from distcache_server.quoting import quote

if TYPE_CHECKING:
    from distcache_server.client import Client


def show(client: Client, words: Args) -> bytes:
    """Tell all others who monitor that the client ran this; the line, for the client itself."""
    now_us = time_ns() // 1000
    where = f"unix:{client.address.removesuffix(':0')}" if client.unix else client.address
    line = b"+%d.%06d [%d %b] %b\r\n" % (
        now_us // 1_000_000,
        now_us % 1_000_000,
        client.keyspace.index,
        where.encode("utf-8", "surrogateescape"),
        b" ".join(map(quote, words)),
    )
    for monitor in list(client.engine.monitors):
        if monitor is not client:
            monitor.send(line)
    return line
