"""The changefeed in Kafka: events a second, and what it costs those who write.

    python -m benchmarks.changefeed --broker 127.0.0.1:9092     # about two minutes
    python -m benchmarks.changefeed --broker ... --quick        # half a minute

The broker must be one that may have new topics. It, the server, its process for Kafka, the writer
and a consumer that reads what is committed share this machine.

The first table has SETs of values of 100 bytes in pipelines, as fast as the server takes them; how
long it takes until the consumer has seen the last of them; and the processor time of each event,
in the server (with its SET) and in the process for Kafka. The second has the same SETs with the
changefeed and without, one after the other. The third has the process for Kafka killed: how long
until the consumer sees something new.
"""

import argparse
import json
import multiprocessing
import os
import secrets
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import peers, report
from benchmarks.peers import Peer, Unavailable, Wire, blocks, template
from benchmarks.report import Benchmark, Record, Spread, Table

WRITES = 500_000
ROUNDS = 5
KEYS = 100_000
VALUE = b"v" * 100
WRITE = template(b"SET", b"key:%012d", VALUE)
MARK = b"mark"
WINDOW = 4
LONGEST_S = 300.0

fork = multiprocessing.get_context("fork")


def configure(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("changefeed")
    group.add_argument("--broker", metavar="HOST:PORT", required=True, help="where Kafka is")
    group.add_argument("--writes", type=int, help=f"SETs of a run ({WRITES}; quick: a tenth)")
    group.add_argument("--rounds", type=int, help=f"how often ({ROUNDS}; quick: 2)")


def measure(options: argparse.Namespace) -> Iterator[Table]:
    writes = options.writes or (WRITES // 10 if options.quick else WRITES)
    rounds = options.rounds or (2 if options.quick else ROUNDS)
    topic = f"bench-{secrets.token_hex(4)}"
    log = ("--appendonly", "yes")
    feed = (
        *("--changefeed", f"kafka://{options.broker}/{topic}"),
        *("--changefeed-stream", topic),
    )
    command = (*shlex.split(options.ours), *peers.DIRECTIVES)
    with (
        peers.start("without", command, *log) as without,
        peers.start("with", command, *log, *feed) as peer,
        _consumer(options.broker, topic) as seen,
    ):
        process = _publishing(peer)
        yield _events(peer, process, seen, writes, rounds)
        yield _writes(peer, without, seen, writes, rounds)
        yield _killed(peer, seen, rounds)


def _publishing(peer: Peer) -> Peer:
    """The process for Kafka, once it publishes."""
    end_s = time.monotonic() + LONGEST_S
    with Wire(peer.port) as wire:
        while b"state:publishing" not in wire.text(b"INFO", b"changefeed"):
            if time.monotonic() > end_s:
                raise Unavailable("nothing is published")
            time.sleep(0.05)
    children = Path(f"/proc/{peer.pid}/task/{peer.pid}/children").read_text().split()
    return Peer("changefeed", 0, int(children[0]))


def _pour(peer: Peer, writes: int) -> float:
    """Write; how many SETs a second the server took."""
    numbers = [blocks(WRITE, range(at, min(at + KEYS, writes))) for at in range(0, writes, KEYS)]
    with Wire(peer.port) as wire:
        start_s = time.monotonic()
        for work in numbers:
            wire.pour(work, WINDOW)
        return writes / (time.monotonic() - start_s)


def _mark(peer: Peer, seen: Connection) -> None:
    """Write a value, and wait until the consumer has seen it."""
    value = secrets.token_hex(8)
    with Wire(peer.port) as wire:
        wire.call(b"SET", MARK, value.encode())
    while True:
        if not seen.poll(LONGEST_S):
            raise Unavailable("the consumer does not see what was written")
        if seen.recv() == value:
            return


def _events(peer: Peer, process: Peer, seen: Connection, writes: int, rounds: int) -> Table:
    rates, server_ns, process_ns = [], [], []
    _mark(peer, seen)
    for number in range(rounds):
        report.progress(f"round {number + 1} of {rounds}: events")
        before, start_s = (peer.cpu_ns() or 0, process.cpu_ns() or 0), time.monotonic()
        _pour(peer, writes)
        _mark(peer, seen)
        rates.append(writes / (time.monotonic() - start_s))
        server_ns.append(((peer.cpu_ns() or 0) - before[0]) / writes)
        process_ns.append(((process.cpu_ns() or 0) - before[1]) / writes)
    rate, server, publisher = map(Spread.of, (rates, server_ns, process_ns))
    record: Record = {
        "rate": rate.middle,
        "low": rate.low,
        "high": rate.high,
        "server": server.middle / 1000,
        "process": publisher.middle / 1000,
    }
    columns = {
        "events/s": "{rate:,.0f}",
        "range": "{low:,.0f}-{high:,.0f}",
        "server, us each": "{server:.1f}",
        "process for Kafka, us each": "{process:.1f}",
    }
    return Table(f"{writes:,} SETs until a consumer has seen them", columns, [record])


def _writes(peer: Peer, without: Peer, seen: Connection, writes: int, rounds: int) -> Table:
    on: list[float] = []
    off: list[float] = []
    for number in range(rounds):
        report.progress(f"round {number + 1} of {rounds}: SET with and without")
        for it in (peer, without) if number % 2 else (without, peer):
            (on if it is peer else off).append(_pour(it, writes))
            if it is peer:
                _mark(peer, seen)
    ratio = report.ratios(on, off)
    record: Record = {
        "on": Spread.of(on).middle,
        "off": Spread.of(off).middle,
        "ratio": ratio.middle,
        "low": ratio.low,
        "high": ratio.high,
    }
    columns = {
        "on, SET/s": "{on:,.0f}",
        "off, SET/s": "{off:,.0f}",
        "on / off": "{ratio:.2f}",
        "range": "{low:.2f}-{high:.2f}",
    }
    return Table("SET with the changefeed and without", columns, [record])


def _killed(peer: Peer, seen: Connection, rounds: int) -> Table:
    times = []
    for number in range(rounds):
        report.progress(f"round {number + 1} of {rounds}: the process is killed")
        process = _publishing(peer)
        start_s = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        _mark(peer, seen)
        times.append(time.monotonic() - start_s)
    spread = Spread.of(times)
    record: Record = {"middle": spread.middle, "low": spread.low, "high": spread.high}
    columns = {"seconds": "{middle:.2f}", "range": "{low:.2f}-{high:.2f}"}
    return Table("From a kill of the process for Kafka to the next event", columns, [record])


@contextmanager
def _consumer(broker: str, topic: str) -> Iterator[Connection]:
    """A process that reads what is committed, and sends the values of one key."""
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_consume, args=(broker, topic, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _consume(broker: str, topic: str, seen: Connection) -> None:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": topic,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    while True:
        for message in consumer.consume(10_000, 0.1):
            value = message.value()
            if message.error() is None and message.key() == MARK and value is not None:
                seen.send(json.loads(value)["value"])


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__ or "", [BENCHMARK])
