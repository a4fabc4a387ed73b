"""blocking.py: who waits, in which order they go on, and what the log gets to see of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest
from distcache_server import commands
from distcache_server.arguments import Args
from distcache_server.blocking import Wait
from distcache_server.client import Client
from distcache_server.dispatch import execute, install
from distcache_server.engine import Engine
from distcache_server.keyspace import Keyspace

commands.load()


class House:
    """An engine, its log and its clock, and clients whose replies are kept."""

    def __init__(self) -> None:
        self.alarms: dict[int, Callable[[], None]] = {}
        self.engine = Engine(call_later=self._call_later)
        install(self.engine)
        self.log: list[bytes] = []
        self.engine.log = self._note
        self.sent: list[tuple[int, bytes]] = []

    def _call_later(self, delay: float, alarm: Callable[[], None]) -> Callable[[], None]:
        number = len(self.alarms)
        self.alarms[number] = alarm
        return lambda: self.alarms.pop(number, None) and None

    def _note(self, client: Client, words: Args) -> None:
        effect: Any = client.effect if client.effect is not None else words
        self.log.append(b" ".join(effect))

    def client(self) -> Client:
        client = Client(self.engine, self.engine.next_client)
        self.engine.next_client += 1
        self.engine.clients[client.id] = client
        # Not the client itself, which must not be part of a cycle.
        number = client.id
        client.send = lambda data: self.sent.append((number, data))
        return client

    def run(self, client: Client, *lines: str) -> bytes:
        replies: list[bytes] = []
        batch = [line.encode().split() for line in lines]
        client.keyspace.now_ms = self.engine.now_ms
        execute(client, batch, replies, time.time_ns())
        return b"".join(replies)


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    ("waits", "comes", "logged"),
    [
        ("BLPOP j k 0", "RPUSH k a b", "LPOP k"),
        ("BRPOP k 0", "RPUSH k a b", "RPOP k"),
        ("BLMPOP 0 2 j k RIGHT COUNT 5", "RPUSH k a b", "RPOP k 2"),
        ("BLMOVE k l LEFT RIGHT 0", "RPUSH k a b", "LMOVE k l LEFT RIGHT"),
        ("BRPOPLPUSH k l 0", "RPUSH k a b", "RPOPLPUSH k l"),
        ("BZPOPMIN k 0", "ZADD k 1 a", "ZPOPMIN k"),
        ("BZPOPMAX j k 0", "ZADD k 1 a", "ZPOPMAX k"),
        ("BZMPOP 0 1 k MIN COUNT 5", "ZADD k 1 a 2 b", "ZPOPMIN k 2"),
    ],
)
def test_the_log_gets_what_was_done_and_no_waiting(
    house: House, waits: str, comes: str, logged: str
) -> None:
    waiter, writer = house.client(), house.client()
    house.run(waiter, waits)
    assert house.log == []
    house.run(writer, comes)
    assert house.log == [comes.encode(), logged.encode()]
    # At once, without a wait, it is the same.
    house.log.clear()
    house.run(writer, "FLUSHALL", comes)
    house.run(waiter, waits)
    assert house.log[-1] == logged.encode()
    assert waiter.effect is None


def test_the_popping_of_several_lists_is_logged_by_one_key(house: House) -> None:
    client = house.client()
    house.run(client, "RPUSH k a b c", "LMPOP 2 j k LEFT COUNT 2", "LMPOP 2 j l LEFT")
    house.run(client, "ZADD z 1 a", "ZMPOP 1 z MAX COUNT 9")
    assert house.log == [b"RPUSH k a b c", b"LPOP k 2", b"ZADD z 1 a", b"ZPOPMAX z 1"]


def test_a_chain_is_served_and_logged_link_by_link(house: House) -> None:
    """As long as it may be: no link runs inside another."""
    length = 5000
    waiters = [house.client() for _ in range(length)]
    for n, waiter in enumerate(waiters):
        house.run(waiter, f"RPUSH extra{n} x", f"BLMOVE {n} {n + 1} LEFT LEFT 0")
    house.log.clear()
    house.run(house.client(), "RPUSH 0 a")
    assert house.log == [
        b"RPUSH 0 a",
        *(b"LMOVE %d %d LEFT LEFT" % (n, n + 1) for n in range(length)),
    ]
    assert house.sent == [(waiter.id, b"$1\r\na\r\n") for waiter in waiters]
    assert not house.engine.blocking.clients


def test_those_who_wait_for_the_first_key_go_before_those_it_feeds(house: House) -> None:
    mover, fed, other = house.client(), house.client(), house.client()
    house.run(fed, "BLPOP l 0")
    house.run(mover, "BLMOVE k l LEFT LEFT 0")
    house.run(other, "BLPOP k 0")
    house.run(house.client(), "RPUSH k a b")
    assert [number for number, _ in house.sent] == [mover.id, other.id, fed.id]


def test_a_timeout_is_taken_back_when_the_client_is_served(house: House) -> None:
    waiter = house.client()
    house.run(waiter, "BLPOP k 5")
    assert len(house.alarms) == 1
    house.run(house.client(), "RPUSH k a")
    assert not house.alarms
    assert waiter.blocked is None


def test_time_is_up(house: House) -> None:
    waiter = house.client()
    house.run(waiter, "BLPOP j k 5")
    for alarm in list(house.alarms.values()):
        alarm()
    assert house.sent == [(waiter.id, b"*-1\r\n")]
    assert not waiter.keyspace.waiting
    assert not house.engine.blocking.clients


def test_who_finds_nothing_again_keeps_place_and_timeout(house: House) -> None:
    """A value of the right kind is there, but not what the handler wants."""
    first, second = house.client(), house.client()
    runs = []

    def picky(client: Client, words: Args) -> Any:
        runs.append(client.id)
        if len(runs) < 3:
            raise Wait([b"k"], None, 5)
        return b"done"

    for client in (first, second):
        wait = Wait([b"k"], None, 5_000)
        wait.words, wait.handler = [b"PICKY"], picky
        wait.command = client.table[b"BLPOP"].command
        house.engine.blocking.park(client, wait)
    assert len(house.alarms) == 2
    writer = house.client()
    house.run(writer, "SET k 1")
    assert runs == [first.id, second.id]
    assert len(house.alarms) == 2
    house.run(writer, "SET k 2")
    assert runs[2:] == [first.id, second.id]
    assert [number for number, _ in house.sent] == [first.id, second.id]


def test_a_bug_in_a_command_that_is_woken_ends_its_own_client(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    waiter, next_one = house.client(), house.client()
    killed = []
    waiter.kill = lambda: killed.append(True)

    def broken(client: Client, words: Args) -> Any:
        raise ZeroDivisionError

    house.run(waiter, "BLPOP k 0")
    house.run(next_one, "BLPOP k 0")
    assert waiter.blocked is not None
    waiter.blocked.handler = broken
    assert house.run(house.client(), "RPUSH k a") == b":1\r\n"
    assert killed
    assert house.sent == [(next_one.id, b"*2\r\n$1\r\nk\r\n$1\r\na\r\n")]
    assert "ZeroDivisionError" in caplog.text


def test_unblock(house: House) -> None:
    blocking = house.engine.blocking
    waiter = house.client()
    assert not blocking.unblock(waiter, with_error=False)
    house.run(waiter, "BLPOP k 0")
    assert blocking.unblock(waiter, with_error=True)
    house.run(waiter, "BLMOVE k l LEFT LEFT 0")
    assert blocking.unblock(waiter, with_error=False)
    error = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert house.sent == [(waiter.id, error), (waiter.id, b"*-1\r\n")]
    assert not waiter.keyspace.waiting


def test_waiting_leaves_no_cycles(house: House) -> None:
    def wait_in_all_ways() -> None:
        for line in ("BLPOP k l k 5", "BLMOVE k l LEFT LEFT 5", "BZPOPMIN k 5", "BLPOP text 5"):
            client = house.client()
            house.run(client, line)
            house.run(house.client(), "RPUSH k a", "LPOP k")
            house.engine.forget(client)

    wait_in_all_ways()
    gc.collect()
    wait_in_all_ways()
    assert gc.collect() == 0


def test_few_of_many_who_wait_are_looked_at(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [house.client() for _ in range(500)]
    for client in waiting:
        house.run(client, "BLPOP q 0")
    looks: list[bytes] = []
    peek = Keyspace.peek

    def counted(keyspace: Keyspace, key: bytes) -> Any:
        looks.append(key)
        return peek(keyspace, key)

    monkeypatch.setattr(Keyspace, "peek", counted)
    house.run(house.client(), "RPUSH q 1 2 3")
    assert [number for number, _ in house.sent] == [client.id for client in waiting[:3]]
    assert len(looks) < 10


def test_all_of_many_who_wait_are_served_in_order(house: House) -> None:
    others = [house.client() for _ in range(40)]
    readers = [house.client() for _ in range(40)]
    last = house.client()
    for client in others:
        house.run(client, "BZPOPMIN q 0")
    for client in readers:
        house.run(client, "XREAD BLOCK 0 STREAMS q $")
    house.run(last, "BLPOP q 0")
    house.run(house.client(), "XADD q 1-1 a b", "DEL q", "RPUSH q 1")
    assert [number for number, _ in house.sent] == [it.id for it in (*readers, last)]
    assert list(house.engine.databases[0].waiting[b"q"]) == others
