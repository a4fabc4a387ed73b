"""TLS, users and certificates, with a broker that wants them: what gets through, what is said."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.blackbox.kafka.conftest import Name
from tests.support import Process, StartServer, eventually
from tests.support.broker import Broker, Secured, missing, read_topic
from tests.support.certificates import Authority
from tests.support.certificates import missing as missing_openssl
from tests.support.changefeed import state, wait_published
from tests.support.guide import block
from tests.support.replication import ask
from tests.support.servers import free_port

pytestmark = pytest.mark.timeout(300)

GUIDE = block("docs/kafka.md", "conf", having="sasl_ssl")
CERTIFICATES = block("docs/kafka.md", "conf", having="ssl-key-location")
USER, PASSWORD, PASSPHRASE, WRONG = "cache", "pass-of-cache", "phrase-of-cache", "no-such-pass"

CREATE, DESCRIBE = AclOperation.CREATE, AclOperation.DESCRIBE
READ, WRITE = AclOperation.READ, AclOperation.WRITE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if reason := missing_openssl():
        pytest.skip(f"missing: {reason}")
    return Authority(tmp_path_factory.mktemp("certificates") / "authority")


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if reason := missing():
        pytest.skip(f"missing: {reason}")
    certificate, key = authority.sign("broker")
    secured = Secured(certificate, key, authority.certificate, {USER: PASSWORD})
    made = Broker(tmp_path_factory.mktemp("kafka") / "broker", secured=secured)
    yield made
    made.kill()


def allow(broker: Broker, principal: str, stream: str, topics: list[str], positions: str) -> None:
    """Give somebody what the guide says that the user needs."""
    topic, group, id_ = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
    rights = [(topic, name, it) for name in topics for it in (DESCRIBE, WRITE, CREATE)]
    rights += [(topic, positions, it) for it in (DESCRIBE, READ, WRITE, CREATE)]
    rights += [(id_, f"distcache-{stream}", it) for it in (DESCRIBE, WRITE)]
    rights += [(group, f"distcache-{stream}", READ)]
    pattern, let = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    allowed = [
        AclBinding(kind, name, pattern, f"User:{principal}", "*", operation, let)
        for kind, name, operation in rights
    ]
    admin = AdminClient({"bootstrap.servers": broker.address})
    for future in admin.create_acls(allowed).values():
        future.result(30)


def keys(broker: Broker, topic: str) -> list[str]:
    """Of the events of a topic, in order."""
    return [json.loads(it.value())["key"] for it in read_topic(broker, topic)]


def all_that_is_shown(server: Process) -> str:
    """What who may look at the server, its log and its processes can see."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    assert children
    shown = [server.log()]
    for pid in (server.pid, *map(int, children)):
        shown += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]
    for words in ("INFO everything", "CONFIG GET *", "SLOWLOG GET", "CLIENT LIST"):
        shown.append(repr(ask(server, *words.split())))
    port = ask(server, "CONFIG", "GET", "metrics-port")[1].decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        shown.append(response.read().decode())
    return "\n".join(shown)


@pytest.fixture
def directives(tmp_path: Path, authority: Authority, broker: Broker, name: Name) -> dict[str, str]:
    """What the guide has for a user, with names of our own."""
    made = dict(line.split(" ", 1) for line in GUIDE.splitlines())
    made["changefeed"] = f"kafka://127.0.0.1:{broker.passwords}/{name('changes')}"
    made["changefeed-stream"] = name("stream")
    made["changefeed-positions-topic"] = name("positions")
    made["changefeed-dead-letter-topic"] = ""
    made["changefeed-kafka-ssl-ca-location"] = str(tmp_path / "ca.pem")
    made["changefeed-kafka-sasl-password"] = PASSWORD
    shutil.copy(authority.certificate, tmp_path / "ca.pem")
    allow(broker, USER, name("stream"), [name("changes")], name("positions"))
    return made


def start(start_server: StartServer, folder: Path, directives: dict[str, str]) -> Process:
    """A server with a configuration file; nothing secret is among its arguments."""
    file = folder / "distcache.conf"
    file.write_text("\n".join(f"{name} {it or chr(34) * 2}" for name, it in directives.items()))
    arguments = ("--metrics-port", str(free_port()), "--slowlog-log-slower-than", "0")
    return start_server(str(file), *arguments)


