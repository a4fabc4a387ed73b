"""Single values: every form that can be written or was ever written, and hostile ones."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
from distcache_replication import rdb
from distcache_replication.rdb import listpack, primitives
from distcache_replication.rdb.crc64 import crc64
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.samples import SAMPLES, Sample, same
from tests.support.ziplists import make_ziplist, make_zipmap

PLAIN = rdb.Style(11, compress=False)
STYLES = [rdb.Style(version, compress) for version in (10, 11) for compress in (False, True)]


def forms(kind: int, value: Any, style: rdb.Style) -> Iterable[rdb.Form]:
    """Every form that a value can be written in."""
    if kind == rdb.STRING:
        yield rdb.of_string(value, style)
    elif kind == rdb.LIST:
        for limit in (-5, -2, 0, 1, 3):
            yield rdb.of_list([value], [value], limit, style)
    elif kind == rdb.SET:
        for packed in (False, True):
            yield rdb.of_set(value, len(value), packed, style)
    elif kind == rdb.ZSET:
        for packed in (False, True):
            yield rdb.of_zset(value, len(value), packed, style)
    else:
        for packed in (False, True):
            yield rdb.of_hash(value.items(), len(value), packed, style)


def sealed(body: bytes, version: int = 11) -> bytes:
    """A payload with the right checksum, whatever it holds."""
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def text(value: bytes) -> bytes:
    return rdb.string(value, False)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key.decode())
def test_every_form_comes_back(sample: Sample) -> None:
    for style in STYLES:
        for form in forms(sample.kind, sample.value, style):
            kind, value = rdb.restore(rdb.dump(form, style.version))
            assert kind == sample.kind
            assert same(kind, value, sample.value)


def test_intsets() -> None:
    form = rdb.of_intset([-5, 0, 70000], PLAIN)
    assert rdb.restore(rdb.dump(form, 11)) == (rdb.SET, [b"-5", b"0", b"70000"])


OLD: list[tuple[int, bytes, int, Any]] = [
    (1, b"\2" + text(b"a") + text(b"12"), rdb.LIST, [b"a", b"12"]),
    (
        3,
        b"\3" + text(b"a") + b"\3" + b"1.5" + text(b"b") + b"\xfe" + text(b"c") + b"\xff",
        rdb.ZSET,
        [(b"a", 1.5), (b"b", float("inf")), (b"c", float("-inf"))],
    ),
    (9, text(make_zipmap([b"a", b"1"])), rdb.HASH, {b"a": b"1"}),
    (10, text(make_ziplist([b"a", b"7"])), rdb.LIST, [b"a", b"7"]),
    (12, text(make_ziplist([b"a", b"7"])), rdb.ZSET, [(b"a", 7.0)]),
    (13, text(make_ziplist([b"a", b"7"])), rdb.HASH, {b"a": b"7"}),
    (
        14,
        b"\2" + text(make_ziplist([b"a"])) + text(make_ziplist([b"b", b"c"])),
        rdb.LIST,
        [b"a", b"b", b"c"],
    ),
    (
        22,
        b"\2" + rdb.length(5000) + text(b"a") + text(b"1") + b"\0" + text(b"b") + text(b"2"),
        rdb.HASH,
        rdb.Expiring({b"a": b"1", b"b": b"2"}, {b"a": 5000}),
    ),
    (
        23,
        text(listpack.encode([b"a", b"1", b"5000", b"b", b"2", b"0"])),
        rdb.HASH,
        rdb.Expiring({b"a": b"1", b"b": b"2"}, {b"a": 5000}),
    ),
]


@pytest.mark.parametrize(("kind", "body", "what", "value"), OLD)
def test_what_is_only_read(kind: int, body: bytes, what: int, value: Any) -> None:
    assert rdb.restore(sealed(bytes([kind]) + body)) == (what, value)


@pytest.mark.parametrize("packed", [False, True])
def test_hashes_with_deadlines(packed: bool) -> None:
    fields = {b"stays": b"1", b"late": b"2", b"early": b"3"}
    deadlines = {b"late": 9_000, b"early": 7_000}
    form = rdb.of_expiring(fields.items(), 3, deadlines.get, 7_000, packed, PLAIN)
    form = form._replace(body=list(form.body))
    kind, value = rdb.restore(rdb.dump(form, 12))
    assert (kind, value) == (rdb.HASH, rdb.Expiring(fields, deadlines))
    assert form.type == (25 if packed else 24)
    body = b"".join(form.body)
    assert body[:8] == (7_000).to_bytes(8, "little")
    if packed:
        entries = listpack.decode(primitives.read_string(body, 8)[0])
        assert entries[::3] == [b"early", b"late", b"stays"]


def test_payloads_that_are_damaged() -> None:
    payload = rdb.dump(rdb.of_string(b"some value", PLAIN), 11)
    for cut in range(len(payload)):
        with pytest.raises(rdb.BadChecksum):
            rdb.restore(payload[:cut])
    for place in range(len(payload)):
        with pytest.raises(rdb.BadChecksum):
            rdb.restore(payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :])
    with pytest.raises(rdb.BadChecksum, match="later version"):
        rdb.restore(sealed(b"\0\1a", 99))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key.decode())
def test_values_that_are_cut_or_longer(sample: Sample) -> None:
    for form in forms(sample.kind, sample.value, PLAIN):
        body = bytes([form.type]) + b"".join(form.body)
        with pytest.raises(rdb.BadRdb, match="more in the payload"):
            rdb.restore(sealed(body + b"\0"))
        step = max(len(body) // 200, 1)
        for cut in range(1, len(body), step):
            with pytest.raises(rdb.BadRdb):
                rdb.restore(sealed(body[:cut]))


HUGE = b"\x81" + b"\x7f" * 8
nan = struct.pack("<d", float("nan"))
one = struct.pack("<d", 1.0)
HOSTILE: dict[str, bytes] = {
    "type": b"\x63\1a",
    "module": b"\x07\x81" + bytes(8),
    "old module": b"\x06\x81" + bytes(8),
    "length": b"\0" + HUGE + b"a",
    "form": b"\0\xc4aaaa",
    "no length": b"\0\x82aaaa",
    "list length": b"\1" + HUGE + b"\0" * 100,
    "set length": b"\2" + HUGE + b"\0" * 100,
    "hash length": b"\4" + HUGE + b"\0" * 100,
    "zset length": b"\5" + HUGE + b"\0" * 100,
    "dated hash length": b"\x18" + bytes(8) + HUGE + b"\0" * 100,
    "quicklist length": b"\x12" + HUGE + b"\1\1a" * 30,
    "stream length": b"\x15" + HUGE + b"\0" * 100,
    "empty list": b"\1\0",
    "empty set": b"\2\0",
    "empty hash": b"\4\0",
    "empty zset": b"\5\0",
    "empty quicklist": b"\x12\0",
    "empty intset": b"\x0b" + text(b"\2\0\0\0\0\0\0\0"),
    "empty hash listpack": b"\x10" + text(listpack.encode([])),
    "empty dated hash": b"\x18" + bytes(8) + b"\0",
    "empty dated listpack": b"\x19" + bytes(8) + text(listpack.encode([])),
    "member twice": b"\2\2\1a\1a",
    "member twice, packed": b"\x14" + text(listpack.encode([b"a", b"a"])),
    "field twice": b"\4\2\1a\1b\1a\1c",
    "field twice, packed": b"\x10" + text(listpack.encode([b"a", b"b", b"a", b"c"])),
    "field twice, ziplist": b"\x0d" + text(make_ziplist([b"a", b"b", b"a", b"c"])),
    "field twice, zipmap": b"\x09" + text(make_zipmap([b"a", b"b", b"a", b"c"])),
    "field twice, dated": b"\x18" + bytes(8) + b"\2\0\1a\1b\0\1a\1c",
    "field twice, dated listpack": b"\x19"
    + bytes(8)
    + text(listpack.encode([b"a", b"b", b"0", b"a", b"c", b"0"])),
    "scored twice": b"\5\2\1a" + one + b"\1a" + one,
    "scored twice, packed": b"\x11" + text(listpack.encode([b"a", b"1", b"a", b"2"])),
    "no number": b"\5\1\1a" + nan,
    "no number, old": b"\3\1\1a\xfd",
    "no number, text": b"\3\1\1a\3one",
    "no number, underscore": b"\3\1\1a\0031_0",
    "no number, packed": b"\x11" + text(listpack.encode([b"a", b"nan"])),
    "no score": b"\x11" + text(listpack.encode([b"a"])),
    "no value": b"\x10" + text(listpack.encode([b"a"])),
    "no deadline": b"\x19" + bytes(8) + text(listpack.encode([b"a", b"b"])),
    "late deadline": b"\x19" + bytes(8) + text(listpack.encode([b"a", b"b", b"%d" % 2**48])),
    "wordy deadline": b"\x19" + bytes(8) + text(listpack.encode([b"a", b"b", b"soon"])),
    "node": b"\x12\1\3\1a",
    "bomb": b"\0\xc3\3\x81" + bytes(5) + b"\xff\xff\xff" + b"\xff\xff\0",
    "bomb in a list": b"\x12\1\2\xc3\3\x80\x7f\xff\xff\xff\xff\xff\0",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile(name: str) -> None:
    payload = sealed(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(rdb.BadRdb) as caught:
            rdb.restore(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, rdb.BadChecksum)
    assert peak < 4 * len(payload) + (1 << 20)


SEEDS = [
    bytes([form.type]) + b"".join(form.body)
    for sample in SAMPLES
    if len(sample.value) < 50
    for form in forms(sample.kind, sample.value, PLAIN)
]


@given(st.data())
def test_any_change_gives_a_value_or_an_error(data: st.DataObject) -> None:
    """What is a value can be written again and is the same then."""
    body = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        # One byte becomes another, goes, or gets a neighbour.
        body[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=1))
        assume(body)
    try:
        kind, value = rdb.restore(sealed(bytes(body)))
    except rdb.BadRdb:
        return
    if kind == rdb.STREAM or isinstance(value, rdb.Expiring):
        return
    for form in forms(kind, value, PLAIN):
        again, other = rdb.restore(rdb.dump(form, 11))
        assert again == kind
        assert same(kind, value, other)


def test_lists_are_cut_into_nodes_as_the_setting_says() -> None:
    entries = [b"%d" % number * 10 for number in range(1000)]

    def nodes(limit: int) -> list[int]:
        body = b"".join(rdb.of_list([entries], [entries], limit, PLAIN).body)
        count, pos = primitives.read_length(body, 0)
        sizes = []
        for _ in range(count):
            container, pos = primitives.read_length(body, pos)
            packed, pos = primitives.read_string(body, pos)
            assert container == 2
            assert len(packed) <= 65536
            sizes.append(len(listpack.decode(packed)))
        assert sum(sizes) == 1000
        return sizes

    assert len(nodes(-5)) == 1
    assert len(nodes(-1)) > len(nodes(-2)) > 1
    assert set(nodes(100)) == {100}
    assert len(nodes(1)) == 1000


def test_scores_as_text() -> None:
    for score, shown in ((1.0, b"1"), (-0.5, b"-0.5"), (1e300, b"1e+300"), (2.0**53, None)):
        items = [(b"member", score)]
        form = rdb.of_zset(items, 1, True, PLAIN)
        entries = listpack.decode(primitives.read_string(b"".join(form.body), 0)[0])
        assert float(entries[1]) == score
        assert shown in (None, entries[1])


def test_chains_are_not_needed() -> None:
    """A form can be made from what is only there once."""
    form = rdb.of_set(chain([b"a"], [b"b"]), 2, False, PLAIN)
    assert rdb.restore(rdb.dump(form, 11)) == (rdb.SET, [b"a", b"b"])
