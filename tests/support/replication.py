"""Servers that replicate from each other: ours and real ones."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.support.resp import Error
from tests.support.servers import Process, Server
from tests.support.waiting import eventually

Start = Callable[..., Process]
"""Starts a server: `start("ours")`, `start("real", "--directive", "value")`."""

SETTINGS = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "3600")
"""Nobody waits for more replicas; offsets stand still when nothing is written."""


def info(server: Server, section: str = "replication") -> dict[str, str]:
    """A section of INFO."""
    with server.wire() as wire:
        text = wire.call("INFO", section)
    assert isinstance(text, bytes), text
    lines = text.decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def ask(server: Server, *words: bytes | str | float) -> Any:
    """The reply to one command, which is no error."""
    with server.wire() as wire:
        reply = wire.call(*words)
    assert not isinstance(reply, Error), reply
    return reply


def follow(server: Server, primary: Server) -> None:
    """Make it a replica, and wait until it is one."""
    assert ask(server, "REPLICAOF", primary.host, primary.port).startswith(b"OK")
    wait_linked(server)


def wait_linked(server: Server) -> None:
    """Until a replica follows its primary's log."""
    eventually(lambda: info(server)["master_link_status"] == "up")


def agree(*servers: Server) -> bool:
    """Whether servers come to hold the same at the same offset."""

    def same() -> bool:
        before = {info(server)["master_repl_offset"] for server in servers}
        found = {ask(server, "DEBUG", "DIGEST") for server in servers}
        after = {info(server)["master_repl_offset"] for server in servers}
        assert (len(before | after), len(found)) == (1, 1), (before, after, found)
        return True

    return eventually(same)


class Follower:
    """A replica that says what a test has it say: it reads the log, and acknowledges when told."""

    def __init__(self, primary: Server, port: int = 7777) -> None:
        self.wire = primary.wire()
        assert self.wire.call("REPLCONF", "listening-port", port) == b"OK"
        self.wire.command("PSYNC", "?", "-1")
        answer = self.wire.read_until(b"\r\n").split()
        assert answer[0] == b"+FULLRESYNC", answer
        self.offset = int(answer[2])
        """It has read the log up to here."""
        line = self.wire.read_until(b"\r\n").lstrip(b"\n")
        self.wire.read(int(line[1:]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wire.close()

    def read_until(self, word: bytes) -> bytes:
        """The log up to and including `word`."""
        data = self.wire.read_until(word)
        self.offset += len(data)
        return data

    def has(self, word: bytes) -> bool:
        """Whether it has been sent `word` by now, and not read it yet."""
        self.wire.is_closed()
        return word in self.wire._unread

    def acknowledge(self, offset: int | None = None) -> None:
        """Say that it has the log up to `offset`, or all that it has read."""
        self.wire.command("REPLCONF", "ACK", self.offset if offset is None else offset)
