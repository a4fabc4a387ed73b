"""The commands for the snapshot on disk: SAVE, BGSAVE and LASTSAVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import (
    NoPersistence,
    RewriteBeforeSave,
    SaveFailed,
    SaveInProgress,
    SyntaxFailure,
)
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
from distcache_server.reply import OK, Status

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
    persistence = client.engine.persistence
    if persistence is not None and persistence.saving:
        raise SaveInProgress
    client.engine.snapshot.saves += 1
    if not client.engine.snapshot.save():
        raise SaveFailed
    if persistence is not None:
        persistence.judge()
    return OK


@command("BGSAVE [SCHEDULE]", NO_ASYNC_LOADING | ADMIN | NOSCRIPT, since="1.0.0", arity=-1)
def bgsave(client: Client, words: Args) -> Any:
    """Writes a snapshot to disk in the background."""
    engine = client.engine
    persistence = engine.persistence
    schedule = len(words) == 2 and words[1].upper() == b"SCHEDULE"
    if len(words) > 1 and not schedule:
        raise SyntaxFailure
    if persistence is None:
        raise NoPersistence
    if persistence.saving:
        raise SaveInProgress
    if persistence.rewriter.in_progress or engine.in_transaction:
        if not schedule and not engine.in_transaction:
            raise RewriteBeforeSave
        persistence.saver.scheduled = True
        return Status(b"Background saving scheduled")
    persistence.saver.begin()
    return Status(b"Background saving started")


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
