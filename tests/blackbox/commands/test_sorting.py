"""SORT and SORT_RO."""

import random

import pytest

from tests.blackbox.commands.conftest import Ask

NOT_INTEGER = b"ERR value is not an integer or out of range"
SYNTAX = b"ERR syntax error"
NO_NUMBERS = b"ERR One or more scores can't be converted into double"
WRONGTYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"

BOTH = pytest.mark.parametrize("name", ["SORT", "SORT_RO"])
ADD = {"list": ["RPUSH", "k"], "set": ["SADD", "k"], "zset": ["ZADD", "k"]}


def put(ask: Ask, kind: str, *entries: str | int) -> None:
    """A list, set or sorted set of these entries; the scores go down."""
    if kind == "zset":
        pairs = [word for at, entry in enumerate(entries) for word in (-at, entry)]
        ask(*ADD[kind], *pairs)
    else:
        ask(*ADD[kind], *entries)


def words(*entries: str | int) -> list[bytes]:
    return [str(entry).encode() for entry in entries]


@BOTH
def test_wrong_arity_and_type(ask: Ask, name: str) -> None:
    expected = b"ERR wrong number of arguments for '%b' command" % name.lower().encode()
    assert ask(name) == expected
    ask("SET", "k", "v")
    assert ask(name, "k") == WRONGTYPE
    ask("HSET", "h", "f", "v")
    assert ask(name, "h", "BY", "nosort") == WRONGTYPE
    assert ask(name, "missing") == []
    assert ask(name, "missing", "LIMIT", 1, 5) == []


@BOTH
@pytest.mark.parametrize("kind", ADD)
def test_by_number(ask: Ask, name: str, kind: str) -> None:
    put(ask, kind, 10, 9, "-1.5", "1e2", 0)
    assert ask(name, "k") == words("-1.5", 0, 9, 10, "1e2")
    assert ask(name, "k", "DESC") == words("1e2", 10, 9, 0, "-1.5")
    assert ask(name, "k", "desc", "ASC") == words("-1.5", 0, 9, 10, "1e2")


@BOTH
@pytest.mark.parametrize("kind", ADD)
def test_by_text(ask: Ask, name: str, kind: str) -> None:
    put(ask, kind, "b", "10", "a", "9", "aa")
    assert ask(name, "k") == NO_NUMBERS
    assert ask(name, "k", "ALPHA") == words("10", "9", "a", "aa", "b")
    assert ask(name, "k", "ALPHA", "DESC") == words("b", "aa", "a", "9", "10")


def test_what_counts_as_a_number(ask: Ask) -> None:
    ask("RPUSH", "k", "0x10", " 3", "inf", "-inf", "", ".5")
    assert ask("SORT", "k") == words("-inf", "", ".5", " 3", "0x10", "inf")
    for text in ("3 ", "nan", "1_0", " ", "1e999", "--1"):
        ask("DEL", "l")
        ask("RPUSH", "l", text)
        assert ask("SORT", "l") == NO_NUMBERS, text


def test_equal_numbers_are_in_the_order_of_their_bytes(ask: Ask) -> None:
    ask("RPUSH", "k", "2.0", "2", "1", "02")
    assert ask("SORT", "k") == words("1", "02", "2", "2.0")
    assert ask("SORT", "k", "DESC") == words("2.0", "2", "02", "1")


@BOTH
def test_by_other_keys(ask: Ask, name: str) -> None:
    ask("RPUSH", "k", 1, 2, 3, 4)
    ask("MSET", "weight_1", 30, "weight_2", 20, "weight_3", 10)
    assert ask(name, "k", "BY", "weight_*") == words(4, 3, 2, 1)
    assert ask(name, "k", "BY", "weight_*", "DESC") == words(1, 2, 3, 4)
    ask("MSET", "name_1", "z", "name_2", "", "name_3", "a")
    assert ask(name, "k", "BY", "name_*", "ALPHA") == words(4, 2, 3, 1)
    assert ask(name, "k", "BY", "name_*", "ALPHA", "DESC") == words(1, 3, 2, 4)
    assert ask(name, "k", "BY", "name_*") == NO_NUMBERS


@BOTH
def test_by_fields_of_hashes(ask: Ask, name: str) -> None:
    ask("RPUSH", "k", 1, 2, 3)
    for entry, value in ((1, 30), (2, 20), (3, 10)):
        ask("HSET", f"object_{entry}", "weight", value, "name", f"n{entry}")
    assert ask(name, "k", "BY", "object_*->weight") == words(3, 2, 1)
    assert ask(name, "k", "BY", "object_*->missing") == words(1, 2, 3)
    ask("SET", "object_2->", 99)
    assert ask(name, "k", "BY", "object_*->", "DESC") == words(2, 3, 1)
    assert ask(name, "k", "GET", "object_*->name") == words("n1", "n2", "n3")
    assert ask(name, "k", "GET", "object_*->nosuch") == [None, None, None]
    assert ask(name, "k", "GET", "object_*") == [None, None, None]


@BOTH
def test_get(ask: Ask, name: str) -> None:
    ask("RPUSH", "k", 2, 1, 3)
    ask("MSET", "object_1", "one", "object_3", "three")
    ask("SETRANGE", "object_2", 0, "two")
    assert ask(name, "k", "GET", "object_*") == words("one", "two", "three")
    assert ask(name, "k", "GET", "#", "GET", "object_*", "DESC") == words(
        3, "three", 2, "two", 1, "one"
    )
    assert ask(name, "k", "GET", "nosuch_*", "GET", "fixed") == [None] * 6
    ask("RPUSH", "list_1", "x")
    assert ask(name, "k", "GET", "list_*", "LIMIT", 0, 1) == [None]


