"""The server's side of the changefeed in Kafka: has it published while this server is a primary.

The process that does it is one of its own, apart from that of readers (process.py): so neither
waits for the other.  What is not yet published stays in the log, up to ``changefeed-max-lag``.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from distcache_server import logs
from distcache_server.blocking import Wait
from distcache_server.changefeed import settings
from distcache_server.changefeed.peer import Answer, Failed, Gone
from distcache_server.changefeed.process import Process, snapshot_offset
from distcache_server.config import kafka

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.persistence import Persistence

LOOK_S = 0.25
"""So often it is looked whether it still has to be as it is."""
START_S = 20.0
"""A process that is not there after so long is given up."""
RESTART_S = 1.0
"""Between two starts of a process that ends by itself is at least this, so that one which has lived
for longer is started again at once ..."""
LONGEST_RESTART_S = 30.0
"""... and up to this is waited where it ends again and again, with nothing published."""
FINISH_S = 0.01
"""... and so often before a clean end."""
OFF, STARTING, PUBLISHING, DEPOSED = "off", "starting", "publishing", "deposed"
NOTHING = {"events": 0, "records": 0, "transactions": 0, "dead_letters": 0, "failures": 0}


class Restarts:
    """When a process that has ended by itself is started again."""

    def __init__(self) -> None:
        self.at_s = 0.0
        """Not before this."""
        self._begun_s = 0.0
        self._pause_s = RESTART_S

    def begun(self, now_s: float) -> None:
        self._begun_s = now_s

    def ended(self, now_s: float, has_published: bool) -> None:
        """It came to its end, and had published something or not."""
        if has_published:
            self.at_s, self._pause_s = self._begun_s + RESTART_S, RESTART_S
        else:
            self.at_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_RESTART_S)


class Publishing:
    """A server's stream of events in Kafka."""

    def __init__(self, engine: Engine, persistence: Persistence) -> None:
        self.engine = engine
        self.persistence = persistence
        self.state = OFF
        self.error = ""
        self.epoch = 0
        self.counts: dict[str, int] = dict(NOTHING)
        self.offset: int | None = None
        """Published up to here; None while that is not known."""
        self._since_s = monotonic()
        """When all was published for the last time ..."""
        self._goal = 0
        """... that was there at a moment, and how much that was."""
        self._process: Process | None = None
        self._history = ""
        self._changed = False
        self._waits: list[tuple[int, Client, Wait]] = []
        """Clients that wait until the log up to an offset is published."""
        engine.publishing = self
        changed = (*settings.NAMES, *kafka.NAMES, "key-groups", "changefeed-heartbeat")
        engine.config.on_change(self._note_change, *changed)

    def _note_change(self) -> None:
        self._changed = True

    @property
    def wanted(self) -> bool:
        """This server is to publish: it is a primary, and has its keys."""
        engine = self.engine
        return bool(engine.config.changefeed) and not engine.follows and engine.loading is None

    @property
    def is_up(self) -> bool:
        """Changes are being published."""
        return self.state == PUBLISHING

    @property
    def is_deposed(self) -> bool:
        """Another server has gone on with the stream."""
        return self.state == DEPOSED

    @property
    def lag(self) -> int:
        """Bytes of the log that are not published yet."""
        if self.offset is None:
            return 0
        return max(self.persistence.log.end - self.offset, 0)

    @property
    def lag_s(self) -> float:
        """For how long something has been waiting to be published, or may have been."""
        if self.state == OFF or (self.offset is not None and not self.lag):
            return 0.0
        return monotonic() - self._since_s

    # Running

    async def run(self) -> None:
        """Publish, whenever it is wanted, until cancelled."""
        restarts = Restarts()
        try:
            while True:
                process = self._process
                if process is not None and (not self.wanted or self._is_outdated(process)):
                    await self._stop()
                elif process is not None and not process.is_up:
                    restarts.ended(monotonic(), has_published=self.counts["transactions"] > 0)
                    await self._stop()
                    logs.warning("The process that publishes the changefeed has ended")
                if self.wanted and self._process is None and monotonic() >= restarts.at_s:
                    self._changed = False
                    restarts.begun(monotonic())
                    try:
                        async with asyncio.timeout(START_S):
                            await self._start()
                    except (OSError, Gone, Failed) as error:
                        logs.warning(
                            "Cannot publish the changefeed", error=str(error) or "no answer"
                        )
                        await self._stop()
                        restarts.ended(monotonic(), has_published=False)
                    except Exception as error:
                        self.engine.counters.unexpected_errors += 1
                        logs.failure("Unexpected error: publishing the changefeed", error)
                        await self._stop()
                        restarts.ended(monotonic(), has_published=False)
                self._measure()
                self._wake()  # lets go of clients that wait no longer
                if self._process is None:
                    await asyncio.sleep(LOOK_S)
                else:
                    await self._process.wait(LOOK_S)
        finally:
            await self._stop()

    def _is_outdated(self, process: Process) -> bool:
        return (
            self._changed
            or self._history != self.persistence.history.id
            or not process.is_of_our_history
        )

    def _measure(self) -> None:
        """See since when something has been waiting."""
        if self.state == OFF or self.is_past(self._goal):
            self._goal, self._since_s = self.persistence.log.end, monotonic()

    async def _start(self) -> None:
        it = self.persistence
        self.state, self.error = STARTING, ""
        self.counts = dict(NOTHING)
        if not it.journal.active:
            # Nobody knows what was written until now: no position of before may seem to be good.
            it.log.restart(it.log.end + 1)
        it.journal.attach()
        answers: dict[str, Answer] = {
            "lineage": self._lineage,
            "snapshot": self._snapshot,
            "published": self._published,
        }
        self._history = it.history.id
        process = self._process = Process(it, answers)
        await process.start()
        # It may have become a replica meanwhile, which must not shut out its primary at the broker.
        if self.wanted and not self._is_outdated(process):
            assert process.peer is not None
            await process.peer.call("publish", *self._arguments())

    def _arguments(self) -> tuple[Any, ...]:
        config = self.engine.config
        brokers, topic = kafka.place(config.changefeed)
        target = {
            "brokers": brokers,
            "stream": config.changefeed_stream,
            "marks": config.changefeed_positions_topic,
            "dead_letters": config.changefeed_dead_letter_topic,
            "transactions": config.changefeed_transactions,
            "create": config.changefeed_create_topics,
            "partitions": config.changefeed_topic_partitions,
            "replication": config.changefeed_topic_replication,
            "settings": dict(config.changefeed_topic_settings),
            "options": kafka.options(config),
        }
        return (
            target,
            topic,
            list(config.key_groups),
            config.changefeed_heartbeat / 1000,
            config.changefeed_backoff / 1000,
        )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        self.state, self.offset = OFF, None
        if process is None:
            return
        if not self.engine.config.changefeed:
            self.persistence.published = None
        await process.stop()
        self.persistence.journal.detach()

    # What the process asks and says

    async def _lineage(self) -> list[Any]:
        history = self.persistence.history
        return [history.id, history.lineage]

    async def _snapshot(self) -> int:
        return snapshot_offset(self.persistence)

    async def _published(self, said: dict[str, Any]) -> None:
        state, error = said.pop("state"), said.pop("error")
        if (state, error) != (self.state, self.error):
            say = logs.warning if error else logs.notice
            say("Changefeed in Kafka", state=state, **({"error": error} if error else {}))
        self.state, self.error, self.epoch = state, error, said.pop("epoch")
        if needed := said.pop("needed"):
            self.persistence.published = needed
        if offset := said.pop("offset"):
            self.offset = offset
        self.counts = said
        self._wake()

    # Waiting

    def is_past(self, offset: int) -> bool:
        """Whether all up to there is published."""
        return self.offset is not None and self.offset >= offset

    def wait(self, client: Client, timeout_ms: int) -> int:
        """1 if all that the client wrote is published; raises Wait until then."""
        if self.is_past(client.logged):
            return 1
        wait = Wait([], None, timeout_ms, otherwise=0)
        if not self.engine.in_transaction:
            self._waits.append((client.logged, client, wait))
            self._hurry()
        raise wait

    def _wake(self) -> None:
        waits, self._waits = self._waits, []
        for each in waits:
            offset, client, wait = each
            if client.blocked is not wait:
                continue
            if self.is_past(offset):
                self.engine.blocking.answer(client, 1)
            else:
                self._waits.append(each)

    def _hurry(self) -> None:
        """Only what is durable is published: do not wait for the second to be over."""
        disk = self.persistence.disk
        if disk is not None and not disk.flushing and disk.write():
            disk.commit()

    async def finish(self, patience_s: float) -> None:
        """Before a clean end: publish what is left, for a while, if the broker takes it."""
        end, end_s = self.persistence.log.end, monotonic() + patience_s
        while self.engine.drains and self.is_up and not self.is_past(end):
            if monotonic() > end_s:
                logs.warning("Stopping before all changes are published", lag=self.lag)
                return
            self._hurry()
            await asyncio.sleep(FINISH_S)
