"""A machine whose power can be cut: a directory in a file system of its own (filesystem.py)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import eventually

FILE_SYSTEM = str(Path(__file__).with_name("filesystem.py"))


def missing() -> str | None:
    """Why there can be no such file system here; None where it can be."""
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        return f"mfusepy cannot be used: {error}"
    if shutil.which("fusermount3") is None:
        return "fusermount3 is not installed (package fuse3)"
    return None


class Machine:
    """The file system is mounted at ``mount`` until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "mount"
        self.mount.mkdir(parents=True)
        self.log_file = folder / "filesystem.log"
        ours, theirs = socket.socketpair()
        with self.log_file.open("wb") as log, theirs:
            self.process = subprocess.Popen(
                [sys.executable, FILE_SYSTEM, str(self.mount), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        ours.settimeout(30)
        self._control = ours.makefile("rw")
        ours.close()
        eventually(lambda: self.mount.is_mount() or self.process.poll() is not None, 60)
        assert self.mount.is_mount(), self.log_file.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, **command: object) -> dict[str, int]:
        self._control.write(json.dumps(command) + "\n")
        self._control.flush()
        answer: dict[str, int] = json.loads(self._control.readline())
        return answer

    def cut(self, how: str = "drop", seed: int = 0) -> None:
        """Cut the power: what was not flushed is lost, as ``how`` says, and open files fail."""
        self._tell(do="cut", how=how, seed=seed)

    def cut_at(self, step: str, skip: int, *, name: str = "", how: str = "drop") -> None:
        """Cut it at a step of a kind, on a file with ``name`` in its own, after some others."""
        self._tell(do="cut_at", step=step, skip=skip, name=name, how=how)

    @property
    def is_off(self) -> bool:
        return bool(self._tell(do="is_off")["off"])

    def turn_on(self) -> None:
        """The power is back.  Whoever had files open must be gone by then."""
        self._tell(do="on")

    def slow(self, seconds: float) -> None:
        """Let flushes take some time, so much at most."""
        self._tell(do="slow", seconds=seconds)

    def settle(self) -> None:
        """All that there is counts as flushed."""
        self._tell(do="settle")

    def fail(
        self, step: str, error: int, *, name: str = "", skip: int = 0, times: int = -1
    ) -> None:
        """Let steps of a kind fail: on files with ``name`` in theirs, after ``skip`` good ones."""
        self._tell(do="fail", step=step, error=error, name=name, skip=skip, times=times)

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._tell(do="heal")

    def limit(self, size: int | None) -> None:
        """The disk is full with so many bytes more than there are; or never."""
        self._tell(do="limit", size=size)

    def count(self, step: str) -> int:
        """How often a step was done so far."""
        return self._tell(do="count", step=step)["count"]

    def close(self) -> None:
        subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


__all__ = ["Machine", "missing"]
