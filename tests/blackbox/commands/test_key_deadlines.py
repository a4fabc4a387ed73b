"""EXPIRE and its kin, TTL and its kin, PERSIST."""

import time

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Wire, eventually

NOT_INTEGER = b"ERR value is not an integer or out of range"
SETTERS = ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]
GETTERS = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]


def moment(name: str, seconds: int) -> int:
    """The word that gives a key so many seconds by this command."""
    start = int(time.time()) if name.endswith("AT") else 0
    return (start + seconds) * (1000 if name.startswith("P") else 1)


@pytest.mark.parametrize("line", [*[f"{name} k 1" for name in SETTERS], *GETTERS, "PERSIST"])
def test_wrong_arity(ask: Ask, line: str) -> None:
    words = [*line.split(), "k"] if " " not in line else line.split()
    expected = b"ERR wrong number of arguments for '%b' command" % words[0].lower().encode()
    for count in range(1, len(words)):
        assert ask(*words[:count]) == expected
    if len(words) == 2:
        assert ask(*words, "more") == expected


@pytest.mark.parametrize("name", SETTERS)
@pytest.mark.parametrize("make", ["SET k v", "RPUSH k v", "HSET k f v", "ZADD k 1 v", "SADD k v"])
def test_a_deadline(ask: Ask, name: str, make: str) -> None:
    assert ask(name, "k", moment(name, 100)) == 0
    ask(*make.split())
    before = int(time.time() * 1000)
    assert ask(name, "k", moment(name, 100)) == 1
    assert 40 <= ask("TTL", "k") <= 100
    assert 40_000 <= ask("PTTL", "k") <= 100_000
    assert abs(ask("PEXPIRETIME", "k") - before - 100_000) < 60_000
    assert abs(ask("EXPIRETIME", "k") * 1000 - ask("PEXPIRETIME", "k")) <= 500
    assert ask("PERSIST", "k") == 1
    assert ask("TTL", "k") == -1
    assert ask("PERSIST", "k") == 0


def test_no_deadline_and_no_key(ask: Ask) -> None:
    ask("SET", "k", "v")
    for name in GETTERS:
        assert ask(name, "missing") == -2
        assert ask(name, "k") == -1
    assert ask("PERSIST", "missing") == 0


@pytest.mark.parametrize("name", SETTERS)
@pytest.mark.parametrize("word", ["-1", "0", "-9000000000000000"])
def test_a_time_in_the_past_deletes(ask: Ask, name: str, word: str) -> None:
    ask("SET", "k", "v")
    assert ask(name, "k", word) == 1
    assert ask("EXISTS", "k") == 0
    assert ask("TTL", "k") == -2


@pytest.mark.parametrize("name", SETTERS)
@pytest.mark.parametrize("word", ["", "abc", "1.5", "9223372036854775808", " 1", "+1"])
def test_words_that_are_no_time(ask: Ask, name: str, word: str) -> None:
    ask("SET", "k", "v")
    assert ask(name, "k", word) == NOT_INTEGER
    assert ask("TTL", "k") == -1


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("EXPIRE", 2**63 - 1),
        ("EXPIRE", -(2**63)),
        ("EXPIRE", 9223372036854776),
        ("EXPIRE", 9223372036854775),
        ("EXPIREAT", 2**63 - 1),
        ("EXPIREAT", -9223372036854776),
        ("PEXPIRE", 2**63 - 1),
    ],
)
def test_times_that_overflow(ask: Ask, name: str, word: int) -> None:
    expected = b"ERR invalid expire time in '%b' command" % name.lower().encode()
    ask("SET", "k", "v")
    assert ask(name, "k", word) == expected
    assert ask(name, "missing", word) == expected
    assert ask("TTL", "k") == -1


def test_the_latest_deadline(ask: Ask) -> None:
    ask("SET", "k", "v")
    assert ask("PEXPIREAT", "k", 2**63 - 1) == 1
    assert ask("PEXPIRETIME", "k") == 2**63 - 1
    assert ask("EXPIREAT", "k", 9223372036854775) == 1
    assert ask("EXPIRETIME", "k") == 9223372036854775
    assert ask("GET", "k") == b"v"


