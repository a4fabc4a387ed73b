from __future__ import annotations

from distcache_replication.backing.breaker import FAILURES, LONGEST_PAUSE_S, Breaker


def test_it_opens_tries_and_closes() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allows(0)
        breaker.begin()
        breaker.failed(0)
    assert breaker.is_open
    assert not breaker.allows(0.01)
    assert breaker.allows(1)
    breaker.begin()
    assert not breaker.allows(1)  # one attempt at a time
    breaker.failed(1)
    assert not breaker.allows(1.01)
    breaker.begin()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.allows(1.01)


def test_pauses_grow_up_to_a_limit() -> None:
    breaker = Breaker()
    for _ in range(50):
        breaker.failed(0)
    assert LONGEST_PAUSE_S / 2 <= breaker.until_s <= LONGEST_PAUSE_S
