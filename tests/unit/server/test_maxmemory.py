"""maxmemory.py: when keys go, how many, and which."""

from __future__ import annotations

import gc
from time import perf_counter_ns

import pytest
from distcache_server import memory
from distcache_server.keyspace import Keyspace
from distcache_server.ledger import END
from distcache_server.maxmemory import BATCH, NO_LIMIT, longest_ns, within_process

from tests.support.direct import Direct

OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
MINUTE = 60_000
MB = 1 << 20


def fill(server: Direct, count: int, *options: str | int, first: int = 0) -> None:
    for n in range(first, first + count):
        assert server("SET", f"key:{n:05}", "v" * 50, *options) == b"+OK\r\n"


def limited(policy: str, *more: str) -> Direct:
    """A server with a limit that is far, and all the time it wants when it evicts."""
    given = ("--maxmemory", "1gb", "--maxmemory-policy", policy)
    return Direct(*given, "--maxmemory-eviction-tenacity", "100", *more)


def finish(server: Direct) -> None:
    """Let the work between commands be done."""
    while server.engine.evictor.step(perf_counter_ns()):
        pass


def used(server: Direct) -> int:
    server.engine.evictor.step(perf_counter_ns())  # looks at the client
    return server.engine.evictor.budget.used


def limit_to(server: Direct, size: int) -> None:
    assert server("CONFIG", "SET", "maxmemory", size) == b"+OK\r\n"


def kept(server: Direct) -> set[int]:
    return {int(key[4:]) for key in server.keyspace}


def test_tenacity_is_a_time() -> None:
    assert longest_ns(0) == 0
    assert longest_ns(10) == 500_000
    assert 550_000 < longest_ns(11) < 600_000
    assert 100 * 10**9 < longest_ns(99) < 1000 * 10**9
    assert longest_ns(100) == NO_LIMIT
    # The further past the limit, the longer: memory is worth more than a quick answer then.
    assert [longest_ns(10, over) for over in (1, 2, 5)] == [10**6, 2 * 10**6, 16 * 10**6]
    assert longest_ns(10, 1000) == longest_ns(10, 12)


