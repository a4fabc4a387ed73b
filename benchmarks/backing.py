"""PostgreSQL behind the cache: by the server, beside an application that does it by hand.

    python -m benchmarks.backing             # about four minutes
    python -m benchmarks.backing --quick     # about half a minute

Five comparisons, each in one run, the sides in turn, medians of the rounds with their range:

- Changes a second, ten of each key, until all are in the database: an application that writes Redis
  and PostgreSQL itself (redis-py, asyncpg, one statement for each change), the same application
  writing to distcache alone, and one that has as many commands under way over one connection.
- Rows a second of the write-behind alone, from when all keys have changed until all are written,
  beside a bare loop of asyncpg that upserts them, 2000 rows a transaction.
- Reads of which nine of ten are hits: read-through beside the usual cache-aside code on Redis.
- SET a second with write-behind and without a backing store, sent by redis-benchmark.
- Time to the reply of GET while others write keys that are rows, beside keys that are none.
"""

import argparse
import asyncio
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis
import uvloop

from benchmarks import latency, peers, postgres, report, throughput
from benchmarks.peers import OURS, REDIS, Peer, Unavailable, Wire, blocks, template
from benchmarks.report import Benchmark, Record, Spread, Table
from benchmarks.throughput import Test

KEYS = 10_000
TIMES = 10
WORKERS = 50
ROWS = 100_000
BATCH = 2000
READS = 50_000
MISSES = 10
"""One read of so many."""
SETS = {1: 150_000, 16: 1_500_000, 100: 3_000_000}
"""How many, by the depth of the pipeline."""
SECONDS = 3.0
ROUNDS = 3

VALUE = "v" * 100
MAP = """
[rows]
key = "row:{id}"
as = "column"
column = "value"
direction = "write-behind"
"""
FIRST = 10**11
"""Numbers of rows, all of the same length: templates of commands need that."""
TABLE = "CREATE TABLE rows (id bigint PRIMARY KEY, value text)"
UPSERT = "INSERT INTO rows VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value"
UPSERTS = (
    "INSERT INTO rows SELECT * FROM unnest($1::bigint[], $2::text[])"
    " ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value"
)
SET_ROW = template(b"SET", b"row:1%011d", b"value %012d" + b"v" * 88)
SET_SOME = Test("set", ("-r", str(KEYS), "SET", "row:1__rand_int__", VALUE))
SET_OTHER = template(b"SET", b"other:1%011d", b"value %012d" + b"v" * 88)


@dataclass(frozen=True)
class Bench:
    """What is measured with, and how much of it."""

    ours: tuple[str, ...]
    redis: tuple[str, ...] | None
    address: str
    share: int
    rounds: int

    def of(self, amount: int) -> int:
        return amount // self.share


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--postgres",
        metavar="ADDRESS",
        help="a database in which the tables `rows` and those of distcache may be dropped"
        " (default: a PostgreSQL that is started for this)",
    )


def measure(options: argparse.Namespace) -> Iterator[Table]:
    contenders = peers.contenders(options)
    with _database(options.postgres) as address:
        bench = Bench(
            contenders[OURS],
            contenders.get(REDIS),
            address,
            10 if options.quick else 1,
            1 if options.quick else ROUNDS,
        )
        yield _changes(bench)
        yield _rows(bench)
        yield _reads(bench)
        yield _sets(bench)
        yield _gets(bench)


@contextmanager
def _database(address: str | None) -> Iterator[str]:
    if address is not None:
        yield address
        return
    with postgres.running() as found:
        yield found


@contextmanager
def _backed(bench: Bench, rows: int = 0) -> Iterator[Peer]:
    """distcache before an empty table, or one with so many rows."""
    uvloop.run(_prepare(bench.address, rows))
    with tempfile.TemporaryDirectory(prefix="distcache-bench-") as folder:
        path = Path(folder, "map.toml")
        path.write_text(MAP)
        directives = ("--backing-store", bench.address, "--backing-map", str(path))
        with peers.start(OURS, bench.ours, *directives) as peer:
            yield peer


