"""What can be wrong with a snapshot."""

from __future__ import annotations


class BadRdb(Exception):
    """The bytes are not what they should be; ``offset`` is where the trouble begins."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} (at offset {self.offset})"


class BadChecksum(BadRdb):
    """The bytes are damaged, or of a version that is not known."""


class Unsupported(BadRdb):
    """The bytes may be right, but nobody here knows what they mean: values of modules."""


class Short(Exception):
    """There may be nothing wrong, but the bytes end before ``need``."""

    def __init__(self, need: int) -> None:
        super().__init__()
        self.need = need


class Large(Exception):
    """To build the value might take too much memory: it must be checked before."""
