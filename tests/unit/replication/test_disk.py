"""The follower on disk: what it acknowledges can be read back, whatever fails and whenever."""

import random
from contextlib import suppress

import pytest
from distcache_replication.directory import Directory, Refused
from distcache_replication.disk import ALWAYS, EVERYSEC, NO, Disk, Run
from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_server.quoting import quote, split

from tests.support.disks import Later, MemoryFiles, PowerCut, at_once, cut_power, nth

ID = "0123456789abcdef0123456789abcdef01234567"
COMMAND = b"*1\r\n$2\r\n%02d\r\n"


class Machine:
    """A log with a disk."""

    def __init__(self, policy: str, run: Run = at_once) -> None:
        self.files = MemoryFiles()
        self.directory = Directory(self.files, "/d", "a", split, quote)
        self.log = Log()
        self.told = 0
        file, descriptor = self.directory.create()
        self.directory.add(file)
        self.disk = Disk(self.log, self.files, run, policy, self._tell)
        self.disk.attach()
        self.disk.switch(descriptor, History(ID))
        if isinstance(run, Later):
            run.run()
        self.count = 0
        self.fine = len(self.files.steps)
        """Steps before the test began."""

    def _tell(self) -> None:
        self.told += 1

    def add(self, commands: int = 1) -> None:
        """A batch."""
        for _ in range(commands):
            self.log.append(COMMAND % (self.count % 100))
            self.count += 1

    def rotate(self) -> None:
        file, descriptor = self.directory.create()
        self.directory.add(file)
        if self.disk.write():
            self.disk.switch(descriptor, History(ID), self.count % 3)

    def rename(self) -> None:
        """The log goes on in another history."""
        self.disk.rename(History(ID[::-1]))


def recovered(files: MemoryFiles) -> int:
    """How many bytes of the log another process finds; it checks that they are a prefix of it."""
    it = Directory(files, "/d", "a", split, quote)
    if not it.open():
        return 0
    data = b"".join(b.data for f in it.manifest.files for b in it.read(f, True))
    count = len(data) // len(COMMAND % 0)
    assert data == b"".join(COMMAND % (n % 100) for n in range(count))
    return len(data)


def test_everysec_acknowledges_what_is_written() -> None:
    machine = Machine(EVERYSEC)
    machine.add(3)
    assert machine.disk.acknowledged == 0
    assert machine.disk.write()
    assert machine.disk.acknowledged == machine.log.end
    assert recovered(machine.files.after_crash()) == machine.log.end
    assert (machine.log.frontier, recovered(machine.files.after_power_cut())) == (0, 0)
    machine.disk.commit()
    assert machine.log.frontier == machine.log.end
    assert recovered(machine.files.after_power_cut()) == machine.log.end


def test_no_trusts_the_system() -> None:
    machine = Machine(NO)
    machine.add()
    assert machine.disk.write()
    assert machine.disk.acknowledged == machine.log.frontier == machine.log.end
    assert "sync" not in machine.files.steps[machine.fine :]


def test_always_shares_a_flush_between_all_who_wait() -> None:
    later = Later()
    machine = Machine(ALWAYS, later)
    machine.add()
    machine.disk.commit()
    first = machine.log.end
    for _ in range(5):
        machine.add()
        machine.disk.commit()
    assert len(later.waiting) == 1
    assert machine.disk.acknowledged == 0
    later.run()
    assert machine.disk.acknowledged == first
    assert len(later.waiting) == 1
    later.run()
    assert machine.disk.acknowledged == machine.log.end
    assert not later.waiting
    assert machine.files.steps[machine.fine :] == ["write", "sync", "write", "sync"]


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC, NO])
def test_a_failed_write_is_tried_again(policy: str) -> None:
    machine = Machine(policy)
    machine.add()
    machine.disk.write()
    machine.disk.commit()
    before = machine.disk.acknowledged
    machine.add()
    machine.files.fail = nth(len(machine.files.steps) + 1)
    assert not machine.disk.write()
    assert machine.disk.error is not None
    assert not machine.disk.lost
    assert machine.disk.acknowledged == before
    assert recovered(machine.files.after_crash()) == before
    assert machine.disk.write()
    assert machine.disk.error is None
    machine.disk.commit()
    assert recovered(machine.files.after_crash()) == machine.disk.acknowledged == machine.log.end


def test_a_failed_flush_is_final() -> None:
    machine = Machine(ALWAYS)
    machine.add()
    machine.files.fail = nth(len(machine.files.steps) + 2)
    machine.disk.commit()
    assert machine.disk.lost
    assert machine.disk.acknowledged == 0
    machine.disk.commit()
    assert not machine.disk.write()
    assert machine.disk.acknowledged == machine.log.frontier == 0


