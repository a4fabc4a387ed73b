"""The types of columns, and how a value of each is written in the cache.

========================  ==================================================================
integers                  ``42``
numeric, real, double     ``12.50``
text, varchar             the text, in UTF-8
bytea                     the bytes
boolean                   ``true``, ``false``; ``1`` and ``0`` are accepted
uuid                      ``123e4567-e89b-12d3-a456-426614174000``
timestamps, date          ISO 8601: ``2026-11-26T08:30:00+00:00``
json, jsonb               the JSON text
arrays                    a JSON array: ``[1, 2, null]``
========================  ==================================================================

``fit`` looks at what a client wrote: it gives the text for the store, or raises Unfit.  That
depends on nothing but the value and the column, so that every server decides alike.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from struct import Struct
from typing import Any

from distcache_replication.backing.errors import Unfit

Fit = Callable[[bytes], str | bytes]

INTEGER_FORM = r"0|-?[1-9][0-9]{0,18}"
UUID_FORM = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_INTEGER = re.compile(INTEGER_FORM.encode())
_UUID = re.compile(UUID_FORM.encode(), re.IGNORECASE)
_DECIMAL = re.compile(r"-?(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?")
LONGEST_NUMBER = 20_000
"""Digits that PostgreSQL's numeric may have, about."""
HIGHEST_POWER, LOWEST_POWER = 131_071, -16_383
"""Of ten, in front of and behind the point of a numeric."""
_ROUNDING = Context(prec=3000, rounding=ROUND_HALF_UP)
"""As PostgreSQL rounds, for all the digits that a numeric may be declared with."""
_SINGLE = Struct("<f")
ZERO = b"0"[0]
_BOOLEANS = {b"true": "true", b"1": "true", b"false": "false", b"0": "false"}


@dataclass(frozen=True)
class Kind:
    """A type of column."""

    name: str
    """As people know it: ``integer``, ``varchar(20)``."""
    family: str
    """What it is written like: integer, decimal, text, bytes, boolean, uuid, time, json, array."""
    fit: Fit
    simple: Callable[[bytes], object] = lambda _: False
    """Whether values with a NUL between each two all fit, and are written as they are."""
    longest: int | None = None
    """No integer of so few digits, and no text of so few bytes, is too large; None: none is."""

    def are_simple(self, values: Sequence[bytes]) -> bool:
        """Whether all these fit, and are written as they are; some that do may not be known to."""
        joined = b"\0".join(values)
        return joined.count(0) == len(values) - 1 and bool(self.simple(joined))

    def fit_all(self, values: Sequence[bytes]) -> Sequence[str | bytes]:
        """What ``fit`` gives for each."""
        if self.are_simple(values):
            return b"\0".join(values).decode().split("\0")
        return list(map(self.fit, values))

    def to_json(self, value: bytes) -> str:
        """A value, as written in the cache, within a JSON text."""
        if self.family in ("integer", "decimal", "boolean", "json", "array"):
            text = value.decode()
            return text if text not in _NOT_JSON else json.dumps(text)
        if self.family == "bytes":
            return json.dumps(base64.b64encode(value).decode())
        return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)

    def from_json(self, value: Any) -> bytes:
        """The same from a parsed JSON text, where numbers are Decimal or int."""
        if self.family in ("json", "array"):
            return dumped(value).encode()
        if self.family == "bytes":
            if not isinstance(value, str):
                raise Unfit("bytes stand in JSON as a string in base64")
            try:
                return base64.b64decode(value, validate=True)
            except ValueError:
                raise Unfit("a string that is not base64") from None
        if self.family == "boolean":
            if not isinstance(value, bool):
                raise Unfit(f"{_shown(value)} is not true or false")
            return b"true" if value else b"false"
        if self.family in ("integer", "decimal"):
            if isinstance(value, str) and value in _NOT_JSON:
                return value.encode()
            if isinstance(value, bool) or not isinstance(value, int | Decimal):
                raise Unfit(f"{_shown(value)} is not a number")
            return str(value).encode()
        if not isinstance(value, str):
            raise Unfit(f"{_shown(value)} is not a string")
        return _encoded(value)


_NOT_JSON = frozenset({"NaN", "Infinity", "-Infinity"})


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unfit("text with half of a surrogate pair") from None


