"""Who may connect, and when a connection is closed: limits, protected mode, idle time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from distcache_server import logs
from distcache_server.errors import Denied, MaxClients
from distcache_server.turn import Turn

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.connection import Connection
    from distcache_server.engine import Engine, Shutdown


class Gate:
    """The rules that all connections of a server share, and what they need from its loop."""

    def __init__(
        self,
        engine: Engine,
        call_soon: Callable[[Callable[[], None]], object],
        shutdown: Callable[[Shutdown], None],
    ) -> None:
        self.engine = engine
        self.call_soon = call_soon
        self.turn = Turn(engine, call_soon)
        self.shutdown = shutdown
        self.rarely = logs.Rarely()

    def welcome(self, connection: Connection, sock: socket.socket) -> None:
        """Note the addresses of a new connection, and refuse it where a rule says so."""
        engine, client = self.engine, connection.client
        config = engine.config
        engine.counters.connections_received += 1
        client.unix = sock.family == socket.AF_UNIX
        if client.unix:
            client.address = client.local_address = f"{config.unixsocket}:0"
        else:
            client.address = _address(sock)
            client.local_address = "{}:{}".format(*_shown(sock.getsockname()))
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if config.tcp_keepalive:
                _keep_alive(sock, config.tcp_keepalive)
        refusal: type[Denied | MaxClients] | None = None
        if len(engine.clients) > config.maxclients:
            refusal = MaxClients
        elif config.protected_mode and not config.requirepass and not client.is_local:
            refusal = Denied
        if refusal is not None:
            engine.counters.connections_rejected += 1
            connection.write(refusal().wire())
            connection.close()
        elif config.requirepass:
            client.enter("unauthenticated")
        logs.verbose("Accepted", address=client.address, id=client.id)

    def check_output(self, client: Client) -> None:
        """Close a client whose unsent replies pass a limit of its class."""
        limits = self.engine.config.client_output_buffer_limit
        # Who monitors is sent what nobody asked for, like who subscribes.
        unasked = client.subscriptions or client.monitoring
        limit = limits.pubsub if unasked else limits.normal
        if client.kind == "replica":
            return  # what waits for it in the log counts, too (replicas.py)
        size = client.memory()[1]
        now_ms = self.engine.now_ms
        if not limit.soft or size <= limit.soft:
            client.soft_since_ms = 0
        elif not client.soft_since_ms:
            client.soft_since_ms = now_ms
        too_long = (
            client.soft_since_ms and now_ms - client.soft_since_ms > limit.soft_seconds * 1000
        )
        stranger = client.state == "unauthenticated" and size > UNAUTHENTICATED_OUTPUT
        if too_long or stranger or (limit.hard and size > limit.hard):
            self.engine.counters.output_limit_disconnections += 1
            self.rarely.warning(
                "output",
                "Client closed: it does not read its replies",
                id=client.id,
                address=client.address,
                unsent=size,
            )
            client.kill()

    def abuse(self, event: str, client: Client) -> None:
        """Say that somebody speaks another protocol to us, at most once a minute."""
        self.rarely.warning(event, event, address=client.address)

    def tick(self) -> None:
        """Once a second: close idle clients, and those that use too much memory together."""
        engine, config = self.engine, self.engine.config
        if not engine.ticking:
            return
        engine.rates.sample(monotonic(), engine.totals())
        clients = engine.clients
        now_ms = engine.now_ms
        for client in [client for client in clients.values() if client.soft_since_ms]:
            self.check_output(client)
        if config.timeout:
            oldest = now_ms - config.timeout * 1000
            for client in list(clients.values()):
                busy = client.blocked is not None or client.monitoring
                if client.last_ms < oldest and client.kind == "normal" and not busy:
                    logs.verbose("Closing idle client", id=client.id, address=client.address)
                    client.kill()
        if most := config.maxmemory_clients.of(config.maxmemory):
            self._evict_clients(most)

    def _evict_clients(self, limit: int) -> None:
        sizes = {client: client.footprint for client in self.engine.clients.values()}
        total = sum(sizes.values())
        for client in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if total <= limit:
                return
            if not client.no_evict and client.kind in ("normal", "pubsub"):
                total -= sizes[client]
                self.engine.counters.evicted_clients += 1
                logs.warning("Evicting client", id=client.id, memory=sizes[client])
                client.kill()


UNAUTHENTICATED_OUTPUT = 1024
"""Unsent bytes that a client without a password may leave lying."""


def _shown(name: tuple[str, int]) -> tuple[str, int]:
    host, port = name[:2]
    return (f"[{host}]", port) if ":" in host else (host, port)


def _address(sock: socket.socket) -> str:
    with suppress(OSError):
        return "{}:{}".format(*_shown(sock.getpeername()))
    return "?:0"


def _keep_alive(sock: socket.socket, seconds: int) -> None:
    """Probe an idle peer after ``seconds``, then three times in a third of that (anet.c)."""
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(seconds // 3, 1))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
