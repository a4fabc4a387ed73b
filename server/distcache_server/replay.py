"""Applies a log to the databases, at a start or as a replica.

Nothing expires meanwhile: the clock of the databases stands at zero, and what the log says of keys
that went is all that counts.  Nothing is logged, counted or refused for want of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from distcache_server import logs
from distcache_server.arguments import Args, Columns
from distcache_server.client import Client
from distcache_server.errors import CommandError
from distcache_server.marks import marked
from distcache_server.registry import WRITE, Handler, Run, TableKey, by_name, every_command
from distcache_server.reserved import CHANGEFEED

if TYPE_CHECKING:
    from distcache_server.engine import Engine


WRONG_NUMBER = "a wrong number of arguments"
PASSED_OVER = frozenset((b"FUNCTION", b"SCRIPT"))
"""Redis logs what becomes of its libraries, too: no key depends on what is not known here of it."""


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


class Panic(Exception):
    """The replica must stop, rather than go on: the configuration says so."""


class Replay:
    """Runs commands of a log, one file after the other."""

    def __init__(self, engine: Engine) -> None:
        self.client = Client(engine)
        self._arity: dict[TableKey, tuple[Handler, int, int]] = {}
        self._runs: dict[bytes, tuple[Run, int, int]] = {}
        """What runs equal commands at once, and how many words they must have, and may."""
        self._queue: list[Args] | None = None
        """Commands since MULTI, which do nothing until EXEC."""
        self._rarely = logs.Rarely()
        self.begin()
        for command in every_command():
            if command.name in ("multi", "exec"):
                continue
            for name in command.keys_in_table:
                if not command.subcommands:
                    self._arity[name] = command.handler, command.least, command.most
                if command.run is not None and command.flags & WRITE and isinstance(name, bytes):
                    most = command.most if command.runs_all else command.least
                    self._runs[name] = command.run, command.least, most
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
        """``apply``, for a replica: goes on where a command is refused, and tells the log file.

        Raises Panic where the configuration will not have it.
        """
        self.stop_clock()
        if self.client.engine.broken is not None:
            commands = list(commands)
            self._heed_disk(words[0] for words in commands)
        left = iter(commands)
        while True:
            try:
                self.apply(left)
                break
            except CannotApply as error:
                name = error.words[0][:64].decode("latin-1")
                config = self.client.engine.config
                if config.replica_read_only and config.propagation_error_behavior != "ignore":
                    raise Panic(
                        f"{name} of the primary cannot be applied: {error.reason}"
                    ) from None
                self._rarely.warning(
                    "apply",
                    "A command of the primary cannot be applied: the keys differ now",
                    command=name,
                    reason=error.reason,
                )
        self._start_clock()

    def run_alike(self, columns: Columns) -> bool:
        """``run`` of equal commands in one call, if they may be; False, with nothing done."""
        names, client = columns[0], self.client
        run, least, most = self._runs.get(names[0], (None, 0, 0))
        if (
            run is None
            or not least <= len(columns) <= most
            or names.count(names[0]) != len(names)
            or self._queue is not None
            # Notifications are sent one by one, and a run may turn out to be none.
            or client.keyspace.notify is not None
            or any(CHANGEFEED in column for column in columns[1:])
        ):
            return False
        if client.engine.broken is not None:
            self._heed_disk(names[:1])
        self.stop_clock()
        done = run(client, columns) is not None
        client.effect = None
        self._start_clock()
        return done

    def _heed_disk(self, names: Iterable[bytes]) -> None:
        """See whether commands may be applied while the disk takes no writes; raises Panic."""
        found = (by_name(name.decode("latin-1")) for name in names)
        if not any(command is not None and command.flags & WRITE for command in found):
            return
        if not self.client.engine.config.replica_ignore_disk_write_errors:
            raise Panic("the disk takes no writes (replica-ignore-disk-write-errors)")
        self._rarely.warning(
            "disk", "Writes of the primary are applied, but cannot be kept on disk"
        )

    def _start_clock(self) -> None:
        """Let clients see the keys as of now, in the database that is selected."""
        engine = self.client.engine
        engine.selected = self.selected
        now_ms = engine.now_ms
        for keyspace in engine.databases:
            keyspace.now_ms = now_ms

    def apply(self, commands: Iterable[Args]) -> int:
        """Run commands; how many.  Raises CannotApply."""
        count = 0
        client, known = self.client, self._arity.get
        words: Args = []
        try:
            for words in commands:
                count += 1
                found = known(words[0])
                if found is None or self._queue is not None:
                    self._run_other(words)
                    continue
                handler, least, most = found
                if not least <= len(words) <= most:
                    raise CannotApply(words, WRONG_NUMBER)
                handler(client, words)
                client.effect = None
        except CommandError as error:
            raise CannotApply(words, f"it is refused ({error})") from None
        return count

    def _run_other(self, words: Args) -> None:
        """A command of a transaction, or one whose name is not spelled as usual."""
        name = words[0].upper()
        if name == b"MULTI":
            self._queue = []
        elif name == b"EXEC":
            queue, self._queue = self._queue, None
            self._run_all(queue or [])
        elif self._queue is not None:
            self._queue.append(words)
        else:
            self._run(words)

    def _run_all(self, queue: list[Args]) -> None:
        """The commands of a transaction: one that cannot be applied does not stop the others."""
        failed: CannotApply | None = None
        for words in queue:
            try:
                self._run(words)
            except CannotApply as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _run(self, words: Args) -> None:
        found = self._arity.get(words[0].upper())
        if found is None and len(words) > 1:
            found = self._arity.get((words[0].upper(), words[1].upper()))
        if found is None:
            if words[0].upper() in PASSED_OVER:
                name = words[0][:64].decode("latin-1")
                self._rarely.warning(
                    name, "Libraries in the log have no meaning here", command=name
                )
                return
            raise CannotApply(words, "a command that is not known here")
        handler, least, most = found
        if not least <= len(words) <= most:
            raise CannotApply(words, WRONG_NUMBER)
        try:
            handler(self.client, words)
        except CommandError as error:
            raise CannotApply(words, f"it is refused ({error})") from None
        self.client.effect = None
