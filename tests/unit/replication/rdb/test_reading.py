"""Whole snapshots: those of a real Redis, in pieces of any size, cut, damaged; and our own."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from distcache_replication import rdb
from distcache_replication.rdb.crc64 import crc64
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import LATER_MS, LIBRARY, SAMPLES, same

DATA = Path(__file__).parents[3] / "data"
GOLDEN = (DATA / "redis-7.0.rdb").read_bytes()
SMALL = (DATA / "redis-7.0-lfu.rdb").read_bytes()
STYLE = rdb.Style()


class Record(NamedTuple):
    database: int
    key: bytes
    kind: int
    value: rdb.Value
    deadline_ms: int | None = None
    idle_s: int | None = None
    frequency: int | None = None


def decode(pieces: Iterable[bytes], decoder: rdb.Decoder | None = None) -> list[Record]:
    decoder = decoder or rdb.Decoder()
    found: list[Record] = []
    for piece in pieces:
        found += [Record(*record) for record in decoder.feed(piece)]
    return found + [Record(*record) for record in decoder.finish()]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_the_checksum() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"56789", crc64(b"1234")) == crc64(b"123456789")


# What a real Redis has written


@pytest.mark.parametrize(("release", "version"), [("6.2", 9), ("7.0", 10)])
def test_a_snapshot_of_redis(release: str, version: int) -> None:
    data = (DATA / f"redis-{release}.rdb").read_bytes()
    decoder = rdb.Decoder()
    records = {(record.database, record.key): record for record in decode([data], decoder)}
    for key, kind, value, _ in SAMPLES:
        record = records.pop((0, key))
        assert record.kind == kind
        assert same(kind, record.value, value), key
        assert record.deadline_ms is None
    expires = Record(0, b"expires", rdb.STRING, b"value", LATER_MS)
    assert records.pop((0, b"expires")) == expires
    assert records.pop((9, b"string")).value == b"in database 9"
    stream = records.pop((0, b"stream")).value
    assert isinstance(stream, rdb.Stream)
    assert len(stream.entries) == 250
    entries = list(stream.entries)
    assert entries[0] == ((2, 1), [b"a", b"2", b"b", b"same"])
    assert entries[-2] == ((300, 5), [b"other", b"fields", b"in", b"this"])
    assert stream.last_id == (9000000000000, 0)
    if version > 9:
        assert (stream.first_id, stream.deleted_id, stream.added) == ((2, 1), (7, 1), 252)
    group, idle = sorted(stream.groups)
    assert (group.name, group.last_id, group.read) == (b"group", (6, 1), -1)
    assert (idle.name, idle.pending) == (b"idle group", [])
    assert [pending.id for pending in group.pending] == [(2, 1), (4, 1), (5, 1), (6, 1)]
    assert [(consumer.name, len(consumer.pending)) for consumer in group.consumers] == [
        (b"one", 2),
        (b"two", 2),
    ]
    empty = records.pop((0, b"stream:empty")).value
    assert isinstance(empty, rdb.Stream)
    assert (empty.entries, empty.last_id) == ([], (5, 5))
    assert not records
    assert decoder.version == version
    assert decoder.aux[b"redis-ver"].startswith(release.encode())
    assert decoder.functions == ([LIBRARY.encode()] if version > 9 else [])
    assert decoder.expected == len(SAMPLES) + 4
    assert (decoder.done, decoder.rest, decoder.offset) == (True, b"", len(data))


def test_what_is_known_of_the_use_of_keys() -> None:
    used = {record.key: record.frequency for record in decode([SMALL])}
    assert used == {b"a": 7, b"b": 5, b"list": 5}
    idle = {r.key: r.idle_s for r in decode([(DATA / "redis-7.0-lru.rdb").read_bytes()])}
    assert idle == {b"a": 0, b"b": 2, b"list": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 4096, 65536])
def test_pieces_of_any_size(size: int) -> None:
    assert decode(cut(GOLDEN, size)) == decode([GOLDEN])


@given(st.lists(st.integers(0, len(SMALL)), max_size=9).map(sorted))
def test_pieces_of_different_sizes(places: list[int]) -> None:
    ends = [0, *places, len(SMALL)]
    pieces = [SMALL[start:end] for start, end in pairwise(ends)]
    assert decode(pieces) == decode([SMALL])


def test_what_comes_after_the_end() -> None:
    decoder = rdb.Decoder()
    assert decode([*cut(GOLDEN + b"*1\r\n", 1000), b"$4\r\nPING\r\n"], decoder) == decode([GOLDEN])
    assert decoder.rest == b"*1\r\n$4\r\nPING\r\n"


# What is wrong


def test_a_snapshot_that_is_cut() -> None:
    whole = decode([SMALL])
    for end in range(len(SMALL)):
        for pieces in ([SMALL[:end]], cut(SMALL[:end], 1)):
            decoder = rdb.Decoder()
            found = [record for piece in pieces for record in decoder.feed(piece)]
            with pytest.raises(rdb.BadRdb, match="too early") as caught:
                found += decoder.finish()
            assert caught.value.offset == end
            assert found == whole[: len(found)]
        with pytest.raises(rdb.BadRdb):
            decode([SMALL[:end]], rdb.Decoder(size=end))


def test_any_byte_that_is_wrong_is_noticed() -> None:
    for place in range(len(SMALL) - 8):
        for change in (0x01, 0x80):
            with pytest.raises(rdb.BadRdb):
                decode([SMALL[:place] + bytes([SMALL[place] ^ change]) + SMALL[place + 1 :]])


def test_the_checksum_may_be_missing_or_not_wanted() -> None:
    records = decode([SMALL])
    assert decode([SMALL[:-8] + bytes(8)]) == records
    damaged = SMALL[:-8] + b"\1" * 8
    with pytest.raises(rdb.BadChecksum):
        decode([damaged])
    assert decode([damaged], rdb.Decoder(checksum=False)) == records


@pytest.mark.parametrize(
    "head", [b"REDIS0000", b"REDIS0013", b"REDIS9999", b"REDIS00x1", b"VALKEY080"]
)
def test_other_versions_and_other_files(head: bytes) -> None:
    with pytest.raises(rdb.BadRdb) as caught:
        decode([head + SMALL[9:]])
    assert caught.value.offset == 0
    with pytest.raises(rdb.BadRdb):
        decode([b"hello"])


@pytest.mark.parametrize("version", range(1, 5))
def test_old_versions_have_no_checksum(version: int) -> None:
    data = b"REDIS%04d\xfe\0\0\1k\1v\xff" % version
    assert [record.key for record in decode([data], rdb.Decoder(size=len(data)))] == [b"k"]
    with pytest.raises(rdb.BadRdb):
        decode([data[:-1]])


def test_the_error_says_where() -> None:
    start = b"REDIS0011" + rdb.plain_entry(b"key", b"value", False)
    with pytest.raises(rdb.BadRdb) as caught:
        decode(cut(start + b"\2\3set\2\1a\1a", 5))
    assert caught.value.offset == len(start)
    assert str(caught.value) == f"A member comes twice (at offset {len(start)})"


def file(*pieces: bytes, version: int = 11) -> bytes:
    return b"".join(rdb.sealed([b"REDIS%04d" % version, *pieces]))


def test_what_is_skipped() -> None:
    value = b"\2" + rdb.length(7) + b"\1" + rdb.length(9) + b"\3abcd\4" + bytes(8) + b"\5\2ok\0"
    decoder = rdb.Decoder()
    records = decode(
        cut(
            file(
                b"\xf7\x81" + bytes(8) + value,
                b"\xf4\1\2\3",
                b"\2\5empty\0",
                rdb.function(b"code", False),
                rdb.plain_entry(b"key", b"value", False),
            ),
            3,
        ),
        decoder,
    )
    assert [record.key for record in records] == [b"key"]
    assert decoder.skipped == 2
    assert decoder.functions == [b"code"]


def test_what_is_not_supported() -> None:
    for piece in (b"\x07\1m\x81" + bytes(8), b"\x06\1m\x81" + bytes(8), b"\xf6\1f"):
        with pytest.raises(rdb.Unsupported):
            decode([file(piece)])


def test_deadlines_in_seconds() -> None:
    data = file(b"\xfd" + (5).to_bytes(4, "little") + b"\0\1k\1v", version=9)
    assert decode([data])[0].deadline_ms == 5000


def test_a_length_that_is_too_long_to_wait_for() -> None:
    data = file(b"\0\1k\x80\x7f\xff\xff\xff" + bytes(10))
    decoder = rdb.Decoder(size=len(data))
    with pytest.raises(rdb.BadRdb):
        list(decoder.feed(data))
    with pytest.raises(rdb.BadRdb):
        decode([data])


def test_a_large_value_in_small_pieces_takes_no_time() -> None:
    value = b"0123456789abcdef" * 500_000
    data = file(rdb.plain_entry(b"k", value, False))
    tracemalloc.start()
    records = decode(data[at : at + 1000] for at in range(0, len(data), 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert records[0].value == value
    assert peak < 4 * len(data) + (1 << 20)


def test_many_keys_take_no_memory() -> None:
    def pieces() -> Iterable[bytes]:
        yield b"REDIS0011"
        for number in range(50_000):
            yield rdb.plain_entry(b"key:%d" % number, b"value", False)

    decoder = rdb.Decoder()
    count = 0
    tracemalloc.start()
    for block in rdb.sealed(pieces()):
        for _ in decoder.feed(block):
            count += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count + len(list(decoder.finish())) == 50_000
    assert peak < 2 << 20


# What we write


def test_our_own_snapshot() -> None:
    entry = rdb.entry(b"k", rdb.of_string(b"v", STYLE), True, 123, 45, None)
    other = rdb.entry(b"l", rdb.of_list([[b"a"]], [[b"a"]], -2, STYLE), True, None, None, 255)
    start = [rdb.header(11, {b"redis-ver": b"7.2.4"}), rdb.select(3, 2, 1)]
    decoder = rdb.Decoder()
    data = b"".join(rdb.sealed(chain(start, entry, other)))
    assert decode([data], decoder) == [
        (3, b"k", rdb.STRING, b"v", 123, 45, None),
        (3, b"l", rdb.LIST, [b"a"], None, None, 255),
    ]
    assert decoder.aux == {b"redis-ver": b"7.2.4"}
    assert decoder.expected == 2
    assert b"".join(rdb.sealed([data[:9]], checksum=False)) == data[:9] + b"\xff" + bytes(8)


def test_blocks_are_not_small() -> None:
    pieces = [b"REDIS0011", *([rdb.plain_entry(b"key", b"x" * 50, False)] * 5000)]
    blocks = list(rdb.sealed(pieces))
    assert all(len(block) >= 1 << 16 for block in blocks[:-1])
    assert b"".join(blocks)[:-9] == b"".join(pieces)
