"""Reads of several connections in one turn of the event loop: answered as if each came alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from distcache_server import commands, dispatch
from distcache_server.client import Client
from distcache_server.connection import PIECE, Connection
from distcache_server.engine import Engine
from distcache_server.gate import Gate
from distcache_server.layout import HEAD, LEAST
from distcache_server.reply import NullArray
from distcache_server.turn import MANY, Turn
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.resp import encode

commands.load()


class Served(Connection):
    """A connection without a socket: what is sent to it is kept."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.sent: list[bytes] = []
        self.reads_alone = 0
        self.attach(Client(self.engine, self.engine.next_client))
        self.engine.next_client += 1

    def receive(self, data: bytes) -> None:
        self.reads_alone += 1
        super().receive(data)

    def write(self, data: bytes, durable: bool = False) -> None:
        self.sent.append(data)

    def take(self) -> bytes:
        sent, self.sent = b"".join(self.sent), []
        return sent


class House:
    """An engine with connections that all become readable in the same turn."""

    def __init__(self, connections: int) -> None:
        self.engine = Engine()
        dispatch.install(self.engine)
        self.later: list[Callable[[], None]] = []
        gate = Gate(self.engine, self.later.append, lambda _: None)
        self.turn = gate.turn
        self.connections = [Served(gate) for _ in range(connections)]

    def __call__(self, *reads: bytes) -> list[bytes]:
        """What each connection is sent when the first so many have sent this, if anything."""
        self.turn.gathers = True
        for connection, data in zip(self.connections, reads, strict=False):
            if data:
                connection.data_received(data)
        self.turn.answer()
        return [connection.take() for connection in self.connections[: len(reads)]]

    def value(self, key: bytes) -> object:
        return self.engine.databases[0].values.get(key)


def calls(house: House, name: str) -> int:
    return house.engine.stats[name].calls


def test_each_gets_its_own_reply() -> None:
    house = House(4)
    sets = [encode(b"SET", b"k%d" % n, b"v" * n) for n in range(4)]
    assert house(*sets) == [b"+OK\r\n"] * 4
    gets = [encode(b"GET", b"k%d" % n) for n in (3, 0, 9, 2)]
    assert house(*gets) == [b"$3\r\nvvv\r\n", b"$0\r\n\r\n", b"$-1\r\n", b"$2\r\nvv\r\n"]
    assert [c.reads_alone for c in house.connections] == [0] * 4
    assert calls(house, "get") == 4
    assert [c.client.commands for c in house.connections] == [2] * 4
    assert [c.client.last_command for c in house.connections] == ["get"] * 4
    assert [c.client.net_in for c in house.connections] == [
        len(a) + len(b) for a, b in zip(sets, gets, strict=True)
    ]


def test_different_commands_in_one_turn() -> None:
    house = House(5)
    assert house(
        encode(b"SET", b"k", b"1"),
        encode(b"INCR", b"n"),
        encode(b"INCR", b"n"),
        encode(b"LPUSH", b"l", b"a"),
        b"PING\r\n",
    ) == [b"+OK\r\n", b":1\r\n", b":2\r\n", b":1\r\n", b"+PONG\r\n"]


def test_pipelines_of_different_lengths() -> None:
    house = House(3)
    incr = encode(b"INCR", b"n")
    assert house(incr * 2, incr, incr * 3) == [
        b":1\r\n:2\r\n",
        b":3\r\n",
        b":4\r\n:5\r\n:6\r\n",
    ]


def test_line_breaks_within_words() -> None:
    house = House(3)
    one, two = encode("SET", "a", "x\ny"), encode("SET", "b", "z")
    assert house(one + two, two, two) == [b"+OK\r\n" * 2, b"+OK\r\n", b"+OK\r\n"]
    assert house.value(b"a") == b"x\ny"
    odd = encode("SET", "a", "\n" * 7)  # as many breaks as a command has lines
    assert house(odd, two, two) == [b"+OK\r\n"] * 3
    assert house(encode("SET", "a", "x\r\ny"), two) == [b"+OK\r\n"] * 2
    assert house.value(b"a") == b"x\r\ny"


