"""Errors that a broker answers with, from librdkafka's own in memory: what they mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
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

from tests.support.kafka_proxy import ADD_PARTITIONS, END_TRANSACTION, INIT_PRODUCER, PRODUCE
from tests.support.mock_kafka import MockCluster, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"missing: {missing()}")
MARK = Mark(1, [["a" * 40, None]], 10, 0)
BATCH = [Outgoing("changes", Record(b"k", b"v%d" % number, {})) for number in range(3)]


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    made = MockCluster()
    for topic in ("changes", "marks"):
        made.create(topic)
    yield made
    made.close()


@pytest.fixture
def sink(cluster: MockCluster) -> Iterator[Sink]:
    # All records of a batch leave together, once they are waited for.
    options = {"linger.ms": "1000"}
    target = Target(cluster.address, ["changes"], "stream", "marks", create=False, options=options)
    made = Sink(target, reach_s=30, commit_s=30)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (PRODUCE, KafkaError.NOT_LEADER_FOR_PARTITION),
        (PRODUCE, KafkaError.REQUEST_TIMED_OUT),
        (PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS),
        (ADD_PARTITIONS, KafkaError.CONCURRENT_TRANSACTIONS),
        (ADD_PARTITIONS, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
        (END_TRANSACTION, KafkaError.COORDINATOR_NOT_AVAILABLE),
        (END_TRANSACTION, KafkaError.NOT_COORDINATOR),
    ],
)
def test_what_passes(cluster: MockCluster, sink: Sink, kind: int, error: int) -> None:
    sink.open()
    cluster.answer(kind, [error, error])
    sink.publish(BATCH, MARK)


@pytest.mark.parametrize(
    ("kind", "error", "meaning"),
    [
        (PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured),
        (PRODUCE, KafkaError.INVALID_PRODUCER_EPOCH, Fenced),
        (ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured),
        (ADD_PARTITIONS, KafkaError.PRODUCER_FENCED, Fenced),
        (END_TRANSACTION, KafkaError.PRODUCER_FENCED, Fenced),
        (END_TRANSACTION, KafkaError.INVALID_TXN_STATE, Unavailable),
        (END_TRANSACTION, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Misconfigured),
    ],
)
def test_what_does_not(
    cluster: MockCluster, sink: Sink, kind: int, error: int, meaning: type[Exception]
) -> None:
    sink.open()
    cluster.answer(kind, [error])
    with pytest.raises(meaning):
        sink.publish(BATCH, MARK)
    # It can be opened again, whatever it was.
    sink.open()
    sink.publish(BATCH, MARK)


def test_which_record_it_was(cluster: MockCluster, sink: Sink) -> None:
    sink.open()
    cluster.answer(PRODUCE, [KafkaError.MSG_SIZE_TOO_LARGE] * 2)
    with pytest.raises(Unavailable, match="one by one"):
        sink.publish(BATCH, MARK)
    sink.open()
    cluster.answer(PRODUCE, [KafkaError.MSG_SIZE_TOO_LARGE] * 4)
    with pytest.raises(Refused) as error:
        sink.publish(BATCH, MARK)
    assert error.value.index == 0


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Misconfigured),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, Misconfigured),
        (KafkaError.INVALID_TRANSACTION_TIMEOUT, Misconfigured),
    ],
)
def test_what_cannot_be_opened(
    cluster: MockCluster, sink: Sink, error: int, meaning: type[Exception]
) -> None:
    cluster.answer(INIT_PRODUCER, [error])
    with pytest.raises(meaning):
        sink.open()
    assert sink.open() is None


def test_topics_that_are_not_created_in_time(
    cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def __init__(self, *_: Any, **__: Any) -> None:
            """It reaches a broker that has no topics, and takes its time."""

        def list_topics(self, timeout: float) -> Any:
            return SimpleNamespace(topics={})

        def create_topics(self, new: Any, request_timeout: float) -> dict[str, Future[None]]:
            return {it.topic: Future() for it in new}

    monkeypatch.setattr("confluent_kafka.admin.AdminClient", Slow)
    with pytest.raises(Unavailable, match="topic changes: it was not created in time"):
        Sink(Target(cluster.address, ["changes"], "stream", "marks"), reach_s=0.01).open()
