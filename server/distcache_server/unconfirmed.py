"""Replies that wait for replicas (synchronous-replicas): which they are, what may replace them.

A reply to a write is encoded as ever, and marked with the offset in the log that it depends on.
What else stands in the same batch is not marked, so that a reply that comes too late can be told
from the others, and be replaced by an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.reply import ENCODERS

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.registry import Handler


class Unconfirmed(bytes):
    """Encoded replies that depend on the log up to ``offset``."""

    offset: int
    parts: list[bytes]
    """What they were joined from: some marked, some not; empty where all are replies to writes."""


for _encoders in ENCODERS.values():
    _encoders[Unconfirmed] = lambda reply: reply


def mark(data: bytes, offset: int) -> Unconfirmed:
    """The same bytes, as replies to writes."""
    marked = Unconfirmed(data)
    marked.offset, marked.parts = offset, []
    return marked


def joined(replies: list[bytes]) -> bytes:
    """All replies of a batch, marked where one of them is."""
    data = b"".join(replies)
    offsets = [reply.offset for reply in replies if isinstance(reply, Unconfirmed)]
    if not offsets:
        return data
    marked = mark(data, max(offsets))
    marked.parts = replies
    return marked


def marked_since(client: Client, reply: Any, logged: int) -> Any:
    """The reply, encoded and marked where the client has written since its log stood there."""
    if client.logged == logged or client.silent:
        return reply
    return mark(client.encoders[type(reply)](reply), client.logged)


def marking(handler: Handler) -> Handler:
    """A handler whose replies are marked where it wrote something."""

    def run(client: Client, words: Args) -> Any:
        logged = client.logged
        return marked_since(client, handler(client, words), logged)

    return run


def replaced(data: Unconfirmed, error: bytes) -> bytes:
    """The same replies with an error, as it is on the wire, for each of those to writes."""
    if data.parts:
        parts = [
            replaced(part, error) if isinstance(part, Unconfirmed) else part for part in data.parts
        ]
        return b"".join(parts)
    return b"".join([value if value.startswith(b">") else error for value in values(data)])


def values(data: bytes) -> Iterator[bytes]:
    """Encoded replies and push messages, one by one."""
    at = 0
    while at < len(data):
        start, at = at, _end(data, at)
        yield data[start:at]


def _end(data: bytes, at: int) -> int:
    """Where the value that begins at ``at`` ends."""
    left = 1
    while left:
        kind = data[at : at + 1]
        line = data.index(b"\r\n", at)
        if kind in b"$=" and (size := int(data[at + 1 : line])) >= 0:
            line += size + 2
        elif kind in b"*~>%":
            left += max(int(data[at + 1 : line]), 0) * (2 if kind == b"%" else 1)
        at = line + 2
        left -= 1
    return at
