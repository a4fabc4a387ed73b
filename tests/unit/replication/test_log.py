import asyncio
import random

import pytest
from distcache_replication.log import BLOCK, Log, Trimmed


class Position:
    def __init__(self, offset: int) -> None:
        self.offset = offset


def filled(sizes: list[int], limit: int = 1 << 30, offset: int = 0) -> tuple[Log, bytes]:
    log, all_ = Log(limit, offset), bytearray()
    for size in sizes:
        data = random.Random(len(all_)).randbytes(size)
        log.append(data)
        all_ += data
    return log, bytes(all_)


@pytest.mark.parametrize("offset", [0, 1000])
def test_what_was_appended_is_read_from_any_offset(offset: int) -> None:
    log, data = filled([10, BLOCK, 1, 0, 5 * BLOCK, 20, BLOCK - 5, 7], offset=offset)
    assert (log.start, log.end) == (offset, offset + len(data))
    generator = random.Random(1)
    for _ in range(300):
        at, most = generator.randrange(len(data) + 1), generator.randrange(3 * BLOCK)
        assert log.slice(offset + at) == data[at:]
        assert log.slice(offset + at, most) == data[at : at + most]


def test_beyond_the_limit_old_bytes_go() -> None:
    log, data = filled([1000] * 1000, limit=100_000)
    assert 100_000 <= log.end - log.start < 100_000 + 2 * BLOCK
    assert log.slice(log.start) == data[log.start :]
    for offset in (0, log.start - 1, log.end + 1):
        with pytest.raises(Trimmed):
            log.slice(offset)


def test_what_a_holder_needs_stays() -> None:
    log = Log(1000)
    disk = Position(0)
    log.holders.append(disk)
    for _ in range(500):
        log.append(b"x" * 1000)
    assert log.start == 0
    disk.offset = log.end - 10
    log.trim()
    assert log.end - log.start < 1000 + 2 * BLOCK


async def test_a_reader_waits_for_more() -> None:
    log = Log()
    reading = asyncio.ensure_future(log.read(0))
    await asyncio.sleep(0)
    assert not reading.done()
    log.append(b"abc")
    assert await reading == b"abc"
    assert await log.read(1, most=1) == b"b"


async def test_a_reader_of_what_cannot_be_lost_waits_for_the_disk() -> None:
    log = Log()
    log.durable = 0
    reading = asyncio.ensure_future(log.read(0, durable=True))
    log.append(b"abcdef")
    await asyncio.sleep(0)
    assert not reading.done()
    log.advance(4)
    log.advance(2)
    assert await reading == b"abcd"
    assert log.frontier == 4


async def test_nobody_waits_for_a_disk_that_is_not_there_any_more() -> None:
    log = Log()
    log.durable = 0
    log.append(b"abc")
    reading = asyncio.ensure_future(log.read(0, durable=True))
    await asyncio.sleep(0)
    log.advance(None)
    assert await reading == b"abc"


async def test_many_readers_and_one_that_gives_up() -> None:
    log = Log()
    first, second = (asyncio.ensure_future(log.read(0)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    log.append(b"x")
    assert await second == b"x"


def test_nothing_is_safe_before_replicas_have_it() -> None:
    log = Log()
    log.append(b"12345")
    assert log.frontier == 5
    log.confirm(0)
    assert log.frontier == 0
    log.confirm(4)
    log.advance(3)
    assert log.frontier == 3
    log.advance(5)
    assert log.frontier == 4
    log.confirm(None)
    assert log.frontier == 5
