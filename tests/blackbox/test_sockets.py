"""The sockets that clients connect to, and what is set on them."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from distcache_server import serve

from tests.support import StartServer, Wire


@pytest.mark.ours("the server runs in the test's own process")
@pytest.mark.parametrize("seconds", [0, 100])
async def test_keepalive(seconds: int) -> None:
    async with serve(tcp_keepalive=seconds) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        (client,) = server.engine.clients.values()
        with socket.socket(fileno=os.dup(client.descriptor)) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == bool(seconds)
            if seconds:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 100
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 33
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        writer.close()


def test_several_addresses(start_server: StartServer) -> None:
    """One that does not exist is passed over where "-" stands before it."""
    server = start_server("--bind", "127.0.0.1", "127.0.0.2", "-192.0.2.1", "-::1")
    for host in ("127.0.0.1", "127.0.0.2"):
        with Wire((host, server.port)) as wire:
            assert wire.call("PING") == b"PONG"
    try:
        wire = Wire(("::1", server.port))
    except OSError:
        pytest.skip("no IPv6 here")
    with wire:
        assert wire.call("PING") == b"PONG"
        assert b" addr=[::1]:" in wire.call("CLIENT", "LIST")
