"""Runs redis-py's own test suite, from its published source package, against a server.

The package is downloaded once into `.cache/`. Which version, and what is left out of it and why, is
in `redis_py.toml`.
"""

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
EXCLUSIONS = HERE / "redis_py.toml"
PARTS = ("asyncio", "other")
"""Half of the time the suite waits, so that its parts run side by side."""
REPEATS = 2
"""Its tests give a message 0.2 s to come, and look at the clock: those that fail are repeated."""
_BELIEVE = ("--reported-version",)


class Unavailable(Exception):
    """The source package cannot be had; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    counts: dict[str, int]
    passed: list[str]
    failures: dict[str, str]
    """Test to traceback."""
    unused: list[str]
    """Exclusions that no longer exclude anything."""

    def summary(self) -> str:
        counts = {"failed": len(self.failures), **self.counts}
        names = ("passed", "failed", "skipped", "excluded", "repeated")
        return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)


def source() -> Path:
    """The folder of the unpacked source package, downloaded when it is not there yet."""
    version = tomllib.loads(EXCLUSIONS.read_text())["redis-py"]
    folder = CACHE / f"redis-{version}"
    with _lock():
        if not folder.exists():
            _download(version)
    return folder


def run(serve: Callable[[], tuple[str, int]], protocol: int, scratch: Path, ours: bool) -> Outcome:
    """Run the suite; what fails each time that it is repeated, on new servers, has failed."""
    outcome = _run(serve, protocol, scratch / "first", ours)
    for number in range(REPEATS):
        if not outcome.failures:
            break
        again = _run(serve, protocol, scratch / f"again-{number}", ours, outcome.failures)
        left = {it: why for it, why in outcome.failures.items() if it not in again.passed}
        counts = Counter(outcome.counts)
        counts.update(passed=len(outcome.failures) - len(left), repeated=len(outcome.failures))
        outcome = replace(outcome, counts=counts, failures=left)
    return outcome


def _run(
    serve: Callable[[], tuple[str, int]],
    protocol: int,
    scratch: Path,
    ours: bool,
    only: Collection[str] = (),
) -> Outcome:
    """Run the parts side by side, all tests or some, each on a server that it may flush."""
    scratch.mkdir()
    (scratch / "only").write_text(json.dumps([*only]))
    folders = [scratch / part for part in PARTS]
    commands = []
    for part, folder in zip(PARTS, folders, strict=True):
        folder.mkdir()
        host, port = serve()
        options = ["--part", part, "--redis-url", f"redis://{host}:{port}/0"]
        options += ["--only", str(scratch / "only")] if only else []
        options += [] if ours else _BELIEVE
        commands.append(_start(folder, protocol, options))
    try:
        for command in commands:
            command.wait()  # what failed is in the outcome
    finally:
        for command in commands:
            command.kill()
    return _together([_outcome(folder) for folder in folders])


def _start(folder: Path, protocol: int, options: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "pytest"),
        *("-p", "redis_py_plugin", f"--exclusions={EXCLUSIONS}", f"--outcome={folder / 'outcome'}"),
        *("--rootdir=.", "--config-file=pyproject.toml"),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-q", "--tb", "short"),
        *("--protocol", str(protocol), *options),
        ".",  # naming "tests" would load the conftest of every folder in it
    ]
    with (folder / "log").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=source(),
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _outcome(folder: Path) -> Outcome:
    if not (folder / "outcome").exists():
        raise AssertionError(f"the suite did not run:\n{(folder / 'log').read_text()[-4000:]}")
    return Outcome(**json.loads((folder / "outcome").read_text()))


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    counts = Counter[str]()
    passed: list[str] = []
    failures: dict[str, str] = {}
    for outcome in outcomes:
        counts.update(outcome.counts)
        passed += outcome.passed
        failures.update(outcome.failures)
    unused = set.intersection(*(set(outcome.unused) for outcome in outcomes))
    return Outcome(counts, passed, failures, sorted(unused))


def _download(version: str) -> None:
    """pip checks the package against the hash that the index gives for it."""
    what = ("--no-deps", "--no-binary", "redis", f"redis=={version}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(CACHE), *what]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(done.stderr.strip().splitlines()[-1])
    # Unpacked aside and renamed, so that a folder that exists is whole.
    aside = CACHE / f"unpacking-{version}"
    with tarfile.open(CACHE / f"redis-{version}.tar.gz") as archive:
        # Before 3.11.4, and so in Debian 12, Python knows no filters; pip has checked the file.
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(aside, **safely)  # noqa: S202
    (aside / f"redis-{version}").rename(CACHE / f"redis-{version}")
    aside.rmdir()


@contextmanager
def _lock() -> Iterator[None]:
    """Test workers run side by side and share the cache."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
