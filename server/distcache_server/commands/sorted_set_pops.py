"""The sorted set commands that take members out at one end, and those that wait for some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import (
    INT64_MAX,
    Args,
    Columns,
    integer_between,
    keys_end_count,
    timeout_ms,
)
from distcache_server.blocking import Wait
from distcache_server.errors import CommandError, NotPositive, SyntaxFailure
from distcache_server.events import SORTED_SET
from distcache_server.registry import (
    BLOCKING,
    FAST,
    KEYS_THEN_ONE,
    MOVABLEKEYS,
    NUMKEYS,
    ONE_KEY,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import EMPTY_ARRAY, NullArray, Scores
from distcache_server.types.sorted_set import Item, SortedSet

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("sorted-set")

TAKEN = "RW ACCESS DELETE"
OF_ONE = (
    "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of "
    "elements popped."
)
OF_SEVERAL = (
    "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in "
    "the sorted set, and M being the number of elements popped."
)


def _take(keyspace: Keyspace, key: bytes, found: SortedSet, lowest: bool, count: int) -> list[Item]:
    """Take members out of a set, and say so."""
    items = found.pop_min(count) if lowest else found.pop_max(count)
    keyspace.changed(key, b"zpopmin" if lowest else b"zpopmax", SORTED_SET)
    if not found:
        keyspace.remove_if_empty(key, found)
    return items


def _pop(client: Client, words: Args, lowest: bool) -> Any:
    """ZPOPMIN and ZPOPMAX."""
    if len(words) > 3:
        raise SyntaxFailure
    count = integer_between(words[2], 0, INT64_MAX, NotPositive) if len(words) == 3 else 1
    keyspace, key = client.keyspace, words[1]
    found = keyspace.find_as(key, SortedSet)
    if found is None or not count:
        return EMPTY_ARRAY
    items = _take(keyspace, key, found, lowest, count)
    return Scores(items) if len(words) == 3 else items[0]


def _pop_run(client: Client, columns: Columns, lowest: bool) -> list[Any] | None:
    """ZPOPMIN or ZPOPMAX of one member each, many times; None where a key is no sorted set."""
    keyspace = client.keyspace
    try:
        sets = {key: keyspace.find_as(key, SortedSet) for key in set(columns[1])}
    except CommandError:
        return None
    replies: list[Any] = []
    for key in columns[1]:
        found = sets[key]
        replies.append(_take(keyspace, key, found, lowest, 1)[0] if found else EMPTY_ARRAY)
    return replies


def zpopmin_run(client: Client, columns: Columns) -> list[Any] | None:
    return _pop_run(client, columns, lowest=True)


def zpopmax_run(client: Client, columns: Columns) -> list[Any] | None:
    return _pop_run(client, columns, lowest=False)


@command(
    "ZPOPMIN key [count]",
    WRITE | FAST,
    keys=ONE_KEY(TAKEN),
    since="5.0.0",
    complexity=OF_ONE,
    run=zpopmin_run,
)
def zpopmin(client: Client, words: Args) -> Any:
    """Removes the members with the lowest scores and returns them."""
    return _pop(client, words, lowest=True)


@command(
    "ZPOPMAX key [count]",
    WRITE | FAST,
    keys=ONE_KEY(TAKEN),
    since="5.0.0",
    complexity=OF_ONE,
    run=zpopmax_run,
)
def zpopmax(client: Client, words: Args) -> Any:
    """Removes the members with the highest scores and returns them."""
    return _pop(client, words, lowest=False)


def _pop_several(client: Client, keys: list[bytes], lowest: bool, count: int) -> list[Any] | None:
    """Take members from the first set there is: its key and them; None where there is no set."""
    keyspace = client.keyspace
    for key in keys:
        found = keyspace.find_as(key, SortedSet)
        if found is not None:
            items = _take(keyspace, key, found, lowest, count)
            client.effect = [b"ZPOPMIN" if lowest else b"ZPOPMAX", key, b"%d" % len(items)]
            return [key, items]
    return None


@command(
    "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
    WRITE | MOVABLEKEYS,
    keys=NUMKEYS(TAKEN),
    since="7.0.0",
    complexity=OF_SEVERAL,
)
def zmpop(client: Client, words: Args) -> Any:
    """Removes members from the first of several sorted sets that there is, and returns them."""
    keys, lowest, count = keys_end_count(words[1:], b"MIN", b"MAX")
    return _pop_several(client, keys, lowest, count) or NullArray


@command(
    "BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
    WRITE | BLOCKING | MOVABLEKEYS,
    keys=Keys(first=2, numkeys=True, access=TAKEN),
    since="7.0.0",
    complexity=OF_SEVERAL,
)
def bzmpop(client: Client, words: Args) -> Any:
    """Removes members from the first of several sorted sets, and waits until there is one."""
    keys, lowest, count = keys_end_count(words[2:], b"MIN", b"MAX")
    timeout = timeout_ms(words[1])
    reply = _pop_several(client, keys, lowest, count)
    if reply is None:
        raise Wait(keys, SortedSet, timeout)
    return reply


def _wait_and_pop(client: Client, words: Args, lowest: bool) -> list[Any]:
    """BZPOPMIN and BZPOPMAX."""
    keys, timeout = words[1:-1], timeout_ms(words[-1])
    reply = _pop_several(client, keys, lowest, 1)
    if reply is None:
        raise Wait(keys, SortedSet, timeout)
    key, items = reply
    client.effect = [b"ZPOPMIN" if lowest else b"ZPOPMAX", key]
    return [key, *items[0]]


@command(
    "BZPOPMIN key [key ...] timeout",
    WRITE | FAST | BLOCKING,
    keys=KEYS_THEN_ONE(TAKEN),
    since="5.0.0",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
)
def bzpopmin(client: Client, words: Args) -> list[Any]:
    """Removes the member with the lowest score and returns it, and waits until there is one."""
    return _wait_and_pop(client, words, lowest=True)


@command(
    "BZPOPMAX key [key ...] timeout",
    WRITE | FAST | BLOCKING,
    keys=KEYS_THEN_ONE(TAKEN),
    since="5.0.0",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
)
def bzpopmax(client: Client, words: Args) -> list[Any]:
    """Removes the member with the highest score and returns it, and waits until there is one."""
    return _wait_and_pop(client, words, lowest=False)
