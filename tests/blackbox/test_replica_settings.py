"""Settings of replicas, and what DEBUG does to histories."""

from __future__ import annotations

import pytest

from tests.support import eventually
from tests.support.replication import Start, agree, ask, follow, info, wait_linked

pytestmark = pytest.mark.ours("it is about ours and real ones together")


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
