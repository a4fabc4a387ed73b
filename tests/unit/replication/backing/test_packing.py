from __future__ import annotations

from typing import Any

import msgpack
import pytest
from distcache_replication import rdb
from distcache_replication.backing.packing import BadValue, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

WORD = st.binary(max_size=20)
HASHES = st.dictionaries(WORD, WORD, min_size=1)
NUMBER = st.integers(0, 2**64 - 1)
ID = st.tuples(NUMBER, NUMBER)
MOMENT = st.integers(-1, 2**62)
ENTRY = st.lists(WORD, min_size=2, max_size=6).map(lambda it: it[: len(it) // 2 * 2])


@st.composite
def groups(draw: st.DrawFn) -> list[rdb.Group]:
    made = []
    for name in draw(st.sets(WORD, max_size=3)):
        names = draw(st.lists(WORD, max_size=3, unique=True))
        ids = draw(st.sets(ID, max_size=5)) if names else set()
        owners = {number: draw(st.sampled_from(names)) for number in ids}
        waiting = [rdb.Pending(number, draw(MOMENT), draw(st.integers(0, 99))) for number in ids]
        consumers = [
            rdb.Consumer(
                *(who, draw(MOMENT), draw(MOMENT)), [it for it in ids if owners[it] == who]
            )
            for who in names
        ]
        made.append(rdb.Group(name, draw(ID), draw(MOMENT), waiting, consumers))
    return made


@st.composite
def streams(draw: st.DrawFn) -> rdb.Stream:
    ids = sorted(draw(st.sets(ID, max_size=6)))
    entries = [rdb.Entry(number, draw(ENTRY)) for number in ids]
    last = ids[-1] if ids else draw(ID)
    added = draw(st.integers(0, 2**62))
    return rdb.Stream(entries, last, draw(ID), draw(ID), added, draw(groups()))


STREAMS = streams()
VALUES = st.one_of(
    st.tuples(st.just(rdb.STRING), WORD),
    st.tuples(st.just(rdb.LIST), st.lists(WORD, min_size=1)),
    st.tuples(st.just(rdb.SET), st.lists(WORD, min_size=1, unique=True)),
    st.tuples(
        st.just(rdb.ZSET),
        st.dictionaries(WORD, st.floats(allow_nan=False), min_size=1).map(lambda it: [*it.items()]),
    ),
    st.tuples(st.just(rdb.HASH), HASHES),
    st.tuples(st.just(rdb.STREAM), st.deferred(lambda: STREAMS)),
    st.tuples(
        st.just(rdb.HASH),
        HASHES.map(lambda it: rdb.Expiring(it, dict.fromkeys(list(it)[:2], 4102444800000))),
    ),
)


@given(VALUES)
def test_round_trip(value: tuple[int, Any]) -> None:
    assert unpack(pack(*value)) == value


@pytest.mark.parametrize(
    "entries",
    [
        [[1, 1, [b"field"]]],
        [[1, 2, [b"field", b"value"]], [1, 1, [b"field", b"value"]]],
        [[1, 1, [b"field", "text"]]],
        [[9, 9, [b"field", b"value"]]],
        [[1, -1, [b"field", b"value"]]],
    ],
)
def test_no_stream(entries: list[Any]) -> None:
    with pytest.raises(BadValue):
        unpack(msgpack.packb(["stream", entries, [5, 5], [0, 0], [0, 0], 0, []]))


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
