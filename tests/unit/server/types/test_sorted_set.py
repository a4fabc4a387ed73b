"""types/sorted_set.py: members in the order of (score, member)."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter

import pytest
from distcache_server.types.limits import Limits
from distcache_server.types.sorted_set import CHUNK, DICT, FEW, SortedSet
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

INFINITY = float("inf")

names = st.integers(0, 40).map(lambda n: b"m%d" % n)
scores = st.sampled_from([-INFINITY, -2.5, -0.0, 0.0, 1.0, 1.5, 2.0, 3.0, INFINITY])


def ordered(model: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return sorted(model.items(), key=lambda item: (item[1], item[0]))


def sound(subject: SortedSet) -> bool:
    """Whether the chunks are as the methods suppose."""
    chunks = list(zip(subject._scores, subject._members, subject._firsts, strict=True))
    return (
        all(len(scores) == len(members) <= CHUNK for scores, members, _ in chunks)
        and sum(len(members) for _, members, _ in chunks) == len(subject.scores)
        and (len(chunks) == 1 or all(scores[0] == first for scores, _, first in chunks))
    )


class Machine(RuleBasedStateMachine):
    """The set beside a dict that is sorted again for each question."""

    @initialize(size=st.sampled_from([0, 30, DICT, CHUNK + 1, 3 * CHUNK]), same=st.booleans())
    def start(self, size: int, same: bool) -> None:
        self.model = {b"n%d" % n: 1.0 if same else n % 97 / 8 for n in range(size)}
        self.subject = SortedSet(self.model.items())

    @rule(member=names, score=scores)
    def add(self, member: bytes, score: float) -> None:
        assert self.subject.add(member, score) == self.model.get(member)
        self.model[member] = score

    @rule(member=names)
    def remove(self, member: bytes) -> None:
        assert self.subject.remove(member) == (self.model.pop(member, None) is not None)

    @rule(count=st.sampled_from([0, 1, 2, 5, CHUNK, 2 * CHUNK]), highest=st.booleans())
    def pop(self, count: int, highest: bool) -> None:
        expected = ordered(self.model)
        if highest:
            expected.reverse()
        del expected[count:]
        subject = self.subject
        assert (subject.pop_max(count) if highest else subject.pop_min(count)) == expected
        for member, _ in expected:
            del self.model[member]

    @rule(at=st.floats(0, 1), length=st.sampled_from([0, 1, 3, FEW, CHUNK]))
    def remove_span(self, at: float, length: int) -> None:
        start = int(at * len(self.model))
        expected = [member for member, _ in ordered(self.model)][start : start + length]
        span = (start, min(start + length, len(self.model)))
        assert self.subject.remove_span(span) == expected
        for member in expected:
            del self.model[member]

    @rule(low=scores, high=scores, low_open=st.booleans(), high_open=st.booleans())
    def by_score(self, low: float, high: float, low_open: bool, high_open: bool) -> None:
        span = self.subject.span_by_score(low, high, low_open, high_open)
        expected = [
            (member, score)
            for member, score in ordered(self.model)
            if (low < score if low_open else low <= score)
            and (score < high if high_open else score <= high)
        ]
        assert span[1] - span[0] == len(expected)
        assert self.subject.items(span) == expected
        assert self.subject.items(span, reverse=True) == expected[::-1]

    @rule(at=st.floats(0, 1), length=st.integers(0, 5))
    def by_rank(self, at: float, length: int) -> None:
        start = int(at * len(self.model))
        expected = ordered(self.model)[start : start + length]
        span = (start, start + len(expected))
        members = [member for member, _ in expected]
        assert self.subject.items(span) == expected
        assert self.subject.members(span) == members
        assert self.subject.members(span, reverse=True) == members[::-1]
        assert [self.subject.rank(member) for member in members] == list(range(*span))
        assert [self.subject.rank(member, reverse=True) for member in members] == [
            len(self.model) - 1 - rank for rank in range(*span)
        ]

    @invariant()
    def same(self) -> None:
        assert len(self.subject) == len(self.model)
        assert list(self.subject) == [member for member, _ in ordered(self.model)]
        assert sound(self.subject)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_score_is_found_by_member() -> None:
    subject = SortedSet([(b"a", 1.0)])
    assert subject.score(b"a") == 1.0
    assert b"a" in subject
    assert subject.score(b"b") is None
    assert b"b" not in subject
    assert subject.rank(b"b") is None


def test_minus_zero_is_zero() -> None:
    subject = SortedSet([(b"given", -0.0)])
    subject.add(b"added", -0.0)
    assert [str(score) for _, score in subject.items((0, 2))] == ["0.0", "0.0"]
    assert str(subject.score(b"added")) == "0.0"


@pytest.mark.parametrize("count", [10, DICT + 1, 4 * CHUNK])
def test_ties_are_in_order_of_the_names(count: int) -> None:
    members = [b"%06d" % n for n in range(count)]
    shuffled = random.sample(members, count)
    subject = SortedSet()
    for member in shuffled:
        subject.add(member, 7.0)
    assert list(subject) == members
    assert [subject.rank(member) for member in members] == list(range(count))
    for member in shuffled[: count // 2]:
        assert subject.remove(member)
    assert list(subject) == sorted(shuffled[count // 2 :])
    assert sound(subject)


@given(
    count=st.sampled_from([0, 1, 20, 3 * CHUNK]),
    low=st.none() | st.integers(0, 3000).map(lambda n: b"%04d" % n),
    high=st.none() | st.integers(0, 3000).map(lambda n: b"%04d" % n),
    opens=st.tuples(st.booleans(), st.booleans()),
)
@settings(max_examples=200, deadline=None)
def test_a_span_by_name(
    count: int, low: bytes | None, high: bytes | None, opens: tuple[bool, bool]
) -> None:
    subject = SortedSet((b"%04d" % n, 0.0) for n in range(count))
    expected = [
        member
        for member in subject
        if (low is None or low < member or (low == member and not opens[0]))
        and (high is None or member < high or (high == member and not opens[1]))
    ]
    for reverse in (False, True):
        span = subject.span_by_name(low, high, *opens, reverse)
        assert subject.members(span) == expected


def test_a_span_by_name_where_scores_differ_is_what_a_walk_finds() -> None:
    subject = SortedSet([(b"b", 1), (b"d", 2), (b"a", 3), (b"c", 4), (b"e", 5)])

    def found(low: bytes, high: bytes, reverse: bool = False) -> list[bytes]:
        return subject.members(subject.span_by_name(low, high, reverse=reverse), reverse)

    assert found(b"a", b"d") == [b"b", b"d", b"a", b"c"]
    assert found(b"c", b"d") == [b"d", b"a", b"c"]
    assert found(b"c", b"d", reverse=True) == [b"c"]
    assert found(b"x", b"z") == []
    assert found(b"0", b"1", reverse=True) == []


def test_pops_and_spans_of_an_empty_set() -> None:
    subject = SortedSet()
    assert subject.pop_min() == subject.pop_max() == subject.pop_min(3) == []
    assert subject.items((0, 0)) == []
    assert subject.remove_span((0, 0)) == []
    assert subject.span_by_score(-INFINITY, INFINITY) == (0, 0)
    assert subject.span_by_name(None, None) == (0, 0)
    assert subject.scan(0, 10) == (0, [])
    assert subject.sample(3) == []
    with pytest.raises(IndexError):
        subject.draw()


def test_a_copy_is_a_set_of_its_own() -> None:
    subject = SortedSet((b"%d" % n, n) for n in range(2000))
    other = subject.copy()
    other.remove(b"5")
    assert b"5" in subject
    assert len(other) == 1999
    assert other.items((0, 3)) == subject.items((0, 3))
    other.add(b"new", 700.5)
    assert len(subject) == 2000
    assert sound(subject)
    assert sound(other)


def test_a_set_that_was_too_large_for_a_listpack_stays_unpacked() -> None:
    limits = Limits()
    subject = SortedSet((b"%d" % n, n) for n in range(limits.zset_entries))
    subject.grown(limits.zset_value, limits)
    assert subject.encoding == b"listpack"
    subject.add(b"more", 1.0)
    subject.grown(4, limits)
    subject.remove(b"more")
    subject.grown(4, limits)
    assert subject.encoding == subject.copy().encoding == b"skiplist"
    assert SortedSet(subject.scores.items(), limits).encoding == b"listpack"
    assert SortedSet([(b"m" * (limits.zset_value + 1), 1.0)], limits).encoding == b"skiplist"


@pytest.mark.parametrize("count", [1000, 20_000])
def test_memory_is_that_of_all_that_it_holds(count: int) -> None:
    tracemalloc.start()
    try:
        subject = SortedSet()
        for n in range(count):
            subject.add(b"member:%d" % n, n * 7919 % count + 0.5)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < subject.memory() / taken < 1.35


def test_a_large_set_is_freed_in_parts() -> None:
    subject = SortedSet((b"%d" % n, n) for n in range(5000))
    parts = 0
    while subject.drain():
        parts += 1
    assert parts > 10
    assert not subject.scores


@pytest.mark.parametrize("count", [10, 3 * CHUNK])
def test_draws_are_fair(count: int) -> None:
    subject = SortedSet((b"%d" % n, n) for n in range(count))
    # Only few are left of one of the chunks, so that chunks differ in size.
    subject.remove_span((0, count // 5))
    # So many that no chance brings the share anywhere near the bounds.
    drawn = Counter(subject.draw() for _ in range(40_000))
    assert set(drawn) <= set(subject.items((0, len(subject))))
    low = sum(times for (_, score), times in drawn.items() if score < count * 0.6)
    assert 0.45 < low / drawn.total() < 0.55


@pytest.mark.parametrize("count", [10, 3 * CHUNK])
def test_a_sample_has_no_member_twice(count: int) -> None:
    subject = SortedSet((b"%d" % n, n) for n in range(count))
    for size in (0, 1, count // 2, count - 1):
        sample = subject.sample(size)
        assert len(set(sample)) == len(sample) == size
        assert all(subject.score(member) == score for member, score in sample)
    assert subject.sample(count + 5) == subject.items((0, count))


def test_scan_returns_what_stays_while_members_and_scores_change() -> None:
    subject = SortedSet((b"%d" % n, n) for n in range(3000))
    stays = {b"%d" % n for n in range(0, 3000, 3)}
    others = [b"%d" % n for n in range(3000) if n % 3]
    random.shuffle(others)
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, items = subject.scan(cursor, 10)
        seen.update(member for member, _ in items)
        if not cursor:
            break
        for _ in range(10):
            subject.remove(others.pop())
        for member in random.sample(sorted(stays), 20):
            subject.add(member, random.random() * 3000)
    assert stays <= seen


def test_a_short_set_is_scanned_at_once_and_in_order() -> None:
    subject = SortedSet([(b"b", 2.0), (b"a", 2.0), (b"c", 1.0)])
    assert subject.scan(0, 1) == (0, [(b"c", 1.0), (b"a", 2.0), (b"b", 2.0)])


def test_it_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        subject = SortedSet((b"%d" % n, n) for n in range(5000))
        subject.remove_span((100, 4000))
        subject.scan(0, 100)
        del subject
        assert gc.collect() == 0
    finally:
        gc.enable()
