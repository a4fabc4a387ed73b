"""The commands for keys of any type."""

import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Push, StartServer, Wire, eventually

NO_SUCH_KEY = b"ERR no such key"
NOT_INTEGER = b"ERR value is not an integer or out of range"
SAME = b"ERR source and destination objects are the same"
BAD_DATABASE = b"ERR DB index is out of range"
SYNTAX = b"ERR syntax error"

FIXED = [
    *("TYPE k", "KEYS *", "RANDOMKEY", "RENAME k l", "RENAMENX k l", "MOVE k 1"),
    *("OBJECT ENCODING k", "OBJECT FREQ k", "OBJECT IDLETIME k", "OBJECT REFCOUNT k"),
    "OBJECT HELP",
]
OPEN = ["DEL k", "UNLINK k", "EXISTS k", "TOUCH k", "SCAN 0", "COPY k l"]

MAKE = {
    "string": "SET k v",
    "list": "RPUSH k v",
    "set": "SADD k v",
    "zset": "ZADD k 1 v",
    "hash": "HSET k f v",
}


@pytest.mark.parametrize("line", FIXED + OPEN)
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = line.split()
    container = words[0] == "OBJECT"
    name = "|".join(words[: 2 if container else 1]).lower().encode()
    expected = b"ERR wrong number of arguments for '%b' command" % name
    for count in range(2 if container else 1, len(words)):
        assert ask(*words[:count]) == expected
    if line in FIXED:
        assert ask(*words, "more") == expected


