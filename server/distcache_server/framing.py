"""Bytes to commands, bounded before anything is allocated; multi-bulk and inline commands.

Format: https://redis.io/docs/latest/develop/reference/protocol-spec/ (requests only: an array of
bulk strings, or a line).  ``Framer`` is the whole truth about what is accepted, with Redis's limits
and error texts.  The rest gives the same answers faster where it can: ``parse_single`` and
``parse_uniform`` split short commands in Python, and ``Parser`` lets hiredis read a whole batch,
after a look that no header in it makes hiredis reserve memory, and with a check after it that every
word is a bulk string.
"""

from __future__ import annotations

import re
import secrets
from itertools import chain
from typing import Any

import hiredis

from distcache_server import layout
from distcache_server.arguments import Args, Columns
from distcache_server.quoting import Unbalanced, split

STAR, NEWLINE = 0x2A, 0x0A
HTTP = {b"post", b"host:"}
"""First words of a line that only a browser sends."""
MAX_LINE = 64 * 1024
MAX_WORDS = 2**31 - 1
MAX_WORDS_UNAUTHENTICATED = 10
MAX_BULK_UNAUTHENTICATED = 16384


class ProtocolError(Exception):
    """What the client sent is no command; the text follows ``Protocol error:``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class HttpRequest(ProtocolError):
    """A browser or a page in it is made to talk to us: close without a word."""


def header_number(line: bytes) -> int | None:
    """A number as Redis's string2ll reads it: no sign ``+``, no leading zeros, no blanks."""
    if len(line) > 20:
        return None
    try:
        number = int(line)
    except ValueError:
        return None
    return number if b"%d" % number == line else None


class Framer:
    """An incremental parser of requests, one command at a time."""

    __slots__ = ("at", "authenticated", "buffer", "bulk", "max_bulk", "missing", "starved", "words")

    def __init__(self, max_bulk: int = 512 << 20) -> None:
        self.max_bulk = max_bulk
        self.authenticated = True
        self.buffer = bytearray()
        self.at = 0
        self.missing = 0
        """Words that the present command still lacks."""
        self.bulk = -1
        """Length of the word that comes next, once its header was read."""
        self.words: Args = []
        self.starved = True
        """More bytes are needed before there is another command."""

    def __len__(self) -> int:
        return len(self.buffer) - self.at

    @property
    def held(self) -> int:
        """Bytes that are kept; the words of an unfinished command are among them."""
        return len(self.buffer)

    @property
    def between_commands(self) -> bool:
        """No part of a command is held back."""
        return not self.missing and self.at == len(self.buffer)

    def feed(self, data: bytes) -> None:
        self.buffer += data
        self.starved = False

    def take_rest(self) -> bytes:
        """What was fed and not yet read; only between commands."""
        rest = bytes(memoryview(self.buffer)[self.at :])
        self.buffer = bytearray()
        self.at = 0
        return rest

    def next(self) -> Args | None:
        """The next command, or None where more bytes are needed.

        Raises ProtocolError; nothing may be read after that.
        """
        words = self._next()
        self.starved = words is None
        return words

    def _next(self) -> Args | None:
        while not self.missing:
            if self.at >= len(self.buffer):
                self._forget_read()
                return None
            if self.buffer[self.at] != STAR:
                words = self._inline()
                if words != []:
                    return words
                continue
            line = self._line("too big mbulk count string")
            if line is None:
                return None
            count = header_number(line[1:])
            if count is None or count > MAX_WORDS:
                raise ProtocolError("invalid multibulk length")
            if count > MAX_WORDS_UNAUTHENTICATED and not self.authenticated:
                raise ProtocolError("unauthenticated multibulk length")
            self.missing = max(count, 0)
        while self.missing:
            if not self._word():
                return None
        words, self.words = self.words, []
        if self.at > MAX_LINE:
            self._forget_read()
        return words

    def _word(self) -> bool:
        """Read one more word of a multi-bulk command; False where bytes are missing."""
        if self.bulk < 0:
            line = self._line("too big bulk count string")
            if line is None:
                return False
            if line[:1] != b"$":
                seen = chr(line[0]) if line else "\r"
                raise ProtocolError(f"expected '$', got '{seen}'")
            length = header_number(line[1:])
            if length is None or not 0 <= length <= self.max_bulk:
                raise ProtocolError("invalid bulk length")
            if length > MAX_BULK_UNAUTHENTICATED and not self.authenticated:
                raise ProtocolError("unauthenticated bulk length")
            self.bulk = length
        end = self.at + self.bulk
        if len(self.buffer) < end + 2:
            return False
        self.words.append(bytes(memoryview(self.buffer)[self.at : end]))
        self.at = end + 2
        self.bulk = -1
        self.missing -= 1
        return True

    def _line(self, too_long: str) -> bytes | None:
        """Up to the next carriage return, which must come soon; like C, not past a NUL."""
        end = self.buffer.find(b"\r", self.at, self.at + MAX_LINE + 1)
        if end < 0 or self.buffer.find(b"\0", self.at, end) >= 0:
            if len(self) > MAX_LINE:
                raise ProtocolError(too_long)
            return None
        if len(self.buffer) < end + 2:
            return None
        line = bytes(self.buffer[self.at : end])
        self.at = end + 2
        return line

    def _inline(self) -> Args | None:
        """A command on a line of its own, quoted as in redis-cli; [] for an empty line."""
        end = self.buffer.find(b"\n", self.at, self.at + MAX_LINE + 1)
        if end < 0:
            if len(self) > MAX_LINE:
                raise ProtocolError("too big inline request")
            return None
        line = bytes(self.buffer[self.at : end])
        self.at = end + 1
        try:
            words = split(line.removesuffix(b"\r"))
        except Unbalanced:
            raise ProtocolError("unbalanced quotes in request") from None
        if words and words[0].lower() in HTTP:
            raise HttpRequest("HTTP request")
        return words

    def _forget_read(self) -> None:
        del self.buffer[: self.at]
        self.at = 0


