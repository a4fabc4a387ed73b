"""SLOWLOG: the last commands that took long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer
from distcache_server.errors import BadSlowlogCount, UnknownSubcommandOrArity
from distcache_server.registry import ADMIN, LOADING, STALE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

PLAIN = ADMIN | LOADING | STALE
USUAL = 10


@command("SLOWLOG", arity=-2, since="2.2.12", complexity="Depends on subcommand.", help="6.2.0")
def slowlog(_: Client, __: Args) -> Any:
    """Looks at the commands that took long."""


@command(
    "SLOWLOG GET [count]",
    PLAIN,
    since="2.2.12",
    complexity="O(N) where N is the number of entries",
    tips="request_policy:all_nodes nondeterministic_output",
    sub=True,
)
def slowlog_get(client: Client, words: Args) -> list[Any]:
    """Returns the last entries, ten if no number is given and all for -1.

    Of each: number, Unix time, microseconds, words, address and name of the client.
    """
    if len(words) > 3:
        raise UnknownSubcommandOrArity(words[1], b"SLOWLOG")
    count = integer(words[2], BadSlowlogCount) if len(words) > 2 else USUAL
    if count < -1:
        raise BadSlowlogCount
    entries = client.engine.slowlog.entries
    wanted = len(entries) if count == -1 else count
    return [
        [it.number, it.time_s, it.duration_us, it.words, it.address.encode(), it.name]
        for it, _ in zip(entries, range(wanted), strict=False)
    ]


@command(
    "SLOWLOG LEN",
    PLAIN,
    since="2.2.12",
    tips="request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
    sub=True,
)
def slowlog_len(client: Client, _: Args) -> int:
    """Returns the number of entries."""
    return len(client.engine.slowlog.entries)


@command(
    "SLOWLOG RESET",
    PLAIN,
    since="2.2.12",
    complexity="O(N) where N is the number of entries",
    tips="request_policy:all_nodes response_policy:all_succeeded",
    sub=True,
)
def slowlog_reset(client: Client, _: Args) -> Any:
    """Drops all entries."""
    client.engine.slowlog.entries.clear()
    return OK
