"""MIGRATE: keys go to another server, by DUMP and RESTORE, and are deleted once they are there.

The client that asked waits; all others are served meanwhile, which they are not in Redis.  So a key
may change after it was sent: then it is not deleted, as the other server does not have the change,
and the client is told.  Connections are kept for a while, since who moves one key will move more.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from time import perf_counter_ns
from typing import NamedTuple

from distcache_replication import rdb
from distcache_replication.segment import encode

from distcache_server import logs, snapshot
from distcache_server.blocking import Wait
from distcache_server.client import Client
from distcache_server.commands.migrating import NOKEY, Order
from distcache_server.engine import Engine
from distcache_server.errors import (
    CannotReach,
    CommandError,
    CutOff,
    KeysChanged,
    TargetError,
)
from distcache_server.keyspace import Keyspace, Value
from distcache_server.registry import COMMANDS
from distcache_server.reply import OK
from distcache_server.unconfirmed import marked_since
from distcache_server.wrappers import logged

VERSION = 10
"""Of the payloads: what Redis 7.0 can read, and all that came after it."""
KEPT_S = 10.0
MOST_KEPT = 64
SLICE_NS = 1_000_000
CHUNK = 1 << 16
"""Bytes that the other server has to take within the timeout."""


class Target:
    """A connection to another server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.database = -1
        """Which it has selected."""
        self.used = False
        """It has served before, and may be dead."""
        self.idle = False
        """All replies have come: it may serve again."""
        self.reading = False
        """All was sent."""
        self.expiry: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self.writer.close()

    async def send(self, data: bytes, timeout_s: float) -> None:
        """Send all; raises OSError."""
        for at in range(0, len(data), CHUNK):
            self.writer.write(data[at : at + CHUNK])
            async with asyncio.timeout(timeout_s):
                await self.writer.drain()

    async def reply(self, timeout_s: float) -> bytes:
        """The next reply, a line; raises OSError."""
        async with asyncio.timeout(timeout_s):
            line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line.strip()


class Sent(NamedTuple):
    """A key that is on its way."""

    key: bytes
    deadline: int | None
    mark: bytes
    """Of its value and deadline, as they were sent."""


