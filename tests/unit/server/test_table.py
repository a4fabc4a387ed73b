"""types/table.py: a mapping like dict, whose scan loses nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from distcache_server.types.table import LIMIT, PACKED, Table, step
from hypothesis import given, settings
from hypothesis import strategies as st


def filled(count: int) -> Table[bytes, int]:
    table: Table[bytes, int] = Table()
    for n in range(count):
        table[b"key:%d" % n] = n
    return table


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1500)), max_size=3000))
@settings(max_examples=25, deadline=None)
def test_it_behaves_like_a_dict(changes: list[tuple[bool, int]]) -> None:
    table: Table[int, int] = Table()
    model: dict[int, int] = {}
    for add, key in changes:
        if add:
            table[key] = model[key] = key
        else:
            assert table.pop(key) == model.pop(key, None)
        assert len(table) == len(model)
    assert dict(table.items()) == model
    assert sorted(table) == sorted(model)
    assert all(key in table for key in model)


def test_it_grows_in_parts_and_shrinks_again() -> None:
    table = filled(50_000)
    assert max(map(len, table.parts)) <= LIMIT + 1
    for n in range(49_990):
        table.pop(b"key:%d" % n)
    assert len(table) == 10
    assert table.bits <= 4
    assert sorted(table.values()) == list(range(49_990, 50_000))


def test_random_keys_are_fair_also_after_deletions() -> None:
    table = filled(2000)
    for n in range(1900):
        table.pop(b"key:%d" % n)
    drawn = Counter(table.random_key() for _ in range(20_000))
    assert len(drawn) == 100
    assert max(drawn.values()) < 2 * min(drawn.values())
    with pytest.raises(KeyError):
        Table[bytes, int]().random_key()


def test_every_cursor_is_visited_once() -> None:
    for bits in range(6):
        seen, cursor = [0], step(0, bits)
        while cursor:
            seen.append(cursor)
            cursor = step(cursor, bits)
        assert sorted(seen) == list(range(1 << bits))


@pytest.mark.parametrize("growing", [True, False])
def test_scan_returns_what_stays_while_others_come_and_go(growing: bool) -> None:
    table = filled(3000)
    stays = {key for key in table if hash(key) % 3 == 0}
    others = [key for key in table if key not in stays]
    random.shuffle(others)
    seen: set[bytes] = set()
    cursor, fresh = 0, 0
    while True:
        cursor, keys = table.scan(cursor, 10)
        seen.update(keys)
        if not cursor:
            break
        for _ in range(150):
            if growing:
                table[b"new:%d" % fresh] = fresh
                fresh += 1
            elif others:
                table.pop(others.pop())
    assert stays <= seen


def test_sample_draws_different_keys_of_which_each_has_its_chance() -> None:
    table = filled(1000)
    drawn = [table.sample(5) for _ in range(4000)]
    assert all(len(set(keys)) == 5 for keys in drawn)
    assert len({key for keys in drawn for key in keys}) == 1000
    assert sorted(filled(3).sample(5)) == [b"key:0", b"key:1", b"key:2"]
    assert Table[bytes, int]().sample(5) == []


def test_a_drawn_part_has_entries_where_there_are_any() -> None:
    table = filled(1000)
    assert all(0 < len(table.draw()) <= LIMIT for _ in range(100))
    assert Table[bytes, int]().draw() == {}


def test_parts_stay_small_while_entries_come_and_go() -> None:
    """A dict does not shrink by itself: without packing, they take 1.4 times as much."""
    table = filled(10_000)
    for n in range(40_000):
        table.pop(b"key:%d" % n)
        table[b"key:%d" % (n + 10_000)] = n
    sizes = {id(part): part.__sizeof__() for part in table.parts}
    assert sum(sizes.values()) < len(sizes) * PACKED * 1.2
    assert sorted(table.values()) == list(range(30_000, 40_000))


@pytest.mark.parametrize("count", [0, 1, LIMIT, LIMIT + 1, 1000, 20_000])
def test_a_table_of_many_entries_at_once(count: int) -> None:
    entries = {b"key:%d" % n: n for n in range(count)}
    table = Table.of(entries)
    assert dict(table.items()) == entries
    assert len(table) == count
    assert max(map(len, table.parts)) <= LIMIT
    assert table.deepest == sum(
        size == table.bits and slot >> size == 0 for slot, size in enumerate(table.sizes)
    )
    for key in entries:
        assert table.pop(key) == entries[key]
    assert (table.bits, len(table)) == (0, 0)
