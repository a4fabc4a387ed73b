"""The changefeed's process as a producer of Kafka: takes the changes, publishes them in batches.

While a batch is being committed, in a thread, the next one is made.  Whatever goes wrong, the
stream is opened again and gone on with from the mark that the broker has.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count as counting
from itertools import repeat
from typing import Any, TypeVar

from distcache_replication.changefeed.claim import Claim, Deposed, Lineage, claim, mark
from distcache_replication.changefeed.event import HEARTBEAT, Event, Run
from distcache_replication.changefeed.formats import Record, records, run_records
from distcache_replication.changefeed.kafka import (
    Fenced,
    Mark,
    Misconfigured,
    Outgoing,
    Refused,
    Sink,
    Unavailable,
)
from distcache_replication.changefeed.position import Position, before_snapshot

from distcache_server.changefeed.changes import Changes, Source
from distcache_server.changefeed.peer import Failed, Gone
from distcache_server.changefeed.settings import Settings
from distcache_server.config.kafka import GROUP
from distcache_server.glob import matcher
from distcache_server.reserved import CHANGEFEED

T = TypeVar("T")

MOST_RECORDS = 10_000
MOST_BYTES = 8 << 20
"""A batch ends with so much, or where the log has no more for now."""
OTHER = "other"
"""The group of keys that match none of key-groups."""
OVERHEAD = 200
"""What a record takes besides its value, about."""
LONGEST_KEY = 64 << 10
"""A key that is larger does not come into the topic of dead letters."""
FIRST_WAIT_S = 0.25
"""Between attempts to reach the broker; each wait is twice as long, more or less."""

OPENING, PUBLISHING, WAITING, DEPOSED = "opening", "publishing", "waiting", "deposed"


class Topics:
    """Which topic a key belongs to: one for all, or with ``{group}`` one for each key group."""

    def __init__(self, name: str, patterns: Sequence[bytes]) -> None:
        self._name = name
        self._matchers = []
        if GROUP in name:
            self._matchers = [(matcher(it), self._named(it)) for it in patterns]
        self._other = name.replace(GROUP, OTHER)

    def _named(self, pattern: bytes) -> str:
        text = pattern.decode("utf-8", "replace").strip("*:?")
        return self._name.replace(GROUP, re.sub("[^A-Za-z0-9._-]+", "-", text).strip("-") or OTHER)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*(name for _, name in self._matchers), self._other]))

    def of(self, key: bytes) -> str:
        for matches, name in self._matchers:
            if matches(key):
                return name
        return self._other


class Batch:
    """Records that are published together."""

    def __init__(self, position: Position) -> None:
        self.records: list[Outgoing] = []
        self.positions: list[Position] = []
        """Of each record, that of its event."""
        self.count = 0
        self.size = 0
        self.position = position
        """All up to here is in this batch or was in those before."""

    def add(self, event: Event, outgoing: Iterable[Outgoing]) -> None:
        for each in outgoing:
            self.records.append(each)
            self.positions.append(event.position)
            self.size += len(each.record[1] or b"") + OVERHEAD
        self.count += 1
        self.position = event.position

    def add_run(self, run: Run, outgoing: Sequence[Outgoing]) -> None:
        """Each of the records is that of one event."""
        self.records += outgoing
        self.positions += map(Position, run.offsets, repeat(1))
        self.size += sum(len(it.record[1] or b"") for it in outgoing) + OVERHEAD * len(outgoing)
        self.count += len(outgoing)
        self.position = self.positions[-1]

    @property
    def is_full(self) -> bool:
        return len(self.records) >= MOST_RECORDS or self.size >= MOST_BYTES


class Publisher:
    """A stream of events in Kafka, from where it was left."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        sink: Sink,
        topic_of: Callable[[bytes], str],
        heartbeat_s: float,
        backoff_s: float,
    ) -> None:
        self.source = source
        self.settings = settings
        self._style = settings.style
        self._topic_of = topic_of
        self._numbers = counting(1)
        self._heartbeat_s = heartbeat_s
        self._backoff_s = backoff_s
        self._sink = sink
        # librdkafka's calls block, and belong to one thread.
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._refused: dict[Position, str] = {}
        """Events that the broker does not take, and why."""
        self._begun: tuple[str, Claim, Position] | None = None
        """Where the last attempt began, as long as nothing of it is published."""
        self._state = OPENING
        self._epoch = 0
        self._end = Position(0)
        """Published up to here."""
        self._counts = {"events": 0, "records": 0, "transactions": 0, "dead_letters": 0}
        self._failures = 0
        self._batch = Batch(self._end)
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    async def run(self) -> None:
        """Publish until cancelled."""
        wait_s = first_s = min(FIRST_WAIT_S, self._backoff_s)
        try:
            while True:
                before = self._counts["transactions"]
                try:
                    await self._publish_all()
                except Refused as error:
                    await self._tell(OPENING, str(error))
                    continue
                except Deposed as error:
                    state, text = DEPOSED, str(error)
                except (Fenced, Unavailable, Misconfigured, Failed) as error:
                    state, text = WAITING, str(error)
                if self._counts["transactions"] > before:
                    wait_s = first_s
                self._failures += 1
                await self._tell(state, text)
                await asyncio.sleep(wait_s * random.uniform(0.75, 1.25))
                wait_s = min(2 * wait_s, self._backoff_s)
        except Gone:
            pass
        finally:
            self._thread.submit(self._sink.close)
            self._thread.shutdown(wait=False)

    async def _blocking(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _tell(self, state: str, error: str = "") -> None:
        self._state = state
        await self.source.call(
            "published",
            {
                "state": state,
                "error": error,
                "epoch": self._epoch,
                "offset": 0 if self._end.in_snapshot else self._end.offset,
                "needed": self._end.applied,
                "failures": self._failures,
                **self._counts,
            },
        )

    # One time through

    async def _claim(self) -> tuple[Claim, str, Lineage]:
        """Open the stream for this history, or leave it to whom it belongs."""
        history, lineage = await self.source.call("lineage")
        # Looked at before it is opened, as that would shut out who has it rightly.
        claim(await self._blocking(self._sink.peek), history, lineage)
        stored = await self._blocking(self._sink.open)
        return claim(stored, history, lineage), history, lineage

    async def _publish_all(self) -> None:
        claimed, history, lineage = await self._claim()
        self._epoch, position = claimed.epoch, claimed.position
        if self._refused and self._begun is not None and self._begun[:2] == (history, claimed):
            # Events that were refused are known by where they stand: in the same snapshot.
            position = self._begun[2]
        elif position is None:
            await self.source.call("tell", f"all keys are published first: {claimed.reason}")
            position = before_snapshot(await self.source.call("snapshot"))
        self._end = position
        self._batch = Batch(position)
        number = next(self._numbers)
        changes = Changes(self.source, self.settings, number, position, earliest=False)
        await self._tell(PUBLISHING)
        tasks = [
            asyncio.create_task(self._gather(changes, history, claimed)),
            asyncio.create_task(self._deliver(history, lineage)),
        ]
        if self._heartbeat_s:
            tasks.append(asyncio.create_task(self._beat(changes)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await next(iter(done))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # it was the first, or says nothing new
            await self.source.call("close", number)

    async def _gather(self, changes: Changes, history: str, claimed: Claim) -> None:
        """Put the changes into batches."""
        has_begun = False
        async for event in changes.events():
            if not has_begun:
                # Only now is it known whether the log has what was asked for.
                has_begun = True
                self._begun = history, claimed, changes.after
                if changes.in_snapshot and changes.after != self._end:
                    reason = f"the log no longer goes back to offset {self._end.applied}"
                    await self.source.call("tell", f"all keys are published first: {reason}")
            if event is None:
                if not changes.in_snapshot and changes.position >= changes.after.applied:
                    self._batch.position = Position(changes.position)
                    self._filled.set()
                continue
            if not isinstance(event, Run):
                self._batch.add(event, self._outgoing(event))
            elif self._refused:
                for each in event.events():
                    self._batch.add(each, self._outgoing(each))
            else:
                event.epoch = self._epoch
                made = run_records(event, time.time_ns() // 1_000_000, self._style)
                topics = map(self._topic_of, event.keys)
                self._batch.add_run(event, list(map(Outgoing, topics, made)))
            while self._batch.is_full:
                self._taken.clear()
                self._filled.set()
                await self._taken.wait()

    async def _deliver(self, history: str, lineage: Lineage) -> None:
        """Publish one batch after the other."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            batch, self._batch = self._batch, Batch(self._batch.position)
            self._taken.set()
            if batch.records:
                await self._publish(batch, mark(self._epoch, batch.position, history, lineage))
            # Where there were no records there is no need to say so to the broker.
            if batch.records or batch.position > self._end:
                self._end = batch.position
                await self._tell(PUBLISHING)

    async def _publish(self, batch: Batch, batch_mark: Mark) -> None:
        try:
            # Not in the thread: two that take the interpreter from each other are slow.
            self._sink.send(batch.records, batch_mark)
            await self._blocking(self._sink.finish)
        except Refused as error:
            position = batch.positions[error.index]
            if position in self._refused:
                raise Unavailable(f"the topic of dead letters: {error.reason}") from None
            self._refused[position] = error.reason
            self._counts["dead_letters"] += 1
            raise
        self._begun = None
        self._refused = {at: why for at, why in self._refused.items() if at > batch.position}
        self._counts["transactions"] += 1
        self._counts["events"] += batch.count
        self._counts["records"] += len(batch.records)

    async def _beat(self, changes: Changes) -> None:
        """Say how far all is, while nothing happens."""
        while True:
            before = self._counts["transactions"]
            await asyncio.sleep(self._heartbeat_s)
            position = Position(changes.position)
            # Events that wait for a slow broker may be further: the mark must not go back.
            if (
                self._counts["transactions"] == before
                and not changes.in_snapshot
                and position >= self._batch.position
            ):
                event = Event(position, HEARTBEAT, *changes.source_of_now)
                event.time_ms = time.time_ns() // 1_000_000
                self._batch.add(event, self._outgoing(event))
                self._filled.set()

    # Records

    def _outgoing(self, event: Event) -> list[Outgoing]:
        """What an event is to the topics."""
        event.epoch = self._epoch
        made = records(event, time.time_ns() // 1_000_000, self._style)
        if event.key is None:
            # For all who read; with a key, as a topic that is compacted takes nothing without.
            record = made[0]._replace(key=CHANGEFEED)
            return [
                Outgoing(topic, record, partition)
                for topic, partitions in self._sink.partitions.items()
                for partition in range(partitions)
            ]
        if self._refused and (reason := self._refused.get(event.position)):
            if not self._sink.target.dead_letters:
                return []
            return [Outgoing(self._sink.target.dead_letters, _dead_letter(event, made[0], reason))]
        topic = self._topic_of(event.key)
        return [Outgoing(topic, record) for record in made]


def _dead_letter(event: Event, record: Record, reason: str) -> Record:
    """What is said of an event that the broker did not take."""
    about = {
        "id": str(event.position),
        "op": event.operation,
        "db": event.database,
        "bytes": len(record.value or b""),
        "reason": reason,
    }
    key = record.key if record.key is None or len(record.key) <= LONGEST_KEY else None
    headers = {
        it: data for it, data in record.headers.items() if it != "ce_subject" or key is not None
    }
    return Record(key, json.dumps(about).encode(), headers)
