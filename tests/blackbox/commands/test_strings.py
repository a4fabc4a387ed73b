"""The string commands."""

import time

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Wire

WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = b"ERR value is not an integer or out of range"
NOT_FLOAT = b"ERR value is not a valid float"
SYNTAX = b"ERR syntax error"
TOO_LONG = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"

FIXED = [
    *("GET k", "GETDEL k", "GETSET k v", "SETNX k v", "SETEX k 10 v", "PSETEX k 10 v"),
    *("APPEND k v", "STRLEN k", "SETRANGE k 0 v", "GETRANGE k 0 1", "SUBSTR k 0 1"),
    *("INCR k", "DECR k", "INCRBY k 1", "DECRBY k 1", "INCRBYFLOAT k 1"),
]
OPEN = ["SET k v", "GETEX k", "MGET k", "MSET k v", "MSETNX k v", "LCS k other"]
WHATEVER = ("SET", "SETNX", "SETEX", "PSETEX", "MGET", "MSET", "MSETNX", "LCS")
"""Commands that take a key of any type, or say so in their own way."""


@pytest.mark.parametrize("line", FIXED + OPEN)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    name = words[0].lower().encode()
    expected = b"ERR wrong number of arguments for '%b' command" % name
    for count in range(1, len(words)):
        assert ask(*words[:count]) == expected
    if line in FIXED:
        assert ask(*words, "more") == expected


@pytest.mark.parametrize("line", FIXED + OPEN)
def test_wrong_type(ask: Ask, line: str) -> None:
    words = line.split()
    ask("RPUSH", "k", "a")
    if words[0] not in WHATEVER:
        assert ask(*words) == WRONGTYPE
        assert ask("LRANGE", "k", 0, -1) == [b"a"]


def deadline_in(ask: Ask, key: str, seconds: int) -> bool:
    """Whether the key has about so many seconds to live, give or take a slow machine."""
    left = ask("PTTL", key)
    return isinstance(left, int) and (seconds - 60) * 1000 < left <= seconds * 1000


# SET and GET


def test_set_and_get(ask: Ask) -> None:
    assert ask("GET", "k") is None
    assert ask("SET", "k", "v") == b"OK"
    assert ask("GET", "k") == b"v"
    assert ask("SET", "k", "") == b"OK"
    assert ask("GET", "k") == b""
    binary = bytes(range(256)) * 300
    ask("SET", binary, binary)
    assert ask("GET", binary) == binary


def test_set_takes_the_place_of_any_type_and_deadline(ask: Ask) -> None:
    ask("RPUSH", "k", "a")
    ask("EXPIRE", "k", 100)
    assert ask("SET", "k", "v") == b"OK"
    assert ask("GET", "k") == b"v"
    assert ask("TTL", "k") == -1


def test_set_nx_and_xx(ask: Ask) -> None:
    assert ask("SET", "k", "1", "XX") is None
    assert ask("EXISTS", "k") == 0
    assert ask("SET", "k", "1", "nx") == b"OK"
    assert ask("SET", "k", "2", "NX") is None
    assert ask("GET", "k") == b"1"
    assert ask("SET", "k", "3", "XX") == b"OK"
    assert ask("GET", "k") == b"3"


def test_set_get(ask: Ask) -> None:
    assert ask("SET", "k", "1", "GET") is None
    assert ask("SET", "k", "2", "GET") == b"1"
    assert ask("SET", "k", "3", "GET", "NX") == b"2"
    assert ask("GET", "k") == b"2"
    assert ask("SET", "other", "x", "XX", "GET") is None
    assert ask("EXISTS", "other") == 0
    ask("RPUSH", "list", "a")
    assert ask("SET", "list", "x", "GET") == WRONGTYPE
    assert ask("LLEN", "list") == 1


@pytest.mark.parametrize(
    ("option", "scale", "start"), [("EX", 1, 0), ("PX", 1000, 0), ("EXAT", 1, 1), ("PXAT", 1000, 1)]
)
@pytest.mark.parametrize("name", ["SET", "GETEX"])
def test_deadlines(ask: Ask, name: str, option: str, scale: int, start: int) -> None:
    ask("SET", "k", "v")
    value = ["v"] if name == "SET" else []
    moment = (100 + start * int(time.time())) * scale
    assert ask(name, "k", *value, option, moment) == (b"OK" if value else b"v")
    assert deadline_in(ask, "k", 100)


