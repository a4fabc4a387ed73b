from __future__ import annotations

from typing import Any

import pytest
from distcache_replication import rdb
from distcache_replication.backing.packing import BadValue, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

WORD = st.binary(max_size=20)
HASHES = st.dictionaries(WORD, WORD, min_size=1)
VALUES = st.one_of(
    st.tuples(st.just(rdb.STRING), WORD),
    st.tuples(st.just(rdb.LIST), st.lists(WORD, min_size=1)),
    st.tuples(st.just(rdb.SET), st.lists(WORD, min_size=1, unique=True)),
    st.tuples(
        st.just(rdb.ZSET),
        st.dictionaries(WORD, st.floats(allow_nan=False), min_size=1).map(lambda it: [*it.items()]),
    ),
    st.tuples(st.just(rdb.HASH), HASHES),
    st.tuples(
        st.just(rdb.HASH),
        HASHES.map(lambda it: rdb.Expiring(it, dict.fromkeys(list(it)[:2], 4102444800000))),
    ),
)


@given(VALUES)
def test_round_trip(value: tuple[int, Any]) -> None:
    assert unpack(pack(*value)) == value


@given(VALUES, st.integers(0, 200))
def test_cut_short(value: tuple[int, Any], cut: int) -> None:
    data = pack(*value)
    if cut < len(data):
        with pytest.raises(BadValue):
            unpack(data[:cut])


@given(st.binary(max_size=60))
def test_anything_else(data: bytes) -> None:
    try:
        kind, value = unpack(data)
    except BadValue:
        return
    assert unpack(pack(kind, value)) == (kind, value)
