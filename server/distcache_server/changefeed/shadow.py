"""A second keyspace that applies the log, and says of each command which keys it changed, and how.

The keyspaces tell of every key before it is touched (as they do for a snapshot, capture.py), and of
every change: so what a key was and is, is known of any command, and none has to know of events.
While there is no watch nobody is told, and the log is only applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from distcache_replication.changefeed import event
from distcache_replication.changefeed.event import OMITTED, State
from distcache_replication.changefeed.filters import Filter

from distcache_server import commands, dispatch, events, logs
from distcache_server.arguments import Args
from distcache_server.changefeed.values import state_of
from distcache_server.config import Config
from distcache_server.engine import Engine
from distcache_server.journal import LOADED
from distcache_server.replay import CannotApply, Replay
from distcache_server.reserved import CHANGEFEED

if TYPE_CHECKING:
    from distcache_server.capture import Part
    from distcache_server.keyspace import Keyspace

Place = tuple[int, bytes]
"""A database and a key in it."""

PASSED_OVER = frozenset((b"PING", b"REPLCONF"))
"""What primary and replica say to each other in the log."""
CAUSES = {b"del": event.EXPIRE, b"unlink": event.EVICT}
"""In the log these are in small letters only where no client removed the key (journal.py)."""


SOMETHING = State("", OMITTED)
"""What a key was, where nobody wants to know."""


@dataclass(slots=True)
class Change:
    """What a command did to a key."""

    operation: str
    database: int
    key: bytes
    after: State | None
    before: State | None


class Watch:
    """Stands where a walk over all keys would: is told of a key before it may change."""

    def __init__(self, shadow: Shadow, index: int) -> None:
        self.shadow = shadow
        self.index = index
        self.graveyard: list[Any] | None = None

    def before(self, key: bytes) -> None:
        self.shadow.note(self.index, key)


class Shadow:
    """The keys as of some place in the log."""

    def __init__(self, databases: int, wanted: Filter, most: int, with_before: bool) -> None:
        commands.load()
        config = Config()
        config.load_arguments(["--databases", str(databases)])
        self.engine = Engine(config)
        dispatch.install(self.engine)
        self.replay = Replay(self.engine)
        self._filter = wanted
        self._most = most
        self._with_before = with_before
        self._found: dict[Place, State | None] = {}
        """Keys that the command may change, as they were."""
        self._changed: dict[Place, bool] = {}
        """Keys that it did change; False where only a consumer group of the stream did."""

    @property
    def databases(self) -> list[Keyspace]:
        return self.engine.databases

    def watch(self) -> None:
        """From now on changes are wanted."""
        for keyspace in self.databases:
            keyspace.notify = self._note_change
            self._arm(keyspace)

    def _arm(self, keyspace: Keyspace) -> None:
        keyspace.capture = cast("Part", Watch(self, keyspace.index))
        keyspace.arrange()

    def note(self, index: int, key: bytes) -> None:
        """The key may be about to change."""
        if (index, key) in self._found:
            return
        if self._with_before:
            self._found[index, key] = state_of(self.databases[index], key, self._most)
        else:
            there = key in self.databases[index].values
            self._found[index, key] = SOMETHING if there else None

    def _note_change(self, index: int, kind: int, name: bytes, key: bytes) -> None:
        if kind in (events.NEW, events.MISSED):
            return
        place = index, key
        of_group = kind == events.STREAM and name.startswith(b"xgroup-")
        self._changed[place] = self._changed.get(place, False) or not of_group

    # Applying

    def set(self, words: Args) -> bool:
        """Run ``SET key value [PXAT deadline]`` and nothing else; False where it is something else.

        The same as ``changes``, where none of the values before is wanted.
        """
        count = len(words)
        if count == 3:
            deadline = None
        elif count == 5 and words[3] == b"PXAT" and words[4].isdigit():
            deadline = int(words[4])
        else:
            return False
        key = words[1]
        if words[0] != b"SET" or key == CHANGEFEED:
            return False
        keyspace = self.replay.client.keyspace
        if deadline is not None:
            keyspace.replace(key, words[2])
            keyspace.expire_at(key, deadline)
            self._found.clear()
        else:
            if keyspace.deadlines.count and key in keyspace.deadlines:
                keyspace.persist(key)
                self._found.clear()
            keyspace.replace(key, words[2])
        if keyspace.graveyard:
            keyspace.graveyard.clear()
        return True

    def set_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> bool:
        """The same for ``SET key value`` many times; False, with nothing done, as above."""
        if CHANGEFEED in keys:
            return False
        keyspace = self.replay.client.keyspace
        capture, notify = keyspace.capture, keyspace.notify
        keyspace.capture = keyspace.notify = None
        keyspace.arrange()
        keyspace.put_many(keys, values, b"set", events.STRING)
        keyspace.capture, keyspace.notify = capture, notify
        keyspace.arrange()
        if keyspace.graveyard:
            keyspace.graveyard.clear()
        return True

    @property
    def selected(self) -> int:
        """The database that commands are for."""
        return self.replay.client.keyspace.index

    def apply(self, words: Args) -> None:
        """Run a command of the log."""
        if words[0].upper() in PASSED_OVER:
            return
        try:
            self.replay.apply([words])
        except CannotApply as error:
            logs.warning(
                "A command of the log cannot be applied: events may differ from the keys",
                command=words[0][:64].decode("latin-1"),
                reason=error.reason,
            )
        for keyspace in self.databases:
            if keyspace.graveyard:
                keyspace.graveyard.clear()

    def changes(self, words: Args) -> Iterator[Change]:
        """Run a command, and say what it changed; to be taken in full before the next one."""
        name = words[0].upper()
        if name == b"FLUSHALL":
            yield from self._flush(words, self.databases)
            return
        if name == b"FLUSHDB":
            yield from self._flush(words, [self.replay.client.keyspace])
            return
        if name == b"SWAPDB" and len(words) == 3 and words[1] != words[2]:
            yield from self._swap(words)
            return
        self._found.clear()
        self._changed.clear()
        self.apply(words)
        for (index, key), contents in self._changed.items():
            before = self._found.get((index, key))
            if not self._filter.passes(index, key):
                continue
            after = state_of(self.databases[index], key, self._most)
            if not contents and (before is None) == (after is None):
                continue
            if after is not None:
                loaded = name == b"RESTORE" and tuple(words[-4:]) == LOADED
                operation = event.LOAD if loaded else event.SET
            elif before is not None:
                operation = CAUSES.get(words[0], event.DELETE)
            else:
                continue
            yield Change(operation, index, key, after, before)

    def _flush(self, words: Args, databases: Sequence[Keyspace]) -> Iterator[Change]:
        tables = [(it.index, it.values, it.deadlines) for it in databases if len(it)]
        self.apply(words)
        most = self._most if self._with_before else 0
        for keyspace in databases:
            self._arm(keyspace)
        for index, values, deadlines in tables:
            old = _Old(values, deadlines)
            for key in values:
                if self._filter.passes(index, key):
                    before = state_of(cast("Keyspace", old), key, most)
                    yield Change(event.FLUSH, index, key, None, before)

    def _swap(self, words: Args) -> Iterator[Change]:
        """All keys of two databases become those of the other."""
        one, other = int(words[1]), int(words[2])
        self.apply(words)
        databases = self.databases
        most = self._most if self._with_before else 0
        for index in (one, other):
            self._arm(databases[index])
        for index, was in ((one, other), (other, one)):
            now, former = databases[index], databases[was]
            for key in former.values:
                if key not in now.values and self._filter.passes(index, key):
                    before = state_of(former, key, most)
                    yield Change(event.DELETE, index, key, None, before)
            for key in now.values:
                if self._filter.passes(index, key):
                    after = state_of(now, key, self._most)
                    yield Change(event.SET, index, key, after, state_of(former, key, most))

    # All keys

    def snapshot(self) -> Iterator[Change]:
        """All keys, in an order that does not depend on how they came here."""
        for keyspace in self.databases:
            for key in sorted(keyspace.values):
                if self._filter.passes(keyspace.index, key):
                    after = state_of(keyspace, key, self._most)
                    yield Change(event.SNAPSHOT, keyspace.index, key, after, None)


class _Old:
    """What is left of a database that was emptied."""

    def __init__(self, values: Any, deadlines: Any) -> None:
        self.values = values
        self.deadlines = deadlines