def test_keepttl(ask: Ask) -> None:
    ask("SET", "k", "v", "EX", 100)
    ask("SET", "k", "w", "KEEPTTL")
    assert ask("GET", "k") == b"w"
    assert deadline_in(ask, "k", 100)
    ask("SET", "k", "x")
    assert ask("TTL", "k") == -1


@pytest.mark.parametrize(
    "options",
    [
        *("NX XX", "EX", "PX", "EX 10 PX 10", "EX 10 KEEPTTL", "KEEPTTL PXAT 10", "FOO"),
        *("EX 10 EXAT 10", "PERSIST", "10"),
    ],
)
def test_set_syntax(ask: Ask, options: str) -> None:
    assert ask("SET", "k", "v", *options.split()) == SYNTAX
    assert ask("EXISTS", "k") == 0


@pytest.mark.parametrize(
    ("option", "word", "expected"),
    [
        ("EX", "0", "invalid"),
        ("EX", "-1", "invalid"),
        ("EX", "abc", "integer"),
        ("EX", "1.5", "integer"),
        ("EX", "9223372036854775807", "invalid"),
        ("EX", "9223372036854775", "invalid"),
        ("EX", "9223372036854775808", "integer"),
        ("PX", "0", "invalid"),
        ("PX", "9223372036854775807", "invalid"),
        ("EXAT", "0", "invalid"),
        ("EXAT", "9223372036854776", "invalid"),
        ("PXAT", "-5", "invalid"),
    ],
)
def test_times_that_are_none(ask: Ask, option: str, word: str, expected: str) -> None:
    texts = {
        "invalid": b"ERR invalid expire time in '%b' command",
        "integer": NOT_INTEGER + b"%.0b",
    }
    text = texts[expected]
    ask("SET", "k", "old")
    assert ask("SET", "k", "v", option, word) == text % b"set"
    assert ask("GETEX", "k", option, word) == text % b"getex"
    if option == "EX":
        assert ask("SETEX", "k", word, "v") == text % b"setex"
    if option == "PX":
        assert ask("PSETEX", "k", word, "v") == text % b"psetex"
    assert ask("GET", "k") == b"old"
    assert ask("TTL", "k") == -1


def test_the_last_of_repeated_times_counts(ask: Ask) -> None:
    assert ask("SET", "k", "v", "EX", 100, "EX", 10_000) == b"OK"
    assert deadline_in(ask, "k", 10_000)


def test_a_time_in_the_past_deletes(ask: Ask) -> None:
    ask("SET", "k", "v")
    assert ask("GETEX", "k", "PXAT", 1000) == b"v"
    assert ask("EXISTS", "k") == 0
    assert ask("SET", "k", "v", "EXAT", 1) == b"OK"
    assert ask("EXISTS", "k") == 0


def test_setnx(ask: Ask) -> None:
    assert ask("SETNX", "k", "1") == 1
    assert ask("SETNX", "k", "2") == 0
    assert ask("GET", "k") == b"1"
    ask("RPUSH", "list", "a")
    assert ask("SETNX", "list", "x") == 0


def test_setex_and_psetex(ask: Ask) -> None:
    ask("RPUSH", "k", "a")
    assert ask("SETEX", "k", 100, "v") == b"OK"
    assert ask("GET", "k") == b"v"
    assert deadline_in(ask, "k", 100)
    assert ask("PSETEX", "k", 500_000, "w") == b"OK"
    assert ask("GET", "k") == b"w"
    assert deadline_in(ask, "k", 500)


def test_getex(ask: Ask) -> None:
    assert ask("GETEX", "k", "EX", 10) is None
    ask("SET", "k", "v", "EX", 100)
    assert ask("GETEX", "k") == b"v"
    assert deadline_in(ask, "k", 100)
    assert ask("GETEX", "k", "PERSIST") == b"v"
    assert ask("TTL", "k") == -1
    assert ask("GETEX", "k", "persist") == b"v"
    for options in ("PERSIST EX 10", "EX", "FOO", "NX", "KEEPTTL", "EX 10 PX 10"):
        assert ask("GETEX", "k", *options.split()) == SYNTAX
    assert ask("GETEX", "missing", "EX", "abc") is None


