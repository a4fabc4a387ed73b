"""What happens to the data, as bytes of the log.

Each effect of a write becomes a command, with SELECT before it where the database changes.  Effects
that belong together (of a transaction, or several of one command) stand between MULTI and EXEC.
Keys and fields that go by their deadlines, or to make room, are logged as deleted.

Who follows the log can tell why a key went: DEL and UNLINK in capitals are of a client, whatever it
typed; in small letters ``del`` is a key that expired, and ``unlink`` one that was evicted.  Redis
takes them for the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_replication.segment import encode, encode_run

from distcache_server.arguments import Args, Columns

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace

MULTI, EXEC = encode([b"MULTI"]), encode([b"EXEC"])
UNKNOWN = -1
EXPIRED, EVICTED = b"del", b"unlink"
LOADED = (b"REPLACE", b"ABSTTL", b"IDLETIME", b"0")
"""How the RESTORE of a row that was loaded ends in the log.  None of a client does, so that who
follows the log knows the one from the other."""
LAST = (b"REPLACE", b"ABSTTL", b"IDLETIME", b"1")
"""How the RESTORE ends that says what a key holds which expires with the next command, where a row
is to keep that."""


class Journal:
    """Writes the log of an engine, while somebody follows it."""

    __slots__ = ("_followers", "_muted", "engine", "history", "log", "ran", "selected", "together")

    def __init__(self, engine: Engine, log: Log, history: History) -> None:
        self.engine = engine
        self.log = log
        self.history = history
        self.selected = UNKNOWN
        """The database that the log has selected; UNKNOWN makes it say so again."""
        self.together: list[bytes] = []
        """Effects of the transaction that runs."""
        self.ran: Callable[[Keyspace, Columns, int], None] | None = None
        """Told of commands that were logged together, and where they begin: who knows their words
        need not read them from the log."""
        self._followers = 0
        self._muted = False

    @property
    def active(self) -> bool:
        """Whether there is a log, of our own or of a primary."""
        return self._followers > 0

    def attach(self) -> None:
        """One more wants the log."""
        self._followers += 1
        if self._followers == 1 and not self._muted:
            self._hook()

    def detach(self) -> None:
        """One less wants it."""
        self._followers -= 1
        if not self._followers and not self._muted:
            self._unhook()

    def mute(self, on: bool) -> None:
        """While we are a replica the log is our primary's, and nothing of ours gets into it."""
        if on == self._muted:
            return
        self._muted = on
        if self._followers and on:
            self._unhook()
        elif self._followers:
            self._hook()

    def _hook(self) -> None:
        engine = self.engine
        engine.log, engine.log_run = self.write, self.write_run
        engine.transaction_ended = self.end_transaction
        for keyspace in engine.databases:
            keyspace.on_expired, keyspace.on_evicted = self.expired, self.evicted
            keyspace.on_fields_removed = self.fields_removed

    def _unhook(self) -> None:
        engine = self.engine
        if self.together:
            self.end_transaction(None)
        engine.log = engine.log_run = engine.transaction_ended = None
        for keyspace in engine.databases:
            keyspace.on_expired = keyspace.on_evicted = keyspace.on_fields_removed = None

    def write(self, client: Client, words: Args) -> None:
        """Log the effect of a command."""
        effect = client.effect
        self._add(client.keyspace, encode(words) if effect is None else self._encoded(effect))
        if not self.engine.in_transaction:
            client.logged = self.log.end

    def write_run(self, client: Client, columns: Columns, data: bytes = b"") -> None:
        """``write`` of commands that are their own effects: in columns, and as they came."""
        start = self.log.end
        self._add(client.keyspace, data or encode_run(columns))
        client.logged = self.log.end
        if self.ran is not None:
            self.ran(client.keyspace, columns, start)

    def _encoded(self, effect: Args | list[Args]) -> bytes:
        several = [encode(each) for each in effect if isinstance(each, list)]
        if len(several) > 1 and not self.engine.in_transaction:
            several = [MULTI, *several, EXEC]
        return b"".join(several) if several else encode(cast(Args, effect))

    def end_transaction(self, client: Client | None) -> None:
        """Log what the transaction did, in one piece."""
        effects, self.together = self.together, []
        if effects:
            several = len(effects) > 1
            self.log.append(b"".join([MULTI, *effects, EXEC]) if several else effects[0])
            if client is not None:
                client.logged = self.log.end

    def expired(self, keyspace: Keyspace, key: bytes) -> None:
        """A key went by its deadline."""
        self._add(keyspace, encode([EXPIRED, key]))

    def evicted(self, keyspace: Keyspace, key: bytes) -> None:
        """A key went to make room."""
        self._add(keyspace, encode([EVICTED, key]))

    def held_at_last(
        self, keyspace: Keyspace, key: bytes, deadline_ms: int, payload: bytes
    ) -> None:
        """A key that is about to expire holds this."""
        words = [b"RESTORE", key, b"%d" % deadline_ms, payload, *LAST]
        self._add(keyspace, encode(words))

    def fields_removed(self, keyspace: Keyspace, key: bytes, fields: list[bytes]) -> None:
        """Fields of a hash went by deadline."""
        self._add(keyspace, encode([b"HDEL", key, *fields]))

    def _add(self, keyspace: Keyspace, data: bytes) -> None:
        if keyspace.index != self.selected:
            self.selected = keyspace.index
            data = encode([b"SELECT", b"%d" % keyspace.index]) + data
        if self.engine.in_transaction:
            self.together.append(data)
        else:
            self.log.append(data)
