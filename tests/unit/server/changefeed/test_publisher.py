"""The publisher with a broker that stands in memory: what it is given, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from distcache_replication.changefeed.kafka import (
    Fenced,
    Mark,
    Outgoing,
    Refused,
    Sink,
    Target,
    Unavailable,
)
from distcache_replication.segment import encode
from distcache_server.changefeed import publisher
from distcache_server.changefeed.changes import NOTHING
from distcache_server.changefeed.peer import Gone
from distcache_server.changefeed.publisher import DEPOSED, WAITING, Publisher, Topics
from distcache_server.changefeed.settings import Settings

HISTORY, FORMER, NEXT = "7" * 40, "6" * 40, "8" * 40
SETTINGS = Settings(4, [], [], 10_000, False, "json", "omit", False, 1 << 20)
LINES = (
    *("SELECT 0", "SET a 1", "SET b 2 PXAT 9999999999999", "RPUSH l x y"),
    *("MULTI", "SET a 3", "SET large 4", "DEL b", "EXEC", "SET a 5"),
)
LOG = b"".join(encode([word.encode() for word in line.split()]) for line in LINES)
ALL = ["a", "b", "l", "a", "large", "b", "a"]


class Broker(Sink):
    """Keeps what is committed; goes through a list of failures first."""

    def __init__(self, *failures: Exception | None, dead_letters: str = "dead") -> None:
        super().__init__(Target("nowhere", ["t"], "s", dead_letters=dead_letters))
        self.failures = list(failures)
        self.mark: Mark | None = Mark(1, [[HISTORY, None]], 0, 0)
        self.committed: list[Outgoing] = []
        self.batches: list[int] = []
        self.refuses: Callable[[Outgoing], bool] = lambda _: False
        self.closed = False

    def peek(self) -> Mark | None:
        return self.mark

    def open(self) -> Mark | None:
        self.partitions = {"t": 2}
        return self.mark

    def send(self, batch: Sequence[Outgoing], mark: Mark) -> None:
        self.sent = batch, mark

    def finish(self) -> None:
        self.publish(*self.sent)

    def publish(self, batch: Sequence[Outgoing], mark: Mark) -> None:
        for index, it in enumerate(batch):
            if self.refuses(it):
                raise Refused(index, "too large")
        failure = self.failures.pop(0) if self.failures else None
        if not isinstance(failure, Lost) and failure is not None:
            raise failure
        self.committed += batch
        self.batches.append(len(batch))
        self.mark = mark
        if failure is not None:
            raise failure

    def close(self) -> None:
        self.closed = True

    def documents(self, topic: str = "t") -> list[Any]:
        return [
            json.loads(it.record.value)
            for it in self.committed
            if it.topic == topic and it.record.value is not None
        ]


class Lost(Unavailable):
    """It was committed, and nobody was told."""


class Server:
    """The server's side: a log, which goes on when all of it is published, with an end."""

    def __init__(self, log: bytes = LOG, piece: int = 60) -> None:
        self.log = log
        self.piece = piece
        self.oldest = 0
        """Where the log begins."""
        self.given = 0
        self.lineage: list[tuple[str, int]] = []
        self.frontiers: list[int] = []
        """What it says first of how far the log goes."""
        self.said: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.done = asyncio.Event()
        self.until: Callable[[dict[str, Any]], bool] = lambda it: it["offset"] == len(self.log)

    async def call(self, name: str, *arguments: Any) -> Any:
        match name:
            case "lineage":
                return [HISTORY, self.lineage]
            case "snapshot":
                return self.frontiers.pop(0) if self.frontiers else len(self.log)
            case "base":
                self.given = self.oldest
                return [NOTHING, self.oldest, "", len(self.log), HISTORY, 0]
            case "log":
                if self.given == len(self.log):
                    await self.done.wait()
                    raise Gone
                await asyncio.sleep(0)
                at, self.given = self.given, min(self.given + self.piece, len(self.log))
                return [HISTORY, 0, [(len(self.log), 1234)], self.log[at : self.given]]
            case "published":
                self.said.append(arguments[0])
                if self.until(arguments[0]):
                    self.done.set()
            case "tell":
                self.told.append(arguments[0])
        return None

    @property
    def states(self) -> list[str]:
        return [it["state"] for it in self.said]


