"""The list commands; those that wait for an element are in blocking_lists.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import (
    INT64_MAX,
    INT64_MIN,
    Args,
    Columns,
    clamp,
    integer,
    integer_between,
    keys_end_count,
    options,
)
from distcache_server.errors import (
    CommandError,
    IndexOutOfRange,
    NegativeCount,
    NegativeMaxlen,
    NoSuchKey,
    NotPositive,
    NotWithin,
    RankIsZero,
    SyntaxFailure,
    WrongArity,
    WrongType,
)
from distcache_server.events import LIST
from distcache_server.registry import (
    DENYOOM,
    FAST,
    MOVABLEKEYS,
    NUMKEYS,
    ONE_KEY,
    READONLY,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import EMPTY_ARRAY, OK, Bulks, Equals, NullArray
from distcache_server.types.list import CHUNK, List

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("list")

MANY = 20_000
"""Elements that are better sent to one client after the other."""

EACH_ADDED = (
    "O(1) for each element added, so O(N) to add N elements when the command is called with "
    "multiple arguments."
)
OF_SEVERAL = (
    "O(N+M) where N is the number of provided keys and M is the number of elements returned."
)
TWO_KEYS = (Keys(access="RW ACCESS DELETE"), Keys(first=2, access="RW INSERT"))


# Pushing


def push(client: Client, words: Args, left: bool, must_exist: bool = False) -> int:
    """Push elements one after the other; the length of the list."""
    keyspace = client.keyspace
    key, elements = words[1], words[2:]
    value = keyspace.find(key)
    if value is None:
        if must_exist:
            return 0
        value = List()
        keyspace.replace(key, value)
    elif type(value) is not List:
        raise WrongType
    if value.packed:
        value.grow(elements, keyspace.limits.list_size)
    add = value.push_left if left else value.push_right
    for element in elements:
        add(element)
    keyspace.changed(key, b"lpush" if left else b"rpush", LIST)
    return len(value)


def push_run(client: Client, columns: Columns, left: bool) -> list[Any] | None:
    """Pushes of one element each that arrived together, where they go to one list."""
    keyspace = client.keyspace
    _, keys, elements = columns
    key = keys[0]
    if keyspace.observed or keys.count(key) != len(keys):
        return None
    value = keyspace.find(key)
    if type(value) is not List or value.packed or len(keys) > CHUNK:
        return None
    before = len(value)
    value.extend(elements, left)
    keyspace.changes += len(keys)
    return list(range(before + 1, before + len(keys) + 1))


def lpush_run(client: Client, columns: Columns) -> list[Any] | None:
    return push_run(client, columns, left=True)


def rpush_run(client: Client, columns: Columns) -> list[Any] | None:
    return push_run(client, columns, left=False)


@command(
    "LPUSH key element [element ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="1.0.0",
    complexity=EACH_ADDED,
    run=lpush_run,
)
def lpush(client: Client, words: Args) -> int:
    """Prepends one or more elements to a list. Creates the key if it doesn't exist."""
    return push(client, words, left=True)


@command(
    "RPUSH key element [element ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="1.0.0",
    complexity=EACH_ADDED,
    run=rpush_run,
)
def rpush(client: Client, words: Args) -> int:
    """Appends one or more elements to a list. Creates the key if it doesn't exist."""
    return push(client, words, left=False)


@command(
    "LPUSHX key element [element ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="2.2.0",
    complexity=EACH_ADDED,
)
def lpushx(client: Client, words: Args) -> int:
    """Puts elements at the head of a list that is there."""
    return push(client, words, left=True, must_exist=True)


@command(
    "RPUSHX key element [element ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="2.2.0",
    complexity=EACH_ADDED,
)
def rpushx(client: Client, words: Args) -> int:
    """Puts elements at the tail of a list that is there."""
    return push(client, words, left=False, must_exist=True)


# Popping


def popped(keyspace: Keyspace, key: bytes, value: List, left: bool) -> None:
    """Say that elements were taken out of a list, and remove it if it is empty."""
    keyspace.changed(key, b"lpop" if left else b"rpop", LIST)
    shrunk(keyspace, key, value)


def shrunk(keyspace: Keyspace, key: bytes, value: List) -> None:
    """See to a list that lost elements; an empty one is always packed."""
    if not value.packed:
        value.shrink(keyspace.limits.list_size)
    if value.packed:
        keyspace.remove_if_empty(key, value)


