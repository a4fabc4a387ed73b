"""The reader beside a plain byte string, whatever happens to the files meanwhile."""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable

import pytest
from distcache_replication.archive import Limits, Lost
from distcache_replication.disk import MARK, TIME_MS
from distcache_replication.reader import Reader
from distcache_replication.segment import annotation

from tests.unit.replication.test_archive import Machine


class Place:
    """A follower."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Model:
    """A log with little memory, all of whose bytes are known."""

    now_ms = 1_000_000

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.written: list[tuple[int, int]] = []
        """Up to which offset all was written, and when."""
        self.use(Machine())
        self.machine.log.limit = 200
        self.all = bytearray()
        self.chance = 0.0
        """That something happens while a file is read."""
        self.deleted = 0
        """What is before this offset may be gone."""

    def use(self, machine: Machine) -> None:
        self.machine = machine
        write = machine.disk.write

        def note() -> bool:
            done = write()
            self.written.append((machine.disk.offset, Model.now_ms))
            return done

        machine.disk.write = note  # type: ignore[method-assign]

    def append(self) -> None:
        log = self.machine.log
        for _ in range(self.random.randrange(1, 4)):
            # Each longer than a block, so that memory soon forgets it.
            size = self.random.choice([1, 50, 1000, 70_000, 70_000])
            data = b"*1\r\n$%d\r\n%b\r\n" % (size, self.random.randbytes(size))
            log.append(data)
            self.all += data
        if self.random.random() < 0.8:
            assert self.machine.disk.write()

    def happen(self) -> None:
        """Anything, at random."""
        Model.now_ms += self.random.choice([0, 0, 30, 250, 60_000])
        match self.random.randrange(8):
            case 0:
                self.machine.switch()
            case 1:
                assert self.machine.disk.write()
                self.machine.rebase()
            case 2:
                self.delete(Limits(1 << 18, 0, 1 << 19))
            case 3:
                self.machine.history.fork(self.machine.log.end)
                self.machine.disk.rename(self.machine.history)
            case _:
                self.append()

    def delete(self, limits: Limits) -> None:
        archive = self.machine.archive
        for gone in archive.shrink(limits, 0.0):
            self.deleted = gone.end
        self.machine.directory.clean(archive.names)

    async def off(self, work: Callable[[], bytes]) -> bytes:
        if self.random.random() < self.chance:
            self.happen()
        data = work()
        await asyncio.sleep(0)
        if self.random.random() < self.chance:
            self.happen()
        return data

    def reader(self, place: Place, durable: bool = False) -> Reader:
        log, archive = self.machine.log, self.machine.archive
        return Reader(log, archive, self.off, place, "test", durable=durable)


async def read(model: Model, reader: Reader, place: Place) -> int:
    """Take what comes next, which must be what was written; how much."""
    data = await reader.read(model.random.choice([1, 100, 1 << 16, 1 << 20]))
    assert data
    assert data == model.all[place.offset : place.offset + len(data)]
    check_times(model, reader, place.offset, place.offset + len(data))
    place.offset += len(data)
    return len(data)


def check_times(model: Model, reader: Reader, start: int, end: int) -> None:
    """When it was written is known of all that is on disk: nearly so, and it was no later."""
    end = min(end, model.machine.disk.offset)
    times = reader.times(start, end)
    for at in {start, end - 1, *(at for at, _ in times)} if start < end else ():
        if start <= at < end:
            said_ms = times[bisect_right(times, at, key=lambda it: it[0]) - 1][1]
            assert times[0][0] <= at
            really_ms = model.written[bisect_right(model.written, at, key=lambda it: it[0])][1]
            assert really_ms - TIME_MS < said_ms <= really_ms


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What time it is to the disk, the models say."""
    time_ns = "distcache_replication.disk.time_ns"
    monkeypatch.setattr(time_ns, lambda: Model.now_ms * 1_000_000)


@pytest.mark.parametrize("seed", range(30))
async def test_beside_a_byte_string(seed: int) -> None:
    model = Model(seed)
    model.chance = model.random.choice([0.0, 0.05, 0.4])
    log, archive = model.machine.log, model.machine.archive
    lost = 0
    for _ in range(8):
        for _ in range(6):
            model.happen()
        offset = model.random.randrange(len(model.all) + 1)
        place = Place(offset)
        reader = model.reader(place)
        try:
            steps = model.random.randrange(1, 60)
            while place.offset < log.end and steps:
                await read(model, reader, place)
                reader.relax()
                steps -= 1
        except Lost:
            # Only where it is really gone.
            assert not archive.covers(place.offset)
            assert place.offset < min(model.deleted, log.start)
            lost += 1
        reader.close()
        assert not archive.slots
        assert log.holders == [model.machine.disk]
    if not model.chance:
        assert lost < 8


