"""framing.py, connection.py: the same commands however the bytes are cut, none past limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from distcache_server import commands, dispatch
from distcache_server.client import Client
from distcache_server.connection import Connection
from distcache_server.dispatch import rows
from distcache_server.engine import Engine
from distcache_server.framing import (
    Framer,
    Parser,
    ProtocolError,
    encoded_length,
    parse_inline,
    parse_single,
    parse_uniform,
)
from distcache_server.gate import Gate
from distcache_server.lookup import Entry, Table
from distcache_server.quoting import Unbalanced, split
from distcache_server.registry import MANY
from distcache_server.reply import NOTHING
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import fuzz_commands

commands.load()


class Recording(Table):
    """A table in which every command exists, and does nothing but to be noted."""

    def __init__(self, entry: Entry, seen: list[list[bytes]]) -> None:
        super().__init__()

        def note(_: Client, words: list[bytes]) -> Any:
            seen.append(list(words))
            return NOTHING

        self.entry = entry
        entry.handler = note
        entry.least, entry.most, entry.run = 0, MANY, None

    def get(self, *_: object) -> Any:
        return self.entry


class Ear:
    """A connection without a socket that notes the commands it was sent."""

    def __init__(self) -> None:
        engine = Engine()
        dispatch.install(engine)
        self.seen: list[list[bytes]] = []
        entry = engine.tables["normal"][b"PING"]
        engine.tables["normal"] = Recording(entry, self.seen)
        self.connection = Connection(Gate(engine, lambda _: None, lambda _: None))
        self.connection.attach(Client(engine, 1))

    def hear(self, data: bytes) -> bytes:
        """Feed some bytes; what is answered: nothing, or a protocol error."""
        if self.connection.client.close_after_reply or not data:
            return b""
        return self.connection.feed(data)


_number = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


def strictly(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """All commands in ``data`` and the error that ends them, read by the letter of the protocol."""
    found: list[list[bytes]] = []
    at = 0

    def header(mark: bytes) -> int | None:
        """The number in a line such as ``*3``; None where it is not there yet."""
        nonlocal at
        if at >= len(data):
            return None
        line, separator, _ = data[at:].partition(b"\r")
        if not separator or b"\0" in line:
            if len(data) - at > 65536:
                raise ProtocolError("too big " + ("mbulk" if mark == b"*" else "bulk") + " count")
            return None
        if at + len(line) + 2 > len(data):
            return None
        if mark == b"$" and line[:1] != b"$":
            raise ProtocolError("expected")
        if not _number(line[1:]):
            raise ProtocolError("invalid")
        at += len(line) + 2
        return int(line[1:])

    try:
        while at < len(data):
            if data[at : at + 1] != b"*":
                line, newline, _ = data[at:].partition(b"\n")
                if not newline:
                    break
                at += len(line) + 1
                words = split(line.removesuffix(b"\r"))
                if words:
                    if words[0].lower() in (b"post", b"host:"):
                        return found, b"closed"
                    found.append(words)
                continue
            start = at
            count = header(b"*")
            if count is None:
                at = start
                break
            if count > 2**31 - 1:
                raise ProtocolError("invalid")
            words = []
            for _ in range(count):
                length = header(b"$")
                if length is None:
                    return found, b""
                if not 0 <= length <= 512 << 20:
                    raise ProtocolError("invalid")
                if len(data) < at + length + 2:
                    return found, b""
                words.append(data[at : at + length])
                at += length + 2
            if words:
                found.append(words)
    except (ProtocolError, Unbalanced):
        return found, b"error"
    return found, b""


word = st.one_of(
    st.sampled_from([b"GET", b"key", b"", b"a\r\nb", b"*2\r\n$1\r\n", b">3", b"100000", b"%~|"]),
    st.binary(max_size=30),
    st.integers(500, 1100).map(lambda size: b"z" * size),
)


def encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


whole = st.lists(word, min_size=1, max_size=5).map(encoded)
alike = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(word, min_size=size, max_size=size), min_size=2, max_size=6)
)
run = alike.map(lambda batch: b"".join(map(encoded, batch)))
ODD = [
    b"PING\r\n",
    b"SET a 'b c'\n",
    b"PING\nGET a\n  SET a\tb\r\n\r\n",
    b"a\x0bb\x0cc\x00d\n",
    b"\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*-10\r\n",
    b"*1\r\n:5\r\n",
    b"*1\r\n+PING\r\n",
    b"*2\r\n$3\r\nGET\r\n+a\r\n",
    b"*1\r\n(4\r\n",
    b"*2\r\n$4\r\nECHO\r\n(12\r\n",
    b"*1\r\n=8\r\ntxt:PING\r\n",
    b"*2\r\n$4\r\nECHO\r\n=5\r\ntxt:a\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$1_0\r\n",
    b"*1\r\n$01\r\na\r\n",
    b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n",
    b"+OK\r\n",
    b":1\r\n",
    b":0\r\n",
    b"#f\r\n",
    b"+E\r\n",
    b"+\r\n",
    b"$3\r\nfoo\r\n",
    b"*2\r\n$3\r\nGET\r\n$2\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b'"unbalanced\r\n',
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello--*1\r\n$4\r\nPING\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
]
odd = st.sampled_from(ODD)


@pytest.mark.fuzz
@settings(max_examples=fuzz_commands(400))
@given(st.lists(st.one_of(whole, run, run, odd), min_size=1, max_size=12), st.data())
def test_the_same_commands_however_the_bytes_are_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 2), label="flips")):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] = data.draw(st.integers(0, 255))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6), label="cuts"))
    ear = Ear()
    answers = b""
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        answers += ear.hear(bytes(stream[start:stop]))
    expected, error = strictly(bytes(stream))
    assert ear.seen == expected
    assert answers.startswith(b"-ERR Protocol error: ") == (error == b"error")
    assert ear.connection.client.close_after_reply == bool(error)


@pytest.mark.parametrize("data", ODD)
def test_what_is_odd_alone_and_among_commands(data: bytes) -> None:
    for stream in (data, encoded([b"GET"]) + data, data + encoded([b"GET"])):
        ear = Ear()
        answers = ear.hear(stream)
        expected, error = strictly(stream)
        assert ear.seen == expected
        assert answers.startswith(b"-ERR Protocol error: ") == (error == b"error")


@settings(max_examples=100)
@given(st.lists(word, min_size=1, max_size=6))
def test_one_byte_at_a_time(words: list[bytes]) -> None:
    framer = Framer()
    data = encoded(words)
    for at in range(len(data) - 1):
        framer.feed(data[at : at + 1])
        assert framer.next() is None
    framer.feed(data[-1:])
    assert framer.next() == words
    assert framer.between_commands


@settings(max_examples=100)
@given(st.lists(st.lists(word, min_size=1, max_size=4), max_size=6))
def test_the_length_on_the_wire_is_known(batch: list[list[bytes]]) -> None:
    assert encoded_length(batch) == sum(len(encoded(words)) for words in batch)


@settings(max_examples=200)
@given(alike)
def test_commands_that_are_alike_are_sorted_out_by_slices(batch: list[list[bytes]]) -> None:
    data = b"".join(map(encoded, batch))
    parsed = parse_uniform(data)
    if parsed is None:
        assert any(b"\r\n" in word or len(word) > 1000 for words in batch for word in words)
    else:
        assert rows(parsed) == batch
    assert parse_uniform(data[:-1]) is None
    assert parse_uniform(data + b"*") is None


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_single_short_command_is_split_in_python(size: int) -> None:
    words = [b"word"] * size
    assert parse_single(encoded(words)) == words
    for at in range(len(encoded(words))):
        assert parse_single(encoded(words)[:at]) is None
    assert parse_single(encoded(words) + b"*") is None
    assert parse_single(encoded([b"a\r\nb", b"c"])) is None


def test_large_counts_never_reach_hiredis() -> None:
    parser = Parser()
    for data in (b"*2000000000\r\n", b"*1\r\n>2000000000\r\n", b"*1\r\n~9\r\n", b"*1\r\n%9\r\n"):
        assert parser.parse(data) is None
    # A count that is cut in two does not either: what is left of a read goes to the framer.
    assert parser.parse(b"*1\r\n$4\r\nPING\r\n*2000") == ([[b"PING"]], b"*2000")


@pytest.mark.parametrize(
    "reads",
    [
        [b"*2000000000\r\n$3\r\nSET\r\n"] * 10,
        [b"*5\r\n*2000000000\r\n", b"*5\r\n$3\r\nSET\r\n"],
    ],
)
def test_large_counts_of_many_clients_never_reach_hiredis(reads: list[bytes]) -> None:
    parser = Parser()
    parser.reader = Unfed()  # type: ignore[assignment]
    assert parser.parse_each(reads, b"".join(reads)) is None


class Unfed:
    """A reader that must get nothing."""

    def feed(self, *_: object) -> None:
        raise AssertionError


def test_limits_before_authentication() -> None:
    for data, text in (
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ):
        framer = Framer()
        framer.authenticated = False
        framer.feed(data)
        with pytest.raises(ProtocolError, match=text):
            framer.next()
        framer = Framer()
        framer.feed(data)
        assert framer.next() is None


def test_what_follows_a_command_that_waits_and_was_cut_off() -> None:
    """It waits, too, however much of it there is."""
    engine = Engine()
    dispatch.install(engine)
    connection = Connection(Gate(engine, lambda _: None, lambda _: None))
    client = Client(engine, 1)
    connection.attach(client)
    waiting = b"*3\r\n$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\n0\r\n"
    assert connection.feed(waiting[:10]) == b""
    assert connection.feed(waiting[10:] + b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" * 100) == b""
    assert client.blocked is not None
    assert engine.databases[0].peek(b"n") is None


def test_what_parts_the_words_of_a_line() -> None:
    """Not all that Python takes for a blank does."""
    assert parse_inline(b"a\tb c\r\n") == [[b"a", b"b", b"c"]]
    data = b"a\vb\fc d\r\n"
    assert parse_inline(data) is None
    framer = Framer()
    framer.feed(data)
    assert framer.next() == [b"a\vb\fc", b"d"]