def take(keyspace: Keyspace, key: bytes, value: List, left: bool, count: int) -> Bulks:
    """Pop up to ``count`` elements, in the order of popping."""
    size = len(value)
    count = min(count, size)
    if left:
        elements = Bulks(value.range(0, count))
        value.drop_left(count)
    else:
        elements = Bulks(value.range(size - count, size))
        elements.reverse()
        value.drop_right(count)
    popped(keyspace, key, value, left)
    return elements


def pop(client: Client, words: Args, left: bool) -> Any:
    """LPOP and RPOP."""
    keyspace = client.keyspace
    key = words[1]
    if len(words) == 2:
        value = keyspace.find(key)
        if value is None:
            return None
        if type(value) is not List:
            raise WrongType
        element = value.pop_left() if left else value.pop_right()
        popped(keyspace, key, value, left)
        return element
    if len(words) > 3:
        raise WrongArity(b"lpop" if left else b"rpop")
    count = integer_between(words[2], 0, INT64_MAX, NotPositive)
    value = keyspace.find_as(key, List)
    if value is None:
        return NullArray
    return take(keyspace, key, value, left, count) if count else EMPTY_ARRAY


def pop_run(client: Client, columns: Columns, left: bool) -> list[Any] | None:
    """Pops of one element each that arrived together, where one list has enough of them."""
    keyspace = client.keyspace
    keys = columns[1]
    key = keys[0]
    if keyspace.observed or keys.count(key) != len(keys):
        return None
    value = keyspace.find(key)
    if type(value) is not List or value.packed or len(value) <= len(keys):
        return None
    take_one = value.pop_left if left else value.pop_right
    elements: list[Any] = [take_one() for _ in keys]
    value.shrink(keyspace.limits.list_size)
    keyspace.changes += len(keys)
    return elements


def lpop_run(client: Client, columns: Columns) -> list[Any] | None:
    return pop_run(client, columns, left=True)


def rpop_run(client: Client, columns: Columns) -> list[Any] | None:
    return pop_run(client, columns, left=False)


@command(
    "LPOP key [count]",
    WRITE | FAST,
    keys=ONE_KEY("RW ACCESS DELETE"),
    since="1.0.0",
    complexity="O(N) where N is the number of elements returned",
    run=lpop_run,
)
def lpop(client: Client, words: Args) -> Any:
    """Returns the first elements in a list after removing it. Deletes the list if it gets empty."""
    return pop(client, words, left=True)


@command(
    "RPOP key [count]",
    WRITE | FAST,
    keys=ONE_KEY("RW ACCESS DELETE"),
    since="1.0.0",
    complexity="O(N) where N is the number of elements returned",
    run=rpop_run,
)
def rpop(client: Client, words: Args) -> Any:
    """Returns and removes the last elements of a list. Deletes the list if it gets empty."""
    return pop(client, words, left=False)


def is_left(word: bytes) -> bool:
    """LEFT or RIGHT, which say at what end of a list something is done."""
    end = word.upper()
    if end not in (b"LEFT", b"RIGHT"):
        raise SyntaxFailure
    return end == b"LEFT"


def pop_several(client: Client, keys: list[bytes], left: bool, count: int) -> list[Any] | None:
    """Pop from the first of these lists that is there: its key, and the elements."""
    keyspace = client.keyspace
    for key in keys:
        value = keyspace.find_as(key, List)
        if value is not None:
            elements = take(keyspace, key, value, left, count)
            client.effect = [b"LPOP" if left else b"RPOP", key, b"%d" % len(elements)]
            return [key, elements]
    return None


@command(
    "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    WRITE | MOVABLEKEYS,
    keys=NUMKEYS("RW ACCESS DELETE"),
    since="7.0.0",
    complexity=OF_SEVERAL,
)
def lmpop(client: Client, words: Args) -> Any:
    """Returns elements from the first of several lists after removing them."""
    keys, left, count = keys_end_count(words[1:], b"LEFT", b"RIGHT")
    return pop_several(client, keys, left, count) or NullArray


# Moving


