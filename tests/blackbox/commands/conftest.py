"""Fixtures of the tests of commands."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from tests.support import Push, Server, plain

Ask: TypeAlias = Callable[..., Any]


@pytest.fixture
def ask(server: Server, protocol: int) -> Iterator[Ask]:
    """Send a command under RESP2 or RESP3; the reply comes as RESP2 shapes it, errors too."""
    with server.wire() as wire:
        if protocol == 3:
            wire.call("HELLO", 3)
        yield lambda *words: plain(wire.call(*words))


@pytest.fixture
def events(server: Server) -> Iterator[Ask]:
    """Send a command; which keyspace events it causes, each as ``b"set k"``."""
    with server.wire() as wire:
        wire.call("HELLO", 3)
        wire.call("CONFIG", "SET", "notify-keyspace-events", "EA")
        wire.call("PSUBSCRIBE", "__keyevent@*")

        def send(*words: bytes | str | float) -> list[bytes]:
            # What the command publishes comes before or behind its reply, and before this echo's.
            wire.command(*words)
            wire.command("ECHO", "end of events")
            heard = []
            while (reply := wire.reply()) != b"end of events":
                if isinstance(reply, Push):
                    _, _, channel, key = reply
                    assert isinstance(channel, bytes)
                    assert isinstance(key, bytes)
                    heard.append(channel.partition(b"__:")[2] + b" " + key)
            return heard

        yield send
