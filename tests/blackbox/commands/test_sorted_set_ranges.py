"""The sorted set commands for ranges: by rank, by score and by name."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Wire, flat

Ask = Callable[..., Any]

COMMANDS = [
    *("ZRANGE k 0 1", "ZREVRANGE k 0 1", "ZRANGEBYSCORE k 0 1", "ZREVRANGEBYSCORE k 1 0"),
    *("ZRANGEBYLEX k - +", "ZREVRANGEBYLEX k + -", "ZRANGESTORE d k 0 1", "ZCOUNT k 0 1"),
    *("ZLEXCOUNT k - +", "ZREMRANGEBYRANK k 0 1", "ZREMRANGEBYSCORE k 0 1"),
    "ZREMRANGEBYLEX k - +",
]
FIXED = ("ZCOUNT", "ZLEXCOUNT", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREMRANGEBYLEX")

NOT_SCORES = b"ERR min or max is not a float"
NOT_NAMES = b"ERR min or max not valid string range item"
NOT_INTEGER = b"ERR value is not an integer or out of range"
SYNTAX = b"ERR syntax error"
NO_LIMIT = b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
NO_SCORES = b"ERR syntax error, WITHSCORES not supported in combination with BYLEX"

COUNT = 2500
"""Members of a set whose range ends lie far from each other."""


@pytest.fixture
def letters(ask: Ask) -> Ask:
    """`z` holds a to e with the scores 1 to 5, `n` the same with one score."""
    ask("ZADD", "z", 1, "a", 2, "b", 3, "c", 4, "d", 5, "e")
    ask("ZADD", "n", *(word for name in "abcde" for word in (0, name)))
    return ask


@pytest.fixture
def many(ask: Ask) -> Ask:
    """`z` holds 00000 to 02499 with their numbers as scores, `n` the same with one score."""
    for key in "zn":
        ask("ZADD", key, *(w for n in range(COUNT) for w in (n * (key == "z"), name(n))))
    return ask


def name(number: int) -> bytes:
    return b"%05d" % number


def names(*numbers: int) -> list[bytes]:
    return [name(number) for number in numbers]


def joined(reply: list[bytes]) -> bytes:
    return b"".join(reply)


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(ask: Ask, line: str) -> None:
    ask("SET", "k", "text")
    assert ask(*line.split()) == (
        b"WRONGTYPE Operation against a key holding the wrong kind of value"
    )


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    error = b"ERR wrong number of arguments for '%b' command" % words[0].lower().encode()
    for count in range(1, len(words)):
        assert ask(*words[:count]) == error
    if words[0] in FIXED:
        assert ask(*words, "more") == error


@pytest.mark.parametrize("line", COMMANDS)
def test_missing_keys(ask: Ask, line: str) -> None:
    assert ask(*line.split()) in (0, [])
    assert ask("EXISTS", "k", "d") == 0


def test_replies_on_the_wire(wire: Wire) -> None:
    wire.call("ZADD", "z", "1.5", "a", "2", "b")
    for command, expected in [
        (("ZRANGE", "z", "0", "-1"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (("ZRANGE", "z", "0", "0", "WITHSCORES"), b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
        (("ZRANGE", "z", "5", "6", "WITHSCORES"), b"*0\r\n"),
        (("ZRANGE", "none", "5", "6", "WITHSCORES"), b"*0\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("ZRANGE", "z", "0", "-1"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (("ZRANGE", "z", "0", "0", "WITHSCORES"), b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n"),
        (("ZREVRANGE", "z", "0", "0", "WITHSCORES"), b"*1\r\n*2\r\n$1\r\nb\r\n,2\r\n"),
        (("ZRANGEBYSCORE", "z", "2", "2", "WITHSCORES"), b"*1\r\n*2\r\n$1\r\nb\r\n,2\r\n"),
        (("ZRANGE", "none", "5", "6", "WITHSCORES"), b"*0\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)


# By rank


@pytest.mark.parametrize(
    ("start", "stop", "forward", "backward"),
    [
        (0, -1, b"abcde", b"edcba"),
        (0, 0, b"a", b"e"),
        (1, 2, b"bc", b"dc"),
        (-2, -1, b"de", b"ba"),
        (-100, 1, b"ab", b"ed"),
        (3, 100, b"de", b"ba"),
        (2, 1, b"", b""),
        (5, 10, b"", b""),
        (0, -6, b"", b""),
        (0, -100, b"", b""),
        (-2, -4, b"", b""),
        (-(2**63), 2**63 - 1, b"abcde", b"edcba"),
    ],
)
def test_by_rank(letters: Ask, start: int, stop: int, forward: bytes, backward: bytes) -> None:
    assert joined(letters("ZRANGE", "z", start, stop)) == forward
    assert joined(letters("ZREVRANGE", "z", start, stop)) == backward
    assert joined(letters("ZRANGE", "z", start, stop, "rev")) == backward
    assert letters("ZRANGESTORE", "d", "z", start, stop, "REV") == len(backward)
    assert joined(letters("ZRANGE", "d", 0, -1, "REV")) == backward
    assert letters("ZREMRANGEBYRANK", "z", start, stop) == len(forward)
    assert letters("ZCARD", "z") == 5 - len(forward)


def test_by_rank_with_scores(letters: Ask) -> None:
    found = flat(letters("ZRANGE", "z", 3, 10, "WITHSCORES"))
    assert found == [b"d", b"4", b"e", b"5"]
    found = flat(letters("ZREVRANGE", "z", 0, 1, "withscores"))
    assert found == [b"e", b"5", b"d", b"4"]
    assert joined(letters("ZRANGE", "z", 0, 0, "LIMIT", 7, -1)) == b"a"


@pytest.mark.parametrize("name_", ["ZRANGE", "ZREVRANGE", "ZREMRANGEBYRANK"])
@pytest.mark.parametrize(("start", "stop"), [("x", 0), (0, "1.5"), ("(1", 2), (0, 2**63)])
def test_ranks_are_integers(letters: Ask, name_: str, start: object, stop: object) -> None:
    assert letters(name_, "z", start, stop) == NOT_INTEGER


# By score


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("-inf", "+inf", b"abcde"),
        ("2", "4", b"bcd"),
        ("(2", "4", b"cd"),
        ("2", "(4", b"bc"),
        ("(2", "(4", b"c"),
        ("(2", "(2", b""),
        ("2", "2", b"b"),
        ("4", "2", b""),
        ("2.5", "3.5", b"c"),
        ("6", "inf", b""),
        ("-inf", "0.5", b""),
        ("(-inf", "(inf", b"abcde"),
        ("0x2", "1e1", b"bcde"),
        ("1e999", "1e999", b""),
        ("-1e999", "1", b"a"),
        ("", "1", b"a"),
        ("(", "(2", b"a"),
        (" 2", "\t3", b"bc"),
    ],
)
def test_by_score(letters: Ask, low: str, high: str, expected: bytes) -> None:
    backward = expected[::-1]
    assert joined(letters("ZRANGEBYSCORE", "z", low, high)) == expected
    assert joined(letters("ZRANGE", "z", low, high, "BYSCORE")) == expected
    assert joined(letters("ZREVRANGEBYSCORE", "z", high, low)) == backward
    assert joined(letters("ZRANGE", "z", high, low, "REV", "BYSCORE")) == backward
    assert letters("ZCOUNT", "z", low, high) == len(expected)
    assert letters("ZRANGESTORE", "d", "z", low, high, "byscore") == len(expected)
    assert joined(letters("ZRANGE", "d", 0, -1)) == expected
    assert letters("ZREMRANGEBYSCORE", "z", low, high) == len(expected)
    assert letters("ZCARD", "z") == 5 - len(expected)


def test_infinite_scores(ask: Ask) -> None:
    ask("ZADD", "z", "-inf", "a", 0, "b", "inf", "c")
    assert joined(ask("ZRANGEBYSCORE", "z", "-inf", "inf")) == b"abc"
    assert joined(ask("ZRANGEBYSCORE", "z", "(-inf", "(inf")) == b"b"
    assert joined(ask("ZRANGEBYSCORE", "z", "inf", "inf")) == b"c"


@pytest.mark.parametrize(
    ("low", "high"),
    [("x", 1), (1, "x"), ("nan", 1), ("((1", 2), ("1 ", 2), ("[1", 2), (" ", 1), ("1_0", 20)],
)
def test_scores_are_numbers(ask: Ask, low: object, high: object) -> None:
    for command in ("ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZCOUNT", "ZREMRANGEBYSCORE"):
        assert ask(command, "z", low, high) == NOT_SCORES
    assert ask("ZRANGE", "z", low, high, "BYSCORE") == NOT_SCORES
    ask("SET", "d", "text")
    assert ask("ZRANGESTORE", "d", "z", low, high, "BYSCORE") == NOT_SCORES
    assert ask("ZCOUNT", "d", low, high) == NOT_SCORES


@pytest.mark.parametrize(
    ("offset", "count", "forward", "backward"),
    [
        (0, 2, b"bc", b"dc"),
        (1, 1, b"c", b"c"),
        (2, 10, b"d", b"b"),
        (3, 1, b"", b""),
        (100, 1, b"", b""),
        (0, 0, b"", b""),
        (1, -1, b"cd", b"cb"),
        (1, -5, b"cd", b"cb"),
        (-1, 2, b"", b""),
        (0, 2**63 - 1, b"bcd", b"dcb"),
    ],
)
def test_limit(letters: Ask, offset: int, count: int, forward: bytes, backward: bytes) -> None:
    limit = ("LIMIT", offset, count)
    for key, by, low, high in (("z", "SCORE", "2", "4"), ("n", "LEX", "[b", "[d")):
        assert joined(letters(f"ZRANGEBY{by}", key, low, high, *limit)) == forward
        assert joined(letters(f"ZREVRANGEBY{by}", key, high, low, *limit)) == backward
        assert joined(letters("ZRANGE", key, low, high, f"BY{by}", *limit)) == forward
        assert joined(letters("ZRANGE", key, high, low, *limit, "REV", f"BY{by}")) == backward
        assert letters("ZRANGESTORE", "d", key, high, low, f"BY{by}", "REV", *limit) == len(
            backward
        )
        assert joined(letters("ZREVRANGE", "d", 0, -1)) == backward


def test_by_score_with_scores_and_limit(letters: Ask) -> None:
    words = ("LIMIT", 1, 2, "WITHSCORES")
    expected = [b"c", b"3", b"d", b"4"]
    assert flat(letters("ZRANGEBYSCORE", "z", 2, 5, *words)) == expected
    assert flat(letters("ZRANGEBYSCORE", "z", 2, 5, "withscores", "limit", 1, 2)) == expected
    expected = [b"d", b"4", b"c", b"3"]
    assert flat(letters("ZREVRANGEBYSCORE", "z", "inf", 1, *words)) == expected


# By name


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("-", "+", b"abcde"),
        ("[b", "[d", b"bcd"),
        ("(b", "[d", b"cd"),
        ("[b", "(d", b"bc"),
        ("(b", "(d", b"c"),
        ("(b", "(b", b""),
        ("[b", "[b", b"b"),
        ("[d", "[b", b""),
        ("[bb", "[c\x01", b"c"),
        ("-", "(c", b"ab"),
        ("(c", "+", b"de"),
        ("[", "[b", b"ab"),
        ("(", "(", b""),
        ("+", "-", b""),
        ("-", "-", b""),
        ("+", "+", b""),
        ("[a", "-", b""),
        ("+", "[e", b""),
        ("[x", "+", b""),
    ],
)
def test_by_name(letters: Ask, low: str, high: str, expected: bytes) -> None:
    backward = expected[::-1]
    assert joined(letters("ZRANGEBYLEX", "n", low, high)) == expected
    assert joined(letters("ZRANGE", "n", low, high, "BYLEX")) == expected
    assert joined(letters("ZREVRANGEBYLEX", "n", high, low)) == backward
    assert joined(letters("ZRANGE", "n", high, low, "bylex", "rev")) == backward
    assert letters("ZLEXCOUNT", "n", low, high) == len(expected)
    assert letters("ZRANGESTORE", "d", "n", high, low, "BYLEX", "REV") == len(expected)
    assert joined(letters("ZRANGE", "d", 0, -1)) == expected
    assert letters("ZREMRANGEBYLEX", "n", low, high) == len(expected)
    assert letters("ZCARD", "n") == 5 - len(expected)


@pytest.mark.parametrize(
    ("low", "high"), [("a", "+"), ("-", "b"), ("", "+"), ("-a", "+"), ("-", "++")]
)
def test_names_begin_with_a_bracket(ask: Ask, low: str, high: str) -> None:
    for command in ("ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZLEXCOUNT", "ZREMRANGEBYLEX"):
        assert ask(command, "n", low, high) == NOT_NAMES
    assert ask("ZRANGE", "n", low, high, "BYLEX") == NOT_NAMES
    assert ask("ZRANGESTORE", "d", "n", low, high, "BYLEX") == NOT_NAMES


def test_empty_and_binary_names(ask: Ask) -> None:
    members = [b"", b"\x00", b"\x00\x00", b"a", b"a\x00", b"a\xff", b"\xff", b"\xff\xff"]
    ask("ZADD", "n", *(word for member in members for word in (0, member)))
    assert ask("ZRANGEBYLEX", "n", "-", "+") == members
    assert ask("ZRANGEBYLEX", "n", "(", "[\x00") == [b"\x00"]
    assert ask("ZRANGEBYLEX", "n", "(a", "(\xff".encode("latin-1")) == [b"a\x00", b"a\xff"]
    assert ask("ZLEXCOUNT", "n", b"(\xff", "+") == 1


# Options


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ZRANGE z 0 1 LIMIT 0 1", NO_LIMIT),
        ("ZREVRANGE z 0 1 LIMIT 0 1", NO_LIMIT),
        ("ZRANGESTORE d z 0 1 LIMIT 0 1", NO_LIMIT),
        ("ZRANGE z - + BYLEX WITHSCORES", NO_SCORES),
        ("ZRANGEBYLEX z - + WITHSCORES", NO_SCORES),
        ("ZREVRANGEBYLEX z - + WITHSCORES", NO_SCORES),
        ("ZRANGE z 0 1 BYSCORE LIMIT 0", SYNTAX),
        ("ZRANGE z 0 1 BYSCORE LIMIT", SYNTAX),
        ("ZRANGE z 0 1 BYSCORE LIMIT x 1", NOT_INTEGER),
        ("ZRANGE z 0 1 BYSCORE LIMIT 0 x", NOT_INTEGER),
        ("ZRANGE z 0 1 BYSCORE BYLEX", SYNTAX),
        ("ZRANGE z 0 1 REV REV", SYNTAX),
        ("ZRANGE z 0 1 WITHSCORE", SYNTAX),
        ("ZRANGESTORE d z 0 1 WITHSCORES", SYNTAX),
        ("ZREVRANGE z 0 1 REV", SYNTAX),
        ("ZREVRANGE z 0 1 BYSCORE", SYNTAX),
        ("ZRANGEBYSCORE z 0 1 REV", SYNTAX),
        ("ZRANGEBYSCORE z 0 1 BYSCORE", SYNTAX),
        ("ZRANGEBYLEX z - + BYLEX", SYNTAX),
    ],
)
def test_refused_options(letters: Ask, words: str, error: bytes) -> None:
    assert letters(*words.split()) == error


# ZRANGESTORE


def test_zrangestore_replaces_what_is_there(letters: Ask) -> None:
    letters("SET", "d", "text", "EX", 100)
    assert letters("ZRANGESTORE", "d", "z", 1, 2) == 2
    assert flat(letters("ZRANGE", "d", 0, -1, "WITHSCORES")) == [b"b", b"2", b"c", b"3"]
    assert letters("TTL", "d") == -1
    assert letters("ZRANGESTORE", "z", "z", 3, -1) == 2
    assert joined(letters("ZRANGE", "z", 0, -1)) == b"de"
    assert letters("ZRANGESTORE", "d", "z", 5, 6) == 0
    assert letters("EXISTS", "d") == 0


def test_zrangestore_encoding(letters: Ask) -> None:
    letters("CONFIG", "SET", "zset-max-listpack-entries", 3)
    letters("ZRANGESTORE", "d", "z", 0, 2)
    assert letters("OBJECT", "ENCODING", "d") == b"listpack"
    letters("ZRANGESTORE", "d", "z", 0, 3)
    assert letters("OBJECT", "ENCODING", "d") == b"skiplist"


# Large sets


def test_large_ranges(many: Ask) -> None:
    assert many("ZRANGE", "z", 1000, 1500) == names(*range(1000, 1501))
    assert many("ZREVRANGE", "z", 1000, 1500) == names(*range(1499, 998, -1))
    assert many("ZRANGEBYSCORE", "z", "(1000", 2000) == names(*range(1001, 2001))
    assert many("ZREVRANGEBYSCORE", "z", 2000, 1000, "LIMIT", 900, 5) == names(
        *range(1100, 1095, -1)
    )
    assert many("ZCOUNT", "z", "(100", "(2400") == 2299
    assert many("ZRANGEBYLEX", "n", "[01000", "(01500") == names(*range(1000, 1500))
    assert many("ZLEXCOUNT", "n", "(00100", "[02400") == 2300
    assert many("ZRANGESTORE", "d", "z", 100, -101) == 2300
    assert many("ZRANGE", "d", 0, -1) == names(*range(100, 2400))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("z", ("ZREMRANGEBYRANK", 500, 1999)),
        ("z", ("ZREMRANGEBYSCORE", "(499", "1999")),
        ("n", ("ZREMRANGEBYLEX", "[00500", "(02000")),
    ],
)
def test_large_removals(many: Ask, key: str, words: tuple[Any, ...]) -> None:
    assert many(words[0], key, *words[1:]) == 1500
    assert many("ZRANGE", key, 0, -1) == names(*range(500), *range(2000, 2500))
    assert many("ZSCORE", key, "01000") is None
    assert many("ZREMRANGEBYRANK", key, 0, -1) == 1000
    assert many("EXISTS", key) == 0


# Events


def test_events(wire: Wire, letters: Ask) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    wire.call("PSUBSCRIBE", "__keyspace@0__:*")
    for words in (
        ("ZRANGESTORE", "d", "z", 0, 1),
        ("ZRANGESTORE", "d", "z", 10, 11),
        ("ZRANGESTORE", "d", "z", 10, 11),
        ("ZREMRANGEBYRANK", "z", 10, 11),
        ("ZREMRANGEBYRANK", "z", 0, 0),
        ("ZREMRANGEBYSCORE", "z", 0, 2),
        ("ZREMRANGEBYLEX", "z", "-", "+"),
    ):
        letters(*words)
    letters("PUBLISH", "__keyspace@0__:end", "end")
    told: list[Any] = []
    while not told or told[-1][1] != b"end":
        message: Any = wire.reply()
        told.append((message[2].rpartition(b":")[2], message[3]))
    assert told[:-1] == [
        (b"d", b"zrangestore"),
        (b"d", b"del"),
        (b"z", b"zremrangebyrank"),
        (b"z", b"zremrangebyscore"),
        (b"z", b"zremrangebylex"),
        (b"z", b"del"),
    ]
