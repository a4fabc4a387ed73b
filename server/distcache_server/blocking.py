"""Who waits for which key, served in order of arrival.

A handler that finds nothing raises ``Wait``, and whoever runs it parks the client here.  When a
command or transaction has changed a key that clients wait for, and the key then holds the kind of
value that they wait for, their handlers run again, the longest waiting first.  One that finds
nothing again keeps its place and its timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING, Any

from distcache_server import logs
from distcache_server.arguments import Args
from distcache_server.errors import CommandError, Unblocked
from distcache_server.reply import NullArray, Wire
from distcache_server.unconfirmed import marked_since

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace
    from distcache_server.registry import Command

Queue = dict["Client", None]
"""Clients that wait for a key, the longest waiting first."""

Cancel = Callable[[], None]

FIRST = 16
"""Clients of a queue that are looked at before the others."""


class Wait(Exception):
    """Raised by a handler: run me again when one of ``keys`` holds a ``kind``.

    ``timeout_ms`` 0 waits for ever.  ``otherwise`` is the reply inside MULTI, where nobody waits,
    and when time is up, unless ``timed_out`` is given.  With no keys the client waits for time, or
    for whatever calls ``Blocking.answer``.  With ``always`` the handler runs again whenever a key
    changes, also when it is gone.
    """

    def __init__(
        self,
        keys: list[bytes],
        kind: type | None,
        timeout_ms: int,
        otherwise: Any = NullArray,
        timed_out: Any = None,
        always: bool = False,
    ) -> None:
        super().__init__()
        self.keys = keys
        self.kind = kind
        self.timeout_ms = timeout_ms
        self.otherwise = otherwise
        self.timed_out = otherwise if timed_out is None else timed_out
        self.always = always
        self.words: Args = []
        """The command; whoever raises this may set another to run."""
        self.command: Command | None = None
        self.handler: Callable[[Client, Args], Any] | None = None
        self.elapsed_ns = 0
        """For how long the handler ran so far."""
        self.cancel: Cancel | None = None


class Hold(Exception):
    """Raised in place of a command that must not run yet (CLIENT PAUSE): it is put back."""


class Blocking:
    """The parked clients of a server."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Cancel]) -> None:
        self._call_later = call_later
        self.clients: dict[Client, None] = {}
        self.finished: Callable[[Client, Wait, CommandError | None], None] = _uncounted
        """Told of each wait that has been answered."""
        self._serving = False
        self._always = 0
        """Clients that are told of a key that is gone."""

    def park(self, client: Client, wait: Wait) -> None:
        """Let the client wait; its later commands wait in its backlog."""
        # Its traceback would keep the frames, and with them the whole batch, for as long.
        wait.__traceback__ = None
        client.blocked = wait
        self.clients[client] = None
        self._always += wait.always
        keyspace = client.keyspace
        for key in wait.keys:
            keyspace.waiting.setdefault(key, {})[client] = None
        keyspace.arrange()
        if wait.timeout_ms and wait.cancel is None:
            wait.cancel = self._call_later(
                wait.timeout_ms / 1000, lambda: self.answer(client, wait.timed_out)
            )

    def forget(self, client: Client) -> None:
        """The client waits no more, or is gone."""
        wait = client.blocked
        if wait is None:
            return
        client.blocked = None
        self.clients.pop(client, None)
        self._always -= wait.always
        if wait.cancel is not None:
            wait.cancel()
            wait.cancel = None
        waiting = client.keyspace.waiting
        for key in wait.keys:
            queue = waiting.get(key)
            if queue is not None:
                queue.pop(client, None)
                if not queue:
                    del waiting[key]
        client.keyspace.arrange()

    def answer(self, client: Client, reply: Any) -> None:
        """End a client's wait with a reply, then go on with its backlog."""
        self._end(client, reply, None)

    def fail(self, client: Client, error: CommandError) -> None:
        """End a client's wait with an error."""
        self._end(client, Wire(error.wire()), error)

    def _end(self, client: Client, reply: Any, error: CommandError | None) -> None:
        wait = client.blocked
        if wait is None:
            return
        self.forget(client)
        self.finished(client, wait, error)
        client.send(client.encoders[type(reply)](reply))
        client.resume()

    def unblock(self, client: Client, with_error: bool) -> bool:
        """CLIENT UNBLOCK: end a wait as if time were up, or with an error; False if none is on."""
        wait = client.blocked
        if wait is None:
            return False
        if with_error:
            self.fail(client, Unblocked())
        else:
            self.answer(client, wait.timed_out)
        return True

    def serve(self, ready: dict[tuple[Keyspace, bytes], None]) -> None:
        """Run the commands of clients whose keys have become ready, until nothing changes.

        The commands make other keys ready (BLMOVE), whose clients have their turn after these.
        """
        if self._serving:
            return
        self._serving = True
        try:
            while ready:
                keyspace, key = next(iter(ready))
                del ready[keyspace, key]
                self._serve_key(keyspace, key)
        finally:
            self._serving = False

    def _serve_key(self, keyspace: Keyspace, key: bytes) -> None:
        for client in _walked(keyspace.waiting.get(key, {})):
            value = keyspace.peek(key)
            if value is None and not self._always:
                break  # thousands may wait for what the first of them has taken
            wait = client.blocked
            if wait is not None and (wait.always or _fits(value, wait.kind)):
                self._retry(client, wait)

    def _retry(self, client: Client, wait: Wait) -> None:
        engine = client.engine
        assert wait.handler is not None
        client.keyspace.now_ms = max(client.keyspace.now_ms, engine.now_ms)
        started, logged = time_ns(), client.logged
        try:
            reply = wait.handler(client, wait.words)
        except Wait as other:
            wait.elapsed_ns += time_ns() - started
            if not other.keys:
                # Not for keys any more: it needs a row, or has run, and that is to be safe first.
                other.words, other.command = other.words or wait.words, wait.command
                other.handler, other.elapsed_ns = wait.handler, wait.elapsed_ns
                self.forget(client)
                self.park(client, other)
        except CommandError as error:
            wait.elapsed_ns += time_ns() - started
            self.fail(client, error)
        except Exception as error:
            # This is the top of that client's command: it must not end the one that woke it.
            engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error: closing the client", error, id=client.id)
            self.forget(client)
            client.kill()
        else:
            wait.elapsed_ns += time_ns() - started
            if engine.confirm is not None:
                reply = marked_since(client, reply, logged)
            self.answer(client, reply)


def _walked(queue: Queue) -> Iterator[Client]:
    """Who stands in a queue, which may change meanwhile; all of a long one are seldom needed.

    The first of a long one come again if they are still there.
    """
    long = len(queue) > FIRST
    yield from list(islice(queue, FIRST))
    if long:
        yield from list(queue)


def _fits(value: Any, kind: type | None) -> bool:
    return value is not None and (kind is None or type(value) is kind)


def _uncounted(_: Client, __: Wait, ___: CommandError | None) -> None:
    """Nobody keeps statistics."""
