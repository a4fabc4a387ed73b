"""Sentinels fail a primary over while clients write: the topic has each change, and once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.kafka.conftest import Name
from tests.blackbox.kafka.test_publishing import documents, snapshots
from tests.support import eventually
from tests.support.broker import Broker
from tests.support.changefeed import state, wait_published
from tests.support.failover import Load, Outcome, through_sentinels
from tests.support.sentinels import Group, redis_sentinel

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(redis_sentinel() is None, reason="redis-sentinel is missing"),
]


@pytest.fixture
def group(broker: Broker, name: Name, tmp_path: Path) -> Iterator[Group]:
    settings = (
        *("--changefeed", f"kafka://{broker.address}/{name('changes')}"),
        *("--changefeed-stream", name("stream")),
        *("--changefeed-positions-topic", name("positions")),
        *("--changefeed-backoff", "500"),
        *("--appendonly", "yes", "--synchronous-replicas", "1"),
    )
    made = Group(tmp_path / "group", ("ours", "ours"), *settings)
    yield made
    made.stop()
    assert "Traceback" not in made.logs()


def test_a_failover_leaves_no_gap_and_nothing_twice(
    broker: Broker, name: Name, group: Group
) -> None:
    former = group.primary
    eventually(lambda: state(former.server)["state"] == "publishing", timeout=60)
    load = Load()
    load.start("key", through_sentinels(it.port for it in group.sentinels), clients=2)
    try:
        load.wait()
        eventually(lambda: int(state(former.server)["transactions"]) > 2, timeout=60)
        former.kill()
        group.wait_promoted()
        former.restart()
        group.wait_settled()
        load.wait()
    finally:
        load.stop()
    # On a machine that is too busy there are more failovers than the one that was wanted.
    group.wait_settled()
    primary = group.primary
    wait_published(primary.server)
    found = documents(broker, name("changes"))
    last = int(state(primary.server)["epoch"])
    assert last > 1
    assert {1, last} <= {it["source"]["epoch"] for it in found} <= set(range(1, last + 1))
    # All keys may come where the stream begins, and where a server is promoted that has just come.
    assert snapshots(found) < last
    published = {it["key"] for it in found if it["key"]}
    changed = [it["key"] for it in found if it["key"] and it["op"] != "snapshot"]
    assert len(changed) == len(set(changed)), "a change came twice"
    with primary.server.client(decode_responses=True) as client:
        assert published == set(client.keys())
    for writer in load.writers:
        acknowledged = [it.key for it in writer.writes if it.outcome is Outcome.ok]
        assert published.issuperset(acknowledged)
        mine = [it for it in changed if it.startswith(f"{writer.name}:")]
        assert mine == sorted(mine, key=lambda it: int(it.rpartition(":")[2]))
    eventually(lambda: {state(it.server)["state"] for it in group.replicas} == {"off"}, timeout=60)
