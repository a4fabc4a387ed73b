"""A way to PostgreSQL on which the reply to a COMMIT is lost, or comes late."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.support.databases import PostgresDatabase

DONE = b"C\0\0\0\x0bCOMMIT\0"


class Commits:
    """Passes all on, but for the reply to the first COMMIT that comes after `catch`.

    That is lost, and the connection with it; or, with `late`, comes when the test lets it.
    """

    def __init__(self, database: PostgresDatabase, *, late: bool = False) -> None:
        self._target = database.server.port
        self._late = late
        self._listener = socket.create_server(("127.0.0.1", 0))
        place = f"@127.0.0.1:{self._target}/"
        here = f"@127.0.0.1:{self._listener.getsockname()[1]}/"
        self.address = database.address.replace(place, here)
        self._catching = threading.Event()
        self.caught = threading.Event()
        """It has been committed, and nobody knows."""
        self.let_go = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.let_go.set()
        self._listener.close()

    def catch(self) -> None:
        """The next one."""
        self._catching.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                # It is asked for by a prepared statement, so that only the reply tells.
                if DONE in data and self._catching.is_set():
                    self._catching.clear()
                    self.caught.set()
                    if not self._late:
                        break
                    self.let_go.wait(60)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


__all__ = ["Commits"]
