"""Ids of the entries of a stream: Unix time in milliseconds and a number (``1700000000000-7``).

Here an id is one number of 128 bits, milliseconds above the sequence number, so that ids compare,
sort and count up as plain integers do.
"""

from __future__ import annotations

import re

from distcache_server.stream_errors import BadRangeEnd, BadRangeStart, BadStreamId

BITS = 64
SEQUENCE = (1 << BITS) - 1
"""The bits of the sequence number, and the largest one."""
LARGEST = (1 << 2 * BITS) - 1
LONGEST = 127
"""A text that is longer is no id."""

# What C's strtoull takes: blanks and a sign before the digits, and a negative number wraps around.
_number = re.compile(rb"[ \t-\r]*([+-]?)([0-9]+)").fullmatch
_negative = re.compile(rb"-[1-9][0-9]*").fullmatch


def shown(number: int) -> bytes:
    """The id as clients see it."""
    return f"{number >> BITS}-{number & SEQUENCE}".encode()


def _part(text: bytes) -> int:
    """One of the two numbers of an id."""
    if text.isdigit() and len(text) < 20:
        return int(text)
    match = _number(text)
    if match is None or _negative(text):
        raise BadStreamId
    number = int(match[2])
    if number > SEQUENCE:
        raise BadStreamId
    return -number & SEQUENCE if match[1] == b"-" else number


def parsed(word: bytes, missing: int = 0) -> int:
    """The id that a client names; ``missing`` is its sequence number where it has none."""
    if len(word) > LONGEST:
        raise BadStreamId
    ms, dash, sequence = word.partition(b"\0")[0].partition(b"-")
    return _part(ms) << BITS | (_part(sequence) if dash else missing)


def without_sequence(word: bytes) -> int | None:
    """The milliseconds of an id whose number is to be found, ``ms-*``; None if it is none."""
    return _part(word[:-2]) if word[-2:] == b"-*" and len(word) <= LONGEST else None


def bound(word: bytes, missing: int) -> int:
    """An end of a range: an id, or ``-`` and ``+`` for the least and the largest."""
    return 0 if word == b"-" else LARGEST if word == b"+" else parsed(word, missing)


def start_of_range(word: bytes) -> int:
    """The first id of a range, ``(`` before it excludes it."""
    if word[:1] != b"(" or len(word) == 1:
        return bound(word, 0)
    number = parsed(word[1:])
    if number == LARGEST:
        raise BadRangeStart
    return number + 1


def end_of_range(word: bytes) -> int:
    """The last id of a range, ``(`` before it excludes it."""
    if word[:1] != b"(" or len(word) == 1:
        return bound(word, SEQUENCE)
    number = parsed(word[1:], SEQUENCE)
    if number == 0:
        raise BadRangeEnd
    return number - 1
