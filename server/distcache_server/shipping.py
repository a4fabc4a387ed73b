"""Replicas are sent a write before its client is told of it.

What clients are sent waits until the turn of the event loop is over.  Then the log goes to all
replicas, as far as the kernel takes it, and the replies go out behind it: a primary that is killed
between two calls of the kernel has told nobody of a write that is not under way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from distcache_replication.log import Log
from distcache_replication.primary import Replica

if TYPE_CHECKING:
    from distcache_server.connection import Connection


class Shipping:
    """Sends the log to the replicas of a server, and then what waited for that."""

    def __init__(
        self,
        log: Log,
        replicas: Callable[[], Collection[Replica]],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._log = log
        self._replicas = replicas
        self._call_soon = call_soon
        self._shipped = 0
        """The log was sent up to here."""
        self._listens = False
        """The log tells of what is appended next."""
        self._due = False
        self._kept: list[tuple[Connection, bytes]] = []

    def may_go(self, connection: Connection, data: bytes) -> bool:
        """Whether these bytes may be sent now; else they are kept until the turn is over."""
        if self._shipped == self._log.end or connection.client.replica is not None:
            return True
        self._kept.append((connection, data))
        connection.kept += len(data)
        self.ship_soon()
        return False

    def ship_soon(self) -> None:
        """`ship`, when the turn is over."""
        if not self._due:
            self._due = True
            self._call_soon(self.ship)

    def _appended(self) -> None:
        self._listens = False
        self.ship_soon()

    def ship(self) -> None:
        """Send replicas all that there is, and then clients what was kept."""
        self._due = False
        self._shipped = self._log.end
        replicas = list(self._replicas())
        for replica in replicas:
            replica.ship()
        if replicas and not self._listens:
            self._listens = True
            self._log.tell(self._appended)
        kept, self._kept = self._kept, []
        for connection, data in kept:
            connection.kept -= len(data)
            connection.write(data, durable=True)
            if connection.closing and not connection.kept:
                connection.close()
