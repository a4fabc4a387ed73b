"""The five-minute tour of README.md: what it types is typed, and what it shows must come."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Server, StartServer

README = Path(__file__).parents[2] / "README.md"


def block(language: str, having: str) -> str:
    """The block of code in which something stands."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    return next(text for text in blocks if having in text)


def without_times(text: str) -> str:
    """Nor with what is left of a minute."""
    return re.sub(r"avg_ttl=\d+|\(integer\) ([1-5]\d|60)$", "?", text)


@pytest.mark.since("7.4")
@pytest.mark.skipif(not shutil.which("redis-cli"), reason="redis-cli is not installed")
def test_the_tour_with_redis_cli(start_server: StartServer) -> None:
    prompt = "127.0.0.1:6379> "
    _, *steps = block("console", prompt).split(prompt)
    port = str(start_server().port)
    for step in steps:
        typed, _, shown = step.partition("\n")
        # As on a terminal, where the text of INFO comes as it is.
        shape = [] if typed.startswith("INFO") else ["--no-raw"]
        said = subprocess.run(
            ["redis-cli", *shape, "-p", port],
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        assert without_times(said.strip()) == without_times(shown.strip()), typed


def test_the_tour_with_redis_py(server: Server, tmp_path: Path) -> None:
    text = block("python", "cache.blpop").replace(
        "redis.Redis(", f"redis.Redis(port={server.port}, "
    )
    shown = [line.partition("  # ")[2] for line in text.splitlines() if "print(" in line]
    (tmp_path / "tour.py").write_text(text)
    said = subprocess.run(
        [sys.executable, tmp_path / "tour.py"], capture_output=True, text=True, timeout=60
    )
    assert said.stdout.splitlines() == shown, said.stderr
