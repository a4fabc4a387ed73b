"""The bitmap commands: strings as bits, the most significant bit of the first byte being bit 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_, or_, xor
from typing import TYPE_CHECKING, Any, NamedTuple

from distcache_server.arguments import INT64_MAX, Args, integer, integer_between
from distcache_server.errors import (
    BadBit,
    BadBitfieldType,
    BadBitOffset,
    Failure,
    SyntaxFailure,
)
from distcache_server.events import GENERIC, STRING
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, Keys, group
from distcache_server.types.buffer import Buffer

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("bitmap")

CHUNK = 1 << 16
"""Bytes that are taken through an int at once."""
BLOCK = 4096
"""Bytes of one kind that are skipped at once."""


def bit_offset(client: Client, word: bytes, width: int = 0) -> int:
    """The number of a bit; where a width is given, ``#n`` is the nth field of that width."""
    if width and word[:1] == b"#":
        offset = integer(word[1:], BadBitOffset) * width
    else:
        offset = integer(word, BadBitOffset)
    if offset < 0 or offset >> 3 >= client.engine.config.proto_max_bulk_len:
        raise BadBitOffset
    return offset


@command(
    "SETBIT key offset value", WRITE | DENYOOM, keys=ONE_KEY("RW ACCESS UPDATE"), since="2.2.0"
)
def setbit(client: Client, words: Args) -> int:
    """Sets or clears a bit of the string at a key, and returns what it was."""
    _, key, where, word = words
    offset = bit_offset(client, where)
    bit = integer_between(word, 0, 1, BadBit)
    keyspace = client.keyspace
    buffer = keyspace.buffer(key, keyspace.find_string(key) or b"")
    at, mask = offset >> 3, 0x80 >> (offset & 7)
    grown = at >= len(buffer)
    if grown:
        buffer.extend_to(at + 1)
    old = 1 if buffer[at] & mask else 0
    if old != bit:
        buffer[at] ^= mask
    if grown or old != bit:
        keyspace.changed(key, b"setbit", STRING)
    return old


@command("GETBIT key offset", READONLY | FAST, keys=ONE_KEY("RO ACCESS"), since="2.2.0")
def getbit(client: Client, words: Args) -> int:
    """Returns a bit of the string at a key; 0 past its end."""
    _, key, word = words
    offset = bit_offset(client, word)
    value = client.keyspace.read_string(key)
    at = offset >> 3
    if value is None or at >= len(value):
        return 0
    return value[at] >> (7 - (offset & 7)) & 1


# Ranges of bits


def in_bits(words: Args) -> bool:
    """What a range is counted in: BIT, or BYTE where nothing is said."""
    unit = words[0].upper() if words else b"BYTE"
    if unit not in (b"BIT", b"BYTE"):
        raise SyntaxFailure
    return unit == b"BIT"


def bit_range(start: int, end: int, length: int, bits: bool) -> tuple[int, int]:
    """The first and the last bit of a range of a string; the last is less where it is empty."""
    size = length * 8 if bits else length
    if start < 0:
        start = max(start + size, 0)
    if end < 0:
        end = max(end + size, 0)
    end = min(end, size - 1)
    return (start, end) if bits else (start * 8, end * 8 + 7)


def count_bits(value: bytes | Buffer, first: int, last: int) -> int:
    """How many bits from ``first`` to ``last`` are set."""
    start, end = first >> 3, last >> 3
    count = 0
    for at in range(start, end + 1, CHUNK):
        count += int.from_bytes(value[at : min(at + CHUNK, end + 1)], "big").bit_count()
    count -= (value[start] >> (8 - (first & 7))).bit_count()
    count -= (value[end] & ((1 << (7 - (last & 7))) - 1)).bit_count()
    return count


def find_bit(value: bytes | Buffer, bit: int, first: int, last: int) -> int | None:
    """The first bit from ``first`` to ``last`` that is 1 (or 0), or None."""
    end = (last >> 3) + 1
    flip = 0 if bit else 0xFF
    at = first >> 3
    byte = (value[at] ^ flip) & (0xFF >> (first & 7))
    if not byte:
        at = skip(value, bytes((flip,)), at + 1, end)
        if at == end:
            return None
        byte = value[at] ^ flip
    found = at * 8 + 8 - byte.bit_length()
    return found if found <= last else None


def skip(value: bytes | Buffer, filler: bytes, start: int, end: int) -> int:
    """Where the run of one byte that begins at ``start`` ends."""
    block = filler * BLOCK
    while value.startswith(block, start, end):
        start += BLOCK
    rest = value[start : min(start + BLOCK, end)]
    return start + len(rest) - len(rest.lstrip(filler))


