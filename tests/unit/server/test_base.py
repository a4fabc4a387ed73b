"""A base has all keys as they were when it began, also of large values that change meanwhile."""

import random

import pytest
from distcache_replication import rdb
from distcache_replication.segment import Reader, commands
from distcache_server import base, digest, snapshot
from distcache_server.base import PlainBase, SnapshotBase, slices
from distcache_server.capture import Walk
from distcache_server.engine import Engine
from distcache_server.replay import Replay
from distcache_server.types.kept import Guarded

from tests.support.direct import Direct
from tests.support.writes import write

LARGE = 600


def fill_large(direct: Direct) -> None:
    numbers = [f"member:{number}" for number in range(LARGE)]
    direct("SADD", "set", *numbers)
    direct("SADD", "intset", *range(400))
    direct("RPUSH", "list", *numbers)
    direct("HSET", "hash", *[word for number in numbers for word in (number, "value")])
    direct("ZADD", "zset", *[word for at, name in enumerate(numbers) for word in (at, name)])
    direct("HSET", "dated", *[word for number in numbers for word in (number, "value")])
    direct("HPEXPIRE", "dated", 10, "FIELDS", 2, "member:1", "member:2")
    for number in range(1, LARGE):
        direct("XADD", "stream", number, "field", number)
    direct("XGROUP", "CREATE", "stream", "group", 0)
    direct("XREADGROUP", "GROUP", "group", "one", "COUNT", LARGE - 100, "STREAMS", "stream", ">")
    direct("SET", "string", "long " * 20_000)
    direct("SET", "buffer", "long " * 20_000)
    direct("SETRANGE", "buffer", 3, "changed")


CHANGES = (
    "SREM set member:7",
    "SADD set new",
    "SADD intset word",
    "DEL set",
    "LPUSH list new",
    "LSET list 300 new",
    "RPOP list 100",
    "HSET hash member:9 new",
    "HDEL hash member:10",
    "RENAME hash other",
    "ZADD zset 1.5 new",
    "ZREM zset member:599",
    "PEXPIRE zset 5000",
    "UNLINK list",
    "APPEND string more",
    "SETRANGE buffer 50000 more",
    "HSET dated member:5 new",
    "HPEXPIRE dated 20 FIELDS 1 member:6",
    "XADD stream * field new",
    "XDEL stream 7 300 301",
    "XREADGROUP GROUP group other COUNT 10 STREAMS stream >",
    "XREADGROUP GROUP group one COUNT 10 STREAMS stream 0",
    "XACK stream group 20-0 300-0",
    "XCLAIM stream group other 0 21-0 301-0",
    "XTRIM stream MAXLEN 400",
    "HGETALL dated",
    "FLUSHALL",
)


def signature(engine: Engine) -> bytes:
    return digest.of_databases(engine.databases)


def loaded_snapshot(data: bytes) -> Engine:
    engine = Direct().engine
    loader = snapshot.Loader(engine.databases, 0)
    loader.feed(data)
    loader.finish()
    return engine


def loaded_commands(data: bytes) -> Engine:
    engine = Direct().engine
    reader, replay = Reader(), Replay(engine)
    reader.feed(data)
    for batch in reader:
        replay.apply(commands(batch.data))
    reader.finish()
    return engine


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_large_values_change_meanwhile(
    seed: int, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SLICE_NS", 0)
    generator = random.Random(seed)
    direct = Direct(now_ms=1_700_000_000_000)
    fill_large(direct)
    for _ in range(200):
        direct(*write(generator, keys=100))
        direct.engine.blocking.unblock(direct.client, with_error=False)
    before = signature(direct.engine)
    form: PlainBase | SnapshotBase
    if plain:
        form = PlainBase(0)
    else:
        form = SnapshotBase(rdb.Style(11, True), direct.engine.limits, True, {})
    pieces = []
    steps = 0
    for data in slices(Walk(direct.engine.databases, form.add), form):
        pieces.append(data)
        steps += 1
        if generator.random() < 0.1:
            direct(*generator.choice(CHANGES).split())
            direct.now_ms += generator.choice([0, 0, 4, 40])
    assert signature(direct.engine) != before
    load = loaded_commands if plain else loaded_snapshot
    assert signature(load(b"".join(pieces))) == before
    assert steps > 100
    assert all(keyspace.capture is None for keyspace in direct.engine.databases)


def test_who_reads_a_value_lets_it_go() -> None:
    direct = Direct()
    fill_large(direct)
    members = direct.client.keyspace.values[b"set"].members
    form = SnapshotBase(rdb.Style(), direct.engine.limits, True, {})
    walk = Walk(direct.engine.databases, form.add)
    direct("SADD", "set", "new")
    assert isinstance(members.parts, Guarded)
    for _ in slices(walk, form):
        direct("SISMEMBER", "set", "member:1")
    assert type(members.parts) is list
    walk = Walk(direct.engine.databases, form.add)
    direct("SADD", "set", "newer")
    assert isinstance(members.parts, Guarded)
    walk.stop()
    assert type(members.parts) is list


def test_long_strings_are_written_in_pieces() -> None:
    value = b"0123456789" * 200_000
    form = rdb.of_string(value, rdb.Style())
    pieces = list(form.body)
    assert max(map(len, pieces)) < len(value) / 4
    assert rdb.restore(rdb.dump(rdb.of_string(value, rdb.Style()), 11)) == (rdb.STRING, value)
