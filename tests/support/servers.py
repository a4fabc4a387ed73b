"""Servers that tests start, and the one that they may be pointed at."""

import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from tests.support.waiting import PATIENCE_S, eventually
from tests.support.wire import Wire

OURS = (sys.executable, "-m", "distcache_server")

# What tests change and look at: nothing on disk, loopback only, DEBUG allowed.
_SETTINGS = ("--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes")

_PORT_TAKEN = re.compile(r"address already in use", re.IGNORECASE)


class Server:
    """Where a server listens, and ways to talk to it."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def client(self, protocol: int = 2, **options: Any) -> redis.Redis:
        """A redis-py client that sends nothing of its own, retries nothing and decodes nothing."""
        settings: dict[str, Any] = {
            "socket_timeout": PATIENCE_S,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        return redis.Redis(self.host, self.port, protocol=protocol, **(settings | options))

    def wire(self, timeout: float = PATIENCE_S) -> Wire:
        """A bare connection."""
        return Wire(self.address, timeout)

    def version(self) -> tuple[int, ...]:
        """The version of Redis that the server says it is."""
        with self.wire() as wire:
            info = wire.call("INFO", "server")
        assert isinstance(info, bytes), info
        found = re.search(rb"redis_version:([0-9.]+)", info)
        assert found, info
        return tuple(int(part) for part in found[1].split(b"."))


class Process(Server):
    """A server process of our own, with its folder and its log."""

    def __init__(self, command: Sequence[str], arguments: Sequence[str], folder: Path) -> None:
        """Start `command` on a free port and wait until it answers, and has loaded its keys.

        Where it has a `--key-load-delay` it is to be seen while it loads them.

        `arguments` are directives (`"--maxmemory", "10mb"`) or a configuration file with more of
        them, as redis-server takes them. Where they set a port, that port is used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_file = folder / "log"
        self._loads_slowly = "--key-load-delay" in arguments
        for attempt in range(5):
            port = _port_in(arguments) or free_port()
            super().__init__("127.0.0.1", port)
            self.process = self._start(command, arguments)
            if self._answers():
                return
            # Somebody else took the port between our look and the server's bind.
            if attempt == 4 or not _PORT_TAKEN.search(self.log()):
                break
        self.kill()
        raise AssertionError(f"the server did not start; its log:\n{self.log()[-4000:]}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def log(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def stop(self, by: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE_S) -> int:
        """Ask it to stop, wait until it has, and return its exit status."""
        if self.is_running():
            self.process.send_signal(by)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kill it at once."""
        if self.is_running():
            self.process.kill()
        self.process.wait()

    def _start(self, command: Sequence[str], arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        # A configuration file, if there is one, must be the first argument.
        file = [] if not arguments or arguments[0].startswith("--") else [arguments[0]]
        given = list(arguments[len(file) :])
        listen = ["--port", str(self.port), "--dir", str(self.folder)]
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                [*command, *file, *listen, *_SETTINGS, *given],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def _answers(self) -> bool:
        """Wait for the first reply, and be it NOAUTH; False when it has exited or hangs."""

        def answered() -> bool:
            if not self.is_running():
                return True
            try:
                with self.wire(timeout=20) as wire:
                    facts = wire.call("INFO", "server", "persistence")
            except OSError:
                return False
            # Another server may have taken the port: then ours is about to exit.
            found = re.search(rb"process_id:(\d+)", facts) if isinstance(facts, bytes) else None
            if found is None:
                return True
            return int(found[1]) == self.pid and (self._loads_slowly or b"\nloading:1" not in facts)

        try:
            eventually(answered, timeout=60)
        except AssertionError:
            return False
        return self.is_running()


StartServer = Callable[..., Process]


def free_port() -> int:
    """A port on the loopback address that nobody listened on just now.

    Not one that the kernel gives to outgoing connections, nor one that this process had before, nor
    one of another worker; and other runs go through the ports from elsewhere.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _own_ports() -> range:
    """Those of this worker of pytest-xdist: what two find free at the same time is taken twice."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(10_000 + worker, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


_PORTS = _own_ports()
_ports = itertools.islice(itertools.cycle(_PORTS), secrets.randbelow(len(_PORTS)), None)


def redis_server() -> str | None:
    """The real redis-server, wherever set-up put it."""
    beside_python = Path(sys.executable).parent / "redis-server"
    return str(beside_python) if beside_python.exists() else shutil.which("redis-server")


def _port_in(arguments: Sequence[str]) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(arguments[list(arguments).index("--port") + 1]) or None
    return None


__all__ = ["OURS", "Process", "Server", "StartServer", "free_port", "redis_server"]
