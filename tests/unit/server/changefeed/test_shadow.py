"""What a second keyspace says of the commands of a log."""

from __future__ import annotations

import random

import pytest
from distcache_replication.changefeed.event import OMITTED
from distcache_replication.changefeed.filters import Filter
from distcache_replication.log import Log
from distcache_replication.segment import commands
from distcache_server.arguments import Args
from distcache_server.changefeed.shadow import Change, Shadow
from distcache_server.changefeed.values import state_of
from distcache_server.journal import Journal

from tests.support.direct import Direct
from tests.support.writes import write


def shadow(wanted: Filter | None = None, most: int = 10_000, with_before: bool = True) -> Shadow:
    made = Shadow(4, wanted or Filter(), most, with_before)
    made.watch()
    return made


def run(it: Shadow, *lines: str) -> list[Change]:
    found: list[Change] = []
    for line in lines:
        found += it.changes([word.encode() for word in line.split()])
    return found


def brief(changes: list[Change]) -> list[tuple[object, ...]]:
    return [(it.operation, it.database, it.key, it.after and it.after.value) for it in changes]


def test_a_change_has_the_value_before_and_after() -> None:
    it = shadow()
    assert brief(run(it, "RPUSH l a", "RPUSH l b")) == [
        ("set", 0, b"l", [b"a"]),
        ("set", 0, b"l", [b"a", b"b"]),
    ]
    (change,) = run(it, "RPUSH l c")
    assert change.before is not None
    assert change.before.value == [b"a", b"b"]
    assert change.after is not None
    assert change.after.type == "list"


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("DEL a", "delete"),
        ("UNLINK a", "delete"),
        ("del a", "expire"),
        ("unlink a", "evict"),
        ("SREM a m", "delete"),
        ("FLUSHDB", "flush"),
        ("FLUSHALL", "flush"),
    ],
)
def test_the_cause_of_an_end(line: str, operation: str) -> None:
    it = shadow()
    run(it, "SADD a m")
    (change,) = run(it, line)
    assert (change.operation, change.key, change.after) == (operation, b"a", None)
    assert change.before is not None
    assert change.before.value == [b"m"]
    # Whatever the command, what comes next is seen again.
    assert brief(run(it, "SET b 1", "DEL b")) == [("set", 0, b"b", b"1"), ("delete", 0, b"b", None)]


def test_a_load_is_told_from_a_restore() -> None:
    direct = Direct()
    direct("SET", "k", "v")
    payload = direct("DUMP", "k").split(b"\r\n", 1)[1][:-2]
    it = shadow()
    loaded = [b"RESTORE", b"k", b"0", payload, b"REPLACE", b"ABSTTL", b"IDLETIME", b"0"]
    assert [change.operation for change in it.changes(loaded)] == ["load"]
    assert [change.operation for change in it.changes([*loaded[:4], b"REPLACE"])] == ["set"]


def test_what_changes_nothing_is_no_event() -> None:
    it = shadow()
    run(it, "XADD s 1-1 f v")
    assert not run(
        it,
        "DEL missing",
        "SELECT 0",
        "PING",
        "REPLCONF GETACK *",
        "XGROUP CREATE s g 0",
        "XGROUP SETID s g 1-1",
        "XCLAIM s g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
        "XACK s g 1-1",
        "PUBLISH channel message",
    )
    # But for a stream that is made so.
    assert brief(run(it, "XGROUP CREATE t g 0 MKSTREAM")) == [("set", 0, b"t", [])]


def test_a_rename_is_the_end_of_one_key_and_a_change_of_another() -> None:
    it = shadow()
    run(it, "SET a 1", "SET b 2")
    changes = run(it, "RENAME a b")
    assert brief(changes) == [("delete", 0, b"a", None), ("set", 0, b"b", b"1")]
    assert changes[1].before is not None
    assert changes[1].before.value == b"2"
    assert brief(run(it, "MOVE b 2", "COPY b c")) == [
        ("delete", 0, b"b", None),
        ("set", 2, b"b", b"1"),
    ]


