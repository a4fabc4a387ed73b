"""Throughput beside a real redis-server: the daemon over loopback, pipelined and not.

    python -m benchmarks.throughput                       # everything, about four minutes
    python -m benchmarks.throughput --quick               # a look, about half a minute
    python -m benchmarks.throughput --tests get,set --depths 16 --rounds 9
    python -m benchmarks.throughput --markdown --json results.json

redis-benchmark sends its default commands over 50 connections. Each command runs against one
server and then the other, the order swapped every round, and each round gives one ratio (ours /
Redis), so that other load on the machine hits both. The tables show the median and the range.

Two figures per row: throughput (more is better), and the server's processor time per command (less
is better). The second says more: redis-benchmark itself fills a core when pipelines are deep, and
then hides what Redis could do.

Last, GET and SET against fakeredis's TcpFakeServer, for those who test with that today.
"""

import argparse
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec

from benchmarks import peers, report
from benchmarks.peers import FAKEREDIS, OURS, REDIS, Peer, Wire
from benchmarks.report import Benchmark, Record, Spread, Table

CONNECTIONS = 50
LISTED = 1000
"""How many elements the list has that LRANGE reads."""


@dataclass(frozen=True)
class Test:
    """One command of redis-benchmark's default run, and the keys that it finds."""

    name: str
    words: tuple[str, ...] = ()
    """Given where redis-benchmark would send something else besides (LRANGE fills its list)."""
    keys: tuple[bytes, ...] = ()
    pops: bool = False
    """The list must hold as many elements as will be popped."""

    def arguments(self) -> tuple[str, ...]:
        return self.words or ("-t", self.name)

    def prepare(self, wire: Wire, requests: int) -> None:
        wire.call(b"FLUSHALL")
        if self.keys:
            wire.call(*self.keys)
        if self.pops:
            push = peers.command(b"RPUSH", b"mylist", *[b"xxx"] * LISTED)
            wire.pour([(push, 1)] * (requests // LISTED + 1))


def _lrange(stop: int) -> Test:
    words = ("lrange", "mylist", "0", str(stop - 1))
    return Test(f"lrange_{stop}", words, (b"RPUSH", b"mylist", *[b"xxx"] * LISTED))


TESTS = {
    test.name: test
    for test in (
        Test("ping_inline"),
        Test("ping_mbulk"),
        Test("set"),
        Test("get", keys=(b"SET", b"key:__rand_int__", b"xxx")),
        Test("incr"),
        Test("lpush"),
        Test("rpush"),
        Test("lpop", pops=True),
        Test("rpop", pops=True),
        Test("sadd"),
        Test("hset"),
        Test("spop"),
        Test("zadd"),
        Test("zpopmin"),
        Test("xadd", ("xadd", "mystream", "*", "myfield", "xxx")),
        *map(_lrange, (100, 300, 500, 600)),
        Test("mset"),
    )
}
DEPTHS = (1, 16, 100)
QUICK_TESTS = ("ping_mbulk", "set", "get", "incr", "lpush", "lrange_100", "mset")
QUICK_DEPTHS = (1, 16)

HOT = ("get", "set", "incr")
REQUIRED = {True: {1: 0.95, 16: 0.50, 100: 0.50}, False: {1: 0.80, 16: 0.35, 100: 0.35}}
AIMED = {1: 1.05, 16: 0.80, 100: 0.80}
REQUIRED_OF_FAKEREDIS = 10.0


@dataclass(frozen=True)
class Figure:
    """One run of redis-benchmark: commands per second, and the server's ns per command."""

    rate: float
    cpu: float | None


@dataclass
class Series:
    """The rounds of one test at one depth, by server, in the same order."""

    figures: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))

    def rates(self, name: str) -> list[float]:
        return [f.rate for f in self.figures[name]]

    def cpu(self, name: str) -> list[float]:
        return [f.cpu for f in self.figures[name] if f.cpu]


