"""FUNCTION: what is true as long as there are no functions, since test suites clean up with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import BadFlushMode
from distcache_server.registry import NOSCRIPT, WRITE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("scripting")


@command("FUNCTION", arity=-2, since="7.0.0", complexity="Depends on subcommand.", help="7.0.0")
def function(_: Client, __: Args) -> Any:
    """Looks at functions and removes them."""


@command(
    "FUNCTION FLUSH [ASYNC | SYNC]",
    WRITE | NOSCRIPT,
    since="7.0.0",
    complexity="O(N) where N is the number of functions",
    tips="request_policy:all_shards response_policy:all_succeeded",
    sub=True,
)
def function_flush(_: Client, words: Args) -> Any:
    """Removes all functions, of which there are none."""
    if len(words) > 3 or (len(words) == 3 and words[2].upper() not in (b"ASYNC", b"SYNC")):
        raise BadFlushMode
    return OK
