"""The manifest of an append-only directory: which files hold the data, in which order.

Format (Redis 7, aof.c): a line for each file, of keys and values::

    file appendonly.aof.2.base.rdb seq 2 type b size 175 offset 20480
    file appendonly.aof.5.incr.aof seq 5 type i

``type`` is b for the base, i for increments in the order of their numbers, h for history: files
that are not loaded, and that Redis deletes when it starts.  ``size`` and ``offset`` are ours; Redis
passes over keys that it does not know.  Lines with ``#`` are comments.  Ours ends in a comment with
a checksum of all lines before it; one without it was written by Redis.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

BASE, INCREMENT, HISTORY = TYPES = ("b", "i", "h")
CHECK = re.compile(rb"# distcache crc32 ([0-9a-f]{8})")
LINE = 1024

Quote = Callable[[bytes], bytes]
Split = Callable[[bytes], list[bytes]]


class BadManifest(Exception):
    """The manifest cannot be trusted; ``line`` counts from one, 0 for the whole."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class File:
    """A file of the directory."""

    name: str
    number: int
    type: str
    size: int | None = None
    """Of a base of ours: its length in bytes, ..."""
    offset: int | None = None
    """... and where in the log the first increment after it begins."""

    @property
    def words(self) -> list[bytes]:
        """Its line."""
        words = [b"file", os.fsencode(self.name), b"seq", b"%d" % self.number]
        words += [b"type", self.type.encode()]
        for name, value in ((b"size", self.size), (b"offset", self.offset)):
            if value is not None:
                words += [name, b"%d" % value]
        return words


@dataclass(frozen=True)
class Manifest:
    """What a directory holds."""

    base: File | None = None
    increments: tuple[File, ...] = ()
    history: tuple[File, ...] = ()

    @property
    def files(self) -> tuple[File, ...]:
        """Those to load, in order."""
        return ((self.base,) if self.base else ()) + self.increments

    @property
    def next_base(self) -> int:
        return 1 + max((f.number for f in (self.base, *self.history) if f), default=0)

    @property
    def next_increment(self) -> int:
        # Bases have numbers of their own, and between increments there must be no hole.
        history = (f for f in self.history if ".base." not in f.name)
        return 1 + max((f.number for f in (*self.increments, *history)), default=0)

    def with_increment(self, file: File) -> Manifest:
        return replace(self, increments=(*self.increments, file))

    def rebased(self, base: File, increments: tuple[File, ...], anew: bool = False) -> Manifest:
        """A new base, and the increments that go on from it; the other files are history.

        Where the log begins ``anew``, offsets of old bases are not in it, and are forgotten.
        """
        old = [replace(f, type=HISTORY) for f in self.files if f not in increments]
        history = [*self.history, *old]
        if anew:
            history = [replace(file, offset=None) for file in history]
        return Manifest(base, increments, tuple(history))


def encode(manifest: Manifest, quote: Quote) -> bytes:
    """The text of a manifest; ``quote`` makes one word of a name."""
    files = [manifest.base, *manifest.history, *manifest.increments]
    lines = b"".join(
        b"%b\n" % b" ".join(w if w.isalnum() else quote(w) for w in f.words) for f in files if f
    )
    return b"%b# distcache crc32 %08x\n" % (lines, crc32(lines))


def decode(text: bytes, split: Split) -> Manifest:
    """A manifest from its text; ``split`` finds the words of a line.  Raises BadManifest."""
    base: File | None = None
    increments: list[File] = []
    history: list[File] = []
    done = 0
    lines = text.split(b"\n")
    if lines.pop():
        raise BadManifest(len(lines) + 1, "the last line has no end")
    for number, line in enumerate(lines, 1):
        if found := CHECK.fullmatch(line):
            if b"%08x" % crc32(text[:done]) != found[1]:
                raise BadManifest(0, "its checksum is wrong")
        elif not line.startswith(b"#"):
            file = _file(line, split, number)
            if file.type == BASE:
                if base is not None:
                    raise BadManifest(number, "there is a base already")
                base = file
            elif file.type == INCREMENT:
                if increments and file.number <= increments[-1].number:
                    raise BadManifest(number, "the increments are not in order")
                increments.append(file)
            else:
                history.append(file)
        done += len(line) + 1
    if base is None and not increments:
        raise BadManifest(0, "it names no files")
    return Manifest(base, tuple(increments), tuple(history))


def _file(line: bytes, split: Split, number: int) -> File:
    try:
        words = split(line)
    except ValueError:
        words = []
    if len(words) < 6 or len(words) % 2 or len(line) >= LINE:
        raise BadManifest(number, "not a list of keys and values")
    pairs = {key.lower(): value for key, value in zip(words[::2], words[1::2], strict=True)}
    name, sequence, kind = (pairs.get(key, b"") for key in (b"file", b"seq", b"type"))
    if not name or b"/" in name or name in (b".", b".."):
        raise BadManifest(number, "the file has no name, or a path in place of one")
    type_ = kind[:1].decode("latin-1")
    if not re.fullmatch(rb"[0-9]{1,18}", sequence) or type_ not in TYPES:
        raise BadManifest(number, "the file has no number, or an unknown type")
    size, offset = (
        int(value) if re.fullmatch(rb"[0-9]{1,18}", value := pairs.get(key, b"")) else None
        for key in (b"size", b"offset")
    )
    return File(os.fsdecode(name), int(sequence), type_, size, offset)