def shown(ask: Ask, key: str) -> object:
    """What a key holds, whatever its type."""
    kind = ask("TYPE", key)
    words = {
        b"string": ("GET", key),
        b"list": ("LRANGE", key, 0, -1),
        b"set": ("SMEMBERS", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        b"hash": ("HGETALL", key),
    }
    reply = ask(*words[kind])
    return kind, sorted(reply) if kind in (b"set", b"hash") else reply


# Whether keys are there


@pytest.mark.parametrize("name", ["DEL", "UNLINK"])
def test_del(ask: Ask, name: str) -> None:
    ask("MSET", "a", 1, "b", 2, "c", 3)
    ask("RPUSH", "list", *range(1000))
    assert ask(name, "a", "missing", "b", "a", "list") == 3
    assert ask("EXISTS", "a", "b", "list") == 0
    assert ask("KEYS", "*") == [b"c"]


def test_a_key_that_is_made_again_has_no_deadline(ask: Ask) -> None:
    ask("SET", "k", "v", "EX", 100)
    ask("DEL", "k")
    ask("SET", "k", "v")
    assert ask("TTL", "k") == -1


def test_exists_and_touch(ask: Ask) -> None:
    ask("MSET", "a", 1, "b", "")
    for name in ("EXISTS", "TOUCH"):
        assert ask(name, "a", "b", "missing", "a") == 3
        assert ask(name, "missing") == 0


@pytest.mark.parametrize("kind", MAKE)
def test_type(ask: Ask, kind: str) -> None:
    assert ask("TYPE", "k") == b"none"
    ask(*MAKE[kind].split())
    assert ask("TYPE", "k") == kind.encode()


def test_the_type_of_special_strings(ask: Ask) -> None:
    ask("SETBIT", "bits", 1, 1)
    ask("PFADD", "hll", "a")
    ask("GEOADD", "geo", 1, 1, "a")
    kinds = [ask("TYPE", key) for key in ("bits", "hll", "geo")]
    assert kinds == [b"string", b"string", b"zset"]


# Which keys are there


def test_keys(ask: Ask) -> None:
    names = ["", "a", "abc", "abd", "[x]", "key:1", "key:22", "ключ"]
    ask("MSET", *[word for name in names for word in (name, "v")])
    for pattern, expected in [
        ("*", names),
        ("ab?", ["abc", "abd"]),
        ("a*", ["a", "abc", "abd"]),
        ("ab[c-e]", ["abc", "abd"]),
        ("ab[^c]", ["abd"]),
        ("\\[x\\]", ["[x]"]),
        ("key:?", ["key:1"]),
        ("*2*", ["key:22"]),
        ("nothing", []),
        ("", [""]),
    ]:
        assert sorted(ask("KEYS", pattern)) == sorted(name.encode() for name in expected)


def test_keys_leaves_out_what_has_expired(ask: Ask) -> None:
    ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        ask("SET", "a", 1, "PX", 1)
        ask("SET", "b", 1, "PX", 100_000)
        eventually(lambda: ask("KEYS", "*") == [b"b"])
        assert ask("KEYS", "?") == [b"b"]
        assert ask("RANDOMKEY") == b"b"
        assert ask("SCAN", 0) == [b"0", [b"b"]]
    finally:
        ask("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_randomkey(ask: Ask) -> None:
    assert ask("RANDOMKEY") is None
    for number in range(200):
        ask("SET", number, 1)
    drawn = Counter(ask("RANDOMKEY") for _ in range(600))
    assert len(drawn) > 100
    assert max(drawn.values()) < 30
    assert set(drawn) <= {b"%d" % number for number in range(200)}


def scan(ask: Ask, *options: str | int) -> list[bytes]:
    """All keys, with repetitions."""
    cursor, found = b"0", []
    for _ in range(100_000):
        cursor, keys = ask("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found
    raise AssertionError("the scan does not end")


def fill(ask: Ask, count: int) -> set[bytes]:
    names = {b"key:%d" % number for number in range(count)}
    words = [word for name in names for word in (name, b"v")]
    for start in range(0, len(words), 2000):
        ask("MSET", *words[start : start + 2000])
    return names


def test_scan(ask: Ask) -> None:
    assert ask("SCAN", 0) == [b"0", []]
    names = fill(ask, 5000)
    assert set(scan(ask)) == names
    assert set(scan(ask, "COUNT", 1)) == names
    assert set(scan(ask, "count", 700)) == names
    assert ask("SCAN", 0, "COUNT", 10**6)[0] == b"0"
    found = scan(ask, "MATCH", "key:?1")
    assert set(found) == {b"key:%d1" % number for number in range(1, 10)}
    assert scan(ask, "MATCH", "nothing") == []
    assert set(scan(ask, "MATCH", "nothing", "MATCH", "*")) == names


def test_scan_by_type(ask: Ask) -> None:
    for kind, line in MAKE.items():
        ask(*line.replace(" k ", f" {kind} ").split())
    for kind in MAKE:
        assert scan(ask, "TYPE", kind) == [kind.encode()]
        assert scan(ask, "type", kind.upper(), "MATCH", "*", "COUNT", 2) == [kind.encode()]
    assert scan(ask, "TYPE", "nosuch") == []
    assert scan(ask, "TYPE", "string", "MATCH", "list") == []


def test_scan_by_type_removes_what_is_past_its_deadline(wire: Wire) -> None:
    wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    wire.call("SET", "stays", "1")
    wire.call("HSET", "hash", "f", "v")
    deadline = int(time.time() * 1000) + 20
    assert wire.call("PEXPIREAT", "hash", deadline) == 1
    eventually(lambda: time.time() * 1000 > deadline + 1)
    assert wire.call("SCAN", "0", "TYPE", "string") == [b"0", [b"stays"]]
    assert wire.call("DBSIZE") == 1
    wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_scan_finds_what_stays_while_other_keys_come_and_go(ask: Ask) -> None:
    stay = fill(ask, 2000)
    cursor, found, turn = b"0", set(), 0
    while True:
        cursor, keys = ask("SCAN", cursor, "COUNT", 50)
        found |= set(keys)
        if cursor == b"0":
            break
        turn += 1
        names = [f"other:{turn}:{number}" for number in range(300)]
        ask("MSET", *[word for name in names for word in (name, "v")])
        if turn % 2:
            ask("DEL", *names)
    assert stay <= found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", b"ERR invalid cursor"),
        ("1x", b"ERR invalid cursor"),
        ("99999999999999999999999", b"ERR invalid cursor"),
        ("0 COUNT", SYNTAX),
        ("0 COUNT 0", SYNTAX),
        ("0 COUNT -1", SYNTAX),
        ("0 COUNT x", NOT_INTEGER),
        ("0 MATCH", SYNTAX),
        ("0 TYPE", SYNTAX),
        ("0 FOO", SYNTAX),
        ("0 FOO 1", SYNTAX),
    ],
)
def test_scan_refusals(ask: Ask, line: str, expected: bytes) -> None:
    assert ask("SCAN", *line.split()) == expected


# From one key to another


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("size", [1, 700])
def test_values_move(ask: Ask, kind: str, size: int) -> None:
    """RENAME, MOVE and COPY of small and of large values, which the server keeps differently."""
    words = MAKE[kind].split()
    if kind == "string":
        ask("SET", "k", "v" * size)
    elif kind == "zset":
        ask("ZADD", "k", *[word for n in range(size) for word in (n, f"v{n}")])
    elif kind == "hash":
        ask("HSET", "k", *[word for n in range(size) for word in (f"f{n}", f"v{n}")])
    else:
        ask(words[0], "k", *[f"v{n}" for n in range(size)])
    before = shown(ask, "k")
    encoding = ask("OBJECT", "ENCODING", "k")
    assert ask("RENAME", "k", "l") == b"OK"
    assert ask("COPY", "l", "m") == 1
    assert ask("MOVE", "l", 1) == 1
    assert ask("EXISTS", "k", "l") == 0
    assert shown(ask, "m") == before
    assert ask("OBJECT", "ENCODING", "m") == encoding
    ask("SELECT", 1)
    assert shown(ask, "l") == before
    ask("DEL", "l")


def test_a_copy_is_independent(ask: Ask) -> None:
    for kind, line in MAKE.items():
        ask("FLUSHALL")
        ask(*line.split())
        before = shown(ask, "k")
        ask("COPY", "k", "l")
        ask(*line.replace("v", "w").replace("1 w", "2 w").split())
        assert shown(ask, "k") != before, kind
        assert shown(ask, "l") == before
    ask("SETRANGE", "bits", 3, "x")
    ask("COPY", "bits", "other")
    ask("SETRANGE", "bits", 0, "y")
    assert ask("GET", "other") == b"\0\0\0x"


def test_rename(ask: Ask) -> None:
    assert ask("RENAME", "k", "l") == NO_SUCH_KEY
    assert ask("RENAME", "k", "k") == NO_SUCH_KEY
    ask("MSET", "k", "1", "l", "2")
    assert ask("RENAME", "k", "k") == b"OK"
    assert ask("RENAME", "k", "l") == b"OK"
    assert ask("MGET", "k", "l") == [None, b"1"]
    ask("RPUSH", "list", "x")
    assert ask("RENAME", "l", "list") == b"OK"
    assert ask("GET", "list") == b"1"


def test_renamenx(ask: Ask) -> None:
    assert ask("RENAMENX", "k", "l") == NO_SUCH_KEY
    ask("MSET", "k", "1", "l", "2")
    assert ask("RENAMENX", "k", "l") == 0
    assert ask("RENAMENX", "k", "k") == 0
    assert ask("MGET", "k", "l") == [b"1", b"2"]
    assert ask("RENAMENX", "k", "m") == 1
    assert ask("MGET", "k", "m") == [None, b"1"]


@pytest.mark.parametrize("name", ["RENAME", "RENAMENX", "COPY", "MOVE"])
def test_a_deadline_goes_with_its_key(ask: Ask, name: str) -> None:
    moment = int(time.time()) + 1000
    ask("SET", "k", "v", "EXAT", moment)
    ask(name, "k", 1 if name == "MOVE" else "l")
    if name == "MOVE":
        ask("SELECT", 1)
    assert ask("EXPIRETIME", "k" if name == "MOVE" else "l") == moment
    if name == "RENAME":
        ask("SET", "without", "v")
        ask("RENAME", "without", "l")
        assert ask("TTL", "l") == -1


def test_rename_serves_a_client_that_waits(ask: Ask, wire: Wire) -> None:
    wire.command("BLPOP", "target", 0)
    eventually(lambda: b"cmd=blpop" in ask("CLIENT", "LIST"))
    ask("RPUSH", "source", "a")
    assert ask("RENAME", "source", "target") == b"OK"
    assert wire.reply() == [b"target", b"a"]


def test_move(ask: Ask) -> None:
    assert ask("MOVE", "k", 1) == 0
    ask("SET", "k", "here")
    assert ask("MOVE", "k", 0) == SAME
    assert ask("MOVE", "k", 1) == 1
    assert ask("EXISTS", "k") == 0
    ask("SET", "k", "again")
    assert ask("MOVE", "k", 1) == 0
    assert ask("GET", "k") == b"again"
    ask("SELECT", 1)
    assert ask("GET", "k") == b"here"


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ("x", NOT_INTEGER),
        ("-1", BAD_DATABASE),
        ("16", BAD_DATABASE),
        (
            "2147483648",
            b"ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
    ],
)
def test_databases_that_are_none(ask: Ask, database: str, expected: bytes) -> None:
    ask("SET", "k", "v")
    assert ask("MOVE", "k", database) == expected
    assert ask("COPY", "k", "l", "DB", database) == expected


