"""Who may go on with a stream of events that somebody published before, and from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distcache_replication.changefeed.kafka import Mark
from distcache_replication.changefeed.position import Position

Lineage = Sequence[tuple[str, int]]
"""The former histories of a log, the oldest first, each with the offset at which it was left."""


class Deposed(Exception):
    """The stream has gone on with a history that comes after ours."""


class Claim(NamedTuple):
    """What a stream goes on with."""

    epoch: int
    position: Position | None
    """None for all keys first, since nothing is known of what was published, or it is not ours."""
    reason: str
    """Why all keys come first; empty where they do not."""


def claim(stored: Mark | None, history: str, lineage: Lineage) -> Claim:
    """What the log of this history may do with a stream.

    A history that the stream's came from has been overtaken: raises Deposed.
    """
    if stored is None:
        return Claim(1, None, "the stream is new")
    known = [str(id_) for id_, _ in stored.lineage]
    position = Position(stored.offset, stored.number)
    if known[0] == history:
        return Claim(stored.epoch, position, "")
    if history in known:
        raise Deposed(f"history {known[0]} has the stream, which comes after ours, {history}")
    for former, end in lineage:
        if former == known[0]:
            if position.applied <= end:
                return Claim(stored.epoch + 1, position, "")
            return Claim(
                stored.epoch + 1,
                None,
                f"it was published up to offset {position.applied}, of which the log has {end}",
            )
    return Claim(stored.epoch + 1, None, f"it is of another history, {known[0]}")


def mark(epoch: int, position: Position, history: str, lineage: Lineage) -> Mark:
    """What is stored beside the events up to a position."""
    former = [[id_, end] for id_, end in reversed(lineage)]
    return Mark(epoch, [[history, None], *former], position.offset, position.number)
