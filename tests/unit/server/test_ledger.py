"""ledger.py: the sums stay right, whatever is done to keys."""

from __future__ import annotations

import random
from time import perf_counter_ns

import pytest
from distcache_server.keyspace import Keyspace
from distcache_server.ledger import END, GRAIN, Budget, Ledger
from distcache_server.memory import DEADLINE, ENTRY, STRING
from distcache_server.types.hash import Hash
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.direct import Direct
from tests.support.fuzzing import fuzz_commands

KEYS = [f"key:{n}" for n in range(12)]
WORDS = ["a", "b", "c" * 100, "d" * 700, "5"]

key = st.sampled_from(KEYS)
word = st.sampled_from(WORDS)
score = st.integers(-5, 5)
size = st.sampled_from(["0", "1gb"])
number = st.integers(0, 3)

COMMANDS = st.one_of(
    st.tuples(st.just("SET"), key, word),
    st.tuples(st.just("SET"), key, word, st.just("EX"), st.just("100")),
    st.tuples(st.just("SET"), key, word, st.just("KEEPTTL")),
    st.tuples(st.just("SET"), key, word, st.just("PXAT"), st.just("1")),
    st.tuples(st.just("GETSET"), key, word),
    st.tuples(st.just("GETDEL"), key),
    st.tuples(st.just("GETEX"), key, st.just("PERSIST")),
    st.tuples(st.just("MSET"), key, word, key, word),
    st.tuples(st.just("APPEND"), key, word),
    st.tuples(st.just("SETRANGE"), key, st.just("1500"), word),
    st.tuples(st.just("SETBIT"), key, st.just("9000"), st.just("1")),
    st.tuples(st.just("INCR"), key),
    st.tuples(st.just("PFADD"), key, word),
    st.tuples(st.just("RPUSH"), key, word, word, word),
    st.tuples(st.just("LPOP"), key, number),
    st.tuples(st.just("LMOVE"), key, key, st.just("LEFT"), st.just("RIGHT")),
    st.tuples(st.just("LTRIM"), key, number, st.just("-1")),
    st.tuples(st.just("HSET"), key, word, word, word, word),
    st.tuples(st.just("HDEL"), key, word),
    st.tuples(st.just("HPEXPIRE"), key, number, st.just("FIELDS"), st.just("1"), word),
    st.tuples(st.just("SADD"), key, word, word, word),
    st.tuples(st.just("SPOP"), key, number),
    st.tuples(st.just("SMOVE"), key, key, word),
    st.tuples(st.just("SUNIONSTORE"), key, key, key),
    st.tuples(st.just("ZADD"), key, score, word, score, word),
    st.tuples(st.just("ZPOPMIN"), key, number),
    st.tuples(st.just("ZUNIONSTORE"), key, st.just("2"), key, key),
    st.tuples(st.just("SORT"), key, st.just("ALPHA"), st.just("STORE"), key),
    st.tuples(st.just("DEL"), key, key),
    st.tuples(st.just("EXPIRE"), key, st.sampled_from(["100", "-1"])),
    st.tuples(st.just("PERSIST"), key),
    st.tuples(st.just("RENAME"), key, key),
    st.tuples(st.just("COPY"), key, key, st.just("REPLACE")),
    st.tuples(st.just("COPY"), key, key, st.just("DB"), number),
    st.tuples(st.just("MOVE"), key, number),
    st.tuples(st.just("SELECT"), number),
    st.tuples(st.just("SWAPDB"), number, number),
    st.tuples(st.sampled_from(["FLUSHDB"] + ["PING"] * 9)),
    st.tuples(st.sampled_from(["FLUSHALL"] + ["PING"] * 9)),
    st.tuples(
        st.just("CONFIG"),
        st.just("SET"),
        st.just("maxmemory-policy"),
        st.sampled_from(["allkeys-lru", "allkeys-lfu", "volatile-ttl", "noeviction"]),
    ),
    st.tuples(
        st.just("CONFIG"), st.just("SET"), st.just("maxmemory"), st.sampled_from(["0", "1gb"])
    ),
)


def recounted(keyspace: Keyspace, ledger: Ledger) -> int:
    """What the ledger should say, by what it remembers of values that are no plain strings."""
    plain = {key: value for key, value in keyspace.values.items() if type(value) is bytes}
    assert set(ledger.sizes) == set(keyspace.values) - set(plain)
    for key, size in ledger.sizes.items():
        value = keyspace.values[key]
        # What a hash takes depends on which other hashes have its fields at the moment.
        if type(value) is not Hash:
            assert size << GRAIN == pytest.approx(value.memory() + ENTRY, rel=0.1, abs=99)
    return (
        sum(map(len, keyspace.values))
        + ledger.per_key * len(keyspace)
        + sum(len(value) + STRING for value in plain.values())
        + (sum(ledger.sizes.values()) << GRAIN)
        + DEADLINE * keyspace.deadlines.count
    )


