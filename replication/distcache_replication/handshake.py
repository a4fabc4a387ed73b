"""How a replica introduces itself to a primary (PSYNC2): a generator, without a socket.

It yields commands and is sent the reply line to each, without its end.  Replies to REPLCONF that
are errors are passed over, since an old primary knows few of its options.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import NamedTuple

Words = list[bytes]

HISTORY = re.compile(rb"[0-9a-f]{40}")
OFFSET = re.compile(rb"[0-9]{1,18}")
UNKNOWN = b"?"
"""In place of a history: there is nothing to go on from."""


class Refused(Exception):
    """The primary does not want us, or does not speak PSYNC; the text is its reply."""


class Introduction(NamedTuple):
    """What a replica says of itself."""

    port: int
    address: bytes = b""
    """Where others find it, if that is not where it connects from."""
    user: bytes = b""
    password: bytes = b""
    history: bytes = UNKNOWN
    offset: int = 0
    """It has the log of that history up to here."""
    failover: bool = False
    """Whom it talks to is to be the primary."""


class Resync(NamedTuple):
    """How the log comes in step."""

    full: bool
    """First comes a snapshot, as of ``offset``."""
    history: bytes
    offset: int


def handshake(us: Introduction) -> Generator[Words, bytes, Resync]:
    """The conversation up to the answer to PSYNC; raises Refused."""
    reply = yield [b"PING"]
    if reply.startswith(b"-") and not _wants_password(reply):
        raise Refused(_shown(reply))
    if us.password:
        reply = yield [b"AUTH", *([us.user] if us.user else []), us.password]
        if reply.startswith(b"-"):
            raise Refused(_shown(reply))
    yield [b"REPLCONF", b"listening-port", b"%d" % us.port]
    if us.address:
        yield [b"REPLCONF", b"ip-address", us.address]
    yield [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]
    known = us.history != UNKNOWN
    words = [b"PSYNC", us.history, b"%d" % (us.offset + 1 if known else -1)]
    reply = yield [*words, b"FAILOVER"] if us.failover else words
    match reply.split():
        case [b"+FULLRESYNC", history, offset] if HISTORY.fullmatch(history):
            if OFFSET.fullmatch(offset):
                return Resync(True, history, int(offset))
        case [b"+CONTINUE"] if known:
            return Resync(False, us.history, us.offset)
        case [b"+CONTINUE", history] if known and HISTORY.fullmatch(history):
            return Resync(False, history, us.offset)
    raise Refused(_shown(reply))


def _wants_password(reply: bytes) -> bool:
    return reply.startswith((b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"))


def _shown(reply: bytes) -> str:
    return reply[:200].decode("latin-1")
