"""A hash: fields with values, some of them with deadlines.

What holds them depends on their number and size:

- Up to ``PACKED`` short values under fields that other hashes have too are *packed*: the fields
  stand in a ``Shape``, which all of those hashes share, and the values one after the other in one
  byte string.  A hash of five fields takes 310 bytes that way; a dict of its own takes 950.
- Others are a dict, up to ``FEW`` fields or the limit of Redis's listpack.
- Then a Table, for good.

Shapes are an old idea for objects (Chambers, Ungar and Lee, 1989, "An efficient implementation of
SELF").  Here a shape is only made for fields that were seen before, and all are forgotten when
there are many, so that hashes without anything in common cost nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from itertools import accumulate, islice, pairwise
from sys import getrefcount, getsizeof
from typing import TYPE_CHECKING, TypeAlias

from distcache_server.types.deadlines import NEVER, Deadlines
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.types.limits import Limits

Item: TypeAlias = tuple[bytes, bytes]

PACKED = 32
"""Most fields of a packed hash: the lengths of all that stand before a value are added up."""
LONGEST = 255
"""Longest packed value: its length is one byte."""
FEW = 128
"""A hash that Redis would call a hashtable stays a dict up to here."""
SHAPES = 1024
"""Shapes that are remembered, and as many sets of fields that were seen once."""
NAMES = 4096
"""Fields outside of shapes that are remembered, so that equal ones are stored once."""
ROUNDING = 16
"""What the allocator adds to a field and its value, on average."""
OWN = 10
"""References to a field from its hash alone, from what is remembered and from who counts them."""
SAMPLE = 5
"""Entries that are measured to guess how much all of them take."""


class Shape:
    """The fields of packed hashes, in the order in which they were added."""

    __slots__ = ("fields", "index", "longest")

    def __init__(self, fields: tuple[bytes, ...] = ()) -> None:
        self.fields = fields
        self.longest = max(map(len, fields), default=0)
        self.index = {field: place for place, field in enumerate(fields)}


LISTPACK = Shape()
HASHTABLE = Shape()
"""In place of the shape of a hash that is not packed: what Redis would call it."""

_shapes: dict[tuple[bytes, ...], Shape] = {}
_seen: dict[tuple[bytes, ...], None] = {}
_names: dict[bytes, bytes] = {}


def shape_of(fields: tuple[bytes, ...]) -> Shape | None:
    """The shape of these fields, or None when they are met for the first time."""
    shape = _shapes.get(fields)
    if shape is not None:
        return shape
    if fields not in _seen:
        if len(_seen) >= SHAPES:
            _seen.clear()
        _seen[fields] = None
        return None
    if len(set(fields)) < len(fields):
        return None
    if len(_shapes) >= SHAPES:
        _shapes.clear()
    del _seen[fields]
    shape = _shapes[fields] = Shape(fields)
    return shape


def one_of_equals(field: bytes) -> bytes:
    """The field, as the same object for all hashes as long as it is remembered."""
    known = _names.get(field)
    if known is not None:
        return known
    if len(_names) >= NAMES:
        _names.clear()
    _names[field] = field
    return field


class Hash:
    """Fields and their values.  The keyspace removes those that are past their deadlines."""

    __slots__ = ("deadlines", "entries", "packed", "shape")

    def __init__(self) -> None:
        self.shape = LISTPACK
        self.packed = b""
        """Of a packed hash: a byte for the length of each value, then the values."""
        self.entries: dict[bytes, bytes] | Table[bytes, bytes] | None = {}
        """Of any other."""
        self.deadlines: Deadlines | None = None

    @classmethod
    def of(cls, entries: dict[bytes, bytes], limits: Limits) -> Hash:
        """A hash of these fields and values."""
        new = cls()
        count, values = len(entries), entries.values()
        longest = max(map(len, values))
        if count <= limits.hash_entries and longest <= limits.hash_value:
            shape = _shapes.get(tuple(entries))
            if shape is not None and longest <= LONGEST and shape.longest <= limits.hash_value:
                new._pack(shape, values)
                return new
            if max(map(len, entries)) <= limits.hash_value:
                new._fill(list(entries), list(values))
                return new
        new.shape = HASHTABLE
        if count > FEW:
            new.entries = Table.of(entries)
        else:
            new.entries = dict(zip(map(one_of_equals, entries), values, strict=True))
        return new

    @property
    def encoding(self) -> bytes:
        """What OBJECT ENCODING answers."""
        if self.shape is HASHTABLE:
            return b"hashtable"
        return b"listpack" if self.deadlines is None else b"listpackex"

    def copy(self) -> Hash:
        other = Hash()
        other.shape, other.packed = self.shape, self.packed
        other.entries = None if self.entries is None else self.entries.copy()
        other.deadlines = None if self.deadlines is None else self.deadlines.copy()
        return other

    def memory(self) -> int:
        """About how many bytes it takes, from the size of a few entries."""
        entries = self.entries
        size = getsizeof(self)
        if self.deadlines is not None:
            size += self.deadlines.memory()
        if entries is None:
            return size + getsizeof(self.packed)
        if isinstance(entries, Table):
            size += entries.memory()
        else:
            size += getsizeof(entries)
        measured = [
            getsizeof(value) + (0 if getrefcount(field) > OWN else getsizeof(field)) + ROUNDING
            for field, value in islice(entries.items(), SAMPLE)
        ]
        return size + len(entries) * sum(measured) // (len(measured) or 1)

    def drain(self) -> bool:
        """Free a part of a hash that is no longer used; False where nothing is left."""
        if isinstance(self.entries, Table) and self.entries.drain():
            return True
        self.entries = {}
        return self.deadlines is not None and self.deadlines.drain()

    # Reading

    def __len__(self) -> int:
        entries = self.entries
        return len(self.shape.fields) if entries is None else len(entries)

    def __contains__(self, field: bytes) -> bool:
        entries = self.entries
        return field in (self.shape.index if entries is None else entries)

    def get(self, field: bytes) -> bytes | None:
        entries = self.entries
        if entries is not None:
            return entries.get(field)
        index = self.shape.index
        place = index.get(field)
        if place is None:
            return None
        packed = self.packed
        start = len(index) + sum(packed[:place])
        return packed[start : start + packed[place]]

    def fields(self) -> list[bytes]:
        entries = self.entries
        return list(self.shape.fields if entries is None else entries)

    def values(self) -> list[bytes]:
        entries = self.entries
        if entries is not None:
            return list(entries.values())
        packed, count = self.packed, len(self.shape.fields)
        ends = accumulate(packed[:count], initial=count)
        return [packed[start:end] for start, end in pairwise(ends)]

    def items(self) -> list[Item]:
        entries = self.entries
        if entries is not None:
            return list(entries.items())
        return list(zip(self.shape.fields, self.values(), strict=True))

    def batches(self, kept: bool) -> Iterator[list[Item]]:
        """The items, part by part; if ``kept``, as they are now, until ``release``."""
        if isinstance(self.entries, Table):
            return self.entries.batches(kept)
        return iter((self.items(),))

    def release(self) -> None:
        """Who read the items is done."""
        if isinstance(self.entries, Table):
            self.entries.release()
        if self.deadlines is not None:
            self.deadlines.release()

    def scan(self, cursor: int, count: int) -> tuple[int, list[Item]]:
        """At least ``count`` items, if there are, and the next cursor (0: done).

        A field that is there from the first call to the last is returned.
        """
        entries = self.entries
        if not isinstance(entries, Table):
            return 0, self.items()
        cursor, fields = entries.scan(cursor, count)
        return cursor, [(field, entries[field]) for field in fields]

    def draw(self) -> bytes:
        """A field at random, each as likely as any other, of a hash that is not empty."""
        entries = self.entries
        if isinstance(entries, Table):
            return entries.random_key()
        at = int(random.random() * len(self))
        if entries is None:
            return self.shape.fields[at]
        return next(islice(entries, at, None))

    def sample(self, count: int) -> list[bytes]:
        """So many different fields at random; all where there are no more."""
        if count >= len(self):
            return self.fields()
        if isinstance(self.entries, Table) and count * 3 < len(self):
            found: dict[bytes, None] = {}
            while len(found) < count:
                found[self.entries.random_key()] = None
            return list(found)
        return random.sample(self.fields(), count)

    # Writing

    def set(self, field: bytes, value: bytes, limits: Limits) -> bool:
        """Give a field a value and no deadline; whether it is new."""
        if self.deadlines is not None:
            self.deadlines.drop(field)
        return self.replace(field, value, limits)

    def replace(self, field: bytes, value: bytes, limits: Limits) -> bool:
        """Give a field a value and leave its deadline; whether it is new."""
        entries = self.entries
        if entries is None:
            return self._replace_packed(field, value, limits)
        if type(entries) is Table:
            # What Table.__setitem__ would do.
            part = entries.parts[hash(field) & entries.mask]
            before = len(part)
            part[field] = value
            if len(part) == before:
                return False
            entries.grown(field, before)
            return True
        most = limits.hash_value
        if len(value) > most or len(field) > most:
            self.shape = HASHTABLE
        if field in entries:
            entries[field] = value
            return False
        entries[one_of_equals(field)] = value
        if len(entries) > 1:
            self._grown(limits)
        return True

    def update(self, words: list[bytes], limits: Limits) -> int:
        """Set fields to the values that follow them, without deadlines; how many are new."""
        count = len(words) // 2
        if self.shape is not HASHTABLE and (
            count > limits.hash_entries or max(map(len, words)) > limits.hash_value
        ):
            self._unpack()
            self.shape = HASHTABLE
        if not self and self.shape is LISTPACK:
            return self._fill(words[::2], words[1::2])
        pairs = iter(words)
        return sum([self.set(field, next(pairs), limits) for field in pairs])

    def remove(self, field: bytes) -> bool:
        """Drop a field; whether it was there."""
        if self.deadlines is not None:
            self.deadlines.drop(field)
        return self._discard(field)

    # Deadlines

    @property
    def next_ms(self) -> int:
        """No field is past its deadline before this."""
        return NEVER if self.deadlines is None else self.deadlines.next_ms

    def deadline(self, field: bytes) -> int | None:
        """When a field goes; None where it stays."""
        return None if self.deadlines is None else self.deadlines.get(field)

    def expire_at(self, field: bytes, deadline: int) -> None:
        """Give a present field a deadline; for the keyspace, which has to know ``next_ms``."""
        if self.deadlines is None:
            self.deadlines = Deadlines()
        self.deadlines.set(field, deadline)

    def persist(self, field: bytes) -> bool:
        """Take the deadline off; False where there was none."""
        return self.deadlines is not None and self.deadlines.drop(field)

    def take_due(self, now_ms: int, most: int) -> list[bytes]:
        """Drop fields past their deadlines, at most so many, and say which."""
        if self.deadlines is None:
            return []
        due = self.deadlines.take_due(now_ms, most)
        for field in due:
            self._discard(field)
        return due

    def without_due(self, now_ms: int) -> Hash:
        """A copy without the fields past their deadlines, where these must stay for now."""
        other = self.copy()
        other.take_due(now_ms, len(other))
        return other

    # What holds the fields

    def _fill(self, fields: list[bytes], values: list[bytes]) -> int:
        """Put short fields and values into an empty hash; how many."""
        if 1 < len(fields) <= PACKED and max(map(len, values)) <= LONGEST:
            shape = shape_of(tuple(fields))
            if shape is not None:
                self._pack(shape, values)
                return len(values)
        names = map(one_of_equals, fields)
        self.entries = dict(zip(names, values, strict=True))
        return len(self.entries)

    def _grown(self, limits: Limits) -> None:
        """Choose what holds the fields after a dict got another one."""
        entries = self.entries
        assert type(entries) is dict
        count = len(entries)
        if count > limits.hash_entries:
            self.shape = HASHTABLE
        if self.shape is HASHTABLE:
            if count > FEW:
                self.entries = Table.of(entries)
        elif count <= PACKED and max(map(len, entries.values())) <= LONGEST:
            shape = shape_of(tuple(entries))
            if shape is not None:
                self._pack(shape, list(entries.values()))

    def _pack(self, shape: Shape, values: Collection[bytes]) -> None:
        self.shape, self.entries = shape, None
        self.packed = bytes(map(len, values)) + b"".join(values)

    def _unpack(self) -> dict[bytes, bytes]:
        """A dict in place of what is packed."""
        if self.entries is None:
            self.entries = dict(self.items())
            self.shape, self.packed = LISTPACK, b""
        assert type(self.entries) is dict
        return self.entries

    def _replace_packed(self, field: bytes, value: bytes, limits: Limits) -> bool:
        shape, packed = self.shape, self.packed
        count = len(shape.fields)
        place = shape.index.get(field)
        most = limits.hash_value
        too_many = place is None and count >= min(PACKED, limits.hash_entries)
        if too_many or len(value) > min(LONGEST, most) or len(field) > most:
            self._unpack()
            return self.replace(field, value, limits)
        if place is not None:
            start = count + sum(packed[:place])
            self.packed = b"%b%c%b%b%b" % (
                packed[:place],
                len(value),
                packed[place + 1 : start],
                value,
                packed[start + packed[place] :],
            )
            return False
        larger = shape_of((*shape.fields, field))
        if larger is None:
            self._unpack()[one_of_equals(field)] = value
        else:
            self.shape = larger
            self.packed = b"%b%c%b%b" % (packed[:count], len(value), packed[count:], value)
        return True

    def _discard(self, field: bytes) -> bool:
        """Drop a field without its deadline; whether it was there."""
        entries = self.entries
        if entries is not None:
            return entries.pop(field, None) is not None
        fields = self.shape.fields
        place = self.shape.index.get(field)
        if place is None:
            return False
        smaller = shape_of(fields[:place] + fields[place + 1 :])
        if smaller is None:
            del self._unpack()[field]
            return True
        packed = self.packed
        start = len(fields) + sum(packed[:place])
        end = start + packed[place]
        self.packed = packed[:place] + packed[place + 1 : start] + packed[end:]
        self.shape = smaller
        return True
