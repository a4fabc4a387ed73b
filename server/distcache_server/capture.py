"""All keys as they were at one moment, walked a little at a time while commands change them.

The walk passes the tables in the order of a scan (types/table.py).  A key that it has not come to
is given out early, right before a command first changes it: so each key is seen once, with the
value that it had at the start, and nothing is copied.  Keys that are new since the start are left
out.  Of a large value that is being read, a change copies the part that it changes, where that is
yet to be read (types/kept.py).

A database carries its part of the walk along: SWAPDB moves it, and what FLUSHALL takes away is
still walked, and freed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from distcache_server.ledger import END, place_of
from distcache_server.types.table import MAX_BITS, reverse_bits

if TYPE_CHECKING:
    from distcache_server.keyspace import Keyspace, Value

Emit = Callable[[int, bytes, "Value", int | None], bool]
"""Takes a database, a key, its value and its deadline; whether it still has to read the value."""


class Part:
    """The keys of one database."""

    __slots__ = (
        "cursor",
        "deadlines",
        "done",
        "emit",
        "graveyard",
        "held",
        "index",
        "values",
    )

    def __init__(self, keyspace: Keyspace, emit: Emit) -> None:
        self.index = keyspace.index
        self.values = keyspace.values
        self.deadlines = keyspace.deadlines
        self.emit = emit
        self.cursor = 0
        """How far the walk has come, as ``place_of`` has it."""
        self.done: set[bytes] = set()
        """Keys beyond that which were given out, or are new."""
        self.graveyard: list[Any] | None = None
        """Where tables go that only the walk still holds, and what else was left with them."""
        self.held: list[Value] = []
        """Values that were given out and are still being read."""

    def before(self, key: bytes) -> None:
        """The key is about to change, to come or to go."""
        if key in self.done or place_of(key) < self.cursor:
            return
        self.done.add(key)
        value = self.values.get(key)
        if value is not None and self.emit(self.index, key, value, self.deadlines.get(key)):
            self.held.append(value)

    def step(self, end: int) -> bool:
        """Walk on until ``end`` (perf_counter_ns); True where there is more."""
        values, deadlines, done = self.values, self.deadlines, self.done
        while self.cursor < END:
            slot = reverse_bits(self.cursor, MAX_BITS) & values.mask
            bits = values.sizes[slot]
            first = reverse_bits(slot & ((1 << bits) - 1), bits) << (MAX_BITS - bits)
            for key, value in values.parts[slot].items():
                # Where parts have been joined, some of the keys may have been passed.
                if key in done or (first < self.cursor and place_of(key) < self.cursor):
                    continue
                if self.emit(self.index, key, value, deadlines.get(key)):
                    self.held.append(value)
            self.cursor = first + (1 << (MAX_BITS - bits))
            if perf_counter_ns() > end:
                return self.cursor < END
        return False


class Walk:
    """The keys of all databases."""

    def __init__(self, databases: list[Keyspace], emit: Emit) -> None:
        self.databases = databases
        self.parts = [Part(keyspace, emit) for keyspace in databases if len(keyspace)]
        self._left = self.parts[:]
        for part in self.parts:
            databases[part.index].capture = part
            databases[part.index].arrange()
        # What comes into an empty database is new.

    def step(self, end: int) -> bool:
        """Walk on until ``end`` (perf_counter_ns); True where there is more.

        What was given out before has been read by now.
        """
        self._let_go()
        while self._left:
            part = self._left[0]
            if part.step(end) or part.held:
                return True
            self._release(self._left.pop(0))
            if perf_counter_ns() > end:
                break
        return bool(self._left)

    def _let_go(self) -> None:
        for part in self._left:
            for value in part.held:
                value.release()
            part.held.clear()

    def stop(self) -> None:
        """Walk no further."""
        self._let_go()
        for part in self._left:
            self._release(part)
        self._left = []

    def _release(self, part: Part) -> None:
        for keyspace in self.databases:
            if keyspace.capture is part:
                keyspace.capture = None
                keyspace.arrange()
        if part.graveyard is not None:
            part.graveyard += [part.values, part.deadlines]