def agree(server: Direct) -> None:
    """Compare what the ledgers say with what is there."""
    engine, total = server.engine, 0
    for keyspace in engine.databases:
        ledger = keyspace.ledger
        if ledger is None:
            assert not engine.evictor.active
            continue
        assert ledger.total == recounted(keyspace, ledger)
        if ledger.tracks is not None:
            assert set(ledger.tracks.used) == set(keyspace.values)  # type: ignore[attr-defined]
        total += ledger.total
    assert engine.evictor.budget.used == total


@settings(max_examples=fuzz_commands(2000) // 40)
@given(st.lists(COMMANDS, min_size=30, max_size=50))
@pytest.mark.fuzz
def test_the_sums_agree_with_a_recount(script: list[tuple[str | int, ...]]) -> None:
    server = Direct("--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru", "--databases", "4")
    for step, words in enumerate(script):
        server(*words)
        if not step % 5:
            server.now_ms += 1
            for keyspace in server.engine.databases:
                keyspace.now_ms = server.now_ms
                while (due := keyspace.field_wheel.take(server.now_ms)) is not None:
                    keyspace.lapse_fields(due)
        agree(server)


def test_a_count_of_keys_that_were_there_may_be_interrupted() -> None:
    """Keys come, go and change while others are uncounted, and the table grows and shrinks."""
    server = Direct()
    draw = random.Random(1)
    for n in range(3000):
        server("SET", f"key:{n}", "v" * draw.randrange(100))
        server("HSET", f"hash:{n}", "field", "value")
    keyspace = server.keyspace
    keyspace.ledger = ledger = Ledger(Budget(), None)
    keyspace.arrange()
    steps = 0
    while ledger.count(keyspace.values, server.now_ms, perf_counter_ns()):
        steps += 1
        n = draw.randrange(6000)
        for change in range(150):
            server("SET", f"key:{n}", "v" * draw.randrange(100))
            server("DEL", f"key:{draw.randrange(6000)}", f"hash:{draw.randrange(3000)}")
            server("HSET", f"hash:{n + change}", f"field:{draw.randrange(99)}", "value")
            if steps > 20:
                server("DEL", *(f"key:{draw.randrange(6000)}" for _ in range(5)))
    assert steps > 30
    assert ledger.counted == END
    assert ledger.total == recounted(keyspace, ledger)


def test_large_values_are_measured_now_and_then() -> None:
    server = Direct("--maxmemory", "1gb")

    def size() -> int:
        ledger = server.keyspace.ledger
        assert ledger is not None
        return ledger.sizes[b"list"] << GRAIN

    def real() -> int:
        return int(server.keyspace.values[b"list"].memory())

    # When the number of entries changes by much, however it grew before ...
    server("RPUSH", "list", *["v" * 50] * 10)
    for _ in range(8):
        server("RPUSH", "list", *["v" * 50] * 20_000)
        assert size() == pytest.approx(real(), rel=0.1)
    server("LTRIM", "list", 0, 1000)
    assert size() == pytest.approx(real(), rel=0.1)
    # ... when entries become larger ...
    for n in range(1000):
        server("LSET", "list", n, "v" * 500)
    assert size() == pytest.approx(real(), rel=0.1)
    # ... and when it is another value.
    server("SET", "list", "x")
    server("DEL", "list")
    server("RPUSH", "list", *["v" * 5] * 1001)
    assert size() == pytest.approx(real(), rel=0.1)
    server("RPUSH", "other", *["v" * 700] * 1001)
    server("COPY", "other", "list", "REPLACE")
    assert size() == pytest.approx(real(), rel=0.1)
    server("SET", "list", "x")
    assert not server.keyspace.ledger.lengths.get(b"list")  # type: ignore[union-attr]


def test_only_uses_of_keys_that_are_there_count() -> None:
    server = Direct("--maxmemory-policy", "allkeys-lru", now_ms=1_000_000)
    server("SET", "key", "value")
    server.now_ms += 60_000
    ledger = server.keyspace.ledger
    assert ledger is not None
    unused = ("TYPE key", "TTL key", "EXISTS key", "OBJECT ENCODING key", "GET missing")
    for words in (line.split() for line in unused):
        server(*words)
        assert ledger.idle_seconds(b"key", server.now_ms) == 60, words
    server.client.no_touch = True
    server("GET", "key")
    assert ledger.idle_seconds(b"key", server.now_ms) == 60
    server.client.no_touch = False
    for words in (["GET", "key"], ["APPEND", "key", "x"], ["SET", "key", "y"], ["TOUCH", "key"]):
        server.now_ms += 60_000
        server(*words)
        assert ledger.idle_seconds(b"key", server.now_ms) == 0, words


def test_what_is_no_use_is_none_for_a_client_that_touches_nothing() -> None:
    server = Direct()
    server("SET", "key", "value")
    server("CLIENT", "NO-TOUCH", "ON")
    for words in (["EXISTS", "key"], ["OBJECT", "ENCODING", "key"], ["GET", "key"]):
        server(*words)
    assert (server.keyspace.hits, server.keyspace.looks) == (3, 3)