def test_getdel(ask: Ask) -> None:
    assert ask("GETDEL", "k") is None
    ask("SET", "k", "v")
    assert ask("GETDEL", "k") == b"v"
    assert ask("EXISTS", "k") == 0


def test_getset(ask: Ask) -> None:
    assert ask("GETSET", "k", "1") is None
    ask("EXPIRE", "k", 100)
    assert ask("GETSET", "k", "2") == b"1"
    assert ask("GET", "k") == b"2"
    assert ask("TTL", "k") == -1


# Several keys


def test_mget(ask: Ask) -> None:
    ask("SET", "a", "1")
    ask("SETRANGE", "b", 0, "2")
    ask("RPUSH", "list", "x")
    assert ask("MGET", "a", "missing", "b", "list", "a") == [b"1", None, b"2", None, b"1"]
    assert ask("MGET", "missing") == [None]


def test_mset(ask: Ask) -> None:
    ask("RPUSH", "a", "x")
    ask("SET", "b", "old", "EX", 100)
    assert ask("MSET", "a", "1", "b", "2", "a", "3") == b"OK"
    assert ask("MGET", "a", "b") == [b"3", b"2"]
    assert ask("TTL", "b") == -1


def test_msetnx(ask: Ask) -> None:
    assert ask("MSETNX", "a", "1", "b", "2") == 1
    assert ask("MSETNX", "c", "3", "b", "4") == 0
    assert ask("MGET", "a", "b", "c") == [b"1", b"2", None]
    assert ask("MSETNX", "d", "1", "d", "2") == 1
    assert ask("GET", "d") == b"2"


@pytest.mark.parametrize("name", ["MSET", "MSETNX"])
def test_keys_and_values_come_in_pairs(ask: Ask, name: str) -> None:
    expected = b"ERR wrong number of arguments for '%b' command" % name.lower().encode()
    assert ask(name, "a", "1", "b") == expected
    assert ask("EXISTS", "a") == 0


# Parts of strings


def test_append(ask: Ask) -> None:
    assert ask("APPEND", "k", "foo") == 3
    assert ask("APPEND", "k", "bar") == 6
    assert ask("GET", "k") == b"foobar"
    assert ask("APPEND", "k", "") == 6
    ask("SET", "n", "12", "EX", 100)
    assert ask("APPEND", "n", "3") == 3
    assert ask("INCR", "n") == 124
    assert deadline_in(ask, "n", 100)


def test_a_string_grows_by_many_small_parts(ask: Ask) -> None:
    for part in range(1000):
        ask("APPEND", "k", b"%04d" % part)
    assert ask("GET", "k") == b"".join(b"%04d" % part for part in range(1000))
    assert ask("STRLEN", "k") == 4000


def test_strlen(ask: Ask) -> None:
    assert ask("STRLEN", "k") == 0
    ask("SET", "k", "-555")
    assert ask("STRLEN", "k") == 4


def test_setrange(ask: Ask) -> None:
    assert ask("SETRANGE", "k", 0, "") == 0
    assert ask("SETRANGE", "k", 5, "") == 0
    assert ask("EXISTS", "k") == 0
    assert ask("SETRANGE", "k", 2, "foo") == 5
    assert ask("GET", "k") == b"\0\0foo"
    assert ask("SETRANGE", "k", 1, "BAR") == 5
    assert ask("GET", "k") == b"\0BARo"
    assert ask("SETRANGE", "k", 4, "12") == 6
    assert ask("SETRANGE", "k", 3, "") == 6
    assert ask("GET", "k") == b"\0BAR12"


@pytest.mark.parametrize("key", ["k", "missing"])
def test_setrange_out_of_range(ask: Ask, key: str) -> None:
    ask("SET", "k", "v")
    assert ask("SETRANGE", key, -1, "x") == b"ERR offset is out of range"
    assert ask("SETRANGE", key, "abc", "x") == NOT_INTEGER
    assert ask("SETRANGE", key, 2**29, "x") == TOO_LONG
    assert ask("SETRANGE", key, 2**63 - 1, "x") == TOO_LONG
    assert ask("STRLEN", key) == (1 if key == "k" else 0)


