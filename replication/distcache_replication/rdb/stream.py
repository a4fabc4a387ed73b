"""Streams: entries with their fields, and the consumer groups that read them.

Format, in the three versions that there are (2 is that of Redis 7.0, 3 that of 7.2):

- The number of nodes; each is the id of its first entry in 16 bytes and a listpack.
- The number of entries, the last id; from 2 on the first id, the largest id that was deleted, and
  how many entries were ever added.
- The number of groups, and of each: its name, the last id delivered; from 2 on how many entries
  were read; what is pending: each an id in 16 bytes, when it was delivered, and how often; its
  consumers, each with its name, when it was last seen, from 3 on when it was last active, and the
  ids that are pending for it.

A node's listpack begins with: how many entries are there and how many are deleted, the number of
fields of the first entry, these fields, 0.  An entry is: flags, its id less that of the first in
two numbers, then its values where it has the fields of the first, else the number of its fields and
fields and values in turn; and how many words all this was, for walking backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from math import inf
from struct import Struct
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from distcache_replication.rdb import listpack
from distcache_replication.rdb.errors import BadRdb, Large, Short
from distcache_replication.rdb.primitives import (
    allowed,
    int64,
    length,
    read_int64,
    read_length,
    read_string,
)
from distcache_replication.rdb.window import unpack

Id: TypeAlias = tuple[int, int]

DELETED, SAME_FIELDS = 1, 2
"""Flags of an entry."""
NODE_ENTRIES, NODE_BYTES = 100, 4096
"""A node takes no more than this."""
LARGEST = 2**64 - 1
"""The largest number in an id."""
UNREAD = LARGEST
"""How it is written that nobody knows how much a group has read."""
NEVER = -1
NODE, WORD, GROUP, CONSUMER, PENDING, OWNED = 256, 128, 512, 400, 400, 300
"""What each of these takes besides its bytes: a word while its node is unpacked, an entry that is
pending in its group and in its consumer."""

_id = Struct(">QQ")


T = TypeVar("T")


class Listed(Generic[T]):
    """So many of what is made only when it is written."""

    def __init__(self, count: int, each: Iterable[T]) -> None:
        self._count = count
        self._each = each

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return iter(self._each)


class Entry(NamedTuple):
    """An entry: fields and values in turn."""

    id: Id
    words: Sequence[bytes]


class Pending(NamedTuple):
    """An entry that was delivered and not acknowledged."""

    id: Id
    delivered_ms: int
    deliveries: int


class Consumer(NamedTuple):
    name: bytes
    seen_ms: int
    active_ms: int
    """-1 for never."""
    pending: list[Id] | Listed[Id]


class Group(NamedTuple):
    name: bytes
    last_id: Id
    read: int
    """Entries that were read; -1 where that is not known."""
    pending: list[Pending] | Listed[Pending]
    consumers: list[Consumer]


class Packed:
    """Entries that were read, in the nodes in which they stand: a walk unpacks one at a time.

    A million of them, each a tuple, take many times what they take here.
    """

    def __init__(self) -> None:
        self.first_id = self.last_id = (0, 0)
        self._count = 0
        self._nodes: list[tuple[Id, bytes]] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for first, packed in self._nodes:
            yield from node_entries(first, packed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed | list) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # what is in it changes

    def add(self, first: Id, packed: bytes, room: float = inf) -> None:
        """Take a node, whose entries come after all that are here; BadRdb, and Large where it takes
        more than ``room`` to unpack it."""
        entries = node_entries(first, packed, room)
        if any(one.id >= other.id for one, other in pairwise(entries)) or (
            entries and self._count and entries[0].id <= self.last_id
        ):
            raise BadRdb("The entries of a stream are not in order")
        if entries:
            if not self._count:
                self.first_id = entries[0].id
            self.last_id = entries[-1].id
            self._count += len(entries)
            self._nodes.append((first, packed))


class Stream(NamedTuple):
    entries: list[Entry] | Packed
    last_id: Id
    first_id: Id
    deleted_id: Id
    """The largest id that was deleted."""
    added: int
    """Entries that were ever added."""
    groups: list[Group]


class Head(NamedTuple):
    """What a stream says of itself after its nodes."""

    entries: int
    last_id: Id
    first_id: Id
    deleted_id: Id
    added: int
    groups: int


# Reading


def _read_id(data: bytes, pos: int) -> tuple[Id, int]:
    ms, pos = read_length(data, pos)
    number, pos = read_length(data, pos)
    return (ms, number), pos


def _read_raw_id(data: bytes, pos: int) -> tuple[Id, int]:
    end = pos + 16
    if end > len(data):
        raise Short(end)
    return _id.unpack(data[pos:end]), end


def read_stream(data: bytes, pos: int, version: int, room: float = inf) -> tuple[Stream, int]:
    """A stream as one of the three versions has it; Large where it takes more than ``allowed``."""
    begin, taken = pos, 0
    nodes, pos = read_length(data, pos)
    entries = Packed()
    for _ in range(nodes):
        first, pos = read_node_id(data, pos)
        packed, pos = read_string(data, pos, allowed(pos - begin, room) - taken)
        taken += len(packed) + NODE
        left = allowed(pos - begin, room) - taken
        if left < 0:
            raise Large
        entries.add(first, packed, left + len(packed))
    head, pos = read_head(data, pos, version)
    if head.entries != len(entries) or entries.last_id > head.last_id:
        raise BadRdb("A stream does not have the entries that it says", pos)
    groups = []
    for _ in range(head.groups):
        taken += GROUP
        group, used, pos = _read_group(data, pos, version, allowed(pos - begin, room) - taken)
        taken += used
        if version < 2:
            read = _estimated(group.last_id, entries, head.last_id)
            group = group._replace(read=read)
        groups.append(group)
    if len({group.name for group in groups}) < head.groups:
        raise BadRdb("A group of a stream comes twice", pos)
    first_id = entries.first_id if version < 2 else head.first_id
    stream = Stream(entries, head.last_id, first_id, head.deleted_id, head.added, groups)
    return stream, pos


def read_node_id(data: bytes, pos: int) -> tuple[Id, int]:
    """The id of a node's first entry."""
    try:
        raw, after = read_string(data, pos, _id.size)
    except Large:
        raw = b""
    if len(raw) != _id.size:
        raise BadRdb("The id of a stream's node is no id", pos)
    return _id.unpack(raw), after


