"""When a primary hands its part over, to whom, and when it stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from distcache_replication.log import Log
from distcache_replication.primary import LOADING, ONLINE, Replica
from distcache_server.client import Client
from distcache_server.errors import Failure
from distcache_server.failing_over import CHANGING, NONE, SYNCING, FailingOver
from distcache_server.replication import Replication

from tests.support.direct import Direct

HOST = "127.0.0.1"


class Replicas:
    """What a failover asks of the replicas of a primary."""

    def __init__(self) -> None:
        self.clients: dict[Client, Replica] = {}
        self.log = Log()
        self.quiet = False
        self.acknowledged: list[Callable[[], None]] = []

    def host(self, client: Client) -> str:
        return self.clients[client].address

    def ask_now(self) -> None:
        self.log.append(b"GETACK")


class Primary:
    """A primary as a failover sees it; time passes and turns end when the test says so."""

    def __init__(self, *acknowledged: int, state: str = ONLINE) -> None:
        self.engine = Direct().engine
        self.replicas = Replicas()
        self.link: object = None
        self.loop = self
        self.done: list[object] = []
        self._soon: list[Callable[[], None]] = []
        self._timer: Callable[[], None] | None = None
        self.replicas.log.append(b"x" * 94)
        for number, offset in enumerate(acknowledged):
            it = Replica(lambda _: None, lambda: 0)
            it.address, it.port, it.state, it.acknowledged = HOST, number, state, offset
            self.replicas.clients[Client(self.engine, number + 1)] = it
        self.it = FailingOver(cast(Replication, self))

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def call_later(self, _: float, call: Callable[[], None]) -> Primary:
        self._timer = call
        return self

    def cancel(self) -> None:
        self._timer = None

    def follow(self, host: str, port: int, failover: bool) -> None:
        self.done.append((host, port, failover))

    def promote(self) -> None:
        self.done.append("promoted")

    def acknowledge(self, number: int, offset: int) -> None:
        list(self.replicas.clients.values())[number].acknowledged = offset
        for tell in list(self.replicas.acknowledged):
            tell()
        self.end_turn()

    def end_turn(self) -> None:
        soon, self._soon = self._soon, []
        for call in soon:
            call()

    def time_up(self) -> None:
        assert self._timer is not None
        self._timer()

    @property
    def is_paused(self) -> bool:
        return self.engine.pause.until_ms > 0


def test_the_first_that_has_everything() -> None:
    primary = Primary(90, 94)
    primary.it.begin(None, 0, False)
    primary.end_turn()
    # What they were asked for is a part of the log, and stands in it before writes are paused.
    assert (primary.it.state, primary.is_paused, primary.replicas.quiet) == (SYNCING, True, True)
    primary.acknowledge(1, 99)
    assert primary.done == []
    primary.acknowledge(1, 100)
    assert primary.done == [(HOST, 1, True)]
    assert (primary.it.state, primary.it.target) == (CHANGING, (HOST, 1))
    assert not primary.replicas.quiet
    primary.acknowledge(0, 100)
    assert len(primary.done) == 1
    primary.it.answered()
    assert (primary.it.state, primary.it.target, primary.is_paused) == (NONE, None, False)
    assert primary.replicas.acknowledged == []


def test_only_the_one_that_was_named() -> None:
    primary = Primary(94, 94)
    primary.it.begin((HOST, 0), 0, False)
    primary.acknowledge(1, 100)
    assert primary.done == []
    primary.acknowledge(0, 100)
    assert primary.done == [(HOST, 0, True)]


def test_one_that_loads_has_nothing() -> None:
    primary = Primary(100, state=LOADING)
    primary.it.begin(None, 0, False)
    primary.end_turn()
    assert primary.done == []


def test_time_that_is_up() -> None:
    primary = Primary(94)
    primary.it.begin((HOST, 0), 1000, False)
    primary.time_up()
    assert (primary.it.state, primary.done, primary.is_paused) == (NONE, [], False)
    assert not primary.replicas.quiet
    primary.acknowledge(0, 100)
    assert primary.done == []


def test_time_that_is_up_by_force() -> None:
    primary = Primary(94)
    primary.it.begin((HOST, 0), 1000, True)
    primary.time_up()
    assert (primary.it.state, primary.done, primary.is_paused) == (
        CHANGING,
        [(HOST, 0, True)],
        True,
    )


def test_a_target_that_refuses() -> None:
    primary = Primary(94)
    primary.it.begin(None, 0, False)
    primary.acknowledge(0, 100)
    primary.it.abort("the target said no")
    assert primary.done == [(HOST, 0, True), "promoted"]
    assert (primary.it.state, primary.is_paused) == (NONE, False)
    primary.it.abort("again")
    primary.it.answered()
    assert len(primary.done) == 2


def test_what_is_no_order() -> None:
    primary = Primary(94)
    for target, timeout_ms, force, text in (
        ((HOST, 9), 0, False, "is not a replica"),
        (("elsewhere", 0), 0, False, "is not a replica"),
        (None, 100, True, "requires both"),
        ((HOST, 0), 0, True, "requires both"),
    ):
        with pytest.raises(Failure, match=text):
            primary.it.begin(target, timeout_ms, force)
    primary.link = object()
    with pytest.raises(Failure, match="when server is a replica"):
        primary.it.begin(None, 0, False)
    primary.link = None
    primary.it.begin(None, 0, False)
    with pytest.raises(Failure, match="already in progress"):
        primary.it.begin(None, 0, False)
    with pytest.raises(Failure, match="requires connected replicas"):
        Primary().it.begin(None, 0, False)
    with pytest.raises(Failure, match="not online"):
        Primary(94, state=LOADING).it.begin((HOST, 0), 0, False)
