"""LATENCY."""

from typing import Any

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Map, Verbatim, Wire


@pytest.fixture
def watching(wire: Wire) -> Wire:
    """A connection to a server that notes what takes 200 ms.

    With less a busy machine can hold it up for so long in any command.
    """
    wire.call("CONFIG", "SET", "latency-monitor-threshold", 200)
    wire.call("LATENCY", "RESET")
    return wire


def test_events(watching: Wire) -> None:
    assert watching.call("LATENCY", "LATEST") == []
    watching.call("DEBUG", "SLEEP", "0.25")
    watching.call("PING")
    ((name, seconds, ms, longest),) = watching.call("LATENCY", "LATEST")
    assert name == b"command"
    assert abs(int(watching.call("TIME")[0]) - seconds) < 60
    assert 250 <= ms < 100_000
    assert longest == ms
    assert watching.call("LATENCY", "HISTORY", "command") == [[seconds, ms]]
    assert watching.call("LATENCY", "HISTORY", "fast-command") == []
    assert watching.call("LATENCY", "RESET", "nosuch") == 0
    assert watching.call("LATENCY", "RESET", "command", "nosuch") == 1
    assert watching.call("LATENCY", "LATEST") == []


def test_events_of_transactions(watching: Wire) -> None:
    watching.call("MULTI")
    watching.call("DEBUG", "SLEEP", "0.25")
    watching.call("EXEC")
    assert [event[0] for event in watching.call("LATENCY", "LATEST")] == [b"command"]


def test_nothing_is_noted_without_a_threshold(wire: Wire) -> None:
    wire.call("LATENCY", "RESET")
    wire.call("DEBUG", "SLEEP", "0.05")
    assert wire.call("LATENCY", "LATEST") == []


def test_reports(watching: Wire) -> None:
    assert watching.call("LATENCY", "GRAPH", "command") == (
        b"ERR No samples available for event 'command'"
    )
    watching.call("HELLO", 3)
    calm = watching.call("LATENCY", "DOCTOR")
    watching.call("DEBUG", "SLEEP", "0.25")
    busy = watching.call("LATENCY", "DOCTOR")
    assert isinstance(calm, Verbatim)
    assert calm != busy
    graph = watching.call("LATENCY", "GRAPH", "command")
    assert isinstance(graph, Verbatim)
    assert graph.startswith(b"command - high ")


def histogram(wire: Wire, *commands: str) -> dict[bytes, Any]:
    reply = wire.call("LATENCY", "HISTOGRAM", *commands)
    assert isinstance(reply, Map)
    pairs: Any = reply
    return {name: dict(facts) for name, facts in pairs}


def test_histograms(wire: Wire) -> None:
    wire.call("HELLO", 3)
    wire.call("CONFIG", "RESETSTAT")
    assert list(histogram(wire)) == [b"config|resetstat"]
    wire.call("SET", "a", 1)
    wire.call("SET", "b", 1)
    wire.call("CLIENT", "ID")
    found = histogram(wire, "set", "get", "nosuch", "client")
    assert set(found) == {b"set", b"client|id"}
    assert found[b"set"][b"calls"] == 2
    buckets = [(int(usec), calls) for usec, calls in found[b"set"][b"histogram_usec"]]
    assert buckets == sorted(buckets)
    assert buckets[-1][1] == 2
    assert set(histogram(wire, "client|id")) == {b"client|id"}
    wire.call("DEBUG", "SLEEP", "0.05")
    slow = histogram(wire, "debug")[b"debug"][b"histogram_usec"]
    assert slow[-1][0] > 50_000


def test_no_histograms_without_tracking(wire: Wire) -> None:
    wire.call("CONFIG", "SET", "latency-tracking", "no")
    wire.call("CONFIG", "RESETSTAT")
    wire.call("SET", "key", "value")
    assert wire.call("LATENCY", "HISTOGRAM", "set") == []


def test_refused(ask: Ask) -> None:
    assert ask("LATENCY", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try LATENCY HELP."
    missing = b"ERR wrong number of arguments for 'latency|history' command"
    assert ask("LATENCY", "HISTORY") == missing