async def publish(broker: Broker, server: Server | None = None, heartbeat_s: float = 0) -> Server:
    """Publish a log, to its end."""
    server = server or Server()
    topics = Topics("t", [])
    made = Publisher(server, SETTINGS, broker, topics.of, heartbeat_s, 0.001)
    running = asyncio.ensure_future(made.run())
    await asyncio.wait_for(server.done.wait(), 30)
    running.cancel()
    await asyncio.wait([running])
    return server


def keys(found: Sequence[Any]) -> list[Any]:
    return [it["key"] for it in found]


async def test_events_are_published_with_the_position_behind_them() -> None:
    broker = Broker()
    server = await publish(broker)
    found = broker.documents()
    assert keys(found) == ALL
    assert [it["value"] for it in found] == ["1", "2", ["x", "y"], "3", "4", None, "5"]
    assert found[1]["expires_ms"] == 9_999_999_999_999
    assert [it.get("transaction", {}).get("index") for it in found[3:6]] == [1, 2, 3]
    assert all(it["source"] == {**it["source"], "history": HISTORY, "epoch": 1} for it in found)
    assert broker.mark == Mark(1, [[HISTORY, None]], len(LOG), 0)
    assert server.said[-1]["events"] == len(ALL)
    assert server.told == []


@pytest.mark.parametrize("failure", [Unavailable("gone"), Lost("gone"), Fenced("another")])
async def test_nothing_is_missing_or_doubled_after_a_failure(failure: Exception) -> None:
    broker = Broker(failure, failure)
    server = await publish(broker)
    assert keys(broker.documents()) == ALL
    assert WAITING in server.states
    assert server.said[-1]["failures"] == 2
    assert not broker.failures


async def test_a_refused_event_of_a_transaction_is_a_dead_letter() -> None:
    broker = Broker()
    broker.refuses = lambda it: it.topic == "t" and it.record.key == b"large"
    server = await publish(broker)
    assert keys(broker.documents()) == [it for it in ALL if it != "large"]
    (letter,) = broker.documents("dead")
    assert (letter["op"], letter["reason"]) == ("set", "too large")
    assert server.said[-1]["dead_letters"] == 1


async def test_without_dead_letters_a_refused_event_is_left_out() -> None:
    broker = Broker(dead_letters="")
    broker.refuses = lambda it: it.record.key == b"large"
    server = await publish(broker)
    assert keys(broker.documents()) == [it for it in ALL if it != "large"]
    assert server.said[-1]["dead_letters"] == 1


async def test_a_refused_dead_letter_is_tried_again() -> None:
    broker = Broker()
    broker.refuses = lambda it: it.record.key == b"large"
    server = Server()
    server.until = lambda it: it["failures"] >= 2
    await publish(broker, server)
    assert "dead letters" in server.said[-1]["error"]
    assert "large" not in keys(broker.documents())


async def test_a_deposed_primary_publishes_nothing() -> None:
    broker = Broker()
    broker.mark = Mark(2, [[NEXT, None], [HISTORY, 10]], 50, 0)
    server = Server()
    server.until = lambda it: it["failures"] >= 2
    await publish(broker, server)
    assert set(server.states) == {DEPOSED}
    assert broker.committed == []


async def test_a_promoted_primary_goes_on_with_the_next_epoch() -> None:
    broker, server = Broker(), Server()
    first = len(encode([b"SELECT", b"0"])) + len(encode([b"SET", b"a", b"1"]))
    broker.mark = Mark(4, [[FORMER, None]], first, 0)
    server.lineage = [(FORMER, first)]
    await publish(broker, server)
    found = broker.documents()
    assert keys(found) == ALL[1:]
    assert {it["source"]["epoch"] for it in found} == {5}
    assert broker.mark.lineage == [[HISTORY, None], [FORMER, first]]


async def test_a_new_stream_begins_with_all_keys() -> None:
    broker = Broker()
    broker.mark = None
    server = await publish(broker)
    found = broker.documents()
    # The marks are in both partitions.
    assert [it.get("mark") for it in found] == ["begin", "begin", None, None, None, "end", "end"]
    assert keys(found)[2:5] == ["a", "l", "large"]
    assert "all keys" in server.told[0]


