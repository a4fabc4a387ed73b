"""DISTCACHE: what Redis does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.commands.waiting import milliseconds
from distcache_server.errors import NotABackend, NotOnReplica, NotPublished
from distcache_server.registry import NOSCRIPT, group

if TYPE_CHECKING:
    from distcache_server.changefeed.publishing import Publishing
    from distcache_server.client import Client
    from distcache_server.errors import CommandError
    from distcache_server.store_waits import StoreWaits

command = group("server")


@command("DISTCACHE", arity=-2, since="7.2.4", complexity="Depends on subcommand.")
def distcache(_: Client, __: Args) -> Any:
    """Holds what Redis does not have."""


@command(
    "DISTCACHE WAIT <BACKING | CHANGEFEED> timeout",
    NOSCRIPT,
    since="7.2.4",
    acl="connection",
    sub=True,
)
def distcache_wait(client: Client, words: Args) -> int:
    """Waits until somebody else has what this client wrote; 1 if so, 0 if time is up."""
    _, __, what, timeout = words
    timeout_ms = milliseconds(client, timeout)
    engine = client.engine
    waits: StoreWaits | Publishing | None
    if what.lower() == b"changefeed":
        waits = engine.publishing if engine.config.changefeed else None
        refusal: type[CommandError] = NotPublished
    else:
        backing = what.lower() == b"backing" and engine.reader is not None
        waits = engine.reader.waits if backing and engine.reader is not None else None
        refusal = NotABackend
    if waits is None:
        raise refusal
    if engine.follows:
        raise NotOnReplica(b"DISTCACHE WAIT")
    return waits.wait(client, timeout_ms)
