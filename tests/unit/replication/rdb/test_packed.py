"""Listpacks, ziplists, zipmaps and intsets: round trips, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest
from distcache_replication.rdb import intset, listpack, ziplist
from distcache_replication.rdb.errors import BadRdb
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import INTEGERS, LARGE_INTEGERS, TEXTS
from tests.support.ziplists import make_ziplist, make_zipmap

ENTRIES = [
    *INTEGERS,
    *LARGE_INTEGERS,
    *TEXTS,
    *(b"e" * size for size in (61, 62, 63, 64, 123, 124, 125, 126, 127, 128, 253, 254, 255)),
    *(b"f" * size for size in (4095, 4096, 16375, 16378, 16379, 16383, 16384, 2_097_200)),
]

words = st.lists(
    st.binary(max_size=140) | st.integers(-(2**65), 2**65).map(lambda number: b"%d" % number),
    max_size=20,
)


def refuses(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(BadRdb):
        decode(data)


# Listpacks


def test_a_listpack_in_bytes() -> None:
    data = listpack.encode([b"a", b"1", b"-1", b"500"])
    assert data.hex(" ") == "12 00 00 00 04 00 81 61 02 01 01 df ff 02 c1 f4 02 ff"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry[:12]!r}-{len(entry)}")
def test_a_listpack_of_one_entry(entry: bytes) -> None:
    assert listpack.decode(listpack.encode([entry])) == [entry]
    assert listpack.decode(listpack.encode([entry, b"next"])) == [entry, b"next"]


@given(words)
def test_listpacks_come_back(entries: list[bytes]) -> None:
    assert listpack.decode(listpack.encode(entries)) == entries


def test_a_listpack_with_more_entries_than_its_header_can_say() -> None:
    entries = [b"1"] * 70_000
    assert listpack.decode(listpack.encode(entries)) == entries


def test_a_listpack_that_is_cut_or_longer() -> None:
    data = listpack.encode(ENTRIES[:20])
    for cut in range(len(data)):
        refuses(listpack.decode, data[:cut])
        # Also where the length is right and there is an end.
        if cut > 7:
            refuses(listpack.decode, cut.to_bytes(4, "little") + data[4 : cut - 1] + b"\xff")
    refuses(listpack.decode, data + b"\xff")


@given(st.binary(max_size=40), st.integers(0, 10))
def test_any_bytes_are_a_listpack_or_an_error(body: bytes, count: int) -> None:
    header = (len(body) + 7).to_bytes(4, "little") + count.to_bytes(2, "little")
    try:
        entries = listpack.decode(header + body + b"\xff")
    except BadRdb:
        return
    assert len(entries) == count


# Ziplists


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry[:12]!r}-{len(entry)}")
def test_a_ziplist_of_one_entry(entry: bytes) -> None:
    assert ziplist.decode(make_ziplist([entry])) == [entry]
    assert ziplist.decode(make_ziplist([entry, b"next", b"12"])) == [entry, b"next", b"12"]


@given(words)
def test_ziplists_come_back(entries: list[bytes]) -> None:
    assert ziplist.decode(make_ziplist(entries)) == entries


def test_a_ziplist_that_is_cut_or_longer() -> None:
    data = make_ziplist(ENTRIES[:20])
    for cut in range(len(data)):
        refuses(ziplist.decode, data[:cut])
        if cut > 11:
            refuses(ziplist.decode, cut.to_bytes(4, "little") + data[4 : cut - 1] + b"\xff")
    refuses(ziplist.decode, data + b"\xff")


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 10))
def test_any_bytes_are_a_ziplist_or_an_error(body: bytes, last: int, count: int) -> None:
    numbers = (len(body) + 11).to_bytes(4, "little") + last.to_bytes(4, "little")
    try:
        entries = ziplist.decode(numbers + count.to_bytes(2, "little") + body + b"\xff")
    except BadRdb:
        return
    assert len(entries) == count


# Zipmaps


def test_a_zipmap_with_unused_bytes() -> None:
    data = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02worldxx\xff"
    assert ziplist.decode_zipmap(data) == [b"foo", b"bar", b"hello", b"world"]


@given(st.lists(st.binary(max_size=300), max_size=8).filter(lambda them: len(them) % 2 == 0))
def test_zipmaps_come_back(entries: list[bytes]) -> None:
    assert ziplist.decode_zipmap(make_zipmap(entries)) == entries


def test_a_zipmap_that_is_cut() -> None:
    data = make_zipmap([b"field", b"value", b"f" * 300, b"v" * 300])
    ends = list(accumulate([1, 6 + 7, 305 + 306]))
    for cut in range(len(data)):
        refuses(ziplist.decode_zipmap, data[:cut])
        if cut:
            refuses(ziplist.decode_zipmap, data[: cut - 1] + b"\xff")
    assert ends[-1] == len(data) - 1


# Intsets


@pytest.mark.parametrize(
    ("numbers", "width"),
    [
        ([], 2),
        ([-(2**15), 2**15 - 1], 2),
        ([2**15], 4),
        ([-(2**15) - 1], 4),
        ([-(2**31), 2**31 - 1], 4),
        ([-(2**31) - 1, 5], 8),
        ([-(2**63), 2**63 - 1], 8),
    ],
)
def test_an_intset_is_as_wide_as_it_must_be(numbers: list[int], width: int) -> None:
    data = intset.encode(numbers)
    assert len(data) == 8 + width * len(numbers)
    assert intset.decode(data) == numbers
    for cut in range(len(data)):
        refuses(intset.decode, data[:cut])
    refuses(intset.decode, data + b"\0")


@given(st.sets(st.integers(-(2**63), 2**63 - 1)).map(sorted))
def test_intsets_come_back(numbers: list[int]) -> None:
    assert intset.decode(intset.encode(numbers)) == numbers


@pytest.mark.parametrize("numbers", [[1, 1], [2, 1], [1, 2, 2]])
def test_an_intset_has_an_order(numbers: list[int]) -> None:
    refuses(intset.decode, intset.encode(numbers))
