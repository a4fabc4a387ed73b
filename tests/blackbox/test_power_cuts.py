"""The power goes at each step of a snapshot and of a rewrite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.resp import Error
from tests.support.servers import OURS, Process
from tests.support.waiting import eventually
from tests.torture.faults import status
from tests.torture.machine import Machine, missing

pytestmark = [pytest.mark.ours("it is about our files"), pytest.mark.timeout(900)]

STEPS = ("create", "write", "fsync", "flush", "rename", "fsyncdir", "unlink")
"""What is done to files and folders; flush is what FUSE calls close."""
KEYS = 300
CUTS = ("drop", "random", "holes", "keep")
"""What is left of what was not flushed: each in its turn."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if reason := missing():
        pytest.skip(f"no power can be cut: {reason}")
    with Machine(tmp_path) as machine:
        yield machine


class Lives:
    """A server on a machine without power from time to time."""

    def __init__(self, machine: Machine, folder: Path, *settings: str) -> None:
        self.machine = machine
        self.folder = folder
        self.data = machine.mount / "data"
        self.data.mkdir()
        machine.settle()
        self.settings = ("--dir", str(self.data), *settings)
        self.count = 0
        self.server = self.start()

    def start(self) -> Process:
        self.count += 1
        server = Process(OURS, self.settings, self.folder / f"life-{self.count}")
        eventually(lambda: status(server, "loading") == "0")
        return server

    def write(self, value: int) -> None:
        """Set all keys to this, in one transaction."""
        words = ["MSET"]
        for number in range(KEYS):
            words += [f"k{number}", f"{value:0100}"]
        with self.server.wire() as wire:
            assert wire.call(*words) == b"OK"

    def value(self) -> int:
        """What all keys hold; 0 where there are none."""
        with self.server.wire() as wire:
            found = set(wire.call("MGET", *[f"k{number}" for number in range(KEYS)]))
        assert len(found) == 1, found
        return int(found.pop() or 0)

    def end(self, step: str, skip: int, *command: str) -> bool:
        """Let the power go at this step of a command that works in the background.

        Afterwards there is another server.  False where it was done before that step.
        """
        how = CUTS[self.count % len(CUTS)]
        self.machine.cut_at(step, skip, how=how)
        with self.server.wire() as wire:
            reply = wire.call(*command)
            # It may have gone already, with the line that says what was flushed.
            assert self.machine.is_off or not isinstance(reply, Error), reply
            done = ("rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0")
            eventually(
                lambda: (
                    self.machine.is_off
                    or all(line in str(wire.call("INFO", "persistence")) for line in done)
                )
            )
        cut = self.machine.is_off
        if not cut:
            self.machine.cut(how, skip)
        self.server.kill()
        self.machine.turn_on()
        self.server = self.start()
        return cut


@pytest.mark.parametrize("step", STEPS)
def test_snapshots(machine: Machine, tmp_path: Path, step: str) -> None:
    """There is the last one or the new one, whole; and the new one once it is said to be there."""
    lives = Lives(machine, tmp_path, "--rdbcompression", "no")
    try:
        last = 0
        for skip in range(40):
            lives.write(last + 1)
            cut = lives.end(step, skip, "BGSAVE")
            found = lives.value()
            assert found == last + 1 or (cut and found == last)
            last = found
            if not cut:
                break
    finally:
        lives.server.kill()


@pytest.mark.parametrize("step", STEPS)
def test_rewrites(machine: Machine, tmp_path: Path, step: str) -> None:
    """Nothing is lost, whether there is a new base or not."""
    lives = Lives(machine, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    try:
        for skip in range(40):
            lives.write(skip + 1)
            cut = lives.end(step, skip, "BGREWRITEAOF")
            assert lives.value() == skip + 1
            if not cut:
                break
        else:
            assert step == "write"
    finally:
        lives.server.kill()
