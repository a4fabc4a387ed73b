"""How many reads find their key when not all keys fit, beside a real Redis that holds as many.

Keys are drawn by Zipf's law, as caches see them, and which are popular changes slowly. Who misses
writes the key.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate

import pytest
import redis

from tests.support import StartServer
from tests.support.servers import Process

KEYS = 8000
FIT = 1000
READS = 30_000
BATCH = 20
VALUE = b"v" * 400
POINTS = 0.02
"""How much worse than Redis we may be."""

pytestmark = pytest.mark.ours("compares with a real Redis by itself")


def sequence() -> list[bytes]:
    """The keys that are read, one after the other."""
    draw = random.Random(1)
    weights = list(accumulate(1 / rank**0.9 for rank in range(1, KEYS + 1)))
    ranks = draw.choices(range(KEYS), cum_weights=weights, k=READS)
    return [b"key:%06d" % (rank + at // 100) for at, rank in enumerate(ranks)]


def hit_ratio(client: redis.Redis, keys: list[bytes]) -> float:
    """Read the keys, a few at a time, and write those that are missing."""
    hits = 0
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        found = client.mget(batch)
        hits += len(batch) - found.count(None)
        missing = [key for key, value in zip(batch, found, strict=True) if value is None]
        with client.pipeline(transaction=False) as pipeline:
            for key in dict.fromkeys(missing):
                pipeline.set(key, VALUE)
            pipeline.execute()
    return hits / len(keys)


def room_for(client: redis.Redis, count: int) -> None:
    """Set a limit at which so many keys fit."""
    client.flushall()
    for n in range(count):
        client.set(b"key:%06d" % (KEYS * 2 + n), VALUE)
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    client.flushall()


def measured(server: Process, policy: str, keys: list[bytes]) -> float:
    with server.client() as client:
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", policy)
        hit_ratio(client, keys[:100])  # what is allocated only once
        room_for(client, FIT)
        ratio = hit_ratio(client, keys)
        assert 0.8 * FIT < client.dbsize() < 1.05 * FIT
    return ratio


def of_exact_lru(keys: list[bytes]) -> float:
    """The hit ratio of a cache that always drops the key not used for longest."""
    cache: OrderedDict[bytes, None] = OrderedDict()
    hits = 0
    for key in keys:
        hits += key in cache
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > FIT:
            cache.popitem(last=False)
    return hits / len(keys)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_hit_ratio(
    policy: str,
    start_server: StartServer,
    reference: Process,
    record_property: Callable[[str, object], None],
) -> None:
    keys = sequence()
    ours = measured(start_server(), policy, keys)
    try:
        theirs = measured(reference, policy, keys)
    finally:
        with reference.client() as client:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
    figures = f"{policy} {ours:.3f}, Redis {theirs:.3f}, exact LRU {of_exact_lru(keys):.3f}"
    record_property("summary", f"hit ratio: {figures}")
    assert ours > theirs - POINTS
    if policy == "allkeys-lru":
        assert ours > of_exact_lru(keys) - 1.5 * POINTS
