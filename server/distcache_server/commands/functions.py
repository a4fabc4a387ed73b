"""FUNCTION, as far as a server without functions can answer: tools that clear a server send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import BadFlushMode, Failure, UnknownSubcommandOrArity
from distcache_server.registry import NOSCRIPT, WRITE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("scripting")


@command("FUNCTION", since="7.0.0", arity=-2, complexity="Depends on subcommand.")
def function(_: Client, __: Args) -> Any:
    """A container for function commands."""


@command(
    "FUNCTION FLUSH [ASYNC | SYNC]",
    WRITE | NOSCRIPT,
    sub=True,
    since="7.0.0",
    tips="request_policy:all_shards response_policy:all_succeeded",
)
def function_flush(_: Client, words: Args) -> Any:
    """Deletes all libraries and functions: there are none."""
    if len(words) > 3:
        raise UnknownSubcommandOrArity(words[1], b"FUNCTION")
    if len(words) == 3 and words[2].upper() not in (b"ASYNC", b"SYNC"):
        raise BadFlushMode
    return OK


@command(
    "FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]",
    NOSCRIPT,
    sub=True,
    since="7.0.0",
    tips="nondeterministic_output_order",
    complexity="O(N) where N is the number of functions",
)
def function_list(_: Client, words: Args) -> list[Any]:
    """Returns information about all libraries: there are none."""
    given: set[bytes] = set()
    options = iter(words[2:])
    for word in options:
        option = word.upper()
        if option in given or option not in (b"LIBRARYNAME", b"WITHCODE"):
            raise Failure(b"Unknown argument %s" % word)
        given.add(option)
        if option == b"LIBRARYNAME" and next(options, None) is None:
            raise Failure(b"library name argument was not given")
    return []
