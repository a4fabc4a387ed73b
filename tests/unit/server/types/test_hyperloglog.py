"""types/hyperloglog.py: the same bytes and the same counts as Redis."""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

import pytest
from distcache_server.types import hyperloglog
from distcache_server.types.hyperloglog import (
    DENSE_SIZE,
    HEADER,
    REGISTERS,
    InvalidHLL,
    add,
    count,
    count_union,
    create,
    decode,
    encoding,
    is_hll,
    merge,
    murmur,
    registers,
    to_dense,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT = 3000
NO_LIMIT = 1 << 20
STALE_DENSE = b"HYLL\0" + bytes(10) + b"\x80"
STALE_SPARSE = b"HYLL\1" + bytes(10) + b"\x80"


def elements(count: int, prefix: bytes = b"element") -> list[bytes]:
    return [b"%b:%d" % (prefix, n) for n in range(count)]


def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:16]


# What redis-server 7.0.15 holds after one PFADD and one PFCOUNT.
@pytest.mark.parametrize(
    ("size", "length", "fingerprint", "cardinality"),
    [
        (0, 18, "a548e8daa487445a", 0),
        (1, 21, "54bd0380d9e97039", 1),
        (10, 48, "a5ce62d368049c00", 10),
        (100, 285, "28e31e2547b980be", 99),
        (1000, 1897, "c3d3a91d5d2882e1", 997),
        (1500, 2722, "4b9bcf8f3f332515", 1500),
        (2000, 12304, "1413d367ae2022e9", 2004),
        (20000, 12304, "fead0d85a6b6d337", 19986),
    ],
)
def test_the_bytes_are_those_of_redis(
    size: int, length: int, fingerprint: str, cardinality: int
) -> None:
    value, changed = add(None, elements(size), LIMIT)
    assert changed
    assert len(value) == length
    assert digest(value) == fingerprint
    assert count(value)[0] == cardinality


def test_a_merge_has_the_bytes_of_redis() -> None:
    one, _ = add(None, elements(300, b"a"), LIMIT)
    other, _ = add(None, elements(500, b"b"), LIMIT)
    merged = merge(one, [other], LIMIT)
    assert (len(merged), digest(merged), count(merged)[0]) == (1560, "e539e097dc0220f0", 807)


def test_the_runs_of_a_few_elements() -> None:
    value, _ = add(None, [b"a", b"b", b"c", b"d", b"e", b"f", b"g"], LIMIT)
    assert decode(value) == (
        b"Z:1646 v:1,1 Z:5645 v:1,1 Z:1085 v:2,1 z:57 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 "
        b"v:1,1 Z:603"
    )
    assert decode(create()) == b"Z:16384"


def test_a_count_is_remembered_until_the_next_change() -> None:
    value, _ = add(None, elements(100), LIMIT)
    total, counted = count(value)
    assert total == 99
    assert counted != value
    assert count(counted) == (99, counted)
    assert add(counted, elements(100), LIMIT) == (counted, False)
    again, changed = add(counted, [b"something new"], LIMIT)
    assert changed
    assert count(again)[0] == 100


def test_an_empty_value() -> None:
    value, changed = add(None, [], LIMIT)
    assert changed
    assert is_hll(value)
    assert count(value)[0] == 0
    assert count(create()) == (0, create())
    assert add(value, [], LIMIT) == (value, False)
    assert registers(value) == bytes(REGISTERS)


def test_the_sparse_form_ends_at_its_limit() -> None:
    value, _ = add(None, elements(50), 160)
    assert encoding(value) == "sparse"
    assert len(value) <= 160
    value, _ = add(value, elements(60), 160)
    assert encoding(value) == "dense"
    assert len(value) == DENSE_SIZE
    assert encoding(add(None, [b"a"], 0)[0]) == "dense"


@pytest.mark.parametrize("size", [0, 5, 500, 5000])
def test_both_forms_say_the_same(size: int) -> None:
    sparse, _ = add(None, elements(size), NO_LIMIT)
    dense, _ = add(to_dense(create()), elements(size), NO_LIMIT)
    assert encoding(sparse) == "sparse"
    assert registers(sparse) == registers(dense)
    assert to_dense(sparse)[HEADER:] == dense[HEADER:]
    assert to_dense(dense) is dense
    assert count(sparse)[0] == count(dense)[0]


