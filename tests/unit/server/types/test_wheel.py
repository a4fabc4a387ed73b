"""types/wheel.py: which keys are due."""

from __future__ import annotations

import random

from distcache_server.types.wheel import LARGE, Wheel
from hypothesis import given
from hypothesis import strategies as st

SLOT_MS = 32


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=200))
def test_keys_come_when_their_slot_has_ended(changes: list[tuple[int, int]]) -> None:
    wheel, deadlines = Wheel(), dict[bytes, int]()
    for number, deadline in changes:
        key = b"%d" % number
        if key in deadlines:
            wheel.remove(key, deadlines.pop(key))
        if deadline % 3:
            wheel.add(key, deadline)
            deadlines[key] = deadline
    for now_ms in range(0, 3200, 100):
        while due := wheel.due(now_ms, 2):
            for key in due:
                deadline = deadlines.pop(key)
                assert deadline <= now_ms
                wheel.remove(key, deadline)
        assert all(deadline + SLOT_MS > now_ms for deadline in deadlines.values())
    assert not deadlines
    assert not wheel.slots


def test_a_wheel_that_is_no_longer_used_is_freed_in_steps() -> None:
    wheel = Wheel()
    for n in range(3000):
        wheel.add(b"far:%d" % n, random.randrange(10**8))
        wheel.add(b"together:%d" % n, 10**9)
    assert max(map(len, wheel.slots.values())) > LARGE
    steps = 0
    while wheel.drain():
        steps += 1
    assert steps > 100
    assert not wheel.slots
