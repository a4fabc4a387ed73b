"""What the log gets of each write makes another engine the same, whatever its clock says."""

import random
from collections.abc import Callable

import pytest
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.events import STRING
from distcache_server.keyspace import Keyspace

from tests.support.direct import Direct

NOW_MS = 1_700_000_000_000


def logging(direct: Direct) -> list[Args]:
    """The log of an engine, from now on."""
    log: list[Args] = []

    def write(client: Client, words: Args) -> None:
        effect = client.effect or words
        log.extend(effect if isinstance(effect[0], list) else [effect])

    def expired(_: Keyspace, key: bytes) -> None:
        log.append([b"del", key])

    direct.engine.log = write
    direct.keyspace.on_expired = expired
    return log


@pytest.mark.parametrize(
    ("line", "effect"),
    [
        ("EXPIRE k 10", "PEXPIREAT k 1700000010000"),
        ("PEXPIRE k 10 GT", None),
        ("EXPIREAT k 1800000000", "PEXPIREAT k 1800000000000"),
        ("PEXPIREAT k 1800000000000", "PEXPIREAT k 1800000000000"),
        ("EXPIRE k -1", "DEL k"),
        ("EXPIRE missing 10", None),
        ("PERSIST k", None),
        ("SETEX k 10 v", "SET k v PXAT 1700000010000"),
        ("PSETEX k 10 v", "SET k v PXAT 1700000000010"),
        ("SET k v EX 10", "SET k v PXAT 1700000010000"),
        ("SET k v EXAT 1", "SET k v PXAT 1000"),
        ("SET k v get XX", "SET k v XX"),
        ("SET k GET GET", "SET k GET"),
        ("GETSET k v", "SET k v"),
        ("GETDEL k", "DEL k"),
        ("GETEX k", None),
        ("GETEX k PERSIST", None),
        ("GETEX k EX 10", "PEXPIREAT k 1700000010000"),
        ("GETEX k PXAT 10", "DEL k"),
        ("INCRBYFLOAT k 0.5", "SET k 5.5 KEEPTTL"),
        ("SETNX k v", None),
        ("MSETNX k v l w", None),
        ("SETRANGE missing 0 x", "SETRANGE missing 0 x"),
        ("COPY k l DB 3", "COPY k l DB 3"),
        ("MOVE k 3", "MOVE k 3"),
        ("RENAME k k", None),
        ("DEL missing", None),
        ("DEL k", "DEL k"),
        ("dEL missing k", "DEL missing k"),
        ("unlink k", "UNLINK k"),
        ("SORT missing STORE missing", None),
    ],
)
def test_effects(line: str, effect: str | None) -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SET", "k", "5")
    log = logging(direct)
    direct(*line.split())
    assert log == ([effect.encode().split()] if effect else [])


def test_a_list_that_is_trimmed_by_nothing_is_as_it_was() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("RPUSH", "l", "a", "b")
    log = logging(direct)
    direct("LTRIM", "l", "0", "-1")
    assert log == []
    direct("LTRIM", "l", "1", "-1")
    assert log == [[b"LTRIM", b"l", b"1", b"-1"]]


KEYS = ("a", "b", "c")


def times(draw: Callable[[list[str]], str]) -> list[str]:
    return draw(["EX 1", "PX 300", "EXAT 1700000001", "PXAT 1700000000500", "EX 100"]).split()


def command(generator: random.Random) -> list[str]:
    """A write, at random."""
    draw = generator.choice
    key, other, number = draw(KEYS), draw(KEYS), str(generator.randrange(-3, 40))
    text = draw(["", "12", "-1", "0.1", "text", "x" * 50])
    return draw(
        [
            ["SET", key, text, *draw([[], ["KEEPTTL"], times(draw), ["NX", *times(draw)]])],
            ["GETEX", key, *draw([["PERSIST"], times(draw)])],
            ["SETEX", key, "1", text],
            ["INCRBY", key, number],
            ["INCRBYFLOAT", key, "0.1"],
            ["APPEND", key, text],
            ["SETRANGE", key, number, text],
            ["SETBIT", key, number, "1"],
            ["BITFIELD", key, "SET", "u5", number, number, "INCRBY", "i9", "3", number],
            ["BITOP", draw(["AND", "OR", "XOR", "NOT"]), key, other],
            ["MSET", key, text, other, number],
            ["MSETNX", key, text, draw(KEYS), number],
            ["GETDEL", key],
            ["DEL", key, other],
            ["RENAME", key, other],
            ["COPY", key, other, *draw([[], ["REPLACE"]])],
            ["PEXPIRE", key, draw(["100", "2000", "0"]), *draw([[], ["NX"], ["GT"], ["LT"]])],
            ["PERSIST", key],
            ["RPUSH", key, "3", "1", "2"],
            ["SADD", key, "3", "1", "2"],
            ["SORT", key, "ALPHA", "BY", draw(["nosort", "a*"]), "STORE", other],
        ]
    )


def contents(keyspace: Keyspace) -> dict[bytes, object]:
    """All keys with deadlines and values, collections as lists."""
    return {
        key: (
            keyspace.deadline(key),
            bytes(value) if isinstance(value, bytes | bytearray) else list(value),
        )
        for key, value in keyspace.values.items()
    }


@pytest.mark.parametrize("line", ["SET k v", "SET k v XX", "MSET k v", "SETNX k v", "GETSET k v"])
def test_a_key_expires_before_it_is_overwritten(line: str) -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SET", "k", "5", "PX", "10")
    log = logging(direct)
    direct.now_ms += 10
    direct(*line.split())
    assert log[0] == [b"del", b"k"]
    assert direct.keyspace.expired == 1
    assert direct("PTTL", "k") == (b":-2\r\n" if "XX" in line else b":-1\r\n")


def test_keys_expire_before_they_are_overwritten_together() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SET", "k", "5", "PX", "10")
    direct("SET", "l", "5", "PX", "11")
    log = logging(direct)
    direct.keyspace.now_ms += 10
    direct.keyspace.put_many([b"k", b"l"], [b"v", b"w"], b"set", STRING)
    assert log == [[b"del", b"k"]]
    assert direct("PTTL", "l") == direct("PTTL", "k") == b":-1\r\n"


@pytest.mark.parametrize("seed", range(20))
def test_replayed_under_another_clock(seed: int) -> None:
    generator = random.Random(seed)
    first, second = Direct(now_ms=NOW_MS), Direct(now_ms=1)
    log = logging(first)
    for _ in range(300):
        first(*command(generator))
        first.now_ms += generator.choice([0, 0, 1, 50, 400])
    for words in log:
        assert not second(*words).startswith(b"-")
    before, after = contents(first.keyspace), contents(second.keyspace)
    overdue = {
        key for key in before if (first.keyspace.deadline(key) or first.now_ms + 1) <= first.now_ms
    }
    assert {key: before[key] for key in before.keys() - overdue} == {
        key: after[key] for key in after.keys() - overdue
    }
