"""A disk that fails under a server: what must hold meanwhile, and after it works again."""

from __future__ import annotations

import errno
import re
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.resp import Error
from tests.support.servers import OURS, Process, Server, free_port
from tests.support.waiting import eventually
from tests.torture.clients import Load, check
from tests.torture.machine import Machine

FAULTS = [
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("fsync", errno.EIO),
    ("limit", 3000),
]
"""What stops writes: a step and its error, or how much space is left."""


class Patient:
    """A server on a disk that fails, with clients that write whatever happens."""

    def __init__(
        self, machine: Machine, folder: Path, policy: str, command: Sequence[str] = OURS
    ) -> None:
        self.machine = machine
        self.folder = folder
        self.command = command
        self.data = machine.mount / "data"
        self.data.mkdir()
        machine.settle()
        self.metrics_port = free_port()
        self.arguments = (
            *("--dir", str(self.data), "--appendonly", "yes", "--appendfsync", policy),
            *("--metrics-port", str(self.metrics_port), "--auto-aof-rewrite-percentage", "0"),
        )
        self.server = Process(command, self.arguments, folder / "server")
        self.load = Load(self.server, clients=3, reconnect=True)
        self.load.wait_for(50)

    def fail(self, step: str, error: int) -> None:
        """Let the log fail until it is noticed."""
        if step == "limit":
            self.machine.limit(error)
        else:
            self.machine.fail(step, error, name=".aof")
        eventually(lambda: status(self.server) == "err")

    def complaints(self) -> list[str]:
        """What is not as it should be while the disk fails."""
        found = []
        with self.server.wire() as wire:
            for words in (("SET", "another", "1"), ("PING",)):
                reply = wire.call(*words)
                if not isinstance(reply, Error) or not reply.startswith(b"MISCONF Errors writing"):
                    found.append(f"{words} is answered {reply!r}")
            if not isinstance(wire.call("LLEN", "c0:log"), int):
                found.append("reads do not go on")
        if "Cannot write the log: writes are refused" not in self.server.log():
            found.append("the log says nothing")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as page:
            text = page.read().decode()
        if not re.search(r"^redis_aof_last_write_status 0(\.0)?$", text, re.MULTILINE):
            found.append("the metrics say nothing")
        return found

    def recover(self) -> None:
        """The disk works again: so does the server, without a restart."""
        self.machine.heal()
        eventually(lambda: status(self.server) == "ok")
        assert self.load.wait_for(50)

    def rest(self) -> list[str]:
        """Let the clients stop, and see what is wrong with what they can read."""
        self.load.stop()
        return self._wrong()

    def _wrong(self) -> list[str]:
        verdict = check(self.server, self.load.records)
        return [*verdict.wrong, *([f"{verdict.lost} lost"] if verdict.lost else [])]

    def cut_power(self, how: str = "drop") -> list[str]:
        """End it, and what is wrong afterwards."""
        self.machine.cut(how)
        self.server.kill()
        self.load.stop()
        self.machine.turn_on()
        self.server = Process(self.command, self.arguments, self.folder / "again")
        eventually(lambda: status(self.server, "loading") == "0")
        return self._wrong()

    def close(self) -> None:
        with suppress(OSError, AssertionError):
            self.machine.heal()
        self.server.kill()
        self.load.stop()


def status(server: Server, name: str = "aof_last_write_status") -> str:
    """A line of INFO persistence."""
    with server.wire() as wire:
        text = wire.call("INFO", "persistence")
    assert isinstance(text, bytes), text
    found = re.search(rf"^{name}:(.*)\r$".encode(), text, re.MULTILINE)
    return found[1].decode() if found else ""


__all__ = ["FAULTS", "Patient", "status"]
