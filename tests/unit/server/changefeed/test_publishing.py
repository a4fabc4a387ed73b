"""When the process that publishes is started again, after it has ended by itself."""

from __future__ import annotations

from distcache_server.changefeed.publishing import LONGEST_RESTART_S, RESTART_S, Restarts


def test_at_once_where_it_had_published() -> None:
    restarts = Restarts()
    restarts.begun(100)
    restarts.ended(500, has_published=True)
    assert restarts.at_s < 500
    restarts.begun(500)
    restarts.ended(500.1, has_published=True)
    assert restarts.at_s == 500 + RESTART_S


def test_later_and_later_where_it_had_not() -> None:
    restarts, now_s, pauses = Restarts(), 100.0, []
    for _ in range(8):
        restarts.begun(now_s)
        restarts.ended(now_s + 5, has_published=False)
        pauses.append(restarts.at_s - now_s - 5)
        now_s = restarts.at_s
    assert pauses == [min(RESTART_S * 2**number, LONGEST_RESTART_S) for number in range(8)]
    restarts.ended(now_s, has_published=True)
    restarts.ended(now_s, has_published=False)
    assert restarts.at_s == now_s + RESTART_S
