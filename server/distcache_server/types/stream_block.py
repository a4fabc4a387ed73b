"""Entries of a stream, in a form that is quick to change and in one that takes little memory.

Most entries of a stream are old: they are read now and then, deleted from the front, and never
changed.  So all but the last hundred stand in blocks.  A block is one byte string, packed by
msgpack in C: for each entry its milliseconds since the first one, its sequence number and its
values; the names of the fields are kept once, beside it.  Where the entries of a block have
different fields, each has a list of its fields and values instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from sys import getsizeof

from msgpack import packb, unpackb

from distcache_server.types.stream_id import BITS, SEQUENCE

Words = Sequence[bytes]
"""Fields and values in turn."""
Fields = tuple[bytes, ...]


class Entries:
    """Entries in order, as two lists side by side.

    A row has the values of the ``fields``, or where these are None, fields and values in turn.
    """

    __slots__ = ("fields", "ids", "rows")

    def __init__(self, ids: list[int], rows: list[Words], fields: Fields | None = None) -> None:
        self.ids = ids
        self.rows = rows
        self.fields = fields

    def between(self, start: int, stop: int) -> list[tuple[int, Words]]:
        """Ids and words from one place up to another."""
        ids, rows = self.ids[start:stop], self.rows[start:stop]
        if self.fields is None:
            return list(zip(ids, rows, strict=True))
        names = [word for field in self.fields for word in (field, b"")]
        words = []
        for row in rows:
            each = names[:]
            each[1::2] = row
            words.append(each)
        return list(zip(ids, words, strict=True))

    def drop(self, count: int) -> None:
        """Remove the first entries."""
        del self.ids[:count]
        del self.rows[:count]

    def remove(self, at: int) -> None:
        """Remove an entry."""
        del self.ids[at]
        del self.rows[at]


class Block:
    """Packed entries, one at least."""

    __slots__ = ("base_ms", "count", "fields", "first", "last", "packed", "skipped")

    def __init__(self, entries: Entries) -> None:
        self.pack(entries)

    def pack(self, entries: Entries) -> None:
        """Take these entries, one at least, in place of those that were here."""
        ids, rows = entries.ids, entries.rows
        self.fields = entries.fields
        self.base_ms = base = ids[0] >> BITS
        after = [(number >> BITS) - base for number in ids]
        sequences = [number & SEQUENCE for number in ids]
        flat = chain.from_iterable(
            zip(after, sequences, rows, strict=True)
            if self.fields is None
            else zip(after, sequences, *zip(*rows, strict=True), strict=True)
        )
        # As raw strings, which have a header of one byte where binary ones have two.
        self.packed: bytes = packb(list(flat), use_bin_type=False)
        self.count = len(ids)
        self.skipped = 0
        """Entries at the front that are packed and deleted."""
        self.first: int | None = ids[0]
        """The first id; None where that has to be looked up."""
        self.last = ids[-1]

    def copy(self) -> Block:
        """Another one of the same bytes."""
        other = Block.__new__(Block)
        for name in Block.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def unpacked(self) -> Entries:
        """The entries."""
        flat = unpackb(self.packed, raw=True)
        width = 3 if self.fields is None else len(self.fields) + 2
        ids = [
            ms << BITS | sequence
            for ms, sequence in zip(
                map(int.__add__, flat[::width], repeat(self.base_ms)), flat[1::width], strict=False
            )
        ]
        rows: list[Words]
        if self.fields is None:
            rows = flat[2::3]
        else:
            rows = list(zip(*(flat[at::width] for at in range(2, width)), strict=True))
        entries = Entries(ids, rows, self.fields)
        if self.skipped:
            entries.drop(self.skipped)
        return entries

    def skip(self, count: int) -> None:
        """Delete the first entries, but not all."""
        self.skipped += count
        self.count -= count
        self.first = None

    def memory(self) -> int:
        """Bytes that it takes."""
        return getsizeof(self.packed) + getsizeof(self) + 80
