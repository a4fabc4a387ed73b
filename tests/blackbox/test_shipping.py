"""Who is told of a write is told when replicas have been sent it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import StartServer, Wire, eventually
from tests.support.replication import Follower, ask, info
from tests.support.servers import Server

pytestmark = pytest.mark.ours("Redis may send either first")


class Local(Server):
    """A server over its Unix socket, where what was sent first is there first."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", 0)
        self.path = path

    def wire(self, timeout: float = 10.0) -> Wire:
        return Wire(self.path, timeout)


@pytest.fixture(params=["no", "everysec", "always"])
def local(request: pytest.FixtureRequest, start_server: StartServer) -> Iterator[Local]:
    policy = request.param
    logging = () if policy == "no" else ("--appendonly", "yes", "--appendfsync", policy)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        start_server("--unixsocket", path, *logging)
        yield Local(path)


@pytest.fixture
def replicas(local: Local) -> Iterator[list[Follower]]:
    with ExitStack() as stack:
        found = [stack.enter_context(Follower(local, port)) for port in (7777, 7778)]
        eventually(lambda: len(ask(local, "ROLE")[2]) == 2)
        yield found


@pytest.mark.parametrize("count", [1, 3, 30])
def test_replicas_first(local: Local, replicas: list[Follower], count: int) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(local.wire()) for _ in range(count)]
        for number in range(60 // count):
            for at, wire in enumerate(wires):
                match (number + at) % 3:
                    case 0:
                        wire.command("SET", f"k{at}", f"<{number}-{at}>")
                    case 1:
                        wire.command("RPUSH", f"l{at}", f"<{number}-{at}>")
                    case _:
                        wire.command("MULTI")
                        wire.command("GETSET", f"k{at}", f"<{number}-{at}>")
                        wire.command("EXEC")
            for at, wire in enumerate(wires):
                for _ in range(3 if (number + at) % 3 == 2 else 1):
                    wire.reply()
                assert [it.has(b"<%d-%d>" % (number, at)) for it in replicas] == [True, True]


def test_who_leaves_at_once_is_answered(local: Local, replicas: list[Follower]) -> None:
    with local.wire() as wire:
        wire.command("SET", "k", "<v>")
        wire.command("QUIT")
        wire.expect(b"+OK\r\n+OK\r\n")
        assert [it.has(b"<v>") for it in replicas] == [True, True]
        wire.expect_closed()


def test_who_reads_sees_nothing_earlier(local: Local, replicas: list[Follower]) -> None:
    with local.wire() as writer, local.wire() as reader:
        for number in range(30):
            writer.command("SET", "k", f"<{number}>")
            value = b""
            while value != b"<%d>" % number:
                value = reader.call("GET", "k") or b""
            assert [it.has(value) for it in replicas] == [True, True]
            assert writer.reply() == b"OK"


def test_who_comes_back_is_answered_first(local: Local) -> None:
    """What it has missed comes behind the answer that it gets it."""
    with Follower(local) as replica, local.wire() as wire:
        eventually(lambda: ask(local, "ROLE")[2])
        wire.call("SET", "k", "<1>")
        replica.read_until(b"<1>\r\n")
        history = info(local)["master_replid"]
        for number in range(2, 5):
            wire.call("SET", "k", f"<{number}>")
            with local.wire() as again:
                again.command("REPLCONF", "capa", "psync2")
                again.command("PSYNC", history, replica.offset + 1)
                again.expect(b"+OK\r\n+CONTINUE %b\r\n*3\r\n" % history.encode())
                again.read_until(b"<%d>" % number)
