"""keyspace.py and expiry.py: fields of hashes past their deadlines."""

from __future__ import annotations

import random
from time import perf_counter_ns

import pytest
from distcache_server import expiry
from distcache_server.keyspace import FIELDS, Keyspace
from distcache_server.types.deadlines import NEVER
from distcache_server.types.hash import Hash
from distcache_server.types.wheel import SHIFT

from tests.support.direct import Direct

SECOND_NS = 1_000_000_000


@pytest.fixture
def keyspace() -> Keyspace:
    keyspace = Keyspace()
    keyspace.now_ms = 5_000
    return keyspace


def put(keyspace: Keyspace, key: bytes, **deadlines: int | None) -> Hash:
    """A hash with these fields, and when they go."""
    found = Hash()
    keyspace.put(key, found)
    for name, deadline in deadlines.items():
        found.set(name.encode(), b"v", keyspace.limits)
        if deadline is not None:
            give(keyspace, key, name.encode(), deadline)
    return found


def give(keyspace: Keyspace, key: bytes, field: bytes, deadline: int) -> None:
    found = keyspace.values[key]
    before_ms = found.next_ms
    found.expire_at(field, deadline)
    keyspace.note_fields(key, found, before_ms)


def noted(keyspace: Keyspace) -> dict[bytes, int]:
    """What the wheel holds: keys and their slots."""
    return {key: at for at, slot in keyspace.field_wheel.slots.items() for key in slot}


def sweep(keyspace: Keyspace, now_ms: int) -> None:
    keyspace.now_ms = now_ms
    assert not expiry.expire(keyspace, perf_counter_ns() + 60 * SECOND_NS)


def test_whoever_looks_removes_what_is_due(keyspace: Keyspace) -> None:
    removed: list[tuple[bytes, list[bytes]]] = []
    keyspace.on_fields_removed = lambda _, key, fields: removed.append((key, fields))
    found = put(keyspace, b"h", a=5_100, b=5_101, c=None)
    for look in (keyspace.read, keyspace.find, keyspace.peek):
        assert look(b"h") is found
        assert len(found) == 3
    keyspace.now_ms = 5_100
    changes = keyspace.changes
    assert keyspace.read(b"h") is found
    assert found.fields() == [b"b", b"c"]
    assert keyspace.changes == changes + 1
    assert keyspace.expired_fields == 1
    keyspace.now_ms = 5_101
    assert keyspace.peek(b"h") is found
    assert found.fields() == [b"c"]
    assert removed == [(b"h", [b"a"]), (b"h", [b"b"])]
    assert not keyspace.field_wheel.slots
    assert not keyspace.special


@pytest.mark.parametrize("name", ["read", "find", "peek"])
def test_a_hash_goes_with_its_last_field(keyspace: Keyspace, name: str) -> None:
    put(keyspace, b"h", a=5_100)
    keyspace.expire_at(b"h", 9_000)
    keyspace.now_ms = 5_100
    assert getattr(keyspace, name)(b"h") is None
    assert len(keyspace) == 0
    assert keyspace.deadline(b"h") is None
    assert not keyspace.field_wheel.slots


def test_the_cycle_removes_what_nobody_looks_at(keyspace: Keyspace) -> None:
    put(keyspace, b"all", a=5_100, b=5_900)
    put(keyspace, b"some", a=5_100, b=None)
    sweep(keyspace, 5_000)
    assert len(keyspace) == 2
    sweep(keyspace, 5_200)
    assert keyspace.values[b"all"].fields() == [b"b"]
    assert keyspace.values[b"some"].fields() == [b"b"]
    assert noted(keyspace) == {b"all": 5_900 >> SHIFT}
    sweep(keyspace, 6_000)
    assert list(keyspace) == [b"some"]
    assert keyspace.expired_fields == 3


