"""Listpacks: a few short strings and integers in one byte string.

Format: the length of the whole in 4 bytes, the number of entries in 2 (0xFFFF: unknown), lowest
byte first; the entries; 0xFF.  An entry begins with its kind and, for a string, its length:

    0nnnnnnn                       an integer from 0 to 127
    10nnnnnn                       a string of up to 63 bytes
    110nnnnn + 1 byte              an integer of 13 bits, highest byte first
    1110nnnn + 1 byte              a string of up to 4095 bytes, highest byte first
    0xF0 + 4 bytes                 a string, the length lowest byte first
    0xF1, 0xF2, 0xF3, 0xF4         an integer of 16, 24, 32, 64 bits, lowest byte first

After it stands the length of all that, for walking backwards: seven bits a byte, highest first,
with the top bit set in all but the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from struct import Struct

from distcache_replication.rdb.errors import BadRdb
from distcache_replication.rdb.window import Container

HEADER = 6
END = 0xFF
UNKNOWN = 0xFFFF
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
NINE = ord("9")
LONGEST_INTEGER = 20
LONGEST_BACK = 5

_header = Struct("<IH")
_SMALL = [b"%d" % number for number in range(128)]
_WIDTHS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
_SHORT = [bytes([0x80 | size]) for size in range(64)]
_BACK = [bytes([size]) for size in range(128)]


def decode(data: bytes) -> list[bytes]:
    """The entries; integers as decimal text."""
    size = len(data)
    if size <= HEADER or data[-1] != END:
        raise BadRdb("A listpack has no end")
    total, count = _header.unpack_from(data)
    if total != size:
        raise BadRdb("A listpack does not have the length that it says")
    try:
        entries, pos = _entries(data, HEADER, size - 1, inf)
    except IndexError:
        raise BadRdb("An entry of a listpack goes past its end") from None
    if pos != size - 1:
        raise BadRdb("An entry of a listpack goes past its end")
    if count not in (UNKNOWN, len(entries)):
        raise BadRdb("A listpack does not have as many entries as it says")
    return entries


class Walk:
    """How far a walk over a listpack has come (a Form)."""

    name = "listpack"
    begin = HEADER

    def start(self, data: bytes, size: int) -> None:
        total, self.left = _header.unpack_from(data)
        if total != size:
            raise BadRdb("A listpack does not have the length that it says")
        self.unknown = self.left == UNKNOWN

    def some(self, data: bytes, pos: int, stop: int, limit: float) -> tuple[list[bytes], int]:
        entries, pos = _entries(data, pos, stop, limit)
        self.left -= len(entries)
        return entries, pos

    def string(self, data: bytes, pos: int) -> tuple[int, int]:
        self.left -= 1
        return _string(data, pos)

    def after(self, data: bytes, used: int) -> int:
        back = backwards(used)
        if data[: len(back)] != back:
            raise BadRdb("The entries of a listpack do not fit together")
        return len(back)

    def finish(self) -> None:
        if self.left and not self.unknown:
            raise BadRdb("A listpack does not have as many entries as it says")


def _string(data: bytes, pos: int) -> tuple[int, int]:
    """Where a string of 64 bytes and more begins, and its size."""
    first = data[pos]
    if first < 0xF0:
        return pos + 2, (first & 0xF) << 8 | data[pos + 1]
    return pos + 5, int.from_bytes(data[pos + 1 : pos + 5], "little")


def _entries(data: bytes, pos: int, stop: int, limit: float) -> tuple[list[bytes], int]:
    """The entries that begin before ``stop``, up to a long one that may go past ``limit``."""
    entries: list[bytes] = []
    add = entries.append
    while pos < stop:
        first = data[pos]
        if first < 0xC0:
            if first < 0x80:
                add(_SMALL[first])
                used = 1
                pos += 1
            else:
                used = first - 0x7F
                begin = pos + 1
                pos += used
                add(data[begin:pos])
            if data[pos] != used:
                raise BadRdb("The entries of a listpack do not fit together")
            pos += 1
            continue
        if first < 0xE0:
            number = (first & 0x1F) << 8 | data[pos + 1]
            add(b"%d" % (number - 0x2000 if number >= 0x1000 else number))
            used = 2
        elif first < 0xF1:
            if first < 0xF0:
                start, size = pos + 2, (first & 0xF) << 8 | data[pos + 1]
            else:
                start, size = pos + 5, int.from_bytes(data[pos + 1 : pos + 5], "little")
            if start + size + LONGEST_BACK > limit:
                break
            used = start - pos + size
            add(data[start : start + size])
        else:
            width = _WIDTHS.get(first)
            if width is None:
                raise BadRdb("Unknown kind of entry in a listpack")
            used = 1 + width
            add(b"%d" % int.from_bytes(data[pos + 1 : pos + used], "little", signed=True))
        pos += used
        if used < 128:
            if data[pos] != used:
                raise BadRdb("The entries of a listpack do not fit together")
            pos += 1
        else:
            back = backwards(used)
            if data[pos : pos + len(back)] != back:
                raise BadRdb("The entries of a listpack do not fit together")
            pos += len(back)
    return entries, pos


def encode(entries: Iterable[bytes]) -> bytes:
    """A listpack of these entries."""
    packed = list(map(encode_entry, entries))
    body = b"".join(packed)
    return b"%b%b\xff" % (
        _header.pack(HEADER + len(body) + 1, min(len(packed), UNKNOWN)),
        body,
    )


def encode_entry(value: bytes) -> bytes:
    """An entry with its length; a string that is the text of an integer becomes one."""
    size = len(value)
    if 0 < size <= LONGEST_INTEGER and value[0] <= NINE:
        number = _number(value)
        if number is not None:
            return encode_integer(number)
    if size < 64:
        return b"%b%b%b" % (_SHORT[size], value, _BACK[size + 1])
    if size < 4096:
        head = (0xE000 | size).to_bytes(2, "big")
    else:
        head = b"\xf0" + size.to_bytes(4, "little")
    return b"%b%b%b" % (head, value, backwards(len(head) + size))


def _number(value: bytes) -> int | None:
    if value.isdigit() or (value[:1] == b"-" and value[1:].isdigit()):
        number = int(value)
        if INT64_MIN <= number <= INT64_MAX and b"%d" % number == value:
            return number
    return None


def encode_integer(number: int) -> bytes:
    """An integer with the length of its entry."""
    if 0 <= number < 128:
        return b"%c\x01" % number
    bits = (number if number >= 0 else ~number).bit_length()
    if bits < 13:
        return (0xC000 | (number & 0x1FFF)).to_bytes(2, "big") + b"\x02"
    for kind, width in _WIDTHS.items():
        if bits < width * 8:
            return b"%c%b%c" % (kind, number.to_bytes(width, "little", signed=True), width + 1)
    raise ValueError(number)


def backwards(used: int) -> bytes:
    """The length of an entry, in as many bytes as Redis would use."""
    size = 1 if used < 128 else 2 if used < 16383 else 3 if used < 2097151 else 4
    if used >= 268435455:
        size = 5
    parts = [used >> 7 * (size - 1)]
    parts += [used >> 7 * place & 127 | 128 for place in reversed(range(size - 1))]
    return bytes(parts)


FORM: Container = (Walk, decode)