# The fast ways

CRLF = b"\r\n"
_LENGTHS = {b"$%d" % n: n for n in range(1024)}
_HEADERS = [*_LENGTHS]
_STRIDES = {b"*%d" % n: 2 * n + 1 for n in range(1, 65)}
"""By how many words a command has: its lines."""
_large_array = re.compile(rb"\*[0-9]{5}").search
_flat = chain.from_iterable
_TOKEN = secrets.token_hex(8).encode()
_MORE = object()
"""What hiredis says when it needs more; its default, False, is equal to the reply ``:0``."""
TYPED_TEXT = (b"+", b"=", b"(")
"""Simple, verbatim strings and big numbers, which hiredis returns as bytes too."""
FEW_WORDS = {b"*%d\r\n" % n for n in range(1, 5)}
"""Commands of so few words take less time to split; hiredis is faster with more."""
PIECE = 32 << 10
"""Bytes that hiredis gets at a time."""
_END = b"+%b\r\n" % _TOKEN
"""Fed to hiredis behind a batch: comes out if no command is cut off.  No client can know it."""


def encoded_length(batch: list[Args]) -> int:
    """The bytes that these commands took on the wire."""
    return sum(map(command_length, batch))


def command_length(words: Args) -> int:
    """The bytes of one command."""
    length = len(str(len(words))) + 3
    for word in words:
        size = len(word)
        length += _WORD_LENGTHS[size] if size < LONG else len(str(size)) + size + 5
    return length


LONG = 1024
_WORD_LENGTHS = [len(b"$%d\r\n\r\n" % size) + size for size in range(LONG)]


def parse_single(data: bytes) -> Args | None:
    """One command of up to four short words and nothing else, or None."""
    parts = data.split(CRLF, 10)
    count = len(parts)
    if parts[-1] or _STRIDES.get(parts[0]) != count - 1:
        return None
    get = _LENGTHS.get
    if count == 6:
        _, length, name, length1, word1, _ = parts
        if get(length) == len(name) and get(length1) == len(word1):
            return [name, word1]
    elif count == 8:
        _, length, name, length1, word1, length2, word2, _ = parts
        if get(length) == len(name) and get(length1) == len(word1) and get(length2) == len(word2):
            return [name, word1, word2]
    elif count == 4:
        if get(parts[1]) == len(parts[2]):
            return [parts[2]]
    elif count == 10:
        words = parts[2::2]
        if [*map(get, parts[1:-1:2])] == [*map(len, words)]:
            return words
    return None


def parse_long(data: bytes) -> Args | None:
    """One command of up to 64 short words and nothing else, or None."""
    stride = _STRIDES.get(data[: data.find(b"\r")])
    if stride is None:
        return None
    parts = data.split(CRLF, stride)
    if len(parts) != stride + 1 or parts.pop():
        return None
    words = parts[2::2]
    try:
        return words if [*map(_HEADERS.__getitem__, map(len, words))] == parts[1::2] else None
    except IndexError:
        return None


def parse_uniform(data: bytes) -> Columns | None:
    """A whole read of commands that are alike in their number of words, all short, or None.

    The lines are sorted out by slices, so that nothing happens command by command.  A line break
    within a word is no harm: then the numbers do not fit.
    """
    parts = data.split(CRLF)
    head = parts[0]
    stride = _STRIDES.get(head)
    if stride is None or parts.pop():
        return None
    count, rest = divmod(len(parts), stride)
    if rest or parts[::stride].count(head) != count:
        return None
    columns = []
    for at in range(1, stride, 2):
        words = parts[at + 1 :: stride]
        lengths = parts[at::stride]
        first = _LENGTHS.get(lengths[0])
        if lengths.count(lengths[0]) == count:
            if {first} != set(map(len, words)):
                return None
        elif [*map(_LENGTHS.get, lengths)] != [*map(len, words)]:
            return None
        columns.append(words)
    return columns


