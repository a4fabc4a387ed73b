"""What a feed tells of changes by others, and what becomes of the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from distcache_replication.backing.errors import Away
from distcache_replication.backing.feed import Known
from distcache_replication.backing.inbound import Changes
from distcache_server.invalidating import Invalidation
from distcache_server.marks import mark, marked
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.server.test_read_through import Bench, encode_bulk


class Told:
    """A feed that tells what the test says."""

    source = "test"
    lag = 0
    behind = False

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Changes] = asyncio.Queue()
        self.complete = False
        self.opened: list[Known | None] = []
        self.confirmed = 0

    async def check(self) -> None:
        """It is always prepared."""

    async def open(self, known: Known | None) -> bool:
        self.opened.append(known)
        return self.complete

    async def read(self) -> Changes:
        return await self.queue.get()

    def confirm(self, position: int) -> None:
        self.confirmed = max(self.confirmed, position)

    async def close(self) -> None:
        """There is nothing to let go of."""


class Watched(Bench):
    """A server that reads through, and hears of changes."""

    def __init__(self, options: str = "") -> None:
        super().__init__(options)
        self.feed = Told()
        assert self.engine.reader is not None
        self.changes = Invalidation(self.engine, self.engine.reader, self.feed, "test")
        self.logged: list[list[bytes]] = []
        self.engine.log = lambda client, words: self.logged.append(
            client.effect or words  # type: ignore[arg-type]
        )
        self.store.rows = {"1": b"one", "2": b"two"}

    @contextmanager
    def running(self) -> Iterator[None]:
        task = asyncio.get_running_loop().create_task(self.changes.run())
        try:
            yield
        finally:
            task.cancel()

    async def tell(self, *keys: bytes, own: bool = False) -> None:
        await self.changes.apply(Changes(keys, (), 0, own))


async def test_a_change_drops_its_key_and_says_so_in_the_log() -> None:
    bench = Watched()
    assert await bench.ask(0, "GET", "row:1") == b"$3\r\none\r\n"
    bench.logged.clear()
    bench.store.rows["1"] = b"new"
    await bench.tell(b"row:1", b"row:2", b"nothing")
    assert bench.logged == [[b"unlink", b"row:1"]]  # of the others nothing was here
    assert bench.changes.figures.dropped == 1
    assert await bench.ask(0, "GET", "row:1") == b"$3\r\nnew\r\n"


async def test_a_load_that_began_before_a_change_is_thrown_away() -> None:
    bench = Watched()
    bench.send(0, "GET", "row:1")
    await bench.settle()
    bench.store.rows["1"] = b"new"
    await bench.tell(b"row:1")
    await bench.finish()
    assert bench.clients[0].take() == b"$3\r\nnew\r\n"
    assert len(bench.store.asked) == 2


async def test_a_row_that_comes_is_not_missing_any_more() -> None:
    bench = Watched('absent = "1h"')
    assert await bench.ask(0, "GET", "row:3") == b"$-1\r\n"
    bench.store.rows["3"] = b"three"
    assert await bench.ask(0, "GET", "row:3") == b"$-1\r\n"
    await bench.tell(b"row:3")
    assert await bench.ask(0, "GET", "row:3") == b"$5\r\nthree\r\n"


async def test_what_was_dropped_can_be_loaded_at_once() -> None:
    bench = Watched('changes = "load"')
    await bench.ask(0, "GET", "row:1")
    bench.store.rows["1"] = b"new"
    await bench.tell(b"row:1", b"row:2")
    await bench.finish()
    assert bench.engine.databases[0].peek(b"row:1") == b"new"
    assert bench.engine.databases[0].peek(b"row:2") is None  # nobody had asked for it


async def test_what_the_cache_is_about_to_write_stays_until_it_is_written() -> None:
    bench = Watched()
    held = {b"row:1"}
    bench.changes.holds = lambda key, _: key in held
    await bench.ask(0, "SET", "row:1", "mine")
    await bench.tell(b"row:1")
    assert await bench.ask(0, "GET", "row:1") == b"$4\r\nmine\r\n"
    with bench.running():
        await bench.settle()
        assert bench.engine.databases[0].peek(b"row:1") == b"mine"
        held.clear()
        # Whether our write came before the change or after it: the row says what it is now.
        await bench.changes.drop_late()
        assert await bench.ask(0, "GET", "row:1") == b"$3\r\none\r\n"


async def test_what_is_changed_here_again_is_newer() -> None:
    """The next batch overwrites what others did; one that was written before does not."""
    bench = Watched()
    written = 0
    bench.changes.holds = lambda _, __: True
    bench.changes.written = lambda _: written == 1
    await bench.ask(0, "SET", "row:1", "mine")
    await bench.tell(b"row:1")
    await bench.changes.drop_late()
    written = 1
    await bench.changes.drop_late()
    bench.changes.holds = lambda _, __: False
    await bench.changes.drop_late()
    assert bench.engine.databases[0].peek(b"row:1") == b"mine"
    assert bench.changes.figures.dropped == 0


async def test_a_start_hears_again_of_what_has_not_gone_yet() -> None:
    """Whoever goes on from our marks does not know which keys are still to go."""
    bench = Watched()
    held = {b"row:1"}
    bench.changes.holds = lambda key, _: key in held
    await bench.ask(0, "SET", "row:1", "mine")
    bench.engine.known_changes = "test", 5
    await bench.tell(b"row:1")
    bench.engine.known_changes = "test", 9
    await bench.tell(b"row:1", b"row:2")
    bench.engine.known_changes = "test", 12
    bench.logged.clear()
    bench.changes.confirm(100.0)
    held.clear()
    await bench.changes.drop_late()
    bench.changes.confirm(200.0)
    assert bench.logged == [mark(("test", 5)), [b"unlink", b"row:1"], mark(("test", 12))]


async def test_our_own_writes_drop_nothing() -> None:
    bench = Watched()
    await bench.ask(0, "GET", "row:1")
    await bench.tell(own=True)
    assert bench.engine.databases[0].peek(b"row:1") == b"one"
    assert (bench.changes.figures.own, bench.changes.figures.seen) == (1, 0)
    await bench.tell(b"row:1", own=True)  # a trigger of the store changed it
    assert bench.engine.databases[0].peek(b"row:1") is None


async def test_nothing_goes_during_a_pause() -> None:
    bench = Watched()
    await bench.ask(0, "GET", "row:1")
    await bench.ask(0, "CLIENT", "PAUSE", "100000", "WRITE")
    telling = asyncio.get_running_loop().create_task(bench.tell(b"row:1"))
    await bench.settle()
    assert bench.engine.databases[0].peek(b"row:1") == b"one"
    await bench.ask(0, "CLIENT", "UNPAUSE")
    await telling
    assert bench.engine.databases[0].peek(b"row:1") is None


async def test_all_mapped_keys_go_where_changes_may_have_been_missed() -> None:
    bench = Watched()
    await bench.ask(0, "GET", "row:1")
    await bench.ask(0, "SET", "other", "x")
    with bench.running():
        await bench.settle()
        assert list(bench.engine.databases[0]) == [b"other"]
        assert bench.changes.figures.swept == 1
        assert bench.changes.status == "up"


async def test_a_feed_that_knows_where_to_go_on() -> None:
    bench = Watched()
    bench.feed.complete = True
    bench.engine.known_changes = "test", 5
    await bench.ask(0, "GET", "row:1")
    with bench.running():
        await bench.settle()
        assert bench.feed.opened == [("test", 5)]
        assert bench.engine.databases[0].peek(b"row:1") == b"one"
        bench.feed.queue.put_nowait(Changes((b"row:1",), (), 9))
        await bench.settle()
        assert bench.engine.databases[0].peek(b"row:1") is None
        assert bench.engine.known_changes == ("test", 9)
    assert marked(mark(("test", 5))) == ("test", 5)


async def test_a_feed_that_cannot_be_closed_is_opened_again() -> None:
    """Else nothing would go on that runs beside it."""

    class Stuck(Told):
        async def read(self) -> Changes:
            raise Away("it is gone")

        async def close(self) -> None:
            raise RuntimeError("the handler is closed")

    bench = Watched()
    bench.changes.feed = feed = Stuck()
    with bench.running():
        while len(feed.opened) < 2:  # noqa: ASYNC110 -- a test ends by its time limit
            await asyncio.sleep(0.01)
    assert bench.engine.counters.unexpected_errors >= 1


async def test_a_replica_leaves_it_to_its_primary() -> None:
    bench = Watched()
    await bench.ask(0, "GET", "row:1")
    bench.engine.follows = True
    with bench.running():
        await bench.settle()
        assert bench.changes.status == "standby"
        assert not bench.feed.opened
    assert bench.engine.databases[0].peek(b"row:1") == b"one"


def test_marks() -> None:
    words = mark(("decoding:123:distcache", 2**63))
    assert words == [b"PING", b"distcache changes decoding:123:distcache 9223372036854775808"]
    assert marked(words) == ("decoding:123:distcache", 2**63)
    for other in (b"", b"hello", b"distcache changes", b"distcache changes a b 1"):
        assert marked([b"PING", other]) is None
    assert marked([b"PING"]) is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "get", "multi", "change", "change", "delete", "tell", "answer"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


async def _play(steps: list[tuple[str, int]], options: str) -> None:
    """Clients only read; others change rows, which the feed tells some time later."""
    bench = Watched(options)
    untold: list[bytes] = []
    for number, (what, at) in enumerate(steps):
        name = f"row:{at}"
        if what == "get":
            bench.send(at, "GET", name)
        elif what == "multi":
            for words in (("MULTI",), ("GET", name), ("EXEC",)):
                bench.send(at, *words)
        elif what == "answer":
            bench.store.answer(at)
        elif what == "tell":
            told, untold = untold, []
            await bench.tell(*told)
        else:
            bench.store.rows.pop(str(at), None)
            if what == "change":
                bench.store.rows[str(at)] = b"value %d" % number
            untold.append(name.encode())
        await bench.settle()
    await bench.tell(*untold)
    await bench.finish()
    for client in bench.clients:
        client.take()
    for at in range(3):
        row = bench.store.rows.get(str(at), b"")
        assert await bench.ask(0, "GET", f"row:{at}") == encode_bulk(row)


@settings(deadline=None)
@given(STEPS, st.sampled_from(["", 'absent = "1h"', 'changes = "load"']))
def test_nothing_is_out_of_date_once_it_was_told(
    steps: list[tuple[str, int]], options: str
) -> None:
    asyncio.run(_play(steps, options))
