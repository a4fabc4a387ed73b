"""Applies a log to the databases, at a start or as a replica.

Nothing expires meanwhile: the clock of the databases stands at zero, and what the log says of keys
that went is all that counts.  Nothing is logged, counted or refused for want of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from distcache_server import logs
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.errors import CommandError
from distcache_server.marks import marked
from distcache_server.registry import Handler, TableKey, every_command

if TYPE_CHECKING:
    from distcache_server.engine import Engine


class CannotApply(Exception):
    """A command of the log is not known, or was refused; ``words`` is it."""

    def __init__(self, words: Args, reason: str) -> None:
        super().__init__(reason)
        self.words = words
        self.reason = reason


def _note_mark(client: Client, words: Args) -> None:
    """A PING may be a mark of what is known of the store."""
    known = marked(words)
    if known is not None:
        client.engine.known_changes = known


class Replay:
    """Runs commands of a log, one file after the other."""

    def __init__(self, engine: Engine) -> None:
        self.client = Client(engine)
        self._arity: dict[TableKey, tuple[Handler, int, int]] = {}
        self._queue: list[Args] | None = None
        """Commands since MULTI, which do nothing until EXEC."""
        self._rarely = logs.Rarely()
        self.begin()
        for command in every_command():
            for name in command.keys_in_table:
                if not command.subcommands:
                    self._arity[name] = command.handler, command.least, command.most
        self._arity[b"PING"] = _note_mark, 1, 2

    @property
    def in_transaction(self) -> bool:
        """MULTI came, and EXEC did not."""
        return self._queue is not None

    def begin(self) -> None:
        """A file begins: no transaction; the database is still the one that was selected last."""
        self._queue = None
        self.stop_clock()

    def stop_clock(self) -> None:
        """Let nothing expire until the next command of a client."""
        for keyspace in self.client.engine.databases:
            keyspace.now_ms = 0

    @property
    def selected(self) -> int:
        """The database that is selected."""
        return self.client.keyspace.index

    def select(self, index: int) -> None:
        """What comes next is for this database."""
        databases = self.client.engine.databases
        self.client.keyspace = databases[index if index < len(databases) else 0]

    def abandon(self) -> None:
        """The rest of a transaction will not come."""
        self._queue = None

    def run(self, commands: Iterable[Args]) -> None:
        """``apply``, for a replica: goes on where a command is refused, and tells the log file."""
        engine = self.client.engine
        self.stop_clock()
        left = iter(commands)
        while True:
            try:
                self.apply(left)
                break
            except CannotApply as error:
                self._rarely.warning(
                    "apply",
                    "A command of the primary cannot be applied: the keys differ now",
                    command=error.words[0][:64].decode("latin-1"),
                    reason=error.reason,
                )
        engine.selected = self.selected
        now_ms = engine.now_ms
        for keyspace in engine.databases:
            keyspace.now_ms = now_ms

    def apply(self, commands: Iterable[Args]) -> int:
        """Run commands; how many.  Raises CannotApply."""
        count = 0
        for words in commands:
            count += 1
            name = words[0].upper()
            if name == b"MULTI":
                self._queue = []
            elif name == b"EXEC":
                queue, self._queue = self._queue, None
                for queued in queue or ():
                    self._run(queued)
            elif self._queue is not None:
                self._queue.append(words)
            else:
                self._run(words)
        return count

    def _run(self, words: Args) -> None:
        found = self._arity.get(words[0]) or self._arity.get(words[0].upper())
        if found is None and len(words) > 1:
            found = self._arity.get((words[0].upper(), words[1].upper()))
        if found is None:
            raise CannotApply(words, "a command that is not known here")
        handler, least, most = found
        if not least <= len(words) <= most:
            raise CannotApply(words, "a wrong number of arguments")
        try:
            handler(self.client, words)
        except CommandError as error:
            raise CannotApply(words, f"it is refused ({error})") from None
        self.client.effect = None
