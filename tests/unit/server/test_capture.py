"""A walk sees all keys as they were when it began, whatever commands do meanwhile."""

import random
from time import perf_counter_ns

import pytest
from distcache_replication.segment import commands, encode
from distcache_server import digest
from distcache_server.base import commands_for
from distcache_server.capture import Walk
from distcache_server.engine import Engine
from distcache_server.keyspace import Value
from distcache_server.replay import Replay

from tests.support.direct import Direct
from tests.support.writes import write


class Copy:
    """Gathers what a walk gives out, as commands."""

    def __init__(self) -> None:
        self.data: dict[tuple[int, bytes], bytes] = {}

    def add(self, index: int, key: bytes, value: Value, deadline: int | None) -> bool:
        assert (index, key) not in self.data
        self.data[index, key] = b"".join(map(encode, commands_for(key, value, deadline)))
        return False

    def engine(self) -> Engine:
        """Another engine, with the same data."""
        engine = Direct().engine
        replay = Replay(engine)
        for (index, _), data in self.data.items():
            replay.apply([[b"SELECT", b"%d" % index], *commands(data)])
        return engine


def signature(engine: Engine) -> bytes:
    return digest.of_databases(engine.databases)


def filled(generator: random.Random, steps: int) -> Direct:
    direct = Direct(now_ms=1_700_000_000_000)
    for _ in range(steps):
        direct(*write(generator, keys=300))
        direct.engine.blocking.unblock(direct.client, with_error=False)
        direct.now_ms += generator.choice([0, 0, 0, 5])
    return direct


@pytest.mark.parametrize("seed", range(15))
def test_writes_during_a_walk(seed: int) -> None:
    generator = random.Random(seed)
    direct = filled(generator, 1500)
    copy, before = Copy(), signature(direct.engine)
    walk = Walk(direct.engine.databases, copy.add)
    more = True
    while more:
        for _ in range(generator.randrange(60)):
            direct(*write(generator, keys=400))
            direct.engine.blocking.unblock(direct.client, with_error=False)
            direct.now_ms += generator.choice([0, 0, 1, 40])
        more = walk.step(perf_counter_ns())
    assert signature(copy.engine()) == before
    assert all(keyspace.capture is None for keyspace in direct.engine.databases)


@pytest.mark.parametrize("line", ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SWAPDB 0 9", "MOVE s1 1"])
def test_whole_databases_change_during_a_walk(line: str) -> None:
    direct = Direct()
    for number in range(1000):
        direct("SET", f"s{number}", number)
        direct("SADD", f"m{number}", *range(number % 7 + 1))
    direct("SELECT", 1)
    direct("SET", "other", 1)
    direct("SELECT", 0)
    copy, before = Copy(), signature(direct.engine)
    walk = Walk(direct.engine.databases, copy.add)
    walk.step(perf_counter_ns())
    direct(*line.split())
    for number in range(0, 1000, 3):
        direct("SET", f"s{number}", "new")
        direct("SADD", f"m{number}", "new")
    while walk.step(perf_counter_ns()):
        pass
    assert signature(copy.engine()) == before
    graveyard = direct.keyspace.graveyard
    assert len({id(it) for it in graveyard}) == len(graveyard)


def test_a_walk_that_stops_leaves_nothing() -> None:
    direct = filled(random.Random(1), 300)
    walk = Walk(direct.engine.databases, Copy().add)
    direct("FLUSHALL")
    walk.stop()
    assert all(keyspace.capture is None for keyspace in direct.engine.databases)
    assert not direct.keyspace.special
    assert direct.keyspace.graveyard


def test_deadlines_that_come_during_a_walk() -> None:
    direct = Direct(now_ms=1_700_000_000_000)
    for number in range(500):
        direct("SET", f"s{number}", number, "PX", number + 1)
        direct("HSET", f"h{number}", "a", 1, "b", 2)
        direct("HPEXPIRE", f"h{number}", number + 1, "FIELDS", 1, "a")
    copy, before = Copy(), signature(direct.engine)
    walk = Walk(direct.engine.databases, copy.add)
    direct.now_ms += 1000
    for number in range(500):
        direct("GET", f"s{number}")
        direct("HGETALL", f"h{number}")
    while walk.step(perf_counter_ns()):
        pass
    other = copy.engine()
    assert signature(other) == before
    assert other.databases[0].field_wheel.slots
