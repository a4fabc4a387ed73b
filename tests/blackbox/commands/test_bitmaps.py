"""The bitmap commands."""

import random

import pytest

from tests.blackbox.commands.conftest import Ask

WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = b"ERR value is not an integer or out of range"
SYNTAX = b"ERR syntax error"
BAD_OFFSET = b"ERR bit offset is not an integer or out of range"
BAD_BIT = b"ERR bit is not an integer or out of range"
BAD_TYPE = (
    b"ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but"
    b" i64 is."
)

COMMANDS = [
    *("SETBIT k 0 1", "GETBIT k 0", "BITCOUNT k", "BITPOS k 1", "BITOP AND to k"),
    *("BITFIELD k", "BITFIELD k SET u8 0 1", "BITFIELD_RO k"),
]


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    least = 2 if words[0].startswith("BITFIELD") else len(words)
    expected = b"ERR wrong number of arguments for '%b' command" % words[0].lower().encode()
    for count in range(1, least):
        assert ask(*words[:count]) == expected
    if words[0] in ("SETBIT", "GETBIT"):
        assert ask(*words, "more") == expected


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(ask: Ask, line: str) -> None:
    ask("RPUSH", "k", "a")
    assert ask(*line.split()) == WRONGTYPE
    assert ask("EXISTS", "to") == 0


def bits(ask: Ask, key: str) -> str:
    """The string at a key, in binary."""
    value = ask("GET", key)
    assert isinstance(value, bytes)
    return "".join(f"{byte:08b}" for byte in value)


# Single bits


def test_setbit_and_getbit(ask: Ask) -> None:
    assert ask("GETBIT", "k", 7) == 0
    assert ask("SETBIT", "k", 7, 1) == 0
    assert ask("SETBIT", "k", 7, 1) == 1
    assert ask("GET", "k") == b"\x01"
    assert ask("SETBIT", "k", 20, 0) == 0
    assert ask("GET", "k") == b"\x01\0\0"
    assert ask("SETBIT", "k", 7, 0) == 1
    assert [ask("GETBIT", "k", at) for at in (0, 7, 20, 24, 2**32 - 1)] == [0, 0, 0, 0, 0]
    ask("SET", "n", 1, "EX", 100)
    assert ask("SETBIT", "n", 6, 1) == 0
    assert ask("GET", "n") == b"3"
    assert ask("TTL", "n") > 0


@pytest.mark.parametrize("offset", [-1, 2**32, 2**63, "abc", "", " 1"])
def test_offsets_that_are_none(ask: Ask, offset: int | str) -> None:
    assert ask("SETBIT", "k", offset, 1) == BAD_OFFSET
    assert ask("GETBIT", "k", offset) == BAD_OFFSET
    assert ask("BITFIELD", "k", "SET", "u8", offset, 1) == BAD_OFFSET
    assert ask("EXISTS", "k") == 0


@pytest.mark.parametrize("bit", [-1, 2, "abc", ""])
def test_bits_that_are_none(ask: Ask, bit: int | str) -> None:
    assert ask("SETBIT", "k", 0, bit) == BAD_BIT
    assert ask("EXISTS", "k") == 0


def test_a_large_bitmap(ask: Ask) -> None:
    generator = random.Random(5)
    chosen = {generator.randrange(8_000_000) for _ in range(500)}
    for at in chosen:
        assert ask("SETBIT", "k", at, 1) == 0
    assert ask("BITCOUNT", "k") == len(chosen)
    assert ask("BITPOS", "k", 1) == min(chosen)
    assert ask("STRLEN", "k") == max(chosen) // 8 + 1
    first, last = sorted(chosen)[10], sorted(chosen)[-10]
    assert ask("BITCOUNT", "k", first, last, "BIT") == len(chosen) - 19
    assert ask("BITPOS", "k", 1, first + 1, -1, "BIT") == sorted(chosen)[11]
    for at in chosen:
        assert ask("SETBIT", "k", at, 0) == 1
    assert ask("BITPOS", "k", 1) == -1


# Ranges