def configure(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("throughput")
    group.add_argument("--rounds", type=int, help="how often each ratio is measured (5; quick: 2)")
    group.add_argument("--tests", type=_tests, help=f"some of {','.join(TESTS)}")
    group.add_argument("--depths", type=_depths, help="pipeline depths (1,16,100; quick: 1,16)")
    group.add_argument("--requests", type=int, help="per run (default: what fills --seconds)")
    group.add_argument("--seconds", type=float, default=0.25, help="length of one run (0.25)")


def measure(options: argparse.Namespace) -> Iterator[Table]:
    if not shutil.which("redis-benchmark"):
        print("redis-benchmark is not installed: throughput is not measured", file=sys.stderr)
        return
    rounds = options.rounds or (2 if options.quick else 5)
    tests = options.tests or (QUICK_TESTS if options.quick else tuple(TESTS))
    depths = options.depths or (QUICK_DEPTHS if options.quick else DEPTHS)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(peers.start(name, words))
            for name, words in peers.contenders(options).items()
        ]
        combinations = [(TESTS[name], depth) for name in tests for depth in depths]
        results = _rounds(servers, combinations, rounds, options)
        yield (_pivot if options.markdown else _listing)(results, rounds)

        if not find_spec("fakeredis"):
            print("fakeredis is not installed: no comparison with it", file=sys.stderr)
            return
        fake = stack.enter_context(peers.start(FAKEREDIS, peers.FAKEREDIS_COMMAND))
        combinations = [(TESTS[name], depth) for name in ("get", "set") for depth in (1, 16)]
        results = _rounds([servers[0], fake], combinations, min(rounds, 3), options)
        yield _beside_fakeredis(results)


def _rounds(
    servers: list[Peer],
    combinations: list[tuple[Test, int]],
    rounds: int,
    options: argparse.Namespace,
) -> dict[tuple[str, int], Series]:
    requests: dict[tuple[str, str, int], int] = {}
    results: dict[tuple[str, int], Series] = defaultdict(Series)
    for number in range(rounds):
        for test, depth in combinations:
            report.progress(f"round {number + 1} of {rounds}: {test.name}, pipeline {depth}")
            for peer in reversed(servers) if number % 2 else servers:
                key = peer.name, test.name, depth
                if key not in requests:
                    requests[key] = options.requests or _requests(
                        peer, test, depth, options.seconds
                    )
                figure = _benchmark(peer, test, depth, requests[key])
                results[test.name, depth].figures[peer.name].append(figure)
    return results


def _requests(peer: Peer, test: Test, depth: int, seconds: float) -> int:
    """How many requests take about that long, found by sending more until it can be told."""
    requests = CONNECTIONS * depth
    while True:
        rate = _benchmark(peer, test, depth, requests).rate
        if requests / rate >= seconds / 8:
            return max(requests, int(rate * seconds))
        requests *= 4


def _benchmark(peer: Peer, test: Test, depth: int, requests: int) -> Figure:
    with Wire(peer.port) as wire:
        test.prepare(wire, requests)
    return send(peer, test, depth, requests)


