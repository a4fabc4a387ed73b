"""The commands of a stream's entries."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Server, Wire

COMMANDS = [
    *("XADD k 1-1 a b", "XLEN k", "XRANGE k - +", "XREVRANGE k + -", "XDEL k 1-1"),
    *("XTRIM k MAXLEN 1", "XSETID k 1-1", "XREAD STREAMS k 0", "XACK k g 1-1", "XPENDING k g"),
    *("XREADGROUP GROUP g c STREAMS k >", "XCLAIM k g c 0 1-1", "XAUTOCLAIM k g c 0 0"),
    *("XGROUP CREATE k g $", "XGROUP SETID k g $", "XGROUP DESTROY k g", "XINFO STREAM k"),
    *("XGROUP CREATECONSUMER k g c", "XGROUP DELCONSUMER k g c", "XINFO GROUPS k"),
    "XINFO CONSUMERS k g",
]
INVALID = b"ERR Invalid stream ID specified as stream command argument"
SYNTAX = b"ERR syntax error"


def arity(name: str) -> bytes:
    return f"ERR wrong number of arguments for '{name}' command".encode()


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(ask: Ask, line: str) -> None:
    ask("SET", "k", "text")
    assert ask(*line.split()).startswith(b"WRONGTYPE")
    assert ask("GET", "k") == b"text"


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    container = words[0] in ("XGROUP", "XINFO")
    name = "|".join(words[:2]).lower() if container else words[0].lower()
    for count in range(1 + container, len(words)):
        reply = ask(*words[:count])
        assert reply in (arity(name), SYNTAX) or b"Unbalanced" in reply
    if words[0] == "XLEN" or words[1] in ("GROUPS", "CONSUMERS", "DESTROY", "DELCONSUMER"):
        assert ask(*words, "more") == arity(name)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("XLEN k", 0),
        ("XRANGE k - +", []),
        ("XREVRANGE k + -", []),
        ("XDEL k 1-1", 0),
        ("XTRIM k MAXLEN 1", 0),
        ("XSETID k 1-1", b"ERR no such key"),
        ("XREAD STREAMS k 0", None),
        ("XACK k g 1-1", 0),
        ("XPENDING k g", b"NOGROUP No such key 'k' or consumer group 'g'"),
        ("XCLAIM k g c 0 1-1", b"NOGROUP No such key 'k' or consumer group 'g'"),
        ("XAUTOCLAIM k g c 0 0", b"NOGROUP No such key 'k' or consumer group 'g'"),
        ("XINFO STREAM k", b"ERR no such key"),
        ("XINFO GROUPS k", b"ERR no such key"),
        ("XINFO CONSUMERS k g", b"ERR no such key"),
        ("XADD k NOMKSTREAM * a b", None),
    ],
)
def test_missing(ask: Ask, line: str, reply: Any) -> None:
    assert ask(*line.split()) == reply
    assert ask("EXISTS", "k") == 0


@pytest.mark.since("7.2")
def test_a_millisecond_without_more_ids(ask: Ask) -> None:
    ask("XADD", "s", f"7-{2**64 - 1}", "a", "b")
    assert b"equal or smaller" in ask("XADD", "s", "7-*", "a", "b")


def fill(ask: Ask, key: str = "k", count: int = 5) -> None:
    for number in range(1, count + 1):
        assert ask("XADD", key, f"{number}-1", "field", number) == b"%d-1" % number


def ids(reply: Any) -> list[bytes]:
    return [number for number, _ in reply]


# XADD


def test_ids_that_are_made(ask: Ask) -> None:
    first = ask("XADD", "k", "*", "a", "1", "b", "2")
    assert re.fullmatch(rb"\d{13,}-\d+", first)
    numbers = [ask("XADD", "k", "*", "a", "1") for _ in range(20)]
    parts = [tuple(map(int, number.split(b"-"))) for number in [first, *numbers]]
    assert parts == sorted(set(parts))
    assert ask("XADD", "s", "0-*", "a", "b") == b"0-1"
    assert ask("XADD", "s", "0-*", "a", "b") == b"0-2"
    assert ask("XADD", "s", "5", "a", "b") == b"5-0"
    assert ask("XADD", "s", "5-*", "a", "b") == b"5-1"
    assert ask("XADD", "s", "7-*", "a", "b") == b"7-0"
    assert ask("XADD", "s", f"7-{2**64 - 1}", "a", "b") == b"7-%d" % (2**64 - 1)
    ask("XADD", "future", f"{10**15}-{2**64 - 1}", "a", "b")
    assert ask("XADD", "future", "*", "a", "b") == b"%d-0" % (10**15 + 1)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("0-0", b"ERR The ID specified in XADD must be greater than 0-0"),
        ("0", b"ERR The ID specified in XADD must be greater than 0-0"),
        ("x", INVALID),
        ("-", INVALID),
        ("+", INVALID),
        ("1-2-3", INVALID),
        ("18446744073709551616", INVALID),
        ("MAXLEN x *", b"ERR value is not an integer or out of range"),
        ("MAXLEN -1 *", b"ERR The MAXLEN argument must be >= 0."),
        ("MINID x *", INVALID),
        ("MAXLEN ~ 5 LIMIT -1 *", b"ERR The LIMIT argument must be >= 0."),
        (
            "MAXLEN 5 LIMIT 1 *",
            b"ERR syntax error, LIMIT cannot be used without the special ~ option",
        ),
        (
            "LIMIT 1 *",
            b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ),
        (
            "MAXLEN 1 MINID 1 *",
            b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ),
    ],
)
def test_adds_that_are_refused(ask: Ask, words: str, error: bytes) -> None:
    assert ask("XADD", "k", *words.split(), "a", "b") == error
    assert ask("EXISTS", "k") == 0


def test_fields_without_values(ask: Ask) -> None:
    for words in (["*"], ["*", "a"], ["*", "a", "b", "c"], ["MAXLEN", "5"], ["NOMKSTREAM", "*"]):
        assert ask("XADD", "k", *words) == arity("xadd")


def test_the_last_id_of_all(ask: Ask) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    assert ask("XADD", "k", last, "a", "b") == last.encode()
    error = b"ERR The stream has exhausted the last possible ID, unable to add more items"
    for number in ("*", "1-1", f"{2**64 - 1}-*"):
        assert ask("XADD", "k", number, "a", "b") == error


def test_entries_are_kept_as_they_are(ask: Ask) -> None:
    ask("XADD", "k", "1-1", "a", "", "a", "\0\r\n", "", "x" * 5000)
    ask("XADD", "k", "1-2", "other", "y" * 70000)
    assert ask("XRANGE", "k", "-", "+") == [
        [b"1-1", [b"a", b"", b"a", b"\0\r\n", b"", b"x" * 5000]],
        [b"1-2", [b"other", b"y" * 70000]],
    ]


# Ranges


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("-", "+", "12345"),
        ("2", "4", "234"),
        ("2-1", "4-0", "23"),
        ("(2-1", "(4-1", "3"),
        ("(2", "5", "2345"),
        ("2-2", "+", "345"),
        ("+", "-", ""),
        ("6", "9", ""),
        ("3-1", "3-1", "3"),
    ],
)
def test_ranges(ask: Ask, start: str, end: str, expected: str) -> None:
    fill(ask)
    wanted = [f"{digit}-1".encode() for digit in expected]
    assert ids(ask("XRANGE", "k", start, end)) == wanted
    assert ids(ask("XREVRANGE", "k", end, start)) == wanted[::-1]
    assert ids(ask("XRANGE", "k", start, end, "COUNT", 2)) == wanted[:2]
    assert ids(ask("XREVRANGE", "k", end, start, "count", 2)) == wanted[::-1][:2]


def test_ranges_that_are_refused(ask: Ask) -> None:
    fill(ask)
    assert ask("XRANGE", "k", f"({2**64 - 1}-{2**64 - 1}", "+").startswith(b"ERR invalid start ID")
    assert ask("XRANGE", "k", "-", "(0-0").startswith(b"ERR invalid end ID")
    for word in ("x", "(-", "("):
        assert ask("XRANGE", "k", word, "+") == INVALID
    for words in (["COUNT"], ["COUNT", "1", "x"], ["LIMIT", "1"]):
        assert ask("XRANGE", "k", "-", "+", *words) == SYNTAX
    assert ask("XRANGE", "k", "-", "+", "COUNT", "x").startswith(b"ERR value is not an integer")
    assert ask("XRANGE", "k", "-", "+", "COUNT", 0) is None
    assert ask("XRANGE", "k", "-", "+", "COUNT", -1) is None


def test_many_entries(ask: Ask) -> None:
    fill(ask, count=1000)
    ask("XADD", "k", "2000", "other", "fields", "in", "here")
    assert ask("XLEN", "k") == 1001
    entries = ask("XRANGE", "k", "-", "+")
    assert entries[:-1] == [
        [b"%d-1" % number, [b"field", b"%d" % number]] for number in range(1, 1001)
    ]
    assert ask("XREVRANGE", "k", "+", "-") == entries[::-1]
    assert ask("XRANGE", "k", "450", "620") == entries[449:620]
    assert ask("XREVRANGE", "k", "+", "-", "COUNT", 150) == entries[:-151:-1]


# Deleting


def test_entries_are_deleted(ask: Ask) -> None:
    fill(ask, count=300)
    assert ask("XDEL", "k", "3-1", "3-1", "999-1", "150-1", "300-1") == 3
    assert ask("XDEL", "k", "3-1") == 0
    assert ask("XDEL", "k", "4-1", "x") == INVALID
    assert ask("XLEN", "k") == 297
    assert b"3-1" not in ids(ask("XRANGE", "k", "-", "+"))
    assert ids(ask("XREVRANGE", "k", "+", "-", "COUNT", 1)) == [b"299-1"]
    assert b"equal or smaller" in ask("XADD", "k", "300-1", "a", "b")
    assert ask("XDEL", "k", *[f"{number}-1" for number in range(301)]) == 297
    # An empty stream stays, and knows its last id.
    assert (ask("XLEN", "k"), ask("EXISTS", "k")) == (0, 1)
    assert b"equal or smaller" in ask("XADD", "k", "300-1", "a", "b")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("MAXLEN 350", 350),
        ("MAXLEN = 105", 105),
        ("MAXLEN ~ 350", 400),
        ("MAXLEN ~ 350 LIMIT 50", 1000),
        ("MAXLEN ~ 350 LIMIT 250", 800),
        ("MAXLEN ~ 350 LIMIT 0", 400),
        ("MAXLEN 0", 0),
        ("MINID 251", 750),
        ("MINID = 251-2", 749),
        ("MINID ~ 251", 800),
        ("MINID ~ 251 LIMIT 100", 900),
        ("MINID 2000", 0),
        ("MAXLEN 2000", 1000),
    ],
)
def test_trimming(ask: Ask, words: str, left: int) -> None:
    fill(ask, count=1000)
    assert ask("XTRIM", "k", *words.split()) == 1000 - left
    assert ask("XLEN", "k") == left
    expected = [b"%d-1" % number for number in range(1001 - left, 1001)]
    assert ids(ask("XRANGE", "k", "-", "+")) == expected
    assert ask("XADD", "k", *words.split(), "1001-1", "a", "b") == b"1001-1"
    assert ids(ask("XREVRANGE", "k", "+", "-", "COUNT", 1)) in ([b"1001-1"], [])


def test_trimming_that_is_refused(ask: Ask) -> None:
    fill(ask)
    assert ask("XTRIM", "k", "FOO", 1) == SYNTAX
    assert ask("XTRIM", "k", "MAXLEN", 1, "NOMKSTREAM") == SYNTAX
    assert b"must be called with a trimming" in ask("XTRIM", "k", "LIMIT", 0)
    assert ask("XTRIM", "k", "MAXLEN", 1, "LIMIT", 5).startswith(b"ERR syntax error, LIMIT")
    assert ask("XLEN", "k") == 5


def test_nodes_are_as_large_as_the_settings_say(ask: Ask) -> None:
    ask("CONFIG", "SET", "stream-node-max-entries", 10)
    fill(ask, count=100)
    assert ask("XTRIM", "k", "MAXLEN", "~", 55) == 40
    ask("CONFIG", "SET", "stream-node-max-entries", 0, "stream-node-max-bytes", 0)
    fill(ask, "other", 500)
    assert ask("XTRIM", "other", "MAXLEN", "~", 5) == 0
    assert ask("XTRIM", "other", "MAXLEN", 5) == 495


# XSETID


def test_the_last_id_is_set(ask: Ask) -> None:
    fill(ask)
    assert ask("XSETID", "k", "200-3") == b"OK"
    assert ask("XADD", "k", "200-*", "a", "b") == b"200-4"
    assert b"target stream top item" in ask("XSETID", "k", "1-1")
    words = ["XSETID", "k", "300-1", "ENTRIESADDED"]
    assert ask(*words, 100, "MAXDELETEDID", "250-1") == b"OK"
    assert ask(*words, -1) == b"ERR entries_added must be positive"
    assert ask(*words, 2).startswith(b"ERR The entries_added specified in XSETID is smaller")
    assert b"provided max_deleted" in ask("XSETID", "k", "300-1", "MAXDELETEDID", "301-1")
    assert ask("XSETID", "k", "300-1", "FOO") == SYNTAX
    assert ask("XSETID", "k", "x") == INVALID
    info = ask("XINFO", "STREAM", "k")
    facts = dict(zip(info[::2], info[1::2], strict=True))
    assert facts[b"last-generated-id"] == b"300-1"
    assert facts[b"entries-added"] == 100
    assert facts[b"max-deleted-entry-id"] == b"250-1"


@pytest.mark.since("7.2")
def test_no_last_id_below_one_that_was_deleted(ask: Ask) -> None:
    fill(ask)
    ask("XDEL", "k", "5-1")
    assert b"current max_deleted" in ask("XSETID", "k", "4-1")


# As any key


def test_as_any_key(ask: Ask) -> None:
    fill(ask, count=300)
    ask("XGROUP", "CREATE", "k", "g", 0)
    ask("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", "k", ">")
    assert ask("TYPE", "k") == b"stream"
    assert ask("OBJECT", "ENCODING", "k") == b"stream"
    assert 1000 < ask("MEMORY", "USAGE", "k") < 50_000
    assert ask("SCAN", 0, "TYPE", "stream") == [b"0", [b"k"]]
    assert ask("COPY", "k", "copy") == 1
    ask("XDEL", "k", "1-1")
    ask("XACK", "k", "g", "2-1")
    assert ask("XLEN", "copy") == 300
    assert ask("XPENDING", "copy", "g")[0] == 5
    assert ask("RENAME", "copy", "other") == b"OK"
    assert ask("XLEN", "other") == 300
    payload = ask("DUMP", "other")
    assert ask("RESTORE", "restored", 0, payload) == b"OK"
    assert ask("XRANGE", "restored", "-", "+") == ask("XRANGE", "other", "-", "+")
    assert ask("XPENDING", "restored", "g") == ask("XPENDING", "other", "g")
    assert ask("XINFO", "GROUPS", "restored") == ask("XINFO", "GROUPS", "other")
    assert ask("UNLINK", "other", "restored") == 2


def test_events(events: Ask) -> None:
    assert events("XADD", "k", "1-1", "a", "b") == [b"xadd k"]
    assert events("XADD", "k", "MAXLEN", 1, "2-1", "a", "b") == [b"xadd k", b"xtrim k"]
    assert events("XADD", "k", "3-1", "a", "b") == [b"xadd k"]
    assert events("XDEL", "k", "2-1") == [b"xdel k"]
    assert events("XTRIM", "k", "MAXLEN", 5) == []
    assert events("XTRIM", "k", "MAXLEN", 0) == [b"xtrim k"]
    assert events("XSETID", "k", "5-1") == [b"xsetid k"]
    assert events("XGROUP", "CREATE", "k", "g", 0) == [b"xgroup-create k"]
    assert events("XGROUP", "SETID", "k", "g", 0) == [b"xgroup-setid k"]
    assert events("XGROUP", "CREATECONSUMER", "k", "g", "c") == [b"xgroup-createconsumer k"]
    assert events("XGROUP", "DELCONSUMER", "k", "g", "c") == [b"xgroup-delconsumer k"]
    assert events("XGROUP", "DESTROY", "k", "g") == [b"xgroup-destroy k"]
    assert events("XGROUP", "DESTROY", "k", "g") == []


@pytest.mark.since("7.2")
def test_events_of_consumers_that_come_by_reading(events: Ask) -> None:
    assert events("XGROUP", "CREATE", "k", "g", 0, "MKSTREAM") == [b"xgroup-create k"]
    read = ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"]
    assert events(*read) == [b"xgroup-createconsumer k"]
    assert events(*read) == []


def test_watched_keys(server: Server, wire: Wire) -> None:
    with server.wire() as other:
        for words, fails in (
            (("XADD", "k", "*", "a", "b"), True),
            (("XGROUP", "CREATE", "k", "g", "0"), False),
            (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"), False),
            (("XTRIM", "k", "MAXLEN", "0"), True),
        ):
            wire.call("WATCH", "k")
            other.call(*words)
            wire.call("MULTI")
            wire.call("PING")
            assert (wire.call("EXEC") is None) == fails, words
