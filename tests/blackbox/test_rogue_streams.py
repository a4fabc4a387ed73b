"""A primary whose log is not what it should be: what is whole is applied, and nothing behind it.

The keys of the replica are always those after a number of whole commands and transactions, which
its offset names; it lets go of the link, says why, and comes again.
"""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from distcache_replication.segment import encode
from distcache_server import Server, commands, dispatch, link, serve
from distcache_server.digest import of_databases
from distcache_server.engine import Engine
from distcache_server.replay import Replay

from tests.support.fuzzing import fuzz_commands

pytestmark = pytest.mark.ours("the replica runs in the test's own process")

ID = b"a" * 40
EMPTY = b"REDIS0010\xff" + b"\0" * 8
START = 1000
PATIENCE_S = 20.0

commands.load()

COMMANDS = [
    [b"SET", b"k", b"v" * 30],
    [b"SELECT", b"3"],
    [b"SELECT", b"0"],
    [b"INCR", b"n"],
    [b"RPUSH", b"l", b"a\r\nb", b"", b"*1\r\n"],
    [b"MULTI"],
    [b"EXEC"],
    [b"PING"],
    [b"REPLCONF", b"GETACK", b"*"],
    [b"HSET", b"h", b"f", b"1"],
    [b"DEL", b"k"],
    [b"LPUSH", b"n", b"refused"],
    [b"GET"],
    [b"NOBODYKNOWS", b"a"],
    [b"SET", b"k"],
    [b"MULTI"],
    [b"APPEND", b"s", b"x" * 20_000],
    [b"EXEC"],
]
ODD = [
    b"*3000000000\r\n",
    b"*2147483647\r\n$3\r\n",
    b"*1000000000\r\n$1\r\na\r\n",
    b"*2\r\n$536870912\r\nx",
    b"*2\r\n$9999999999999\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*1\r\n$-1\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\n$4\nPING\n",
    b"*1\r\n:5\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"PING\r\n",
    b"\r\n",
    b"\n",
    b"\0",
    b"-ERR no\r\n",
    b"+FULLRESYNC %b 5\r\n" % ID,
    b"%1\r\n",
    b"*" + b"1" * 70_000,
    b"*1\r\n$4\r\nPINGxx",
    b"x" * 70_000,
]


def stream(draw: random.Random) -> bytes:
    """A log with something wrong in it, most often."""
    chosen = [draw.choice(COMMANDS) for _ in range(draw.randint(0, 12))]
    opens = False
    for at, words in enumerate(chosen):
        # Nobody writes a transaction within another, and what it would mean is open.
        if words == [b"MULTI"] and opens:
            chosen[at] = [b"PING"]
        opens = words == [b"MULTI"] or (opens and words != [b"EXEC"])
    parts = [encode(words) for words in chosen]
    for _ in range(draw.choice([0, 1, 1, 2])):
        parts.insert(draw.randint(0, len(parts)), draw.choice(ODD))
    data = bytearray(b"".join(parts))
    for _ in range(draw.choice([0, 0, 1, 3])):
        at, size = draw.randint(0, len(data)), draw.choice([0, 1, 1, 8])
        data[at : at + size] = draw.choice([b"", b"\r", b"9", b"$", b"*", draw.randbytes(2)])
    return bytes(data[: draw.randint(0, len(data))] if draw.random() < 0.3 else data)


class Malformed(Exception):
    """This is no command."""


class Misplaced(Exception):
    """A line or word does not end as it should: only of the last of a read is that asked."""


def number(data: bytes, at: int, mark: bytes) -> tuple[int, int] | None:
    """The number in a header, and where it ends; None where bytes are missing."""
    if at == len(data):
        return None
    if data[at : at + 1] != mark:
        raise Malformed
    end = data.find(b"\r\n", at)
    digits = data[at + 1 : end if end >= 0 else len(data)]
    if end < 0:
        return None
    if b"\r" in digits:
        raise Misplaced
    if not digits.isdigit() or len(digits) > 10 or digits != b"%d" % int(digits):
        raise Malformed
    return int(digits), end + 2


def command(data: bytes, at: int) -> tuple[list[bytes], int] | None:
    """The command at ``at``, and where it ends; None where bytes are missing."""
    if (head := number(data, at, b"*")) is None:
        return None
    count, at = head
    if not 0 < count < 1 << 31:
        raise Malformed
    words: list[bytes] = []
    for _ in range(count):
        if (head := number(data, at, b"$")) is None:
            return None
        size, at = head
        if size > 512 << 20:
            raise Malformed
        if len(data) < at + size + 2:
            return None
        if data[at + size : at + size + 2] != b"\r\n":
            raise Misplaced
        words.append(data[at : at + size])
        at += size + 2
    return words, at


def model(data: bytes) -> tuple[int, bytes]:
    """What a replica is to make of a log: where it stands then, and the digest of its keys."""
    engine = Engine()
    dispatch.install(engine)
    replay = Replay(engine)
    at = whole = 0
    while True:
        try:
            found = command(data, at)
        except Malformed:
            break
        if found is None:
            break
        words, end = found
        if words[0].upper() == b"MULTI":
            whole = at
        replay.run([words])
        at = end
        if not replay.in_transaction:
            whole = at
    return START + whole, of_databases(engine.databases)


class Rogue:
    """A primary that sends one log after the other, each to begin with no keys."""

    def __init__(self) -> None:
        self.met: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A replica has come: wait until it asks for the log."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                lines = 2 * int((await reader.readuntil(b"\n"))[1:])
                words = [await reader.readuntil(b"\n") for _ in range(lines)]
                if words[1] == b"PSYNC\r\n":
                    break
                writer.write(b"+OK\r\n")
            await self.met.put((reader, writer))


@asynccontextmanager
async def rogue() -> AsyncIterator[tuple[Rogue, Server]]:
    it = Rogue()
    listener = await asyncio.start_server(it.meet, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with serve(replicaof=f"127.0.0.1 {port}", save='""') as server:
        yield it, server
    listener.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica comes again at once."""
    monkeypatch.setattr(link, "RETRY_S", 0.0)


def cut_up(data: bytes, draw: random.Random) -> list[bytes]:
    places = sorted(draw.randint(0, len(data)) for _ in range(draw.choice([0, 1, 5])))
    ends = [*places, len(data)]
    return [data[a:b] for a, b in zip([0, *places], ends, strict=True) if a < b]


@pytest.mark.fuzz
@pytest.mark.timeout(0)
async def test_streams_of_all_kinds(caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(5)
    async with rogue() as (primary, server):
        replication, log = server.replication, server.persistence.log
        for _ in range(fuzz_commands(300)):
            data = stream(draw)
            try:
                end, digest = model(data)
            except Misplaced:
                continue
            _, writer = await primary.met.get()
            assert replication.link is not None
            session = replication.link.session
            assert session is not None
            tracemalloc.start()
            writer.write(b"+FULLRESYNC %b %d\r\n$%d\r\n%b" % (ID, START, len(EMPTY), EMPTY))
            with suppress(OSError):
                for piece in cut_up(data, draw):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                # It follows this one, and has taken all of it; or let go of the link.
                while not session.closed.is_set() and (  # noqa: ASYNC110
                    not replication.link.is_up or session._inbox or log.end != end
                ):
                    await asyncio.sleep(0.001)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert (log.end, of_databases(server.engine.databases)) == (end, digest), data.hex()
            assert peak < 8 * len(data) + (4 << 20), data.hex()
            writer.close()
            await session.closed.wait()
        assert server.engine.counters.unexpected_errors == 0
    assert 'Connection with MASTER lost reason="the log cannot be read: ' in caplog.text