class Migrations:
    """The keys that are on their way, and the connections that are kept."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self.loop = loop
        self.kept: dict[tuple[str, int], Target] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._delete = logged(engine, COMMANDS["del"].handler)
        engine.migrate = self.begin
        engine.targets = self.kept

    def begin(self, client: Client, wait: Wait, order: Order) -> None:
        """Move the keys; the client is answered then."""
        task = self.loop.create_task(self._run(client, wait, order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Leave what is on its way where it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for target in self.kept.values():
            if target.expiry is not None:
                target.expiry.cancel()
            target.close()
        self.kept.clear()

    async def _run(self, client: Client, wait: Wait, order: Order) -> None:
        engine, written = self.engine, client.logged
        agent = Client(engine)
        agent.keyspace = client.keyspace
        reply, error = OK, None
        try:
            if not await self._migrate(agent, order):
                reply = NOKEY
        except CommandError as refusal:
            error = refusal
        except Exception as bug:
            engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error in MIGRATE", bug, id=client.id)
            client.kill()
        if client.blocked is not wait:
            return
        if agent.logged:
            client.logged = agent.logged
        if error is not None:
            engine.blocking.fail(client, error)
        elif engine.confirm is None:
            engine.blocking.answer(client, reply)
        else:
            engine.blocking.answer(client, marked_since(client, reply, written))

    async def _migrate(self, agent: Client, order: Order) -> bool:
        """Move the keys; False where there are none.  Raises CommandError."""
        place = order.host, order.port
        target = self._take(place) or await self._connect(place, order.timeout_s)
        try:
            try:
                sent, replies = await self._exchange(agent.keyspace, target, order)
            except OSError as error:
                if not target.used or isinstance(error, TimeoutError):
                    raise
                # The other end had closed it, as nobody used it.
                target.close()
                target = await self._connect(place, order.timeout_s)
                sent, replies = await self._exchange(agent.keyspace, target, order)
            await self._finish(agent, target, order, sent, replies)
        except OSError:
            raise CutOff(b"reading" if target.reading else b"writing") from None
        finally:
            if target.idle:
                self._keep(place, target)
            else:
                target.close()
        return bool(sent)

    async def _exchange(
        self, keyspace: Keyspace, target: Target, order: Order
    ) -> tuple[list[Sent], list[bytes]]:
        """Send everything, and wait for the first reply; which keys were sent, and that reply."""
        target.idle = target.reading = False
        sent = await self._send(keyspace, target, order)
        target.reading = True
        some = sent or order.heads(target.database)
        return sent, [await target.reply(order.timeout_s)] if some else []

    async def _send(self, keyspace: Keyspace, target: Target, order: Order) -> list[Sent]:
        """Send everything; which keys these are."""
        parts = [encode(words) for words in order.heads(target.database)]
        sent: list[Sent] = []
        end_ns = perf_counter_ns() + SLICE_NS
        for key in order.keys:
            if perf_counter_ns() > end_ns:
                await target.send(b"".join(parts), order.timeout_s)
                await asyncio.sleep(0)
                parts, end_ns = [], perf_counter_ns() + SLICE_NS
            keyspace.now_ms = self.engine.now_ms
            value = keyspace.peek(key)
            if value is None:
                continue
            deadline, payload = self._state(keyspace, key, value)
            left_ms = 0 if deadline is None else max(deadline - keyspace.now_ms, 1)
            restore = [b"RESTORE", key, b"%d" % left_ms, payload]
            parts.append(encode([*restore, b"REPLACE"] if order.replace else restore))
            sent.append(Sent(key, deadline, _mark(deadline, payload)))
        await target.send(b"".join(parts), order.timeout_s)
        return sent

    def _state(self, keyspace: Keyspace, key: bytes, value: Value) -> tuple[int | None, bytes]:
        style = rdb.Style(VERSION, self.engine.config.rdbcompression)
        return keyspace.deadlines.get(key), snapshot.dump(value, keyspace.limits, style)

    async def _finish(
        self, agent: Client, target: Target, order: Order, sent: list[Sent], replies: list[bytes]
    ) -> None:
        """Delete the keys that arrived; raises TargetError, KeysChanged."""
        refusal, admitted, changed = b"", True, False
        for it in [*[None for _ in order.heads(target.database)], *sent]:
            try:
                reply = replies.pop() if replies else await target.reply(order.timeout_s)
            except OSError:
                if refusal:
                    break  # what it said tells more
                raise
            if reply.startswith(b"-"):
                refusal = refusal or reply[1:]
                admitted = admitted and it is not None
            elif it is not None and admitted and not order.copy:
                changed |= not await self._arrived(agent, it)
        if refusal:
            raise TargetError(refusal)
        target.database = order.database
        target.idle = target.used = True
        if changed:
            raise KeysChanged

    async def _arrived(self, agent: Client, it: Sent) -> bool:
        """Delete a key, unless it has changed since it was sent."""
        engine, keyspace = self.engine, agent.keyspace
        while engine.pause.until_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if engine.follows:
            return False
        if engine.refusal is not None:
            engine.refusal(agent, [b"DEL", it.key])
        keyspace.now_ms = engine.now_ms
        if it.deadline is not None and it.deadline <= keyspace.now_ms:
            return True  # it goes by itself
        value = keyspace.peek(it.key)
        if value is None or _mark(*self._state(keyspace, it.key, value)) != it.mark:
            return False
        self._delete(agent, [b"DEL", it.key])
        return True

    # Connections

    async def _connect(self, place: tuple[str, int], timeout_s: float) -> Target:
        try:
            async with asyncio.timeout(timeout_s):
                return Target(*await asyncio.open_connection(*place))
        except ConnectionError:
            raise CutOff(b"writing") from None
        except (OSError, OverflowError, UnicodeError):
            raise CannotReach from None

    def _take(self, place: tuple[str, int]) -> Target | None:
        """A connection that was kept."""
        target = self.kept.pop(place, None)
        if target is not None and target.expiry is not None:
            target.expiry.cancel()
        return target

    def _keep(self, place: tuple[str, int], target: Target) -> None:
        """Keep a connection for the next MIGRATE to the same place."""
        if place in self.kept or len(self.kept) >= MOST_KEPT:
            target.close()
            return
        self.kept[place] = target
        target.expiry = self.loop.call_later(KEPT_S, self._expire, place)

    def _expire(self, place: tuple[str, int]) -> None:
        target = self.kept.pop(place, None)
        if target is not None:
            target.close()


def _mark(deadline: int | None, payload: bytes) -> bytes:
    """What tells a key with this value from all others."""
    return blake2b(b"%d " % (deadline or 0) + payload, digest_size=16).digest()
