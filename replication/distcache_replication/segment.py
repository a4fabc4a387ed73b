r"""The bytes of an append-only file: RESP commands, and annotation lines that vouch for them.

Format: a file of ours begins with a line that says where in which history its bytes begin.  Then
comes, before each batch of commands that was written together, a line with the length of the batch
and two checksums; after it exactly that many bytes::

    #distcache:1 <history, 40 hex> <offset> <salt, 8 hex> <checksum, 8 hex>\r\n
    #distcache:before <history, 40 hex> <offset> <checksum, 8 hex>\r\n
    #dc:<length, hex> <checksum of the line, 8 hex><checksum of the batch, 8 hex>\r\n
    *3\r\n$3\r\nSET\r\n...

After a flush, another line says up to which offset all is on the disk for good, or with ``-`` that
from here on no such lines are to be expected.  Some say what time it is, too, by the clock of the
server, in milliseconds: what comes behind was written then, or a little later::

    #dc=<offset, hex> <checksum, 8 hex>\r\n
    #dc=<offset, hex> <time, hex> <checksum, 8 hex>\r\n

Whatever is wrong behind the last of them is no damage: a power cut keeps of what was not flushed
what it likes.

The second line, which there may be several of, names a former history and where it was left.  The
first stands again, in the middle of a file, where the history gets another name.

Redis reads each file as if the first database was selected.  Where the log goes on in another one,
a SELECT stands before the first batch, behind a line that says that it has no place in the log::

    #distcache:select <database> <checksum, 8 hex>\r\n
    *2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n

Redis 7 and redis-check-aof skip lines that begin with ``#``, and so read the commands alone.

A checksum is a CRC-32.  That of the line covers length and position, so that a batch that is
missing or was put somewhere else does not fit; it is begun with the salt of the file, so that no
client can store a value that looks like an annotation.  That of the batch goes on from there.

Where commands stand without an annotation they were written by Redis, and are only checked for
form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from zlib import crc32

import hiredis

HEAD = re.compile(rb"#distcache:1 ([0-9a-f]{40}) ([0-9]{1,19}) ([0-9a-f]{8}) ([0-9a-f]{8})\r\n")
BEFORE = re.compile(rb"#distcache:before ([0-9a-f]{40}) ([0-9]{1,19}) ([0-9a-f]{8})\r\n")
SELECT = re.compile(rb"#distcache:select ([0-9]{1,9}) ([0-9a-f]{8})\r\n")
BATCH = re.compile(rb"#dc:([0-9a-f]{1,12}) ([0-9a-f]{8})([0-9a-f]{8})\r\n")
FLUSHED = re.compile(rb"#dc=([0-9a-f]{1,16}|-)(?: ([0-9a-f]{1,12}))? ([0-9a-f]{8})\r\n")
TIMESTAMP = re.compile(rb"#TS:[0-9]{1,20}\r?\n")
NO_HISTORY = "0" * 40
"""What a base of ours says, whose bytes are of no history."""
LINE = 1024
"""Redis reads no longer annotation."""
NUMBER = re.compile(rb"0|[1-9][0-9]{0,9}")
PREFIX = re.compile(rb"[0-9]{0,10}\r?")
STAR, DOLLAR, HASH = b"*$#"


class Damaged(Exception):
    """The record at ``at`` is not what was written; it was looked at up to ``seen``."""

    def __init__(self, at: int, seen: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.seen = seen
        self.reason = reason


class Torn(Damaged):
    """The bytes end in the middle of the record at ``at``."""


def head(history: str, offset: int, salt: int) -> bytes:
    """The first line of a file."""
    start = b"#distcache:1 %b %d %08x" % (history.encode(), offset, salt)
    return b"%b %08x\r\n" % (start, crc32(start))


def before(history: str, offset: int, salt: int) -> bytes:
    """A line that says where a former history was left."""
    start = b"#distcache:before %b %d" % (history.encode(), offset)
    return b"%b %08x\r\n" % (start, crc32(start, salt))


def select(database: int, salt: int) -> bytes:
    """Lines that say to Redis in which database the file goes on, and nothing to us."""
    start = b"#distcache:select %d" % database
    words = encode([b"SELECT", b"%d" % database])
    return b"%b %08x\r\n%b" % (start, crc32(start, salt), words)


def annotation(data: bytes, offset: int, salt: int) -> bytes:
    """The line before a batch that begins at ``offset`` in the history."""
    line = crc32(b"%x %d" % (len(data), offset), salt)
    return b"#dc:%x %08x%08x\r\n" % (len(data), line, crc32(data, line))


def flushed(offset: int | None, salt: int, time_ms: int | None = None) -> bytes:
    """A line that says up to where all is flushed; None: it is not said any more."""
    start = b"#dc=-" if offset is None else b"#dc=%x" % offset
    if time_ms is not None:
        start = b"%b %x" % (start, time_ms)
    return b"%b %08x\r\n" % (start, crc32(start, salt))


def was_flushed(data: bytes, offset: int) -> bool:
    """Whether a line in these bytes, which may be damaged, says that the offset was flushed.

    Its checksum is not asked for: better a start too few than a write lost.
    """
    told = [found[1] for found in FLUSHED.finditer(data)]
    return any(each == b"-" or int(each, 16) > offset for each in told)


class Batch:
    """Commands that were written together; ``at`` is where their first byte is in the file."""

    __slots__ = ("at", "data", "offset")

    def __init__(self, at: int, data: bytes, offset: int | None) -> None:
        self.at = at
        self.data = data
        self.offset = offset
        """Where in the history the batch begins; None for what Redis wrote."""


class Reader:
    """Takes the bytes of a file apart: feed some, iterate over what is whole, feed more, finish."""

    def __init__(
        self,
        at: int = 0,
        offset: int | None = None,
        salt: int = 0,
        time_ms: int | None = None,
    ) -> None:
        """Begin at the first byte of a file; or ``at`` a batch, which begins at that offset."""
        self.at = at
        """Where in the file the first byte is that was not yet taken apart."""
        self.history = ""
        """The history that the last batch belongs to, ..."""
        self.lineage: list[tuple[str, int]] = []
        """... and the former ones, each with the offset where it was left."""
        self.start = offset
        """The offset in the history at which the file begins; None for a file that Redis wrote."""
        self.offset = offset or 0
        """The offset after the last batch."""
        self.checked = self.offset
        """The offset after the last batch with a checksum."""
        self.salt = salt
        self.flushed: int | None = None
        """Up to where a line said that all was flushed; None where there is no telling."""
        self.time_ms = time_ms
        """When the last batch was written, by a line before it."""
        self._buffer = bytearray()
        self._wanted = 0
        """So many bytes must be there before the next batch can be whole."""

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def rest(self) -> int:
        """Bytes that wait for more."""
        return len(self._buffer)

    def __iter__(self) -> Iterator[Batch]:
        """What is whole; raises Damaged."""
        position = 0
        try:
            while self._wanted <= len(self._buffer) - position > 0:
                if self._buffer[position] == HASH:
                    taken = self._annotated(position)
                else:
                    taken = self._bare(position)
                if taken is None:
                    return
                length, batch = taken
                position += length
                self.at += length
                if batch is not None:
                    yield batch
        finally:
            del self._buffer[:position]

    def sound(self, end: int) -> list[bytes]:
        """The batches that come next, up to an offset, and before whatever is no sound batch.

        Faster than iterating: each line is written anew, and compared.
        """
        found: list[bytes] = []
        if self.start is None or len(self._buffer) < self._wanted:
            return found
        self._wanted = 0
        buffer = bytes(self._buffer)
        position, offset, salt = 0, self.offset, self.salt
        while offset < end:
            space = buffer.find(b" ", position, position + 17)
            try:
                size = int(buffer[position + 4 : space], 16)
            except ValueError:
                break
            start = space + 19
            data = buffer[start : start + size]
            if len(data) != size or offset + size > end:
                break
            line = crc32(b"%x %d" % (size, offset), salt)
            whole = b"#dc:%x %08x%08x\r\n" % (size, line, crc32(data, line))
            if not buffer.startswith(whole, position):
                break
            found.append(data)
            offset += size
            position = start + size
        if found:
            self.at += position
            self.offset = self.checked = offset
            del self._buffer[:position]
        return found

    def finish(self) -> None:
        """There is nothing more; raises Torn where something is cut off."""
        if self._buffer:
            end = self.at + len(self._buffer)
            raise Torn(self.at, end, "the file ends in the middle of a record")

    def _annotated(self, position: int) -> tuple[int, Batch | None] | None:
        """A line that begins with ``#``, and its batch; None where bytes are missing."""
        buffer, at = self._buffer, self.at
        end = buffer.find(b"\n", position, position + LINE) + 1
        if not end:
            if len(buffer) - position >= LINE:
                raise Damaged(at, at + LINE, "an annotation has no end")
            return None
        line = bytes(buffer[position:end])
        if (found := BATCH.fullmatch(line)) and self.start is not None:
            size = int(found[1], 16)
            check = crc32(b"%x %d" % (size, self.offset), self.salt)
            if b"%08x" % check != found[2]:
                raise Damaged(at, at, "an annotation has the wrong checksum or is out of place")
            self._wanted = end - position + size
            if len(buffer) - position < self._wanted:
                return None
            self._wanted = 0
            data = bytes(memoryview(buffer)[end : end + size])
            if b"%08x" % crc32(data, check) != found[3]:
                seen = at + len(line) + size
                raise Damaged(at, seen, "the commands do not have their checksum")
            batch = Batch(at + len(line), data, self.offset)
            self.offset = self.checked = self.offset + size
            return len(line) + size, batch
        if (found := HEAD.fullmatch(line)) and (not at or self.start is not None):
            if head(found[1].decode(), int(found[2]), int(found[3], 16)) != line:
                raise Damaged(at, at, "the line of the history has the wrong checksum")
            if self.start is None:
                self.start = self.offset = self.checked = int(found[2])
            elif int(found[2]) != self.offset:
                raise Damaged(at, at, "the line of a history is out of place")
            self.history, self.lineage = found[1].decode(), []
            self.salt = int(found[3], 16)
            return len(line), None
        if (found := BEFORE.fullmatch(line)) and self.start is not None:
            history, offset = found[1].decode(), int(found[2])
            if before(history, offset, self.salt) != line:
                raise Damaged(at, at, "the line of a former history has the wrong checksum")
            self.lineage.append((history, offset))
            return len(line), None
        if (found := FLUSHED.fullmatch(line)) and self.start is not None:
            told = None if found[1] == b"-" else int(found[1], 16)
            time_ms = None if found[2] is None else int(found[2], 16)
            if flushed(told, self.salt, time_ms) != line or (told or 0) > self.offset:
                raise Damaged(at, at, "the line of a flush has the wrong checksum or place")
            self.flushed = told
            self.time_ms = self.time_ms if time_ms is None else time_ms
            return len(line), None
        if (found := SELECT.fullmatch(line)) and self.start is not None:
            whole = select(int(found[1]), self.salt)
            self._wanted = len(whole)
            if len(buffer) - position < self._wanted:
                return None
            self._wanted = 0
            if not buffer.startswith(whole, position):
                seen = at + len(whole)
                raise Damaged(at, seen, "the line of a database has the wrong checksum or command")
            return len(whole), None
        if TIMESTAMP.fullmatch(line):
            return len(line), None
        raise Damaged(at, at, "an annotation that nobody knows")

    def _bare(self, position: int) -> tuple[int, Batch | None] | None:
        """A command without an annotation."""
        try:
            end = command_end(self._buffer, position)
        except Damaged as error:
            raise Damaged(self.at, self.at + error.seen - position, error.reason) from None
        if end is None:
            return None
        data = bytes(memoryview(self._buffer)[position:end])
        self.offset += len(data)
        return len(data), Batch(self.at, data, None)