def test_copy(ask: Ask) -> None:
    assert ask("COPY", "k", "l") == 0
    assert ask("COPY", "k", "k") == SAME
    ask("MSET", "k", "1", "l", "2")
    assert ask("COPY", "k", "l") == 0
    assert ask("COPY", "k", "l", "REPLACE") == 1
    assert ask("MGET", "k", "l") == [b"1", b"1"]
    assert ask("COPY", "k", "k", "DB", 0) == SAME
    assert ask("COPY", "k", "k", "DB", 1) == 1
    assert ask("COPY", "k", "k", "db", 1) == 0
    assert ask("COPY", "k", "k", "DB", 1, "replace") == 1
    ask("SELECT", 1)
    assert ask("GET", "k") == b"1"
    assert ask("COPY", "k", "l", "DB") == SYNTAX
    assert ask("COPY", "k", "l", "FOO") == SYNTAX


def test_events(events: Ask) -> None:
    events("MSET", "k", 1, "other", 2)
    for line, expected in [
        ("RENAME k k", []),
        ("RENAME k l", ["rename_from k", "rename_to l"]),
        ("RENAMENX l other", []),
        ("COPY l m", ["copy_to m"]),
        ("COPY l m", []),
        ("COPY l m REPLACE", ["copy_to m"]),
        ("COPY l m DB 3", ["copy_to m"]),
        ("MOVE l 1", ["move_from l", "move_to l"]),
        ("DEL m missing", ["del m"]),
        ("UNLINK other", ["del other"]),
        ("TOUCH m", []),
    ]:
        assert events(*line.split()) == [event.encode() for event in expected], line