def test_proto_max_bulk_len_limits_append(ask: Ask) -> None:
    assert ask("CONFIG", "SET", "proto-max-bulk-len", 1024 * 1024) == b"OK"
    ask("SETRANGE", "k", 2**20 - 2, "x")
    assert ask("APPEND", "k", "xx") == TOO_LONG
    assert ask("APPEND", "k", "x") == 2**20
    assert ask("APPEND", "k", "x") == TOO_LONG
    assert ask("STRLEN", "k") == 2**20


@pytest.mark.parametrize("name", ["GETRANGE", "SUBSTR"])
def test_getrange(ask: Ask, name: str) -> None:
    assert ask(name, "k", 0, -1) == b""
    ask("SET", "k", "Hello World")
    for start, end, expected in [
        (0, 3, b"Hell"),
        (0, -1, b"Hello World"),
        (-4, -1, b"orld"),
        (5, 3, b""),
        (5, 5000, b" World"),
        (-5000, 10000, b"Hello World"),
        (20, 30, b""),
        (0, -500, b"H"),
        (-1, -5, b""),
        (2**63 - 1, -(2**63), b""),
    ]:
        assert ask(name, "k", start, end) == expected
    assert ask(name, "k", "a", 1) == NOT_INTEGER
    assert ask(name, "k", 0, 2**63) == NOT_INTEGER
    ask("SETRANGE", "k", 5, "-")
    assert ask(name, "k", 4, 6) == b"o-W"


# Numbers


def test_integers(ask: Ask) -> None:
    assert ask("INCR", "k") == 1
    assert ask("INCRBY", "k", 10) == 11
    assert ask("DECRBY", "k", 5) == 6
    assert ask("DECR", "k") == 5
    assert ask("DECR", "other") == -1
    assert ask("INCRBY", "k", -100) == -95
    assert ask("GET", "k") == b"-95"


def test_counting_keeps_the_deadline(ask: Ask) -> None:
    ask("SET", "k", "1", "EX", 100)
    ask("INCR", "k")
    ask("INCRBYFLOAT", "k", "0.5")
    assert deadline_in(ask, "k", 100)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "01", "+1", "1.0", "1_0", "abc", "1" * 20])
def test_values_that_are_no_integers(ask: Ask, text: str) -> None:
    ask("SET", "k", text)
    for words in (["INCR", "k"], ["DECR", "k"], ["INCRBY", "k", 1], ["DECRBY", "k", 1]):
        assert ask(*words) == NOT_INTEGER
    ask("SET", "k", "1")
    assert ask("INCRBY", "k", text) == NOT_INTEGER
    assert ask("DECRBY", "k", text) == NOT_INTEGER
    assert ask("GET", "k") == b"1"


def test_integers_do_not_overflow(ask: Ask) -> None:
    overflow = b"ERR increment or decrement would overflow"
    ask("SET", "k", 2**63 - 1)
    assert ask("INCR", "k") == overflow
    assert ask("INCRBY", "k", 1) == overflow
    assert ask("DECRBY", "k", -1) == overflow
    assert ask("INCRBY", "k", -(2**63)) == -1
    ask("SET", "k", -(2**63))
    assert ask("DECR", "k") == overflow
    assert ask("DECRBY", "k", 1) == overflow
    assert ask("DECRBY", "k", -(2**63)) == b"ERR decrement would overflow"
    assert ask("GET", "k") == b"-9223372036854775808"


@pytest.mark.parametrize(
    ("value", "amount", "expected"),
    [
        (None, "0.1", b"0.1"),
        ("0.1", "0.2", b"0.3"),
        ("10.50", "0.1", b"10.6"),
        ("3.0e3", "200", b"3200"),
        ("1", "-1.1", b"-0.1"),
        ("17179869184", "1.5", b"17179869185.5"),
        ("1e18", "1", b"1000000000000000001"),
        ("5", "-5", b"0"),
        ("-0.1", "0.1", b"0"),
        ("0x10", "1", b"17"),
    ],
)
def test_incrbyfloat(ask: Ask, value: str | None, amount: str, expected: bytes) -> None:
    if value is not None:
        ask("SET", "k", value)
    assert ask("INCRBYFLOAT", "k", amount) == expected
    assert ask("GET", "k") == expected


@pytest.mark.parametrize("text", ["", " 1", "1 ", "abc", "nan", "1_0", "1e5000"])
def test_values_that_are_no_numbers(ask: Ask, text: str) -> None:
    ask("SET", "k", text)
    assert ask("INCRBYFLOAT", "k", "1") == NOT_FLOAT
    ask("SET", "k", "1")
    assert ask("INCRBYFLOAT", "k", text) == NOT_FLOAT
    assert ask("GET", "k") == b"1"