def move(
    client: Client, source: bytes, destination: bytes, from_left: bool, to_left: bool
) -> bytes | None:
    """Pop from one list and push to another, or the same; the element."""
    keyspace = client.keyspace
    value = keyspace.find_as(source, List)
    if value is None:
        return None
    target = keyspace.find_as(destination, List)
    element = value.pop_left() if from_left else value.pop_right()
    if target is None:
        target = List()
        keyspace.replace(destination, target)
    if target.packed:
        target.grow([element], keyspace.limits.list_size)
    if to_left:
        target.push_left(element)
    else:
        target.push_right(element)
    keyspace.also(destination, b"lpush" if to_left else b"rpush", LIST)
    popped(keyspace, source, value, from_left)
    return element


@command(
    "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
    WRITE | DENYOOM,
    keys=TWO_KEYS,
    since="6.2.0",
)
def lmove(client: Client, words: Args) -> bytes | None:
    """Returns an element after popping it from one list and pushing it to another."""
    _, source, destination, start, end = words
    return move(client, source, destination, is_left(start), is_left(end))


@command("RPOPLPUSH source destination", WRITE | DENYOOM, keys=TWO_KEYS, since="1.2.0")
def rpoplpush(client: Client, words: Args) -> bytes | None:
    """Returns the last element of a list after removing and pushing it to another list."""
    _, source, destination = words
    return move(client, source, destination, from_left=False, to_left=True)


# Looking


@command("LLEN key", READONLY | FAST, keys=ONE_KEY("RO"), since="1.0.0")
def llen(client: Client, words: Args) -> int:
    """Returns the length of a list."""
    _, key = words
    value = client.keyspace.read_as(key, List)
    return 0 if value is None else len(value)


def lrange_run(client: Client, columns: Columns) -> list[Any] | None:
    """LRANGE many times; None where one cannot be answered, or for too much at once."""
    keyspace = client.keyspace
    _, keys, firsts, lasts = columns
    try:
        indexes = list(zip(map(integer, firsts), map(integer, lasts), strict=True))
    except CommandError:
        return None
    before = keyspace.hits, keyspace.misses
    found = keyspace.read_many(keys)
    if {List, type(None)}.issuperset(map(type, found)):
        lists = [List() if value is None else value for value in found]
        spans = [
            clamp(start, stop, len(value))
            for value, (start, stop) in zip(lists, indexes, strict=True)
        ]
        if sum(stop - start for start, stop in spans) < MANY:
            return [_between(value, *span) for value, span in zip(lists, spans, strict=True)]
    keyspace.hits, keyspace.misses = before
    return None


def _between(value: List, start: int, stop: int) -> Any:
    if start >= stop:
        return EMPTY_ARRAY
    elements = value.range(start, stop)
    return Equals((elements, value.width)) if value.width >= 0 else Bulks(elements)


@command(
    "LRANGE key start stop",
    READONLY,
    keys=ONE_KEY,
    since="1.0.0",
    complexity="O(S+N) where S is the distance of start offset from HEAD for small lists, from "
    "nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified "
    "range.",
    run=lrange_run,
)
def lrange(client: Client, words: Args) -> Any:
    """Returns a range of elements from a list."""
    _, key, first, last = words
    start, stop = integer(first), integer(last)
    value = client.keyspace.read_as(key, List)
    if value is None:
        return EMPTY_ARRAY
    start, stop = clamp(start, stop, len(value))
    return _between(value, start, stop)


@command(
    "LINDEX key index",
    READONLY,
    keys=ONE_KEY,
    since="1.0.0",
    complexity="O(N) where N is the number of elements to traverse to get to the element at index. "
    "This makes asking for the first or the last element of the list O(1).",
)
def lindex(client: Client, words: Args) -> bytes | None:
    """Gives the element at an index."""
    _, key, index = words
    value = client.keyspace.read_as(key, List)
    if value is None:
        return None
    at = place(value, index)
    return value[at] if at is not None else None


def place(value: List, index: bytes) -> int | None:
    """An index that may count from the end, as one that counts from 0; None outside of the list."""
    at = integer(index)
    if at < 0:
        at += len(value)
    return at if 0 <= at < len(value) else None


