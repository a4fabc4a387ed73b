"""WAIT and WAITAOF: clients that wait until replicas, or the disk, have what they wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from distcache_replication.primary import having, keeping

from distcache_server.errors import AppendOnlyOff

if TYPE_CHECKING:
    from distcache_server.blocking import Wait
    from distcache_server.client import Client
    from distcache_server.replicas import Replicas


class Wanted(NamedTuple):
    """What a client waits for."""

    wait: Wait
    offset: int
    """The log up to here ..."""
    replicas: int
    """... with so many replicas, ..."""
    local: int | None = None
    """... and here, on disk; None where a place in the memory of replicas will do (WAIT)."""


class Waits:
    """The clients that wait."""

    def __init__(self, replicas: Replicas) -> None:
        self.replicas = replicas
        self.clients: dict[Client, Wanted] = {}

    def having(self, offset: int) -> int:
        """How many replicas have applied the log up to there."""
        return having(self.replicas.clients.values(), offset)

    def on_disk(self, offset: int) -> list[int]:
        """Whether our disk has the log up to there, and on how many replicas' disks it is."""
        here = self.replicas.persistence.kept >= offset
        return [int(here), keeping(self.replicas.clients.values(), offset)]

    def add(self, client: Client, wanted: Wanted) -> None:
        """Answer the client when there is what it wants."""
        self.clients[client] = wanted
        if wanted.local:
            self._flush()
        self.replicas.ask_soon()

    def forget(self, client: Client) -> None:
        """It is gone."""
        self.clients.pop(client, None)

    def serve(self) -> None:
        """Replicas or the disk have come further."""
        flush = False
        for client, wanted in list(self.clients.items()):
            wait, blocking = wanted.wait, self.replicas.engine.blocking
            if client.blocked is not wait:
                del self.clients[client]
                continue
            if wanted.local is None:
                count = self.having(wanted.offset)
                wait.timed_out, done = count, count >= wanted.replicas
            else:
                here, there = wait.timed_out = self.on_disk(wanted.offset)
                done = here >= wanted.local and there >= wanted.replicas
                if wanted.local and not self.replicas.engine.config.appendonly:
                    del self.clients[client]
                    blocking.fail(client, AppendOnlyOff())
                    continue
                flush |= wanted.local > here
            if done:
                del self.clients[client]
                blocking.answer(client, wait.timed_out)
        if flush:
            self._flush()

    def _flush(self) -> None:
        """Do not let those who wait for the disk wait for the second to be over."""
        disk = self.replicas.persistence.disk
        if disk is not None and not disk.flushing and disk.write():
            disk.commit()
