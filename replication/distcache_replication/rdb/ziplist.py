"""What listpacks have replaced, and Redis before 7 has written: ziplists and zipmaps.

Format of a ziplist: the length of the whole and the offset of the last entry in 4 bytes each, the
number of entries in 2 (0xFFFF: unknown), lowest byte first; the entries; 0xFF.  An entry begins
with the length of the one before it, in one byte or as 0xFE and 4 bytes, and goes on with

    00nnnnnn                      a string of up to 63 bytes
    01nnnnnn + 1 byte             a string of up to 16383 bytes, highest byte first
    10000000 + 4 bytes            a string, the length highest byte first
    0xC0, 0xD0, 0xE0              an integer of 16, 32, 64 bits, lowest byte first
    0xF0, 0xFE                    an integer of 24 or 8 bits
    1111nnnn                      an integer, nnnn - 1, from 0 to 12

Format of a zipmap: the number of fields in one byte (254 and more: unknown), the fields and values
in turn, 0xFF.  Each begins with its length, in one byte or as 0xFE and 4 bytes, and before a value
there is one byte more: how many unused bytes come after it.
"""

from __future__ import annotations

from itertools import chain
from math import inf
from struct import Struct

from distcache_replication.rdb.errors import BadRdb
from distcache_replication.rdb.window import Container, Window, walk

HEADER = 10
END = 0xFF
UNKNOWN = 0xFFFF
LONG = 0xFE

_header = Struct("<IIH")
_WIDTHS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def decode(data: bytes) -> list[bytes]:
    """The entries of a ziplist; integers as decimal text."""
    size = len(data)
    if size <= HEADER or data[-1] != END:
        raise BadRdb("A ziplist has no end")
    total, tail, count = _header.unpack_from(data)
    if total != size:
        raise BadRdb("A ziplist does not have the length that it says")
    try:
        entries, pos, last, _ = _entries(data, HEADER, size - 1, inf, HEADER, 0)
    except IndexError:
        pos = -1
    if pos != size - 1:
        raise BadRdb("An entry of a ziplist goes past its end")
    if last != tail or count not in (UNKNOWN, len(entries)):
        raise BadRdb("A ziplist does not have as many entries as it says")
    return entries


class Walk:
    """How far a walk over a ziplist has come (a Form)."""

    name = "ziplist"
    begin = HEADER

    def start(self, data: bytes, size: int) -> None:
        total, self.tail, self.left = _header.unpack_from(data)
        if total != size:
            raise BadRdb("A ziplist does not have the length that it says")
        self.unknown = self.left == UNKNOWN
        self.at = self.last = HEADER
        """Where the next entry begins, and where the last one has begun."""
        self.before = 0
        """The length of the last one."""

    def some(self, data: bytes, pos: int, stop: int, limit: float) -> tuple[list[bytes], int]:
        before = self.at - pos
        found = _entries(data, pos, stop, limit, self.last - before, self.before)
        entries, pos, last, self.before = found
        self.at, self.last = before + pos, before + last
        self.left -= len(entries)
        return entries, pos

    def string(self, data: bytes, pos: int) -> tuple[int, int]:
        said, pos = _size(data, pos)
        if said != self.before:
            raise BadRdb("The entries of a ziplist do not fit together")
        return _string(data, pos)

    def after(self, data: bytes, used: int) -> int:
        self.last, self.before = self.at, used
        self.at += used
        self.left -= 1
        return 0

    def finish(self) -> None:
        if self.last != self.tail or (self.left and not self.unknown):
            raise BadRdb("A ziplist does not have as many entries as it says")


def _entries(
    data: bytes, pos: int, stop: int, limit: float, last: int, before: int
) -> tuple[list[bytes], int, int, int]:
    """The entries that begin before ``stop``, up to a string that goes past ``limit``; where that
    is, where the last one has begun, and its length."""
    entries: list[bytes] = []
    while pos < stop:
        start = pos
        said, pos = _size(data, pos)
        if said != before:
            raise BadRdb("The entries of a ziplist do not fit together")
        first = data[pos]
        if first < 0xC0:
            size = first & 0x3F
            if first < 0x40:
                pos += 1
            elif first < 0x80:
                size = size << 8 | data[pos + 1]
                pos += 2
            else:
                size = int.from_bytes(data[pos + 1 : pos + 5], "big")
                pos += 5
            if pos + size > limit:
                return entries, start, last, before
            entries.append(data[pos : pos + size])
            pos += size
        elif 0xF1 <= first <= 0xFD:
            entries.append(b"%d" % (first - 0xF1))
            pos += 1
        else:
            width = _WIDTHS.get(first)
            if width is None:
                raise BadRdb("Unknown kind of entry in a ziplist")
            number = int.from_bytes(data[pos + 1 : pos + 1 + width], "little", signed=True)
            entries.append(b"%d" % number)
            pos += 1 + width
        last, before = start, pos - start
    return entries, pos, last, before


def _string(data: bytes, pos: int) -> tuple[int, int]:
    """Where a string begins, and its size."""
    first = data[pos]
    if first < 0x40:
        return pos + 1, first
    if first < 0x80:
        return pos + 2, (first & 0x3F) << 8 | data[pos + 1]
    return pos + 5, int.from_bytes(data[pos + 1 : pos + 5], "big")


def _size(data: bytes, pos: int) -> tuple[int, int]:
    first = data[pos]
    if first < LONG:
        return first, pos + 1
    if first == END:
        raise IndexError
    return int.from_bytes(data[pos + 1 : pos + 5], "little"), pos + 5


def decode_zipmap(data: bytes) -> list[bytes]:
    """The fields and values of a zipmap, in turn."""
    return list(chain.from_iterable(walk(MapWalk(), Window(len(data), [data]), keep=True)))


class MapWalk:
    """How far a walk over a zipmap has come (a Form)."""

    name = "zipmap"
    begin = 1

    def start(self, data: bytes, size: int) -> None:
        self.said = data[0]
        self.count = self.unused = 0

    def some(self, data: bytes, pos: int, stop: int, limit: float) -> tuple[list[bytes], int]:
        entries: list[bytes] = []
        while pos < stop:
            start, size = self.string(data, pos)
            if start + size + self.unused > limit:
                break
            entries.append(data[start : start + size])
            pos = start + size + self.unused
            self.count += 1
        return entries, pos

    def string(self, data: bytes, pos: int) -> tuple[int, int]:
        size, start = _size(data, pos)
        self.unused = 0
        if self.count % 2:
            self.unused = data[start]
            start += 1
        return start, size

    def after(self, data: bytes, used: int) -> int:
        self.count += 1
        return self.unused

    def finish(self) -> None:
        if self.count % 2 or (self.said < LONG and self.said * 2 != self.count):
            raise BadRdb("A zipmap does not have as many fields as it says")


FORM: Container = (Walk, decode)
ZIPMAP: Container = (MapWalk, decode_zipmap)
