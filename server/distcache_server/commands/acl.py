"""ACL: who may run what.  There is one user, who may run everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import UnknownCategory, UnknownSubcommandOrArity
from distcache_server.registry import (
    CATEGORIES,
    LOADING,
    NOSCRIPT,
    STALE,
    categories_of,
    every_command,
    group,
)

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

PLAIN = NOSCRIPT | LOADING | STALE


@command("ACL", arity=-2, since="6.0.0", complexity="Depends on subcommand.", help="6.0.0")
def acl(_: Client, __: Args) -> Any:
    """Looks at users and what they may do."""


@command("ACL WHOAMI", PLAIN, since="6.0.0", sub=True)
def acl_whoami(client: Client, _: Args) -> bytes:
    """Returns the name of the user of this connection."""
    return client.user


@command(
    "ACL CAT [category]",
    PLAIN,
    since="6.0.0",
    complexity="O(N) where N is the number of commands",
    sub=True,
)
def acl_cat(_: Client, words: Args) -> list[bytes]:
    """Returns the categories of commands, or the commands of one."""
    if len(words) == 2:
        return [name.encode() for name in CATEGORIES]
    if len(words) > 3:
        raise UnknownSubcommandOrArity(words[1], b"ACL")
    wanted = words[2].decode("latin-1").lower()
    if wanted not in CATEGORIES:
        raise UnknownCategory(words[2])
    return [it.name.encode() for it in every_command() if wanted in categories_of(it)]
