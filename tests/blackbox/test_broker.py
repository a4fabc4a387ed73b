"""The Kafka that other tests rely on: transactions, and what it keeps when it is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker import Broker, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"missing: {missing()}")


def read_all(broker: Broker, topic: str, expected: int) -> list[bytes | str | None]:
    """The values of so many records that are committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    values: list[bytes | str | None] = []
    try:
        while len(values) < expected:
            messages = consumer.consume(expected, timeout=30)
            assert messages, f"only {len(values)} of {expected} records came"
            for message in messages:
                assert message.error() is None
                values.append(message.value())
        assert not consumer.consume(1, timeout=0.5)
    finally:
        consumer.close()
    return values


def test_committed_records_survive_a_kill_and_aborted_ones_are_not_seen(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    try:
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_topics([NewTopic("changes", 1, 1)])["changes"].result(30)
        producer = Producer({"bootstrap.servers": broker.address, "transactional.id": "stream"})
        producer.init_transactions(30)
        for value, commit in ((b"one", True), (b"lost", False), (b"two", True)):
            producer.begin_transaction()
            producer.produce("changes", value)
            producer.flush(30)
            if commit:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
        broker.kill()
        broker.start()
        assert read_all(broker, "changes", 2) == [b"one", b"two"]
    finally:
        broker.kill()
