"""Sums as INCRBYFLOAT and HINCRBYFLOAT make them: in C's ``long double``, of 64 bits' precision.

0.1 + 0.2 is 0.3 there, and 0.30000000000000004 in Python's float.  So numbers are kept as a pair of
integers, ``mantissa * 2**exponent``, and rounded where the x87 format would round them.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

from distcache_server.errors import CommandError, NotFinite

BITS = 64
MOST = 16384
"""Numbers are below 2**MOST."""
LEAST = -16446
"""What is not above 2**LEAST rounds to zero."""
LONGEST = 5 * 1024
"""Redis reads no longer texts."""
PLACES = 17
"""Digits that are printed after the point."""

Number: TypeAlias = tuple[int, int] | None
"""Mantissa and exponent; None stands for an infinity of either sign, whose sums are refused."""

_decimal_text = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,9})?", re.I
).fullmatch
_hex_text = re.compile(
    rb"(?P<sign>[+-]?)0x(?P<whole>[0-9a-f]*)\.?(?P<part>[0-9a-f]*)(?:p(?P<power>[+-]?[0-9]{1,9}))?",
    re.I,
).fullmatch
_infinite_text = re.compile(rb"[+-]?inf(?:inity)?", re.I).fullmatch


def number(word: bytes, error: type[CommandError]) -> Number:
    """A number as ``strtold`` reads it whole; ``error`` is raised for text, nan and overflow."""
    if len(word) >= LONGEST:
        raise error
    if _decimal_text(word):
        decimal = Decimal(word.decode())
        if not decimal:
            return 0, 0
        if abs(decimal.adjusted()) > MOST:
            raise error
        read = _rounded(*decimal.as_integer_ratio())
    elif _infinite_text(word):
        return None
    else:
        mantissa, exponent = _hexadecimal(word, error)
        if not mantissa:
            return 0, 0
        read = _rounded(mantissa)
        read = read[0], read[1] + exponent
    mantissa, exponent = read
    size = mantissa.bit_length() + exponent
    if size > MOST or size <= LEAST or (size == LEAST + 1 and abs(mantissa) == 1 << (BITS - 1)):
        raise error
    return read


def _hexadecimal(word: bytes, error: type[CommandError]) -> tuple[int, int]:
    found = _hex_text(word)
    if found is None or not (found["whole"] or found["part"]):
        raise error
    mantissa = int(found["sign"] + found["whole"] + found["part"], 16)
    return mantissa, int(found["power"] or b"0") - 4 * len(found["part"])


def total(one: Number, other: Number) -> bytes:
    """The text of the sum, with at most 17 digits after the point; NotFinite where it overflows."""
    if one is None or other is None:
        raise NotFinite
    exponent = min(one[1], other[1])
    exact = (one[0] << (one[1] - exponent)) + (other[0] << (other[1] - exponent))
    mantissa, raised = _rounded(exact)
    exponent += raised
    if mantissa.bit_length() + exponent > MOST:
        raise NotFinite
    whole, part = divmod(_halved(abs(mantissa) * 10**PLACES, -exponent), 10**PLACES)
    # Decimal, since int refuses to print more than 4300 digits.
    text = f"{Decimal(whole)}.{part:0{PLACES}d}".rstrip("0").rstrip(".")
    return (f"-{text}" if mantissa < 0 and text != "0" else text).encode()


def _rounded(over: int, under: int = 1) -> tuple[int, int]:
    """The pair of 64 bits that is nearest to a fraction."""
    if not over:
        return 0, 0
    # Enough bits to round by, and below them one that says whether there were more.
    shift = BITS + 2 - (over.bit_length() - under.bit_length())
    quotient, rest = divmod(abs(over) << max(shift, 0), under << max(-shift, 0))
    quotient = quotient << 1 | (rest != 0)
    extra = quotient.bit_length() - BITS
    mantissa = _halved(quotient, extra)
    return (-mantissa if over < 0 else mantissa), extra - 1 - shift


def _halved(value: int, times: int) -> int:
    """``value / 2**times`` to the nearest integer, to the even one of two."""
    if times <= 0:
        return value << -times
    quotient = value >> times
    rest, half = value & ((1 << times) - 1), 1 << (times - 1)
    return quotient + (rest > half or (rest == half and quotient & 1))