def test_numbers_stay_finite(ask: Ask) -> None:
    ask("SET", "k", "1")
    expected = b"ERR increment would produce NaN or Infinity"
    assert ask("INCRBYFLOAT", "k", "inf") == expected
    assert ask("INCRBYFLOAT", "k", "-Infinity") == expected
    assert ask("GET", "k") == b"1"


# LCS


def test_lcs(ask: Ask) -> None:
    ask("MSET", "a", "ohmytext", "b", "mynewtext")
    assert ask("LCS", "a", "b") == b"mytext"
    assert ask("LCS", "a", "b", "LEN") == 6
    assert ask("LCS", "a", "b", "IDX") == [
        b"matches",
        [[[4, 7], [5, 8]], [[2, 3], [0, 1]]],
        b"len",
        6,
    ]
    assert ask("LCS", "a", "b", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN") == [
        b"matches",
        [[[4, 7], [5, 8], 4]],
        b"len",
        6,
    ]
    assert ask("LCS", "b", "a") == b"mytext"


def test_lcs_is_a_map(wire: Wire) -> None:
    wire.call("HELLO", 3)
    wire.send(b"LCS a b IDX\r\n")
    wire.expect(b"%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n")


def test_lcs_with_missing_keys(ask: Ask) -> None:
    ask("SET", "a", "text")
    assert ask("LCS", "a", "missing") == b""
    assert ask("LCS", "missing", "missing", "LEN") == 0
    assert ask("LCS", "missing", "a", "IDX") == [b"matches", [], b"len", 0]


def test_lcs_refusals(ask: Ask) -> None:
    ask("MSET", "a", "x", "b", "y")
    both = b"ERR If you want both the length and indexes, please just use IDX."
    assert ask("LCS", "a", "b", "LEN", "IDX") == both
    assert ask("LCS", "a", "b", "MINMATCHLEN") == SYNTAX
    assert ask("LCS", "a", "b", "FOO") == SYNTAX
    assert ask("LCS", "a", "b", "MINMATCHLEN", "x") == NOT_INTEGER
    ask("RPUSH", "list", "x")
    wrong = b"ERR The specified keys must contain string values"
    assert ask("LCS", "a", "list") == wrong
    assert ask("LCS", "list", "missing") == wrong
    ask("SETRANGE", "a", 20_000, "x")
    ask("SETRANGE", "b", 20_000, "x")
    reply = ask("LCS", "a", "b", "LEN")
    assert isinstance(reply, Error)
    assert reply.startswith(b"ERR Insufficient memory, transient memory for LCS exceeds")


# What others hear


def test_events(events: Ask) -> None:
    for line, expected in [
        ("SET k 1", ["set k"]),
        ("SET k 1 EX 100", ["set k", "expire k"]),
        ("SET k 2 NX", []),
        ("INCR k", ["incrby k"]),
        ("INCRBYFLOAT k 1", ["incrbyfloat k"]),
        ("APPEND k 1", ["append k"]),
        ("SETRANGE k 0 x", ["setrange k"]),
        ("SETRANGE missing 0 ''", []),
        ("MSET k 1 l 2", ["set k", "set l"]),
        ("MSETNX k 1 n 2", []),
        ("GETSET k 1", ["set k"]),
        ("SETEX k 10 1", ["set k", "expire k"]),
        ("GETEX k", []),
        ("GETEX k PERSIST", ["persist k"]),
        ("GETEX k PERSIST", []),
        ("GETEX k EX 100", ["expire k"]),
        ("GETEX k EXAT 1", ["del k"]),
        ("GETDEL k", []),
        ("GETDEL l", ["del l"]),
    ]:
        words = ["" if word == "''" else word for word in line.split()]
        assert events(*words) == [event.encode() for event in expected], line


def test_a_key_set_to_a_time_in_the_past_expires(events: Ask) -> None:
    events("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        assert events("SET", "k", "1", "EXAT", "1") == [b"set k", b"expire k"]
        assert events("GET", "k") == [b"expired k"]
    finally:
        events("DEBUG", "SET-ACTIVE-EXPIRE", "1")
