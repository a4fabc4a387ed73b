"""The sorted set commands for members; others are in sorted_set_ranges, _pops and _algebra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, Columns, draws, real, turns
from distcache_server.errors import (
    CommandError,
    Failure,
    OutOfRange,
    ScoreNotANumber,
    SyntaxFailure,
    WrongArity,
)
from distcache_server.events import SORTED_SET
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import Bulks, NullArray, Scores, double
from distcache_server.scanning import cursor_of, scan_options
from distcache_server.types.sorted_set import SortedSet

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("sorted-set")

# The words of ZADD, as the bits of one option mask.
NX, XX, GT, LT, CH, INCR = (1 << n for n in range(6))
_ADD_WORDS = {b"NX": NX, b"XX": XX, b"GT": GT, b"LT": LT, b"CH": CH, b"INCR": INCR}
_CONDITIONS = NX | GT | LT

SHORT = 15
"""A number of so many digits is a double without a doubt."""
_decimal = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?").fullmatch

IN_LOG = "O(log(N)) where N is the number of elements in the sorted set."


# Adding


def score_of(word: bytes) -> float:
    """The score that a word says."""
    if len(word) <= SHORT:
        if word.isdigit():
            return float(int(word))
        if _decimal(word):
            return float(word)
    return real(word)


def _scores_of(words: Sequence[bytes]) -> list[float]:
    """``score_of`` of each word, in C where all of them are short numbers."""
    if b"".join(words).isdigit() and b"" not in words and max(map(len, words)) <= SHORT:
        return list(map(float, map(int, words)))
    return list(map(score_of, words))


def _changed(
    keyspace: Keyspace, key: bytes, found: SortedSet, member: bytes, old: float | None, event: bytes
) -> int:
    """Say that a member of the set at a key has another score; 1 where it is new."""
    if old is None and found.packed:
        found.grown(len(member), keyspace.limits)
    keyspace.changed(key, event, SORTED_SET)
    return 1 if old is None else 0


def _find_or_put(keyspace: Keyspace, key: bytes) -> SortedSet:
    """The set at a key, which is new and still empty where there was none."""
    found = keyspace.find_as(key, SortedSet)
    if found is None:
        found = SortedSet()
        keyspace.put(key, found)
    return found


def zadd_run(client: Client, columns: Columns) -> list[Any] | None:
    """ZADD of one member each, many times; None, with nothing done, where one would fail."""
    keyspace = client.keyspace
    _, keys, words, members = columns
    if not keyspace.waiting.keys().isdisjoint(keys):
        return None  # who waits for one of them has it before the next command comes to it
    try:
        scores = _scores_of(words)
        sets = {key: keyspace.find_as(key, SortedSet) or SortedSet() for key in set(keys)}
    except CommandError:
        return None
    for key, found in sets.items():
        if not found:
            keyspace.put(key, found)
    replies = []
    for key, score, member in zip(keys, scores, members, strict=True):
        found = sets[key]
        old = found.add(member, score)
        replies.append(0 if old == score else _changed(keyspace, key, found, member, old, b"zadd"))
    return replies


def _add(client: Client, words: Args) -> int | float | None:
    """ZADD in all its forms."""
    options, at = 0, 2
    while at < len(words) and (option := _ADD_WORDS.get(words[at].upper())):
        options |= option
        at += 1
    scores, members = words[at::2], words[at + 1 :: 2]
    if not scores or len(scores) != len(members):
        raise SyntaxFailure
    if options & (NX | XX) == NX | XX:
        raise Failure(b"XX and NX options at the same time are not compatible")
    if (options & _CONDITIONS).bit_count() > 1:
        raise Failure(b"GT, LT, and/or NX options at the same time are not compatible")
    if options & INCR and len(scores) > 1:
        raise Failure(b"INCR option supports a single increment-element pair")
    wanted = [score_of(word) for word in scores]
    keyspace, key = client.keyspace, words[1]
    if options & XX and keyspace.find_as(key, SortedSet) is None:
        return None if options & INCR else 0
    found = _find_or_put(keyspace, key)
    added = moved = longest = 0
    reply = None
    for score, member in zip(wanted, members, strict=True):
        if options & ~CH:
            chosen = _choose(found.score(member), score, options)
            if chosen is None:
                continue
            score = reply = chosen
        old = found.add(member, score)
        if old is None:
            added += 1
            longest = max(longest, len(member))
        elif old != score:
            moved += 1
    if added and found.packed:
        found.grown(longest, keyspace.limits)
    if added or moved:
        keyspace.changed(key, b"zincr" if options & INCR else b"zadd", SORTED_SET)
    if options & INCR:
        return reply
    return added + moved if options & CH else added


def _choose(old: float | None, score: float, options: int) -> float | None:
    """The score that a member is to have by the options of ZADD; None where it stays as it is."""
    if old is None:
        return None if options & XX else score
    if options & NX:
        return None
    if options & INCR:
        score += old
        if score != score:
            raise ScoreNotANumber
    if (options & GT and score <= old) or (options & LT and score >= old):
        return None
    return score


@command(
    "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY,
    since="1.2.0",
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted "
    "set.",
    run=zadd_run,
)
def zadd(client: Client, words: Args) -> int | float | None:
    """Adds members to a sorted set, or gives them other scores."""
    if len(words) > 4 or words[2].upper() in _ADD_WORDS:
        return _add(client, words)
    _, key, word, member = words
    score = score_of(word)
    keyspace = client.keyspace
    found = _find_or_put(keyspace, key)
    old = found.add(member, score)
    return 0 if old == score else _changed(keyspace, key, found, member, old, b"zadd")


@command(
    "ZINCRBY key increment member",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW ACCESS UPDATE"),
    since="1.2.0",
    complexity=IN_LOG,
)
def zincrby(client: Client, words: Args) -> float:
    """Adds to the score of a member; a missing member counts as 0."""
    _, key, word, member = words
    if word.upper() in _ADD_WORDS:
        raise SyntaxFailure
    score = score_of(word)
    keyspace = client.keyspace
    found = _find_or_put(keyspace, key)
    old = found.score(member)
    if old is not None:
        score += old
        if score != score:
            raise ScoreNotANumber
    found.add(member, score)
    if old != score:
        _changed(keyspace, key, found, member, old, b"zincr")
    return score


@command(
    "ZREM key member [member ...]",
    WRITE | FAST,
    keys=ONE_KEY("RW DELETE"),
    since="1.2.0",
    complexity="O(M*log(N)) with N being the number of elements in the sorted set and M the number "
    "of elements to be removed.",
)
def zrem(client: Client, words: Args) -> int:
    """Removes members from a sorted set, and the set with its last member."""
    keyspace, key = client.keyspace, words[1]
    found = keyspace.find_as(key, SortedSet)
    if found is None:
        return 0
    removed = sum(map(found.remove, words[2:]))
    if removed:
        keyspace.changed(key, b"zrem", SORTED_SET)
        keyspace.remove_if_empty(key, found)
    return removed


# Reading


@command("ZCARD key", READONLY | FAST, keys=ONE_KEY("RO"), since="1.2.0")
def zcard(client: Client, words: Args) -> int:
    """Returns the number of members of a sorted set."""
    found = client.keyspace.read_as(words[1], SortedSet)
    return 0 if found is None else len(found)


@command("ZSCORE key member", READONLY | FAST, keys=ONE_KEY, since="1.2.0")
def zscore(client: Client, words: Args) -> float | None:
    """Returns the score of a member."""
    _, key, member = words
    found = client.keyspace.read_as(key, SortedSet)
    return None if found is None else found.score(member)


@command(
    "ZMSCORE key member [member ...]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="6.2.0",
    complexity="O(N) where N is the number of members being requested.",
)
def zmscore(client: Client, words: Args) -> list[float | None]:
    """Returns the scores of several members, in the order asked for."""
    found = client.keyspace.read_as(words[1], SortedSet)
    if found is None:
        return [None] * (len(words) - 2)
    return list(map(found.score, words[2:]))


def _rank(client: Client, words: Args, reverse: bool) -> Any:
    """ZRANK and ZREVRANK."""
    if len(words) > 4:
        raise WrongArity(words[0].lower())
    scored = len(words) == 4
    if scored and words[3].upper() != b"WITHSCORE":
        raise SyntaxFailure
    found = client.keyspace.read_as(words[1], SortedSet)
    rank = None if found is None else found.rank(words[2], reverse)
    if not scored or found is None:
        return NullArray if scored else rank
    return NullArray if rank is None else [rank, found.score(words[2])]


@command(
    "ZRANK key member [WITHSCORE]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="2.0.0",
    complexity="O(log(N))",
)
def zrank(client: Client, words: Args) -> Any:
    """Returns how many members stand before one, from the lowest score on."""
    return _rank(client, words, reverse=False)


@command(
    "ZREVRANK key member [WITHSCORE]",
    READONLY | FAST,
    keys=ONE_KEY,
    since="2.0.0",
    complexity="O(log(N))",
)
def zrevrank(client: Client, words: Args) -> Any:
    """Returns how many members stand before one, from the highest score on."""
    return _rank(client, words, reverse=True)


@command(
    "ZRANDMEMBER key [count [WITHSCORES]]",
    READONLY,
    keys=ONE_KEY,
    since="6.2.0",
    complexity="O(N) where N is the number of elements returned",
    tips="NONDETERMINISTIC_OUTPUT",
)
def zrandmember(client: Client, words: Args) -> bytes | list[Any] | None:
    """Returns members at random; a negative count may give one several times."""
    keyspace, key = client.keyspace, words[1]
    if len(words) == 2:
        found = keyspace.read_as(key, SortedSet)
        return None if found is None else found.draw()[0]
    count = draws(words[2])
    if len(words) > 4 or (len(words) == 4 and words[3].upper() != b"WITHSCORES"):
        raise SyntaxFailure
    if len(words) == 4 and abs(count) > INT64_MAX // 2:
        raise OutOfRange
    found = keyspace.read_as(key, SortedSet)
    if found is None:
        return Bulks()
    items = found.sample(count) if count >= 0 else [found.draw() for _ in turns(count)]
    return Scores(items) if len(words) == 4 else Bulks([member for member, _ in items])


@command(
    "ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]",
    READONLY,
    keys=ONE_KEY,
    since="2.8.0",
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the collection.",
    tips="NONDETERMINISTIC_OUTPUT",
)
def zscan(client: Client, words: Args) -> list[Any]:
    """Walks through the members of a sorted set with their scores, a few at a time."""
    cursor = cursor_of(words[2])
    found = client.keyspace.read_as(words[1], SortedSet)
    if found is None:
        return [b"0", Bulks()]
    match, count, _, bare = scan_options(words[3:], command=b"ZSCAN")
    cursor, items = found.scan(cursor, count)
    if match is not None:
        items = [item for item in items if match(item[0])]
    if bare:
        return [b"%d" % cursor, Bulks([member for member, _ in items])]
    # Scores are strings here, under RESP3 as well.
    flat = [word for member, score in items for word in (member, double(score))]
    return [b"%d" % cursor, Bulks(flat)]
