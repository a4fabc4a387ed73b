"""A proxy between librdkafka and a broker that cuts the connection at a request of one kind.

A request begins with its length (4 bytes), the kind (2), a version (2) and a number (4), which the
response begins with, too, behind its length: https://kafka.apache.org/protocol
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread

PRODUCE, METADATA, INIT_PRODUCER, ADD_PARTITIONS, END_TRANSACTION = 0, 3, 22, 24, 26


class Cutter:
    """Listens at a port, and passes on to another one."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._kind: int | None = None
        self._answered = False
        self.cuts = 0
        """How often it has cut."""
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        Thread(target=self._accept, daemon=True).start()

    def cut(self, kind: int, *, answered: bool) -> None:
        """Cut once, at the next request of that kind: before the broker has it, or after."""
        self._answered = answered
        self._kind = kind

    def close(self) -> None:
        """Stop listening, and cut all."""
        for it in (self._listener, *self._sockets):
            _close(it)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, broker]
                lost: set[bytes] = set()
                for work in (self._requests, self._responses):
                    Thread(target=work, args=(client, broker, lost), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket, lost: set[bytes]) -> None:
        with suppress(OSError):
            while frame := _frame(client):
                if int.from_bytes(frame[4:6], "big") == self._kind:
                    self._kind = None
                    self.cuts += 1
                    if not self._answered:
                        break
                    lost.add(frame[8:12])
                broker.sendall(frame)
        _close(client)
        _close(broker)

    def _responses(self, client: socket.socket, broker: socket.socket, lost: set[bytes]) -> None:
        with suppress(OSError):
            while frame := _frame(broker):
                if frame[4:8] in lost:
                    break
                client.sendall(frame)
        _close(client)
        _close(broker)


def _frame(source: socket.socket) -> bytes:
    """The next message with its length; nothing at the end."""
    head = _exactly(source, 4)
    return head and head + _exactly(source, int.from_bytes(head, "big"))


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data


def _close(it: socket.socket) -> None:
    with suppress(OSError):
        it.shutdown(socket.SHUT_RDWR)
    it.close()
