"""A set of byte strings, each as likely as any other when one is drawn.

What holds the members depends on what they are, and ``encoding`` is Redis's name for it:

- ``intset``: a sorted array of 64-bit integers, while all members are such, written as Redis would
  write them.  Twenty of them take 250 bytes, in a dict they would take 2000.
- ``listpack``: the keys of a dict, in the order in which they came.
- ``hashtable``, for good: those of a dict, and beyond ``FEW`` those of a Table.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING

from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.types.limits import Limits

INTSET, LISTPACK, HASHTABLE = b"intset", b"listpack", b"hashtable"
FEW = 128
"""Up to here drawing a member from a dict is quick enough."""
ROUNDING = 8
"""What the allocator adds to a member, on average."""
SAMPLE = 5
"""Members that are measured to guess how much all of them take."""

_NONE: dict[bytes, None] = {}
_text = b"%d".__mod__


def number_of(member: bytes) -> int | None:
    """The integer that a member is, if it fits into 64 bits and has its one right spelling."""
    if len(member) > 20:
        return None
    try:
        number = int(member)
    except ValueError:
        return None
    if b"%d" % number != member or not -(2**63) <= number < 2**63:
        return None
    return number


class Set:
    """Different members."""

    __slots__ = ("encoding", "members", "numbers")

    def __init__(self) -> None:
        self.encoding = INTSET
        self.numbers: array[int] | None = array("q")
        """The members of an intset, in order."""
        self.members: dict[bytes, None] | Table[bytes, None] = _NONE
        """Those of any other set."""

    @classmethod
    def of(cls, members: Iterable[bytes], limits: Limits) -> Set:
        """A set with these members."""
        new = cls()
        known = dict.fromkeys(members)
        number = number_of(next(iter(known), b"0"))
        if number is not None and len(known) <= max(limits.set_intset, limits.set_entries):
            for member in known:
                new.add(member, limits)
            return new
        new.numbers, new.members, new.encoding = None, known, HASHTABLE
        if len(known) <= limits.set_entries and max(map(len, known)) <= limits.set_value:
            new.encoding = LISTPACK
        elif len(known) > FEW:
            new._use_table()
        return new

    def copy(self) -> Set:
        other = Set()
        other.encoding = self.encoding
        other.numbers = None if self.numbers is None else self.numbers[:]
        other.members = _NONE if other.numbers is not None else self.members.copy()
        return other

    def memory(self) -> int:
        """About how many bytes it takes, from the size of a few members."""
        members = self.members
        size = getsizeof(self) + (
            members.memory() if isinstance(members, Table) else getsizeof(members)
        )
        if self.numbers is not None:
            return size + getsizeof(self.numbers)
        measured = [getsizeof(member) + ROUNDING for member in islice(members, SAMPLE)]
        return size + len(members) * sum(measured) // (len(measured) or 1)

    def drain(self) -> bool:
        """Free a part of a set that is no longer used; False where nothing is left."""
        if isinstance(self.members, Table) and self.members.drain():
            return True
        self.members = {}
        return False

    # Reading

    def __len__(self) -> int:
        numbers = self.numbers
        return len(self.members) if numbers is None else len(numbers)

    def __contains__(self, member: bytes) -> bool:
        numbers = self.numbers
        if numbers is None:
            return member in self.members
        number = number_of(member)
        return number is not None and _holds(numbers, number, bisect_left(numbers, number))

    def __iter__(self) -> Iterator[bytes]:
        """The members: integers in their order, few others as they came."""
        return iter(self.members) if self.numbers is None else map(_text, self.numbers)

    def batches(self, kept: bool) -> Iterator[Iterable[bytes]]:
        """The members, part by part; if ``kept``, as they are now, until ``release``."""
        if isinstance(self.members, Table):
            return ([member for member, _ in part] for part in self.members.batches(kept))
        return iter((list(self),))

    def release(self) -> None:
        """Who read the members is done."""
        if isinstance(self.members, Table):
            self.members.release()

    def membership(self) -> Callable[[bytes], bool]:
        """What ``in`` says, for many questions, as long as the set does not change."""
        members = self.members
        if self.numbers is not None:
            return set(self).__contains__
        if type(members) is dict:
            return members.__contains__
        assert isinstance(members, Table)
        parts, mask = members.parts, members.mask
        return lambda member: member in parts[hash(member) & mask]

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """At least ``count`` members, if there are, and the next cursor (0: done).

        A member that is there from the first call to the last is returned.
        """
        if isinstance(self.members, Table):
            return self.members.scan(cursor, count)
        return 0, list(self)

    def draw(self) -> bytes:
        """A member at random, of a set that is not empty."""
        members, numbers = self.members, self.numbers
        if numbers is not None:
            return b"%d" % numbers[int(random.random() * len(numbers))]
        if isinstance(members, Table):
            return members.random_key()
        return next(islice(members, int(random.random() * len(members)), None))

    def sample(self, count: int) -> list[bytes]:
        """So many different members at random; all where there are no more."""
        members = self.members
        if count >= len(self):
            return list(self)
        if isinstance(members, Table) and count * 3 < len(members):
            drawn: dict[bytes, None] = {}
            while len(drawn) < count:
                drawn[members.random_key()] = None
            return list(drawn)
        return random.sample(list(self), count)

    # Writing

    def add(self, member: bytes, limits: Limits) -> bool:
        """Put a member in; False if it is there."""
        if self.numbers is not None:
            return self._add_to_intset(self.numbers, member, limits)
        members = self.members
        if type(members) is dict:
            if member in members:
                return False
            members[member] = None
            if self.encoding is LISTPACK and (
                len(members) > limits.set_entries or len(member) > limits.set_value
            ):
                self.encoding = HASHTABLE
            if len(members) > FEW and self.encoding is HASHTABLE:
                self._use_table()
            return True
        assert isinstance(members, Table)
        # What Table.__setitem__ would do.
        part = members.parts[hash(member) & members.mask]
        before = len(part)
        part[member] = None
        if len(part) == before:
            return False
        members.grown(member, before)
        return True

    def update(self, members: list[bytes], limits: Limits) -> int:
        """Put members in; how many are new."""
        count = len(members)
        if count > limits.set_entries and self.encoding is not HASHTABLE:
            # As Redis does, which thinks that they are all different.
            as_numbers = self.numbers is not None and (self or number_of(members[0]) is not None)
            if count > limits.set_intset or not as_numbers:
                self._leave_intset()
                self.encoding = HASHTABLE
        return sum([self.add(member, limits) for member in members])

    def remove(self, member: bytes) -> bool:
        """Take a member out; False if it is not there."""
        numbers = self.numbers
        if numbers is None:
            members = self.members
            before = len(members)
            members.pop(member, None)
            return len(members) != before
        number = number_of(member)
        if number is None:
            return False
        at = bisect_left(numbers, number)
        if not _holds(numbers, number, at):
            return False
        del numbers[at]
        return True

    def pop(self) -> bytes:
        """Take out a member at random, of a set that is not empty."""
        numbers = self.numbers
        if numbers is not None:
            return b"%d" % numbers.pop(int(random.random() * len(numbers)))
        member = self.draw()
        self.members.pop(member)
        return member

    def pop_several(self, count: int) -> list[bytes]:
        """Take out so many members at random, fewer than there are."""
        if isinstance(self.members, Table) and count * 2 > len(self):
            # Put those that stay into a new table.
            stays = dict.fromkeys(self.sample(len(self) - count))
            popped = [member for member in self.members if member not in stays]
            self.members = stays
            if len(stays) > FEW:
                self._use_table()
            return popped
        popped = self.sample(count)
        for member in popped:
            self.remove(member)
        return popped

    def _add_to_intset(self, numbers: array[int], member: bytes, limits: Limits) -> bool:
        number = number_of(member)
        if number is None:
            longest = max(map(len, (member, *map(_text, (numbers[:1] + numbers[-1:])))))
            if len(numbers) < limits.set_entries and longest <= limits.set_value:
                self.encoding = LISTPACK
            else:
                self.encoding = HASHTABLE
            self._leave_intset()
            return self.add(member, limits)
        at = bisect_left(numbers, number)
        if _holds(numbers, number, at):
            return False
        numbers.insert(at, number)
        if len(numbers) > limits.set_intset:
            self.encoding = HASHTABLE
            self._leave_intset()
        return True

    def _leave_intset(self) -> None:
        """Keep members as they are written, in a dict or Table."""
        if self.numbers is not None:
            self.members = dict.fromkeys(self)
            self.numbers = None
            if len(self.members) > FEW and self.encoding is HASHTABLE:
                self._use_table()

    def _use_table(self) -> None:
        assert type(self.members) is dict
        self.members = Table.of(self.members)


def _holds(numbers: array[int], number: int, at: int) -> bool:
    """Whether the number stands at the place where it would stand."""
    return at < len(numbers) and numbers[at] == number
