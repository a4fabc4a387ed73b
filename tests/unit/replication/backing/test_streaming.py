"""What a walsender and we say to each other."""

from struct import pack
from unittest.mock import MagicMock

import pytest
from distcache_replication.backing.errors import Away, Refused
from distcache_replication.backing.streaming import (
    Alive,
    Data,
    SlotInUse,
    Stream,
    content,
    refusal,
    start_command,
    status,
)


def test_what_comes() -> None:
    assert content(b"w" + pack("!QQq", 1, 2, 3) + b"B...") == Data(b"B...", 2)
    assert content(b"k" + pack("!QqB", 7, 3, 1)) == Alive(7, asks=True)
    for data in (b"", b"x", b"k", b"w" + pack("!QQq", 1, 2, 3), b"k" + bytes(15)):
        with pytest.raises(Refused):
            content(data)


def test_what_we_say() -> None:
    said = status(5, 3, asks=True)
    assert said[:5] == b"d" + pack("!I", len(said) - 1)
    assert said[5:] == b"r" + pack("!QQQqB", 5, 3, 3, 0, 1)
    assert start_command('a"b', "it's", 0x1_0000_0002) == (
        'START_REPLICATION SLOT "a""b" LOGICAL 1/2'
        " (proto_version '1', publication_names '\"it''s\"', messages 'true')"
    )


def test_errors() -> None:
    def error(code: str) -> Refused | Away:
        return refusal(b"SERROR\0C" + code.encode() + b"\0Mit is not to be\0\0")

    assert type(error("42704")) is Refused
    assert type(error("57P01")) is Away
    assert type(error("55006")) is SlotInUse
    assert error("42704").reason == "it is not to be"
    assert refusal(b"\xff\0").reason


def message(kind: bytes, data: bytes) -> bytes:
    return kind + pack("!I", len(data) + 4) + data


async def test_a_publication_that_is_not_there_is_no_mere_warning() -> None:
    """PostgreSQL 18 goes on without the changes that it would have told."""
    stream = Stream(MagicMock(), 1.0)
    alive = message(b"d", b"k" + pack("!QqB", 7, 3, 0))
    other = message(b"N", b"SWARNING\0C01000\0Msomething else\0\0")
    stream._reader.feed_data(other + alive)
    assert await stream.read() == Alive(7, asks=False)
    skipped = b'SWARNING\0C55000\0Mskipped loading publication "distcache"\0\0'
    stream._reader.feed_data(message(b"N", skipped) + alive)
    with pytest.raises(Refused, match="skipped loading publication"):
        await stream.read()


async def test_a_connection_that_has_ended_can_be_closed() -> None:
    """uvloop takes no farewell for a socket that it has just closed."""
    connection = MagicMock()
    connection.terminate.side_effect = RuntimeError("the handler is closed")
    stream = Stream(connection, 1.0)
    stream.close()
    assert connection._transport.abort.called
