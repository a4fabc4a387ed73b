"""arguments.py: numbers as C reads them, timeouts, and the words of LMPOP and ZMPOP."""

from __future__ import annotations

import math

import pytest
from distcache_server.arguments import keys_end_count, real, strtod, timeout_ms
from distcache_server.errors import (
    BadCount,
    BadNumkeys,
    CommandError,
    InvalidTimeout,
    NegativeTimeout,
    NotFloat,
    SyntaxFailure,
    TimeoutTooLong,
)

INFINITY = float("inf")


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (b"1", 1.0),
        (b"+1.5", 1.5),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"-1e3", -1000.0),
        (b"0x10", 16.0),
        (b"0x1p-3", 0.125),
        (b"inf", INFINITY),
        (b"-Infinity", -INFINITY),
        (b"1e400", INFINITY),
        (b"-0x1p5000", -INFINITY),
        (b"1e-400", 0.0),
    ],
)
def test_strtod(word: bytes, number: float) -> None:
    assert strtod(word) == number


@pytest.mark.parametrize(
    "word", [b"", b" 1", b"1 ", b"1_0", b"nan", b"1e", b"0x", b"--1", b"infin"]
)
def test_no_number_at_all(word: bytes) -> None:
    assert strtod(word) is None
    with pytest.raises(NotFloat):
        real(word)


def test_a_number_must_be_one_that_a_double_can_be() -> None:
    for word in (b"1e400", b"-1e400", b"1e-400", b"0x1p-2000"):
        with pytest.raises(NotFloat):
            real(word)
    for word in (b"0", b"-0.0", b"0e5", b"0x0p1"):
        assert real(word) == 0
    assert real(b"4.9e-324") > 0
    assert math.isinf(real(b"inf"))


@pytest.mark.parametrize(
    ("word", "timeout"),
    [(b"0", 0), (b"1", 1000), (b"0.0001", 1), (b"1.0001", 1001), (b"-0.0001", 0), (b"1e3", 10**6)],
)
def test_timeouts_round_up_to_milliseconds(word: bytes, timeout: int) -> None:
    assert timeout_ms(word) == timeout


@pytest.mark.parametrize(
    ("word", "error"),
    [
        (b"x", InvalidTimeout),
        (b"nan", InvalidTimeout),
        (b"-1", NegativeTimeout),
        (b"-inf", NegativeTimeout),
        (b"inf", TimeoutTooLong),
        (b"1e300", TimeoutTooLong),
        (b"9223372036854775", TimeoutTooLong),
    ],
)
def test_bad_timeouts(word: bytes, error: type[CommandError]) -> None:
    with pytest.raises(error):
        timeout_ms(word)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"1 k LEFT", ([b"k"], True, 1)),
        (b"2 k LEFT right", ([b"k", b"LEFT"], False, 1)),
        (b"1 k RIGHT count 5", ([b"k"], False, 5)),
    ],
)
def test_keys_an_end_and_a_count(line: bytes, found: object) -> None:
    assert keys_end_count(line.split(), b"LEFT", b"RIGHT") == found


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"0 k LEFT", BadNumkeys),
        (b"1 k", SyntaxFailure),
        (b"1 k UP COUNT 0", SyntaxFailure),
        (b"1 k LEFT COUNT", SyntaxFailure),
        (b"1 k LEFT COUNT 0 more", BadCount),
        (b"1 k LEFT COUNT 1 more", SyntaxFailure),
    ],
)
def test_bad_keys_end_or_count(line: bytes, error: type[CommandError]) -> None:
    with pytest.raises(error):
        keys_end_count(line.split(), b"LEFT", b"RIGHT")
