"""Failovers by Sentinel while clients write, ours and Redis in turn: what is lost, and the gap.

    python -m tests.failover                                # a round of each: five minutes
    python -m tests.failover --rounds 20 --only "kill -9"

Each round has servers and Sentinels of its own.  "plain" clients find the primary through Sentinel,
"wait" ones also WAIT for a replica after each write (for both when an operator fails over), "near"
ones stay with a primary cut off.  Lost is what was acknowledged and is not there at the end.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from distcache_server.config import Config

from tests.support.failover import Verdict
from tests.support.scenarios import SCENARIOS, run
from tests.support.sentinels import redis_sentinel
from tests.support.servers import redis_server

SERVERS = {"distcache": "ours", "Redis": "real"}
NONE: tuple[str, ...] = ()
LONELY = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
SYNCHRONOUS = ("--synchronous-replicas", "1")
RUNS = {name: (name, NONE) for name in SCENARIOS} | {
    "partition, min-replicas-to-write 1": ("partition", LONELY)
}
"""What is run: a scenario, and settings of the servers."""
if "synchronous-replicas" in Config.directives:
    RUNS |= {
        f"{name}, synchronous-replicas 1": (name, SYNCHRONOUS) for name in ("kill -9", "partition")
    }
DURABLE = {"manual": 2}
"""How many replicas "wait" clients wait for, where it is not one."""

Found = dict[tuple[str, str], dict[str, list[Verdict]]]
"""For each scenario and kind of client, the verdicts on each server."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1, help="of each scenario (default: 1)")
    parser.add_argument("--only", metavar="NAME", choices=RUNS, action="append", help="a scenario")
    parser.add_argument(
        "--down-after", metavar="MS", type=int, default=2000, help="milliseconds (default: 2000)"
    )
    options = parser.parse_args()
    if redis_server() is None or redis_sentinel() is None:
        sys.exit("redis-server and redis-sentinel are needed")
    # Leave in order when told to stop, so that no server is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    found: Found = defaultdict(lambda: defaultdict(list))
    for number in range(options.rounds):
        for name in options.only or RUNS:
            for server, kind in SERVERS.items():
                if kind == "real" and RUNS[name][1] == SYNCHRONOUS:
                    continue
                print(f"round {number + 1}: {name}: {server}", file=sys.stderr)
                for who, verdict in once(name, kind, options.down_after).items():
                    found[name, who][server].append(verdict)
    print("\n".join(table(found)))
    wrong = [it for each in found.values() for it in each["distcache"] if it.wrong()]
    if wrong:
        sys.exit(f"{len(wrong)} times there was what no failover may do")


def once(name: str, kind: str, down_ms: int) -> dict[str, Verdict]:
    """One round with servers of one kind."""
    scenario, settings = RUNS[name]
    durable = DURABLE.get(scenario, 1)
    with tempfile.TemporaryDirectory(prefix="distcache-failover-") as folder:
        group = Path(folder) / "group"
        return run(scenario, group, (kind,) * 3, *settings, down_ms=down_ms, durable=durable)


def table(found: Found) -> Iterator[str]:
    """Acknowledged, lost, and the gap as median and longest: in Markdown."""
    head = [
        f"{server}: {what}" for server in SERVERS for what in ("acknowledged", "lost", "gap, s")
    ]
    yield " | ".join(["| scenario", "clients", *head]) + " |"
    yield "|" + " --- |" * 2 + " ---: |" * len(head)
    for (name, who), servers in found.items():
        cells = [cell for server in SERVERS for cell in figures(servers[server])]
        yield " | ".join([f"| {name}", who, *cells]) + " |"


def figures(verdicts: list[Verdict]) -> list[str]:
    """What rounds came to, together."""
    if not verdicts:
        return ["-"] * 3
    acknowledged = sum(it.acknowledged for it in verdicts)
    lost = sum(len(it.lost) for it in verdicts)
    gaps = [it.gap_s for it in verdicts]
    share = f" ({100 * lost / acknowledged:.0f} %)" if lost > acknowledged / 200 else ""
    gap = f"{statistics.median(gaps):.1f} (most {max(gaps):.1f})"
    return [f"{acknowledged}", f"{lost}{share}", gap]


if __name__ == "__main__":
    main()
