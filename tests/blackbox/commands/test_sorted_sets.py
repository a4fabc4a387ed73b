"""The sorted set commands for members: adding, removing, scores and ranks, random ones, ZSCAN."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Server, Wire, flat

Ask = Callable[..., Any]

COMMANDS = [
    *("ZADD k 1 m", "ZINCRBY k 1 m", "ZREM k m", "ZCARD k", "ZSCORE k m", "ZMSCORE k m"),
    *("ZRANK k m", "ZREVRANK k m", "ZRANDMEMBER k", "ZRANDMEMBER k 1", "ZSCAN k 0"),
]
FIXED = ("ZINCRBY", "ZCARD", "ZSCORE")

WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_FLOAT = b"ERR value is not a valid float"
NOT_INTEGER = b"ERR value is not an integer or out of range"
SYNTAX = b"ERR syntax error"
NAN = b"ERR resulting score is not a number (NaN)"


def content(ask: Ask, key: str) -> list[Any]:
    """Members and scores in turn, in order."""
    return flat(ask("ZRANGE", key, 0, -1, "WITHSCORES"))


def fill(ask: Ask, key: str, count: int) -> None:
    words = [word for n in range(count) for word in (n, f"m{n}")]
    for start in range(0, len(words), 1000):
        ask("ZADD", key, *words[start : start + 1000])


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(ask: Ask, line: str) -> None:
    ask("SET", "k", "text")
    assert ask(*line.split()) == WRONG_TYPE
    assert ask("GET", "k") == b"text"


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    error = b"ERR wrong number of arguments for '%b' command" % words[0].lower().encode()
    least = 2 if words[0] == "ZRANDMEMBER" else len(words)
    for count in range(1, least):
        assert ask(*words[:count]) == error
    if words[0] in FIXED:
        assert ask(*words, "more") == error


def test_missing_keys(ask: Ask) -> None:
    assert ask("ZREM", "z", "m") == 0
    assert ask("ZCARD", "z") == 0
    assert ask("ZSCORE", "z", "m") is None
    assert ask("ZMSCORE", "z", "m", "n") == [None, None]
    assert ask("ZRANK", "z", "m") is None
    assert ask("ZREVRANK", "z", "m") is None
    assert ask("ZRANDMEMBER", "z") is None
    assert ask("ZRANDMEMBER", "z", 3) == []
    assert ask("ZRANDMEMBER", "z", -3, "WITHSCORES") == []
    assert ask("ZSCAN", "z", 0) == [b"0", []]
    assert ask("EXISTS", "z") == 0


def test_replies_on_the_wire(wire: Wire) -> None:
    wire.call("ZADD", "z", "1.5", "a")
    for command, expected in [
        (("ZADD", "z", "1.5", "a"), b":0\r\n"),
        (("ZADD", "z", "INCR", "0.5", "a"), b"$1\r\n2\r\n"),
        (("ZADD", "z", "NX", "INCR", "0.5", "a"), b"$-1\r\n"),
        (("ZINCRBY", "z", "-0.75", "a"), b"$4\r\n1.25\r\n"),
        (("ZSCORE", "z", "a"), b"$4\r\n1.25\r\n"),
        (("ZSCORE", "z", "b"), b"$-1\r\n"),
        (("ZMSCORE", "z", "b", "a"), b"*2\r\n$-1\r\n$4\r\n1.25\r\n"),
        (("ZRANK", "z", "b"), b"$-1\r\n"),
        (("ZRANDMEMBER", "z", "1", "WITHSCORES"), b"*2\r\n$1\r\na\r\n$4\r\n1.25\r\n"),
        (("ZSCAN", "z", "0"), b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$4\r\n1.25\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("ZADD", "z", "INCR", "0.5", "a"), b",1.75\r\n"),
        (("ZADD", "z", "NX", "INCR", "0.5", "a"), b"_\r\n"),
        (("ZINCRBY", "z", "inf", "b"), b",inf\r\n"),
        (("ZINCRBY", "z", "0.25", "a"), b",2\r\n"),
        (("ZSCORE", "z", "a"), b",2\r\n"),
        (("ZSCORE", "z", "c"), b"_\r\n"),
        (("ZMSCORE", "z", "c", "a"), b"*2\r\n_\r\n,2\r\n"),
        (("ZREM", "z", "b"), b":1\r\n"),
        (("ZRANDMEMBER", "z", "1", "WITHSCORES"), b"*1\r\n*2\r\n$1\r\na\r\n,2\r\n"),
        (("ZRANDMEMBER", "none"), b"_\r\n"),
        (("ZSCAN", "z", "0"), b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n2\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)


@pytest.mark.since("7.2")
def test_ranks_with_scores_on_the_wire(wire: Wire) -> None:
    wire.call("ZADD", "z", "1.5", "a", "2", "b")
    for command, expected in [
        (("ZRANK", "z", "b", "withscore"), b"*2\r\n:1\r\n$1\r\n2\r\n"),
        (("ZREVRANK", "z", "a", "WITHSCORE"), b"*2\r\n:1\r\n$3\r\n1.5\r\n"),
        (("ZRANK", "z", "c", "WITHSCORE"), b"*-1\r\n"),
        (("ZRANK", "none", "c", "WITHSCORE"), b"*-1\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("ZRANK", "z", "b", "WITHSCORE"), b"*2\r\n:1\r\n,2\r\n"),
        (("ZREVRANK", "z", "c", "WITHSCORE"), b"_\r\n"),
        (("ZREVRANK", "none", "c", "WITHSCORE"), b"_\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    assert wire.call("ZRANK", "z", "a", "WITHSCORES") == SYNTAX
    assert wire.call("ZRANK", "z", "a", "WITHSCORE", "x") == (
        b"ERR wrong number of arguments for 'zrank' command"
    )


# ZADD


def test_zadd_counts_new_members(ask: Ask) -> None:
    assert ask("ZADD", "z", 1, "a") == 1
    assert ask("ZADD", "z", 1, "a") == 0
    assert ask("ZADD", "z", 2, "a", 3, "b", 4, "c") == 2
    assert ask("ZADD", "z", 9, "d", 0, "d") == 1
    assert content(ask, "z") == [b"d", b"0", b"a", b"2", b"b", b"3", b"c", b"4"]
    assert ask("ZCARD", "z") == 4


def test_zadd_ch_counts_changes_too(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a", 2, "b")
    assert ask("ZADD", "z", "CH", 1, "a", 3, "b", 4, "c") == 2
    assert ask("ZADD", "z", "XX", "CH", 7, "a", 8, "none") == 1
    assert ask("ZADD", "z", "ch", "nx", 9, "a", 9, "d") == 1


def test_zadd_nx_and_xx(ask: Ask) -> None:
    assert ask("ZADD", "z", "XX", 1, "a") == 0
    assert ask("EXISTS", "z") == 0
    assert ask("ZADD", "z", "NX", 1, "a") == 1
    assert ask("ZADD", "z", "nx", 2, "a", 2, "b") == 1
    assert ask("ZADD", "z", "xx", 3, "a", 3, "c") == 0
    assert content(ask, "z") == [b"b", b"2", b"a", b"3"]


def test_zadd_gt_and_lt(ask: Ask) -> None:
    ask("ZADD", "z", 5, "a", 5, "b")
    assert ask("ZADD", "z", "GT", "CH", 6, "a", 4, "b", 1, "new") == 2
    assert content(ask, "z") == [b"new", b"1", b"b", b"5", b"a", b"6"]
    assert ask("ZADD", "z", "LT", "CH", 7, "a", 4, "b", 5, "b") == 1
    assert content(ask, "z") == [b"new", b"1", b"b", b"4", b"a", b"6"]
    assert ask("ZADD", "z", "GT", "XX", "CH", 9, "other", 9, "b") == 1
    assert content(ask, "z") == [b"new", b"1", b"a", b"6", b"b", b"9"]


def test_zadd_incr(ask: Ask) -> None:
    assert ask("ZADD", "z", "XX", "INCR", 1, "a") is None
    assert ask("EXISTS", "z") == 0
    assert ask("ZADD", "z", "INCR", 1.5, "a") == b"1.5"
    assert ask("ZADD", "z", "INCR", 0.25, "a") == b"1.75"
    assert ask("ZADD", "z", "INCR", "NX", 1, "a") is None
    assert ask("ZADD", "z", "INCR", "GT", -1, "a") is None
    assert ask("ZADD", "z", "INCR", "LT", -1, "a") == b"0.75"
    assert ask("ZADD", "z", "CH", "INCR", 0, "a") == b"0.75"
    assert ask("ZADD", "z", "XX", "INCR", 1, "none") is None
    assert content(ask, "z") == [b"a", b"0.75"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["NX", "XX", 1, "m"], b"ERR XX and NX options at the same time are not compatible"),
        *(
            (words, b"ERR GT, LT, and/or NX options at the same time are not compatible")
            for words in (["GT", "LT", 1, "m"], ["NX", "GT", 1, "m"], ["LT", "nx", 1, "m"])
        ),
        (
            ["INCR", 1, "m", 2, "n"],
            b"ERR INCR option supports a single increment-element pair",
        ),
        *((words, SYNTAX) for words in ([1, "m", 2], ["NX", "m"], ["CH", "INCR"], ["XX", 1])),
        *(
            (["1", "m", word, "n"], NOT_FLOAT)
            for word in ("x", "nan", "-nan", "", " 1", "1 ", "1_0", "1e999", "(1", "NX")
        ),
    ],
)
def test_zadd_refuses(ask: Ask, words: list[object], error: bytes) -> None:
    assert ask("ZADD", "z", *words) == error
    assert ask("EXISTS", "z") == 0


def test_zadd_says_what_is_wrong_with_the_words_first(ask: Ask) -> None:
    ask("SET", "s", "text")
    assert ask("ZADD", "s", "x", "m") == NOT_FLOAT
    assert ask("ZADD", "s", 1, "m", 2) == SYNTAX
    assert ask("ZADD", "s", "XX", 1, "m") == WRONG_TYPE


@pytest.mark.parametrize(
    ("word", "score"),
    [
        *(("inf", b"inf"), ("-inf", b"-inf"), ("+INF", b"inf"), ("Infinity", b"inf")),
        *(("1e3", b"1000"), ("-2.5E-1", b"-0.25"), (".5", b"0.5"), ("5.", b"5")),
        *(("0x10", b"16"), ("+7", b"7"), ("007", b"7"), ("-0", b"0")),
        ("9007199254740992", b"9007199254740992"),
        ("-9007199254740992", b"-9007199254740992"),
    ],
)
def test_how_scores_are_read_and_written(wire: Wire, word: str, score: bytes) -> None:
    assert wire.call("ZADD", "z", word, "m") == 1
    assert wire.call("ZSCORE", "z", "m") == score


@pytest.mark.since("7.2")
@pytest.mark.parametrize(
    "score",
    [
        *(b"0.1", b"3.14159", b"1e+100", b"5e-324", b"1.7976931348623157e+308", b"1e-7"),
        *(b"1152921504606846976", b"4611686018427387904", b"-4611686018427387904"),
    ],
)
def test_scores_are_written_with_the_fewest_digits(wire: Wire, score: bytes) -> None:
    wire.call("ZADD", "z", score, "m")
    assert wire.call("ZSCORE", "z", "m") == score


def test_binary_members(ask: Ask) -> None:
    odd = bytes(range(256))
    assert ask("ZADD", "z", 1, odd, 1, b"", 1, b"\xff", 1, b"\xff\x00") == 4
    assert content(ask, "z")[::2] == [b"", odd, b"\xff", b"\xff\x00"]
    assert ask("ZSCORE", "z", odd) == b"1"
    assert ask("ZREM", "z", b"", odd) == 2


def test_many_zadd_at_once(server: Server) -> None:
    with server.wire() as wire:
        for n in range(100):
            wire.command("ZADD", f"z{n % 3}", n % 7, f"m{n % 10}")
        assert sum(wire.reply() == 1 for _ in range(100)) == 30
        wire.command("ZADD", "z0", 1, "a")
        wire.command("ZADD", "z0", "x", "b")
        wire.command("ZADD", "z0", 1, "c")
        assert [wire.reply() for _ in range(3)] == [1, NOT_FLOAT, 1]
        wire.call("SET", "s", "text")
        for key in ("z0", "s", "new"):
            wire.command("ZADD", key, 1, "d")
        assert [wire.reply() for _ in range(3)] == [1, WRONG_TYPE, 1]


# ZINCRBY and ZREM


def test_zincrby(ask: Ask) -> None:
    assert ask("ZINCRBY", "z", 2.5, "a") == b"2.5"
    assert ask("ZINCRBY", "z", -3, "a") == b"-0.5"
    assert ask("ZINCRBY", "z", "inf", "a") == b"inf"
    assert ask("ZINCRBY", "z", "-inf", "a") == NAN
    assert ask("ZADD", "z", "INCR", "-inf", "a") == NAN
    assert ask("ZSCORE", "z", "a") == b"inf"
    assert ask("ZINCRBY", "z", "x", "a") == NOT_FLOAT
    assert ask("ZINCRBY", "z", "nx", "a") == SYNTAX


def test_zincrby_moves_members(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    ask("ZINCRBY", "z", 5, "a")
    assert content(ask, "z") == [b"b", b"2", b"c", b"3", b"a", b"6"]


def test_zrem(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    assert ask("ZREM", "z", "none") == 0
    assert ask("ZREM", "z", "a", "a", "none", "c") == 2
    assert content(ask, "z") == [b"b", b"2"]
    assert ask("ZREM", "z", "b") == 1
    assert ask("EXISTS", "z") == 0


# Scores and ranks


def test_zscore_and_zmscore(ask: Ask) -> None:
    ask("ZADD", "z", 1.5, "a", "-inf", "b")
    assert ask("ZSCORE", "z", "a") == b"1.5"
    assert ask("ZSCORE", "z", "none") is None
    assert ask("ZMSCORE", "z", "none", "b", "a", "b") == [None, b"-inf", b"1.5", b"-inf"]


@pytest.mark.parametrize("count", [5, 600, 5000])
def test_ranks(ask: Ask, count: int) -> None:
    fill(ask, "z", count)
    for rank in {0, 1, count // 2, count - 2, count - 1}:
        assert ask("ZRANK", "z", f"m{rank}") == rank
        assert ask("ZREVRANK", "z", f"m{rank}") == count - 1 - rank
    assert ask("ZRANK", "z", "none") is None
    assert ask("ZREVRANK", "z", "none") is None


def test_equal_scores_are_in_the_order_of_bytes(ask: Ask) -> None:
    ask("ZADD", "z", 0, "b", 0, "a", 0, "B", 0, "ab", 0, b"\xff")
    assert [ask("ZRANK", "z", member) for member in ("B", "a", "ab", "b", b"\xff")] == [*range(5)]


# Random members


def test_zrandmember(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a", 2, "b", 3, "c")
    assert ask("ZRANDMEMBER", "z") in (b"a", b"b", b"c")
    assert ask("ZRANDMEMBER", "z", 0) == []
    assert sorted(ask("ZRANDMEMBER", "z", 3)) == [b"a", b"b", b"c"]
    assert sorted(ask("ZRANDMEMBER", "z", 100)) == [b"a", b"b", b"c"]
    assert len(set(ask("ZRANDMEMBER", "z", 2))) == 2
    assert len(ask("ZRANDMEMBER", "z", -100)) == 100
    pairs = flat(ask("ZRANDMEMBER", "z", -20, "withscores"))
    assert len(pairs) == 40
    assert set(zip(pairs[::2], pairs[1::2], strict=True)) <= {
        (b"a", b"1"),
        (b"b", b"2"),
        (b"c", b"3"),
    }


@pytest.mark.parametrize("count", [10, 1000])
def test_zrandmember_is_fair(ask: Ask, count: int) -> None:
    fill(ask, "z", count)
    drawn: Counter[bytes] = Counter(ask("ZRANDMEMBER", "z", -count * 40))
    assert len(drawn) == count
    for _ in range(40):
        drawn.update(ask("ZRANDMEMBER", "z", count // 2))
    # Each is expected 60 times.
    assert min(drawn.values()) > 20
    assert max(drawn.values()) < 120


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["x"], NOT_INTEGER),
        (["1", "x"], SYNTAX),
        (["1", "WITHSCORES", "x"], SYNTAX),
        ([str(2**63)], NOT_INTEGER),
        (
            [str(-(2**63))],
            b"ERR value is out of range, value must between -9223372036854775807 and"
            b" 9223372036854775807",
        ),
        ([str(-(2**62) - 1), "WITHSCORES"], b"ERR value is out of range"),
    ],
)
def test_zrandmember_refuses(ask: Ask, words: list[str], error: bytes) -> None:
    ask("ZADD", "z", 1, "m")
    assert ask("ZRANDMEMBER", "z", *words) == error


# ZSCAN


def scan(ask: Ask, key: str, *options: object) -> tuple[list[Any], int]:
    """Members and scores of a whole scan, and in how many steps they came."""
    cursor, found, steps = b"0", [], 0
    while steps == 0 or cursor != b"0":
        cursor, part = ask("ZSCAN", key, cursor, *options)
        found += part
        steps += 1
    return found, steps


@pytest.mark.parametrize("count", [3, 100, 3000])
def test_zscan_finds_all(ask: Ask, count: int) -> None:
    fill(ask, "z", count)
    found, steps = scan(ask, "z")
    expected = {b"m%d" % n: b"%d" % n for n in range(count)}
    assert dict(zip(found[::2], found[1::2], strict=True)) == expected
    assert (steps == 1) == (count <= 100)
    assert scan(ask, "z", "COUNT", 100_000)[1] == 1


def test_zscan_match(ask: Ask) -> None:
    ask("ZADD", "z", 1.5, "one", 2, "two", 3, "three")
    assert ask("ZSCAN", "z", 0, "MATCH", "*o*") == [b"0", [b"one", b"1.5", b"two", b"2"]]
    assert ask("ZSCAN", "z", 0, "MATCH", "x*", "COUNT", 5) == [b"0", []]


@pytest.mark.ours("NOSCORES is an option of Valkey")
def test_zscan_without_scores(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a", 2, "b", 3, "ab")
    assert ask("ZSCAN", "z", 0, "noscores") == [b"0", [b"a", b"b", b"ab"]]
    assert ask("ZSCAN", "z", 0, "MATCH", "a*", "NOSCORES", "COUNT", 3) == [b"0", [b"a", b"ab"]]
    error = b"ERR NOVALUES option can only be used in HSCAN"
    assert ask("ZSCAN", "z", 0, "NOVALUES") == error
    ask("HSET", "h", "f", "v")
    error = b"ERR NOSCORES option can only be used in ZSCAN"
    assert ask("HSCAN", "h", 0, "NOSCORES") == error


def test_zscan_while_members_come_and_go(ask: Ask) -> None:
    fill(ask, "z", 2000)
    rest = random.Random(1)
    cursor, seen = b"0", set()
    while True:
        cursor, part = ask("ZSCAN", "z", cursor, "COUNT", 20)
        seen.update(part[::2])
        if cursor == b"0":
            break
        for _ in range(10):
            ask("ZREM", "z", f"m{rest.randrange(1000, 2000)}")
            ask("ZADD", "z", rest.random(), f"x{rest.random()}")
            ask("ZADD", "z", rest.randrange(5000), f"m{rest.randrange(1000)}")
    assert {b"m%d" % n for n in range(1000)} <= seen


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["x"], b"ERR invalid cursor"),
        ([0, "COUNT", "x"], NOT_INTEGER),
        ([0, "COUNT", 0], SYNTAX),
        ([0, "COUNT"], SYNTAX),
        ([0, "TYPE", "zset"], SYNTAX),
    ],
)
def test_zscan_refuses(ask: Ask, words: list[object], error: bytes) -> None:
    ask("ZADD", "z", 1, "m")
    assert ask("ZSCAN", "z", *words) == error


# Encoding, events, transactions


def test_encoding(ask: Ask) -> None:
    ask("CONFIG", "SET", "zset-max-listpack-entries", 4, "zset-max-listpack-value", 8)
    ask("ZADD", "z", 1, "a", 2, "b", 3, "c", 4, "d")
    assert ask("OBJECT", "ENCODING", "z") == b"listpack"
    ask("ZADD", "z", 5, "a", 6, "12345678")
    assert ask("OBJECT", "ENCODING", "z") == b"skiplist"
    ask("ZREM", "z", "a", "b", "c")
    assert ask("OBJECT", "ENCODING", "z") == b"skiplist"
    ask("ZADD", "long", 1, "12345678")
    assert ask("OBJECT", "ENCODING", "long") == b"listpack"
    ask("ZINCRBY", "long", 1, "123456789")
    assert ask("OBJECT", "ENCODING", "long") == b"skiplist"
    ask("COPY", "z", "y")
    assert ask("OBJECT", "ENCODING", "y") == b"skiplist"
    assert content(ask, "y") == content(ask, "z")


def test_a_deadline_stays(ask: Ask) -> None:
    ask("ZADD", "z", 1, "a")
    ask("EXPIRE", "z", 100)
    ask("ZADD", "z", 2, "b")
    ask("ZINCRBY", "z", 2, "b")
    ask("ZREM", "z", "a")
    assert 0 < ask("TTL", "z") <= 100


def test_events(wire: Wire, ask: Ask) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    wire.call("SUBSCRIBE", "__keyspace@0__:z")
    for words in (
        ("ZADD", "z", 1, "a"),
        ("ZADD", "z", 1, "a"),
        ("ZADD", "z", "NX", 2, "a"),
        ("ZADD", "z", 2, "a", 3, "b"),
        ("ZADD", "z", "INCR", 2, "a"),
        ("ZINCRBY", "z", 2, "a"),
        ("ZINCRBY", "z", 0, "a"),
        ("ZREM", "z", "none"),
        ("ZREM", "z", "a"),
        ("ZREM", "z", "a", "b"),
    ):
        ask(*words)
    ask("PUBLISH", "__keyspace@0__:z", "end")
    told: list[Any] = []
    while not told or told[-1] != b"end":
        message = wire.reply()
        assert isinstance(message, list)
        told.append(message[2])
    assert told == [b"zadd", b"zadd", b"zincr", b"zincr", b"zrem", b"zrem", b"del", b"end"]


def test_what_changes_nothing_spoils_no_transaction(wire: Wire, ask: Ask) -> None:
    ask("ZADD", "z", 1, "a")
    for harmless in (
        ("ZADD", "z", 1, "a"),
        ("ZADD", "z", "XX", 1, "b"),
        ("ZINCRBY", "z", 0, "a"),
        ("ZREM", "z", "b"),
        ("ZSCORE", "z", "a"),
    ):
        wire.call("WATCH", "z")
        ask(*harmless)
        wire.call("MULTI")
        wire.call("ZCARD", "z")
        assert wire.call("EXEC") == [1]
    wire.call("WATCH", "z")
    ask("ZADD", "z", 2, "a")
    wire.call("MULTI")
    assert wire.call("EXEC") is None