@contextmanager
def _redis(bench: Bench, rows: int = 0) -> Iterator[Peer]:
    """Redis beside such a table."""
    if bench.redis is None:
        raise Unavailable("redis-server is not installed")
    uvloop.run(_prepare(bench.address, rows))
    with peers.start(REDIS, bench.redis) as peer:
        yield peer


async def _prepare(address: str, rows: int) -> None:
    connection = await asyncpg.connect(address)
    await connection.execute(
        f"DROP TABLE IF EXISTS rows; DROP SCHEMA IF EXISTS distcache CASCADE; {TABLE}"
    )
    await connection.execute(
        f"INSERT INTO rows SELECT i + {FIRST}, '{VALUE}' FROM generate_series(0, {rows - 1}) AS i"  # noqa: S608
    )
    await connection.execute("VACUUM ANALYZE rows")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _count(address: str) -> int:
    connection = await asyncpg.connect(address)
    found: int = await connection.fetchval("SELECT count(*) FROM rows")
    await connection.close()
    return found


def _stored(wire: Wire) -> None:
    """Wait until the database has what this connection wrote."""
    if wire.number(b"DISTCACHE", b"WAIT", b"backing", b"100000") != 1:
        raise Unavailable("the rows are not written")


Act = Callable[[int], Awaitable[object]]


async def _drive(count: int, act: Act) -> "array[int]":
    """Run `act` for each number, so many at a time; nanoseconds that each took."""
    numbers = iter(range(count))
    took = array("q")
    clock = time.perf_counter_ns

    async def work() -> None:
        for number in numbers:
            begun = clock()
            await act(number)
            took.append(clock() - begun)

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
    return took


def _table(title: str, asked: dict[str, str], records: list[Record], unit: str) -> Table:
    notes = [f"{name}: {text}" for name, text in asked.items()]
    columns = {
        "of": "{name}",
        unit: "{figure:,.0f} ({low:,.0f}-{high:,.0f})",
        "ratio": "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})",
    }
    return Table(title, columns, records, notes)


def _record(name: str, figures: list[float], base: list[float] | None = None) -> Record:
    spread = Spread.of(figures)
    record: Record = {
        "name": name,
        "figure": spread.middle,
        "low": spread.low,
        "high": spread.high,
    }
    if base is not None:
        ratio = report.ratios(figures, base)
        record |= {"ratio": ratio.middle, "ratio_low": ratio.low, "ratio_high": ratio.high}
    return record


# --- changes --------------------------------------------------------------------------------------


def _changes(bench: Bench) -> Table:
    keys = bench.of(KEYS)
    count = keys * TIMES
    by_hand: list[float] = []
    same: list[float] = []
    many: list[float] = []
    for _ in range(bench.rounds):
        report.progress("changes: by hand")
        with _redis(bench) as peer:
            by_hand.append(count / uvloop.run(_change_by_hand(peer, bench.address, keys, count)))
            assert uvloop.run(_count(bench.address)) == keys
        for name, figures, work in (
            ("redis-py", same, _change_same),
            ("one connection", many, _change_many),
        ):
            report.progress(f"changes: distcache, {name}")
            with _backed(bench) as peer:
                figures.append(count / work(peer, keys, count))
                assert uvloop.run(_count(bench.address)) == keys
    return _table(
        f"Changes a second: {keys:,} keys {TIMES} times, {WORKERS} at a time, until all is stored",
        {"asked for": "20 times by hand"},
        [
            _record("Redis and PostgreSQL by hand", by_hand),
            _record("distcache, redis-py", same, by_hand),
            _record(f"distcache, {WORKERS} commands under way", many, by_hand),
        ],
        "changes/s",
    )


async def _change_by_hand(peer: Peer, address: str, keys: int, count: int) -> float:
    pool: Any = await asyncpg.create_pool(address, min_size=WORKERS, max_size=WORKERS)
    async with pool, redis.Redis(port=peer.port) as cache:

        async def change(number: int) -> None:
            key, value = FIRST + number % keys, f"{number} {VALUE}"
            await pool.execute(UPSERT, key, value)
            await cache.set(f"row:{key}", value)

        begun = time.perf_counter()
        await _drive(count, change)
        return time.perf_counter() - begun


