"""Python values to RESP: one table of encoders for each protocol version.

Format: https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md

A handler returns plain values: ``bytes`` is a bulk string, ``int`` a number, ``None`` the null,
``list`` and ``tuple`` an array, ``dict`` a map, ``float`` a double, ``bool`` a boolean, and the
classes below where RESP tells more kinds apart than Python.  RESP2 gets the shape that Redis gives
it there: maps are flat, doubles are strings, booleans numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

from distcache_server.types.buffer import Buffer
from distcache_server.types.stream_id import shown

Encoder = Callable[[Any], bytes]
Encoders = dict[type, Encoder]

_INFINITY = float("inf")
_INTEGRAL = 2.0**62
SEPARATORS = [b"\r\n$%d\r\n" % n for n in range(1024)]
"""What stands between a bulk string and the next one, by the length of that."""
NUMBERS = [b":%d\r\n" % n for n in range(1024)]


class Wire(bytes):
    """A reply that is encoded already."""

    __slots__ = ()


class Status(bytes):
    """A simple string: one line, no line breaks."""

    __slots__ = ()


class NullArray:
    """The null that RESP2 writes as ``*-1``; return the class itself."""


class Bulks(list[bytes]):
    """An array of nothing but bulk strings, which nobody needs to look through for other kinds."""

    __slots__ = ()


class Equals(tuple[list[bytes], int]):
    """An array of bulk strings, and the length that each of them is known to have."""

    __slots__ = ()


class Entries(list[tuple[int, Sequence[bytes]]]):
    """Entries of a stream: each an array of its id and an array of its words."""

    __slots__ = ()


class ByKey(list[tuple[bytes, Any]]):
    """What was found at keys: a map in RESP3, an array of two-element arrays in RESP2."""

    __slots__ = ()


class SetReply(list[Any]):
    """An unordered collection: a set in RESP3, an array in RESP2."""

    __slots__ = ()


class Pairs(list[tuple[Any, Any]]):
    """Pairs: an array of two-element arrays in RESP3, flat in RESP2."""

    __slots__ = ()


class Scores(list[tuple[bytes, float]]):
    """Members with their scores: as Pairs, and quicker."""

    __slots__ = ()


class MapReply(list[tuple[Any, Any]]):
    """A map given as pairs, where a key may come twice or be no dictionary key."""

    __slots__ = ()


class Push(list[Any]):
    """An out-of-band message: a push in RESP3, an array in RESP2."""

    __slots__ = ()


class VerbatimString(bytes):
    """Text meant for people: ``=len:txt:...`` in RESP3, a bulk string in RESP2."""

    __slots__ = ()


class Real(bytes):
    """A double that Redis prints with 17 digits after the point: ``Real.of(number)``."""

    __slots__ = ()

    @classmethod
    def of(cls, number: float) -> Real:
        text = f"{Decimal(number):.17f}"
        return cls(text.rstrip("0").rstrip(".").encode())


class BigNumber(int):
    """An integer past 64 bits: ``(`` in RESP3, a bulk string in RESP2."""

    __slots__ = ()


class Replies(list[Any]):
    """Several replies to one command, one after the other (SUBSCRIBE)."""

    __slots__ = ()


OK = Wire(b"+OK\r\n")
PONG = Wire(b"+PONG\r\n")
QUEUED = Wire(b"+QUEUED\r\n")
NOTHING = Wire(b"")
EMPTY_ARRAY = Wire(b"*0\r\n")


def double(value: float) -> bytes:
    """A double as Redis 7.2 prints it: an integer where it is one, else the shortest digits.

    The layout of digits and exponent is that of fpconv, which Redis uses.
    """
    if -_INTEGRAL <= value <= _INTEGRAL:
        whole = int(value)
        if whole == value:
            return b"-0" if not whole and str(value)[0] == "-" else b"%d" % whole
    elif value != value:
        return b"nan"
    elif value in (_INFINITY, -_INFINITY):
        return b"inf" if value > 0 else b"-inf"
    text = repr(value)
    if "e" not in text and (len(text) - text.index(".") < 8 or 0.001 <= abs(value) < 10000):
        return text.encode()
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    shown = abs(exponent + len(text) - 1)
    if exponent >= 0 and shown < len(text) + 7:
        text += "0" * exponent
    elif exponent < 0 and (exponent > -7 or shown < 4):
        whole = len(text) + exponent
        text = f"{text[:whole]}.{text[whole:]}" if whole > 0 else f"0.{'0' * -whole}{text}"
    else:
        point = f".{text[1:]}" if len(text) > 1 else ""
        direction = "-" if exponent + len(text) - 1 < 0 else "+"
        text = f"{text[0]}{point}e{direction}{shown}"
    return f"-{text}".encode() if sign else text.encode()


def encode_bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def encode_number(value: int) -> bytes:
    return NUMBERS[value] if 0 <= value < 1024 else b":%d\r\n" % value


def encode_bulks(values: Sequence[bytes]) -> bytes:
    """Bulk strings one after the other: in C where all are alike in length or short."""
    if not values:
        return b""
    length = len(values[0])
    if len(values[-1]) == length and len(set(map(len, values))) == 1:
        separator = b"\r\n$%d\r\n" % length
        return b"%b%b\r\n" % (separator[2:], separator.join(values))
    parts = [*values, *values]
    try:
        parts[::2] = [SEPARATORS[len(value)] for value in values]
    except IndexError:
        return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])
    parts[1::2] = values
    return b"%b\r\n" % b"".join(parts)[2:]


def encode_equals(reply: Equals) -> bytes:
    values, length = reply
    separator = b"\r\n$%d\r\n" % length
    return b"*%d%b%b\r\n" % (len(values), separator, separator.join(values))


def encode_array(values: Bulks) -> bytes:
    return b"*%d\r\n%b" % (len(values), encode_bulks(values))


def encode_entries(entries: Entries) -> bytes:
    parts = [b"*%d\r\n" % len(entries)]
    for number, words in entries:
        text = shown(number)
        parts.append(b"*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(text), text, len(words)))
        parts.append(encode_bulks(words))
    return b"".join(parts)


def encode_scores(pairs: Scores) -> bytes:
    """Members and scores in turn, all of them bulk strings."""
    words = [word for member, score in pairs for word in (member, double(score))]
    return b"*%d\r\n%b" % (len(words), encode_bulks(words))


def encode_scores_apart(pairs: Scores) -> bytes:
    """Each member and its score, a double, in an array of their own."""
    parts = [
        b"*2\r\n$%d\r\n%b\r\n,%b\r\n" % (len(member), member, double(score))
        for member, score in pairs
    ]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


class _Protocol:
    """The encoders of one protocol version; ``table`` maps a value's type to one of them."""

    def __init__(self) -> None:
        self.table: Encoders = {
            bytes: encode_bulk,
            Buffer: encode_bulk,
            int: encode_number,
            Wire: bytes,
            Status: lambda value: b"+%b\r\n" % value,
            list: self.array,
            tuple: self.array,
            Bulks: encode_array,
            Equals: encode_equals,
            Entries: encode_entries,
            Replies: self.sequence,
        }

    def sequence(self, values: Iterable[Any]) -> bytes:
        table = self.table
        return b"".join([table[type(value)](value) for value in values])

    def array(self, values: list[Any], mark: bytes = b"*") -> bytes:
        if set(map(type, values)) == {bytes}:
            return b"%b%d\r\n%b" % (mark, len(values), encode_bulks(values))
        return b"%b%d\r\n%b" % (mark, len(values), self.sequence(values))


class _Resp2(_Protocol):
    def __init__(self) -> None:
        super().__init__()
        self.table |= {
            type(None): lambda _: b"$-1\r\n",
            type: lambda _: b"*-1\r\n",
            float: lambda value: encode_bulk(double(value)),
            bool: lambda value: b":1\r\n" if value else b":0\r\n",
            dict: lambda value: self.array(list(chain.from_iterable(value.items()))),
            MapReply: lambda value: self.array(list(chain.from_iterable(value))),
            ByKey: self.array,
            Pairs: lambda value: self.array(list(chain.from_iterable(value))),
            Scores: encode_scores,
            SetReply: self.array,
            Push: self.array,
            VerbatimString: encode_bulk,
            Real: encode_bulk,
            BigNumber: lambda value: encode_bulk(b"%d" % value),
        }


class _Resp3(_Protocol):
    def __init__(self) -> None:
        super().__init__()
        self.table |= {
            type(None): lambda _: b"_\r\n",
            type: lambda _: b"_\r\n",
            float: lambda value: b",%b\r\n" % double(value),
            bool: lambda value: b"#t\r\n" if value else b"#f\r\n",
            dict: lambda value: self.map(list(value.items())),
            MapReply: self.map,
            ByKey: self.map,
            Pairs: self.array,
            Scores: encode_scores_apart,
            SetReply: lambda value: self.array(value, b"~"),
            Push: lambda value: self.array(value, b">"),
            VerbatimString: lambda value: b"=%d\r\ntxt:%b\r\n" % (len(value) + 4, value),
            Real: lambda value: b",%b\r\n" % value,
            BigNumber: lambda value: b"(%d\r\n" % value,
        }

    def map(self, pairs: list[tuple[Any, Any]]) -> bytes:
        body = self.sequence(chain.from_iterable(pairs))
        return b"%%%d\r\n%b" % (len(pairs), body)


RESP2: Encoders = _Resp2().table
RESP3: Encoders = _Resp3().table
ENCODERS = {2: RESP2, 3: RESP3}


def encode_each(values: list[Any], encoders: Encoders) -> list[bytes]:
    """Replies to a run of equal commands, each for a connection of its own."""
    kinds = set(map(type, values))
    if kinds == {Wire}:
        return values
    if kinds == {bytes}:
        return [b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
    if kinds == {int}:
        return [b":%d\r\n" % value for value in values]
    return [encoders[type(value)](value) for value in values]


def encode_run(values: list[Any], encoders: Encoders) -> bytes:
    """Replies to a run of equal commands: bulk strings together, in C, where all are bulk."""
    kinds = set(map(type, values))
    if kinds == {bytes}:
        return encode_bulks(values)
    if kinds == {Wire}:
        return b"".join(values)
    if kinds == {int}:
        return b":%d\r\n" * len(values) % tuple(values)
    return b"".join([encoders[type(value)](value) for value in values])
