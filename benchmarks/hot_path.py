"""Nanoseconds per command through `Connection.feed`, with no socket and no event loop.

    python -m benchmarks.hot_path                          # a table, some twenty seconds
    python -m benchmarks.hot_path --save before.json       # ... change something ...
    python -m benchmarks.hot_path --compare before.json    # with the change in percent
    python -m benchmarks.hot_path --commands GET,SET --repeats 30

A feed holds 1, 16 or 100 commands, as reads of pipelining clients do. Each figure is the best of
many short stretches in processor time, on several fresh servers: noise only ever adds, so the best
is what the code costs. "MIXED" is all of the others except LRANGE in turn, since runs of one
command may have a way of their own.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, product, repeat
from pathlib import Path

from distcache_server import commands, dispatch
from distcache_server.client import Client
from distcache_server.connection import Connection
from distcache_server.engine import Engine
from distcache_server.gate import Gate

from benchmarks.peers import command
from benchmarks.report import Record, Table, plain

DEPTHS = (1, 16, 100)
STRETCHES = 20
KEY = b"key:000000000001"
VALUE = b"v" * 100

Figures = dict[str, dict[str, float]]
"""Nanoseconds by command and by depth (text, as JSON has it)."""


@dataclass(frozen=True)
class Case:
    """Commands that are sent in turn, and the key that they find."""

    turns: list[bytes]
    key: bytes = b""
    stretch: int = 1000
    """How many commands are timed together."""


LISTED = command(b"RPUSH", b"list", *[b"xxx"] * 1000)
CASES = {
    "PING": Case([command(b"PING")]),
    "GET": Case([command(b"GET", KEY)], command(b"SET", KEY, VALUE)),
    "SET": Case([command(b"SET", KEY, VALUE)]),
    "INCR": Case([command(b"INCR", b"counter")]),
    "LPUSH": Case([command(b"LPUSH", b"list", b"xxx")]),
    "RPOP": Case([command(b"RPOP", b"list")], LISTED * (STRETCHES + 1)),
    "SADD": Case([command(b"SADD", b"set", b"member")]),
    "HSET": Case([command(b"HSET", b"hash", b"field", b"xxx")]),
    "ZADD": Case([command(b"ZADD", b"zset", b"0", b"member")]),
    "XADD": Case([command(b"XADD", b"stream", b"*", b"field", b"xxx")]),
    "MSET": Case([command(b"MSET", *chain.from_iterable((b"k%d" % i, b"xxx") for i in range(10)))]),
    "LRANGE_100": Case([command(b"LRANGE", b"list", b"0", b"99")], LISTED, stretch=100),
}
CASES["MIXED"] = Case(
    list(chain.from_iterable(c.turns for n, c in CASES.items() if n != "LRANGE_100")),
    CASES["GET"].key,
)


def connect() -> Connection:
    """A connection to a fresh server whose bytes come from us instead of a socket."""
    engine = Engine()
    dispatch.install(engine)
    connection = Connection(Gate(engine, _ignore, _ignore))
    connection.attach(Client(engine, 1))
    return connection


def _ignore(_: object) -> None:
    """Nothing is scheduled and nothing shuts down here."""


def feeds(case: Case, depth: int) -> list[bytes]:
    """What is fed in turn, until it repeats itself."""
    count = -(-len(case.turns) // depth) * depth
    turns = (case.turns * depth)[:count]
    return [b"".join(turns[start : start + depth]) for start in range(0, len(turns), depth)]


def measure(names: list[str], repeats: int) -> Figures:
    """The least that one command cost, over repeats that are spread over the whole run."""
    figures: Figures = {name: {} for name in names}
    for _ in repeat(None, repeats):
        for name, depth in product(names, DEPTHS):
            cost = nanoseconds(CASES[name], depth)
            best = figures[name].get(str(depth), cost)
            figures[name][str(depth)] = min(best, cost)
    return figures


def nanoseconds(case: Case, depth: int) -> float:
    """What one command costs on a fresh server, in the best of several stretches."""
    parts = feeds(case, depth)
    rounds = max(1, case.stretch // (len(parts) * depth))
    feed = connect().feed
    if case.key:
        _check(feed, case.key)
    for part in parts:
        _check(feed, part)
    gc.collect()
    clock = time.process_time_ns
    costs = []
    for _ in repeat(None, STRETCHES):
        started = clock()
        for _ in repeat(None, rounds):
            for part in parts:
                feed(part)
        costs.append(clock() - started)
    return min(costs) / (rounds * len(parts) * depth)


def _check(feed: Callable[[bytes], bytes], data: bytes) -> None:
    reply = feed(data)
    if not reply or reply.startswith(b"-"):
        raise SystemExit(f"{data[:60]!r} was answered with {reply[:200]!r}")


def table(figures: Figures, before: Figures) -> Table:
    """Nanoseconds by command and depth, with the change since `before` where it has the figure."""
    records: list[Record] = []
    for name, by_depth in figures.items():
        record: Record = {"name": name}
        for depth, cost in by_depth.items():
            record[f"ns_{depth}"] = cost
            if earlier := before.get(name, {}).get(depth):
                record[f"change_{depth}"] = (cost / earlier - 1) * 100
        records.append(record)
    columns = {"ns per command": "{name}"}
    for size in DEPTHS:
        columns[f"{size} per feed"] = f"{{ns_{size}:,.0f}}"
        if before:
            columns[f"change at {size}"] = f"{{change_{size}:+.1f}}%"
    return Table("Connection.feed", columns, records)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", default=",".join(CASES), help="some of %(default)s")
    parser.add_argument("--repeats", type=int, default=10, help="the best of so many (10)")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--compare", metavar="FILE", type=Path, help="show the change since then")
    options = parser.parse_args()
    names = options.commands.upper().split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such command: {', '.join(unknown)}")

    before: Figures = json.loads(options.compare.read_text()) if options.compare else {}
    commands.load()
    gc.disable()  # as the daemon does
    figures = measure(names, options.repeats)
    print(plain(table(figures, before)))
    if options.save:
        options.save.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
