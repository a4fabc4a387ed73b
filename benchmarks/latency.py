"""Time to a reply beside a real redis-server: GET from one connection while others make trouble.

    python -m benchmarks.latency             # about three minutes
    python -m benchmarks.latency --quick     # a tenth of the keys

One probing connection sends GET, waits for the reply, and sends the next. Meanwhile a process of
the lowest priority fills a million keys, writes steadily on them, deletes them, lets them expire or
flushes them, keeps ten thousand connections idle, or asks for large replies over a thousand
connections and reads none of them. Both servers run through each phase in turn, those that are not
over with one pass several times, the order swapped; the table has the median of the passes for the
percentiles, and the slowest reply of all passes.

While keys expire, DBSIZE tells how many are overdue, since their deadlines are known: the last line
says how long after its deadline a key still took up memory.
"""

import argparse
import multiprocessing
import signal
import socket
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

from benchmarks import peers, report
from benchmarks.peers import OURS, REDIS, Block, Peer, Wire, blocks, command, template
from benchmarks.report import Benchmark, Record, Spread, Table

KEYS = 1_000_000
IDLE_CONNECTIONS = 10_000
SLOW_READERS = 1_000
LARGE_REPLY = 64 << 10
UNREAD_REPLIES = 4

REQUIRED_STEADY = 2.0
"""Ours / Redis, p99.9, with steady writes."""
LONGEST_EXPIRY_STALL_MS = 5.0
LATEST_EXPIRY_MS = 100.0

STEADY_BLOCK = 10
STEADY_PAUSE = 0.001
GRACE = 10.0
"""How long keys are waited for that should have expired."""

KEY = b"key:%012d"
VALUE = b"v" * 100
PROBED = b"probed"

SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
FIGURES = {"p50": "p50", "p99": "p99", "p999": "p99.9", "slowest": "slowest"}

fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Settings:
    """How much of everything."""

    keys: int
    idle: int
    slow: int
    spread: float
    """Over how many seconds the deadlines lie."""
    seconds: float
    passes: int


@dataclass
class Seen:
    """What one pass saw: nanoseconds per reply, and how late expired keys went."""

    samples: "array[int]"
    lag_ms: float | None = None


