"""WAIT and WAITAOF with replicas and disks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import eventually
from tests.support.replication import Follower, Start, ask, follow, info

pytestmark = pytest.mark.ours("Redis 7.0 has no WAITAOF")

OFF = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_the_disk_here(start: Start, fsync: str) -> None:
    one = start("ours", "--appendonly", "yes", "--appendfsync", fsync)
    with one.wire() as wire:
        assert wire.call("WAITAOF", 0, 0, 0) == [1, 0]
        for number in range(20):
            assert wire.call("SET", "k", number) == b"OK"
            assert wire.call("WAITAOF", 1, 0, 0) == [1, 0]
        wire.send(b"SET k v\r\nWAITAOF 1 0 0\r\nMULTI\r\nWAITAOF 1 1 0\r\nEXEC\r\n")
        replies: list[Any] = [wire.reply() for _ in range(5)]
        assert replies == [b"OK", [1, 0], b"OK", b"QUEUED", [[1, 0]]]


def test_the_disks_of_replicas(start: Start) -> None:
    one, other = start("ours"), start("ours", "--appendonly", "yes")
    follow(other, one)
    with one.wire() as wire:
        for number in range(3):
            assert wire.call("SET", "k", number) == b"OK"
            assert wire.call("WAITAOF", 0, 1, 0) == [0, 1]
        assert wire.call("WAITAOF", 0, 2, 1) == [0, 1]
        assert wire.call("WAITAOF", 1, 1, 0) == OFF
        ask(other, "CONFIG", "SET", "appendonly", "no")
        wire.call("SET", "k", "v")
        assert wire.call("WAIT", 1, 0) == 1
        assert wire.call("WAITAOF", 0, 1, 10) == [0, 0]
    with other.wire() as wire:
        assert wire.call("WAITAOF", 0, 0, 0) == (
            b"ERR WAITAOF cannot be used with replica instances. Please also note that writes to"
            b" replicas are just local and are not propagated."
        )
        assert wire.call("WAIT", 0, 0).startswith(b"ERR WAIT cannot be used with replica")


def test_no_disk_has_anything_without_a_base(start: Start) -> None:
    one, other = start("ours"), start("ours", "--appendonly", "yes", "--appendfsync", "always")

    def rewriting() -> set[str]:
        return {info(it, "persistence")["aof_rewrite_in_progress"] for it in (one, other)}

    with one.wire() as wire:
        for server in (one, other):
            ask(server, "CONFIG", "SET", "rdb-key-save-delay", 1_000_000_000)
        wire.call("SET", "key", "value")
        follow(other, one)
        ask(one, "CONFIG", "SET", "appendfsync", "always", "appendonly", "yes")
        eventually(lambda: rewriting() == {"1"})
        wire.call("SET", "key", "later")
        assert wire.call("WAIT", 1, 0) == 1
        assert wire.call("WAITAOF", 1, 1, 50) == [0, 0]
        for server in (one, other):
            ask(server, "CONFIG", "SET", "appendonly", "no", "rdb-key-save-delay", 0)
            ask(server, "CONFIG", "SET", "appendonly", "yes")
        assert wire.call("WAITAOF", 1, 1, 0) == [1, 1]


def test_what_replicas_say(start: Start) -> None:
    one = start("ours")
    with Follower(one) as replica, one.wire() as wire:
        eventually(lambda: ask(one, "ROLE")[2])
        wire.send(b"SET k v\r\nWAIT 1 0\r\nWAITAOF 0 1 0\r\nPING\r\n")
        assert wire.reply() == b"OK"
        replica.read_until(b"GETACK\r\n$1\r\n*\r\n")
        replica.wire.command("REPLCONF", "ACK", replica.offset, "FACK", 0)
        assert wire.reply() == 1
        replica.wire.command("REPLCONF", "ACK", replica.offset, "FACK", replica.offset)
        assert wire.reply() == [0, 1]
        assert wire.reply() == b"PONG"


def test_the_log_is_turned_off_meanwhile(start: Start) -> None:
    one = start("ours", "--appendonly", "yes")
    with one.wire() as wire:
        wire.call("SET", "k", "v")
        wire.command("WAITAOF", 1, 1, 0)
        eventually(lambda: info(one, "clients")["blocked_clients"] == "1")
        ask(one, "CONFIG", "SET", "appendonly", "no")
        assert wire.reply() == OFF
        assert wire.call("PING") == b"PONG"


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_wait_within_a_transaction(start: Start, replica: str) -> None:
    one, other = start("ours"), start(replica)
    follow(other, one)
    with one.wire() as wire:
        wire.send(b"SET k v\r\nWAIT 1 0\r\nMULTI\r\nWAIT 1 0\r\nWAIT 2 0\r\nSET k w\r\nEXEC\r\n")
        replies: list[Any] = [wire.reply() for _ in range(7)]
        assert replies[:3] == [b"OK", 1, b"OK"]
        assert replies[6] == [1, 1, b"OK"]
        assert wire.call("WAIT", 1, 0) == 1
