"""kafka.py against a real broker: what is committed together, and who may commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from distcache_replication.changefeed.formats import Record
from distcache_replication.changefeed.kafka import (
    Fenced,
    Mark,
    Misconfigured,
    Outgoing,
    Refused,
    Sink,
    Target,
    Unavailable,
)

from tests.blackbox.kafka.conftest import Name
from tests.support.broker import Broker, read_topic

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def target(broker: Broker, name: Name) -> Target:
    topics = [name("changes"), name("others")]
    return Target(
        broker.address, topics, name("stream"), name("positions"), name("dead"), partitions=3
    )


def mark(offset: int, epoch: int = 1) -> Mark:
    return Mark(epoch, [["a" * 40, None]], offset, 0)


def records(*values: str, key: str = "k") -> list[Record]:
    return [Record(key.encode(), value.encode(), {"ce_id": value.encode()}) for value in values]


def batch(target: Target, *values: str) -> list[Outgoing]:
    return [Outgoing(target.topics[0], record) for record in records(*values)]


def values(broker: Broker, target: Target, topic: int = 0) -> list[bytes | None]:
    return [record.value() for record in read_topic(broker, target.topics[topic])]


@pytest.mark.parametrize("transactions", [True, False])
def test_records_and_how_far_they_go(broker: Broker, target: Target, transactions: bool) -> None:
    target = replace(target, transactions=transactions)
    sink = Sink(target)
    assert sink.peek() is None
    assert sink.open() is None
    sink.publish(batch(target, "one", "two"), mark(10))
    sink.publish([Outgoing(target.topics[1], Record(b"k", None, {}))], mark(20))
    sink.close()
    assert values(broker, target) == [b"one", b"two"]
    assert values(broker, target, 1) == [None]
    (first, _) = read_topic(broker, target.topics[0])
    assert (first.key(), first.headers()) == (b"k", [("ce_id", b"one")])
    again = Sink(target)
    assert again.peek() == mark(20)
    assert again.open() == mark(20)
    again.close()


def test_the_last_mark_is_found_among_many_of_others(target: Target) -> None:
    mine, others = Sink(target), Sink(replace(target, stream=target.stream + "-other"))
    mine.open()
    mine.publish([], mark(1))
    others.open()
    for offset in range(150):
        others.publish([], mark(offset))
    assert mine.peek() == mark(1)
    assert others.peek() == mark(149)
    mine.close()
    others.close()


def test_who_opens_it_later_shuts_the_other_out(broker: Broker, target: Target) -> None:
    former, later = Sink(target), Sink(target)
    former.open()
    former.publish(batch(target, "one"), mark(10))
    assert later.open() == mark(10)
    with pytest.raises(Fenced):
        former.publish(batch(target, "never"), mark(11))
    later.publish(batch(target, "two"), mark(12, epoch=2))
    former.close()
    later.close()
    assert values(broker, target) == [b"one", b"two"]


def test_what_the_broker_does_not_take(broker: Broker, target: Target) -> None:
    target = replace(target, settings={"max.message.bytes": "2000"})
    sink = Sink(replace(target, options={"message.max.bytes": "10000"}))
    sink.open()
    with pytest.raises(Refused) as local:
        sink.publish(batch(target, "small", "x" * 20_000), mark(10))
    assert local.value.index == 1
    sink.close()
    sink = Sink(target)
    assert sink.open() is None
    with pytest.raises(Refused) as remote:
        sink.publish(batch(target, "y" * 5_000), mark(10))
    assert remote.value.index == 0
    assert sink.open() is None
    sink.publish(batch(target, "small"), mark(10))
    sink.close()
    assert values(broker, target) == [b"small"]


@pytest.mark.parametrize("transactions", [True, False])
def test_a_broker_that_is_killed(broker: Broker, target: Target, transactions: bool) -> None:
    target = replace(target, transactions=transactions)
    sink = Sink(target, reach_s=10, commit_s=10)
    sink.open()
    sink.publish(batch(target, "one"), mark(10))
    broker.kill()
    with pytest.raises(Unavailable):
        sink.publish(batch(target, "two"), mark(20))
    with pytest.raises(Unavailable):
        sink.open()
    broker.start()
    sink = Sink(target)
    assert sink.open() == mark(10)
    sink.publish(batch(target, "two"), mark(20))
    sink.close()
    assert values(broker, target) == [b"one", b"two"]


@pytest.mark.parametrize("transactions", [True, False])
def test_what_is_too_large_only_together(
    broker: Broker, target: Target, transactions: bool
) -> None:
    options = {"linger.ms": "1000"}  # all leave together, once they are waited for
    target = replace(target, transactions=transactions, partitions=1, options=options)
    target = replace(target, settings={"max.message.bytes": "3000"})
    sink = Sink(target)
    small = [str(number) * 1000 for number in range(10)]
    sent = batch(target, *small[:5], "l" * 4000, *small[5:])
    refused = persist(sink, sent)
    assert refused is not None
    assert refused.index == 5
    del sent[5]
    # Without the large one they are too large together: nobody is blamed for that.
    assert persist(sink, sent) is None
    sink.close()
    if transactions:
        assert len(values(broker, target)) == 10


def persist(sink: Sink, sent: list[Outgoing]) -> Refused | None:
    """Publish as the publisher does: open the stream again where nobody knows what became of it.

    A batch that is refused as a whole goes one by one from then on.
    """
    for _ in range(5):
        sink.open()
        try:
            sink.publish(sent, mark(10))
        except Unavailable:
            continue
        except Refused as error:
            return error
        return None
    raise AssertionError("still not published")


def test_topics_are_created_as_wanted_or_not_at_all(broker: Broker, target: Target) -> None:
    strict = Sink(replace(target, create=False))
    with pytest.raises(Misconfigured, match="changefeed-create-topics"):
        strict.open()
    Sink(replace(target, settings={"cleanup.policy": "compact"})).open()
    admin = AdminClient({"bootstrap.servers": broker.address})
    found: dict[str, Any] = admin.list_topics(timeout=30).topics
    assert len(found[target.topics[0]].partitions) == 3
    resource = ConfigResource(ResourceType.TOPIC, target.topics[0])
    (described,) = admin.describe_configs([resource]).values()
    assert described.result(30)["cleanup.policy"].value == "compact"
    assert strict.open() is None
    with pytest.raises(Misconfigured, match="no-such"):
        Sink(replace(target, options={"no-such": "1"})).open()
    with pytest.raises(Misconfigured):
        Sink(replace(target, topics=["no such name"])).open()


def test_a_topic_of_marks_that_is_none(target: Target) -> None:
    other = Sink(replace(target, topics=[target.marks], marks=target.topics[1], partitions=1))
    other.open()
    other.publish([Outgoing(target.marks, Record(target.stream.encode(), b"{}", {}))], mark(1))
    other.close()
    with pytest.raises(Misconfigured, match="changefeed-positions-topic"):
        Sink(target).peek()
