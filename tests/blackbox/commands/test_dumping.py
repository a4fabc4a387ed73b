"""DUMP and RESTORE: alone, and from here to a real Redis and back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from distcache_replication.rdb.crc64 import crc64

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Process, Server, Wire, eventually, plain
from tests.support.samples import SAMPLES, Sample, commands

WRONG_TYPE_OR_SUM = b"ERR DUMP payload version or checksum are wrong"
BAD_FORMAT = b"ERR Bad data format"
BUSY = b"BUSYKEY Target key name already exists."


def sealed(body: bytes, version: int = 10) -> bytes:
    """A payload with the right checksum, whatever it holds."""
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def fill(wire: Wire) -> None:
    for words in commands():
        assert not isinstance(wire.call(*words), Error)


def content(wire: Wire, sample: Sample, key: bytes | None = None) -> Any:
    """What a key holds, as commands tell it."""
    key = key or sample.key
    read: dict[int, tuple[bytes | str, ...]] = {
        0: ("GET", key),
        1: ("LRANGE", key, "0", "-1"),
        2: ("SMEMBERS", key),
        3: ("ZRANGE", key, "0", "-1", "WITHSCORES"),
        4: ("HGETALL", key),
    }
    found: Any = plain(wire.call(*read[sample.kind]))
    return sorted(found) if sample.kind in (2, 4) else found


@pytest.fixture
def filled(wire: Wire) -> Wire:
    fill(wire)
    return wire


# There and back


def test_every_value_comes_back(filled: Wire) -> None:
    for sample in SAMPLES:
        payload = filled.call("DUMP", sample.key)
        assert filled.call("RESTORE", b"new", 0, payload, "REPLACE") == b"OK"
        assert content(filled, sample, b"new") == content(filled, sample)
        assert filled.call("TYPE", "new") == filled.call("TYPE", sample.key)
        encodings = [filled.call("OBJECT", "ENCODING", key) for key in (sample.key, b"new")]
        assert encodings[0] == encodings[1], sample.key


def test_restore_asking_is_restore(wire: Wire) -> None:
    wire.call("SET", "k", "v")
    payload = wire.call("DUMP", "k")
    assert wire.call("RESTORE-ASKING", "k", 0, payload) == BUSY
    assert wire.call("RESTORE-ASKING", "k", 100_000, payload, "REPLACE") == b"OK"
    assert wire.call("GET", "k") == b"v"
    assert 0 < wire.call("TTL", "k") <= 100
    assert wire.call("RESTORE-ASKING", "k", 0) == (
        b"ERR wrong number of arguments for 'restore-asking' command"
    )


@pytest.mark.ours("it is ours that is compared with the reference")
@pytest.mark.parametrize("compress", ["yes", "no"])
def test_values_move_to_a_real_redis_and_back(
    filled: Wire, reference: Process, compress: str
) -> None:
    with reference.wire() as other:
        fill(other)
        for wire in (filled, other):
            wire.call("CONFIG", "SET", "rdbcompression", compress)
        filled.call("CONFIG", "SET", "rdb-version", 10)
        for sample in SAMPLES:
            expected = content(other, sample)
            assert content(filled, sample) == expected
            for source, target in ((filled, other), (other, filled)):
                payload = source.call("DUMP", sample.key)
                assert target.call("RESTORE", "moved", 0, payload, "REPLACE") == b"OK", sample.key
                assert content(target, sample, b"moved") == expected
                digests = target.call("DEBUG", "DIGEST-VALUE", sample.key, "moved")
                assert digests[0] == digests[1]
        other.call("CONFIG", "SET", "rdbcompression", "yes")


@pytest.mark.ours("it is ours that is compared with the reference")
def test_encodings_that_settings_ask_for(wire: Wire, reference: Process) -> None:
    settings = {
        "hash-max-listpack-entries": 2,
        "zset-max-listpack-entries": 2,
        "set-max-intset-entries": 2,
        "list-max-listpack-size": 2,
    }
    with reference.wire() as other:
        fill(wire)
        wire.call("CONFIG", "SET", "rdb-version", 10)
        before = {}
        for name, value in settings.items():
            before[name] = other.call("CONFIG", "GET", name)[1]
            for each in (wire, other):
                assert each.call("CONFIG", "SET", name, value) == b"OK"
        for sample in SAMPLES:
            payload = wire.call("DUMP", sample.key)
            for each in (wire, other):
                assert each.call("RESTORE", sample.key, 0, payload, "REPLACE") == b"OK"
            assert content(wire, sample) == content(other, sample)
            if sample.kind in (3, 4):
                names = [each.call("OBJECT", "ENCODING", sample.key) for each in (wire, other)]
                assert names[0] == names[1], sample.key
        for name, value in before.items():
            other.call("CONFIG", "SET", name, value)


@pytest.mark.since("7.4")
def test_fields_keep_their_deadlines(ask: Ask) -> None:
    for count in (2, 600):
        ask("DEL", "hash")
        for number in range(count):
            ask("HSET", "hash", f"field:{number}", "value")
        ask("HPEXPIREAT", "hash", 4_000_000_000_123, "FIELDS", 1, "field:1")
        assert ask("RESTORE", "new", 0, ask("DUMP", "hash"), "REPLACE") == b"OK"
        times = ask("HPEXPIRETIME", "new", "FIELDS", 2, "field:0", "field:1")
        assert times == [-1, 4_000_000_000_123]
        assert sorted(ask("HGETALL", "new")) == sorted(ask("HGETALL", "hash"))


def test_a_dump_is_a_read(ask: Ask) -> None:
    assert ask("DUMP", "missing") is None
    ask("SET", "key", "1")
    payload = ask("DUMP", "key")
    assert payload[:3] == b"\0\xc0\x01"
    assert len(payload) == 13
    assert isinstance(ask("DUMP"), Error)
    assert isinstance(ask("DUMP", "a", "b"), Error)


# Options


def test_keys_in_the_way(ask: Ask) -> None:
    ask("RPUSH", "list", "a")
    payload = ask("DUMP", "list")
    assert ask("RESTORE", "list", 0, payload) == BUSY
    ask("SET", "key", "value")
    assert ask("RESTORE", "key", "x", payload) == BUSY
    assert ask("RESTORE", "key", "x", payload, "REPLACE").startswith(b"ERR value is not an int")
    assert ask("GET", "key") == b"value"
    assert ask("RESTORE", "key", 0, payload, "replace") == b"OK"
    assert ask("TYPE", "key") == b"list"


def test_times_to_live(ask: Ask) -> None:
    ask("SET", "key", "value", "EX", 100)
    payload = ask("DUMP", "key")
    assert ask("RESTORE", "forever", 0, payload) == b"OK"
    assert ask("TTL", "forever") == -1
    assert ask("RESTORE", "later", 50_000, payload) == b"OK"
    assert 40 <= ask("TTL", "later") <= 50
    assert ask("RESTORE", "then", 4_000_000_000_000, payload, "ABSTTL") == b"OK"
    assert ask("PEXPIRETIME", "then") == 4_000_000_000_000
    assert ask("RESTORE", "key", 0, payload, "REPLACE", "ABSTTL") == b"OK"
    assert ask("TTL", "key") == -1
    assert ask("RESTORE", "gone", 1, payload, "ABSTTL") == b"OK"
    assert ask("EXISTS", "gone") == 0
    assert ask("RESTORE", "key", 1, payload, "ABSTTL", "REPLACE") == b"OK"
    assert ask("EXISTS", "key") == 0
    for time in (-1, "-9223372036854775808"):
        assert ask("RESTORE", "new", time, payload) == b"ERR Invalid TTL value, must be >= 0"


def test_time_since_the_last_use(ask: Ask) -> None:
    ask("SET", "key", "value")
    payload = ask("DUMP", "key")
    ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb")
    assert ask("RESTORE", "old", 0, payload, "IDLETIME", 1000) == b"OK"
    assert 1000 <= ask("OBJECT", "IDLETIME", "old") < 1060
    ask("GET", "old")
    assert ask("OBJECT", "IDLETIME", "old") < 60
    assert ask("RESTORE", "used", 0, payload, "FREQ", 200) == b"OK"
    assert ask("OBJECT", "IDLETIME", "used") < 60


def test_count_of_uses(ask: Ask) -> None:
    ask("SET", "key", "value")
    payload = ask("DUMP", "key")
    ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "maxmemory", "1gb")
    ask("CONFIG", "SET", "lfu-decay-time", 0)
    assert ask("RESTORE", "used", 0, payload, "FREQ", 200) == b"OK"
    assert ask("OBJECT", "FREQ", "used") == 200
    assert ask("RESTORE", "old", 0, payload, "IDLETIME", 5) == b"OK"
    assert ask("OBJECT", "FREQ", "old") < 200


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["IDLETIME"], b"ERR syntax error"),
        (["FREQ"], b"ERR syntax error"),
        (["IDLETIME", 1, "FREQ", 1], b"ERR syntax error"),
        (["FREQ", 1, "IDLETIME", 1], b"ERR syntax error"),
        (["SOMETHING"], b"ERR syntax error"),
        (["IDLETIME", "x"], b"ERR value is not an integer or out of range"),
        (["IDLETIME", -1], b"ERR Invalid IDLETIME value, must be >= 0"),
        (["FREQ", "x"], b"ERR value is not an integer or out of range"),
        (["FREQ", -1], b"ERR Invalid FREQ value, must be >= 0 and <= 255"),
        (["FREQ", 256], b"ERR Invalid FREQ value, must be >= 0 and <= 255"),
    ],
)
def test_options_that_are_wrong(ask: Ask, words: list[str | int], error: bytes) -> None:
    ask("SET", "key", "value")
    # The options come before the key that is in the way, the time and the payload.
    assert ask("RESTORE", "key", "time", "payload", *words) == error


def test_arity(ask: Ask) -> None:
    for words in ([], ["key"], ["key", 0]):
        assert ask("RESTORE", *words) == b"ERR wrong number of arguments for 'restore' command"


# Events


def test_events(events: Ask) -> None:
    payload = sealed(b"\0\5value")
    assert events("RESTORE", "key", 0, payload) == [b"restore key"]
    assert events("RESTORE", "key", 0, payload, "REPLACE") == [b"restore key"]
    assert events("RESTORE", "key", 1, payload, "REPLACE", "ABSTTL") == [b"del key"]
    assert events("RESTORE", "key", 1, payload, "REPLACE", "ABSTTL") == []
    assert events("DUMP", "key") == []


def test_who_waits_for_the_key_gets_it(server: Server) -> None:
    with server.wire() as waiter, server.wire() as wire:
        wire.call("RPUSH", "source", "a")
        payload = wire.call("DUMP", "source")
        waiter.command("BLPOP", "list", 10)
        eventually(lambda: b"blocked_clients:1" in wire.call("INFO", "clients"))
        assert wire.call("RESTORE", "list", 0, payload) == b"OK"
        assert waiter.reply() == [b"list", b"a"]


# What is no payload


def test_payloads_that_are_damaged(ask: Ask) -> None:
    ask("SET", "key", "value")
    payload = ask("DUMP", "key")
    for wrong in (b"", b"x", payload[2:], payload[:-1], payload + b"\0", payload[:3] + payload[4:]):
        assert ask("RESTORE", "new", 0, wrong) == WRONG_TYPE_OR_SUM
    assert ask("RESTORE", "new", 0, sealed(b"\0\1a", 99)) == WRONG_TYPE_OR_SUM
    assert ask("RESTORE", "new", 0, sealed(b"\0\1a")) == b"OK"


HOSTILE = [
    b"\0\x81" + b"\x7f" * 8 + b"a",
    b"\0\xc3\1\x80\xff\xff\xff\xff\0",
    b"\1\x81" + b"\x7f" * 8,
    b"\1\0",
    b"\2\2\1a\1a",
    b"\5\1\1a" + b"\xff" * 8,
    b"\x0b\4aaaa",
    b"\x10\1a",
    b"\x11\7\7\0\0\0\0\0\xff",
    b"\x12\1\7\1a",
    b"\x63\1a",
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_payloads_change_nothing(ask: Ask, body: bytes) -> None:
    ask("SET", "key", "value")
    assert ask("RESTORE", "key", 0, sealed(body), "REPLACE") == BAD_FORMAT
    assert ask("RESTORE", "new", 0, sealed(body)) == BAD_FORMAT
    assert ask("GET", "key") == b"value"
    assert ask("EXISTS", "new") == 0


@pytest.mark.ours("a real Redis does not promise to survive it")
def test_payloads_at_random(filled: Wire) -> None:
    """Whatever is in it, with the right checksum: a value or an error, and the server goes on."""
    draw = random.Random(1)
    payloads = [filled.call("DUMP", sample.key)[:-10] for sample in SAMPLES]
    seeds = [body for body in payloads if len(body) < 1000]
    for _ in range(2000):
        body = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(body))
            body[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
            body = body or bytearray(b"\0")
        reply = filled.call("RESTORE", "new", 0, sealed(bytes(body)), "REPLACE")
        assert reply in (b"OK", BAD_FORMAT)
        if reply == b"OK":
            payload = filled.call("DUMP", "new")
            assert filled.call("RESTORE", "again", 0, payload, "REPLACE") == b"OK"
            digests = filled.call("DEBUG", "DIGEST-VALUE", "new", "again")
            assert digests[0] == digests[1]
