"""The log on disk, by offset: which segments there are, who needs them, and which may go.

A segment is an increment of the append-only directory.  A start needs those behind the base; those
before it are superfluous, and kept for who comes back later: up to a number of bytes, and for a
time.  Who needs them for longer takes a slot and moves it on, as with the replication slots of
PostgreSQL.  A slot holds what is behind it only up to a limit, so that a follower that is dead does
not fill the disk; past that it is lost, and its owner has to begin with a snapshot.

Slots are not stored: an owner keeps its offset itself, and takes its slot when the server starts,
before the first segment is deleted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from distcache_replication.directory import Directory
from distcache_replication.disk import Disk, Mark
from distcache_replication.files import Files
from distcache_replication.history import History
from distcache_replication.manifest import File
from distcache_replication.segment import LINE, Damaged, Reader


class Lost(Exception):
    """The bytes that a follower needs next are not on disk any more, or damaged."""


@dataclass(eq=False)
class Segment:
    """A file with a part of the log, from the offset ``start`` to ``end``."""

    name: str
    start: int
    end: int
    size: int
    """Bytes of the file."""
    closed_s: float = 0.0
    """When it was written last, by a clock that never goes back."""
    superfluous: bool = False
    """A start does not need it."""
    marks: list[Mark] = field(default_factory=list)
    """Some places in it."""

    def mark(self, offset: int) -> Mark | None:
        """The last of these places that is not behind an offset."""
        at = bisect_right(self.marks, (offset, self.size + 1))
        return self.marks[at - 1] if at else None


class Slot:
    """Somebody who needs the log from ``offset`` on."""

    __slots__ = ("lost", "name", "offset")

    def __init__(self, name: str, offset: int) -> None:
        self.name = name
        self.offset = offset
        self.lost = False
        """What it needs had to go."""


class Limits(NamedTuple):
    """How much is kept that a start does not need."""

    size: int
    """So many bytes ..."""
    seconds: int
    """... and so long (0: for ever) for who comes back later; ..."""
    slots: int
    """... and so many bytes for slots."""


def surplus(
    old: Sequence[Segment],
    limits: Limits,
    needed: int | None,
    now_s: float,
    kept: int | None = None,
) -> int:
    """How many of the superfluous segments, the oldest first, may go.

    ``needed`` is the offset of the slot that is furthest behind; what is behind ``kept`` stays.
    """
    size = sum(it.size for it in old)
    count = 0
    for it in old:
        late = bool(limits.seconds) and now_s - it.closed_s > limits.seconds
        held = needed is not None and needed < it.end and size <= limits.slots
        if held or (kept is not None and kept < it.end) or not (late or size > limits.size):
            break
        size -= it.size
        count += 1
    return count


class Archive:
    """The segments of a log, without a gap between one and the next; the last is written to."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.slots: list[Slot] = []
        self._segments: list[Segment] = []
        self._disk: Disk | None = None
        self._folder = ""

    # What there is

    @property
    def segments(self) -> Sequence[Segment]:
        """All of them, the oldest first."""
        self._measure()
        return self._segments

    def _measure(self) -> None:
        """See how long the one is that is written to."""
        if self._disk is not None and self._segments:
            last = self._segments[-1]
            last.end, last.size = self._disk.offset, self._disk.size

    @property
    def start(self) -> int | None:
        """The first offset on disk."""
        return self._segments[0].start if self._segments else None

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return sum(it.size for it in self.segments)

    @property
    def superfluous(self) -> list[Segment]:
        """Those that a start does not need."""
        return [it for it in self._segments if it.superfluous]

    def covers(self, offset: int) -> bool:
        """Whether the log from an offset on is on disk."""
        segments = self.segments
        return bool(segments) and segments[0].start <= offset <= segments[-1].end

    def find(self, offset: int) -> Segment:
        """The segment that goes on at an offset; raises Lost."""
        segments = self.segments
        at = bisect_right(segments, offset, key=lambda it: it.start) - 1
        if at < 0 or offset > segments[-1].end:
            raise Lost(f"offset {offset} is not on disk")
        return segments[at]

    def path(self, segment: Segment) -> str:
        return f"{self._folder}/{segment.name}"

    @property
    def times(self) -> Sequence[tuple[int, int]]:
        """From which offset on what was written when, by this process."""
        return self._disk.times if self._disk is not None else ()

    # How it comes about

    def load(self, directory: Directory, age_s: float) -> None:
        """What a directory has that was just read; ``age_s`` is what to add to a file's time."""
        manifest, files = directory.manifest, directory.files
        history = History(directory.history, directory.lineage)
        end = directory.offset
        found: list[Segment] = []
        increments = [it for it in manifest.history if it.name.endswith(".incr.aof")]
        increments = [*sorted(increments, key=_number), *manifest.increments]
        for it in reversed(increments):
            path = directory.path(it.name)
            try:
                size = files.size(path)
                if not size:
                    continue
                old = it in manifest.history
                begun = _start(files, path, history) if old else directory.starts.get(it.name)
                closed_s = files.modified_s(path) + age_s
            except OSError:
                break
            if begun is None or begun > end:
                break
            found.append(Segment(it.name, begun, end, size, closed_s, old))
            end = begun
        self._segments = found[::-1]

    def switch(self, folder: str, file: File, disk: Disk, now_s: float) -> None:
        """The log goes on in a file, at the offset where the disk is now."""
        end = self._segments[-1].end if self._segments else 0
        kept = [it for it in self._segments if it.name != file.name]
        if kept:
            kept[-1].closed_s = now_s
        if end != disk.begun:
            kept = []
        self._folder = folder
        self._disk = disk
        self._segments = [*kept, Segment(file.name, disk.begun, disk.begun, 0, marks=disk.marks)]

    def settle(self) -> None:
        """The file that is written to is about to change: note where this one ends."""
        self._measure()
        self._disk = None

    def clear(self) -> None:
        """The log is not on disk any more, or is another."""
        self._segments, self._disk = [], None
        for slot in self.slots:
            slot.lost = True

    def rebased(self, first: str) -> None:
        """A new base: only from this file on does a start need them."""
        for it in self._segments:
            if it.name == first:
                break
            it.superfluous = True

    # How it goes

    def take(self, name: str, offset: int) -> Slot:
        """A slot: nothing from this offset on goes, within the limit.  `release` it."""
        slot = Slot(name, offset)
        slot.lost = not self.covers(offset)
        self.slots.append(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """Whoever had it needs nothing more."""
        self.slots.remove(slot)

    def shrink(self, limits: Limits, now_s: float, kept: int | None = None) -> list[Segment]:
        """Give up what is superfluous and may go, nothing behind ``kept``; those segments."""
        needed = min((slot.offset for slot in self.slots if not slot.lost), default=None)
        count = surplus(self.superfluous, limits, needed, now_s, kept)
        return self._drop(count)

    def condemn(self, segment: Segment) -> None:
        """It cannot be read: nothing up to its end can be served any more."""
        if segment in self.segments:
            self._drop(self._segments.index(segment) + 1)

    def _drop(self, count: int) -> list[Segment]:
        gone = self._segments[:count]
        del self._segments[:count]
        for slot in self.slots:
            slot.lost = slot.lost or (bool(gone) and slot.offset < gone[-1].end)
        return gone

    @property
    def names(self) -> set[str]:
        """The files that are not to be deleted."""
        return {it.name for it in self._segments}


def _number(file: File) -> int:
    return file.number


def _start(files: Files, path: str, history: History) -> int | None:
    """The offset at which a file begins; None if it is no segment of this history."""
    reader = Reader()
    reader.feed(files.read(path, 0, LINE))
    try:
        next(iter(reader), None)
    except Damaged:
        return None
    if reader.start is None or not history.holds(reader.history, reader.start):
        return None
    return reader.start
