"""Replicas that were away for longer than memory remembers go on from the segments on disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Process, eventually
from tests.support.replication import SETTINGS, agree, ask, follow, info, wait_linked
from tests.support.servers import OURS, redis_server

pytestmark = pytest.mark.ours("Redis keeps no log for its replicas on disk")

SMALL = (
    *("--appendonly", "yes", "--repl-backlog-size", "16kb", "--aof-segment-size", "40kb"),
    *("--auto-aof-rewrite-percentage", "0"),
)
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server: ``ours``, which may log to disk, or a ``real`` one."""
    started: list[Process] = []

    def begin(kind: str = "ours", *arguments: str) -> Process:
        command: tuple[str, ...] = OURS
        if kind == "real":
            found = redis_server()
            if found is None:
                pytest.skip("redis-server is not installed")
            command = (found,)
        folder = tmp_path / str(len(started))
        started.append(Process(command, (*SETTINGS, *arguments), folder))
        return started[-1]

    yield begin
    for server in started:
        server.kill()
        if server.log_file.exists():
            print(f"--- {server.port}\n{server.log()}")
            assert "Traceback" not in server.log()


def data_of(server: Process) -> Path:
    return Path(ask(server, "CONFIG", "GET", "dir")[1].decode())


def write(server: Process, seed: int, count: int = 3000) -> None:
    """Write more than memory keeps, and segments hold."""
    choose = random.Random(seed)
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for n in range(count):
            key = f"key:{choose.randrange(50)}"
            match choose.randrange(4):
                case 0:
                    pipe.set(key, choose.randbytes(choose.randrange(100)))
                case 1:
                    pipe.delete(key)
                case 2:
                    pipe.execute_command("SELECT", choose.randrange(4))
                case 3:
                    pipe.incrby(f"counter:{choose.randrange(5)}", n)
        pipe.execute_command("SELECT", 0)
        pipe.execute()


def rewrite(server: Process) -> None:
    before = int(info(server, "persistence")["aof_rewrites"])
    ask(server, "BGREWRITEAOF")
    eventually(lambda: int(info(server, "persistence")["aof_rewrites"]) > before, timeout=20)


def leave(replica: Process) -> None:
    """Be away: the replica tries to follow nobody who is there."""
    replica.process.send_signal(19)


def come_back(replica: Process) -> None:
    replica.process.send_signal(18)


def away(primary: Process, replica: Process, during: Callable[[], None]) -> None:
    """The link is cut, things happen, and the replica comes back."""
    leave(replica)
    ask(primary, "CLIENT", "KILL", "TYPE", "replica")
    during()
    come_back(replica)
    wait_linked(replica)


def syncs(server: Process) -> tuple[int, int]:
    found = info(server, "stats")
    return int(found["sync_full"]), int(found["sync_partial_ok"])


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_a_replica_comes_back(start: Start, kind: str) -> None:
    primary, replica = start("ours", *SMALL), start(kind)
    write(primary, 1)
    follow(replica, primary)
    assert agree(primary, replica)

    def much() -> None:
        write(primary, 2)
        rewrite(primary)
        write(primary, 3)

    away(primary, replica, much)
    assert agree(primary, replica)
    assert syncs(primary) == (1, 1)
    assert "source=disk" in primary.log()
