"""A topic of Kafka that gets events, and beside it how far they go.

With transactions (KIP-98) a batch of records and its mark are committed together, under a
transactional id that belongs to the stream: who opens it later shuts out who had it before.  So a
reader with ``isolation.level=read_committed`` sees each event once.  Without transactions the mark
follows the records that the broker has acknowledged, and a crash in between repeats some.

Everything here blocks, and is for one thread at a time.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from distcache_replication.changefeed.formats import Record

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

REACH_S = 10.0
"""How long a broker may take to answer before it counts as away."""
LOOK_S = 0.1
"""So often it is looked whether something has failed."""
COMMIT_S = 30.0
"""How long it may take to do what it was told."""
RECONNECT_MS = 1000
"""The longest pause between attempts to connect."""
TRANSACTION_MS = 60_000
"""After so long without an end the broker gives a transaction up."""
WINDOW = 100
"""Records of the topic of marks that are looked at first, from its end."""
SEGMENT = 16 << 20
"""Bytes of a segment of the topic of marks, so that it is compacted before it is long."""

_logger = logging.getLogger("distcache.kafka")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


class Unavailable(Exception):
    """The broker is away, or nobody knows whether it took the batch: open the stream again."""


class Fenced(Exception):
    """Somebody else has opened the stream since."""


class Misconfigured(Exception):
    """The text says what has to be changed."""


class Refused(Exception):
    """Nothing of the batch was published, because of the record at this index.

    The stream has to be opened again: numbers that the broker expects next were lost.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


class Mark(NamedTuple):
    """How far a stream has come, and who says so."""

    epoch: int
    lineage: list[list[Any]]
    """Ids of histories with the offsets at which they ended, the last one first, open (None)."""
    offset: int
    number: int

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Mark:
        """Raises ValueError where it is none."""
        found = json.loads(data)
        if not isinstance(found, dict) or set(found) != set(cls._fields):
            raise ValueError("this is no mark of a changefeed")
        return cls(**found)


class Outgoing(NamedTuple):
    """A record on its way to a topic, and to the partition of its key where none is named."""

    topic: str
    record: Record
    partition: int = -1


@dataclass(frozen=True)
class Target:
    """Where events go."""

    brokers: str
    topics: Sequence[str]
    """All that records may be for."""
    stream: str
    """What the marks, and with transactions the producer, go by."""
    marks: str = "distcache.positions"
    dead_letters: str = ""
    transactions: bool = True
    create: bool = True
    """Create topics that are missing, with ``partitions`` and so on; the settings of a topic."""
    partitions: int = 1
    replication: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    """More settings of librdkafka: TLS, SASL, compression."""

    @property
    def connection(self) -> dict[str, Any]:
        """What all clients of the broker have in common."""
        return {
            "bootstrap.servers": self.brokers,
            "client.id": f"distcache-{self.stream}",
            "log_level": 2,
            "reconnect.backoff.max.ms": RECONNECT_MS,
            **{
                name: value
                for name, value in self.options.items()
                if name.startswith(("security.", "sasl.", "ssl.", "enable.ssl."))
            },
        }

    @property
    def production(self) -> dict[str, Any]:
        """The settings of the producer."""
        found: dict[str, Any] = {
            # As Java's clients have it, so that both agree on the partition of a key.
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "delivery.report.only.error": True,
            "queue.buffering.max.messages": 1_000_000,
            **self.connection,
            **self.options,
            "enable.idempotence": True,
        }
        if self.transactions:
            found["transactional.id"] = f"distcache-{self.stream}"
            found["transaction.timeout.ms"] = TRANSACTION_MS
        return found


