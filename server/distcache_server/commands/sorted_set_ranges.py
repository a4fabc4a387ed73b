"""The sorted set commands for ranges: by rank, by score or by name; read, count, store, remove.

A range becomes a span of ranks, lowest score first, whatever it was given by.  By name means in the
order of the bytes of members, which has a meaning only where all scores are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from distcache_server.arguments import Args, clamp, integer, strtod
from distcache_server.errors import BadNameRange, BadScoreRange, Failure, SyntaxFailure
from distcache_server.events import GENERIC, SORTED_SET
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, Keys, group
from distcache_server.reply import Bulks, Scores
from distcache_server.types.sorted_set import Item, SortedSet, Span

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("sorted-set")

Range: TypeAlias = Callable[[SortedSet, bool], Span]
"""The span of a set; where it is a matter of direction, from the highest score on or not."""
Parser: TypeAlias = Callable[[bytes, bytes], Range]
"""Both ends of a range, the lower one first."""

NOTHING: Span = (0, 0)

IN_RANGE = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of "
    "elements being returned."
)
LIMITED = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of "
    "elements being returned. If M is constant (e.g. always asking for the first 10 elements with "
    "LIMIT), you can consider it O(log(N))."
)
REMOVED = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number of "
    "elements removed by the operation."
)
COUNTED = "O(log(N)) with N being the number of elements in the sorted set."


# The ends of a range


def ranked(first: int, last: int, count: int) -> Span:
    """The span from one rank to another, negatives counting from the end."""
    start, stop = clamp(first, last, count)
    return (start, stop) if start < stop else NOTHING


def by_rank(low: bytes, high: bytes) -> Range:
    """Ranks, negatives counting from the end; counted from the other end where reversed."""
    first, last = integer(low), integer(high)

    def find(found: SortedSet, reverse: bool) -> Span:
        count = len(found)
        start, stop = ranked(first, last, count)
        return (count - stop, count - start) if reverse else (start, stop)

    return find


def _score_end(word: bytes) -> tuple[float, bool]:
    """The score that ends a range as C's ``strtod`` reads it, and whether it is itself outside."""
    is_open = word[:1] == b"("
    text = word[is_open:].partition(b"\0")[0]
    score = strtod(text.lstrip(b" \t\n\v\f\r")) if text else 0.0
    if score is None:
        raise BadScoreRange
    return score, is_open


def by_score(low: bytes, high: bytes) -> Range:
    """Scores; ``(`` before one leaves it out."""
    least, least_open = _score_end(low)
    most, most_open = _score_end(high)
    return lambda found, _: found.span_by_score(least, most, least_open, most_open)


def _name_end(word: bytes) -> tuple[bytes, bool]:
    """The name that ends a range, and whether it is itself outside."""
    if word[:1] not in (b"[", b"("):
        raise BadNameRange
    return word[1:], word[:1] == b"("


def by_name(low: bytes, high: bytes) -> Range:
    """Names after ``[`` or, to leave it out, ``(``; ``-`` is before all of them, ``+`` after."""
    least = None if low in (b"-", b"+") else _name_end(low)
    most = None if high in (b"-", b"+") else _name_end(high)
    if low == b"+" or high == b"-":
        return lambda _, __: NOTHING
    start, start_open = least or (None, False)
    end, end_open = most or (None, False)
    return lambda found, reverse: found.span_by_name(start, end, start_open, end_open, reverse)


# Range and options


class Query:
    """What a command asks for: a range, read in one direction, perhaps a part of it."""

    __slots__ = ("count", "find", "offset", "reverse", "scored")

    def __init__(
        self,
        words: Args,
        by: Parser | None = None,
        reverse: bool | None = None,
        stored: bool = False,
    ) -> None:
        """Both ends, then options.  ``by`` and ``reverse`` are options where they are None.

        A reversed range by score or name begins with its higher end.  What is ``stored`` has its
        scores anyway.
        """
        self.scored = False
        self.offset, self.count = 0, -1
        at = 2
        while at < len(words):
            option = words[at].upper()
            if option == b"WITHSCORES" and not stored:
                self.scored = True
            elif option == b"LIMIT" and len(words) - at > 2:
                self.offset, self.count = integer(words[at + 1]), integer(words[at + 2])
                at += 2
            elif option == b"REV" and reverse is None:
                reverse = True
            elif option == b"BYSCORE" and by is None:
                by = by_score
            elif option == b"BYLEX" and by is None:
                by = by_name
            else:
                raise SyntaxFailure
            at += 1
        if by is None:
            by = by_rank
        if self.count != -1 and by is by_rank:
            raise Failure(
                b"syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
            )
        if self.scored and by is by_name:
            raise Failure(b"syntax error, WITHSCORES not supported in combination with BYLEX")
        self.reverse = bool(reverse)
        swapped = self.reverse and by is not by_rank
        self.find = by(words[1], words[0]) if swapped else by(words[0], words[1])
        if by is by_rank:
            self.offset = 0

    def span(self, found: SortedSet) -> Span:
        """The members asked for."""
        start, stop = self.find(found, self.reverse)
        offset, count = self.offset, self.count
        if offset < 0:
            return NOTHING
        if count < 0:
            count = stop - start
        if self.reverse:
            stop -= offset
            start = max(start, stop - count)
        else:
            start += offset
            stop = min(stop, start + count)
        return (start, stop) if start < stop else NOTHING


# Reading