def test_bitcount(ask: Ask) -> None:
    assert ask("BITCOUNT", "k") == 0
    assert ask("BITCOUNT", "k", "any", "thing") == 0
    ask("SET", "k", "foobar")
    assert ask("BITCOUNT", "k") == 26
    for start, end, unit, expected in [
        (0, 0, "BYTE", 4),
        (1, 1, "BYTE", 6),
        (0, -1, "byte", 26),
        (-2, -1, "BYTE", 7),
        (5, 30, "BIT", 17),
        (-7, -5, "bit", 3),
        (0, 0, "BIT", 0),
        (1, 1, "BIT", 1),
        (3, 2, "BYTE", 0),
        (-1, -3, "BIT", 0),
        (0, 1000, "BIT", 26),
        (60, 70, "BIT", 0),
        (-1000, 2, "BIT", 2),
    ]:
        assert ask("BITCOUNT", "k", start, end, unit) == expected
        if unit.upper() == "BYTE":
            assert ask("BITCOUNT", "k", start, end) == expected
    assert ask("BITCOUNT", "k", 0) == SYNTAX
    assert ask("BITCOUNT", "k", 0, 1, "FOO") == SYNTAX
    assert ask("BITCOUNT", "k", 0, 1, "BIT", "x") == SYNTAX
    assert ask("BITCOUNT", "k", "a", 1) == NOT_INTEGER
    assert ask("BITCOUNT", "k", 0, "b") == NOT_INTEGER


def test_bitpos(ask: Ask) -> None:
    assert ask("BITPOS", "k", 0) == 0
    assert ask("BITPOS", "k", 1) == -1
    ask("SET", "k", b"\xff\xf0\x00")
    assert ask("BITPOS", "k", 0) == 12
    assert ask("BITPOS", "k", 1) == 0
    ask("SET", "k", b"\x00\xff\xf0")
    assert ask("BITPOS", "k", 1, 0) == 8
    assert ask("BITPOS", "k", 1, 2) == 16
    assert ask("BITPOS", "k", 1, 2, -1, "BYTE") == 16
    assert ask("BITPOS", "k", 1, 7, 15, "BIT") == 8
    assert ask("BITPOS", "k", 1, 7, -3, "BIT") == 8
    assert ask("BITPOS", "k", 0, 8, 15, "BIT") == -1
    assert ask("BITPOS", "k", 0, -5, -1) == 0
    assert ask("BITPOS", "k", 1, 5, 4) == -1
    assert ask("BITPOS", "k", 0, 100) == -1


def test_behind_the_string_there_are_zeros_unless_an_end_is_given(ask: Ask) -> None:
    ask("SET", "k", b"\xff\xff\xff")
    assert ask("BITPOS", "k", 0) == 24
    assert ask("BITPOS", "k", 0, 1) == 24
    assert ask("BITPOS", "k", 0, 0, -1) == -1
    assert ask("BITPOS", "k", 0, 0, 2) == -1
    assert ask("BITPOS", "k", 0, 0, 100, "BIT") == -1
    ask("SET", "k", b"\0\0\0")
    assert ask("BITPOS", "k", 1) == -1
    ask("SET", "k", "")
    assert ask("BITPOS", "k", 0) == -1
    assert ask("BITPOS", "k", 1) == -1


def test_bitpos_refusals(ask: Ask) -> None:
    ask("SET", "k", "x")
    assert ask("BITPOS", "k", 2) == b"ERR The bit argument must be 1 or 0."
    assert ask("BITPOS", "k", "a") == NOT_INTEGER
    assert ask("BITPOS", "k", 1, "a") == NOT_INTEGER
    assert ask("BITPOS", "k", 1, 0, "a") == NOT_INTEGER
    assert ask("BITPOS", "k", 1, 0, 1, "FOO") == SYNTAX
    assert ask("BITPOS", "k", 1, 0, 1, "BIT", "x") == SYNTAX


@pytest.mark.parametrize("size", [1, 2, 9, 70, 5000])
def test_counting_and_searching_any_range(ask: Ask, size: int) -> None:
    generator = random.Random(size)
    # Long runs, so that a search has something to skip.
    text = "".join(
        generator.choice("01") * generator.choice((1, 3, 20, 3000)) for _ in range(size)
    )[: size * 8].ljust(size * 8, "0")
    ask("SET", "k", int(text, 2).to_bytes(size, "big"))
    for _ in range(60):
        start, end = sorted(generator.randrange(size * 8) for _ in range(2))
        span = text[start : end + 1]
        assert ask("BITCOUNT", "k", start, end, "BIT") == span.count("1")
        for bit in "01":
            found = span.find(bit)
            expected = start + found if found >= 0 else -1
            assert ask("BITPOS", "k", bit, start, end, "BIT") == expected


# BITOP


