"""Marks in the log: up to which place in the store all changes of others are known.

A mark is ``PING "distcache changes <source> <place>"``, which nobody else answers or applies.  Who
has the keys as they are behind it, by a start or as a replica, has all changes up to that place.
"""

from __future__ import annotations

import re

from distcache_replication.backing.feed import Known

_MARK = re.compile(rb"distcache changes (\S+) (\d{1,20})")


def mark(known: Known) -> list[bytes]:
    """The words of a mark."""
    return [b"PING", f"distcache changes {known[0]} {known[1]}".encode()]


def marked(words: list[bytes]) -> Known | None:
    """What a PING of the log says."""
    found = _MARK.fullmatch(words[1]) if len(words) == 2 else None
    return None if found is None else (found[1].decode("utf-8", "replace"), int(found[2]))
