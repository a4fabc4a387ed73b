"""SHUTDOWN and signals while replicas lack something."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support import Process, Wire, eventually
from tests.support.replication import Follower, Start, ask, follow, info
from tests.support.servers import OURS

pytestmark = pytest.mark.ours("it is about ours and real ones together")

NOT_STOPPED = b"ERR Errors trying to SHUTDOWN. Check logs."


def behind(primary: Process, replica: Follower, wire: Wire) -> None:
    """Write something that the replica does not acknowledge."""
    eventually(lambda: ask(primary, "ROLE")[2])
    assert wire.call("SET", "k", "v") == b"OK"


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_abort(start: Start, kind: str) -> None:
    one = start(kind, "--shutdown-timeout", "3600")
    with Follower(one) as replica, one.wire() as wire, one.wire() as other:
        behind(one, replica, wire)
        assert other.call("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."
        wire.command("SHUTDOWN", "NOSAVE")
        eventually(lambda: info(one, "clients")["blocked_clients"] == "1")
        # Reads go on, and writes wait.
        assert other.call("GET", "k") == b"v"
        with one.wire() as writer:
            writer.command("SET", "k", "w")
            eventually(lambda: info(one, "clients")["blocked_clients"] == "2")
            assert other.call("SHUTDOWN", "ABORT") == b"OK"
            assert wire.reply() == NOT_STOPPED
            assert writer.reply() == b"OK"
        assert other.call("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."


@pytest.mark.parametrize("how", ["acknowledged", "now", "time", "signal", "gone"])
def test_it_stops(start: Start, how: str) -> None:
    one = start("ours", "--shutdown-timeout", "1" if how == "time" else "3600")
    with Follower(one) as replica, one.wire() as wire, one.wire() as other:
        behind(one, replica, wire)
        wire.command("SHUTDOWN")
        if how != "time":
            eventually(lambda: info(one, "clients")["blocked_clients"] == "1")
        if how == "acknowledged":
            replica.acknowledge(int(info(one)["master_repl_offset"]))
        elif how == "now":
            other.command("SHUTDOWN", "NOW")
        elif how == "signal":
            one.process.send_signal(signal.SIGTERM)
        elif how == "gone":
            replica.wire.reset()
        wire.expect_closed()
    assert one.process.wait(60) == 0


def test_a_signal(start: Start) -> None:
    one = start("ours", "--shutdown-timeout", "3600")
    with Follower(one) as replica, one.wire() as wire:
        behind(one, replica, wire)
        one.process.send_signal(signal.SIGTERM)
        replica.read_until(b"GETACK\r\n$1\r\n*\r\n")
        replica.acknowledge()
        wire.expect_closed()
    assert one.process.wait(60) == 0


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_nothing_is_lost(start: Start, replica: str) -> None:
    one, other = start("ours"), start(replica)
    follow(other, one)
    eventually(lambda: ask(one, "ROLE")[2])
    with one.wire() as wire:
        wire.send(b"INCR n\r\n" * 5000 + b"SHUTDOWN\r\n")
        assert [wire.reply() for _ in range(5000)][-1] == 5000
        wire.expect_closed()
    assert one.process.wait(60) == 0
    assert ask(other, "GET", "n") == b"5000"


FAILS = """
import sys
from distcache_server import __main__, expiry

def fails(self, now_ms):
    if self.engine.databases[0].exists(b"fail"):
        raise RuntimeError("it fails")
    return False

expiry.Sweeper.step = fails
sys.exit(__main__.main())
"""


def test_what_goes_on_besides_commands_does_not_end_unnoticed(tmp_path: Path) -> None:
    """Better no server than one that expires, flushes and replicates nothing."""
    settings = ("--save", "3600 1", "--dir", str(tmp_path))
    server = Process((sys.executable, "-c", FAILS), settings, tmp_path / "one")
    again = server
    try:
        with server.wire() as wire:
            assert wire.call("SET", "fail", "now") == b"OK"
            wire.expect_closed()
        assert server.process.wait(60) == 1
        assert "RuntimeError: it fails" in server.log()
        again = Process(OURS, ("--dir", str(tmp_path)), tmp_path / "other")
        assert ask(again, "GET", "fail") == b"now"
    finally:
        for process in (server, again):
            process.kill()


FAILS_IN_A_CALLBACK = """
import sys
from distcache_server import __main__, gate

def fails(self):
    raise RuntimeError("it fails")

gate.Gate.tick = lambda self: self.call_soon(fails, self)
sys.exit(__main__.main())
"""


def test_what_the_loop_caught_is_told(tmp_path: Path) -> None:
    server = Process((sys.executable, "-c", FAILS_IN_A_CALLBACK), (), tmp_path)
    try:
        eventually(lambda: 'error="RuntimeError: it fails"' in server.log())
        assert ask(server, "PING") == b"PONG"
    finally:
        server.kill()


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_not_before_the_first_base_is_complete(start: Start, kind: str) -> None:
    one = start(kind, "--rdb-key-save-delay", "100000000", "--save", "")
    with one.wire() as wire:
        wire.call("SET", "k", "v")
        assert wire.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        for words in ([], ["NOSAVE"], ["NOW"]):
            assert wire.call("SHUTDOWN", *words) == NOT_STOPPED
        one.process.send_signal(signal.SIGTERM)
        eventually(lambda: one.log().count("Writing initial AOF") == 4)
        assert wire.call("GET", "k") == b"v"
        wire.command("SHUTDOWN", "FORCE")
        wire.expect_closed()
    assert one.process.wait(60) == 0