names = st.integers(0, 3000).map(lambda n: b"%d" % n)


@given(
    st.lists(st.lists(names, max_size=300), max_size=4),
    st.sampled_from([0, 100, 1000, LIMIT]),
)
@settings(max_examples=50, deadline=None)
def test_a_union_is_what_one_value_would_have_seen(groups: list[list[bytes]], limit: int) -> None:
    values = [add(None, group, limit)[0] for group in groups]
    everything, _ = add(None, [name for group in groups for name in group], limit)
    assert count_union(values) == count(everything)[0]
    for target, sources in [(None, values), (create(), values)] + [
        (values[0], values[1:]) for _ in values[:1]
    ]:
        merged = merge(target, sources, limit)
        assert registers(merged) == registers(everything)
        assert count(merged)[0] == count(everything)[0]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=60),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_a_merge_is_one_register_after_the_other(
    target: list[tuple[int, int]], source: list[tuple[int, int]]
) -> None:
    """Near each other and of few values, so that runs are split and joined in every way."""

    def made(changes: list[tuple[int, int]], start: bytes) -> bytes:
        for index, rank in changes:
            start = hyperloglog._raise_sparse(start, index, rank, NO_LIMIT)
        return start

    one, other = made(target, create()), made(source, create())
    seen = registers(other)
    expected = made([(index, seen[index]) for index in range(41) if seen[index]], one)
    assert merge(one, [other], NO_LIMIT)[HEADER:] == expected[HEADER:]
    runs = expected[HEADER:]
    for code, following in pairwise(runs):
        joinable = code & following & 0x80 and code >> 2 == following >> 2
        assert not joinable or (code & 3) + (following & 3) + 2 > 4


def test_every_dense_register_keeps_its_value() -> None:
    ranks = [random.randrange(1, 52) for _ in range(REGISTERS)]
    data: bytes | bytearray = to_dense(create())
    for index in random.sample(range(REGISTERS), REGISTERS):
        data = hyperloglog._raise_dense(data, index, ranks[index])
    assert list(registers(bytes(data))) == ranks
    assert hyperloglog._pack(bytes(ranks)) == data[HEADER:]


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (b"", 0xD8DFEA6585BC9732),
        (b"a", 0x53D2470A9B43B1A7),
        (b"1234567", 0x85563DB163632857),
        (b"12345678", 0x95EBB86389132953),
        (b"123456789", 0x217532CB09F2A44D),
        (b"0123456789abcdef", 0x9F8565428EAA573D),
    ],
)
def test_murmur(element: bytes, expected: int) -> None:
    assert murmur(element) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"HYLL",
        b"HYLX\1" + bytes(11),
        b"HYLL\2" + bytes(11),
        STALE_DENSE,
        STALE_DENSE + bytes(12287),
        STALE_DENSE + bytes(12289),
    ],
)
def test_what_is_no_hyperloglog(value: bytes) -> None:
    assert not is_hll(value)


def test_what_is_one() -> None:
    assert is_hll(create())
    assert is_hll(STALE_DENSE + bytes(12288))
    assert is_hll(STALE_SPARSE + b"anything")


@pytest.mark.parametrize(
    "runs",
    [
        b"",
        b"\x7f",
        b"\x7f\xfe",
        b"\x7f\xff\x00",
        b"\x7f\xff\x7f\xff",
        b"\x7f\xff" * 16_000,
        b"\x3f" * 32_000,
        b"\xff" * 1_000_000,
    ],
)
def test_damaged_runs_are_refused(runs: bytes) -> None:
    value = STALE_SPARSE + runs
    assert is_hll(value)
    for operation in (count, to_dense, registers, lambda value: merge(None, [value], LIMIT)):
        with pytest.raises(InvalidHLL):
            operation(value)


@pytest.mark.parametrize("runs", [b"", b"\x7f", b"\x00\x01", b"\xff\xff\x40"])
def test_adding_to_runs_that_end_early_is_refused(runs: bytes) -> None:
    with pytest.raises(InvalidHLL):
        add(STALE_SPARSE + runs, [b"element:1"], LIMIT)


def test_registers_that_no_hash_can_fill_are_counted_as_redis_counts_them() -> None:
    total, value = count(STALE_DENSE + b"\xff" * 12288)
    assert total == -1 << 63
    assert value[8:HEADER] == bytes(7) + b"\x80"
