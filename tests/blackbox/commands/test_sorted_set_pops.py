"""The sorted set commands that take members out at one end, and those that wait for some."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import Server, Wire, eventually, flat

Ask = Callable[..., Any]

COMMANDS = [
    *("ZPOPMIN k", "ZPOPMAX k", "ZPOPMIN k 1", "ZMPOP 1 k MIN", "BZPOPMIN k 1", "BZPOPMAX k 1"),
    "BZMPOP 1 1 k MAX",
]
WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_POSITIVE = b"ERR value is out of range, must be positive"
BAD_COUNT = b"ERR count should be greater than 0"
BAD_NUMKEYS = b"ERR numkeys should be greater than 0"
SYNTAX = b"ERR syntax error"

TIMEOUTS = [
    ("x", b"ERR timeout is not a float or out of range"),
    ("nan", b"ERR timeout is not a float or out of range"),
    ("-1", b"ERR timeout is negative"),
    pytest.param("1e300", b"ERR timeout is out of range", marks=pytest.mark.since("7.2")),
]


class Waiter:
    """A client that sent a command which has nothing to answer yet."""

    def __init__(self, server: Server, *words: object) -> None:
        self.wire = server.wire()
        self.id = self.wire.call("CLIENT", "ID")
        with server.wire() as other:
            self.wire.command(*(str(word) for word in words))
            mark = b"id=%d " % self.id
            eventually(
                lambda: any(
                    line.startswith(mark) and b" flags=b " in line
                    for line in other.call("CLIENT", "LIST").splitlines()
                )
            )

    def reply(self) -> Any:
        return self.wire.reply()


@pytest.fixture
def wait(server: Server) -> Iterator[Callable[..., Waiter]]:
    """Start a client that waits: `wait("BZPOPMIN", "z", 0)`."""
    started: list[Waiter] = []

    def start(*words: object) -> Waiter:
        started.append(Waiter(server, *words))
        return started[-1]

    yield start
    for waiter in started:
        waiter.wire.close()


Wait = Callable[..., Waiter]


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(ask: Ask, line: str) -> None:
    ask("SET", "k", "text")
    assert ask(*line.split()) == WRONG_TYPE
    assert ask("GET", "k") == b"text"


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    error = b"ERR wrong number of arguments for '%b' command" % words[0].lower().encode()
    least = 2 if words[0].startswith("ZPOP") else len(words)
    for count in range(1, least):
        assert ask(*words[:count]) == error


def test_replies_on_the_wire(wire: Wire) -> None:
    members = ("ZADD", "z", "1.5", "a", "2", "b")
    nested = b"*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n"
    for command, expected in [
        (("ZPOPMIN", "z"), b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
        (("ZPOPMIN", "z", "1"), b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
        (("ZPOPMAX", "z", "0"), b"*0\r\n"),
        (("ZPOPMAX", "none"), b"*0\r\n"),
        (("ZPOPMAX", "none", "3"), b"*0\r\n"),
        (("ZMPOP", "1", "z", "MIN"), nested + b"$3\r\n1.5\r\n"),
        (("ZMPOP", "1", "none", "MIN"), b"*-1\r\n"),
        (("BZPOPMIN", "z", "0"), b"*3\r\n$1\r\nz\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
        (("BZPOPMIN", "none", "0.001"), b"*-1\r\n"),
        (("BZMPOP", "0", "1", "z", "MIN"), nested + b"$3\r\n1.5\r\n"),
        (("BZMPOP", "0.001", "1", "none", "MIN"), b"*-1\r\n"),
    ]:
        wire.call(*members)
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("ZPOPMIN", "z"), b"*2\r\n$1\r\na\r\n,1.5\r\n"),
        (("ZPOPMIN", "z", "1"), b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"),
        (("ZPOPMAX", "z", "0"), b"*0\r\n"),
        (("ZPOPMAX", "none"), b"*0\r\n"),
        (("ZMPOP", "1", "z", "MIN"), nested + b",1.5\r\n"),
        (("ZMPOP", "1", "none", "MIN"), b"_\r\n"),
        (("BZPOPMIN", "z", "0"), b"*3\r\n$1\r\nz\r\n$1\r\na\r\n,1.5\r\n"),
        (("BZPOPMIN", "none", "0.001"), b"_\r\n"),
        (("BZMPOP", "0", "1", "z", "MIN"), nested + b",1.5\r\n"),
        (("BZMPOP", "0.001", "1", "none", "MIN"), b"_\r\n"),
    ]:
        wire.call(*members)
        wire.command(*command)
        wire.expect(expected)


# Without waiting


def test_zpopmin_and_zpopmax(ask: Ask) -> None:
    ask("ZADD", "z", *(word for n in range(10) for word in (n, f"m{n}")))
    assert ask("ZPOPMIN", "z") == [b"m0", b"0"]
    assert ask("ZPOPMAX", "z") == [b"m9", b"9"]
    assert flat(ask("ZPOPMIN", "z", 2)) == [b"m1", b"1", b"m2", b"2"]
    assert flat(ask("ZPOPMAX", "z", 2)) == [b"m8", b"8", b"m7", b"7"]
    assert flat(ask("ZPOPMAX", "z", 100))[::2] == [b"m6", b"m5", b"m4", b"m3"]
    assert ask("EXISTS", "z") == 0


def test_members_with_equal_scores_go_in_their_order(ask: Ask) -> None:
    ask("ZADD", "z", 0, "b", 0, "a", 0, "c")
    assert ask("ZPOPMIN", "z") == [b"a", b"0"]
    assert ask("ZPOPMAX", "z") == [b"c", b"0"]


@pytest.mark.parametrize("name", ["ZPOPMIN", "ZPOPMAX"])
def test_what_zpop_refuses(ask: Ask, name: str) -> None:
    ask("SET", "text", "x")
    for count in ("-1", "x", "1.5", str(2**63)):
        assert ask(name, "z", count) == NOT_POSITIVE
    assert ask(name, "z", 1, 2) == SYNTAX
    assert ask(name, "text", 0) == WRONG_TYPE


def test_large_sets(ask: Ask) -> None:
    ask("ZADD", "z", *(word for n in range(3000) for word in (n, n)))
    assert flat(ask("ZPOPMIN", "z", 1500))[::2] == [b"%d" % n for n in range(1500)]
    assert flat(ask("ZPOPMAX", "z", 1000))[::2] == [b"%d" % n for n in range(2999, 1999, -1)]
    for n in range(1500, 1600):
        assert ask("ZPOPMIN", "z") == [b"%d" % n] * 2
    assert ask("ZCARD", "z") == 400


@pytest.mark.parametrize("name", ["ZPOPMIN", "ZPOPMAX"])
def test_many_pops_at_once(server: Server, name: str) -> None:
    with server.wire() as wire:
        wire.call("ZADD", "z", *(word for n in range(30) for word in (n, f"m{n:02}")))
        wire.call("SET", "text", "x")
        for key in ("z",) * 35 + ("none",):
            wire.command(name, key)
        replies: list[Any] = [wire.reply() for _ in range(36)]
        expected = [[b"m%02d" % n, b"%d" % n] for n in range(30)]
        assert replies == (expected if name == "ZPOPMIN" else expected[::-1]) + [[]] * 6
        assert wire.call("EXISTS", "z") == 0
        wire.call("ZADD", "z", 1, "a")
        for key in ("z", "text", "z"):
            wire.command(name, key)
        assert [wire.reply() for _ in range(3)] == [[b"a", b"1"], WRONG_TYPE, []]


def test_zmpop(ask: Ask) -> None:
    ask("ZADD", "x", 1, "a", 2, "b", 3, "c")
    ask("ZADD", "y", 4, "d")
    assert ask("ZMPOP", 3, "none", "x", "y", "MIN") == [b"x", [[b"a", b"1"]]]
    assert ask("ZMPOP", 2, "x", "y", "max", "COUNT", 9) == [b"x", [[b"c", b"3"], [b"b", b"2"]]]
    assert ask("ZMPOP", 2, "x", "y", "MAX", "count", 1) == [b"y", [[b"d", b"4"]]]
    assert ask("ZMPOP", 2, "x", "y", "MAX") is None
    assert ask("EXISTS", "x", "y") == 0


@pytest.mark.parametrize("start", [("ZMPOP",), ("BZMPOP", 1)])
def test_what_zmpop_refuses(ask: Ask, start: tuple[object, ...]) -> None:
    ask("SET", "text", "x")
    ask("ZADD", "z", 1, "a")
    for words, error in (
        ((0, "z", "MIN"), BAD_NUMKEYS),
        (("x", "z", "MIN"), BAD_NUMKEYS),
        ((2, "z", "MIN"), SYNTAX),
        ((2**63 - 1, "z", "MIN"), SYNTAX),
        ((1, "z", "LEFT"), SYNTAX),
        ((1, "z", "MIN", "COUNT"), SYNTAX),
        ((1, "z", "MIN", "COUNT", 0), BAD_COUNT),
        ((1, "z", "MIN", "COUNT", "x"), BAD_COUNT),
        ((1, "z", "MIN", "COUNT", 1, "COUNT", 2), SYNTAX),
        ((1, "z", "MIN", "MAX"), SYNTAX),
        ((2, "text", "z", "MIN"), WRONG_TYPE),
    ):
        assert ask(*start, *words) == error
    assert ask("ZCARD", "z") == 1


def test_events(wire: Wire, ask: Ask) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    ask("ZADD", "z", *(word for n in range(8) for word in (n, n)))
    wire.call("SUBSCRIBE", "__keyspace@0__:z")
    for words in (
        ("ZPOPMIN", "z"),
        ("ZPOPMIN", "z", 0),
        ("ZPOPMAX", "z", 2),
        ("ZMPOP", 1, "z", "MIN", "COUNT", 2),
        ("BZMPOP", 1, 1, "z", "MAX"),
        ("BZPOPMIN", "z", 1),
        ("BZPOPMAX", "z", 1),
    ):
        ask(*words)
    ask("PUBLISH", "__keyspace@0__:z", "end")
    told: list[Any] = []
    while not told or told[-1] != b"end":
        message: Any = wire.reply()
        told.append(message[2])
    assert told == [
        *(b"zpopmin", b"zpopmax", b"zpopmin", b"zpopmax", b"zpopmin", b"zpopmax", b"del", b"end")
    ]


# Waiting


def test_what_is_there_is_taken_at_once(ask: Ask) -> None:
    ask("ZADD", "x", 1, "a", 2, "b", 3, "c")
    ask("ZADD", "y", 4, "d")
    assert ask("BZPOPMIN", "none", "x", "y", 0) == [b"x", b"a", b"1"]
    assert ask("BZPOPMAX", "y", "x", 0) == [b"y", b"d", b"4"]
    assert ask("BZMPOP", 0, 2, "y", "x", "MIN", "COUNT", 5) == [b"x", [[b"b", b"2"], [b"c", b"3"]]]
    assert ask("EXISTS", "x", "y") == 0


@pytest.mark.parametrize(("timeout", "error"), TIMEOUTS)
def test_timeouts_are_numbers(ask: Ask, timeout: str, error: bytes) -> None:
    ask("ZADD", "z", 1, "a")
    assert ask("BZPOPMIN", "z", timeout) == error
    assert ask("BZPOPMAX", "z", timeout) == error
    assert ask("BZMPOP", timeout, 1, "z", "MIN") == error
    assert ask("BZMPOP", timeout, 0, "z", "MIN") == BAD_NUMKEYS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("BZPOPMIN", "y", "z", 0), [b"z", b"a", b"1"]),
        (("BZPOPMAX", "y", "z", 0), [b"z", b"c", b"3"]),
        (("BZMPOP", 0, 2, "y", "z", "MIN"), [b"z", [[b"a", b"1"]]]),
        (
            ("BZMPOP", 0, 2, "y", "z", "MAX", "COUNT", 2),
            [b"z", [[b"c", b"3"], [b"b", b"2"]]],
        ),
    ],
)
def test_zadd_wakes(ask: Ask, wait: Wait, words: tuple[Any, ...], expected: list[Any]) -> None:
    waiter = wait(*words)
    assert ask("ZADD", "z", 1, "a", 2, "b", 3, "c") == 3
    assert waiter.reply() == expected
    assert ask("ZCARD", "z") == 3 - (len(expected[1]) if len(expected) == 2 else 1)


@pytest.mark.parametrize(
    "words",
    [
        ("ZINCRBY", "z", 1, "a"),
        ("ZUNIONSTORE", "z", 1, "other"),
        ("ZINTERSTORE", "z", 1, "other"),
        ("ZDIFFSTORE", "z", 1, "other"),
        ("ZRANGESTORE", "z", "other", 0, -1),
        ("RENAME", "other", "z"),
        ("COPY", "other", "z"),
        ("GEOADD", "z", 0, 0, "a"),
    ],
)
def test_whatever_makes_a_sorted_set_wakes(ask: Ask, wait: Wait, words: tuple[object, ...]) -> None:
    ask("ZADD", "other", 1, "a")
    waiter = wait("BZPOPMIN", "z", 0)
    ask(*words)
    reply = waiter.reply()
    assert reply[:2] == [b"z", b"a"]
    assert ask("EXISTS", "z") == 0


def test_the_longest_waiting_is_served_first(ask: Ask, wait: Wait) -> None:
    first = wait("BZPOPMIN", "z", 0)
    second = wait("BZMPOP", 0, 2, "y", "z", "MAX")
    third = wait("BZPOPMAX", "z", 0)
    ask("ZADD", "z", 1, "a", 2, "b")
    assert first.reply() == [b"z", b"a", b"1"]
    assert second.reply() == [b"z", [[b"b", b"2"]]]
    ask("ZADD", "z", 3, "c")
    assert third.reply() == [b"z", b"c", b"3"]


def test_another_type_wakes_nobody(ask: Ask, wait: Wait) -> None:
    waiter = wait("BZPOPMIN", "z", 0)
    ask("SADD", "z", "a")
    ask("DEL", "z")
    ask("RPUSH", "z", "a")
    ask("DEL", "z")
    ask("ZADD", "z", 1, "b")
    assert waiter.reply() == [b"z", b"b", b"1"]


def test_a_transaction_is_looked_at_when_it_is_over(ask: Ask, wait: Wait) -> None:
    waiter = wait("BZPOPMIN", "z", 0)
    ask("MULTI")
    ask("ZADD", "z", 1, "a")
    ask("DEL", "z")
    ask("ZADD", "z", 2, "b", 3, "c")
    ask("EXEC")
    assert waiter.reply() == [b"z", b"b", b"2"]


def test_nobody_waits_in_a_transaction(ask: Ask) -> None:
    ask("MULTI")
    ask("BZPOPMIN", "z", 0)
    ask("BZPOPMAX", "z", 0)
    ask("BZMPOP", 0, 1, "z", "MIN")
    ask("ZADD", "z", 1, "a")
    ask("BZPOPMIN", "z", 0)
    assert ask("EXEC") == [None, None, None, 1, [b"z", b"a", b"1"]]


@pytest.mark.parametrize(
    "words",
    [("BZPOPMIN", "z", 0.01), ("BZPOPMAX", "z", "y", 0.01), ("BZMPOP", 0.01, 1, "z", "MIN")],
)
def test_time_is_up(ask: Ask, words: tuple[object, ...]) -> None:
    assert ask(*words) is None
    assert ask("ZADD", "z", 1, "a") == 1
    assert ask("ZCARD", "z") == 1


def test_client_unblock(ask: Ask, wait: Wait) -> None:
    waiter = wait("BZPOPMIN", "z", 0)
    assert ask("CLIENT", "UNBLOCK", waiter.id) == 1
    assert waiter.reply() is None
    waiter = wait("BZMPOP", 0, 1, "z", "MIN")
    assert ask("CLIENT", "UNBLOCK", waiter.id, "ERROR") == 1
    assert waiter.reply() == b"UNBLOCKED client unblocked via CLIENT UNBLOCK"


def test_who_is_gone_takes_nothing(ask: Ask, wait: Wait) -> None:
    waiter = wait("BZPOPMIN", "z", 0)
    waiter.wire.close()
    eventually(lambda: b"blocked_clients:0" in ask("INFO", "clients"))
    ask("ZADD", "z", 1, "a")
    assert ask("ZCARD", "z") == 1


def test_what_waits_behind_a_waiting_command(ask: Ask, wait: Wait) -> None:
    waiter = wait("BZPOPMIN", "z", 0)
    waiter.wire.command("ZCARD", "z")
    ask("ZADD", "z", 1, "a", 2, "b")
    assert waiter.reply() == [b"z", b"a", b"1"]
    assert waiter.reply() == 1
