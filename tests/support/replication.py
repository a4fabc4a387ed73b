"""Servers that replicate from each other: ours and real ones."""

from __future__ import annotations

from typing import Any

from tests.support.resp import Error
from tests.support.servers import Server
from tests.support.waiting import eventually

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
    eventually(lambda: info(server)["master_link_status"] == "up", timeout=20)


def agree(*servers: Server) -> bool:
    """Whether servers come to hold the same at the same offset."""

    def same() -> bool:
        before = {info(server)["master_repl_offset"] for server in servers}
        found = {ask(server, "DEBUG", "DIGEST") for server in servers}
        after = {info(server)["master_repl_offset"] for server in servers}
        assert (len(before | after), len(found)) == (1, 1), (before, after, found)
        return True

    return eventually(same, timeout=20)