def test_bitop(ask: Ask) -> None:
    ask("MSET", "a", b"\xff\x0f\xff", "b", b"\x0f\xff")
    assert ask("BITOP", "AND", "to", "a", "b") == 3
    assert ask("GET", "to") == b"\x0f\x0f\0"
    assert ask("BITOP", "or", "to", "a", "b") == 3
    assert ask("GET", "to") == b"\xff\xff\xff"
    assert ask("BITOP", "XOR", "to", "a", "b", "a") == 3
    assert ask("GET", "to") == b"\x0f\xff\0"
    assert ask("BITOP", "NOT", "to", "a") == 3
    assert ask("GET", "to") == b"\0\xf0\0"
    assert ask("BITOP", "NOT", "a", "a") == 3
    assert ask("GET", "a") == b"\0\xf0\0"


def test_bitop_with_missing_keys(ask: Ask) -> None:
    ask("MSET", "a", "abc", "to", "old")
    assert ask("BITOP", "AND", "to", "a", "missing") == 3
    assert ask("GET", "to") == b"\0\0\0"
    assert ask("BITOP", "OR", "to", "missing", "a") == 3
    assert ask("GET", "to") == b"abc"
    assert ask("BITOP", "NOT", "to", "missing") == 0
    assert ask("EXISTS", "to") == 0


def test_bitop_takes_the_place_of_any_type_and_deadline(ask: Ask) -> None:
    ask("SET", "a", "abc")
    ask("RPUSH", "to", "x")
    ask("EXPIRE", "to", 100)
    assert ask("BITOP", "OR", "to", "a") == 3
    assert ask("TTL", "to") == -1
    ask("DEL", "a")
    ask("RPUSH", "list", "x")
    assert ask("BITOP", "OR", "list", "a") == 0
    assert ask("EXISTS", "list") == 0


def test_bitop_refusals(ask: Ask) -> None:
    ask("SET", "a", "abc")
    assert ask("BITOP", "FOO", "to", "a") == SYNTAX
    one = b"ERR BITOP NOT must be called with a single source key."
    assert ask("BITOP", "NOT", "to", "a", "a") == one


def test_bitop_on_large_strings(ask: Ask) -> None:
    one, other = random.Random(1).randbytes(200_000), random.Random(2).randbytes(150_001)
    ask("MSET", "a", one, "b", other)
    assert ask("BITOP", "XOR", "to", "a", "b") == 200_000
    filled = other.ljust(200_000, b"\0")
    number = int.from_bytes(one, "big") ^ int.from_bytes(filled, "big")
    assert ask("GET", "to") == number.to_bytes(200_000, "big")


# BITFIELD


def test_bitfield_reads_and_writes(ask: Ask) -> None:
    assert ask("BITFIELD", "k") == []
    assert ask("BITFIELD", "k", "GET", "u8", 0, "GET", "i64", 1000) == [0, 0]
    assert ask("EXISTS", "k") == 0
    assert ask("BITFIELD", "k", "SET", "i8", 0, -100, "SET", "i8", 0, 101) == [0, -100]
    assert ask("BITFIELD", "k", "GET", "i8", 0, "GET", "u8", 0, "GET", "u4", 4) == [101, 101, 5]
    assert ask("BITFIELD", "k", "SET", "u3", 6, 5, "GET", "u16", 0) == [2, 26240]
    assert bits(ask, "k") == "0110011010000000"
    assert ask("BITFIELD", "k", "SET", "i64", 5, -2, "GET", "i64", 5) == [-3458764513820540928, -2]
    assert ask("BITFIELD", "k", "SET", "u63", "#1", 2**63 - 1, "GET", "u63", 63)[1] == 2**63 - 1


def test_bitfield_by_the_number_of_the_field(ask: Ask) -> None:
    ask("BITFIELD", "k", "SET", "u8", "#0", 65, "SET", "u8", "#1", 66, "SET", "u8", "#2", 67)
    assert ask("GET", "k") == b"ABC"
    assert ask("BITFIELD", "k", "GET", "u4", "#3", "GET", "u4", 12) == [2, 2]


def test_bitfield_counts(ask: Ask) -> None:
    assert ask("BITFIELD", "k", "INCRBY", "u8", 0, 10, "INCRBY", "u8", 0, 100) == [10, 110]
    assert ask("BITFIELD", "k", "INCRBY", "u8", 0, 200) == [54]
    assert ask("BITFIELD", "k", "INCRBY", "i8", 0, 100) == [-102]
    assert ask("BITFIELD", "k", "INCRBY", "u8", 0, -200) == [210]


