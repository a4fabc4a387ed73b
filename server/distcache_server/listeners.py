"""Opening the sockets that clients connect to: several addresses, IPv6, a Unix socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol


class CannotListen(Exception):
    """No socket could be opened; the message says which and why."""


class Listener(Protocol):
    """What accepts connections on a socket."""

    def close(self) -> None: ...


class Place:
    """Where connections of one kind are accepted.  It can move while the server runs."""

    def __init__(self, serve: Callable[[socket.socket], Coroutine[Any, Any, Listener]]) -> None:
        self._serve = serve
        """Accept connections on a socket."""
        self._listeners: dict[socket.socket, asyncio.Task[Listener]] = {}
        self.addresses: tuple[str, ...] = ()
        self.port = 0

    def move(self, addresses: tuple[str, ...], port: int, backlog: int) -> None:
        """Listen there, and no longer where it was; raises CannotListen, and stays."""
        if (addresses, port) == (self.addresses, self.port):
            return
        if port == self.port:
            # The new addresses may overlap the old ones.
            self.close()
        try:
            opened = tcp(addresses, port, backlog)
        except CannotListen:
            if not self._listeners:
                self.listen(tcp(self.addresses, self.port, backlog))
            raise
        self.close()
        self.listen(opened)
        self.addresses = addresses
        self.port = opened[0].getsockname()[1] if opened else 0

    def listen(self, sockets: list[socket.socket]) -> None:
        """Accept connections on these as soon as the loop has time, besides those of before."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._listeners[sock] = loop.create_task(self._serve(sock))

    async def ready(self) -> None:
        """Wait until connections are accepted."""
        await asyncio.gather(*self._listeners.values())

    @property
    def names(self) -> list[str]:
        """The addresses, as one writes them."""
        return [shown(sock) for sock in self._listeners]

    def close(self) -> None:
        """Accept no more connections."""
        for sock, task in self._listeners.items():
            if task.done():
                task.result().close()
            else:
                task.cancel()
                sock.close()
        self._listeners.clear()


def shown(sock: socket.socket) -> str:
    """``127.0.0.1:6379``"""
    host, port, *_ = sock.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tcp(addresses: tuple[str, ...], port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets for each address; ``*`` is every one, ``-`` before it makes it optional.

    With port 0 in a first socket the others take the port that it was given.  Raises CannotListen,
    with no socket left open.
    """
    sockets: list[socket.socket] = []
    for address in addresses:
        optional = address.startswith("-")
        host = {"*": "0.0.0.0", "::*": "::"}.get(address.lstrip("-"), address.lstrip("-"))  # noqa: S104
        try:
            family, _, _, _, name = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            if optional:
                continue
            _close(sockets)
            raise CannotListen(f"{host}:{port}: {error.strerror}") from None
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
            sock.listen(backlog)
        except OSError as error:
            sock.close()
            if optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            _close(sockets)
            raise CannotListen(f"{host}:{port}: {error.strerror}") from None
        sock.setblocking(False)
        sockets.append(sock)
        port = port or sock.getsockname()[1]
    if addresses and not sockets:
        raise CannotListen(f"none of the addresses {' '.join(addresses)} exists here")
    return sockets


def unix(path: str, mode: int, backlog: int) -> socket.socket:
    """A Unix socket with its permissions set before anybody can connect; raises CannotListen."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        # bind creates the file: until chmod nobody but us may use it.
        before = os.umask(0o177 if mode else os.umask(0o077))
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if mode:
            os.chmod(path, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListen(f"{path}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def raise_file_limit(clients: int) -> int:
    """Allow as many open files as clients need; how many clients that makes.

    Raises CannotListen where there would be none.
    """
    try:
        import resource
    except ImportError:
        return clients
    wanted = clients + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return clients
    for attempt in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, attempt), attempt))
            break
        except (ValueError, OSError):
            continue
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft <= RESERVED_FILES:
        raise CannotListen(
            f"the limit of open files (ulimit -n) is {soft}: raise it to {wanted},"
            f" or at least above {RESERVED_FILES}"
        )
    return min(clients, soft - RESERVED_FILES)


RESERVED_FILES = 32


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
