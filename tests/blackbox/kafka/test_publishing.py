"""The changefeed in a real Kafka: every change once and in order, through crashes on both sides."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from distcache_server import serve
from distcache_server.changefeed.peer import Peer
from distcache_server.changefeed.process import Process as ChangesProcess

from tests.blackbox.kafka.conftest import Name
from tests.support import Process, StartServer, eventually
from tests.support.broker import Broker, read_topic
from tests.support.changefeed import Contents, contents, replay, state, wait_published
from tests.support.replication import SETTINGS, ask, follow, info
from tests.support.servers import OURS, free_port

pytestmark = pytest.mark.timeout(300)

Publish = Callable[..., Process]


@pytest.fixture
def topic(name: Name) -> str:
    return name("changes")


@pytest.fixture
def settings(broker: Broker, name: Name, topic: str) -> tuple[str, ...]:
    """Directives of servers that publish to one stream."""
    return (
        *("--changefeed", f"kafka://{broker.address}/{topic}"),
        *("--changefeed-stream", name("stream")),
        *("--changefeed-positions-topic", name("positions")),
        *("--changefeed-dead-letter-topic", name("dead")),
        *("--changefeed-backoff", "500"),
        *("--appendonly", "yes", "--appendfsync", "always"),
    )


@pytest.fixture
def publish(start_server: StartServer, settings: tuple[str, ...]) -> Publish:
    """Start a server that publishes: `publish(*directives)`."""

    def start(*directives: str) -> Process:
        return start_server(*settings, *directives)

    return start


def wait_for_more(server: Process, more: int = 1) -> None:
    """Until it has published so many more transactions."""
    goal = int(state(server)["transactions"]) + more
    eventually(lambda: int(state(server)["transactions"]) >= goal, timeout=60)


def documents(broker: Broker, topic: str) -> list[Any]:
    """All events of a topic, in order where it has one partition; none comes twice."""
    found = [json.loads(it.value()) for it in read_topic(broker, topic) if it.value() is not None]
    ids = [(it["source"]["history"], it["id"], it["source"]["epoch"]) for it in found]
    again = [it for it in ids if ids.count(it) > 1] if len(ids) != len(set(ids)) else []
    assert not again
    return found


def check(broker: Broker, topic: str, server: Process) -> list[Any]:
    """Replay the topic into an empty map: it is what the server has, nothing twice, in order."""
    wait_published(server)
    found = documents(broker, topic)
    made: Contents = {}
    last: dict[Any, tuple[int, ...]] = {}
    for document in found:
        if document["op"] != "snapshot":
            place = document["source"]["history"], document["key"] is None or str(document["key"])
            at = tuple(map(int, document["id"].split("-")))
            assert at > last.get(place, ())
            last[place] = at
        replay(made, document)
    with server.client() as client:
        assert made == contents(client)
    return found


def snapshots(found: list[Any]) -> int:
    """How often all keys came."""
    return sum(it.get("mark") == "begin" for it in found)


class Writer:
    """Writes counters and lists all the time, as long as the server takes it."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self._done = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._done.is_set():
            try:
                with self._server.wire() as wire:
                    while not self._done.is_set():
                        number += 1
                        wire.call("SET", f"key{number % 50}", number)
                        wire.call("RPUSH", "list", number)
                        wire.call("HSET", f"hash{number % 7}", number % 11, number)
                        if number % 20 == 0:
                            wire.call("DEL", "list", f"key{number % 50}")
            except (OSError, AssertionError):
                self._done.wait(0.02)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture
def write() -> Iterator[Callable[[Process], Writer]]:
    writers: list[Writer] = []

    def begin(server: Process) -> Writer:
        writers.append(Writer(server))
        return writers[-1]

    yield begin
    for writer in writers:
        writer.stop()


def test_changes_come_with_their_values(broker: Broker, topic: str, publish: Publish) -> None:
    server = publish("--changefeed-tombstones", "yes")
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    wait_published(server)
    ask(server, "SET", "key", "value")
    ask(server, "RPUSH", "list", "a", "b")
    ask(server, "DEL", "key")
    check(broker, topic, server)
    records = read_topic(broker, topic)
    seen = [(it.key(), json.loads(it.value())["op"] if it.value() else None) for it in records]
    assert seen == [
        (b"key", "set"),
        (b"list", "set"),
        (b"key", "delete"),
        (b"key", None),
    ]
    headers = dict(records[0].headers())
    assert headers["ce_type"] == b"distcache.set"
    assert headers["ce_subject"] == b"key"
    found = state(server)
    assert (found["epoch"], found["error"], found["lag"]) == ("1", "", "0")


