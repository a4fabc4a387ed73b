"""The hash commands."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.support import Wire

Do = Callable[..., Any]

COMMANDS = [
    *("HSET k f v", "HMSET k f v", "HSETNX k f v", "HGET k f", "HMGET k f", "HGETALL k"),
    *("HKEYS k", "HVALS k", "HLEN k", "HSTRLEN k f", "HEXISTS k f", "HDEL k f", "HINCRBY k f 1"),
    *("HINCRBYFLOAT k f 1", "HRANDFIELD k", "HRANDFIELD k 1", "HSCAN k 0"),
]

WRONG = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture
def do(client: redis.Redis) -> Do:
    return client.execute_command


def fill(do: Do, key: str, count: int) -> dict[bytes, bytes]:
    """A hash of so many fields."""
    pairs = {b"field:%d" % n: b"value:%d" % n for n in range(count)}
    words = [word for pair in pairs.items() for word in pair]
    for start in range(0, len(words), 1000):
        do("HSET", key, *words[start : start + 1000])
    return pairs


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(do: Do, line: str) -> None:
    do("SET", "k", "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        do(*line.split())
    assert do("GET", "k") == b"text"


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(do: Do, line: str) -> None:
    words = line.split()
    for count in range(1, len(words) - (words[0] == "HRANDFIELD" and len(words) - 2)):
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words[:count])
    if words[0] in ("HSETNX", "HGET", "HGETALL", "HKEYS", "HVALS", "HLEN", "HSTRLEN", "HEXISTS"):
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words, "more")


@pytest.mark.parametrize("name", ["HSET", "HMSET"])
def test_fields_and_values_come_in_pairs(do: Do, name: str) -> None:
    with pytest.raises(redis.ResponseError, match=f"number of arguments for '{name.lower()}'"):
        do(name, "h", "a", "1", "b")
    assert do("EXISTS", "h") == 0


def test_missing_keys(do: Do) -> None:
    assert do("HGET", "h", "f") is None
    assert do("HMGET", "h", "f", "g") == [None, None]
    assert do("HGETALL", "h") == {}
    assert do("HKEYS", "h") == []
    assert do("HVALS", "h") == []
    assert do("HLEN", "h") == 0
    assert do("HSTRLEN", "h", "f") == 0
    assert do("HEXISTS", "h", "f") == 0
    assert do("HDEL", "h", "f") == 0
    assert do("HRANDFIELD", "h") is None
    assert do("HRANDFIELD", "h", 3) == []
    assert do("HRANDFIELD", "h", -3, "WITHVALUES") == []
    assert do("HSCAN", "h", 0) == (0, {})
    assert do("EXISTS", "h") == 0


def test_replies_on_the_wire(wire: Wire) -> None:
    wire.call("HSET", "h", "a", "1")
    for command, expected in [
        (("HGETALL", "h"), b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HGETALL", "none"), b"*0\r\n"),
        (("HRANDFIELD", "h", "1", "WITHVALUES"), b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HSCAN", "h", "0"), b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HMSET", "h", "b", "2"), b"+OK\r\n"),
        (("HEXISTS", "h", "a"), b":1\r\n"),
        (("HGET", "h", "none"), b"$-1\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HDEL", "h", "b")
    wire.call("HELLO", "3")
    for command, expected in [
        (("HGETALL", "h"), b"%1\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HGETALL", "none"), b"%0\r\n"),
        (("HKEYS", "h"), b"*1\r\n$1\r\na\r\n"),
        (("HRANDFIELD", "h", "1", "WITHVALUES"), b"*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HSCAN", "h", "0"), b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (("HGET", "h", "none"), b"_\r\n"),
        (("HRANDFIELD", "none"), b"_\r\n"),
        (("HINCRBYFLOAT", "h", "a", "0.5"), b"$3\r\n1.5\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)


def test_hset_counts_new_fields(do: Do) -> None:
    assert do("HSET", "h", "a", 1) == 1
    assert do("HSET", "h", "a", 2, "b", 3, "c", 4) == 2
    assert do("HSET", "h", "d", 5, "d", 6) == 1
    assert do("HGETALL", "h") == {b"a": b"2", b"b": b"3", b"c": b"4", b"d": b"6"}
    assert do("HMSET", "h", "a", 0)
    assert do("HSETNX", "h", "a", 9) == 0
    assert do("HSETNX", "h", "z", 9) == 1
    assert do("HMGET", "h", "a", "none", "z", "a") == [b"0", None, b"9", b"0"]


@pytest.mark.parametrize("count", [1, 5, 40, 600])
def test_all_sizes(do: Do, count: int) -> None:
    for key in ("one", "two"):
        pairs = fill(do, key, count)
        assert do("HLEN", key) == count
        assert do("HGETALL", key) == pairs
        assert sorted(do("HKEYS", key)) == sorted(pairs)
        assert sorted(do("HVALS", key)) == sorted(pairs.values())
        for field, value in pairs.items():
            assert do("HGET", key, field) == value
            assert do("HSTRLEN", key, field) == len(value)
            assert do("HEXISTS", key, field) == 1
        assert do("HEXISTS", key, "none") == 0


def test_binary_fields_and_values(do: Do) -> None:
    odd = bytes(range(256))
    assert do("HSET", "h", odd, odd[::-1], b"", b"") == 2
    assert do("HGETALL", "h") == {odd: odd[::-1], b"": b""}
    assert do("HSTRLEN", "h", odd) == 256
    assert do("HEXISTS", "h", b"") == 1


def test_hdel_removes_the_hash_with_its_last_field(do: Do) -> None:
    do("HSET", "h", "a", 1, "b", 2, "c", 3)
    assert do("HDEL", "h", "a", "none", "a") == 1
    assert do("HDEL", "h", "b", "c", "d") == 2
    assert do("EXISTS", "h") == 0


def test_hashes_that_shrink_and_grow_are_like_dicts(do: Do) -> None:
    models: dict[str, dict[bytes, bytes]] = {"one": {}, "two": {}, "three": {}}
    draw = random.Random(1)
    for _ in range(2000):
        key = draw.choice(list(models))
        field = b"f%d" % draw.randrange(12)
        value = b"v" * draw.choice((0, 1, 5, 30, 64, 65, 300))
        if draw.random() < 0.4:
            assert do("HDEL", key, field) == (models[key].pop(field, None) is not None)
        else:
            assert do("HSET", key, field, value) == (field not in models[key])
            models[key][field] = value
        assert do("HGET", key, field) == models[key].get(field)
        if draw.random() < 0.1:
            assert do("HGETALL", key) == models[key]


# Encodings


@pytest.mark.since("7.0")
def test_encoding(do: Do) -> None:
    fill(do, "h", 512)
    assert do("OBJECT", "ENCODING", "h") == b"listpack"
    do("HSET", "h", "one more", "v")
    assert do("OBJECT", "ENCODING", "h") == b"hashtable"
    do("HDEL", "h", *do("HKEYS", "h")[1:])
    assert do("OBJECT", "ENCODING", "h") == b"hashtable"
    for words in (("f", "v" * 64), ("f" * 64, "v")):
        do("DEL", "h")
        do("HSET", "h", *words)
        assert do("OBJECT", "ENCODING", "h") == b"listpack"
        do("HSET", "h", *(word + word[0] for word in words))
        assert do("OBJECT", "ENCODING", "h") == b"hashtable"
    do("DEL", "h")
    do("HINCRBYFLOAT", "h", "f", "1e70")
    assert do("OBJECT", "ENCODING", "h") == b"hashtable"


@pytest.mark.since("7.0")
def test_the_limits_of_encodings_are_configured(do: Do) -> None:
    do("CONFIG", "SET", "hash-max-listpack-entries", 3, "hash-max-listpack-value", 5)
    do("HSET", "h", "a", "12345", "b", "1", "c", "2")
    assert do("OBJECT", "ENCODING", "h") == b"listpack"
    do("HSET", "h", "a", "123456")
    assert do("OBJECT", "ENCODING", "h") == b"hashtable"
    do("HSET", "i", "a", "1", "b", "1", "c", "2", "d", "1")
    assert do("OBJECT", "ENCODING", "i") == b"hashtable"
    assert do("HLEN", "i") == 4


# Numbers


def test_hincrby(do: Do) -> None:
    assert do("HINCRBY", "h", "n", 5) == 5
    assert do("HINCRBY", "h", "n", -7) == -2
    assert do("HGETALL", "h") == {b"n": b"-2"}
    do("HSET", "h", "n", 2**63 - 1)
    with pytest.raises(redis.ResponseError, match="increment or decrement would overflow"):
        do("HINCRBY", "h", "n", 1)
    assert do("HINCRBY", "h", "n", -(2**63)) == -1
    with pytest.raises(redis.ResponseError, match="increment or decrement would overflow"):
        do("HINCRBY", "h", "n", -(2**63))
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        do("HINCRBY", "h", "n", 2**63)


@pytest.mark.parametrize("value", ["", " 1", "1 ", "01", "+1", "1_0", "1.0", "x", "9" * 30])
def test_hincrby_of_what_is_no_integer(do: Do, value: str) -> None:
    do("HSET", "h", "f", value)
    with pytest.raises(redis.ResponseError, match="hash value is not an integer"):
        do("HINCRBY", "h", "f", 1)
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        do("HINCRBY", "h", "g", value)
    assert do("HGETALL", "h") == {b"f": value.encode()}


def test_hincrbyfloat(do: Do, wire: Wire) -> None:
    for value, increment, expected in [
        ("0.1", "0.2", b"0.3"),
        ("5.0e3", "200", b"5200"),
        ("10.50", "0.1", b"10.6"),
        ("1234567.1", "0.2", b"1234567.30000000000006821"),
        ("0", "-0.0", b"0"),
        ("0", "1e17", b"100000000000000000"),
        ("1", "-1e-17", b"0.99999999999999999"),
    ]:
        do("HSET", "h", "f", value)
        assert wire.call("HINCRBYFLOAT", "h", "f", increment) == expected
        assert do("HGET", "h", "f") == expected
    assert wire.call("HINCRBYFLOAT", "h", "new", "3.0e3") == b"3000"


def test_hincrbyfloat_refuses(do: Do) -> None:
    for value in ("", " 1", "1 ", "nan", "x", "1_0"):
        do("HSET", "h", "f", value)
        with pytest.raises(redis.ResponseError, match="hash value is not a float"):
            do("HINCRBYFLOAT", "h", "f", 1)
        with pytest.raises(redis.ResponseError, match="value is not a valid float"):
            do("HINCRBYFLOAT", "h", "f", value)
    do("HSET", "h", "f", "inf")
    with pytest.raises(redis.ResponseError, match="increment would produce NaN or Infinity"):
        do("HINCRBYFLOAT", "h", "f", 1)
    with pytest.raises(redis.ResponseError, match="value is NaN or Infinity"):
        do("HINCRBYFLOAT", "h", "f", "-inf")
    with pytest.raises(redis.ResponseError, match="value is NaN or Infinity"):
        do("HINCRBYFLOAT", "none", "f", "inf")
    assert do("EXISTS", "none") == 0


# Random fields


@pytest.mark.parametrize("count", [5, 40, 1000])
def test_hrandfield(do: Do, count: int) -> None:
    pairs = fill(do, "h", count)
    assert do("HRANDFIELD", "h") in pairs
    for asked in (0, 1, 2, count // 2, count - 1, count, count + 5):
        fields = do("HRANDFIELD", "h", asked)
        assert len(fields) == len(set(fields)) == min(asked, count)
        assert set(fields) <= set(pairs)
    fields = do("HRANDFIELD", "h", -3 * count)
    assert len(fields) == 3 * count
    assert 1 < len(set(fields)) <= count


def test_hrandfield_with_values(wire: Wire) -> None:
    wire.call("HSET", "h", "a", "1", "b", "2", "c", "3")
    pairs = {b"a": b"1", b"b": b"2", b"c": b"3"}
    for count in (2, 3, 9, -7):
        flat = wire.call("HRANDFIELD", "h", count, "withvalues")
        assert len(flat) == 2 * (min(count, 3) if count > 0 else 7)
        assert all(
            pairs[field] == value for field, value in zip(flat[::2], flat[1::2], strict=True)
        )


@pytest.mark.parametrize("count", [8, 300])
def test_hrandfield_is_fair(do: Do, count: int) -> None:
    fill(do, "h", count)
    drawn: Counter[bytes] = Counter(do("HRANDFIELD", "h", -count * 100))
    assert len(drawn) == count
    assert max(drawn.values()) < 3 * min(drawn.values())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["x"], "value is not an integer or out of range"),
        ([-(2**63)], f"value is out of range, value must between -{2**63 - 1} and {2**63 - 1}"),
        ([2**63], "value is not an integer or out of range"),
        ([2**62, "WITHVALUES"], "value is out of range"),
        ([1, "x"], "syntax error"),
        ([1, "WITHVALUES", "x"], "syntax error"),
    ],
)
def test_hrandfield_refuses(do: Do, words: list[object], error: str) -> None:
    do("HSET", "h", "a", 1)
    with pytest.raises(redis.ResponseError, match=f"^{error}$"):
        do("HRANDFIELD", "h", *words)


@pytest.mark.ours("Redis builds the reply until its memory is gone")
def test_hrandfield_draws_no_more_than_a_reply_can_hold(do: Do) -> None:
    do("HSET", "h", "a", 1)
    with pytest.raises(redis.ResponseError, match=r"^value is out of range$"):
        do("HRANDFIELD", "h", -(2**62))


# Scanning


def scan(wire: Wire, key: str, *options: object) -> tuple[list[bytes], int]:
    """All that HSCAN returns, and in how many calls."""
    cursor, found, calls = b"0", list[bytes](), 0
    while calls == 0 or cursor != b"0":
        cursor, some = wire.call("HSCAN", key, cursor, *map(str, options))
        found += some
        calls += 1
    return found, calls


def test_hscan_of_a_small_hash_answers_at_once(wire: Wire) -> None:
    wire.call("HSET", "h", "a", "1", "b", "2", "ab", "3")
    assert wire.call("HSCAN", "h", "0", "COUNT", "1") == [
        b"0",
        [b"a", b"1", b"b", b"2", b"ab", b"3"],
    ]
    assert wire.call("HSCAN", "h", "0", "MATCH", "a*") == [b"0", [b"a", b"1", b"ab", b"3"]]
    assert wire.call("HSCAN", "h", "0", "match", "x*") == [b"0", []]


@pytest.mark.since("7.4")
def test_hscan_novalues(wire: Wire) -> None:
    wire.call("HSET", "h", "a", "1", "b", "2")
    assert wire.call("HSCAN", "h", "0", "NOVALUES") == [b"0", [b"a", b"b"]]
    wire.call("HSET", "h", *[str(word) for n in range(1000) for word in (n, "v")])
    fields, calls = scan(wire, "h", "NOVALUES")
    assert calls > 1
    assert len(set(fields)) == 1002


def test_hscan_returns_all_that_stays(wire: Wire) -> None:
    for n in range(0, 3000, 100):
        wire.call("HSET", "h", *[w for i in range(n, n + 100) for w in (f"f{i}", f"v{i}")])
    found, calls = scan(wire, "h")
    assert calls > 10
    assert dict(zip(found[::2], found[1::2], strict=True)) == {
        b"f%d" % n: b"v%d" % n for n in range(3000)
    }
    assert len(set(scan(wire, "h", "MATCH", "f1*", "COUNT", 100)[0][::2])) == 1111
    assert scan(wire, "h", "COUNT", 100_000)[1] == 1
    cursor, seen, extra = b"0", set[bytes](), 0
    while True:
        cursor, some = wire.call("HSCAN", "h", cursor)
        seen.update(some[::2])
        if cursor == b"0":
            break
        for _ in range(5):
            wire.call("HSET", "h", f"extra{extra}", "v")
            wire.call("HDEL", "h", f"f{2000 + extra % 1000}")
            extra += 1
    assert {b"f%d" % n for n in range(2000)} <= seen


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["x"], "invalid cursor"),
        ([" 0"], "invalid cursor"),
        ([2**64], "invalid cursor"),
        ([0, "COUNT", "x"], "value is not an integer or out of range"),
        ([0, "COUNT", 0], "syntax error"),
        ([0, "COUNT", -1], "syntax error"),
        ([0, "COUNT"], "syntax error"),
        ([0, "MATCH"], "syntax error"),
        ([0, "TYPE", "hash"], "syntax error"),
        ([0, "x", "y"], "syntax error"),
    ],
)
def test_hscan_refuses(do: Do, words: list[object], error: str) -> None:
    do("HSET", "h", "a", 1)
    with pytest.raises(redis.ResponseError, match=f"^{error}$"):
        do("HSCAN", "h", *words)


def test_hscan_of_nothing_looks_at_the_cursor_alone(do: Do) -> None:
    assert do("HSCAN", "none", 0, "nonsense") == (0, {})
    with pytest.raises(redis.ResponseError, match=r"^invalid cursor$"):
        do("HSCAN", "none", "x")
    do("SET", "s", "text")
    with pytest.raises(redis.ResponseError, match=WRONG.removeprefix("WRONGTYPE ")):
        do("HSCAN", "s", 0, "nonsense")


# Events


def test_events(wire: Wire, do: Do) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    wire.call("SUBSCRIBE", "__keyspace@0__:h")
    for words in (
        ("HSET", "h", "a", 1),
        ("HSET", "h", "a", 1),
        ("HMSET", "h", "a", 1),
        ("HSETNX", "h", "a", 1),
        ("HSETNX", "h", "b", 1),
        ("HINCRBY", "h", "b", 1),
        ("HINCRBYFLOAT", "h", "b", 1),
        ("HDEL", "h", "none"),
        ("HDEL", "h", "a", "b"),
    ):
        do(*words)
    do("PUBLISH", "__keyspace@0__:h", "end")
    told: list[Any] = []
    while not told or told[-1] != b"end":
        message = wire.reply()
        assert isinstance(message, list)
        told.append(message[2])
    assert told == [
        *(b"hset", b"hset", b"hset", b"hset", b"hincrby", b"hincrbyfloat", b"hdel", b"del", b"end")
    ]


def test_what_changes_nothing_spoils_no_transaction(client: redis.Redis, do: Do) -> None:
    client.hset("h", "a", "1")
    for harmless in (("HDEL", "h", "x"), ("HSETNX", "h", "a", "2"), ("HGET", "h", "a")):
        with client.pipeline() as pipe:
            pipe.watch("h")
            do(*harmless)
            pipe.multi()
            pipe.hlen("h")
            assert pipe.execute() == [1]
    with client.pipeline() as pipe:
        pipe.watch("h")
        client.hset("h", "a", "1")
        pipe.multi()
        pipe.hlen("h")
        with pytest.raises(redis.WatchError):
            pipe.execute()
