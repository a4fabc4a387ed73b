"""Values that are checked before they are built: what they take, and what is refused."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeAlias

import lzf
import pytest
from distcache_replication import rdb
from distcache_replication.rdb import (
    checking,
    intset,
    listpack,
    stream,
    stream_check,
    values,
    window,
    ziplist,
)
from distcache_replication.rdb.crc64 import crc64
from distcache_replication.rdb.errors import BadRdb, Large, Short
from distcache_replication.rdb.primitives import ROOM
from distcache_replication.rdb.stream import Consumer, Entry, Group, Pending, Stream, write_stream
from distcache_replication.rdb.window import Form, Window
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.samples import SAMPLES
from tests.support.ziplists import make_ziplist, make_zipmap
from tests.unit.replication.rdb.test_values import forms

MANY = 20_000
SMALL = [b"%d" % number for number in range(MANY)]
SHORT = [number.to_bytes(3, "big") for number in range(MANY)]
PAIRS = list(chain.from_iterable(zip(SMALL, SMALL, strict=True)))
DATED = list(chain.from_iterable((one, b"1", b"5") for one in SMALL))
ONE, NAN = struct.pack("<d", 1.0), struct.pack("<d", float("nan"))


def text(value: bytes) -> bytes:
    return rdb.length(len(value)) + value


def compressed(value: bytes) -> bytes:
    packed: bytes | None = lzf.compress(value)
    assert packed is not None
    return lzf_of(packed, len(value))


def lzf_of(packed: bytes, size: int) -> bytes:
    return b"\xc3" + rdb.length(len(packed)) + rdb.length(size) + packed


def texts(each: int, words: list[bytes]) -> bytes:
    return rdb.length(len(words) // each) + b"".join(map(text, words))


def fast_ziplist(entries: list[bytes]) -> bytes:
    """A ziplist of entries of at most 63 bytes, none an integer."""
    body, before = [], 0
    for entry in entries:
        body.append(bytes([before, len(entry)]) + entry)
        before = len(body[-1])
    whole = b"".join(body)
    head = struct.pack("<IIH", 11 + len(whole), 10 + len(whole) - before, min(len(body), 0xFFFF))
    return head + whole + b"\xff"


def zipmap(entries: list[bytes]) -> bytes:
    """A zipmap of short fields and values."""
    parts = [bytes([len(one), 0][: 1 + place % 2]) + one for place, one in enumerate(entries)]
    return b"\xfe" + b"".join(parts) + b"\xff"


def ending(packed: bytes, tail: bytes) -> bytes:
    """A container with other bytes before its end."""
    return packed[: -len(tail) - 1] + tail + b"\xff"


def in_stream(node: bytes, entries: int = MANY) -> bytes:
    """A stream of one node, without groups."""
    return b"\1\x10" + bytes(16) + node + rdb.length(entries) + rdb.length(2**63) + bytes(7)


def node(entries: int, fields: int = 0) -> list[bytes]:
    names = SMALL[:fields]
    words = [b"%d" % entries, b"0", b"%d" % fields, *names, b"0"]
    for number in range(entries):
        words += [b"2", b"0", b"%d" % number, *names, b"%d" % (3 + fields)]
    return words


def groups(*found: Group) -> bytes:
    return b"".join(write_stream(Stream([], (0, 0), (0, 0), (0, 0), 0, list(found)), 3))


IDS = [(1, number) for number in range(5_000)]
PENDING = [Pending(it, 0, 1) for it in IDS]
CONSUMERS = [Consumer(b"%d" % number, 0, 0, []) for number in range(10_000)]
GROUPS = [Group(b"%d" % number, (0, 0), 0, [], []) for number in range(4_000)]
WORDS = listpack.encode([b"a"] * 2000)
TWICE = [*SHORT, SHORT[7]]
PAIR_TWICE = [*PAIRS, SMALL[7], b"x"]
LETTERS = [b"v" + number.to_bytes(3, "big") for number in range(MANY)]
LETTER_PAIRS = list(chain.from_iterable((one, b"") for one in LETTERS))

HOSTILE: dict[str, tuple[int, Callable[[], bytes]]] = {
    "string with more": (0, lambda: compressed(bytes(4_000_000)) + b"x"),
    "string, damaged": (0, lambda: compressed(bytes(4_000_000))[:-3] + b"\xff\xff\x05"),
    "string, refers to before it": (0, lambda: lzf_of(b"\xe0\xff\x05" * 20_000, 264 * 20_000)),
    "list, incomplete": (1, lambda: rdb.length(200_001) + b"\1a\2bc" * 100_000),
    "list with more": (1, lambda: rdb.length(200_000) + b"\1a\2bc" * 100_000 + b"x"),
    "list, bad form": (1, lambda: rdb.length(200_001) + b"\1a\2bc" * 100_000 + b"\xc4"),
    "list, bombs": (1, lambda: rdb.length(1001) + compressed(bytes(20_000)) * 1000 + b"\xc4"),
    "list, large bombs": (1, lambda: b"\2" + compressed(bytes(8_000_000)) + b"\xc4"),
    "set": (2, lambda: texts(1, TWICE)),
    "set, tiny": (2, lambda: rdb.length(300_000) + b"\1a\0" * 150_000),
    "set with more": (2, lambda: texts(1, SHORT) + b"x"),
    "set, incomplete": (2, lambda: rdb.length(MANY + 1) + texts(1, SHORT)[5:]),
    "set, long": (2, lambda: b"\3" + 2 * compressed(b"a" * 5_000_000) + text(b"b")),
    "set, two forms": (2, lambda: b"\2" + compressed(b"a" * 3_000_000) + text(b"a" * 3_000_000)),
    "old zset": (
        3,
        lambda: rdb.length(MANY + 1) + b"".join(text(it) + b"\x01\x31" for it in TWICE),
    ),
    "old zset, score": (
        3,
        lambda: rdb.length(MANY) + b"".join(text(it) + b"\x01\x31" for it in SHORT[1:]) + b"\0\xfd",
    ),
    "hash": (4, lambda: texts(2, PAIR_TWICE)),
    "hash with more": (4, lambda: texts(2, PAIRS) + b"x"),
    "hash, bombs": (4, lambda: rdb.length(501) + compressed(bytes(9_000)) * 1000 + b"\xc4"),
    "zset": (5, lambda: rdb.length(MANY + 1) + b"".join(text(it) + ONE for it in TWICE)),
    "zset, score": (
        5,
        lambda: rdb.length(MANY) + b"".join(text(it) + ONE for it in SHORT[1:]) + b"\0" + NAN,
    ),
    "zset with more": (
        5,
        lambda: rdb.length(MANY) + b"".join(text(it) + ONE for it in SHORT) + b"x",
    ),
    "zset, bombs": (5, lambda: b"\2" + 2 * (compressed(b"a" * 5_000_000) + ONE)),
    "zipmap": (9, lambda: text(zipmap([*LETTER_PAIRS, LETTERS[7], b""]))),
    "zipmap, no end": (9, lambda: text(ending(zipmap(LETTER_PAIRS), b"\x09"))),
    "zipmap, bomb": (9, lambda: compressed(zipmap([b"a", b""] * 60_000))),
    "ziplist, no end": (10, lambda: text(ending(fast_ziplist([b"a"] * 60_000), b"\x05a"))),
    "ziplist, bomb": (10, lambda: compressed(ending(fast_ziplist([b"a"] * 100_000), b"\x05a"))),
    "intset": (11, lambda: text(intset.encode(range(100_000))[:-8] + bytes(8))),
    "intset, bomb": (11, lambda: compressed(struct.pack("<II", 4, 500_000) + bytes(2_000_000))),
    "intset with more": (11, lambda: text(intset.encode(range(100_000))) + b"x"),
    "zset ziplist": (12, lambda: text(fast_ziplist([*LETTER_PAIRS, b"x"]))),
    "hash ziplist": (13, lambda: text(fast_ziplist([*LETTER_PAIRS, LETTERS[7], b""]))),
    "quicklist": (14, lambda: rdb.length(101) + text(fast_ziplist([b"a"] * 1000)) * 100 + b"\0"),
    "quicklist, bombs": (
        14,
        lambda: rdb.length(101) + compressed(fast_ziplist([b"a"] * 1000)) * 100 + b"\0",
    ),
    "hash listpack": (16, lambda: text(listpack.encode(PAIR_TWICE))),
    "hash listpack, odd": (16, lambda: text(listpack.encode([*PAIRS, b"x"]))),
    "hash listpack with more": (16, lambda: text(listpack.encode(PAIRS)) + b"x"),
    "hash listpack, no end": (16, lambda: text(ending(listpack.encode(PAIRS), b"\x7f"))),
    "hash listpack, count": (
        16,
        lambda: text(
            listpack.encode(PAIRS[:30_000])[:4] + b"\7\0" + listpack.encode(PAIRS[:30_000])[6:]
        ),
    ),
    "hash listpack, bomb": (
        16,
        lambda: compressed(ending(listpack.encode([b"0"] * 200_000), b"\x7f")),
    ),
    "hash listpack, bomb of strings": (
        16,
        lambda: compressed(listpack.encode([b"a" * 3_000_000] * 4)),
    ),
    "hash listpack, bomb with more": (
        16,
        lambda: compressed(listpack.encode([b"k", b"v" * 5_000_000])) + b"x",
    ),
    "zset listpack": (17, lambda: text(listpack.encode([*PAIR_TWICE[:-1], b"1"]))),
    "zset listpack, score": (17, lambda: text(listpack.encode([*PAIRS, b"x", b"x"]))),
    "zset listpack, nan": (17, lambda: text(listpack.encode([*PAIRS, b"x", b"nan"]))),
    "list of listpacks": (18, lambda: rdb.length(101) + (b"\2" + text(WORDS)) * 100 + b"\2\3bad"),
    "list of listpacks, kind": (
        18,
        lambda: rdb.length(101) + (b"\2" + text(WORDS)) * 100 + b"\3\3bad",
    ),
    "list of listpacks, no kind": (
        18,
        lambda: rdb.length(101) + (b"\2" + text(WORDS)) * 100 + b"\0\3bad",
    ),
    "list of listpacks, bombs": (
        18,
        lambda: rdb.length(101) + (b"\2" + compressed(WORDS)) * 100 + b"\2\0",
    ),
    "list of bombs": (
        18,
        lambda: rdb.length(101) + (b"\1" + compressed(bytes(50_000))) * 100 + b"\2\0",
    ),
    "set listpack": (20, lambda: text(listpack.encode([*SMALL, SMALL[7]]))),
    "set listpack, bomb": (
        20,
        lambda: compressed(listpack.encode([b"%020d" % (n % 10_000) for n in range(10_001)])),
    ),
    "dated hash": (
        24,
        lambda: (
            bytes(8) + rdb.length(MANY + 1) + b"".join(b"\1" + text(it) + b"\0" for it in TWICE)
        ),
    ),
    "dated hash, late": (
        22,
        lambda: (
            rdb.length(MANY)
            + b"".join(b"\1" + text(it) + b"\0" for it in SHORT[1:])
            + b"\x81"
            + b"\1" * 8
            + b"\0\0"
        ),
    ),
    "dated listpack": (25, lambda: bytes(8) + text(listpack.encode([*DATED, b"7", b"1", b"5"]))),
    "dated listpack, word": (23, lambda: text(listpack.encode([*DATED, b"x", b"1", b"x"]))),
    "dated listpack, odd": (23, lambda: text(listpack.encode([*DATED, b"x", b"1"]))),
    "stream node": (21, lambda: in_stream(text(listpack.encode(node(MANY)[:-1])))),
    "stream node, order": (
        21,
        lambda: in_stream(text(listpack.encode([*node(MANY)[:-2], b"0", b"3"]))),
    ),
    "stream node, fields": (
        21,
        lambda: in_stream(text(listpack.encode([b"1", b"0", b"20000", *SMALL, b"1"]))),
    ),
    "stream node, words": (
        21,
        lambda: in_stream(text(listpack.encode([*node(5, 9_000)[:-1], b"1"])), 5),
    ),
    "stream node, bomb": (
        21,
        lambda: in_stream(
            compressed(
                listpack.encode([b"200000", b"0", b"0", b"0"] + [b"2", b"0", b"0", b"3"] * 200_000)
            )
        ),
    ),
    "stream, count": (21, lambda: in_stream(text(listpack.encode(node(MANY))), MANY + 1)),
    "stream nodes": (
        21,
        lambda: (
            rdb.length(3_000)
            + b"".join(
                b"\x10" + bytes(8) + n.to_bytes(8, "big") + text(listpack.encode(node(1)))
                for n in range(3_000)
            )
            + bytes(9)
        ),
    ),
    "stream, pending twice": (
        21,
        lambda: groups(Group(b"g", (0, 0), 0, [*PENDING, PENDING[7]], [Consumer(b"c", 0, 0, IDS)])),
    ),
    "stream, not owned": (
        21,
        lambda: groups(Group(b"g", (0, 0), 0, PENDING, [Consumer(b"c", 0, 0, IDS[1:])])),
    ),
    "stream, owned twice": (
        21,
        lambda: groups(Group(b"g", (0, 0), 0, PENDING[:9], [Consumer(b"c", 0, 0, IDS[:9] * 2000)])),
    ),
    "stream, owned by two": (
        21,
        lambda: groups(
            Group(
                b"g", (0, 0), 0, PENDING, [Consumer(b"c", 0, 0, IDS), Consumer(b"d", 0, 0, IDS[:1])]
            )
        ),
    ),
    "stream, other ids": (
        21,
        lambda: groups(Group(b"g", (0, 0), 0, PENDING, [Consumer(b"c", 0, 0, [*IDS[1:], (9, 9)])])),
    ),
    "stream, consumer twice": (
        21,
        lambda: groups(Group(b"g", (0, 0), 0, [], [*CONSUMERS, CONSUMERS[7]])),
    ),
    "stream, group twice": (21, lambda: groups(*GROUPS, GROUPS[7])),
    "stream with more": (21, lambda: groups(*GROUPS) + b"x"),
}


def peak_of(refused: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(rdb.BadRdb):
            refused()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_refused_takes_little_memory(name: str) -> None:
    kind, made = HOSTILE[name]
    body = made()
    data = bytes([kind]) + body + b"\x0b\0"
    payload = data + crc64(data).to_bytes(8, "little")
    assert peak_of(lambda: rdb.restore(payload)) < 4 * len(payload) + (1 << 20)
    snapshot = b"".join(rdb.sealed([b"REDIS0011", bytes([kind]), b"\1k", body]))

    def load() -> None:
        decoder = rdb.Decoder()
        for at in range(0, len(snapshot), 1 << 18):
            list(decoder.feed(snapshot[at : at + (1 << 18)]))
        list(decoder.finish())

    if not name.endswith("with more"):
        assert peak_of(load) < 4 * len(snapshot) + (1 << 20)


def test_a_key_that_is_long_takes_nothing_where_its_value_is_refused() -> None:
    key = compressed(bytes(8_000_000))
    snapshot = b"".join(rdb.sealed([b"REDIS0011", b"\2", key, b"\2\1a\1a"]))
    decoder = rdb.Decoder()
    assert peak_of(lambda: list(decoder.feed(snapshot))) < 4 * len(snapshot) + (1 << 20)
    right = b"".join(rdb.sealed([b"REDIS0011", b"\2", key, b"\2\1a\1b"]))
    [record] = rdb.Decoder().feed(right)
    assert record[1:4] == (bytes(8_000_000), rdb.SET, [b"a", b"b"])


# What is checked is refused where it could not be read, and nowhere else


def whole_stream(version: int) -> bytes:
    entries = [Entry((1, number), [b"a", b"%d" % number]) for number in range(3)]
    pending = [Pending((1, 1), 5, 1), Pending((1, 2), 5, 1)]
    consumers = [Consumer(b"one", 5, 5, [(1, 1)]), Consumer(b"two", 5, 5, [(1, 2)])]
    whole = Group(b"g", (1, 2), 3, pending, consumers)
    value = Stream(entries, (1, 2), (1, 0), (0, 0), 3, [whole, Group(b"h", (0, 0), 0, [], [])])
    return b"".join(write_stream(value, version))


MIXED = [b"a", b"1", b"-5000", b"2.5", b"300", b"x" * 70, b"y" * 30, b"7"]
SEEDS: list[tuple[int, bytes]] = [
    *(
        (form.type, b"".join(form.body))
        for sample in SAMPLES
        if len(sample.value) < 50
        for compress in (False, True)
        for form in forms(sample.kind, sample.value, rdb.Style(11, compress))
    ),
    (3, b"\3\1a\0031.5\1b\xfe\1c\xff"),
    *((kind, wrap(make_ziplist(MIXED))) for kind in (10, 13) for wrap in (text, compressed)),
    (9, text(make_zipmap(MIXED))),
    (12, text(make_ziplist([b"a", b"7", b"b", b"1.5"]))),
    (14, b"\2" + text(make_ziplist(MIXED)) + compressed(make_ziplist([b"a"] * 30))),
    (16, compressed(listpack.encode([b"a" * 99, b"b" * 99]))),
    (18, b"\3\1\1a\2" + text(listpack.encode(MIXED)) + b"\1" + compressed(b"a" * 99)),
    (11, text(intset.encode([-5, 3, 70_000]))),
    *((kind, whole_stream(version)) for version, kind in enumerate((15, 19, 21), 1)),
    (22, b"\2\5\1a\0011\0\1b\0012"),
    (24, bytes(8) + b"\2\5\1a\0011\0\1b\0012"),
    (23, text(listpack.encode([b"a", b"1", b"5000", b"b", b"2", b"0"]))),
    (25, bytes(8) + text(listpack.encode([b"a", b"1", b"5000", b"b", b"2", b"0"]))),
]


PLENTY = 1e12
"""Room for any value, in which a reader still looks for what comes twice."""


def end_of(read: Callable[[], int]) -> int | None:
    try:
        return read()
    except (BadRdb, Large, Short, IndexError, struct.error):
        return None


@pytest.mark.parametrize(("kind", "body"), SEEDS)
def test_what_is_right_is_not_refused(kind: int, body: bytes) -> None:
    assert values.CHECKS[kind](b"x" + body + b"rest", 1) == 1 + len(body)


@given(st.data())
def test_checks_and_readers_agree(data: st.DataObject) -> None:
    kind, seed = data.draw(st.sampled_from(SEEDS))
    body = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=1))
        assume(body)
    changed = bytes(body)
    _, read = values.READERS[kind]
    expected = end_of(lambda: read(changed, 0, PLENTY)[1])
    assert end_of(lambda: values.CHECKS[kind](changed, 0)) == expected


Decode: TypeAlias = Callable[[bytes], list[bytes]]
Encode: TypeAlias = Callable[[list[bytes]], bytes]
ENTRIES = st.lists(
    st.binary(max_size=100)
    | st.binary(min_size=1, max_size=1).map(lambda one: one * 700)
    | st.integers(-(2**65), 2**65).map(lambda number: b"%d" % number),
    max_size=20,
)
CONTAINERS: dict[str, tuple[Callable[[], Form], Decode, Encode]] = {
    "listpack": (listpack.Walk, listpack.decode, listpack.encode),
    "ziplist": (ziplist.Walk, ziplist.decode, make_ziplist),
    "zipmap": (ziplist.MapWalk, ziplist.decode_zipmap, make_zipmap),
}


@pytest.mark.parametrize("name", CONTAINERS)
@given(st.data())
def test_containers_in_pieces(name: str, data: st.DataObject) -> None:
    """Whatever pieces they come in: as if they came as a whole."""
    form, decode, encode = CONTAINERS[name]
    entries = data.draw(ENTRIES)
    packed = bytearray(encode(entries[len(entries) % 2 :]))
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(packed)
    step = data.draw(st.integers(1, 300))
    pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "LONG", 64)
        patch.setattr(window, "LEAST", 200)
        patch.setattr(window, "STEP", 50)
        try:
            expected = list(map(window.short, decode(whole)))
        except BadRdb:
            with pytest.raises(BadRdb):
                list(window.walk(form(), Window(len(whole), pieces)))
            return
        walked = window.walk(form(), Window(len(whole), pieces))
        assert list(chain.from_iterable(walked)) == expected


@given(st.lists(st.integers(-(2**31), 2**31), unique=True).map(sorted), st.integers(1, 50))
def test_intsets_in_pieces(numbers: list[int], step: int) -> None:
    whole = intset.encode(numbers)
    size = max(len(whole) - intset.HEADER, 0) // max(len(numbers), 1)
    places = range(intset.HEADER, len(whole), size or 1)
    backwards = b"".join(whole[at : at + size] for at in reversed(places))
    wrong = whole[: intset.HEADER] + backwards

    def in_pieces(data: bytes) -> Window:
        return Window(len(data), [data[at : at + step] for at in range(0, len(data), step)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "LEAST", 20)
        intset.check(in_pieces(whole))
        if wrong != whole:
            with pytest.raises(BadRdb):
                intset.decode(wrong)
            with pytest.raises(BadRdb):
                intset.check(in_pieces(wrong))


NODE = [b"3", b"1", b"2", b"a", b"b", b"0"]
NODE += [b"2", b"0", b"1", b"x", b"y", b"5", b"3", b"0", b"2", b"x", b"y", b"5"]
NODE += [b"0", b"0", b"3", b"1", b"c", b"z", b"6", b"2", b"1", b"-1", b"x", b"y", b"5"]


@given(st.data())
def test_nodes_of_streams_in_pieces(data: st.DataObject) -> None:
    words = list(NODE)
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(words) - 1))
        word = data.draw(st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"-1", b"x"]))
        words[place : place + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from([[word], []])
        )
    step = data.draw(st.integers(1, 9))
    pieces = iter([words[at : at + step] for at in range(0, len(words), step)])
    try:
        expected = [it.id for it in stream.node_entries((7, 7), listpack.encode(words))]
    except BadRdb:
        with pytest.raises(BadRdb):
            list(stream_check._node_ids((7, 7), pieces))
        return
    assert list(stream_check._node_ids((7, 7), pieces)) == expected


@given(st.lists(st.binary(max_size=2), min_size=1, max_size=200), st.integers(40, 1000))
def test_members_that_come_twice(members: list[bytes], room: int) -> None:
    """However few there is room for at a time."""

    def pieces() -> Iterator[list[bytes]]:
        return (members[at : at + 7] for at in range(0, len(members), 7))

    known = checking.Different(pieces, room)
    try:
        for piece in pieces():
            known.add(piece)
        known.turns()
        different = True
    except BadRdb:
        different = False
    assert different == (len(set(members)) == len(members))


def test_members_that_only_have_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "hash", len, raising=False)
    check = checking.different(checking.strings())
    data = texts(1, [b"aa", b"ab", b"b"])
    assert check(data, 0) == len(data)
    with pytest.raises(BadRdb, match="twice"):
        check(texts(1, [b"aa", b"ab", b"b", b"ab"]), 0)


def test_what_is_large_and_right_is_read() -> None:
    for kind, body in (
        (2, texts(1, SHORT)),
        (4, texts(2, PAIRS)),
        (5, rdb.length(MANY) + b"".join(text(it) + ONE for it in SHORT)),
        (11, text(intset.encode(range(MANY)))),
        (16, compressed(listpack.encode(PAIRS))),
        (18, rdb.length(101) + (b"\2" + compressed(WORDS)) * 101),
        (21, in_stream(text(listpack.encode(node(MANY))))),
        (25, bytes(8) + text(listpack.encode(DATED))),
    ):
        what, read = values.READERS[kind]
        with pytest.raises(Large):
            read(body, 0, ROOM)
        assert values.read_value(body, 0, kind) == (what, *read(body, 0, float("inf")))