@pytest.mark.parametrize(
    ("field", "before", "operation", "number", "wrapped", "saturated"),
    [
        ("u8", 250, "INCRBY", 10, 4, 255),
        ("u8", 5, "INCRBY", -10, 251, 0),
        ("u8", 5, "SET", 300, 44, 255),
        ("u8", 5, "SET", -1, 255, 255),
        ("i8", 100, "INCRBY", 100, -56, 127),
        ("i8", -100, "INCRBY", -100, 56, -128),
        ("i8", 5, "SET", 200, -56, 127),
        ("i8", 5, "SET", -200, 56, -128),
        ("i8", 5, "SET", -(2**63), 0, 127),
        ("i8", 5, "INCRBY", -(2**63), 5, -128),
        ("i64", 2**63 - 1, "INCRBY", 1, -(2**63), 2**63 - 1),
        ("i64", -(2**63), "INCRBY", -1, 2**63 - 1, -(2**63)),
    ],
)
def test_overflow(
    ask: Ask,
    field: str,
    before: int,
    operation: str,
    number: int,
    wrapped: int,
    saturated: int,
) -> None:
    for overflow, after in (("WRAP", wrapped), ("SAT", saturated), ("FAIL", None)):
        ask("BITFIELD", "k", "SET", field, 3, before)
        reply = ask("BITFIELD", "k", "OVERFLOW", overflow, operation, field, 3, number)
        assert reply == [before if operation == "SET" and after is not None else after]
        assert ask("BITFIELD", "k", "GET", field, 3) == [before if after is None else after]


def test_overflow_holds_for_what_follows_it(ask: Ask) -> None:
    count = ("INCRBY", "u2", 0, 3)
    words = (*count, *count, "OVERFLOW", "sat", *count, "OVERFLOW", "FAIL", *count, *count)
    assert ask("BITFIELD", "k", *words) == [3, 2, 3, None, None]


def test_bitfield_refusals(ask: Ask) -> None:
    for field in ("u64", "i65", "u0", "i0", "x8", "8", "", "u", "U8", "u 8"):
        assert ask("BITFIELD", "k", "GET", field, 0) == BAD_TYPE
    for offset in ("", "#", "abc", "#-1", "##1"):
        assert ask("BITFIELD", "k", "GET", "u8", offset) == BAD_OFFSET
    assert ask("BITFIELD", "k", "SET", "u8", 0, "abc") == NOT_INTEGER
    for words in ("FOO", "GET", "GET u8", "SET u8 0", "INCRBY u8 0", "OVERFLOW"):
        assert ask("BITFIELD", "k", *words.split()) == SYNTAX
    assert ask("BITFIELD", "k", "OVERFLOW", "FOO") == b"ERR Invalid OVERFLOW type specified"
    assert ask("BITFIELD", "k", "SET", "u8", 0, 1, "FOO") == SYNTAX
    assert ask("EXISTS", "k") == 0


def test_bitfield_ro(ask: Ask) -> None:
    ask("SET", "k", "AB")
    assert ask("BITFIELD_RO", "k", "GET", "u8", 0, "GET", "u8", "#1") == [65, 66]
    assert ask("BITFIELD_RO", "missing", "GET", "u8", 0) == [0]
    assert ask("BITFIELD_RO", "k") == []
    only = b"ERR BITFIELD_RO only supports the GET subcommand"
    assert ask("BITFIELD_RO", "k", "GET", "u8", 0, "SET", "u8", 0, 1) == only
    assert ask("BITFIELD_RO", "k", "INCRBY", "u8", 0, 1) == only
    assert ask("GET", "k") == b"AB"


def test_events(events: Ask) -> None:
    assert events("SETBIT", "k", 3, 1) == [b"setbit k"]
    assert events("BITFIELD", "k", "SET", "u8", 0, 5) == [b"setbit k"]
    assert events("BITFIELD", "k", "GET", "u8", 0) == []
    assert events("BITOP", "NOT", "to", "k") == [b"set to"]
    assert events("BITOP", "NOT", "to", "missing") == [b"del to"]
    assert events("BITOP", "NOT", "to", "missing") == []


@pytest.mark.since("7.2")
def test_what_changes_nothing_is_no_change(events: Ask) -> None:
    events("SETBIT", "k", 3, 1)
    assert events("SETBIT", "k", 3, 1) == []
    assert events("SETBIT", "k", 15, 0) == [b"setbit k"]
    assert events("BITFIELD", "k", "SET", "u4", 0, 1) == []
    assert events("BITFIELD", "k", "OVERFLOW", "FAIL", "INCRBY", "u4", 0, 100) == []
