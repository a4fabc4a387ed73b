"""Checking a value before it is built, where building it could take too much memory.

A check walks over a value in pieces and keeps only hashes: 8 bytes of each member or field.  It
refuses what a reader would refuse, and takes no more memory than a small multiple of the bytes that
are there, whatever they say.

Rows are what a walk yields: some members or fields, and of each what else must be looked at: its
score, or its deadline.  A word in them may be what stands for a long one (``window.short``).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeAlias, TypeVar

from distcache_replication.rdb.errors import BadRdb, Short
from distcache_replication.rdb.primitives import (
    LZF,
    PIECE,
    compressed,
    measure,
    read_length,
    read_string,
    read_uint64,
)
from distcache_replication.rdb.window import LONG, Form, Window, digest, expanded, short, walk

Words: TypeAlias = Generator[list[bytes], None, int]
"""Some words at a time; returned is the position after them, as with rows."""
Row: TypeAlias = tuple[list[bytes], list[bytes]]
Rows: TypeAlias = Generator[Row, None, int]
Check: TypeAlias = Callable[[bytes, int], int]
"""Returns the position after the value; BadRdb, Short, IndexError."""
Walk: TypeAlias = Callable[[bytes, int], Rows]
T = TypeVar("T")

GROUPS, GROUP = 1 << 4, (1 << 4) - 1
"""Hashes are kept apart by their lowest bits, so that a set of one group's is small."""
PLAIN, PACKED = 1, 2
"""The containers of a quicklist's nodes."""
ALL = -1
SPARE = 1 << 17
"""What is set aside whatever the size of a value."""


# Strings


def word(data: bytes, pos: int) -> tuple[bytes, int]:
    """A string, or what stands for it if it is long."""
    if data[pos] == LZF:
        begin, end, size = compressed(data, pos)
        if size > LONG:
            measure(data, begin, end, size)
            return digest(expanded(data, begin, end)), end
    value, pos = read_string(data, pos)
    return short(value), pos


def skip(data: bytes, pos: int) -> int:
    """The position after a string."""
    first = data[pos]
    if first < 0x80:
        size, pos = read_length(data, pos)
        if pos + size > len(data):
            raise Short(pos + size)
        return pos + size
    if first == LZF:
        begin, end, size = compressed(data, pos)
        if size > LONG:
            measure(data, begin, end, size)
            return end
    return read_string(data, pos)[1]


def container(data: bytes, pos: int) -> tuple[Window, int]:
    """A string that holds entries; one that LZF makes much longer is not expanded as a whole."""
    if data[pos] == LZF:
        begin, end, size = compressed(data, pos)
        if size > end - begin + SPARE:
            measure(data, begin, end, size)
            return Window(size, expanded(data, begin, end)), end
    value, pos = read_string(data, pos)
    return Window(len(value), [value]), pos


def _all_there(data: bytes, pos: int, count: int) -> None:
    """Short where so many strings are not there yet."""
    left = count
    while left and pos < len(data):
        first = data[pos]
        if first < 0x40:
            pos += 1 + first
        elif first < 0x80:
            pos += 2 + ((first & 0x3F) << 8 | data[pos + 1])
        elif first == LZF:
            pos = compressed(data, pos)[1]
        else:
            pos = skip(data, pos)
        left -= 1
    if pos + left > len(data):
        raise Short(pos + left)


# Rows


class Walked(Iterable[T]):
    """What a walk yields, and after that where it has ended."""

    def __init__(self, walk: Generator[T, None, int]) -> None:
        self._walk = walk
        self.after = 0

    def __iter__(self) -> Iterator[T]:
        self.after = yield from self._walk


def _rows(pieces: Iterable[list[bytes]], every: int, last: int) -> Iterator[Row]:
    """Of words in rows of so many, the first, and the one at ``last``."""
    rest: list[bytes] = []
    for piece in pieces:
        found = rest + piece if rest else piece
        whole = len(found) - len(found) % every
        rest = found[whole:]
        yield found[:whole:every], found[last:whole:every] if last else []
    if rest:
        raise BadRdb("A member or field is not complete")


def strings(every: int = 1) -> Walk:
    """A count, and for each a string, or one and its value."""

    def rows(data: bytes, pos: int) -> Rows:
        count, pos = read_length(data, pos)
        if pos + every * count > len(data):
            raise Short(pos + every * count)
        _all_there(data, pos, every * count)
        while count:
            found: list[bytes] = []
            add = found.append
            room = SPARE
            for _ in range(min(count, PIECE)):
                first = data[pos]
                if first < 0x40:
                    begin = pos + 1
                    pos = begin + first
                    add(data[begin:pos])
                else:
                    one, pos = word(data, pos)
                    add(one)
                    room -= len(one)
                if every == 2:
                    first = data[pos]
                    pos = pos + 1 + first if first < 0x40 else skip(data, pos)
                if room < 0:
                    break
            count -= len(found)
            yield found, []
        if pos > len(data):
            raise Short(pos)
        return pos

    return rows


def packed(form: Callable[[], Form], every: int = 1, last: int = 0, before: int = 0) -> Walk:
    """A container, with so many bytes before it."""

    def rows(data: bytes, pos: int) -> Rows:
        window, after = container(data, pos + before)
        yield from _rows(walk(form(), window), every, last)
        return after

    return rows