async def test_all_keys_come_first_where_the_log_does_not_go_back_to_the_position() -> None:
    broker, server = Broker(), Server()
    server.oldest = len(encode([b"SELECT", b"0"]))
    await publish(broker, server)
    found = broker.documents()
    assert [it.get("mark") for it in found] == ["begin", "begin", None, None, None, "end", "end"]
    assert server.told == ["all keys are published first: the log no longer goes back to offset 0"]


async def test_a_refused_event_of_a_snapshot_is_one_dead_letter_though_the_log_goes_on() -> None:
    broker, server = Broker(), Server()
    broker.mark = None
    broker.refuses = lambda it: it.topic == "t" and it.record.key == b"large"
    server.frontiers = [len(LOG) - len(encode([b"SET", b"a", b"5"]))]
    await publish(broker, server)
    found = broker.documents()
    assert keys(found) == [None, None, "a", "l", None, None, "a"]
    assert [it["value"] for it in found if it["key"] == "a"] == ["3", "5"]
    assert len(broker.documents("dead")) == 1
    assert server.said[-1]["dead_letters"] == 1


async def test_heartbeats_are_in_all_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, server = Broker(), Server()
    server.until = lambda _: False
    loop, through = asyncio.get_running_loop(), broker.publish

    def watch(batch: Sequence[Outgoing], mark: Mark) -> None:
        through(batch, mark)
        if len(broker.committed) > len(ALL) + 2:
            loop.call_soon_threadsafe(server.done.set)

    monkeypatch.setattr(broker, "publish", watch)
    await publish(broker, server, heartbeat_s=0.001)
    beats = [it for it in broker.committed if it.partition >= 0]
    assert {it.partition for it in beats} == {0, 1}
    assert {it.record.key for it in beats} == {b"distcache:changefeed"}
    assert any(it["op"] == "heartbeat" for it in broker.documents())


async def test_a_heartbeat_does_not_go_back_while_the_broker_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "MOST_RECORDS", 10)
    lines = [encode([b"SET", b"key", b"%d" % number]) for number in range(200)]
    server, broker = Server(b"".join(lines), 1000), Broker()
    through, marks = broker.publish, [0]

    def wait(batch: Sequence[Outgoing], mark: Mark) -> None:
        time.sleep(0.02)
        through(batch, mark)
        told = [json.loads(it.record.value or b"")["source"]["offset"] for it in batch]
        assert told == sorted(told)
        assert mark.offset >= max(told)
        marks.append(mark.offset)

    monkeypatch.setattr(broker, "publish", wait)
    await publish(broker, server, heartbeat_s=0.001)
    assert marks == sorted(marks)
    assert len([it for it in broker.documents() if it["op"] == "set"]) == 200


async def test_what_waits_for_the_broker_stays_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MOST_RECORDS", 10)
    lines = [encode([b"SET", b"key", b"%d" % number]) for number in range(1000)]
    server, broker = Server(b"".join(lines)), Broker()
    given: list[int] = []
    through = broker.publish

    def watch(batch: Sequence[Outgoing], mark: Mark) -> None:
        given.append(server.given - mark.offset)
        through(batch, mark)

    monkeypatch.setattr(broker, "publish", watch)
    await publish(broker, server)
    assert len(broker.documents()) == 1000
    assert max(broker.batches) <= 10
    # No more than the next batch, and the piece that it ends in, has been read.
    assert max(given) <= 11 * len(lines[-1]) + server.piece


def test_topics_by_key_group() -> None:
    topics = Topics("cache.{group}", [b"user:*", b"*:cart", b"a?b*", b"\xff*", b"*"])
    assert topics.names == ["cache.user", "cache.cart", "cache.a-b", "cache.other"]
    assert topics.of(b"user:1") == "cache.user"
    assert topics.of(b"1:cart") == "cache.cart"
    assert topics.of(b"else") == "cache.other"
    assert Topics("all", [b"user:*"]).names == ["all"]
    assert Topics("all", [b"user:*"]).of(b"user:1") == "all"
