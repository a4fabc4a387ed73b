"""The append-only log: rewriting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import CannotRewrite, NoPersistence, RewriteInProgress
from distcache_server.registry import ADMIN, NO_ASYNC_LOADING, NOSCRIPT, group
from distcache_server.reply import Status

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")


@command("BGREWRITEAOF", ADMIN | NOSCRIPT | NO_ASYNC_LOADING, since="1.0.0")
def bgrewriteaof(client: Client, _: Args) -> Any:
    """Rewrites the append-only log in the background."""
    persistence = client.engine.persistence
    if persistence is None:
        raise NoPersistence
    rewriter = persistence.rewriter
    if rewriter.in_progress:
        raise RewriteInProgress
    if client.engine.in_transaction:
        rewriter.scheduled = True
    elif not persistence.can_make_files():
        raise CannotRewrite
    else:
        rewriter.begin()
    if rewriter.scheduled or rewriter.waits:
        return Status(b"Background append only file rewriting scheduled")
    return Status(b"Background append only file rewriting started")
