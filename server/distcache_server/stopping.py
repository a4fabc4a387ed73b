"""SHUTDOWN with replicas: writes are paused, and replicas may take what they lack, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from distcache_replication.primary import ONLINE

from distcache_server import logs
from distcache_server.errors import CannotSave
from distcache_server.pausing import SHUTDOWN

if TYPE_CHECKING:
    from distcache_server.blocking import Wait
    from distcache_server.client import Client
    from distcache_server.replicas import Replicas

Finish = Callable[[], None]
"""Stops the server; raises CannotSave."""


class Stopping:
    """The end of a server that is waited for, if there is one."""

    def __init__(self, replicas: Replicas) -> None:
        self.replicas = replicas
        self.engine = replicas.engine
        self.clients: dict[Client, Wait] = {}
        """Those that sent SHUTDOWN."""
        self._finish: Finish | None = None
        self._offset = 0
        """Replicas are to have the log up to here."""
        self._timer: asyncio.TimerHandle | None = None
        self.engine.stopping = self

    @property
    def waiting(self) -> bool:
        return self._finish is not None

    def must_wait(self) -> bool:
        """Whether replicas lack something, and may take it first."""
        engine = self.engine
        return (
            not engine.follows
            and engine.config.shutdown_timeout > 0
            and self._lack(self.replicas.log.end)
        )

    def _lack(self, offset: int) -> bool:
        return any(
            it.state == ONLINE and not it.silent and it.acknowledged < offset
            for it in self.replicas.clients.values()
        )

    def begin(self, finish: Finish) -> None:
        """Finish when replicas have everything, or time is up."""
        if self.waiting:
            return
        replicas = self.replicas
        self._finish, self._offset = finish, replicas.log.end
        seconds = self.engine.config.shutdown_timeout
        logs.notice("Waiting for replicas before shutting down", seconds=seconds)
        self.engine.pause.hold_writes(SHUTDOWN)
        replicas.ask_now()
        replicas.acknowledged.append(self._look)
        self._timer = replicas.loop.call_later(seconds, self.finish)

    def _look(self) -> None:
        if self.waiting and not self._lack(self._offset):
            self.finish()

    def finish(self) -> None:
        """Wait no longer."""
        finish = self._end()
        if finish is None:
            return
        if self._lack(self._offset):
            logs.warning("Shutting down while replicas lack a part of the log")
        try:
            finish()
        except CannotSave:
            self._refuse()
        else:
            self.let_go()

    def let_go(self) -> None:
        """The server stops: those who asked for it are answered by the end of their connections."""
        self._end()
        for client in self.clients:
            self.engine.blocking.forget(client)

    def abort(self) -> bool:
        """Go on; False where nobody waits."""
        if self._end() is None:
            return False
        logs.notice("Shutdown manually aborted")
        self._refuse()
        return True

    def _end(self) -> Finish | None:
        finish, self._finish = self._finish, None
        if finish is not None:
            self.replicas.acknowledged.remove(self._look)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return finish

    def _refuse(self) -> None:
        """The server goes on."""
        self.engine.pause.end(SHUTDOWN)
        clients, self.clients = self.clients, {}
        for client, wait in clients.items():
            if client.blocked is wait:
                self.engine.blocking.fail(client, CannotSave())