def test_many_fields_go_in_steps(keyspace: Keyspace) -> None:
    steps: list[int] = []
    keyspace.on_fields_removed = lambda _, __, fields: steps.append(len(fields))
    found = put(keyspace, b"h", stays=None)
    for n in range(1000):
        found.set(b"%d" % n, b"v", keyspace.limits)
        give(keyspace, b"h", b"%d" % n, 5_100)
    keyspace.now_ms = 5_200
    assert expiry.expire(keyspace, 0)
    assert steps == [FIELDS]
    assert keyspace.read(b"h") is found
    assert found.fields() == [b"stays"]
    assert max(steps) == FIELDS
    assert sum(steps) == 1000


def test_what_is_frozen_is_hidden_and_stays(keyspace: Keyspace) -> None:
    found = put(keyspace, b"h", a=5_100, b=None)
    put(keyspace, b"all", a=5_100)
    keyspace.frozen = True
    keyspace.now_ms = 5_200
    for look in (keyspace.read, keyspace.peek):
        seen = look(b"h")
        assert seen is not None
        assert seen.fields() == [b"b"]
        assert look(b"all") is None
    assert len(found) == 2
    keyspace.frozen = False
    assert keyspace.read(b"h") is found
    assert len(found) == 1


def test_the_wheel_holds_exactly_the_hashes_with_deadlines(keyspace: Keyspace) -> None:
    """Whatever happens to keys and fields; so nothing piles up, and nothing is forgotten."""
    keys = [b"k%d" % n for n in range(6)]
    draw = random.Random(7)
    for _ in range(5000):
        keyspace.now_ms += draw.randrange(20)
        key, other = draw.choice(keys), draw.choice(keys)
        action = draw.randrange(12)
        found = keyspace.find(key)
        if action == 0:
            keyspace.remove(key)
        elif action == 1:
            keyspace.put(key, b"text")
        elif action == 2 and isinstance(found, Hash):
            keyspace.replace(other, found.copy())
        elif action == 3 and key != other:
            value = keyspace.take(key)
            if value is not None:
                keyspace.put(other, value)
        elif action == 4:
            sweep(keyspace, keyspace.now_ms)
        elif isinstance(found, Hash):
            field = draw.choice(found.fields())
            if action < 8:
                give(keyspace, key, field, keyspace.now_ms + draw.randrange(1, 500))
            elif action == 8:
                found.set(field, b"v", keyspace.limits)
            elif action == 9:
                found.persist(field)
            elif action == 10:
                found.remove(field)
                keyspace.remove_if_empty(key, found)
        elif found is None:
            put(keyspace, key, a=None, b=None, c=None)
        dated = {
            key: value.next_ms >> SHIFT
            for key, value in keyspace.values.items()
            if isinstance(value, Hash) and value.next_ms != NEVER
        }
        assert noted(keyspace) == dated
        assert keyspace.special == bool(dated)
    sweep(keyspace, keyspace.now_ms + 10_000)
    assert not keyspace.field_wheel.slots
    assert keyspace.expired_fields > 100


def test_keys_without_fields_are_not_listed_where_they_stay() -> None:
    it = Direct(now_ms=1_000_000)
    it("HSET", "gone", "f", "v")
    it("HPEXPIRE", "gone", 10, "FIELDS", 1, "f")
    it.now_ms += 20
    it.keyspace.frozen = True
    assert it("KEYS", "*") == b"*0\r\n"
    assert it("SCAN", 0) == b"*2\r\n$1\r\n0\r\n*0\r\n"
    assert it("RANDOMKEY") == b"$-1\r\n"
    # Redis counts what is past its deadline until it goes.
    assert it("DBSIZE") == b":1\r\n"
    it("SET", "key", "value")
    assert it("RANDOMKEY") == b"$3\r\nkey\r\n"
    it.keyspace.frozen = False
    assert it("KEYS", "*") == b"*1\r\n$3\r\nkey\r\n"
    assert it("DBSIZE") == b":1\r\n"