@command(
    "BITCOUNT key [start end [BYTE | BIT]]",
    READONLY,
    keys=ONE_KEY("RO ACCESS"),
    since="2.6.0",
    complexity="O(N)",
)
def bitcount(client: Client, words: Args) -> int:
    """Counts the bits that are set in the string at a key, or in a range of it."""
    value = client.keyspace.read_string(words[1])
    if value is None:
        return 0
    if len(words) == 2:
        first, last = 0, len(value) * 8 - 1
    elif 4 <= len(words) <= 5:
        start, end = integer(words[2]), integer(words[3])
        if start < 0 and end < 0 and start > end:
            return 0
        first, last = bit_range(start, end, len(value), in_bits(words[4:]))
    else:
        raise SyntaxFailure
    return count_bits(value, first, last) if first <= last else 0


@command(
    "BITPOS key bit [start [end [BYTE | BIT]]]",
    READONLY,
    keys=ONE_KEY("RO ACCESS"),
    since="2.8.7",
    complexity="O(N)",
)
def bitpos(client: Client, words: Args) -> int:
    """Finds the first bit that is 1 (or 0) in the string at a key, or in a range of it."""
    bit = integer(words[2])
    if bit not in (0, 1):
        raise Failure(b"The bit argument must be 1 or 0.")
    value = client.keyspace.read_string(words[1])
    if value is None:
        return -1 if bit else 0
    if len(words) > 6:
        raise SyntaxFailure
    start = integer(words[3]) if len(words) > 3 else 0
    bits = in_bits(words[5:])
    end = integer(words[4]) if len(words) > 4 else len(value) * (8 if bits else 1) - 1
    first, last = bit_range(start, end, len(value), bits)
    if first > last:
        return -1
    found = find_bit(value, bit, first, last)
    if found is None:
        # Where no end is given, zeros go on behind the string.
        return -1 if bit or len(words) > 4 else len(value) * 8
    return found


# BITOP

_OPERATIONS: dict[bytes, Callable[[int, int], int] | None] = {
    b"AND": and_,
    b"OR": or_,
    b"XOR": xor,
    b"NOT": None,
}
_INVERTED = bytes(range(255, -1, -1))


def combine(operate: Callable[[int, int], int], values: list[bytes | Buffer]) -> Iterator[bytes]:
    """The result of a bitwise operation on all values, in parts; missing bytes count as zeros."""
    longest = max(map(len, values))
    for at in range(0, longest, CHUNK):
        # With the first byte as the lowest, shorter values are filled up by themselves.
        parts = [int.from_bytes(value[at : at + CHUNK], "little") for value in values]
        yield reduce(operate, parts).to_bytes(min(CHUNK, longest - at), "little")


@command(
    "BITOP <AND | OR | XOR | NOT> destkey key [key ...]",
    WRITE | DENYOOM,
    keys=(Keys(2, access="OW UPDATE"), Keys(3, last=-1, access="RO ACCESS")),
    since="2.6.0",
    complexity="O(N)",
)
def bitop(client: Client, words: Args) -> int:
    """Combines the strings at several keys bit by bit, and stores the result at another."""
    name, target, sources = words[1].upper(), words[2], words[3:]
    if name not in _OPERATIONS:
        raise SyntaxFailure
    operate = _OPERATIONS[name]
    if operate is None and len(sources) > 1:
        raise Failure(b"BITOP NOT must be called with a single source key.")
    keyspace = client.keyspace
    values = [keyspace.read_string(key) or b"" for key in sources]
    if not any(values):
        if keyspace.remove(target):
            keyspace.changed(target, b"del", GENERIC)
        return 0
    if operate is None:
        result = Buffer(values[0].translate(_INVERTED))
    else:
        result = Buffer(b"".join(combine(operate, values)))
    keyspace.put(target, result)
    keyspace.changed(target, b"set", STRING)
    return len(result)


# BITFIELD


class Operation(NamedTuple):
    """A GET, SET or INCRBY of BITFIELD."""

    name: bytes
    offset: int
    width: int
    signed: bool
    number: int
    overflow: bytes


_LENGTHS = {b"GET": 3, b"SET": 4, b"INCRBY": 4}
_WRAP, _SAT, _FAIL = b"WRAP", b"SAT", b"FAIL"


def bitfield_type(word: bytes) -> tuple[bool, int]:
    """``i16`` or ``u8``: whether the field has a sign, and its width in bits."""
    signed = word[:1] == b"i"
    if not signed and word[:1] != b"u":
        raise BadBitfieldType
    return signed, integer_between(word[1:], 1, 64 if signed else 63, BadBitfieldType)


