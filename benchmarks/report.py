"""Tables of results: for the terminal, for the README (Markdown) and for programs (JSON)."""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import peers

Record = dict[str, str | int | float | None]


@dataclass
class Table:
    """Records of figures, and how each column is written from a record's fields."""

    title: str
    columns: dict[str, str]
    records: list[Record]
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[list[str]]:
        """The cells as text; a figure that is missing is a dash."""
        return [[_cell(text, r) for text in self.columns.values()] for r in self.records]


@dataclass(frozen=True)
class Benchmark:
    """One program of this folder: its own options, and what it measures."""

    configure: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace], Iterator[Table]]


@dataclass(frozen=True)
class Spread:
    """The median of several rounds with its range, so that noise shows."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        return cls(statistics.median(figures), min(figures), max(figures))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Round by round, so that both halves of a ratio saw the same machine."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


def percentile(ordered: Sequence[int], share: float) -> int:
    """The value below which `share` of the sorted figures lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run(description: str, benchmarks: Iterable[Benchmark]) -> None:
    """Read the command line, measure, and print each table as soon as it is there."""
    benchmarks = list(benchmarks)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers.add_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument("--markdown", action="store_true", help="print tables for the README")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    for benchmark in benchmarks:
        benchmark.configure(parser)
    options = parser.parse_args()
    # Leave in order when told to stop, so that no server is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))

    facts = machine(options.peer)
    print(facts, flush=True)
    tables: list[Table] = []
    try:
        for benchmark in benchmarks:
            for table in benchmark.measure(options):
                tables.append(table)
                print("\n" + (markdown(table) if options.markdown else plain(table)), flush=True)
    except peers.Unavailable as error:
        sys.exit(str(error))
    if options.json:
        report = {"machine": facts, "tables": [asdict(table) for table in tables]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def progress(text: str) -> None:
    """One line that says what runs now, on a terminal only, and is overwritten by the next."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def plain(table: Table) -> str:
    """The table for a terminal."""
    progress("")
    rows = [list(table.columns), *table.rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return "\n".join([table.title, "-" * len(table.title), *lines, *table.notes])


def markdown(table: Table) -> str:
    """The table for the README."""
    progress("")
    rows = [list(table.columns), ["---", *["---:"] * (len(table.columns) - 1)], *table.rows()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    notes = ["", " ".join(table.notes)] if table.notes else []
    return "\n".join([f"**{table.title}**", "", *lines, *notes])


def machine(peer: str) -> str:
    """Where and with what the figures were made."""
    parts = [
        datetime.now(UTC).date().isoformat(),
        f"Python {platform.python_version()}",
        *(f"{name} {_version(name)}" for name in ("uvloop", "hiredis", "fakeredis")),
        _peer_version(peer),
        f"{platform.system()} {platform.release()}",
        f"{_processor()}, {os.cpu_count()} cores",
        f"load {os.getloadavg()[0]:.1f} at the start",
    ]
    return ", ".join(parts)


def _cell(text: str, record: Record) -> str:
    try:
        return text.format_map(record)
    except (KeyError, TypeError):
        return "-"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _peer_version(peer: str) -> str:
    try:
        output = subprocess.run(
            [*peer.split(), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"no {peer}"
    words = output.split()
    return f"{peer} " + next((w.removeprefix("v=") for w in words if w.startswith("v=")), "?")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
