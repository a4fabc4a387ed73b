"""HyperLogLog: how many different elements were added, within 0.81 %, in 12 KB.

A value is a byte string, the same to the byte as Redis's (hyperloglog.c), so GET, SET and APPEND
work on it and it can move between servers.  An element's hash chooses one of 16384 registers, which
keeps the longest run of zero bits seen there, plus one.

    header   "HYLL", encoding (0 dense, 1 sparse), three zero bytes, and the cardinality when last
             counted: 8 bytes, lowest first; the top bit says that it is out of date
    dense    16384 registers of 6 bits, from the lowest bit of the first byte up
    sparse   runs of registers:  00nnnnnn            n + 1 zeros
                                 01nnnnnn nnnnnnnn   n + 1 zeros
                                 1vvvvvnn            n + 1 times v + 1

The cardinality follows Otmar Ertl (2017), "New cardinality estimation algorithms for HyperLogLog
sketches".  Whole sets of registers are handled as long integers or by ``bytes.translate``: a loop
in Python over 16384 registers takes a millisecond.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Sequence
from itertools import chain

REGISTERS = 1 << 14
HEADER = 16
DENSE_SIZE = HEADER + REGISTERS * 6 // 8
MAGIC = b"HYLL"
DENSE, SPARSE = 0, 1
STALE = 0x80
"""In the last byte of the header."""
LARGEST_SPARSE_VALUE = 32


class InvalidHLL(ValueError):
    """The runs of a sparse value are not those of 16384 registers."""


class _TooLarge(Exception):
    """The sparse form cannot hold this."""


def is_hll(value: bytes) -> bool:
    """Whether a string looks like a HyperLogLog: all that can be seen without reading its runs."""
    return (
        len(value) >= HEADER
        and value.startswith(MAGIC)
        and (value[4] == SPARSE or (value[4] == DENSE and len(value) == DENSE_SIZE))
    )


def create() -> bytes:
    """A value without elements, which has been counted."""
    return MAGIC + b"\1" + bytes(11) + b"\x7f\xff"


def add(value: bytes | None, elements: Iterable[bytes], sparse_max: int) -> tuple[bytes, bool]:
    """The value, or a new one, with the elements in it, and whether it differs from before."""
    data: bytes | bytearray = create() if value is None else value
    for element in elements:
        index, rank = _observe(element)
        if data[4] == SPARSE:
            try:
                data = _raise_sparse(bytes(data), index, rank, sparse_max)
                continue
            except _TooLarge:
                data = to_dense(bytes(data))
        data = _raise_dense(data, index, rank)
    if data is value:
        return value, False
    data = bytearray(data)
    data[HEADER - 1] |= STALE
    return bytes(data), True


def count(value: bytes) -> tuple[int, bytes]:
    """The cardinality, and the value that remembers it: the same object where it already did."""
    if not value[HEADER - 1] & STALE:
        return int.from_bytes(value[8:HEADER], "little"), value
    total = _estimate(registers(value))
    stamp = (total & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")
    return total, value[:8] + stamp + value[HEADER:]


def count_union(values: Iterable[bytes]) -> int:
    """The cardinality of all values taken together."""
    return _estimate(_union(values))


def merge(target: bytes | None, sources: Sequence[bytes], sparse_max: int) -> bytes:
    """The value at the target, if there is one, with all that the sources have seen."""
    values = [*sources] if target is None else [target, *sources]
    union = _union(values)
    if target is None:
        target = create()
    header = bytearray(target[:HEADER])
    header[HEADER - 1] |= STALE
    if all(value[4] == SPARSE for value in values):
        try:
            return bytes(header) + _raise_all(target, union, sparse_max)
        except _TooLarge:
            pass
    header[4] = DENSE
    return bytes(header) + _pack(union)


def encoding(value: bytes) -> str:
    return "dense" if value[4] == DENSE else "sparse"


def to_dense(value: bytes) -> bytes:
    """The value in the dense form."""
    if value[4] == DENSE:
        return value
    return MAGIC + b"\0" + value[5:HEADER] + _pack(registers(value))


def decode(value: bytes) -> bytes:
    """The runs of a sparse value, as PFDEBUG DECODE prints them."""
    words = []
    at = HEADER
    while at < len(value):
        code = value[at]
        if code & 0x80:
            words.append(b"v:%d,%d" % ((code >> 2 & 31) + 1, (code & 3) + 1))
        elif code & 0x40:
            words.append(b"Z:%d" % _length(value[at : at + 2]))
            at += 1
        else:
            words.append(b"z:%d" % (code + 1))
        at += 1
    return b" ".join(words)


# Elements

_M = 0xC6A4A7935BD1E995
_MASK = (1 << 64) - 1
_SEED = 0xADC83B19


def murmur(data: bytes) -> int:
    """MurmurHash64A (Austin Appleby) with Redis's seed."""
    size = len(data)
    mixed = _SEED ^ (size * _M & _MASK)
    for word in struct.unpack_from(f"<{size >> 3}Q", data):
        word = word * _M & _MASK
        mixed = (mixed ^ (word ^ word >> 47) * _M & _MASK) * _M & _MASK
    if size & 7:
        mixed = (mixed ^ int.from_bytes(data[size & ~7 :], "little")) * _M & _MASK
    mixed = (mixed ^ mixed >> 47) * _M & _MASK
    return mixed ^ mixed >> 47


