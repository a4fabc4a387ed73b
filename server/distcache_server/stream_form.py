"""Streams as the snapshot codec has them, and back; and as commands that make them again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from distcache_replication import rdb

from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import BITS, SEQUENCE, shown

if TYPE_CHECKING:
    from distcache_server.types.limits import Limits

Id = tuple[int, int]


def _apart(number: int) -> Id:
    return number >> BITS, number & SEQUENCE


def _together(parts: Id) -> int:
    return parts[0] << BITS | parts[1]


# To a snapshot


def form_of(value: Stream, style: rdb.Style, kept: bool = False) -> rdb.Form:
    """The form of a stream, its entries unpacked block by block; if ``kept``, as it is now."""
    head = _head(value, kept)  # which looks at blocks, and so comes first
    nodes = rdb.Nodes(value.node_count, len(value), _nodes(value, kept))
    return rdb.of_stream(head, style, nodes)


def plain(value: Stream) -> rdb.Stream:
    """The whole stream in plain form."""
    head = _head(value, kept=False)
    groups = [
        it._replace(
            pending=list(it.pending),
            consumers=[each._replace(pending=list(each.pending)) for each in it.consumers],
        )
        for it in head.groups
    ]
    return head._replace(entries=list(chain.from_iterable(_nodes(value, False))), groups=groups)


def _head(value: Stream, kept: bool) -> rdb.Stream:
    """All but the entries."""
    return rdb.Stream(
        [],
        _apart(value.last_id),
        _apart(value.first_id),
        _apart(value.deleted_id),
        value.added,
        [_plain_group(name, group, kept) for name, group in value.groups.items()],
    )


def _nodes(value: Stream, kept: bool) -> Iterator[list[rdb.Entry]]:
    return (
        [rdb.Entry(_apart(number), words) for number, words in node] for node in value.nodes(kept)
    )


def _plain_group(name: bytes, group: Group, kept: bool) -> rdb.Group:
    pending = (
        [rdb.Pending(_apart(number), it.time_ms, it.count) for number, it in part]
        for part in group.pending.batches(kept)
    )
    return rdb.Group(
        name,
        _apart(group.last_id),
        group.read,
        rdb.Listed(len(group.pending), chain.from_iterable(pending)),
        [_plain_consumer(name, consumer, kept) for name, consumer in group.consumers.items()],
    )


def _plain_consumer(name: bytes, consumer: Consumer, kept: bool) -> rdb.Consumer:
    parts = consumer.pending.batches(kept)
    pending = ([_apart(number) for number, _ in part] for part in parts)
    listed = rdb.Listed(len(consumer.pending), chain.from_iterable(pending))
    return rdb.Consumer(name, consumer.seen_ms, consumer.active_ms, listed)


# From a snapshot


def made(plain: rdb.Stream, limits: Limits) -> Stream:
    """The stream."""
    value = Stream()
    for entry in plain.entries:
        value.add(_together(entry.id), entry.words, limits)
    value.last_id = _together(plain.last_id)
    value.deleted_id = _together(plain.deleted_id)
    value.added = plain.added
    for it in plain.groups:
        group = value.groups[it.name] = Group(_together(it.last_id), it.read)
        owners = {}
        for consumer in it.consumers:
            group.consumers[consumer.name] = Consumer(consumer.seen_ms, consumer.active_ms)
            owners.update(dict.fromkeys(consumer.pending, consumer.name))
        for pending in sorted(it.pending):
            delivery = Delivery(owners[pending.id], pending.delivered_ms, pending.deliveries)
            group.deliver(_together(pending.id), delivery)
    return value


# As commands


def commands_for(key: bytes, value: Stream, kept: bool = False) -> Iterator[list[bytes]]:
    """What makes the stream again; if ``kept``, as it is now."""
    nodes = value.nodes(kept)
    entries = ([b"XADD", key, shown(number), *words] for node in nodes for number, words in node)
    rest = []
    if not len(value):
        rest.append([b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"])
    rest.append(
        [
            *(b"XSETID", key, shown(value.last_id)),
            *(b"ENTRIESADDED", b"%d" % value.added, b"MAXDELETEDID", shown(value.deleted_id)),
        ]
    )
    groups = [_commands_for_group(key, name, it, kept) for name, it in value.groups.items()]
    return chain(entries, rest, *groups)


def _commands_for_group(key: bytes, name: bytes, group: Group, kept: bool) -> Iterator[list[bytes]]:
    start = [
        [
            *(b"XGROUP", b"CREATE", key, name, shown(group.last_id)),
            *(b"ENTRIESREAD", b"%d" % group.read),
        ]
    ]
    start += [[b"XGROUP", b"CREATECONSUMER", key, name, consumer] for consumer in group.consumers]
    claims = (
        [_claim(key, name, number, delivery) for number, delivery in part]
        for part in group.pending.batches(kept)
    )
    return chain(start, chain.from_iterable(claims))


def _claim(key: bytes, name: bytes, number: int, it: Delivery) -> list[bytes]:
    return [
        *(b"XCLAIM", key, name, it.consumer, b"0", shown(number)),
        *(b"TIME", b"%d" % it.time_ms, b"RETRYCOUNT", b"%d" % it.count),
        *(b"JUSTID", b"FORCE"),
    ]