def test_databases_are_exchanged_key_by_key() -> None:
    it = shadow()
    run(it, "SET a 1", "SET both 1", "SELECT 2", "SET both 2", "SELECT 0")
    changes = run(it, "SWAPDB 0 2")
    assert set(brief(changes)) == {
        ("delete", 0, b"a", None),
        ("set", 0, b"both", b"2"),
        ("set", 2, b"a", b"1"),
        ("set", 2, b"both", b"1"),
    }
    assert len(changes) == 4
    assert brief(run(it, "DEL both")) == [("delete", 0, b"both", None)]


def test_deadlines_are_a_part_of_the_key() -> None:
    it = shadow()
    run(it, "HSET h f v g w")
    (change,) = run(it, "PEXPIREAT h 99999999999999")
    assert change.after is not None
    assert change.after.expires_ms == 99999999999999
    (change,) = run(it, "HPEXPIREAT h 4000000000000 FIELDS 1 g")
    assert change.after is not None
    assert change.after.field_expiry == [(b"g", 4000000000000)]
    (change,) = run(it, "PERSIST h")
    assert change.after is not None
    assert change.after.expires_ms is None


def test_large_values_are_not_carried() -> None:
    it = shadow(most=100)
    (change,) = run(it, f"SET s {'x' * 101}")
    assert change.after is not None
    assert change.after.value is OMITTED
    assert change.after.length == 101
    run(it, f"RPUSH l {' '.join('x' * 13)}")
    (change,) = run(it, "RPUSH l y")
    assert change.after is not None
    assert change.after.value is OMITTED
    (change,) = run(it, "LTRIM l -3 -1")
    assert change.after is not None
    assert change.after.value == [b"x", b"x", b"y"]
    assert change.before is not None
    assert change.before.value is OMITTED


def test_only_some_keys_are_wanted() -> None:
    it = shadow(Filter([lambda key: key.startswith(b"user:")], frozenset((0, 2))))
    found = run(it, "MSET user:1 a other b", "SELECT 1", "SET user:1 c", "SELECT 2", "SET user:2 d")
    assert brief(found) == [("set", 0, b"user:1", b"a"), ("set", 2, b"user:2", b"d")]
    assert [it.key for it in it.snapshot()] == [b"user:1", b"user:2"]
    assert [(it.database, it.key) for it in run(it, "FLUSHALL")] == [(0, b"user:1"), (2, b"user:2")]


def test_before_is_there_for_every_change_of_every_command() -> None:
    """Whatever a command does, the keyspace has told of the key before: so nothing is missed."""
    direct = Direct("--databases", "4")
    log = Log()
    journal = Journal(direct.engine, log, direct.engine.history)
    journal.attach()
    it = shadow()
    choose = random.Random(7)
    known: dict[tuple[int, bytes], object] = {}
    for _ in range(4000):
        words = write(choose)
        if words[0].startswith("B") or "BLOCK" in words:
            continue
        before = log.end
        direct.now_ms += choose.randrange(3)
        direct(*words)
        for logged in commands(log.slice(before)) if log.end > before else []:
            _follow(it, logged, known)
        if choose.random() < 0.01:
            direct("FLUSHALL")
            _follow(it, [b"FLUSHALL"], known)
            log.restart(log.end)
    keys = {
        (keyspace.index, key): state_of(keyspace, key, 1 << 20)
        for keyspace in it.databases
        for key in keyspace.values
    }
    assert known == keys


def _follow(it: Shadow, logged: Args, known: dict[tuple[int, bytes], object]) -> None:
    if logged[0] in (b"MULTI", b"EXEC"):
        return
    for change in it.changes(logged):
        place = change.database, change.key
        if change.before is None:
            assert place not in known, logged
        else:
            assert known.pop(place).value == change.before.value, logged  # type: ignore[attr-defined]
        if change.after is not None:
            known[place] = change.after
