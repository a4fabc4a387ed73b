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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
EXCLUSIONS = HERE / "redis_py.toml"


class Unavailable(Exception):
    """The source package cannot be had; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    counts: dict[str, int]
    failures: dict[str, str]
    """Test to traceback."""
    unused: list[str]
    """Exclusions that no longer exclude anything."""

    def summary(self) -> str:
        counts = {"failed": len(self.failures), **self.counts}
        names = ("passed", "failed", "skipped", "excluded")
        return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)


def source() -> Path:
    """The folder of the unpacked source package, downloaded when it is not there yet."""
    version = tomllib.loads(EXCLUSIONS.read_text())["redis-py"]
    folder = CACHE / f"redis-{version}"
    with _lock():
        if not folder.exists():
            _download(version)
    return folder


def run(address: tuple[str, int], protocol: int, scratch: Path, ours: bool) -> Outcome:
    """Run the suite against the server at `address`, whose databases it flushes."""
    outcome = scratch / "outcome.json"
    log = scratch / "log"
    host, port = address
    command = [
        *(sys.executable, "-m", "pytest"),
        *("-p", "redis_py_plugin", f"--exclusions={EXCLUSIONS}", f"--outcome={outcome}"),
        *("--rootdir=.", "--config-file=pyproject.toml"),
        *("-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-q", "--tb", "short"),
        *("--redis-url", f"redis://{host}:{port}/0", "--protocol", str(protocol)),
        *(() if ours else ("--reported-version",)),
        ".",  # naming "tests" would load the conftest of every folder in it
    ]
    with log.open("wb") as output:
        subprocess.run(
            command,
            check=False,  # what failed is in the outcome
            cwd=source(),
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if not outcome.exists():
        raise AssertionError(f"the suite did not run:\n{log.read_text()[-4000:]}")
    return Outcome(**json.loads(outcome.read_text()))


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
