"""Replication ids, and the offsets that they are good for (PSYNC2).

A history is one sequence of log bytes, named by 40 hexadecimal digits.  Whoever takes over from a
history, by promotion or after a restart, begins one of its own and remembers the former: up to the
offset where they part both hold the same bytes.
"""

from __future__ import annotations

import secrets

NONE = "0" * 40
"""No history: what INFO shows where there is no second id."""


def new_id() -> str:
    """An id that no other history has."""
    return secrets.token_hex(20)


class History:
    """The history that the log goes on with, and the one that it came from."""

    __slots__ = ("id", "second", "second_end")

    def __init__(self, id_: str = "", second: str = NONE, second_end: int = -1) -> None:
        self.id = id_ or new_id()
        self.second = second
        self.second_end = second_end
        """The offset where the second history was left: its bytes before that are ours."""

    def fork(self, offset: int) -> None:
        """Begin a new history at an offset of the present one."""
        self.second, self.second_end = self.id, offset
        self.id = new_id()

    def reset(self) -> None:
        """Begin a history that has nothing to do with any other."""
        self.__init__()  # type: ignore[misc]

    def holds(self, id_: str, offset: int) -> bool:
        """Whether somebody who has that history up to ``offset`` may go on with ours."""
        return id_ == self.id or (id_ == self.second and 0 <= offset <= self.second_end)