def _change_same(peer: Peer, keys: int, count: int) -> float:
    async def run() -> float:
        async with redis.Redis(port=peer.port, socket_timeout=120) as cache:

            async def change(number: int) -> None:
                await cache.set(f"row:{FIRST + number % keys}", f"{number} {VALUE}")

            begun = time.perf_counter()
            await _drive(count, change)
            await asyncio.to_thread(_all_stored, peer)
            return time.perf_counter() - begun

    return uvloop.run(run())


def _change_many(peer: Peer, keys: int, count: int) -> float:
    with Wire(peer.port) as wire:
        begun = time.perf_counter()
        for start in range(0, count, keys):
            numbers = range(start % keys, start % keys + keys)
            wire.pour(blocks(SET_ROW, numbers, WORKERS // 2), window=2)
        _stored(wire)
        return time.perf_counter() - begun


def _all_stored(peer: Peer) -> None:
    """The same for what all connections wrote."""
    with Wire(peer.port) as wire:
        wire.call(b"SET", b"last", b"x")
        _stored(wire)


# --- rows -----------------------------------------------------------------------------------------


def _rows(bench: Bench) -> Table:
    count = bench.of(ROWS)
    bare, ours = [], []
    for _ in range(bench.rounds):
        report.progress("rows: asyncpg")
        uvloop.run(_prepare(bench.address, 0))
        bare.append(count / uvloop.run(_write_bare(bench.address, count)))
        report.progress("rows: write-behind")
        with _backed(bench) as peer, Wire(peer.port) as wire:
            wire.call(b"CONFIG", b"SET", b"backing-batch-size", b"1000000")
            wire.call(b"CONFIG", b"SET", b"backing-batch-delay", b"600000")
            wire.pour(blocks(SET_ROW, range(count)), window=4)
            begun = time.perf_counter()
            _stored(wire)
            ours.append(count / (time.perf_counter() - begun))
            assert uvloop.run(_count(bench.address)) == count
    return _table(
        f"Rows a second: {count:,} keys that have changed, until all is stored",
        {"asked for": "0.6 times asyncpg"},
        [_record(f"asyncpg, {BATCH} rows a transaction", bare), _record("distcache", ours, bare)],
        "rows/s",
    )


async def _write_bare(address: str, count: int) -> float:
    connection = await asyncpg.connect(address)
    begun = time.perf_counter()
    for start in range(0, count, BATCH):
        numbers = [FIRST + it for it in range(start, min(start + BATCH, count))]
        async with connection.transaction():
            await connection.execute(
                UPSERTS, numbers, [f"value {it:012d}{VALUE}" for it in numbers]
            )
    seconds = time.perf_counter() - begun
    await connection.close()
    return seconds


# --- reads ----------------------------------------------------------------------------------------


def _reads(bench: Bench) -> Table:
    count = bench.of(READS)
    figures: dict[str, list[float]] = {REDIS: [], OURS: []}
    p99: dict[str, list[float]] = {REDIS: [], OURS: []}
    for _ in range(bench.rounds):
        for name, start, read in (
            (REDIS, _redis, _read_by_hand),
            (OURS, _backed, _read_through),
        ):
            report.progress(f"reads: {name}")
            with start(bench, count) as peer:
                seconds, took = uvloop.run(read(peer, bench.address, count))
            figures[name].append(count / seconds)
            p99[name].append(report.percentile(sorted(took), 0.99) / 1000)
    return _table(
        f"Reads, one of {MISSES} of a row that is not in the cache, {WORKERS} at a time",
        {"asked for": "1.5 times cache-aside, and a lower p99"},
        [
            _record("cache-aside on Redis", figures[REDIS]),
            _record("read-through", figures[OURS], figures[REDIS]),
            _record("cache-aside, p99", p99[REDIS]),
            _record("read-through, p99", p99[OURS], p99[REDIS]),
        ],
        "reads/s, us",
    )


def _wanted(number: int, count: int) -> int:
    """Every tenth read is of a row that nobody has read before."""
    hot = count // MISSES
    return hot + number // MISSES if number % MISSES == 0 else number * 7919 % hot


async def _measure_reads(count: int, read: Act) -> "tuple[float, array[int]]":
    hot = count // MISSES
    await _drive(hot, read)

    async def wanted(number: int) -> None:
        if await read(_wanted(number, count)) is None:
            raise Unavailable("a row is missing")

    begun = time.perf_counter()
    took = await _drive(count, wanted)
    return time.perf_counter() - begun, took


async def _read_by_hand(peer: Peer, address: str, count: int) -> "tuple[float, array[int]]":
    pool: Any = await asyncpg.create_pool(address, min_size=10, max_size=10)
    async with pool, redis.Redis(port=peer.port) as cache:

        async def read(number: int) -> object:
            found = await cache.get(f"row:{FIRST + number}")
            if found is None:
                found = await pool.fetchval("SELECT value FROM rows WHERE id = $1", FIRST + number)
                await cache.set(f"row:{FIRST + number}", found, ex=600)
            return found

        return await _measure_reads(count, read)


async def _read_through(peer: Peer, _: str, count: int) -> "tuple[float, array[int]]":
    async with redis.Redis(port=peer.port) as cache:
        return await _measure_reads(count, lambda number: cache.get(f"row:{FIRST + number}"))


# --- what it costs the others ---------------------------------------------------------------------


def _sets(bench: Bench) -> Table:
    figures: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    with peers.start(OURS, bench.ours) as off, _backed(bench) as on:
        for number in range(bench.rounds):
            for depth, count in SETS.items():
                report.progress(f"SET: pipeline {depth}")
                for peer in (on, off) if number % 2 else (off, on):
                    rate = throughput.send(peer, SET_SOME, depth, bench.of(count)).rate
                    figures[depth, "on" if peer is on else "off"].append(rate)
    records = []
    for depth in SETS:
        without = figures[depth, "off"]
        records.append(_record(f"without a backing store, pipeline {depth}", without))
        records.append(_record("with write-behind", figures[depth, "on"], without))
    return _table(
        f"SET a second, {KEYS:,} keys, {throughput.CONNECTIONS} connections",
        {"asked for": "0.6 times without"},
        records,
        "SET/s",
    )


def _gets(bench: Bench) -> Table:
    seconds = SECONDS / bench.share
    quiet: list[float] = []
    others: list[float] = []
    rows: list[float] = []

    def p99(peer: Peer, pattern: bytes | None) -> float:
        if pattern is None:
            samples = latency.probe(peer, latency.until(seconds))
        else:
            samples = latency.beside(peer, lambda ready: _steady(peer, pattern, ready), seconds)
        return report.percentile(sorted(samples), 0.99) / 1000

    for _ in range(bench.rounds):
        with _backed(bench) as peer:
            with Wire(peer.port) as wire:
                wire.call(b"SET", latency.PROBED, latency.VALUE)
            for name, figures, pattern in (
                ("quiet", quiet, None),
                ("others", others, SET_OTHER),
                ("rows", rows, SET_ROW),
            ):
                report.progress(f"GET: {name}")
                figures.append(p99(peer, pattern))
    return _table(
        "p99 of GET in us, beside 5000 SET a second",
        {"asked for": "at most twice that of keys that are no rows"},
        [
            _record("quiet", quiet),
            _record("keys that are no rows", others),
            _record("keys that are rows", rows, others),
        ],
        "us",
    )


def _steady(peer: Peer, pattern: bytes, ready: Event) -> None:
    """Ten writes each two milliseconds."""
    with Wire(peer.port) as wire:
        ready.set()
        due, number = time.monotonic(), 0
        while True:
            wire.pour(blocks(pattern, range(number, number + 10), 10))
            number = (number + 10) % KEYS
            due += 0.002
            time.sleep(max(0.0, due - time.monotonic()))


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