def test_a_new_base_and_increment_make_up_for_a_failed_flush() -> None:
    machine = Machine(ALWAYS)
    machine.add()
    machine.files.fail = nth(len(machine.files.steps) + 2)
    machine.disk.commit()
    _, descriptor = machine.directory.create()
    machine.disk.switch(descriptor, History(ID))
    mark = machine.log.end
    machine.add()
    assert not machine.disk.write()
    machine.disk.recovered()
    assert machine.disk.acknowledged == mark
    assert machine.disk.error is None
    machine.disk.commit()
    assert machine.disk.acknowledged == machine.log.end


def test_a_write_that_cannot_be_taken_back_is_final() -> None:
    machine = Machine(EVERYSEC)
    machine.add()
    machine.files.fail = nth(len(machine.files.steps) + 1, lasting=True)
    assert not machine.disk.write()
    assert machine.disk.lost


def test_the_log_keeps_what_was_not_written() -> None:
    machine = Machine(EVERYSEC)
    machine.log.limit = 1
    machine.files.fail = nth(len(machine.files.steps) + 1)
    machine.add(20_000)
    assert not machine.disk.write()
    machine.add(20_000)
    assert machine.log.start == 0
    assert machine.disk.write()
    assert recovered(machine.files.after_crash()) == machine.log.end


def test_the_old_increment_is_flushed_before_the_new_one_counts() -> None:
    later = Later()
    machine = Machine(ALWAYS, later)
    machine.add()
    machine.rotate()
    machine.add()
    machine.disk.commit()
    assert recovered(machine.files.after_power_cut()) == 0
    assert recovered(machine.files.after_crash()) == machine.log.end // 2
    for _ in range(2):
        assert recovered(machine.files.after_crash()) == machine.log.end // 2
        later.run()
    assert recovered(machine.files.after_crash()) == machine.log.end
    later.run()
    assert recovered(machine.files.after_power_cut()) == machine.log.end == machine.log.frontier


def test_the_database_is_told_where_the_log_gets_another_id_at_once() -> None:
    later = Later()
    machine = Machine(ALWAYS, later)
    machine.add()
    file, descriptor = machine.directory.create()
    machine.directory.add(file)
    machine.disk.switch(descriptor, History(ID), 3)
    machine.rename()
    while later.waiting:
        later.run()
    data = machine.files.read(f"/d/{file.name}", 0, 1 << 20)
    assert (data.count(b"#distcache:select 3"), data.count(ID[::-1].encode())) == (1, 1)
    machine.rename()
    machine.add()
    machine.disk.write()
    data = machine.files.read(f"/d/{file.name}", 0, 1 << 20)
    assert (data.count(b"#distcache:select 3"), data.count(ID[::-1].encode())) == (1, 2)


def test_close_leaves_everything() -> None:
    machine = Machine(NO)
    machine.add()
    machine.rotate()
    machine.add()
    machine.disk.close()
    assert recovered(machine.files.after_power_cut()) == machine.log.end
    assert not machine.files.open
    assert machine.log.holders == []
    assert machine.log.durable is None


def test_a_flush_that_ends_after_the_log_was_turned_off_holds_nobody_up() -> None:
    later = Later()
    machine = Machine(ALWAYS, later)
    machine.add()
    machine.disk.commit()
    flush, flushed = later.waiting.pop()
    flush()
    machine.disk.close()
    machine.add()
    flushed(None)
    assert machine.log.durable is None
    assert machine.log.frontier == machine.log.end


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC, NO])
def test_nothing_is_safe_before_there_is_a_base(policy: str) -> None:
    machine = Machine(policy)
    machine.disk.complete = False
    machine.add()
    assert machine.disk.write()
    machine.disk.commit()
    assert machine.log.frontier == 0
    machine.disk.recovered()
    assert machine.log.frontier == machine.log.end


def test_close_says_when_something_is_lost() -> None:
    machine = Machine(NO)
    machine.add()
    machine.files.fail = nth(len(machine.files.steps) + 1, lasting=True)
    with pytest.raises(OSError, match="told"):
        machine.disk.close()


