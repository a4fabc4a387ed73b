"""Replies leave behind the log that tells replicas of what they say."""

from __future__ import annotations

from collections.abc import Callable

from distcache_replication.archive import Archive
from distcache_replication.files import Files
from distcache_replication.log import Log
from distcache_replication.primary import LOADING, ONLINE, Replica
from distcache_replication.reader import Reader
from distcache_server import commands, dispatch
from distcache_server.client import Client
from distcache_server.connection import Connection
from distcache_server.engine import Engine
from distcache_server.gate import Gate
from distcache_server.shipping import Shipping

commands.load()


async def off(work: Callable[[], bytes]) -> bytes:
    return work()


class Told(Connection):
    """A connection that notes what it is sent, and whether it was closed."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house.gate)
        self.house = house
        self.name = name
        self.attach(Client(self.engine, self.engine.next_client))
        self.engine.next_client += 1

    def write(self, data: bytes, durable: bool = False) -> None:
        if durable or self.house.shipping.may_go(self, data):
            self.house.sent.append((self.name, data))

    def close(self) -> None:
        if not self.kept:
            self.house.sent.append((self.name, b"closed"))


class House:
    """A primary with replicas, in which a turn is over when the test says so."""

    def __init__(self, *states: str) -> None:
        self.engine = Engine()
        dispatch.install(self.engine)
        self.sent: list[tuple[str, bytes]] = []
        self.later: list[Callable[[], None]] = []
        self.gate = Gate(self.engine, self.later.append, lambda _: None)
        self.log = Log()
        self.replicas: list[Replica] = []
        for number, state in enumerate(states):
            connection = Told(self, f"replica {number}")
            it = Replica(connection.send, lambda: 0)
            it.state = state
            it.reader = Reader(self.log, Archive(Files()), off, it, connection.name)
            connection.client.replica = it
            self.replicas.append(it)
        self.shipping = Shipping(self.log, lambda: self.replicas, self.later.append)

    def end_turn(self) -> list[tuple[str, bytes]]:
        """What was sent until now, and when the turn is over."""
        later, self.later[:] = list(self.later), []
        for call in later:
            call()
        sent, self.sent = self.sent, []
        return sent


def test_a_reply_to_a_write_leaves_last() -> None:
    house = House(ONLINE, ONLINE)
    client = Told(house, "client")
    house.log.append(b"one")
    client.write(b"+OK")
    assert house.sent == []
    house.log.append(b"two")
    client.write(b":2")
    assert house.end_turn() == [
        ("replica 0", b"onetwo"),
        ("replica 1", b"onetwo"),
        ("client", b"+OK"),
        ("client", b":2"),
    ]
    assert [it.offset for it in house.replicas] == [6, 6]
    assert client.kept == 0
    client.write(b"$-1")
    assert house.sent == [("client", b"$-1")]


def test_nobody_waits_for_a_replica_that_cannot_take_it() -> None:
    house = House(ONLINE, LOADING)
    house.replicas[0].drained.clear()
    client = Told(house, "client")
    house.log.append(b"one")
    client.write(b"+OK")
    assert house.end_turn() == [("client", b"+OK")]
    assert [it.offset for it in house.replicas] == [0, 0]


def test_a_client_that_leaves_gets_its_last_reply() -> None:
    house = House(ONLINE)
    client = Told(house, "client")
    house.log.append(b"one")
    client.write(b"+OK")
    client.closing = True
    assert house.end_turn() == [
        ("replica 0", b"one"),
        ("client", b"+OK"),
        ("client", b"closed"),
    ]
