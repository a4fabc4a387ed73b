"""types/pending_list.py: deliveries in the order of their ids, as a dictionary would have them."""

from __future__ import annotations

import pytest
from distcache_server.types import pending_list
from distcache_server.types.pending_list import Delivery, PendingList
from hypothesis import given
from hypothesis import strategies as st

ids = st.integers(0, 300)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ids),
        st.tuples(st.just("pop"), ids),
        st.tuples(st.just("next"), st.integers(1, 100)),
        st.tuples(st.just("oldest"), st.integers(1, 100)),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([4, 256]))
def test_as_a_dictionary(steps: list[tuple[str, int]], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending_list, "CHUNK", chunk)
        patch.setattr(pending_list, "FEW", chunk // 2)
        compare(steps)


def compare(steps: list[tuple[str, int]]) -> None:
    subject = PendingList()
    model: dict[int, Delivery] = {}

    def put(number: int) -> None:
        model[number] = Delivery(b"c", 0, 1)
        subject.put(number, model[number])

    for what, number in steps:
        if what == "put":
            put(number)
        elif what == "pop":
            assert subject.pop(number) is model.pop(number, None)
        elif what == "next":
            for each in range(number):
                put(max(model, default=0) + 1 + each % 2)
        else:
            for each in sorted(model)[:number]:
                assert subject.pop(each) is model.pop(each)
        assert len(subject) == len(model)
        assert list(subject.between(0)) == sorted(model)
        assert list(subject.between(20, 90)) == [n for n in sorted(model) if 20 <= n <= 90]
        if model:
            assert (subject.first, subject.last) == (min(model), max(model))


def test_it_is_freed_in_parts() -> None:
    subject = PendingList()
    for number in range(1000):
        subject.put(number, Delivery(b"c", 0, 1))
    assert [subject.drain(100) for _ in range(4)] == [True, True, True, False]
