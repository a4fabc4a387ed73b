"""How Redis splits a line into words and quotes one: inline commands, redis.conf, CONFIG REWRITE.

Words stand between blanks.  Inside ``"..."`` the escapes ``\\n \\r \\t \\b \\a \\xHH`` have their
meaning and any other escaped byte stands for itself; inside ``'...'`` only ``\\'`` is an escape.  A
quote may open in the middle of a word, but after it closes the word ends.
"""

from __future__ import annotations

import re

# Any blank of C's isspace() separates words; only four of them end a bare word; NUL ends the line.
_CLOSED = rb"(?=[ \t\n\v\f\r\0]|\Z)"
_PIECE = re.compile(
    rb"(?P<blanks>[ \t\n\v\f\r]+)"
    rb"|(?P<bare>[^ \t\n\r\0\"']+)"
    rb'|"(?P<double>[^"\\\0]*+(?:\\[^\0][^"\\\0]*+)*+)"'
    + _CLOSED
    + rb"|'(?P<single>[^'\\\0]*+(?:\\(?:'|(?!'))[^'\\\0]*+)*+)'"
    + _CLOSED
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_MEANING = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

_NEEDS_QUOTES = re.compile(rb"[^!#-&(-\[\]-~]")
_QUOTED = [b"%c" % byte if 0x20 <= byte < 0x7F else b"\\x%02x" % byte for byte in range(256)]
for _letter, _byte in _MEANING.items():
    _QUOTED[_byte[0]] = b"\\" + _letter
for _byte in (b"\\", b'"'):
    _QUOTED[_byte[0]] = b"\\" + _byte


class Unbalanced(ValueError):
    """A quote that never closes, or closes in the middle of a word."""


def split(line: bytes) -> list[bytes]:
    """The words of a line."""
    words: list[bytes] = []
    word: bytes | None = None
    position, end = 0, len(line)
    while position < end and line[position]:
        piece = _PIECE.match(line, position)
        if piece is None:
            raise Unbalanced
        position = piece.end()
        if piece["blanks"] is not None:
            if word is not None:
                words.append(word)
            word = None
        elif piece["bare"] is not None:
            word = (word or b"") + piece["bare"]
        elif piece["double"] is not None:
            word = (word or b"") + _ESCAPE.sub(_unescape, piece["double"])
        else:
            word = (word or b"") + piece["single"].replace(b"\\'", b"'")
    if word is not None:
        words.append(word)
    return words


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return bytes.fromhex(escape[1].decode("ascii"))
    return _MEANING.get(escape[2], escape[2])


def quote(word: bytes) -> bytes:
    """A word between double quotes, such that `split` gives it back."""
    return b'"%b"' % b"".join([_QUOTED[byte] for byte in word])


def quote_if_needed(word: bytes) -> bytes:
    """The word as it is, where it holds nothing that `split` would read otherwise."""
    return quote(word) if not word or _NEEDS_QUOTES.search(word) else word
