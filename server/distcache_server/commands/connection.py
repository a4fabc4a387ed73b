"""The connection commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.registry import FAST, SUBSCRIBED, group
from distcache_server.reply import PONG

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("connection")


@command("PING [message]", FAST | SUBSCRIBED, since="1.0.0")
def ping(client: Client, words: Args) -> Any:
    """Returns the server's liveliness response."""
    if client.state == "subscribed":
        return [b"pong", words[1] if len(words) > 1 else b""]
    return words[1] if len(words) > 1 else PONG
