"""types/hash.py: whatever holds the fields, they behave as a dict."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from distcache_server.types import hash as hashes
from distcache_server.types.deadlines import FEW, NEVER, Deadlines
from distcache_server.types.hash import Hash
from distcache_server.types.limits import Limits
from distcache_server.types.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits()


@pytest.fixture(autouse=True)
def forget_shapes() -> None:
    for known in (hashes._shapes, hashes._seen, hashes._names):
        known.clear()


def small() -> Limits:
    limits = Limits()
    limits.hash_entries = 8
    limits.hash_value = 300
    return limits


def filled(count: int) -> Hash:
    found = Hash()
    for n in range(count):
        found.set(b"field:%d" % n, b"value:%d" % n, LIMITS)
    return found


def packed(count: int) -> Hash:
    filled(count)
    found = filled(count)
    assert found.entries is None
    return found


FIELDS = st.sampled_from([b"f%d" % n for n in range(12)])
VALUES = st.sampled_from([b"", b"v", b"value", b"w" * 60, b"x" * 255, b"y" * 256, b"z" * 301])
CHANGES = st.lists(st.tuples(FIELDS, st.none() | VALUES))
AT_ONCE = st.lists(st.tuples(FIELDS, VALUES), max_size=10)


@given(AT_ONCE, CHANGES, st.booleans())
@settings(max_examples=300)
def test_it_behaves_like_a_dict(
    first: list[tuple[bytes, bytes]], changes: list[tuple[bytes, bytes | None]], tight: bool
) -> None:
    limits = small() if tight else LIMITS
    found, model = Hash(), dict(first)
    words = [word for pair in first for word in pair]
    if words:
        assert found.update(words, limits) == len(model)
    for field, value in changes:
        if value is None:
            assert found.remove(field) == (field in model)
            model.pop(field, None)
        else:
            assert found.set(field, value, limits) == (field not in model)
            model[field] = value
    assert dict(found.items()) == model
    assert sorted(found.fields()) == sorted(model)
    assert sorted(found.values()) == sorted(model.values())
    assert len(found) == len(model)
    assert found.scan(0, 10) == (0, found.items())
    for n in range(12):
        assert found.get(b"f%d" % n) == model.get(b"f%d" % n)
        assert (b"f%d" % n in found) == (b"f%d" % n in model)
    if model:
        assert found.draw() in model
        assert set(found.sample(3)) <= model.keys()


def test_fields_that_two_hashes_have_are_packed() -> None:
    first, second = filled(5), filled(5)
    assert isinstance(first.entries, dict)
    assert second.entries is None
    assert second.packed == b"\7\7\7\7\7value:0value:1value:2value:3value:4"
    assert second.encoding == b"listpack"
    words = [word for item in first.items() for word in item]
    third = Hash()
    assert third.update(words, LIMITS) == 5
    assert third.shape is second.shape


def test_a_hash_with_fields_of_its_own_stays_a_dict() -> None:
    one, other = Hash(), Hash()
    assert one.update([b"a", b"1", b"b", b"2"], LIMITS) == 2
    assert other.update([b"a", b"1", b"c", b"2"], LIMITS) == 2
    assert isinstance(one.entries, dict)
    assert isinstance(other.entries, dict)


@pytest.mark.parametrize("value", [b"v" * 65, b"v" * 256])
def test_long_values_are_not_packed(value: bytes) -> None:
    limits = Limits()
    limits.hash_value = len(value)
    found = packed(3)
    found.set(b"field:1", value, limits)
    assert found.get(b"field:1") == value
    assert found.encoding == b"listpack"
    assert (found.entries is None) == (len(value) < 256)
    found.set(b"field:1", value + b"v", limits)
    assert found.encoding == b"hashtable"
    found.set(b"field:1", b"v", limits)
    assert found.encoding == b"hashtable"


def test_the_same_field_twice_is_one() -> None:
    for _ in range(3):
        found = Hash()
        assert found.update([b"a", b"1", b"b", b"2", b"a", b"3"], LIMITS) == 2
        assert dict(found.items()) == {b"a": b"3", b"b": b"2"}


def test_many_fields_are_a_hashtable_for_good() -> None:
    found = filled(LIMITS.hash_entries)
    assert found.encoding == b"listpack"
    found.set(b"one more", b"v", LIMITS)
    assert found.encoding == b"hashtable"
    assert isinstance(found.entries, Table)
    for field in found.fields()[1:]:
        found.remove(field)
    assert found.encoding == b"hashtable"
    many = Hash()
    assert many.update([b"f", b"v"] * 129, LIMITS) == 1
    assert many.encoding == b"hashtable"


def test_what_is_remembered_is_bounded() -> None:
    for n in range(hashes.SHAPES * 3):
        for _ in range(2):
            Hash().update([b"a%d" % n, b"1", b"b%d" % n, b"2"], LIMITS)
        Hash().update([b"c%d" % n, b"1"], LIMITS)
    assert len(hashes._shapes) <= hashes.SHAPES
    assert len(hashes._seen) <= hashes.SHAPES
    assert len(hashes._names) <= hashes.NAMES


@pytest.mark.parametrize("count", [1, 5, 40, 2000])
def test_a_copy_is_another_hash(count: int) -> None:
    filled(count)
    found = filled(count)
    found.expire_at(b"field:0", 500)
    other = found.copy()
    found.set(b"field:0", b"changed", LIMITS)
    found.remove(b"field:1")
    assert other.get(b"field:0") == b"value:0"
    assert len(other) == count
    assert other.deadline(b"field:0") == 500
    assert other.encoding == found.encoding


@pytest.mark.parametrize("count", [5, 40, 2000])
def test_random_fields_are_fair(count: int) -> None:
    found = packed(5) if count == 5 else filled(count)
    drawn = Counter(found.draw() for _ in range(count * 100))
    assert len(drawn) == count
    assert max(drawn.values()) < 3 * min(drawn.values())
    for size in (1, count // 10, count // 2, count, count + 1):
        sample = found.sample(size)
        assert len(sample) == len(set(sample)) == min(size, count)
        assert set(sample) <= set(found.fields())


def test_memory_grows_with_what_is_in_it() -> None:
    assert packed(5).memory() < 200
    long = Hash()
    long.update([b"f", b"v" * 10_000], LIMITS)
    assert 10_000 < long.memory() < 11_000
    # Field names that no other hash has: shared ones are not counted.
    wide = Hash()
    for n in range(5000):
        wide.set(b"only here:%d" % n, b"value:%d" % n, LIMITS)
    assert 100 * 5000 < wide.memory() < 200 * 5000


def test_a_hash_is_freed_in_parts() -> None:
    found = filled(2000)
    for n in range(1000):
        found.expire_at(b"field:%d" % n, n)
    steps = 0
    while found.drain():
        steps += 1
    assert 10 < steps < 200
    assert len(found) == 0


# Deadlines


@given(st.lists(st.tuples(st.integers(0, 400), st.none() | st.integers(1, 2000)), max_size=1000))
@settings(max_examples=50)
def test_what_is_due_is_taken_at_the_millisecond(
    changes: list[tuple[int, int | None]],
) -> None:
    deadlines, model = Deadlines(), dict[bytes, int]()
    for n, deadline in changes:
        field = b"%d" % n
        if deadline is None:
            assert deadlines.drop(field) == (model.pop(field, None) is not None)
        else:
            deadlines.set(field, deadline)
            model[field] = deadline
    now_ms = 0
    while model:
        now_ms += random.randrange(1, 300)
        due = {field for field, deadline in model.items() if deadline <= now_ms}
        assert deadlines.next_ms <= min(model.values())
        assert set(deadlines.due(now_ms)) == due
        assert set(deadlines.take_due(now_ms, 10_000)) == due
        for field in due:
            del model[field]
        assert now_ms < deadlines.next_ms
    assert deadlines.take_due(now_ms, 10) == []
    assert deadlines.next_ms == NEVER or deadlines.take_due(10_000, 10) == []


@pytest.mark.parametrize("count", [FEW, 3000])
def test_no_more_is_taken_than_asked_for(count: int) -> None:
    deadlines = Deadlines()
    for n in range(count):
        deadlines.set(b"%d" % n, 100 + n % 50)
    taken: list[bytes] = []
    while due := deadlines.take_due(1000, 100):
        assert len(due) <= 100
        taken += due
    assert sorted(taken) == sorted(b"%d" % n for n in range(count))
    assert deadlines.next_ms == NEVER


def test_setting_a_field_takes_its_deadline_off() -> None:
    found = filled(3)
    found.expire_at(b"field:1", 100)
    assert found.encoding == b"listpackex"
    found.replace(b"field:1", b"v", LIMITS)
    assert found.deadline(b"field:1") == 100
    found.set(b"field:1", b"v", LIMITS)
    assert found.deadline(b"field:1") is None
    assert not found.persist(b"field:1")
    found.expire_at(b"field:1", 100)
    found.update([b"field:1", b"v", b"field:2", b"w"], LIMITS)
    assert found.take_due(200, 10) == []


def test_due_fields_are_dropped_or_left_out() -> None:
    found = packed(4)
    for n in range(3):
        found.expire_at(b"field:%d" % n, 100 + n)
    assert found.without_due(101).fields() == [b"field:2", b"field:3"]
    assert len(found) == 4
    assert found.take_due(101, 10) == [b"field:0", b"field:1"]
    assert found.items() == [(b"field:2", b"value:2"), (b"field:3", b"value:3")]
    assert found.next_ms == 102


@pytest.mark.parametrize("count", [1, 2, 5, 33, 129, 300])
@pytest.mark.parametrize("longest", [1, 64, 65, 300])
def test_all_fields_at_once_are_encoded_as_by_hset(count: int, longest: int) -> None:
    fields = {b"field:%d" % number: b"v" * longest for number in range(count)}
    words = [word for item in fields.items() for word in item]
    for _ in range(3):
        # From the second time on the fields are known.
        by_hset = Hash()
        by_hset.update(words, Limits())
        at_once = Hash.of(fields, Limits())
        assert dict(at_once.items()) == fields
        assert at_once.encoding == by_hset.encoding
        assert isinstance(at_once.entries, Table) is isinstance(by_hset.entries, Table)
