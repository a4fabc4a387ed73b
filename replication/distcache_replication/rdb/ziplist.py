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

from struct import Struct

from distcache_replication.rdb.errors import BadRdb

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
    total, last, count = _header.unpack_from(data)
    if total != size:
        raise BadRdb("A ziplist does not have the length that it says")
    try:
        entries, tail = _entries(data, size - 1)
    except IndexError:
        raise BadRdb("An entry of a ziplist goes past its end") from None
    if last != tail or count not in (UNKNOWN, len(entries)):
        raise BadRdb("A ziplist does not have as many entries as it says")
    return entries


def _entries(data: bytes, end: int) -> tuple[list[bytes], int]:
    """The entries, and where the last one begins."""
    entries: list[bytes] = []
    pos = start = HEADER
    before = 0
    while pos < end:
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
        if pos > end:
            raise IndexError
        before = pos - start
    return entries, start


def _size(data: bytes, pos: int) -> tuple[int, int]:
    first = data[pos]
    if first < LONG:
        return first, pos + 1
    if first == END:
        raise IndexError
    return int.from_bytes(data[pos + 1 : pos + 5], "little"), pos + 5


def decode_zipmap(data: bytes) -> list[bytes]:
    """The fields and values of a zipmap, in turn."""
    if len(data) < 2 or data[-1] != END:
        raise BadRdb("A zipmap has no end")
    end = len(data) - 1
    entries: list[bytes] = []
    pos = 1
    try:
        while pos < end:
            size, pos = _size(data, pos)
            entries.append(data[pos : pos + size])
            pos += size
            size, pos = _size(data, pos)
            unused = data[pos]
            pos += 1
            entries.append(data[pos : pos + size])
            pos += size + unused
    except IndexError:
        raise BadRdb("An entry of a zipmap goes past its end") from None
    if pos != end or (data[0] < LONG and data[0] * 2 != len(entries)):
        raise BadRdb("A zipmap does not have as many fields as it says")
    return entries
