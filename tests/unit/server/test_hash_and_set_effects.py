"""What the log gets of hashes, of the deadlines of their fields, and of sets."""

import random

import pytest
from distcache_server import dispatch
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.keyspace import Keyspace
from distcache_server.types.hash import Hash
from distcache_server.types.set import Set

from tests.support.direct import Direct

NOW_MS = 1_700_000_000_000


def logging(direct: Direct) -> list[Args]:
    """The log of an engine, from now on."""
    log: list[Args] = []

    def write(client: Client, words: Args) -> None:
        effect = client.effect or words
        log.extend(effect if isinstance(effect[0], list) else [effect])

    def lapsed(_: Keyspace, key: bytes, fields: list[bytes]) -> None:
        log.append([b"HDEL", key, *fields])

    direct.engine.log = write
    direct.keyspace.on_fields_removed = lapsed
    return log


@pytest.mark.parametrize(
    ("line", "effects"),
    [
        ("HSET h a 1 b 2", ["HSET h a 1 b 2"]),
        ("HSETNX h a 1", []),
        ("HINCRBY h a 2", ["HINCRBY h a 2"]),
        ("HINCRBYFLOAT h a 0.1", ["HSET h a 1.1"]),
        (
            "HINCRBYFLOAT h d 0.1",
            ["HSET h d 4.1", "HPEXPIREAT h 1700000100000 FIELDS 1 d"],
        ),
        ("HDEL h a none", ["HDEL h a none"]),
        ("HDEL h none", []),
        ("HEXPIRE h 10 FIELDS 3 a none b", ["HPEXPIREAT h 1700000010000 FIELDS 2 a b"]),
        ("HPEXPIRE h 10 NX FIELDS 2 a d", ["HPEXPIREAT h 1700000000010 FIELDS 1 a"]),
        ("HEXPIREAT h 1800000000 FIELDS 1 a", ["HPEXPIREAT h 1800000000000 FIELDS 1 a"]),
        ("HPEXPIREAT h 1800000000000 GT FIELDS 2 a d", ["HPEXPIREAT h 1800000000000 FIELDS 1 d"]),
        ("HEXPIRE h 10 XX FIELDS 1 a", []),
        ("HEXPIRE h 0 FIELDS 3 a none b", ["HDEL h a b"]),
        ("HPERSIST h FIELDS 2 a d", ["HPERSIST h FIELDS 2 a d"]),
        ("HPERSIST h FIELDS 1 a", []),
        ("SADD s 1 2", ["SADD s 1 2"]),
        ("SADD s 1", []),
        ("SREM s 9", []),
        ("SMOVE s t 1", ["SMOVE s t 1"]),
        ("SMOVE s s 1", []),
        ("SPOP s", ["SREM s 1"]),
        ("SPOP s 3", ["DEL s"]),
        ("SPOP s 0", []),
        ("SPOP none", []),
        ("SUNIONSTORE d none", []),
    ],
)
def test_effects(line: str, effects: list[str]) -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("HSET", "h", "a", "1", "b", "2", "c", "3", "d", "4")
    direct("HEXPIRE", "h", "100", "FIELDS", "1", "d")
    direct("SADD", "s", "1")
    log = logging(direct)
    direct(*line.split())
    assert log == [effect.encode().split() for effect in effects]


def test_several_popped_members_are_removed() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SADD", "s", *range(10))
    log = logging(direct)
    direct("SPOP", "s", "4")
    ((name, key, *members),) = log
    assert (name, key) == (b"SREM", b"s")
    left = direct.keyspace.values[b"s"]
    assert {*members, *left} == {b"%d" % n for n in range(10)}


def test_a_run_of_pops_is_logged_as_what_it_popped() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("SADD", "s", *range(10))
    direct("SADD", "t", "x")
    log = logging(direct)
    assert dispatch.execute_run(direct.client, [[b"SPOP"] * 4, [b"s", b"t", b"s", b"t"]])
    (of_s, of_t) = log
    assert of_s[:2] == [b"SREM", b"s"]
    assert len(set(of_s[2:])) == 2
    assert of_t == [b"SREM", b"t", b"x"]
    assert direct.client.effect is None
    assert dispatch.execute_run(direct.client, [[b"SPOP"] * 2, [b"t"] * 2]) == [None, None]
    assert len(log) == 2


def test_fields_that_lapsed_are_logged_as_removed() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("HSET", "h", "a", "1", "b", "2")
    direct("HPEXPIRE", "h", "10", "FIELDS", "1", "a")
    log = logging(direct)
    direct.now_ms += 10
    assert direct("HGET", "h", "a") == b"$-1\r\n"
    assert log == [[b"HDEL", b"h", b"a"]]


KEYS = ("a", "b", "c")


def command(generator: random.Random) -> list[str]:
    """A write, at random."""
    draw = generator.choice
    key, field, member = draw(KEYS), draw("fgh"), draw(["1", "2", "3", "x", "y"])
    fields = ["FIELDS", "2", field, draw("fgh")]
    condition = draw([[], ["NX"], ["XX"], ["GT"], ["LT"]])
    return draw(
        [
            ["HSET", key, field, draw(["1", "0.5", "text", "x" * 300]), "z", "1"],
            ["HINCRBY", key, field, "3"],
            ["HINCRBYFLOAT", key, field, "0.1"],
            ["HDEL", key, field],
            ["HPEXPIRE", key, draw(["100", "500", "9000"]), *condition, *fields],
            ["HEXPIRE", key, draw(["0", "1"]), *condition, *fields],
            ["HPERSIST", key, *fields],
            ["SADD", key, member, draw(["7", "z"])],
            ["SREM", key, member],
            ["SPOP", key],
            ["SPOP", key, "2"],
            ["SMOVE", key, draw(KEYS), member],
            [draw(["SUNIONSTORE", "SDIFFSTORE", "SINTERSTORE"]), key, draw(KEYS), draw(KEYS)],
            ["RENAME", key, draw(KEYS)],
            ["COPY", key, draw(KEYS), "REPLACE"],
            ["DEL", key],
        ]
    )


def contents(keyspace: Keyspace) -> dict[bytes, object]:
    """All keys, with fields, values and deadlines, or members."""
    found: dict[bytes, object] = {}
    for key, value in keyspace.values.items():
        if isinstance(value, Hash):
            found[key] = {field: (held, value.deadline(field)) for field, held in value.items()}
        else:
            assert isinstance(value, Set)
            found[key] = set(value)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_replayed_under_another_clock(seed: int) -> None:
    generator = random.Random(seed)
    first, second = Direct(now_ms=NOW_MS), Direct(now_ms=1)
    log = logging(first)
    for _ in range(400):
        first(*command(generator))
        first.now_ms += generator.choice([0, 0, 1, 50, 400])
    for key in KEYS:
        first("EXISTS", key)  # which removes the fields that are due
    for words in log:
        assert not second(*words).startswith(b"-"), words
    assert contents(first.keyspace) == contents(second.keyspace)