@dataclass(frozen=True)
class Phase:
    """One kind of trouble, and what is asked of us in it."""

    name: str
    run: Callable[[Peer, Settings], Seen]
    passes: bool = False
    """Whether it can be repeated, because it leaves the keys as they were."""
    ratio: float | None = None
    """Ours / Redis, p99.9, at most."""
    slowest_ms: float | None = None
    """Our slowest reply, at most."""


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no options besides those of every benchmark."""


def measure(options: argparse.Namespace) -> Iterator[Table]:
    peers.raise_file_limit()
    settings = _settings(options.quick)
    seen: dict[str, dict[str, list[Seen]]] = {p.name: defaultdict(list) for p in PHASES}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(peers.start(name, words, "--maxclients", str(settings.idle + 100)))
            for name, words in peers.contenders(options).items()
        ]
        for phase in PHASES:
            for number in range(settings.passes if phase.passes else 1):
                for peer in reversed(servers) if number % 2 else servers:
                    report.progress(f"{phase.name}: {peer.name}")
                    _alone(peer)
                    seen[phase.name][peer.name].append(phase.run(peer, settings))
    yield _table(seen, settings)


def _settings(quick: bool) -> Settings:
    idle = IDLE_CONNECTIONS // 10 if quick else IDLE_CONNECTIONS
    if (room := peers.open_files_allowed() - 200) < idle:
        print(f"Only {room} open files are allowed: fewer idle connections", file=sys.stderr)
        idle = room
    if quick:
        return Settings(KEYS // 10, idle, SLOW_READERS // 10, spread=2.0, seconds=1.0, passes=2)
    return Settings(KEYS, idle, SLOW_READERS, spread=10.0, seconds=2.0, passes=3)


def _alone(peer: Peer) -> None:
    """Wait until the connections of the phase before are gone, and have the probed key there."""
    deadline = time.monotonic() + 30
    with Wire(peer.port) as wire:
        while wire.info(b"clients", "connected_clients") > 1:
            if time.monotonic() > deadline:
                raise peers.Unavailable(f"{peer.name} keeps connections that were closed")
            time.sleep(0.02)
        wire.call(b"SET", PROBED, VALUE)


def _table(seen: dict[str, dict[str, list[Seen]]], settings: Settings) -> Table:
    notes = ["The slowest reply while quiet is what the machine itself adds."]
    notes += [_lag(name, passes) for name, passes in seen["expired"].items()]
    return Table(
        f"Microseconds to the reply of GET, {settings.keys:,} keys, {settings.idle:,} idle"
        f" connections, {settings.slow:,} slow readers",
        {
            "while": "{name}",
            **{
                f"{name} {title}": f"{{{name}_{key}:,.0f}}"
                for name in (REDIS, OURS)
                for key, title in FIGURES.items()
            },
            "ratio p99.9": "{ratio:.2f} ({low:.2f}-{high:.2f})",
            "": "{mark}",
        },
        [_record(phase, seen[phase.name]) for phase in PHASES],
        notes,
    )


def _record(phase: Phase, seen: dict[str, list[Seen]]) -> Record:
    record: Record = {"name": phase.name, "mark": ""}
    p999: dict[str, list[float]] = {}
    for name, passes in seen.items():
        ordered = [sorted(one.samples) for one in passes]
        for key, share in SHARES.items():
            figures = [report.percentile(samples, share) / 1000 for samples in ordered]
            record[f"{name}_{key}"] = Spread.of(figures).middle
        p999[name] = [report.percentile(samples, 0.999) / 1000 for samples in ordered]
        record[f"{name}_slowest"] = slowest = max(samples[-1] for samples in ordered) / 1000
        if name == OURS and phase.slowest_ms:
            verdict = "ok" if slowest <= phase.slowest_ms * 1000 else "above"
            record["mark"] = f"{verdict} (slowest at most {phase.slowest_ms:.0f} ms)"
    if REDIS in p999:
        ratio = report.ratios(p999[OURS], p999[REDIS])
        record |= {"ratio": ratio.middle, "low": ratio.low, "high": ratio.high}
        if phase.ratio:
            verdict = "ok" if ratio.middle <= phase.ratio else "above"
            record["mark"] = f"{verdict} (at most {phase.ratio:.1f})"
    return record


def _lag(name: str, passes: list[Seen]) -> str:
    lag = max(one.lag_ms or 0 for one in passes)
    verdict = "ok" if lag <= LATEST_EXPIRY_MS else "above"
    asked = f" ({verdict}, at most {LATEST_EXPIRY_MS:.0f})" if name == OURS else ""
    return f"{name}: expired keys were gone within {lag:,.0f} ms{asked}."


# --- the probe ------------------------------------------------------------------------------------


@contextmanager
def background(run: Callable[[], None]) -> Iterator[BaseProcess]:
    process = fork.Process(target=_load, args=(run,))
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def _load(run: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    peers.lowest_priority()
    run()


def probe(peer: Peer, going: Callable[[], bool]) -> "array[int]":
    """Nanoseconds to the reply of each GET, one after the other, while `going()`."""
    question = command(b"GET", PROBED)
    samples = array("q")
    clock = time.perf_counter_ns
    with Wire(peer.port) as wire:
        send, receive = wire.socket.sendall, wire.socket.recv
        while going():
            for _ in range(64):
                asked = clock()
                send(question)
                reply = receive(4096)
                while not _whole(reply):
                    reply += receive(4096)
                samples.append(clock() - asked)
    return samples


def _whole(reply: bytes) -> bool:
    return len(reply) == len(VALUE) + 8 or reply == b"$-1\r\n"


def _during(peer: Peer, run: Callable[[], None]) -> Seen:
    """Probe until the load has done its work."""
    with background(run) as process:
        samples = probe(peer, process.is_alive)
    if process.exitcode:
        raise peers.Unavailable(f"the load on {peer.name} failed")
    return Seen(samples)


def beside(peer: Peer, run: Callable[[Event], None], seconds: float) -> "array[int]":
    """Probe for a while beside a load that goes on until it is ended, once it is in place."""
    ready = fork.Event()
    with background(lambda: run(ready)) as process:
        while process.is_alive() and not ready.wait(0.05):
            pass
        samples = probe(peer, until(seconds))
        if not process.is_alive():
            raise peers.Unavailable(f"the load on {peer.name} ended early")
    return samples


def until(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline


# --- the trouble ----------------------------------------------------------------------------------


def _quiet(peer: Peer, settings: Settings) -> Seen:
    return Seen(probe(peer, until(settings.seconds)))


def _fill(peer: Peer, settings: Settings) -> Seen:
    def run() -> None:
        with Wire(peer.port) as wire:
            wire.pour(blocks(template(b"SET", KEY, VALUE), range(settings.keys)))

    return _during(peer, run)


def _steady(peer: Peer, settings: Settings) -> Seen:
    """Ten writes a millisecond: strings replaced, hashes and lists made and removed."""

    def run(ready: Event) -> None:
        replace = template(b"SET", KEY, VALUE)
        number = 0
        with Wire(peer.port) as wire:
            ready.set()
            due = time.monotonic()
            while True:
                key = number * 7919 % settings.keys
                data, count = next(blocks(replace, range(key, key + STEADY_BLOCK - 4)))
                made = [
                    command(b"HSET", b"hash:%d" % number, b"field", b"%d" % number),
                    command(b"RPUSH", b"list:%d" % number, b"a", b"b"),
                    command(b"DEL", b"hash:%d" % (number - 1000)),
                    command(b"DEL", b"list:%d" % (number - 1000)),
                ]
                wire.pour([(data + b"".join(made), count + len(made))])
                number += 1
                due += STEADY_PAUSE
                time.sleep(max(0.0, due - time.monotonic()))

    return Seen(beside(peer, run, settings.seconds))


def _delete(peer: Peer, settings: Settings) -> Seen:
    def run() -> None:
        with Wire(peer.port) as wire:
            wire.pour(blocks(template(b"DEL", KEY), range(settings.keys)))

    return _during(peer, run)


def _expire(peer: Peer, settings: Settings) -> Seen:
    """All keys go within a few seconds, in the order in which they were set."""
    with Wire(peer.port) as wire:
        first, last = _fill_with_deadlines(wire, settings)
        time.sleep(first - time.time())
        look, lag = first, 0.0

        def going() -> bool:
            nonlocal look, lag
            if (now := time.time()) > look:
                look = now + 0.01
                left = wire.number(b"DBSIZE") - 1
                oldest = last - left * settings.spread / settings.keys
                if left:
                    lag = max(lag, now - oldest)
                return left > 0 and now < last + GRACE
            return True

        return Seen(probe(peer, going), lag * 1000)


def _fill_with_deadlines(wire: Wire, settings: Settings) -> tuple[float, float]:
    """Set all keys to expire evenly between the two times that are returned."""
    wire.call(b"FLUSHALL")
    sample = settings.keys // 20
    began = time.monotonic()
    wire.pour(_with_deadlines(range(sample), time.time() + 3600, settings))
    took = (time.monotonic() - began) * 20
    for margin in (1.5, 3, 6):
        first = time.time() + 1 + took * margin
        wire.pour(_with_deadlines(range(settings.keys), first, settings))
        if time.time() < first:
            wire.call(b"SET", PROBED, VALUE)
            return first, first + settings.spread
    raise peers.Unavailable("the keys could not be set before they expired")


def _with_deadlines(numbers: range, first: float, settings: Settings) -> Iterator[Block]:
    """Blocks of SET in which the deadline moves on from block to block."""
    for start in range(0, len(numbers), 100):
        deadline = b"%d" % ((first + start * settings.spread / settings.keys) * 1000)
        yield from blocks(
            template(b"SET", KEY, VALUE, b"PXAT", deadline), numbers[start : start + 100]
        )


def _flush(peer: Peer, settings: Settings) -> Seen:
    with Wire(peer.port) as wire:
        wire.pour(blocks(template(b"SET", KEY, VALUE), range(settings.keys)), window=4)

    def run() -> None:
        time.sleep(settings.seconds / 2)
        with Wire(peer.port) as wire:
            wire.call(b"FLUSHALL")
        time.sleep(settings.seconds / 2)

    return _during(peer, run)


def _idle(peer: Peer, settings: Settings) -> Seen:
    def run(ready: Event) -> None:
        connections = [Wire(peer.port) for _ in range(settings.idle)]
        for wire in connections[-10:]:
            wire.call(b"PING")
        ready.set()
        time.sleep(600)

    return Seen(beside(peer, run, settings.seconds))


def _slow_readers(peer: Peer, settings: Settings) -> Seen:
    def run(ready: Event) -> None:
        with Wire(peer.port) as wire:
            wire.call(b"SET", b"large", b"v" * LARGE_REPLY)
        connections = []
        for _ in range(settings.slow):
            connection = socket.socket()
            # A small window keeps the replies in the server instead of in the kernel.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((peers.LOOPBACK, peer.port))
            connection.sendall(command(b"GET", b"large") * UNREAD_REPLIES)
            connections.append(connection)
        ready.set()
        time.sleep(600)

    return Seen(beside(peer, run, settings.seconds))


PHASES = (
    Phase("quiet", _quiet, passes=True),
    Phase("filled", _fill),
    Phase("steady writes", _steady, passes=True, ratio=REQUIRED_STEADY),
    Phase("deleted", _delete),
    Phase("expired", _expire, slowest_ms=LONGEST_EXPIRY_STALL_MS),
    Phase("flushed", _flush),
    Phase("idle connections", _idle, passes=True),
    Phase("slow readers", _slow_readers, passes=True),
)

BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
