"""Whatever bytes they are given, the decoders return a value or raise what they say they raise.

A long version of this is `make fuzz`.
"""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from distcache_replication import rdb
from distcache_replication.directory import Refused
from distcache_replication.handshake import Introduction, handshake
from distcache_replication.handshake import Refused as NotWanted
from distcache_replication.manifest import BadManifest, decode
from distcache_replication.rdb.crc64 import crc64
from distcache_replication.replica import BadTransfer, Transfer
from distcache_replication.segment import Damaged, Reader, commands
from distcache_server.quoting import split
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.disks import MemoryFiles
from tests.support.fuzzing import fuzz_commands
from tests.unit.replication.test_directory import ALL, ID, LAST, a_log, load

DATA = Path(__file__).parents[2] / "data"
SNAPSHOTS = [path.read_bytes() for path in sorted(DATA.glob("*.rdb"))]
SMALL = [data for data in SNAPSHOTS if len(data) < 4000]
TOKENS = [b"\x81" + b"\x7f" * 8, b"\x80\x7f\xff\xff\xff", b"\xff", b"\0", b"\xc3", b"\xfe", b"\xfc"]
"""Bytes that mean something: long lengths, marks, compressed strings."""

fuzz = pytest.mark.fuzz
examples = settings(max_examples=fuzz_commands(300))


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds, with some bytes changed, taken out, put in or doubled."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from([0, 1, 1, 2, 8, 60]))
        piece = draw(st.one_of(st.binary(max_size=3), st.sampled_from(TOKENS)))
        data[place : place + size] = draw(
            st.sampled_from([piece, bytes(data[place : place + size]) * 2])
        )
    return bytes(data)


def bound(size: int) -> int:
    """The memory that a decoder may take for so many bytes of input."""
    return 4 * size + (1 << 20)


@fuzz
@examples
@given(changed(SMALL), st.sampled_from([1, 100, 1 << 16]))
def test_snapshots(data: bytes, step: int) -> None:
    """With the right checksum, so that it protects nothing."""
    data = data[:-8] + crc64(data[:-8]).to_bytes(8, "little")
    decoder = rdb.Decoder(size=len(data))
    tracemalloc.start()
    try:
        with suppress(rdb.BadRdb):
            for at in range(0, len(data), step):
                for record in decoder.feed(data[at : at + step]):
                    assert isinstance(record, tuple)
            list(decoder.finish())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < bound(len(data))


PAYLOADS = [
    data[at:end]
    for data in SMALL
    for at in range(9, min(len(data), 400), 7)
    for end in (at + 40, at + 200)
]


@fuzz
@examples
@given(st.one_of(changed(PAYLOADS), st.binary(max_size=200)), st.integers(0, 25))
def test_payloads(body: bytes, kind: int) -> None:
    body = bytes([kind]) + body + (11).to_bytes(2, "little")
    payload = body + crc64(body).to_bytes(8, "little")
    tracemalloc.start()
    try:
        with suppress(rdb.BadRdb):
            rdb.restore(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < bound(len(payload))


def _increment() -> bytes:
    files = MemoryFiles()
    a_log(files)
    return bytes(files.content[LAST].data)


@fuzz
@examples
@given(changed([_increment(), b"".join(ALL), b"#TS:1\r\n" + b"".join(ALL)]))
def test_files_of_the_log(data: bytes) -> None:
    reader = Reader()
    with suppress(Damaged):
        for at in range(0, len(data), 50):
            reader.feed(data[at : at + 50])
            for batch in reader:
                with suppress(ValueError, TypeError):
                    commands(batch.data)
        reader.finish()


@fuzz
@examples
@given(changed([_increment()]))
def test_a_directory_with_a_damaged_file(data: bytes) -> None:
    """It is refused, or gives a beginning of what was written."""
    files = MemoryFiles()
    a_log(files)
    files.content[LAST].data[:] = data
    found = None
    with suppress(Refused):
        found = load(files)[1]
    if found is not None and b"#dc" in data:
        assert found == ALL[: len(found)]


@fuzz
@examples
@given(changed([b"file a.1.base.rdb seq 1 type b size 5 offset 7\nfile 'a b' seq 2 type i\n"]))
def test_manifests(data: bytes) -> None:
    with suppress(BadManifest):
        decode(data, split)


@fuzz
@examples
@given(
    changed([b"$5\r\nREDISrest", b"$EOF:" + b"e" * 40 + b"\r\nREDIS" + b"e" * 40 + b"rest"]),
    st.integers(1, 60),
)
def test_transfers(data: bytes, step: int) -> None:
    transfer = Transfer()
    found = b""
    with suppress(BadTransfer):
        for at in range(0, len(data), step):
            if transfer.done:
                break
            found += transfer.feed(data[at : at + step])
    assert len(found) <= len(data)


REPLIES = [b"+PONG", b"+OK", b"+FULLRESYNC %b 5" % ID.encode(), b"+CONTINUE", b"-ERR no"]


@fuzz
@examples
@given(st.lists(changed(REPLIES), min_size=6, max_size=8), st.booleans())
def test_handshakes(replies: list[bytes], known: bool) -> None:
    talk = handshake(Introduction(1, history=ID.encode() if known else b"?", offset=3))
    next(talk)
    with suppress(NotWanted, StopIteration):
        for reply in replies:
            talk.send(reply)