def _read(client: Client, words: Args, by: Parser | None, reverse: bool | None) -> Any:
    """ZRANGE and those that say in their name which range they mean."""
    query = Query(words[2:], by, reverse)
    found = client.keyspace.read_as(words[1], SortedSet)
    if found is None:
        return Bulks()
    span = query.span(found)
    if query.scored:
        return Scores(found.items(span, query.reverse))
    return Bulks(found.members(span, query.reverse))


@command(
    "ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
    READONLY,
    keys=ONE_KEY,
    since="1.2.0",
    complexity=IN_RANGE,
)
def zrange(client: Client, words: Args) -> Any:
    """Returns the members in a range by rank, score or name."""
    if len(words) > 4:
        return _read(client, words, None, None)
    _, key, low, high = words
    first, last = integer(low), integer(high)
    found = client.keyspace.read_as(key, SortedSet)
    if found is None:
        return Bulks()
    return Bulks(found.members(ranked(first, last, len(found))))


@command(
    "ZREVRANGE key start stop [WITHSCORES]",
    READONLY,
    keys=ONE_KEY,
    since="1.2.0",
    complexity=IN_RANGE,
)
def zrevrange(client: Client, words: Args) -> Any:
    """Returns the members in a range by rank, from the highest score on."""
    return _read(client, words, by_rank, True)


@command(
    "ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]",
    READONLY,
    keys=ONE_KEY,
    since="1.0.5",
    complexity=LIMITED,
)
def zrangebyscore(client: Client, words: Args) -> Any:
    """Returns the members in a range by score."""
    return _read(client, words, by_score, False)


@command(
    "ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]",
    READONLY,
    keys=ONE_KEY,
    since="2.2.0",
    complexity=LIMITED,
)
def zrevrangebyscore(client: Client, words: Args) -> Any:
    """Returns the members in a range by score, from the highest on."""
    return _read(client, words, by_score, True)


@command(
    "ZRANGEBYLEX key min max [LIMIT offset count]",
    READONLY,
    keys=ONE_KEY,
    since="2.8.9",
    complexity=LIMITED,
)
def zrangebylex(client: Client, words: Args) -> Any:
    """Returns the members in a range by name, where all scores are equal."""
    return _read(client, words, by_name, False)


@command(
    "ZREVRANGEBYLEX key max min [LIMIT offset count]",
    READONLY,
    keys=ONE_KEY,
    since="2.8.9",
    complexity=LIMITED,
)
def zrevrangebylex(client: Client, words: Args) -> Any:
    """Returns the members in a range by name, from the last on, where all scores are equal."""
    return _read(client, words, by_name, True)


def _count(client: Client, words: Args, by: Parser) -> int:
    """ZCOUNT and ZLEXCOUNT."""
    _, key, low, high = words
    find = by(low, high)
    found = client.keyspace.read_as(key, SortedSet)
    if found is None:
        return 0
    start, stop = find(found, False)
    return stop - start


@command("ZCOUNT key min max", READONLY | FAST, keys=ONE_KEY, since="2.0.0", complexity=COUNTED)
def zcount(client: Client, words: Args) -> int:
    """Returns the number of members in a range by score."""
    return _count(client, words, by_score)


@command("ZLEXCOUNT key min max", READONLY | FAST, keys=ONE_KEY, since="2.8.9", complexity=COUNTED)
def zlexcount(client: Client, words: Args) -> int:
    """Returns the number of members in a range by name, where all scores are equal."""
    return _count(client, words, by_name)


# Storing and removing


def store(keyspace: Keyspace, key: bytes, items: Iterable[Item], event: bytes) -> int:
    """Put a sorted set of these members in place of whatever is at a key; how many there are."""
    stored = SortedSet(items, keyspace.limits)
    if stored:
        keyspace.put(key, stored)
        keyspace.changed(key, event, SORTED_SET)
    elif keyspace.remove(key):
        keyspace.changed(key, b"del", GENERIC)
    return len(stored)


@command(
    "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
    WRITE | DENYOOM,
    keys=(ONE_KEY("OW UPDATE"), Keys(first=2, access="RO ACCESS")),
    since="6.2.0",
    complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements stored into the destination key.",
)
def zrangestore(client: Client, words: Args) -> int:
    """Stores the members in a range by rank, score or name in another sorted set."""
    query = Query(words[3:], stored=True)
    keyspace = client.keyspace
    found = keyspace.read_as(words[2], SortedSet)
    items = [] if found is None else found.items(query.span(found))
    return store(keyspace, words[1], items, b"zrangestore")


def _remove(client: Client, words: Args, by: Parser, event: bytes) -> int:
    """ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX."""
    _, key, low, high = words
    find = by(low, high)
    keyspace = client.keyspace
    found = keyspace.find_as(key, SortedSet)
    removed = [] if found is None else found.remove_span(find(found, False))
    if removed:
        keyspace.changed(key, event, SORTED_SET)
        keyspace.remove_if_empty(key, found)
    return len(removed)


@command(
    "ZREMRANGEBYRANK key start stop",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="2.0.0",
    complexity=REMOVED,
)
def zremrangebyrank(client: Client, words: Args) -> int:
    """Removes the members in a range by rank."""
    return _remove(client, words, by_rank, b"zremrangebyrank")


@command(
    "ZREMRANGEBYSCORE key min max",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="1.2.0",
    complexity=REMOVED,
)
def zremrangebyscore(client: Client, words: Args) -> int:
    """Removes the members in a range by score."""
    return _remove(client, words, by_score, b"zremrangebyscore")


@command(
    "ZREMRANGEBYLEX key min max",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="2.8.9",
    complexity=REMOVED,
)
def zremrangebylex(client: Client, words: Args) -> int:
    """Removes the members in a range by name, where all scores are equal."""
    return _remove(client, words, by_name, b"zremrangebylex")
