"""What the daemon does with its process: the background, and the file with its number."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from distcache_server import logs

DEFAULT_PIDFILE = "/var/run/distcache-server.pid"


def daemonize() -> None:
    """Go into the background: a process without terminal, in a session that it does not lead."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)


@contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Keep the process id in a file, as long as the block runs; with an empty path, do nothing."""
    number = b"%d\n" % os.getpid()
    if path:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(path, flags, 0o644), "wb") as file:
                file.write(number)
        except OSError as error:
            logs.warning("Failed to write PID file", file=path, error=error.strerror)
            path = ""
    try:
        yield
    finally:
        if path:
            _remove_if_ours(path, number)


def _remove_if_ours(path: str, number: bytes) -> None:
    try:
        with open(path, "rb") as file:
            if file.read() != number:
                return
        os.unlink(path)
    except OSError as error:
        logs.warning("Failed to remove PID file", file=path, error=error.strerror)