def test_the_guide(
    broker: Broker, authority: Authority, tmp_path: Path, start_server: StartServer
) -> None:
    topics = ["cache.changes", "distcache.dead-letters"]
    allow(broker, USER, "cache", topics, "distcache.positions")
    places = {
        "broker1:9093,broker2:9093": f"127.0.0.1:{broker.passwords}",
        "/etc/ssl/certs/ca.pem": str(authority.certificate),
        "secret": PASSWORD,
    }
    text = GUIDE
    for shown, place in places.items():
        assert text.count(shown) == 1
        text = text.replace(shown, place)
    (tmp_path / "distcache.conf").write_text(text)
    server = start_server(str(tmp_path / "distcache.conf"), "--metrics-port", str(free_port()))
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    ask(server, "SET", "key", "value")
    wait_published(server)
    assert keys(broker, "cache.changes") == ["key"]
    assert PASSWORD not in all_that_is_shown(server)


def test_a_wrong_password(
    broker: Broker,
    directives: dict[str, str],
    name: Name,
    tmp_path: Path,
    start_server: StartServer,
) -> None:
    server = start(start_server, tmp_path, directives)
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    ask(server, "SET", "before", "1")
    wait_published(server)
    with server.wire() as monitor:
        monitor.call("MONITOR")
        ask(server, "CONFIG", "SET", "changefeed-kafka-sasl-password", WRONG)
        eventually(lambda: "Authentication failed" in state(server)["error"])
        assert state(server)["state"] == "waiting"
        assert "Authentication failed" in server.log()
        ask(server, "SET", "meanwhile", "2")
        shown = all_that_is_shown(server)
        ask(server, "CONFIG", "SET", "changefeed-kafka-sasl-password", PASSWORD)
        ask(server, "SET", "after", "3")
        while "after" not in shown:
            shown += repr(monitor.reply())
    wait_published(server)
    assert state(server)["error"] == ""
    assert keys(broker, name("changes")) == ["before", "meanwhile", "after"]
    shown += all_that_is_shown(server)
    assert WRONG not in shown
    assert PASSWORD not in shown


def test_an_authority_that_is_not_known(
    broker: Broker,
    authority: Authority,
    directives: dict[str, str],
    name: Name,
    tmp_path: Path,
    start_server: StartServer,
) -> None:
    trusted = Path(directives["changefeed-kafka-ssl-ca-location"])
    shutil.copy(Authority(tmp_path / "other").certificate, trusted)
    server = start(start_server, tmp_path, {**directives, "changefeed-backoff": "200"})
    ask(server, "SET", "before", "1")
    eventually(lambda: state(server)["state"] == "waiting", timeout=60)
    for text in (state(server)["error"], server.log()):
        assert "broker certificate could not be verified" in text
    # It is said once, however often it is tried.
    eventually(lambda: int(state(server)["failures"]) > 1, timeout=60)
    assert server.log().count("certificate verify failed") == 1
    shutil.copy(authority.certificate, trusted)
    wait_published(server)
    assert state(server)["error"] == ""
    assert [it for it in keys(broker, name("changes")) if it] == ["before"]


def test_a_missing_right(
    broker: Broker,
    directives: dict[str, str],
    name: Name,
    tmp_path: Path,
    start_server: StartServer,
) -> None:
    stream = name("another-stream")
    ours = {**directives, "changefeed-stream": stream, "changefeed-backoff": "200"}
    server = start(start_server, tmp_path, ours)
    eventually(lambda: state(server)["state"] == "waiting", timeout=60)
    assert "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in state(server)["error"]
    allow(broker, USER, stream, [name("changes")], name("positions"))
    ask(server, "SET", "key", "value")
    wait_published(server)
    assert [it for it in keys(broker, name("changes")) if it] == ["key"]


def test_certificates_of_clients(
    broker: Broker,
    authority: Authority,
    directives: dict[str, str],
    name: Name,
    tmp_path: Path,
    start_server: StartServer,
) -> None:
    user = name("client")
    certificate, key = authority.sign(user, PASSPHRASE)
    allow(broker, f"CN={user}", name("stream"), [name("changes")], name("positions"))
    text = CERTIFICATES.replace("/etc/ssl/certs/ca.pem", str(authority.certificate))
    text = text.replace("/etc/distcache/cache.crt", str(certificate))
    text = text.replace("/etc/distcache/cache.key", str(key)).replace("secret", PASSPHRASE)
    ours = {it: value for it, value in directives.items() if "-kafka-" not in it}
    ours["changefeed"] = ours["changefeed"].replace(str(broker.passwords), str(broker.certificates))
    ours |= dict(line.split(" ", 1) for line in text.splitlines())
    server = start(start_server, tmp_path, ours)
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    ask(server, "SET", "key", "value")
    wait_published(server)
    assert keys(broker, name("changes")) == ["key"]
    assert PASSPHRASE not in all_that_is_shown(server)
