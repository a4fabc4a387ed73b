"""Unions, intersections and differences of sorted sets; members of plain sets count 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import add
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from distcache_server.arguments import INT64_MAX, Args, integer, integer_between, real
from distcache_server.commands.sorted_set_ranges import store
from distcache_server.errors import (
    BadWeight,
    NegativeLimit,
    NoInputKeys,
    SyntaxFailure,
    WrongType,
)
from distcache_server.registry import DENYOOM, MOVABLEKEYS, NUMKEYS, READONLY, WRITE, Keys, group
from distcache_server.reply import Bulks, Pairs
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import Item, SortedSet

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("sorted-set")

Aggregate: TypeAlias = Callable[[float, float], float]

AGGREGATES: dict[bytes, Aggregate] = {b"SUM": add, b"MIN": min, b"MAX": max}
WEIGHED = frozenset([b"WEIGHTS", b"AGGREGATE"])
SCORED = frozenset([b"WITHSCORES"])
LIMITED = frozenset([b"LIMIT"])

STORED = (Keys(access="OW UPDATE"), Keys(first=2, numkeys=True, access="RO ACCESS"))

UNITED = (
    "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the "
    "number of elements in the resulting sorted set."
)
CROSSED = (
    "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number "
    "of input sorted sets and M being the number of elements in the resulting sorted set."
)
WITHOUT = (
    "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is "
    "the size of the first set, and K is the size of the result set."
)


# What is combined


class Scores(Protocol):
    """Members with scores, of a sorted set or something like it."""

    def __len__(self) -> int: ...
    def get(self, member: bytes, /) -> float | None: ...
    def items(self) -> Iterable[Item]: ...


class Ones:
    """The members of a plain set, each with the score 1."""

    __slots__ = ("members",)

    def __init__(self, members: Set) -> None:
        self.members = members

    def __len__(self) -> int:
        return len(self.members)

    def get(self, member: bytes, /) -> float | None:
        return 1.0 if member in self.members else None

    def items(self) -> Iterable[Item]:
        return ((member, 1.0) for member in self.members)


def _scores(client: Client, key: bytes) -> Scores:
    found = client.keyspace.read(key)
    if found is None:
        return {}
    if type(found) is SortedSet:
        return found.scores
    if type(found) is Set:
        return Ones(found)
    raise WrongType


class Inputs:
    """The sets that a command names, with their weights, and what it wants of them."""

    __slots__ = ("aggregate", "limit", "scored", "sources")

    def __init__(self, client: Client, name: bytes, words: Args, known: frozenset[bytes]) -> None:
        """``numkeys key [key ...]``, then some of the ``known`` options."""
        numkeys = integer(words[0])
        if numkeys < 1:
            raise NoInputKeys(name.lower())
        if numkeys >= len(words):
            raise SyntaxFailure
        scores = [_scores(client, key) for key in words[1 : numkeys + 1]]
        weights = [1.0] * numkeys
        self.aggregate: Aggregate = add
        self.scored = False
        self.limit = 0
        at = numkeys + 1
        while at < len(words):
            option = words[at].upper()
            at += 1
            if option not in known:
                raise SyntaxFailure
            if option == b"WITHSCORES":
                self.scored = True
                continue
            values = words[at : at + numkeys] if option == b"WEIGHTS" else words[at : at + 1]
            at += len(values)
            if option == b"WEIGHTS" and len(values) == numkeys:
                weights = [real(word, BadWeight) for word in values]
            elif option == b"AGGREGATE" and values and values[0].upper() in AGGREGATES:
                self.aggregate = AGGREGATES[values[0].upper()]
            elif option == b"LIMIT" and values:
                self.limit = integer_between(values[0], 0, INT64_MAX, NegativeLimit)
            else:
                raise SyntaxFailure
        self.sources = list(zip(scores, weights, strict=True))

    def smallest_first(self) -> list[tuple[Scores, float]]:
        return sorted(self.sources, key=lambda source: len(source[0]))


def _number(value: float) -> float:
    """0 in place of what is no number: the product of 0 and infinity, their sum where both are."""
    return value if value == value else 0.0


def union(inputs: Inputs) -> Iterable[Item]:
    """The members of any of the sets, with their scores taken together."""
    aggregate = inputs.aggregate
    found: dict[bytes, float] = {}
    for scores, weight in inputs.smallest_first():
        for member, score in scores.items():
            score = _number(score * weight)
            known = found.get(member)
            found[member] = score if known is None else _number(aggregate(known, score))
    return found.items()


def intersection(inputs: Inputs) -> Iterator[Item]:
    """The members that all sets have, with their scores taken together."""
    aggregate = inputs.aggregate
    (first, weight), *others = inputs.smallest_first()
    for member, score in first.items():
        total = _number(score * weight)
        for scores, other_weight in others:
            other = scores.get(member)
            if other is None:
                break
            total = _number(aggregate(total, other * other_weight))
        else:
            yield member, total


def difference(inputs: Inputs) -> Iterator[Item]:
    """The members of the first set that no other has."""
    (first, _), *others = inputs.sources
    for member, score in first.items():
        if all(scores.get(member) is None for scores, _ in others):
            yield member, score


Operation: TypeAlias = Callable[[Inputs], Iterable[Item]]


def _answer(client: Client, words: Args, known: frozenset[bytes], operation: Operation) -> Any:
    """ZUNION, ZINTER and ZDIFF."""
    inputs = Inputs(client, words[0], words[1:], known | SCORED)
    result = SortedSet(operation(inputs))
    span = (0, len(result))
    return Pairs(result.items(span)) if inputs.scored else Bulks(result.members(span))


def _store(client: Client, words: Args, known: frozenset[bytes], operation: Operation) -> int:
    """ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE."""
    name = words[0].lower()
    inputs = Inputs(client, name, words[2:], known)
    return store(client.keyspace, words[1], operation(inputs), name)


@command(
    "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]"
    " [WITHSCORES]",
    READONLY | MOVABLEKEYS,
    keys=NUMKEYS,
    since="6.2.0",
    complexity=UNITED,
)
def zunion(client: Client, words: Args) -> Any:
    """Returns the members of several sorted sets together."""
    return _answer(client, words, WEIGHED, union)


@command(
    "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]"
    " [WITHSCORES]",
    READONLY | MOVABLEKEYS,
    keys=NUMKEYS,
    since="6.2.0",
    complexity=CROSSED,
)
def zinter(client: Client, words: Args) -> Any:
    """Returns the members that several sorted sets have in common."""
    return _answer(client, words, WEIGHED, intersection)


@command(
    "ZDIFF numkeys key [key ...] [WITHSCORES]",
    READONLY | MOVABLEKEYS,
    keys=NUMKEYS,
    since="6.2.0",
    complexity=WITHOUT,
)
def zdiff(client: Client, words: Args) -> Any:
    """Returns the members of the first sorted set that the others do not have."""
    return _answer(client, words, frozenset(), difference)


@command(
    "ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]]"
    " [AGGREGATE <SUM | MIN | MAX>]",
    WRITE | DENYOOM | MOVABLEKEYS,
    keys=STORED,
    since="2.0.0",
    complexity=UNITED,
)
def zunionstore(client: Client, words: Args) -> int:
    """Stores the members of several sorted sets together in another."""
    return _store(client, words, WEIGHED, union)


@command(
    "ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]]"
    " [AGGREGATE <SUM | MIN | MAX>]",
    WRITE | DENYOOM | MOVABLEKEYS,
    keys=STORED,
    since="2.0.0",
    complexity=CROSSED,
)
def zinterstore(client: Client, words: Args) -> int:
    """Stores the members that several sorted sets have in common in another."""
    return _store(client, words, WEIGHED, intersection)


@command(
    "ZDIFFSTORE destination numkeys key [key ...]",
    WRITE | DENYOOM | MOVABLEKEYS,
    keys=STORED,
    since="6.2.0",
    complexity=WITHOUT,
)
def zdiffstore(client: Client, words: Args) -> int:
    """Stores the members of the first sorted set that the others do not have in another."""
    return _store(client, words, frozenset(), difference)


@command(
    "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
    READONLY | MOVABLEKEYS,
    keys=NUMKEYS,
    since="7.0.0",
    complexity="O(N*K) worst case with N being the smallest input sorted set, K being the number "
    "of input sorted sets.",
)
def zintercard(client: Client, words: Args) -> int:
    """Returns how many members several sorted sets have in common."""
    inputs = Inputs(client, words[0], words[1:], LIMITED)
    return sum(1 for _ in islice(intersection(inputs), inputs.limit or None))
