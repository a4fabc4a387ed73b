"""The list commands that wait for an element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, keys_end_count, timeout_ms
from distcache_server.blocking import Wait
from distcache_server.commands.lists import (
    OF_SEVERAL,
    TWO_KEYS,
    is_left,
    move,
    pop_several,
    popped,
)
from distcache_server.registry import (
    BLOCKING,
    DENYOOM,
    KEYS_THEN_ONE,
    MOVABLEKEYS,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import NullArray
from distcache_server.types.list import List

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("list")


def wait_and_pop(client: Client, words: Args, left: bool) -> Any:
    """BLPOP and BRPOP."""
    keyspace = client.keyspace
    keys = words[1:-1]
    timeout = timeout_ms(words[-1])
    for key in keys:
        value = keyspace.find_as(key, List)
        if value is not None:
            element = value.pop_left() if left else value.pop_right()
            popped(keyspace, key, value, left)
            client.effect = [b"LPOP" if left else b"RPOP", key]
            return [key, element]
    raise Wait(keys, List, timeout)


@command(
    "BLPOP key [key ...] timeout",
    WRITE | BLOCKING,
    keys=KEYS_THEN_ONE("RW ACCESS DELETE"),
    since="2.0.0",
    complexity="O(N) where N is the number of provided keys.",
)
def blpop(client: Client, words: Args) -> Any:
    """Removes and returns the first element in a list. Blocks until one is available."""
    return wait_and_pop(client, words, left=True)


@command(
    "BRPOP key [key ...] timeout",
    WRITE | BLOCKING,
    keys=KEYS_THEN_ONE("RW ACCESS DELETE"),
    since="2.0.0",
    complexity="O(N) where N is the number of provided keys.",
)
def brpop(client: Client, words: Args) -> Any:
    """Removes and returns the last element in a list. Blocks until one is available."""
    return wait_and_pop(client, words, left=False)


@command(
    "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
    WRITE | BLOCKING | MOVABLEKEYS,
    keys=Keys(first=2, numkeys=True, access="RW ACCESS DELETE"),
    since="7.0.0",
    complexity=OF_SEVERAL,
)
def blmpop(client: Client, words: Args) -> Any:
    """Pops elements from the first of several lists. Blocks until one is available."""
    keys, left, count = keys_end_count(words[2:], b"LEFT", b"RIGHT")
    timeout = timeout_ms(words[1])
    reply = pop_several(client, keys, left, count)
    if reply is None:
        raise Wait(keys, List, timeout)
    return reply


def wait_and_move(
    client: Client, source: bytes, destination: bytes, ends: tuple[bool, bool], timeout: int
) -> bytes:
    """BLMOVE and BRPOPLPUSH."""
    element = move(client, source, destination, *ends)
    if element is None:
        raise Wait([source], List, timeout, otherwise=None, timed_out=NullArray)
    return element


@command(
    "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
    WRITE | DENYOOM | BLOCKING,
    keys=TWO_KEYS,
    since="6.2.0",
)
def blmove(client: Client, words: Args) -> bytes:
    """Pops an element from a list and pushes it to another. Blocks until there is one."""
    _, source, destination, start, end, timeout = words
    ends = is_left(start), is_left(end)
    element = wait_and_move(client, source, destination, ends, timeout_ms(timeout))
    client.effect = [b"LMOVE", source, destination, start, end]
    return element


@command(
    "BRPOPLPUSH source destination timeout",
    WRITE | DENYOOM | BLOCKING,
    keys=TWO_KEYS,
    since="2.2.0",
)
def brpoplpush(client: Client, words: Args) -> bytes:
    """Pops the last element of a list, pushes it to another. Blocks until there is one."""
    _, source, destination, timeout = words
    element = wait_and_move(client, source, destination, (False, True), timeout_ms(timeout))
    client.effect = [b"RPOPLPUSH", source, destination]
    return element