def test_watched_keys_notice(ask: Ask, wire: Wire) -> None:
    for line in ("RENAME k l", "RENAME l k", "COPY k l REPLACE", "DEL k", "MOVE l 1", "DEL l"):
        ask("FLUSHALL")
        ask("MSET", "k", 1, "l", 2)
        wire.call("WATCH", "k", "l")
        ask(*line.split())
        wire.call("MULTI")
        assert wire.call("EXEC") is None, line


# OBJECT


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("123", b"int"),
        ("-9223372036854775808", b"int"),
        ("9223372036854775808", b"embstr"),
        ("0123", b"embstr"),
        ("", b"embstr"),
        ("x" * 44, b"embstr"),
        ("x" * 45, b"raw"),
    ],
)
def test_encodings_of_strings(ask: Ask, value: str, encoding: bytes) -> None:
    ask("SET", "k", value)
    assert ask("OBJECT", "ENCODING", "k") == encoding


def test_strings_changed_in_place_are_raw(ask: Ask) -> None:
    for line in ("APPEND k 1", "SETRANGE k 0 1", "SETBIT k 1 1", "BITFIELD k SET u8 0 1"):
        ask("SET", "k", "12")
        ask(*line.split())
        assert ask("OBJECT", "ENCODING", "k") == b"raw"
        ask("SET", "n", "12")
        ask("APPEND", "n", "3")
        ask("INCR", "n")
        assert ask("OBJECT", "ENCODING", "n") == b"int"
    ask("APPEND", "new", "1")
    assert ask("OBJECT", "ENCODING", "new") == b"int"
    ask("BITOP", "NOT", "new", "new")
    assert ask("OBJECT", "ENCODING", "new") == b"raw"


def test_object_of_a_missing_key(ask: Ask) -> None:
    for name in ("ENCODING", "FREQ", "IDLETIME", "REFCOUNT"):
        assert ask("OBJECT", name, "missing") is None


