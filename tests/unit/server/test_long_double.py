"""long_double.py: what Redis answers to HINCRBYFLOAT, to the digit."""

from __future__ import annotations

import pytest
from distcache_server.errors import NotFinite, NotFloat
from distcache_server.long_double import number, total


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b"0.1", b"0.2", b"0.3"),
        (b"3.0e3", b"200", b"3200"),
        (b"1234567.1", b"0.2", b"1234567.30000000000006821"),
        (b"12345678901234567890.12345", b"0", b"12345678901234567890"),
        (b"3.00000000000000000001", b"0", b"3"),
        (b"-5e-18", b"0", b"0"),
        (b"-6e-18", b"0", b"-0.00000000000000001"),
        (b"-0.0", b"0", b"0"),
        (b"1.", b".5", b"1.5"),
        (b"0x10", b"-0x.8p1", b"15"),
        (b"1e17", b"0", b"100000000000000000"),
        (b"-1e17", b"0", b"-100000000000000000"),
        (b"36893488147419103232", b"1", b"36893488147419103232"),
        (b"5e-4940", b"0", b"0"),
    ],
)
def test_sums(one: bytes, other: bytes, expected: bytes) -> None:
    assert total(number(one, NotFloat), number(other, NotFloat)) == expected


def test_the_longest_sum_has_4933_digits() -> None:
    text = total(number(b"1e4932", NotFloat), number(b"1", NotFloat))
    assert text.startswith(b"1000000000000000000006018949387963891323837774254533114773785041")
    assert len(text) == 4933


@pytest.mark.parametrize(
    "word",
    [
        *(b"", b" 1", b"1 ", b"abc", b"nan", b"1_0", b"0x", b"0x.", b"1e", b"--1", b".", b"1.0.0"),
        *(
            b"1e5000",
            b"-1e999999999",
            b"1e99999999999999999999",
            b"1e-5000",
            b"0x1p99999999",
            b"1" * 5120,
        ),
    ],
)
def test_what_is_no_number(word: bytes) -> None:
    with pytest.raises(NotFloat):
        number(word, NotFloat)


@pytest.mark.parametrize(
    ("one", "other"), [(b"inf", b"1"), (b"1", b"-Infinity"), (b"1.1e4932", b"1.1e4932")]
)
def test_sums_are_finite(one: bytes, other: bytes) -> None:
    with pytest.raises(NotFinite):
        total(number(one, NotFloat), number(other, NotFloat))