class Sink:
    """A stream that is open for writing, once ``open`` has said how far it goes."""

    def __init__(
        self, target: Target, reach_s: float = REACH_S, commit_s: float = COMMIT_S
    ) -> None:
        self.target = target
        self._reach_s = reach_s
        self._commit_s = commit_s
        self.partitions: dict[str, int] = {}
        """How many each of the topics has; known from when it was opened."""
        self._producer: Producer | None = None
        self._alone = self._alone_next = False
        """Records are sent one by one; and, they are to be when it is opened again."""
        self._batch: Sequence[Outgoing] = ()
        self._mark: Mark
        self._failed: dict[int, KafkaError] = {}
        """Why records of the batch were not taken; at -1 what is about no one of them."""
        self._unreached: KafkaError | None = None
        """Why the last broker that was not reached was not."""

    # Opening

    def peek(self) -> Mark | None:
        """The mark of the stream, without a word to who has it open.

        Raises Unavailable, Misconfigured.
        """
        self._unreached = None
        self._check_topics()
        return self._stored()

    def open(self) -> Mark | None:
        """Shut out who had the stream, and see how far it goes; None if nobody ever had it.

        Raises Unavailable, Misconfigured.
        """
        from confluent_kafka import KafkaException, Producer

        self.close()
        self._unreached = None
        self._check_topics()
        self._alone, self._alone_next = self._alone_next, False
        try:
            settings: dict[str, Any] = {"message.timeout.ms": int(self._commit_s * 1000)}
            settings["on_delivery"] = self._note_failure
            settings["error_cb"] = self._note_unreached
            settings.update(self.target.production)
            if self._alone:
                settings["batch.num.messages"] = 1
            producer = Producer(settings, logger=_logger)
        except (KafkaException, ValueError) as error:
            raise Misconfigured(f"librdkafka: {_text(error)}") from None
        try:
            if self.target.transactions:
                producer.init_transactions(self._commit_s)
        except KafkaException as error:
            raise self._unopened(error.args[0], producer) from None
        stored = self._stored()
        self._producer = producer
        return stored

    def close(self) -> None:
        """Let go of the stream; what is not committed is not published."""
        from confluent_kafka import KafkaException

        producer, self._producer = self._producer, None
        if producer is not None:
            # Whoever was shut out is told so again, whatever it calls.
            with suppress(KafkaException):
                producer.purge()
                producer.poll(0)

    def _check_topics(self) -> None:
        """See that all topics are there, and create them where that is wanted."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        target = self.target
        try:
            settings = {**target.connection, "error_cb": self._note_unreached}
            admin = AdminClient(settings, logger=_logger)
        except (KafkaException, ValueError) as error:
            raise Misconfigured(f"librdkafka: {_text(error)}") from None
        try:
            there = admin.list_topics(timeout=self._reach_s).topics
        except KafkaException as error:
            raise self._unopened(error.args[0], admin) from None
        wanted = [*target.topics, target.marks]
        if target.dead_letters:
            wanted.append(target.dead_letters)
        missing = [name for name in wanted if name not in there]
        self.partitions = {
            name: len(there[name].partitions) if name in there else target.partitions
            for name in target.topics
        }
        if not missing:
            return
        if not target.create:
            raise Misconfigured(
                f"there is no topic {missing[0]}: create it, or set changefeed-create-topics yes"
            )
        new = []
        for name in missing:
            if name == target.marks:
                settings = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT)}
                new.append(NewTopic(name, 1, target.replication, config=settings))
            elif name == target.dead_letters:
                new.append(NewTopic(name, 1, target.replication))
            else:
                settings = dict(target.settings)
                new.append(NewTopic(name, target.partitions, target.replication, config=settings))
        for name, future in admin.create_topics(new, request_timeout=self._reach_s).items():
            try:
                future.result(self._reach_s)
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise _failure(error.args[0], f"topic {name}: ") from None
            except TimeoutError:
                raise Unavailable(f"topic {name}: it was not created in time") from None

    def _stored(self) -> Mark | None:
        """The last mark of the stream, looked for from the end of its topic."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        target = self.target
        consumer = Consumer(
            {
                **target.connection,
                "group.id": f"distcache-{target.stream}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # It is the end that is looked for: nothing more will come.
                "fetch.wait.max.ms": 1,
                "error_cb": self._note_unreached,
            },
            logger=_logger,
        )
        try:
            place = TopicPartition(target.marks, 0)
            low, high = self._ends(consumer, place)
            window, stop = WINDOW, high
            while stop > low:
                start = max(high - window, low)
                consumer.assign([TopicPartition(target.marks, 0, start)])
                if (found := self._last_mark(consumer, stop)) is not None:
                    return found
                stop, window = start, window * 8
            return None
        except KafkaException as error:
            raise self._unopened(error.args[0], consumer) from None
        finally:
            consumer.close()

    def _note_unreached(self, error: KafkaError) -> None:
        """A broker was not reached, or another one; of the reasons our settings come first."""
        last = self._unreached
        if error.name() in _OF_REACH and not (last and last.name() in _OF_SETTINGS):
            self._unreached = error

    def _unopened(self, error: KafkaError, client: Any) -> Exception:
        """What an error means to us that may only say that no broker answered."""
        from confluent_kafka import KafkaException

        with suppress(KafkaException):
            client.poll(0)  # librdkafka says then why it did not reach them
        if error.name() in _OF_SILENCE and self._unreached is not None:
            error = self._unreached
        return _failure(error)

    def _ends(self, consumer: Any, place: Any) -> tuple[int, int]:
        """Where a partition begins and ends; a new topic has no leader at first."""
        from confluent_kafka import KafkaException

        end_s = monotonic() + self._reach_s
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=self._reach_s)
                return low, high
            except KafkaException as error:
                if error.args[0].name() not in _TOO_EARLY or monotonic() > end_s:
                    raise
                consumer.poll(0.1)

    def _last_mark(self, consumer: Any, stop: int) -> Mark | None:
        """The last one from where the consumer stands to an offset."""
        from confluent_kafka import KafkaError

        found: Mark | None = None
        key = self.target.stream.encode()
        end_s = monotonic() + self._commit_s
        while True:
            message = consumer.poll(1.0)
            if message is None:
                if monotonic() > end_s:
                    raise Unavailable(f"topic {self.target.marks} cannot be read to its end")
                continue
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return found
                raise _failure(error, f"topic {self.target.marks}: ")
            if message.offset() >= stop:
                return found
            if message.key() == key:
                try:
                    found = Mark.decode(message.value())
                except (ValueError, TypeError) as wrong:
                    raise Misconfigured(
                        f"topic {self.target.marks}, offset {message.offset()}: {wrong}; name"
                        " another one with changefeed-positions-topic"
                    ) from None

    # Publishing

    def publish(self, batch: Sequence[Outgoing], mark: Mark) -> None:
        """Publish records, each for a topic, and that the stream has come so far.

        Raises Refused, Fenced, Unavailable, Misconfigured.
        """
        self.send(batch, mark)
        self.finish()

    def send(self, batch: Sequence[Outgoing], mark: Mark) -> None:
        """The first half, which takes time of the processor and does not block."""
        from confluent_kafka import KafkaException

        assert self._producer is not None
        producer = self._producer
        self._failed.clear()
        self._batch, self._mark = batch, mark
        try:
            if not self.target.transactions:
                self._produce_all(producer, batch)
                return
            producer.begin_transaction()
            try:
                self._produce_all(producer, batch)
                self._produce_mark(producer, mark)
            except Refused:
                producer.abort_transaction(self._commit_s)
                raise
        except KafkaException as error:
            raise _failure(error.args[0]) from None

    def finish(self) -> None:
        """The second half, which waits for the broker."""
        from confluent_kafka import KafkaException

        assert self._producer is not None
        producer = self._producer
        try:
            left = self._flush(producer)
            if not self.target.transactions:
                self._check(left)
                self._produce_mark(producer, self._mark)
                self._check(self._flush(producer))
                return
            if self._failed:
                producer.abort_transaction(self._commit_s)
            self._check(left)
            self._commit(producer)
        except KafkaException as error:
            raise _failure(error.args[0]) from None

    def _commit(self, producer: Producer) -> None:
        from confluent_kafka import KafkaException

        end_s = monotonic() + self._commit_s
        while True:
            try:
                producer.commit_transaction(self._commit_s)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or monotonic() > end_s:
                    raise

    def _flush(self, producer: Producer) -> int:
        """Wait until the broker has the records or one has failed; how many it has not."""
        end_s = monotonic() + self._commit_s
        while left := producer.flush(LOOK_S):
            if self._failed or monotonic() > end_s:
                break
        return left

    def _check(self, left: int) -> None:
        """See what has become of the records."""
        self._raise_refused()
        for error in self._failed.values():
            raise _failure(error)
        if left:
            raise Unavailable(f"{left} records were not acknowledged in time")

    def _produce_all(self, producer: Producer, batch: Sequence[Outgoing]) -> None:
        from confluent_kafka import KafkaException

        produce = producer.produce
        index = 0
        end_s = 0.0
        while index < len(batch):
            try:
                for topic, (key, value, headers), partition in islice(batch, index, None):
                    produce(topic, value, key, partition, None, None, 0, headers)
                    index += 1
            except BufferError:
                # So many are on the way that there is no place for more.
                end_s = end_s or monotonic() + self._commit_s
                producer.poll(0.1)
                if monotonic() > end_s:
                    raise Unavailable("the broker takes no records") from None
            except KafkaException as error:
                if _is_of_record(error.args[0]):
                    raise Refused(index, error.args[0].str()) from None
                raise

    def _produce_mark(self, producer: Producer, mark: Mark) -> None:
        record = Record(self.target.stream.encode(), mark.encode(), {})
        try:
            self._produce_all(producer, [Outgoing(self.target.marks, record, 0)])
        except Refused as error:
            raise Misconfigured(f"topic {self.target.marks}: {error.reason}") from None

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        """The broker did not take a record: see which one it was, if it is about that."""
        if error is None or error.name() in _OF_PURGE:
            return
        index = -1
        if _is_of_record(error):
            found = message.topic(), message.key(), message.value()
            for at, (topic, record, _) in enumerate(self._batch):
                if (topic, record.key, record.value) == found:
                    index = at
                    break
        self._failed[index] = error

    def _raise_refused(self) -> None:
        """Say which record it was that the broker did not take, if it was one."""
        refused = sorted(index for index in self._failed if index >= 0)
        if not refused:
            return
        error = self._failed[refused[0]]
        if len(refused) > 1 and not self._alone:
            # The limit is on what is sent together, so that any of these may be too large, or none.
            self._alone_next = True
            raise Unavailable(
                f"{error.str()}: records are sent one by one for now; if it happens again set"
                " batch.size in changefeed-kafka-options below max.message.bytes of the topic"
            )
        raise Refused(refused[0], error.str())


