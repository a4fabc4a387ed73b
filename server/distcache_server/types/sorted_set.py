"""A sorted set: members with scores, in the order of (score, member).

The order stands in two lists of chunks, one of scores and one of members, cut at the same places:

    _scores   [[1.0, 2.0, 2.0], [2.0, 7.5], ...]
    _members  [[b"x", b"a", b"b"], [b"c", b"k"], ...]

A place is found by two binary searches over plain floats: among the chunks, which compare as lists
do, by what they begin with, and then inside one.  Members are looked at only where scores are equal.
An insertion moves the pointers of one chunk.  A sorted list of (score, member) tuples would take
twice the time and 56 more bytes for each member.

Ranges are spans of ranks, ``(start, stop)`` with ``stop`` outside, lowest score first.  Whatever a
command selects by (rank, score, name), it asks for the span and then counts, reads or removes that.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TypeAlias

from distcache_server.types.table import Table

Span: TypeAlias = tuple[int, int]
Item: TypeAlias = tuple[bytes, float]

CHUNK = 1024
"""A chunk with more members than this is cut in two."""
FEW = CHUNK // 8
"""A chunk that a removal leaves with fewer members than this joins its neighbour."""
DICT = 512
"""Up to here a dict holds the scores, then a Table, which grows in steps and can be scanned."""


class SortedSet:
    """Members with scores, in order.  A score is never NaN, and -0.0 becomes 0.0 as in a listpack."""

    __slots__ = ("_members", "_scores", "scores")

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.scores: dict[bytes, float] | Table[bytes, float] = {}
        """The score of each member; for others to read, not to write."""
        self._scores: list[list[float]] = []
        self._members: list[list[bytes]] = []
        given = dict(items)
        if given:
            self._fill(given)

    def _fill(self, given: dict[bytes, float]) -> None:
        ordered = sorted([(score + 0.0, member) for member, score in given.items()])
        size = CHUNK // 4 * 3
        for start in range(0, len(ordered), size):
            scores, members = zip(*ordered[start : start + size], strict=True)
            self._scores.append(list(scores))
            self._members.append(list(members))
        for score, member in ordered:
            self._remember(member, score)

    def copy(self) -> SortedSet:
        return SortedSet(self.scores.items())

    # Members

    def __len__(self) -> int:
        return len(self.scores)

    def __contains__(self, member: bytes) -> bool:
        return member in self.scores

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._members)

    def score(self, member: bytes) -> float | None:
        return self.scores.get(member)

    def add(self, member: bytes, score: float) -> bool:
        """Give a member this score; whether it is new."""
        score += 0.0
        old = self.scores.get(member)
        if old is not None:
            if old != score:
                self._take(old, member)
                self.scores[member] = score
                self._put(score, member)
            return False
        self._remember(member, score)
        self._put(score, member)
        return True

    def remove(self, member: bytes) -> bool:
        """Drop a member; whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self._take(score, member)
        return True

    def _remember(self, member: bytes, score: float) -> None:
        known = self.scores
        known[member] = score
        if type(known) is dict and len(known) > DICT:
            self.scores = Table()
            for each, its_score in known.items():
                self.scores[each] = its_score

    # Places

    def _place(self, score: float, member: bytes) -> tuple[int, int]:
        """The chunk, and the place in it, where the member stands or would stand."""
        chunks = self._scores
        at = 0
        if len(chunks) > 1:
            # The last chunk that begins at or below the score: NaN makes the probe no less than any
            # chunk beginning with it.
            at = bisect_right(chunks, [score, math.nan]) - 1
            if at > 0 and chunks[at][0] == score:
                # Other chunks may begin with this score as well, or the one before end with it.
                first = bisect_left(chunks, [score])
                at = bisect_left(self._members, [member + b"\0"], first, at + 1) - 1
            if at < 0:
                at = 0
        chunk = chunks[at]
        place = bisect_left(chunk, score)
        if place < len(chunk) and chunk[place] == score:
            end = bisect_right(chunk, score, place)
            place = bisect_left(self._members[at], member, place, end)
        return at, place

    def _put(self, score: float, member: bytes) -> None:
        if not self._scores:
            self._scores.append([score])
            self._members.append([member])
            return
        at, place = self._place(score, member)
        scores, members = self._scores[at], self._members[at]
        scores.insert(place, score)
        members.insert(place, member)
        if len(scores) > CHUNK:
            self._split(at)

    def _split(self, at: int) -> None:
        half = CHUNK // 2
        for chunks in (self._scores, self._members):
            whole = chunks[at]
            chunks[at : at + 1] = [whole[:half], whole[half:]]  # type: ignore[index, misc]

    def _take(self, score: float, member: bytes) -> None:
        at, place = self._place(score, member)
        scores = self._scores[at]
        del scores[place], self._members[at][place]
        if len(scores) < FEW:
            self._join(at)
