"""A sorted set: members with scores, in the order of (score, member).

The order stands in two lists of chunks, one of scores and one of members, cut at the same places:

    _scores   [array([1.0, 2.0, 2.0]), array([2.0, 7.5]), ...]
    _members  [[b"x", b"a", b"b"],     [b"c", b"k"],      ...]
    _firsts   [1.0,                    2.0,               ...]

Two binary searches over plain floats find a place: among the firsts, then inside a chunk.  Members
are looked at only where scores are equal, and an insertion moves the pointers of one chunk.  A list
of (score, member) tuples as sortedcontainers keeps it takes twice the time and more memory.

Ranges are spans of ranks, ``(start, stop)`` with ``stop`` outside, lowest score first.  Whatever a
command selects by (rank, score, name), it asks for the span and then counts, reads or removes that.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from sys import getsizeof
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from distcache_server.types.kept import keep, released
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.types.limits import Limits

T = TypeVar("T")
Item: TypeAlias = tuple[bytes, float]
Span: TypeAlias = tuple[int, int]

CHUNK = 1024
"""A chunk with more members than this is cut in two."""
FEW = CHUNK // 8
"""A chunk that a removal leaves with fewer members than this joins its neighbour."""
SAMPLE = 8
"""Members that are measured to estimate what all of them take."""
FRAME = 576
"""Bytes of a set without members: the object, its lists and their first chunks."""
SCORED = 50
"""Bytes per member besides the table: a score as an object and as a number, a place in a chunk."""
DICT = 512
"""Up to here a dict holds the scores, then a Table, which grows in steps and can be scanned."""


class SortedSet:
    """Members with scores, in order.  A score is never NaN; -0.0 becomes 0.0, as in a listpack."""

    __slots__ = ("_firsts", "_members", "_scores", "packed", "scores")

    def __init__(self, items: Iterable[Item] = (), limits: Limits | None = None) -> None:
        """A set of these items, in the encoding that the limits ask for."""
        self.scores: dict[bytes, float] | Table[bytes, float] = {
            member: score + 0.0 for member, score in items
        }
        """The score of each member; for others to read, not to write."""
        self._scores: list[array[float]] = []
        self._members: list[list[bytes]] = []
        self._firsts: list[float] = []
        ordered = sorted(zip(self.scores.values(), self.scores, strict=True))
        size = CHUNK // 4 * 3
        # There is always one chunk, even if it is empty.
        for start in range(0, len(ordered) or 1, size):
            part = ordered[start : start + size]
            self._scores.append(array("d", [score for score, _ in part]))
            self._members.append([member for _, member in part])
            self._firsts.append(part[0][0] if part else 0.0)
        if len(ordered) > DICT:
            self._use_table()
        self.packed = True
        """Redis would keep it in a listpack: until it outgrows that, then no more."""
        if limits is not None:
            longest = max(map(len, self.scores), default=0)
            self.packed = len(ordered) <= limits.zset_entries and longest <= limits.zset_value

    def copy(self) -> SortedSet:
        other = SortedSet()
        other.scores = self.scores.copy()
        other.packed = self.packed
        other._scores = [scores[:] for scores in self._scores]
        other._members = [members[:] for members in self._members]
        other._firsts = self._firsts[:]
        return other

    def _use_table(self) -> None:
        assert type(self.scores) is dict
        self.scores = Table.of(self.scores)

    # Size and encoding

    @property
    def encoding(self) -> bytes:
        return b"listpack" if self.packed else b"skiplist"

    def grown(self, longest: int, limits: Limits) -> None:
        """Unpack a packed set that is too large now, ``longest`` being its longest new member."""
        if len(self.scores) > limits.zset_entries or longest > limits.zset_value:
            self.packed = False

    def memory(self) -> int:
        """About how many bytes it takes, from the size of a few members."""
        known, chunks = self.scores, self._members
        seen = list(map(getsizeof, chunks[len(chunks) // 2][:SAMPLE]))
        members = len(known) * sum(seen) // (len(seen) or 1)
        table = known.memory() if isinstance(known, Table) else getsizeof(known)
        return FRAME + table + members + SCORED * len(known)

    def drain(self) -> bool:
        """Free a part of a set that is no longer used; False where nothing is left."""
        if isinstance(self.scores, Table) and self.scores.drain():
            return True
        self.scores = {}
        return bool(self._members and self._members.pop())

    # One member

    def __len__(self) -> int:
        return len(self.scores)

    def __contains__(self, member: bytes) -> bool:
        return member in self.scores

    def score(self, member: bytes) -> float | None:
        return self.scores.get(member)

    def add(self, member: bytes, score: float) -> float | None:
        """Give a member this score; the one it had, or None where it is new."""
        known = self.scores
        # What Table.get and Table.__setitem__ would do, in one go.
        part = known.parts[hash(member) & known.mask] if type(known) is Table else known
        old = part.get(member)
        if old == score:
            return old
        score += 0.0
        part[member] = score
        if old is not None:
            self._take(old, member)
        elif type(known) is Table:
            known.grown(member, len(part) - 1)
        elif len(part) > DICT:
            self._use_table()
        at, place = self._place(score, member)
        scores = self._scores[at]
        scores.insert(place, score)
        self._members[at].insert(place, member)
        if not place:
            self._firsts[at] = score
        if len(scores) > CHUNK:
            self._split(at)
        return old

    def remove(self, member: bytes) -> bool:
        """Drop a member; whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self._take(score, member)
        return True

    def rank(self, member: bytes, reverse: bool = False) -> int | None:
        """How many members stand before this one, or after it."""
        score = self.scores.get(member)
        if score is None:
            return None
        at, place = self._place(score, member)
        rank = self._before(at) + place
        return len(self.scores) - 1 - rank if reverse else rank

    # Both ends

    def pop_min(self, count: int = 1) -> list[Item]:
        """Take out the members with the lowest scores, lowest first."""
        if count == 1 and self._members[0]:
            return [self._pop(0, 0)]
        span = (0, min(count, len(self)))
        items = self.items(span)
        self.remove_span(span)
        return items

    def pop_max(self, count: int = 1) -> list[Item]:
        """Take out the members with the highest scores, highest first."""
        if count == 1 and self._members[-1]:
            return [self._pop(-1, -1)]
        span = (max(len(self) - count, 0), len(self))
        items = self.items(span, reverse=True)
        self.remove_span(span)
        return items

    def _pop(self, at: int, place: int) -> Item:
        scores = self._scores[at]
        item = self._members[at].pop(place), scores.pop(place)
        self.scores.pop(item[0])
        if len(scores) < FEW:
            self._join(at % len(self._scores))
        elif not place:
            self._firsts[at] = scores[0]
        return item

    # Spans

    def span_by_score(
        self, low: float, high: float, low_open: bool = False, high_open: bool = False
    ) -> Span:
        """The members with low <= score <= high; an open end is outside."""
        start = self._count_below(low, low_open)
        return start, max(start, self._count_below(high, not high_open))

    def _count_below(self, score: float, or_equal: bool) -> int:
        search = bisect_right if or_equal else bisect_left
        at = max(search(self._firsts, score) - 1, 0) if len(self._firsts) > 1 else 0
        return self._before(at) + search(self._scores[at], score)

    def span_by_name(
        self,
        low: bytes | None,
        high: bytes | None,
        low_open: bool = False,
        high_open: bool = False,
        reverse: bool = False,
    ) -> Span:
        """The members with low <= member <= high; None is an end without bound.

        This has a meaning only where all scores are equal.  Elsewhere a short set is walked through
        as Redis walks through a listpack, in the direction given.
        """
        # Among byte strings x + NUL comes next after x.
        least = b"" if low is None else low + b"\0" if low_open else low
        end = None if high is None else high if high_open else high + b"\0"
        if len(self._members) == 1:
            scores = self._scores[0]
            if scores and scores[0] != scores[-1]:
                return _walk(self._members[0], least, end, reverse)
        start = self._count_named_below(least)
        stop = len(self) if end is None else self._count_named_below(end)
        return start, max(start, stop)

    def _count_named_below(self, name: bytes) -> int:
        # The chunks compare with the probe by what they begin with.
        at = max(bisect_left(self._members, [name]) - 1, 0)
        return self._before(at) + bisect_left(self._members[at], name)

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._members)

    def batches(self, kept: bool) -> Iterator[list[Item]]:
        """All items from the end on, chunk by chunk; if ``kept``, as they are now.

        That holds until ``release``.
        """
        last = len(self._members) - 1
        if not kept:
            chunks, numbers = self._members, self._scores
            return (_backwards(chunks[at], numbers[at]) for at in range(last, -1, -1))
        self._members, members = keep(self._members, list.copy)
        self._scores, scores = keep(self._scores, array.__copy__)
        return (_backwards(members.take(at), scores.take(at)) for at in range(last, -1, -1))

    def release(self) -> None:
        """Who read the items is done."""
        self._members, self._scores = released(self._members), released(self._scores)

    def members(self, span: Span, reverse: bool = False) -> list[bytes]:
        """The members of the span, in order."""
        if span[1] <= len(self._members[0]):
            found = self._members[0][span[0] : span[1]]
        else:
            found = _read(self._members, *self._locate(span))
        if reverse:
            found.reverse()
        return found

    def items(self, span: Span, reverse: bool = False) -> list[Item]:
        """The members of the span, in order, each with its score."""
        start, stop = span
        if stop <= len(self._members[0]):
            found = list(
                zip(self._members[0][start:stop], self._scores[0][start:stop], strict=True)
            )
        else:
            at, place, count = self._locate(span)
            members = _read(self._members, at, place, count)
            found = list(zip(members, _read(self._scores, at, place, count), strict=True))
        if reverse:
            found.reverse()
        return found

    def remove_span(self, span: Span) -> list[bytes]:
        """Drop the members of the span, and say which they were."""
        at, place, left = self._locate(span)
        removed: list[bytes] = []
        while left > 0:
            scores, members = self._scores[at], self._members[at]
            gone = members[place : place + left]
            removed += gone
            left -= len(gone)
            del scores[place : place + len(gone)], members[place : place + len(gone)]
            if members:
                self._firsts[at] = scores[0]
                at += 1
            elif len(self._members) > 1:
                del self._scores[at], self._members[at], self._firsts[at]
            place = 0
        for near in (at, at - 1):
            if 0 <= near < len(self._members) and len(self._members[near]) < FEW:
                self._join(near)
        for member in removed:
            self.scores.pop(member)
        return removed

    # Any member

    def scan(self, cursor: int, count: int) -> tuple[int, list[Item]]:
        """At least ``count`` members, if there are, and the next cursor (0: done).

        A member that is there from the first call to the last is returned, whatever its score does.
        A short set is returned at once.
        """
        known = self.scores
        if isinstance(known, dict):
            return 0, self.items((0, len(self)))
        cursor, members = known.scan(cursor, count)
        return cursor, [(member, known[member]) for member in members]

    def draw(self) -> Item:
        """A member at random, each as likely as any other; IndexError where there is none."""
        if len(self._members) == 1:
            place = random.randrange(len(self._members[0])) if self.scores else 0
            return self._members[0][place], self._scores[0][place]
        while True:
            # A place is drawn from chunks thought to be full, until one hits.
            at, place = divmod(random.randrange(len(self._members) * CHUNK), CHUNK)
            if place < len(self._members[at]):
                return self._members[at][place], self._scores[at][place]

    def sample(self, count: int) -> list[Item]:
        """Up to ``count`` different members at random."""
        if count >= len(self):
            return self.items((0, len(self)))
        ranks = sorted(random.sample(range(len(self)), count))
        found: list[Item] = []
        at, before = 0, 0
        for rank in ranks:
            while rank - before >= len(self._members[at]):
                before += len(self._members[at])
                at += 1
            found.append((self._members[at][rank - before], self._scores[at][rank - before]))
        return found

    # Chunks

    def _place(self, score: float, member: bytes) -> tuple[int, int]:
        """The chunk, and the place in it, where the member stands or would stand."""
        firsts = self._firsts
        at = 0
        if len(firsts) > 1:
            at = bisect_right(firsts, score) - 1
            if at > 0 and firsts[at] == score:
                # Chunks before this one may begin with the score as well, or end with it.
                least = bisect_left(firsts, score)
                at = bisect_left(self._members, [member + b"\0"], least, at + 1) - 1
            if at < 0:
                at = 0
        scores = self._scores[at]
        place = bisect_left(scores, score)
        if place < len(scores) and scores[place] == score:
            end = bisect_right(scores, score, place)
            place = bisect_left(self._members[at], member, place, end)
        return at, place

    def _take(self, score: float, member: bytes) -> None:
        """Take a member out of the order."""
        at, place = self._place(score, member)
        scores = self._scores[at]
        del scores[place], self._members[at][place]
        if len(scores) < FEW:
            self._join(at)
        elif not place:
            self._firsts[at] = scores[0]

    def _before(self, at: int) -> int:
        """How many members stand in the chunks before this one."""
        if at * 2 <= len(self._members):
            return sum(map(len, self._members[:at]))
        return len(self.scores) - sum(map(len, self._members[at:]))

    def _locate(self, span: Span) -> tuple[int, int, int]:
        """The chunk and the place where the span begins, and how many members it has."""
        start, stop = span
        if start >= stop:
            return 0, 0, 0
        left = stop - start
        if start * 2 <= len(self.scores):
            for at, chunk in enumerate(self._members):
                if start < len(chunk):
                    return at, start, left
                start -= len(chunk)
        after = len(self.scores) - start
        at = len(self._members)
        for chunk in reversed(self._members):
            at -= 1
            if after <= len(chunk):
                return at, len(chunk) - after, left
            after -= len(chunk)
        raise IndexError

    def _split(self, at: int) -> None:
        scores, members = self._scores[at], self._members[at]
        half = len(scores) // 2
        self._scores.insert(at + 1, scores[half:])
        self._members.insert(at + 1, members[half:])
        self._firsts.insert(at + 1, scores[half])
        del scores[half:], members[half:]

    def _join(self, at: int) -> None:
        """Make one chunk of this one and a neighbour, if it has one."""
        if len(self._members) > 1:
            at = max(at - 1, 0)
            self._scores[at] += self._scores.pop(at + 1)
            self._members[at] += self._members.pop(at + 1)
            del self._firsts[at + 1]
        scores = self._scores[at]
        if scores:
            self._firsts[at] = scores[0]
        if len(scores) > CHUNK:
            self._split(at)


def _backwards(members: list[bytes], scores: array[float]) -> list[Item]:
    items = list(zip(members, scores, strict=True))
    items.reverse()
    return items


def _read(chunks: Sequence[Sequence[T]], at: int, place: int, count: int) -> list[T]:
    """``count`` entries from a place on, across chunks."""
    found = list(chunks[at][place : place + count])
    while len(found) < count:
        at += 1
        found += chunks[at][: count - len(found)]
    return found


def _walk(members: list[bytes], least: bytes, end: bytes | None, reverse: bool) -> Span:
    """From the first member in the range on, as long as they are in it."""
    if members[-1] < least or (end is not None and members[0] >= end):
        return 0, 0
    if reverse:
        stop = len(members)
        while stop and end is not None and members[stop - 1] >= end:
            stop -= 1
        start = stop
        while start and members[start - 1] >= least:
            start -= 1
        return start, stop
    start = 0
    while members[start] < least:
        start += 1
    stop = start
    while stop < len(members) and (end is None or members[stop] < end):
        stop += 1
    return start, stop
