"""The hash commands that give fields a time to live."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.support import Wire, encode, eventually

pytestmark = pytest.mark.since("7.4")

Do = Callable[..., Any]

NO_FIELD, NO_DEADLINE, REFUSED, GIVEN, DELETED = -2, -1, 0, 1, 2

EXPIRING = ["HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"]
ASKING = ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"]
LATEST_MS = 2**46 - 1


@pytest.fixture
def do(client: redis.Redis) -> Do:
    return client.execute_command


def soon(name: str, ms: int = 100_000) -> int:
    """The time word for a deadline in so many milliseconds."""
    at = ms if name in ("HEXPIRE", "HPEXPIRE") else ms + time.time_ns() // 1_000_000
    return at if name.startswith("HP") else at // 1000


def pass_by(do: Do, key: str, *fields: str) -> None:
    """Give fields a deadline, and come back after it."""
    assert do("HPEXPIRE", key, 1, "FIELDS", len(fields), *fields) == [GIVEN] * len(fields)
    deadline = time.time_ns() // 1_000_000 + 5
    eventually(lambda: time.time_ns() // 1_000_000 > deadline)


@pytest.mark.parametrize("name", EXPIRING)
def test_fields_get_a_deadline(do: Do, name: str) -> None:
    do("HSET", "h", "a", 1, "b", 2, "c", 3)
    asked = do(name, "h", soon(name), "FIELDS", 3, "a", "none", "b")
    assert asked == [GIVEN, NO_FIELD, GIVEN]
    (left, stays, missing) = do("HPTTL", "h", "FIELDS", 3, "a", "c", "none")
    assert 90_000 < left <= 100_000
    assert (stays, missing) == (NO_DEADLINE, NO_FIELD)
    assert 90 < do("HTTL", "h", "FIELDS", 1, "b")[0] <= 100
    (at_ms,) = do("HPEXPIRETIME", "h", "FIELDS", 1, "a")
    assert abs(at_ms - time.time() * 1000 - 100_000) < 10_000
    assert do("HEXPIRETIME", "h", "FIELDS", 1, "a") == [-(-at_ms // 1000)]
    assert do("OBJECT", "ENCODING", "h") == b"listpackex"
    assert do("HGETALL", "h") == {b"a": b"1", b"b": b"2", b"c": b"3"}


@pytest.mark.parametrize("name", EXPIRING)
def test_past_deadlines_delete(do: Do, name: str) -> None:
    do("HSET", "h", "a", 1, "b", 2)
    assert do(name, "h", 0, "FIELDS", 3, "a", "none", "a") == [DELETED, NO_FIELD, NO_FIELD]
    assert do("HGETALL", "h") == {b"b": b"2"}
    assert do(name, "h", 0, "NX", "FIELDS", 1, "b") == [DELETED]
    assert do("EXISTS", "h") == 0


@pytest.mark.parametrize("name", EXPIRING)
def test_conditions(do: Do, name: str) -> None:
    early, middle, late = (soon(name, ms) for ms in (50_000, 60_000, 70_000))

    def give(condition: str, at: int) -> list[int]:
        do("DEL", "h")
        do("HSET", "h", "without", 1, "with", 2)
        do(name, "h", middle, "FIELDS", 1, "with")
        answer: list[int] = do(name, "h", at, condition, "FIELDS", 2, "without", "with")
        return answer

    assert give("NX", late) == [GIVEN, REFUSED]
    assert give("xx", late) == [REFUSED, GIVEN]
    assert give("GT", late) == [REFUSED, GIVEN]
    assert give("gt", early) == [REFUSED, REFUSED]
    assert give("LT", late) == [GIVEN, REFUSED]
    assert give("lt", early) == [GIVEN, GIVEN]
    assert give("GT", 0) == [REFUSED, REFUSED]
    assert give("LT", 0) == [DELETED, DELETED]
    if name.endswith("AT"):
        assert give("LT", middle) == [GIVEN, REFUSED]
        assert give("GT", middle) == [REFUSED, REFUSED]


def test_missing_keys(do: Do) -> None:
    for name in EXPIRING:
        assert do(name, "none", 100, "FIELDS", 2, "a", "b") == [NO_FIELD, NO_FIELD]
        assert do(name, "none", 0, "FIELDS", 1, "a") == [NO_FIELD]
    for name in ASKING:
        assert do(name, "none", "FIELDS", 2, "a", "b") == [NO_FIELD, NO_FIELD]
    assert do("EXISTS", "none") == 0


def test_wrong_type_comes_first(do: Do) -> None:
    do("SET", "s", "text")
    for name in EXPIRING:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            do(name, "s", "x", "FIELDS", 1, "a")
    for name in ASKING:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            do(name, "s", "x", 1, "a")


MISSING = "Mandatory argument FIELDS is missing or not at the right position"
MISMATCH = "The `numfields` parameter must match the number of arguments"
FEW = "Parameter `numFields` should be greater than 0"


@pytest.mark.parametrize("name", EXPIRING)
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("x", "FIELDS", 1, "a"), "value is not an integer or out of range"),
        ((2**63, "FIELDS", 1, "a"), "value is not an integer or out of range"),
        ((-1, "FIELDS", 1, "a"), "invalid expire time, must be >= 0"),
        ((-(2**63), "FIELDS", 1, "a"), "invalid expire time, must be >= 0"),
        ((10, "FIELD", 1, "a"), MISSING),
        ((10, "NX", "XX", "FIELDS", 1, "a"), MISSING),
        ((10, "a", "FIELDS", 1), MISSING),
        ((10, "FIELDS", 0, "a"), FEW),
        ((10, "FIELDS", -1, "a"), FEW),
        ((10, "FIELDS", "x", "a"), FEW),
        ((10, "FIELDS", 2, "a"), MISMATCH),
        ((10, "FIELDS", 1, "a", "b"), MISMATCH),
        ((10, "NX", "FIELDS", 1), MISMATCH),
    ],
)
def test_expiring_refuses(do: Do, name: str, words: tuple[object, ...], error: str) -> None:
    do("HSET", "h", "a", 1)
    for key in ("h", "none"):
        with pytest.raises(redis.ResponseError) as raised:
            do(name, key, *words)
        assert str(raised.value) == error
    assert do("HTTL", "h", "FIELDS", 1, "a") == [NO_DEADLINE]


@pytest.mark.parametrize("name", EXPIRING)
def test_the_latest_deadline(do: Do, name: str) -> None:
    do("HSET", "h", "a", 1)
    most = LATEST_MS if name.startswith("HP") else LATEST_MS // 1000
    now = 0 if name.endswith("AT") else int(time.time() * (1000 if name == "HPEXPIRE" else 1))
    for late in (most - now + 100_000, 2**63 - 1):
        with pytest.raises(redis.ResponseError, match=f"invalid expire time in '{name.lower()}'"):
            do(name, "h", late, "FIELDS", 1, "a")
    assert do(name, "h", most - now - 100_000, "FIELDS", 1, "a") == [GIVEN]


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("FIELD", 1, "a"), MISSING),
        (("FIELDS", 0, "a"), "Number of fields must be a positive integer"),
        (("FIELDS", "x", "a"), "Number of fields must be a positive integer"),
        (("FIELDS", 2, "a"), MISMATCH),
        (("FIELDS", 1, "a", "b"), MISMATCH),
    ],
)
def test_asking_refuses(do: Do, name: str, words: tuple[object, ...], error: str) -> None:
    do("HSET", "h", "a", 1)
    for key in ("h", "none"):
        with pytest.raises(redis.ResponseError) as raised:
            do(name, key, *words)
        assert str(raised.value) == error


@pytest.mark.parametrize(("name", "least"), [(n, 6) for n in EXPIRING] + [(n, 5) for n in ASKING])
def test_wrong_arity(do: Do, name: str, least: int) -> None:
    words = (name, "h", 10, "FIELDS", 1, "a") if least == 6 else (name, "h", "FIELDS", 1, "a")
    for count in range(1, least):
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words[:count])


def test_hpersist(do: Do) -> None:
    do("HSET", "h", "a", 1, "b", 2)
    do("HEXPIRE", "h", 100, "FIELDS", 1, "a")
    answer = do("HPERSIST", "h", "FIELDS", 3, "a", "b", "none")
    assert answer == [GIVEN, NO_DEADLINE, NO_FIELD]
    assert do("HTTL", "h", "FIELDS", 2, "a", "b") == [NO_DEADLINE, NO_DEADLINE]
    assert do("HPERSIST", "h", "FIELDS", 1, "a") == [NO_DEADLINE]


def test_writing_a_field_takes_its_deadline_off(do: Do) -> None:
    writes: list[tuple[object, ...]] = [
        ("HSET", "h", "a", 1),
        ("HSET", "h", "a", 1, "b", 2),
        ("HMSET", "h", "a", 1),
    ]
    for write in writes:
        do("HSET", "h", "a", 1, "stays", 1)
        do("HEXPIRE", "h", 100, "FIELDS", 2, "a", "stays")
        do(*write)
        assert do("HTTL", "h", "FIELDS", 1, "a") == [NO_DEADLINE], write
        assert do("HTTL", "h", "FIELDS", 1, "stays")[0] > 90
    for write in (("HINCRBY", "h", "a", 1), ("HINCRBYFLOAT", "h", "a", "0.5")):
        do("HEXPIRE", "h", 100, "FIELDS", 1, "a")
        do(*write)
        assert do("HTTL", "h", "FIELDS", 1, "a")[0] > 90
    do("HDEL", "h", "a")
    do("HSET", "h", "a", 1)
    assert do("HTTL", "h", "FIELDS", 1, "a") == [NO_DEADLINE]


@pytest.mark.parametrize("size", [4, 300])
def test_fields_go_by_themselves(do: Do, size: int) -> None:
    do("HSET", "h", *[word for n in range(size) for word in (f"f{n}", n)])
    do("HPEXPIRE", "h", 20, "FIELDS", size // 2, *[f"f{n}" for n in range(size // 2)])
    do("HSET", "all", "a", 1, "b", 2)
    do("HPEXPIRE", "all", 20, "FIELDS", 2, "a", "b")
    eventually(lambda: do("DBSIZE") == 1)
    eventually(lambda: do("HLEN", "h") == size - size // 2)
    assert set(do("HKEYS", "h")) == {b"f%d" % n for n in range(size // 2, size)}


def test_many_fields_at_many_times(do: Do) -> None:
    draw = random.Random(1)
    for start in range(0, 2000, 100):
        names = [f"f{n}" for n in range(start, start + 100)]
        do("HSET", "h", *[word for name in names for word in (name, "v")])
        do("HPEXPIRE", "h", draw.randrange(1, 400), "FIELDS", 100, *names)
    do("HSET", "h", "stays", 1)
    eventually(lambda: do("HLEN", "h") == 1)
    assert do("HGETALL", "h") == {b"stays": b"1"}


@pytest.mark.ours("Redis still counts, and finds the key, until it removes the fields")
def test_fields_past_their_deadlines_are_never_seen(do: Do) -> None:
    looks: list[tuple[tuple[object, ...], object]] = [
        (("HGET", "h", "a"), None),
        (("HMGET", "h", "a", "b"), [None, b"2"]),
        (("HGETALL", "h"), {b"b": b"2"}),
        (("HKEYS", "h"), [b"b"]),
        (("HVALS", "h"), [b"2"]),
        (("HLEN", "h"), 1),
        (("HSTRLEN", "h", "a"), 0),
        (("HEXISTS", "h", "a"), 0),
        (("HDEL", "h", "a"), 0),
        (("HRANDFIELD", "h", -3), [b"b"] * 3),
        (("HSCAN", "h", 0), (0, {b"b": b"2"})),
        (("HSETNX", "h", "a", 5), 1),
        (("HINCRBY", "h", "a", 5), 5),
        (("HSET", "h", "a", 5), 1),
        (("HTTL", "h", "FIELDS", 1, "a"), [NO_FIELD]),
        (("HPERSIST", "h", "FIELDS", 1, "a"), [NO_FIELD]),
        (("HEXPIRE", "h", 100, "FIELDS", 1, "a"), [NO_FIELD]),
        (("HPEXPIREAT", "h", 1, "FIELDS", 1, "a"), [NO_FIELD]),
    ]
    for command, expected in looks:
        do("DEL", "h")
        do("HSET", "h", "a", 1, "b", 2)
        pass_by(do, "h", "a")
        assert do(*command) == expected, command
    for command, expected in [
        (("EXISTS", "h"), 0),
        (("TYPE", "h"), b"none"),
        (("HLEN", "h"), 0),
        (("OBJECT", "ENCODING", "h"), None),
        (("COPY", "h", "other"), 0),
        (("HSETNX", "h", "a", 2), 1),
        (("APPEND", "h", "text"), 4),
    ]:
        do("DEL", "h")
        do("HSET", "h", "a", 1)
        pass_by(do, "h", "a")
        assert do(*command) == expected, command


@pytest.mark.parametrize("command", ["RENAME", "COPY"])
def test_deadlines_go_along(do: Do, command: str) -> None:
    do("HSET", "h", "a", 1, "b", 2)
    do("SET", "other", "text")
    do("HPEXPIRE", "h", 100, "FIELDS", 1, "a")
    do("HEXPIRE", "h", 100, "FIELDS", 1, "b")
    do(command, "h", "other", *(["REPLACE"] if command == "COPY" else []))
    assert do("HTTL", "other", "FIELDS", 1, "b")[0] > 90
    eventually(lambda: do("HLEN", "other") == 1)
    if command == "COPY":
        eventually(lambda: do("HLEN", "h") == 1)


def test_deadlines_move_to_another_database(do: Do, wire: Wire) -> None:
    # Time stands still within a transaction, so that it is there to be moved.
    wire.call("MULTI")
    wire.call("HSET", "h", "a", 1)
    wire.call("HPEXPIRE", "h", 50, "FIELDS", 1, "a")
    wire.call("MOVE", "h", 9)
    assert wire.call("EXEC") == [1, [GIVEN], 1]
    do("SWAPDB", 9, 10)
    do("SELECT", 10)
    eventually(lambda: do("DBSIZE") == 0)
    do("SELECT", 0)


def test_a_key_that_was_replaced_keeps_its_fields(do: Do) -> None:
    for replace in (("DEL", "h"), ("SET", "h", "text"), ("FLUSHALL",)):
        do("DEL", "h")
        do("HSET", "h", "a", 1, "b", 1)
        do("HPEXPIRE", "h", 10, "FIELDS", 1, "a")
        do(*replace)
        do("DEL", "h")
        do("HSET", "h", "a", 2)
        do("HSET", "witness", "a", 1)
        do("HPEXPIRE", "witness", 50, "FIELDS", 1, "a")
        eventually(lambda: do("EXISTS", "witness") == 0)
        assert do("HGETALL", "h") == {b"a": b"2"}


def test_events(do: Do, wire: Wire) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    wire.call("SUBSCRIBE", "__keyspace@0__:h")
    do("HSET", "h", "a", 1, "b", 2, "c", 3, "d", 4)
    do("HEXPIRE", "h", 100, "FIELDS", 2, "a", "b")
    do("HEXPIRE", "h", 100, "NX", "FIELDS", 2, "a", "none")
    do("HPERSIST", "h", "FIELDS", 2, "a", "c")
    do("HPERSIST", "h", "FIELDS", 1, "a")
    do("HEXPIRE", "h", 0, "FIELDS", 2, "a", "b")
    pass_by(do, "h", "c")
    do("HGETALL", "h")
    pass_by(do, "h", "d")
    do("HGETALL", "h")
    do("HSET", "h", "a", 1)
    do("HEXPIRE", "h", 0, "FIELDS", 1, "a")
    do("PUBLISH", "__keyspace@0__:h", "end")
    told: list[Any] = []
    while not told or told[-1] != b"end":
        message = wire.reply()
        assert isinstance(message, list)
        told.append(message[2])
    assert told == [
        *(b"hset", b"hexpire", b"hpersist", b"hdel", b"hexpire", b"hexpired", b"hexpire"),
        *(b"hexpired", b"del", b"hset", b"hdel", b"del", b"end"),
    ]


def test_a_transaction_fails_when_a_watched_hash_loses_a_field(wire: Wire) -> None:
    wire.call("HSET", "h", "a", 1, "b", 2)
    # In one piece, so that the field is there when the hash begins to be watched.
    wire.send(encode("HPEXPIRE", "h", 20, "FIELDS", 1, "a") + encode("WATCH", "h"))
    assert wire.reply() == [GIVEN]
    assert wire.reply() == b"OK"
    eventually(lambda: wire.call("HLEN", "h") == 1)
    wire.call("MULTI")
    wire.call("PING")
    assert wire.call("EXEC") is None
