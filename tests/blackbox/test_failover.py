"""FAILOVER between ours and real ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Error, Process, eventually
from tests.support.replication import Follower, Start, agree, ask, follow, info

pytestmark = pytest.mark.ours("it is about ours and real ones together")

PAIRS = [("ours", "ours"), ("ours", "real"), ("real", "ours")]
READONLY = b"READONLY You can't write against a read only replica."


def state(server: Process) -> str:
    return info(server)["master_failover_state"]


def wait_online(primary: Process, count: int = 1) -> None:
    eventually(lambda: len(ask(primary, "ROLE")[2]) == count)


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
@pytest.mark.parametrize("named", [False, True])
def test_roles_change_while_clients_write(
    start: Start, primary: str, replica: str, named: bool
) -> None:
    one, other = start(primary), start(replica)
    follow(other, one)
    wait_online(one)
    target = ("TO", other.host, other.port) if named else ()
    with one.wire() as writer, one.wire() as transaction:
        transaction.send(b"MULTI\r\nINCR t\r\n")
        assert [transaction.reply(), transaction.reply()] == [b"OK", b"QUEUED"]
        # Sent at once, so that some come before the pause and some in it.
        writer.send(b"INCR n\r\n" * 500)
        assert ask(one, "FAILOVER", *target, "TIMEOUT", 20_000) == b"OK"
        writer.send(b"INCR n\r\nGET n\r\n")
        transaction.send(b"EXEC\r\n")
        answers: list[Any] = [writer.reply() for _ in range(502)]
        done = [answer for answer in answers[:501] if isinstance(answer, int)]
        refused = answers[len(done) : 501]
        assert set(refused) == {READONLY}
        assert int(answers[-1]) == done[-1]
        aborted = b"EXECABORT Transaction discarded because of: "
        assert transaction.reply() == aborted + READONLY
    assert state(one) == "no-failover"
    eventually(lambda: info(one)["master_link_status"] == "up")
    assert info(one)["role"] == "slave"
    assert info(other)["role"] == "master"
    assert info(other, "stats")["sync_full"] == "0"
    assert int(ask(other, "GET", "n")) == done[-1]
    ask(other, "SET", "k", "v")
    assert agree(one, other)
    # And back.
    wait_online(other)
    assert ask(other, "FAILOVER") == b"OK"
    eventually(lambda: info(one)["role"] == "master")
    eventually(lambda: info(other)["master_link_status"] == "up")
    ask(one, "SET", "k", "w")
    assert agree(one, other)


def test_other_replicas_follow_on(start: Start) -> None:
    one, other, third = start("ours"), start("ours"), start("real")
    follow(other, one)
    follow(third, one)
    ask(one, "SET", "k", "v")
    wait_online(one, 2)
    assert ask(one, "FAILOVER", "TO", other.host, other.port) == b"OK"
    eventually(lambda: info(other)["role"] == "master")
    follow(third, other)
    assert agree(one, other, third)
    assert info(other, "stats")["sync_full"] == "0"


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_refusals(start: Start, kind: str) -> None:
    one = start(kind)
    with one.wire() as wire:

        def refused(*words: str | int) -> bytes:
            reply = wire.call("FAILOVER", *words)
            assert isinstance(reply, Error)
            return reply

        assert refused("ABORT") == b"ERR No failover in progress."
        assert refused() == b"ERR FAILOVER requires connected replicas."
        for words in (["x"], ["TO", "h"], ["TIMEOUT"], ["ABORT", "FORCE"], ["FORCE", "FORCE"]):
            assert refused(*words) == b"ERR syntax error"
        assert refused("TO", "a", "b") == b"ERR value is not an integer or out of range"
        assert refused("TIMEOUT", 0) == b"ERR FAILOVER timeout must be greater than 0"
        assert refused("TIMEOUT", "x") == b"ERR value is not an integer or out of range"
        assert wire.call("PSYNC", "a" * 40, 1, "FAILOVER") == (
            b"ERR PSYNC FAILOVER can't be sent to a master."
        )
        with Follower(one, 7000):
            wait_online(one)
            assert refused("FORCE") == (
                b"ERR FAILOVER with force option requires both a timeout and target HOST and IP."
            )
            assert refused("TO", "127.0.0.1", 1) == (
                b"ERR FAILOVER target HOST and PORT is not a replica."
            )
            assert wire.call("SET", "k", "v") == b"OK"  # which it will not acknowledge
            assert wire.call("FAILOVER") == b"OK"
            assert state(one) == "waiting-for-sync"
            assert refused() == b"ERR FAILOVER already in progress."
            assert wire.call("REPLICAOF", "NO", "ONE") == (
                b"ERR REPLICAOF not allowed while failing over."
            )
            # A pause of a client's ends, and this one goes on.
            assert wire.call("CLIENT", "UNPAUSE") == b"OK"
            with one.wire() as writer:
                writer.command("SET", "k", "v")
                eventually(lambda: info(one, "clients")["blocked_clients"] == "1")
                assert wire.call("FAILOVER", "ABORT") == b"OK"
                assert writer.reply() == b"OK"
            assert state(one) == "no-failover"
        wire.call("REPLICAOF", "127.0.0.1", 1)
        assert refused() == b"ERR FAILOVER is not valid when server is a replica."


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_a_replica_that_is_asked_for_another_history(start: Start, kind: str) -> None:
    one, other = start("ours"), start(kind)
    follow(other, one)
    with other.wire() as wire:
        reply = wire.call("PSYNC", "a" * 40, 1, "FAILOVER")
    assert reply == b"ERR PSYNC FAILOVER replid must match my replid."
    assert info(other)["role"] == "slave"


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_replicas_are_refused_meanwhile(start: Start, kind: str) -> None:
    one = start(kind)
    refused = b"NOMASTERLINK Can't SYNC while failing over"
    # It never acknowledges what is written after its snapshot.
    with Follower(one), one.wire() as wire:
        if kind == "real":
            eventually(lambda: "state=online" in info(one)["slave0"])
        else:
            wait_online(one)
        wire.call("SET", "k", "v")
        assert wire.call("FAILOVER") == b"OK"
        assert wire.call("PSYNC", "?", "x") == refused
        assert wire.call("SYNC") == refused
        assert wire.call("FAILOVER", "ABORT") == b"OK"
        assert wire.call("PSYNC", "?", "x") == b"ERR value is not an integer or out of range"


def test_time_is_up(start: Start) -> None:
    one = start("ours")
    with Follower(one, 7000), one.wire() as wire:
        wait_online(one)
        assert wire.call("FAILOVER", "TIMEOUT", 20) == b"OK"
        assert wire.call("SET", "k", "v") == b"OK"
        assert info(one)["role"] == "master"
        assert state(one) == "no-failover"


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_force(start: Start, replica: str) -> None:
    """A target that does not acknowledge is the primary nevertheless, when time is up."""
    one, other = start("ours"), start(replica)
    follow(other, one)
    with Follower(one, 7000):
        wait_online(one, 2)
        # The bare replica stands for the other's address, and never acknowledges.
        ask(other, "REPLICAOF", "127.0.0.1", 1)
        assert ask(other, "REPLICAOF", one.host, one.port)
        eventually(lambda: info(other)["master_link_status"] == "up")
        assert ask(one, "FAILOVER", "TO", other.host, other.port, "FORCE", "TIMEOUT", 1) == b"OK"
        eventually(lambda: info(one)["role"] == "slave")
    eventually(lambda: info(one)["master_link_status"] == "up")
    assert info(other)["role"] == "master"
    ask(other, "SET", "k", "v")
    assert agree(one, other)


@pytest.mark.parametrize("cause", ["abort", "refusal"])
def test_a_target_that_does_not_take_over(start: Start, cause: str) -> None:
    """It says that it listens where nobody does, or where somebody refuses."""
    one, stranger = start("ours"), start("ours")
    port = stranger.port if cause == "refusal" else 1
    with Follower(one, port) as replica, one.wire() as wire:
        wait_online(one)
        assert wire.call("FAILOVER") == b"OK"
        replica.acknowledge(int(info(one)["master_repl_offset"]))
        if cause == "abort":
            eventually(lambda: state(one) == "failover-in-progress")
            assert wire.call("FAILOVER", "ABORT") == b"OK"
            assert wire.call("SET", "k", "v") == b"OK"
        # Until it is refused it is a replica.
        while (reply := wire.call("SET", "k", "v")) != b"OK":
            assert reply == READONLY
    assert info(one)["role"] == "master"
    assert info(stranger)["role"] == "master"
    assert state(one) == "no-failover"


def test_with_synchronous_replicas(start: Start) -> None:
    one, other = start("ours"), start("ours")
    follow(other, one)
    for server in (one, other):
        ask(server, "CONFIG", "SET", "synchronous-replicas", 1)
        ask(server, "CONFIG", "SET", "synchronous-replicas-timeout", 60_000)
    with one.wire() as wire:
        wire.send(b"INCR n\r\n" * 300)
        assert ask(one, "FAILOVER") == b"OK"
        replies = [wire.reply() for _ in range(300)]
    done = [reply for reply in replies if isinstance(reply, int)]
    assert set(replies[len(done) :]) <= {READONLY}
    eventually(lambda: ask(other, "ROLE")[0] == b"master")
    wait_online(other)
    assert ask(other, "INCR", "n") == len(done) + 1
