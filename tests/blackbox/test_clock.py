"""The clock of the machine jumps, by an hour or by ten years, to and fro.

Deadlines of keys are times of that clock, as in Redis, and nothing else goes by it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Process, eventually
from tests.support.replication import Start, agree, ask, follow, info

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

pytestmark = [
    pytest.mark.ours("its clock is made to jump"),
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (package faketime)"),
]

HOUR_S = 3600
YEARS_S = 10 * 365 * 86400
JUMPS = [HOUR_S, -HOUR_S, YEARS_S, -YEARS_S]

Jump = Callable[[int], None]
"""Sets the clock so many seconds ahead of the true time."""


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jump:
    file = tmp_path / "clock"
    new = tmp_path / "clock.new"

    def jump(seconds: int) -> None:
        new.write_text(f"{seconds:+d}\n")
        new.rename(file)

    jump(0)
    for name, value in {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return jump


def now_s(server: Process) -> int:
    return int(ask(server, "TIME")[0])


@pytest.mark.parametrize("seconds", JUMPS)
def test_deadlines(start: Start, jump: Jump, seconds: int) -> None:
    server = start("ours")
    before_s = now_s(server)
    limits = {"soon": 600, "later": HOUR_S + 600, "last": YEARS_S + 600}
    for key, limit in limits.items():
        ask(server, "SET", key, "v", "EX", limit)
        ask(server, "HSET", f"h{key}", "f", "v", "g", "v")
        ask(server, "HPEXPIRE", f"h{key}", limit * 1000, "FIELDS", 1, "f")
    jump(seconds)
    assert abs(now_s(server) - before_s - seconds) < 60
    left = [key for key, limit in limits.items() if limit > seconds]
    eventually(lambda: ask(server, "DBSIZE") == len(left) + len(limits))
    for key, limit in limits.items():
        assert ask(server, "EXISTS", key) == (key in left)
        assert ask(server, "HLEN", f"h{key}") == 1 + (key in left)
        if key in left:
            assert abs(ask(server, "TTL", key) - limit + seconds) < 60
    # They go without being asked for, whether the clock was ahead or behind before.
    for ahead in (0, seconds, 0):
        jump(ahead)
        size = ask(server, "DBSIZE")
        ask(server, "SET", f"new{ahead}", "v", "PX", 50)
        eventually(lambda: ask(server, "DBSIZE") == size)  # noqa: B023


def test_waiting_goes_by_another_clock(start: Start, jump: Jump) -> None:
    server = start("ours")
    for seconds in JUMPS:
        with server.wire() as short, server.wire() as long:
            short.command("BLPOP", "l", 0.2)
            long.command("BLPOP", "l", 1000)
            eventually(lambda: info(server, "clients")["blocked_clients"] in ("1", "2"))
            jump(seconds)
            assert short.reply() is None
            ask(server, "RPUSH", "l", "v")
            assert long.reply() == [b"l", b"v"]


def test_flushes_go_on(start: Start, jump: Jump) -> None:
    server = start("ours", "--appendonly", "yes", "--appendfsync", "everysec")
    with server.wire() as wire:
        for ahead in JUMPS:
            jump(ahead)
            assert wire.call("SET", "k", ahead) == b"OK"
            assert wire.call("WAITAOF", 1, 0, 10_000) == [1, 0]
        assert wire.call("BGREWRITEAOF") == b"Background append only file rewriting started"
        eventually(lambda: info(server, "persistence")["aof_rewrites"] == "1")


@pytest.mark.parametrize("whose", ["primary", "replica"])
def test_replicas_stay(
    start: Start, jump: Jump, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """One of the two has another clock than the other: no time-out, no key that goes too early."""
    started: dict[str, Process] = {}
    for name in ("primary", "replica"):
        with monkeypatch.context() as patch:
            if name != whose:
                patch.delenv("LD_PRELOAD")
            started[name] = start("ours")
    primary, replica = started["primary"], started["replica"]
    follow(replica, primary)
    with primary.wire() as wire:
        assert wire.call("SET", "k", "v", "EX", 2 * YEARS_S) == b"OK"
        for seconds in JUMPS:
            jump(seconds)
            assert wire.call("SET", "n", seconds) == b"OK"
            assert wire.call("WAIT", 1, 10_000) == 1
            assert info(replica)["master_link_status"] == "up"
            assert int(info(replica)["master_last_io_seconds_ago"]) < HOUR_S
            assert ask(replica, "GET", "k") == b"v"
    assert int(info(primary, "stats")["sync_full"]) == 1
    assert agree(primary, replica)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "volatile-ttl"])
def test_eviction(start: Start, jump: Jump, policy: str) -> None:
    server = start("ours", "--maxmemory", "3mb", "--maxmemory-policy", policy)
    with server.wire() as wire:
        for ahead in (0, *JUMPS, 0):
            jump(ahead)
            for number in range(1000):
                wire.command("SET", f"k{ahead}:{number}", "v" * 1000, "EX", 2 * YEARS_S)
            assert {wire.reply() for _ in range(1000)} == {b"OK"}
            if policy == "allkeys-lru":
                keys = [wire.call("RANDOMKEY") for _ in range(20)]
                times = [wire.call("OBJECT", "IDLETIME", key) for key in keys]
                # Some may have gone since.
                assert min(time for time in times if time is not None) >= 0
        assert 0 < wire.call("DBSIZE") < 6000
        assert int(info(server, "stats")["evicted_keys"]) > 0
