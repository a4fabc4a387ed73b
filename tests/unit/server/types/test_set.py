"""types/set.py: the encodings of Redis, fair draws, and nothing lost."""

from __future__ import annotations

from collections import Counter

import pytest
from distcache_server.types.limits import Limits
from distcache_server.types.set import HASHTABLE, INTSET, LISTPACK, Set, number_of
from distcache_server.types.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits()


def small() -> Limits:
    limits = Limits()
    limits.set_intset = 6
    limits.set_entries = 4
    limits.set_value = 3
    return limits


def numbers(count: int) -> Set:
    return Set.of((b"%d" % n for n in range(count)), LIMITS)


def words(count: int) -> Set:
    return Set.of((b"member:%d" % n for n in range(count)), LIMITS)


MEMBERS = st.sampled_from(
    [*(b"%d" % n for n in range(-4, 8)), b"a", b"bb", b"dddd", b"01", b"-0", b"%d" % -(2**63)]
)


@given(st.lists(MEMBERS, max_size=8), st.lists(st.tuples(st.booleans(), MEMBERS)), st.booleans())
@settings(max_examples=300)
def test_it_behaves_like_a_set(
    first: list[bytes], changes: list[tuple[bool, bytes]], tight: bool
) -> None:
    limits = small() if tight else LIMITS
    found, model = Set(), set(first)
    if first:
        assert found.update(first, limits) == len(model)
    for add, member in changes:
        if add:
            assert found.add(member, limits) == (member not in model)
            model.add(member)
        else:
            assert found.remove(member) == (member in model)
            model.discard(member)
    assert set(found) == model
    assert len(found) == len(model)
    assert found.scan(0, 10) == (0, list(found))
    has = found.membership()
    for member in (b"0", b"7", b"a", b"01", b"dddd", b"none"):
        assert (member in found) == has(member) == (member in model)
    if found.encoding is INTSET:
        assert list(found) == sorted(model, key=int)
    if model:
        assert found.draw() in model
        assert found.pop() in model
        assert len(found) == len(model) - 1


@pytest.mark.parametrize(
    ("member", "number"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"%d" % (2**63 - 1), 2**63 - 1),
        (b"%d" % -(2**63), -(2**63)),
        *((word, None) for word in (b"", b"-0", b"+1", b"01", b" 1", b"1_0", b"1.0", b"x", b"1\n")),
        (b"%d" % 2**63, None),
        (b"9" * 5000, None),
    ],
)
def test_what_is_a_number(member: bytes, number: int | None) -> None:
    assert number_of(member) == number


def test_encodings() -> None:
    assert numbers(512).encoding is INTSET
    assert numbers(513).encoding is HASHTABLE
    assert words(128).encoding is LISTPACK
    assert words(129).encoding is HASHTABLE
    assert Set.of([b"m" * 64], LIMITS).encoding is LISTPACK
    assert Set.of([b"m" * 65], LIMITS).encoding is HASHTABLE
    found = numbers(127)
    assert found.add(b"x", LIMITS)
    assert found.encoding is LISTPACK
    assert list(found) == [*(b"%d" % n for n in range(127)), b"x"]
    found = numbers(128)
    assert found.add(b"x", LIMITS)
    assert found.encoding is HASHTABLE
    for member in list(found):
        found.remove(member)
    assert found.encoding is HASHTABLE


@pytest.mark.parametrize(
    ("members", "encoding"),
    [
        ([b"1"] * 512, INTSET),
        ([b"1"] * 513, HASHTABLE),
        ([b"x"] * 128, LISTPACK),
        ([b"x"] * 129, HASHTABLE),
        ([b"1", b"x"], LISTPACK),
        ([b"1", *[b"x"] * 128], LISTPACK),
        ([b"x", *[b"1"] * 128], HASHTABLE),
    ],
)
def test_many_at_once_are_thought_to_be_different(members: list[bytes], encoding: bytes) -> None:
    found = Set()
    assert found.update(members, LIMITS) == len(set(members))
    assert found.encoding is encoding
    assert set(found) == set(members)


def test_a_large_set_is_a_table() -> None:
    found = words(1000)
    assert isinstance(found.members, Table)
    assert numbers(600).members.__class__ is Table
    seen: list[bytes] = []
    cursor, calls = 0, 0
    while cursor or not calls:
        cursor, some = found.scan(cursor, 10)
        seen += some
        calls += 1
    assert calls > 3
    assert sorted(seen) == sorted(found)


SHAPES = [numbers(7), numbers(300), words(7), words(100), words(1000)]
IDS = ["few numbers", "numbers", "few words", "words", "table"]


@pytest.mark.parametrize("original", SHAPES, ids=IDS)
def test_draws_are_fair(original: Set) -> None:
    count = len(original)
    drawn = Counter(original.draw() for _ in range(count * 100))
    assert len(drawn) == count
    assert max(drawn.values()) < 3 * min(drawn.values())
    samples = Counter(member for _ in range(300) for member in original.sample(count // 3 + 1))
    assert len(samples) == count
    assert max(samples.values()) < 3 * min(samples.values())


@pytest.mark.parametrize("original", SHAPES, ids=IDS)
def test_members_are_popped_one_by_one_or_together(original: Set) -> None:
    count = len(original)
    found = original.copy()
    assert Counter(found.pop() for _ in range(count)) == Counter(original)
    assert not found
    for several in (0, 1, count // 4, count // 2, count - 1):
        found = original.copy()
        popped = found.pop_several(several)
        assert len(popped) == several
        assert len(found) == count - several
        assert Counter([*popped, *found]) == Counter(original)
        assert found.encoding is original.encoding
    assert len(original) == count


@pytest.mark.parametrize("original", SHAPES, ids=IDS)
def test_a_copy_is_another_set(original: Set) -> None:
    found = original.copy()
    member = found.draw()
    found.remove(member)
    found.add(b"new", LIMITS)
    assert member in original
    assert b"new" not in original
    assert original.copy().add(b"-5", LIMITS)


def test_memory_grows_with_what_is_in_it() -> None:
    assert numbers(20).memory() < 500
    assert 20_000 < Set.of([b"x" * 20_000], LIMITS).memory() < 21_000
    assert 70 * 5000 < words(5000).memory() < 120 * 5000


def test_a_set_is_freed_in_parts() -> None:
    found, steps = words(2000), 0
    while found.drain():
        steps += 1
    assert 10 < steps < 100
    assert len(found) == 0


@given(
    st.lists(st.one_of(st.integers(-5, 5).map(b"%d".__mod__), st.binary(max_size=5)), max_size=20),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_all_at_once_are_encoded_as_one_by_one(
    members: list[bytes], most: int, numbers: int
) -> None:
    limits = Limits()
    limits.set_entries, limits.set_value, limits.set_intset = most, 3, numbers
    one_by_one = Set()
    for member in members:
        one_by_one.add(member, limits)
    at_once = Set.of(members, limits)
    assert at_once.encoding == one_by_one.encoding
    if at_once.encoding is HASHTABLE:
        assert sorted(at_once) == sorted(one_by_one)
    else:
        assert list(at_once) == list(one_by_one)
