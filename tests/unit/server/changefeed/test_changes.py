"""Events from any position are those that come behind it, whoever makes them again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from distcache_replication.changefeed.event import Event, Run
from distcache_replication.changefeed.position import BEGINNING, Position, before_snapshot
from distcache_replication.segment import encode
from distcache_server.changefeed.changes import NOTHING, Changes
from distcache_server.changefeed.cursor import Cursor, Passed
from distcache_server.changefeed.peer import Gone
from distcache_server.changefeed.settings import Settings
from distcache_server.changefeed.shadow import Shadow

SETTINGS = Settings(4, [], [], 10_000, True, "json", "omit", False, 1 << 20)
HISTORY = "7" * 40
LINES = (
    *("SELECT 0", "SET a 1", "MSET a 2 b 3 c 4", "MULTI", "SET a 5", "DEL b", "SADD s m", "EXEC"),
    *("SELECT 2", "SET a 6", "PING", "RENAME a z", "SELECT 0", "FLUSHALL", "SET a 7"),
)
LOG = b"".join(encode([word.encode() for word in line.split()]) for line in LINES)


class Source:
    """A server with this log, given out in pieces; then nothing more."""

    def __init__(self, piece: int, start: int = 0, log: bytes = LOG) -> None:
        self.piece = piece
        self.log = log
        self.start = start
        self.given = 0

    async def call(self, name: str, *arguments: Any) -> Any:
        if name == "base":
            return [NOTHING, self.start, "", len(self.log), HISTORY, 0]
        assert name == "log"
        if self.given == len(self.log):
            raise Gone
        at, self.given = self.given, min(self.given + self.piece, len(self.log))
        return [HISTORY, 0, [(len(self.log), 1234)], self.log[at : self.given]]


def each_of(event: Event | Run | None) -> Iterable[Event]:
    if isinstance(event, Run):
        return event.events()
    return () if event is None else (event,)


async def told(after: Position, piece: int = 1000, start: int = 0) -> list[Event]:
    found: list[Event] = []
    changes = Changes(Source(piece, start), SETTINGS, 1, after, False)
    try:
        async for event in changes.events():
            found += each_of(event)
    except Gone:
        return found
    raise AssertionError("the log never ends")


def shown(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    return [
        (it.position, it.operation, it.database, it.key, it.after and it.after.value, it.mark)
        for it in events
    ]


async def test_positions_and_transactions() -> None:
    events = await told(BEGINNING)
    assert [(it.operation, it.database, it.key) for it in events] == [
        ("set", 0, b"a"),
        *[("set", 0, key) for key in (b"a", b"b", b"c")],
        *[("set", 0, b"a"), ("delete", 0, b"b"), ("set", 0, b"s")],
        *[("set", 2, b"a"), ("delete", 2, b"a"), ("set", 2, b"z")],
        *[("flush", *place) for place in sorted_places(events)],
        ("set", 0, b"a"),
    ]
    assert len({it.position for it in events}) == len(events)
    assert [it.position for it in events] == sorted(it.position for it in events)
    inside = [it.transaction for it in events if it.transaction is not None]
    assert [(it.size, it.index) for it in inside] == [(3, 1), (3, 2), (3, 3)]
    assert len({it.position.offset for it in events[4:7]}) == 1
    assert {it.time_ms for it in events} == {1234}
    at = LOG.index(b"*1\r\n$5\r\nMULTI")
    assert events[4].position == Position(at, 1)


def sorted_places(events: Sequence[Event]) -> list[tuple[int, bytes | None]]:
    """A flush has no order among the keys of a database."""
    places = [(it.database, it.key) for it in events if it.operation == "flush"]
    assert sorted(places, key=str) == [(0, b"a"), (0, b"c"), (0, b"s"), (2, b"z")]
    return places


async def test_it_is_gone_on_with_behind_any_event_however_the_log_comes() -> None:
    whole = shown(await told(BEGINNING))
    for piece in (1, 7, 64):
        assert unordered(shown(await told(BEGINNING, piece))) == unordered(whole)
    for at, (position, *_) in enumerate(whole):
        if whole[at][1] != "flush":
            assert unordered(shown(await told(position))) == unordered(whole[at + 1 :])
        behind = [it for it in whole if it[0] >= Position(position.offset)]
        assert unordered(shown(await told(Position(position.offset)))) == unordered(behind)


def unordered(found: list[tuple[Any, ...]]) -> list[Any]:
    return [it if it[1] != "flush" else "flush" for it in found]


PLAIN = SETTINGS._replace(before=False, most=40)
MORE = (
    *("SELECT 1", "SET a 1", "SET a 2 PXAT 9999999999999", "SET a 3 PXAT 9999999999998", "SET a 4"),
    *("SET b 1 PXAT 9999999999999", "SET b 2 PX 5 NX", "set b 3", "SET c " + "x" * 50, "DEL a"),
    *("RPUSH l " + "x " * 300, "SET l 1", "HSET h f v", "HPEXPIREAT h 9999999999999 FIELDS 1 f"),
    *("SET h 1", "MULTI", "SET a 5", "SET a 6 PXAT 9999999999999", "EXEC", "SET a 7 PXAT nan"),
    *("SET distcache:changefeed 1", "INCR a", "SELECT 2", "SET a 8", "SADD a m", "SET a 9 KEEPTTL"),
    *("RPUSH l x", "SET r 1", "SET s 2", "SET r 3", "SET l 4", "SET t 5", "SELECT 1", "SET b 6"),
    *("SET r 7", "SET s 8", "SET h 9", "SET t " + "x" * 50, "SET r 10", "SET s 11"),
    *("SELECT 3", "SET r 1", "SET s 2", "SET r 3", "SET t 4", "SET distcache:changefeed 5"),
)


@pytest.mark.parametrize("piece", [50, 10_000])
@pytest.mark.parametrize("after", [0, 1, 5, 9, 21, 29])
async def test_plain_sets_in_one_step_are_the_same_as_any_command(
    monkeypatch: pytest.MonkeyPatch, after: int, piece: int
) -> None:
    log = b"".join(encode([word.encode() for word in line.split()]) for line in MORE)
    runs = 0

    async def all_behind(start: Position) -> tuple[list[Event], Changes]:
        nonlocal runs
        found: list[Event] = []
        changes = Changes(Source(piece, log=log), PLAIN, 1, start, False)
        with contextlib.suppress(Gone):
            async for event in changes.events():
                found += each_of(event)
                runs += isinstance(event, Run)
        return found, changes

    whole, _ = await all_behind(BEGINNING)
    start = whole[after - 1].position if after else BEGINNING
    found, changes = await all_behind(start)
    assert found == whole[after:]
    assert bool(runs) == (piece > 50)
    monkeypatch.setattr(Shadow, "set", lambda *_: False)
    monkeypatch.setattr(Shadow, "set_many", lambda *_: False)
    slow, others = await all_behind(start)
    assert found == slow
    for one, other in zip(changes._shadow.databases, others._shadow.databases, strict=True):
        assert dict(one.values.items()) == dict(other.values.items())
        assert dict(one.deadlines.items()) == dict(other.deadlines.items())
        assert (one.wheel.slots, one.field_wheel.slots) == (
            other.wheel.slots,
            other.field_wheel.slots,
        )


async def test_a_snapshot_can_be_made_again_from_any_place_in_it() -> None:
    offset = LOG.index(b"*2\r\n$6\r\nSELECT\r\n$1\r\n2")
    whole = shown(await told(before_snapshot(offset)))
    keys = [(it[2], it[3], it[4]) for it in whole if it[1] == "snapshot"]
    assert keys == [
        (0, None, None),
        *[(0, b"a", b"5"), (0, b"c", b"4"), (0, b"s", [b"m"])],
        (0, None, None),
    ]
    assert [it[5] for it in whole[:5]] == ["begin", None, None, None, "end"]
    assert whole[4][0] == Position(offset)
    assert [it[1] for it in whole[5:8]] == ["set", "delete", "set"]
    for at in range(5):
        assert unordered(shown(await told(whole[at][0]))) == unordered(whole[at + 1 :])


async def test_what_is_lost_begins_with_a_snapshot_of_the_present() -> None:
    whole = shown(await told(Position(0, 1), start=5))
    assert [it[5] for it in whole] == ["begin", None, "end"]
    assert whole[1][1:5] == ("snapshot", 0, b"a", b"7")


async def test_a_cursor_goes_on_as_its_readers_do() -> None:
    changes = Changes(Source(50), SETTINGS._replace(buffer=1500), 1, BEGINNING, False)
    cursor = Cursor(changes)
    found: list[Any] = []
    after = BEGINNING
    for _ in range(5):
        page = await cursor.read(after, 2, None)
        assert 1 <= len(page) <= 2
        for _ in range(50):
            await asyncio.sleep(0)
        if not found:
            # Nobody reads on, so that it stands where its buffer is full.
            assert cursor.position < len(LOG)
        found += page
        after = Position(*page[-1][:2])
    documents = [json.loads(words[-1]) for _, _, words in found]
    assert [it["key"] for it in documents] == [*"aabcabs", "a", "a", "z"][: len(found)]
    # What was read is no longer kept.
    with pytest.raises(Passed):
        await cursor.read(BEGINNING, 1, None)
    await cursor.close()
    with pytest.raises(Gone):
        await asyncio.wait_for(cursor.read(after, 1, None), 10)
