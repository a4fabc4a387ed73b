"""Clients that wait for the backing store: to have what they wrote, or to be less far behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.blocking import Wait
from distcache_server.errors import BackingLag, NotStored, RowsStay
from distcache_server.loads import LoadWait
from distcache_server.reply import Wire

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.loading import Loader
    from distcache_server.registry import Command, Handler
    from distcache_server.writing import Writer

FEW = 1000
"""Who waits no more is forgotten when so many were noted, or twice as many as really wait."""
SWEEPING = frozenset({"flushall", "flushdb", "swapdb"})


class StoreWaits:
    """The clients that wait."""

    def __init__(self, writer: Writer, reader: Loader) -> None:
        self.writer = writer
        self.reader = reader
        self.engine = writer.engine
        self._stored: list[tuple[int, Client, Wait, Any]] = []
        """For the log up to an offset, with what they are answered then."""
        self._held: list[LoadWait] = []
        """Until writes may go on."""
        self._most = FEW
        self._owed = False
        """The transaction that runs has written to keys whose clients wait for the store."""
        writer.told.append(self.serve)

    # Writes while the store is too far behind

    def hold_back(self, client: Client, keys: Iterable[bytes]) -> None:
        """A command may not write to rows now: let it wait, or refuse it."""
        if not any(self.writer.noter.plan_of(key) for key in keys):
            return
        if self.engine.config.backing_on_lag == "fail":
            raise BackingLag
        self._forget_some()
        wait = LoadWait(client)
        self._held.append(wait)
        raise wait

    def _forget_some(self) -> None:
        """While nothing is stored, those go from the lists whose time is up, or who have left."""
        if len(self._stored) + len(self._held) >= self._most:
            self._stored = [each for each in self._stored if each[1].blocked is each[2]]
            self._held = [wait for wait in self._held if wait.client.blocked is wait]
            self._most = max(FEW, 2 * (len(self._stored) + len(self._held)))

    @property
    def held(self) -> int:
        """How many wait for that."""
        return sum(wait.client.blocked is wait for wait in self._held)

    def sparing(self, command: Command, handler: Handler) -> Handler:
        """FLUSHALL and the like drop keys, and must not drop rows that are not ours alone."""
        rows = any(it.mapping.writes and not it.any_type for it in self.reader.plans)
        home, name = self.writer.home, command.name
        if name not in SWEEPING:
            return handler

        def run(client: Client, words: Args) -> Any:
            if name == "swapdb":
                refused = b"0" in words[1:]
            else:
                refused = rows and (client.keyspace is home or name == "flushall")
            if refused:
                raise RowsStay(name.upper().encode())
            return handler(client, words)

        return run

    # Replies that wait for the store

    def run(self, client: Client, words: Args, handler: Handler) -> Any:
        """Run a command whose reply waits for the store to have what it writes."""
        logged = client.logged
        reply = handler(client, words)
        if self.engine.in_transaction:
            self._owed = True
            return reply
        return self._when_stored(client, reply, logged)

    def around_exec(self, handler: Handler) -> Handler:
        """EXEC, whose reply waits where that of one of its commands would."""

        def run(client: Client, words: Args) -> Any:
            self._owed, logged = False, client.logged
            reply = handler(client, words)
            return self._when_stored(client, reply, logged) if self._owed else reply

        return run

    def _when_stored(self, client: Client, reply: Any, logged: int) -> Any:
        if client.logged == logged:
            return reply
        timeout_ms = self.engine.config.backing_through_timeout
        wait = Wait([], None, timeout_ms, otherwise=Wire(NotStored().wire()))
        self._add(client, wait, reply)
        raise wait

    def wait(self, client: Client, timeout_ms: int) -> int:
        """1 if the store has all that the client wrote; raises Wait until then."""
        if self.writer.reached(client.logged):
            return 1
        wait = Wait([], None, timeout_ms, otherwise=0)
        if not self.engine.in_transaction:
            self._add(client, wait, 1)
        raise wait

    def _add(self, client: Client, wait: Wait, reply: Any) -> None:
        self._forget_some()
        self._stored.append((client.logged, client, wait, reply))
        self.writer.want(client.logged)

    def serve(self) -> None:
        """The store has come further."""
        writer, blocking = self.writer, self.engine.blocking
        waiting, self._stored = self._stored, []
        for each in waiting:
            offset, client, wait, reply = each
            if client.blocked is not wait:
                continue
            if writer.reached(offset):
                blocking.answer(client, reply)
            else:
                self._stored.append(each)
        if not writer.full:
            held, self._held = self._held, []
            for again in held:
                if again.client.blocked is again:
                    self.reader.run_again(again)
