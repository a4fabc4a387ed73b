"""Unions, intersections and differences of sorted sets."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Wire, flat

Ask = Callable[..., Any]

READING = ["ZUNION", "ZINTER", "ZDIFF"]
STORING = ["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]

WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = b"ERR value is not an integer or out of range"
SYNTAX = b"ERR syntax error"


@pytest.fixture
def sets(ask: Ask) -> Ask:
    """Two sorted sets that have b and c in common, and a plain set."""
    ask("ZADD", "x", 1, "a", 2, "b", 3, "c")
    ask("ZADD", "y", 10, "b", 20, "c", 30, "d")
    ask("SADD", "s", "a", "c", "e")
    return ask


def both(ask: Ask, operation: str, *words: object) -> list[Any]:
    """What the command answers, having checked that its other form stores the same."""
    found = flat(ask(operation, *words, "WITHSCORES"))
    assert ask(operation, *words) == found[::2]
    assert ask(f"{operation}STORE", "stored", *words) == len(found) // 2
    assert flat(ask("ZRANGE", "stored", 0, -1, "WITHSCORES")) == found
    return found


def test_replies_on_the_wire(wire: Wire) -> None:
    wire.call("ZADD", "x", "0.5", "a", "2", "b")
    for command, expected in [
        (("ZUNION", "1", "x"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (("ZDIFF", "2", "x", "x"), b"*0\r\n"),
        (
            ("ZINTER", "1", "x", "WITHSCORES"),
            b"*4\r\n$1\r\na\r\n$3\r\n0.5\r\n$1\r\nb\r\n$1\r\n2\r\n",
        ),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("ZUNION", "1", "x"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (("ZDIFF", "2", "x", "x"), b"*0\r\n"),
        (
            ("ZINTER", "1", "x", "WITHSCORES"),
            b"*2\r\n*2\r\n$1\r\na\r\n,0.5\r\n*2\r\n$1\r\nb\r\n,2\r\n",
        ),
    ]:
        wire.command(*command)
        wire.expect(expected)


def test_union(sets: Ask) -> None:
    assert both(sets, "ZUNION", 1, "x") == [b"a", b"1", b"b", b"2", b"c", b"3"]
    assert both(sets, "ZUNION", 2, "x", "y") == [
        *(b"a", b"1", b"b", b"12", b"c", b"23", b"d", b"30")
    ]
    assert both(sets, "ZUNION", 3, "x", "s", "none") == [
        *(b"e", b"1", b"a", b"2", b"b", b"2", b"c", b"4")
    ]
    assert both(sets, "ZUNION", 2, "x", "x")[1::2] == [b"2", b"4", b"6"]
    assert both(sets, "ZUNION", 2, "none", "nor this") == []


def test_intersection(sets: Ask) -> None:
    assert both(sets, "ZINTER", 1, "x") == [b"a", b"1", b"b", b"2", b"c", b"3"]
    assert both(sets, "ZINTER", 2, "x", "y") == [b"b", b"12", b"c", b"23"]
    assert both(sets, "ZINTER", 3, "x", "y", "s") == [b"c", b"24"]
    assert both(sets, "ZINTER", 2, "s", "s") == [b"a", b"2", b"c", b"2", b"e", b"2"]
    assert both(sets, "ZINTER", 2, "x", "none") == []


def test_difference(sets: Ask) -> None:
    assert both(sets, "ZDIFF", 1, "x") == [b"a", b"1", b"b", b"2", b"c", b"3"]
    assert both(sets, "ZDIFF", 2, "x", "y") == [b"a", b"1"]
    assert both(sets, "ZDIFF", 2, "y", "x") == [b"d", b"30"]
    assert both(sets, "ZDIFF", 2, "s", "y") == [b"a", b"1", b"e", b"1"]
    assert both(sets, "ZDIFF", 3, "x", "y", "s") == []
    assert both(sets, "ZDIFF", 3, "x", "none", "y") == [b"a", b"1"]
    assert both(sets, "ZDIFF", 2, "x", "x") == []
    assert both(sets, "ZDIFF", 2, "none", "x") == []


@pytest.mark.parametrize(
    ("aggregate", "union", "intersection"),
    [
        ("SUM", [b"a", b"2", b"b", b"34", b"c", b"66", b"d", b"90"], [b"b", b"34", b"c", b"66"]),
        ("min", [b"a", b"2", b"b", b"4", b"c", b"6", b"d", b"90"], [b"b", b"4", b"c", b"6"]),
        ("MAX", [b"a", b"2", b"b", b"30", b"c", b"60", b"d", b"90"], [b"b", b"30", b"c", b"60"]),
    ],
)
def test_weights_and_aggregates(
    sets: Ask, aggregate: str, union: list[bytes], intersection: list[bytes]
) -> None:
    words = ("WEIGHTS", 2, 3, "AGGREGATE", aggregate)
    assert both(sets, "ZUNION", 2, "x", "y", *words) == union
    assert both(sets, "ZINTER", 2, "x", "y", *words) == intersection
    swapped = ("aggregate", aggregate, "weights", 2, 3)
    assert both(sets, "ZINTER", 2, "x", "y", *swapped) == intersection


def test_weights_of_plain_sets(sets: Ask) -> None:
    assert both(sets, "ZUNION", 2, "s", "x", "WEIGHTS", -5, 0) == [
        *(b"a", b"-5", b"c", b"-5", b"e", b"-5", b"b", b"0")
    ]
    assert both(sets, "ZINTER", 2, "s", "x", "WEIGHTS", 0.5, 1) == [b"a", b"1.5", b"c", b"3.5"]


def test_integers_in_plain_sets(ask: Ask) -> None:
    ask("SADD", "s", 1, 2, 3)
    ask("ZADD", "x", 5, 2, 6, 3, 7, "a")
    assert both(ask, "ZUNION", 2, "s", "x") == [*(b"1", b"1", b"2", b"6", b"3", b"7", b"a", b"7")]
    assert both(ask, "ZINTER", 2, "s", "x") == [b"2", b"6", b"3", b"7"]
    assert both(ask, "ZDIFF", 2, "s", "x") == [b"1", b"1"]
    assert both(ask, "ZDIFF", 2, "x", "s") == [b"a", b"7"]


def test_no_score_is_not_a_number(ask: Ask) -> None:
    ask("ZADD", "x", "inf", "a", "-inf", "b")
    ask("ZADD", "y", "-inf", "a", "inf", "b")
    zeros = [b"a", b"0", b"b", b"0"]
    assert both(ask, "ZUNION", 2, "x", "y") == zeros
    assert both(ask, "ZINTER", 2, "x", "y") == zeros
    assert both(ask, "ZUNION", 2, "x", "y", "WEIGHTS", 0, 0) == zeros
    assert both(ask, "ZINTER", 2, "x", "y", "WEIGHTS", 0, 0) == zeros
    assert both(ask, "ZUNION", 1, "x", "WEIGHTS", "-inf") == [b"a", b"-inf", b"b", b"inf"]


def test_equal_scores_are_in_the_order_of_bytes(ask: Ask) -> None:
    ask("SADD", "s", "c", "a", "b", "B", "10", "9")
    assert ask("ZUNION", 1, "s") == [b"10", b"9", b"B", b"a", b"b", b"c"]


def test_large_sets(ask: Ask) -> None:
    ask("ZADD", "x", *(word for n in range(2000) for word in (n, n)))
    ask("ZADD", "y", *(word for n in range(1000, 3000) for word in (n, n)))
    ask("SADD", "s", *range(500, 2500))
    assert ask("ZUNIONSTORE", "d", 2, "x", "y") == 3000
    assert ask("ZSCORE", "d", 1500) == b"3000"
    assert ask("ZRANK", "d", 2000) == 1001
    assert ask("ZINTERSTORE", "d", 3, "x", "s", "y", "AGGREGATE", "MAX") == 1000
    assert ask("ZRANGE", "d", 0, 0) == [b"1000"]
    assert ask("ZDIFFSTORE", "d", 2, "x", "s") == 500
    assert ask("ZINTERCARD", 3, "x", "y", "s") == 1000


# ZINTERCARD


def test_zintercard(sets: Ask) -> None:
    assert sets("ZINTERCARD", 1, "x") == 3
    assert sets("ZINTERCARD", 2, "x", "y") == 2
    assert sets("ZINTERCARD", 3, "x", "y", "s") == 1
    assert sets("ZINTERCARD", 2, "x", "none") == 0
    for limit, expected in ((0, 2), (1, 1), (2, 2), (3, 2)):
        assert sets("ZINTERCARD", 2, "x", "y", "LIMIT", limit) == expected
    assert sets("ZINTERCARD", 2, "x", "y", "limit", 1, "limit", 0) == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([2, "x", "y", "LIMIT", -1], b"ERR LIMIT can't be negative"),
        ([2, "x", "y", "LIMIT", "a"], b"ERR LIMIT can't be negative"),
        ([2, "x", "y", "LIMIT"], SYNTAX),
        ([2, "x", "y", "WITHSCORES"], SYNTAX),
        ([2, "x", "y", "WEIGHTS", 1, 2], SYNTAX),
        ([0, "x"], b"ERR at least 1 input key is needed for 'zintercard' command"),
        (["a", "x"], NOT_INTEGER),
        ([2, "x"], SYNTAX),
    ],
)
def test_zintercard_refuses(sets: Ask, words: list[object], error: bytes) -> None:
    assert sets("ZINTERCARD", *words) == error


# What is refused


@pytest.mark.parametrize("name", [*READING, *STORING, "ZINTERCARD"])
def test_refused_everywhere(sets: Ask, name: str) -> None:
    sets("SET", "text", "text")
    start = ("d",) if name in STORING else ()
    lower = name.lower().encode()
    arity = b"ERR wrong number of arguments for '%b' command" % lower
    for count in range(len(start) + 2):
        assert sets(name, *("d", "1")[:count]) == arity
    no_keys = b"ERR at least 1 input key is needed for '%b' command" % lower
    for words, error in (
        ((0, "x"), no_keys),
        ((-1, "x"), no_keys),
        (("a", "x"), NOT_INTEGER),
        ((2, "x"), SYNTAX),
        ((2**63, "x"), NOT_INTEGER),
        ((2**63 - 1, "x"), SYNTAX),
        ((2, "x", "text"), WRONG_TYPE),
        ((2, "none", "text", "nonsense"), WRONG_TYPE),
        ((1, "x", "nonsense"), SYNTAX),
    ):
        assert sets(name, *start, *words) == error
    assert sets("EXISTS", "d") == 0


@pytest.mark.parametrize("name", ["ZUNION", "ZINTER", "ZUNIONSTORE", "ZINTERSTORE"])
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["WEIGHTS", 1], SYNTAX),
        (["WEIGHTS", 1, "x"], b"ERR weight value is not a float"),
        (["WEIGHTS", 1, "nan"], b"ERR weight value is not a float"),
        (["WEIGHTS", 1, 2, 3], SYNTAX),
        (["AGGREGATE"], SYNTAX),
        (["AGGREGATE", "AVG"], SYNTAX),
        (["LIMIT", 1], SYNTAX),
    ],
)
def test_refused_options(sets: Ask, name: str, words: list[object], error: bytes) -> None:
    start = ("d",) if name in STORING else ()
    assert sets(name, *start, 2, "x", "y", *words) == error


@pytest.mark.parametrize("words", [["WEIGHTS", 1, 2], ["AGGREGATE", "MAX"], ["LIMIT", 1]])
def test_differences_have_no_weights(sets: Ask, words: list[object]) -> None:
    assert sets("ZDIFF", 2, "x", "y", *words) == SYNTAX
    assert sets("ZDIFFSTORE", "d", 2, "x", "y", *words) == SYNTAX


@pytest.mark.parametrize("name", STORING)
def test_only_what_is_read_has_scores(sets: Ask, name: str) -> None:
    assert sets(name, "d", 2, "x", "y", "WITHSCORES") == SYNTAX


# Storing


@pytest.mark.parametrize("name", STORING)
def test_storing_replaces_what_is_there(sets: Ask, name: str) -> None:
    sets("SET", "d", "text", "EX", 100)
    assert sets(name, "d", 1, "x") == 3
    assert sets("TTL", "d") == -1
    assert sets(name, "x", 1, "x") == 3
    assert sets("ZCARD", "x") == 3
    assert sets(name, "d", 1, "none") == 0
    assert sets("EXISTS", "d") == 0


@pytest.mark.parametrize("name", STORING)
def test_encoding_of_what_is_stored(sets: Ask, name: str) -> None:
    sets("CONFIG", "SET", "zset-max-listpack-entries", 3)
    sets(name, "d", 1, "x")
    assert sets("OBJECT", "ENCODING", "d") == b"listpack"
    sets("ZADD", "x", 4, "d")
    sets(name, "d", 1, "x")
    assert sets("OBJECT", "ENCODING", "d") == b"skiplist"
    sets("ZADD", "long", 1, "m" * 65)
    sets(name, "d", 1, "long")
    assert sets("OBJECT", "ENCODING", "d") == b"skiplist"


def test_events(wire: Wire, sets: Ask) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    wire.call("SUBSCRIBE", "__keyspace@0__:d")
    for name in STORING:
        sets(name, "d", 1, "x")
        sets(name, "d", 1, "none")
        sets(name, "d", 1, "none")
    sets("PUBLISH", "__keyspace@0__:d", "end")
    told: list[Any] = []
    while not told or told[-1] != b"end":
        message = wire.reply()
        assert isinstance(message, list)
        told.append(message[2])
    assert told == [
        *(b"zunionstore", b"del", b"zinterstore", b"del", b"zdiffstore", b"del", b"end")
    ]
