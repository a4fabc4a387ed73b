"""A disk in memory for tests: fails when told to, and loses what was not flushed when told to."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from distcache_replication.disk import Done
from distcache_replication.files import Files


class PowerCut(Exception):
    """The machine went off: nothing more is done."""


class _Content:
    def __init__(self) -> None:
        self.data = bytearray()
        self.flushed = b""


class MemoryFiles(Files):
    """Files in memory.  ``fail`` is asked before each step, and raises what is to go wrong."""

    def __init__(self) -> None:
        self.content: dict[str, _Content] = {}
        self.flushed: dict[str, _Content] = {}
        """Names that a power cut leaves."""
        self.open: dict[int, _Content] = {}
        self.steps: list[str] = []
        self.fail: Callable[[int, str], None] = lambda _, __: None
        """Told the number of the step and its kind."""
        self._next = 100

    def _step(self, kind: str) -> None:
        self.steps.append(kind)
        self.fail(len(self.steps), kind)

    def create(self, path: str) -> int:
        self._step("create")
        content = self.content.get(path)
        if content is None:
            content = self.content[path] = _Content()
        content.data.clear()
        self._next += 1
        self.open[self._next] = content
        return self._next

    def write(self, descriptor: int, data: bytes) -> int:
        try:
            self._step("write")
        except OSError:
            # A part of it gets there all the same.
            self.open[descriptor].data += data[: len(data) // 2]
            raise
        self.open[descriptor].data += data
        return len(data)

    def cut(self, descriptor: int, size: int) -> None:
        self._step("cut")
        del self.open[descriptor].data[size:]

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        content = self.open[descriptor]
        content.flushed = bytes(content.data)

    def sync_file(self, path: str) -> None:
        self._step("sync_file")
        content = self.content[path]
        content.flushed = bytes(content.data)

    def close(self, descriptor: int) -> None:
        # It is closed whether that goes well or not.
        del self.open[descriptor]
        self._step("close")

    def truncate(self, path: str, size: int) -> None:
        self._step("truncate")
        content = self.content[path]
        del content.data[size:]
        content.flushed = bytes(content.data)

    def rename(self, old: str, new: str) -> None:
        self._step("rename")
        self.content[new] = self.content.pop(old)

    def remove(self, path: str) -> None:
        self._step("remove")
        self.content.pop(path, None)

    def make_folder(self, path: str) -> None:
        self._step("make_folder")

    def sync_folder(self, path: str) -> None:
        self._step("sync_folder")
        self.flushed = dict(self.content)

    def names(self, path: str) -> list[str]:
        return [name.removeprefix(f"{path}/") for name in self.content if name.startswith(path)]

    def size(self, path: str) -> int:
        return len(self._found(path).data)

    def modified_s(self, path: str) -> float:
        return 0.0

    def read(self, path: str, at: int, most: int) -> bytes:
        return bytes(self._found(path).data[at : at + most])

    def _found(self, path: str) -> _Content:
        if path not in self.content:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self.content[path]

    def after_crash(self) -> MemoryFiles:
        """What another process finds when this one was killed."""
        return self._left(self.content, lambda content: bytes(content.data))

    def after_kill(self) -> MemoryFiles:
        """``after_crash``, where what was not flushed may still be lost to a power cut."""
        files = self.after_crash()
        for name, content in self.content.items():
            files.content[name].flushed = content.flushed
        files.flushed = {name: files.content[name] for name in self.flushed if name in self.content}
        return files

    def after_power_cut(
        self, kept: float = 0.0, holes: tuple[random.Random, int] | None = None
    ) -> MemoryFiles:
        """What is left after a power cut: what was flushed, and some of what was written behind.

        That is its beginning; or, with ``holes``, any of its blocks of that size.
        """

        def left(content: _Content) -> bytes:
            data = bytes(content.data)
            if not data.startswith(content.flushed):
                return content.flushed
            if holes is not None:
                return content.flushed + _with_holes(data[len(content.flushed) :], *holes)
            extra = len(data) - len(content.flushed)
            return data[: len(content.flushed) + int(extra * kept)]

        return self._left(self.flushed, left)

    @staticmethod
    def _left(names: dict[str, _Content], data: Callable[[_Content], bytes]) -> MemoryFiles:
        files = MemoryFiles()
        for name, content in names.items():
            files.content[name] = found = _Content()
            found.flushed = data(content)
            found.data = bytearray(found.flushed)
        files.flushed = dict(files.content)
        return files


def _with_holes(data: bytes, draw: random.Random, block: int) -> bytes:
    pieces = [data[at : at + block] for at in range(0, len(data), block)]
    return b"".join([piece if draw.random() < 0.5 else bytes(len(piece)) for piece in pieces])


def nth(
    number: int, error: int = errno.ENOSPC, lasting: bool = False
) -> Callable[[int, str], None]:
    """For ``MemoryFiles.fail``: this step fails, and those behind it too if it is ``lasting``."""

    def fail(step: int, _: str) -> None:
        if step == number or (lasting and step > number):
            raise OSError(error, "told to fail")

    return fail


def cut_power(number: int) -> Callable[[int, str], None]:
    """For ``MemoryFiles.fail``: at this step the power goes."""

    def fail(step: int, _: str) -> None:
        if step >= number:
            raise PowerCut

    return fail


def at_once(work: Callable[[], None], done: Done) -> None:
    """Runs what is meant for a thread here and now."""
    error = None
    try:
        work()
    except OSError as caught:
        error = caught
    done(error)


class Later:
    """Runs what is meant for a thread when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Done]] = []

    def __call__(self, work: Callable[[], None], done: Done) -> None:
        self.waiting.append((work, done))

    def run(self) -> None:
        work, done = self.waiting.pop(0)
        at_once(work, done)


__all__ = ["Later", "MemoryFiles", "PowerCut", "at_once", "cut_power", "nth"]
