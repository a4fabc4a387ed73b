"""What the log says of rows: which keys have changed, and why keys went."""

from __future__ import annotations

from typing import Any

import pytest
from distcache_replication import rdb
from distcache_replication.backing import kinds, mapping
from distcache_replication.backing.pattern import matcher
from distcache_replication.backing.plan import Column, Table, bind
from distcache_replication.segment import encode
from distcache_server.noting import Noter

from tests.support.direct import Direct

ROWS = Table(
    ("rows",),
    (
        Column("id", kinds.text(), "text", nullable=False),
        Column("value", kinds.text(), "text"),
    ),
    (("id",),),
)
CACHE = Table(
    ("cache",),
    (
        Column("key", kinds.BYTES, "bytea", nullable=False),
        Column("value", kinds.BYTES, "bytea", nullable=False),
        Column("expires_at", kinds.integer("int8", 64), "bigint"),
    ),
    (("key",),),
)
MAP = """
[keep]
key = "keep:{id}"
direction = "write-behind"

[drop]
key = "drop:{id}"
direction = "write-behind"
expired = "delete"

[move]
key = "move:{id}"
direction = "write-behind"
expired = "archive"

[read]
key = "read:{id}"

[any]
key = "any:{key}"
as = "any"
direction = "write-behind"
"""


def noter() -> Noter:
    plans = [bind(it, CACHE if it.form == "any" else ROWS) for it in mapping.load(MAP)]
    home = Direct().engine.databases[0]
    return Noter(home, plans, matcher([it.pattern for it in plans]), lambda: 0.0)


def feed(it: Noter, *lines: str) -> None:
    it.feed(b"".join(encode(line.encode().split()) for line in lines))


@pytest.mark.parametrize(
    ("lines", "noted"),
    [
        ("HSET keep:1 value x", "keep:1"),
        ("HSET read:1 value x", ""),
        ("SET other x", ""),
        ("RENAME keep:1 drop:2", "drop:2 keep:1"),
        ("MSET any:1 x other y any:2 z", "any:1 any:2"),
        ("DEL keep:1 drop:1", "drop:1 keep:1"),
        ("del drop:1", "drop:1"),
        ("del keep:1", ""),
        ("HSET keep:1 value x; del keep:1", ""),
        ("unlink any:1", ""),
        ("SELECT 1; SET any:1 x; SELECT 0; SET any:2 x", "any:2"),
        ("PEXPIREAT keep:1 5; PERSIST keep:2; PEXPIREAT any:1 5", "any:1"),
        ("RESTORE keep:1 0 x REPLACE ABSTTL IDLETIME 0", ""),
        ("RESTORE keep:1 0 x REPLACE ABSTTL", "keep:1"),
        ("MULTI; xadd any:1 * a b; XGROUP CREATE any:2 g 0; EXEC; PING", "any:1 any:2"),
        ("PUBLISH any:1 x; REPLCONF GETACK *", ""),
        ("SET any:1 x; FLUSHALL; SET any:2 x", "any:2"),
        ("SET any:1 x; SELECT 1; FLUSHDB", "any:1"),
        ("SORT other BY nosort STORE any:1", "any:1"),
    ],
)
def test_what_is_noted(lines: str, noted: str) -> None:
    it = noter()
    feed(it, *lines.split("; "))
    assert sorted(it.gathering.noted) == noted.encode().split()


def test_a_command_in_pieces() -> None:
    it = noter()
    data = encode([b"SET", b"any:1", b"x" * 100])
    for at in range(len(data)):
        assert not it.gathering.noted
        it.feed(data[at : at + 1])
    assert list(it.gathering.noted) == [b"any:1"]
    assert it.offset == len(data)


def test_what_could_not_be_noted_is_read_again() -> None:
    it = noter()
    match, lines = it._match, ("SET any:1 x", "SET any:2 y", "SET any:3 z")

    def fails(key: bytes) -> Any:
        if key == b"any:2":
            raise RuntimeError
        return match(key)

    it._match = fails
    with pytest.raises(RuntimeError):
        feed(it, *lines)
    assert it.offset == 0
    it._match = match
    feed(it, *lines)
    assert sorted(it.gathering.noted) == [b"any:1", b"any:2", b"any:3"]


