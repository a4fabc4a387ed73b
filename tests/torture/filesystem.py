"""A file system in memory that knows what was flushed, and loses the rest when it is told to.

``python tests/torture/filesystem.py MOUNTPOINT CONTROL`` serves it by FUSE; CONTROL is the number
of a socket, over which commands come as lines of JSON (see machine.py).

What a real disk promises, and no more: the content of a file is there for good after fsync of the
file, a name (of a new, renamed or deleted file) after fsync of its folder.  A flush that fails is
final: what it should have flushed is never there for good, even if a later flush is said to be good
(that is how Linux behaves).  While the power is off everything fails; open files stay so for ever.
"""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import random
import signal
import socket
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import mfusepy

F = TypeVar("F", bound=Callable[..., Any])
BLOCK = 4096
PIECE = 2048
"""Bytes that reach the disk together or not at all."""
SPACE = 1 << 32


class Node:
    """A file or a folder: what it holds now, and what a power cut leaves of that."""

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.data = bytearray()
        self.flushed = bytearray()
        self.dirty: int | None = None
        """Where the first byte is that was changed since the last flush."""
        self.spoiled = False
        """A flush failed: later ones are of no use."""
        self.names: dict[str, Node] = {}
        self.flushed_names: dict[str, Node] = {}
        self.changes: list[dict[str, Node | None]] = []
        """What became of names since the last flush of the folder, step by step."""
        self.changed_ns = time.time_ns()

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def touch(self, at: int) -> None:
        self.dirty = at if self.dirty is None else min(self.dirty, at)
        self.changed_ns = time.time_ns()

    def change(self, changes: dict[str, Node | None]) -> None:
        """Names come and go, in one step."""
        self.changes.append(changes)
        _apply(self.names, changes)

    def survivor(self, how: str, draw: random.Random) -> Node:
        """What a power cut leaves."""
        left = Node(self.mode)
        if self.is_folder:
            names = dict(self.flushed_names)
            if how == "keep":
                kept = self.changes
            elif how in ("random", "holes"):
                kept = [each for each in self.changes if draw.random() < 0.5]
            elif how == "zeros":
                kept = self.changes[: draw.randint(0, len(self.changes))]
            else:
                kept = []
            for changes in kept:
                _apply(names, changes)
            left.names = {name: node.survivor(how, draw) for name, node in names.items()}
            left.flushed_names = dict(left.names)
        else:
            left.data = self._left(how, draw)
            left.flushed = bytearray(left.data)
        return left

    def _left(self, how: str, draw: random.Random) -> bytearray:
        if how == "drop":
            return bytearray(self.flushed)
        if how == "keep":
            return bytearray(self.data)
        if not self.data.startswith(self.flushed):
            return bytearray(draw.choice([self.data, self.flushed]))
        if how == "holes":
            return self._with_holes(draw)
        end = draw.randint(len(self.flushed), len(self.data))
        zeros = len(self.data) - end if how == "zeros" else 0
        return self.data[:end] + bytes(zeros)

    def _with_holes(self, draw: random.Random) -> bytearray:
        """Of what was not flushed some blocks are there and others are not, in any order."""
        left, first = bytearray(self.data), len(self.flushed)
        for at in range(first - first % PIECE, len(left), PIECE):
            if draw.random() < 0.5:
                start, end = max(at, first), min(at + PIECE, len(left))
                left[start:end] = bytes(end - start)
        return left


def _apply(names: dict[str, Node], changes: dict[str, Node | None]) -> None:
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


@dataclass
class Fault:
    """Steps of a kind fail on some files: after ``skip`` good ones, ``times`` times."""

    step: str
    error: int
    name: str
    skip: int
    times: int


@dataclass
class Handle:
    node: Node
    path: str
    appends: bool = False


@dataclass
class Disk:
    """What is there, and what is to go wrong."""

    root: Node = field(default_factory=lambda: Node(stat.S_IFDIR | 0o755))
    is_off: bool = False
    faults: list[Fault] = field(default_factory=list)
    limit: int | None = None
    used: int = 0
    """Bytes since the limit was set."""
    counts: Counter[str] = field(default_factory=Counter)
    due: Fault | None = None
    """At this step the power goes, ..."""
    how: str = "drop"
    """... and this is left."""
    slow_s: float = 0.0
    """How long a flush takes at most."""


