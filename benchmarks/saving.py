"""Saving and loading beside a real redis-server: what a snapshot costs those who ask meanwhile.

    python -m benchmarks.saving             # about two minutes
    python -m benchmarks.saving --quick     # a tenth of the keys

A million keys with deadlines are saved with BGSAVE while one connection sends GET, waits for the
reply and sends the next, and a process of the lowest priority replaces keys; then once more, when a
set, a hash, a sorted set, a list and a stream of a million entries each are there, too, and change,
the stream with a group for which all entries are pending. The same without BGSAVE comes before
each. DEBUG RELOAD says how fast the million keys are loaded.

Memory is what the process grew by, and for Redis what it copied for the child (rdb_last_cow_size).
"""

import argparse
import time
from collections.abc import Callable, Iterator

from benchmarks import peers, report
from benchmarks.latency import background, probe, until
from benchmarks.peers import OURS, REDIS, Peer, Wire, blocks, command, template
from benchmarks.report import Benchmark, Record, Table

KEYS = 1_000_000
ALLOWED_MS = 50.0
"""Our slowest reply while a snapshot is saved is at most so much slower than without."""
ALLOWED_GROWTH = 0.5
REQUIRED_PER_SECOND = 150_000
QUIET_S = 4.0
PAUSE_S = 0.002

SET = template(b"SET", b"key:%012d", b"v" * 100, b"EX", b"864000")
LARGE = {
    "SADD": template(b"SADD", b"large set", b"member:%012d"),
    "HSET": template(b"HSET", b"large hash", b"field:%012d", b"value"),
    "ZADD": template(b"ZADD", b"large zset", b"%012d", b"member:%012d"),
    "RPUSH": template(b"RPUSH", b"large list", b"v" * 100 + b"%012d"),
    "XADD": template(b"XADD", b"large stream", b"%012d-1", b"field", b"value"),
}
CHANGES = [
    *(pattern for name, pattern in LARGE.items() if name != "XADD"),
    template(b"SREM", b"large set", b"member:%012d"),
    template(b"LPOP", b"large list"),
    template(b"XACK", b"large stream", b"group", b"%012d-1"),
    template(b"XDEL", b"large stream", b"%012d-1"),
]
READ = command(
    *(b"XREADGROUP", b"GROUP", b"group", b"consumer", b"COUNT", b"1000"),
    *(b"STREAMS", b"large stream", b">"),
)


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no options besides those of every benchmark."""


def measure(options: argparse.Namespace) -> Iterator[Table]:
    keys = KEYS // 10 if options.quick else KEYS
    records = []
    for name, words in peers.contenders(options).items():
        with peers.start(name, words, "--enable-debug-command", "yes") as peer:
            records += [_marked(record) for record in _records(peer, keys)]
    yield Table(
        f"Saving and loading {keys:,} keys of 100 bytes with deadlines,"
        f" and five values of {keys:,} entries",
        {
            "server": "{name}",
            "saved": "{what}",
            "slowest reply, ms: quiet": "{quiet:,.1f}",
            "while saving": "{saving:,.1f}",
            "p99.9, us: quiet": "{quiet_p999:,.0f}",
            "p99.9 while saving": "{saving_p999:,.0f}",
            "seconds": "{seconds:.1f}",
            "growth": "{growth:.0%}",
            "loaded, keys/s of CPU": "{loaded}",
            "": "{mark}",
        },
        records,
        [
            f"Asked of {OURS}: +{ALLOWED_MS:.0f} ms, {ALLOWED_GROWTH:.0%},"
            f" {REQUIRED_PER_SECOND:,} keys/s."
        ],
    )


def _marked(record: Record) -> Record:
    return record | {"mark": "missed" if record["slow"] else ""}


def _records(peer: Peer, keys: int) -> Iterator[Record]:
    report.progress(f"filling: {peer.name}")
    with Wire(peer.port) as wire:
        wire.pour(blocks(SET, range(keys)), window=4)
        loaded = _load(peer, wire, keys)
        wire.call(b"SET", b"probed", b"v" * 100)
        yield _saved(peer, wire, "keys", lambda: _change(peer, keys, False)) | {
            "loaded": f"{loaded:,.0f}",
            "slow": peer.name == OURS and loaded < REQUIRED_PER_SECOND,
        }
        for pattern in LARGE.values():
            wire.pour(blocks(pattern, range(keys)), window=4)
        wire.call(b"XGROUP", b"CREATE", b"large stream", b"group", b"0")
        wire.pour([(READ, 1)] * (keys // 1000))
        yield _saved(peer, wire, "and large values", lambda: _change(peer, keys, True))


def _saved(peer: Peer, wire: Wire, what: str, change: Callable[[], None]) -> Record:
    """What a BGSAVE does to replies while keys are changed."""
    report.progress(f"saving {what}: {peer.name}")
    with background(change):
        quiet = probe(peer, until(QUIET_S))
        before = peer.resident()
        began = time.monotonic()
        wire.call(b"BGSAVE")
        saving = probe(peer, _until_saved(wire))
        seconds = time.monotonic() - began
    copied = wire.info(b"persistence", "rdb_last_cow_size")
    growth = (copied if peer.name == REDIS else peer.peak_resident() - before) / before
    slowest = {"quiet": max(quiet) / 1e6, "saving": max(saving) / 1e6}
    return {
        "name": peer.name,
        "what": what,
        **slowest,
        "quiet_p999": report.percentile(sorted(quiet), 0.999) / 1000,
        "saving_p999": report.percentile(sorted(saving), 0.999) / 1000,
        "seconds": seconds,
        "growth": growth,
        "loaded": "",
        "slow": peer.name == OURS
        and (slowest["saving"] > slowest["quiet"] + ALLOWED_MS or growth > ALLOWED_GROWTH),
    }


def _load(peer: Peer, wire: Wire, keys: int) -> float:
    """Keys that are loaded in a second of the server's processor time."""
    report.progress(f"loading: {peer.name}")
    wire.call(b"SAVE")
    wire.call(b"FLUSHALL")
    began = peer.cpu_ns() or 0
    wire.call(b"DEBUG", b"RELOAD", b"NOSAVE")
    return keys * 1e9 / max((peer.cpu_ns() or 0) - began, 1)


def _until_saved(wire: Wire) -> Callable[[], bool]:
    look = 0.0

    def going() -> bool:
        nonlocal look
        if time.monotonic() < look:
            return True
        look = time.monotonic() + 0.1
        return wire.info(b"persistence", "rdb_bgsave_in_progress") == 1

    return going


def _change(peer: Peer, keys: int, large: bool) -> None:
    """Replace keys, and change the large values if they are there, a few at a time."""
    number = 0
    with Wire(peer.port) as wire:
        while True:
            key = number * 7919 % keys
            work = list(blocks(SET, range(key, key + 10)))
            if large and number % 10 == 0:
                at = number * 7919 % (keys // 2)
                work += [each for it in CHANGES for each in blocks(it, range(at, at + 1))]
                work.append((command(b"LSET", b"large list", b"%d" % at, b"value"), 1))
            wire.pour(work)
            number += 1
            time.sleep(PAUSE_S)


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