def test_keys_of_one_group_have_a_topic_of_their_own(
    broker: Broker, topic: str, name: Name, start_server: StartServer
) -> None:
    server = start_server(
        *("--changefeed", f"kafka://{broker.address}/{topic}.{{group}}"),
        *("--changefeed-stream", name("stream"), "--key-groups", "user:* session:*"),
        *("--changefeed-topic-partitions", "3", "--changefeed-heartbeat", "200"),
    )
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    for number in range(30):
        ask(server, "SET", f"user:{number}", number)
    ask(server, "SET", "else", "1")
    wait_published(server)
    wait_for_more(server)
    # A topic that grows all the time cannot be read to its end.
    ask(server, "CONFIG", "SET", "changefeed", "")
    eventually(lambda: "The changefeed has ended" in server.log())

    found = {it: read_topic(broker, f"{topic}.{it}") for it in ("user", "session", "other")}
    keys = {name: {it.key() for it in records} for name, records in found.items()}
    mark = b"distcache:changefeed"
    assert keys["user"] == {mark, *(b"user:%d" % number for number in range(30))}
    assert keys["session"] == {mark}
    assert keys["other"] == {mark, b"else"}
    # Each partition says how far all is, also where there are no changes.
    beats = {it.partition() for it in found["session"] if b'"heartbeat"' in it.value()}
    assert beats == {0, 1, 2}


@pytest.mark.parametrize("transactions", ["yes", "no"])
def test_kills_of_the_server(
    broker: Broker,
    topic: str,
    settings: tuple[str, ...],
    tmp_path: Path,
    write: Callable[[Process], Writer],
    transactions: str,
) -> None:
    directives = (*settings, "--changefeed-transactions", transactions)
    for life in range(4):
        server = Process(OURS, directives, tmp_path / "server")
        try:
            writer = write(server)
            wait_for_more(server, life + 1)
            if life < 3:
                server.kill()
            writer.stop()
            if life == 3 and transactions == "yes":
                found = check(broker, topic, server)
                assert snapshots(found) <= 1
            elif life == 3:
                # Some may come again; what they make of a map is the same.
                wait_published(server)
                made: Contents = {}
                for record in read_topic(broker, topic):
                    replay(made, json.loads(record.value()))
                with server.client() as client:
                    assert made == contents(client)
        finally:
            server.kill()


def test_kills_of_the_broker(
    broker: Broker, topic: str, publish: Publish, write: Callable[[Process], Writer]
) -> None:
    server = publish()
    writer = write(server)
    for _ in range(2):
        wait_for_more(server)
        broker.kill()
        ask(server, "SET", "while", "away")
        broker.start()
    wait_for_more(server)
    writer.stop()
    found = check(broker, topic, server)
    assert snapshots(found) <= 1


def test_a_deposed_primary_publishes_nothing_more(
    broker: Broker, topic: str, publish: Publish
) -> None:
    primary, replica = publish(*SETTINGS), publish(*SETTINGS)
    follow(replica, primary)
    eventually(lambda: state(primary)["state"] == "publishing", timeout=60)
    for number in range(50):
        ask(primary, "SET", f"before{number}", number)
    wait_published(primary)
    eventually(lambda: state(replica)["state"] == "off", timeout=60)
    eventually(lambda: info(replica)["master_repl_offset"] == info(primary)["master_repl_offset"])
    primary.process.send_signal(signal.SIGSTOP)
    try:
        ask(replica, "REPLICAOF", "NO", "ONE")
        for number in range(50):
            ask(replica, "SET", f"after{number}", number)
        eventually(lambda: state(replica)["state"] == "publishing", timeout=60)
        wait_published(replica)
    finally:
        primary.process.send_signal(signal.SIGCONT)
    ask(primary, "SET", "split", "brain")
    eventually(lambda: state(primary)["state"] == "deposed", timeout=60)
    ask(replica, "SET", "last", "word")
    found = check(broker, topic, replica)
    assert not any(it["key"] == "split" for it in found)
    assert {it["source"]["epoch"] for it in found} == {1, 2}
    assert snapshots(found) <= 1
    follow(primary, replica)
    eventually(lambda: state(primary)["state"] == "off", timeout=60)


