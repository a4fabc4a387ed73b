"""Writing a snapshot, piece by piece: ``sealed(chain([header(...), select(...)], entry(...)))``.
...))``.

The format stands in reading.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from distcache_replication.rdb.crc64 import crc64
from distcache_replication.rdb.forms import Form
from distcache_replication.rdb.primitives import int64, length, string
from distcache_replication.rdb.reading import (
    AUX,
    CHECKSUM,
    EOF,
    EXPIRES_MS,
    FREQUENCY,
    FUNCTION_2,
    IDLE,
    MAGIC,
    RESIZE,
    SELECT,
)

END = b"%c" % EOF
"""Stands between the last key and the checksum."""
BLOCK = 1 << 16
"""Pieces leave in blocks of about this size."""


def header(version: int, aux: dict[bytes, bytes]) -> bytes:
    """How a snapshot begins, with what is worth knowing about it."""
    fields = [b"%c%b%b" % (AUX, string(n, False), string(v, False)) for n, v in aux.items()]
    return b"%b%04d%b" % (MAGIC, version, b"".join(fields))


def select(database: int, keys: int, deadlines: int) -> bytes:
    """The keys that follow belong to this database, which has so many, some with deadlines."""
    return b"%c%b%c%b%b" % (SELECT, length(database), RESIZE, length(keys), length(deadlines))


def function(library: bytes, compress: bool) -> bytes:
    """A library of functions."""
    return b"%c%b" % (FUNCTION_2, string(library, compress))


def plain_entry(key: bytes, value: bytes, compress: bool) -> bytes:
    """A string that has nothing but its key: what most keys are."""
    return b"\0%b%b" % (string(key, compress), string(value, compress))


def entry(
    key: bytes,
    form: Form,
    compress: bool,
    deadline_ms: int | None = None,
    idle_s: int | None = None,
    frequency: int | None = None,
) -> Iterator[bytes]:
    """A key with its value."""
    head = b""
    if deadline_ms is not None:
        head = b"%c%b" % (EXPIRES_MS, int64(deadline_ms))
    if idle_s is not None:
        head += b"%c%b" % (IDLE, length(idle_s))
    elif frequency is not None:
        head += b"%c%c" % (FREQUENCY, frequency)
    yield b"%b%c%b" % (head, form.type, string(key, compress))
    yield from form.body


def sealed(pieces: Iterable[bytes], checksum: bool = True) -> Iterator[bytes]:
    """The pieces in larger blocks, with the end and the checksum after them."""
    crc = 0
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= BLOCK:
            data = b"".join(block)
            if checksum:
                crc = crc64(data, crc)
            yield data
            block, size = [], 0
    data = b"%b%c" % (b"".join(block), EOF)
    crc = crc64(data, crc) if checksum else 0
    yield data + crc.to_bytes(CHECKSUM, "little")
