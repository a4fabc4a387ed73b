"""Which segments may go, and which offsets are on disk."""

import pytest
from distcache_replication.archive import Archive, Limits, Segment, surplus
from distcache_replication.directory import Directory
from distcache_replication.disk import NO, Disk
from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_server.quoting import quote, split

from tests.support.disks import MemoryFiles, at_once

TEN = [Segment(str(n), n * 100, n * 100 + 100, 50, closed_s=float(n)) for n in range(10)]
NOW_S = 10.0


@pytest.mark.parametrize(
    ("limits", "needed", "count"),
    [
        (Limits(500, 0, 500), None, 0),
        (Limits(499, 0, 500), None, 1),
        (Limits(100, 0, 500), None, 8),
        (Limits(0, 0, 0), None, 10),
        (Limits(500, 10, 500), None, 0),
        (Limits(500, 7, 500), None, 3),
        (Limits(100, 7, 500), None, 8),
        # A slot holds more, but not for ever.
        (Limits(100, 1, 500), 0, 0),
        (Limits(100, 1, 500), 250, 2),
        (Limits(100, 0, 500), 950, 8),
        (Limits(100, 0, 300), 0, 4),
        (Limits(400, 0, 300), 0, 2),
        (Limits(500, 0, 300), 0, 0),
    ],
)
def test_what_may_go(limits: Limits, needed: int | None, count: int) -> None:
    assert surplus(TEN, limits, needed, NOW_S) == count


class Machine:
    """A directory with its log."""

    def __init__(self, files: MemoryFiles | None = None) -> None:
        self.files = files or MemoryFiles()
        self.directory = Directory(self.files, "/d", "a", split, quote)
        self.history = History()
        self.log = Log()
        self.archive = Archive(self.files)
        if self.directory.open():
            for file in self.directory.manifest.files:
                for _ in self.directory.read(file, True):
                    pass
            self.history.reset(self.directory.history, self.directory.lineage)
            self.history.fork(self.directory.checked)
            self.log.restart(self.directory.offset)
            self.archive.load(self.directory, 0.0)
        self.disk = Disk(self.log, self.files, at_once, NO, lambda: None)
        self.disk.attach()
        self.switch(begin=True)
        self.disk.write()

    def switch(self, *, begin: bool = False) -> str:
        """Go on in a new increment; its name."""
        assert begin or self.disk.write()
        file, descriptor = self.directory.begin() if begin else self.directory.append()
        self.archive.settle()
        self.disk.switch(descriptor, self.history)
        self.archive.switch("/d", file, self.disk, 0.0)
        return file.name

    def add(self, size: int = 30) -> None:
        """A batch."""
        word = b"x" * (size - 11)
        self.log.append(b"*1\r\n$%d\r\n%b\r\n" % (len(word), word))
        assert self.disk.write()

    def rebase(self) -> None:
        """A rewrite."""
        file, descriptor = self.directory.append()
        self.archive.settle()
        self.disk.switch(descriptor, self.history)
        self.archive.switch("/d", file, self.disk, 0.0)
        temporary = self.directory.temporary_base("x")
        self.files.close(self.files.create(temporary))
        self.directory.rebase(temporary, False, self.disk.begun, file)
        self.archive.rebased(file.name)


def test_what_is_on_disk() -> None:
    machine = Machine()
    archive, log = machine.archive, machine.log
    assert (archive.start, archive.covers(0), archive.covers(1)) == (0, True, False)
    for _ in range(3):
        machine.add()
        machine.switch()
    assert [it.start for it in archive.segments] == [0, 30, 60, 90]
    assert archive.covers(log.end)
    assert not archive.superfluous
    machine.rebase()
    assert [it.start for it in archive.superfluous] == [0, 30, 60, 90]
    slot = archive.take("somebody", 45)
    assert [it.start for it in archive.shrink(Limits(0, 0, 1 << 20), 0.0)] == [0]
    assert (archive.start, slot.lost) == (30, False)
    archive.shrink(Limits(0, 0, 0), 0.0)
    assert (archive.start, slot.lost) == (90, True)
    assert archive.take("late", 60).lost
    archive.clear()
    assert (archive.start, archive.size, archive.covers(90)) == (None, 0, False)


def test_a_restart_knows_what_is_on_disk() -> None:
    machine = Machine()
    for _ in range(3):
        machine.add()
        machine.switch()
    machine.rebase()
    machine.add()
    machine.switch()
    machine.add()
    starts = [it.start for it in machine.archive.segments]
    for _ in range(3):
        again = Machine(machine.files.after_crash())
        assert [it.start for it in again.archive.segments] == [*starts, machine.log.end]
        assert [it.name for it in again.archive.superfluous] == [
            it.name for it in machine.archive.superfluous
        ]
        assert again.history.holds(machine.history.id, machine.log.end)
        assert not again.history.holds(machine.history.id, machine.log.end + 1)
        # Nothing was written: the next one remembers all of them, and uses the same file.
        assert again.log.end == machine.log.end
        assert again.directory.manifest.increments[:-1] == machine.directory.manifest.increments


def test_a_gap_ends_it() -> None:
    machine = Machine()
    machine.add()
    machine.switch()
    machine.add()
    old = machine.directory.manifest
    machine.rebase()
    machine.files.remove(f"/d/{old.increments[0].name}")
    again = Machine(machine.files.after_crash())
    assert again.archive.start == 30
    machine.files.remove(f"/d/{old.increments[1].name}")
    again = Machine(machine.files.after_crash())
    assert again.archive.start == 60
    # A flush failed: the next increment begins further on.
    machine.disk.lost = True
    machine.log.append(b"*1\r\n$1\r\nx\r\n")
    file, descriptor = machine.directory.append()
    machine.archive.settle()
    machine.disk.switch(descriptor, machine.history)
    machine.archive.switch("/d", file, machine.disk, 0.0)
    assert machine.archive.start == machine.log.end


def test_files_of_another_history() -> None:
    """Those of a log that a full sync has replaced may be left, where a crash came before."""
    machine = Machine()
    machine.add()
    machine.rebase()
    machine.history.reset()
    machine.log.end += 40
    machine.rebase()
    machine.add()
    again = Machine(machine.files.after_crash())
    assert len(again.directory.manifest.history) >= 2
    assert again.archive.start == 70


def test_a_promotion_is_on_disk() -> None:
    machine = Machine()
    machine.add()
    first, left = machine.history.id, machine.log.end
    machine.history.fork(left)
    machine.disk.rename(machine.history)
    machine.add()
    again = Machine(machine.files.after_crash())
    assert again.history.holds(machine.history.id, machine.log.end)
    assert again.history.holds(first, left)
    assert not again.history.holds(first, left + 1)


def test_what_redis_wrote_is_not_ours() -> None:
    machine = Machine()
    machine.add()
    machine.switch()
    machine.add()
    machine.files.content["/d/a.2.incr.aof"].data += b"*1\r\n$4\r\nPING\r\n"
    again = Machine(machine.files.after_crash())
    assert (again.archive.start, again.log.end) == (74, 74)
    assert not again.history.holds(machine.history.id, 74)
    assert again.history.holds(machine.history.id, 60)
