"""A set of byte strings, each as likely as any other when one is drawn.

Members are the keys of a dict, in the order in which they came, and beyond ``FEW`` of a Table,
which has random entries and a scan.  ``encoding`` is what Redis would use for them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING

from distcache_server.arguments import is_integer
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.keyspace import Limits

INTSET, LISTPACK, HASHTABLE = b"intset", b"listpack", b"hashtable"
FEW = 512
"""Up to here drawing a member from a dict is quick enough, and a scan returns all of them."""
SAMPLE = 5
"""Members that are measured to guess how much all of them take."""


class Set:
    """Different members; only grows in its encoding, as in Redis."""

    __slots__ = ("encoding", "members")

    def __init__(self) -> None:
        self.members: dict[bytes, None] | Table[bytes, None] = {}
        self.encoding = INTSET

    @classmethod
    def of(cls, members: Iterable[bytes], limits: Limits) -> Set:
        """A set with these members."""
        new = cls()
        for member in members:
            new.add(member, limits)
        return new

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, member: bytes) -> bool:
        return member in self.members

    def __iter__(self) -> Iterator[bytes]:
        """The members: integers in their order, others as they came."""
        if self.encoding is INTSET:
            return iter(sorted(self.members, key=int))
        return iter(self.members)

    def add(self, member: bytes, limits: Limits) -> bool:
        """Put a member in; False if it is there."""
        members = self.members
        if member in members:
            return False
        members[member] = None
        if self.encoding is not HASHTABLE:
            self._widen(member, limits)
        if len(members) > FEW and type(members) is dict:
            table: Table[bytes, None] = Table()
            for each in members:
                table[each] = None
            self.members = table
        return True

    def _widen(self, member: bytes, limits: Limits) -> None:
        """Change the encoding where the new member does not fit into it."""
        count = len(self.members)
        if self.encoding is INTSET:
            if is_integer(member):
                if count > limits.set_intset:
                    self.encoding = HASHTABLE
                return
            longest = max(map(len, self.members))
        else:
            longest = len(member)
        fits = count <= limits.set_entries and longest <= limits.set_value
        self.encoding = LISTPACK if fits else HASHTABLE

    def remove(self, member: bytes) -> bool:
        """Take a member out; False if it is not there."""
        if member not in self.members:
            return False
        del self.members[member]
        return True

    def draw(self) -> bytes:
        """A member at random."""
        members = self.members
        if isinstance(members, Table):
            return members.random_key()
        at = int(random.random() * len(members))
        return next(islice(members, at, None)) if at else next(iter(members))

    def sample(self, count: int) -> list[bytes]:
        """That many different members at random; all of them where there are no more."""
        members = self.members
        if count >= len(members):
            return list(self)
        if isinstance(members, Table) and count * 3 < len(members):
            drawn: dict[bytes, None] = {}
            while len(drawn) < count:
                drawn[members.random_key()] = None
            return list(drawn)
        return random.sample(list(members), count)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Some members from a cursor on, and the next cursor; small sets answer at once."""
        if isinstance(self.members, Table):
            return self.members.scan(cursor, count)
        return 0, list(self)

    def copy(self) -> Set:
        other = Set()
        other.members = self.members.copy()
        other.encoding = self.encoding
        return other

    def memory(self) -> int:
        """About how many bytes it takes, from the size of a few members."""
        members = self.members
        table = members.memory() if isinstance(members, Table) else getsizeof(members)
        measured = [getsizeof(member) for member in islice(members, SAMPLE)]
        return getsizeof(self) + table + len(members) * sum(measured) // (len(measured) or 1)

    def drain(self) -> bool:
        """Free a part of a set that is no longer used; False where nothing is left."""
        if isinstance(self.members, Table) and self.members.drain():
            return True
        self.members = {}
        return False
