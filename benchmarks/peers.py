"""The servers that are measured, and a plain connection to them.

Everything runs on 127.0.0.1, on free ports, in processes that are ended when their `with` block
ends. What a server has cost is read from the kernel's clock and /proc, never asked of the server.
"""

import argparse
import os
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import hiredis

LOOPBACK = "127.0.0.1"
OURS, REDIS, FAKEREDIS = "distcache", "redis", "fakeredis"

# What every server gets, so that none of them pays for a snapshot or an append-only file.
DIRECTIVES = (
    *("--port", "{port}", "--bind", LOOPBACK, "--dir", "{folder}"),
    *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
)
FAKEREDIS_COMMAND = (
    sys.executable,
    "-c",
    "import sys; from fakeredis import TcpFakeServer;"
    f"TcpFakeServer(('{LOOPBACK}', int(sys.argv[1]))).serve_forever()",
    "{port}",
)
START_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0

Block = tuple[bytes, int]
"""Commands as they go over the wire, and how many they are."""


class Unavailable(Exception):
    """A server could not be started, or answered a benchmark's own command with an error."""


def command(*words: bytes) -> bytes:
    """One command in RESP."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(w), w) for w in words])


def template(*words: bytes) -> bytes:
    """One command in RESP with its `%012d` places left open; all of them get the same number."""
    whole = [b"*%d\r\n" % len(words)]
    for word in words:
        width = len(word % ((0,) * word.count(b"%")))
        whole.append(b"$%d\r\n%b\r\n" % (width, word))
    return b"".join(whole)


def blocks(pattern: bytes, numbers: range, size: int = 100) -> Iterator[Block]:
    """The template filled in with each of the numbers, `size` commands to a block."""
    places = pattern.count(b"%")
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        yield b"".join([pattern % ((n,) * places) for n in part]), len(part)


class Wire:
    """A blocking connection: faster and more predictable than a client library."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def call(self, *words: bytes) -> object:
        """Send one command and wait for its reply."""
        self.socket.sendall(command(*words))
        return self._reply()

    def number(self, *words: bytes) -> int:
        """The reply of a command that answers with an integer."""
        reply = self.call(*words)
        if not isinstance(reply, int):
            raise Unavailable(f"{words[0].decode()} answered {reply!r}")
        return reply

    def text(self, *words: bytes) -> bytes:
        """The reply of a command that answers with a string."""
        reply = self.call(*words)
        if not isinstance(reply, bytes):
            raise Unavailable(f"{words[0].decode()} answered {reply!r}")
        return reply

    def info(self, section: bytes, field: str) -> int:
        """One numeric field of INFO."""
        text = self.text(b"INFO", section)
        for line in text.decode().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value)
        raise Unavailable(f"INFO {section.decode()} has no {field}")

    def pour(self, work: Iterable[Block], window: int = 1) -> None:
        """Send blocks with at most `window` of them unanswered, and check every reply."""
        waiting: list[int] = []
        for data, count in work:
            if len(waiting) >= window:
                self._replies(waiting.pop(0))
            self.socket.sendall(data)
            waiting.append(count)
        for count in waiting:
            self._replies(count)

    def _replies(self, count: int) -> None:
        for _ in range(count):
            self._reply()

    def _reply(self) -> object:
        while (reply := self._reader.gets()) is False:
            data = self.socket.recv(1 << 18)
            if not data:
                raise Unavailable("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise Unavailable(str(reply))
        return reply


@dataclass(frozen=True)
class Peer:
    """A running server."""

    name: str
    port: int
    pid: int

    def cpu_ns(self) -> int | None:
        """Processor time used so far by all threads of the server, where the kernel tells."""
        if sys.platform != "linux":
            return None
        # Linux builds the clock of another process from its id: see clock_getcpuclockid(3).
        return time.clock_gettime_ns(~self.pid << 3 | 2)

    def resident(self) -> int:
        """Resident memory in bytes."""
        return self._status("VmRSS")

    def peak_resident(self) -> int:
        """The most that was ever resident, in bytes."""
        return self._status("VmHWM")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise Unavailable(f"/proc has no {field} for {self.name}")


@contextmanager
def start(name: str, words: Iterable[str], *directives: str) -> Iterator[Peer]:
    """Run a server on a free port until the block ends."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="distcache-bench-") as folder:
        port = free_port()
        line = [w.replace("{port}", str(port)).replace("{folder}", folder) for w in words]
        log = Path(folder, "output")
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    [*line, *directives], stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
            except OSError as error:
                raise Unavailable(f"{name} did not start: {error}") from None
        try:
            if not _answers(process, port):
                raise Unavailable(f"{name} did not start: {shlex.join(line)}")
            yield Peer(name, port, process.pid)
        except Unavailable as error:
            said = log.read_text(errors="replace")[-2000:]
            raise Unavailable(f"{error}\n{name} said:\n{said}") from None
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which servers are compared."""
    parser.add_argument(
        "--ours",
        metavar="COMMAND",
        default=shlex.join([sys.executable, "-m", "distcache_server"]),
        help="command that starts the server under test (default: this checkout)",
    )
    parser.add_argument(
        "--peer",
        metavar="COMMAND",
        default="redis-server",
        help="command that starts the server to compare with (default: redis-server)",
    )


def contenders(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """The command lines of ours and of the reference server, which may be missing."""
    found = {OURS: (*shlex.split(options.ours), *DIRECTIVES)}
    peer = shlex.split(options.peer)
    if peer and shutil.which(peer[0]):
        found[REDIS] = (*peer, *DIRECTIVES)
    else:
        print(f"{options.peer} is not installed: only our own figures follow", file=sys.stderr)
    return found


def raise_file_limit() -> None:
    """Ask for as many open files as we may have; servers that are started inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_files_allowed() -> int:
    """How many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def lowest_priority() -> None:
    """Let what is measured go first: for processes that only make load."""
    os.nice(19)


def free_port() -> int:
    """A port that nobody listened on just now."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with Wire(port) as wire:
                wire.call(b"PING")
                return True
        except (OSError, Unavailable):
            time.sleep(0.02)
    return False
