"""How far the store is, and who may write to it.

The store has a row for each stream (the log of a primary and of those that take over from it):
epoch, history and offset, and the database that the log has selected there.  Whoever writes changes
that row in the same transaction as the rows, and only where it still says what the writer left
there.  So each change takes effect once, also when nobody knows whether a commit went through; and
a primary whose place another has taken, with the next epoch, cannot write any more.
"""

from __future__ import annotations

from typing import NamedTuple

from distcache_replication.history import History

UNKNOWN = ""
"""The history in the row of a stream whose first pass over all keys has not ended."""


class Position(NamedTuple):
    """The rows are the keys as the log has them up to here."""

    epoch: int
    history: str
    offset: int
    database: int = 0
    """The one that the log has selected at this offset."""


class Stored(NamedTuple):
    """What the store says of a stream."""

    position: Position
    silent_s: float
    """Seconds since its writer was last there, by the clock of the store; endless if it left."""


NEW, HERE, AHEAD, STRANGE = "new", "here", "ahead", "strange"


def relation(stored: Position | None, history: History, end: int) -> str:
    """How the store's position relates to a log that ends at ``end``.

    NEW: nobody has written yet, or not everything.  HERE: it is a place in our log, from which we
    go on.  AHEAD: it is behind the end of what we have of that history: the rows are newer than our
    keys.  STRANGE: of a history that we know nothing of; somebody else is the primary, or we have
    lost our log.
    """
    if stored is None or stored.history == UNKNOWN:
        return NEW
    if history.holds(stored.history, stored.offset) and stored.offset <= end:
        return HERE
    known = {history.id, *(former for former, _ in history.lineage)}
    return AHEAD if stored.history in known else STRANGE