@pytest.mark.parametrize("seed", range(5))
async def test_a_restart_is_no_gap(seed: int) -> None:
    model = Model(seed)
    for _ in range(20):
        model.happen()
    assert model.machine.disk.write()
    model.use(Machine(model.machine.files.after_crash()))
    model.machine.log.limit = 200
    assert model.machine.log.end == len(model.all)
    start = model.machine.archive.start
    assert start is not None
    place = Place(model.random.randrange(start, len(model.all)))
    for _ in range(3):
        model.append()
    reader = model.reader(place)
    while place.offset < len(model.all):
        await read(model, reader, place)


async def test_what_a_failed_write_left_is_not_of_the_log() -> None:
    model, path = long_log()
    machine = model.machine
    machine.rebase()
    before = machine.archive.segments[0]
    for garbage in (
        b"#dc:5 0000",
        annotation(b"*0\r\n", before.end, before.marks[-1][2]) + b"*0\r\n",
    ):
        machine.files.content[path].data += garbage
        model.use(Machine(machine.files.after_crash()))
        assert await read_all(model) == len(model.all)


async def test_it_waits_for_more_and_lets_go_of_memory() -> None:
    model = Model(0)
    log, place = model.machine.log, Place(0)
    reader = model.reader(place)
    assert place in log.holders
    waiting = asyncio.create_task(read(model, reader, place))
    await asyncio.sleep(0)
    model.append()
    assert model.machine.disk.write()
    assert await waiting
    while log.end - place.offset <= log.limit:
        model.append()
    assert log.start <= place.offset
    assert model.machine.disk.write()
    reader.relax()
    assert place not in log.holders
    assert [slot.offset for slot in model.machine.archive.slots] == [place.offset]
    for _ in range(5):
        model.append()
    assert log.start > place.offset
    assert reader.on_disk
    while place.offset < log.end:
        await read(model, reader, place)
    waiting = asyncio.create_task(read(model, reader, place))
    await asyncio.sleep(0)
    assert place in log.holders
    assert not model.machine.archive.slots
    waiting.cancel()


async def test_what_can_still_be_lost_is_not_given_out() -> None:
    model, _ = long_log()
    log, place = model.machine.log, Place(0)
    reader = model.reader(place, durable=True)
    for durable in (1, 100_000, 100_001, log.start, log.end - 1, log.end):
        log.durable = durable
        while place.offset < durable:
            await read(model, reader, place)
        assert place.offset == durable


def long_log() -> tuple[Model, str]:
    """One segment behind which memory begins, and its path."""
    model = Model(1)
    while len(model.all) < 3 * MARK:
        model.append()
    assert model.machine.disk.write()
    path = model.machine.archive.path(model.machine.archive.segments[0])
    model.machine.switch()
    return model, path


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_offset_is_found_without_reading_all(restarted: bool) -> None:
    model, path = long_log()
    if restarted:
        model.use(Machine(model.machine.files.after_crash()))
        assert await read_all(model) == len(model.all)
    place = Place(len(model.all) - 300_000)
    assert place.offset < model.machine.log.start
    del model.machine.files.content[path].data[:MARK]
    model.machine.files.content[path].data[:0] = b"?" * MARK
    reader = model.reader(place)
    while place.offset < model.machine.log.end:
        await read(model, reader, place)


async def read_all(model: Model) -> int:
    """Follow the log from its beginning to its end; how far one comes."""
    place = Place(0)
    reader = model.reader(place)
    try:
        while place.offset < len(model.all):
            await read(model, reader, place)
    except Lost:
        # Nobody is sent there again.
        assert not model.machine.archive.covers(place.offset)
        assert model.machine.archive.covers(model.machine.log.end)
    return place.offset


async def test_a_flipped_byte_is_never_handed_on() -> None:
    noticed = 0
    for seed in range(60):
        model, path = long_log()
        data = model.machine.files.content[path].data
        at = random.Random(seed).randrange(len(data))
        if seed < 20:
            at = seed * 15  # the lines of the history, and the first batch
        data[at] ^= 1 << seed % 8
        noticed += await read_all(model) < len(model.all)
    # The rest were in what nobody needs to read.
    assert noticed > 40


@pytest.mark.parametrize("cut", [MARK // 2, MARK, 3 * MARK])
async def test_a_file_that_is_shorter(cut: int) -> None:
    model, path = long_log()
    del model.machine.files.content[path].data[-cut:]
    assert await read_all(model) < len(model.all)


async def test_a_file_that_is_gone() -> None:
    model, path = long_log()
    model.machine.files.remove(path)
    assert not await read_all(model)
