"""The way to the broker is cut at each stage of a transaction, before it is done and after.

Whoever publishes then does as the publisher does: open the stream again, and go on from the mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from distcache_replication.changefeed.formats import Record
from distcache_replication.changefeed.kafka import Fenced, Mark, Outgoing, Sink, Target, Unavailable

from tests.blackbox.kafka.conftest import Name
from tests.support.broker import Broker, read_topic
from tests.support.kafka_proxy import (
    ADD_PARTITIONS,
    END_TRANSACTION,
    INIT_PRODUCER,
    METADATA,
    PRODUCE,
    Cutter,
)

pytestmark = pytest.mark.timeout(300)

STAGES = {
    "metadata": METADATA,
    "init": INIT_PRODUCER,
    "partitions": ADD_PARTITIONS,
    "produce": PRODUCE,
    "commit": END_TRANSACTION,
}
BATCHES = 4


@pytest.fixture
def cutter(broker: Broker) -> Iterator[Cutter]:
    made = Cutter(broker.proxied, broker.behind)
    yield made
    made.close()


def mark(offset: int) -> Mark:
    return Mark(1, [["a" * 40, None]], offset, 0)


def publish_all(target: Target, cutter: Cutter, kind: int, answered: bool) -> int:
    """Publish batches from wherever the stream stands; how often it had to be opened."""
    opened = 0
    while True:
        sink = Sink(target, reach_s=5, commit_s=10)
        try:
            if opened == 1:
                cutter.cut(kind, answered=answered)
            opened += 1
            stored = sink.open()
            for number in range(stored.offset if stored else 0, BATCHES):
                if number == 1 and opened == 1:
                    if kind in (METADATA, INIT_PRODUCER):
                        break  # these come with the next time that it is opened
                    cutter.cut(kind, answered=answered)
                found = [
                    Outgoing(target.topics[0], Record(b"k", b"%d.%d" % (number, each), {}))
                    for each in range(3)
                ]
                sink.publish(found, mark(number + 1))
            else:
                return opened
        except (Unavailable, Fenced):
            assert opened < 10
        finally:
            sink.close()


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_missing_or_twice(
    broker: Broker, cutter: Cutter, name: Name, stage: str, answered: bool
) -> None:
    topic = name("changes")
    target = Target(
        f"127.0.0.1:{broker.proxied}", [topic], name("stream"), name("positions"), name("dead")
    )
    publish_all(target, cutter, STAGES[stage], answered)
    assert cutter.cuts == 1
    wanted = [b"%d.%d" % (number, each) for number in range(BATCHES) for each in range(3)]
    assert [it.value() for it in read_topic(broker, topic)] == wanted
    direct = replace(target, brokers=broker.address)
    assert Sink(direct).peek() == mark(BATCHES)