def dated_head(data: bytes, pos: int, relative: bool) -> tuple[int, int, int]:
    """Of a hash with deadlines: how many fields it has, the earliest deadline, the position."""
    earliest = 1
    if relative:
        earliest, pos = read_uint64(data, pos)
    count, pos = read_length(data, pos)
    if pos + 3 * count > len(data):
        raise Short(pos + 3 * count)
    return count, earliest, pos


def dated(relative: bool) -> Walk:
    """Fields, each with its deadline before it and its value after it."""

    def rows(data: bytes, pos: int) -> Rows:
        count, earliest, pos = dated_head(data, pos, relative)
        for _ in range(count):
            after, pos = read_length(data, pos)
            field, pos = word(data, pos)
            pos = skip(data, pos)
            yield [field], [b"%d" % (earliest + after - 1) if after else b"0"]
        return pos

    return rows


# Members that are different


class Different:
    """Finds words that come twice, by their hashes, as many at a time as there is room for.

    ``again`` walks over the words, as often as it is needed.
    """

    def __init__(self, again: Callable[[], Iterator[list[bytes]]], room: float) -> None:
        self._again = again
        self._room = room
        self._mask = 0
        """Other bits of the hashes than those of a group say in which turn each comes."""
        self._turn = 0
        self.groups: list[array[int]] = [array("q") for _ in range(GROUPS)]
        self._adds = [group.append for group in self.groups]
        self.count = 0
        """How many are in them."""

    def add(self, found: list[bytes]) -> None:
        """Take these words, and if there are too many by now, go on with fewer; BadRdb."""
        adds = self._adds
        if not self._mask:
            for it in map(hash, found):
                adds[it & GROUP](it)
            self.count += len(found)
        else:
            for it in map(hash, found):
                if it // GROUPS & self._mask == self._turn:
                    adds[it & GROUP](it)
                    self.count += 1
        if self.count * 8 > self._room:
            self._narrow()

    def _narrow(self) -> None:
        self.settle()
        if self._turn:
            # There are not many more than in the first turn, which have found room.
            self._room *= 2
            return
        while self.count * 16 > self._room:
            self._mask = self._mask * 2 + 1
            for group in self.groups:
                group[:] = array("q", (it for it in group if it // GROUPS & self._mask == 0))
            self.count = sum(map(len, self.groups))

    def settle(self) -> None:
        """BadRdb where one of the words that were added came before."""
        for group in self.groups:
            if len(set(group)) < len(group):
                self._verify(group)

    def _verify(self, group: array[int]) -> None:
        """Two have one hash: look whether they are the same word."""
        once: set[int] = set()
        for it in group:
            if it in once:
                seen = set()
                for found in self._again():
                    for other in found:
                        if hash(other) == it:
                            if other in seen:
                                raise BadRdb("A member or field comes twice")
                            seen.add(other)
            once.add(it)

    def same(self, other: Different) -> bool:
        """Whether the words are those of the other, none of which comes twice here or there."""
        pairs = zip(self.groups, other.groups, strict=True)
        return self.count == other.count and all(set(one) == set(its) for one, its in pairs)

    def turns(self) -> None:
        """All have been added once: do the turns for which there was no room."""
        self.settle()
        while self._turn < self._mask:
            self._turn += 1
            for group in self.groups:
                del group[:]
            self.count = 0
            for found in self._again():
                self.add(found)
            self.settle()


def each(rows: Walk) -> Check:
    """All of a list is as it must be."""

    def check(data: bytes, pos: int) -> int:
        walked = Walked(rows(data, pos))
        for _ in walked:
            pass
        return walked.after

    return check


def different(rows: Walk, fits: Callable[[list[bytes]], object] | None = None) -> Check:
    """All is as it must be, and the members or fields are different; ``fits`` looks at the rest."""

    def check(data: bytes, pos: int) -> int:
        def again() -> Iterator[list[bytes]]:
            return (members for members, _ in rows(data, pos))

        known = Different(again, len(data) - pos + SPARE)
        walked = Walked(rows(data, pos))
        for members, rest in walked:
            if fits is not None:
                fits(rest)
            known.add(members)
        known.turns()
        return walked.after

    return check


def nodes(form: Callable[[], Form], kinds: bool) -> Check:
    """A list in nodes, each a container or, where a number before it says so, an element."""

    def heads(data: bytes, pos: int) -> Iterator[tuple[int, int]]:
        """Each node's kind, and where it begins; then the position after all."""
        count, pos = read_length(data, pos)
        for _ in range(count):
            kind = PACKED
            if kinds:
                kind, pos = read_length(data, pos)
            yield kind, pos
            pos = compressed(data, pos)[1] if data[pos] == LZF else skip(data, pos)
        yield ALL, pos

    def check(data: bytes, pos: int) -> int:
        for _ in heads(data, pos):
            pass  # They are all there.
        for kind, after in heads(data, pos):
            if kind == PACKED:
                for _ in walk(form(), container(data, after)[0]):
                    pass
            elif kind == PLAIN:
                skip(data, after)
            elif kind != ALL:
                raise BadRdb("Unknown kind of node in a list", after)
        return after

    return check
