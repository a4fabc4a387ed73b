"""filling.py does what the keyspace does for each key, and leaves the rest to who calls it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from distcache_server.filling import Entry, fill
from distcache_server.keyspace import Keyspace
from distcache_server.snapshot import MAKERS, install
from distcache_server.types.table import LIMIT

NOW_MS = 1_700_000_000_000


def entry(key: bytes, deadline: int | None = None, index: int = 0) -> Entry:
    return index, key, 0, b"value", deadline, None, None


def contents(keyspace: Keyspace) -> tuple[object, ...]:
    wheel = keyspace.wheel
    return (
        dict(keyspace.values.items()),
        dict(keyspace.deadlines.items()),
        {at: set(slot) for at, slot in wheel.slots.items()},
        wheel.next_slot,
        (len(keyspace), len(keyspace.deadlines)),
        keyspace.special,
    )


@pytest.mark.parametrize("spread_ms", [1, 1000, 10_000_000])
def test_as_one_by_one(spread_ms: int) -> None:
    generator = random.Random(spread_ms)
    entries = [
        entry(b"key:%d" % number, generator.choice([None, NOW_MS + generator.randrange(spread_ms)]))
        for number in range(10_000)
    ]
    one, other = Keyspace(), Keyspace()
    for _, key, _, value, deadline, _, _ in entries:
        install(one, key, value, deadline)
    assert fill(other, iter(entries), -1, MAKERS) is None
    assert contents(one) == contents(other)
    for table in (other.values, other.deadlines):
        assert max(map(len, table.parts)) <= LIMIT


@pytest.mark.parametrize(
    "odd", [entry(b"one", index=1), entry(b"one"), entry(b"other", NOW_MS), entry(b"one", NOW_MS)]
)
def test_what_it_does_not_take(odd: Entry) -> None:
    keyspace = Keyspace()
    entries = iter([entry(b"one", NOW_MS + 1), odd, entry(b"two")])
    assert fill(keyspace, entries, NOW_MS, MAKERS) is odd
    assert list(keyspace) == [b"one"]
    assert fill(keyspace, entries, NOW_MS, MAKERS) is None
    assert sorted(keyspace) == [b"one", b"two"]


def test_what_was_taken_counts_when_the_rest_is_bad() -> None:
    def entries() -> Iterator[Entry]:
        yield entry(b"one", NOW_MS)
        yield entry(b"two")
        raise ValueError

    keyspace = Keyspace()
    with pytest.raises(ValueError):  # noqa: PT011
        fill(keyspace, entries(), -1, MAKERS)
    assert (len(keyspace), len(keyspace.deadlines), keyspace.special) == (2, 1, True)