def command_end(data: bytes | bytearray, at: int) -> int | None:
    """Where the command at ``at`` ends, or None if it is cut off; raises Damaged."""
    start = at
    if (header := _header(data, start, at, STAR)) is None:
        return None
    count, at = header
    for _ in range(count):
        if (header := _header(data, start, at, DOLLAR)) is None:
            return None
        length, at = header
        at += length + 2
        if len(data) < at:
            return None
        if data[at - 2 : at] != b"\r\n":
            raise Damaged(start, at, "a word does not end where its length says")
    return at


def _header(data: bytes | bytearray, start: int, at: int, mark: int) -> tuple[int, int] | None:
    """The number in a line that begins with ``mark``, and where the next line begins."""
    if at >= len(data):
        return None
    if data[at] != mark:
        raise Damaged(start, at, f"{bytes(data[at : at + 1])!r} stands where '{mark:c}' should")
    end = data.find(b"\r\n", at, at + LINE)
    if end < 0:
        if len(data) - at >= LINE or not PREFIX.fullmatch(data, at + 1):
            raise Damaged(start, min(at + LINE, len(data)), "a length that is no number")
        return None
    if not NUMBER.fullmatch(data, at + 1, end):
        raise Damaged(start, at, "a length that is no number")
    return int(data[at + 1 : end]), end + 2


