"""A hash table in small parts: no long stall when it grows, and a cursor that loses nothing.

Python's dict moves all its entries when it grows: 40 ms at a million.  It has no random entry and
no place to come back to.  This table is an extendible hash (Fagin et al., 1979, "Extendible
hashing: a fast access method for dynamic files"): a directory of 2**n pointers to plain dicts of at
most ``LIMIT`` entries, chosen by the low bits of the hash.  A dict that overflows is split in two,
and the directory doubles when a dict needs a bit more than it has.

``scan`` steps through the directory like Redis steps through its buckets (Pieter Noordhuis's
reverse binary increment, dict.c): an entry present from start to end is returned, whatever is
added, removed or split meanwhile, since parts only ever split and join along the bits that the
cursor has already put in order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from sys import getsizeof
from typing import Generic, TypeVar

from distcache_server.types.kept import Guarded, Kept, released

K = TypeVar("K")
V = TypeVar("V")

LIMIT = 170
"""Entries a dict holds with 256 slots, whose index takes one byte each."""
FULL = LIMIT * 3 // 4
"""About what a dict holds on average; with no more, none of many is likely to overflow."""
SPARSE = LIMIT // 3
"""Two halves that hold no more than this together become one again."""
ROOMY = LIMIT - 24
"""A dict with more entries than this has little to gain from being packed."""
MAX_BITS = 24
ENTRY = 34
"""Bytes per entry of a part as full as it is on average."""

PACKED = dict.fromkeys(range(LIMIT)).__sizeof__()
"""Bytes of a dict with so many entries that had no others before."""


def _pack(part: dict[K, V]) -> None:
    """Make a dict as small as its entries allow: keys that come and go leave it twice as large."""
    entries = list(part.items())
    part.clear()
    part.update(entries)


def reverse_bits(value: int, width: int) -> int:
    """The lowest ``width`` bits in reverse order."""
    return int(f"{value:0{width}b}"[::-1], 2) if width else 0


def step(cursor: int, bits: int) -> int:
    """The cursor after the part that ``cursor`` lies in, of ``bits`` bits; 0 after the last."""
    if not bits:
        return 0
    turned = reverse_bits(cursor & ((1 << bits) - 1), bits) + 1
    return reverse_bits(turned, bits) if turned >> bits == 0 else 0


class Table(Generic[K, V]):
    """A mapping with bounded pauses, random entries and a scan; close to dict where it can be."""

    __slots__ = ("bits", "count", "deepest", "mask", "parts", "sizes")

    def __init__(self) -> None:
        self.parts: list[dict[K, V]] = [{}]
        self.sizes: list[int] = [0]
        """Beside each pointer of ``parts``: how many bits all keys of that dict have in common."""
        self.mask = 0
        self.bits = 0
        self.count = 0
        self.deepest = 1
        """How many dicts need all the bits of the directory; at 0 it can be halved."""

    @classmethod
    def of(cls, entries: Mapping[K, V]) -> Table[K, V]:
        """A table with these entries."""
        new = cls()
        bits = 0
        while bits < MAX_BITS and len(entries) > LIMIT << bits:
            bits += 1
        if bits and len(entries) > FULL << bits:
            bits += 1
        new.bits, new.mask, new.deepest = bits, (1 << bits) - 1, 1 << bits
        parts = new.parts = [{} for _ in range(1 << bits)]
        new.sizes = [bits] * (1 << bits)
        mask = new.mask
        for key, value in entries.items():
            parts[hash(key) & mask][key] = value
        new.count = len(entries)
        for slot in range(1 << bits):
            if len(parts[slot]) > LIMIT:
                new.split(slot)
        return new

    def __len__(self) -> int:
        return self.count

    def __contains__(self, key: K) -> bool:
        return key in self.parts[hash(key) & self.mask]

    def get(self, key: K, default: V | None = None) -> V | None:
        return self.parts[hash(key) & self.mask].get(key, default)

    def __getitem__(self, key: K) -> V:
        return self.parts[hash(key) & self.mask][key]

    def __setitem__(self, key: K, value: V) -> None:
        part = self.parts[hash(key) & self.mask]
        before = len(part)
        part[key] = value
        if len(part) != before:
            self.grown(key, before)

    def grown(self, key: K, before: int) -> None:
        """Account for an entry that the caller put into its part, which held ``before``."""
        self.count += 1
        if before >= LIMIT:
            self.split(hash(key) & self.mask)

    def pop(self, key: K, default: V | None = None) -> V | None:
        part = self.parts[hash(key) & self.mask]
        before = len(part)
        value = part.pop(key, default)
        if len(part) != before:
            self.count -= 1
            if before < SPARSE and self.bits:
                self._merge(hash(key) & self.mask)
            elif before <= ROOMY and part.__sizeof__() > PACKED:
                _pack(part)
        return value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self.pop(key)

    def _distinct(self) -> Iterator[dict[K, V]]:
        """Each dict once: at the lowest of the places that point to it."""
        for slot, part in enumerate(self.parts):
            if slot >> self.sizes[slot] == 0:
                yield part

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self._distinct())

    keys = __iter__

    def items(self) -> Iterator[tuple[K, V]]:
        return chain.from_iterable(part.items() for part in self._distinct())

    def values(self) -> Iterator[V]:
        return chain.from_iterable(part.values() for part in self._distinct())

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def copy(self) -> Table[K, V]:
        """Another table with the same entries."""
        other: Table[K, V] = Table()
        copies = {id(part): part.copy() for part in self._distinct()}
        other.parts = [copies[id(part)] for part in self.parts]
        other.sizes = self.sizes[:]
        other.mask, other.bits = self.mask, self.bits
        other.count, other.deepest = self.count, self.deepest
        return other

    def keep(self) -> Kept[dict[K, V]]:
        """Its parts as they are now, by their places; until ``release``."""
        distinct = (
            (slot, part) for slot, part in enumerate(self.parts) if slot >> self.sizes[slot] == 0
        )
        kept: Kept[dict[K, V]] = Kept(distinct, dict.copy)
        self.parts = Guarded(self.parts, kept)
        return kept

    def release(self) -> None:
        """The reader of the parts is done."""
        self.parts = released(self.parts)

    def batches(self, kept: bool) -> Iterator[list[tuple[K, V]]]:
        """All entries, part by part; if ``kept``, as they are now, until ``release``."""
        if not kept:
            return (list(part.items()) for part in self._distinct())
        parts = self.keep()
        return (list(parts.take(place).items()) for place in list(parts.parts))

    def memory(self) -> int:
        """About how many bytes it takes, without what it refers to."""
        return 2 * getsizeof(self.parts) + ENTRY * self.count + getsizeof(self.parts[0])

    def drain(self) -> list[V]:
        """Take one of the parts out of a table that is no longer used; its values, or []."""
        while self.parts:
            part = self.parts.pop()
            if part:
                values = list(part.values())
                part.clear()  # other places may point to it
                return values
        return []

    def split(self, slot: int) -> None:
        """Make two of the dict at ``slot``, which has too many entries."""
        size = self.sizes[slot]
        if size == self.bits:
            if self.bits == MAX_BITS:
                return
            self.parts += self.parts
            self.sizes += self.sizes
            self.bits += 1
            self.mask = (1 << self.bits) - 1
            self.deepest = 0
        old = self.parts[slot]
        bit = 1 << size
        low: dict[K, V] = {}
        high: dict[K, V] = {}
        for key, value in old.items():
            (high if hash(key) & bit else low)[key] = value
        base = slot & (bit - 1)
        for place in range(base, self.mask + 1, bit):
            self.parts[place] = high if place & bit else low
            self.sizes[place] = size + 1
        if size + 1 == self.bits:
            self.deepest += 2

    def _merge(self, slot: int) -> None:
        """Join the dict at ``slot`` with its other half, if that is as small."""
        size = self.sizes[slot]
        if not size:
            return
        bit = 1 << (size - 1)
        part, other = self.parts[slot], self.parts[slot ^ bit]
        if self.sizes[slot ^ bit] != size or len(part) + len(other) > SPARSE:
            return
        both = {**part, **other}
        for place in range(slot & (bit - 1), self.mask + 1, bit):
            self.parts[place] = both
            self.sizes[place] = size - 1
        if size == self.bits:
            self.deepest -= 2
            while not self.deepest and self.bits:
                self.bits -= 1
                self.mask >>= 1
                del self.parts[self.mask + 1 :], self.sizes[self.mask + 1 :]
                self.deepest = self.sizes.count(self.bits)

    def scan(self, cursor: int, count: int) -> tuple[int, list[K]]:
        """At least ``count`` keys from ``cursor`` on, if there are, and the next cursor or 0."""
        found: list[K] = []
        while True:
            slot = cursor & self.mask
            found += self.parts[slot]
            cursor = step(slot, self.sizes[slot])
            if not cursor or len(found) >= count:
                return cursor, found

    def random_key(self) -> K:
        """A key at random, each as likely as any other; KeyError where there is none."""
        if not self.count:
            raise KeyError("the table is empty")
        while True:
            # Places are drawn until one hits: so full dicts, and those that few places point to,
            # get their share.
            slot = random.getrandbits(self.bits)
            if slot >> self.sizes[slot]:
                continue
            part = self.parts[slot]
            at = int(random.random() * (LIMIT + 1 if self.bits < MAX_BITS else len(part)))
            if at < len(part):
                return next(islice(part, at, None))

    def draw(self) -> dict[K, V]:
        """A part at random, which has some hundred entries where there are many; only to read."""
        part: dict[K, V] = {}
        while self.count and not part:
            part = self.parts[random.getrandbits(self.bits)]
        return part

    def sample(self, count: int) -> list[K]:
        """Up to ``count`` different keys, spread over a part drawn at random: to guess by."""
        part = self.draw()
        if len(part) <= count:
            return list(part)
        stride = len(part) // count
        start = random.randrange(len(part) - stride * (count - 1))
        return list(islice(part, start, None, stride))[:count]
