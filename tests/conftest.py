"""Fixtures of all tests: the daemon, clients of it, a real Redis beside it.

`--server host:port` points the black-box tests at a reference server, which settles what is right.
"""

import os
import re
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path

import pytest
import redis

from tests.support import Error, Process, Server, StartServer, Wire
from tests.support.fuzzing import load_profile
from tests.support.servers import OURS, redis_server

# How the server logs an exception, and how Python does.
_BUG = re.compile(r"^.* error=.* at=\S*\.py.*$|^Traceback.*$", re.MULTILINE)

# What a test starts from: nothing stored, counted or connected.
_CLEANING = (
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "KILL", "TYPE", "pubsub"),
    ("FLUSHALL",),
    ("CONFIG", "RESETSTAT"),
    ("SLOWLOG", "RESET"),
)

_REFERENCE = pytest.StashKey[Server]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        metavar="HOST:PORT",
        help="run the black-box tests against this server, which is flushed for every test",
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "since(version): the capability came with this version of Redis; skipped under --server "
        "when the reference is older",
        "ours(reason): only distcache has it, or answers better; skipped under --server",
        "fuzz: has a long version, which `make fuzz` runs",
    ):
        config.addinivalue_line("markers", marker)
    load_profile()
    # Else each of the many servers that are started compiles all modules again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if address := config.getoption("--server"):
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--server shares one server: use it without -n")
        host, _, port = address.rpartition(":")
        config.stash[_REFERENCE] = Server(host.strip("[]"), int(port))