def commands(data: bytes) -> list[list[bytes]]:
    """The commands in a batch; raises ValueError where it holds anything else."""
    reader = hiredis.Reader()
    reader.feed(data)
    found = list(iter(reader.gets, False))
    if not all(isinstance(words, list) and words for words in found):
        raise ValueError("not a list of commands")
    return found


def encode(words: Sequence[bytes]) -> bytes:
    """A command as the log has it."""
    count = len(words)
    if count == 3:
        one, two, three = words
        return _THREE % (len(one), one, len(two), two, len(three), three)
    if count == 2:
        one, two = words
        return _TWO % (len(one), one, len(two), two)
    return b"*%d\r\n%b" % (count, b"".join([_WORD % (len(word), word) for word in words]))


def encode_run(columns: Sequence[Sequence[bytes]]) -> bytes:
    """Commands with the same number of words: all first words, all second words, and so on."""
    width, count = len(columns), len(columns[0])
    values: list[bytes | int] = [0] * (2 * width * count)
    for number, column in enumerate(columns):
        values[2 * number :: 2 * width] = map(len, column)
        values[2 * number + 1 :: 2 * width] = column
    return (b"*%d\r\n" % width + _WORD * width) * count % tuple(values)


_WORD = b"$%d\r\n%b\r\n"
_TWO, _THREE = (b"*%d\r\n" % count + _WORD * count for count in (2, 3))
