"""Settings of the changefeed in Kafka: what is accepted, what is shown, what librdkafka gets."""

from __future__ import annotations

import importlib.util

import pytest
from distcache_server.config import Config, ConfigError
from distcache_server.config.kafka import options, place


def config(*lines: str) -> Config:
    made = Config()
    made.load("\n".join(lines), "x")
    return made


def change(it: Config, name: str, value: str, local: bool = True) -> None:
    it.set([(name.encode(), value.encode())], local=local)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("kafka://b:9092/t", ("b:9092", "t")),
        ("kafka://a:1,[::1]:2,c/cache.changes-1_x", ("a:1,[::1]:2,c", "cache.changes-1_x")),
        ("kafka://b/x.{group}", ("b", "x.{group}")),
    ],
)
def test_a_place(value: str, found: tuple[str, str]) -> None:
    it = Config()
    change(it, "changefeed", value)
    assert place(it.changefeed) == found
    change(it, "changefeed", "")
    assert it.changefeed == ""


@pytest.mark.parametrize(
    "value",
    [
        *("kafka:", "kafka://b", "kafka://b/", "http://b/t", "kafka:///t", "kafka://b/t/u"),
        *(
            "kafka://user:secret@b/t",
            "kafka://b/t?x",
            "kafka://b /t",
            "kafka://b/.",
            "kafka://b/..",
        ),
        *("kafka://b/t{}", "kafka://b/\u00e9", "kafka://b/" + "t" * 250),
    ],
)
def test_what_is_no_place(value: str) -> None:
    it = Config()
    with pytest.raises(ConfigError) as error:
        change(it, "changefeed", value)
    assert "secret" not in error.value.reason
    assert it.changefeed == ""


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distcache_server.config.kafka.find_spec", lambda _: None)
    assert importlib.util.find_spec("confluent_kafka")
    with pytest.raises(ConfigError, match=r"distcache-server\[kafka\]"):
        change(Config(), "changefeed", "kafka://b/t")


def test_names_of_topics() -> None:
    it = Config()
    change(it, "changefeed-dead-letter-topic", "")
    for name in ("changefeed-stream", "changefeed-positions-topic"):
        for wrong in ("", "a b", "a/b", "{group}", "..", "a{group}"):
            with pytest.raises(ConfigError):
                change(it, name, wrong)
        change(it, name, "a.b-c_d")


def test_what_librdkafka_gets() -> None:
    it = config(
        "changefeed-kafka-security-protocol sasl_ssl",
        "changefeed-kafka-ssl-ca-location /ca.pem",
        "changefeed-kafka-sasl-password secret",
        "changefeed-kafka-compression-type zstd",
        "changefeed-kafka-options linger.ms=20 compression.type=lz4 sasl.username=",
    )
    assert options(it) == {
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": "/ca.pem",
        "sasl.password": "secret",
        "compression.type": "lz4",
        "linger.ms": "20",
        "sasl.username": "",
    }
    assert options(Config()) == {}


def test_secrets_are_not_shown_but_rewritten() -> None:
    it = config(
        "changefeed-kafka-sasl-password secret",
        "changefeed-kafka-ssl-key-password secret",
        "changefeed-kafka-options ssl.keystore.password=secret linger.ms=1 ssl.key.pem=secret"
        " sasl.oauthbearer.client.secret=secret",
    )
    shown = it.get([b"changefeed-kafka-*"])
    assert b"secret" not in b" ".join(shown.values()).replace(b"client.secret", b"")
    assert b"linger.ms=1" in shown[b"changefeed-kafka-options"]
    assert options(it)["ssl.keystore.password"] == "secret"
    for name in (b"changefeed-kafka-options", b"changefeed-kafka-sasl-password"):
        assert it.is_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        *("bootstrap.servers=b", "enable.idempotence=false", "transactional.id=x", "linger.ms"),
        *("isolation.level=read_uncommitted", "=1", "Linger=1", "on_delivery=x"),
    ],
)
def test_what_cannot_be_passed_on(value: str) -> None:
    with pytest.raises(ConfigError):
        config(f"changefeed-kafka-options {value}")


def test_clients_cannot_name_programs_and_files() -> None:
    it = Config()
    for name, value in (
        ("changefeed-kafka-options", "plugin.library.paths=/tmp/x.so"),
        ("changefeed-kafka-ssl-key-location", "/etc/shadow"),
    ):
        with pytest.raises(ConfigError, match="protected"):
            change(it, name, value)


def test_settings_of_topics() -> None:
    it = config("changefeed-topic-settings cleanup.policy=compact retention.ms=-1")
    assert it.changefeed_topic_settings == (("cleanup.policy", "compact"), ("retention.ms", "-1"))
    assert it.get([b"changefeed-topic-settings"]) == {
        b"changefeed-topic-settings": b"cleanup.policy=compact retention.ms=-1"
    }