def test_commands_of_many_words() -> None:
    house = House(4)
    pairs = [b"a", b"1", b"b", b"2", b"a", b"3"]
    mset = encode("MSET", *pairs)
    assert house(mset, mset, encode("MSET", *pairs[:4], b"c", b"x\r\n*2\r\n")) == [b"+OK\r\n"] * 3
    assert [house.value(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", b"x\r\n*2\r\n"]
    assert [c.reads_alone for c in house.connections] == [0] * 4
    assert house(mset, mset, encode("MSET", *pairs[:4], b"c", b"*20000")) == [b"+OK\r\n"] * 3
    assert [c.reads_alone for c in house.connections] == [1, 1, 1, 0]  # as of a large array
    assert house(mset, mset, mset) == [b"+OK\r\n"] * 3
    assert [c.reads_alone for c in house.connections] == [1, 1, 1, 0]
    assert house.value(b"a") == b"3"
    # Two in one read, one that is cut off, one that has another number of words.
    assert house(mset, mset * 2, mset[:-3], encode("MSET", *pairs, b"d")) == [
        b"+OK\r\n",
        b"+OK\r\n" * 2,
        b"",
        b"-ERR wrong number of arguments for 'mset' command\r\n",
    ]
    assert house(b"", b"", mset[-3:])[2] == b"+OK\r\n"


@pytest.mark.parametrize(
    "word",
    [
        b"*0\r\n",
        b"*1\r\n$1\r\n2\r\n",
        b":1\r\n",
        b"+a\r\n",
        b"$-1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
    ],
)
def test_words_of_other_types_are_refused(word: bytes) -> None:
    house = House(2)
    mset = encode("MSET", b"a", b"1", b"b", b"2")
    wrong = mset[: -len(b"$1\r\n2\r\n")] + word
    good, bad = house(mset, wrong)
    assert good == b"+OK\r\n"
    assert bad.startswith(b"-ERR Protocol error: "), bad


def test_inline_commands() -> None:
    house = House(3)
    assert house(b"PING\r\n", b"PING\n", b"PING\r\n") == [b"+PONG\r\n"] * 3
    # One that is cut off waits for its end.
    assert house(b"PING\r\nPI", b"PING\r\n", b"NG\r\n")[0] == b"+PONG\r\n"
    assert house(b"NG\r\n")[0] == b"+PONG\r\n"


def test_errors_are_those_of_each_command() -> None:
    house = House(3)
    house(encode(b"LPUSH", b"list", b"x"))
    wrong = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
    for name, nothing in ((b"GET", b"$-1\r\n"), (b"STRLEN", b":0\r\n")):
        reads = [encode(name, key) for key in (b"a", b"list", b"b")]
        assert house(*reads) == [nothing, wrong, nothing]
        assert house.engine.stats[name.decode().lower()].failed == 1
        assert calls(house, name.decode().lower()) == 3


def test_states_are_not_mixed() -> None:
    house = House(4)
    house(encode(b"SELECT", b"1"))
    house(b"", encode(b"MULTI"))
    house(b"", b"", encode(b"HELLO", b"3"))
    get = encode(b"GET", b"k")
    house(b"", b"", b"", encode(b"SET", b"k", b"v"))
    assert house(get, get, get, get) == [b"$-1\r\n", b"+QUEUED\r\n", b"$1\r\nv\r\n", b"$1\r\nv\r\n"]
    none = encode(b"GET", b"none")
    assert house(get, get, none, none)[2:] == [b"_\r\n", b"$-1\r\n"]


def test_a_state_belongs_to_who_asked_for_it() -> None:
    house = House(2)
    assert house(encode(b"MULTI"), encode(b"MULTI")) == [b"+OK\r\n"] * 2
    assert [c.client.state for c in house.connections] == ["multi"] * 2
    assert house(encode(b"EXEC"), encode(b"EXEC")) == [b"*0\r\n"] * 2


def test_who_blocks_is_served_in_order_of_arrival() -> None:
    house = House(3)
    pop = encode(b"BLPOP", b"l", b"0")
    assert house(pop, pop) == [b"", b""]
    assert not house.connections[0].open
    house(b"", b"", encode(b"RPUSH", b"l", b"a"))
    assert house.connections[0].take() == b""  # it was taken with the turn
    assert house.connections[1].client.blocked is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # What the first began must never be completed by the second.
        (b"*2\r\n$3\r\nGET\r\n$2\r\n", b"*2\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$4\r\nab", b"*2\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$4\r\nab", b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
        (
            b"*3\r\n$3\r\nSET\r\n$4\r\nab",
            b"*3\r\n$3\r\nSET\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        ),
        (b"*2\r\n$3\r\nGET\r\n$20\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n\r\n"),
        (b"PING\r\nPING\r\nPI", b"PING\r\nPING\r\nPING\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n", b"$1\r\nb\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$1\r\na\r", b"\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"),
        (b"GET secret\r\nGE", b"T a\r\n"),
        (
            b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$60\r\n",
            b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$2\r\nxx\r\n",
        ),
        (
            b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\n",
            b"*5\r\n$4\r\nMSET\r\n",
        ),
    ],
)
def test_nobody_completes_what_another_began(first: bytes, second: bytes) -> None:
    alone, together = House(1), House(1)
    other_alone, both = House(1), House(2)
    expected = [alone(first)[0], other_alone(second)[0]]
    assert both(first, second) == expected
    assert together(first) == expected[:1]
    assert [c.framer is None for c in both.connections] == [
        alone.connections[0].framer is None,
        other_alone.connections[0].framer is None,
    ]


def test_few_reads_are_answered_at_once() -> None:
    house = House(MANY)
    first = house.connections[0]
    for turn in range(3):
        first.data_received(b"PING\r\n")
        assert first.take() == b"+PONG\r\n", turn
        house.turn.answer()
    for connection in house.connections:
        connection.data_received(b"PING\r\n")
    assert [c.take() for c in house.connections] == [b"+PONG\r\n"] * MANY
    house.turn.answer()
    # That were many: those of the next turn are answered together.
    first.data_received(b"PING\r\n")
    assert first.take() == b""
    house.turn.answer()
    assert first.take() == b"+PONG\r\n"


@pytest.mark.parametrize("nothing", [b"*0\r\n", b"*-1\r\n", b"*0\r\n*0\r\n", b"\r\n", b"\n"])
def test_reads_of_no_command_are_no_harm_to_others(nothing: bytes) -> None:
    house = House(3)
    assert house(nothing, nothing, b"PING\r\n") == [b"", b"", b"+PONG\r\n"]
    assert house(b"PING\r\n") == [b"+PONG\r\n"]


def sized(size: int) -> bytes:
    """A SET of so many bytes."""
    rest = size - len(encode("SET", "k", b"v" * 10)) + 10
    return encode("SET", "k", b"v" * rest)


def test_a_layout_is_not_learnt_of_reads_that_it_does_not_divide() -> None:
    house = House(2 * LEAST)
    reads = [sized(80) + sized(40), sized(120)] * (LEAST // 2)
    for _ in range(2):
        assert house(*reads) == [b"+OK\r\n" * 2, b"+OK\r\n"] * (LEAST // 2)
    # In one piece these are commands of 80 bytes; each begins as the others do.
    cut = sized(80)[:40] + sized(80)[:HEAD] + b"v" * 25 + b"\r\n"
    assert len(cut) == 80
    reads = [sized(80) + cut[:40], cut[40:] + sized(80)] * (LEAST // 2)
    alone = [House(1)(read)[0] for read in reads]
    assert house(*reads) == alone


def test_a_bug_in_one_batch_is_no_harm_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(4)

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Turn, "_parse", fail)
    ping, get = encode("PING"), encode("GET", "k")
    assert house(get, get, b"PING\r\n", ping) == [b"", b"", b"+PONG\r\n", b"+PONG\r\n"]
    assert [c.closing for c in house.connections] == [True, True, False, False]
    assert house.engine.counters.unexpected_errors == 1


nasty = st.lists(
    st.sampled_from([b"a", b"\r\n", b"\n", b"*3\r\n", b"$3\r\n", b"SET\r\n", b"$1\r\n"]), max_size=4
).map(b"".join)
commands_of_one = st.lists(
    st.one_of(
        nasty.map(lambda value: encode("SET", "key", value)),
        st.just(encode("GET", "key")),
        st.just(b"*3\r\n$3\r\nSET\r\n" + encode("SET", "key", "injected")),
        nasty.map(lambda value: encode("MSET", "key", value, "key", "b")),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=20)
@given(st.lists(commands_of_one, min_size=2, max_size=4), st.data())
def test_streams_cut_anywhere_do_not_mix(streams: list[list[bytes]], data: st.DataObject) -> None:
    house = House(len(streams))
    left = [
        b"".join(stream).replace(b"key", b"k%d_" % number) for number, stream in enumerate(streams)
    ]
    expected = [House(1)(stream)[0] for stream in left]
    received = [b""] * len(streams)
    while any(left):
        reads = []
        for number, stream in enumerate(left):
            size = data.draw(st.integers(1, len(stream)) if stream else st.just(0))
            reads.append(stream[:size])
            left[number] = stream[size:]
        received = [a + b for a, b in zip(received, house(*reads), strict=True)]
    assert received == expected


def test_a_closed_connection_gets_nothing() -> None:
    house = House(2)
    get = encode(b"GET", b"k")
    house.connections[0].closing = True
    house.connections[0].open = False
    assert house(get, get) == [b"", b"$-1\r\n"]


def test_what_waited_is_answered_a_piece_at_a_time() -> None:
    """So that others have their turn, however much somebody sent while it was blocked."""
    house = House(1)
    connection = house.connections[0]
    connection.data_received(encode("BLPOP", "l", "0"))
    pipeline = encode("ECHO", "abc") * (2 * PIECE // len(encode("ECHO", "abc")))
    for at in range(0, len(pipeline), 1000):
        connection.data_received(pipeline[at : at + 1000])
    assert connection.memory()[0] == len(pipeline)
    house.engine.blocking.answer(connection.client, NullArray)
    assert connection.take() == b"*-1\r\n"
    pieces = []
    house.turn.answer()
    while house.later:
        house.later.pop(0)()
        pieces.append(len(connection.take()))
    assert sum(pieces) == 9 * pipeline.count(b"ECHO")
    assert max(pieces) <= PIECE
    assert connection.open


def test_a_long_read_does_not_wait() -> None:
    house = House(1)
    connection = house.connections[0]
    connection.data_received(encode(b"SET", b"k", b"v" * 20_000))
    assert connection.take() == b"+OK\r\n"
    assert not house.turn.arrivals


@pytest.mark.parametrize("pop", [["LPOP", "k", "5000"], ["SPOP", "k", "5000"]])
def test_pops_of_many_are_not_one_run(pop: list[str]) -> None:
    """Others have their turn between them, and the replies wait for their reader."""
    house = House(1)
    members = [f"{number:200}" for number in range(50_000)]
    house(encode("SADD" if pop[0] == "SPOP" else "RPUSH", "k", *members))
    (first,) = house(encode(*pop) * 10)
    assert len(first) < 4 << 20
    assert house.connections[0].client.backlog
