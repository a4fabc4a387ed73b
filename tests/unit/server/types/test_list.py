"""types/list.py: byte strings in order, beside a Python list that does the same."""

from __future__ import annotations

import gc

import pytest
from distcache_server.types.list import CHUNK, EMPTY, List, entry_size
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

DEFAULT = -2

values = st.one_of(
    st.integers(0, 9).map(lambda n: b"%d" % n),
    st.sampled_from([b"", b"-5", b"word", b"x" * 70, b"y" * 5000]),
)
sizes = st.sampled_from([0, 1, 2, 5, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
places = st.integers(0, 10 * CHUNK)


def sound(subject: List) -> bool:
    """Whether the parts are as the methods suppose."""
    content = list(subject)
    return (
        all(subject._body)
        and subject._inner == sum(map(len, subject._body))
        and max(map(len, (subject._head, subject._tail))) <= 2 * CHUNK
        and all(len(chunk) <= 2 * CHUNK + 1 for chunk in subject._body)
        and (subject._bytes >= 0 or not subject.packed)
        and subject._bytes in (-1, EMPTY + sum(map(entry_size, content)))
    )


class Machine(RuleBasedStateMachine):
    @initialize(size=sizes)
    def start(self, size: int) -> None:
        self.model = [b"%d" % (n % 50) for n in range(size)]
        self.subject = List(self.model, DEFAULT)

    def grow(self, *added: bytes) -> None:
        if self.subject.packed:
            self.subject.grow(added, DEFAULT)

    def shrink(self) -> None:
        if not self.subject.packed:
            self.subject.shrink(DEFAULT)

    @rule(value=values, count=sizes, left=st.booleans())
    def push(self, value: bytes, count: int, left: bool) -> None:
        for _ in range(count):
            self.grow(value)
            (self.subject.push_left if left else self.subject.push_right)(value)
        added = [value] * count
        self.model = added + self.model if left else self.model + added

    @precondition(lambda self: self.model)
    @rule(count=st.integers(1, 5), left=st.booleans())
    def pop(self, count: int, left: bool) -> None:
        for _ in range(min(count, len(self.model))):
            if left:
                assert self.subject.pop_left() == self.model.pop(0)
            else:
                assert self.subject.pop_right() == self.model.pop()
            self.shrink()

    @rule(count=sizes, left=st.booleans())
    def drop(self, count: int, left: bool) -> None:
        count = min(count, len(self.model))
        if left:
            gone, self.model = self.model[:count], self.model[count:]
            dropped = self.subject.drop_left(count)
        else:
            keep = len(self.model) - count
            gone, self.model = self.model[keep:], self.model[:keep]
            dropped = self.subject.drop_right(count)
        assert sorted(dropped) == sorted(gone)
        assert len(dropped) == count
        self.shrink()

    @rule(value=values, place=places)
    def replace(self, value: bytes, place: int) -> None:
        assume(place < len(self.model))
        self.grow(value)
        self.subject[place] = value
        self.model[place] = value
        assert self.subject[place] == value
        self.shrink()

    @rule(pivot=values, value=values, after=st.booleans())
    def insert(self, pivot: bytes, value: bytes, after: bool) -> None:
        self.grow(value)
        assert self.subject.insert(pivot, value, after) == (pivot in self.model)
        if pivot in self.model:
            self.model.insert(self.model.index(pivot) + after, value)

    @rule(value=values, count=st.integers(-3, 3))
    def remove(self, value: bytes, count: int) -> None:
        expected = min(abs(count) or len(self.model), self.model.count(value))
        assert self.subject.remove(value, count) == expected
        if count < 0:
            self.model.reverse()
        for _ in range(expected):
            self.model.remove(value)
        if count < 0:
            self.model.reverse()
        self.shrink()

    @rule(start=places, size=sizes)
    def look(self, start: int, size: int) -> None:
        stop = min(start + size, len(self.model))
        assume(start < stop)
        assert self.subject.range(start, stop) == self.model[start:stop]
        assert self.subject[start] == self.model[start]
        assert self.subject[stop - 1] == self.model[stop - 1]

    @rule(
        value=values,
        rank=st.sampled_from([1, 2, 7, -1, -2, -7]),
        count=st.integers(0, 3),
        most=st.sampled_from([0, 1, 5, CHUNK + 5]),
    )
    def search(self, value: bytes, rank: int, count: int, most: int) -> None:
        size = len(self.model)
        order = range(size) if rank > 0 else range(size - 1, -1, -1)
        looked_at = order[: most or size]
        found = [at for at in looked_at if self.model[at] == value][abs(rank) - 1 :]
        expected = found[:count] if count else found
        assert self.subject.positions(value, rank, count, most) == expected

    @rule()
    def copy(self) -> None:
        copied = self.subject.copy()
        assert copied.encoding == self.subject.encoding
        self.subject.push_left(b"only here")
        self.subject.pop_left()
        self.subject = copied

    @invariant()
    def same(self) -> None:
        assert list(self.subject) == self.model
        assert len(self.subject) == len(self.model)
        assert sound(self.subject)


Machine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestList = Machine.TestCase


def test_a_list_without_entries_gives_none() -> None:
    with pytest.raises(IndexError):
        List().pop_left()
    with pytest.raises(IndexError):
        List().pop_right()


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (b"0", 2),
        (b"127", 2),
        (b"128", 3),
        (b"-1", 3),
        (b"-4096", 3),
        (b"4096", 4),
        (b"-32768", 4),
        (b"32768", 5),
        (b"8388608", 6),
        (b"2147483648", 10),
        (b"-9223372036854775808", 10),
        (b"9223372036854775808", 21),
        (b"007", 5),
        (b"-", 3),
        (b"-0", 4),
        (b"", 2),
        (b"x" * 63, 65),
        (b"x" * 64, 67),
        (b"x" * 126, 130),
        (b"x" * 4096, 4103),
    ],
)
def test_the_size_of_an_entry_in_a_listpack(value: bytes, size: int) -> None:
    assert entry_size(value) == size


