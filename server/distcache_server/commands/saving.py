"""The commands for the snapshot on disk: SAVE and LASTSAVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import SaveFailed
from distcache_server.registry import (
    ADMIN,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    group,
)
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")


@command(
    "SAVE",
    NO_ASYNC_LOADING | ADMIN | NOSCRIPT | NO_MULTI,
    since="1.0.0",
    complexity="O(N) where N is the number of keys in all databases",
)
def save(client: Client, _: Args) -> Any:
    """Writes a snapshot to disk; the server does nothing else until it is done."""
    if not client.engine.snapshot.save():
        raise SaveFailed
    return OK


@command(
    "LASTSAVE",
    LOADING | STALE | FAST,
    since="1.0.0",
    acl="admin dangerous",
    tips="nondeterministic_output",
)
def lastsave(client: Client, _: Args) -> int:
    """Returns the Unix time of the last snapshot, or of the start where there is none."""
    return client.engine.snapshot.saved_s