@pytest.mark.parametrize("name", SETTERS)
def test_conditions(ask: Ask, name: str) -> None:
    ask("SET", "k", "v")
    for condition, seconds, expected in [
        ("XX", 100, 0),
        ("GT", 100, 0),
        ("NX", 1000, 1),
        ("NX", 100, 0),
        ("GT", 500, 0),
        ("LT", 2000, 0),
        ("XX", 1000, 1),
        ("GT", 3000, 1),
        ("LT", 2000, 1),
        ("XX GT", 1000, 0),
        ("xx lt", 1000, 1),
    ]:
        words = condition.split()
        assert ask(name, "k", moment(name, seconds), *words) == expected, condition
    assert 900 <= ask("TTL", "k") <= 1000
    ask("PERSIST", "k")
    assert ask(name, "k", moment(name, 100), "LT") == 1
    assert ask(name, "missing", moment(name, 100), "NX") == 0
    assert ask(name, "k", -1, "LT") == 1
    assert ask("EXISTS", "k") == 0


@pytest.mark.parametrize("name", SETTERS)
def test_conditions_that_do_not_go_together(ask: Ask, name: str) -> None:
    nx = b"ERR NX and XX, GT or LT options at the same time are not compatible"
    for words in (["NX", "XX"], ["NX", "GT"], ["LT", "NX"], ["NX", "GT", "LT"]):
        assert ask(name, "k", 100, *words) == nx
    gt = b"ERR GT and LT options at the same time are not compatible"
    assert ask(name, "k", 100, "GT", "LT") == gt
    assert ask(name, "k", 100, "AB") == b"ERR Unsupported option AB"
    assert ask(name, "k", "abc", "XX", "AB") == b"ERR Unsupported option AB"


@pytest.mark.parametrize("name", ["PEXPIRE", "PEXPIREAT"])
def test_keys_go_when_their_time_has_come(ask: Ask, name: str) -> None:
    ask("MSET", "a", 1, "b", 2)
    start = int(time.time() * 1000) if name == "PEXPIREAT" else 0
    ask(name, "a", start + 30)
    eventually(lambda: ask("DBSIZE") == 1)
    assert ask("EXISTS", "a", "b") == 1


def test_a_key_past_its_deadline_is_never_seen(ask: Ask) -> None:
    ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        for line in ("SET k v", "RPUSH k v", "HSET k f v"):
            ask(*line.split())
            ask("PEXPIRE", "k", 1)
            eventually(lambda: ask("EXISTS", "k") == 0)
            assert ask("GET", "k") is None
            assert ask("PERSIST", "k") == 0
            assert ask("DEL", "k") == 0
            assert ask("TYPE", "k") == b"none"
            assert ask("APPEND", "k", "new") == 3
            assert ask("TTL", "k") == -1
            ask("DEL", "k")
    finally:
        ask("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_events(events: Ask) -> None:
    events("SET", "k", "v")
    for line, expected in [
        ("EXPIRE k 100", ["expire k"]),
        ("EXPIRE k 100 NX", []),
        ("PEXPIREAT k 99999999999999", ["expire k"]),
        ("PERSIST k", ["persist k"]),
        ("PERSIST k", []),
        ("EXPIRE k -1", ["del k"]),
        ("EXPIRE k 100", []),
    ]:
        assert events(*line.split()) == [event.encode() for event in expected], line


def test_the_expired_event(ask: Ask, wire: Wire) -> None:
    ask("CONFIG", "SET", "notify-keyspace-events", "Ex")
    wire.call("SUBSCRIBE", "__keyevent@0__:expired")
    ask("SET", "k", "v", "PX", 1)
    assert wire.reply() == [b"message", b"__keyevent@0__:expired", b"k"]


def test_an_option_with_line_breaks(ask: Ask) -> None:
    assert ask("EXPIRE", "k", 1, "a\r\nb\r\n") == b"ERR Unsupported option a  b"
