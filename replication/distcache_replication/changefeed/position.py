"""Where an event stands: the offset of the log at which its command begins, and a number from 1.

All events of a transaction have the offset of its MULTI.  As the id of a stream's entry a position
reads ``<offset>-<number>``.  An offset with the number 0 is a place between events: all before it
are known, those that begin there or later are not.

A snapshot of the keys at an offset stands between all events before that offset and those from it
on: at ``offset - 1``, where no command begins, with numbers from SNAPSHOT on.  The place behind it
is ``<offset>-0``.
"""

from __future__ import annotations

from typing import NamedTuple

SNAPSHOT = 1 << 40
"""The number of the place before a snapshot."""


class Position(NamedTuple):
    """A place in the feed.  Positions of one history compare as their events follow each other."""

    offset: int
    number: int = 0

    @property
    def in_snapshot(self) -> bool:
        """Whether a snapshot has begun here, and has not ended."""
        return self.number >= SNAPSHOT

    @property
    def applied(self) -> int:
        """The log is of no interest up to here."""
        return self.offset + 1 if self.in_snapshot else self.offset

    def __str__(self) -> str:
        return f"{self.offset}-{self.number}"


BEGINNING = Position(0)


def before_snapshot(offset: int) -> Position:
    """Who goes on from here first gets all keys as they are at an offset."""
    return Position(offset - 1, SNAPSHOT) if offset else BEGINNING
