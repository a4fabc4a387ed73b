"""eviction.py: what keys are worth, as functions of plain values."""

from __future__ import annotations

import random

import pytest
from distcache_server.config import Config
from distcache_server.eviction import (
    FIRST_COUNT,
    POLICIES,
    Frequency,
    Policy,
    Recency,
    Soonest,
    faded,
    growth,
    least,
)
from distcache_server.types.table import Table

MINUTE = 60_000


def keys(*names: bytes) -> Table[bytes, int]:
    table: Table[bytes, int] = Table()
    for deadline, name in enumerate(names, 1000):
        table[name] = deadline
    return table


def configured(*settings: str) -> Config:
    config = Config()
    config.load_arguments(settings)
    return config


# Counts of uses


def test_a_count_always_grows_at_first_and_never_past_its_end() -> None:
    assert [growth(count, 10) for count in range(FIRST_COUNT + 1)] == [1.0] * (FIRST_COUNT + 1)
    assert growth(FIRST_COUNT + 1, 10) == 1 / 11
    assert growth(105, 10) == 1 / 1001
    assert growth(255, 0) == 0.0
    assert growth(254, 0) == 1.0


def test_a_count_is_logarithmic() -> None:
    """The table in redis.conf: with factor 10, about 10 after 100 hits and 18 after 1 000."""

    def after(hits: int) -> float:
        counts = []
        for seed in range(40):
            draw, count = random.Random(seed), FIRST_COUNT
            for _ in range(hits):
                count += draw.random() < growth(count, 10)
            counts.append(count)
        return sum(counts) / len(counts)

    assert 8 < after(100) < 12
    assert 16 < after(1000) < 21


@pytest.mark.parametrize(
    ("count", "minutes", "decay_time", "expected"),
    [
        (10, 0, 1, 10),
        (10, 3, 1, 7),
        (10, 99, 1, 0),
        (10, 3, 2, 9),
        (10, 99, 0, 10),
        (10, -5, 1, 10),  # the clock was set back
    ],
)
def test_a_count_fades(count: int, minutes: int, decay_time: int, expected: int) -> None:
    assert faded(count, minutes, decay_time) == expected


# Which of several


def test_few_keys_go_of_many_and_fewer_with_more_samples() -> None:
    worths = {b"%03d" % n: n for n in random.sample(range(200), 200)}
    assert least(worths, 5) == [(b"%03d" % n, n) for n in range(10)]
    assert least(worths, 10) == [(b"%03d" % n, n) for n in range(5)]
    assert least(worths, 1_000_000) == [(b"000", 0)]
    assert least({b"only": 7}, 5) == [(b"only", 7)]
    assert least({}, 5) == []


def test_soonest_goes_by_the_deadline() -> None:
    policy = Soonest(Config())
    assert policy.draw(keys(b"a", b"b"), False, 0) == {b"a": 1000, b"b": 1001}
    assert policy.worth(b"a", 1000, 0) == 1000


def test_random_may_choose_any() -> None:
    policy, table = Policy(Config()), keys(*(b"%d" % n for n in range(50)))
    first = {least(policy.draw(table, True, 0), 5)[0][0] for _ in range(2000)}
    assert len(first) == 50
    drawn = policy.draw(table, True, 0)
    assert all(policy.worth(key, None, 0) <= worth for key, worth in drawn.items())


def test_recency_goes_by_the_last_use() -> None:
    policy = Recency(Config())
    policy.added(b"old", 1_000)
    policy.added(b"new", 2_000)
    assert policy.worth(b"old", None, 3_000) < policy.worth(b"new", None, 3_000)
    policy.touched(b"old", 3_000)
    assert policy.worth(b"old", None, 3_000) > policy.worth(b"new", None, 3_000)
    assert policy.idle_seconds(b"new", 62_000) == 60
    assert policy.idle_seconds(b"new", 0) == 0
    policy.touched(b"missing", 3_000)
    assert set(policy.draw(keys(), True, 0)) == {b"old", b"new"}
    policy.removed(b"old")
    assert set(policy.draw(keys(), True, 0)) == {b"new"}
    assert policy.clear()
    assert policy.draw(keys(), True, 0) == {}


def test_keys_used_at_the_same_time_share_a_number() -> None:
    policy = Recency(Config())
    now_ms = 1_700_000_000_000
    for n in range(100):
        policy.added(b"%d" % n, now_ms)
    assert len(set(map(id, policy.used.values()))) == 1


def test_frequency_goes_by_uses_that_fade() -> None:
    policy = Frequency(configured("--lfu-log-factor", "0", "--lfu-decay-time", "2"))
    policy.added(b"often", 0)
    policy.added(b"seldom", 0)
    for _ in range(10):
        policy.touched(b"often", 0)
    assert policy.frequency(b"seldom", 0) == FIRST_COUNT
    assert policy.frequency(b"often", 0) == FIRST_COUNT + 10
    assert policy.frequency(b"often", 6 * MINUTE) == FIRST_COUNT + 7
    # A use counts from what was left, and time begins anew.
    policy.touched(b"often", 6 * MINUTE)
    assert policy.frequency(b"often", 7 * MINUTE) == FIRST_COUNT + 8
    assert policy.frequency(b"missing", 0) == 0
    for _ in range(300):
        policy.touched(b"often", 6 * MINUTE)
    assert policy.frequency(b"often", 6 * MINUTE) == 255


def test_frequency_draws_what_it_says_of_each_key() -> None:
    policy = Frequency(configured("--lfu-log-factor", "0"))
    for n in range(50):
        policy.added(b"%d" % n, 0)
        for _ in range(n):
            policy.touched(b"%d" % n, 0)
    now_ms = 3 * MINUTE
    drawn = policy.draw(keys(), True, now_ms)
    assert drawn == {key: policy.worth(key, None, now_ms) for key in drawn}
    assert drawn == policy.draw(policy.used, False, now_ms)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "ttl"])
def test_keys_that_the_policy_does_not_know_may_go(name: str) -> None:
    """While a database is being counted, or for volatile policies, others are drawn from."""
    policy = POLICIES[name](Config())
    assert set(policy.draw(keys(b"unknown"), False, 0)) == {b"unknown"}
