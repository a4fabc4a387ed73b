"""Reading a snapshot as it arrives.

Format: "REDIS" and the version in four digits; then, again and again, an opcode with what belongs
to it, or the attributes of a key (deadline, time or count of uses), the type of its value, the key
and the value; at the end 0xFF and from version 5 on the CRC-64 of all before it in 8 bytes, or 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from distcache_replication.rdb.checking import skip
from distcache_replication.rdb.crc64 import crc64
from distcache_replication.rdb.errors import BadChecksum, BadRdb, Short, Unsupported
from distcache_replication.rdb.primitives import (
    LZF,
    ROOM,
    compressed,
    read_compressed,
    read_length,
    read_string,
)
from distcache_replication.rdb.values import STRING, TYPE_STRING, Value, read_value

MAGIC = b"REDIS"
HEADER = 9
CHECKSUM = 8
READ = range(1, 13)
"""Versions that can be read; 12 is that of Redis 7.4."""
CHECKED = 5
"""The first version with a checksum."""
MOST_AUX = 100
"""Fields about the snapshot itself that are kept."""

SLOT_INFO, FUNCTION_2, FUNCTION_PRE_GA, MODULE_AUX = range(244, 248)
IDLE, FREQUENCY, AUX, RESIZE, EXPIRES_MS, EXPIRES, SELECT, EOF = range(248, 256)
FIRST_OPCODE = SLOT_INFO

MODULE_EOF, MODULE_SIGNED, MODULE_UNSIGNED, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING = range(6)

_int64_at = struct.Struct("<q").unpack_from
_int32_at = struct.Struct("<i").unpack_from


Record: TypeAlias = tuple[int, bytes, int, Value, int | None, int | None, int | None]
"""A key: its database, the key, what its value is (STRING, LIST, ...), the value, its deadline in
Unix milliseconds, for how many seconds it is idle, and how often it is used."""


class Decoder:
    """A snapshot that arrives in pieces of any size.

        for chunk in source:
            for record in decoder.feed(chunk):
                ...
        for record in decoder.finish():
            ...

    Each of these loops must run to its end.  It holds the record that is not complete yet, and no
    more; a record that takes many pieces is tried again only when it has grown by half, so that the
    last records may come from ``finish``.  BadRdb says where the trouble is.
    """

    def __init__(self, checksum: bool = True, size: int | None = None) -> None:
        self.checksum = checksum
        self.size = size
        """How long the snapshot is, where that is known: then nothing waits for more than that."""
        self.version = 0
        self.aux: dict[bytes, bytes] = {}
        """What Redis has noted about itself."""
        self.functions: list[bytes] = []
        """Libraries of functions: their source."""
        self.skipped = 0
        """Empty collections, and data of modules that belong to no key."""
        self.expected = 0
        """How many keys there are, as far as the snapshot has said."""
        self.done = False
        self.rest = b""
        """What came after the end."""
        self.offset = 0
        """Where the first byte stands that was not used yet."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = HEADER
        self._crc = 0
        self._database = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete with these bytes."""
        if self.done:
            self.rest += data
            return iter(())
        self._pieces.append(data)
        self._size += len(data)
        return self._parse() if self._size >= self._wanted else iter(())

    def finish(self) -> Iterator[Record]:
        """The last records; BadRdb where the snapshot is not complete."""
        if not self.done:
            yield from self._parse()
        if not self.done:
            raise BadRdb("The snapshot ends too early", self.offset + self._size)

    def _parse(self) -> Iterator[Record]:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = [data]
        size = len(data)
        pos = begin = 0
        try:
            if not self.version:
                pos = self._header(data)
            while True:
                begin = pos
                kind = data[pos]
                pos += 1
                deadline = idle = frequency = None
                while kind >= FIRST_OPCODE:
                    if kind == EXPIRES_MS:
                        deadline = _int64_at(data, pos)[0]
                        pos += 8
                    elif kind == EXPIRES:
                        deadline = _int32_at(data, pos)[0] * 1000
                        pos += 4
                    elif kind == IDLE:
                        idle, pos = read_length(data, pos)
                    elif kind == FREQUENCY:
                        frequency = data[pos]
                        pos += 1
                    elif kind == EOF:
                        pos = self._end(data, pos)
                        self._advance(data, pos)
                        self.rest, self._pieces = data[pos:], []
                        return
                    else:
                        begin = pos = self._opcode(data, kind, pos)
                    kind = data[pos]
                    pos += 1
                # What read_string would do, for most keys.
                length = data[pos]
                if length < 64:
                    pos += 1 + length
                    key = data[pos - length : pos]
                else:
                    if length == LZF and compressed(data, pos)[2] > ROOM:
                        # Its value might be refused, and must not be after this was expanded.
                        read_value(data, skip(data, pos), kind)
                    key, pos = read_string(data, pos)
                if kind == TYPE_STRING:
                    what: int = STRING
                    length = data[pos]
                    value: Value
                    if length < 64:
                        pos += 1 + length
                        if pos > size:
                            raise Short(pos)
                        value = data[pos - length : pos]
                    elif length < 128:
                        length = (length & 0x3F) << 8 | data[pos + 1]
                        pos += 2 + length
                        if pos > size:
                            raise Short(pos)
                        value = data[pos - length : pos]
                    elif length == LZF:
                        value, pos = read_compressed(data, pos)
                    else:
                        value, pos = read_string(data, pos)
                else:
                    what, value, pos = read_value(data, pos, kind)
                    if not value:
                        self.skipped += 1
                        continue
                yield self._database, key, what, value, deadline, idle, frequency
        except BadRdb as error:
            error.offset = self.offset + begin
            raise
        except Short as short:
            need = short.need
        except (IndexError, struct.error):
            need = size + 1
        if self.size is not None and self.offset + need > self.size:
            raise BadRdb("The snapshot ends before this does", self.offset + begin)
        self._advance(data, begin)
        self._wanted = max(need - begin, self._size + self._size // 2)

    def _advance(self, data: bytes, pos: int) -> None:
        """All before this position has been used."""
        if pos:
            self._crc = crc64(memoryview(data)[:pos], self._crc)
            self.offset += pos
            data = data[pos:]
        self._pieces, self._size = [data], len(data)

    def _header(self, data: bytes) -> int:
        magic, version = data[: len(MAGIC)], data[len(MAGIC) : HEADER]
        if magic != MAGIC[: len(magic)] or not (version.isdigit() or not version):
            raise BadRdb("This is no snapshot of Redis")
        if len(version) < HEADER - len(MAGIC):
            raise Short(HEADER)
        if int(version) not in READ:
            raise Unsupported(f"The snapshot is of version {int(version)} of the format")
        self.version = int(version)
        return HEADER

    def _end(self, data: bytes, pos: int) -> int:
        if self.version < CHECKED:
            self.done = True
            return pos
        end = pos + CHECKSUM
        if end > len(data):
            raise Short(end)
        said = int.from_bytes(data[pos:end], "little")
        if self.checksum and said and crc64(memoryview(data)[:pos], self._crc) != said:
            raise BadChecksum("The checksum of the snapshot is wrong")
        self.done = True
        return end

    def _opcode(self, data: bytes, kind: int, pos: int) -> int:
        """What does not belong to a key."""
        if kind == SELECT:
            self._database, pos = read_length(data, pos)
        elif kind == RESIZE:
            keys, pos = read_length(data, pos)
            _, pos = read_length(data, pos)
            self.expected += keys
        elif kind == AUX:
            name, pos = read_string(data, pos)
            value, pos = read_string(data, pos)
            if len(self.aux) < MOST_AUX:
                self.aux[name] = value
        elif kind == FUNCTION_2:
            library, pos = read_string(data, pos)
            self.functions.append(library)
        elif kind == SLOT_INFO:
            for _ in range(3):
                _, pos = read_length(data, pos)
        elif kind == MODULE_AUX:
            pos = _after_module(data, pos)
            self.skipped += 1
        else:
            raise Unsupported("Functions of a preview of Redis 7")
        return pos


def _after_module(data: bytes, pos: int) -> int:
    """The position after data of a module: its id, when to load it, and values with their kinds."""
    _, pos = read_length(data, pos)
    while True:
        kind, pos = read_length(data, pos)
        if kind == MODULE_EOF:
            return pos
        if kind in (MODULE_SIGNED, MODULE_UNSIGNED):
            _, pos = read_length(data, pos)
        elif kind == MODULE_STRING:
            pos = skip(data, pos)
        elif kind in (MODULE_FLOAT, MODULE_DOUBLE):
            pos += 4 if kind == MODULE_FLOAT else 8
        else:
            raise BadRdb("Unknown kind of data of a module")
