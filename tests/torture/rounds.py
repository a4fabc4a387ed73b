"""Lives of a server: written to, ended by a kill or a power cut, started again, checked."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

from tests.support.resp import Error
from tests.support.servers import OURS, Process
from tests.support.waiting import eventually
from tests.torture.clients import Load, Record, check
from tests.torture.machine import Machine

POLICIES = ("always", "everysec", "no")
CUTS = ("drop", "random", "zeros", "keep", "holes")
"""What is left of what was not flushed."""
LIVES = 12
"""So many rounds go on with the same data."""


def broken(variant: str) -> tuple[str, ...]:
    """The command of a server that has something broken."""
    return (sys.executable, str(Path(__file__).with_name("broken.py")), variant)


@dataclass
class Figures:
    """What came of all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    oldest_s: float = 0.0
    """The longest time between an acknowledgement and the end, of what was lost."""
    extra: int = 0
    wrong: list[str] = field(default_factory=list)
    torn: int = 0
    rewrites: int = 0
    starts_s: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        starts = sorted(self.starts_s) or [0.0]
        return [
            f"{self.rounds} rounds, {self.acknowledged} units acknowledged,"
            f" {self.lost} lost, {len(self.wrong)} wrong states",
            f"{self.extra} units done without an acknowledgement,"
            f" {self.torn} torn tails cut, {self.rewrites} rewrites",
            f"restart: {median(starts):.2f} s in the middle, {starts[-1]:.2f} s at most;"
            f" oldest lost acknowledgement: {self.oldest_s:.2f} s before the end",
            *self.wrong[:5],
        ]


