"""Well-formed commands whose arguments are meant to do harm: refused, and nothing stored."""

from __future__ import annotations

import pytest

from tests.support import Error, Server, StartServer, Wire

NOT_INTEGER = b"ERR value is not an integer or out of range"
NOT_FLOAT = b"ERR value is not a valid float"
TOO_LONG = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"
NOT_OFFSET = b"ERR bit offset is not an integer or out of range"
OUTSIDE = (
    b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
)
LEAST, MOST = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("SETRANGE", "none", 2**29, "x"), TOO_LONG),
        (("SETRANGE", "none", MOST, "x"), TOO_LONG),
        (("SETBIT", "none", 2**32, 1), NOT_OFFSET),
        (("BITFIELD", "none", "SET", "u8", "#536870912", 1), NOT_OFFSET),
        (("SRANDMEMBER", "set", LEAST), OUTSIDE),
        (("HRANDFIELD", "hash", LEAST), OUTSIDE),
        (("ZRANDMEMBER", "zset", LEAST), OUTSIDE),
        (("EXPIRE", "string", MOST), b"ERR invalid expire time in 'expire' command"),
        (("PEXPIRE", "string", MOST), b"ERR invalid expire time in 'pexpire' command"),
        (("EXPIREAT", "string", LEAST), b"ERR invalid expire time in 'expireat' command"),
        (("HINCRBYFLOAT", "none", "field", "nan"), NOT_FLOAT),
        (("HINCRBYFLOAT", "none", "field", "inf"), b"ERR value is NaN or Infinity"),
        (("INCRBYFLOAT", "none", "nan"), NOT_FLOAT),
        (("ZADD", "none", "nan", "member"), NOT_FLOAT),
        (("INCRBY", "none", "1_0"), NOT_INTEGER),
        (("INCRBY", "none", " 5"), NOT_INTEGER),
        (("INCRBY", "none", "05"), NOT_INTEGER),
        (("INCRBY", "none", "+5"), NOT_INTEGER),
        (("INCRBY", "none", "-0"), NOT_INTEGER),
        (("INCRBY", "none", "\u0665"), NOT_INTEGER),
        (("INCR", "string"), NOT_INTEGER),
        (("LMPOP", 10**9, "list", "LEFT"), b"ERR syntax error"),
        (("ZINTERCARD", 10**9, "zset"), b"ERR syntax error"),
        (("ZUNIONSTORE", "none", 10**9, "zset"), b"ERR syntax error"),
        (("SCAN", 2**64), b"ERR invalid cursor"),
    ],
    ids=str,
)
def test_numbers_out_of_bounds(wire: Wire, words: tuple[str | int, ...], error: bytes) -> None:
    wire.call("SET", "string", "1_0")
    wire.call("SADD", "set", "member")
    wire.call("HSET", "hash", "field", "value")
    wire.call("ZADD", "zset", 1, "member")
    wire.call("RPUSH", "list", "element")
    assert wire.call(*words) == error
    assert wire.call("EXISTS", "none") == 0
    assert wire.call("DBSIZE") == 5
    assert wire.call("GET", "string") == b"1_0"
    assert wire.call("TTL", "string") == -1


def test_a_key_named_twice(wire: Wire) -> None:
    assert wire.call("MSETNX", "key", "1", "key", "2") == 1
    assert wire.call("GET", "key") == b"2"


STARS = b"a*" * 20_000 + b"b"
"""A matcher that goes back would need longer than the test's patience."""
TEXT = b"a" * 20_000


@pytest.mark.parametrize(
    "words",
    [
        ("KEYS", STARS),
        ("SCAN", 0, "MATCH", STARS, "COUNT", 1000),
        ("HSCAN", "hash", 0, "MATCH", STARS),
        ("SSCAN", "set", 0, "MATCH", STARS),
        ("ZSCAN", "zset", 0, "MATCH", STARS),
        ("PUBSUB", "CHANNELS", STARS),
        ("CONFIG", "GET", STARS),
        ("COMMAND", "LIST", "FILTERBY", "PATTERN", STARS),
    ],
    ids=lambda words: str(words[0]),
)
def test_patterns_that_are_slow_to_match(wire: Wire, words: tuple[str | bytes | int, ...]) -> None:
    wire.call("SET", TEXT, "value")
    wire.call("HSET", "hash", TEXT, "value")
    wire.call("SADD", "set", TEXT)
    wire.call("ZADD", "zset", 1, TEXT)
    assert wire.call(*words) in ([], [b"0", []])


def test_a_subscription_that_is_slow_to_match(server: Server) -> None:
    with server.wire() as listener, server.wire() as wire:
        listener.call("PSUBSCRIBE", STARS)
        assert wire.call("PUBLISH", TEXT, "message") == 0


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("SORT a BY w_* GET o_* STORE b", [b"a", b"b"]),
        ("SORT a STORE b STORE c", [b"a", b"c"]),
        ("GEORADIUS a 1 1 1 km STORE b", [b"a", b"b"]),
        ("GEORADIUSBYMEMBER a m 1 km STOREDIST b", [b"a", b"b"]),
        ("ZUNIONSTORE b 2 a c WEIGHTS 1 2", [b"b", b"a", b"c"]),
    ],
)
def test_the_keys_of_commands_that_store(wire: Wire, words: str, keys: list[bytes]) -> None:
    assert wire.call("COMMAND", "GETKEYS", *words.split()) == keys


BEYOND_THE_DATA = (
    ("CONFIG", "SET", "dir", "/"),
    ("CONFIG", "SET", "dbfilename", "authorized_keys"),
    ("CONFIG", "SET", "aclfile", "/etc/passwd"),
    ("CONFIG", "SET", "logfile", "/etc/passwd"),
    ("CONFIG", "SET", "unixsocket", "/run/x"),
    ("CONFIG", "SET", "enable-debug-command", "yes"),
    ("CONFIG", "SET", "enable-protected-configs", "yes"),
    ("DEBUG", "SLEEP", "0"),
    ("DEBUG", "SET-ACTIVE-EXPIRE", "0"),
    ("MODULE", "LOAD", "/usr/lib/x.so"),
)


def test_what_reaches_beyond_the_data_is_refused(start_server: StartServer) -> None:
    server = start_server("--enable-debug-command", "no")
    with server.wire() as wire:
        before = wire.call("CONFIG", "GET", "*")
        for words in BEYOND_THE_DATA:
            assert isinstance(wire.call(*words), Error), words
        assert wire.call("CONFIG", "GET", "*") == before
