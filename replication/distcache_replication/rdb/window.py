"""Strings of many entries, looked at in pieces: of one that LZF stands for, a few kB are held.

``walk`` goes over the entries of a container; what is different from one form of container to the
next is in a Form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from math import inf
from os import urandom
from typing import Protocol, TypeAlias

from distcache_replication.rdb.errors import BadRdb, Large
from distcache_replication.rdb.primitives import REACH

LONG = 1 << 14
"""A longer word is not kept while it is only looked at: a digest stands for it."""
CHUNK = 1 << 15
STEP = 1 << 12
"""So many bytes of entries are looked at together."""
MARGIN = 80
"""An entry that begins this far before the end of what is here, and is no long string, is whole."""
LEAST = LONG + (1 << 9)
END = 0xFF
FEW = 1 << 13
"""A container of so many bytes can be unpacked without counting what that takes."""

_secret = urandom(16)


def short(word: bytes) -> bytes:
    """The word, or what stands for it if it is long: the same for equal words, for others not."""
    return word if len(word) <= LONG else digest([word])


def digest(pieces: Iterable[bytes]) -> bytes:
    """What stands for a long word that comes in pieces."""
    state = blake2b(_secret)
    for piece in pieces:
        state.update(piece)
    return state.digest()


def expanded(data: bytes, pos: int, end: int) -> Iterator[bytes]:
    """What LZF bytes stand for, in pieces; they are known to be right."""
    out = bytearray()
    while pos < end:
        control = data[pos]
        if control < 32:
            out += data[pos + 1 : pos + 2 + control]
            pos += 2 + control
        else:
            size = (control >> 5) + 2
            if control >= 224:
                pos += 1
                size += data[pos]
            start = len(out) - ((control & 31) << 8 | data[pos + 1]) - 1
            pos += 2
            again = out[start : start + size]
            if len(again) < size:
                again = (again * (size // len(again) + 1))[:size]
            out += again
        if len(out) >= CHUNK + REACH:
            yield bytes(out[:-REACH])
            del out[:-REACH]
    yield bytes(out)


class Window:
    """So many bytes that come in pieces."""

    def __init__(self, size: int, pieces: Iterable[bytes]) -> None:
        self.size = self.left = size
        """How many there are, and how many have not come yet."""
        self.data = b""
        self._pieces = iter(pieces)

    def move(self, pos: int) -> int:
        """Let go of what is before it; the new position, with LEAST bytes or all after it."""
        if self.left and len(self.data) - pos < LEAST:
            held = [self.data[pos:]]
            have = len(held[0])
            while self.left and have < LEAST:
                held.append(next(self._pieces))
                have += len(held[-1])
                self.left -= len(held[-1])
            self.data, pos = b"".join(held), 0
        return pos

    def skip(self, pos: int, size: int) -> bytes:
        """What stands for a long word from here on; it ends where ``data`` begins then."""
        if size > len(self.data) - pos + self.left:
            raise IndexError
        return digest(self._taken(pos, size))

    def _taken(self, pos: int, size: int) -> Iterator[bytes]:
        while len(self.data) - pos < size:
            yield self.data[pos:]
            size -= len(self.data) - pos
            self.data, pos = next(self._pieces), 0
            self.left -= len(self.data)
        yield self.data[pos : pos + size]
        self.data = self.data[pos + size :]


class Form(Protocol):
    """A form of container, and how far a walk over one has come."""

    name: str
    begin: int
    """Where the entries begin."""

    def start(self, data: bytes, size: int) -> None:
        """The container has this size, and begins so."""

    def some(self, data: bytes, pos: int, stop: int, limit: float) -> tuple[list[bytes], int]:
        """The entries that begin before ``stop``, up to a string that goes past ``limit``."""

    def string(self, data: bytes, pos: int) -> tuple[int, int]:
        """Where the long string of an entry begins, and its size."""

    def after(self, data: bytes, used: int) -> int:
        """Where the next entry begins in the data that come after a long string."""

    def finish(self) -> None:
        """These were all the entries."""


def walk(form: Form, window: Window, keep: bool = False) -> Iterator[list[bytes]]:
    """The entries, some at a time; in the place of long ones what stands for them, or if ``keep``
    themselves."""
    pos = window.move(0)
    if window.size <= form.begin:
        raise BadRdb(f"A {form.name} has no end")
    form.start(window.data, window.size)
    pos = form.begin
    try:
        while True:
            pos = window.move(pos)
            data, whole = window.data, not window.left
            end = len(data) - (1 if whole else MARGIN)
            if pos >= end:
                break
            limit = inf if whole else len(data) - 1
            words, after = form.some(data, pos, min(pos + STEP, end), limit)
            if after > pos:
                yield words if keep or after - pos <= LONG else list(map(short, words))
                pos = after
                continue
            start, size = form.string(data, pos)
            words = [window.skip(start, size)]
            used = start - pos + size
            window.move(0)
            pos = form.after(window.data, used)
            yield words
    except IndexError:
        raise BadRdb(f"An entry of a {form.name} goes past its end") from None
    if pos != end or data[end] != END:
        raise BadRdb(f"A {form.name} has no end")
    form.finish()


Container: TypeAlias = tuple[Callable[[], Form], Callable[[bytes], list[bytes]]]
"""A form, and what unpacks a whole container of it."""


def unpack(container: Container, packed: bytes, room: float, each: int) -> list[bytes]:
    """All entries; Large where those of a container that is not small take more than ``room``."""
    form, decode = container
    if len(packed) <= FEW or room == inf:
        return decode(packed)
    entries: list[bytes] = []
    room -= len(packed)
    for words in walk(form(), Window(len(packed), [packed]), keep=True):
        entries += words
        room -= sum(map(len, words)) + each * len(words)
        if room < 0:
            raise Large
    return entries