def live(machine: Machine, generator: random.Random) -> int:
    """A life of some steps; what was acknowledged."""
    acknowledged = machine.disk.acknowledged
    with suppress(PowerCut, OSError):
        for _ in range(12):
            machine.add(generator.randrange(3))
            choice = generator.random()
            if choice < 0.1:
                machine.rotate()
            elif choice < 0.2:
                machine.rename()
            elif choice < 0.6:
                machine.disk.write()
            else:
                machine.disk.commit()
            acknowledged = max(acknowledged, machine.disk.acknowledged)
    return acknowledged


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC, NO])
@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_power_cut_at_each_step(policy: str, kept: float) -> None:
    for number in range(1, 30):
        for seed in range(10):
            machine = Machine(policy)
            machine.files.fail = cut_power(machine.fine + number)
            acknowledged = live(machine, random.Random(seed))
            left = recovered(machine.files.after_power_cut(kept))
            promised = acknowledged if policy == ALWAYS else machine.disk.flushed
            assert promised <= left <= machine.log.end
            assert acknowledged <= recovered(machine.files.after_crash())


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC])
@pytest.mark.parametrize("block", [160, 200])
def test_power_cut_that_leaves_holes(policy: str, block: int) -> None:
    """Whatever is there of what was not flushed, a start goes on from what was.

    The blocks are smaller than those of a disk, but none is smaller than a head.
    """
    for number in range(1, 30):
        for seed in range(10):
            machine = Machine(policy)
            draw = random.Random(seed)
            machine.files.fail = cut_power(machine.fine + number)
            acknowledged = live(machine, draw)
            promised = acknowledged if policy == ALWAYS else machine.disk.flushed
            for _ in range(5):
                files = machine.files.after_power_cut(holes=(draw, block))
                left = recovered(files)
                assert promised <= left <= machine.log.end
                assert recovered(files) == left


def test_what_was_flushed_is_damaged() -> None:
    """Once a flush is told of, no byte before it may change."""
    machine = Machine(EVERYSEC)
    for _ in range(3):
        machine.add(2)
        machine.disk.write()
    machine.disk.commit()
    machine.add()
    machine.disk.write()
    machine.add()
    machine.disk.write()
    data = machine.files.content["/d/a.1.incr.aof"].data
    safe = data.rindex(b"#dc=")
    for at in range(len(data)):
        for change in (1, 0x0A, 0x80, 0xFF):
            files = machine.files.after_crash()
            files.content["/d/a.1.incr.aof"].data[at] ^= change
            if at < safe:
                with pytest.raises(Refused):
                    recovered(files)
            elif at < data.index(b"\n", safe):
                with suppress(Refused):
                    assert machine.disk.flushed <= recovered(files) < machine.log.end
            else:
                assert machine.disk.flushed <= recovered(files) < machine.log.end


def test_damage_to_a_head_within_a_file() -> None:
    """What behind it says that all was flushed cannot be checked, and counts all the same."""
    machine = Machine(ALWAYS)
    machine.add()
    machine.disk.commit()
    machine.rename()
    for _ in range(2):
        machine.add()
        machine.disk.commit()
    files = machine.files.after_crash()
    data = files.content["/d/a.1.incr.aof"].data
    data[data.rindex(b"#distcache:1") + 60] ^= 1
    with pytest.raises(Refused):
        recovered(files)


def test_where_no_flushes_are_told_holes_are_damage() -> None:
    machine = Machine(EVERYSEC)
    machine.add()
    machine.disk.commit()
    machine.disk.policy = NO
    for _ in range(3):
        machine.add()
        machine.disk.write()
    files = machine.files.after_crash()
    data = files.content["/d/a.1.incr.aof"].data
    data[data.rindex(b"#dc:") - 3] ^= 1
    with pytest.raises(Refused):
        recovered(files)


def test_a_head_that_cannot_be_written() -> None:
    machine = Machine(ALWAYS)
    machine.add()
    machine.disk.commit()
    file, descriptor = machine.directory.create()
    machine.directory.add(file)
    # The flush of the old file and that of the new one go well, and then nothing does.
    machine.files.fail = nth(len(machine.files.steps) + 4, lasting=True)
    machine.disk.switch(descriptor, History(ID))
    assert machine.disk.lost
    assert machine.disk.error is not None


def test_a_log_that_was_closed_well_has_no_end_to_lose() -> None:
    machine = Machine(ALWAYS)
    machine.add(3)
    machine.disk.close()
    files = machine.files.after_crash()
    content = files.content["/d/a.1.incr.aof"]
    assert content.data.endswith(b"\r\n")
    content.data[content.data.rindex(b"#dc=") - 3] ^= 1
    with pytest.raises(Refused):
        recovered(files)


@pytest.mark.parametrize("policy", [ALWAYS, EVERYSEC, NO])
@pytest.mark.parametrize("lasting", [False, True])
def test_failure_of_each_step(policy: str, lasting: bool) -> None:
    for number in range(1, 30):
        for seed in range(10):
            machine = Machine(policy)
            machine.files.fail = nth(machine.fine + number, lasting=lasting)
            acknowledged = live(machine, random.Random(seed))
            assert acknowledged <= recovered(machine.files.after_crash()) <= machine.log.end
            if policy == ALWAYS:
                assert acknowledged <= recovered(machine.files.after_power_cut())
