"""Replicas that were away for longer than memory remembers go on from the segments on disk."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.support import Process, eventually, free_port
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

    def begin(kind: str, *arguments: str, folder: Path | None = None) -> Process:
        command: tuple[str, ...] = OURS
        if kind == "real":
            found = redis_server()
            if found is None:
                pytest.skip("redis-server is not installed")
            command = (found,)
        folder = folder or tmp_path / str(len(started))
        started.append(Process(command, (*SETTINGS, *arguments), folder))
        return started[-1]

    yield begin
    for server in started:
        server.kill()
        if server.log_file.exists():
            print(f"--- {server.port}\n{server.log()}")
            assert "Traceback" not in server.log()


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
    # There may be one yet since it became a replica.
    eventually(partial(_rests, server))
    before = int(info(server, "persistence")["aof_rewrites"])
    ask(server, "BGREWRITEAOF")
    eventually(lambda: int(info(server, "persistence")["aof_rewrites"]) > before)


def away(primary: Process, replica: Process, during: Callable[[], None]) -> None:
    """The link is cut, things happen, and the replica comes back."""
    replica.process.send_signal(signal.SIGSTOP)
    ask(primary, "CLIENT", "KILL", "TYPE", "replica")
    during()
    replica.process.send_signal(signal.SIGCONT)
    wait_linked(replica)


def syncs(server: Process) -> tuple[int, int]:
    """With a snapshot, and without."""
    found = info(server, "stats")
    return int(found["sync_full"]), int(found["sync_partial_ok"])


def much(primary: Process, seed: int) -> None:
    """Far more than memory keeps, so that the beginning is in history files."""
    write(primary, seed)
    rewrite(primary)
    write(primary, seed + 1)


def segments(server: Process) -> list[Path]:
    """The increments on disk, the oldest first."""
    found = (server.folder / "appendonlydir").glob("*.incr.aof")
    return sorted(found, key=lambda path: int(path.name.split(".")[-3]))


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_a_replica_comes_back(start: Start, kind: str) -> None:
    primary, replica = start("ours", *SMALL), start(kind)
    write(primary, 1)
    follow(replica, primary)
    assert agree(primary, replica)
    for seed in (2, 4, 6):
        away(primary, replica, partial(much, primary, seed))
        assert agree(primary, replica)
    assert syncs(primary) == (1, 3)
    assert primary.log().count("source=disk") == 3
    found = info(primary)
    assert found["repl_disk_active"] == "1"
    assert found["repl_disk_slots"] == "0"
    assert 0 < int(found["repl_disk_retained"]) < int(found["repl_disk_size"])
    assert int(found["repl_disk_first_byte_offset"]) < int(found["repl_backlog_first_byte_offset"])


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_the_primary_is_killed_again_and_again(start: Start, kind: str) -> None:
    primary, replica = start("ours", *SMALL), start(kind)
    follow(replica, primary)
    write(primary, 1)
    assert agree(primary, replica)
    replica.process.send_signal(signal.SIGSTOP)
    for seed in (2, 4, 6):
        much(primary, seed)
        primary = restart(start, primary)
    replica.process.send_signal(signal.SIGCONT)
    wait_followed(primary, replica)
    assert agree(primary, replica)
    write(primary, 8)
    assert agree(primary, replica)
    assert syncs(primary) == (0, 1)


def restart(start: Start, server: Process, *arguments: str) -> Process:
    """Kill it, and start it again."""
    server.kill()
    assert "Traceback" not in server.log()
    port = str(server.port)
    again = start("ours", *SMALL, "--port", port, *arguments, folder=server.folder)
    eventually(lambda: info(again, "persistence")["loading"] == "0")
    return again


@pytest.mark.parametrize("last", ["ours", "real"])
def test_a_chain(start: Start, last: str) -> None:
    """The one in the middle has segments of its primary's log, at the same offsets."""
    first, middle, end = start("ours"), start("ours", *SMALL), start(last)
    write(first, 1)
    follow(middle, first)
    follow(end, middle)
    assert agree(first, middle, end)

    def happen() -> None:
        write(first, 2)
        assert agree(first, middle)
        rewrite(middle)
        write(first, 3)
        assert agree(first, middle)

    away(middle, end, happen)
    assert agree(first, middle, end)
    assert syncs(middle) == (1, 1)
    # And when the one in the middle is a primary.
    ask(middle, "REPLICAOF", "NO", "ONE")
    away(middle, end, lambda: much(middle, 4))
    assert agree(middle, end)
    assert syncs(middle)[0] == 1


