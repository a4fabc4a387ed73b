"""FAILOVER: a primary hands its part over to one of its replicas, and nothing is lost.

Writes are paused until a replica has all of the log; then we follow it, and ask it by PSYNC
FAILOVER to be the primary.  What was paused is answered after the change of roles, as a replica
answers it.  A replica that refuses leaves us the primary.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from distcache_replication.primary import ONLINE

from distcache_server import logs
from distcache_server.errors import Failure
from distcache_server.pausing import FAILOVER

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.replication import Replication

NONE, SYNCING, CHANGING = "no-failover", "waiting-for-sync", "failover-in-progress"


class FailingOver:
    """The failover that is going on, if there is one."""

    def __init__(self, replication: Replication) -> None:
        self.replication = replication
        self.state = NONE
        """As INFO names it."""
        self.target: tuple[str, int] | None = None
        """Who is to be the primary; None for the first that has all of the log."""
        self.force = False
        """When time is up the target is to be the primary, whatever it lacks."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, target: tuple[str, int] | None, timeout_ms: int, force: bool) -> None:
        """Pause writes, and wait for a replica; raises Failure."""
        replication, replicas = self.replication, self.replication.replicas
        if self.state != NONE:
            raise Failure(b"FAILOVER already in progress.")
        if replication.link is not None:
            raise Failure(b"FAILOVER is not valid when server is a replica.")
        if not replicas.clients:
            raise Failure(b"FAILOVER requires connected replicas.")
        if force and not (timeout_ms and target):
            raise Failure(
                b"FAILOVER with force option requires both a timeout and target HOST and IP."
            )
        if target is not None:
            client = self._find(target)
            if client is None:
                raise Failure(b"FAILOVER target HOST and PORT is not a replica.")
            if replicas.clients[client].state != ONLINE:
                raise Failure(b"FAILOVER target replica is not online.")
        self.state, self.target, self.force = SYNCING, target, force
        logs.notice("FAILOVER requested", to=_shown(target))
        replication.engine.pause.hold_writes(FAILOVER)
        # What replicas are asked now moves the log; from then on it has to stand still.
        replicas.ask_now()
        replicas.quiet = True
        replicas.acknowledged.append(self.look_soon)
        if timeout_ms:
            self._timer = replication.loop.call_later(timeout_ms / 1000, self._time_up)
        self.look_soon()

    def _find(self, target: tuple[str, int]) -> Client | None:
        """The replica that listens there."""
        host, port = target
        replicas = self.replication.replicas
        for client, it in replicas.clients.items():
            if it.port == port and replicas.host(client).lower() == host.lower():
                return client
        return None

    def look_soon(self) -> None:
        """A replica has acknowledged something; its own command must not end its connection."""
        self.replication.loop.call_soon(self._look)

    def _look(self) -> None:
        """See whether a replica has all of the log."""
        if self.state != SYNCING:
            return
        replicas = self.replication.replicas
        end = replicas.log.end
        wanted = self.target and self._find(self.target)
        for client, it in replicas.clients.items():
            if self.target is not None and client is not wanted:
                continue
            if it.state == ONLINE and it.acknowledged == end:
                self._change((replicas.host(client), it.port))
                return

    def _time_up(self) -> None:
        if self.state != SYNCING:
            return
        if self.force and self.target is not None:
            logs.warning("Failover: time is up, going on all the same", to=_shown(self.target))
            self._change(self.target)
        else:
            self.abort("Replica never caught up before timeout")

    def _change(self, target: tuple[str, int]) -> None:
        """Follow the replica, which is to be the primary."""
        self.state, self.target = CHANGING, target
        self._stop_waiting()
        self.replication.follow(*target, failover=True)

    def answered(self) -> None:
        """It is the primary now."""
        if self.state == CHANGING:
            logs.notice("Failover finished", to=_shown(self.target))
            self._clear()

    def abort(self, reason: str) -> None:
        """Stay the primary, or be it again."""
        if self.state == NONE:
            return
        logs.warning("Aborting failover", state=self.state, to=_shown(self.target), reason=reason)
        if self.state == CHANGING:
            self.replication.promote()
        self._clear()

    def _stop_waiting(self) -> None:
        replicas = self.replication.replicas
        if self.look_soon in replicas.acknowledged:
            replicas.acknowledged.remove(self.look_soon)
        replicas.quiet = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _clear(self) -> None:
        self._stop_waiting()
        self.state, self.target, self.force = NONE, None, False
        self.replication.engine.pause.end(FAILOVER)


def _shown(target: tuple[str, int] | None) -> str:
    return f"{target[0]}:{target[1]}" if target is not None else "any replica"
