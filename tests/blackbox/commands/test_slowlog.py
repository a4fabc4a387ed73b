"""SLOWLOG."""

from typing import Any

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Server, Wire, eventually


@pytest.fixture
def everything(wire: Wire) -> Wire:
    """A connection to a server that logs every command."""
    wire.call("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 100)
    wire.call("SLOWLOG", "RESET")
    return wire


def logged(wire: Wire) -> list[list[bytes]]:
    """The words of the entries, the newest first, without those of looking at them."""
    entries = wire.call("SLOWLOG", "GET", -1)
    return [entry[3] for entry in entries if entry[3][0].upper() != b"SLOWLOG"]


def test_only_what_takes_long(wire: Wire) -> None:
    wire.call("CONFIG", "SET", "slowlog-log-slower-than", 200_000)
    wire.call("SLOWLOG", "RESET")
    wire.call("PING")
    wire.call("DEBUG", "SLEEP", "0.25")
    assert logged(wire) == [[b"DEBUG", b"SLEEP", b"0.25"]]
    wire.call("CONFIG", "SET", "slowlog-log-slower-than", -1)
    wire.call("DEBUG", "SLEEP", "0.25")
    assert wire.call("SLOWLOG", "LEN") == 1


def test_an_entry(everything: Wire) -> None:
    everything.call("CLIENT", "SETNAME", "worker")
    everything.call("SLOWLOG", "RESET")
    everything.call("SET", "key", "value")
    entry: Any
    entry, reset = everything.call("SLOWLOG", "GET")
    number, seconds, micros, words, address, name = entry
    assert reset[3] == [b"SLOWLOG", b"RESET"]
    assert number == reset[0] + 1
    assert abs(int(everything.call("TIME")[0]) - seconds) < 60
    assert 0 <= micros < 1_000_000
    assert words == [b"SET", b"key", b"value"]
    host, port = everything.socket.getsockname()
    assert address == f"{host}:{port}".encode()
    assert name == b"worker"


def test_how_many(everything: Wire) -> None:
    everything.call("CONFIG", "SET", "slowlog-max-len", 12)
    for _ in range(20):
        everything.call("PING")
    assert everything.call("SLOWLOG", "LEN") == 12
    for count, found in ((5, 5), (0, 0), (-1, 12), (99, 12)):
        assert len(everything.call("SLOWLOG", "GET", count)) == found
    assert len(everything.call("SLOWLOG", "GET")) == 10
    everything.call("CONFIG", "SET", "slowlog-max-len", 3)
    everything.call("PING")
    assert everything.call("SLOWLOG", "LEN") == 3
    everything.call("CONFIG", "SET", "slowlog-max-len", 0)
    everything.call("PING")
    assert everything.call("SLOWLOG", "LEN") in (0, 3)


def test_reset(everything: Wire) -> None:
    everything.call("CONFIG", "SET", "slowlog-log-slower-than", -1)
    everything.call("SLOWLOG", "RESET")
    assert everything.call("SLOWLOG", "LEN") == 0
    assert everything.call("SLOWLOG", "GET") == []


def test_long_commands_are_cut(everything: Wire) -> None:
    everything.call("SADD", "set", *range(40))
    everything.call("SADD", "set", "x" * 129)
    everything.call("SADD", "set", *range(30))
    whole, long, many = logged(everything)
    assert len(whole) == 32
    assert long[2] == b"x" * 128 + b"... (1 more bytes)"
    assert len(many) == 32
    assert many[-1] == b"... (11 more arguments)"


def test_passwords_are_not_logged(everything: Wire) -> None:
    everything.call("AUTH", "secret")
    everything.call("HELLO", 2, "AUTH", "default", "secret")
    everything.call("CONFIG", "SET", "hz", 10, "requirepass", "", "masterauth", "")
    hidden = b"(redacted)"
    assert logged(everything) == [
        [b"CONFIG", b"SET", b"hz", b"10", b"requirepass", hidden, b"masterauth", hidden],
        [b"HELLO", b"2", b"AUTH", hidden, hidden],
        [b"AUTH", hidden],
    ]


def test_commands_of_a_transaction_are_logged_alone(everything: Wire) -> None:
    everything.call("MULTI")
    everything.call("SET", "key", "value")
    everything.call("EXEC")
    assert logged(everything) == [[b"SET", b"key", b"value"], [b"MULTI"]]


def test_a_command_that_blocks_is_logged_when_it_is_answered(
    everything: Wire, server: Server
) -> None:
    with server.wire() as waiting:
        waiting.command("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1\r" in everything.call("INFO", "clients"))
        assert [b"BLPOP", b"list", b"0"] not in logged(everything)
        everything.call("RPUSH", "list", "element")
        assert waiting.reply() == [b"list", b"element"]
        assert logged(everything).count([b"BLPOP", b"list", b"0"]) == 1


def test_what_was_sent_is_logged_not_what_it_meant(everything: Wire) -> None:
    everything.call("EXPIRE", "key", 100)
    everything.call("INCRBYFLOAT", "key", "1.5")
    assert logged(everything) == [
        [b"INCRBYFLOAT", b"key", b"1.5"],
        [b"EXPIRE", b"key", b"100"],
    ]


def test_refused(ask: Ask) -> None:
    refused = b"ERR count should be greater than or equal to -1"
    for count in ("-2", "x", "99999999999999999999"):
        assert ask("SLOWLOG", "GET", count) == refused
    assert ask("SLOWLOG", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try SLOWLOG HELP."
    assert ask("SLOWLOG", "LEN", "x") == b"ERR wrong number of arguments for 'slowlog|len' command"
