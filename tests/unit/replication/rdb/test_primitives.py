"""Lengths and strings: all forms, cut at every length, and what only looks like them."""

from __future__ import annotations

import lzf
import pytest
from distcache_replication.rdb import primitives
from distcache_replication.rdb.errors import BadRdb, Short
from distcache_replication.rdb.primitives import read_length, read_string
from hypothesis import given
from hypothesis import strategies as st

SIZES = [0, 1, 63, 64, 16383, 16384, 2**32 - 1, 2**32, 2**64 - 1]


@pytest.mark.parametrize("size", SIZES)
def test_a_length_comes_back(size: int) -> None:
    written = primitives.length(size)
    assert read_length(b"x" + written + b"rest", 1) == (size, 1 + len(written))
    for cut in range(len(written)):
        with pytest.raises((Short, IndexError)):
            read_length(written[:cut], 0)


@pytest.mark.parametrize("first", [0x82, 0xBF, 0xC0, 0xC3, 0xFF])
def test_what_is_no_length(first: int) -> None:
    with pytest.raises(BadRdb):
        read_length(bytes([first]) + bytes(9), 0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"", b"\0"),
        (b"a", b"\1a"),
        (b"12", b"\xc0\x0c"),
        (b"-128", b"\xc0\x80"),
        (b"128", b"\xc1\x80\x00"),
        (b"-32768", b"\xc1\x00\x80"),
        (b"32768", b"\xc2\x00\x80\x00\x00"),
        (b"-2147483648", b"\xc2\x00\x00\x00\x80"),
        (b"2147483648", b"\x0a2147483648"),
        (b"012", b"\x03012"),
        (b"-0", b"\x02-0"),
        (b"-", b"\x01-"),
        (b"1 ", b"\x021 "),
        (b"x" * 20, b"\x14" + b"x" * 20),
    ],
)
def test_forms_of_strings(value: bytes, written: bytes) -> None:
    assert primitives.string(value, compress=True) == written
    assert read_string(written + b"rest", 0) == (value, len(written))
    for cut in range(len(written)):
        with pytest.raises((Short, IndexError)):
            read_string(written[:cut], 0)


def test_strings_are_compressed_where_that_is_shorter() -> None:
    value = b"x" * 100
    written = primitives.string(value, compress=True)
    assert written[0] == primitives.LZF
    assert len(written) < 20
    assert read_string(written, 0) == (value, len(written))
    assert primitives.string(value, compress=False) == b"\x40\x64" + value
    for cut in range(len(written)):
        with pytest.raises((Short, IndexError)):
            read_string(written[:cut], 0)


def test_what_is_compressed_must_have_the_length_that_it_says() -> None:
    packed = lzf.compress(bytes(3_000_000))
    assert packed is not None
    begin = b"\xc3" + primitives.length(len(packed))
    right = begin + primitives.length(3_000_000) + packed
    assert read_string(right, 0) == (bytes(3_000_000), len(right))
    for size in (0, 1, 100, 2_999_999, 3_000_001, 2**32, 2**64 - 1):
        head = begin + primitives.length(size)
        with pytest.raises(BadRdb, match="compressed string"):
            read_string(head + packed, 0)


@given(st.binary(max_size=300), st.booleans())
def test_strings_come_back(value: bytes, compress: bool) -> None:
    written = primitives.string(value, compress)
    assert read_string(written, 0) == (value, len(written))


@given(st.integers(-(2**40), 2**40), st.booleans())
def test_numbers_come_back(number: int, compress: bool) -> None:
    value = b"%d" % number
    written = primitives.string(value, compress)
    assert read_string(written, 0) == (value, len(written))


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_a_string_or_an_error(data: bytes) -> None:
    try:
        value, end = read_string(b"\xc3" + data, 0)
    except (BadRdb, Short, IndexError):
        return
    assert end <= len(data) + 1
    assert len(value) <= len(data) * primitives.EXPANSION