LONG = ("test_redis_py.py", "test_differential.py", "test_sentinel.py", "test_torture.py")
"""Their tests take up to minutes: workers begin with them, so that none has one left at the end."""


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than there are processors, since a test mostly waits for servers and for time."""
    return (yield) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for name in LONG for item in items if item.path.name == name]
    short = (item for item in items if item.path.name not in LONG)
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        # What --dist worksteal gives to this worker first.
        share = (len(items) - len(ordered)) // (workers - worker)
        begin = long[worker::workers]
        ordered += [*begin, *islice(short, max(share - len(begin), 0))]
    items[:] = [*ordered, *short]
    given = config.stash.get(_REFERENCE, None)
    if given is None:
        return
    version = given.version()
    shown = ".".join(map(str, version))
    for item in items:
        if ours := item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(f"only in distcache: {ours.args[0]}"))
        since = item.get_closest_marker("since")
        if since and tuple(map(int, since.args[0].split("."))) > version:
            item.add_marker(pytest.mark.skip(f"needs Redis {since.args[0]}, reference is {shown}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers logged beside the failure that they may explain."""
    report = yield
    if report.failed:
        for number, server in enumerate(_processes(item)):
            report.sections.append((f"log of server {number}", server.log()[-4000:]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded with `record_property("summary", ...)`: how much they compared."""
    said = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "summary" and report.when == "call"
    ]
    if said:
        terminalreporter.section("compared")
        for line in said:
            terminalreporter.line(str(line))


def _processes(item: pytest.Item) -> list[Process]:
    given: dict[str, object] = getattr(item, "funcargs", {})
    started = getattr(given.get("start_server"), "started", [])
    return [s for s in (given.get("server"), *started) if isinstance(s, Process)]


class _Shared:
    """The server that the tests of one worker share, started anew after a crash."""

    def __init__(self, given: Server | None, folder: Path) -> None:
        self._given = given
        self._folder = folder
        self._process: Process | None = None
        self._settings: object = None
        self._starts = 0

    def ready(self) -> Server:
        """The server, empty, with its first settings and no client left from the last test."""
        server = self._given or self._running()
        try:
            self._clean(server)
        except (AssertionError, OSError):
            self.stop()  # the next test gets a new one
            raise
        return server

    def _running(self) -> Process:
        if self._process is None or not self._process.is_running():
            self._starts += 1
            self._process = Process(OURS, (), self._folder / f"server-{self._starts}")
        return self._process

    def _clean(self, server: Server) -> None:
        with server.wire() as wire:
            for words in _CLEANING:
                reply = wire.call(*words)
                assert not isinstance(reply, Error), (words, reply)
            if self._settings is None:
                self._settings = wire.call("CONFIG", "GET", "*")

    def restore(self, server: Server) -> None:
        """Undo what the test configured."""
        with server.wire() as wire:
            if (now := wire.call("CONFIG", "GET", "*")) == self._settings:
                return
            before = _pairs(self._settings)
            for name, value in _pairs(now).items():
                if value != before[name]:
                    assert not isinstance(wire.call("CONFIG", "SET", name, before[name]), Error)

    def stop(self) -> None:
        if self._process:
            self._process.kill()


def _pairs(reply: object) -> dict[bytes, bytes]:
    assert isinstance(reply, list), reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


@pytest.fixture(scope="session")
def _shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Shared]:
    given = request.config.stash.get(_REFERENCE, None)
    shared = _Shared(given, tmp_path_factory.mktemp("shared"))
    yield shared
    shared.stop()


@pytest.fixture
def server(_shared: _Shared) -> Iterator[Server]:
    """The server under test: ours, or the one named by --server. Empty, with default settings.

    A test may CONFIG SET what it likes. One that stops the server, or sets a password, starts its
    own with `start_server`.
    """
    server = _shared.ready()
    logged = len(server.log()) if isinstance(server, Process) else 0
    yield server
    if isinstance(server, Process):
        assert server.is_running(), "the server died during the test"
    _shared.restore(server)
    if isinstance(server, Process):
        _no_bug(server.log()[logged:])


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request: pytest.FixtureRequest) -> int:
    """The version of RESP, so that the test runs under both."""
    version: int = request.param
    return version


@pytest.fixture
def client(server: Server, protocol: int) -> Iterator[redis.Redis]:
    """A redis-py client of the server under test, under RESP2 and RESP3."""
    with server.client(protocol) as client:
        yield client


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """A bare connection to the server under test, speaking RESP2 until it says HELLO 3."""
    with server.wire() as wire:
        yield wire


class _Starter:
    """Starts servers with settings of their own and stops them after the test."""

    def __init__(self, command: tuple[str, ...] | None, folder: Path) -> None:
        self.started: list[Process] = []
        self._command = command
        self._folder = folder

    def __call__(self, *arguments: str, command: tuple[str, ...] | None = None) -> Process:
        if self._command is None:
            pytest.skip("redis-server is not installed")
        folder = self._folder / f"server-{len(self.started)}"
        process = Process(command or self._command, arguments, folder)
        self.started.append(process)
        return process

    def stop(self) -> None:
        for process in self.started:
            process.kill()


@pytest.fixture
def start_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartServer]:
    """Start a server with directives of its own: `start_server("--maxmemory", "10mb")`.

    Under --server it is the real redis-server of this machine that is started.
    """
    if _REFERENCE in request.config.stash:
        real = redis_server()
        starter = _Starter((real,) if real else None, tmp_path)
    else:
        starter = _Starter(OURS, tmp_path)
    yield starter
    starter.stop()
    for process in starter.started:
        _no_bug(process.log())


@pytest.fixture(scope="session")
def _reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process | None]:
    command = redis_server()
    process = Process((command,), (), tmp_path_factory.mktemp("reference")) if command else None
    yield process
    if process:
        process.kill()


@pytest.fixture
def reference(_reference: Process | None) -> Process:
    """A real Redis to compare with, empty."""
    if _reference is None:
        pytest.skip("redis-server is not installed")
    with _reference.wire() as wire:
        assert wire.call("FLUSHALL") == b"OK"
    return _reference


def _no_bug(log: str) -> None:
    """An exception that is not a client's error is a bug, even where no client noticed it."""
    if found := _BUG.search(log):
        pytest.fail(f"an exception in the server's log: {found[0]}")
