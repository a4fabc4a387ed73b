"""SORT and SORT_RO: the entries of a list, set or sorted set, by themselves or by other keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer, real
from distcache_server.errors import BadSortScore, SyntaxFailure, WrongType
from distcache_server.events import GENERIC, LIST
from distcache_server.registry import (
    DENYOOM,
    MOVABLEKEYS,
    ONE_KEY,
    READONLY,
    WRITE,
    Keys,
    group,
)
from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash
from distcache_server.types.list import List
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("generic")

ITSELF = b"#"
BLANKS = b" \t\n\v\f\r"


class Request:
    """The options of SORT."""

    __slots__ = ("alpha", "by", "count", "descending", "get", "offset", "store")

    def __init__(self, words: Args, may_store: bool) -> None:
        self.alpha = self.descending = False
        self.by: bytes | None = None
        self.get: list[bytes] = []
        self.offset, self.count = 0, -1
        self.store: bytes | None = None
        at = 0
        while at < len(words):
            option, left = words[at].upper(), len(words) - at - 1
            if option in (b"ASC", b"DESC"):
                self.descending = option == b"DESC"
            elif option == b"ALPHA":
                self.alpha = True
            elif option == b"LIMIT" and left >= 2:
                self.offset, self.count = integer(words[at + 1]), integer(words[at + 2])
                at += 2
            elif option == b"STORE" and left and may_store:
                at += 1
                self.store = words[at]
            elif option == b"BY" and left:
                at += 1
                self.by = words[at]
            elif option == b"GET" and left:
                at += 1
                self.get.append(words[at])
            else:
                raise SyntaxFailure
            at += 1


class Pattern:
    """``weight_*`` or ``object_*->field``: what to look up for an entry."""

    __slots__ = ("after", "before", "field", "itself", "variable")

    def __init__(self, text: bytes) -> None:
        self.itself = text == ITSELF
        self.before, star, rest = text.partition(b"*")
        self.variable = bool(star)
        self.after, _, self.field = rest.partition(b"->")
        if not self.field:
            self.after = rest

    def look_up(self, keyspace: Keyspace, entry: bytes) -> bytes | None:
        """The value for an entry; None where there is none or it has another type."""
        if self.itself:
            return entry
        if not self.variable:
            return None
        value = keyspace.read(b"%b%b%b" % (self.before, entry, self.after))
        if self.field:
            return value.get(self.field) if type(value) is Hash else None
        if type(value) is Buffer:
            return bytes(value)
        return value if type(value) is bytes else None


def weight(text: bytes | None) -> float:
    """The number to sort by, as ``strtod`` reads it: blanks may precede it, and nothing is 0."""
    if not text:
        return 0.0
    if text.isdigit():
        return float(text)
    text, cut, _ = text.partition(b"\0")
    return 0.0 if cut and not text else real(text.lstrip(BLANKS), BadSortScore)


def ordered(keyspace: Keyspace, request: Request, entries: list[bytes]) -> list[bytes]:
    """The entries in the order that was asked for."""
    weights: Sequence[bytes | None] = entries
    if request.by is not None:
        pattern = Pattern(request.by)
        weights = [pattern.look_up(keyspace, entry) for entry in entries]
    ranks: list[Any]
    if request.alpha:
        # What has no weight comes first; entries of the same weight stay as they were.
        ranks = [(text is not None, text or b"") for text in weights]
    else:
        # Entries of the same weight are in the order of their bytes.
        ranks = list(zip(map(weight, weights), entries, strict=True))
    places = sorted(range(len(entries)), key=ranks.__getitem__, reverse=request.descending)
    return [entries[place] for place in places]


def entries_of(value: Any, request: Request) -> list[bytes]:
    """The entries in their natural order, which is not to depend on how a set is kept."""
    if value is None:
        return []
    if type(value) is Set:
        return sorted(value) if request.store is not None else list(value)
    if type(value) is SortedSet:
        value.packed = False  # as OBJECT ENCODING shows it in Redis, which sorts no listpack
        return list(value)
    if type(value) is List:
        return list(value)
    raise WrongType


def sort_entries(client: Client, words: Args, may_store: bool) -> list[bytes | None] | int:
    """SORT and SORT_RO: the sorted values, or how many were stored."""
    request = Request(words[2:], may_store)
    keyspace = client.keyspace
    value = keyspace.read(words[1])
    entries = entries_of(value, request)
    if request.by is None or b"*" in request.by:
        entries = ordered(keyspace, request, entries)
    elif type(value) is Set and request.store is not None:
        # As they are, which for a set that is to be stored is the order of their bytes.
        entries.sort(reverse=request.descending)
    elif request.descending and type(value) is not Set:
        entries.reverse()
    start = max(request.offset, 0)
    if start or request.count >= 0:
        entries = entries[start : start + request.count if request.count >= 0 else None]
    found: list[bytes | None] = list(entries)
    if request.get:
        patterns = list(map(Pattern, request.get))
        found = [pattern.look_up(keyspace, entry) for entry in entries for pattern in patterns]
    if request.store is None:
        return found
    _store(keyspace, request.store, [value or b"" for value in found])
    return len(found)


def _store(keyspace: Keyspace, key: bytes, values: list[bytes]) -> None:
    if values:
        keyspace.put(key, List(values, keyspace.limits.list_size))
        keyspace.changed(key, b"sortstore", LIST)
    elif keyspace.remove(key):
        keyspace.changed(key, b"del", GENERIC)


def sort_keys(words: Args) -> list[tuple[int, str]]:
    """The key that is sorted, and the last of those to store at."""
    found, at = [(1, "RO ACCESS")], 2
    stored = 0
    while at < len(words):
        option = words[at].upper()
        if option == b"LIMIT":
            at += 2
        elif option in (b"GET", b"BY", b"STORE"):
            at += 1
            if option == b"STORE" and at < len(words):
                stored = at
        at += 1
    return [*found, (stored, "OW UPDATE")] if stored else found


COST = (
    "O(N+M*log(M)) where N is the number of entries, and M the number of those returned;"
    " O(N) where nothing is sorted."
)
ELSEWHERE = Keys(
    unknown=True, access="RO ACCESS", notes="BY and GET: the names depend on what is sorted"
)
STORED = Keys(unknown=True, access="OW UPDATE", notes="STORE may stand anywhere")


@command(
    "SORT key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]]"
    " [ASC | DESC] [ALPHA] [STORE destination]",
    WRITE | DENYOOM | MOVABLEKEYS,
    keys=(ONE_KEY("RO ACCESS"), ELSEWHERE, STORED),
    since="1.0.0",
    acl="set sortedset list dangerous -keyspace",
    complexity=COST,
    getkeys=sort_keys,
)
def sort(client: Client, words: Args) -> Any:
    """Sorts the entries of a list, a set or a sorted set, and may store them."""
    return sort_entries(client, words, may_store=True)


@command(
    "SORT_RO key [BY by-pattern] [LIMIT offset count] [GET get-pattern [GET get-pattern ...]]"
    " [ASC | DESC] [ALPHA]",
    READONLY | MOVABLEKEYS,
    keys=(ONE_KEY("RO ACCESS"), ELSEWHERE),
    since="7.0.0",
    acl="set sortedset list dangerous -keyspace",
    complexity=COST,
    getkeys=lambda _: [(1, "RO ACCESS")],
)
def sort_ro(client: Client, words: Args) -> Any:
    """Returns the sorted entries of a list, a set or a sorted set."""
    return sort_entries(client, words, may_store=False)