def canonical(data: bytes) -> bytes:
    """A read of which `Parser.columns` or `parse_uniform` made columns, if it is all there is to be
    said of them: encoded again they were the same bytes.  Else nothing.
    """
    return data if data[:4] in FEW_WORDS else b""


def parse_inline(data: bytes) -> list[Args] | None:
    """A whole read of inline commands without quotes, or None."""
    if (
        data[-1] != NEWLINE
        or len(data) > MAX_LINE
        or b"*" in data
        or b'"' in data
        or b"'" in data
        or b"\0" in data
        # split() parts words at these, and Redis does not.
        or b"\v" in data
        or b"\f" in data
    ):
        return None
    batch = [words for line in data.split(b"\n") if (words := line.split())]
    return batch if HTTP.isdisjoint({words[0].lower() for words in batch}) else None


def _read(reader: hiredis.Reader, data: bytes) -> list[Any]:
    """What hiredis makes of this, a piece at a time: after each command it moves all the rest."""
    if len(data) <= PIECE:
        reader.feed(data)
        return list(iter(reader.gets, _MORE))
    read: list[Any] = []
    for at in range(0, len(data), PIECE):
        reader.feed(data, at, min(PIECE, len(data) - at))
        read += iter(reader.gets, _MORE)
    return read


def _has_odd_types(data: bytes) -> bool:
    """Whether hiredis might find something else in here than arrays and what ends up as bytes."""
    return (
        b">" in data
        or b"~" in data
        or b"%" in data
        or b"|" in data
        or any(mark in data and b"\r\n" + mark in data for mark in TYPED_TEXT)
    )


class Parser:
    """hiredis, fed with whole reads that are safe for it."""

    __slots__ = ("reader",)

    def __init__(self) -> None:
        self.reader = hiredis.Reader(notEnoughData=_MORE)

    def parse(self, data: bytes) -> tuple[list[Args], bytes] | None:
        """All whole commands in ``data`` and the rest of it; None where only Framer can tell.

        hiredis reserves memory for the count in an array header and takes replies of all kinds for
        arguments.  So large counts and the marks of RESP3's aggregates go to Framer, wherever they
        stand in the data, and those of other texts at the start of a line.  Joining the words fails
        if one of them is of yet another kind.
        """
        if data[0] != STAR or _large_array(data) or _has_odd_types(data):
            return None
        batch: list[Args] = []
        whole = False
        try:
            read = _read(self.reader, data)
            self.reader.feed(_END)
            read += iter(self.reader.gets, _MORE)
            whole = bool(read) and read.pop() == _TOKEN
            batch = read
        except hiredis.ProtocolError:
            pass
        try:
            if not whole:
                # The end was taken for part of a command that is cut off: again, without it.
                self.reader = hiredis.Reader(notEnoughData=_MORE)
                batch = _read(hiredis.Reader(notEnoughData=_MORE), data)
            b"".join(_flat(batch))
        except (hiredis.ProtocolError, TypeError):
            return None
        if not all(batch):
            return None
        return batch, b"" if whole else data[encoded_length(batch) :]

    def columns(self, data: bytes) -> Columns | None:
        """A whole read of commands with equal numbers of words, or None."""
        if columns := layout.cut(data, len(data)):
            return columns
        columns = self._columns(data)
        if columns:
            layout.learn(data, len(data), columns)
        return columns

    def _columns(self, data: bytes) -> Columns | None:
        if data[:4] in FEW_WORDS:
            return parse_uniform(data)
        parsed = self.parse(data)
        if parsed is None:
            return None
        batch, rest = parsed
        if rest or len(set(map(len, batch))) != 1:
            return None
        return list(zip(*batch, strict=True))

    def parse_each(self, reads: list[bytes], joined: bytes) -> Columns | None:
        """Reads of one command each, all of as many words, or None; also given in one piece."""
        if _large_array(joined) or _has_odd_types(joined):
            return None
        reader = self.reader
        batch = []
        try:
            for data in reads:
                reader.feed(data)
                batch.append(reader.gets())
                if batch[-1] is _MORE or reader.has_data():
                    self.reader = hiredis.Reader(notEnoughData=_MORE)
                    return None
            flat = list(_flat(batch))
            b"".join(flat)
        except (hiredis.ProtocolError, TypeError):
            self.reader = hiredis.Reader(notEnoughData=_MORE)
            return None
        width = len(batch[0])
        if not width or {width} != set(map(len, batch)):
            return None
        return [flat[at::width] for at in range(width)]
