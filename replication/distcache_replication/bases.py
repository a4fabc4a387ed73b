"""The places in the log from which the keys can be made again: a base, and all segments behind it.

A start needs the last base only.  Those before it are superfluous as the segments before it are,
and are kept with them for who wants to know what happened since.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from distcache_replication.archive import Archive
from distcache_replication.manifest import File, Manifest


class Base(NamedTuple):
    """All keys at an offset."""

    offset: int
    name: str
    """The file; empty where the log began and there were no keys."""
    size: int


def bases(manifest: Manifest, archive: Archive) -> list[Base]:
    """Those from which the log is on disk, the oldest first."""
    files = [it for it in (*manifest.history, manifest.base) if it is not None and _is_base(it)]
    found = [
        Base(it.offset, it.name, it.size or 0)
        for it in files
        if it.offset is not None and archive.covers(it.offset)
    ]
    beginning = _beginning(files, manifest, archive)
    if beginning is not None:
        found.append(Base(beginning, "", 0))
    return sorted(found)


def _is_base(file: File) -> bool:
    return ".base." in file.name


def _beginning(files: Sequence[File], manifest: Manifest, archive: Archive) -> int | None:
    """Where the log began without any keys, if that is left."""
    segments = archive.segments
    if not segments:
        return None
    first = segments[0]
    numbers = {it.name: it.number for it in (*manifest.history, *manifest.increments)}
    if numbers.get(first.name) != 1:
        return None
    # The first base was made of what is in the log before it; or, where the log was turned on
    # later, of keys that it knows nothing of.  If it is gone nobody can tell.
    oldest = min(files, key=lambda it: it.number, default=None)
    made_of_log = oldest is None or (
        oldest.number == 1 and oldest.offset is not None and oldest.offset > first.start
    )
    return first.start if made_of_log else None


def kept(found: Sequence[Base], archive: Archive, size: int, seconds: int, now_s: float) -> int:
    """How many of the last bases stay, within so many bytes and for so long (0: for ever).

    The last one is not counted in, as a start needs it.
    """
    count, total = 1, 0
    for older, newer in reversed(list(pairwise(found))):
        between = [it for it in archive.segments if older.offset <= it.start < newer.offset]
        total += older.size + sum(it.size for it in between)
        closed_s = max((it.closed_s for it in between), default=now_s)
        if total > size or (seconds and now_s - closed_s > seconds):
            break
        count += 1
    return min(count, len(found))
