"""Fixtures of the black-box tests that need several servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Process
from tests.support.replication import SETTINGS, Start
from tests.support.servers import OURS, redis_server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server: ``start("ours")``, ``start("real", "--directive", "value")``."""
    started: list[Process] = []

    def begin(which: str, *arguments: str) -> Process:
        command: tuple[str, ...] = OURS
        if which == "real":
            real = redis_server()
            if real is None:
                pytest.skip("redis-server is not installed")
            command = (real,)
        folder = tmp_path / f"server-{len(started)}"
        started.append(Process(command, (*SETTINGS, *arguments), folder))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        assert "Traceback" not in process.log(), process.log()[-3000:]
