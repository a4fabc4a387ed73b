"""Words to numbers, ranges and options, as strict as Redis: no blanks, no ``+``, no ``1_0``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from distcache_server.errors import (
    CommandError,
    InvalidTimeout,
    NegativeTimeout,
    NotFloat,
    NotInteger,
    SyntaxFailure,
)

Args = list[bytes]

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

T = TypeVar("T")

_float_text = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?"
    rb"|0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?[0-9]+)?)",
    re.IGNORECASE,
).fullmatch


def is_integer(word: bytes) -> bool:
    """True where the word is a 64-bit integer in its one canonical spelling."""
    if len(word) > 20:
        return False
    try:
        number = int(word)
    except ValueError:
        return False
    return b"%d" % number == word and INT64_MIN <= number <= INT64_MAX


def integer(word: bytes, error: type[CommandError] = NotInteger) -> int:
    """A signed 64-bit integer in its canonical spelling, else ``error`` is raised."""
    if len(word) > 20:
        raise error
    try:
        number = int(word)
    except ValueError:
        raise error from None
    if b"%d" % number != word or not INT64_MIN <= number <= INT64_MAX:
        raise error
    return number


def integer_between(
    word: bytes, least: int, most: int, error: type[CommandError] = NotInteger
) -> int:
    """An integer within inclusive bounds, else ``error``."""
    number = integer(word, error)
    if not least <= number <= most:
        raise error
    return number


def real(word: bytes, error: type[CommandError] = NotFloat) -> float:
    """A double as C's ``strtod`` reads it whole; infinities pass, nan does not."""
    if not _float_text(word):
        raise error
    text = word.decode("ascii")
    if "x" in text or "X" in text:
        return float.fromhex(text)
    number = float(text)
    if math.isinf(number) and "i" not in text.lower():
        raise error  # overflow: strtod answers ERANGE
    return number


def timeout_ms(word: bytes) -> int:
    """The timeout of a blocking command: seconds with fractions; 0 waits for ever."""
    seconds = real(word, InvalidTimeout)
    if not math.isfinite(seconds) or seconds * 1000 > INT64_MAX:
        raise InvalidTimeout
    if seconds < 0:
        raise NegativeTimeout
    return math.ceil(seconds * 1000)


def clamp(start: int, stop: int, length: int) -> tuple[int, int]:
    """An inclusive range, negatives counting from the end, as a half-open one within length."""
    if start < 0:
        start = max(start + length, 0)
    if stop < 0:
        stop += length
    return start, min(stop + 1, length)


def options(words: Args, known: dict[bytes, int | Callable[[bytes], Any]]) -> dict[bytes, Any]:
    """Options after the fixed words, in any order and case, each at most meaningful once.

    ``known`` maps the upper-case name to 0 for a flag, n for an option followed by n words (the
    result holds the word, or the list of them), or a function that converts its one word.  The
    last one of a repeated option counts, as in Redis.

    Raises SyntaxFailure for an unknown word or a missing value.
    """
    found: dict[bytes, Any] = {}
    position = 0
    while position < len(words):
        name = words[position].upper()
        position += 1
        kind = known.get(name)
        if kind is None:
            raise SyntaxFailure
        if kind == 0:
            found[name] = True
            continue
        count = kind if isinstance(kind, int) else 1
        values = words[position : position + count]
        if len(values) < count:
            raise SyntaxFailure
        position += count
        if isinstance(kind, int):
            found[name] = values[0] if count == 1 else values
        else:
            found[name] = kind(values[0])
    return found