def _shown(value: object) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= 40 else text[:40] + "...")


def dumped(value: Any) -> str:
    """JSON text of a parsed one, its numbers to the last digit."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}:{dumped(each)}" for key, each in value.items())
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumped, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def parsed(value: bytes) -> Any:
    """The parsed JSON text; Unfit where it is none."""
    try:
        return json.loads(value.decode(), parse_float=_decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unfit(f"{_shown(value)} is not JSON") from None


def _decimal(text: str) -> Decimal:
    """A number in JSON, which PostgreSQL can have."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if number.adjusted() > HIGHEST_POWER or int(number.as_tuple().exponent) < LOWEST_POWER:
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def integer(name: str, bits: int) -> Kind:
    """An integer of so many bits."""
    highest = (1 << (bits - 1)) - 1
    short = len(str(highest))

    def fit(value: bytes) -> str:
        if len(value) < short and value.isdigit() and value[0] != ZERO:
            return value.decode()
        if not _INTEGER.fullmatch(value) or not -highest - 1 <= int(value) <= highest:
            raise Unfit(f"{_shown(value)} is not an integer of {bits} bits")
        return value.decode()

    number = rb"[1-9][0-9]{0,%d}" % (short - 2)
    simple = re.compile(rb"%b(?:\0%b)*" % (number, number)).fullmatch
    return Kind(name, "integer", fit, simple, short - 1)


def numeric(precision: int | None = None, scale: int = 0) -> Kind:
    """A decimal number, of so many digits in all and behind the point."""

    def fit(value: bytes) -> str:
        text = value.decode("latin-1")
        if text in _NOT_JSON and (precision is None or text == "NaN"):
            return text
        if len(text) > LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
            raise Unfit(f"{_shown(value)} is not a number")
        if precision is not None and not _has_room(Decimal(text), precision, scale):
            raise Unfit(f"{_shown(value)} has too many digits for {name}")
        return text

    name = "numeric" if precision is None else f"numeric({precision},{scale})"
    return Kind(name, "decimal", fit)


def _has_room(number: Decimal, precision: int, scale: int) -> bool:
    """Whether a number, once it is rounded, has no more digits than that."""
    whole = precision - scale
    if number.is_zero() or number.adjusted() < min(-scale, whole) - 1:
        return True
    if number.adjusted() >= whole:
        return False
    rounded = number.quantize(Decimal((0, (1,), -scale)), context=_ROUNDING)
    return rounded.is_zero() or rounded.adjusted() < whole


def real(name: str, single: bool = False) -> Kind:
    """A number in floating point, of single precision or double."""

    def fit(value: bytes) -> str:
        text = value.decode("latin-1")
        if text in _NOT_JSON:
            return text
        if not (found := _DECIMAL.fullmatch(text)):
            raise Unfit(f"{_shown(value)} is not a number")
        number = _rounded(float(text), single)
        # What is too small is refused there, too.
        if not math.isfinite(number) or (not number and (found[1] + (found[2] or "")).strip("0")):
            raise Unfit(f"{_shown(value)} is out of range for {name}")
        return text

    return Kind(name, "decimal", fit)


def _rounded(number: float, single: bool) -> float:
    """The nearest number of this precision."""
    if not single:
        return number
    try:
        rounded: float = _SINGLE.unpack(_SINGLE.pack(number))[0]
    except OverflowError:
        return math.inf
    return rounded


def text(name: str = "text", most: int | None = None) -> Kind:
    """Text of at most so many characters."""

    def fit(value: bytes) -> str:
        try:
            found = value.decode()
        except UnicodeDecodeError:
            raise Unfit(f"{_shown(value)} is not text in UTF-8") from None
        if "\0" in found:
            raise Unfit("text with a NUL byte")
        if most is not None and len(found) > most:
            raise Unfit(f"{_shown(value)} is longer than {most} characters")
        return found

    if most is not None:
        return Kind(name, "text", fit, longest=most)
    return Kind(name, "text", fit, bytes.isascii)


def _fit_bytes(value: bytes) -> bytes:
    return value


def _fit_boolean(value: bytes) -> str:
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise Unfit(f"{_shown(value)} is not true or false")
    return found


