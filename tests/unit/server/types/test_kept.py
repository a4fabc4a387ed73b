"""types/kept.py: large values are read as they were, and a change copies only what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from distcache_replication.rdb import Style
from distcache_server.stream_form import commands_for, form_of
from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.hash import Hash
from distcache_server.types.kept import Guarded
from distcache_server.types.limits import Limits
from distcache_server.types.list import List
from distcache_server.types.pending_list import Delivery
from distcache_server.types.set import Set
from distcache_server.types.sorted_set import SortedSet
from distcache_server.types.stream import Stream
from distcache_server.types.stream_block import Block

COUNT = 20_000
LIMITS = Limits()
PART = 1024
"""No part has more entries than this."""


def name(number: int) -> bytes:
    return b"name:%d" % number


def filled_set() -> Set:
    return Set.of(map(name, range(COUNT)), LIMITS)


def filled_hash() -> Hash:
    value = Hash()
    value.update([word for number in range(COUNT) for word in (name(number), b"value")], LIMITS)
    for number in range(0, COUNT, 2):
        value.expire_at(name(number), 1000 + number)
    return value


def filled_sorted_set() -> SortedSet:
    return SortedSet([(name(number), float(number % 500)) for number in range(COUNT)], LIMITS)


def filled_list() -> List:
    return List(list(map(name, range(COUNT))))


def filled_stream() -> Stream:
    value = Stream()
    for number in range(1, COUNT + 1):
        value.add(number << 64, (b"field", name(number)), LIMITS)
    group = value.groups[b"group"] = Group(0)
    for consumer in (b"one", b"other"):
        group.consumers[consumer] = Consumer(0)
    for number in range(1, COUNT + 1, 2):
        group.deliver(number << 64, Delivery(b"one", 5, 1))
    return value


def read(value: Any, kept: bool) -> Iterator[Any]:
    if isinstance(value, Stream):
        return iter(form_of(value, Style(), kept).body)
    batches = chain.from_iterable(value.batches(kept))
    if not isinstance(value, Hash):
        return batches
    assert value.deadlines is not None
    deadline = value.deadlines.reader(kept)
    return ((item, deadline(item[0])) for item in batches)


def parts_of(value: Any) -> list[list[Any]]:
    """All lists of parts of a value."""
    found: list[Any]
    if isinstance(value, Set):
        found = [value.members.parts]  # type: ignore[union-attr]
    elif isinstance(value, Hash):
        found = [value.entries.parts, value.deadlines.by_field.parts]  # type: ignore[union-attr]
    elif isinstance(value, SortedSet):
        found = [value._members, value._scores]
    elif isinstance(value, List):
        found = [value._body]
    else:
        group = value.groups.get(b"group", Group(0))
        consumers = [consumer.pending._chunks for consumer in group.consumers.values()]
        found = [value._blocks, group.pending._chunks, *consumers]
    return found


def copied(value: Any) -> list[int]:
    """How many entries each part has that was copied and not read yet."""
    sizes = []
    for parts in parts_of(value):
        if not isinstance(parts, Guarded):
            continue
        own = {id(part) for part in parts}
        kept = [part for part in parts.kept.parts.values() if id(part) not in own]
        sizes += [part.count if isinstance(part, Block) else len(part) for part in kept]
    return sizes


def hand_over(value: Stream) -> None:
    group = value.groups[b"group"]
    number = 15_001 << 64
    delivery = group.pending.get(number)
    assert delivery is not None
    group.hand_over(number, delivery, b"other")
    delivery.count = 7


CHANGES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (filled_set, lambda it: it.add(b"new", LIMITS)),
    (filled_set, lambda it: it.remove(name(77))),
    (filled_set, lambda it: it.pop()),
    (filled_hash, lambda it: it.replace(name(9), b"other", LIMITS)),
    (filled_hash, lambda it: it.replace(b"new", b"other", LIMITS)),
    (filled_hash, lambda it: it.remove(name(10))),
    (filled_hash, lambda it: it.expire_at(name(11), 5)),
    (filled_hash, lambda it: it.persist(name(12))),
    (filled_sorted_set, lambda it: it.add(b"new", 7.0)),
    (filled_sorted_set, lambda it: it.add(name(77), 7.5)),
    (filled_sorted_set, lambda it: it.remove(name(78))),
    (filled_sorted_set, lambda it: it.pop_min()),
    (filled_sorted_set, lambda it: it.pop_max(3)),
    (filled_list, lambda it: it.push_left(b"new")),
    (filled_list, lambda it: it.pop_left()),
    (filled_list, lambda it: it.pop_right()),
    (filled_list, lambda it: it.drop_left(1500)),
    (filled_list, lambda it: it.drop_right(1500)),
    (filled_list, lambda it: it.__setitem__(len(it) // 2, b"new")),
    (filled_list, lambda it: it.insert(name(9000), b"new", True)),
    (filled_list, lambda it: it.remove(name(9000), 1)),
    (filled_stream, lambda it: it.add(it.last_id + 1, (b"other", b"value"), LIMITS)),
    (filled_stream, lambda it: it.delete([9000 << 64])),
    (filled_stream, lambda it: it.trim_to_length(COUNT - 150)),
    (filled_stream, lambda it: it.groups[b"group"].acknowledge(9001 << 64)),
    (filled_stream, lambda it: it.groups[b"group"].deliver(2 << 64, Delivery(b"other", 1, 1))),
    (filled_stream, hand_over),
    (filled_stream, lambda it: it.groups.clear()),
    (filled_list, lambda it: it.remove(b"nothing", 0)),
]


@pytest.mark.parametrize("at", range(len(CHANGES)))
def test_a_change_copies_a_part(at: int) -> None:
    fill, change = CHANGES[at]
    value = fill()
    before = list(read(value, kept=False))
    reader = read(value, kept=True)
    assert not copied(value)
    change(value)
    # An old place and a new one in each of two tables, and what a binary search looks at.
    assert sum(copied(value)) <= 4 * PART
    assert list(reader) == before
    value.release()
    assert not any(isinstance(it, Guarded) for it in parts_of(value))


@pytest.mark.parametrize("fill", dict.fromkeys(fill for fill, _ in CHANGES))
def test_changes_everywhere_while_it_is_read(fill: Callable[[], Any]) -> None:
    value = fill()
    before = list(read(value, kept=False))
    found = []
    for at, entry in enumerate(read(value, kept=True)):
        found.append(entry)
        if at % 4000 == 100:
            # What is gone, is gone.
            for other, change in CHANGES:
                if other is fill and "clear" not in change.__code__.co_names:
                    change(value)
    assert found == before
    value.release()
    assert list(read(value, kept=False)) != before


def test_a_part_that_was_read_is_not_copied() -> None:
    value = filled_set()
    for _ in read(value, kept=True):
        pass
    value.add(b"new", LIMITS)
    assert not copied(value)


def test_a_copy_is_not_guarded() -> None:
    for fill in dict.fromkeys(fill for fill, _ in CHANGES):
        value = fill()
        reader = read(value, kept=True)
        before = list(read(value, kept=False))
        other = value.copy()
        assert all(type(it) is list for it in parts_of(other))
        value.drain()
        assert list(reader) == before


def test_commands_for_a_stream_that_changes() -> None:
    value = filled_stream()
    before = list(commands_for(b"key", value))
    found = []
    for command in commands_for(b"key", value, kept=True):
        found.append(command)
        if len(found) == 50:
            for fill, change in CHANGES:
                if fill is filled_stream:
                    change(value)
    assert found == before
