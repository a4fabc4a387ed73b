"""One database: keys, their values and deadlines, and who must hear of a change.

This is the only code that touches the tables.  A key past its deadline is never seen: whoever finds
one removes it.  Handlers read with ``read`` (which counts hits and misses) or ``find``, store with
``put`` or by changing the value they found, and then say so once: ``changed(key, b"lpush", LIST)``.
That one call counts for the log and WATCH, wakes blocked clients and publishes keyspace events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from distcache_server import events
from distcache_server.errors import ReservedKey, WrongType
from distcache_server.reserved import CHANGEFEED
from distcache_server.types.buffer import Buffer
from distcache_server.types.deadlines import NEVER
from distcache_server.types.hash import Hash
from distcache_server.types.limits import Limits
from distcache_server.types.stream import Stream
from distcache_server.types.table import Table
from distcache_server.types.wheel import SHIFT, Wheel

if TYPE_CHECKING:
    from distcache_server.blocking import Queue
    from distcache_server.capture import Part
    from distcache_server.client import Client
    from distcache_server.ledger import Ledger

Value = Any
"""``bytes`` or Buffer for strings, else one of the classes in ``types``."""
T = TypeVar("T")

LARGE = 256
"""Values with more entries than this are freed a little at a time."""
FIELDS = 128
"""Fields past their deadlines are removed so many at a time."""
TRIES = 100
"""Where keys past their deadlines stay, a random one is sought no more often than this."""

CONTENTS = ("values", "deadlines", "wheel", "field_wheel", "ledger", "capture")
"""The attributes of a database that hold its keys, which SWAPDB exchanges."""


class Keyspace:
    """A database.  ``now_ms`` is Unix time in milliseconds as of the current batch of commands."""

    __slots__ = (
        "buried",
        "capture",
        "changes",
        "deadlines",
        "expired",
        "expired_fields",
        "field_wheel",
        "frozen",
        "graveyard",
        "groups",
        "hits",
        "index",
        "ledger",
        "limits",
        "looks",
        "misses",
        "notify",
        "now_ms",
        "observed",
        "on_evicted",
        "on_expired",
        "on_expiring",
        "on_fields_removed",
        "ready",
        "special",
        "used_ms",
        "uses",
        "values",
        "waiting",
        "watched",
        "wheel",
    )

    def __init__(self, index: int = 0, limits: Limits | None = None) -> None:
        self.index = index
        self.limits = limits or Limits()
        self.values: Table[bytes, Value] = Table()
        self.deadlines: Table[bytes, int] = Table()
        self.wheel = Wheel()
        self.field_wheel = Wheel()
        """Hashes by the earliest deadline among their fields."""
        self.now_ms = 0
        self.changes = 0
        self.hits = 0
        self.misses = 0
        self.looks = 0
        """Hits and misses that are no use of a key."""
        self.uses = 0
        self.used_ms = 0
        """When ``uses`` was last seen to grow."""
        self.expired = 0
        self.expired_fields = 0
        self.buried = 0
        """Values that were left to be freed between commands."""
        self.graveyard: list[Value] = []
        """Large values that are gone but not yet freed."""

        self.watched: dict[bytes, set[Client]] = {}
        self.waiting: dict[bytes, Queue] = {}
        self.ready: dict[tuple[Keyspace, bytes], None] = {}
        """Keys that blocked clients wait for and that have changed; shared between databases."""
        self.notify: Callable[[int, int, bytes, bytes], None] | None = None
        self.ledger: Ledger | None = None
        """Keeps count of what keys take and of their use, where maxmemory asks for it."""
        self.capture: Part | None = None
        """Is told of each key before it changes, while all keys are being written out."""
        self.groups: Callable[[bytes, bool], None] | None = None
        """Counts a hit or miss for the group of a key."""
        self.on_expired: Callable[[Keyspace, bytes], None] | None = None
        """Told of each key that went by its deadline, which no command logs ..."""
        self.on_evicted: Callable[[Keyspace, bytes], None] | None = None
        """... and of each that went to make room."""
        self.on_expiring: Callable[[Keyspace, bytes], None] | None = None
        """Told of each key that is about to go by its deadline."""
        self.on_fields_removed: Callable[[Keyspace, bytes, list[bytes]], None] | None = None
        """Told of the fields of a hash that went by deadline."""
        self.observed = False
        """Anybody above wants to hear of changes."""
        self.frozen = False
        """Keys past their deadlines are hidden but stay: nothing may change during CLIENT PAUSE."""
        self.special = False
        """A read has more to do than to look: deadlines, access times, key groups, misses."""

    def arrange(self) -> None:
        """Work out ``observed`` and ``special`` again after something above was set."""
        kept = self.ledger is not None or self.capture is not None
        self.observed = bool(self.watched or self.waiting or self.notify or kept)
        self.special = bool(
            self.deadlines.count or self.field_wheel.slots or kept or self.groups or self.notify
        )

    # Reading

    def read(self, key: bytes) -> Value | None:
        """The value, or None; for commands that only read: counts a hit or a miss."""
        if self.special:
            return self._read_special(key)
        table = self.values
        value = table.parts[hash(key) & table.mask].get(key)
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def _read_special(self, key: bytes) -> Value | None:
        deadlines = self.deadlines
        hidden = False
        if deadlines.count:
            deadline = deadlines.parts[hash(key) & deadlines.mask].get(key)
            if deadline is not None and deadline <= self.now_ms:
                hidden = self.frozen
                if not hidden:
                    self.lapse(key)
        if self.ledger is not None:
            self.ledger.touch(key, self.now_ms)
        table = self.values
        value = table.parts[hash(key) & table.mask].get(key)
        if type(value) is Hash and value.deadlines is not None:
            value = self._fresh(key, value)
        if hidden:
            value = None
        if value is None:
            self.misses += 1
            if self.notify is not None:
                self.notify(self.index, events.MISSED, b"keymiss", key)
        else:
            self.hits += 1
        if self.groups is not None:
            self.groups(key, value is not None)
        return value

    def read_many(self, keys: Sequence[bytes]) -> list[Value | None]:
        """``read`` of each key."""
        if self.special:
            return [self._read_special(key) for key in keys]
        parts, mask = self.values.parts, self.values.mask
        values = [parts[hash(key) & mask].get(key) for key in keys]
        missing = values.count(None)
        self.misses += missing
        self.hits += len(values) - missing
        return values

    def find(self, key: bytes) -> Value | None:
        """The value, or None; for commands that write: notes the access, counts nothing."""
        if self.special:
            if self.capture is not None:
                self.capture.before(key)
            if self._lapsed(key):
                return None
            if self.ledger is not None:
                self.ledger.touch(key, self.now_ms)
            if self.field_wheel.slots and not self.frozen:
                while self.lapse_fields(key):
                    pass
        table = self.values
        return table.parts[hash(key) & table.mask].get(key)

    def look(self, key: bytes) -> Value | None:
        """``read``, but no access: the time a key is idle goes on (EXISTS, TYPE, TTL)."""
        self.looks += 1
        if self.ledger is None:
            return self.read(key)
        value = self.peek(key)
        self.count(key, value)
        return value

    def count(self, key: bytes, value: Value | None, event: bool = True) -> None:
        """Count a hit or a miss, where a value was not found by ``read``."""
        if value is None:
            self.misses += 1
            if event and self.notify is not None:
                self.notify(self.index, events.MISSED, b"keymiss", key)
        else:
            self.hits += 1
        if self.groups is not None:
            self.groups(key, value is not None)

    def peek(self, key: bytes) -> Value | None:
        """The value, or None, without a trace (OBJECT, SCAN TYPE)."""
        if self.deadlines.count and self._lapsed(key):
            return None
        value = self.values.get(key)
        if type(value) is Hash and value.deadlines is not None:
            return self._fresh(key, value)
        return value

    def read_as(self, key: bytes, kind: type[T]) -> T | None:
        """``read``, where the value is of one class; WrongType if it is another."""
        value = self.read(key)
        if value is None or type(value) is kind:
            return value
        if kind is bytes and type(value) is Buffer:
            return cast(T, bytes(value))
        raise WrongType

    def find_as(self, key: bytes, kind: type[T]) -> T | None:
        """``find``, where the value is of one class; WrongType if it is another."""
        value = self.find(key)
        if value is None or type(value) is kind:
            return value
        if kind is bytes and type(value) is Buffer:
            return cast(T, bytes(value))
        raise WrongType

    def read_string(self, key: bytes) -> bytes | Buffer | None:
        """``read``, for a string, which may be one that changes; WrongType if it is no string."""
        value = self.read(key)
        if value is None or type(value) is bytes or type(value) is Buffer:
            return value
        raise WrongType

    def find_string(self, key: bytes) -> bytes | Buffer | None:
        """``find``, for a string, which may be one that changes; WrongType if it is no string."""
        value = self.find(key)
        if value is None or type(value) is bytes or type(value) is Buffer:
            return value
        raise WrongType

    def buffer(self, key: bytes, value: bytes | Buffer) -> Buffer:
        """The string found at a key, in a form that can be changed in place."""
        if type(value) is Buffer:
            return value
        changing = Buffer(value)
        self.replace(key, changing)
        return changing

    def note_use(self, now_ms: int) -> None:
        """See whether any key was used since the last time; called often."""
        uses = self.hits + self.misses + self.changes - self.looks
        if uses != self.uses or not self.used_ms:
            self.uses, self.used_ms = uses, now_ms

    def idle_ms(self) -> int:
        """For how long no key was used, where no ledger knows it of each key."""
        self.note_use(self.now_ms)
        return max(self.now_ms - self.used_ms, 0)

    def exists(self, key: bytes) -> bool:
        """Whether the key is there, counting nothing."""
        return self.peek(key) is not None

    def __len__(self) -> int:
        return self.values.count

    def __iter__(self) -> Iterator[bytes]:
        """All keys, those past their deadlines included."""
        return iter(self.values)

    def random_key(self) -> bytes | None:
        """A key at random that is not past its deadline, nor are all fields of its hash."""
        tries = 0
        while self.values.count:
            key = self.values.random_key()
            if self.exists(key):
                return key
            tries += self.frozen
            if tries == TRIES:
                break
        return None

    # Writing

    def put(self, key: bytes, value: Value) -> None:
        """Store a value in place of whatever was there; a deadline is gone.  Then ``changed``."""
        if self.special:
            if self.capture is not None:
                self.capture.before(key)
            deadlines = self.deadlines
            if deadlines.count and (deadline := deadlines.get(key)) is not None:
                if deadline > self.now_ms or self.frozen:
                    self.persist(key)
                else:
                    self.lapse(key)
            if self.ledger is not None:
                self.ledger.touch(key, self.now_ms)
        self.replace(key, value)

    def put_many(
        self, keys: Sequence[bytes], values: Sequence[bytes], event: bytes, kind: int
    ) -> None:
        """``put`` and ``changed`` for each key and its value; ReservedKey where one is that."""
        last = dict(zip(keys, values, strict=True))
        if CHANGEFEED in last:
            raise ReservedKey
        if self.observed or self.deadlines.count:
            for key, value in zip(keys, values, strict=True):
                self.put(key, value)
                self.changed(key, event, kind)
            return
        table = self.values
        parts, mask = table.parts, table.mask
        # Nobody sees but the last value of each key.
        for key, value in last.items():
            part = parts[hash(key) & mask]
            old = part.get(key)
            part[key] = value
            if type(old) is bytes:
                continue
            if old is None:
                table.grown(key, len(part) - 1)
                parts, mask = table.parts, table.mask
            else:
                self.bury(key, old)
        self.changes += len(keys)

    def replace(self, key: bytes, value: Value) -> None:
        """Store a value and keep the deadline.  Then ``changed``."""
        table = self.values
        part = table.parts[hash(key) & table.mask]
        old = part.get(key)
        if old is None and key == CHANGEFEED:
            # Of one key nothing was changed yet; commands of several are looked at before they run.
            raise ReservedKey
        part[key] = value
        if old is None:
            if self.notify is not None:
                self.notify(self.index, events.NEW, b"new", key)
            table.grown(key, len(part) - 1)
        elif type(old) is not bytes and old is not value:
            self.bury(key, old)
        if type(value) is Hash and value.deadlines is not None:
            self.note_fields(key, value)
        if self.ledger is not None:
            self.ledger.stored(key, old, value, self.now_ms)

    def remove(self, key: bytes) -> bool:
        """Take a key out; False if it was not there.  Then ``changed``."""
        if self.special:
            if self.capture is not None:
                self.capture.before(key)
            if self._lapsed(key):
                return False
            self.persist(key)
        value = self.values.pop(key)
        if value is None:
            return False
        if type(value) is not bytes:
            self.bury(key, value)
        if self.ledger is not None:
            self.ledger.forget(key, value)
        return True

    def take(self, key: bytes) -> Value | None:
        """``remove``, for a value that goes on to live under another key; None if there is none."""
        value = self.find(key)
        if value is None:
            return None
        if self.deadlines.count:
            self.persist(key)
        if self.ledger is not None:
            self.ledger.forget(key, value)
        value = self.values.pop(key)
        if type(value) is Hash and value.deadlines is not None:
            self._forget_fields(key, value)
        return value

    def bury(self, key: bytes, value: Value) -> None:
        """Leave a large value to be freed later, a little at a time."""
        if len(value) > LARGE or (type(value) is Stream and value.groups):
            self.graveyard.append(value)
            self.buried += 1
        if type(value) is Hash and value.deadlines is not None:
            self._forget_fields(key, value)

    def remove_if_empty(self, key: bytes, value: Any) -> None:
        """Remove a collection that lost its last entry, with its own event."""
        if not value:
            self.remove(key)
            self.also(key, b"del", events.GENERIC)

    def changed(self, key: bytes, event: bytes, kind: int) -> None:
        """A command changed this key: count it, and tell whoever wants to know."""
        self.changes += 1
        if self.observed:
            self._tell(key, event, kind)

    def also(self, key: bytes, event: bytes, kind: int) -> None:
        """Tell of another event that belongs to a change which was counted already."""
        if self.observed:
            self._tell(key, event, kind)

    def noted(self, key: bytes, event: bytes = b"", kind: int = 0) -> None:
        """Count a change that neither WATCH nor blocked clients are to notice."""
        self.changes += 1
        if self.ledger is not None:
            value = self.values.get(key)
            if value is not None:
                self.ledger.measure(key, value)
        if event and self.notify is not None:
            self.notify(self.index, kind, event, key)

    def _tell(self, key: bytes, event: bytes, kind: int) -> None:
        self.touch_watched(key, kind)
        if key in self.waiting:
            self.ready[self, key] = None
        if self.ledger is not None:
            value = self.values.get(key)
            if value is not None:
                self.ledger.measure(key, value)
        if self.notify is not None:
            self.notify(self.index, kind, event, key)

    def touch_watched(self, key: bytes, kind: int = 0) -> None:
        """Fail the transactions of clients that watch this key.

        That a key goes by its deadline is a change only to those who have seen it.
        """
        if key not in self.watched:
            return
        for client in list(self.watched[key]):
            if kind != events.EXPIRED or client.watching[self, key]:
                # Nothing else can change that: whoever has lost is not told again and again.
                client.engine.unwatch(client)
                client.conflict = True

    # Deadlines

    def deadline(self, key: bytes) -> int | None:
        """Unix time in milliseconds at which the key goes, or None."""
        return self.deadlines.get(key) if self.deadlines.count else None

    def expire_at(self, key: bytes, deadline: int) -> None:
        """Give a present key a deadline in place of the one it may have.  Then ``changed``."""
        if self.capture is not None:
            self.capture.before(key)
        old = self.deadlines.get(key)
        if old is not None:
            if old >> SHIFT == deadline >> SHIFT:
                self.deadlines[key] = deadline
                return
            self.wheel.remove(key, old)
        elif self.ledger is not None:
            self.ledger.dated(1)
        self.deadlines[key] = deadline
        self.wheel.add(key, deadline)
        self.special = True

    def persist(self, key: bytes) -> bool:
        """Take the deadline off; False if there was none.  Then ``changed``."""
        if self.capture is not None:
            self.capture.before(key)
        old = self.deadlines.pop(key)
        if old is None:
            return False
        self.wheel.remove(key, old)
        if self.ledger is not None:
            self.ledger.dated(-1)
        if not self.deadlines.count:
            self.arrange()
        return True

    def _lapsed(self, key: bytes) -> bool:
        """Whether the key's deadline has come; if so it is removed."""
        deadline = self.deadlines.get(key)
        if deadline is None or deadline > self.now_ms:
            return False
        if not self.frozen:
            self.lapse(key)
        return True

    def lapse(self, key: bytes) -> None:
        """Remove a key whose deadline has come, log and tell."""
        if self.on_expiring is not None:
            self.on_expiring(self, key)
        self.persist(key)
        self.remove(key)
        self.expired += 1
        self.changed(key, b"expired", events.EXPIRED)
        if self.on_expired is not None:
            self.on_expired(self, key)

    # Deadlines of the fields of hashes

    def note_fields(self, key: bytes, value: Hash, before_ms: int = NEVER) -> None:
        """Have the hash at a key looked at when its next field goes, no longer at ``before_ms``."""
        next_ms = value.next_ms
        if next_ms != before_ms:
            self.field_wheel.remove(key, before_ms)
            self.field_wheel.add(key, next_ms)
            self.special = True

    def _forget_fields(self, key: bytes, value: Hash) -> None:
        """The hash is no longer at this key, or no longer as it was."""
        self.field_wheel.remove(key, value.next_ms)
        if not self.field_wheel.slots:
            self.arrange()

    def lapse_fields(self, key: bytes) -> int:
        """Remove some fields whose deadline has come, log and tell; how many, 0 if there are none.

        The key may be gone since it was noted, or hold something else.
        """
        value = self.values.get(key)
        if type(value) is not Hash or value.next_ms > self.now_ms:
            return 0
        if self.capture is not None:
            self.capture.before(key)
        self._forget_fields(key, value)
        fields = value.take_due(self.now_ms, FIELDS)
        self.note_fields(key, value)
        if fields:
            self.expired_fields += len(fields)
            self.changed(key, b"hexpired", events.HASH)
            self.remove_if_empty(key, value)
            if self.on_fields_removed is not None:
                self.on_fields_removed(self, key, fields)
        return len(fields)

    def _fresh(self, key: bytes, value: Hash) -> Hash | None:
        """The hash at a key without fields past their deadlines, or None if that leaves none."""
        if value.next_ms > self.now_ms:
            return value
        if self.frozen:
            return value.without_due(self.now_ms) or None
        while self.lapse_fields(key):
            pass
        return self.values.get(key)

    def clear(self) -> None:
        """Remove every key; the values are freed a little at a time."""
        for key in list(self.watched):
            if key in self.values:
                self.touch_watched(key)
        for key in self.waiting:
            if key in self.values:
                self.ready[self, key] = None
        if self.values.count:
            self.buried += self.values.count
            self.graveyard += [self.wheel, self.field_wheel]
            if self.capture is not None:
                self.capture.graveyard = self.graveyard
            else:
                self.graveyard += [self.values, self.deadlines]
        self.values = Table()
        self.deadlines = Table()
        self.wheel = Wheel()
        self.field_wheel = Wheel()
        self.capture = None
        if self.ledger is not None:
            self.graveyard += self.ledger.clear()
        self.arrange()

    def adopt(self, other: Keyspace) -> None:
        """Have the keys of a database that nobody uses, in place of those that are here.

        Then the ledger has to count them.
        """
        for key in list(self.watched):
            if key in self.values or key in other.values:
                self.touch_watched(key)
        self.clear()
        self.values, self.deadlines = other.values, other.deadlines
        self.wheel, self.field_wheel = other.wheel, other.field_wheel
        self.changes += 1
        for key in self.waiting:
            if key in self.values:
                self.ready[self, key] = None
        self.arrange()

    def swap(self, other: Keyspace) -> None:
        """Exchange the keys with those of another database; clients stay where they are."""
        touched = [
            (keyspace, key)
            for keyspace in (self, other)
            for key in keyspace.watched
            if self._present(key) or other._present(key)
        ]
        for name in CONTENTS:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        for keyspace, key in touched:
            keyspace.touch_watched(key)
        for keyspace in (self, other):
            for key in keyspace.waiting:
                if key in self.values or key in other.values:
                    keyspace.ready[keyspace, key] = None
            keyspace.arrange()

    def _present(self, key: bytes) -> bool:
        """Whether the key is there and not past its deadline; it is not removed."""
        deadline = self.deadlines.get(key)
        return key in self.values and (deadline is None or deadline > self.now_ms)
