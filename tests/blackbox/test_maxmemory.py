"""maxmemory as a client sees it: what goes, what is refused, and that the limit is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support import Error, Simple, StartServer, eventually

KB = 1 << 10


@pytest.fixture
def full(start_server: StartServer) -> Iterator[redis.Redis]:
    """A client of a server of its own."""
    server = start_server("--maxmemory", "100mb", "--maxmemory-eviction-tenacity", "100")
    with server.client() as client:
        yield client


def used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def limit(client: redis.Redis, policy: str, room: int = 200 * KB) -> int:
    """Leave so much room above what is used now; the limit."""
    client.config_set("maxmemory-policy", policy)
    size = used(client) + room
    client.config_set("maxmemory", size)
    return size


def evicted(client: redis.Redis) -> int:
    return int(client.info("stats")["evicted_keys"])


def until_refused(client: redis.Redis, name: str) -> int:
    """Write keys of 1 KB until there is no memory left; how many there were."""
    for n in range(2000):
        try:
            client.set(f"{name}:{n}", "v" * KB)
        except redis.exceptions.OutOfMemoryError:
            return n
    raise AssertionError("nothing was refused")


def test_noeviction(full: redis.Redis) -> None:
    limit(full, "noeviction")
    stored = until_refused(full, "key")
    assert 20 < stored < 250
    full.config_set("maxmemory", used(full) // 2)
    for words in (["LPUSH", "l", "x"], ["HSET", "h", "f", "x"], ["ZADD", "z", "1", "x"]):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            full.execute_command(*words)
    assert full.get("key:0") == b"v" * KB
    assert full.expire("key:0", 100) is True
    assert full.info("errorstats")["errorstat_OOM"]["count"] == 4
    assert full.info("commandstats")["cmdstat_lpush"]["rejected_calls"] == 1
    assert full.delete(*(f"key:{each}" for each in range(10))) == 10
    full.config_set("maxmemory", "100mb")
    assert full.lpush("l", "x") == 1
    assert evicted(full) == 0


@pytest.mark.parametrize(
    "policy",
    [
        "allkeys-random",
        "allkeys-lru",
        "allkeys-lfu",
        "volatile-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-ttl",
    ],
)
def test_the_limit_is_kept(full: redis.Redis, policy: str) -> None:
    size = limit(full, policy)
    with full.pipeline(transaction=False) as pipeline:
        for n in range(2000):
            pipeline.set(f"key:{n}", "v" * 300, ex=10_000)
        pipeline.execute()
    full.ping()
    assert used(full) <= size + 4 * KB
    full.config_set("maxmemory", 0)
    assert 0 < full.dbsize() < 1500
    assert evicted(full) == 2000 - full.dbsize()


def test_the_limit_is_kept_for_values_of_every_type(full: redis.Redis) -> None:
    size = limit(full, "allkeys-lru", 1000 * KB)
    for n in range(300):
        with full.pipeline(transaction=False) as pipeline:
            pipeline.set(f"string:{n}", "v" * 1000)
            pipeline.append(f"string:{n}", "v" * 1000)
            pipeline.rpush(f"list:{n}", *(f"item:{each}" for each in range(50)))
            pipeline.sadd(f"set:{n}", *(f"member:{each}" for each in range(50)))
            pipeline.hset(f"hash:{n}", mapping={f"field:{each}": "value" for each in range(50)})
            pipeline.zadd(f"zset:{n}", {f"member:{each}": each for each in range(50)})
            pipeline.execute()
    full.ping()
    assert used(full) <= size + 16 * KB
    assert 50 < full.dbsize() < 1500


@pytest.mark.parametrize(
    "policy", ["volatile-random", "volatile-lru", "volatile-lfu", "volatile-ttl"]
)
def test_keys_without_a_deadline_stay(full: redis.Redis, policy: str) -> None:
    limit(full, policy)
    for n in range(100):
        full.set(f"stays:{n}", "v" * 300)
    for n in range(2000):
        full.set(f"goes:{n}", "v" * 300, ex=10_000)
    assert full.exists(*(f"stays:{n}" for n in range(100))) == 100
    assert evicted(full) > 0
    # With nothing left that may go, it is as with noeviction.
    stored = until_refused(full, "more")
    assert full.dbsize() == 100 + stored


def test_the_nearest_deadlines_go_first(full: redis.Redis) -> None:
    for n in range(200):
        full.set(f"key:{n}", "v" * 1000, ex=10_000 + n)
    full.config_set("maxmemory-policy", "volatile-ttl")
    full.config_set("maxmemory-samples", 10)
    full.config_set("maxmemory", size := used(full) - 50 * KB)
    assert eventually(lambda: used(full) <= size + 32 * KB)
    full.config_set("maxmemory", 0)
    numbers = [int(key[len("key:") :]) for key in full.keys("*")]
    assert sum(numbers) / len(numbers) > 200 - len(numbers) * 0.6


def test_a_lower_limit_takes_effect_by_itself(full: redis.Redis) -> None:
    full.config_set("maxmemory-policy", "allkeys-lru")
    for n in range(3000):
        full.set(f"key:{n}", "v" * 1000)
    full.config_set("maxmemory", size := used(full) - 1000 * KB)
    assert eventually(lambda: used(full) <= size + 32 * KB)
    full.config_set("maxmemory", 0)
    assert 500 < evicted(full) < 1500
    assert full.dbsize() == 3000 - evicted(full)


def test_what_is_evicted_is_announced(full: redis.Redis) -> None:
    full.config_set("notify-keyspace-events", "Ee")
    with full.pubsub() as events:
        events.psubscribe("__keyevent@*__:evicted")
        assert events.get_message(timeout=20)
        limit(full, "allkeys-lru")
        for n in range(1000):
            full.set(f"key:{n}", "v" * 1000)
        message = events.get_message(timeout=20)
    assert message is not None
    assert message["channel"] == b"__keyevent@0__:evicted"
    assert not full.exists(message["data"])


def test_a_watched_key_that_is_evicted_has_changed(full: redis.Redis) -> None:
    full.set("watched", "x")
    with full.pipeline() as transaction:
        transaction.watch("watched")
        limit(full, "allkeys-random")
        for n in range(2000):
            full.set(f"other:{n}", "v" * KB)
        assert not full.exists("watched")
        transaction.multi()
        transaction.ping()
        with pytest.raises(redis.WatchError):
            transaction.execute()


def test_transactions(start_server: StartServer) -> None:
    oom = b"OOM command not allowed when used memory > 'maxmemory'."
    server = start_server("--maxmemory", "100mb")
    with server.wire() as wire, server.wire() as other:
        wire.call("SET", "key", "value")
        assert wire.call("MULTI") == Simple(b"OK")
        assert wire.call("SET", "key", "other") == Simple(b"QUEUED")
        other.call("CONFIG", "SET", "maxmemory", "1")
        assert wire.call("EXEC") == Error(b"EXECABORT Transaction discarded because of: " + oom)
        assert wire.call("MULTI") == Simple(b"OK")
        for words in (["GET", "key"], ["SET", "key", "other"], ["PING"]):
            assert wire.call(*words) == Error(oom)
        assert wire.call("EXEC") == Error(
            b"EXECABORT Transaction discarded because of previous errors."
        )
        other.call("CONFIG", "SET", "maxmemory", "100mb")
        assert wire.call("MULTI") == Simple(b"OK")
        assert wire.call("GET", "key") == Simple(b"QUEUED")
        other.call("CONFIG", "SET", "maxmemory", "1")
        assert wire.call("EXEC") == [b"value"]
        assert wire.call("MULTI") == Simple(b"OK")
        assert wire.call("DISCARD") == Simple(b"OK")


def test_idle_times(full: redis.Redis) -> None:
    full.config_set("maxmemory-policy", "allkeys-lru")
    full.set("key", "value")
    assert eventually(lambda: full.object("idletime", "key"))
    # A read makes it 0, unless a second is over before it is asked for.
    assert eventually(lambda: full.get("key") and full.object("idletime", "key") == 0)
    with pytest.raises(redis.ResponseError, match="An LFU maxmemory policy is not selected"):
        full.object("freq", "key")
    assert full.object("idletime", "missing") is None


def count_all_uses(client: redis.Redis) -> None:
    """Each use of a key raises its count, and no new minute lowers it."""
    client.config_set("maxmemory-policy", "allkeys-lfu")
    client.config_set("lfu-log-factor", 0)
    client.config_set("lfu-decay-time", 0)


@pytest.mark.since("7.2")
def test_clients_that_leave_no_trace(full: redis.Redis) -> None:
    count_all_uses(full)
    full.set("key", "value")
    full.client_no_touch("ON")
    for _ in range(3):
        full.get("key")
        full.append("key", "x")
    with full.pipeline(transaction=False) as pipeline:
        for _ in range(3):
            pipeline.get("key")
        pipeline.execute()
    assert full.object("freq", "key") == 5
    full.touch("key")
    assert full.object("freq", "key") == 6
    full.client_no_touch("OFF")
    full.get("key")
    assert full.object("freq", "key") == 7


def test_frequencies(full: redis.Redis) -> None:
    count_all_uses(full)
    full.set("key", "value")
    assert full.object("freq", "key") == 5
    for _ in range(7):
        full.get("key")
    assert full.object("freq", "key") == 12
    full.exists("key")
    full.ttl("key")
    full.type("key")
    assert full.object("freq", "key") == 12
    for _ in range(300):
        full.get("key")
    assert full.object("freq", "key") == 255
    full.set("key", "other")
    assert full.object("freq", "key") == 255
    with pytest.raises(redis.ResponseError, match="An LFU maxmemory policy is selected"):
        full.object("idletime", "key")


def test_flushed_databases_take_nothing(full: redis.Redis) -> None:
    full.config_set("maxmemory-policy", "allkeys-lru")
    full.ping()
    before = used(full)
    for index in (0, 1, 2):
        with full.client() as other:
            other.select(index)
            for n in range(200):
                other.set(f"key:{n}", "v" * 1000, ex=1000)
            other.swapdb(index, index + 3)
    assert used(full) > before + 600 * 1000
    full.flushall()
    assert eventually(lambda: used(full) < before + 300 * KB)


def test_the_size_of_a_key(full: redis.Redis) -> None:
    full.set("small", "v")
    full.set("large", "v" * 10_000)
    full.rpush("list", *("v" * 100 for _ in range(100)))
    small, large = size_of(full, "small"), size_of(full, "large")
    assert 0 < small < 250
    assert small + 9_000 < large < small + 20_000
    assert 10_000 < size_of(full, "list") < 25_000
    assert full.memory_usage("missing") is None


def size_of(client: redis.Redis, key: str) -> int:
    size = client.memory_usage(key, samples=0)
    assert size is not None
    return size
