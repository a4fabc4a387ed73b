"""A list: cheap at both ends, and nowhere slow.

    _head   [c, b, a]               the first entries, in reverse order
    _body   [[d, e, ...], [...]]    chunks of about CHUNK entries, none of them empty
    _tail   [x, y, z]               the last entries

Both ends grow and shrink where Python's list does so for next to nothing.  An end that gets long
moves into the body as a chunk, one that runs out takes a chunk from there.  So no operation moves
more than a chunk, a place is found by counting chunks from the nearer end, and a range is copied in
slices.  A deque has to be walked entry by entry, and takes 760 bytes when it is empty.

A list is packed (``listpack``) or not (``quicklist``) as it would be in Redis: it unpacks when it
outgrows ``list-max-listpack-size``, and packs again at half of that.  ``_bytes`` is its size as a
listpack; it is counted only while that may matter.  ``width`` spares whoever sends a range the
measuring of its entries, which takes three times as long as putting them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from sys import getsizeof

from distcache_server.types.kept import keep, released

CHUNK = 1024
EMPTY = 7
"""Bytes of an empty listpack."""
SIZES = (4096, 8192, 16384, 32768, 65536)
"""Bytes that list-max-listpack-size -1 to -5 stand for."""
SAFE = 8192
"""A listpack is no larger than this where the setting is a number of entries."""
UNKNOWN = -1
MIXED = -2
SAMPLE = 4
"""Parts of which an entry is measured to estimate what all of them take."""

INT64_MAX = 2**63 - 1
NINE = ord("9")


class List:
    """Byte strings in order."""

    __slots__ = ("_body", "_bytes", "_head", "_inner", "_tail", "packed", "width")

    def __init__(self, values: Sequence[bytes] = (), limit: int = -2) -> None:
        """A list of these values, encoded as list-max-listpack-size says."""
        self._head: list[bytes] = []
        self._body: list[list[bytes]] = []
        self._tail: list[bytes] = []
        self._inner = 0
        """Entries in the body."""
        self._bytes = EMPTY
        self.packed = True
        self.width = UNKNOWN
        """The length of each entry, or MIXED."""
        if values:
            widths = set(map(len, values))
            self.width = widths.pop() if len(widths) == 1 else MIXED
            chunks = [list(values[at : at + CHUNK]) for at in range(0, len(values), CHUNK)]
            self._tail = chunks.pop()
            self._body = chunks
            self._inner = len(chunks) * CHUNK
            self._bytes = UNKNOWN
            self.packed = False
            if limit < 0:
                self._pack_within(SIZES[min(-limit, len(SIZES)) - 1], len(values))
            elif len(values) <= max(limit, 1):
                self._pack_within(SAFE, len(values))

    def copy(self) -> List:
        other = List()
        other._head = self._head[:]
        other._body = [chunk[:] for chunk in self._body]
        other._tail = self._tail[:]
        other._inner, other._bytes, other.packed = self._inner, self._bytes, self.packed
        other.width = self.width
        return other

    def __len__(self) -> int:
        return len(self._head) + self._inner + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        return chain(reversed(self._head), chain.from_iterable(self._body), self._tail)

    def batches(self, kept: bool) -> Iterator[list[bytes]]:
        """The entries, part by part; if ``kept``, as they are now, until ``release``."""
        return self.batches_twice(kept)[1]

    def batches_twice(self, kept: bool) -> tuple[Iterator[list[bytes]], Iterator[list[bytes]]]:
        """``batches`` for who has to look at all parts first; these must not be held."""
        head, body, tail = self._head[::-1], self._body, self._tail[:]
        if not kept:
            return chain((head,), body, (tail,)), chain((head,), body, (tail,))
        self._body, parts = keep(body, list.copy)
        places = range(len(body))
        looked = (parts.parts[place] for place in places)
        taken = (parts.take(place)[:] for place in places)
        return chain((head,), looked, (tail,)), chain((head,), taken, (tail,))

    def release(self) -> None:
        """Who read the entries is done."""
        self._body = released(self._body)

    @property
    def parts(self) -> int:
        """Pieces of memory that the entries stand in."""
        return bool(self._head) + len(self._body) + bool(self._tail)

    # Both ends

    def push_left(self, value: bytes) -> None:
        head = self._head
        head.append(value)
        if len(value) != self.width:
            self._widen(value)
        if self._bytes >= 0:
            self._bytes += entry_size(value)
        if len(head) >= CHUNK:
            self._spill_head()

    def push_right(self, value: bytes) -> None:
        tail = self._tail
        tail.append(value)
        if len(value) != self.width:
            self._widen(value)
        if self._bytes >= 0:
            self._bytes += entry_size(value)
        if len(tail) >= CHUNK:
            self._spill_tail()

    def extend(self, values: Sequence[bytes], left: bool) -> None:
        """Push up to CHUNK values, one after the other."""
        end = self._head if left else self._tail
        end += values
        if self.width != MIXED and {self.width} != set(map(len, values)):
            self.width = MIXED
        if self._bytes >= 0:
            self._bytes += sum(map(entry_size, values))
        if len(end) >= CHUNK:
            (self._spill_head if left else self._spill_tail)()

    def _widen(self, value: bytes) -> None:
        self.width = len(value) if self.width == UNKNOWN else MIXED

    def _spill_head(self) -> None:
        self._head.reverse()
        self._body.insert(0, self._head)
        self._inner += len(self._head)
        self._head = []
        self._stop_counting()

    def _spill_tail(self) -> None:
        self._body.append(self._tail)
        self._inner += len(self._tail)
        self._tail = []
        self._stop_counting()

    def pop_left(self) -> bytes:
        """Take out the first entry; IndexError where there is none."""
        value = (self._head or self._refill_head()).pop()
        if self._bytes >= 0:
            self._bytes -= entry_size(value)
        return value

    def pop_right(self) -> bytes:
        """Take out the last entry; IndexError where there is none."""
        value = (self._tail or self._refill_tail()).pop()
        if self._bytes >= 0:
            self._bytes -= entry_size(value)
        return value

    def _refill_head(self) -> list[bytes]:
        if self._body:
            self._head = self._body.pop(0)
            self._inner -= len(self._head)
        else:
            half = (len(self._tail) + 1) // 2
            self._head = self._tail[:half]
            del self._tail[:half]
        self._head.reverse()
        return self._head

    def _refill_tail(self) -> list[bytes]:
        if self._body:
            self._tail = self._body.pop()
            self._inner -= len(self._tail)
        else:
            half = (len(self._head) + 1) // 2
            self._tail = self._head[:half]
            self._tail.reverse()
            del self._head[:half]
        return self._tail

    def drop_left(self, count: int) -> List:
        """Take out the first ``count`` entries; they are returned in some order."""
        head, body = self._head, self._body
        keep = max(len(head) - count, 0)
        gone = [head[keep:]]
        del head[keep:]
        count -= len(gone[0])
        at = 0
        for chunk in body:
            if len(chunk) > count:
                break
            count -= len(chunk)
            self._inner -= len(chunk)
            at += 1
        gone += body[:at]
        del body[:at]
        if count and body:
            head = self._refill_head()
            gone.append(head[-count:])
            del head[-count:]
        elif count:
            gone.append(self._tail[:count])
            del self._tail[:count]
        return self._dropped(gone)

    def drop_right(self, count: int) -> List:
        """Take out the last ``count`` entries; they are returned in some order."""
        tail, body = self._tail, self._body
        keep = max(len(tail) - count, 0)
        gone = [tail[keep:]]
        del tail[keep:]
        count -= len(gone[0])
        at = len(body)
        for chunk in reversed(body):
            if len(chunk) > count:
                break
            at -= 1
            count -= len(chunk)
            self._inner -= len(chunk)
        gone += body[at:]
        del body[at:]
        if count and body:
            tail = self._refill_tail()
            gone.append(tail[-count:])
            del tail[-count:]
        elif count:
            gone.append(self._head[:count])
            del self._head[:count]
        return self._dropped(gone)

    def _dropped(self, gone: list[list[bytes]]) -> List:
        if self._bytes >= 0:
            self._bytes -= sum(map(entry_size, chain.from_iterable(gone)))
        dropped = List()
        dropped._body = [part for part in gone if part]
        dropped._inner = sum(map(len, gone))
        dropped._bytes = UNKNOWN
        return dropped

    # Places, counted from 0

    def __getitem__(self, index: int) -> bytes:
        """The entry at an index that is within the list."""
        chunk, place = self._locate(index)
        return chunk[place]

    def __setitem__(self, index: int, value: bytes) -> None:
        chunk, place = self._locate(index)
        if len(value) != self.width:
            self.width = MIXED
        if self._bytes >= 0:
            self._bytes += entry_size(value) - entry_size(chunk[place])
        chunk[place] = value

    def _locate(self, index: int) -> tuple[list[bytes], int]:
        """The part of the list that holds the entry at this index, and the place in it."""
        inside = index - len(self._head)
        if inside < 0:
            return self._head, ~index
        if inside >= self._inner:
            return self._tail, inside - self._inner
        at, place = self._locate_inside(inside)
        return self._body[at], place

    def _locate_inside(self, inside: int) -> tuple[int, int]:
        """The number of a chunk of the body, and the place in it, by the index in the body."""
        body = self._body
        if inside * 2 <= self._inner:
            for at, chunk in enumerate(body):
                if inside < len(chunk):
                    return at, inside
                inside -= len(chunk)
        after = self._inner - inside
        at = len(body)
        for chunk in reversed(body):
            at -= 1
            if after <= len(chunk):
                return at, len(chunk) - after
            after -= len(chunk)
        raise IndexError

    def range(self, start: int, stop: int) -> list[bytes]:
        """The entries from index ``start`` up to, but not including, ``stop``."""
        head = self._head
        first = len(head)
        found: list[bytes] = []
        if start < first:
            found = head[max(first - stop, 0) : first - start]
            found.reverse()
            if stop <= first:
                return found
        start, stop, inner = max(start - first, 0), stop - first, self._inner
        if start < inner:
            at, place = self._locate_inside(start)
            left = min(stop, inner) - start
            while left > 0:
                part = self._body[at][place : place + left]
                found += part
                left -= len(part)
                at, place = at + 1, 0
        if stop > inner:
            found += self._tail[max(start - inner, 0) : stop - inner]
        return found

    # Values

    def _parts(self) -> Iterator[list[bytes]]:
        """All entries in order, part by part; the first one is a copy."""
        return chain([self._head[::-1]], self._body, [self._tail])

    def positions(self, value: bytes, rank: int = 1, count: int = 1, most: int = 0) -> list[int]:
        """Where the value stands: from the match of this rank on, ``count`` of them (0: all).

        A negative rank counts from the end.  ``most`` bounds the entries that are looked at.
        """
        size = len(self)
        parts: Iterable[list[bytes]] = self._parts()
        if backwards := rank < 0:
            rank = -rank
            parts = (part[::-1] for part in reversed(list(parts)))
        left = min(most or size, size)
        found: list[int] = []
        seen = 0
        for part in parts:
            stop = min(left, len(part))
            at = -1
            while True:
                try:
                    at = part.index(value, at + 1, stop)
                except ValueError:
                    break
                rank -= 1
                if rank <= 0:
                    found.append(size - 1 - seen - at if backwards else seen + at)
                    if len(found) == count:
                        return found
            seen += len(part)
            left -= stop
            if not left:
                break
        return found

    def insert(self, pivot: bytes, value: bytes, after: bool) -> bool:
        """Insert a value beside the first entry that equals the pivot; False if none does."""
        for number, part in enumerate(self._parts()):
            if pivot in part:
                self._insert(number, part, part.index(pivot) + after, value)
                return True
        return False

    def _insert(self, number: int, part: list[bytes], place: int, value: bytes) -> None:
        if len(value) != self.width:
            self.width = MIXED
        if self._bytes >= 0:
            self._bytes += entry_size(value)
        if not number:
            self._head.insert(len(part) - place, value)
            if len(self._head) >= CHUNK:
                self._spill_head()
            return
        if number <= len(self._body):
            chunk = self._body[number - 1]
            chunk.insert(place, value)
            self._inner += 1
            if len(chunk) > 2 * CHUNK:
                self._body[number - 1 : number] = [chunk[:CHUNK], chunk[CHUNK:]]
            return
        self._tail.insert(place, value)
        if len(self._tail) >= CHUNK:
            self._spill_tail()

    def remove(self, value: bytes, count: int) -> int:
        """Take out ``count`` entries that equal the value, or all if it is 0; say how many.

        A negative count takes the last ones.
        """
        parts = list(self._parts())
        backwards = count < 0
        left = wanted = abs(count) or len(self)
        for number in reversed(range(len(parts))) if backwards else range(len(parts)):
            part = parts[number]
            found = part.count(value)
            if found <= left:
                if found:
                    parts[number] = [entry for entry in part if entry != value]
                left -= found
            else:
                parts[number] = _without_first(part, value, left, backwards)
                left = 0
            if not left:
                break
        removed = wanted - left
        if removed:
            parts[0].reverse()
            self._head, self._tail = parts[0], parts[-1]
            body = [part for part in parts[1:-1] if part]
            self._inner = sum(map(len, body))
            if self._inner * 4 < len(body) * CHUNK:
                inner = list(chain.from_iterable(body))
                body = [inner[at : at + CHUNK] for at in range(0, len(inner), CHUNK)]
            self._body[:] = body
            if self._bytes >= 0:
                self._bytes -= removed * entry_size(value)
        return removed

    # Size and encoding

    @property
    def encoding(self) -> bytes:
        return b"listpack" if self.packed else b"quicklist"

    def grow(self, values: Sequence[bytes], limit: int) -> None:
        """Unpack a packed list if it will not take these values within list-max-listpack-size."""
        size = self._bytes + sum(map(len, values))
        if limit < 0:
            self.packed = size <= SIZES[min(-limit, len(SIZES)) - 1]
        else:
            self.packed = size <= SAFE and len(self) + len(values) <= max(limit, 1)

    def shrink(self, limit: int) -> None:
        """Pack a list that is not packed if it has half of list-max-listpack-size or less."""
        size = len(self._head) + self._inner + len(self._tail)
        if limit < 0:
            self._pack_within(SIZES[min(-limit, len(SIZES)) - 1] // 2, size)
        elif size <= max(limit, 1) // 2:
            self._pack_within(SAFE if size > 1 else INT64_MAX, size)

    def _pack_within(self, most: int, size: int) -> None:
        # No entry takes less than two bytes.
        if EMPTY + 2 * size <= most:
            if self._bytes < 0:
                self._bytes = EMPTY + sum(map(entry_size, self))
            self.packed = self._bytes <= most

    def _stop_counting(self) -> None:
        if not self.packed:
            self._bytes = UNKNOWN

    def memory(self) -> int:
        """About how many bytes it takes, from the size of an entry of each of a few parts."""
        body = self._body
        parts = [self._head, self._tail, *body[:: len(body) // SAMPLE + 1]]
        # Memory is given out in steps of 16 bytes.
        seen = [(getsizeof(part[len(part) // 2]) + 15) & ~15 for part in parts if part]
        entries = len(self) * sum(seen) // (len(seen) or 1)
        ends = sum(map(getsizeof, (self._head, self._tail, body)))
        return getsizeof(self) + ends + self._inner * 9 + entries

    def drain(self) -> list[bytes]:
        """Take a part out of a list that is no longer used; [] where nothing is left."""
        if self._body:
            return self._body.pop()
        self._head, rest = [], self._head + self._tail
        self._tail = []
        return rest


def _without_first(part: list[bytes], value: bytes, count: int, backwards: bool) -> list[bytes]:
    part = part[::-1] if backwards else part[:]
    at = 0
    for _ in range(count):
        at = part.index(value, at)
        del part[at]
    if backwards:
        part.reverse()
    return part


def entry_size(value: bytes) -> int:
    """The bytes that an entry takes in a listpack: its encoding, and its length for going back."""
    size = len(value)
    if 0 < size <= 20 and value[0] <= NINE and (number := _integer(value)) is not None:
        return _integer_size(number)
    size += 1 if size < 64 else 2 if size < 4096 else 5
    return size + (1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4)


def _integer(value: bytes) -> int | None:
    if value.isdigit() or (value[:1] == b"-" and value[1:].isdigit()):
        number = int(value)
        if b"%d" % number == value and -INT64_MAX - 1 <= number <= INT64_MAX:
            return number
    return None


def _integer_size(number: int) -> int:
    if 0 <= number < 128:
        return 2
    bits = (number if number >= 0 else ~number).bit_length()
    return 3 if bits < 13 else 4 if bits < 16 else 5 if bits < 24 else 6 if bits < 32 else 10
