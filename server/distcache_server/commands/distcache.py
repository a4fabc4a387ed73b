"""DISTCACHE: what Redis does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.commands.waiting import milliseconds
from distcache_server.errors import NotABackend, NotOnReplica
from distcache_server.registry import NOSCRIPT, group

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")


@command("DISTCACHE", arity=-2, since="7.2.4", complexity="Depends on subcommand.")
def distcache(_: Client, __: Args) -> Any:
    """Holds what Redis does not have."""


@command(
    "DISTCACHE WAIT BACKING timeout",
    NOSCRIPT,
    since="7.2.4",
    acl="connection",
    sub=True,
)
def distcache_wait(client: Client, words: Args) -> int:
    """Waits until the backing store has what this client wrote; 1 if it has, 0 if time is up."""
    _, __, what, timeout = words
    timeout_ms = milliseconds(client, timeout)
    engine = client.engine
    reader = engine.reader
    if what.lower() != b"backing" or reader is None or reader.waits is None:
        raise NotABackend
    if engine.follows:
        raise NotOnReplica(b"DISTCACHE WAIT")
    return reader.waits.wait(client, timeout_ms)