def _observe(element: bytes) -> tuple[int, int]:
    """The register of an element, and one more than the zeros its hash has to show."""
    mixed = murmur(element)
    rest = mixed >> 14 | 1 << 50
    return mixed & (REGISTERS - 1), (rest & -rest).bit_length()


# Dense

# Three bytes hold four registers.  What each byte gives to its registers, and the way back:
_LOW_6 = bytes(byte & 63 for byte in range(256))
_HIGH_2 = bytes(byte >> 6 for byte in range(256))
_LOW_4_UP = bytes((byte & 15) << 2 for byte in range(256))
_HIGH_4 = bytes(byte >> 4 for byte in range(256))
_LOW_2_UP = bytes((byte & 3) << 4 for byte in range(256))
_HIGH_6 = bytes(byte >> 2 for byte in range(256))
_LOW_2_TOP = bytes((byte & 3) << 6 for byte in range(256))
_LOW_4_TOP = bytes((byte & 15) << 4 for byte in range(256))
_LOW_6_TOP = bytes((byte & 63) << 2 for byte in range(256))


def _raise_dense(data: bytes | bytearray, index: int, rank: int) -> bytes | bytearray:
    """The value with a register of at least this; the same object if it was no less."""
    at, shift = HEADER + index * 6 // 8, index * 6 % 8
    pair = int.from_bytes(data[at : at + 2], "little")
    if pair >> shift & 63 >= rank:
        return data
    raised = data if isinstance(data, bytearray) else bytearray(data)
    pair = pair & ~(63 << shift) | rank << shift
    raised[at] = pair & 0xFF
    if shift > 2:
        raised[at + 1] = pair >> 8
    return raised


def _both(one: bytes, other: bytes) -> bytes:
    """Bitwise or."""
    bits = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return bits.to_bytes(len(one), "little")


def _unpack(packed: bytes) -> bytes:
    """Registers of six bits -> one byte each."""
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    found = bytearray(REGISTERS)
    found[0::4] = first.translate(_LOW_6)
    found[1::4] = _both(first.translate(_HIGH_2), second.translate(_LOW_4_UP))
    found[2::4] = _both(second.translate(_HIGH_4), third.translate(_LOW_2_UP))
    found[3::4] = third.translate(_HIGH_6)
    return bytes(found)


