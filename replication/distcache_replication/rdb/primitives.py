"""Lengths, strings and numbers: what all of a snapshot is made of.

Format of a length, by the two highest bits of its first byte:

    00nnnnnn                      6 bits
    01nnnnnn nnnnnnnn             14 bits
    10000000 + 4 bytes            32 bits, highest byte first
    10000001 + 8 bytes            64 bits, highest byte first
    11......                      not a length but a string in a special form

A string is a length and as many bytes, or one of the special forms: 0xC0, 0xC1, 0xC2 and an integer
of 8, 16 or 32 bits, lowest byte first, whose decimal text is meant; 0xC3, the length of the
compressed bytes, the length of the string, and the bytes as LZF.

The readers take the data and a position and return what is there and the position after it.  They
raise Short, or IndexError, where the data ends too early.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from struct import Struct, error

import lzf

from distcache_replication.rdb.errors import BadRdb, Large, Short

INT8, INT16, INT32, LZF = 0xC0, 0xC1, 0xC2, 0xC3
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
SHORTEST_COMPRESSED = 21
LONGEST_COMPRESSED = 1 << 20
"""Compressing a longer string would hold up everything else for too long."""
LONGEST_INTEGER = 11
FEW = 1 << 20
"""Compressed strings that say they are longer than this are measured first."""
REACH = 1 << 13
"""How far back LZF refers at most."""
EXPANSION = 264 // 3
"""Three bytes of LZF stand for 264 at most."""
PIECE = 1 << 11
"""So many strings of a collection are read together."""
ROOM = 1 << 19
"""What a value may take, besides twice its bytes, without being checked before it is built."""
NINE = ord("9")

_double = Struct("<d")
_int64 = Struct("<q")
_uint64 = Struct("<Q")
_LENGTHS = [bytes([size]) for size in range(64)]
_INTEGERS = {INT8: 1, INT16: 2, INT32: 4}


# Reading


def read_length(data: bytes, pos: int) -> tuple[int, int]:
    """A length."""
    first = data[pos]
    if first < 0x40:
        return first, pos + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | data[pos + 1], pos + 2
    if first == 0x80:
        end = pos + 5
    elif first == 0x81:
        end = pos + 9
    else:
        raise BadRdb("Not a length", pos)
    if end > len(data):
        raise Short(end)
    return int.from_bytes(data[pos + 1 : end], "big"), end


def read_string(data: bytes, pos: int, room: float = inf) -> tuple[bytes, int]:
    """A string in any of its forms; Large where LZF makes it longer by more than ``room``."""
    first = data[pos]
    if first < INT8:
        # What read_length would do, for most strings.
        size, pos = (first, pos + 1) if first < 0x40 else read_length(data, pos)
        end = pos + size
        if end > len(data):
            raise Short(end)
        return data[pos:end], end
    if first == LZF:
        return read_compressed(data, pos, room)
    width = _INTEGERS.get(first)
    if width is None:
        raise BadRdb("Unknown form of a string", pos)
    end = pos + 1 + width
    if end > len(data):
        raise Short(end)
    return b"%d" % int.from_bytes(data[pos + 1 : end], "little", signed=True), end


def read_strings(
    data: bytes, pos: int, count: int, room: float = inf, each: int = 0
) -> tuple[list[bytes], int]:
    """So many strings; Large where they take more than ``allowed``, at so much ``each``."""
    if count > PIECE:
        return _read_many(data, pos, count, room, each)
    found: list[bytes] = []
    add = found.append
    for _ in range(count):
        first = data[pos]
        if first < 0x40:
            begin = pos + 1
            pos = begin + first
            add(data[begin:pos])
        elif first == LZF:
            value, after = read_compressed(data, pos, room)
            room -= len(value) - (after - pos)
            pos = after
            add(value)
        else:
            value, pos = read_string(data, pos)
            add(value)
    if pos > len(data):
        raise Short(pos)
    return found, pos


def _read_many(
    data: bytes, pos: int, count: int, room: float, each: int
) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    begin, taken = pos, 0
    while left := count - len(found):
        part, pos = read_strings(data, pos, min(left, PIECE), allowed(pos - begin, room) - taken)
        found += part
        taken += sum(map(len, part)) + each * len(part)
        if taken > allowed(pos - begin, room):
            raise Large
    return found, pos


def allowed(used: int, room: float) -> float:
    """How much a value may take that is built from so many bytes, and is not checked before."""
    return 2 * used + room


def read_compressed(data: bytes, begin: int, room: float = inf) -> tuple[bytes, int]:
    """A string in compressed form; Large as ``read_string``."""
    pos = begin + 1
    packed = data[pos]
    # What read_length would do, for most strings.
    if packed < 0x40:
        pos += 1
    else:
        packed, pos = read_length(data, pos)
    size = data[pos]
    if 0x40 <= size < 0x80:
        size = (size & 0x3F) << 8 | data[pos + 1]
        pos += 2
    else:
        size, pos = read_length(data, pos)
    end = pos + packed
    # Nothing is set aside for a length that a few bytes of LZF cannot have.
    if size > packed * EXPANSION:
        raise BadRdb("A compressed string says that it is longer than it can be", begin)
    if end > len(data):
        raise Short(end)
    if size > packed + room:
        raise Large
    if size > FEW:
        measure(data, pos, end, size)
    try:
        value = lzf.decompress(data[pos:end], size)
    except ValueError:
        value = None
    if value is None or len(value) != size:
        raise BadRdb("A compressed string is damaged", begin)
    return value, end


def compressed(data: bytes, begin: int) -> tuple[int, int, int]:
    """Of a string in compressed form: where its LZF bytes begin and end, and its length."""
    packed, pos = read_length(data, begin + 1)
    size, pos = read_length(data, pos)
    if size > packed * EXPANSION:
        raise BadRdb("A compressed string says that it is longer than it can be", begin)
    if pos + packed > len(data):
        raise Short(pos + packed)
    return pos, pos + packed, size


def measure(data: bytes, begin: int, end: int, said: int) -> None:
    """BadRdb where LZF bytes are damaged or have another length: found without expanding them."""
    pos, size = begin, 0
    while pos < end:
        control = data[pos]
        if control < 32:
            pos += control + 2
            size += control + 1
            continue
        # Nothing can refer to before the start when so much is there.
        if size < REACH and (control & 31) << 8 | data[pos + 1 + (control >= 224)] >= size:
            raise BadRdb("A compressed string is damaged", begin)
        if control < 224:
            pos += 2
            size += (control >> 5) + 2
        else:
            size += data[pos + 1] + 9
            pos += 3
    if pos != end:
        raise BadRdb("A compressed string is damaged", begin)
    if size != said:
        raise BadRdb("A compressed string does not have the length that it says", begin)


def _read_number(form: Struct) -> Callable[[bytes, int], tuple[int, int]]:
    unpack, width = form.unpack_from, form.size

    def read(data: bytes, pos: int) -> tuple[int, int]:
        try:
            return unpack(data, pos)[0], pos + width
        except error:
            raise Short(pos + width) from None

    return read


read_int64 = _read_number(_int64)
read_uint64 = _read_number(_uint64)


# Writing


def length(size: int) -> bytes:
    """A length."""
    if size < 0x40:
        return _LENGTHS[size]
    if size < 0x4000:
        return (0x4000 | size).to_bytes(2, "big")
    if size < 1 << 32:
        return b"\x80" + size.to_bytes(4, "big")
    return b"\x81" + size.to_bytes(8, "big")


def string(value: bytes, compress: bool) -> bytes:
    """A string, in the shortest form where ``compress`` is set."""
    size = len(value)
    if size <= LONGEST_INTEGER:
        if value and value[0] <= NINE:
            short = _integer(value)
            if short is not None:
                return short
    elif compress and SHORTEST_COMPRESSED <= size <= LONGEST_COMPRESSED:
        packed = lzf.compress(value, size - 4)
        if packed is not None:
            return b"\xc3%b%b%b" % (length(len(packed)), length(size), packed)
    return length(size) + value


def _integer(value: bytes) -> bytes | None:
    """The value as an integer, where it is the decimal text of one of 32 bits."""
    if not (value.isdigit() or (value[:1] == b"-" and value[1:].isdigit())):
        return None
    number = int(value)
    if not INT32_MIN <= number <= INT32_MAX or b"%d" % number != value:
        return None
    if -128 <= number < 128:
        return b"\xc0" + number.to_bytes(1, "little", signed=True)
    if -32768 <= number < 32768:
        return b"\xc1" + number.to_bytes(2, "little", signed=True)
    return b"\xc2" + number.to_bytes(4, "little", signed=True)


int64 = _int64.pack
double = _double.pack