@command(
    "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    READONLY,
    keys=ONE_KEY,
    since="6.0.6",
    complexity="O(N) where N is the number of elements in the list, for the average case. When "
    "searching for elements near the head or the tail of the list, or when the MAXLEN option is "
    "provided, the command may run in constant time.",
)
def lpos(client: Client, words: Args) -> Any:
    """Finds where elements with this value are."""
    _, key, element, *rest = words
    given = options(rest, {b"RANK": _rank, b"COUNT": _count, b"MAXLEN": _maxlen})
    count = given.get(b"COUNT")
    value = client.keyspace.read_as(key, List)
    found: list[int] = []
    if value is not None:
        wanted = 1 if count is None else count
        found = value.positions(element, given.get(b"RANK", 1), wanted, given.get(b"MAXLEN", 0))
    if count is not None:
        return found
    return found[0] if found else None


def _rank(word: bytes) -> int:
    rank = integer(word)
    if rank == 0:
        raise RankIsZero
    if rank == INT64_MIN:
        raise NotWithin(-INT64_MAX, INT64_MAX)
    return rank


def _count(word: bytes) -> int:
    return integer_between(word, 0, INT64_MAX, NegativeCount)


def _maxlen(word: bytes) -> int:
    return integer_between(word, 0, INT64_MAX, NegativeMaxlen)


# Changing


@command(
    "LSET key index element",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW UPDATE"),
    since="1.0.0",
    complexity="O(N) where N is the length of the list. Setting either the first or the last "
    "element of the list is O(1).",
)
def lset(client: Client, words: Args) -> Any:
    """Overwrites the element at an index."""
    _, key, index, element = words
    keyspace = client.keyspace
    value = keyspace.find_as(key, List)
    if value is None:
        raise NoSuchKey
    at = place(value, index)
    if value.packed:
        value.grow([element], keyspace.limits.list_size)
    if at is None:
        raise IndexOutOfRange
    value[at] = element
    keyspace.changed(key, b"lset", LIST)
    if not value.packed:
        value.shrink(keyspace.limits.list_size)
    return OK


@command(
    "LINSERT key <BEFORE | AFTER> pivot element",
    WRITE | DENYOOM,
    keys=ONE_KEY("RW INSERT"),
    since="2.2.0",
    complexity="O(N) where N is the number of elements to traverse before seeing the value pivot. "
    "This means that inserting somewhere on the left end on the list (head) can be considered O(1) "
    "and inserting somewhere on the right end (tail) is O(N).",
)
def linsert(client: Client, words: Args) -> int:
    """Puts an element next to another one."""
    _, key, where, pivot, element = words
    side = where.upper()
    if side not in (b"BEFORE", b"AFTER"):
        raise SyntaxFailure
    keyspace = client.keyspace
    value = keyspace.find_as(key, List)
    if value is None:
        return 0
    if value.packed:
        value.grow([element], keyspace.limits.list_size)
    if not value.insert(pivot, element, after=side == b"AFTER"):
        return -1
    keyspace.changed(key, b"linsert", LIST)
    return len(value)


@command(
    "LREM key count element",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="1.0.0",
    complexity="O(N+M) where N is the length of the list and M is the number of elements removed.",
)
def lrem(client: Client, words: Args) -> int:
    """Removes elements from a list. Deletes the list if the last element was removed."""
    _, key, count, element = words
    wanted = integer(count)
    keyspace = client.keyspace
    value = keyspace.find_as(key, List)
    if value is None:
        return 0
    removed = value.remove(element, wanted)
    if removed:
        keyspace.changed(key, b"lrem", LIST)
        shrunk(keyspace, key, value)
    return removed


@command(
    "LTRIM key start stop",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="1.0.0",
    complexity="O(N) where N is the number of elements to be removed by the operation.",
)
def ltrim(client: Client, words: Args) -> Any:
    """Removes elements from both ends a list. Deletes the list if all elements were trimmed."""
    _, key, first, last = words
    start, stop = integer(first), integer(last)
    keyspace = client.keyspace
    value = keyspace.find_as(key, List)
    if value is None:
        return OK
    size = len(value)
    start, stop = clamp(start, stop, size)
    if start >= stop:
        start = stop = size
    if stop < size:
        keyspace.bury(key, value.drop_right(size - stop))
    if start:
        keyspace.bury(key, value.drop_left(start))
    if len(value) < size:
        keyspace.changed(key, b"ltrim", LIST)
        shrunk(keyspace, key, value)
    else:
        keyspace.also(key, b"ltrim", LIST)
    return OK
