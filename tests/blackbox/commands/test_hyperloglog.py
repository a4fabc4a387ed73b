"""commands/hyperloglog.py"""

from __future__ import annotations

import pytest
import redis

from tests.support import Process, Wire


def test_adding_and_counting(client: redis.Redis) -> None:
    assert client.pfadd("hll", "a", "b", "c") == 1
    assert client.pfadd("hll", "a", "b") == 0
    assert client.pfcount("hll") == 3
    assert client.execute_command("PFADD", "empty") == 1
    assert client.execute_command("PFADD", "empty") == 0
    assert client.pfcount("empty") == 0
    assert client.pfcount("missing") == 0
    client.pfadd("other", "c", "d")
    assert client.pfcount("hll", "other", "missing") == 4


def test_merging(client: redis.Redis) -> None:
    client.pfadd("one", *range(100))
    client.pfadd("two", *range(50, 150))
    assert client.pfmerge("to", "one", "two", "missing")
    assert abs(client.pfcount("to") - 150) <= 3
    assert client.pfmerge("to")
    assert abs(client.pfcount("to") - 150) <= 3


def test_large_ones_become_dense(wire: Wire) -> None:
    for start in range(0, 20_000, 1000):
        wire.call("PFADD", "hll", *map(str, range(start, start + 1000)))
    assert wire.call("PFDEBUG", "ENCODING", "hll") == b"dense"
    assert abs(wire.call("PFCOUNT", "hll") - 20_000) < 600
    assert wire.call("STRLEN", "hll") == 12_304


def test_the_bytes_are_those_of_redis(wire: Wire, reference: Process) -> None:
    with reference.wire() as other:
        for count in (0, 1, 50, 3000):
            words = [f"element:{n}" for n in range(count)]
            for each in (wire, other):
                each.call("DEL", "hll")
                each.call("PFADD", "hll", *words)
                each.call("PFCOUNT", "hll")
            assert wire.call("GET", "hll") == other.call("GET", "hll")


def test_debugging(wire: Wire) -> None:
    wire.call("PFADD", "hll", "a")
    assert wire.call("PFDEBUG", "ENCODING", "hll") == b"sparse"
    assert wire.call("PFDEBUG", "DECODE", "hll").startswith(b"Z:")
    assert sum(wire.call("PFDEBUG", "GETREG", "hll")) > 0
    assert wire.call("PFDEBUG", "TODENSE", "hll") == 0
    assert wire.call("PFDEBUG", "ENCODING", "missing") == b"ERR The specified key does not exist"
    assert wire.call("PFSELFTEST") == b"OK"


@pytest.mark.parametrize("command", ["PFADD", "PFCOUNT", "PFMERGE"])
def test_other_values_are_refused(wire: Wire, command: str) -> None:
    wire.call("SET", "key", "value")
    words = [command, "key", "a"] if command == "PFADD" else [command, "key", "other"]
    assert wire.call(*words) == b"WRONGTYPE Key is not a valid HyperLogLog string value."
    wire.call("DEL", "key")
    wire.call("LPUSH", "key", "a")
    assert wire.call(*words).startswith(b"WRONGTYPE Operation against a key")
    assert wire.call(command).startswith(b"ERR wrong number of arguments")


def test_damaged_ones_are_found(wire: Wire) -> None:
    wire.call("PFADD", "hll", "a", "b")
    wire.call("APPEND", "hll", "hello")
    wire.call("SETRANGE", "hll", "15", b"\xff")
    assert wire.call("PFCOUNT", "hll").startswith(b"INVALIDOBJ")


def test_it_is_raw(wire: Wire) -> None:
    for words in (["PFADD", "k"], ["PFADD", "k", "a"], ["PFMERGE", "k", "none"]):
        wire.call(*words)
        assert wire.call("OBJECT", "ENCODING", "k") == b"raw"
