"""What of MIGRATE is deleted here, and when, whatever the other server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from distcache_replication.segment import commands
from distcache_server.blocking import Wait
from distcache_server.commands.migrating import Order
from distcache_server.migrating import MOST_KEPT, Migrations, Target

from tests.support.direct import Direct

PLACE = ("elsewhere", 7000)


class Wire:
    """The way to another server: what it was sent, and what it says to that."""

    def __init__(self, *replies: bytes | None) -> None:
        self.reader = asyncio.StreamReader()
        self.replies = list(replies)
        self.sent = b""
        self.is_closed = False
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens here while the keys are on their way."""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        self.meanwhile()
        for reply in self.replies:
            if reply is None:
                self.reader.feed_eof()
            else:
                self.reader.feed_data(reply + b"\r\n")
        self.replies = []

    def close(self) -> None:
        self.is_closed = True


class House:
    """A server with keys, one of whose clients sends some to another place."""

    def __init__(self) -> None:
        self.direct = Direct()
        self.engine = self.direct.engine
        self.direct.now_ms = self.engine.now_ms
        self.replies: list[bytes] = []
        self.direct.client.send = self.replies.append
        self.engine.blocking.finished = lambda *_: None
        self.it = Migrations(self.engine, asyncio.get_running_loop())
        self.logged: list[list[bytes]] = []
        self.engine.log = lambda _, words: self.logged.append(words)

    async def migrate(self, wire: Wire, *keys: bytes, copy: bool = False, **more: Any) -> bytes:
        """What the client is told."""
        target = Target(wire.reader, cast(asyncio.StreamWriter, wire))
        target.used = more.pop("used", False)
        self.it.kept[PLACE] = target
        order = Order(*PLACE, 0, 0.05, copy, more.get("replace", False), [], list(keys))
        wait = Wait([], None, 0)
        self.engine.blocking.park(self.direct.client, wait)
        self.it.begin(self.direct.client, wait, order)
        await asyncio.gather(*self.it._tasks)
        return self.replies.pop()


async def test_what_has_arrived_is_deleted() -> None:
    house, wire = House(), Wire(b"+OK", b"+OK", b"+OK")
    house.direct("SET", "a", 1)
    house.direct("RPUSH", "b", 1, 2)
    house.direct("PEXPIRE", "b", 100_000)
    house.logged.clear()
    assert await house.migrate(wire, b"a", b"nothing", b"b", replace=True) == b"+OK\r\n"
    assert house.direct("EXISTS", "a", "b") == b":0\r\n"
    assert house.logged == [[b"DEL", b"a"], [b"DEL", b"b"]]
    select, one, other = commands(wire.sent)
    assert select == [b"SELECT", b"0"]
    assert [one[:3], one[4:]] == [[b"RESTORE", b"a", b"0"], [b"REPLACE"]]
    assert 0 < int(other[2]) <= 100_000
    assert not wire.is_closed
    assert PLACE in house.it.kept
    await house.it.stop()
    assert wire.is_closed


async def test_a_copy_stays() -> None:
    house = House()
    house.direct("SET", "a", 1)
    assert await house.migrate(Wire(b"+OK", b"+OK"), b"a", copy=True) == b"+OK\r\n"
    assert house.direct("GET", "a") == b"$1\r\n1\r\n"


@pytest.mark.parametrize(
    "change", [("SET", "a", 2), ("APPEND", "a", 0), ("PEXPIRE", "a", 50_000), ("DEL", "a")]
)
async def test_a_key_that_changes_meanwhile_stays(change: tuple[str, ...]) -> None:
    house, wire = House(), Wire(b"+OK", b"+OK", b"+OK")
    house.direct("SET", "a", 1)
    house.direct("SET", "b", 1)
    wire.meanwhile = lambda: house.direct(*change)
    reply = await house.migrate(wire, b"a", b"b")
    assert reply.startswith(b"-")
    assert house.direct("EXISTS", "a") == (b":0\r\n" if change[0] == "DEL" else b":1\r\n")
    assert house.direct("EXISTS", "b") == b":0\r\n"


async def test_what_is_refused_stays() -> None:
    house = House()
    for key in ("a", "b", "c"):
        house.direct("SET", key, 1)
    busy = b"-BUSYKEY Target key name already exists."
    reply = await house.migrate(Wire(b"+OK", b"+OK", busy, b"+OK"), b"a", b"b", b"c")
    assert reply.startswith(b"-ERR Target instance replied with error: BUSYKEY")
    assert house.direct("EXISTS", "a", "c") == b":0\r\n"
    assert house.direct("EXISTS", "b") == b":1\r\n"


async def test_where_it_may_not_select_nothing_has_arrived() -> None:
    house = House()
    house.direct("SET", "a", 1)
    reply = await house.migrate(Wire(b"-ERR DB index is out of range", b"+OK"), b"a")
    assert reply.startswith(b"-ERR Target instance replied with error: ERR DB index")
    assert house.direct("EXISTS", "a") == b":1\r\n"


@pytest.mark.parametrize("replies", [(b"+OK", None), (None,), ()])
async def test_no_answer_no_deletion(replies: tuple[bytes | None, ...]) -> None:
    """The other side is gone, or says nothing in time."""
    house, wire = House(), Wire(*replies)
    house.direct("SET", "a", 1)
    assert (await house.migrate(wire, b"a")).startswith(b"-IOERR error or timeout reading")
    assert house.direct("EXISTS", "a") == b":1\r\n"
    assert wire.is_closed
    assert PLACE not in house.it.kept


async def test_a_replica_deletes_nothing() -> None:
    house, wire = House(), Wire(b"+OK", b"+OK")
    house.direct("SET", "a", 1)
    wire.meanwhile = lambda: setattr(house.engine, "follows", True)
    assert (await house.migrate(wire, b"a")).startswith(b"-")
    assert house.direct("EXISTS", "a") == b":1\r\n"


async def test_who_is_gone_is_not_answered() -> None:
    house, wire = House(), Wire(b"+OK", b"+OK")
    house.direct("SET", "a", 1)
    wire.meanwhile = lambda: house.engine.blocking.forget(house.direct.client)
    with pytest.raises(IndexError):
        await house.migrate(wire, b"a")
    assert house.direct("EXISTS", "a") == b":0\r\n"


async def test_not_too_many_are_kept() -> None:
    house = House()
    wires = [Wire() for _ in range(MOST_KEPT + 1)]
    for number, wire in enumerate(wires):
        house.it._keep((str(number), 1), Target(wire.reader, cast(asyncio.StreamWriter, wire)))
    house.it._keep(("0", 1), Target(wires[0].reader, cast(asyncio.StreamWriter, wires[-1])))
    assert [wire.is_closed for wire in wires] == [False] * MOST_KEPT + [True]
    assert house.it._take(("0", 1)) is not None
    house.it._expire(("1", 1))
    assert wires[1].is_closed
    await house.it.stop()
