"""A bare socket for tests that care about the very bytes."""

import socket
import struct
from types import TracebackType
from typing import Any, Self

from tests.support.resp import Incomplete, Push, Reply, encode, parse
from tests.support.waiting import PATIENCE_S


class Wire:
    """One connection. Every read fails the test when `timeout` seconds pass without an answer."""

    def __init__(self, address: tuple[str, int] | str, timeout: float = PATIENCE_S) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple) and ":" in address[0]:
            family = socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self._timeout = timeout
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send the bytes as they are."""
        self.socket.sendall(data)

    def command(self, *words: bytes | str | float) -> None:
        """Send one command without waiting for its reply."""
        self.send(encode(*words))

    def call(self, *words: bytes | str | float) -> Any:
        """Send one command and return its reply; an error is returned, not raised.

        It is a `Reply`, typed as Any because a test knows what it asked for.
        """
        self.command(*words)
        return self.reply()

    def reply(self) -> Reply:
        """The next reply, push messages included."""
        while True:
            try:
                reply, end = parse(self._unread)
            except Incomplete:
                self._receive()
                continue
            self._unread = self._unread[end:]
            return reply

    def has_reply(self) -> bool:
        """Whether a whole reply has arrived."""
        self.is_closed()
        try:
            parse(self._unread)
        except Incomplete:
            return False
        return True

    def push(self) -> Push:
        """The next reply, which must be a push message."""
        reply = self.reply()
        assert isinstance(reply, Push), reply
        return reply

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        while len(self._unread) < size:
            self._receive()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and including `end`."""
        while (at := self._unread.find(end)) < 0:
            self._receive()
        return self.read(at + len(end))

    def expect(self, data: bytes) -> None:
        """The next bytes must be these; what came instead is in the failure."""
        while len(self._unread) < len(data) and data.startswith(self._unread):
            self._receive()
        assert self._unread[: len(data)] == data
        self._unread = self._unread[len(data) :]

    def expect_closed(self, last: bytes = b"") -> None:
        """The server says `last` and closes the connection, cleanly or with a reset."""
        received = self._unread
        try:
            while data := self.socket.recv(65536):
                received += data
        except (ConnectionResetError, BrokenPipeError):
            pass
        self._unread = b""
        assert received == last

    def is_closed(self) -> bool:
        """Whether the server has closed the connection by now; what it sent stays readable."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self._unread += data
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            return True
        finally:
            self.socket.settimeout(self._timeout)
        return True

    def shut_writing(self) -> None:
        """Send end of file, but keep reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with a TCP reset instead of a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"no answer; received so far: {self._unread[:500]!r}") from None
        if not data:
            raise AssertionError(f"closed by the server; received: {self._unread[:500]!r}")
        self._unread += data


__all__ = ["Wire"]
