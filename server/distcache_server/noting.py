"""Reads the log for what it does to rows: which keys have changed, and why keys went.

The value that is written is the present one of the key, looked at when the batch is made.  Where
the row of a key that expired stays, the last value stands in the log, ahead of the key's end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import hiredis
from distcache_replication import rdb
from distcache_replication.backing.changes import (
    Change,
    First,
    Gathering,
    Noted,
    change,
    changes_of_strings,
)
from distcache_replication.backing.mapping import ARCHIVE, DELETE
from distcache_replication.backing.pattern import Matcher

from distcache_server import snapshot
from distcache_server.arguments import Args, Columns
from distcache_server.journal import EVICTED, EXPIRED, LAST, LOADED
from distcache_server.registry import Flag, TableKey, every_command
from distcache_server.touching import Touched, touched_by

if TYPE_CHECKING:
    from distcache_replication.backing.plan import Plan

    from distcache_server.keyspace import Keyspace

DEADLINES = frozenset({b"PEXPIREAT", b"PERSIST"})
"""Commands of the log that change nothing but a key's deadline, which rows do not have."""
FLUSHES = frozenset({b"FLUSHALL", b"FLUSHDB"})


class Noter:
    """A follower of the log that gathers what rows have to become."""

    def __init__(
        self, home: Keyspace, plans: Sequence[Plan], match: Matcher, clock: Callable[[], float]
    ) -> None:
        self.home = home
        self.plans = plans
        self._match = match
        self._clock = clock
        self.offset = 0
        """All before it has been read."""
        self.selected = 0
        self.lost = 0
        """Changed keys that were evicted before they were written, by a server without a store."""
        self._runs: list[tuple[Sequence[bytes], bool]] = []
        """Keys of commands that ran together, and whether only their deadlines have changed: not
        noted yet, since many are quicker looked up together."""
        self._reader = hiredis.Reader()
        self.gathering = Gathering(self._first())
        self._touched = _writes()

    def _first(self) -> First:
        return First(self.offset, self.selected, self._clock())

    def another(self) -> Noter:
        """One of the same kind, for another part of the log."""
        return Noter(self.home, self.plans, self._match, self._clock)

    def follow(self, offset: int, selected: int) -> None:
        """Begin at an offset."""
        self.offset, self.selected = offset, selected
        self._runs = []
        self._reader = hiredis.Reader()
        self.gathering = Gathering(self._first())

    def renew(self) -> Gathering:
        """What was gathered so far; from now on it is another."""
        done, self.gathering = self.gathering, Gathering(self._first())
        return done

    def plan_of(self, key: bytes) -> tuple[Plan, tuple[bytes, ...]] | None:
        """Whose row a key is, if that is written, and its variables."""
        found = self._match(key)
        if found is None:
            return None
        plan = self.plans[found[0]]
        return (plan, found[1]) if plan.mapping.writes else None

    # The log

    def feed(self, data: bytes) -> None:
        """Read what comes next in the log."""
        self.fold()
        self.gathering.at(self._first())
        reader = self._reader
        reader.feed(data)
        try:
            while (words := reader.gets()) is not False:
                self._note(words)
        except Exception:
            self._reader = hiredis.Reader()  # all of it is read again
            raise
        self.offset += len(data)

    def ran(self, name: bytes, columns: Columns, index: int, end: int) -> None:
        """What comes next, up to ``end``, are commands of this name in a database.

        They are noted with the next ``fold``.
        """
        if index == self.home.index:
            if not self._runs:
                self.gathering.at(self._first())
            self._runs.append((columns[self._touched[name].changed], name in DEADLINES))
        self.offset, self.selected = end, index

    def fold(self) -> None:
        """Note what ran together."""
        runs, self._runs = self._runs, []
        noted = self.gathering.noted
        for keys, only_deadline in runs:
            self._changed([key for key in keys if key not in noted], only_deadline)

    def knows(self, name: bytes) -> bool:
        """Whether one word of this command is the key that it changes."""
        touched = self._touched.get(name)
        return touched is not None and touched.changed > 0

    def _note(self, words: Args) -> None:
        name = words[0].upper()
        if name == b"SELECT":
            self.selected = int(words[1])
            return
        if self.selected != self.home.index:
            if name == b"FLUSHALL":
                self._flush()
            return
        touched = self._touched.get(name)
        if touched is None:
            if name in FLUSHES:
                self._flush()
                return
            touched = self._touched.get((name, words[1].upper())) if len(words) > 1 else None
            if touched is None:
                return
        if words[0] == EXPIRED:
            self._expired(words[1:])
        elif words[0] == EVICTED:
            self._evicted(words[1:])
        elif name == b"RESTORE" and tuple(words[-4:]) in (LOADED, LAST):
            if tuple(words[-4:]) == LAST:
                self._held_at_last(words[1], int(words[2]) or None, words[3])
        elif touched.changed:
            key = words[touched.changed]
            if key not in self.gathering.noted:
                self._changed((key,), name in DEADLINES)
        else:
            self._changed(touched.written(words), name in DEADLINES)

    def _changed(self, keys: Iterable[bytes], only_deadline: bool) -> None:
        noted = self.gathering.noted
        for key in keys:
            if key in noted or (found := self.plan_of(key)) is None:
                continue
            if found[0].any_type or not only_deadline:
                noted[key] = found

    def note(self, key: bytes) -> None:
        """Have a key written, whether it has changed or not."""
        self._changed((key,), only_deadline=False)

    def _expired(self, keys: Iterable[bytes]) -> None:
        gathering = self.gathering
        for key in keys:
            found = self.plan_of(key)
            if found is None:
                continue
            plan, variables = found
            if plan.mapping.expired == DELETE:
                gathering.noted[key] = found
            elif plan.mapping.expired == ARCHIVE:
                gathering.archive(change(key, plan, variables, 0, None, None))
            else:
                gathering.noted.pop(key, None)

    def _evicted(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.lost += self.gathering.noted.pop(key, None) is not None

    def _held_at_last(self, key: bytes, deadline_ms: int | None, payload: bytes) -> None:
        found = self.plan_of(key)
        if found is not None:
            kind, value = rdb.restore(payload)
            self.gathering.keep(change(key, *found, kind, value, deadline_ms))

    def _flush(self) -> None:
        """All keys are gone, and with them the rows of tables that are ours alone."""
        for plan in self.plans:
            if plan.any_type and plan.mapping.writes:
                self.gathering.empty(plan)

    # The keys

    def look(self, keys: Iterable[bytes] | None = None) -> None:
        """Look at keys that have changed, or all, which now hold what the log says up to here."""
        self.fold()
        gathering = self.gathering
        noted = gathering.noted
        groups: defaultdict[Plan, dict[bytes, Noted]] = defaultdict(dict)
        for key in list(noted) if keys is None else keys:
            if (found := noted.pop(key, None)) is not None:
                groups[found[0]][key] = found
        for plan, some in groups.items():
            changes = self._look_at_strings(plan, some)
            if changes is None:
                changes = [self._look(key, found) for key, found in some.items()]
            gathering.take(some, changes)

    def _look_at_strings(self, plan: Plan, some: dict[bytes, Noted]) -> Iterable[Change] | None:
        """Look at many keys together, where all of them hold plain strings."""
        parts, mask = self.home.values.parts, self.home.values.mask
        values: list[Any] = [parts[hash(key) & mask].get(key) for key in some]
        if plan.any_type or set(map(type, values)) != {bytes}:
            return None
        variables = (found[1] for found in some.values())
        return changes_of_strings(list(some), plan, variables, rdb.STRING, values)

    def _look(self, key: bytes, found: Noted) -> Change:
        plan, variables = found
        table = self.home.values
        value = table.parts[hash(key) & table.mask].get(key)
        if value is None:
            return change(key, plan, variables, 0, None, None)
        deadline = self.home.deadlines.get(key) if plan.any_type else None
        return change(key, plan, variables, *snapshot.plain(value), deadline)


def _writes() -> dict[TableKey, Touched]:
    """The commands that can stand in a log and change keys, by their names in capitals."""
    found: dict[TableKey, Touched] = {}
    for command in every_command():
        touched = touched_by(command)
        if command.flags & Flag.WRITE and touched is not None:
            for name in command.keys_in_table:
                key = name.upper() if isinstance(name, bytes) else (name[0], name[1].upper())
                found[key] = touched
    return found
