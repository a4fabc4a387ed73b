"""What arrives in one turn of the event loop, answered together.

With many connections a turn finds several of them readable, most often with the same command.
Such reads are parsed as one batch and run in one call, like the commands of a pipeline, so that a
client that waits for each of its replies costs little more than one that does not.  None of them
can have seen a reply to another, so the order among them is ours to choose; that of each
connection stays.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING

from distcache_server import layout, logs
from distcache_server.arguments import Columns
from distcache_server.dispatch import execute_run
from distcache_server.framing import (
    FEW_WORDS,
    STAR,
    Parser,
    canonical,
    parse_inline,
    parse_uniform,
)
from distcache_server.layout import HEAD
from distcache_server.reply import encode_each, encode_run
from distcache_server.unconfirmed import mark

if TYPE_CHECKING:
    from distcache_server.connection import Connection
    from distcache_server.engine import Engine

Arrival = tuple["Connection", bytes]

MANY = 8
"""In turns of fewer reads each is answered at once: then clients go on while others are served."""
CHUNK = 24 << 10
"""Bytes that are parsed together: what fits in the processor's nearest caches."""


class Turn:
    """The reads of this turn; ``answer`` is called when there are no more."""

    __slots__ = ("_call_soon", "arrivals", "begun", "engine", "gathers", "parser", "reads")

    def __init__(self, engine: Engine, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.engine = engine
        self._call_soon = call_soon
        self.parser = Parser()
        self.arrivals: list[Arrival] = []
        self.begun = False
        self.reads = 0
        """Answered in this turn."""
        self.gathers = False
        """Reads are kept for the end of the turn, since the last turn had many."""

    def begin(self) -> None:
        """The first read of a turn is there."""
        self.begun = True
        self._call_soon(self.answer)

    def answer(self) -> None:
        """The turn is over."""
        self.begun = False
        self.answer_arrivals()
        self.gathers = self.reads >= MANY
        self.reads = 0

    def answer_arrivals(self) -> None:
        """Run all that has arrived."""
        arrivals, self.arrivals = self.arrivals, []
        self.reads += len(arrivals)
        if len(arrivals) == 1:
            self._answer_each(arrivals)
            return
        groups: dict[bytes, list[Arrival]] = {data[:HEAD]: [] for _, data in arrivals}
        for arrival in arrivals:
            groups[arrival[1][:HEAD]].append(arrival)
        for group in groups.values():
            size = max(CHUNK // len(group[0][1]), 1)
            for start in range(0, len(group), size):
                chunk = group[start : start + size]
                try:
                    answered = len(chunk) > 1 and self._answer_alike(chunk)
                except Exception as error:
                    self._broke(chunk, error)
                    continue
                if not answered:
                    self._answer_each(chunk)

    def _answer_each(self, arrivals: list[Arrival]) -> None:
        """Let each connection see to what it was sent."""
        for connection, data in arrivals:
            try:
                connection.receive(data)
            except Exception as error:
                self._broke([(connection, data)], error)

    def _answer_alike(self, arrivals: list[Arrival]) -> bool:
        """Run reads as one batch of one command; False, with nothing done, where they are none."""
        first = arrivals[0][0].client
        table, keyspace, encoders = first.table, first.keyspace, first.encoders
        for connection, _ in arrivals:
            client = connection.client
            if not (
                connection.open
                and client.table is table
                and client.keyspace is keyspace
                and client.encoders is encoders
            ):
                return False
        _, _, name, *_ = *arrivals[0][1].split(b"\r\n", 3), b"", b""
        entry = table.get(name)
        if entry is not None and entry.run is None and not entry.alike:
            return False
        reads = [data for _, data in arrivals]
        joined = b"".join(reads)
        columns, counts = self._parse(reads, joined)
        if columns is None or columns[0].count(columns[0][0]) != len(columns[0]):
            return False
        logged = first.logged
        now_ms = keyspace.now_ms = time_ns() // 1_000_000
        values = execute_run(first, columns, canonical(joined))
        if values is None:
            return False
        waits = first.logged != logged and self.engine.confirm is not None
        if first.logged != logged:
            for connection, _ in arrivals:
                connection.client.logged = first.logged
        first.commands -= len(columns[0])
        last_command = first.last_command
        if counts is None:
            replies = encode_each(values, encoders)
            if waits:
                replies = [mark(out, first.logged) for out in replies]
            for (connection, data), out in zip(arrivals, replies, strict=True):
                client = connection.client
                client.net_in += len(data)
                client.last_ms = now_ms
                client.commands += 1
                client.last_command = last_command
                connection.write(out)
            return True
        stop = 0
        for (connection, data), number in zip(arrivals, counts, strict=True):
            client = connection.client
            client.net_in += len(data)
            client.last_ms = now_ms
            client.last_command = last_command
            start, stop = stop, stop + number
            client.commands += number
            out = encode_run(values[start:stop], encoders)
            connection.write(mark(out, first.logged) if waits else out)
        return True

    def _parse(self, reads: list[bytes], data: bytes) -> tuple[Columns | None, list[int] | None]:
        """The commands of these reads, if each holds whole ones and all have as many words.

        Also how many commands each read has, or None where it is one.  ``data`` is all of them.
        """
        size = len(reads[0])
        if [*map(len, reads)].count(size) != len(reads):
            return self._parse_any(reads, data)
        if columns := layout.cut(data, size):
            each = len(columns[0]) // len(reads)
            return columns, None if each == 1 else [each] * len(reads)
        columns, counts = self._parse_any(reads, data)
        if columns:
            layout.learn(data, size, columns)
        return columns, counts

    def _parse_any(
        self, reads: list[bytes], data: bytes
    ) -> tuple[Columns | None, list[int] | None]:
        head = reads[0]
        if head[0] == STAR and head[:4] not in FEW_WORDS:
            return self.parser.parse_each(reads, data), None
        if head[0] == STAR:
            columns = parse_uniform(data)
            lines = 2 * len(columns) + 1 if columns else 1
        elif all(read.endswith(b"\n") for read in reads):
            columns, lines = _inline_columns(data), 1
        else:
            return None, None
        # With as many line breaks as lines there are none within words; and a read that has those
        # of whole commands, ahead of one that begins as all do, ends where a command does.
        breaks = [read.count(b"\n") for read in reads]
        if columns is None or sum(breaks) != len(columns[0]) * lines:
            return None, None
        if breaks.count(lines) == len(breaks):
            return columns, None
        if any(number % lines for number in breaks):
            return None, None
        return columns, [number // lines for number in breaks]

    def _broke(self, arrivals: list[Arrival], error: Exception) -> None:
        """A bug: nobody knows how far the batch came, so nobody gets a reply."""
        self.engine.counters.unexpected_errors += 1
        ids = ",".join(str(connection.client.id) for connection, _ in arrivals)
        logs.failure("Unexpected error: closing the clients", error, id=ids)
        for connection, _ in arrivals:
            connection.close()


def _inline_columns(data: bytes) -> Columns | None:
    batch = parse_inline(data)
    if not batch or len(set(map(len, batch))) != 1:
        return None
    return list(zip(*batch, strict=True))
