"""REPLCONF, PSYNC, SYNC, REPLICAOF and ROLE, word by word; tests/blackbox/test_replication.py has
whole replicas.
"""

from typing import Any

import pytest

from tests.support import Error, Wire

SYNTAX = b"ERR syntax error"


def test_a_primary_without_replicas(wire: Wire) -> None:
    role = wire.call("ROLE")
    assert role[0] == b"master"
    assert role[2] == []
    assert wire.call("REPLICAOF", "NO", "ONE") == b"OK"
    assert wire.call("SLAVEOF", "no", "one") == b"OK"
    assert wire.call("REPLICAOF", "127.0.0.1", "port") == b"ERR Invalid master port"
    assert wire.call("REPLICAOF", "127.0.0.1", "65536") == b"ERR Invalid master port"


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (["listening-port", "6380"], b"OK"),
        (["ip-address", "replica.example"], b"OK"),
        (["capa", "eof", "capa", "psync2", "capa", "unknown"], b"OK"),
        (["rdb-only", "0"], b"OK"),
        (["rdb-only", "2"], b"ERR value is out of range, value must between 0 and 1"),
        (["rdb-filter-only", ""], b"OK"),
        (["rdb-filter-only", "functions"], b"OK"),
        (["rdb-filter-only", "functions x"], b"ERR Unsupported rdb-filter-only option: x"),
        (["rdb-filter-only", '"functions'], b"ERR Missing rdb-filter-only values"),
        (
            ["ip-address", "x" * 256],
            b"ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes",
        ),
        (["listening-port"], SYNTAX),
        (["listening-port", "x"], b"ERR value is not an integer or out of range"),
        (["unknown", "1"], b"ERR Unrecognized REPLCONF option: unknown"),
        ([], b"OK"),
    ],
)
def test_what_a_replica_says(wire: Wire, words: list[str], reply: bytes) -> None:
    assert wire.call("REPLCONF", *words) == reply


def test_what_has_no_reply(wire: Wire) -> None:
    wire.command("REPLCONF", "ACK", "1")
    wire.command("REPLCONF", "ACK", "x")
    wire.command("REPLCONF", "listening-port", "1", "ACK", "1", "FACK", "x")
    wire.command("REPLCONF", "GETACK", "*")
    assert wire.call("PING") == b"PONG"


def test_arguments_of_psync(wire: Wire) -> None:
    assert wire.call("PSYNC") == b"ERR wrong number of arguments for 'psync' command"
    assert wire.call("PSYNC", "?") == b"ERR wrong number of arguments for 'psync' command"
    assert wire.call("PSYNC", "?", "x") == b"ERR value is not an integer or out of range"
    assert wire.call("SYNC", "x") == b"ERR wrong number of arguments for 'sync' command"


def test_no_log_within_a_transaction(wire: Wire) -> None:
    wire.call("MULTI")
    for words in (["PSYNC", "?", "-1"], ["SYNC"]):
        reply: Any = wire.call(*words)
        assert isinstance(reply, Error)
        assert reply == b"ERR Command not allowed inside a transaction"


@pytest.mark.parametrize("words", [["PSYNC", "?", "-1"], ["PSYNC", "a" * 40, "1"], ["SYNC"]])
def test_a_snapshot_and_then_the_log(wire: Wire, words: list[str]) -> None:
    wire.command(*words)
    if words[0] == "PSYNC":
        answer = wire.read_until(b"\r\n").split()
        assert answer[0] == b"+FULLRESYNC"
        assert len(answer[1]) == 40
    line = wire.read_until(b"\r\n").lstrip(b"\n")
    snapshot = wire.read(int(line[1:]))
    assert snapshot.startswith(b"REDIS00")
