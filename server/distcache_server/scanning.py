"""The words of SCAN, HSCAN, SSCAN and ZSCAN: a cursor, then MATCH, COUNT, TYPE and others.

The commands that scan one key look at the key before they read the options, as Redis does:
``HSCAN missing 0 NONSENSE`` is an empty scan.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from distcache_server.arguments import Args, integer
from distcache_server.errors import Failure, InvalidCursor, SyntaxFailure
from distcache_server.glob import Matcher, matcher

USUAL_COUNT = 10

_cursor_text = re.compile(rb"(?:[+-]?[0-9]+)?").fullmatch


ScanOptions: TypeAlias = tuple[Matcher | None, int, bytes | None, bool]
"""MATCH (None: everything does), COUNT, TYPE (None: any), and whether entries come bare."""

_BARE = {b"NOVALUES": b"HSCAN", b"NOSCORES": b"ZSCAN"}
"""The options that leave out what belongs to an entry, and the commands that have them."""


def cursor_of(word: bytes) -> int:
    """The cursor as ``strtoul`` reads it: with a sign, if there is one, and 0 where it is empty."""
    if not _cursor_text(word) or len(word) > 64:
        raise InvalidCursor
    cursor = int(word or b"0")
    if not -(2**64) < cursor < 2**64:
        raise InvalidCursor
    return cursor % 2**64


def scan_options(words: Args, typed: bool = False, command: bytes = b"") -> ScanOptions:
    """The words after the cursor; ``typed`` allows TYPE (SCAN), ``command`` its NOVALUES or so.

    The type is in lower case and may be one that does not exist.
    """
    match: Matcher | None = None
    kind: bytes | None = None
    count, bare = USUAL_COUNT, False
    at = 0
    while at < len(words):
        option = words[at].upper()
        if option in _BARE:
            if _BARE[option] != command:
                raise Failure(b"%b option can only be used in %b" % (option, _BARE[option]))
            bare = True
            at += 1
            continue
        if at + 1 == len(words):
            raise SyntaxFailure
        value = words[at + 1]
        if option == b"COUNT":
            count = integer(value)
            if count < 1:
                raise SyntaxFailure
        elif option == b"MATCH":
            match = None if value == b"*" else matcher(value)
        elif option == b"TYPE" and typed:
            kind = value.lower()
        else:
            raise SyntaxFailure
        at += 2
    return match, count, kind, bare
