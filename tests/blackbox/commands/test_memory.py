"""MEMORY."""

import re

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import StartServer, Verbatim, Wire


def test_usage_of_strings(ask: Ask) -> None:
    ask("SET", "short", "value")
    ask("SETRANGE", "long", 999_999, "x")
    assert 5 < ask("MEMORY", "USAGE", "short") < 300
    assert 1_000_000 <= ask("MEMORY", "USAGE", "long") < 1_400_000
    assert ask("MEMORY", "USAGE", "missing") is None


@pytest.mark.parametrize(
    ("command", "width"), [("RPUSH", 1), ("SADD", 1), ("HSET", 2), ("ZADD", 2)]
)
def test_usage_grows_with_the_value(ask: Ask, command: str, width: int) -> None:
    small = [str(number) for number in range(2 * width)]
    large = [str(number) for number in range(2000 * width)]
    ask(command, "small", *small)
    ask(command, "large", *large)
    assert 0 < ask("MEMORY", "USAGE", "small") < ask("MEMORY", "USAGE", "large") / 20
    assert ask("MEMORY", "USAGE", "large", "SAMPLES", 0) > 2000


def test_usage_refused(ask: Ask) -> None:
    ask("SET", "key", "value")
    for words in (["SAMPLES"], ["SAMPLES", "-1"], ["FEW", "1"], ["SAMPLES", "1", "x"]):
        assert ask("MEMORY", "USAGE", "key", *words) == b"ERR syntax error"
    refused = b"ERR value is not an integer or out of range"
    assert ask("MEMORY", "USAGE", "key", "SAMPLES", "x") == refused
    missing = b"ERR wrong number of arguments for 'memory|usage' command"
    assert ask("MEMORY", "USAGE") == missing


def test_stats(wire: Wire) -> None:
    wire.call("SET", "a", "value")
    wire.call("SELECT", 3)
    wire.call("SET", "b", "value", "EX", 100)
    wire.call("HELLO", 3)
    facts = dict(wire.call("MEMORY", "STATS"))
    assert facts[b"keys.count"] == 2
    assert facts[b"peak.allocated"] >= 0
    assert {b"db.0", b"db.3"} <= set(facts)
    database = dict(facts[b"db.3"])
    assert database[b"overhead.hashtable.main"] > 0
    assert database[b"overhead.hashtable.expires"] > 0
    assert facts[b"clients.normal"] >= 0
    assert 0 <= facts[b"dataset.percentage"] <= 100
    assert facts[b"fragmentation"] > 0


@pytest.mark.ours("in Redis a small server seems fragmented")
@pytest.mark.parametrize("limit", ["0", "100mb"])
def test_an_empty_server_is_not_fragmented(start_server: StartServer, limit: str) -> None:
    """What Python takes is no reason for an alert on the ratio."""
    with start_server("--maxmemory", limit).wire() as wire:
        found = re.search(rb"mem_fragmentation_ratio:([0-9.]+)", wire.call("INFO", "memory"))
        assert found
        assert 0.8 < float(found[1]) < 1.4


def test_reports(wire: Wire) -> None:
    wire.call("HELLO", 3)
    assert isinstance(wire.call("MEMORY", "DOCTOR"), Verbatim)
    assert len(wire.call("MEMORY", "MALLOC-STATS")) > 20
    assert wire.call("MEMORY", "PURGE") == b"OK"


@pytest.mark.ours("the words are ours")
def test_the_doctor_finds_something(wire: Wire) -> None:
    wire.call("CONFIG", "SET", "maxmemory", 64 << 20)
    assert b"so little data" in wire.call("MEMORY", "DOCTOR")
    wire.call("SETRANGE", "large", 63 << 20, "x")
    assert b"maxmemory is nearly reached" in wire.call("MEMORY", "DOCTOR")


def test_what_does_not_exist(ask: Ask) -> None:
    assert ask("MEMORY", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try MEMORY HELP."
    assert ask("MEMORY") == b"ERR wrong number of arguments for 'memory' command"
