"""Every command is declared whole, documented in plain words, and has a black-box test."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from distcache_server import commands
from distcache_server.engine import VERSION
from distcache_server.registry import MANY, Command, Flag, every_command

commands.load()

COMMANDS = sorted(every_command(), key=lambda command: command.name)
TESTED = "\n".join(
    path.read_text().lower() for path in (Path(__file__).parent / "blackbox").rglob("test_*.py")
)


def named(command: Command) -> str:
    return command.name


@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_a_declaration_is_whole(command: Command) -> None:
    assert command.summary
    assert not command.summary.endswith("  ")
    assert re.fullmatch(r"\d+\.\d+\.\d+", command.since)
    assert command.usage.split()[0].lower() == command.name.split("|")[0]
    assert 1 <= command.least <= command.most <= MANY
    writes, reads = command.flags & Flag.WRITE, command.flags & Flag.READONLY
    assert not (writes and reads)
    if command.keys and not command.getkeys:
        assert all(keys.access for keys in command.keys)


@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if not c.subcommands and not c.name.endswith("|help")],
    ids=named,
)
def test_a_command_is_sent_to_the_real_daemon(command: Command) -> None:
    words = command.name.replace("-", "[-_ ]?").split("|")
    pattern = r"[\"' ,_(.|]+".join(words)
    assert re.search(rf"(?<![a-z]){pattern}(?![a-z])", TESTED), f"no black-box test sends {words}"


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
