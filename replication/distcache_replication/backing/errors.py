"""What can be wrong with a mapping, a value, or the store."""

from __future__ import annotations


class BadMap(Exception):
    """A mapping cannot be used; the text names it and the cure."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"mapping '{where}': {reason}" if where else reason)


class Unfit(Exception):
    """A value cannot stand where it is mapped to."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreError(Exception):
    """The store did not do what it was asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Away(StoreError):
    """It cannot be reached, or does not answer in time."""


class Refused(StoreError):
    """It answered that it will not: a right that is missing, a table that has changed."""


class RowRefused(Refused):
    """It will not have some of these rows: a constraint, a value."""


class Deposed(StoreError):
    """Somebody else writes there now: the position is not the one that we left."""
