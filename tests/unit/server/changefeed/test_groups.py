"""The file of consumer groups."""

from __future__ import annotations

import pytest
from distcache_server.changefeed.groups import BadGroups, decode, encode
from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream_id import BITS


def groups() -> dict[bytes, Group]:
    group = Group(100 << BITS | 7)
    group.consumers[b"\xff"] = Consumer(5, 6)
    group.consumers[b"idle"] = Consumer(7)
    for number in (3, (50 << BITS) + (1 << 40), 100 << BITS | 7):
        group.deliver(number, Delivery(b"\xff", 1_700_000_000_000, 2))
    return {b"g": group, b"empty": Group(0)}


def test_what_is_written_comes_back() -> None:
    data = encode(groups())
    found = decode(data)
    assert encode(found) == data
    assert found[b"g"].last_id == 100 << BITS | 7
    pending = found[b"g"].consumers[b"\xff"].pending
    assert [*pending.between(0)] == [*groups()[b"g"].pending.between(0)]
    assert decode(encode({})) == {}


def test_damage_is_found() -> None:
    data = encode(groups())
    for at in range(len(data)):
        with pytest.raises(BadGroups):
            decode(data[:at])
        with pytest.raises(BadGroups):
            decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
