"""What INFO and /metrics count: plain integers, read when somebody asks."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice
from math import ceil, isqrt, log2
from typing import NamedTuple

NUMBER = 256
"""Buckets of a histogram, at quarter powers of two of nanoseconds: up to 2**64 ns."""
GRAIN = 6
"""Short times find their bucket in a table, by steps of 2**GRAIN ns."""


def bucket(elapsed_ns: int) -> int:
    """The bucket of a time: those in bucket n are less than 2**(n/4) ns."""
    square = elapsed_ns * elapsed_ns
    return (square * square).bit_length()


def _of_steps(count: int) -> bytes:
    """The bucket at the beginning of each step."""
    found = bytearray()
    while len(found) < count:
        number = bucket(len(found) << GRAIN)
        longest_ns = isqrt(isqrt((1 << number) - 1))
        found += bytes((number,)) * ((longest_ns >> GRAIN) + 1 - len(found))
    return bytes(found[:count])


BUCKETS = _of_steps(1 << 16)


class Stats:
    """Calls and times of one command; ``histogram`` counts the calls by ``bucket``, 19 % wide."""

    __slots__ = ("failed", "histogram", "ns", "rejected")

    def __init__(self) -> None:
        self.ns = 0
        self.failed = 0
        self.rejected = 0
        self.histogram = [0] * NUMBER

    @property
    def calls(self) -> int:
        return sum(self.histogram) if self.ns else 0

    def add(self, calls: int, elapsed_ns: int) -> None:
        """Count a run of calls that took so long together."""
        self.ns += elapsed_ns
        self.histogram[bucket(elapsed_ns // calls)] += calls

    def percentile(self, share: float) -> float:
        """Microseconds that this share (0 to 1) of the calls did not exceed; 0 without calls."""
        wanted = share * self.calls
        seen = 0
        for number, count in enumerate(self.histogram):
            seen += count
            if count and seen >= wanted:
                return float(2 ** (number / 4) / 1000)
        return 0.0

    def distribution(self) -> dict[int, int]:
        """How many calls took no longer than so many microseconds: powers of two that differ."""
        sums: dict[int, int] = {}
        seen = 0
        for number, count in enumerate(self.histogram):
            if count:
                seen += count
                sums[1 << max(ceil(number / 4 - log2(1000)), 0)] = seen
        return sums

    def reset(self) -> None:
        self.ns = self.failed = self.rejected = 0
        self.histogram = [0] * NUMBER


class Totals(NamedTuple):
    """What grows as long as the server works."""

    commands: int
    net_input: int
    net_output: int
    repl_input: int
    """Of ``net_input``: from primaries."""
    repl_output: int
    """Of ``net_output``: to replicas."""


class Rates:
    """How fast totals grow, over the last few seconds."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, Totals]] = deque(maxlen=4)

    def sample(self, now_s: float, totals: Totals) -> None:
        """Note the totals, about once a second."""
        self.samples.append((now_s, totals))

    def per_second(self) -> tuple[float, ...]:
        """The growth of each total."""
        if len(self.samples) < 2:
            return (0.0,) * len(Totals._fields)
        (began, first), (ended, last) = self.samples[0], self.samples[-1]
        seconds = ended - began
        return tuple((new - old) / seconds for old, new in zip(first, last, strict=True))


@dataclass(slots=True)
class SlowEntry:
    """One line of SLOWLOG GET."""

    number: int
    time_s: int
    duration_us: int
    words: list[bytes]
    address: str
    name: bytes


class SlowLog:
    """The last slow commands, newest first."""

    def __init__(self, length: int) -> None:
        self.entries: deque[SlowEntry] = deque(maxlen=length)
        self.next_number = 0

    def add(
        self, time_s: int, duration_us: int, words: list[bytes], address: str, name: bytes
    ) -> None:
        """Note a command; long argument lists and long arguments are cut as Redis cuts them."""
        kept = words if len(words) <= 32 else words[:31]
        shown = [
            word if len(word) <= 128 else b"%b... (%d more bytes)" % (word[:128], len(word) - 128)
            for word in kept
        ]
        if len(words) > 32:
            shown.append(b"... (%d more arguments)" % (len(words) - 31))
        entry = SlowEntry(self.next_number, time_s, duration_us, shown, address, name)
        self.next_number += 1
        self.entries.appendleft(entry)

    def resize(self, length: int) -> None:
        self.entries = deque(islice(self.entries, length), maxlen=length)


@dataclass(slots=True)
class Counters:
    """Counts of the whole server, reset by CONFIG RESETSTAT."""

    connections_received: int = 0
    connections_rejected: int = 0
    net_input: int = 0
    net_output: int = 0
    """Of connections that have closed; those that are open count for themselves."""
    repl_input: int = 0
    """From primaries."""
    repl_output: int = 0
    """Of replicas that have gone."""
    evicted_keys: int = 0
    evicted_clients: int = 0
    output_limit_disconnections: int = 0
    query_limit_disconnections: int = 0
    auth_failures: int = 0
    unexpected_errors: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Error replies by their first word."""

    def reset(self) -> None:
        """Back to zero."""
        fresh = Counters()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
