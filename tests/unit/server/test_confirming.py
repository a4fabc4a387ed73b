"""Which replies are held until replicas have what they say, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from distcache_replication.log import Log
from distcache_server import confirming
from distcache_server.confirming import Confirming
from distcache_server.connection import Connection
from distcache_server.unconfirmed import joined, mark

from tests.support.direct import Direct

OK = b"+OK\r\n"
UNCONFIRMED = b"-UNCONFIRMED The write was applied, but 1 replicas did not confirm it in time.\r\n"


class Told:
    """A connection that notes what it is sent and whether it is closed."""

    def __init__(self) -> None:
        self.held = 0
        self.sent: list[bytes] = []
        self.closing = False
        self.is_closed = self.is_killed = False

    def write(self, data: bytes, durable: bool = False) -> None:
        assert durable
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def kill(self) -> None:
        self.is_killed = True


class Clock:
    """Time, and what is to be done when it has come."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Clock:
        self.due.append((self.now_s + delay_s, call))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        due, self.due = self.due, []
        for at_s, call in due:
            if at_s <= self.now_s:
                call()
            else:
                self.due.append((at_s, call))


class House:
    def __init__(self, clock: Clock, *settings: str) -> None:
        self.clock = clock
        self.direct = Direct("--synchronous-replicas", "1", *settings)
        self.engine = self.direct.engine
        self.log = Log()
        self.asked = 0
        loop = cast(asyncio.AbstractEventLoop, clock)
        self.it = Confirming(self.engine, loop, self.log, self._ask)
        self.it.configure()

    def _ask(self) -> None:
        self.asked += 1

    def send(self, connection: Told, data: bytes) -> None:
        """What a connection does with bytes."""
        if self.it.may_go(cast(Connection, connection), data):
            connection.sent.append(data)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(confirming, "monotonic", clock)
    return clock


def test_only_replies_to_writes_wait(clock: Clock) -> None:
    house, writer, reader = House(clock), Told(), Told()
    house.send(writer, mark(OK, 10))
    house.send(reader, b"$-1\r\n")
    assert (writer.sent, reader.sent) == ([], [b"$-1\r\n"])
    assert (writer.held, house.asked) == (len(OK), 1)
    house.it.confirm(9)
    assert writer.sent == []
    house.it.confirm(10)
    assert (writer.sent, writer.held) == ([OK], 0)
    assert house.log.frontier == 0
    assert house.log.confirmed == 10


def test_behind_one_that_waits_all_wait(clock: Clock) -> None:
    house, writer = House(clock), Told()
    house.send(writer, mark(OK, 10))
    house.send(writer, b"$-1\r\n")
    house.send(writer, mark(b":1\r\n", 20))
    house.send(writer, b"$-1\r\n")
    house.it.confirm(10)
    assert writer.sent == [OK, b"$-1\r\n"]
    house.it.confirm(25)
    assert writer.sent == [OK, b"$-1\r\n", b":1\r\n", b"$-1\r\n"]


def test_what_was_confirmed_before_goes_at_once(clock: Clock) -> None:
    house, writer = House(clock), Told()
    house.it.confirm(30)
    house.it.confirm(20)
    house.send(writer, mark(OK, 30))
    assert writer.sent == [OK]
    assert house.asked == 0


def test_who_is_leaving_is_closed_when_nothing_is_held(clock: Clock) -> None:
    house, writer = House(clock), Told()
    house.send(writer, mark(OK, 10))
    house.send(writer, mark(OK, 20))
    writer.closing = True
    house.it.confirm(10)
    assert not writer.is_closed
    house.it.confirm(20)
    assert writer.is_closed


LATE = "--synchronous-replicas-on-timeout"


@pytest.mark.parametrize(
    ("what", "sent"), [("error", [UNCONFIRMED]), ("reply", [OK]), ("close", [])]
)
def test_time_that_is_up(clock: Clock, what: str, sent: list[bytes]) -> None:
    house, early, late = (
        House(clock, "--synchronous-replicas-timeout", "100", LATE, what),
        Told(),
        Told(),
    )
    house.send(early, mark(OK, 10))
    clock.pass_(0.06)
    house.send(late, mark(OK, 20))
    clock.pass_(0.05)
    assert (early.sent, early.is_killed, late.sent) == (sent, what == "close", [])
    assert (early.held, house.it.late) == (0, 1)
    house.it.confirm(20)
    assert late.sent == [OK]
    clock.pass_(1)
    assert house.it.late == 1


def test_only_the_replies_to_writes_are_replaced(clock: Clock) -> None:
    house, client = House(clock, "--synchronous-replicas-timeout", "100"), Told()
    house.send(client, joined([b"$1\r\na\r\n", mark(OK + b":1\r\n", 10), b"$1\r\nb\r\n"]))
    house.send(client, b"$1\r\nc\r\n")
    clock.pass_(0.2)
    assert client.sent == [b"$1\r\na\r\n" + UNCONFIRMED * 2 + b"$1\r\nb\r\n", b"$1\r\nc\r\n"]


def test_settings_that_change(clock: Clock) -> None:
    house, client = House(clock), Told()
    config = house.engine.config
    house.send(client, mark(OK, 10))
    clock.pass_(5)
    config.set([(b"synchronous-replicas-timeout", b"1000")])
    assert client.sent == [UNCONFIRMED]
    house.send(client, mark(OK, 20))
    config.set([(b"synchronous-replicas", b"0")])
    house.it.configure()
    assert client.sent == [UNCONFIRMED, OK]
    assert house.engine.confirm is None
    assert house.log.confirmed is None


def test_nobody_will_confirm_any_more(clock: Clock) -> None:
    house, client = House(clock), Told()
    house.it.confirm(5)
    house.send(client, mark(OK, 10))
    house.it.give_up()
    assert client.sent == [UNCONFIRMED]
    assert (house.it.offset, house.log.confirmed) == (0, 0)
