"""Settings of replicas, and what DEBUG does to histories."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from distcache_server import serve

from tests.support import eventually
from tests.support.replication import Start, agree, ask, follow, info, wait_linked

pytestmark = pytest.mark.ours("it is about ours and real ones together")


READ_ONLY = b"READONLY You can't write against a read only replica."
LOADING = b"LOADING Redis is loading the dataset in memory"
NO_PRIMARY = b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
NO_LINK = b"NOMASTERLINK Can't SYNC while not connected with my master"


@pytest.mark.parametrize("which", ["ours", "real"])
def test_which_refusal_comes_first(start: Start, which: str) -> None:
    with start(which, "--replicaof", "127.0.0.1 1").wire() as wire:
        assert wire.call("PSYNC", "?", "x") == NO_LINK
        assert wire.call("SYNC") == NO_LINK
        wire.call("CONFIG", "SET", "replica-serve-stale-data", "no")
        assert wire.call("PSYNC", "?", "x") == NO_PRIMARY
        assert wire.call("GET", "k") == NO_PRIMARY
        assert wire.call("SET", "k", "v") == READ_ONLY
        wire.call("MULTI")
        assert wire.call("GET", "k") == NO_PRIMARY
        assert wire.call("SET", "k", "v") == READ_ONLY
        assert wire.call("SYNC") == b"ERR Command not allowed inside a transaction"
        wire.call("RESET")
        wire.call("SUBSCRIBE", "news")
        assert wire.call("SET", "k", "v") == READ_ONLY
        assert wire.call("GET", "k").startswith(b"ERR Can't execute 'get'")


@pytest.mark.parametrize("which", ["ours", "real"])
@pytest.mark.parametrize("stale", ["yes", "no"])
def test_a_replica_that_loads_is_a_replica(start: Start, which: str, stale: str) -> None:
    server = start(which)
    with server.wire() as wire:
        wire.call("DEBUG", "POPULATE", 100_000)
        assert wire.call("SAVE") == b"OK"
    server.kill()
    slow = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    follows = ("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", stale)
    again = start(which, "--dir", str(server.folder), *slow, *follows)
    with again.wire() as wire:
        assert wire.call("SET", "k", "v") == READ_ONLY
        assert wire.call("GET", "k") == (LOADING if stale == "yes" else NO_PRIMARY)
        # Nobody is to take it for a primary.
        assert wire.call("ROLE") == [b"slave", b"127.0.0.1", 1, b"connect", -1]
        facts = info(again)
        assert facts["role"] == "slave"
        assert (facts["master_host"], facts["master_port"]) == ("127.0.0.1", "1")
        assert facts["master_link_status"] == "down"
        assert facts["master_link_down_since_seconds"] == "-1"
        assert b"loading:1" in wire.call("INFO", "persistence")


@pytest.mark.parametrize("which", ["ours", "real"])
def test_since_when_the_link_is_down(start: Start, which: str) -> None:
    one, other = start("ours"), start(which, "--replicaof", "127.0.0.1 1")

    def since() -> int:
        return int(info(other)["master_link_down_since_seconds"])

    assert since() == -1
    follow(other, one)
    assert "master_link_down_since_seconds" not in info(other)
    # Whom it follows now does not matter.
    ask(other, "REPLICAOF", "127.0.0.1", 1)
    eventually(lambda: since() >= 1)
    ask(other, "REPLICAOF", "NO", "ONE")
    ask(other, "REPLICAOF", "127.0.0.1", 1)
    assert since() == -1


@pytest.mark.parametrize("which", ["ours", "real"])
def test_replicas_are_no_connected_clients(start: Start, which: str) -> None:
    one, other = start(which), start("ours")
    follow(other, one)
    # A replica has its primary among them.
    for server, count in ((one, "1"), (other, "2")):
        eventually(lambda s=server, n=count: info(s, "clients")["connected_clients"] == n)  # type: ignore[misc]


@pytest.mark.parametrize("ignore", ["yes", "no"])
def test_memory_of_a_replica(start: Start, ignore: str) -> None:
    one = start("ours")
    other = start("ours", "--replica-ignore-maxmemory", ignore)
    follow(other, one)
    ask(other, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "200kb")
    with one.wire() as wire:
        wire.send(b"".join(b"SET key:%d %b\r\n" % (n, b"x" * 1000) for n in range(1000)))
        assert {wire.reply() for _ in range(1000)} == {b"OK"}
    end = info(one)["master_repl_offset"]
    eventually(lambda: info(other)["master_repl_offset"] == end)
    if ignore == "yes":
        assert ask(other, "DBSIZE") == 1000
        assert info(other, "stats")["evicted_keys"] == "0"
        # The limit counts as soon as it is a primary.
        ask(other, "REPLICAOF", "NO", "ONE")
    eventually(lambda: ask(other, "DBSIZE") < 250)
    assert ask(one, "DBSIZE") == 1000


def test_memory_of_a_replica_by_config_set(start: Start) -> None:
    one, other = start("ours"), start("ours")
    follow(other, one)
    ask(other, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "200kb")
    with one.wire() as wire:
        wire.send(b"".join(b"SET key:%d %b\r\n" % (n, b"x" * 1000) for n in range(500)))
        assert {wire.reply() for _ in range(500)} == {b"OK"}
    eventually(lambda: ask(other, "DBSIZE") == 500)
    ask(other, "CONFIG", "SET", "replica-ignore-maxmemory", "no")
    eventually(lambda: ask(other, "DBSIZE") < 250)


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_deadlines_on_a_replica_that_takes_writes(start: Start, kind: str) -> None:
    one, other = start("ours"), start(kind, "--replica-read-only", "no")
    follow(other, one)
    # Of these the primary knows nothing.
    with other.wire() as wire:
        wire.call("MULTI")
        wire.call("SET", "kept", "v", "PX", 20)
        wire.call("PEXPIRE", "kept", 100_000)
        assert wire.call("EXEC") == [b"OK", 1]
    ask(other, "SET", "gone", "v", "PX", 20)
    eventually(lambda: ask(other, "DBSIZE") == 1)
    assert ask(other, "EXISTS", "kept") == 1
    # What the primary lets go is only hidden until it says so, but for those who write there.
    ask(one, "DEBUG", "SET-ACTIVE-EXPIRE", 0)
    for key in ("read", "written"):
        ask(one, "SET", key, 5, "PX", 20)
    eventually(lambda: ask(other, "DBSIZE") == 3)
    eventually(lambda: ask(other, "EXISTS", "read", "written") == 0)
    assert ask(other, "INCR", "written") == 1
    assert (ask(other, "GET", "written"), ask(other, "TTL", "written")) == (b"1", -1)
    assert ask(other, "DBSIZE") == 3


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_another_history(start: Start, replica: str) -> None:
    one, other = start("ours"), start(replica)
    follow(other, one)
    ask(one, "SET", "k", "v")
    assert agree(one, other)
    before = info(one)["master_replid"]
    assert ask(one, "DEBUG", "CHANGE-REPL-ID") == b"OK"
    after = info(one)
    assert after["master_replid"] != before
    assert after["master_replid2"] == "0" * 40
    assert info(one, "stats")["sync_full"] == "1"
    # Who has the old history gets everything anew.
    assert ask(one, "CLIENT", "KILL", "TYPE", "replica") == 1
    eventually(lambda: info(one, "stats")["sync_full"] == "2")
    wait_linked(other)
    assert agree(one, other)
    assert info(other)["master_replid"] == after["master_replid"]


def test_what_a_replica_says_of_itself(start: Start) -> None:
    one = start("ours")
    settings = ("--replica-announced", "no", "--replica-priority", "7")
    other = start("ours", *settings, "--replica-announce-port", "7001")
    follow(other, one)
    said = info(other)
    assert (said["replica_announced"], said["slave_priority"]) == ("0", "7")
    eventually(lambda: "port=7001,state=online" in info(one)["slave0"])


@pytest.mark.parametrize("load", ["disabled", "on-empty-db", "swapdb"])
@pytest.mark.parametrize("lazy", ["yes", "no"])
def test_snapshots_are_loaded_alike(start: Start, load: str, lazy: str) -> None:
    one = start("real")
    other = start("ours", "--repl-diskless-load", load, "--replica-lazy-flush", lazy)
    ask(one, "SET", "k", "v")
    ask(other, "SET", "other", "v")
    follow(other, one)
    assert agree(one, other)
    assert ask(other, "EXISTS", "other") == 0


def test_replicas_share_a_snapshot(start: Start) -> None:
    """The second comes within the delay of the first, and ends it, as no more are waited for."""
    one = start(
        "ours",
        *("--repl-diskless-sync-delay", "3600", "--repl-diskless-sync-max-replicas", "2"),
    )
    others = [start("ours"), start("ours")]
    ask(others[0], "REPLICAOF", one.host, one.port)
    eventually(lambda: "state=wait_bgsave" in info(one).get("slave0", ""))
    ask(others[1], "REPLICAOF", one.host, one.port)
    for other in others:
        wait_linked(other)
    assert agree(one, *others)
    assert one.log().count("Snapshot for replicas begins") == 1


@pytest.mark.parametrize("kind", ["ours", "real"])
@pytest.mark.parametrize("behavior", ["ignore", "panic", "panic-on-replicas"])
@pytest.mark.parametrize("writable", [False, True])
def test_a_command_that_cannot_be_applied(
    start: Start, kind: str, behavior: str, writable: bool
) -> None:
    one, other = start("ours"), start(kind, "--propagation-error-behavior", behavior)
    follow(other, one)
    ask(other, "CONFIG", "SET", "replica-read-only", "no")
    ask(other, "SET", "k", "a string here")
    ask(other, "CONFIG", "SET", "replica-read-only", "no" if writable else "yes")
    ask(one, "LPUSH", "k", "a list there")
    ask(one, "SET", "next", "value")
    if writable or behavior == "ignore":
        eventually(lambda: ask(other, "GET", "next") == b"value")
        assert ask(other, "TYPE", "k") == b"string"
    else:
        assert other.process.wait(20) != 0
    assert "Traceback" not in other.log()


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_the_rest_of_a_transaction_is_applied(start: Start, kind: str) -> None:
    one, other = start("ours"), start(kind)
    follow(other, one)
    ask(other, "CONFIG", "SET", "replica-read-only", "no")
    ask(other, "SET", "k", "a string here")
    with one.wire() as wire:
        for words in ("MULTI", "SET before 1", "LPUSH k there", "SET behind 2", "EXEC"):
            wire.call(*words.split())
    ask(one, "SET", "next", "value")
    eventually(lambda: ask(other, "GET", "next") == b"value")
    assert ask(other, "MGET", "k", "before", "behind") == [b"a string here", b"1", b"2"]


@pytest.mark.parametrize("kind", ["ours", "real"])
@pytest.mark.parametrize("ignore", ["yes", "no"])
def test_a_replica_whose_disk_fails(start: Start, kind: str, ignore: str) -> None:
    one = start("ours")
    other = start(kind, "--save", "3600 1000", "--replica-ignore-disk-write-errors", ignore)
    follow(other, one)
    ask(one, "SET", "k", "before")
    assert agree(one, other)
    # A folder stands where the snapshot is to go.
    (other.folder / "dump.rdb").unlink(missing_ok=True)
    (other.folder / "dump.rdb").mkdir()
    ask(other, "BGSAVE")
    eventually(lambda: info(other, "persistence")["rdb_last_bgsave_status"] == "err")
    # A ping is no write.
    ask(one, "CONFIG", "SET", "repl-ping-replica-period", "1")
    end = int(info(one)["master_repl_offset"])
    eventually(lambda: int(info(other)["slave_repl_offset"]) > end)
    ask(one, "SET", "k", "after")
    if ignore == "yes":
        eventually(lambda: ask(other, "GET", "k") == b"after")
    else:
        assert other.process.wait(20) != 0


@pytest.mark.parametrize("disable", ["yes", "no"])
async def test_packets_to_replicas(disable: str) -> None:
    async with (
        serve(repl_disable_tcp_nodelay=disable, repl_diskless_sync_delay=0) as one,
        serve(replicaof=f"127.0.0.1 {one.port}"),
        asyncio.timeout(20),
    ):
        while not one.replication.replicas.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        (client,) = one.replication.replicas.clients
        with socket.socket(fileno=os.dup(client.descriptor)) as sock:
            nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bool(nodelay) == (disable == "no")