_OF_RECORD = {"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG"}
_OF_SETTINGS = {
    "CLUSTER_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "INVALID_CONFIG",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_PARTITIONS",
    "INVALID_TRANSACTION_TIMEOUT",
    "POLICY_VIOLATION",
    "SASL_AUTHENTICATION_FAILED",
    "TOPIC_AUTHORIZATION_FAILED",
    "TOPIC_EXCEPTION",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "UNSUPPORTED_SASL_MECHANISM",
    "_AUTHENTICATION",
    "_INVALID_ARG",
    "_SSL",
}
_OF_REACH = {"_AUTHENTICATION", "_RESOLVE", "_SSL", "_TRANSPORT"}
_OF_SILENCE = {"_ALL_BROKERS_DOWN", "_TIMED_OUT", "_TRANSPORT"}
_TOO_EARLY = {"LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "UNKNOWN_TOPIC_OR_PART"}
_OF_PURGE = {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}
"""Something else went wrong before, which the end of the transaction tells."""
_OF_FENCE = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}

_TOOK = re.compile(r" \(after \d+ ?ms[^)]*\)$")
"""Each time it is another."""


def _is_of_record(error: KafkaError) -> bool:
    """Whether others may be taken where this one was not."""
    return error.name() in _OF_RECORD


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return str(first.str()) if hasattr(first, "str") else str(first)


def _failure(error: KafkaError, where: str = "") -> Exception:
    """What an error of librdkafka means to us."""
    text = f"{where}{_TOOK.sub('', error.str())} ({error.name()})"
    if error.name() in _OF_FENCE:
        return Fenced(text)
    if error.name() in _OF_SETTINGS:
        return Misconfigured(text)
    return Unavailable(text)
