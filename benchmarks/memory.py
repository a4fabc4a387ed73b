"""Memory beside a real redis-server: resident bytes per key, and what `maxmemory` really bounds.

    python -m benchmarks.memory             # about four minutes
    python -m benchmarks.memory --quick     # a tenth of the keys, a quarter of the limit

Resident memory is what the kernel says (VmRSS and its peak VmHWM in /proc, so Linux only), each
measurement in a fresh process. The first table divides what a fill added by the number of keys.
The second is about ours alone: with a limit and allkeys-lru, a mix of values is written until much
of what had fitted has been replaced. The peak must stay below 1.5 x the limit + 64 MB.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

from benchmarks import peers, report
from benchmarks.peers import (
    OURS,
    REDIS,
    Block,
    Peer,
    Unavailable,
    Wire,
    blocks,
    command,
    template,
)
from benchmarks.report import Benchmark, Record, Table

MB = 1 << 20
KEY = b"key:%012d"
REQUIRED_PER_STRING = 1.4
REQUIRED_PER_ENTRY = 2.0
BLOCK_BYTES = 20_000
PROBE_BYTES = 4 * MB
"""How much is written between two looks at the server."""
CHURN = 0.5
"""How much is written once keys go, in limits: enough to replace much of what had fitted."""
GROWING = 300
"""Keys of a mix in which keys grow."""
LONGEST = 90.0
"""Seconds after which a mix ends in any case."""


@dataclass(frozen=True)
class Fill:
    """A number of keys of one shape, or of entries of one key."""

    name: str
    pattern: bytes
    keys: int
    required: float | None
    counted: tuple[bytes, ...] = (b"DBSIZE",)
    """The command that counts them."""


def _numbered(name: bytes, size: int) -> list[bytes]:
    return [name + b"%%012d:%d" % i for i in range(size)]


def _pairs(size: int) -> list[bytes]:
    return list(chain.from_iterable((b"field:%d" % i, b"value:%012d") for i in range(size)))


def _fields(*names: bytes) -> list[bytes]:
    return [word for name in names for word in (name, b"%012d")]


FILLS = (
    Fill(
        "strings: 16-byte keys, 100-byte values",
        template(b"SET", KEY, b"v" * 100),
        1_000_000,
        REQUIRED_PER_STRING,
    ),
    Fill(
        "hashes: 16-byte keys, 5 fields of 7 bytes with 18-byte values",
        template(b"HSET", KEY, *_pairs(5)),
        100_000,
        None,
    ),
    Fill(
        "entries of a stream: 3 fields with 12-byte values",
        template(b"XADD", b"stream", b"*", *_fields(b"time", b"user", b"page")),
        1_000_000,
        REQUIRED_PER_ENTRY,
        (b"XLEN", b"stream"),
    ),
)

SMALL = template(b"SET", KEY, b"v" * 20)
MIDDLE = template(b"SET", KEY, b"v" * 1000)
LARGE = template(b"SET", KEY, b"v" * 50_000)
DEADLINE = template(b"SET", KEY, b"v" * 20, b"EX", b"86400")
COUNTER = template(b"SET", KEY, b"%012d")
HASH = template(b"HSET", b"hash:%012d", *_pairs(8))
LIST = template(b"RPUSH", b"list:%012d", *_numbered(b"item:", 30))
SET = template(b"SADD", b"set:%012d", *_numbered(b"member:", 20))
SORTED_SET = template(
    b"ZADD", b"zset:%012d", *chain.from_iterable((b"%012d", m) for m in _numbered(b"member:", 20))
)
WIDE_HASH = template(b"HSET", b"wide:%012d", *_pairs(2000))

Mix = Callable[[int], Iterator[Block]]
"""Endless blocks of writes for a limit of so many bytes; new keys all the time."""


def _interleaved(*patterns: bytes) -> Mix:
    """Every shape in turn, with as many commands of each as make about the same bytes."""

    def write(_limit: int) -> Iterator[Block]:
        number = 0
        while True:
            for pattern in patterns:
                size = max(1, BLOCK_BYTES // len(pattern))
                yield from blocks(pattern, range(number, number + size), size)
                number += size

    return write


def _growing(*commands: Callable[[bytes, list[bytes]], bytes]) -> Mix:
    """A few hundred keys that get more and more entries, 50 at a time."""

    def write(_limit: int) -> Iterator[Block]:
        for number in count():
            key = b"grows:%d" % (number % GROWING)
            entries = [b"entry:%012d" % n for n in range(number * 50, number * 50 + 50)]
            yield b"".join([make(key, entries) for make in commands]), len(commands)

    return write


def _zadd(key: bytes, entries: list[bytes]) -> bytes:
    return command(b"ZADD", key, *chain.from_iterable((b"%d" % hash(e), e) for e in entries))


def _hset(key: bytes, entries: list[bytes]) -> bytes:
    return command(b"HSET", key, *chain.from_iterable((e, b"value of " + e) for e in entries))


def _hexpire(key: bytes, entries: list[bytes]) -> bytes:
    return command(b"HEXPIRE", key, b"86400", b"FIELDS", b"%d" % len(entries), *entries)


def _in_turn(first: bytes, second: bytes) -> Mix:
    """Most of the limit filled with one size, then another: what fragmentation is made of."""

    def write(limit: int) -> Iterator[Block]:
        yield from islice(_interleaved(first)(limit), int(limit * 0.4) // BLOCK_BYTES)
        yield from _interleaved(second)(limit)

    return write


def _replaced(limit: int) -> Iterator[Block]:
    """The same keys over and over, with values of another size each time."""
    while True:
        for size in (30, 300, 1500, 100, 4000, 700, 20_000):
            pattern = template(b"SET", KEY, b"v" * size)
            keys = int(limit * 0.7) // (size + 200)
            yield from blocks(pattern, range(keys), max(1, BLOCK_BYTES // len(pattern)))


MIXES: dict[str, Mix] = {
    "strings of 20 bytes": _interleaved(SMALL),
    "strings of 20 bytes with a deadline": _interleaved(DEADLINE),
    "strings of 1 000 bytes": _interleaved(MIDDLE),
    "strings of 50 000 bytes": _interleaved(LARGE),
    "hashes of 8 fields": _interleaved(HASH),
    "hashes of 2 000 fields": _interleaved(WIDE_HASH),
    "lists of 30 elements": _interleaved(LIST),
    "sets of 20 members": _interleaved(SET),
    "sorted sets of 20 members": _interleaved(SORTED_SET),
    "sorted sets that grow": _growing(_zadd),
    "hashes that grow": _growing(_hset),
    "hashes that grow, each field with a deadline": _growing(_hset, _hexpire),
    "all types": _interleaved(SMALL, COUNTER, MIDDLE, LARGE, HASH, LIST, SET, SORTED_SET),
    "20-byte strings, then 1 000-byte strings": _in_turn(SMALL, MIDDLE),
    "hashes of 8 fields, then sets of 20 members": _in_turn(HASH, SET),
    "strings replaced in seven sizes": _replaced,
}

QUICK_MIXES = ("strings of 20 bytes", "strings of 50 000 bytes", "hashes of 8 fields", "all types")


def configure(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("memory")
    group.add_argument("--limit", type=int, help="maxmemory in MB (256; quick: 64)")


def measure(options: argparse.Namespace) -> Iterator[Table]:
    if sys.platform != "linux":
        print("Resident memory is only measured on Linux", file=sys.stderr)
        return
    servers = peers.contenders(options)
    yield _per_key(servers, scale=0.1 if options.quick else 1.0)
    limit = (options.limit or (64 if options.quick else 256)) * MB
    yield _bounded(servers[OURS], QUICK_MIXES if options.quick else MIXES, limit)


def _per_key(servers: dict[str, tuple[str, ...]], scale: float) -> Table:
    records: list[Record] = []
    for fill in FILLS:
        keys = int(fill.keys * scale)
        record: Record = {"name": fill.name, "keys": keys, "mark": ""}
        for name, words in servers.items():
            report.progress(f"{keys} {fill.name}: {name}")
            with peers.start(name, words) as peer:
                record[name] = _bytes_per_key(peer, fill, keys)
        if REDIS in servers:
            ratio = float(record[OURS] or 0) / float(record[REDIS] or 0)
            record |= {"ratio": ratio, "required": fill.required}
            if fill.required:
                record["mark"] = "ok" if ratio <= fill.required else "above"
        records.append(record)
    return Table(
        "Resident memory per key",
        {
            "keys": "{keys:,} {name}",
            "Redis bytes": f"{{{REDIS}:.0f}}",
            "ours": f"{{{OURS}:.0f}}",
            "ratio": "{ratio:.2f}",
            "at most": "{required:.1f}",
            "": "{mark}",
        },
        records,
    )


def _bytes_per_key(peer: Peer, fill: Fill, keys: int) -> float:
    with Wire(peer.port) as wire:
        before = peer.resident()
        wire.pour(blocks(fill.pattern, range(keys)), window=4)
        if wire.number(*fill.counted) != keys:
            raise Unavailable(f"{peer.name} did not keep all keys")
        return (peer.resident() - before) / keys


def _bounded(words: tuple[str, ...], mixes: Iterable[str], limit: int) -> Table:
    allowed = limit * 1.5 + 64 * MB
    records: list[Record] = []
    for name in mixes:
        report.progress(f"maxmemory {limit // MB} MB: {name}")
        limits = ("--maxmemory", str(limit), "--maxmemory-policy", "allkeys-lru")
        with peers.start(OURS, words, *limits) as peer:
            keys, evicted = _overfill(peer, MIXES[name](limit), limit)
            within = peer.peak_resident() <= allowed
            records.append(
                {
                    "name": name,
                    "peak": peer.peak_resident() / MB,
                    "keys": keys,
                    "evicted": evicted,
                    "mark": ("ok" if within else "above") if evicted else "not reached",
                }
            )
    return Table(
        f"Peak resident memory with maxmemory {limit // MB} MB, allkeys-lru",
        {
            "written": "{name}",
            "keys kept": "{keys:,}",
            "evicted": "{evicted:,}",
            "peak MB": "{peak:.0f}",
            f"at most {allowed / MB:.0f}": "{mark}",
        },
        records,
    )


def _overfill(peer: Peer, work: Iterator[Block], limit: int) -> tuple[int, int]:
    """Write until much was replaced; how many keys are kept and how many went."""
    deadline = time.monotonic() + LONGEST
    left = limit * CHURN
    with Wire(peer.port) as wire:
        while left > 0 and time.monotonic() < deadline:
            wire.pour(_some(work, PROBE_BYTES), window=4)
            if evicted := wire.info(b"stats", "evicted_keys"):
                left -= PROBE_BYTES
        return wire.number(b"DBSIZE"), evicted


def _some(work: Iterator[Block], size: int) -> Iterator[Block]:
    """The next blocks, of about `size` bytes."""
    for data, number in work:
        yield data, number
        size -= len(data)
        if size <= 0:
            return


BENCHMARK = Benchmark(configure, measure)

if __name__ == "__main__":
    report.run(__doc__, [BENCHMARK])
