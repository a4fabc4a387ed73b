"""Streams as the snapshot codec has them, and back; and as commands that make them again."""

from __future__ import annotations

from collections.abc import Iterator
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


def form_of(value: Stream, style: rdb.Style) -> rdb.Form:
    """The form of a stream, its entries unpacked block by block."""
    head = rdb.Stream(
        [],
        _apart(value.last_id),
        _apart(value.first_id),
        _apart(value.deleted_id),
        value.added,
        [_plain_group(name, group) for name, group in value.groups.items()],
    )
    nodes = ([rdb.Entry(_apart(number), words) for number, words in node] for node in value.nodes())
    return rdb.of_stream(head, style, rdb.Nodes(value.node_count, len(value), nodes))


def _plain_group(name: bytes, group: Group) -> rdb.Group:
    found = group.pending.found
    return rdb.Group(
        name,
        _apart(group.last_id),
        group.read,
        [
            rdb.Pending(_apart(number), found[number].time_ms, found[number].count)
            for number in group.pending.between(0)
        ],
        [
            rdb.Consumer(
                name, it.seen_ms, it.active_ms, [_apart(each) for each in it.pending.between(0)]
            )
            for name, it in group.consumers.items()
        ],
    )


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


def commands_for(key: bytes, value: Stream) -> Iterator[list[bytes]]:
    """What makes the stream again."""
    for node in value.nodes():
        for number, words in node:
            yield [b"XADD", key, shown(number), *words]
    if not len(value):
        yield [b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]
    yield [
        *(b"XSETID", key, shown(value.last_id)),
        *(b"ENTRIESADDED", b"%d" % value.added, b"MAXDELETEDID", shown(value.deleted_id)),
    ]
    for name, group in value.groups.items():
        yield [
            *(b"XGROUP", b"CREATE", key, name, shown(group.last_id)),
            *(b"ENTRIESREAD", b"%d" % group.read),
        ]
        for consumer in group.consumers:
            yield [b"XGROUP", b"CREATECONSUMER", key, name, consumer]
        for number in group.pending.between(0):
            it = group.pending.found[number]
            yield [
                *(b"XCLAIM", key, name, it.consumer, b"0", shown(number)),
                *(b"TIME", b"%d" % it.time_ms, b"RETRYCOUNT", b"%d" % it.count),
                *(b"JUSTID", b"FORCE"),
            ]
