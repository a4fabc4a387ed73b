"""Replication ids, and the offsets that they are good for (PSYNC2).

A history is one sequence of log bytes, named by 40 hexadecimal digits.  Whoever takes over from a
history, by promotion or after a restart, begins one of its own and remembers the former: up to the
offset where they part both hold the same bytes.  INFO shows one former id; more are remembered, so
that who was away during several restarts can go on, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

NONE = "0" * 40
"""No history: what INFO shows where there is no second id."""


def new_id() -> str:
    """An id that no other history has."""
    return secrets.token_hex(20)


MOST = 16
"""Former histories that are remembered."""


class History:
    """The history that the log goes on with, and those that it came from."""

    __slots__ = ("id", "lineage")

    def __init__(self, id_: str = "", lineage: Iterable[tuple[str, int]] = ()) -> None:
        self.id = id_ or new_id()
        self.lineage = list(lineage)
        """The former ids, the oldest first, each with the offset where it was left: its bytes
        before that are ours."""

    @property
    def second(self) -> str:
        """The former id, as INFO shows it."""
        return self.lineage[-1][0] if self.lineage else NONE

    @property
    def second_end(self) -> int:
        """The offset where the second history was left."""
        return self.lineage[-1][1] if self.lineage else -1

    def fork(self, offset: int) -> None:
        """Begin a new history at an offset of the present one."""
        self.become(new_id(), offset)

    def become(self, id_: str, offset: int) -> None:
        """Go on under another id; both are the same up to ``offset``."""
        # Where the end of our log was lost, what the former ones had there is not ours.
        former = [(it, min(end, offset)) for it, end in self.lineage]
        self.lineage = [*former, (self.id, offset)][-MOST:]
        self.id = id_

    def reset(self, id_: str = "", lineage: Iterable[tuple[str, int]] = ()) -> None:
        """Go on with a history that has nothing to do with the present one."""
        self.__init__(id_, lineage)  # type: ignore[misc]

    def holds(self, id_: str, offset: int) -> bool:
        """Whether somebody who has that history up to ``offset`` may go on with ours."""
        if id_ == self.id:
            return True
        return any(id_ == former and 0 <= offset <= end for former, end in self.lineage)