def test_damage_is_noticed(start: Start) -> None:
    primary, replica = start("ours", *SMALL), start("ours")
    follow(replica, primary)
    write(primary, 1)
    assert agree(primary, replica)

    harmed: list[Path] = []

    def happen() -> None:
        write(primary, 2)
        rewrite(primary)
        path = segments(primary)[-1]
        write(primary, 3)
        # Nobody is to be in the midst of it later.
        eventually(lambda: segments(primary)[-1] != path and segments(primary)[-1].stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        harmed.append(path)
        # Else the end of it is in memory.
        write(primary, 4)

    away(primary, replica, happen)
    eventually(lambda: syncs(primary)[0] == 2)
    assert agree(primary, replica)
    said = rf"log on disk cannot be read.*{re.escape(harmed[0].name)} at offset \d+"
    assert re.search(said, primary.log())
    # What is behind it can be read.
    away(primary, replica, lambda: much(primary, 5))
    assert agree(primary, replica)
    assert syncs(primary)[0] == 2


def test_what_is_not_kept(start: Start) -> None:
    primary = start("ours", *SMALL, "--repl-disk-retention", "100kb", "--changefeed-retention", "0")
    replica = start("ours")
    follow(replica, primary)
    write(primary, 1)
    assert agree(primary, replica)

    def happen() -> None:
        much(primary, 2)
        rewrite(primary)
        assert int(info(primary)["repl_disk_retained"]) <= 100 << 10

    away(primary, replica, happen)
    assert agree(primary, replica)
    assert syncs(primary)[0] == 2
    assert len(segments(primary)) <= 5
    ask(primary, "CONFIG", "SET", "repl-disk-retention", "0")
    eventually(lambda: len(segments(primary)) == 1)


def test_a_slow_replica_takes_no_memory(start: Start) -> None:
    """It is neither closed for what waits for it, nor is the log kept in memory for it."""
    limit = ("--client-output-buffer-limit", "replica 4mb 4mb 1")
    primary, replica = start("ours", *SMALL, "--aof-segment-size", "1mb", *limit), start("ours")
    follow(replica, primary)
    replica.process.send_signal(signal.SIGSTOP)
    with primary.client() as client:
        for n in range(40):
            client.set(f"key:{n % 5}", bytes([n]) * (1 << 20))
    eventually(lambda: int(info(primary)["repl_backlog_histlen"]) < 2 << 20)
    assert info(primary)["connected_slaves"] == "1"
    eventually(lambda: info(primary)["repl_disk_slots"] == "1")
    replica.process.send_signal(signal.SIGCONT)
    assert agree(primary, replica)
    assert syncs(primary) == (1, 0)


def test_a_slow_full_sync_takes_no_memory(start: Start) -> None:
    limit = ("--client-output-buffer-limit", "replica 4mb 4mb 1")
    primary = start("ours", *SMALL, "--aof-segment-size", "1mb", *limit)
    with primary.client() as client, primary.wire() as replica:
        for n in range(20):
            client.set(f"key:{n}", random.Random(n).randbytes(1 << 20))
        replica.send(b"REPLCONF capa eof\r\nPSYNC ? -1\r\n")
        eventually(lambda: "send_bulk" in info(primary).get("slave0", ""))
        for n in range(40):
            client.set("key", bytes([n]) * (1 << 20))
        eventually(lambda: int(info(primary)["repl_backlog_histlen"]) < 2 << 20)
        found = info(primary)
        assert "send_bulk" in found["slave0"]
        assert found["repl_disk_slots"] == "1"


def test_a_deposed_primary_does_not_go_on(start: Start) -> None:
    """A promotion is known after a restart: what the old primary wrote since is not ours."""
    old, new = start("ours", "--appendonly", "yes"), start("ours", *SMALL)
    follow(new, old)
    write(old, 1)
    assert agree(old, new)
    ask(new, "REPLICAOF", "NO", "ONE")
    write(old, 2, 100)
    write(new, 3)
    assert int(info(new)["master_repl_offset"]) > int(info(old)["master_repl_offset"])
    new = restart(start, new)
    follow(old, new)
    assert agree(old, new)
    assert syncs(new)[0] == 1


def test_a_planned_switch_does_not_need_a_snapshot(start: Start) -> None:
    """One that had nothing of its own goes on, also after a restart of the new primary."""
    old, new = start("ours", *SMALL), start("ours", *SMALL)
    follow(new, old)
    write(old, 1)
    assert agree(old, new)
    ask(new, "REPLICAOF", "NO", "ONE")
    much(new, 2)
    new = restart(start, new)
    write(new, 4)
    follow(old, new)
    assert agree(old, new)
    assert syncs(new) == (0, 1)


def test_a_replica_that_is_ahead(start: Start) -> None:
    """After a power cut the primary may lack what a replica has: that was another history."""
    primary, replica, other = start("ours", *SMALL), start("ours"), start("real")
    write(primary, 1)
    follow(other, primary)
    follow(replica, primary)
    assert agree(primary, replica, other)
    other.process.send_signal(signal.SIGSTOP)
    ask(primary, "CLIENT", "KILL", "TYPE", "replica")
    wait_linked(replica)
    write(primary, 2, 500)
    write(primary, 3, 20)
    # What is to be lost must not be the head of a segment that has just begun.
    while not 1000 < segments(primary)[-1].stat().st_size < 30_000:
        write(primary, 3, 5)
    ask(primary, "SET", "torn", "value")
    assert agree(primary, replica)
    replica.process.send_signal(signal.SIGSTOP)
    primary.kill()
    # Behind the command there may be a line that says that it was flushed.
    path = segments(primary)[-1]
    os.truncate(path, path.read_bytes().rindex(b"torn"))
    primary = restart(start, primary)
    assert "The log ended in the middle of a write" in primary.log()
    write(primary, 4)
    replica.process.send_signal(signal.SIGCONT)
    other.process.send_signal(signal.SIGCONT)
    eventually(lambda: info(primary)["connected_slaves"] == "2")
    wait_linked(replica)
    wait_linked(other)
    assert agree(primary, replica, other)
    # The one that had lost nothing of its history went on.
    assert syncs(primary) == (1, 1)


def test_a_replica_that_was_written_to(start: Start) -> None:
    """What somebody else put into its directory is of no history, also after another restart."""
    primary, replica = start("ours"), start("ours", *SMALL)
    follow(replica, primary)
    write(primary, 1, 100)
    assert agree(primary, replica)
    eventually(lambda: info(replica, "persistence")["aof_rewrite_in_progress"] == "0")
    replica.stop()
    with segments(replica)[-1].open("ab") as file:
        file.write(
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nalien\r\n$1\r\n1\r\n"
        )
    nobody = f"127.0.0.1 {free_port()}"
    for _ in range(2):
        replica = restart(start, replica, "--replicaof", nobody)
        assert ask(replica, "GET", "alien") == b"1"
    write(primary, 2, 100)
    follow(replica, primary)
    assert agree(primary, replica)
    assert syncs(primary) == (2, 0)


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_redis_opens_the_directory(start: Start, role: str) -> None:
    server = primary = start("ours", *SMALL, "--rdb-version", "10")
    if role == "replica":
        server = start("ours", *SMALL, "--rdb-version", "10")
        follow(server, primary)
    much(primary, 1)
    assert agree(primary, server)
    rewrite(server)
    much(primary, 3)
    assert agree(primary, server)
    before = ask(server, "DEBUG", "DIGEST")
    assert len(segments(server)) > 2
    server.stop()
    manifest = server.folder / "appendonlydir" / "appendonly.aof.manifest"
    if redis_server() is not None:
        subprocess.run(["redis-check-aof", str(manifest)], check=True, capture_output=True)
    real = start("real", "--appendonly", "yes", folder=server.folder)
    eventually(lambda: info(real, "persistence")["loading"] == "0")
    assert ask(real, "DEBUG", "DIGEST") == before
    write(real, 5, 100)
    before = ask(real, "DEBUG", "DIGEST")
    real.stop()
    again = start("ours", *SMALL, folder=server.folder)
    eventually(lambda: info(again, "persistence")["loading"] == "0")
    assert ask(again, "DEBUG", "DIGEST") == before


def test_a_segment_says_in_which_database_it_begins(start: Start) -> None:
    """Redis reads each of them as if database 0 was selected."""
    server = start("ours", *SMALL, "--rdb-version", "10")
    with server.wire() as wire:
        wire.call("SELECT", 3)
        wire.call("SET", "long", "x" * 50_000)
        eventually(lambda: [path for path in segments(server)[1:] if path.stat().st_size])
        wire.call("SET", "key", "value")
    before = ask(server, "DEBUG", "DIGEST")
    server.stop()
    real = start("real", "--appendonly", "yes", folder=server.folder)
    assert ask(real, "DEBUG", "DIGEST") == before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["ours", "real"])