def test_commands_that_ran_together_are_not_read() -> None:
    it = noter()
    names = [b"set", b"set", b"set"]
    assert it.knows(b"SET")
    assert it.knows(b"INCR")
    assert not it.knows(b"MSET")
    assert not it.knows(b"PING")
    it.ran(b"SET", [names, [b"any:1", b"other", b"any:1"], [b"x", b"y", b"z"]], 0, 90)
    it.fold()
    assert list(it.gathering.noted) == [b"any:1"]
    assert (it.offset, it.selected, it.gathering.first.offset) == (90, 0, 0)
    it.ran(b"SET", [names[:1], [b"any:2"], [b"x"]], 1, 120)
    it.fold()
    assert list(it.gathering.noted) == [b"any:1"]
    assert (it.offset, it.selected) == (120, 1)


def test_what_ran_together_is_noted_before_what_comes_after_it() -> None:
    it = noter()
    names, keys, values = [b"set"] * 2, [b"drop:1", b"keep:1"], [b"x", b"y"]
    it.ran(b"SET", [names, keys, values], 0, 50)
    it.ran(b"SET", [names, [b"keep:2", b"keep:3"], values], 0, 100)
    assert it.gathering.first.offset == 0
    feed(it, "del keep:1")
    assert it.gathering.noted.keys() == {b"drop:1", b"keep:2", b"keep:3"}
    it.ran(b"SET", [names, keys, values], 0, 200)
    it.look()
    assert it.gathering.changes.keys() == {b"drop:1", b"keep:1", b"keep:2", b"keep:3"}


def test_what_a_key_held_at_last() -> None:
    """Its row stays that, or goes to the archive as that."""
    it = noter()
    value = rdb.dump(rdb.of_hash([(b"value", b"last")], 1, True, rdb.Style(10)), 10)
    for key in (b"keep:1", b"move:1"):
        it.feed(encode([b"HSET", key, b"value", b"last"]))
        it.feed(
            encode([b"RESTORE", key, b"5", value, b"REPLACE", b"ABSTTL", b"IDLETIME", b"1"])
            + encode([b"del", key])
        )
    assert not it.gathering.noted
    assert {key: each.row for key, each in it.gathering.changes.items()} == {b"keep:1": ["last"]}
    assert {key: each.row for key, each in it.gathering.last.items()} == {b"move:1": ["last"]}
    assert list(it.gathering.archived) == [b"move:1"]


def test_a_flush_empties_tables_of_our_own() -> None:
    it = noter()
    feed(it, "SET any:1 x", "FLUSHALL")
    assert [plan.mapping.name for plan in it.gathering.emptied] == ["any"]
    assert it.gathering.holds(b"any:7", it.plans[4])
    assert not it.gathering.holds(b"keep:1", it.plans[0])


def test_present_values_are_looked_at() -> None:
    direct = Direct()
    it = noter()
    it.home = direct.keyspace
    direct("SET", "any:1", "x", "PXAT", "9999999999999")
    direct("HSET", "keep:1", "value", "x")
    feed(it, "SET any:1 old", "HSET keep:1 value old", "SET any:2 gone")
    it.look()
    found = it.gathering.changes
    assert (found[b"any:1"].value, found[b"any:1"].deadline_ms) == (b"x", 9999999999999)
    assert found[b"keep:1"].row == ["x"]
    assert found[b"any:2"].row is None


def test_keys_can_be_looked_at_little_by_little() -> None:
    it = noter()
    feed(it, "HSET keep:1 value x", "HSET keep:2 value x", "HSET keep:3 value x")
    it.look([b"keep:1", b"keep:2", b"keep:4"])
    assert list(it.gathering.noted) == [b"keep:3"]
    feed(it, "HSET keep:1 value y")
    it.look()
    assert not it.gathering.noted
    assert sorted(it.gathering.changes) == [b"keep:1", b"keep:2", b"keep:3"]