def _fit_uuid(value: bytes) -> str:
    if not _UUID.fullmatch(value):
        raise Unfit(f"{_shown(value)} is not a UUID")
    return value.decode().lower()


_ENDLESS = frozenset({b"infinity", b"-infinity"})
_FAR = re.compile(r"(\d{4,7})(-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:\+00:00)?)?)( BC)?")
"""How PostgreSQL writes times out of the years 1 to 9999 ..."""
FIRST_YEAR, LAST_YEAR, LAST_YEAR_OF_DATES = -4711, 294_275, 5_874_896
"""... and which it has, about."""
FARTHEST_ZONE = timedelta(hours=16)


def _fit_timestamp(value: bytes) -> str:
    if value in _ENDLESS:
        return value.decode()
    try:
        found = datetime.fromisoformat(value.decode("ascii"))
    except ValueError:
        if (far := _far(value, LAST_YEAR)) is not None:
            return far
        raise Unfit(f"{_shown(value)} is not a time in ISO 8601") from None
    zone = found.utcoffset()
    if zone is not None and (abs(zone) >= FARTHEST_ZONE or zone.microseconds):
        raise Unfit(f"{_shown(value)} is of a time zone that is not known")
    return found.isoformat()


def _fit_date(value: bytes) -> str:
    if value in _ENDLESS:
        return value.decode()
    try:
        return date.fromisoformat(value.decode("ascii")).isoformat()
    except ValueError:
        if (far := _far(value, LAST_YEAR_OF_DATES)) is not None and "T" not in far:
            return far
        raise Unfit(f"{_shown(value)} is not a date in ISO 8601") from None


def _far(value: bytes, last: int) -> str | None:
    """A time out of the years that Python has; None for others, and where there is no such day."""
    found = _FAR.fullmatch(text := value.decode("latin-1"))
    if found is None or not (found[3] or len(found[1]) > 4):
        return None
    year = 1 - int(found[1]) if found[3] else int(found[1])
    try:
        # The calendar is the same every 400 years.
        datetime.fromisoformat(f"{2000 + year % 400}{found[2]}")
    except ValueError:
        return None
    return text if FIRST_YEAR <= year <= last else None


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def json_(name: str) -> Kind:
    """A JSON text; ``jsonb`` cannot hold NUL characters, nor halves of surrogate pairs."""

    def fit(value: bytes) -> str:
        found = parsed(value)
        if name == "jsonb" and rb"\u" in value:
            if _NUL.search(value):
                raise Unfit("a NUL character, which jsonb cannot hold")
            _encoded(dumped(found))
        return value.decode()

    return Kind(name, "json", fit)


BYTES = Kind("bytea", "bytes", _fit_bytes)
BOOLEAN = Kind("boolean", "boolean", _fit_boolean)
UUID = Kind("uuid", "uuid", _fit_uuid)
TIMESTAMP = Kind("timestamp", "time", _fit_timestamp)
TIMESTAMPTZ = Kind("timestamptz", "time", _fit_timestamp)
DATE = Kind("date", "time", _fit_date)


def array(of: Kind) -> Kind:
    """An array, which is given to the store as it writes arrays itself."""

    def fit(value: bytes) -> str:
        found = parsed(value)
        if not isinstance(found, list):
            raise Unfit(f"{_shown(value)} is not a JSON array")
        if _shape(found) is None:
            raise Unfit(f"{_shown(value)} is no array whose parts are alike")
        return literal(found)

    def literal(found: list[Any]) -> str:
        return "{" + ",".join(map(element, found)) + "}"

    def element(each: Any) -> str:
        if isinstance(each, list):
            return literal(each)
        if each is None:
            return "NULL"
        fit = of.fit(of.from_json(each))
        assert isinstance(fit, str)
        return '"' + fit.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return Kind(f"{of.name}[]", "array", fit)


DIMENSIONS = 6
"""That an array may have."""


def _shape(found: list[Any]) -> tuple[int, ...] | None:
    """How long an array is in each dimension; None where its parts are not alike."""
    shapes = {_shape(each) if isinstance(each, list) else () for each in found}
    if len(shapes) > 1 or None in shapes:
        return None
    (within,) = shapes or {()}
    assert within is not None
    if 0 in within or len(within) == DIMENSIONS:
        return None
    return len(found), *within
