"""CLIENT PAUSE: when it begins and ends, and who goes on."""

from collections.abc import Callable
from functools import partial

import pytest
from distcache_server.blocking import Hold
from distcache_server.client import Client
from distcache_server.dispatch import install
from distcache_server.engine import Engine
from distcache_server.pausing import FAILOVER, Pause


class Clock:
    """Callbacks that wait for their time."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        entry = (seconds, callback)
        self.waiting.append(entry)
        return lambda: self.waiting.remove(entry)

    def ring(self) -> None:
        ((_, callback),) = self.waiting
        callback()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[tuple[int, bool]]:
    return []


@pytest.fixture
def pause(clock: Clock, changes: list[tuple[int, bool]]) -> Pause:
    made = Pause(clock.call_later, lambda: changes.append((made.until_ms, made.writes_only)))
    return made


def test_it_ends_when_time_is_up(
    pause: Pause, clock: Clock, changes: list[tuple[int, bool]]
) -> None:
    pause.begin(1_000, 1_500, writes_only=False)
    assert [seconds for seconds, _ in clock.waiting] == [0.5]
    clock.ring()
    assert changes == [(1_500, False), (0, False)]


def test_the_later_end_and_the_greater_extent_count(pause: Pause, clock: Clock) -> None:
    pause.begin(1_000, 3_000, writes_only=True)
    assert pause.writes_only
    pause.begin(1_000, 2_000, writes_only=False)
    assert (pause.until_ms, pause.writes_only) == (3_000, False)
    pause.begin(1_000, 4_000, writes_only=True)
    assert (pause.until_ms, pause.writes_only) == (4_000, False)
    assert [seconds for seconds, _ in clock.waiting] == [3.0]


def test_after_its_end_it_may_be_lesser(pause: Pause) -> None:
    pause.begin(1_000, 3_000, writes_only=False)
    pause.end()
    pause.begin(1_000, 2_000, writes_only=True)
    assert (pause.until_ms, pause.writes_only) == (2_000, True)


def test_no_pause_at_all(pause: Pause, clock: Clock, changes: list[tuple[int, bool]]) -> None:
    pause.begin(1_000, 1_000, writes_only=False)
    pause.end()
    assert pause.until_ms == 0
    assert clock.waiting == []
    assert changes == []


def test_clients_go_on_in_order(pause: Pause) -> None:
    engine = Engine()
    install(engine)
    clients = [Client(engine, number) for number in range(5)]
    went_on: list[int] = []
    pause.begin(1_000, 2_000, writes_only=False)
    for client in reversed(clients):
        client.resume = partial(went_on.append, client.id)
        with pytest.raises(Hold):
            pause.hold(client)
    pause.forget(clients[3])
    assert pause.holds(clients[2])
    assert not pause.holds(clients[3])
    pause.end()
    assert went_on == [4, 2, 1, 0]
    assert not pause.holds(clients[2])


def test_pauses_for_different_ends(pause: Pause, changes: list[tuple[int, bool]]) -> None:
    pause.hold_writes(FAILOVER)
    pause.begin(1_000, 2_000, writes_only=False)
    assert (pause.until_ms > 2_000, pause.writes_only) == (True, False)
    pause.end()
    assert (pause.until_ms > 2_000, pause.writes_only) == (True, True)
    pause.end()
    assert pause.until_ms > 2_000
    pause.end(FAILOVER)
    assert (pause.until_ms, pause.writes_only) == (0, False)
    assert changes[-1] == (0, False)
