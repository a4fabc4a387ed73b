"""types/stream_id.py: what is an id, and what a range of them."""

import pytest
from distcache_server.errors import CommandError
from distcache_server.stream_errors import BadRangeEnd, BadRangeStart, BadStreamId
from distcache_server.types.stream_id import (
    LARGEST,
    SEQUENCE,
    end_of_range,
    parsed,
    shown,
    start_of_range,
    without_sequence,
)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (b"5", 5 << 64),
        (b"5-7", 5 << 64 | 7),
        (b"05-007", 5 << 64 | 7),
        (b" 5-+7", 5 << 64 | 7),
        (b"5--07", 5 << 64 | SEQUENCE - 6),
        (b"5-7\0more", 5 << 64 | 7),
        (b"%d-%d" % (SEQUENCE, SEQUENCE), LARGEST),
    ],
)
def test_ids(word: bytes, number: int) -> None:
    assert parsed(word) == number
    assert parsed(shown(number)) == number


@pytest.mark.parametrize(
    "word",
    [
        *(b"", b"-", b"+", b"x", b"5-", b"-5", b"5-x", b"5-7-8", b"5--7", b"5 ", b"5-*"),
        *(b"1" * 200, b"%d" % (SEQUENCE + 1)),
    ],
)
def test_what_is_no_id(word: bytes) -> None:
    with pytest.raises(BadStreamId):
        parsed(word)


def test_ids_without_a_sequence_number() -> None:
    assert without_sequence(b"5-*") == 5
    assert without_sequence(b"5-1") is None
    assert parsed(b"5", SEQUENCE) == 5 << 64 | SEQUENCE


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (b"-", b"+", 0, LARGEST),
        (b"5", b"5", 5 << 64, 5 << 64 | SEQUENCE),
        (b"(5-1", b"(5-9", 5 << 64 | 2, 5 << 64 | 8),
        (b"(5", b"(5", 5 << 64 | 1, (5 << 64 | SEQUENCE) - 1),
    ],
)
def test_ranges(start: bytes, end: bytes, first: int, last: int) -> None:
    assert (start_of_range(start), end_of_range(end)) == (first, last)


def test_ranges_that_are_none() -> None:
    expected: list[tuple[type[CommandError], bytes]] = [
        (BadRangeStart, b"(" + shown(LARGEST)),
        (BadStreamId, b"(-"),
        (BadStreamId, b"("),
    ]
    for error, word in expected:
        with pytest.raises(error):
            start_of_range(word)
    with pytest.raises(BadRangeEnd):
        end_of_range(b"(0-0")
