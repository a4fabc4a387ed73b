"""Clients that write while primaries come and go, and the check of what is left of it.

Each write is a key of its own.  A client notes what it was told of each: acknowledged, refused, or
nothing.  Afterwards the keys that are there say which acknowledged writes are lost, and whether
they are those that a failover may lose: the last ones of a connection, never one from the middle.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import Any, cast

from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from tests.support.sentinels import NAME
from tests.support.servers import Server
from tests.support.waiting import eventually

WAIT_MS = 500
PATIENCE_S = 1.0
PAUSE_S = 0.001
"""How long a client waits before its next write, and after a failure before it tries again."""
BREATH_S = 0.02

Outcome = Enum("Outcome", "ok failed unknown")


@dataclass(frozen=True)
class Write:
    """One write, and what its client knows of it."""

    key: str
    outcome: Outcome
    connection: int
    """Which connection of its client it went over, counted from 0."""
    port: int
    """Of the server at the other end."""
    end_s: float


@dataclass
class Verdict:
    """What became of the writes of a client."""

    acknowledged: int = 0
    lost: list[Write] = field(default_factory=list)
    holes: list[Write] = field(default_factory=list)
    """Lost although a later write over the same connection is there."""
    resurrected: list[Write] = field(default_factory=list)
    """Refused, and there all the same."""
    gap_s: float = 0.0
    """The longest time without an acknowledgement."""

    def wrong(self) -> list[Write]:
        """What no failover may do."""
        return self.holes + self.resurrected


def judge(writes: Sequence[Write], there: Callable[[str], bool]) -> Verdict:
    """Compare what a client knows with the keys that are there."""
    verdict = Verdict()
    present = [there(write.key) for write in writes]
    last: dict[int, int] = defaultdict(lambda: -1)
    for at, write in enumerate(writes):
        if present[at]:
            last[write.connection] = at
    before_s = writes[0].end_s if writes else 0.0
    for at, write in enumerate(writes):
        if write.outcome is Outcome.failed and present[at]:
            verdict.resurrected.append(write)
        if write.outcome is not Outcome.ok:
            continue
        verdict.acknowledged += 1
        verdict.gap_s = max(verdict.gap_s, write.end_s - before_s)
        before_s = write.end_s
        if not present[at]:
            verdict.lost.append(write)
            if at < last[write.connection]:
                verdict.holes.append(write)
    return verdict


OPTIONS: dict[str, Any] = {
    "socket_timeout": PATIENCE_S,
    "socket_connect_timeout": PATIENCE_S,
    "driver_info": None,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
"""A client that hides nothing: what fails, fails once and is noted."""


def through_sentinels(ports: Iterable[int]) -> Callable[[], Connection]:
    """Connections to whom Sentinels name as the primary."""
    places = [("127.0.0.1", port) for port in ports]

    def connect() -> Connection:
        sentinel = Sentinel(places, sentinel_kwargs={"retry": Retry(NoBackoff(), 0), **OPTIONS})
        retry = Retry(NoBackoff(), 0)
        pool = SentinelConnectionPool(NAME, sentinel, retry=retry, **OPTIONS)
        connection = cast(Connection, pool.make_connection())
        # It refers to its pool weakly.
        connection._pool = pool  # type: ignore[attr-defined]
        return connection

    return connect


def straight(port: int) -> Callable[[], Connection]:
    """Connections to one server, whatever it is."""
    return lambda: Connection(port=port, retry=Retry(NoBackoff(), 0), **OPTIONS)


class Writer:
    """A client that writes one key after the other until it is stopped."""

    def __init__(self, name: str, connect: Callable[[], Connection], replicas: int = 0) -> None:
        self.name = name
        self.replicas = replicas
        """How many must have a write, by WAIT, before it counts as acknowledged."""
        self.writes: list[Write] = []
        self.acknowledged = 0
        self._connect = connect
        self._connection: Connection | None = None
        self._connections = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            key = f"{self.name}:{number}"
            number += 1
            at = self._connections
            outcome = self._write(key)
            port = self._connection.port if self._connection is not None else 0
            self.writes.append(Write(key, outcome, at, port, monotonic()))
            if outcome is Outcome.ok:
                self.acknowledged += 1
            self._ended.wait(PAUSE_S if outcome is Outcome.ok else BREATH_S)
        self._drop()

    def _write(self, key: str) -> Outcome:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.connect()
            connection = self._connection
        except (LinkError, NoAnswer, ResponseError, OSError):
            self._drop()
            return Outcome.failed
        try:
            connection.send_command("SET", key, key)
            connection.read_response()
        except ResponseError as error:
            # This one says that the write was applied, but not by enough replicas.
            unconfirmed = str(error).startswith("UNCONFIRMED")
            return Outcome.unknown if unconfirmed else Outcome.failed
        except (LinkError, NoAnswer, OSError):
            self._drop()
            return Outcome.unknown
        if not self.replicas:
            return Outcome.ok
        try:
            connection.send_command("WAIT", self.replicas, WAIT_MS)
            enough = connection.read_response() >= self.replicas
        except (LinkError, NoAnswer, ResponseError, OSError):
            self._drop()
            return Outcome.unknown
        return Outcome.ok if enough else Outcome.unknown

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._connections += 1
        if connection is not None:
            connection.disconnect()


class Load:
    """Several clients at once."""

    def __init__(self) -> None:
        self.writers: list[Writer] = []

    def start(
        self,
        name: str,
        connect: Callable[[], Connection],
        replicas: int = 0,
        clients: int = 1,
    ) -> None:
        """Let clients of one name begin to write."""
        for number in range(clients):
            self.writers.append(Writer(f"{name}-{number}", connect, replicas))

    def named(self, name: str) -> list[Writer]:
        """The clients of a name, or all."""
        return [it for it in self.writers if not name or it.name.rpartition("-")[0] == name]

    def wait(self, more: int = 50, name: str = "", timeout: float = 60) -> None:
        """Until each of these clients has had so many more writes acknowledged."""
        wanted = {it: it.acknowledged + more for it in self.named(name)}
        eventually(lambda: all(it.acknowledged >= n for it, n in wanted.items()), timeout)

    def stop(self) -> None:
        for writer in self.writers:
            writer._ended.set()
        for writer in self.writers:
            writer.stop()

    def check(self, server: Server) -> dict[str, Verdict]:
        """What became of the writes of the clients of each name."""
        found: dict[str, Verdict] = {}
        with server.client(decode_responses=True) as client:
            for writer in self.writers:
                keys = [write.key for write in writer.writes]
                there: set[str] = set()
                for start in range(0, len(keys), 1000):
                    part = keys[start : start + 1000]
                    there |= {value for value in client.mget(part) if value is not None}
                verdict = judge(writer.writes, there.__contains__)
                name = writer.name.rpartition("-")[0]
                total = found.setdefault(name, Verdict())
                total.acknowledged += verdict.acknowledged
                total.lost += verdict.lost
                total.holes += verdict.holes
                total.resurrected += verdict.resurrected
                total.gap_s = max(total.gap_s, verdict.gap_s)
        return found


__all__ = [
    "Load",
    "Outcome",
    "Verdict",
    "Write",
    "Writer",
    "judge",
    "straight",
    "through_sentinels",
]