@pytest.mark.parametrize(("limit", "most"), [(-1, 4096), (-2, 8192), (-5, 65536), (-9, 65536)])
def test_a_list_unpacks_beyond_so_many_bytes_and_packs_at_half_of_them(
    limit: int, most: int
) -> None:
    subject = List()
    value = b"v" * 30
    while subject.packed:
        subject.grow([value], limit)
        subject.push_right(value)
    assert (len(subject) - 1) * 32 + EMPTY + 30 > most >= (len(subject) - 2) * 32 + EMPTY + 30
    while not subject.packed:
        subject.pop_left()
        subject.shrink(limit)
    assert len(subject) * 32 + EMPTY <= most // 2 < (len(subject) + 1) * 32 + EMPTY


def test_a_list_unpacks_beyond_so_many_entries_and_packs_at_half_of_them() -> None:
    subject = List([b"a", b"b", b"c", b"d"], limit=4)
    assert subject.encoding == b"listpack"
    subject.grow([b"e"], 4)
    subject.push_left(b"e")
    assert subject.encoding == b"quicklist"
    subject.pop_left()
    subject.pop_left()
    subject.shrink(4)
    assert subject.encoding == b"quicklist"
    subject.pop_left()
    subject.shrink(4)
    assert subject.encoding == b"listpack"


def test_a_long_list_is_not_packed_from_the_start() -> None:
    assert List([b"word"] * 100).packed
    assert not List([b"word"] * 3000).packed
    assert not List([b"a", b"b"], limit=1).packed
    assert not List([b"x" * 9000], limit=100).packed


def test_the_parts_of_a_long_list_stay_few_and_short() -> None:
    """So finding a place walks over few parts, and changing one moves few entries."""
    subject = List()
    for n in range(100 * CHUNK):
        (subject.push_left if n % 3 else subject.push_right)(b"%d" % (n % 20))
    assert len(subject._body) <= 100
    for value in range(19):
        assert subject.remove(b"%d" % value, 0) == 5 * CHUNK
    assert len(subject) == 5 * CHUNK
    assert len(subject._body) <= 20
    for _ in range(3 * CHUNK):
        assert subject.insert(b"19", b"new", after=False)
    assert max(map(len, subject._body)) <= 2 * CHUNK
    assert [subject[at] for at in range(0, 8 * CHUNK, 100)] == list(subject)[::100]


@given(st.integers(0, 5000), st.integers(1, 200))
def test_memory_is_about_what_the_entries_take(count: int, length: int) -> None:
    subject = List([b"%0*d" % (length, n) for n in range(count)], DEFAULT)
    entries = count * (length + 33 + 8)
    assert entries <= subject.memory() < entries * 1.4 + 20_000


def test_a_list_that_is_done_with_is_freed_in_parts() -> None:
    subject = List([b"x"] * (5 * CHUNK))
    subject.push_left(b"y")
    parts = 0
    while subject.drain():
        parts += 1
    assert parts >= 5
    assert not len(subject._head) + len(subject._body) + len(subject._tail)


def test_no_cycles() -> None:
    gc.collect()
    subject = List([b"x"] * (3 * CHUNK))
    subject.drop_left(CHUNK + 5)
    subject.copy()
    del subject
    assert gc.collect() == 0
