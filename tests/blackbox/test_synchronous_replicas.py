"""synchronous-replicas: no reply to a write before replicas have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import Error, Process, StartServer, Wire, eventually
from tests.support.replication import Follower, Start, ask, follow, info

pytestmark = pytest.mark.ours("Redis has no such mode")

UNCONFIRMED = b"UNCONFIRMED The write was applied, but 1 replicas did not confirm it in time."
NOREPLICAS = b"NOREPLICAS Not enough good replicas to write."
PATIENT = "synchronous-replicas-timeout", 60_000
GETACK = b"GETACK\r\n$1\r\n*\r\n"


@pytest.fixture(params=["no", "everysec", "always"])
def primary(request: pytest.FixtureRequest, start_server: StartServer) -> Process:
    fsync = request.param
    logging = () if fsync == "no" else ("--appendonly", "yes", "--appendfsync", fsync)
    patient = ("--synchronous-replicas-timeout", "60000")
    return start_server("--synchronous-replicas", "1", *patient, *logging)


@pytest.fixture
def replica(primary: Process) -> Iterator[Follower]:
    with Follower(primary) as replica:
        eventually(lambda: ask(primary, "ROLE")[2])
        yield replica


@pytest.fixture
def wire(primary: Process) -> Iterator[Wire]:
    with primary.wire() as wire:
        yield wire


def patience(server: Process, milliseconds: int, then: str = "error") -> None:
    ask(server, "CONFIG", "SET", "synchronous-replicas-timeout", milliseconds)
    ask(server, "CONFIG", "SET", "synchronous-replicas-on-timeout", then)


def held(server: Process) -> int:
    return int(info(server)["synchronous_replies_held"])


def test_no_write_without_a_replica(primary: Process, wire: Wire) -> None:
    assert wire.call("SET", "k", "v") == NOREPLICAS
    assert wire.call("GET", "k") is None
    with Follower(primary) as replica:
        eventually(lambda: ask(primary, "ROLE")[2])
        wire.command("SET", "k", "v")
        replica.read_until(GETACK)
        replica.acknowledge()
        assert wire.reply() == b"OK"
    patience(primary, 1)
    eventually(lambda: wire.call("SET", "k", "w") == NOREPLICAS)


def test_a_reply_waits_for_its_acknowledgement(
    primary: Process, replica: Follower, wire: Wire
) -> None:
    wire.command("SET", "k", "v")
    replica.read_until(b"\r\nv\r\n")
    before = replica.offset
    replica.read_until(GETACK)
    replica.acknowledge(before - 1)
    # Others are served, and see the write.
    assert ask(primary, "GET", "k") == b"v"
    eventually(lambda: held(primary) == 1)
    assert not wire.has_reply()
    replica.acknowledge(before)
    assert wire.reply() == b"OK"
    assert held(primary) == 0
    # What writes nothing waits for nobody.
    assert wire.call("DEL", "missing") == 0
    assert wire.call("GET", "k") == b"v"


def test_a_pipeline(primary: Process, replica: Follower, wire: Wire) -> None:
    wire.send(b"GET k\r\nSET k 1\r\nINCR k\r\nMULTI\r\nINCR k\r\nGET k\r\nEXEC\r\nGET k\r\n")
    replica.read_until(GETACK)
    wire.send(b"PING\r\n")
    eventually(lambda: held(primary) > 0)
    assert not wire.has_reply()
    replica.acknowledge()
    replies = [wire.reply() for _ in range(9)]
    assert replies == [None, b"OK", 2, b"OK", b"QUEUED", b"QUEUED", [3, b"3"], b"3", b"PONG"]


@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
def test_a_transaction_that_asks_for_no_more_replies(
    primary: Process, replica: Follower, wire: Wire, mode: str
) -> None:
    """CLIENT REPLY in a transaction is for what follows; the reply to EXEC waits as ever."""
    queued = ["SET", "k", "v"], ["CLIENT", "REPLY", mode]
    assert [wire.call(*words) for words in (["MULTI"], *queued)] == [b"OK", b"QUEUED", b"QUEUED"]
    wire.command("EXEC")
    replica.read_until(GETACK)
    eventually(lambda: held(primary) == 1)
    assert not wire.has_reply()
    replica.acknowledge()
    assert wire.read_until(b"+OK\r\n").endswith(b"+OK\r\n")


def test_errors_stand_for_the_writes_of_a_pipeline(
    primary: Process, replica: Follower, wire: Wire
) -> None:
    patience(primary, 20)
    wire.send(b"GET k\r\nSET k 1\r\nINCR k\r\nLPUSH k 1\r\nMULTI\r\nINCR k\r\nEXEC\r\nGET k\r\n")
    replies = [wire.reply() for _ in range(8)]
    assert isinstance(replies[3], Error)
    assert replies[3].startswith(b"WRONGTYPE")
    assert replies[:3] + replies[4:] == [
        None,
        UNCONFIRMED,
        UNCONFIRMED,
        b"OK",
        b"QUEUED",
        UNCONFIRMED,
        b"3",
    ]
    assert int(info(primary)["synchronous_replies_late"]) > 0
    # Alike commands run in one call.
    wire.send(b"SET a 1\r\n" * 5 + b"GET a\r\n" * 5)
    assert [wire.reply() for _ in range(10)] == [UNCONFIRMED] * 5 + [b"1"] * 5
    # What is confirmed later needs no confirmation any more.
    patience(primary, 0)
    wire.command("SET", "k", "v")
    eventually(lambda: held(primary) == 1)
    replica.acknowledge(int(info(primary)["master_repl_offset"]))
    assert wire.reply() == b"OK"


@pytest.mark.parametrize("protocol", [2, 3])
def test_values_of_all_shapes_are_replaced(
    primary: Process, replica: Follower, wire: Wire, protocol: int
) -> None:
    wire.call("HELLO", protocol)
    patience(primary, 1)
    replies = []
    for words in (
        "ZADD z 1 one 2 two 3 three",
        "ZPOPMIN z 2",
        "ZADD z INCR 1.5 three",
        "RPUSH l a b c",
        "LMPOP 1 l LEFT COUNT 2",
        "SADD s x",
        "SPOP s 5",
        "SET n 1",
        "GETDEL n",
        "INCRBYFLOAT f 1.5",
        "HINCRBYFLOAT h f 1.5",
        "EXPIRE f 100",
        "GETSET new 1",
    ):
        replies.append(wire.call(*words.split()))
        assert wire.call("PING") == b"PONG"
    assert replies == [UNCONFIRMED] * len(replies)


def test_the_connection_is_closed(primary: Process, replica: Follower, wire: Wire) -> None:
    patience(primary, 1, "close")
    wire.send(b"SET k v\r\nGET k\r\n")
    wire.expect_closed()
    assert ask(primary, "GET", "k") == b"v"


def test_the_reply_is_sent_all_the_same(primary: Process, replica: Follower, wire: Wire) -> None:
    patience(primary, 1, "reply")
    assert wire.call("SET", "k", "v") == b"OK"


def test_turning_it_off_sends_what_is_held(primary: Process, replica: Follower, wire: Wire) -> None:
    patience(primary, 0)
    wire.command("SET", "k", "v")
    eventually(lambda: held(primary) == 1)
    ask(primary, "CONFIG", "SET", "synchronous-replicas", 0)
    assert wire.reply() == b"OK"
    assert wire.call("SET", "k", "v") == b"OK"
    assert "synchronous_replicas" not in info(primary)


def test_many_clients_share_an_acknowledgement(primary: Process, replica: Follower) -> None:
    wires = [primary.wire() for _ in range(30)]
    for round_ in range(3):
        for number, wire in enumerate(wires):
            wire.command("SET", f"key-{number}", round_)
        eventually(lambda: held(primary) == len(wires))
        end = int(info(primary)["master_repl_offset"])
        replica.acknowledge(end)
        assert [wire.reply() for wire in wires] == [b"OK"] * len(wires)
    for wire in wires:
        wire.close()


def test_blocked_clients_and_messages(primary: Process, replica: Follower) -> None:
    ask(primary, "CONFIG", "SET", "notify-keyspace-events", "KEA")
    with primary.wire() as popping, primary.wire() as pushing, primary.wire() as hearing:
        popping.call("HELLO", 3)
        hearing.call("SUBSCRIBE", "__keyevent@0__:lpush")
        pushing.call("HELLO", 3)
        pushing.call("SUBSCRIBE", "__keyevent@0__:lpop", "__keyevent@0__:lpush")
        pushing.reply()
        popping.command("BLPOP", "list", 0)
        eventually(lambda: info(primary, "clients")["blocked_clients"] == "1")
        pushing.command("LPUSH", "list", "a")
        # Listeners hear of a write at once; who wrote gets everything in its order.
        assert hearing.reply() == [b"message", b"__keyevent@0__:lpush", b"list"]
        eventually(lambda: held(primary) >= 2)
        assert not popping.has_reply()
        assert not pushing.has_reply()
        replica.acknowledge(int(info(primary)["master_repl_offset"]))
        assert popping.reply() == [b"list", b"a"]
        assert pushing.reply() == 1
        heard = {pushing.push()[1], pushing.push()[1]}
        assert heard == {b"__keyevent@0__:lpop", b"__keyevent@0__:lpush"}


def test_a_demoted_primary_confirms_nothing(
    primary: Process, replica: Follower, wire: Wire
) -> None:
    patience(primary, 0)
    wire.command("SET", "k", "v")
    eventually(lambda: held(primary) == 1)
    ask(primary, "REPLICAOF", "127.0.0.1", "1")
    assert wire.reply() == UNCONFIRMED


def test_a_client_that_leaves_while_it_waits(primary: Process, replica: Follower) -> None:
    with primary.wire() as wire:
        wire.command("SET", "k", "v")
        eventually(lambda: held(primary) == 1)
    with primary.wire() as wire:
        wire.send(b"SET k v\r\nQUIT\r\n")
        eventually(lambda: held(primary) == 2)
        replica.acknowledge(int(info(primary)["master_repl_offset"]))
        wire.expect_closed(b"+OK\r\n+OK\r\n")


@pytest.mark.parametrize("kind", ["ours", "real"])
def test_real_replicas(start: Start, kind: str) -> None:
    one, other, third = start("ours"), start(kind), start(kind)
    follow(other, one)
    follow(third, one)
    ask(one, "CONFIG", "SET", "synchronous-replicas", 2, "synchronous-replicas-timeout", 0)
    with one.wire() as wire:
        for number in range(200):
            assert wire.call("SET", "k", number) == b"OK"
            for replica in (other, third):
                assert int(ask(replica, "GET", "k")) == number
        wire.send(b"INCR n\r\n" * 1000)
        assert [wire.reply() for _ in range(1000)] == list(range(1, 1001))
    other.kill()
    with one.wire() as wire:
        eventually(lambda: wire.call("SET", "k", "v") == NOREPLICAS)


def test_nothing_confirmed_is_lost(start: Start) -> None:
    """The primary is killed while clients write; its replica has every write that was answered."""
    one, other = start("ours"), start("ours")
    follow(other, one)
    ask(one, "CONFIG", "SET", "synchronous-replicas", 1, *PATIENT)
    answered = 0
    with one.wire() as wire:
        wire.send(b"".join(b"SADD done %d\r\n" % number for number in range(20_000)))
        while answered < 5_000:
            assert wire.reply() == 1
            answered += 1
        one.kill()
        try:
            while wire.reply() == 1:
                answered += 1
        except (AssertionError, OSError):
            pass
    ask(other, "REPLICAOF", "NO", "ONE")
    assert ask(other, "SCARD", "done") >= answered


def test_a_replica_that_resumes_is_answered_before_it_is_sent_the_log(start: Start) -> None:
    """Also where it is the one that writes have waited for."""
    one, other = start("ours", "--synchronous-replicas", "1"), start("ours")
    follow(other, one)
    ask(one, "CONFIG", "SET", *PATIENT)
    assert ask(one, "SET", "key", "value") == b"OK"
    other.stop()
    eventually(lambda: info(one)["connected_slaves"] == "0")
    found = info(one)
    with one.wire() as wire:
        wire.command("PSYNC", found["master_replid"], found["repl_backlog_first_byte_offset"])
        assert wire.reply() == b"CONTINUE"
        assert [b"SET", b"key", b"value"] in (wire.reply(), wire.reply())


def _flat(reply: Any) -> bytes:
    return b" ".join(map(_flat, reply)) if isinstance(reply, list) else reply


def test_a_reader_of_the_changefeed_does_not_keep_replicas_away(start: Start) -> None:
    """It waits until a replica has its snapshot, which cannot be before there is a replica."""
    one, other = start("ours"), start("ours")
    ask(one, "CONFIG", "SET", "synchronous-replicas-timeout", 50)
    ask(one, "CONFIG", "SET", "synchronous-replicas-on-timeout", "reply")
    ask(one, "DEBUG", "POPULATE", 20_000, "key", 500)
    with one.wire(30) as wire:
        with Follower(one):
            ask(one, "CONFIG", "SET", "synchronous-replicas", 1)
            eventually(lambda: wire.call("SET", "late", "x") == b"OK")
        wire.command("XREAD", "COUNT", 1, "BLOCK", 0, "STREAMS", "distcache:changefeed", 0)
        eventually(lambda: info(one, "changefeed")["changefeed_cursors"] == "1")
        follow(other, one)
        assert b'"op":"snapshot"' in _flat(wire.reply())