def read_head(data: bytes, pos: int, version: int) -> tuple[Head, int]:
    """What comes between the nodes and the groups."""
    count, pos = read_length(data, pos)
    last, pos = _read_id(data, pos)
    first, deleted, added = (0, 0), (0, 0), count
    if version >= 2:
        first, pos = _read_id(data, pos)
        deleted, pos = _read_id(data, pos)
        added, pos = read_length(data, pos)
    groups, pos = read_length(data, pos)
    return Head(count, last, first, deleted, added, groups), pos


def _estimated(group: Id, entries: Packed, last: Id) -> int:
    """What a group that came so far has read, where that was not written down; Redis's guess."""
    if not entries or group < entries.first_id:
        return 0
    if group == last:
        return len(entries)
    return 1 if group == entries.first_id else NEVER


def _read_group(data: bytes, pos: int, version: int, room: float) -> tuple[Group, int, int]:
    """A group, what it takes besides its bytes, the position after it."""
    begin = pos
    name, pos = read_string(data, pos, room)
    last, read, size, pos = read_group_head(data, pos, version)
    taken = len(name) + PENDING * size
    if taken > allowed(pos - begin, room):
        raise Large
    pending: dict[Id, Pending] = {}
    for _ in range(size):
        number, pos = _read_raw_id(data, pos)
        delivered, pos = read_int64(data, pos)
        deliveries, pos = read_length(data, pos)
        pending[number] = Pending(number, delivered, deliveries)
    if len(pending) < size:
        raise BadRdb("An entry is pending twice in a group", pos)
    size, pos = read_length(data, pos)
    consumers = []
    owned: set[Id] = set()
    for _ in range(size):
        consumer, pos = _read_consumer(data, pos, version, allowed(pos - begin, room) - taken)
        taken += CONSUMER + len(consumer.name) + OWNED * len(consumer.pending)
        consumers.append(consumer)
        mine = set(consumer.pending)
        if len(mine) < len(consumer.pending) or mine & owned or not mine <= pending.keys():
            raise BadRdb("The pending entries of a group and its consumers differ", pos)
        owned |= mine
    if len(owned) < len(pending) or len({consumer.name for consumer in consumers}) < size:
        raise BadRdb("The pending entries of a group and its consumers differ", pos)
    return Group(name, last, read, list(pending.values()), consumers), taken, pos


def read_group_head(data: bytes, pos: int, version: int) -> tuple[Id, int, int, int]:
    """What comes after a group's name: the last id, entries read, how many are pending."""
    last, pos = _read_id(data, pos)
    read = NEVER
    if version >= 2:
        read, pos = read_length(data, pos)
        if read == UNREAD:
            read = NEVER
    size, pos = read_length(data, pos)
    return last, read, size, pos


def _read_consumer(data: bytes, pos: int, version: int, room: float) -> tuple[Consumer, int]:
    if room < CONSUMER:
        raise Large
    name, pos = read_string(data, pos, room)
    seen, active, size, pos = read_consumer_head(data, pos, version)
    if OWNED * size > room:
        raise Large
    pending = []
    for _ in range(size):
        number, pos = _read_raw_id(data, pos)
        pending.append(number)
    return Consumer(name, seen, active, pending), pos


