"""Loads end in any order, between writes: what is read is never older than what was dropped."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence

from distcache_replication.backing import kinds, mapping
from distcache_replication.backing.errors import Refused
from distcache_replication.backing.plan import Column, Plan, Row, Table, bind
from distcache_replication.backing.store import KeyValues
from distcache_server import commands, dispatch
from distcache_server.config import Config
from distcache_server.connection import Connection
from distcache_server.engine import Engine
from distcache_server.gate import Gate
from distcache_server.loading import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.resp import encode
from tests.unit.server.test_turn import Served

commands.load()

TABLE = Table(
    ("rows",),
    (
        Column("id", kinds.integer("int8", 64), "int8", nullable=False),
        Column("value", kinds.text(), "text"),
    ),
    (("id",),),
)
CLIENTS = 3
KEYS = 3


class Rows:
    """A store in memory, whose answers come when the test says."""

    shown = "memory"

    def __init__(self) -> None:
        self.rows: dict[str | bytes, bytes] = {}
        self.waiting: list[asyncio.Future[str]] = []
        self.asked: list[Sequence[KeyValues]] = []

    async def open(self) -> None:
        """Nothing is to be done."""

    async def close(self) -> None:
        """Nothing is to be done."""

    async def describe(self, name: tuple[str, ...]) -> Table | None:
        return TABLE

    async def create_cache(self, name: tuple[str, ...]) -> None:
        """It cannot be told to."""

    async def future_cache(self, name: tuple[str, ...]) -> Table:
        return TABLE

    async def load(self, plan: Plan, keys: Sequence[KeyValues]) -> list[Row | None]:
        self.asked.append(keys)
        found: list[Row | None] = [[it] if (it := self.rows.get(key[0])) else None for key in keys]
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting.append(ready)
        if refusal := await ready:
            raise Refused(refusal)
        return found

    def answer(self, which: int, refusal: str = "") -> None:
        if self.waiting:
            self.waiting.pop(which % len(self.waiting)).set_result(refusal)


class Bench:
    """A server without sockets that reads through such a store."""

    def __init__(self, options: str = "") -> None:
        loop = asyncio.get_running_loop()
        config = Config()
        # A load takes as long as the test lets it.
        config.load_arguments(["--backing-connections", "100", "--backing-timeout", "3600000"])
        self.engine = Engine(config)
        dispatch.install(self.engine)
        self.gate = Gate(self.engine, loop.call_soon, lambda _: None)
        self.store = Rows()
        text = f'[rows]\nkey = "row:{{id}}"\nas = "column"\ncolumn = "value"\n{options}'
        plans = [bind(it, TABLE) for it in mapping.load(text)]
        self.engine.reader = Loader(self.engine, self.store, plans, loop.call_soon)
        self.engine.rebuild()
        self.clients = [Served(self.gate) for _ in range(CLIENTS)]

    async def settle(self) -> None:
        """Let everything go on that can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Let all loads end, and those that begin then."""
        await self.settle()
        while self.store.waiting:
            self.store.answer(0)
            await self.settle()

    async def ask(self, client: int, *words: str) -> bytes:
        """The reply to a command, once all loads have ended."""
        self.send(client, *words)
        await self.finish()
        return self.clients[client].take()

    def send(self, client: int, *words: str) -> None:
        Connection.receive(self.clients[client], encode(*words))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.integers(0, CLIENTS - 1), st.integers(0, KEYS - 1)),
        st.tuples(st.just("multi"), st.integers(0, CLIENTS - 1), st.integers(0, KEYS - 1)),
        st.tuples(st.just("drop"), st.integers(0, CLIENTS - 1), st.integers(0, KEYS - 1)),
        st.tuples(st.just("flush"), st.integers(0, CLIENTS - 1), st.just(0)),
        st.tuples(st.just("set"), st.integers(0, CLIENTS - 1), st.integers(0, KEYS - 1)),
        st.tuples(st.just("delete"), st.integers(0, CLIENTS - 1), st.integers(0, KEYS - 1)),
        st.tuples(st.just("answer"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


async def _play(steps: list[tuple[str, int, int]], options: str) -> None:
    bench = Bench(options)
    expected = [0] * CLIENTS
    for number, (what, at, key) in enumerate(steps):
        name, value = f"row:{key}", b"value %d" % number
        if what in ("answer", "settle"):
            if what == "answer":
                bench.store.answer(at)
            await bench.settle()
            continue
        blocked = bench.clients[at].client.blocked is not None
        if what == "get":
            bench.send(at, "GET", name)
            expected[at] += 1
        elif what == "multi":
            for words in (("MULTI",), ("GET", name), ("APPEND", name, ""), ("EXEC",)):
                bench.send(at, *words)
            expected[at] += 4
        elif blocked:
            continue  # when it would run, nobody can tell
        elif what == "flush":
            for each in list(bench.store.rows):
                bench.store.rows[each] = value
            bench.send(at, "FLUSHALL")
            expected[at] += 1
        else:
            # What an application does: first the row, then the cache.
            if what == "delete":
                bench.store.rows.pop(str(key), None)
            else:
                bench.store.rows[str(key)] = value
            if what == "set":
                bench.send(at, "SET", name, value.decode())
            else:
                bench.send(at, "DEL", name)
            expected[at] += 1
    await bench.finish()
    for client, count in zip(bench.clients, expected, strict=True):
        assert client.client.blocked is None
        assert client.client.commands == count
        assert b"-" not in client.take().replace(b"$-1", b"")
    for key in range(KEYS):
        row = bench.store.rows.get(str(key), b"")
        reply = await bench.ask(0, "GET", f"row:{key}")
        # APPEND of nothing makes an empty string of a row that is not there.
        assert reply in (encode_bulk(row), b"$0\r\n\r\n" if not row else b""), (key, row, reply)


def encode_bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value) if value else b"$-1\r\n"


@settings(deadline=None)
@given(STEPS, st.sampled_from(["", 'absent = "1h"', 'ttl = "1h"\nrefresh = 1\njitter = 0']))
def test_nothing_older_than_what_was_dropped(
    steps: list[tuple[str, int, int]], options: str
) -> None:
    asyncio.run(_play(steps, options))


async def test_one_load_for_all_who_ask_and_for_what_follows() -> None:
    bench = Bench()
    bench.store.rows = {str(number): b"x" for number in range(9)}
    for client in range(CLIENTS):
        for number in range(9):
            bench.send(client, "GET", f"row:{number}")
    await bench.finish()
    assert sum(map(len, bench.store.asked)) == 9
    assert {client.take() for client in bench.clients} == {b"$1\r\nx\r\n" * 9}


async def test_what_was_refused_leaves_no_cycles() -> None:
    bench = Bench()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        for refusal in ("", "it is not to be") * 5:
            bench.send(0, "GET", "row:1")
            await bench.settle()
            bench.store.answer(0, refusal)
            await bench.finish()
        gc.collect()
        found = Counter(
            type(it).__name__ for it in gc.garbage if type(it).__module__.startswith("distcache")
        )
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()
    assert not found
    assert bench.clients[0].take().count(b"-BACKINGDOWN") == 5


async def test_a_restore_does_not_look_like_a_load() -> None:
    bench = Bench()
    logged: list[list[bytes]] = []
    bench.engine.log = lambda client, words: logged.append(
        client.effect or words  # type: ignore[arg-type]
    )
    bench.store.rows["1"] = b"x"
    await bench.ask(0, "GET", "row:1")
    assert logged[0][:3] == [b"RESTORE", b"row:1", b"0"]
    assert logged[0][4:] == [b"REPLACE", b"ABSTTL", b"IDLETIME", b"0"]
    words = [b"RESTORE", b"x", b"0", logged[0][3], *logged[0][4:]]
    Connection.receive(bench.clients[0], encode(*words))
    assert bench.clients[0].take() == b"+OK\r\n"
    assert logged[1] == words[:-2]


async def test_a_transaction_that_cannot_be_loaded_is_over() -> None:
    bench = Bench()
    for refusal in ("it is not to be", None):
        for words in (("MULTI",), ("GET", "row:1"), ("EXEC",)):
            bench.send(0, *words)
        await bench.settle()
        if refusal:
            bench.store.answer(0, refusal)
        else:
            bench.engine.blocking.unblock(bench.clients[0].client, with_error=True)
        await bench.settle()
        replies = bench.clients[0].take().split(b"\r\n")
        assert replies[:2] == [b"+OK", b"+QUEUED"]
        assert replies[2].startswith((b"-BACKINGDOWN", b"-UNBLOCKED"))
        bench.send(0, "PING")
        assert bench.clients[0].take() == b"+PONG\r\n"
    await bench.finish()
