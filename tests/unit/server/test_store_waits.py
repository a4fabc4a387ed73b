"""Clients that wait for the backing store, and those that wait no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from distcache_server.blocking import Wait
from distcache_server.client import Client
from distcache_server.store_waits import FEW, StoreWaits

from tests.support.direct import Direct


def waits_of(direct: Direct) -> StoreWaits:
    """Those of a server whose store is away: it reaches nothing, and is too far behind."""
    writer = SimpleNamespace(
        engine=direct.engine,
        told=[],
        full=True,
        reached=lambda _: False,
        want=lambda _: None,
        noter=SimpleNamespace(plan_of=lambda _: True),
    )
    return StoreWaits(cast(Any, writer), cast(Any, None))


def test_who_waits_no_more_is_forgotten() -> None:
    direct = Direct()
    waits, blocking, client = waits_of(direct), direct.engine.blocking, direct.client
    sizes = []
    for number in range(4 * FEW):
        with pytest.raises(Wait) as raised:
            waits.wait(client, 0) if number % 2 else waits.hold_back(client, [b"key"])
        blocking.park(client, raised.value)
        sizes.append(len(waits._stored) + len(waits._held))
        blocking.forget(client)
    assert max(sizes) == FEW
    # Those who do wait stay, however many there are.
    others = [Client(direct.engine, number) for number in range(2 * FEW)]
    for other in others:
        with pytest.raises(Wait) as raised:
            waits.wait(other, 0)
        blocking.park(other, raised.value)
    assert {each[1] for each in waits._stored} >= set(others)
