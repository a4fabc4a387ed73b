"""docs/failover.md: its files are used, its commands run, and its examples show what it says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Server, eventually, free_port
from tests.support.guide import block, renumbered, shown
from tests.support.replication import ask, info
from tests.support.sentinels import LONG, redis_sentinel
from tests.support.servers import redis_server

GUIDE = "docs/failover.md"
CLIENTS = Path(__file__).parents[2] / ".cache" / "clients"
"""Where set-up put clients of other languages."""
RUN_S = 400
"""Seconds that an example may take: that of Go may have to be compiled, library and all."""

pytestmark = [
    pytest.mark.ours("it is the guide to ours"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(redis_sentinel() is None, reason="redis-sentinel is missing"),
]

Ports = dict[int, int]


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    """Everything that the guide starts, on free ports: which stands for which."""
    ports = {port: free_port() for port in (6379, 6380, 6381, 26379, 26380, 26381)}
    text = block(GUIDE, "conf").replace("cache 5000", "cache 1000")
    (tmp_path / "sentinel.conf").write_text(renumbered(text, ports))
    script = renumbered(block(GUIDE, "sh", "distcache-server"), ports)
    found = [str(Path(found).parent) for found in (redis_server(), redis_sentinel()) if found]
    path = os.pathsep.join([str(Path(sys.executable).parent), *found, os.environ["PATH"]])
    process = subprocess.Popen(
        ["bash", "-c", f"{script}\nwait"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: is_complete(ports), timeout=LONG)
        yield ports
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def server(port: int) -> Server:
    return Server("127.0.0.1", port)


def state(port: int) -> dict[bytes, bytes]:
    """What a Sentinel knows of the primary."""
    try:
        words = ask(server(port), "SENTINEL", "MASTER", "cache")
    except OSError as error:
        raise AssertionError("it is not there yet") from error
    return dict(zip(words[::2], words[1::2], strict=True))


def is_complete(ports: Ports) -> bool:
    for number in (26379, 26380, 26381):
        it = state(ports[number])
        assert it[b"flags"] == b"master", it
        assert (it[b"num-slaves"], it[b"num-other-sentinels"]) == (b"2", b"2"), it
    return all(info(server(ports[number]))["master_link_status"] == "up" for number in (6380, 6381))


def python(text: str, folder: Path) -> list[str]:
    (folder / "example.py").write_text(text)
    return [sys.executable, str(folder / "example.py")]


def node(text: str, folder: Path) -> list[str]:
    installed = CLIENTS / "node"
    if not shutil.which("node") or not (installed / "node_modules" / "ioredis").exists():
        pytest.skip("node or ioredis is missing")
    (folder / "example.js").write_text(text)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return ["node", str(folder / "example.js")]


def go(text: str, folder: Path) -> list[str]:
    installed = CLIENTS / "go"
    if not shutil.which("go") or not (installed / "go.sum").exists():
        pytest.skip("go or go-redis is missing")
    for name in ("go.mod", "go.sum"):
        shutil.copy(installed / name, folder)
    (folder / "example.go").write_text(text)
    return ["go", "run", "-C", str(folder), "."]


Prepare = Callable[[str, Path], list[str]]


def test_python_before_and_after_a_failover(ports: Ports, tmp_path: Path) -> None:
    says_what_it_shows("python", python, ports, tmp_path)
    primary = server(ports[6379])
    os.kill(int(info(primary, "server")["process_id"]), signal.SIGKILL)

    def moved() -> bool:
        named = {state(ports[number])[b"port"] for number in (26379, 26380, 26381)}
        return len(named) == 1 and b"%d" % primary.port not in named

    eventually(moved, timeout=LONG)
    says_what_it_shows("python", python, ports, tmp_path)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "prepare"), [("js", node), ("go", go)])
def test_other_clients(language: str, prepare: Prepare, tmp_path: Path, request: object) -> None:
    assert isinstance(request, pytest.FixtureRequest)
    folder = tmp_path / "example"
    folder.mkdir()
    prepare("", folder)  # skips before anything is started
    shutil.rmtree(folder)
    folder.mkdir()
    says_what_it_shows(language, prepare, request.getfixturevalue("ports"), folder)


def says_what_it_shows(language: str, prepare: Prepare, ports: Ports, folder: Path) -> None:
    text = block(GUIDE, language)
    command = prepare(renumbered(text, ports), folder)

    def said() -> bool:
        # A replica may not be there yet just after a failover.
        done = subprocess.run(
            command,
            env={**os.environ, "GOPATH": str(CLIENTS / "go" / "path"), "GOFLAGS": "-modcacherw"},
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )
        assert done.stdout.splitlines() == shown(text), (done.stdout, done.stderr)
        return True

    eventually(said, timeout=LONG)
