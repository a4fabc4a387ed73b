"""commands/transactions.py"""

from __future__ import annotations

import pytest
import redis

from tests.support import Error, Server, Wire


def test_a_transaction(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.set("a", 1)
        pipe.incr("a")
        pipe.get("a")
        pipe.lpush("a", "x")
        done = pipe.execute(raise_on_error=False)
    assert done[:3] == [True, 2, b"2"]
    assert isinstance(done[3], redis.ResponseError)
    assert client.get("a") == b"2"


def test_states(wire: Wire) -> None:
    assert wire.call("EXEC") == b"ERR EXEC without MULTI"
    assert wire.call("DISCARD") == b"ERR DISCARD without MULTI"
    assert wire.call("MULTI") == b"OK"
    assert wire.call("MULTI") == b"ERR MULTI calls can not be nested"
    assert wire.call("WATCH", "a") == b"ERR WATCH inside MULTI is not allowed"
    assert wire.call("SET", "a", "1") == b"QUEUED"
    assert wire.call("DISCARD") == b"OK"
    assert wire.call("GET", "a") is None
    wire.call("MULTI")
    assert wire.call("EXEC") == []
    for command in ("MULTI", "DISCARD", "UNWATCH"):
        assert wire.call(command, "x").startswith(b"ERR wrong number of arguments")
    assert wire.call("WATCH").startswith(b"ERR wrong number of arguments")


@pytest.mark.parametrize("wrong", [["NOSUCH"], ["GET"], ["CLIENT", "NOSUCH"]])
def test_a_command_that_cannot_be_queued_spoils_it(wire: Wire, wrong: list[str]) -> None:
    wire.call("MULTI")
    wire.call("SET", "a", "1")
    assert isinstance(wire.call(*wrong), Error)
    assert wire.call("EXEC") == b"EXECABORT Transaction discarded because of previous errors."
    assert wire.call("GET", "a") is None


@pytest.mark.parametrize(
    "change",
    [
        ["SET", "watched", "2"],
        ["DEL", "watched"],
        ["EXPIRE", "watched", "100"],
        ["RENAME", "watched", "other"],
        ["FLUSHALL"],
        ["SWAPDB", "0", "1"],
        ["APPEND", "watched", "x"],
    ],
)
def test_a_watched_key_that_changes(server: Server, change: list[str]) -> None:
    with server.wire() as one, server.wire() as two:
        one.call("SET", "watched", "1")
        assert one.call("WATCH", "watched", "other") == b"OK"
        two.call(*change)
        one.call("MULTI")
        one.call("PING")
        assert one.call("EXEC") is None
        one.call("MULTI")
        one.call("PING")
        assert one.call("EXEC") == [b"PONG"]


def test_a_watched_key_that_does_not_change(server: Server) -> None:
    with server.wire() as one, server.wire() as two:
        one.call("SET", "watched", "1")
        one.call("WATCH", "watched")
        two.call("SET", "other", "1")
        two.call("GET", "watched")
        two.call("SETNX", "watched", "2")
        one.call("MULTI")
        one.call("PING")
        assert one.call("EXEC") == [b"PONG"]
        one.call("WATCH", "watched")
        two.call("SET", "watched", "2")
        assert one.call("UNWATCH") == b"OK"
        one.call("MULTI")
        assert one.call("EXEC") == []


def test_a_watched_key_that_expires(wire: Wire) -> None:
    wire.call("SET", "watched", "1", "PX", "1")
    wire.call("WATCH", "watched", "gone")
    wire.call("SET", "gone", "1", "PX", "1")
    while wire.call("EXISTS", "watched", "gone"):
        pass
    wire.call("MULTI")
    wire.call("PING")
    assert wire.call("EXEC") is None


def test_the_protocol_changes_within(wire: Wire) -> None:
    wire.call("HSET", "h", "a", "1")
    wire.call("MULTI")
    wire.call("HGETALL", "h")
    assert isinstance(wire.call("EXEC"), list)
    wire.call("HELLO", "3")
    wire.call("MULTI")
    wire.call("HGETALL", "h")
    assert wire.call("EXEC") == [((b"a", b"1"),)]


def test_blocking_commands_do_not_block(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("BLPOP", "list", "0")
    wire.call("BZPOPMIN", "zset", "0")
    wire.call("BLMOVE", "a", "b", "LEFT", "RIGHT", "0")
    assert wire.call("EXEC") == [None, None, None]


def test_exec_that_is_refused_ends_the_transaction(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("SET", "a", "1")
    aborted = b"EXECABORT Transaction discarded because of: "
    assert wire.call("EXEC", "x") == aborted + b"wrong number of arguments for 'exec' command"
    assert wire.call("EXEC") == b"ERR EXEC without MULTI"
    assert wire.call("EXEC", "x") == aborted + b"wrong number of arguments for 'exec' command"
    assert wire.call("GET", "a") is None
    wire.call("SUBSCRIBE", "news")
    assert wire.call("EXEC").startswith(aborted + b"Can't execute 'exec': only")


def test_a_transaction_goes_on_after_subscribe(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("SUBSCRIBE", "news")
    wire.call("SET", "a", "1")
    wire.call("PING")
    subscribed, done, pong = wire.call("EXEC")
    assert subscribed == [b"subscribe", b"news", 1]
    assert (done, pong) == (b"OK", [b"pong", b""])
    assert wire.call("GET", "a").startswith(b"ERR Can't execute 'get'")


@pytest.mark.since("7.2")
@pytest.mark.parametrize("protocol", [2, 3])
def test_own_messages_come_behind_the_transaction(wire: Wire, protocol: int) -> None:
    wire.call("HELLO", protocol)
    wire.call("CONFIG", "SET", "notify-keyspace-events", "E$")
    wire.call("MULTI")
    wire.call("SUBSCRIBE", "news", "__keyevent@0__:set")
    wire.call("PUBLISH", "news", "one")
    wire.call("SET", "a", "1")
    wire.call("GET", "a")
    wire.command("EXEC")
    assert wire.read(4) == b"*4\r\n"
    assert [wire.reply()[0] for _ in range(2)] == [b"subscribe"] * 2  # type: ignore[index]
    assert [wire.reply() for _ in range(3)] == [1, b"OK", b"1"]
    assert wire.reply() == [b"message", b"news", b"one"]
    assert wire.reply() == [b"message", b"__keyevent@0__:set", b"a"]


def test_monitor_does_not_run_within(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("MONITOR")
    assert wire.call("EXEC") == [b"ERR MONITOR isn't allowed for DENY BLOCKING client"]


def test_replies_turned_off_within(wire: Wire) -> None:
    for words in (["MULTI"], ["PING", "a"], ["CLIENT", "REPLY", "OFF"], ["PING", "b"]):
        wire.call(*words)
    wire.call("CLIENT", "REPLY", "ON")
    wire.command("EXEC")
    wire.expect(b"*4\r\n$1\r\na\r\n+OK\r\n")
    wire.call("MULTI")
    wire.call("CLIENT", "REPLY", "SKIP")
    wire.call("PING", "a")
    wire.command("EXEC")
    wire.command("PING", "skipped")
    wire.command("PING", "b")
    wire.expect(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n")


def test_time_stands_still(wire: Wire) -> None:
    wire.call("MULTI")
    for line in ("SET k v PX 1", "DEBUG SLEEP 0.01", "GET k", "EXISTS k"):
        wire.call(*line.split())
    assert wire.call("EXEC") == [b"OK", b"OK", b"v", 1]
    assert wire.call("GET", "k") is None
