"""What is to be done to rows: changes, coalesced by key, in the order in which they take effect.

A batch has everything up to one offset of the log, each key as it is there.  `Gathering` collects
the next one: keys that have changed, and the rows of those whose values have been looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from distcache_replication.backing.errors import Unfit
from distcache_replication.backing.plan import Field, Plan
from distcache_replication.backing.position import Position


class First(NamedTuple):
    """A place in the log before the oldest change that is not written yet."""

    offset: int
    database: int
    """The one that is selected there."""
    seen_s: float
    """When it was seen, by a clock that does not go back."""


class Change(NamedTuple):
    """What becomes of the row of one key."""

    key: bytes
    plan: Plan
    values: tuple[str | bytes, ...]
    """Of the columns of its key."""
    row: list[Field] | None
    """The other columns; None: there is no row."""
    kind: int = 0
    value: Any = None
    """The same in plain form, in case the store refuses it."""
    deadline_ms: int | None = None
    problem: str = ""
    """Why it cannot be a row at all."""


def change(
    key: bytes,
    plan: Plan,
    variables: tuple[bytes, ...],
    kind: int,
    value: Any,
    deadline_ms: int | None,
) -> Change:
    """The change that makes the row what a key holds; ``value`` None where it is gone."""
    values = plan.key_of(key, variables)
    if values is None:
        return Change(key, plan, (), None, kind, value, deadline_ms, "no row can have this key")
    if value is None:
        return Change(key, plan, values, None)
    try:
        row = plan.fit(kind, value, deadline_ms)
    except Unfit as error:
        return Change(key, plan, values, None, kind, value, deadline_ms, error.reason)
    return Change(key, plan, values, row, kind, value, deadline_ms)


def changes_of_strings(
    keys: Sequence[bytes],
    plan: Plan,
    variables: Iterable[tuple[bytes, ...]],
    kind: int,
    values: Sequence[bytes],
) -> Iterable[Change] | None:
    """What `change` makes of each of many keys that hold strings; None where one is special."""
    fit = plan.fit_all(variables, values)
    if fit is None:
        return None
    plans, kinds = repeat(plan), repeat(kind)
    return map(_made, zip(keys, plans, *fit, kinds, values, repeat(None), repeat(""), strict=False))


_made = partial(tuple.__new__, Change)
"""A change of its parts: what the class does, in a fifth of the time."""


Noted = tuple[Plan, tuple[bytes, ...]]
"""Whose key it is, and the values of the variables in it."""


class Batch(NamedTuple):
    """Everything up to a position of the log."""

    position: Position
    emptied: list[Plan]
    """First all rows of these tables go, ..."""
    last: dict[bytes, Change]
    """... then keys that expired get what they held at last, ..."""
    archived: dict[bytes, Change]
    """... then these rows go to their archives, ..."""
    changes: dict[bytes, Change]
    """... and then come these."""
    until: int
    """The log up to here must be safe before they are written."""
    first: First
    """Where the oldest of them is."""

    @property
    def size(self) -> int:
        """How many changes there are."""
        return len(self.emptied) + len(self.last) + len(self.archived) + len(self.changes)

    def holds(self, key: bytes, plan: Plan) -> bool:
        """Whether it does something to the row of a key."""
        return (
            key in self.changes or key in self.last or key in self.archived or plan in self.emptied
        )


class Gathering:
    """The next batch, as it comes about."""

    __slots__ = ("archived", "changes", "emptied", "first", "last", "noted")

    def __init__(self, first: First) -> None:
        self.noted: dict[bytes, Noted] = {}
        """Keys that have changed since they were last looked at."""
        self.changes: dict[bytes, Change] = {}
        self.last: dict[bytes, Change] = {}
        self.archived: dict[bytes, Change] = {}
        self.emptied: list[Plan] = []
        self.first = first

    def __bool__(self) -> bool:
        return bool(self.noted or self.changes or self.last or self.archived or self.emptied)

    @property
    def size(self) -> int:
        """How many changes there are."""
        known = len(self.emptied) + len(self.last) + len(self.archived) + len(self.changes)
        return known + len(self.noted)

    def at(self, first: First) -> None:
        """What comes next begins here; the oldest counts."""
        if not self:
            self.first = first

    def holds(self, key: bytes, plan: Plan) -> bool:
        """Whether something is to be done to the row of a key."""
        return (
            key in self.noted
            or key in self.changes
            or key in self.last
            or key in self.archived
            or plan in self.emptied
        )

    def take(self, keys: Iterable[bytes], changes: Iterable[Change]) -> None:
        """Keys that were noted, and are no more, have been looked at."""
        self.changes.update(zip(keys, changes, strict=True))

    def keep(self, held: Change) -> None:
        """A key expires, and this is what it holds at last."""
        self.noted.pop(held.key, None)
        self.changes[held.key] = held

    def archive(self, gone: Change) -> None:
        """A key expired, and its row goes to the archive."""
        self.noted.pop(gone.key, None)
        before = self.changes.pop(gone.key, None)
        if before is not None:
            self.last[gone.key] = before
        self.archived[gone.key] = gone

    def empty(self, plan: Plan) -> None:
        """All keys of a mapping are gone."""
        for keys in (self.changes, self.last, self.archived):
            for key in [key for key, it in keys.items() if it.plan is plan]:
                del keys[key]
        for key in [key for key, (its, _) in self.noted.items() if its is plan]:
            del self.noted[key]
        if plan not in self.emptied:
            self.emptied.append(plan)

    def precede(self, older: Gathering) -> None:
        """Take up what came before: of each key the latest counts."""
        if not older:
            return
        for key, noted in older.noted.items():
            self.noted.setdefault(key, noted)
        for mine, theirs in (
            (self.changes, older.changes),
            (self.last, older.last),
            (self.archived, older.archived),
        ):
            for key, it in theirs.items():
                if it.plan not in self.emptied:
                    mine.setdefault(key, it)
        self.emptied += [plan for plan in older.emptied if plan not in self.emptied]
        self.first = older.first

    def seal(self, position: Position, until: int) -> Batch:
        """All of it, where every key has been looked at."""
        assert not self.noted
        return Batch(
            position,
            self.emptied,
            self.last,
            self.archived,
            self.changes,
            until,
            self.first,
        )
