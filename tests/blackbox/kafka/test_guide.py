"""The examples of docs/kafka.md, and kcat, read what a server has published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from threading import Timer

import pytest

from tests.blackbox.kafka.conftest import Name
from tests.support import StartServer, eventually
from tests.support.broker import Broker
from tests.support.guide import block, renumbered
from tests.support.replication import ask, info

pytestmark = pytest.mark.timeout(300)

GUIDE = "docs/kafka.md"
LONGEST_S = 120
CLIENTS = Path(__file__).parents[3] / ".cache" / "clients"
Prepare = Callable[[str, Path], list[str]]


@pytest.fixture
def topic(broker: Broker, name: Name, start_server: StartServer) -> str:
    """Two keys were set, and one of them deleted."""
    made = name("changes")
    server = start_server(
        *("--changefeed", f"kafka://{broker.address}/{made}", "--changefeed-stream", made),
        *("--appendonly", "yes"),
    )
    eventually(lambda: info(server, "changefeed")["changefeed_kafka_state"] == "publishing", 60)
    for words in ("SET one 1", "SET two 2", "DEL one"):
        ask(server, *words.split())
    end = int(info(server)["master_repl_offset"])
    eventually(lambda: int(info(server, "changefeed")["changefeed_kafka_offset"]) >= end, 60)
    return made


def python(text: str, folder: Path) -> list[str]:
    (folder / "example.py").write_text(text)
    return [sys.executable, "-u", str(folder / "example.py")]


def node(text: str, folder: Path) -> list[str]:
    installed = CLIENTS / "node"
    if not shutil.which("node") or not (installed / "node_modules" / "kafkajs").exists():
        pytest.skip("missing: node or kafkajs")
    (folder / "example.js").write_text(text)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return ["node", str(folder / "example.js")]


def kcat(_: str, __: Path) -> list[str]:
    if not shutil.which("kcat"):
        pytest.skip("missing: kcat")
    return ["kcat"]


def lines(command: list[str], count: int) -> list[str]:
    """The first lines that a command prints, besides kafkajs's log; it is ended then."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    late = Timer(LONGEST_S, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        said = (line.strip() for line in process.stdout if not line.startswith('{"level"'))
        found = list(islice(said, count))
    finally:
        late.cancel()
        process.kill()
        _, errors = process.communicate()
    assert len(found) == count, errors
    return found


@pytest.mark.parametrize(("language", "prepare"), [("python", python), ("js", node)])
def test_examples(
    language: str,
    prepare: Prepare,
    tmp_path: Path,
    broker: Broker,
    request: pytest.FixtureRequest,
) -> None:
    prepare("", tmp_path)  # skips before anything is started
    (tmp_path / "node_modules").unlink(missing_ok=True)
    topic = request.getfixturevalue("topic")
    text = renumbered(block(GUIDE, language), {9092: broker.port}).replace("cache.changes", topic)
    command = prepare(text, tmp_path)
    assert lines(command, 3) == ["1 keys", "2 keys", "1 keys"]


def test_kcat(tmp_path: Path, broker: Broker, request: pytest.FixtureRequest) -> None:
    command = kcat("", tmp_path)
    topic = request.getfixturevalue("topic")
    command += ["-C", "-b", broker.address, "-t", topic, "-o", "beginning", "-e", "-q"]
    command += ["-X", "isolation.level=read_committed", "-f", "%k %s\n"]
    found = [line.split(" ", 1) for line in lines(command, 3)]
    assert [(key, json.loads(value)["op"]) for key, value in found] == [
        ("one", "set"),
        ("two", "set"),
        ("one", "delete"),
    ]
