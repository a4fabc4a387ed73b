"""A real Apache Kafka that tests start: one process that is broker and controller (KRaft)."""

import base64
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers import free_port
from tests.support.waiting import eventually

JARS = Path(__file__).parents[2] / ".cache" / "kafka"
"""Where tests/setup.sh puts them."""

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxied}{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORDS:SASL_SSL,CERTIFICATES:SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=5000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""
_SECURED = """\
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={trusted}
listener.name.passwords.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.passwords.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.passwords.plain.sasl.jaas.config={login}.plain.PlainLoginModule required{users};
listener.name.certificates.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
_LOGIN = "org.apache.kafka.common.security"
_JAVA = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*")


def missing() -> str | None:
    """What a broker lacks here; None where one can be started."""
    if not shutil.which("java"):
        return "java (Debian: openjdk-17-jre-headless)"
    if not (JARS / "complete").exists():
        return "Kafka's jars (tests/kafka/fetch.py gets them from Maven Central)"
    return None


@dataclass(frozen=True)
class Secured:
    """What a broker with TLS needs. Who comes over TLS may do nothing that it is not allowed."""

    certificate: Path
    key: Path
    trusted: Path
    """Who has signed the certificates of clients."""
    users: Mapping[str, str]
    """Names and passwords, for SCRAM-SHA-512 and PLAIN."""


class Broker:
    """A broker in a folder of its own; started again, it has the same port and data."""

    def __init__(self, folder: Path, settings: str = "", secured: Secured | None = None) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self.passwords, self.certificates = free_port(), free_port()
        """Where it speaks TLS, if it is secured: with passwords of users or their certificates."""
        self.behind, self.proxied = free_port(), free_port()
        """Who comes to the first is told to go on at the second, where a proxy may stand."""
        self._log = folder / "log"
        self._properties = folder / "server.properties"
        ports = {"port": self.port, "behind": self.behind, "proxied": self.proxied}
        listeners, users = "", []
        if secured is not None:
            for name in ("passwords", "certificates"):
                listeners += f",{name.upper()}://127.0.0.1:{getattr(self, name)}"
            settings += self._secure(folder / "keys.pem", secured)
            users = [
                f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
                for user, password in secured.users.items()
            ]
        text = _SETTINGS.format(folder=folder, controller=free_port(), listeners=listeners, **ports)
        self._properties.write_text(text + settings)
        # An id that began with a dash would be taken for an option.
        cluster = base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
        of = ("-t", cluster, "-c", str(self._properties))
        self._run("kafka.tools.StorageTool", "format", *of, *users)
        self.process = self._start()

    @property
    def address(self) -> str:
        """For ``bootstrap.servers``."""
        return f"127.0.0.1:{self.port}"

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.terminate()
        self.process.wait(60)

    def start(self) -> None:
        """Start it again, after `kill` or `stop`."""
        self.process = self._start()

    def _secure(self, keys: Path, secured: Secured) -> str:
        keys.write_text(secured.key.read_text() + secured.certificate.read_text())
        return _SECURED.format(
            keys=keys,
            trusted=secured.trusted,
            login=_LOGIN,
            users="".join(f' user_{name}="{it}"' for name, it in secured.users.items()),
        )

    def _run(self, *words: str) -> None:
        subprocess.run([*_JAVA, *words], check=True, capture_output=True)

    def _start(self) -> "subprocess.Popen[bytes]":
        started = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*_JAVA, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )

        def listens() -> bool:
            if process.poll() is not None:
                return True
            with socket.socket() as probe:
                reached = probe.connect_ex(("127.0.0.1", self.port)) == 0
            return reached and "Kafka Server started" in self.log()[started:]

        try:
            eventually(listens, timeout=120, interval=0.1)
            assert process.poll() is None, "it exited"
        except AssertionError as error:
            process.kill()
            process.wait()
            raise AssertionError(f"Kafka did not start:\n{self.log()[-4000:]}") from error
        return process


def read_topic(broker: Broker, topic: str) -> list[Any]:
    """All committed records of a topic, partition by partition."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: dict[int, list[Any]] = {number: [] for number in sorted(partitions)}
        ended: set[int] = set()
        while len(ended) < len(found):
            message = consumer.poll(30)
            assert message is not None, f"{topic} cannot be read to its end"
            partition = message.partition()
            assert partition is not None
            if (error := message.error()) is None:
                found[partition].append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(partition)
        return [message for messages in found.values() for message in messages]
    finally:
        consumer.close()
