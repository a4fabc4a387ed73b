"""CONFIG: settings seen and changed while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.config import Config, ConfigError
from distcache_server.errors import Failure, SyntaxFailure
from distcache_server.registry import ADMIN, LOADING, NOSCRIPT, STALE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

PLAIN = ADMIN | NOSCRIPT | LOADING | STALE
EVERYWHERE = "request_policy:all_nodes response_policy:all_succeeded"


@command("CONFIG", arity=-2, since="2.0.0", complexity="Depends on subcommand.", help="5.0.0")
def config(_: Client, __: Args) -> Any:
    """Looks at settings and changes them."""


@command(
    "CONFIG GET parameter [parameter ...]",
    PLAIN,
    since="2.0.0",
    complexity="O(N) where N is the number of settings",
    sub=True,
)
def config_get(client: Client, words: Args) -> dict[bytes, bytes]:
    """Returns the settings whose names match the patterns."""
    return client.engine.config.get(words[2:])


def secret_values(words: Args) -> list[int]:
    """The values of passwords."""
    known = Config.directives
    names = enumerate(words[2::2])
    settings = ((at, known.get(name.decode("latin-1").lower())) for at, name in names)
    return [3 + 2 * at for at, setting in settings if setting is not None and setting.secret]


@command(
    "CONFIG SET <parameter value> ...",
    PLAIN,
    arity=-4,
    since="2.0.0",
    complexity="O(N) where N is the number of settings",
    tips=EVERYWHERE,
    secrets=secret_values,
    sub=True,
)
def config_set(client: Client, words: Args) -> Any:
    """Changes settings: all that are given, or none."""
    if len(words) % 2:
        raise SyntaxFailure
    pairs = list(zip(words[2::2], words[3::2], strict=True))
    try:
        client.engine.config.set(pairs, local=client.is_local)
    except ConfigError as error:
        raise Failure(error.reason.encode("utf-8", "surrogateescape")) from None
    return OK


@command("CONFIG REWRITE", PLAIN, since="2.8.0", tips=EVERYWHERE, sub=True)
def config_rewrite(client: Client, _: Args) -> Any:
    """Brings the configuration file up to date."""
    try:
        client.engine.config.rewrite()
    except ConfigError as error:
        raise Failure(error.reason.encode("utf-8", "surrogateescape")) from None
    return OK


@command("CONFIG RESETSTAT", PLAIN, since="2.0.0", tips=EVERYWHERE, sub=True)
def config_resetstat(client: Client, _: Args) -> Any:
    """Sets the statistics back to zero."""
    client.engine.reset_stats()
    return OK
