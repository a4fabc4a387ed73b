"""Words to numbers, ranges and options, as strict as Redis: no blanks, no ``+``, no ``1_0``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from distcache_server.errors import (
    BadCount,
    BadNumkeys,
    CommandError,
    InvalidTimeout,
    NegativeTimeout,
    NotFloat,
    NotInteger,
    NotWithin,
    OutOfRange,
    SyntaxFailure,
    TimeoutTooLong,
)

Args = list[bytes]
Columns = Sequence[Sequence[bytes]]
"""Commands with equal numbers of words: all first words, all second words, ..."""

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
LONGEST_MS = INT64_MAX - 2**42
"""A timeout that ends later than this from now on ends after the last millisecond of all."""

MOST_TURNS = 1 << 22
"""No more random entries than this go into one reply: it would take gigabytes."""

T = TypeVar("T")

_float_text = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?"
    rb"|0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?[0-9]+)?)",
    re.IGNORECASE,
).fullmatch
_digit_but_zero = re.compile(rb"[1-9a-f]").search


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


def strtod(word: bytes) -> float | None:
    """The double that C's ``strtod`` reads from the whole word, or None; too large is infinite."""
    if not _float_text(word):
        return None
    text = word.decode("ascii").lower()
    try:
        return float.fromhex(text) if "x" in text else float(text)
    except OverflowError:
        return -math.inf if text[0] == "-" else math.inf


def real(word: bytes, error: type[CommandError] = NotFloat) -> float:
    """A double; infinities pass, what is too large or too small to be one does not, nor nan."""
    number = strtod(word)
    if number is None or (math.isinf(number) and b"I" not in word.upper()):
        raise error
    if number == 0 and _digit_but_zero(word.lower().partition(b"e")[0].partition(b"p")[0]):
        raise error
    return number


def timeout_ms(word: bytes) -> int:
    """The timeout of a blocking command: seconds with fractions; 0 waits for ever."""
    seconds = strtod(word)
    if seconds is None:
        raise InvalidTimeout
    if seconds * 1000 > LONGEST_MS:
        raise TimeoutTooLong
    if seconds * 1000 <= -1:
        raise NegativeTimeout
    return math.ceil(seconds * 1000)


def keys_end_count(words: Args, first: bytes, other: bytes) -> tuple[list[bytes], bool, int]:
    """``numkeys key [key ...] <first | other> [COUNT count]``: keys, whether it is first, count."""
    numkeys = integer_between(words[0], 1, INT64_MAX, BadNumkeys)
    if numkeys + 1 >= len(words):
        raise SyntaxFailure
    keys, end, rest = words[1 : numkeys + 1], words[numkeys + 1].upper(), words[numkeys + 2 :]
    if end not in (first, other):
        raise SyntaxFailure
    if not rest:
        return keys, end == first, 1
    if rest[0].upper() != b"COUNT" or len(rest) < 2:
        raise SyntaxFailure
    count = integer_between(rest[1], 1, INT64_MAX, BadCount)
    if len(rest) > 2:
        raise SyntaxFailure
    return keys, end == first, count


def draws(word: bytes) -> int:
    """The count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER; if negative, entries may repeat."""
    count = integer(word)
    if count == INT64_MIN:
        raise NotWithin(-INT64_MAX, INT64_MAX)
    return count


def turns(count: int) -> range:
    """How often to draw for a negative count."""
    if count < -MOST_TURNS:
        raise OutOfRange
    return range(-count)


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
