import asyncio
from collections.abc import Callable

import pytest
from distcache_replication.archive import Archive
from distcache_replication.files import Files
from distcache_replication.history import History, new_id
from distcache_replication.log import Log
from distcache_replication.primary import (
    LOADING,
    ONLINE,
    SENDING,
    WAITING,
    Replica,
    can_go_on,
    having,
    well,
)
from distcache_replication.reader import Reader

NOWHERE = Archive(Files())


async def off(work: Callable[[], bytes]) -> bytes:
    return work()


def replica(state: str = ONLINE, acknowledged: int = 0, heard_s: float = 0.0) -> Replica:
    it = Replica(lambda _: None, lambda: 0)
    it.state, it.acknowledged, it.heard_s = state, acknowledged, heard_s
    return it


def test_who_can_go_on() -> None:
    history, log = History(), Log(limit=100, offset=1000)
    log.append(b"x" * 50)
    assert can_go_on(history, log, NOWHERE, history.id, 1000)
    assert can_go_on(history, log, NOWHERE, history.id, 1050)
    assert not can_go_on(history, log, NOWHERE, history.id, 999)
    assert not can_go_on(history, log, NOWHERE, history.id, 1051)
    assert not can_go_on(history, log, NOWHERE, new_id(), 1000)


def test_who_can_go_on_after_a_promotion() -> None:
    history, log = History(), Log(offset=1000)
    before = history.id
    log.append(b"x" * 50)
    history.fork(log.end)
    log.append(b"y" * 50)
    assert can_go_on(history, log, NOWHERE, before, 1050)
    assert not can_go_on(history, log, NOWHERE, before, 1051)
    assert can_go_on(history, log, NOWHERE, history.id, 1100)


def test_how_many_have_it() -> None:
    replicas = [replica(acknowledged=10), replica(acknowledged=20), replica(LOADING, 30)]
    assert [having(replicas, offset) for offset in (10, 11, 21)] == [2, 1, 0]
    assert having([], 0) == 0


def test_how_many_are_well() -> None:
    replicas = [replica(heard_s=100.0), replica(heard_s=95.0), replica(LOADING, heard_s=100.0)]
    assert [well(replicas, 100.5, most) for most in (10, 5, 4)] == [2, 2, 1]


async def test_it_is_fed_until_it_is_clogged() -> None:
    log, sent = Log(), bytearray()
    it = Replica(sent.extend, lambda: 0)
    it.state = ONLINE
    reader = it.reader = Reader(log, NOWHERE, off, it, "it")
    log.append(b"one")
    task = asyncio.create_task(it.follow(reader))
    await asyncio.sleep(0)
    assert sent == b"one"
    assert it.pending(log) == 0
    log.append(b"two")
    it.ship()
    it.drained.clear()
    log.append(b"three")
    it.ship()
    for _ in range(3):
        await asyncio.sleep(0)
    assert it.pending(log) == 5
    assert sent == b"onetwo"
    it.drained.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert sent == b"onetwothree"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_shipped_is_not_sent_again() -> None:
    log, sent = Log(), bytearray()
    it = Replica(sent.extend, lambda: 0)
    it.state = ONLINE
    it.reader = Reader(log, NOWHERE, off, it, "it")
    task = asyncio.create_task(it.follow(it.reader))
    await asyncio.sleep(0)
    for word in (b"one", b"two"):
        log.append(word)
        it.ship()
        it.ship()
        for _ in range(3):
            await asyncio.sleep(0)
    log.append(b"three")
    it.ship()
    assert sent == b"onetwothree"
    assert it.offset == log.end
    for _ in range(3):
        await asyncio.sleep(0)
    assert sent == b"onetwothree"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_how_long_a_full_sync_has_been_stuck() -> None:
    unsent = 0
    it = Replica(lambda _: None, lambda: unsent)
    assert it.state == WAITING
    assert it.stuck_s(100.0, 5, 5) == 0
    assert it.stuck_s(200.0, 5, 5) == 0
    it.state = SENDING
    # There is nothing that it could take.
    assert it.stuck_s(300.0, 5, 5) == 0
    unsent = 1000
    assert it.stuck_s(310.0, 2000, 5) == 0
    assert it.stuck_s(320.0, 2000, 5) == 10
    # It was sent more, and took none of it.
    unsent = 1500
    assert it.stuck_s(330.0, 2500, 5) == 20
    unsent = 1499
    assert it.stuck_s(340.0, 2500, 5) == 0
    it.state, unsent = LOADING, 0
    assert it.stuck_s(350.0, 2500, 5) == 0
    assert it.stuck_s(370.0, 2500, 5) == 20
    # An empty line says that it is still there.
    assert it.stuck_s(380.0, 2500, 6) == 0
    it.silent = True
    assert it.stuck_s(500.0, 2500, 6) == 0
