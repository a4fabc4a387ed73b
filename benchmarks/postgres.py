"""A PostgreSQL of one's own for a benchmark, with the settings that it comes with."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import peers
from benchmarks.peers import Unavailable

START_S = 60.0


def _programs() -> str:
    """The folder of initdb and postgres, the newest where there are several."""
    if found := shutil.which("initdb"):
        return os.path.dirname(os.path.realpath(found))
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    if not folders:
        raise Unavailable("PostgreSQL is not installed: name one with --postgres")
    return max(folders, key=lambda it: int(it.split("/")[4]))


@contextmanager
def running() -> Iterator[str]:
    """Its address, until the block ends."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="distcache-bench-postgres-"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses root
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    data, port = str(folder / "data"), peers.free_port()
    try:
        subprocess.run(
            [f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            user=user,
            env=environment,
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(f"{programs}/postgres", "-D", data, f"-p{port}"),
                    *("-cunix_socket_directories=", f"-clisten_addresses={peers.LOOPBACK}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                user=user,
                env=environment,
            )
        try:
            _wait(programs, process, port)
            yield f"postgresql://postgres@{peers.LOOPBACK}:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(programs: str, process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_S
    asks = [f"{programs}/pg_isready", "-q", "-h", peers.LOOPBACK, "-p", str(port)]
    while subprocess.run(asks, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("PostgreSQL did not start")
        time.sleep(0.05)
