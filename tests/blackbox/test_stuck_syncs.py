"""Replicas that stop reading during a full sync: after repl-timeout they are closed."""

from __future__ import annotations

import random

import pytest

from tests.support import Process, eventually
from tests.support.replication import Start, ask, info
from tests.support.resp import Error

pytestmark = pytest.mark.ours("a snapshot is made in the process, and nothing else meanwhile")


def full(start: Start, *arguments: str) -> Process:
    """A primary with more keys than the buffers of a socket hold."""
    primary = start("ours", "--repl-timeout", "1", *arguments)
    with primary.client() as client:
        for n in range(24):
            client.set(f"key:{n}", random.Random(n).randbytes(1 << 20))
    return primary


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_it_does_not_read(start: Start, diskless: str) -> None:
    primary = full(start, "--repl-diskless-sync", diskless)
    with primary.wire() as replica:
        replica.send(b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n")
        replica.read_until(b"+FULLRESYNC ")
        eventually(lambda: info(primary)["connected_slaves"] == "0")
        assert "Disconnecting timedout replica (full sync)" in primary.log()
        # The next snapshot may begin.
        eventually(lambda: not isinstance(ask(primary, "BGSAVE"), Error))
        eventually(lambda: info(primary, "persistence")["rdb_bgsave_in_progress"] == "0")
        assert info(primary, "persistence")["rdb_last_bgsave_status"] == "ok"
        with primary.wire() as other:
            other.send(b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n")
            assert other.read_until(b"+FULLRESYNC ")


def test_it_says_nothing_after_its_snapshot(start: Start) -> None:
    primary = start("ours", "--repl-timeout", "1")
    with primary.wire() as replica:
        replica.send(b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n")
        replica.read_until(b"+FULLRESYNC ")
        eventually(lambda: info(primary)["connected_slaves"] == "0")
        assert "Disconnecting timedout replica (full sync)" in primary.log()