def send(peer: Peer, test: Test, depth: int, requests: int) -> Figure:
    """Have redis-benchmark send these requests."""
    before = peer.cpu_ns()
    done = subprocess.run(
        [
            *("redis-benchmark", "-h", peers.LOOPBACK, "-p", str(peer.port), "--csv"),
            *("-c", str(CONNECTIONS), "-P", str(depth), "-n", str(requests)),
            *test.arguments(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    after = peer.cpu_ns()
    try:
        rate = float(done.stdout.splitlines()[-1].split('","')[1])
    except (IndexError, ValueError):
        raise peers.Unavailable(
            f"redis-benchmark failed for {test.name} against {peer.name}:\n"
            + (done.stdout + done.stderr)[-2000:]
        ) from None
    cpu = None if before is None or after is None else (after - before) / requests
    return Figure(rate, cpu)


def _record(test: str, depth: int, series: Series) -> Record:
    rate, cpu = series.rates(OURS), series.cpu(OURS)
    record: Record = {
        "test": test.upper(),
        "depth": depth,
        "ours": Spread.of(rate).middle,
        "ours_cpu": Spread.of(cpu).middle if cpu else None,
        "required": _required(test, depth),
        "mark": "",
    }
    if series.figures.get(REDIS):
        ratio = report.ratios(rate, series.rates(REDIS))
        record["redis"] = Spread.of(series.rates(REDIS)).middle
        record |= {"ratio": ratio.middle, "low": ratio.low, "high": ratio.high}
        record["mark"] = _mark(test, depth, ratio.middle)
        if cpu:
            ratio = report.ratios(cpu, series.cpu(REDIS))
            record["redis_cpu"] = Spread.of(series.cpu(REDIS)).middle
            record |= {"cpu": ratio.middle, "cpu_low": ratio.low, "cpu_high": ratio.high}
    return record


def _required(test: str, depth: int) -> float | None:
    return REQUIRED[test in HOT].get(depth)


def _mark(test: str, depth: int, ratio: float) -> str:
    required, aimed = _required(test, depth), AIMED.get(depth)
    if required is None or aimed is None:
        return ""
    if ratio < required:
        return "below"
    return "ok, aim met" if test in HOT and ratio >= aimed else "ok"


def _listing(results: dict[tuple[str, int], Series], rounds: int) -> Table:
    """A row per command and depth, with the absolute figures."""
    records = [_record(test, depth, series) for (test, depth), series in results.items()]
    return Table(
        f"Throughput, {CONNECTIONS} connections, median of {rounds} rounds (range)",
        {
            "command": "{test}",
            "depth": "{depth}",
            "Redis /s": "{redis:,.0f}",
            "ours /s": "{ours:,.0f}",
            "ratio": "{ratio:.2f} ({low:.2f}-{high:.2f})",
            "needed": "{required:.2f}",
            "": "{mark}",
            "Redis CPU ns": "{redis_cpu:,.0f}",
            "ours": "{ours_cpu:,.0f}",
            "ratio ": "{cpu:.2f} ({cpu_low:.2f}-{cpu_high:.2f})",
        },
        records,
        [_below(records)],
    )


def _pivot(results: dict[tuple[str, int], Series], rounds: int) -> Table:
    """A row per command, with the depths side by side: short enough for the README."""
    rows: dict[str, Record] = {}
    columns = {"command": "{test}"}
    records: list[Record] = []
    for (test, depth), series in results.items():
        record = _record(test, depth, series)
        records.append(record)
        row = rows.setdefault(test, {"test": test.upper()})
        row |= {f"{name}_{depth}": value for name, value in record.items()}
        columns[f"depth {depth}"] = (
            f"{{ratio_{depth}:.2f}} ({{low_{depth}:.2f}}-{{high_{depth}:.2f}})"
        )
        columns[f"CPU, {depth}"] = f"{{cpu_{depth}:.2f}}"
    return Table(
        f"Ours / Redis, {CONNECTIONS} connections, median of {rounds} rounds (range)",
        columns,
        list(rows.values()),
        [
            "Throughput by pipeline depth (more is better), and the server's processor time per"
            " command (less is better).",
            _below(records),
        ],
    )


def _below(records: list[Record]) -> str:
    judged = [record for record in records if record["mark"]]
    failed = [f"{r['test']} at depth {r['depth']}" for r in judged if r["mark"] == "below"]
    if failed:
        return f"Below what is required: {', '.join(failed)}."
    return f"All {len(judged)} ratios are as required." if judged else "Nothing to compare with."


def _beside_fakeredis(results: dict[tuple[str, int], Series]) -> Table:
    records: list[Record] = []
    for (test, depth), series in results.items():
        ratio = report.ratios(series.rates(OURS), series.rates(FAKEREDIS))
        records.append(
            {
                "test": test.upper(),
                "depth": depth,
                "ours": Spread.of(series.rates(OURS)).middle,
                "fake": Spread.of(series.rates(FAKEREDIS)).middle,
                "ratio": ratio.middle,
                "low": ratio.low,
                "high": ratio.high,
                "mark": "ok" if ratio.middle >= REQUIRED_OF_FAKEREDIS else "below",
            }
        )
    return Table(
        f"Ours / fakeredis's TcpFakeServer, {CONNECTIONS} connections",
        {
            "command": "{test}",
            "depth": "{depth}",
            "fakeredis /s": "{fake:,.0f}",
            "ours /s": "{ours:,.0f}",
            "ratio": "{ratio:.1f} ({low:.1f}-{high:.1f})",
            f"needed {REQUIRED_OF_FAKEREDIS:.0f}": "{mark}",
        },
        records,
    )


def _tests(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(","))
    if unknown := [name for name in names if name not in TESTS]:
        raise argparse.ArgumentTypeError(f"no such test: {', '.join(unknown)}")
    return names


def _depths(text: str) -> tuple[int, ...]:
    return tuple(int(depth) for depth in text.split(","))


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