def operations(client: Client, words: Args) -> list[Operation]:
    """The subcommands of BITFIELD."""
    found: list[Operation] = []
    overflow, at = _WRAP, 0
    while at < len(words):
        name = words[at].upper()
        if name == b"OVERFLOW" and at + 1 < len(words):
            overflow = words[at + 1].upper()
            if overflow not in (_WRAP, _SAT, _FAIL):
                raise Failure(b"Invalid OVERFLOW type specified")
            at += 2
            continue
        length = _LENGTHS.get(name, 0)
        if not length or at + length > len(words):
            raise SyntaxFailure
        signed, width = bitfield_type(words[at + 1])
        offset = bit_offset(client, words[at + 2], width)
        number = integer(words[at + 3]) if length == 4 else 0
        found.append(Operation(name, offset, width, signed, number, overflow))
        at += length
    return found


def read_field(value: bytes | Buffer, field: Operation) -> int:
    """The number in a field; past the end of the string there are zeros."""
    start, end = field.offset >> 3, (field.offset + field.width + 7) >> 3
    window = int.from_bytes(value[start:end].ljust(end - start, b"\0"), "big")
    number = window >> (end * 8 - field.offset - field.width) & ((1 << field.width) - 1)
    if field.signed and number >> (field.width - 1):
        number -= 1 << field.width
    return number


def write_field(buffer: Buffer, field: Operation, number: int) -> None:
    """Put a number into a field that lies within the string."""
    start, end = field.offset >> 3, (field.offset + field.width + 7) >> 3
    mask, shift = (1 << field.width) - 1, end * 8 - field.offset - field.width
    window = int.from_bytes(buffer[start:end], "big") & ~(mask << shift)
    buffer[start:end] = (window | (number & mask) << shift).to_bytes(end - start, "big")


def fit(field: Operation, number: int) -> int | None:
    """The number as the field can hold it, as OVERFLOW says; None where the operation fails."""
    if field.signed:
        least, most = -1 << (field.width - 1), (1 << (field.width - 1)) - 1
    else:
        least, most = 0, (1 << field.width) - 1
        if field.name == b"SET":
            # A number below zero is one of 64 bits without a sign, too large for any field.
            number %= 1 << 64
    if least <= number <= most:
        return number
    if field.overflow == _FAIL:
        return None
    if field.overflow == _SAT:
        # Redis takes a number for SET that is so far below zero that 64 bits do not hold its
        # distance to the most for one that is too large.
        below = number < least and (field.name != b"SET" or most - number <= INT64_MAX)
        return least if below else most
    return (number - least) % (most - least + 1) + least


def perform(buffer: Buffer, field: Operation) -> tuple[int | None, bool]:
    """Run a SET or INCRBY; its reply, and whether it changed the string."""
    old = read_field(buffer, field)
    new = fit(field, field.number if field.name == b"SET" else old + field.number)
    if new is None:
        return None, False
    if new != old:
        write_field(buffer, field, new)
    return (old if field.name == b"SET" else new), new != old


def bitfield_keys(words: Args) -> list[tuple[int, str]]:
    """The key of BITFIELD: whether it is written depends on the subcommands."""
    at, reads = 2, True
    while at < len(words):
        name = words[at].upper()
        reads &= name not in (b"SET", b"INCRBY")
        at += _LENGTHS.get(name, 2 if name == b"OVERFLOW" else 1)
    return [(1, "RO ACCESS" if reads else "RW ACCESS UPDATE")]


@command(
    "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value"
    " | INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>]"
    " <SET encoding offset value | INCRBY encoding offset increment> ...]]",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW UPDATE ACCESS VARIABLE_FLAGS", "Subcommands read or write"),
    since="3.2.0",
    complexity="O(1) for each subcommand specified",
    getkeys=bitfield_keys,
)
def bitfield(client: Client, words: Args) -> list[Any]:
    """Reads, sets and counts up integers of any width within the string at a key."""
    key = words[1]
    fields = operations(client, words[2:])
    writes = [field for field in fields if field.name != b"GET"]
    keyspace = client.keyspace
    if not writes:
        value = keyspace.read_string(key) or b""
        return [read_field(value, field) for field in fields]
    value = keyspace.find_string(key) or b""
    length = (max(field.offset + field.width for field in writes) + 7) >> 3
    changed = len(value) < length
    buffer = keyspace.buffer(key, value)
    buffer.extend_to(length)
    replies: list[Any] = []
    for field in fields:
        if field.name == b"GET":
            replies.append(read_field(buffer, field))
        else:
            reply, written = perform(buffer, field)
            replies.append(reply)
            changed |= written
    if changed:
        keyspace.changed(key, b"setbit", STRING)
    return replies


@command(
    "BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]",
    READONLY | FAST,
    keys=ONE_KEY("RO ACCESS"),
    since="6.0.0",
    complexity="O(1) for each subcommand specified",
)
def bitfield_ro(client: Client, words: Args) -> list[Any]:
    """Reads integers of any width within the string at a key."""
    fields = operations(client, words[2:])
    if any(field.name != b"GET" for field in fields):
        raise Failure(b"BITFIELD_RO only supports the GET subcommand")
    value = client.keyspace.read_string(words[1]) or b""
    return [read_field(value, field) for field in fields]
