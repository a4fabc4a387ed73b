"""What is counted: distributions, rates, the slow log."""

import pytest
from distcache_server.stats import (
    BUCKETS,
    GRAIN,
    Counters,
    Rates,
    SlowLog,
    Stats,
    Totals,
    bucket,
)

US = 1000


def test_calls_and_percentiles() -> None:
    stats = Stats()
    assert (stats.calls, stats.percentile(0.5), stats.distribution()) == (0, 0.0, {})
    for _ in range(98):
        stats.add(1, 10 * US)
    stats.add(2, 2000 * US)
    assert stats.calls == 100
    assert stats.ns == 98 * 10 * US + 2000 * US
    assert stats.percentile(0.5) == pytest.approx(10, rel=0.2)
    assert stats.percentile(0.98) == pytest.approx(10, rel=0.2)
    assert stats.percentile(0.99) == pytest.approx(1000, rel=0.2)
    stats.reset()
    assert (stats.calls, stats.ns) == (0, 0)


def test_the_table_finds_the_bucket_of_a_short_time() -> None:
    assert [*BUCKETS] == [bucket(step << GRAIN) for step in range(1 << 16)]


def test_percentiles_are_upper_bounds() -> None:
    for ns in (1, 7, 999, 50_000_123, 10**10):
        stats = Stats()
        stats.add(1, ns)
        assert ns / US <= stats.percentile(1.0) <= 1.2 * (ns + 1) / US


def test_a_distribution_adds_up() -> None:
    stats = Stats()
    for us in (0.5, 3, 3, 100, 5000):
        stats.add(1, int(us * US))
    sums = stats.distribution()
    assert sums == {1: 1, 4: 3, 128: 4, 8192: 5}


def test_rates() -> None:
    rates = Rates()
    assert rates.per_second() == (0.0, 0.0, 0.0, 0.0, 0.0)
    rates.sample(1.0, Totals(0, 0, 0, 0, 0))
    assert rates.per_second() == (0.0, 0.0, 0.0, 0.0, 0.0)
    rates.sample(3.0, Totals(10, 2000, 40, 6, 8))
    assert rates.per_second() == (5.0, 1000.0, 20.0, 3.0, 4.0)
    for second in range(4, 10):
        rates.sample(float(second), Totals(10, 2000, 40, 6, 8))
    assert rates.per_second() == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_counters_reset() -> None:
    counters = Counters()
    counters.evicted_keys = 7
    counters.errors["ERR"] += 1
    counters.reset()
    assert counters == Counters()


def test_the_slow_log_keeps_the_last() -> None:
    log = SlowLog(2)
    for number in range(3):
        log.add(number, 10, [b"%d" % number], "", b"")
    assert [entry.words for entry in log.entries] == [[b"2"], [b"1"]]
    assert log.entries[0].number == 2
    log.resize(1)
    assert [entry.number for entry in log.entries] == [2]