def test_a_process_that_is_too_large_lowers_the_limit() -> None:
    limit = 256 * MB
    assert within_process(limit, 0) == limit
    assert within_process(limit, 419 * MB) == limit
    sizes = [within_process(limit, size * MB) for size in range(420, 460)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.95 * limit
    # At the bound nearly nothing is left to be given up.
    assert within_process(limit, 448 * MB) == limit // 4
    assert within_process(10 * MB, 60 * MB) == 10 * MB


def test_the_limit_follows_the_size_of_the_process() -> None:
    server = limited("allkeys-lru")
    limit_to(server, 100 * MB)
    sizes = iter([0, 203 * MB, 203 * MB, *[100 * MB] * 100])
    server.engine.evictor.process_size = lambda: next(sizes)

    def look(second: int) -> int:
        server.engine.evictor.step(perf_counter_ns() + second * 10**9)
        return server.engine.evictor.budget.limit

    assert look(1) == 100 * MB
    # It is looked at twice, since the allocator may have had something to give back.
    assert look(2) == within_process(100 * MB, 203 * MB) == 60 * MB
    assert look(3) == 61 * MB
    assert [look(second) for second in range(4, 60)][-1] == 100 * MB


def test_there_are_no_accounts_without_a_limit() -> None:
    server = Direct()
    assert server.keyspace.ledger is None
    assert not server.keyspace.observed
    limit_to(server, 1 << 30)
    assert server.keyspace.ledger is not None
    assert server.keyspace.ledger.tracks is None
    limit_to(server, 0)
    assert server.keyspace.ledger is None
    assert not server.keyspace.special
    # OBJECT IDLETIME and FREQ work without a limit too, under a policy that asks for them.
    server("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert server.keyspace.ledger is not None
    assert server.keyspace.ledger.tracks is not None


def test_noeviction_refuses_what_could_grow() -> None:
    server = Direct("--maxmemory", "30kb")
    for n in range(100):
        reply = server("SET", f"key:{n}", "v" * 500)
    assert reply == OOM
    assert server("GET", "key:0") == b"$500\r\n" + b"v" * 500 + b"\r\n"
    assert server("SADD", "set", "member") == OOM
    assert server("DEL", *(f"key:{n}" for n in range(20))) == b":20\r\n"
    assert server("SADD", "set", "member") == b":1\r\n"
    assert server.engine.counters.evicted_keys == 0


def test_the_keys_not_used_for_longest_go() -> None:
    server = limited("allkeys-lru")
    fill(server, 1000)
    server.now_ms += MINUTE
    for n in range(0, 1000, 2):
        server("GET", f"key:{n:05}")
    server.now_ms += MINUTE
    limit_to(server, used(server) * 9 // 10)
    finish(server)
    assert set(range(0, 1000, 2)) <= kept(server)
    assert server.engine.counters.evicted_keys == 1000 - len(kept(server))
    assert 80 < server.engine.counters.evicted_keys < 120


def test_the_keys_used_least_go() -> None:
    server = limited("allkeys-lfu", "--lfu-log-factor", "0")
    fill(server, 1000)
    for _ in range(20):
        for n in range(0, 1000, 2):
            server("GET", f"key:{n:05}")
    server.now_ms += 1000
    fill(server, 200, first=1000)
    limit_to(server, used(server) * 9 // 10)
    finish(server)
    assert set(range(0, 1000, 2)) <= kept(server)
    assert 1060 < len(kept(server)) < 1090


def test_the_keys_with_the_first_deadlines_go() -> None:
    server = limited("volatile-ttl")
    fill(server, 200)
    for n in range(300):
        server("SET", f"key:{n + 200:04}", "v" * 50, "EX", 1000 + n)
    limit_to(server, used(server) * 3 // 4)
    finish(server)
    dated = sorted(n for n in kept(server) if n >= 200)
    assert set(range(200)) <= kept(server)
    assert 50 < len(dated) < 250
    # All in one or two parts of a table, so that the order is nearly exact.
    assert sum(dated) / len(dated) > 500 - len(dated) * 0.6


@pytest.mark.parametrize("policy", ["allkeys-random", "allkeys-lru", "allkeys-lfu"])
def test_keys_of_all_databases_go(policy: str) -> None:
    server = limited(policy)
    for index in (0, 5):
        server("SELECT", index)
        fill(server, 500)
    limit_to(server, used(server) // 2)
    finish(server)
    sizes = [len(keyspace) for keyspace in server.engine.databases if len(keyspace)]
    assert len(sizes) == 2
    assert min(sizes) > 150


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random"])
def test_only_keys_with_a_deadline_go(policy: str) -> None:
    server = limited(policy)
    fill(server, 300)
    fill(server, 300, "EX", 100, first=300)
    limit_to(server, used(server) * 2 // 3)
    finish(server)
    assert set(range(300)) <= kept(server)
    assert 20 < len(kept(server)) - 300 < 280
    # When none of them is left, it is as if nothing could be evicted.
    limit_to(server, 1000)
    finish(server)
    assert kept(server) == set(range(300))
    assert server("SET", "key", "value") == OOM
    assert server("GET", "key:00001") != OOM


def test_a_key_that_is_past_its_deadline_expires_instead() -> None:
    server = limited("volatile-ttl")
    fill(server, 100, "PX", 100)
    server.now_ms += 1000
    limit_to(server, 1)
    server("PING")
    assert server.keyspace.expired == 100
    assert server.engine.counters.evicted_keys == 0


def test_what_is_evicted_is_told() -> None:
    server = limited("allkeys-lru")
    server("CONFIG", "SET", "notify-keyspace-events", "Ee")
    told: list[tuple[int, bytes]] = []

    def note(keyspace: Keyspace, key: bytes) -> None:
        told.append((keyspace.index, key))

    events: list[bytes] = []
    server.keyspace.on_evicted = note
    server.keyspace.notify = lambda _, __, event, key: events.append(event + b" " + key)
    server("SET", "key", "value")
    server("WATCH", "key")
    limit_to(server, 1)
    server("PING")
    assert told == [(0, b"key")]
    assert b"evicted key" in events
    assert server.client.conflict


def test_a_command_is_held_up_for_no_longer_than_allowed() -> None:
    server = limited("allkeys-lru")
    fill(server, 2000)
    server("CONFIG", "SET", "maxmemory-eviction-tenacity", "0")
    limit_to(server, used(server) // 2)
    server("PING")
    assert server.engine.counters.evicted_keys == BATCH
    assert server("SET", "key", "value") == b"+OK\r\n"
    assert server.engine.counters.evicted_keys == 2 * BATCH
    finish(server)
    assert used(server) <= server.engine.config.maxmemory
    assert 900 < server.engine.counters.evicted_keys < 1100


def test_a_limit_set_on_a_full_database_is_counted_in_steps() -> None:
    server = Direct()
    fill(server, 30_000)
    limit_to(server, 1 << 30)
    ledger = server.keyspace.ledger
    assert ledger is not None
    steps = 0
    while server.engine.evictor.step(perf_counter_ns()):
        steps += 1
        fill(server, 1, first=40_000 + steps)
    assert ledger.counted == END
    assert steps > 3
    assert ledger.total == (30_000 + steps) * (9 + ledger.per_key + 50 + memory.STRING)
    assert used(server) == ledger.total + server.client.footprint


def test_large_values_are_freed_by_and_by() -> None:
    server = limited("allkeys-lru")
    for n in range(20):
        server("RPUSH", f"list:{n}", *["v" * 30] * 2000)
    limit_to(server, used(server) // 2)
    for _ in range(100):
        server("PING")
    finish(server)
    assert 8 <= len(server.keyspace) <= 10
    assert not server.keyspace.graveyard


def test_what_clients_hold_counts() -> None:
    server = Direct("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    fill(server, 1000)
    server.client.memory = lambda: (30 << 20, 75 << 20)
    server.engine.evictor.step(perf_counter_ns())
    server.engine.evictor.step(perf_counter_ns())
    server("PING")
    finish(server)
    assert len(server.keyspace) == 0
    assert server("SET", "key", "value") == OOM
    server.client.memory = lambda: (0, 0)
    server.engine.evictor.step(perf_counter_ns())
    server.engine.evictor.step(perf_counter_ns())
    assert server("SET", "key", "value") == b"+OK\r\n"


def test_nothing_goes_where_clients_have_let_go_of_enough() -> None:
    server = Direct("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    fill(server, 100)
    evictor = server.engine.evictor
    server.client.memory = lambda: (30 << 20, 75 << 20)
    evictor._add_up_clients()
    assert evictor.budget.used > evictor.budget.limit
    server.client.memory = lambda: (0, 0)
    assert server("SET", "key", "value") == b"+OK\r\n"
    assert len(server.keyspace) == 101


def test_clients_that_are_about_to_go_do_not_count() -> None:
    server = Direct("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    server("CONFIG", "SET", "maxmemory-clients", "10mb")
    fill(server, 1000)
    server.client.memory = lambda: (30 << 20, 75 << 20)
    assert 10 << 20 < used(server) < 11 << 20
    server("PING")
    assert server.engine.counters.evicted_keys == 0


def test_a_transaction_is_refused_before_it_runs_or_runs_to_its_end() -> None:
    server = Direct("--maxmemory", "1gb")
    server("SET", "key", "value")
    server("MULTI")
    server("SET", "key", "other")
    server.engine.config.set([(b"maxmemory", b"1")])
    assert server("EXEC").startswith(b"-EXECABORT Transaction discarded because of: OOM")
    assert server("MULTI") == b"+OK\r\n"
    assert server("GET", "key") == OOM
    assert server("EXEC").startswith(b"-EXECABORT Transaction discarded because of previous")

    server.engine.config.set([(b"maxmemory", b"1gb")])
    server("MULTI")
    server("GET", "key")
    server.engine.config.set([(b"maxmemory", b"1")])
    assert server("EXEC") == b"*1\r\n$5\r\nvalue\r\n"

    server.engine.config.set([(b"maxmemory", str(used(server) + 1000).encode())])
    server("MULTI")
    for _ in range(3):
        server("APPEND", "key", "v" * 2000)
    assert server("EXEC") == b"*3\r\n:2005\r\n:4005\r\n:6005\r\n"
    assert server("APPEND", "key", "v") == OOM


def test_nothing_goes_during_a_pause() -> None:
    server = limited("allkeys-lru")
    fill(server, 100)
    server("CLIENT", "PAUSE", "100000", "WRITE")
    limit_to(server, 1)
    server("PING")
    assert len(server.keyspace) == 100
    server("CLIENT", "UNPAUSE")
    server("PING")
    assert len(server.keyspace) == 0


def test_without_a_limit_used_is_what_the_process_has_grown_by() -> None:
    server = Direct()
    gc.collect()  # so that nothing else goes meanwhile
    before = server.engine.evictor.used()
    server("SET", "key", b"v" * (50 << 20))
    after = server.engine.evictor.used()
    assert after > before + (40 << 20)
    assert server.engine.evictor.peak >= after
