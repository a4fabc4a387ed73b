"""What LATENCY remembers: events that took long, a sample for each second that had one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

LENGTH = 160
"""Samples that are kept of each event."""


class Sample(NamedTuple):
    """The longest occurrence of an event within a second of Unix time."""

    time_s: int
    ms: int


class Event:
    """The history of one kind of event."""

    __slots__ = ("longest_ms", "samples")

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=LENGTH)
        self.longest_ms = 0

    def add(self, sample: Sample) -> None:
        self.longest_ms = max(self.longest_ms, sample.ms)
        if self.samples and self.samples[-1].time_s == sample.time_s:
            self.samples[-1] = max(self.samples[-1], sample)
        else:
            self.samples.append(sample)


class Latency:
    """The events that took at least ``threshold_ms``; with 0 nothing is noted."""

    def __init__(self) -> None:
        self.threshold_ms = 0
        self.events: dict[str, Event] = {}

    def note(self, name: str, now_ms: int, elapsed_ns: int) -> None:
        """An event ended, after so long."""
        ms = elapsed_ns // 1_000_000
        if self.threshold_ms and ms >= self.threshold_ms:
            self.events.setdefault(name, Event()).add(Sample(now_ms // 1000, ms))

    def history(self, name: str) -> list[Sample]:
        """The samples of an event, the oldest first."""
        event = self.events.get(name)
        return list(event.samples) if event else []

    def reset(self, names: Iterable[str] = ()) -> int:
        """Forget these events, or all; how many that were."""
        known = [name for name in names or list(self.events) if name in self.events]
        for name in known:
            del self.events[name]
        return len(known)


LEVELS = "_o#"
"""How high a column of a graph stands within its row."""


def graph(samples: list[Sample], now_s: int, rows: int = 4) -> list[str]:
    """The samples as columns of characters, and how long ago each was, read from top to bottom."""
    if not samples:
        return []
    times = [sample.ms for sample in samples]
    low, high = min(times), max(times)
    steps = rows * len(LEVELS) - 1
    heights = [(ms - low) * steps // (high - low) if high > low else 0 for ms in times]
    picture = []
    for row in reversed(range(rows)):
        base = row * len(LEVELS)
        line = ""
        for height in heights:
            within = height - base
            line += LEVELS[min(within, len(LEVELS) - 1)] if within >= 0 else " "
        picture.append(line.rstrip())
    ages = [age(now_s - sample.time_s) for sample in samples]
    deepest = max(map(len, ages))
    picture.append("")
    picture += ["".join(age.ljust(deepest)[at] for age in ages).rstrip() for at in range(deepest)]
    return picture


def age(seconds: int) -> str:
    """``5s``, ``12m``, ``3h``, ``2d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
