"""Who may connect, and when a connection is closed: maxclients, protected mode, limits, idle time."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from distcache_server.errors import Denied, MaxClients

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.connection import Connection
    from distcache_server.engine import Engine, Shutdown

log = logging.getLogger("distcache")


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
        self.shutdown = shutdown
        self.connections: dict[int, Connection] = {}

    def welcome(self, connection: Connection, sock: socket.socket) -> None:
        """Note the addresses of a new connection, and refuse it where a rule says so."""
        engine, client = self.engine, connection.client
        config = engine.config
        engine.counters.connections_received += 1
        client.unix = sock.family == socket.AF_UNIX
        if client.unix:
            client.address = client.local_address = f"{config.unixsocket}:0"
        else:
            client.address = _address(sock.getpeername())
            client.local_address = _address(sock.getsockname())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if config.tcp_keepalive:
                _keep_alive(sock, config.tcp_keepalive)
        refusal: type[Denied | MaxClients] | None = None
        if len(engine.clients) > config.maxclients:
            refusal = MaxClients
        elif config.protected_mode and not config.requirepass and not _is_local(sock):
            refusal = Denied
        if refusal is not None:
            engine.counters.connections_rejected += 1
            connection.write(refusal().wire())
            connection.close()
            return
        if config.requirepass:
            client.enter("unauthenticated")


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_local(sock: socket.socket) -> bool:
    if sock.family == socket.AF_UNIX:
        return True
    host = sock.getpeername()[0]
    return bool(host.startswith(("127.", "::ffff:127.")) or host == "::1")


def _keep_alive(sock: socket.socket, seconds: int) -> None:
    """Probe an idle peer after ``seconds``, then three times in a third of that (anet.c)."""
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(seconds // 3, 1))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
