"""Replication beside Redis to Redis: how far a replica is behind, and how fast it catches up.

    python -m benchmarks.replication             # about three minutes
    python -m benchmarks.replication --quick     # a tenth of the keys and of the log

A primary and one replica of the same kind. The first table has steady writes: the time from sending
a SET to the primary until a GET at the replica shows it, and how many bytes of the log the replica
lacks, looked at again and again. The second has a replica that was away while the log grew, and one
that comes new to a full primary: the time from when the primary has accepted it until it is at the
end of the log, and the slowest reply to a GET at either end meanwhile. LOADING is no reply: the GET
is sent again until there is one.

The third has what disk and replica cost: SET by redis-benchmark over 50 connections, without
pipelines, to a server with appendonly, everysec and one replica, and to one with none of them.
"""

import argparse
import multiprocessing
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event

from benchmarks import peers, report
from benchmarks.peers import OURS, REDIS, Peer, Unavailable, Wire, blocks, template
from benchmarks.report import Benchmark, Record, Spread, Table
from benchmarks.throughput import TESTS, send

KEYS = 1_000_000
LOG_BYTES = 256 << 20
SECONDS = 5.0
ROUNDS = 3
RATES = (0, 1_000, 10_000)
"""Writes a second beside those that are looked for."""
BLOCK = 10
LOOK_S = 0.005
LONGEST_S = 300.0
SETS = 200_000
COST_ROUNDS = 5
MOST_COST = 0.35
"""The share of throughput that disk and replica may take."""

KEY = b"key:%012d"
VALUE = b"v" * 100
LARGE = b"v" * 1000
WRITE = template(b"SET", KEY, VALUE)

