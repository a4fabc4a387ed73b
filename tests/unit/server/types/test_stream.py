"""types/stream.py: entries by id, beside a dictionary that has the same."""

from __future__ import annotations

import gc

import pytest
from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.limits import Limits
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import LARGEST
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

FIELDS = ((b"a",), (b"a", b"b"), (b"b", b"a"), (b"a", b"a", b"c"))
places = st.integers(0, 400)
spans = st.tuples(places, places)


class Machine(RuleBasedStateMachine):
    @initialize(entries=st.sampled_from([1, 2, 5, 100]), size=st.sampled_from([40, 300, 4096]))
    def start(self, entries: int, size: int) -> None:
        self.limits = Limits()
        self.limits.stream_entries, self.limits.stream_bytes = entries, size
        self.subject = Stream()
        self.model: dict[int, list[bytes]] = {}
        self.deleted = self.added = 0

    @rule(
        fields=st.sampled_from(FIELDS),
        count=st.sampled_from([1, 1, 3, 30, 120]),
        step=st.sampled_from([1, 2, 1 << 64, 3 << 64]),
    )
    def add(self, fields: tuple[bytes, ...], count: int, step: int) -> None:
        for _ in range(count):
            number = self.subject.last_id + step
            words = [word for field in fields for word in (field, b"%d" % (number & 0xFF))]
            self.subject.add(number, words, self.limits)
            self.model[number] = words
            self.added += 1

    @rule(fields=st.sampled_from(FIELDS), count=st.sampled_from([1, 2, 50, 130]), odd=st.booleans())
    def extend(self, fields: tuple[bytes, ...], count: int, odd: bool) -> None:
        first = self.subject.last_id + 5
        rows = []
        for number in range(first, first + count):
            rows.append([word for field in fields for word in (field, b"%d" % (number & 0xFFF))])
        if odd:
            rows[-1][0] = b"odd"
        self.subject.extend(first, list(zip(*rows, strict=True)), self.limits)
        self.model.update(enumerate(rows, first))
        self.added += count

    def at(self, place: int) -> int:
        """An id that is there, or beside one."""
        ids = list(self.model)
        return ids[place % len(ids)] + (place & 1) if ids else place

    @rule(some=st.lists(places, max_size=9))
    def delete(self, some: list[int]) -> None:
        numbers = [self.at(place) for place in some]
        expected = {number for number in numbers if number in self.model}
        assert self.subject.delete(numbers) == len(expected)
        for number in expected:
            del self.model[number]
        self.deleted = max(self.deleted, *expected, 0)

    def trimmed(self, count: int) -> None:
        for number in list(self.model)[:count]:
            del self.model[number]

    @rule(length=places, limit=st.sampled_from([None, None, 0, 10, 100]))
    def trim_to_length(self, length: int, limit: int | None) -> None:
        excess = max(len(self.model) - length, 0)
        gone = self.subject.trim_to_length(length, limit)
        assert gone <= min(excess, limit or excess)
        assert limit is not None or gone == excess
        self.trimmed(gone)

    @rule(place=places, limit=st.sampled_from([None, None, 0, 10, 100]))
    def trim_to_id(self, place: int, limit: int | None) -> None:
        least = self.at(place)
        excess = sum(number < least for number in self.model)
        gone = self.subject.trim_to_id(least, limit)
        assert gone <= min(excess, limit or excess)
        assert limit is not None or gone == excess
        self.trimmed(gone)

    @rule(span=spans, count=st.sampled_from([0, 1, 7, 150]))
    def look(self, span: tuple[int, int], count: int) -> None:
        start, end = map(self.at, span)
        expected = [item for item in self.model.items() if start <= item[0] <= end]
        most = count or len(expected)
        found = self.subject.range(start, end, count)
        assert [(number, list(words)) for number, words in found] == expected[:most]
        found = self.subject.range_backwards(start, end, count)
        assert [(number, list(words)) for number, words in found] == expected[::-1][:most]

    @rule(place=places)
    def contains(self, place: int) -> None:
        number = self.at(place)
        assert (number in self.subject) == (number in self.model)
        words = self.subject.get(number)
        assert (words and list(words)) == self.model.get(number)

    @rule()
    def go_on_with_a_copy(self) -> None:
        before, self.subject = self.subject, self.subject.copy()
        before.trim_to_length(0)

    @invariant()
    def same(self) -> None:
        subject, ids = self.subject, list(self.model)
        assert len(subject) == len(ids)
        assert subject.first_id == (ids[0] if ids else 0)
        assert subject.top_id == (ids[-1] if ids else 0)
        assert (subject.added, subject.deleted_id) == (self.added, self.deleted)
        nodes = list(subject.nodes())
        assert len(nodes) == subject.node_count
        assert [number for node in nodes for number, _ in node] == ids

    def teardown(self) -> None:
        while hasattr(self, "subject") and self.subject.drain():
            pass


TestStream = Machine.TestCase
TestStream.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def filled(count: int, size: int = 10) -> Stream:
    stream, limits = Stream(), Limits()
    for number in range(1, count + 1):
        stream.add(number << 64, [b"field", b"v" * size, b"other", b"%d" % number], limits)
    return stream


def test_memory_is_estimated() -> None:
    small, large = filled(1000), filled(10_000)
    assert 3 < large.memory() / small.memory() < 12
    assert large.memory() < 10_000 * 80
    assert filled(1000, 1000).memory() > 1_000_000


def test_groups_are_copied_and_counted() -> None:
    stream = filled(10)
    group = stream.groups[b"g"] = Group(0, 0)
    other = stream.copy()
    assert other.groups[b"g"] is not group
    before = stream.memory()
    assert stream.read_on(group, [number << 64 for number in range(1, 5)])
    assert (group.last_id, group.read, stream.lag(group)) == (4 << 64, 4, 6)
    assert other.lag(other.groups[b"g"]) == 10
    for name in (b"a", b"b"):
        group.consumers[name] = Consumer(0)
    group.deliver(1 << 64, Delivery(b"a", 5, 1))
    assert stream.memory() > before
    delivery = group.pending.get(1 << 64)
    assert delivery is not None
    group.hand_over(1 << 64, delivery, b"b")
    assert [len(consumer.pending) for consumer in group.consumers.values()] == [0, 1]
    (copied,) = stream.copy().groups[b"g"].pending.deliveries()
    assert copied[1] is not delivery
    assert copied[1].consumer == b"b"
    assert group.acknowledge(1 << 64)
    assert not group.acknowledge(1 << 64)
    assert not group.pending


@pytest.mark.parametrize(
    ("last", "gone", "lag"),
    [(0, [], 10), (5, [], None), (10, [], 0), (0, [1], 9), (0, [5], None), (11, [], None)],
)
def test_lag_of_a_group_that_does_not_count(last: int, gone: list[int], lag: int | None) -> None:
    stream = filled(10)
    stream.delete([number << 64 for number in gone])
    assert stream.lag(Group(last << 64)) == lag


def test_nothing_is_left_for_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        stream = filled(1000)
        group = stream.groups[b"g"] = Group(0)
        group.consumers[b"a"] = Consumer(0)
        group.deliver(1 << 64, Delivery(b"a", 5, 1))
        stream.range(0, LARGEST)
        stream.delete([7 << 64])
        del stream, group
        assert gc.collect() == 0
    finally:
        gc.enable()