@BOTH
@pytest.mark.parametrize("kind", ["list", "zset"])
def test_as_they_are(ask: Ask, name: str, kind: str) -> None:
    put(ask, kind, "c", "a", "b", "d")
    natural = ["c", "a", "b", "d"] if kind == "list" else ["d", "b", "a", "c"]
    assert ask(name, "k", "BY", "nosort") == words(*natural)
    assert ask(name, "k", "BY", "nosort", "DESC") == words(*natural[::-1])
    assert ask(name, "k", "BY", "nosort", "LIMIT", 1, 2) == words(*natural[1:3])
    assert ask(name, "k", "BY", "nosort", "DESC", "LIMIT", 1, 2) == words(*natural[::-1][1:3])


@BOTH
@pytest.mark.parametrize("kind", ADD)
def test_limit(ask: Ask, name: str, kind: str) -> None:
    put(ask, kind, *range(10))
    for offset, count, expected in [
        (0, 3, range(3)),
        (8, 10, range(8, 10)),
        (-5, 2, range(2)),
        (3, -1, range(3, 10)),
        (3, -7, range(3, 10)),
        (4, 0, []),
        (10, 1, []),
        (100, -1, []),
        (2**63 - 1, 2**63 - 1, []),
        (1, 2**63 - 1, range(1, 10)),
    ]:
        assert ask(name, "k", "LIMIT", offset, count) == words(*expected)
    assert ask(name, "k", "LIMIT", 0, "x") == NOT_INTEGER
    assert ask(name, "k", "LIMIT", "x", 0) == NOT_INTEGER
    assert ask(name, "k", "LIMIT", 0) == SYNTAX


@pytest.mark.parametrize("kind", ADD)
def test_store(ask: Ask, kind: str) -> None:
    put(ask, kind, 3, 1, 2)
    ask("SET", "to", "old", "EX", 100)
    assert ask("SORT", "k", "STORE", "to") == 3
    assert ask("LRANGE", "to", 0, -1) == words(1, 2, 3)
    assert ask("TTL", "to") == -1
    ask("SET", "name_1", "one")
    assert ask("SORT", "k", "GET", "name_*", "GET", "#", "STORE", "to") == 6
    assert ask("LRANGE", "to", 0, -1) == words("one", 1, "", 2, "", 3)
    assert ask("SORT", "k", "BY", "nosort", "STORE", "k", "LIMIT", 0, 2) == 2
    assert ask("TYPE", "k") == b"list"
    assert ask("SORT", "missing", "STORE", "to") == 0
    assert ask("EXISTS", "to") == 0


def test_what_is_stored_does_not_depend_on_how_a_set_is_kept(ask: Ask) -> None:
    ask("SADD", "k", "c", "a", "d", "b")
    assert ask("SORT", "k", "BY", "nosort", "STORE", "to") == 4
    assert ask("LRANGE", "to", 0, -1) == words("a", "b", "c", "d")
    ask("SORT", "k", "BY", "nosort", "DESC", "STORE", "to")
    assert ask("LRANGE", "to", 0, -1) == words("d", "c", "b", "a")


def test_nothing_is_stored_after_an_error(ask: Ask) -> None:
    ask("RPUSH", "k", "text")
    ask("SET", "to", "old")
    assert ask("SORT", "k", "STORE", "to") == NO_NUMBERS
    assert ask("GET", "to") == b"old"


def test_refusals(ask: Ask) -> None:
    for line in ("FOO", "BY", "GET", "STORE", "LIMIT", "LIMIT 1"):
        assert ask("SORT", "k", *line.split()) == SYNTAX
    assert ask("SORT_RO", "k", "STORE", "to") == SYNTAX


def test_a_sorted_set_unpacks(ask: Ask) -> None:
    ask("ZADD", "k", 1, "a")
    assert ask("OBJECT", "ENCODING", "k") == b"listpack"
    ask("SORT_RO", "k", "BY", "nosort")
    assert ask("OBJECT", "ENCODING", "k") == b"skiplist"


def test_events(events: Ask) -> None:
    events("RPUSH", "k", 1, 2)
    assert events("SORT", "k") == []
    assert events("SORT", "k", "STORE", "to") == [b"sortstore to"]
    assert events("SORT", "missing", "STORE", "to") == [b"del to"]
    assert events("SORT", "missing", "STORE", "to") == []


def test_keys(ask: Ask) -> None:
    def keys(line: str) -> object:
        return ask("COMMAND", "GETKEYS", *line.split())

    assert keys("SORT k ALPHA") == [b"k"]
    assert keys("SORT k STORE to BY store GET store LIMIT 0 1") == [b"k", b"to"]
    assert keys("SORT k store a STORE b") == [b"k", b"b"]
    assert keys("SORT_RO k BY w_*") == [b"k"]


def test_many_entries(ask: Ask) -> None:
    generator = random.Random(3)
    entries = [generator.randrange(10**6) for _ in range(5000)]
    ask("RPUSH", "k", *entries)
    assert ask("SORT", "k") == words(*sorted(entries, key=lambda n: (n, str(n))))
    page = ask("SORT", "k", "DESC", "LIMIT", 100, 50)
    assert page == words(*sorted(entries, reverse=True)[100:150])
