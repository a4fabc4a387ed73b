"""The parts of a large value as they were at one moment, read one by one while the value changes.

``keep`` makes a ``Guarded`` list for the place of the one that holds the parts.  Whoever takes a
part out of that may change it; so the reader gets a copy first, of this one part, if it has not
come to it yet.  A list that is not guarded knows nothing of all this, and costs nothing.

A part is taken by index or with ``pop``: who gets one by iterating may only read it.  There is one
reader at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, SupportsIndex, TypeVar, overload

P = TypeVar("P")


class Kept(Generic[P]):
    """Parts that a reader is yet to come to, by their places."""

    __slots__ = ("_copy", "_places", "parts")

    def __init__(self, parts: Iterable[tuple[int, P]], copy: Callable[[P], P]) -> None:
        self.parts = dict(parts)
        self._places = {id(part): place for place, part in self.parts.items()}
        """Where the parts stand that the value still has, and may change."""
        self._copy = copy

    def give_up(self, part: P) -> None:
        """The part is about to change."""
        place = self._places.pop(id(part), None)
        if place is not None:
            self.parts[place] = self._copy(part)

    def take(self, place: int) -> P:
        """A part, to be read at once: afterwards it may change."""
        part = self.parts.pop(place)
        self._places.pop(id(part), None)
        return part


class Guarded(list[P]):
    """Parts of a value that is being read."""

    __slots__ = ("kept",)

    def __init__(self, parts: list[P], kept: Kept[P]) -> None:
        super().__init__(parts)
        self.kept = kept

    @overload
    def __getitem__(self, at: SupportsIndex) -> P: ...

    @overload
    def __getitem__(self, at: slice) -> list[P]: ...

    def __getitem__(self, at: SupportsIndex | slice) -> P | list[P]:
        if isinstance(at, slice):
            return super().__getitem__(at)
        part = super().__getitem__(at)
        self.kept.give_up(part)
        return part

    def pop(self, at: SupportsIndex = -1) -> P:
        part = super().pop(at)
        self.kept.give_up(part)
        return part


def keep(parts: list[P], copy: Callable[[P], P]) -> tuple[list[P], Kept[P]]:
    """What is to stand in place of these parts, and the parts to read, by their places."""
    kept = Kept(enumerate(parts), copy)
    return Guarded(parts, kept), kept


def released(parts: list[P]) -> list[P]:
    """What is to stand there when the reader is done."""
    return list(parts) if type(parts) is Guarded else parts
