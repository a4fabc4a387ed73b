"""The append-only directory: which files there are, replaced one step at a time; reading them back.

Every step leaves a directory from which a start gets everything: a file is complete and flushed
before the manifest names it, and the manifest is replaced in one go.  A directory in which
something is wrong is refused, naming file and offset and what to do, rather than loaded in part.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

from distcache_replication.files import Files
from distcache_replication.manifest import (
    BASE,
    HISTORY,
    INCREMENT,
    BadManifest,
    File,
    Manifest,
    Quote,
    Split,
    decode,
    encode,
)
from distcache_replication.segment import LINE, Batch, Damaged, Reader, Torn, was_flushed

CHUNK = 1 << 20
"""Bytes read at a time."""
MANIFEST_MOST = 16 << 20
ZEROS = 2
"""So many zeros at the end of a file are what a power cut left of a write."""

RESTORE = "put the file back from a backup or from a replica"
FIX = "keep a copy of the directory, then cut the file there with redis-check-aof --fix"


class Refused(Exception):
    """The directory cannot be loaded as it is: where, why, and what to do."""

    def __init__(self, path: str, at: int | None, reason: str, cure: str) -> None:
        where = path if at is None else f"{path} at offset {at}"
        super().__init__(f"{where}: {reason}. To go on: {cure}")
        self.path = path
        self.at = at


@dataclass(frozen=True)
class Cut:
    """A torn tail that was taken off."""

    path: str
    at: int
    size: int


class Directory:
    """The files of one log, on a file system."""

    def __init__(self, files: Files, folder: str, name: str, split: Split, quote: Quote) -> None:
        self.files = files
        self.folder = folder
        self.name = name
        self._split = split
        self._quote = quote
        self.manifest = Manifest()
        self.cut: Cut | None = None
        self.history = ""
        """The history of the last file that tells one ..."""
        self.lineage: list[tuple[str, int]] = []
        """... and the former ones, each with the offset where it was left."""
        self.offset = 0
        """Where the files end, in that history."""
        self._known = False
        """``offset`` is where the next increment must begin."""
        self.checked = 0
        """Up to where the history is really ours: Redis may have written what comes behind."""
        self.starts: dict[str, int] = {}
        """The offsets at which increments begin that are wholly ours, by name."""
        self._idle = ""
        """An increment without commands."""
        self.unfinished = False
        """What is there never was a log: its first base was not completed."""

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @property
    def _manifest_path(self) -> str:
        return self.path(f"{self.name}.manifest")

    # Reading

    def open(self) -> bool:
        """Read the manifest; False where there is no log yet.  Raises Refused."""
        path = self._manifest_path
        names = self.files.names(self.folder)
        if os.path.basename(path) not in names:
            left = self._left(names)
            self.unfinished = bool(left) and self._unfinished().issuperset(left)
            if left and not self.unfinished:
                reason = f"the manifest is missing, and there are files of the log ({left[0]})"
                raise Refused(path, None, reason, f"{RESTORE}, or move the files away")
            return False
        try:
            self.manifest = decode(self.files.read(path, 0, MANIFEST_MOST), self._split)
        except BadManifest as error:
            where = f"{path} line {error.line}" if error.line else path
            raise Refused(where, None, error.reason, RESTORE) from None
        self._find_holes(names)
        return True

    def _left(self, names: list[str]) -> list[str]:
        """The files of a log, where there is no manifest; nothing is lost with an empty one."""
        found = sorted(name for name in names if name.startswith(f"{self.name}."))
        return [name for name in found if self.files.size(self.path(name))]

    @property
    def _unfinished_path(self) -> str:
        return self.path(f"temp-{self.name}.unfinished")

    def _unfinished(self) -> set[str]:
        """The files of a log that is to have its first manifest when its base is complete."""
        try:
            found = decode(self.files.read(self._unfinished_path, 0, MANIFEST_MOST), self._split)
        except (OSError, BadManifest):
            return set()
        return {file.name for file in (*found.files, *found.history)}

    def _find_holes(self, names: list[str]) -> None:
        numbers = [file.number for file in self.manifest.increments]
        for one, other in pairwise(numbers):
            if other != one + 1:
                reason = f"the increment {one + 1} is missing between {one} and {other}"
                raise Refused(self._manifest_path, None, reason, RESTORE)
        for file in self.manifest.files:
            path = self.path(file.name)
            if file.name not in names:
                raise Refused(path, None, "the manifest names it, but it is missing", RESTORE)
            if file.size is not None and (size := self.files.size(path)) != file.size:
                raise Refused(path, size, f"it should have {file.size} bytes", RESTORE)
        base = self.manifest.base
        self._known = base is None or base.offset is not None
        self.offset = self.checked = (base.offset if base else None) or 0

    @property
    def size(self) -> int:
        """Bytes in the files that are to be loaded."""
        return sum(self.files.size(self.path(file.name)) for file in self.manifest.files)

    def is_snapshot(self, file: File) -> bool:
        """Whether the file begins with a snapshot."""
        return self.files.read(self.path(file.name), 0, 5) == b"REDIS"

    def read(self, file: File, cut_torn: bool, at: int = 0) -> Iterator[Batch]:
        """The commands in a file behind ``at``; cuts a torn tail if it may.  Raises Refused."""
        path = self.path(file.name)
        reader = Reader(at)
        position = at
        try:
            while data := self.files.read(path, position, CHUNK):
                position += len(data)
                reader.feed(data)
                yield from reader
            reader.finish()
        except Damaged as error:
            self._torn(file, error, cut_torn, reader)
        if file.type == INCREMENT:
            self._note(file, path, reader)

    def _note(self, file: File, path: str, reader: Reader) -> None:
        """See that the file goes on where the one before it ended."""
        if reader.start is None:
            self.offset += reader.offset
            return
        if self._known and reader.start != self.offset:
            reason = f"it begins at {reader.start} of the log, but what is before it ends at "
            raise Refused(path, 0, f"{reason}{self.offset}", RESTORE)
        self._known = True
        self.history, self.lineage = reader.history, reader.lineage
        self.offset, self.checked = reader.offset, reader.checked
        if reader.offset == reader.start:
            self._idle = file.name
        if reader.offset == reader.checked:
            self.starts[file.name] = reader.start

    def _torn(self, file: File, error: Damaged, cut_torn: bool, reader: Reader) -> None:
        """A record is not whole: take it off where it is the last, else refuse."""
        path = self.path(file.name)
        size = self.files.size(path)
        torn = (
            isinstance(error, Torn)
            or self._ends_in_zeros(path, error.at, error.seen, size)
            or self._is_unflushed(path, error.at, reader)
        )
        behind = self.manifest.increments
        behind = behind[behind.index(file) + 1 :] if file in behind else behind
        empty = not any(self.files.size(self.path(other.name)) for other in behind)
        if not torn:
            raise Refused(
                path, error.at, error.reason, f"{RESTORE}; or {FIX}, which loses the rest"
            )
        if file.type == BASE or not empty:
            raise Refused(path, error.at, f"{error.reason}, and it is not the last file", RESTORE)
        if not cut_torn:
            raise Refused(path, error.at, error.reason, f"set aof-load-truncated to yes; or {FIX}")
        self.take_off(path, error.at)

    def take_off(self, path: str, at: int) -> None:
        """Cut the tail of a file off."""
        size = self.files.size(path)
        self.files.truncate(path, at)
        self.cut = Cut(path, at, size - at)

    def _ends_in_zeros(self, path: str, at: int, seen: int, size: int) -> bool:
        """Whether nothing but zeros is left from within the record to the end of the file."""
        position = seen
        start = position
        while data := self.files.read(path, position, CHUNK):
            if data.strip(b"\0"):
                return False
            position += len(data)
        # The zeros may begin before the end of the record.
        record = self.files.read(path, at, start - at)
        zeros = len(record) - len(record.rstrip(b"\0")) + size - start
        return zeros >= ZEROS

    def _is_unflushed(self, path: str, at: int, reader: Reader) -> bool:
        """Whether flushes were told, and none since the record there was written."""
        if reader.flushed is None:
            return False
        rest = b""
        while data := self.files.read(path, at, CHUNK):
            at += len(data)
            if was_flushed(rest + data, reader.offset):
                return False
            rest = data[-LINE:]
        return True

    # Writing.  All of this may raise OSError, and then the manifest is what it was.

    def create(self) -> tuple[File, int]:
        """The next increment, empty, and a descriptor for it; then `add` it."""
        self.files.make_folder(self.folder)
        file = self._next_increment
        path = self.path(file.name)
        # A file of this name that no manifest knows is not just emptied: a power cut could bring
        # back what was in it.
        self.files.remove(path)
        return file, self.files.create(path)

    @property
    def _next_increment(self) -> File:
        number = self.manifest.next_increment
        return File(f"{self.name}.{number}.incr.aof", number, INCREMENT)

    def _next_base(self, kind: str) -> File:
        number = self.manifest.next_base
        return File(f"{self.name}.{number}.base.{kind}", number, BASE)

    def create_first(self) -> tuple[File, int]:
        """`create`, where the manifest learns of the increment only with a base.

        Until there is a first manifest a file says that what is there is no log yet.
        """
        files = self.files
        left = self._left(files.names(self.folder))
        if not self.manifest.files and self._unfinished().issuperset(left):
            files.make_folder(self.folder)
            base, other = self._next_base("rdb"), self._next_base("aof")
            manifest = Manifest(base, (self._next_increment,), (replace(other, type=HISTORY),))
            self._write(self._unfinished_path, manifest)
            files.sync_folder(self.folder)
        return self.create()

    def add(self, file: File) -> None:
        """Take an increment into the manifest."""
        self._replace(self.manifest.with_increment(file))

    def begin(self) -> tuple[File, int]:
        """The increment to go on in at a start: the last one, if there is nothing in it."""
        self.settle()
        for last in self.manifest.increments[-1:]:
            path = self.path(last.name)
            if last.name == self._idle or not self.files.size(path):
                return last, self.files.create(path)
        return self.append()

    def append(self) -> tuple[File, int]:
        """`create` and `add`."""
        file, descriptor = self.create()
        try:
            self.add(file)
        except OSError:
            self.files.close(descriptor)
            raise
        return file, descriptor

    def settle(self) -> None:
        """Flush what was loaded: who wrote it may have been killed before the flush.

        What comes behind would else be there without it after a power cut.
        """
        self.files.make_folder(self.folder)
        for file in self.manifest.files:
            self.files.sync_file(self.path(file.name))
        self.files.sync_folder(self.folder)

    def temporary_base(self, token: str) -> str:
        """Where a base is written before it is one."""
        return self.path(f"temp-{self.name}.{token}.base")

    def rebase(
        self,
        temporary: str,
        snapshot: bool,
        offset: int,
        *increments: File,
        anew: bool = False,
    ) -> None:
        """Give the log a base, written and flushed, in place of all that there is.

        At ``offset`` the log goes on, in these increments; ``anew`` if nothing leads up to there.
        """
        base = self._next_base("rdb" if snapshot else "aof")
        base = replace(base, size=self.files.size(temporary), offset=offset)
        self.files.rename(temporary, self.path(base.name))
        first = not self.manifest.files
        self._replace(self.manifest.rebased(base, increments, anew))
        if first:
            with suppress(OSError):
                self.files.remove(self._unfinished_path)

    def clean_up(self) -> None:
        """Delete what a rewrite left that did not come to its end; only at a start."""
        for name in self.files.names(self.folder):
            if name.startswith(f"temp-{self.name}."):
                self.files.remove(self.path(name))

    def clean(self, kept: Container[str] = ()) -> None:
        """Delete the files that are history, but for those with these names."""
        manifest = self.manifest
        gone = [file for file in manifest.history if file.name not in kept]
        if gone:
            # Before the manifest forgets them, so that none is left that nobody knows of.
            for file in gone:
                self.files.remove(self.path(file.name))
            history = tuple(file for file in manifest.history if file not in gone)
            self._replace(replace(manifest, history=history))

    def _replace(self, manifest: Manifest) -> None:
        files, path = self.files, self._manifest_path
        temporary = self.path(f"temp-{self.name}.manifest")
        self._write(temporary, manifest)
        # The files that it names first, so that it never names one that is not there.
        files.sync_folder(self.folder)
        files.rename(temporary, path)
        self.manifest = manifest
        files.sync_folder(self.folder)

    def _write(self, path: str, manifest: Manifest) -> None:
        files = self.files
        descriptor = files.create(path)
        try:
            data = encode(manifest, self._quote)
            while data:
                data = data[files.write(descriptor, data) :]
            files.sync(descriptor)
        finally:
            files.close(descriptor)
