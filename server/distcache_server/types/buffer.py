"""A string that was changed in place: APPEND, SETRANGE, SETBIT, BITFIELD.

Other strings are plain ``bytes``, which no command can change.  A bitmap of some megabytes would be
copied for every SETBIT; so the first change makes the string a Buffer, and those after it cost what
they change.  Redis does the same when it turns an ``int`` or ``embstr`` into ``raw``.

``Keyspace.read_as(key, bytes)`` and ``find_as`` give a copy of it, as ``bytes``: who only wants to
read a string need not know.
"""

from __future__ import annotations

from sys import getsizeof


class Buffer(bytearray):
    """The bytes of a string, for the keyspace alone to hold."""

    __slots__ = ()

    encoding = b"raw"

    def copy(self) -> Buffer:
        return Buffer(self)

    def extend_to(self, length: int) -> None:
        """Make it at least so long, with zeros."""
        missing = length - len(self)
        if missing > 0:
            self.extend(bytes(missing))

    def memory(self) -> int:
        """Resident bytes."""
        return getsizeof(self)

    def drain(self) -> None:
        """Free what it holds; nothing is left for a second step."""
        self.clear()