def step(method: F) -> F:
    """One step at a time; it fails where it is told to."""
    name = method.__name__

    @wraps(method)
    def inner(self: FileSystem, path: str | None, *arguments: Any) -> Any:
        with self.lock:
            self.meet(name, path or self.path_of(arguments))
            return method(self, path, *arguments)

    return inner  # type: ignore[return-value]


class FileSystem(mfusepy.Operations):  # type: ignore[misc]
    """The operations that FUSE asks for."""

    use_ns = True
    flag_nullpath_ok = True
    flag_nopath = False

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.disk = Disk()
        self.draw = random.Random(0)
        self.handles: dict[int, Handle] = {}
        self.next = 1

    # Help

    def path_of(self, arguments: tuple[Any, ...]) -> str:
        """The path of an open file whose name is gone: its handle comes last."""
        handle = self.handles.get(arguments[-1]) if arguments else None
        return handle.path if handle is not None else ""

    def meet(self, name: str, path: str) -> None:
        """Fail if the power is off, or where it was told so."""
        disk = self.disk
        if disk.is_off:
            raise OSError(errno.EIO, "the power is off")
        disk.counts[name] += 1
        due = disk.due
        if due is not None and due.step == name and due.name in path:
            due.skip -= 1
            if due.skip < 0:
                self.cut(disk.how, disk.counts[name])
                raise OSError(errno.EIO, "the power goes")
        for fault in disk.faults:
            if fault.step != name or fault.name not in path or not fault.times:
                continue
            if fault.skip:
                fault.skip -= 1
            else:
                fault.times -= 1
                raise OSError(fault.error, "told to fail")

    def find(self, path: str) -> Node:
        node = self.disk.root
        for name in path.strip("/").split("/") if path.strip("/") else ():
            if not node.is_folder:
                raise OSError(errno.ENOTDIR, path)
            if name not in node.names:
                raise OSError(errno.ENOENT, path)
            node = node.names[name]
        return node

    def place(self, path: str) -> tuple[Node, str]:
        """The folder of a path, and the name in it."""
        folder, name = os.path.split(path)
        return self.find(folder), name

    def handle(self, number: int) -> Handle:
        if number not in self.handles:
            raise OSError(errno.EIO, "opened before the power was cut")
        return self.handles[number]

    def opened(self, node: Node, path: str, flags: int) -> int:
        self.next += 1
        self.handles[self.next] = Handle(node, path, bool(flags & os.O_APPEND))
        return self.next

    def take(self, size: int) -> int:
        """How many bytes there is space for."""
        disk = self.disk
        if disk.limit is not None:
            size = min(size, disk.limit - disk.used)
            if size <= 0:
                raise OSError(errno.ENOSPC, "the disk is full")
            disk.used += size
        return size

    # Files

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        with self.lock:
            self.meet("getattr", path or "")
            node = self.find(path) if path is not None else self.handle(fh or 0).node
            time_ns = node.changed_ns
            return {
                "st_mode": node.mode,
                "st_size": len(node.data),
                "st_blocks": len(node.data) // 512,
                "st_nlink": 2 if node.is_folder else 1,
                "st_uid": os.getuid(),
                "st_gid": os.getgid(),
                **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), time_ns),
            }

    @step
    def create(self, path: str, mode: int, flags: int) -> int:
        folder, name = self.place(path)
        self.take(1)
        node = Node(stat.S_IFREG | (mode & 0o777))
        folder.change({name: node})
        return self.opened(node, path, flags)

    @step
    def open(self, path: str, flags: int) -> int:
        node = self.find(path)
        if flags & os.O_TRUNC:
            del node.data[:]
            node.touch(0)
        return self.opened(node, path, flags)

    @step
    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return bytes(self.handle(fh).node.data[offset : offset + size])

    @step
    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        handle = self.handle(fh)
        node = handle.node
        if handle.appends:
            offset = len(node.data)
        data = data[: self.take(len(data))]
        node.data[len(node.data) :] = bytes(max(offset - len(node.data), 0))
        node.data[offset : offset + len(data)] = data
        node.touch(offset)
        return len(data)

    @step
    def truncate(self, path: str | None, length: int, fh: int | None = None) -> None:
        node = self.handle(fh).node if fh else self.find(path or "")
        node.data[len(node.data) :] = bytes(max(length - len(node.data), 0))
        del node.data[length:]
        node.touch(length)

    @step
    def flush(self, path: str | None, fh: int) -> None:
        """A descriptor is closed."""

    def release(self, path: str | None, fh: int) -> None:
        with self.lock:
            self.handles.pop(fh, None)

    def fsync(self, path: str | None, datasync: int, fh: int) -> None:
        with self.lock:
            node = self.handle(fh).node
            try:
                self.meet("fsync", path or self.path_of((fh,)))
            except OSError:
                node.spoiled = True
                raise
            first, node.dirty = node.dirty, None
            if first is None:
                return
            data = bytes(node.data[first:])
            slow_s = self.draw.random() * self.disk.slow_s
        time.sleep(slow_s)
        with self.lock:
            if self.disk.is_off or fh not in self.handles:
                raise OSError(errno.EIO, "the power was cut")
            if not node.spoiled:
                node.flushed[first:] = data

    # Folders

    def opendir(self, path: str) -> int:
        with self.lock:
            self.meet("opendir", path)
            return self.opened(self.find(path), path, 0)

    @step
    def readdir(self, path: str | None, fh: int) -> list[str]:
        return [".", "..", *self.handle(fh).node.names]

    @step
    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> None:
        node = self.handle(fh).node
        node.flushed_names, node.changes = dict(node.names), []

    def releasedir(self, path: str | None, fh: int) -> None:
        self.release(path, fh)

    @step
    def mkdir(self, path: str, mode: int) -> None:
        folder, name = self.place(path)
        folder.change({name: Node(stat.S_IFDIR | (mode & 0o777))})

    @step
    def rmdir(self, path: str) -> None:
        folder, name = self.place(path)
        if self.find(path).names:
            raise OSError(errno.ENOTEMPTY, path)
        folder.change({name: None})

    @step
    def unlink(self, path: str) -> None:
        folder, name = self.place(path)
        self.find(path)
        folder.change({name: None})

    @step
    def rename(self, old: str, new: str) -> None:
        node = self.find(old)
        source, name = self.place(old)
        target, other = self.place(new)
        if source is target:
            source.change({name: None, other: node})
        else:
            source.change({name: None})
            target.change({other: node})

    # The rest

    @step
    def chmod(self, path: str, mode: int, fh: int | None = None) -> None:
        node = self.find(path)
        node.mode = stat.S_IFMT(node.mode) | mode & 0o777

    @step
    def chown(self, path: str, uid: int, gid: int, fh: int | None = None) -> None:
        self.find(path)

    @step
    def utimens(
        self, path: str, times: tuple[int, int] | None = None, fh: int | None = None
    ) -> None:
        self.find(path).changed_ns = times[1] if times else time.time_ns()

    @step
    def statfs(self, path: str) -> dict[str, int]:
        blocks = SPACE // BLOCK
        return {"f_bsize": BLOCK, "f_blocks": blocks, "f_bfree": blocks, "f_bavail": blocks}

    # What the test says

    def cut(self, how: str, seed: int) -> None:
        """The power goes."""
        disk = self.disk
        disk.root = disk.root.survivor(how, random.Random(seed))
        disk.is_off = True
        self.handles.clear()
        disk.faults, disk.limit, disk.due = [], None, None

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        disk = self.disk
        with self.lock:
            match command.pop("do"):
                case "cut":
                    self.cut(**command)
                case "cut_at":
                    disk.how = command.pop("how")
                    disk.due = Fault(**command, error=0, times=1)
                case "is_off":
                    return {"off": disk.is_off}
                case "on":
                    disk.is_off = False
                case "settle":
                    disk.root = disk.root.survivor("keep", self.draw)
                    self.handles.clear()
                case "fail":
                    disk.faults.append(Fault(**command))
                case "heal":
                    disk.faults, disk.limit = [], None
                case "limit":
                    disk.limit, disk.used = command["size"], 0
                case "slow":
                    disk.slow_s = command["seconds"]
                case "count":
                    return {"count": disk.counts[command["step"]]}
        return {}


def listen(files: FileSystem, control: socket.socket) -> None:
    with control, control.makefile("rw") as lines:
        for line in lines:
            lines.write(json.dumps(files.obey(json.loads(line))) + "\n")
            lines.flush()


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    files = FileSystem()
    control = socket.socket(fileno=int(sys.argv[2]))
    threading.Thread(target=listen, args=(files, control), daemon=True).start()
    mfusepy.FUSE(
        files,
        sys.argv[1],
        foreground=True,
        direct_io=True,
        hard_remove=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )


if __name__ == "__main__":
    main()
