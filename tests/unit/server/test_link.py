"""The log of a primary, however it is cut into pieces: the same keys, the same bytes."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

import pytest
from distcache_replication.log import Log
from distcache_replication.segment import command_end, encode
from distcache_server.digest import of_databases
from distcache_server.framing import ProtocolError
from distcache_server.link import PIECE, SHORT, Link, Session
from distcache_server.replay import Replay
from distcache_server.reserved import CHANGEFEED

from tests.support.direct import Direct


class Replica:
    """The part of a replica that takes the log."""

    def __init__(self) -> None:
        self.engine = Direct(now_ms=0).engine
        self.log = Log(1 << 30)
        self.replay = Replay(self.engine)
        persistence = SimpleNamespace(log=self.log, history=self.engine.history, kept=-1)
        replication = SimpleNamespace(
            engine=self.engine,
            persistence=persistence,
            replay=self.replay,
            has_history=True,
            loop=SimpleNamespace(call_soon=lambda _: None),
        )
        link = SimpleNamespace(replication=replication, failover=False, heard_s=0.0)
        self.session = Session(cast(Link, link))

    def take(self, data: bytes) -> None:
        self.session._stream(data)

    @property
    def state(self) -> object:
        return self.log.slice(0), self.replay.selected, of_databases(self.engine.databases)


def some_log(seed: int) -> bytes:
    """Runs of equal commands, longer and shorter, with others between them."""
    chance = random.Random(seed)
    found: list[bytes] = []
    for _ in range(25):
        count = chance.choice([1, 2, 30])
        key = b"%d" % chance.randrange(5)
        value = chance.choice([b"", b"value", b"a\r\n*3\r\n$1", b"x" * 2000, b"y" * 2 * SHORT])
        for number in range(count):
            each = b"%d" % number
            match chance.randrange(9) if count == 1 else len(found) % 6:
                case 0:
                    found.append(encode([b"SET", b"s" + each, value]))
                case 1:
                    found.append(encode([b"INCR", b"n" + key]))
                case 2:
                    found.append(encode([b"HSET", b"h" + key, each, value]))
                case 3:
                    found.append(encode([b"RPUSH", b"l" + key, value]))
                case 4:
                    found.append(encode([b"MSET", b"s" + each, value, b"t" + each, value]))
                case 5:
                    found.append(encode([b"ZADD", b"z" + key, b"1", b"m" + each]))
                case 6:
                    found += map(encode, ([b"MULTI"], [b"APPEND", b"a", value], [b"EXEC"]))
                case 7:
                    found.append(encode([b"SELECT", key]))
                case _:
                    found.append(encode([b"REPLCONF", b"GETACK", b"*"]))
        if count > 1:
            # All of a kind.
            found[-count:] = [found[-1]] * count
    return b"".join(found)


def one_by_one(data: bytes) -> Replica:
    replica, at = Replica(), 0
    while at < len(data):
        end = command_end(data, at)
        assert end is not None
        replica.take(data[at:end])
        at = end
    return replica


@pytest.mark.parametrize("seed", range(6))
def test_pieces_of_all_lengths(seed: int) -> None:
    data = some_log(seed)
    expected = one_by_one(data).state
    chance = random.Random(seed)
    for lengths in ([1 << 20], [1 << 15], [SHORT], [100], [1, 1, 2, 500, 1 << 14]):
        replica, at = Replica(), 0
        while at < len(data):
            size = chance.choice(lengths)
            replica.take(data[at : at + size])
            at += size
        assert replica.state == expected


def test_cut_at_many_places() -> None:
    run = [encode([b"SET", b"key:%d" % number, b"a\r\n*b"]) for number in range(3)]
    data = b"".join([*run, encode([b"INCR", b"n"]) * 3, encode([b"PING"])])
    expected = one_by_one(data).state
    for at in range(1, len(data), 7):
        replica = Replica()
        replica.take(data[:at])
        replica.take(data[at:])
        assert replica.state == expected


def test_a_run_that_is_refused_in_part() -> None:
    good, bad = encode([b"INCR", b"n"]), encode([b"INCR", b"text"])
    data = encode([b"SET", b"text", b"x"]) + good * 3 + bad + good * 3
    replica = Replica()
    replica.take(data)
    assert replica.state == one_by_one(data).state
    assert replica.engine.databases[0].values.get(b"n") == b"6"


@pytest.mark.parametrize(
    "odd",
    [
        [b"MSET"],
        [b"SET", CHANGEFEED, b"x"],
        [b"MSET", b"a", b"1", CHANGEFEED, b"x"],
        [b"HSET", CHANGEFEED, b"f", b"x"],
        [b"XADD", b"stream", b"*"],
    ],
)
def test_a_run_of_what_is_refused(odd: list[bytes]) -> None:
    pieces = [encode([b"XADD", b"stream", b"1-1", b"a", b"b"]), encode(odd) * 3]
    pieces.append(encode([b"INCR", b"n"]))
    replica = Replica()
    take_all(replica, pieces)
    assert replica.state == one_by_one(b"".join(pieces)).state
    assert replica.engine.databases[0].values.get(b"n") == b"1"


def test_a_run_tells_of_each_key() -> None:
    replica = Replica()
    told: list[bytes] = []
    keyspace = replica.engine.databases[0]
    keyspace.notify = lambda _database, _kind, event, key: told.append(event + b" " + key)
    keyspace.arrange()
    replica.take(encode([b"SET", b"a", b"1"]) * 3)
    assert told == [b"new a", *[b"set a"] * 3]


def take_all(replica: Replica, pieces: list[bytes]) -> None:
    for piece in pieces:
        replica.take(piece)


@pytest.mark.parametrize("lost", [False, True])
def test_a_byte_too_few_or_too_many_in_a_run(lost: bool) -> None:
    """It is found out at once, or when more comes; what was taken before is whole commands."""
    one = encode([b"SET", b"key", b"value"])
    for at in range(len(one), 2 * len(one)):
        data = one * 3
        if not lost and data[at : at + 1].isdigit():
            continue  # a length that may fit by chance
        data = data[:at] + data[at + 1 :] if lost else data[: at + 1] + data[at:]
        replica = Replica()
        with pytest.raises(ProtocolError):
            take_all(replica, [data, *[one] * 8])
        taken = replica.log.slice(0)
        assert taken == one * (len(taken) // len(one))


def test_what_is_left_to_apply() -> None:
    replica = Replica()
    session = replica.session
    session._take = session._stream
    data = encode([b"SET", b"key", b"x" * PIECE]) + encode([b"MULTI"]) + encode([b"INCR", b"n"])
    session.data_received(data)
    assert session.behind == len(data)
    session._work()
    assert session.behind == len(encode([b"MULTI"]) + encode([b"INCR", b"n"]))
    session.data_received(encode([b"EXEC"]))
    assert session.behind == 0
    assert replica.log.end == len(data) + len(encode([b"EXEC"]))
