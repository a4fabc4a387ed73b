"""The file system, as far as the log needs it: a small object, so that tests can put in another.

Every method may raise OSError.  Files are for their owner alone, and no symbolic link is followed
at the end of a path that is written.
"""

from __future__ import annotations

import os
from contextlib import suppress

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Files:
    """The real one."""

    def create(self, path: str) -> int:
        """A descriptor for appending to a new file, which replaces an old one."""
        return os.open(path, _NEW, 0o600)

    def write(self, descriptor: int, data: bytes) -> int:
        """Append; how many bytes were taken."""
        return os.write(descriptor, data)

    def cut(self, descriptor: int, size: int) -> None:
        """Take what is behind ``size`` off the file."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Return when the file's content is on the disk for good."""
        os.fdatasync(descriptor)

    def sync_file(self, path: str) -> None:
        """``sync`` of a file that is not open."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file that is not open, for good."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def make_folder(self, path: str) -> None:
        """Make a folder for good, if it is not there."""
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        # In any case: who made it may have been killed before it came to this.
        self.sync_folder(os.path.dirname(path))

    def sync_folder(self, path: str) -> None:
        """Return when the names in a folder are on the disk for good."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def names(self, path: str) -> list[str]:
        """What is in a folder; nothing, if there is none."""
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def modified_s(self, path: str) -> float:
        """When the file was written last, in seconds since 1970."""
        return os.stat(path).st_mtime

    def read(self, path: str, at: int, most: int) -> bytes:
        """Up to ``most`` bytes of a file from ``at`` on; none at its end."""
        with open(path, "rb", buffering=0) as file:
            file.seek(at)
            return file.read(most)
