"""synchronous-replicas: replies to writes are held until so many replicas have what they say.

Only replies to writes wait, and behind one that waits whatever else its connection is sent.
Readers see a write at once, before replicas have it.  A reply whose time is up is replaced by an
error, its connection is closed, or it is sent all the same, as the configuration says; the write
stays.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from distcache_replication.log import Log

from distcache_server import logs
from distcache_server.errors import NotConfirmed
from distcache_server.unconfirmed import Unconfirmed, replaced

if TYPE_CHECKING:
    from distcache_server.connection import Connection
    from distcache_server.engine import Engine


class Held(NamedTuple):
    """Bytes that wait, in the order in which they came."""

    offset: int
    """The log up to here is to be confirmed."""
    since_s: float
    connection: Connection
    data: bytes


class Confirming:
    """The replies that wait for replicas."""

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        ask: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.loop = loop
        self._log = log
        self.ask = ask
        """Has replicas say how far they are."""
        self.offset = 0
        """The log is confirmed up to here."""
        self.late = 0
        """Batches of replies whose time was up."""
        self.held: deque[Held] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rarely = logs.Rarely()
        engine.config.on_change(self._time_up, "synchronous-replicas-timeout")

    @property
    def number(self) -> int:
        """How many replicas are to confirm; 0 where none is waited for."""
        return self.engine.config.synchronous_replicas

    def configure(self) -> None:
        """Wait from now on, or no more."""
        engine = self.engine
        if not self.number:
            self._release(None)
        self._log.confirm(self.offset if self.number else None)
        if (engine.confirm is not None) != bool(self.number):
            engine.confirm = self.may_go if self.number else None
            engine.arrange_barrier()
            engine.rebuild()

    def may_go(self, connection: Connection, data: bytes) -> bool:
        """Whether these bytes may be sent now; else they are kept."""
        offset = data.offset if isinstance(data, Unconfirmed) else 0
        if not connection.held and offset <= self.offset:
            return True
        self.held.append(Held(offset, monotonic(), connection, data))
        connection.held += len(data)
        if offset > self.offset:
            self.ask()
        if self._timer is None and (patience_s := self._patience_s()):
            self._timer = self.loop.call_later(patience_s, self._time_up)
        return False

    def _patience_s(self) -> float:
        return self.engine.config.synchronous_replicas_timeout / 1000

    def confirm(self, offset: int) -> None:
        """Enough replicas have the log up to here."""
        if offset > self.offset:
            self.offset = offset
            self._log.confirm(offset)
            self._release(offset)

    def _release(self, offset: int | None) -> None:
        """Send what waited for the log up to there, or everything."""
        held = self.held
        while held and (offset is None or held[0].offset <= offset):
            it = held.popleft()
            self._send(it.connection, it.data, it.data)

    def _send(self, connection: Connection, data: bytes, instead: bytes) -> None:
        connection.held -= len(data)
        connection.write(instead, durable=True)
        if connection.closing and not connection.held:
            connection.close()

    def _time_up(self) -> None:
        """See whose time is up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        patience_s, held = self._patience_s(), self.held
        if not patience_s:
            return
        oldest_s = monotonic() - patience_s
        while held and held[0].since_s <= oldest_s:
            self._fail(held.popleft())
        if held:
            self._timer = self.loop.call_later(held[0].since_s - oldest_s, self._time_up)

    def _fail(self, it: Held) -> None:
        """Do with bytes that waited for too long what the configuration says."""
        data, connection = it.data, it.connection
        if not isinstance(data, Unconfirmed):
            self._send(connection, data, data)
            return
        self.late += 1
        what = self.engine.config.synchronous_replicas_on_timeout
        self._rarely.warning(
            "unconfirmed", "Replicas did not confirm a write in time", offset=it.offset
        )
        if what == "close":
            connection.held -= len(data)
            connection.kill()
            return
        error = NotConfirmed(self.number).wire()
        self._send(connection, data, data if what == "reply" else replaced(data, error))

    def give_up(self) -> None:
        """Nobody will confirm what is held: we are no primary any more, or stop."""
        held, self.held = self.held, deque()
        for it in held:
            self._fail(it)
        self.offset = 0
        self._log.confirm(0 if self.number else None)