def _pack(unpacked: bytes) -> bytes:
    """Registers of one byte -> six bits each."""
    first, second, third, fourth = (unpacked[start::4] for start in range(4))
    packed = bytearray(REGISTERS * 6 // 8)
    packed[0::3] = _both(first, second.translate(_LOW_2_TOP))
    packed[1::3] = _both(second.translate(_HIGH_6), third.translate(_LOW_4_TOP))
    packed[2::3] = _both(third.translate(_HIGH_4), fourth.translate(_LOW_6_TOP))
    return bytes(packed)


# Sparse

_WIDE = re.compile(rb"[\x40-\x7f].?", re.DOTALL)
"""A run of two bytes.  No run of one byte begins like it, so a search from a run on is safe."""
_RUN = re.compile(rb"[\x40-\x7f].?|[^\x40-\x7f]", re.DOTALL)
_SPAN = bytes(
    (byte & 3) + 1 if byte & 0x80 else 0 if byte & 0x40 else byte + 1 for byte in range(256)
)
"""How many registers a run of one byte has."""
_EXPANDED = [
    bytes([(byte >> 2 & 31) + 1 if byte & 0x80 else 0]) * _SPAN[byte] for byte in range(256)
]


def _length(run: bytes) -> int:
    """How many registers a run has."""
    if length := _SPAN[run[0]]:
        return length
    if len(run) < 2:
        raise InvalidHLL("a run without its second byte")
    return ((run[0] & 63) << 8 | run[1]) + 1


def _zeros(length: int) -> bytes:
    if length > 64:
        return (0x4000 | length - 1).to_bytes(2, "big")
    return bytes((length - 1,)) if length else b""


def _repeated(rank: int, length: int) -> bytes:
    return bytes((0x80 | rank - 1 << 2 | length - 1,)) if length else b""


def _expand(value: bytes) -> bytes:
    """Runs -> one byte for each register."""
    # A few kilobytes of long runs could ask for gigabytes: count before memory is taken.
    if len(value) > HEADER + 2 * REGISTERS:
        raise InvalidHLL("too many runs")
    pieces: list[bytes] = []
    at, zeros = HEADER, 0
    for wide in _WIDE.finditer(value, HEADER):
        pieces += map(_EXPANDED.__getitem__, value[at : wide.start()])
        length = _length(wide[0])
        zeros += length
        if zeros > REGISTERS:
            raise InvalidHLL("too many registers")
        pieces.append(bytes(length))
        at = wide.end()
    pieces += map(_EXPANDED.__getitem__, value[at:])
    found = b"".join(pieces)
    if len(found) != REGISTERS:
        raise InvalidHLL(f"{len(found)} registers")
    return found


# The same registers can be cut into runs in several ways.  A raised register splits its run in up
# to three, and then neighbours of one value are joined from left to right, as far as a run can be
# long: so the bytes are those of Redis, whatever the order of events.


def _split(run: bytes, offset: int, length: int, rank: int) -> list[bytes]:
    """The run with one of its registers raised to this; nothing if it is no less already."""
    behind = length - offset - 1
    if run[0] & 0x80:
        old = (run[0] >> 2 & 31) + 1
        if old >= rank:
            return []
        parts = (_repeated(old, offset), _repeated(rank, 1), _repeated(old, behind))
    else:
        parts = (_zeros(offset), _repeated(rank, 1), _zeros(behind))
    return [part for part in parts if part]


def _join(runs: Iterable[bytes]) -> list[bytes]:
    """The runs, with those of the same value made one where four registers can hold both."""
    joined: list[bytes] = []
    last = 0
    for run in runs:
        code = run[0]
        # Two runs of values differ in nothing but their lengths, each one less than it says.
        if last & code & 0x80 and last >> 2 == code >> 2 and (last & 3) + (code & 3) < 3:
            last += (code & 3) + 1
            joined[-1] = bytes((last,))
        else:
            joined.append(run)
            last = code
    return joined


def _raise_sparse(value: bytes, index: int, rank: int, limit: int) -> bytes:
    """The value with a register of at least this; the same object if it was no less."""
    if rank > LARGEST_SPARSE_VALUE:
        raise _TooLarge
    at, first, before = _seek(value, index)
    run = value[at : at + (2 if value[at] >> 6 == 1 else 1)]
    parts = _split(run, index - first, _length(run), rank)
    if not parts:
        return value
    growth = sum(map(len, parts)) - len(run)
    if growth > 0 and len(value) + growth > limit:
        raise _TooLarge
    end = at + len(run)
    after = _RUN.match(value, end)
    around = [value[before:at], *parts, after[0] if after else b""]
    joined = b"".join(_join(filter(None, around)))
    return value[:before] + joined + value[end + len(around[-1]) :]


def _seek(data: bytes, index: int) -> tuple[int, int, int]:
    """Where the run with this register starts, its first register, and the start of the run before.

    The last is the same as the first where there is none.
    """
    at, first, before = HEADER, 0, HEADER
    for wide in chain(_WIDE.finditer(data, HEADER), (None,)):
        end = wide.start() if wide else len(data)
        if at < end:
            spans = data[at:end].translate(_SPAN)
            total = sum(spans)
            if index < first + total:
                return _walk(spans, at, first, before, index)
            first += total
            before = end - 1
        if wide:
            length = _length(wide[0])
            if index < first + length:
                return end, first, before
            first += length
            before, at = end, wide.end()
    raise InvalidHLL(f"{first} registers")


def _walk(spans: bytes, at: int, first: int, before: int, index: int) -> tuple[int, int, int]:
    """The same within neighbouring runs of one byte."""
    low, high = 0, len(spans)
    while high - low > 16:
        middle = (low + high) // 2
        total = sum(spans[low:middle])
        if index < first + total:
            high = middle
        else:
            low = middle
            first += total
    while index >= first + spans[low]:
        first += spans[low]
        low += 1
    return at + low, first, at + low - 1 if low else before


def _raise_all(target: bytes, union: bytes, limit: int) -> bytes:
    """The runs of a sparse value after its registers were raised to these, one after the other."""
    if max(union) > LARGEST_SPARSE_VALUE:
        raise _TooLarge
    size = len(target)
    done: list[bytes] = []
    rest = _RUN.findall(target, HEADER)
    rest.reverse()
    first = 0
    for index, (rank, old) in enumerate(zip(union, registers(target), strict=True)):
        if rank == old:
            continue
        while index >= first + (length := _length(rest[-1])):
            first += length
            done.append(rest.pop())
        run = rest.pop()
        parts = _split(run, index - first, length, rank)
        growth = sum(map(len, parts)) - len(run)
        if growth > 0 and size + growth > limit:
            raise _TooLarge
        if done:
            parts.insert(0, done.pop())
            first -= _length(parts[0])
        if rest:
            parts.append(rest.pop())
        size += growth - sum(map(len, parts))
        parts = _join(parts)
        size += sum(map(len, parts))
        # The joined run may have the next register too, so nothing is done yet.
        rest += reversed(parts)
    return b"".join(done) + b"".join(reversed(rest))


# Cardinality


def registers(value: bytes) -> bytes:
    """One byte for each register."""
    return _unpack(value[HEADER:]) if value[4] == DENSE else _expand(value)


_LOW_7_OF_EACH = int.from_bytes(b"\x7f" * REGISTERS, "little")
_TOP_OF_EACH = _LOW_7_OF_EACH + int.from_bytes(b"\1" * REGISTERS, "little")


def _union(values: Iterable[bytes]) -> bytes:
    """The larger of each register, one byte for each."""
    most = 0
    for value in values:
        other = int.from_bytes(registers(value), "little")
        # The top bit of each byte survives the subtraction where ``most`` is not less.
        top = ((most | _TOP_OF_EACH) - other) & _TOP_OF_EACH
        mask = top - (top >> 7)
        most = other ^ (most ^ other) & mask
    return most.to_bytes(REGISTERS, "little")


def _estimate(unpacked: bytes) -> int:
    """The cardinality that these registers speak of."""
    sizes = [0] * 52
    left = REGISTERS
    for rank in range(52):
        sizes[rank] = unpacked.count(rank)
        left -= sizes[rank]
        if not left:
            break
    z = REGISTERS * _tau((REGISTERS - sizes[51]) / REGISTERS)
    for rank in range(50, 0, -1):
        z = (z + sizes[rank]) * 0.5
    z += REGISTERS * _sigma(sizes[0] / REGISTERS)
    estimate = 0.721347520444481703680 * REGISTERS * REGISTERS / z if z else math.inf
    if estimate >= 1 << 63:
        return -1 << 63  # what llroundl() makes of it
    whole = int(estimate)
    return whole + (estimate - whole >= 0.5)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
