"""One line per event: a fixed sentence, then ``key=value`` fields.

::

    4711:M 24 Nov 2026 02:04:16.187 # Client closed reason="output buffer limit" id=12

The line begins as in Redis: process, role (``M`` primary, ``S`` replica), time, and a mark for
the level (``.`` debug, ``-`` verbose, ``*`` notice, ``#`` warning).  A value with blanks or quotes
in it stands between double quotes.  Whatever is not printable is escaped, so that nothing that a
client sent can begin a line of its own.

Events go to the standard library's logger ``distcache``.  A program that embeds the server handles
them as it handles its own; the daemon calls `configure`.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import ClassVar

VERBOSE = 15
NOTICE = logging.INFO
_LEVELS = {
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "notice": NOTICE,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL + 1,
}
logging.addLevelName(VERBOSE, "VERBOSE")

_logger = logging.getLogger("distcache")
_BARE = re.compile(r"[!#-<>-\[\]-~]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


# Events


def debug(event: str, /, **fields: object) -> None:
    """What helps to find a fault, and nothing else."""
    _log(logging.DEBUG, event, fields)


def verbose(event: str, /, **fields: object) -> None:
    """What happens often and is seldom of interest."""
    _log(VERBOSE, event, fields)


def notice(event: str, /, **fields: object) -> None:
    """What an operator may want to read up later."""
    _log(NOTICE, event, fields)


def warning(event: str, /, **fields: object) -> None:
    """What an operator should look at."""
    _log(logging.WARNING, event, fields)


def failure(event: str, error: BaseException, /, **fields: object) -> None:
    """A bug: what was raised, and the way there."""
    _log(logging.WARNING, event, fields | _described(error))


def _log(level: int, event: str, fields: dict[str, object]) -> None:
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", _with_fields(event, fields))


def _with_fields(event: str, fields: dict[str, object]) -> str:
    """The fields that have a value stand behind the sentence."""
    shown = (f"{name}={_shown(value)}" for name, value in fields.items() if value is not None)
    return " ".join([event, *shown])


def _shown(value: object) -> str:
    """A value in printable ASCII, between quotes unless it is a plain word."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _described(error: BaseException) -> dict[str, object]:
    """The error, and the calls that led to it, innermost first."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    calls = reversed(traceback.extract_tb(error.__traceback__))
    return {
        "error": f"{type(error).__name__}: {error}",
        "at": " < ".join(
            f"{os.path.basename(call.filename)}:{call.lineno} {call.name}" for call in calls
        ),
    }


class Rarely:
    """Lets through one warning of each kind a minute, and says how many it held back."""

    def __init__(self, period_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._clock = period_s, clock
        self._due: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def warning(self, kind: str, event: str, /, **fields: object) -> None:
        """Log the event, unless one of its kind was logged within the last minute."""
        now = self._clock()
        if now < self._due.get(kind, now):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        self._due[kind] = now + self._period_s
        if held_back := self._held_back.pop(kind, 0):
            fields["held_back"] = held_back
        warning(event, **fields)


# The life of the daemon


def starting(version: str, redis_version: str, config_file: str) -> None:
    """The first lines of a log: what runs, and what it was told."""
    notice(
        "distcache is starting",
        version=version,
        redis_version=redis_version,
        python=platform.python_version(),
        pid=os.getpid(),
    )
    if config_file:
        notice("Configuration loaded", file=config_file)
    else:
        notice("No configuration file, so that CONFIG REWRITE has nothing to write")


def running(port: int, directory: str, unixsocket: str = "") -> None:
    """Where clients and data are to be found."""
    sockets = {"unixsocket": unixsocket} if unixsocket else {}
    notice("Running in standalone mode", port=port, pid=os.getpid(), data=directory, **sockets)


def ready(tcp: Iterable[str] = (), unix: str = "") -> None:
    """Clients are served from now on, at these addresses."""
    if addresses := ",".join(tcp):
        notice("Ready to accept connections tcp", at=addresses)
    if unix:
        notice("Ready to accept connections unix", at=unix)


# Where events go


def configure(level: str, path: str = "", syslog: tuple[str, str] | None = None) -> None:
    """Send all events of this process to a file, or to standard output if ``path`` is empty.

    The file may be renamed at any time: the next event opens a new one.  ``syslog`` is an identity
    and a facility, for sending them there as well.
    """
    logging.raiseExceptions = False  # a full disk or a closed pipe must not stop the server
    handler: logging.Handler = (
        logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")
        if path
        else logging.StreamHandler(sys.stdout)
    )
    handler.setFormatter(LineFormatter())
    logging.root.handlers[:] = [handler]
    set_level(level)
    if syslog:
        if not os.path.exists(SYSLOG):
            # The handler says nothing, and tries again with every event.
            warning("syslog cannot be reached", socket=SYSLOG)
        logging.root.addHandler(_SyslogHandler(*syslog))


def set_level(level: str) -> None:
    """Log only events of this level of redis.conf and above."""
    logging.root.setLevel(_LEVELS[level])


SYSLOG = "/dev/log"


def set_role(letter: str) -> None:
    """What stands behind the number of the process: ``M`` for a primary, ``S`` for a replica."""
    LineFormatter.role = letter


class LineFormatter(logging.Formatter):
    """A record as one line, whatever is in it."""

    role = "M"

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%d %b %Y %H:%M:%S", time.localtime(record.created))
        mark = _mark(record.levelno)
        prefix = f"{record.process}:{self.role} {seconds}.{int(record.msecs):03d} {mark}"
        return f"{prefix} {one_line(record)}"


def one_line(record: logging.LogRecord) -> str:
    """What a record says, with line breaks and the like escaped."""
    message = record.getMessage()
    if record.exc_info and record.exc_info[1]:
        message = _with_fields(message, _described(record.exc_info[1]))
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), message)


def _mark(level: int) -> str:
    if level >= logging.WARNING:
        return "#"
    if level >= NOTICE:
        return "*"
    return "-" if level >= VERBOSE else "."


class _SyslogHandler(logging.handlers.SysLogHandler):
    priority_map: ClassVar = {
        "DEBUG": "debug",
        "VERBOSE": "info",
        "INFO": "notice",
        "WARNING": "warning",
        "ERROR": "warning",
        "CRITICAL": "warning",
    }

    def __init__(self, identity: str, facility: str) -> None:
        super().__init__(SYSLOG, facility)
        self._identity = identity

    def format(self, record: logging.LogRecord) -> str:
        return f"{self._identity}[{record.process}]: {one_line(record)}"
