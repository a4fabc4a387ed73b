"""What is read and what is overwritten, command by command."""

from __future__ import annotations

import pytest
from distcache_server import commands
from distcache_server.registry import by_name, every_command
from distcache_server.touching import touched_by

commands.load()


@pytest.mark.parametrize(
    ("words", "read", "written"),
    [
        ("GET a", "a", ""),
        ("MGET a b", "a b", ""),
        ("SET a 1", "", "a"),
        ("SET a 1 EX 10", "", "a"),
        ("SET a 1 NX", "a", "a"),
        ("SET a 1 keepttl", "a", "a"),
        ("SET a 1 GET", "a", "a"),
        ("SETNX a 1", "a", "a"),
        ("MSET a 1 b 2", "", "a b"),
        ("MSETNX a 1 b 2", "a b", "a b"),
        ("DEL a b", "", "a b"),
        ("INCR a", "a", "a"),
        ("HSET a f v", "a", "a"),
        ("EXPIRE a 1", "a", "a"),
        ("RENAME a b", "a", "a b"),
        ("RENAMENX a b", "a b", "a b"),
        ("COPY a b", "a b", "b"),
        ("COPY a b DB 1 replace", "a", "b"),
        ("RESTORE a 0 x", "a", "a"),
        ("RESTORE a 0 x REPLACE", "", "a"),
        ("LMOVE a b LEFT LEFT", "a b", "a b"),
        ("BLPOP a b 1", "a b", "a b"),
        ("SINTERSTORE a b c", "b c", "a"),
        ("ZUNIONSTORE a 2 b c", "b c", "a"),
        ("SORT a STORE b", "a", "b"),
        ("WATCH a b", "a b", ""),
        ("OBJECT|ENCODING x a", "a", ""),
    ],
)
def test_keys(words: str, read: str, written: str) -> None:
    args = words.encode().split()
    command = by_name(args[0].decode())
    assert command is not None
    touched = touched_by(command)
    assert touched is not None
    assert list(touched.read(args)) == read.encode().split()
    assert touched.written(args) == written.encode().split()


@pytest.mark.parametrize(
    ("words", "dropped"),
    [
        ("DEL a b", "a b"),
        ("UNLINK a", "a"),
        ("RESTORE a 0 x REPLACE", "a"),
        ("SINTERSTORE a b c", "a"),
        ("ZUNIONSTORE a 2 b c", "a"),
        ("BITOP AND a b", "a"),
        ("SORT a STORE b", "b"),
        ("SET a 1", ""),
        ("MSET a 1 b 2", ""),
        ("RENAME a b", ""),
        ("GET a", ""),
        ("SPOP a", ""),
    ],
)
def test_keys_that_go_unread(words: str, dropped: str) -> None:
    args = words.encode().split()
    command = by_name(args[0].decode())
    assert command is not None
    touched = touched_by(command)
    assert touched is not None
    assert touched.dropped(args) == dropped.encode().split()


def test_runs_know_their_keys() -> None:
    """What runs many commands at once looks at every key before: it must find them."""
    for command in every_command():
        touched = touched_by(command)
        if command.run is not None and touched is not None:
            assert touched.columns(command.least), command.name


def test_channels_are_no_keys() -> None:
    command = by_name("spublish")
    assert command is not None
    assert touched_by(command) is None
