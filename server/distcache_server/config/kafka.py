"""The settings of the changefeed's way to Kafka."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec

from distcache_server.config.kinds import (
    INT_MAX,
    LONG_MAX,
    Boolean,
    ConfigError,
    Integer,
    Memory,
    Section,
    Setting,
    String,
    text,
)

GROUP = "{group}"
"""In the name of a topic: one for each group of keys, see ``key-groups``."""

_URL = re.compile(r"kafka://(?P<brokers>[^/@\s]+)/(?P<topic>[^/?#\s]+)")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OPTION = re.compile(r"[a-z][a-z0-9.]*")

_OURS = {
    "bootstrap.servers",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "transactional.id",
}
"""What must be as it is."""


def check_topic(name: str) -> None:
    """Raises ConfigError where Kafka has no such names."""
    if name in (".", "..") or not _TOPIC.fullmatch(name):
        raise ConfigError("a topic's name has letters, digits, '.', '_' and '-', up to 249 of them")


def _check_place(value: str) -> None:
    if not value:
        return
    found = _URL.fullmatch(value)
    if not found:
        raise ConfigError("should be kafka://host:port[,host:port ...]/topic")
    check_topic(found["topic"].replace(GROUP, "group"))
    if find_spec("confluent_kafka") is None:
        raise ConfigError("needs confluent-kafka: pip install 'distcache-server[kafka]'")


def place(value: str) -> tuple[str, str]:
    """Brokers and topic in the setting ``changefeed``."""
    found = _URL.fullmatch(value)
    assert found is not None
    return found["brokers"], found["topic"]


def _check_optional_name(value: str) -> None:
    if value:
        check_topic(value)


class Pairs(Setting[tuple[tuple[str, str], ...]]):
    """Settings of somebody else: ``name=value`` for each."""

    several_words = True

    def parse(
        self, words: Sequence[bytes], old: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for word in filter(None, words):
            name, equals, value = text(word).partition("=")
            if not equals or not _OPTION.fullmatch(name):
                raise ConfigError("should be name=value, each between blanks")
            found[name] = value
        return tuple(found.items())

    def show(self, value: tuple[tuple[str, str], ...]) -> bytes:
        return " ".join(f"{name}={each}" for name, each in value).encode()

    def lines(self, value: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bool]]:
        return [(self.show(value) or b'""', value != self.default)]

    def accepts(self) -> str:
        return "name=value ..."


class Password(String):
    """Text that CONFIG GET does not show."""

    def show(self, value: str) -> bytes:
        return b"***" if value else b""


class Passed(Pairs):
    """Settings of librdkafka.  Some name programs and files: clients may not change them."""

    def __init__(self, summary: str) -> None:
        super().__init__((), summary, protected=True, secret=True)

    def parse(
        self, words: Sequence[bytes], old: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        found = super().parse(words, old)
        for name, _ in found:
            if name in _OURS:
                raise ConfigError(f"{name} cannot be set")
        return found

    def show(self, value: tuple[tuple[str, str], ...]) -> bytes:
        return super().show(tuple((name, "***" if _is_secret(name) else it) for name, it in value))

    def lines(self, value: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bool]]:
        return [(super().show(value) or b'""', value != self.default)]


def _is_secret(name: str) -> bool:
    return name.endswith(("password", "secret", ".pem", "sasl.oauthbearer.config"))


def _passed_on(summary: str, protected: bool = False) -> String:
    return String("", summary, optional=True, protected=protected)


class Kafka(Section):
    """The changefeed in Kafka. See docs/changefeed.md."""

    changefeed = String(
        "",
        "Publish all changes: kafka://host:port[,host:port ...]/topic. With {group} in the topic's"
        " name there is one for each pattern of key-groups.",
        optional=True,
        valid=_check_place,
    )
    changefeed_stream = String(
        "distcache",
        "The name of this stream of events. All servers that may take over from each other have the"
        " same; no others have.",
        valid=check_topic,
    )
    changefeed_transactions = Boolean(
        True,
        "Publish in transactions, so that a reader of what is committed sees each event once. Else"
        " a crash may repeat some.",
    )
    changefeed_create_topics = Boolean(True, "Create the topics that are missing.")
    changefeed_topic_partitions = Integer(
        1, 1, 10_000, "Partitions of a topic that is created. All changes of a key are in one."
    )
    changefeed_topic_replication = Integer(
        -1, -1, 1000, "Replicas of a topic that is created; -1 for the broker's default."
    )
    changefeed_topic_settings = Pairs(
        (), "Settings of a topic that is created, such as cleanup.policy=compact."
    )
    changefeed_positions_topic = String(
        "distcache.positions",
        "The topic that says how far streams go. It is compacted and has one partition.",
        valid=check_topic,
    )
    changefeed_dead_letter_topic = String(
        "distcache.dead-letters",
        "The topic for what the broker does not take; without one a refused event is only logged.",
        optional=True,
        valid=_check_optional_name,
    )
    changefeed_kafka_security_protocol = _passed_on("plaintext, ssl, sasl_plaintext or sasl_ssl.")
    changefeed_kafka_sasl_mechanism = _passed_on("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, ...")
    changefeed_kafka_sasl_username = _passed_on("The user at the broker.")
    changefeed_kafka_sasl_password = Password("", "Its password.", optional=True, secret=True)
    changefeed_kafka_ssl_ca_location = _passed_on("A file of certificates to trust.", True)
    changefeed_kafka_ssl_certificate_location = _passed_on("A file with our certificate.", True)
    changefeed_kafka_ssl_key_location = _passed_on("A file with its key.", True)
    changefeed_kafka_ssl_key_password = Password("", "Its passphrase.", optional=True, secret=True)
    changefeed_kafka_compression_type = _passed_on("none, gzip, snappy, lz4 or zstd.")
    changefeed_kafka_options = Passed("More settings of librdkafka, under its names.")
    changefeed_max_lag = Memory(
        4 << 30,
        0,
        LONG_MAX,
        "With appendonly: how much of the log is kept on disk, beyond changefeed-retention, while"
        " the broker does not take it. Past that the stream begins again with all keys.",
    )
    changefeed_backoff = Integer(
        30_000, 100, INT_MAX, "The longest pause in milliseconds before a broker is tried again."
    )


NAMES = tuple(name.replace("_", "-") for name, it in vars(Kafka).items() if isinstance(it, Setting))
"""The directives of this section."""

_PREFIX = "changefeed_kafka_"


def options(config: Kafka) -> dict[str, str]:
    """The settings of librdkafka, under its names."""
    found = {}
    for name, setting in vars(Kafka).items():
        if name.startswith(_PREFIX) and isinstance(setting, String):
            value = getattr(config, name)
            if value:
                found[name.removeprefix(_PREFIX).replace("_", ".")] = value
    return {**found, **dict(config.changefeed_kafka_options)}
