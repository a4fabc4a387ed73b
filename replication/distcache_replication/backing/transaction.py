"""The steps of the transaction that writes a batch, and what becomes of rows that are refused.

A conversation: the generator yields steps, and gets an empty text for each that was done, or why
the store refused it.  A store that goes ahead without precautions raises RowRefused instead, rolls
back, and begins again with ``careful``: then each step that is refused is halved until the rows
are found that do not fit.  Those are tried again once all others are there, which may be what they
lacked, and then become dead letters, in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import NamedTuple

from distcache_replication.backing.changes import Batch, Change
from distcache_replication.backing.plan import Plan

EMPTY, ARCHIVE, DELETE, UPSERT = "empty", "archive", "delete", "upsert"
ATTEMPTS = 3
"""How often a row is tried."""


class Step(NamedTuple):
    """One statement."""

    verb: str
    plan: Plan
    changes: Sequence[Change] = ()
    omitted: tuple[int, ...] = ()
    """Columns that get their defaults."""


class Dead(NamedTuple):
    """A change that the store does not take."""

    change: Change
    reason: str


Steps = Generator[Step, str, list[Dead]]


def steps(batch: Batch, size: int) -> Steps:
    """The steps of a batch, at most ``size`` rows each; what was refused in the end."""
    dead: list[Dead] = []
    refused: list[tuple[Step, str]] = []
    for plan in batch.emptied:
        yield Step(EMPTY, plan)
    for verb, changes in (
        (None, batch.last),
        (ARCHIVE, batch.archived),
        (None, batch.changes),
    ):
        fit = []
        for change in changes.values():
            if change.problem:
                # A key that is gone, and had no row, is nothing that was refused.
                if change.value is not None:
                    dead.append(Dead(change, change.problem))
            else:
                fit.append(change)
        for step in _grouped(verb, fit, size):
            refused += yield from _halved(step)
    for _ in range(ATTEMPTS - 1):
        if not refused:
            break
        refused, again = [], refused
        for step, _ in again:
            if reason := (yield step):
                refused.append((step, reason))
        if len(refused) == len(again):
            break
    return dead + [Dead(change, reason) for step, reason in refused for change in step.changes]


def _grouped(verb: str | None, changes: Sequence[Change], size: int) -> list[Step]:
    """Steps for these changes: rows go before others come, which may need their place."""
    groups: defaultdict[tuple[str, Plan, tuple[int, ...]], list[Change]] = defaultdict(list)
    for change in changes:
        row = change.row
        if verb is not None:
            groups[verb, change.plan, ()].append(change)
        elif row is None:
            groups[DELETE, change.plan, ()].append(change)
        else:
            groups[UPSERT, change.plan, change.plan.omitted(row)].append(change)
    return [
        Step(verb, plan, members[start : start + size], omitted)
        for (verb, plan, omitted), members in sorted(groups.items(), key=lambda it: it[0][0])
        for start in range(0, len(members), size)
    ]


def _halved(step: Step) -> Generator[Step, str, list[tuple[Step, str]]]:
    """Do a step; the single rows of it that were refused."""
    reason = yield step
    if not reason:
        return []
    if len(step.changes) <= 1:
        return [(step, reason)]
    half = len(step.changes) // 2
    refused = yield from _halved(step._replace(changes=step.changes[:half]))
    return refused + (yield from _halved(step._replace(changes=step.changes[half:])))


class Conversation:
    """The steps, for a store to go through."""

    def __init__(self, todo: Steps) -> None:
        self._todo = todo
        self.step: Step | None = None
        """What is to be done now; None at the end."""
        self.dead: list[Dead] = []
        self._go_on(None)

    def answer(self, refused: str) -> None:
        """The step was done, or refused."""
        self._go_on(refused)

    def _go_on(self, refused: str | None) -> None:
        try:
            self.step = next(self._todo) if refused is None else self._todo.send(refused)
        except StopIteration as end:
            self.step, self.dead = None, end.value