def test_object_refcount(ask: Ask) -> None:
    ask("MSET", "small", 9999, "large", 10_000, "text", "a")
    counts = [ask("OBJECT", "REFCOUNT", key) for key in ("small", "large", "text")]
    assert counts == [2147483647, 1, 1]


def test_object_freq_and_idletime(ask: Ask) -> None:
    ask("SET", "k", "v")
    assert ask("OBJECT", "IDLETIME", "k") < 60
    error = ask("OBJECT", "FREQ", "k")
    assert isinstance(error, Error)
    assert error.startswith(b"ERR An LFU maxmemory policy is not selected")
    ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    ask("SET", "k", "v")
    assert ask("OBJECT", "FREQ", "k") >= 1
    error = ask("OBJECT", "IDLETIME", "k")
    assert isinstance(error, Error)
    assert error.startswith(b"ERR An LFU maxmemory policy is selected, idle time not tracked.")
    ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    ask("SET", "k", "v")
    assert ask("OBJECT", "IDLETIME", "k") < 60


def test_looking_is_no_use(ask: Ask) -> None:
    ask("SET", "k", "v")

    def idle() -> bool:
        for line in ("TTL k", "TYPE k", "EXISTS k", "OBJECT ENCODING k"):
            ask(*line.split())
        return bool(ask("OBJECT", "IDLETIME", "k") >= 1)

    eventually(idle)
    assert ask("TOUCH", "k") == 1
    assert ask("OBJECT", "IDLETIME", "k") < 60


def test_object_help(ask: Ask) -> None:
    lines = ask("OBJECT", "HELP")
    assert lines[0].startswith(b"OBJECT <subcommand>")
    assert ask("OBJECT", "NOSUCH", "k") == b"ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP."


def test_hits_and_misses(ask: Ask, start_server: StartServer) -> None:
    with start_server().wire() as wire:
        wire.call("SET", "k", "v")
        for name in ("EXISTS", "TYPE", "TTL", "TOUCH", "GET", "STRLEN", "BITCOUNT"):
            wire.call(name, "k")
            wire.call(name, "missing")
        stats = wire.call("INFO", "stats")
    assert b"keyspace_hits:7\r\n" in stats
    assert b"keyspace_misses:7\r\n" in stats


@pytest.mark.parametrize(
    ("line", "hits", "misses", "events"),
    [
        ("OBJECT ENCODING x", 1, 1, 0),
        ("OBJECT REFCOUNT x", 1, 1, 0),
        ("OBJECT IDLETIME x", 1, 1, 0),
        ("SCAN 0 TYPE string", 1, 0, 0),
        ("XACK x g 1-1", 1, 1, 1),
        ("XCLAIM x g c 0 1-1", 1, 1, 1),
        ("XAUTOCLAIM x g c 0 0", 1, 1, 1),
        ("XREAD STREAMS x 0", 2, 2, 2),
        ("XREADGROUP GROUP g c STREAMS x >", 2, 1, 1),
        ("PFMERGE p p p", 3, 3, 3),
    ],
)
def test_lookups_that_count(wire: Wire, line: str, hits: int, misses: int, events: int) -> None:
    words = line.split()

    def stat(name: bytes) -> int:
        found = re.search(name + rb":(\d+)", wire.call("INFO", "stats"))
        assert found
        return int(found[1])

    key = "p" if words[0] == "PFMERGE" else "x"
    wire.call("HELLO", "3")
    wire.call("CONFIG", "SET", "notify-keyspace-events", "Em")
    wire.command("PSUBSCRIBE", "__keyevent@*__:keymiss")
    wire.push()
    before = stat(b"keyspace_misses")
    wire.command(*words)
    wire.command("ECHO", "end")
    replies: list[Any] = []
    while not replies or replies[-1] != b"end":
        replies.append(wire.reply())
    pushes = [reply for reply in replies if isinstance(reply, Push)]
    assert [push[-1] for push in pushes] == [key.encode()] * events
    assert stat(b"keyspace_misses") - before == misses
    wire.call("FLUSHALL")
    if key == "x":
        wire.call("XGROUP", "CREATE", "x", "g", "0", "MKSTREAM")
        wire.call("XADD", "x", "1-1", "a", "b")
    else:
        wire.call("PFADD", "p", "a")
    before = stat(b"keyspace_hits")
    wire.call(*words)
    assert stat(b"keyspace_hits") - before == hits
