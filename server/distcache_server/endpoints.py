"""The HTTP side of a server: /metrics, and how it is, for Prometheus, Kubernetes, load balancers.

One request to a connection, and no method but GET and those by which load balancers ask for the
status alone: so little of HTTP that a framework would be longer.  /leader and /replica answer as
Patroni's REST API does: 200 from whom one seeks, 503 from others.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import parse_qs

from distcache_server.commands import info
from distcache_server.config.kinds import memory
from distcache_server.metrics import CONTENT_TYPE, Exporter

if TYPE_CHECKING:
    from distcache_server.engine import Engine

LONGEST_REQUEST = 8192
"""Bytes of a request line with all headers."""
TIMEOUT_S = 10.0
"""How long a request may take, from connecting to the last byte of the answer."""
MOST_CONNECTIONS = 64
JSON = "application/json"
METHODS = ("GET", "HEAD", "OPTIONS")


class Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    kind: str = JSON


def answer(status: HTTPStatus, /, **facts: object) -> Answer:
    """An answer with some facts as JSON."""
    return Answer(status, json.dumps(facts).encode() + b"\n")


def response(it: Answer, method: bytes) -> bytes:
    """The bytes of an answer to a request of this method."""
    body = b"" if method == b"OPTIONS" else it.body
    allow = f"Allow: {', '.join(METHODS)}\r\n" if it.status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {it.status.value} {it.status.phrase}\r\n"
        f"Content-Type: {it.kind}\r\nContent-Length: {len(body)}\r\n{allow}"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if method == b"HEAD" else body)


def target_of(head: bytes) -> str | Answer:
    """What a request asks for, or the answer to a request that cannot be understood."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or not words[1].startswith(b"/"):
        return answer(HTTPStatus.BAD_REQUEST, error="not a request of HTTP/1.1")
    if words[0].decode("latin-1") not in METHODS:
        return answer(HTTPStatus.METHOD_NOT_ALLOWED, error=f"not one of {', '.join(METHODS)}")
    return words[1].decode("latin-1")


class Health:
    """The endpoints that say how the server is."""

    def __init__(self, engine: Engine, ready: Callable[[], bool]) -> None:
        self.engine = engine
        self.ready = ready
        self.paths: dict[str, Callable[[str], Answer]] = {
            "/liveness": self.liveness,
            "/readiness": self.readiness,
            "/leader": self.leader,
            "/replica": self.replica,
        }

    def liveness(self, _: str) -> Answer:
        """200: the event loop turns."""
        uptime_s = int(time.monotonic() - self.engine.started_monotonic)
        return answer(HTTPStatus.OK, status="alive", uptime_seconds=uptime_s)

    def readiness(self, _: str) -> Answer:
        """200 while clients are served, 503 while the server loads its data or stops."""
        if self.ready():
            return answer(HTTPStatus.OK, status="ready")
        status = "stopping" if self.engine.loading is None else "loading"
        return answer(HTTPStatus.SERVICE_UNAVAILABLE, status=status)

    def leader(self, _: str) -> Answer:
        """200 from a primary, 503 from a replica, and while the server loads its data."""
        return self._role("primary")

    def replica(self, query: str) -> Answer:
        """200 from a replica, 503 from a primary, and while the server loads its data.

        With ``lag`` the link has to be up, too, and no more than so many bytes left to apply.
        """
        words = parse_qs(query, keep_blank_values=True).get("lag")
        if words is None:
            return self._role("replica")
        lag = memory(words[0].encode()) if len(words) == 1 and words[0] else None
        if lag is None:
            return answer(HTTPStatus.BAD_REQUEST, error="lag is a number of bytes: 1000, 16kb, 1mb")
        replication = self.engine.replication
        link = None if replication is None else replication.link
        session = link.session if link is not None and link.is_up else None
        return self._role("replica", session is not None and session.behind <= lag)

    def _role(self, wanted: str, fit: bool = True) -> Answer:
        lines = dict(info.replication(self.engine))
        role = "primary" if lines["role"] == "master" else "replica"
        fit = fit and role == wanted and self.engine.loading is None
        status = HTTPStatus.OK if fit else HTTPStatus.SERVICE_UNAVAILABLE
        return answer(
            status,
            role=role,
            replication_id=lines["master_replid"],
            offset=lines["master_repl_offset"],
            run_id=self.engine.run_id,
        )


class Endpoints:
    """What the connections share."""

    def __init__(self, engine: Engine, ready: Callable[[], bool]) -> None:
        self.loop = asyncio.get_running_loop()
        self.exporter = Exporter(engine)
        self.paths = Health(engine, ready).paths
        self.connections: set[Request] = set()

    async def answer(self, target: str) -> Answer:
        """The answer to GET."""
        path, _, query = target.partition("?")
        if path == "/metrics":
            return Answer(HTTPStatus.OK, await self.exporter.scrape(), CONTENT_TYPE)
        if path in self.paths:
            return self.paths[path](query)
        known = ["/metrics", *self.paths]
        return answer(HTTPStatus.NOT_FOUND, error="no such endpoint", endpoints=known)

    def close(self) -> None:
        """Leave at once whoever is being served."""
        self.exporter.close()
        for connection in list(self.connections):
            connection.abort()


class Request(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.transport: asyncio.Transport | None = None
        self.received = b""
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.endpoints.connections.add(self)
        if len(self.endpoints.connections) > MOST_CONNECTIONS:
            self.abort()
        else:
            self.timer = self.endpoints.loop.call_later(TIMEOUT_S, self.abort)

    def data_received(self, data: bytes) -> None:
        if self.task is not None or self.transport is None or self.transport.is_closing():
            return
        self.received += data
        head, end, _ = self.received.partition(b"\r\n\r\n")
        if len(head) > LONGEST_REQUEST:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._send(answer(status, error=f"more than {LONGEST_REQUEST} bytes"))
        elif end:
            target = target_of(head)
            if isinstance(target, Answer):
                self._send(target)
            else:
                self.task = self.endpoints.loop.create_task(self._answer(target))

    async def _answer(self, target: str) -> None:
        self._send(await self.endpoints.answer(target))

    def _send(self, it: Answer) -> None:
        if self.transport is not None:
            self.transport.write(response(it, self.received.partition(b" ")[0]))
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.endpoints.connections.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()
        # The collector of cycles is off.
        self.transport = self.task = self.timer = None