def read_consumer_head(data: bytes, pos: int, version: int) -> tuple[int, int, int, int]:
    """What comes after a consumer's name: when it was seen and active, how many are pending."""
    seen, pos = read_int64(data, pos)
    active = seen
    if version >= 3:
        active, pos = read_int64(data, pos)
    size, pos = read_length(data, pos)
    return seen, active, size, pos


def node_entries(first: Id, packed: bytes, room: float = inf) -> list[Entry]:
    """The entries of a node that are not deleted."""
    try:
        return list(_each_entry(first, unpack(listpack.FORM, packed, room, WORD)))
    except (ValueError, IndexError):
        raise BadRdb("A node of a stream does not hold entries") from None


def _each_entry(first: Id, words: list[bytes]) -> Iterator[Entry]:
    count, gone, size = map(int, words[:3])
    at = 4 + size
    fields = words[3 : at - 1]
    if min(count, gone, size) < 0 or words[at - 1] != b"0":
        raise ValueError
    left = count + gone
    while at < len(words):
        begin = at
        flags, ms, number = int(words[at]), int(words[at + 1]), int(words[at + 2])
        at += 3
        if flags & SAME_FIELDS:
            values = words[at : at + size]
            found = list(chain.from_iterable(zip(fields, values, strict=True)))
            at += size
        else:
            own = int(words[at])
            found = words[at + 1 : at + 1 + 2 * own]
            at += 1 + 2 * own
            if own < 0 or len(found) != 2 * own:
                raise ValueError
        if int(words[at]) != at - begin:
            raise ValueError
        at += 1
        left -= 1
        if flags & DELETED:
            gone -= 1
        else:
            yield Entry((first[0] + ms & LARGEST, first[1] + number & LARGEST), found)
    if left or gone:
        raise ValueError


# Writing


class Nodes(NamedTuple):
    """Entries in pieces that are made when they are written, each small enough for a node."""

    nodes: int
    entries: int
    each: Iterable[list[Entry]]


def write_stream(stream: Stream, version: int, nodes: Nodes | None = None) -> Iterator[bytes]:
    """A stream as this version has it, piece by piece; ``nodes`` in place of its entries."""
    if nodes is None:
        divided = list(_nodes(stream.entries))
        nodes = Nodes(len(divided), len(stream.entries), divided)
    yield length(nodes.nodes)
    for entries in nodes.each:
        packed = listpack.encode(_words(entries))
        yield b"%b%b%b%b" % (length(16), _id.pack(*entries[0].id), length(len(packed)), packed)
    yield length(nodes.entries) + _written(stream.last_id)
    if version >= 2:
        yield _written(stream.first_id) + _written(stream.deleted_id) + length(stream.added)
    yield length(len(stream.groups))
    for group in stream.groups:
        yield from _write_group(group, version)


def _written(number: Id) -> bytes:
    return length(number[0]) + length(number[1])


def _write_group(group: Group, version: int) -> Iterator[bytes]:
    yield length(len(group.name)) + group.name + _written(group.last_id)
    if version >= 2:
        yield length(UNREAD if group.read == NEVER else group.read)
    yield length(len(group.pending))
    for pending in group.pending:
        yield _id.pack(*pending.id) + int64(pending.delivered_ms) + length(pending.deliveries)
    yield length(len(group.consumers))
    for consumer in group.consumers:
        yield length(len(consumer.name)) + consumer.name + int64(consumer.seen_ms)
        if version >= 3:
            yield int64(consumer.active_ms)
        yield length(len(consumer.pending))
        for number in consumer.pending:
            yield _id.pack(*number)


def _nodes(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries, as many together as fit into a node."""
    node: list[Entry] = []
    size = 0
    for entry in entries:
        own = sum(map(len, entry.words))
        if node and (len(node) >= NODE_ENTRIES or size + own > NODE_BYTES):
            yield node
            node, size = [], 0
        node.append(entry)
        size += own
    if node:
        yield node


def _signed(number: int) -> int:
    """A difference of ids, as the 64 bits in which Redis keeps it."""
    return (number + (1 << 63) & LARGEST) - (1 << 63)


def _words(entries: list[Entry]) -> Iterator[bytes]:
    """The words of a node's listpack."""
    first = entries[0]
    fields = first.words[::2]
    yield from (b"%d" % len(entries), b"0", b"%d" % len(fields), *fields, b"0")
    for entry in entries:
        same = entry.words[::2] == fields
        after = [_signed(own - its) for own, its in zip(entry.id, first.id, strict=True)]
        words = entry.words[1::2] if same else [b"%d" % (len(entry.words) // 2), *entry.words]
        yield from (b"%d" % (SAME_FIELDS if same else 0), b"%d" % after[0], b"%d" % after[1])
        yield from words
        yield b"%d" % (len(words) + 3)
