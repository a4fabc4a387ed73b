"""LCS: the longest common subsequence of two strings, and where its parts stand.

Redis fills a table with the lengths for the first i bytes of one string and the first j of the
other, and walks back through it from the end.  Here a row of that table is one integer, whose bits
are 0 where the length grows (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited"): a step
of Python does a whole row.  The walk back goes the way that Redis goes, since among subsequences of
the same length that way says which one is the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from distcache_server.arguments import Args, integer
from distcache_server.errors import Failure, SyntaxFailure
from distcache_server.registry import READONLY, Keys, group
from distcache_server.types.buffer import Buffer

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("string")

CELL = 4
"""Bytes of a length in Redis's table, which may not be larger than proto-max-bulk-len."""


class Match(NamedTuple):
    """A part that both strings have in common: where it starts in each, and how long it is."""

    one: int
    other: int
    length: int

    def shown(self, with_length: bool) -> list[Any]:
        """As LCS IDX shows it: where it starts and ends in each, and how long it is if asked."""
        more = self.length - 1
        ranges: list[Any] = [[self.one, self.one + more], [self.other, self.other + more]]
        return [*ranges, self.length] if with_length else ranges


def matches(one: bytes, other: bytes) -> list[Match]:
    """The parts of the longest common subsequence, the last one first."""
    # The longer string is in the bits, the shorter one is walked through.
    swapped = len(one) > len(other)
    rows, columns = (other, one) if swapped else (one, other)
    masks = {byte: places(columns, byte) for byte in set(rows)}
    stops = turns(rows, masks, len(columns), swapped)
    row, column, length = len(rows), len(columns), 0
    found: list[Match] = []
    while row and column:
        if masks[rows[row - 1]] >> (column - 1) & 1:
            row, column, length = row - 1, column - 1, length + 1
            continue
        if length:
            found.append(Match(row, column, length))
            length = 0
        turn = (stops[row - 1] & ((1 << column) - 1)).bit_length()
        if turn == column:
            row -= 1
        column = turn
    if length:
        found.append(Match(row, column, length))
    return [Match(column, row, length) for row, column, length in found] if swapped else found


def places(text: bytes, byte: int) -> int:
    """An integer with a bit for each place in the text where the byte stands."""
    marks = bytearray(b"0" * 256)
    marks[byte] = ord("1")
    return int(text[::-1].translate(marks) or b"0", 2)


def turns(rows: bytes, masks: dict[int, int], width: int, swapped: bool) -> list[int]:
    """For each row, bits where the way back does not go on along the row.

    It leaves the row where the bytes are equal.  Where they are not, it goes to the longer one of
    the neighbours, L(i - 1, j) and L(i, j - 1) with i in the first string and j in the second, and
    to the latter if they are equal.
    """
    whole = (1 << width) - 1
    flat = whole  # bits are 1 where the length does not grow within the row
    stops = []
    for byte in rows:
        mask = masks[byte]
        common = flat & mask
        added = flat + common
        if swapped:
            grown = (added ^ flat ^ common) >> 1  # bits are 1 where it grew since the row before
            flat = (added | (flat - common)) & whole
            stops.append(mask | ~(flat & grown))
        else:
            flat = (added | (flat - common)) & whole
            stops.append(mask | ~flat)
    return stops


@command(
    "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    READONLY,
    keys=Keys(last=1),
    since="7.0.0",
    complexity="O(N*M) where N and M are the lengths of the strings",
)
def lcs(client: Client, words: Args) -> Any:
    """Finds the longest common subsequence of the strings at two keys."""
    keyspace = client.keyspace
    values = keyspace.read_many(words[1:3])
    if any(type(value) not in (bytes, Buffer, type(None)) for value in values):
        raise Failure(b"The specified keys must contain string values")
    one, other = [bytes(value or b"") for value in values]
    flags = {b"LEN": False, b"IDX": False, b"WITHMATCHLEN": False}
    shortest, at = 0, 3
    while at < len(words):
        option = words[at].upper()
        if option in flags:
            flags[option] = True
        elif option == b"MINMATCHLEN" and at + 1 < len(words):
            at += 1
            shortest = integer(words[at])
        else:
            raise SyntaxFailure
        at += 1
    if flags[b"LEN"] and flags[b"IDX"]:
        raise Failure(b"If you want both the length and indexes, please just use IDX.")
    if CELL * (len(one) + 1) * (len(other) + 1) > client.engine.config.proto_max_bulk_len:
        raise Failure(b"Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    found = matches(one, other)
    if flags[b"LEN"]:
        return sum(match.length for match in found)
    if not flags[b"IDX"]:
        return b"".join([one[at : at + length] for at, _, length in reversed(found)])
    with_length = flags[b"WITHMATCHLEN"]
    return {
        b"matches": [match.shown(with_length) for match in found if match.length >= shortest],
        b"len": sum(match.length for match in found),
    }