def test_what_the_broker_does_not_take_is_a_dead_letter(
    broker: Broker, topic: str, name: Name, publish: Publish
) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    new = NewTopic(topic, 1, 1, config={"max.message.bytes": "5000"})
    admin.create_topics([new])[topic].result(30)
    server = publish()
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    ask(server, "SET", "small", "1")
    wait_published(server)
    with server.wire() as wire:
        for words in ("MULTI", "SET one 1", f"SET large {'x' * 20_000}", "SET two 2", "EXEC"):
            wire.call(*words.split())
    ask(server, "SET", "other", "2")
    wait_published(server)
    found = documents(broker, topic)
    assert [it["key"] for it in found] == ["small", "one", "two", "other"]
    assert [it["transaction"]["index"] for it in found[1:3]] == [1, 3]
    (letter,) = read_topic(broker, name("dead"))
    assert letter.key() == b"large"
    about = json.loads(letter.value())
    assert (about["op"], about["db"]) == ("set", 0)
    assert "too large" in about["reason"].lower()
    assert state(server)["dead_letters"] == "1"


def test_a_broker_that_is_not_there(publish: Publish, start_server: StartServer) -> None:
    server = start_server("--changefeed", "kafka://127.0.0.1:1/changes")
    ask(server, "SET", "key", "value")
    eventually(lambda: state(server)["state"] == "waiting", timeout=60)
    assert state(server)["error"]
    assert "Changefeed in Kafka" in server.log()
    ask(server, "CONFIG", "SET", "changefeed", "")
    eventually(lambda: "changefeed_kafka_state" not in info(server, "changefeed"))


def test_waiting_for_the_topic(broker: Broker, topic: str, publish: Publish) -> None:
    server = publish("--appendfsync", "everysec")
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    for number in range(3):
        with server.wire(90) as wire:
            wire.call("SET", "key", number)
            assert wire.call("DISTCACHE", "WAIT", "changefeed", 60_000) == 1
        assert [it["value"] for it in documents(broker, topic)][-1] == str(number)
    ask(server, "CONFIG", "SET", "changefeed", "")
    with server.wire() as wire:
        error = wire.call("DISTCACHE", "WAIT", "CHANGEFEED", 1)
        assert error == b"ERR the changefeed is not published: see the directive changefeed"


@pytest.mark.parametrize("words", [(), ("NOSAVE",), ("NOW",)], ids=str)
def test_a_clean_end_publishes_what_is_left(
    broker: Broker, topic: str, publish: Publish, words: tuple[str, ...]
) -> None:
    server = publish("--appendfsync", "everysec", "--shutdown-timeout", "60")
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    wait_published(server)
    with server.wire() as wire:
        for number in range(2000):
            wire.command("SET", f"key{number}", "x" * 100)
        wire.command("SHUTDOWN", *words)
        server.process.wait(90)
    found = len(documents(broker, topic))
    assert found == 2000 if not words else found <= 2000


async def test_who_becomes_a_replica_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its process was being started when it did."""
    begin, call, asked = ChangesProcess.start, Peer.call, list[str]()
    begun = asyncio.Event()

    async def start(self: ChangesProcess) -> None:
        await begin(self)
        server.replication.follow("127.0.0.1", 1)
        begun.set()

    async def note(self: Peer, name: str, *arguments: Any) -> Any:
        asked.append(name)
        return await call(self, name, *arguments)

    monkeypatch.setattr(ChangesProcess, "start", start)
    monkeypatch.setattr(Peer, "call", note)
    async with serve(changefeed="kafka://127.0.0.1:1/changes", save='""') as server:
        async with asyncio.timeout(60):
            await begun.wait()
            while server.publishing.state != "off":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert asked == ["begin"]


def test_metrics(broker: Broker, publish: Publish) -> None:
    port = free_port()
    server = publish("--metrics-port", str(port))
    eventually(lambda: state(server)["state"] == "publishing", timeout=60)
    ask(server, "SET", "key", "value")
    wait_published(server)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    found = dict(it.rsplit(" ", 1) for it in lines if it.startswith("distcache_changefeed_"))
    figures = {name.removeprefix("distcache_changefeed_"): float(it) for name, it in found.items()}
    assert (figures["up"], figures["deposed"], figures["epoch"]) == (1, 0, 1)
    assert figures["events_total"] == 1
    assert (figures["lag_bytes"], figures["lag_seconds"]) == (0, 0)
    assert figures["offset_bytes"] == int(state(server)["offset"])