DIRECTIVES = (
    *("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "1gb", "--repl-timeout", "600"),
    *("--client-output-buffer-limit", "replica 0 0 0"),
)

fork = multiprocessing.get_context("fork")

Caught = tuple[float, float, float]
"""Seconds, and milliseconds to the slowest reply of primary and replica."""


@dataclass(frozen=True)
class Pair:
    """A primary and its replica."""

    primary: Peer
    replica: Peer

    def follow(self) -> None:
        with Wire(self.replica.port) as wire:
            wire.call(b"REPLICAOF", peers.LOOPBACK.encode(), b"%d" % self.primary.port)

    def behind(self, primary: Wire, replica: Wire) -> int:
        """How many bytes of the log the replica lacks."""
        end = primary.info(b"replication", "master_repl_offset")
        return max(0, end - replica.info(b"replication", "slave_repl_offset"))

    def wait(self) -> None:
        """Until the replica is at the end of the log."""
        deadline = time.monotonic() + LONGEST_S
        with Wire(self.primary.port) as primary, Wire(self.replica.port) as replica:
            while not _is_up(replica) or self.behind(primary, replica):
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self.replica.name}: the replica does not catch up")
                time.sleep(LOOK_S)


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no options besides those of every benchmark."""


def measure(options: argparse.Namespace) -> Iterator[Table]:
    share = 10 if options.quick else 1
    contenders = peers.contenders(options)
    yield _lag_table(contenders, SECONDS / share, 2 if options.quick else ROUNDS)
    yield _catch_up_table(contenders, KEYS // share, LOG_BYTES // share)
    yield _cost_table(contenders, SETS // share, 2 if options.quick else COST_ROUNDS)


@contextmanager
def _pair(name: str, words: tuple[str, ...], *directives: str) -> Iterator[Pair]:
    with (
        peers.start(name, words, *DIRECTIVES, *directives) as primary,
        peers.start(name, words, *DIRECTIVES, *directives) as replica,
    ):
        yield Pair(primary, replica)


def _is_up(replica: Wire) -> bool:
    text = replica.call(b"INFO", b"replication")
    assert isinstance(text, bytes)
    return b"master_link_status:up" in text


# --- lag ------------------------------------------------------------------------------------------


def _lag_table(contenders: dict[str, tuple[str, ...]], seconds: float, rounds: int) -> Table:
    seen: dict[int, dict[str, list[list[float]]]] = {rate: defaultdict(list) for rate in RATES}
    for number in range(rounds):
        for name in reversed(contenders) if number % 2 else contenders:
            with _pair(name, contenders[name]) as pair:
                pair.follow()
                pair.wait()
                for rate in RATES:
                    report.progress(f"lag, {rate} writes a second: {name}")
                    with _beside(partial(_write, pair, rate)):
                        seen[rate][name].append(_look(pair, seconds))
    columns = {"writes a second": "{rate:,}"}
    for name in (REDIS, OURS):
        columns |= {
            f"{name} p50": f"{{{name}_p50:,.0f}}",
            f"{name} p99": f"{{{name}_p99:,.0f}}",
            f"{name} slowest": f"{{{name}_slowest:,.0f}}",
            f"{name} bytes p99": f"{{{name}_bytes:,.0f}}",
        }
    columns["ratio p50"] = "{ratio:.2f} ({low:.2f}-{high:.2f})"
    title = "Microseconds until a replica shows a write, and bytes of the log that it lacks"
    return Table(title, columns, [_lag_record(rate, seen[rate]) for rate in RATES])


def _lag_record(rate: int, seen: dict[str, list[list[float]]]) -> Record:
    record: Record = {"rate": rate}
    for name, rounds in seen.items():
        middle, high, slowest, lacking = (Spread.of(each) for each in zip(*rounds, strict=True))
        record |= {
            f"{name}_p50": middle.middle,
            f"{name}_p99": high.middle,
            f"{name}_slowest": slowest.high,
            f"{name}_bytes": lacking.middle,
        }
    if REDIS in seen:
        ours, theirs = ([each[0] for each in seen[name]] for name in (OURS, REDIS))
        ratio = report.ratios(ours, theirs)
        record |= {"ratio": ratio.middle, "low": ratio.low, "high": ratio.high}
    return record


def _look(pair: Pair, seconds: float) -> list[float]:
    """Microseconds until a write is seen (p50, p99, slowest), and bytes that lack (p99)."""
    took: list[int] = []
    lacking: list[int] = []
    clock = time.perf_counter_ns
    deadline = time.monotonic() + seconds
    with Wire(pair.primary.port) as primary, Wire(pair.replica.port) as replica:
        while time.monotonic() < deadline:
            value = b"%d" % len(took)
            began = clock()
            primary.call(b"SET", b"looked-for", value)
            while replica.call(b"GET", b"looked-for") != value:
                pass
            took.append(clock() - began)
            lacking.append(pair.behind(primary, replica))
            time.sleep(0.001)
    took.sort()
    lacking.sort()
    figures = [report.percentile(took, share) / 1000 for share in (0.5, 0.99, 1.0)]
    return [*figures, report.percentile(lacking, 0.99)]


def _write(pair: Pair, rate: int, ready: Event) -> None:
    """Write steadily."""
    with Wire(pair.primary.port) as wire:
        number, due = 0, time.monotonic()
        ready.set()
        while rate:
            at = number * 7919 % KEYS
            wire.pour(blocks(WRITE, range(at, at + BLOCK)))
            number += 1
            due += BLOCK / rate
            time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(LONGEST_S)


@contextmanager
def _beside(run: Callable[[Event], None]) -> Iterator[None]:
    """Have a process do that beside what is measured, from when it is ready."""
    ready = fork.Event()
    process = fork.Process(target=_background, args=(run, ready))
    process.start()
    try:
        while not ready.wait(0.05):
            if not process.is_alive():
                raise Unavailable("what was to run beside ended early")
        yield
    finally:
        process.terminate()
        process.join()


def _background(run: Callable[[Event], None], ready: Event) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    peers.lowest_priority()
    run(ready)


# --- catching up ----------------------------------------------------------------------------------


def _catch_up_table(contenders: dict[str, tuple[str, ...]], keys: int, size: int) -> Table:
    works: dict[str, Callable[[Pair], Caught]] = {
        f"log, {size >> 20} MB": lambda pair: _away(pair, size),
        f"snapshot, {keys:,} keys": lambda pair: _new(pair, keys),
    }
    records: list[Record] = []
    for title, work in works.items():
        record: Record = {"name": title}
        for name, words in contenders.items():
            report.progress(f"{title}: {name}")
            with _pair(name, words) as pair:
                seconds, at_primary, at_replica = work(pair)
            record |= {
                f"{name}_s": seconds,
                f"{name}_primary": at_primary,
                f"{name}_replica": at_replica,
            }
        if (theirs := record.get(f"{REDIS}_s")) is not None:
            ours = record[f"{OURS}_s"]
            assert isinstance(ours, float)
            assert isinstance(theirs, float)
            record["ratio"] = ours / theirs
        records.append(record)
    columns = {"catching up with": "{name}"}
    for name in (REDIS, OURS):
        columns |= {
            f"{name} s": f"{{{name}_s:.2f}}",
            f"{name} primary ms": f"{{{name}_primary:.1f}}",
            f"{name} replica ms": f"{{{name}_replica:.1f}}",
        }
    title = "Seconds to catch up, and milliseconds to the slowest reply meanwhile"
    return Table(title, {**columns, "ratio s": "{ratio:.2f}"}, records)


def _away(pair: Pair, size: int) -> Caught:
    """The replica stands still and loses its connection while the log grows."""
    pair.follow()
    pair.wait()
    with Wire(pair.primary.port) as primary:
        os.kill(pair.replica.pid, signal.SIGSTOP)
        primary.call(b"CLIENT", b"KILL", b"TYPE", b"replica")
        pattern = template(b"SET", KEY, LARGE)
        primary.pour(blocks(pattern, range(size // len(pattern))), window=4)
        with (
            _probing(pair.primary) as at_primary,
            _probing(pair.replica, stands=True) as at_replica,
        ):
            os.kill(pair.replica.pid, signal.SIGCONT)
            _until(lambda: primary.info(b"stats", "sync_partial_ok") > 0)
            began = time.monotonic()
            pair.wait()
            seconds = time.monotonic() - began
        if primary.info(b"stats", "sync_full") > 1:
            raise Unavailable(f"{pair.primary.name}: the log did not reach back far enough")
    return seconds, at_primary(), at_replica()


def _new(pair: Pair, keys: int) -> Caught:
    """The replica is empty."""
    with Wire(pair.primary.port) as primary:
        primary.pour(blocks(WRITE, range(keys)), window=4)
        with _probing(pair.primary) as at_primary, _probing(pair.replica) as at_replica:
            pair.follow()
            _until(lambda: primary.info(b"stats", "sync_full") > 0)
            began = time.monotonic()
            pair.wait()
            seconds = time.monotonic() - began
    return seconds, at_primary(), at_replica()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable("the replica does not come")
        time.sleep(LOOK_S)


@contextmanager
def _probing(peer: Peer, stands: bool = False) -> Iterator[Callable[[], float]]:
    """Send GET again and again in a process of its own; how many milliseconds the slowest took.

    A server that stands still now is not asked before it answers again.
    """
    slowest = fork.Value("q", 0)
    ending = fork.Event()

    def probe() -> None:
        clock = time.perf_counter_ns
        with Wire(peer.port) as wire:
            _get(wire)
            while not ending.is_set():
                asked = clock()
                _get(wire)
                slowest.value = max(slowest.value, clock() - asked)
                time.sleep(0.0005)

    process = fork.Process(target=probe)
    process.start()
    try:
        if not stands:
            time.sleep(0.2)
        yield lambda: slowest.value / 1e6
    finally:
        ending.set()
        process.join()


def _get(wire: Wire) -> None:
    while True:
        try:
            wire.call(b"GET", b"looked-for")
            return
        except Unavailable as error:
            if "LOADING" not in str(error):
                raise
            time.sleep(0.001)


# --- cost -----------------------------------------------------------------------------------------


def _cost_table(contenders: dict[str, tuple[str, ...]], requests: int, rounds: int) -> Table:
    with ExitStack() as stack:
        servers: list[tuple[str, str, Peer]] = []
        for name, words in contenders.items():
            servers.append((name, "without", stack.enter_context(peers.start(name, words))))
            pair = stack.enter_context(_pair(name, words, "--appendonly", "yes"))
            pair.follow()
            pair.wait()
            servers.append((name, "with", pair.primary))
        rates: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for number in range(rounds):
            report.progress(f"cost: round {number + 1} of {rounds}")
            for name, how, peer in reversed(servers) if number % 2 else servers:
                rates[name, how].append(send(peer, TESTS["set"], 1, requests).rate)
    records: list[Record] = []
    for name in contenders:
        with_, without = rates[name, "with"], rates[name, "without"]
        ratio = report.ratios(with_, without)
        records.append(
            {
                "name": name,
                "without": Spread.of(without).middle,
                "with": Spread.of(with_).middle,
                "ratio": ratio.middle,
                "low": ratio.low,
                "high": ratio.high,
                "mark": "ok" if ratio.middle >= 1 - MOST_COST else "too much",
            }
        )
    columns = {
        "": "{name}",
        "without, SET/s": "{without:,.0f}",
        "with, SET/s": "{with:,.0f}",
        "with / without": "{ratio:.2f} ({low:.2f}-{high:.2f})",
        f"at least {1 - MOST_COST:.2f}": "{mark}",
    }
    return Table(
        "SET with appendonly, everysec and a replica, and with none of them", columns, records
    )


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