class Torture:
    """Rounds under one policy.  ``machine`` is what can lose its power; without it, kills only."""

    def __init__(
        self,
        folder: Path,
        policy: str,
        seed: int,
        *,
        machine: Machine | None = None,
        command: Sequence[str] = OURS,
        units: int = 300,
        clients: int = 4,
        cuts: Sequence[str] = CUTS,
        kills: float = 0.3,
        actions: Sequence[Action] = (),
    ) -> None:
        self.folder = folder
        self.policy = policy
        self.draw = random.Random(seed)
        self.machine = machine
        self.command = command
        self.units = units
        self.clients = clients
        self.cuts = [how for how in cuts if how != "holes" or policy != "no"]
        """Where nothing is flushed, nobody knows a hole from damage."""
        self.kills = kills
        """The share of kills where there could be power cuts."""
        self.actions = actions or ACTIONS
        self.figures = Figures()
        self.records: list[Record] = []
        self._starts = 0
        self._floors: list[int] | None = None
        """What is promised of each client's units, where the log was off for a while."""
        self._lives = 0
        self._data = folder

    def run(self, rounds: int) -> Figures:
        """So many lives; ends at the first in which something is wrong."""
        server: Process | None = None
        try:
            for _ in range(rounds):
                if server is None:
                    server = self._begin()
                server = self._live(server)
                if self.figures.wrong or (self.figures.lost and not self.may_lose):
                    break
                self._lives += 1
                if self._lives % LIVES == 0:
                    server.kill()
                    server = None
        finally:
            if server is not None:
                server.kill()
        return self.figures

    @property
    def may_lose(self) -> bool:
        return self.machine is not None and self.policy != "always"

    def _begin(self) -> Process:
        """A server without data."""
        self.records = [Record(number) for number in range(self.clients)]
        root = self.folder if self.machine is None else self.machine.mount
        self._data = root / f"data-{self._starts}"
        self._data.mkdir(parents=True)
        if self.machine is not None:
            self.machine.settle()
        return self._start()

    def _start(self) -> Process:
        self._starts += 1
        arguments = (
            *("--dir", str(self._data), "--appendonly", "yes", "--appendfsync", self.policy),
            *("--auto-aof-rewrite-min-size", "64kb", "--auto-aof-rewrite-percentage", "100"),
            *("--aof-use-rdb-preamble", self.draw.choice(["yes", "no"])),
        )
        server = Process(self.command, arguments, self.folder / f"server-{self._starts % 4}")
        try:
            eventually(lambda: _ask(server, "PING") == b"PONG")
        except AssertionError:
            server.kill()
            raise AssertionError(f"it does not work: {server.log()[-3000:]}") from None
        return server

    def _live(self, server: Process) -> Process:
        """Write, end it, start it again and look; the new server."""
        draw, figures = self.draw, self.figures
        load = Load(server, self.records)
        self._floors = None
        try:
            for _ in range(draw.randrange(3)):
                if not load.wait_for(draw.randrange(1, self.units)):
                    break
                draw.choice(self.actions)(self, server, load)
            load.wait_for(draw.randrange(1, self.units))
            assert server.is_running(), server.log()[-2000:]
        finally:
            figures.rewrites += server.log().count("AOF rewrite finished")
            machine = self.machine
            if machine is not None and draw.random() < self.kills:
                # What this one leaves in the memory of the system, the next may lose.
                machine = None
            if machine is not None:
                machine.cut(draw.choice(self.cuts), draw.randrange(1 << 30))
            ended_s = monotonic()
            server.kill()
            load.wait()
            if machine is not None:
                machine.turn_on()
        figures.rounds += 1
        figures.acknowledged += sum(r.acknowledged - r.checked for r in self.records)
        started_s = monotonic()
        try:
            server = self._start()
        except AssertionError as error:
            figures.wrong.append(str(error))
            return server
        figures.starts_s.append(monotonic() - started_s)
        figures.torn += server.log().count("ended in the middle of a write")
        verdict = check(server, self.records, self._floors, ended_s)
        figures.lost += verdict.lost
        figures.extra += verdict.extra
        figures.oldest_s = max(figures.oldest_s, verdict.oldest_s)
        figures.wrong += verdict.wrong
        return server

    # What goes on besides writing

    def rewrite(self, server: Process, load: Load) -> None:
        before = self._rewrites(server)
        _ask(server, "BGREWRITEAOF")
        if self.draw.random() < 0.5:
            self._wait_for_rewrite(server, load, before)

    def snapshot(self, server: Process, _: Load) -> None:
        _ask(server, "BGSAVE")

    def switch(self, server: Process, load: Load) -> None:
        """Log no more, and again; what is written meanwhile is in no log before the next base."""
        if self._floors is None:
            self._floors = [record.acknowledged for record in load.records]
        _ask(server, "CONFIG", "SET", "appendonly", "no")
        load.wait_for(self.draw.randrange(1, 50))
        _ask(server, "CONFIG", "SET", "appendonly", "yes")
        if self.draw.random() < 0.5:
            # One that gives up may be at its end: what ends once the log is on is another.
            eventually(lambda: not load.alive or self._fact(server, "enabled") == 1, 60)
            before = self._rewrites(server)
            _ask(server, "BGREWRITEAOF")
            self._wait_for_rewrite(server, load, before)
            if load.alive:
                self._floors = None

    def _wait_for_rewrite(self, server: Process, load: Load, before: int) -> None:
        """Until one more has ended.  Where flushes take long, one always follows another."""
        eventually(lambda: not load.alive or self._rewrites(server) > before, 60)

    def _rewrites(self, server: Process) -> int:
        return self._fact(server, "rewrites")

    @staticmethod
    def _fact(server: Process, name: str) -> int:
        """What INFO says of the log; -1 where the server is gone."""
        reply = _ask(server, "INFO", "persistence")
        if not isinstance(reply, bytes):
            return -1
        return int(reply.partition(b"aof_%s:" % name.encode())[2].split(b"\r\n")[0])


Action = Callable[[Torture, Process, Load], None]
ACTIONS: Sequence[Action] = [Torture.rewrite, Torture.rewrite, Torture.snapshot, Torture.switch]


def _ask(server: Process, *words: str) -> object:
    """The reply, or None where the server is gone."""
    try:
        with server.wire(30) as wire:
            reply: object = wire.call(*words)
    except (OSError, AssertionError):
        return None
    return None if isinstance(reply, Error) else reply


__all__ = ["POLICIES", "Figures", "Torture", "broken"]