def test_killed_at_any_moment(start: Start, kind: str, seed: int) -> None:
    """Primary and replica are killed, paused and cut off at random while clients write."""
    choose = random.Random(seed)
    appending = SMALL if kind == "ours" else ()
    primary, replica = start("ours", *SMALL), start(kind, *appending)
    follow(replica, primary)
    for step in range(8):
        writer = threading.Thread(target=_write_on, args=(primary, choose.randrange(1 << 30)))
        writer.start()
        match choose.randrange(5):
            case 0:
                writer.join(choose.random() / 10)
                primary = restart(start, primary)
            case 1 if kind == "ours":
                writer.join(choose.random() / 10)
                place = f"127.0.0.1 {primary.port}"
                replica = restart(start, replica, "--replicaof", place)
            case 2:
                away(primary, replica, writer.join)
            case 3:
                eventually(partial(_rests, primary))
                ask(primary, "BGREWRITEAOF")
            case _:
                ask(primary, "CLIENT", "KILL", "TYPE", "replica")
        writer.join()
        if step % 3 == 2:
            wait_followed(primary, replica)
            assert agree(primary, replica)


def _rests(server: Process) -> bool:
    """No rewrite goes on."""
    return info(server, "persistence")["aof_rewrite_in_progress"] == "0"


def wait_followed(primary: Process, replica: Process) -> None:
    """Until both know of each other."""
    eventually(lambda: info(primary)["connected_slaves"] == "1")
    wait_linked(replica)


def _write_on(server: Process, seed: int) -> None:
    with contextlib.suppress(redis.ConnectionError):
        write(server, seed)
