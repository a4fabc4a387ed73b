"""Consumer groups: what is read, pending, claimed, acknowledged, and told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from distcache_replication import rdb

from tests.blackbox.commands.conftest import Ask
from tests.support import Map, Wire

NOGROUP = b"NOGROUP No such key 'k' or consumer group 'nosuch'"
INVALID = b"ERR Invalid stream ID specified as stream command argument"


def fill(ask: Ask, count: int = 5) -> None:
    """A stream and a group that has read nothing."""
    for number in range(1, count + 1):
        ask("XADD", "k", f"{number}-0", "field", number)
    assert ask("XGROUP", "CREATE", "k", "g", 0, "ENTRIESREAD", 0) == b"OK"


def entry(number: int) -> list[Any]:
    return [b"%d-0" % number, [b"field", b"%d" % number]]


def by_key(reply: Any) -> Any:
    """What was read, by key: RESP3 has a map, shown flat, where RESP2 has pairs."""
    if reply and isinstance(reply[0], bytes):
        reply = list(zip(reply[::2], reply[1::2], strict=True))
    return dict(reply) if reply is not None else None


def read(ask: Ask, consumer: str, *words: Any, since: str = ">") -> Any:
    """What a consumer of the group gets of the stream."""
    reply = ask("XREADGROUP", "GROUP", "g", consumer, *words, "STREAMS", "k", since)
    return None if reply is None else by_key(reply)[b"k"]


def group(ask: Ask) -> dict[bytes, Any]:
    (facts,) = ask("XINFO", "GROUPS", "k")
    return dict(zip(facts[::2], facts[1::2], strict=True))


def pending(ask: Ask, *words: Any) -> list[tuple[bytes, bytes, int]]:
    """Ids, consumers and counts of what is pending."""
    listed = ask("XPENDING", "k", "g", "-", "+", 100, *words)
    return [(number, consumer, count) for number, consumer, _, count in listed]


# XREAD


def test_xread(ask: Ask) -> None:
    fill(ask)
    ask("XADD", "other", "9-0", "a", "b")
    assert by_key(ask("XREAD", "STREAMS", "k", "3")) == {b"k": [entry(4), entry(5)]}
    words = ["XREAD", "COUNT", 1, "STREAMS", "k", "missing", "other", 0, 0, "8-5"]
    expected = {b"k": [entry(1)], b"other": [[b"9-0", [b"a", b"b"]]]}
    assert by_key(ask(*words)) == expected
    assert ask("XREAD", "STREAMS", "k", "other", "$", "$") is None
    assert ask("XREAD", "STREAMS", "k", "5-0") is None
    assert by_key(ask("XREAD", "COUNT", 0, "STREAMS", "k", "4")) == {b"k": [entry(5)]}


def test_shapes(wire: Wire) -> None:
    wire.call("XADD", "k", "1-0", "a", "b")
    entries: Any = [[b"1-0", [b"a", b"b"]]]
    assert wire.call("XREAD", "STREAMS", "k", "0") == [[b"k", entries]]
    wire.call("HELLO", 3)
    assert wire.call("XREAD", "STREAMS", "k", "0") == Map([(b"k", entries)])
    assert isinstance(wire.call("XINFO", "STREAM", "k"), Map)
    wire.call("XGROUP", "CREATE", "k", "g", "0")
    (facts,) = wire.call("XINFO", "GROUPS", "k")
    assert isinstance(facts, Map)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("XREAD STREAMS k >", b"ERR The > ID can be specified only when calling XREADGROUP"),
        ("XREAD STREAMS k x", INVALID),
        ("XREAD STREAMS k l 0", b"ERR Unbalanced"),
        ("XREAD COUNT x STREAMS k 0", b"ERR value is not an integer"),
        ("XREAD BLOCK x STREAMS k 0", b"ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS k 0", b"ERR timeout is negative"),
        ("XREAD GROUP g c STREAMS k 0", b"ERR The GROUP option is only supported by XREADGROUP"),
        ("XREAD NOACK STREAMS k 0", b"ERR The NOACK option is only supported by XREADGROUP"),
        ("XREAD COUNT 1 BLOCK 1", b"ERR syntax error"),
        ("XREAD FOO STREAMS k 0", b"ERR syntax error"),
        ("XREADGROUP GROUP g c STREAMS k $", b"ERR The $ ID is meaningless"),
        ("XREADGROUP GROUP g c STREAMS k l >", b"ERR Unbalanced"),
        ("XREADGROUP COUNT 1 NOACK STREAMS k >", b"ERR Missing GROUP option for XREADGROUP"),
        (
            "XREADGROUP GROUP nosuch c STREAMS k >",
            NOGROUP + b" in XREADGROUP with GROUP option",
        ),
        ("XREADGROUP GROUP g c STREAMS k x", INVALID),
    ],
)
def test_reads_that_are_refused(ask: Ask, line: str, error: bytes) -> None:
    fill(ask)
    assert ask(*line.split()).startswith(error)


# XREADGROUP


def test_each_entry_goes_to_one_consumer(ask: Ask) -> None:
    fill(ask)
    assert read(ask, "a", "COUNT", 2) == [entry(1), entry(2)]
    assert read(ask, "b", "COUNT", 1) == [entry(3)]
    assert read(ask, "a") == [entry(4), entry(5)]
    assert read(ask, "b") is None
    assert read(ask, "a", since="0") == [entry(n) for n in (1, 2, 4, 5)]
    assert read(ask, "a", "COUNT", 1, since="1-0") == [entry(2)]
    assert read(ask, "new", since="0") == []
    assert ask("XPENDING", "k", "g") == [5, b"1-0", b"5-0", [[b"a", b"4"], [b"b", b"1"]]]
    # Two reads of the history: 2 was delivered three times.
    assert pending(ask, "a")[:2] == [(b"1-0", b"a", 2), (b"2-0", b"a", 3)]


def test_deleted_entries_in_the_history(ask: Ask) -> None:
    fill(ask)
    read(ask, "a", "COUNT", 2)
    ask("XDEL", "k", "1-0")
    assert read(ask, "a", since="0") == [[b"1-0", None], entry(2)]


def test_noack(ask: Ask) -> None:
    fill(ask)
    assert read(ask, "a", "NOACK") == [entry(n) for n in range(1, 6)]
    assert ask("XPENDING", "k", "g") == [0, None, None, None]
    assert (group(ask)[b"last-delivered-id"], group(ask)[b"lag"]) == (b"5-0", 0)


def test_entries_that_are_delivered_again(ask: Ask) -> None:
    fill(ask)
    read(ask, "a")
    ask("XGROUP", "SETID", "k", "g", "2")
    assert read(ask, "b", "COUNT", 2) == [entry(3), entry(4)]
    assert [consumer for _, consumer, _ in pending(ask)] == [b"a", b"a", b"b", b"b", b"a"]


# XGROUP


def test_groups_are_made_and_destroyed(ask: Ask) -> None:
    needs = b"ERR The XGROUP subcommand requires the key to exist."
    assert ask("XGROUP", "CREATE", "new", "g", "$").startswith(needs)
    assert ask("XGROUP", "CREATE", "new", "g", "$", "MKSTREAM") == b"OK"
    assert (ask("XLEN", "new"), ask("TYPE", "new")) == (0, b"stream")
    busy = b"BUSYGROUP Consumer Group name already exists"
    assert ask("XGROUP", "CREATE", "new", "g", "$", "MKSTREAM") == busy
    assert ask("XGROUP", "CREATE", "new", "h", "x") == INVALID
    assert ask("XGROUP", "CREATE", "new", "h", "0", "FOO").startswith(b"ERR unknown subcommand or")
    words = ["XGROUP", "CREATE", "new", "h", "0", "ENTRIESREAD"]
    assert ask(*words, -2) == b"ERR value for ENTRIESREAD must be positive or -1"
    assert ask(*words, 7) == b"OK"
    assert ask("XGROUP", "DESTROY", "new", "h") == 1
    assert ask("XGROUP", "DESTROY", "new", "h") == 0
    assert ask("XGROUP", "DESTROY", "missing", "h").startswith(needs)
    assert ask("XGROUP", "NOSUCH", "new").startswith(b"ERR unknown subcommand")
    assert b"HELP" in ask("XGROUP", "HELP")


def test_consumers_are_made_and_deleted(ask: Ask) -> None:
    fill(ask)
    assert ask("XGROUP", "CREATECONSUMER", "k", "g", "a") == 1
    assert ask("XGROUP", "CREATECONSUMER", "k", "g", "a") == 0
    read(ask, "a", "COUNT", 3)
    assert ask("XGROUP", "DELCONSUMER", "k", "g", "a") == 3
    assert ask("XGROUP", "DELCONSUMER", "k", "g", "a") == 0
    assert ask("XPENDING", "k", "g") == [0, None, None, None]
    missing = b"NOGROUP No such consumer group 'nosuch' for key name 'k'"
    for words in (("CREATECONSUMER", "k", "nosuch", "c"), ("DELCONSUMER", "k", "nosuch", "c")):
        assert ask("XGROUP", *words) == missing
    assert ask("XGROUP", "SETID", "k", "nosuch", "0") == missing


# XACK, XPENDING


def test_acknowledgement(ask: Ask) -> None:
    fill(ask)
    read(ask, "a")
    assert ask("XACK", "k", "g", "1-0", "3-0", "3-0", "9-0") == 2
    assert ask("XACK", "k", "g", "2-0", "x") == INVALID
    assert ask("XACK", "k", "nosuch", "x") == 0
    assert [number for number, _, _ in pending(ask)] == [b"2-0", b"4-0", b"5-0"]
    assert ask("XACK", "k", "g", "2-0", "4-0", "5-0") == 3
    assert ask("XPENDING", "k", "g") == [0, None, None, None]


def test_what_is_pending(ask: Ask) -> None:
    fill(ask)
    read(ask, "a", "COUNT", 2)
    read(ask, "b")
    between = ask("XPENDING", "k", "g", "2", "(4-0", 10)
    assert [line[:2] for line in between] == [[b"2-0", b"a"], [b"3-0", b"b"]]
    assert len(ask("XPENDING", "k", "g", "-", "+", 3)) == 3
    assert ask("XPENDING", "k", "g", "-", "+", 0) == []
    assert len(ask("XPENDING", "k", "g", "-", "+", 10, "b")) == 3
    assert ask("XPENDING", "k", "g", "-", "+", 10, "nobody") == []
    assert len(ask("XPENDING", "k", "g", "IDLE", 0, "-", "+", 10, "b")) == 3
    assert ask("XPENDING", "k", "g", "IDLE", 10**8, "-", "+", 10) == []
    assert ask("XPENDING", "k", "nosuch") == NOGROUP
    for words in (["-"], ["-", "+"], ["IDLE", 1, "-", "+"], ["-", "+", 1, "a", "b", "c", "d"]):
        assert ask("XPENDING", "k", "g", *words) == b"ERR syntax error"
    assert ask("XPENDING", "k", "g", "x", "+", 1) == INVALID


# Claiming


def test_claims(ask: Ask) -> None:
    fill(ask)
    read(ask, "a", "COUNT", 3)
    assert ask("XCLAIM", "k", "g", "b", 0, "1-0", "4-0", "9-0") == [entry(1)]
    assert ask("XCLAIM", "k", "g", "b", 0, "2-0", "JUSTID") == [b"2-0"]
    assert ask("XCLAIM", "k", "g", "b", 10**8, "3-0") == []
    assert ask("XCLAIM", "k", "g", "c", 0, "5-0", "FORCE", "JUSTID") == [b"5-0"]
    assert ask("XCLAIM", "k", "g", "c", 0, "3-0", "RETRYCOUNT", 9, "IDLE", 10**6) == [entry(3)]
    assert pending(ask) == [
        (b"1-0", b"b", 2),
        (b"2-0", b"b", 1),
        (b"3-0", b"c", 9),
        (b"5-0", b"c", 1),
    ]
    assert [line[0] for line in ask("XPENDING", "k", "g", "IDLE", 10**6, "-", "+", 9)] == [b"3-0"]
    ask("XDEL", "k", "1-0")
    assert ask("XCLAIM", "k", "g", "c", 0, "1-0") == []
    assert len(pending(ask)) == 3
    ask("XCLAIM", "k", "g", "c", 0, "2-0", "LASTID", "4-0")
    assert group(ask)[b"last-delivered-id"] == b"4-0"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("XCLAIM k nosuch c 0 1-0", NOGROUP),
        ("XCLAIM k g c x 1-0", b"ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM k g c 0 1-0 IDLE x", b"ERR Invalid IDLE option argument for XCLAIM"),
        ("XCLAIM k g c 0 1-0 TIME x", b"ERR Invalid TIME option argument for XCLAIM"),
        ("XCLAIM k g c 0 1-0 RETRYCOUNT x", b"ERR Invalid RETRYCOUNT option argument for XCLAIM"),
        ("XCLAIM k g c 0 1-0 LASTID x", INVALID),
        ("XCLAIM k g c 0 1-0 x", b"ERR Unrecognized XCLAIM option 'x'"),
        ("XCLAIM k g c 0 1-0 IDLE", b"ERR Unrecognized XCLAIM option 'IDLE'"),
        ("XAUTOCLAIM k nosuch c 0 0", NOGROUP),
        ("XAUTOCLAIM k g c x 0", b"ERR Invalid min-idle-time argument for XAUTOCLAIM"),
        ("XAUTOCLAIM k g c 0 x", INVALID),
        ("XAUTOCLAIM k g c 0 0 COUNT 0", b"ERR COUNT must be > 0"),
        ("XAUTOCLAIM k g c 0 0 COUNT", b"ERR syntax error"),
        ("XAUTOCLAIM k g c 0 0 FOO", b"ERR syntax error"),
    ],
)
def test_claims_that_are_refused(ask: Ask, line: str, error: bytes) -> None:
    fill(ask)
    assert ask(*line.split()) == error
    assert ask("XINFO", "CONSUMERS", "k", "g") == []


def test_claims_of_whatever_is_idle(ask: Ask) -> None:
    fill(ask, 30)
    read(ask, "a")
    ask("XDEL", "k", "2-0", "30-0")
    assert ask("XAUTOCLAIM", "k", "g", "b", 0, "-", "COUNT", 3) == [
        b"4-0",
        [entry(1), entry(3)],
        [b"2-0"],
    ]
    assert ask("XAUTOCLAIM", "k", "g", "b", 0, "(4-0", "COUNT", 2, "JUSTID") == [
        b"7-0",
        [b"5-0", b"6-0"],
        [],
    ]
    # No more than ten times COUNT are looked at.
    assert ask("XAUTOCLAIM", "k", "g", "b", 10**8, "7-0", "COUNT", 1) == [b"17-0", [], []]
    cursor, claimed, gone = ask("XAUTOCLAIM", "k", "g", "b", 0, "7-0")
    assert (cursor, len(claimed), gone) == (b"0-0", 23, [b"30-0"])
    assert ask("XAUTOCLAIM", "k", "g", "b", 0, "99") == [b"0-0", [], []]


# XINFO, lag


def facts(reply: list[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def test_info_of_a_stream(ask: Ask) -> None:
    fill(ask, 15)
    read(ask, "a", "COUNT", 12)
    ask("XDEL", "k", "1-0", "3-0")
    it = facts(ask("XINFO", "STREAM", "k"))
    assert it[b"length"] == 13
    assert it[b"last-generated-id"] == b"15-0"
    assert it[b"max-deleted-entry-id"] == b"3-0"
    assert it[b"entries-added"] == 15
    assert it[b"recorded-first-entry-id"] == b"2-0"
    assert (it[b"groups"], it[b"first-entry"], it[b"last-entry"]) == (1, entry(2), entry(15))
    for words, shown in (([], 10), (["COUNT", 3], 3), (["COUNT", 0], 13), (["COUNT", -1], 10)):
        it = facts(ask("XINFO", "STREAM", "k", "full", *words))
        assert len(it[b"entries"]) == shown
        (one,) = map(facts, it[b"groups"])
        assert (one[b"name"], one[b"pel-count"], one[b"entries-read"]) == (b"g", 12, 12)
        assert len(one[b"pending"]) == min(shown, 12)
        (consumer,) = map(facts, one[b"consumers"])
        assert (consumer[b"name"], consumer[b"pel-count"]) == (b"a", 12)
        assert len(consumer[b"pending"]) == min(shown, 12)
    for wrong in (["FOO"], ["FULL", "COUNT"], ["FULL", "FOO", 1]):
        words = [*wrong]
        assert ask("XINFO", "STREAM", "k", *words).startswith(b"ERR unknown subcommand or wrong")
    ask("XTRIM", "k", "MAXLEN", 0)
    it = facts(ask("XINFO", "STREAM", "k"))
    assert (it[b"first-entry"], it[b"last-entry"]) == (None, None)
    assert it[b"recorded-first-entry-id"] == b"0-0"


def test_info_of_consumers(ask: Ask) -> None:
    fill(ask)
    read(ask, "b")
    ask("XGROUP", "CREATECONSUMER", "k", "g", "a")
    one, other = map(facts, ask("XINFO", "CONSUMERS", "k", "g"))
    assert (one[b"name"], one[b"pending"], other[b"name"], other[b"pending"]) == (b"a", 0, b"b", 5)
    assert 0 <= one[b"idle"] < 60_000
    assert ask("XINFO", "CONSUMERS", "k", "h").startswith(b"NOGROUP No such consumer group 'h'")


@pytest.mark.since("7.2")
def test_when_consumers_were_active(ask: Ask) -> None:
    fill(ask)
    read(ask, "b")
    read(ask, "a")
    one, other = map(facts, ask("XINFO", "CONSUMERS", "k", "g"))
    assert one[b"inactive"] == -1
    assert 0 <= other[b"inactive"] < 60_000


def after(*lines: str) -> Callable[[Ask], None]:
    def run(ask: Ask) -> None:
        for line in lines:
            ask(*line.split())

    return run


@pytest.mark.parametrize(
    ("steps", "read_count", "lag"),
    [
        (after(), 0, 5),
        (after("XREADGROUP GROUP g c COUNT 2 STREAMS k >"), 2, 3),
        (after("XREADGROUP GROUP g c STREAMS k >"), 5, 0),
        (after("XDEL k 1-0"), 0, 5),
        (after("XDEL k 3-0"), 0, None),
        (after("XDEL k 3-0", "XREADGROUP GROUP g c COUNT 3 STREAMS k >"), None, None),
        (after("XDEL k 3-0", "XREADGROUP GROUP g c STREAMS k >"), 5, 0),
        (after("XTRIM k MAXLEN 2", "XREADGROUP GROUP g c COUNT 1 STREAMS k >"), 1, 4),
        (after("XGROUP SETID k g 0"), None, 5),
        (after("XGROUP SETID k g 1"), None, 4),
        (after("XGROUP SETID k g 3"), None, None),
        (after("XGROUP SETID k g $"), None, 0),
        (after("XGROUP SETID k g 9"), None, None),
        (after("XGROUP SETID k g 3 ENTRIESREAD 3"), 3, 2),
    ],
)
def test_lag(
    ask: Ask, steps: Callable[[Ask], None], read_count: int | None, lag: int | None
) -> None:
    fill(ask)
    steps(ask)
    assert (group(ask)[b"entries-read"], group(ask)[b"lag"]) == (read_count, lag)


@pytest.mark.parametrize(
    ("last", "read", "lag"),
    [((1, 0), 0, 3), ((2, 0), 1, 2), ((3, 0), None, None), ((4, 0), 3, 0), ((9, 0), None, None)],
)
def test_what_a_group_has_read_is_guessed_where_old_snapshots_do_not_say(
    ask: Ask, last: tuple[int, int], read: int | None, lag: int | None
) -> None:
    entries = [rdb.Entry((number, 0), [b"a", b"b"]) for number in (2, 3, 4)]
    plain = rdb.Stream(entries, (4, 0), (2, 0), (0, 0), 3, [rdb.Group(b"g", last, -1, [], [])])
    assert ask("RESTORE", "k", 0, rdb.dump(rdb.of_stream(plain, rdb.Style(9)), 9)) == b"OK"
    assert (group(ask)[b"entries-read"], group(ask)[b"lag"]) == (read, lag)
