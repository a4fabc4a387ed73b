"""commands/pubsub.py and keyspace events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Error, Push, Server, Wire


def told(wire: Wire, *words: str) -> Any:
    """Send a command that answers with a message."""
    wire.command(*words)
    return list(wire.reply())  # type: ignore[arg-type]


def test_channels_and_patterns(server: Server) -> None:
    with server.wire() as listener, server.wire() as speaker:
        assert told(listener, "SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        listener.command("PSUBSCRIBE", "n*", "x?")
        assert listener.reply() == [b"psubscribe", b"n*", 2]
        assert listener.reply() == [b"psubscribe", b"x?", 3]
        assert speaker.call("PUBLISH", "news", "hello") == 2
        assert listener.reply() == [b"message", b"news", b"hello"]
        assert listener.reply() == [b"pmessage", b"n*", b"news", b"hello"]
        assert speaker.call("PUBLISH", "other", "hello") == 0
        assert speaker.call("PUBSUB", "CHANNELS") == [b"news"]
        assert speaker.call("PUBSUB", "CHANNELS", "x*") == []
        assert speaker.call("PUBSUB", "NUMSUB", "news", "none") == [b"news", 1, b"none", 0]
        assert speaker.call("PUBSUB", "NUMPAT") == 2
        assert told(listener, "UNSUBSCRIBE") == [b"unsubscribe", b"news", 2]
        assert told(listener, "PUNSUBSCRIBE", "n*") == [b"punsubscribe", b"n*", 1]
        assert told(listener, "PUNSUBSCRIBE") == [b"punsubscribe", b"x?", 0]
        assert told(listener, "UNSUBSCRIBE") == [b"unsubscribe", None, 0]
        assert told(listener, "PUNSUBSCRIBE") == [b"punsubscribe", None, 0]
        assert listener.call("PING") == b"PONG"


def test_shard_channels(server: Server) -> None:
    with server.wire() as listener, server.wire() as speaker:
        assert told(listener, "SSUBSCRIBE", "news") == [b"ssubscribe", b"news", 1]
        assert speaker.call("PUBLISH", "news", "no") == 0
        assert speaker.call("SPUBLISH", "news", "yes") == 1
        assert listener.reply() == [b"smessage", b"news", b"yes"]
        assert speaker.call("PUBSUB", "SHARDCHANNELS") == [b"news"]
        assert speaker.call("PUBSUB", "SHARDNUMSUB", "news") == [b"news", 1]
        assert told(listener, "SUNSUBSCRIBE") == [b"sunsubscribe", b"news", 0]
        assert told(listener, "SUNSUBSCRIBE") == [b"sunsubscribe", None, 0]


def test_a_subscribed_client_may_do_little_under_resp2(wire: Wire) -> None:
    told(wire, "SUBSCRIBE", "news")
    assert wire.call("GET", "a") == (
        b"ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
        b" are allowed in this context"
    )
    assert wire.call("client", "LIST").startswith(b"ERR Can't execute 'client|list': only")
    assert wire.call("CLIENT", "x") == b"ERR unknown subcommand 'x'. Try CLIENT HELP."
    assert wire.call("PING") == [b"pong", b""]
    assert wire.call("PING", "a") == [b"pong", b"a"]
    assert wire.call("RESET") == b"RESET"
    assert wire.call("GET", "a") is None


def test_a_subscribed_client_may_do_all_under_resp3(server: Server) -> None:
    with server.wire() as listener, server.wire() as speaker:
        listener.call("HELLO", "3")
        listener.command("SUBSCRIBE", "news")
        assert listener.push() == [b"subscribe", b"news", 1]
        assert listener.call("SET", "a", "1") == b"OK"
        speaker.call("PUBLISH", "news", "hello")
        assert listener.push() == [b"message", b"news", b"hello"]
        assert listener.call("PING", "a") == b"a"


def test_messages_to_oneself_come_in_order(wire: Wire) -> None:
    wire.call("HELLO", "3")
    wire.command("SUBSCRIBE", "news")
    assert isinstance(wire.reply(), Push)
    wire.command("SET", "a", "1")
    wire.command("PUBLISH", "news", "hello")
    wire.command("GET", "a")
    got = [wire.reply() for _ in range(4)]
    assert got[0] == b"OK"
    assert sorted(map(repr, got[1:3])) == sorted(
        map(repr, [Push([b"message", b"news", b"hello"]), 1])
    )
    assert got[3] == b"1"


def test_subscriptions_in_a_transaction(wire: Wire) -> None:
    wire.call("HELLO", "3")
    wire.call("MULTI")
    assert wire.call("SUBSCRIBE", "news") == b"QUEUED"
    assert wire.call("PUBLISH", "news", "a") == b"QUEUED"
    wire.command("EXEC")
    wire.command("PING", "end")
    seen = []
    while (reply := wire.reply()) != b"end":
        seen.append(reply)
    assert repr(Push([b"message", b"news", b"a"])) in repr(seen)


def test_no_shard_channels_in_a_transaction(wire: Wire) -> None:
    wire.call("MULTI")
    assert wire.call("SSUBSCRIBE", "news") == b"QUEUED"
    refusal = b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"
    assert wire.call("EXEC") == [Error(refusal)]
    assert wire.call("PUBSUB", "SHARDCHANNELS") == []


EVENTS = [
    (["SET", "s", "1"], ["set"]),
    (["SET", "s", "1", "EX", "100"], ["set", "expire"]),
    (["APPEND", "s", "x"], ["append"]),
    (["SETRANGE", "s", "0", "y"], ["setrange"]),
    (["INCR", "n"], ["incrby"]),
    (["INCRBYFLOAT", "n", "1.5"], ["incrbyfloat"]),
    (["EXPIRE", "s", "100"], ["expire"]),
    (["PERSIST", "s"], ["persist"]),
    (["RENAME", "s", "t"], ["rename_from", "rename_to"]),
    (["DEL", "t"], ["del"]),
    (["LPUSH", "l", "a", "b"], ["lpush"]),
    (["RPOP", "l"], ["rpop"]),
    (["LPOP", "l"], ["lpop", "del"]),
    (["HSET", "h", "f", "v"], ["hset"]),
    (["HINCRBY", "h", "n", "1"], ["hincrby"]),
    (["HDEL", "h", "f", "n"], ["hdel", "del"]),
    (["SADD", "set", "a"], ["sadd"]),
    (["SMOVE", "set", "set2", "a"], ["srem", "del", "sadd"]),
    (["SPOP", "set2"], ["spop", "del"]),
    (["ZADD", "z", "1", "a"], ["zadd"]),
    (["ZINCRBY", "z", "1", "a"], ["zincr"]),
    (["ZPOPMIN", "z"], ["zpopmin", "del"]),
    (["GETSET", "g", "1"], ["set"]),
    (["COPY", "g", "c"], ["copy_to"]),
    (["GETDEL", "g"], ["del"]),
    (["EXPIRE", "c", "-1"], ["del"]),
    (["DEL", "missing"], []),
]


@pytest.mark.parametrize(("words", "events"), EVENTS, ids=lambda value: str(value[:1]))
def test_keyspace_events(server: Server, words: list[str], events: list[str]) -> None:
    with server.wire() as listener, server.wire() as speaker:
        for before, _ in EVENTS[: EVENTS.index((words, events))]:
            speaker.call(*before)
        speaker.call("CONFIG", "SET", "notify-keyspace-events", "EA")
        told(listener, "PSUBSCRIBE", "__keyevent@0__:*")
        speaker.call(*words)
        speaker.call("PUBLISH", "__keyevent@0__:end", "")
        seen = []
        while (message := listener.reply())[2] != b"__keyevent@0__:end":  # type: ignore[index]
            seen.append(message[2].removeprefix(b"__keyevent@0__:").decode())  # type: ignore
        assert seen == events


def test_other_classes_of_events(server: Server) -> None:
    with server.wire() as listener, server.wire() as speaker:
        speaker.call("CONFIG", "SET", "notify-keyspace-events", "KEmnx")
        told(listener, "PSUBSCRIBE", "__key*")
        speaker.call("GET", "missing")
        assert listener.reply() == [
            b"pmessage",
            b"__key*",
            b"__keyspace@0__:missing",
            b"keymiss",
        ]
        assert listener.reply() == [b"pmessage", b"__key*", b"__keyevent@0__:keymiss", b"missing"]
        speaker.call("PFMERGE", "merged")
        assert listener.reply()[3] == b"keymiss"  # type: ignore[index]
        assert listener.reply()[3] == b"merged"  # type: ignore[index]
        assert listener.reply()[3] == b"new"  # type: ignore[index]
        assert listener.reply()[3] == b"merged"  # type: ignore[index]
        speaker.call("SET", "a", "1", "PX", "1")
        assert listener.reply()[3] == b"new"  # type: ignore[index]
        assert listener.reply()[3] == b"a"  # type: ignore[index]
        assert listener.reply()[3] == b"expired"  # type: ignore[index]


@pytest.mark.since("7.2")
def test_own_messages_come_behind_the_reply(wire: Wire) -> None:
    wire.call("HELLO", 3)
    wire.call("CONFIG", "SET", "notify-keyspace-events", "E$x")
    wire.call("SUBSCRIBE", "news", "__keyevent@0__:set")
    wire.reply()
    wire.command("PUBLISH", "news", "one")
    wire.command("SET", "a", "1")
    wire.command("SET", "b", "2")
    news, event = b"__keyevent@0__:set", b"message"
    assert [wire.reply() for _ in range(2)] == [1, [event, b"news", b"one"]]
    assert [wire.reply() for _ in range(2)] == [b"OK", [event, news, b"a"]]
    assert [wire.reply() for _ in range(2)] == [b"OK", [event, news, b"b"]]
