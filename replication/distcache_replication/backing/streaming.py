"""A connection to a walsender of PostgreSQL, which streams the changes of a slot.

asyncpg has no API for that: it connects and authenticates, and then the transport is ours.  The
other way, ``pg_logical_slot_peek_binary_changes``, decodes the WAL again and again from where the
slot began, which takes seconds under load.

    to us    Byte1 kind, Int32 length of the rest and itself, the rest:
             W  copying begins; E, N  an error or a notice, fields of Byte1 and String;
             d  CopyData with
             w  Int64 start, Int64 end of the WAL, Int64 time, a message of pgoutput; or with
             k  Int64 end of the WAL that was sent, Int64 time, Byte1 1 if it wants an answer
    from us  Q  String START_REPLICATION ...
             d  CopyData with r, Int64 received, Int64 flushed, Int64 applied, Int64 time, Byte1

https://www.postgresql.org/docs/15/protocol-replication.html
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import Any, NamedTuple

import asyncpg

from distcache_replication.backing.errors import Away, Refused
from distcache_replication.backing.pgoutput import lsn_text
from distcache_replication.backing.postgres import SETTINGS, end, understood
from distcache_replication.backing.postgres_writing import quoted

_HEAD = Struct("!cI")
_DATA = Struct("!QQq")
_ALIVE = Struct("!QqB")
_STATUS = Struct("!cIcQQQqB")
MOST = 1 << 30
"""A value of PostgreSQL has at most so many bytes."""
CHUNK = 1 << 14
"""Bytes that are taken before others have their turn."""
IN_USE = "55006"
"""The code of the error when another connection streams the slot."""
UNPUBLISHED = "55000"
"""That of the warning of PostgreSQL 18 when the publication is not there: what follows is left out,
where earlier versions end with an error."""


class SlotInUse(Away):
    """Another connection streams the slot, which keeps what is to be told."""


class Data(NamedTuple):
    """A message of pgoutput."""

    content: bytes
    end: int


class Alive(NamedTuple):
    """The walsender has sent all there is up to here."""

    end: int
    asks: bool


def start_command(slot: str, publication: str, position: int) -> str:
    """What makes a walsender stream a slot from a place in the WAL."""
    names = quoted((publication,)).replace("'", "''")
    return (
        f"START_REPLICATION SLOT {quoted((slot,))} LOGICAL {lsn_text(position)}"
        f" (proto_version '1', publication_names '{names}', messages 'true')"
    )


def status(received: int, flushed: int, asks: bool) -> bytes:
    """Tells the walsender how far we are; ``asks`` wants to know how far it is."""
    return _STATUS.pack(b"d", _STATUS.size - 1, b"r", received, flushed, flushed, 0, asks)


def content(data: bytes) -> Data | Alive:
    """What CopyData has in it; raises Refused."""
    if data[:1] == b"w" and len(data) > 1 + _DATA.size:
        _, end, _ = _DATA.unpack_from(data, 1)
        return Data(data[1 + _DATA.size :], end)
    if data[:1] == b"k" and len(data) == 1 + _ALIVE.size:
        end, _, asks = _ALIVE.unpack_from(data, 1)
        return Alive(end, asks == 1)
    raise Refused("the walsender said something that is not known")


def _said(data: bytes) -> tuple[str, str]:
    """The code and the text of an error or a notice."""
    fields = {it[:1]: it[1:].decode("utf-8", "replace") for it in data.split(b"\0") if it}
    return fields.get(b"C", ""), fields.get(b"M", "an error without a text")


def refusal(data: bytes) -> Refused | Away:
    """The error of an ErrorResponse."""
    code, text = _said(data)
    if code == IN_USE:
        return SlotInUse(text)
    # It shuts down, starts, or has no connection left.
    return Away(text) if code[:2] in ("57", "53", "08") else Refused(text)


class Stream:
    """One connection.  Everything raises Away and Refused."""

    def __init__(self, connection: Any, silence_s: float) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self._transport: asyncio.Transport = connection._transport
        self._buffer = bytearray()
        self._at = 0
        """Where the next message begins in it."""
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def _send(self, kind: bytes, data: bytes) -> None:
        self._transport.write(_HEAD.pack(kind, len(data) + 4) + data)

    async def start(self, slot: str, publication: str, position: int) -> None:
        """Have the walsender begin."""
        self._send(b"Q", start_command(slot, publication, position).encode() + b"\0")
        while (await self._take())[0] != b"W":
            pass

    async def _take(self) -> tuple[bytes, bytes]:
        """A message of the protocol; raises what the server raises."""
        while (found := self._cut()) is None:
            try:
                async with asyncio.timeout(self._silence_s):
                    data = await self._reader.read(CHUNK)
            except OSError as error:
                text = "nothing is heard of it" if isinstance(error, TimeoutError) else "it is gone"
                raise Away(text) from None
            if not data:
                raise Away("it is gone")
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += data
            await asyncio.sleep(0)  # much may be there already, and others want their turn
        kind, data = found
        if kind == b"E":
            raise refusal(data)
        if kind == b"N" and _said(data)[0] == UNPUBLISHED:
            raise refusal(data)
        if kind in (b"c", b"C", b"Z"):
            raise Away("it has stopped to tell of changes")
        return found

    def _cut(self) -> tuple[bytes, bytes] | None:
        """The next message of what has arrived, if it is whole."""
        buffer, start = self._buffer, self._at + _HEAD.size
        if len(buffer) < start:
            return None
        kind, size = _HEAD.unpack_from(buffer, self._at)
        if not 4 <= size <= MOST:
            raise Refused("the walsender said something that is not known")
        end = self._at + 1 + size
        if len(buffer) < end:
            return None
        self._at = end
        return kind, bytes(buffer[start:end])

    async def read(self) -> Data | Alive:
        """What comes next."""
        while True:
            kind, data = await self._take()
            if kind == b"d":
                return content(data)

    def tell(self, received: int, flushed: int, asks: bool = False) -> None:
        """Tell how far we are."""
        if not self._transport.is_closing():
            self._transport.write(status(received, flushed, asks))

    def close(self) -> None:
        end(self._connection)
        self._transport.abort()


async def connect(address: str, timeout_s: float, silence_s: float) -> Stream:
    """Connect to a walsender of the database."""
    settings = SETTINGS | {"replication": "database", "bytea_output": "hex"}
    settings["client_min_messages"] = "warning"
    try:
        async with asyncio.timeout(timeout_s):
            connection = await asyncpg.connect(address, server_settings=settings)
    except Exception as error:
        raise understood(error) from None
    return Stream(connection, silence_s)
