"""XINFO: what there is to know about a stream, its groups and their consumers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer
from distcache_server.errors import NoSuchKey, UnknownSubcommandOrArity
from distcache_server.registry import READONLY, Keys, group
from distcache_server.reply import Entries
from distcache_server.stream_errors import NoGroupAtKey
from distcache_server.types.consumer_group import NEVER, UNKNOWN, Consumer, Group
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import LARGEST, shown

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("stream")

SHOWN = 10
"""Entries that XINFO STREAM FULL shows of each kind."""

Facts = dict[bytes, Any]


@command("XINFO", arity=-2, since="5.0.0", complexity="Depends on subcommand.", help="5.0.0")
def xinfo(_: Client, __: Args) -> Any:
    """Tells of a stream, its groups and their consumers."""


def sub(usage: str, tips: str = "") -> Callable[..., Any]:
    """Declare a subcommand of XINFO."""
    keys = Keys(2, access="RO ACCESS")
    return command(usage, READONLY, keys=keys, since="5.0.0", tips=tips, sub=True)


def found(client: Client, key: bytes) -> Stream:
    """The stream at a key."""
    stream = client.keyspace.read_as(key, Stream)
    if stream is None:
        raise NoSuchKey
    return stream


@sub("XINFO STREAM key [FULL [COUNT count]]")
def stream_(client: Client, words: Args) -> Facts:
    """Tells of a stream; with FULL, of its entries and groups too."""
    stream = found(client, words[2])
    options = words[3:]
    full = bool(options)
    if full and (options[0].upper() != b"FULL" or len(options) not in (1, 3)):
        raise UnknownSubcommandOrArity(words[1][:128], b"XINFO")
    count = SHOWN
    if len(options) == 3:
        if options[1].upper() != b"COUNT":
            raise UnknownSubcommandOrArity(words[1][:128], b"XINFO")
        count = integer(options[2])
        count = SHOWN if count < 0 else count
    nodes = stream.node_count
    facts: Facts = {
        b"length": len(stream),
        b"radix-tree-keys": nodes,
        b"radix-tree-nodes": nodes + 1,
        b"last-generated-id": shown(stream.last_id),
        b"max-deleted-entry-id": shown(stream.deleted_id),
        b"entries-added": stream.added,
        b"recorded-first-entry-id": shown(stream.first_id),
    }
    if full:
        groups = sorted(stream.groups.items())
        facts[b"entries"] = Entries(stream.range(0, LARGEST, count))
        facts[b"groups"] = [_whole_group(stream, name, it, count) for name, it in groups]
        return facts
    facts[b"groups"] = len(stream.groups)
    for name, find in ((b"first-entry", stream.range), (b"last-entry", stream.range_backwards)):
        entries = find(0, LARGEST, 1)
        facts[name] = [shown(entries[0][0]), list(entries[0][1])] if entries else None
    return facts


def _group(stream: Stream, name: bytes, group: Group) -> Facts:
    """What is said of a group anywhere."""
    return {
        b"name": name,
        b"last-delivered-id": shown(group.last_id),
        b"entries-read": None if group.read == UNKNOWN else group.read,
        b"lag": stream.lag(group),
    }


def _whole_group(stream: Stream, name: bytes, group: Group, count: int) -> Facts:
    pending = group.pending
    return {
        **_group(stream, name, group),
        b"pel-count": len(pending),
        b"pending": [
            [shown(number), it.consumer, it.time_ms, it.count]
            for number, it in islice(pending.deliveries(), count or None)
        ],
        b"consumers": [
            _whole_consumer(name, it, count) for name, it in sorted(group.consumers.items())
        ],
    }


def _whole_consumer(name: bytes, consumer: Consumer, count: int) -> Facts:
    pending = consumer.pending
    return {
        b"name": name,
        b"seen-time": consumer.seen_ms,
        b"active-time": consumer.active_ms,
        b"pel-count": len(pending),
        b"pending": [
            [shown(number), it.time_ms, it.count]
            for number, it in islice(pending.deliveries(), count or None)
        ],
    }


@sub("XINFO GROUPS key")
def groups(client: Client, words: Args) -> list[Facts]:
    """Tells of each group of a stream."""
    stream = found(client, words[2])
    return [
        {
            b"name": name,
            b"consumers": len(it.consumers),
            b"pending": len(it.pending),
            **_group(stream, name, it),
        }
        for name, it in sorted(stream.groups.items())
    ]


@sub("XINFO CONSUMERS key group", tips="nondeterministic_output")
def consumers(client: Client, words: Args) -> list[Facts]:
    """Tells of each consumer of a group."""
    _, _, key, name = words
    group = found(client, key).groups.get(name)
    if group is None:
        raise NoGroupAtKey(name, key)
    now_ms = client.keyspace.now_ms
    return [
        {
            b"name": name,
            b"pending": len(it.pending),
            b"idle": max(now_ms - it.seen_ms, 0),
            b"inactive": now_ms - it.active_ms if it.active_ms != NEVER else NEVER,
        }
        for name, it in sorted(group.consumers.items())
    ]
