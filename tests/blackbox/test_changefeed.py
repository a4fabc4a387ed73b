"""The changefeed as a stream: events with values, from any id, through kills of everything."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis

from tests.support import Error, Process, StartServer, eventually
from tests.support.changefeed import KEY, Contents, contents, entries, read_all, replay
from tests.support.replication import SETTINGS, info
from tests.support.servers import OURS
from tests.support.writes import write

pytestmark = pytest.mark.ours("Redis has no changefeed")

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--databases", "3")


WAIT_MS = 50_000
"""How long who reads waits for what comes next: a process may have to be started for it first."""


def brief(documents: list[Any]) -> list[tuple[Any, ...]]:
    return [(it["op"], it["key"], it["value"]) for it in documents]


def begun(read: Callable[[], list[Any]]) -> Future[list[Any]]:
    """Somebody waits for entries, in a thread."""
    return ThreadPoolExecutor(1).submit(read)


def test_a_reader_who_waits_sees_changes_with_their_values(start_server: StartServer) -> None:
    server = start_server(*DURABLE, "--changefeed-before", "yes")
    with server.client() as client, server.client() as other:
        client.set("before", "is not seen")
        waiting = begun(lambda: entries(other, "$", block=WAIT_MS))
        eventually(lambda: client.info("clients")["blocked_clients"])
        client.set("a", "1")
        ((first, fields),) = waiting.result()
        assert fields[b"op"] == b"set"
        assert fields[b"key"] == b"a"
        assert json.loads(fields[b"event"])["value"] == "1"

        client.hset("h", mapping={"f": "v"})
        client.lpush("l", "1", "2")
        with client.pipeline(transaction=True) as pipe:
            pipe.set("x", 1)
            pipe.incr("x")
            pipe.execute()
        client.delete("a")
        client.rename("h", "g")
        client.set("soon", "bye", px=1)
        eventually(lambda: not client.exists("soon"))
        client.flushdb()
        _, documents = read_all(client, first)
        assert brief(documents[:10]) == [
            ("set", "h", {"f": "v"}),
            ("set", "l", ["2", "1"]),
            ("set", "x", "1"),
            ("set", "x", "2"),
            ("delete", "a", None),
            ("delete", "h", None),
            ("set", "g", {"f": "v"}),
            ("set", "soon", "bye"),
            ("expire", "soon", None),
            ("flush", documents[9]["key"], None),
        ]
        assert {it["key"] for it in documents[9:]} == {"before", "l", "x", "g"}
        assert documents[8]["before"]["value"] == "bye"
        transactions = [it["transaction"] for it in documents[2:4]]
        assert [(it["size"], it["index"]) for it in transactions] == [(2, 1), (2, 2)]
        assert transactions[0]["id"] == transactions[1]["id"]
        assert documents[1]["command"] == ["LPUSH", "l", "1", "2"]
        assert all(it["time_ms"] <= it["published_ms"] for it in documents)


def test_reading_goes_on_from_any_id_when_everything_was_killed(
    start_server: StartServer, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = Process(OURS, DURABLE, folder)
    try:
        with server.client() as client:
            for number in range(300):
                client.rpush(f"key:{number % 7}", number)
            client.bgrewriteaof()
            eventually(lambda: "finished successfully" in server.log())
            for number in range(300):
                client.incr(f"counter:{number % 7}")
            last, before = read_all(client, "0", count=100)
            ids = [it["id"] for it in before]
            assert len(set(ids)) == len(ids) == 600
        (child,) = children(server)
        server.kill()
        eventually(lambda: not alive(child))
        server = again(folder)
        with server.client() as client:
            client.set("new", 1)
            for at in (0, 100, 299, 300, 301, 598):
                _, after = read_all(client, ids[at], count=1000)
                assert brief(after) == [*brief(before[at + 1 :]), ("set", "new", "1")]
                assert [it["id"] for it in after[:-1]] == ids[at + 1 :]
                assert [it["source"] for it in after[:-1]] == [
                    it["source"] for it in before[at + 1 :]
                ]
            assert brief(read_all(client, last)[1]) == [("set", "new", "1")]
    finally:
        server.kill()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_what_nobody_followed_has_its_time(tmp_path: Path, policy: str) -> None:
    """Also after a restart; from the log on disk, or in memory."""
    directives = (*DURABLE, "--appendfsync", policy)
    moments: list[int] = [time.time_ns() // 1_000_000]
    for life in range(2):
        server = Process(OURS, directives, tmp_path / "data")
        try:
            with server.client() as client:
                for number in range(3):
                    client.set(f"key:{life}:{number}", "value")
                    moments.append(time.time_ns() // 1_000_000)

                def written(client: redis.Redis = client, count: int = 3 * (life + 1)) -> Any:
                    _, documents = read_all(client, "0")
                    return documents if len(documents) == count else None

                found = eventually(written)
            for at, document in enumerate(found):
                # So precisely the log has it.
                assert moments[at] - 100 <= document["time_ms"] <= moments[at + 1]
        finally:
            server.kill()


def test_a_reader_does_not_notice_that_the_process_was_killed(start_server: StartServer) -> None:
    server = start_server(*DURABLE)
    with server.client() as client, server.client() as other:
        client.set("a", 1)
        last, _ = read_all(client, "0")
        waiting = begun(lambda: entries(other, last, block=WAIT_MS))
        eventually(lambda: client.info("clients")["blocked_clients"])
        (child,) = children(server)
        os.kill(child, signal.SIGKILL)
        client.set("a", 2)
        ((_, fields),) = waiting.result()
        assert fields[b"key"] == b"a"
        assert json.loads(fields[b"event"])["value"] == "2"


def test_settings_that_change_often_are_those_of_who_waits(start_server: StartServer) -> None:
    """Also where they change again while the process starts."""
    server = start_server(*DURABLE)
    with server.client() as client, server.client(socket_timeout=110) as other:
        client.set("a", 1)
        last, _ = read_all(client, "0")
        waiting = begun(lambda: entries(other, last, block=2 * WAIT_MS))
        eventually(lambda: client.info("changefeed")["changefeed_readers"])
        before = children(server)
        for limit in range(1000, 1006):
            client.config_set("changefeed-value-limit", limit)
            # Until the reader waits at another one.
            eventually(
                lambda before=before: (  # type: ignore[misc]
                    client.info("changefeed")["changefeed_cursors"]
                    and len(children(server)) == 1
                    and children(server) != before
                )
            )
            before = children(server)
        client.config_set("changefeed-keys", "b*")
        eventually(lambda: children(server) != before)
        client.config_set("changefeed-format", "msgpack")
        client.set("a", 2)
        client.set("b", 3)
        ((_, fields),) = waiting.result()
        assert fields[b"key"] == b"b"
        assert msgpack.unpackb(fields[b"event"])["value"] == b"3"


@pytest.mark.parametrize("seed", range(2))
def test_replayed_into_an_empty_map_it_gives_the_keys(start_server: StartServer, seed: int) -> None:
    policy = random.Random(seed).choice(["always", "no"])
    server = start_server(*DURABLE, "--appendfsync", policy, "--aof-segment-size", "64kb")
    choose = random.Random(seed)
    followed: Contents = {}
    last = "0"
    with server.client() as client:
        for step in range(10):
            scribble(client, choose, 150)
            if step == 5:
                client.bgrewriteaof()
            last, documents = read_all(client, last)
            for document in documents:
                replay(followed, document)
        _settle(client)
        assert _agrees(client, last, followed)

        # Whoever comes late has the same.
        late: Contents = {(9, b"stale"): ()}
        scribble(client, choose, 50)
        first = entries(client, "snapshot", count=2)
        scribble(client, choose, 50)
        _settle(client)
        for _, fields in first:
            replay(late, json.loads(fields[b"event"]))
        assert _agrees(client, first[-1][0], late)


def _agrees(client: redis.Redis, last: str, followed: Contents) -> bool:
    """Whether a map is the keys in the end: one that has expired is hidden before that is told."""
    after = [last]

    def same() -> bool:
        after[0], documents = read_all(client, after[0], count=7)
        for document in documents:
            replay(followed, document)
        return followed == contents(client)

    return eventually(same)


def _settle(client: redis.Redis) -> None:
    """Have no key or field expire from here on."""
    call: Any = client.execute_command
    for number in range(3):
        call("SELECT", number)
        for key in call("KEYS", "*"):
            call("PERSIST", key)
            fields = call("HKEYS", key) if call("TYPE", key) == b"hash" else []
            if fields:
                call("HPERSIST", key, "FIELDS", len(fields), *fields)
    call("SELECT", 0)


def scribble(client: redis.Redis, choose: random.Random, count: int) -> None:
    for _ in range(count):
        words = write(choose)
        dice = choose.random()
        if dice < 0.01:
            words = choose.choice([["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "1"]])
        elif dice < 0.03:
            words = ["MOVE", words[1], "1"] if len(words) > 1 else ["PING"]
        elif dice < 0.05:
            words = ["SET", b"\xff\xfe%d" % choose.randrange(3), choose.randbytes(9)]  # type: ignore[list-item]
        elif dice < 0.15:
            with client.pipeline(transaction=True) as pipe:
                for _ in range(choose.randrange(1, 5)):
                    pipe.execute_command(*_unblocking(write(choose)))
                pipe.execute(raise_on_error=False)
            continue
        _try(lambda words=words: client.execute_command(*_unblocking(words)))  # type: ignore[misc]


def _unblocking(words: list[str]) -> list[str]:
    """A write that waits for nobody."""
    if words[0] in ("BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "BRPOPLPUSH", "BLMOVE"):
        return [*words[:-1], "0.001"]
    return [words[0], "0.001", *words[2:]] if words[0] in ("BLMPOP", "BZMPOP") else words


def _try(call: Callable[[], object]) -> None:
    with contextlib.suppress(redis.ResponseError):
        call()


def again(folder: Path) -> Process:
    """A server with the data of one that was there before, once they are loaded."""
    server = Process(OURS, DURABLE, folder)
    with server.client() as client:
        eventually(lambda: client.info("persistence")["loading"] == 0)
    return server


def children(server: Process) -> list[int]:
    """The processes of changefeeds."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == server.pid and words[0] != "Z":
            found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# The commands of a stream


def test_ranges_and_facts(start_server: StartServer) -> None:
    server = start_server(*DURABLE)
    with server.client() as client:
        assert entries(client, "0") == []
        assert client.xrange(KEY) == []
        for number in range(20):
            client.set(f"key:{number}", number)
        found: Any = client.xrange(KEY)
        ids = [id_.decode() for id_, _ in found]
        assert len(ids) == client.xlen(KEY) == 20
        assert ids == [id_ for id_, _ in entries(client, "0")]
        some: Any = client.xrange(KEY, ids[3], ids[9], count=4)
        assert [id_.decode() for id_, _ in some] == ids[3:7]
        some = client.xrange(KEY, f"({ids[3]}", ids[5])
        assert [id_.decode() for id_, _ in some] == ids[4:6]
        some = client.xrevrange(KEY, count=3)
        assert [id_.decode() for id_, _ in some] == ids[:16:-1]
        some = client.xrevrange(KEY, ids[9], ids[7])
        assert [id_.decode() for id_, _ in some] == [ids[9], ids[8], ids[7]]
        facts: Any = client.xinfo_stream(KEY)
        assert (facts["length"], facts["groups"]) == (20, 0)
        assert facts["first-entry"][0].decode() == ids[0]
        assert facts["last-entry"][0].decode() == ids[-1]
        assert client.execute_command("XREAD", "COUNT", 1, "STREAMS", KEY, "$") in ([], None)
        assert entries(client, ids[-1], block=20) == []


def test_the_key_is_no_key(start_server: StartServer) -> None:
    server = start_server(*DURABLE)
    with server.client() as client:
        client.set("a", 1)
        client.rpush("l", 1)
        assert len(entries(client, "0")) == 2
        assert client.execute_command("KEYS", "*") == [b"a", b"l"]
        assert client.dbsize() == 2
        assert not client.exists(KEY)
        assert client.get(KEY) is None
        for words in (
            ("SET", KEY, "1"),
            ("MSET", "b", "1", KEY, "2"),
            ("XADD", KEY, "*", "f", "v"),
            ("RENAME", "a", KEY),
            ("COPY", "a", KEY),
            ("LMOVE", "l", KEY, "LEFT", "LEFT"),
            ("SORT", "l", "STORE", KEY),
            ("HSET", KEY, "f", "v"),
            ("APPEND", KEY, "x"),
            ("DEL", "a", KEY),
        ):
            with pytest.raises(redis.ResponseError, match="cannot be written"):
                client.execute_command(*words)
        with client.pipeline(transaction=False) as pipe:
            for number in range(10):
                pipe.set(f"many:{number}" if number != 5 else KEY, 1)
            replies = pipe.execute(raise_on_error=False)
        assert [isinstance(it, redis.ResponseError) for it in replies] == [
            number == 5 for number in range(10)
        ]
        assert client.dbsize() == 2 + 9
        assert client.execute_command("PERSIST", KEY) == 0
        with pytest.raises(redis.ResponseError, match="read alone"):
            client.xread({KEY: "0", "other": "0"})
        with client.pipeline(transaction=True) as pipe:
            pipe.xread({KEY: "0"})
            with pytest.raises(redis.ResponseError, match="within a transaction"):
                pipe.execute()


def test_consumer_groups_share_the_events_and_outlive_the_server(tmp_path: Path) -> None:
    server = Process(OURS, DURABLE, tmp_path)
    try:
        with server.client() as client:
            with pytest.raises(redis.ResponseError, match="NOGROUP"):
                client.xreadgroup("g", "one", {KEY: ">"})
            for number in range(6):
                client.set("key", number)
            client.xgroup_create(KEY, "g", "0")
            with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
                client.xgroup_create(KEY, "g", "0")
            first = deliver(client, "one", 2)
            second = deliver(client, "two", 3)
            third = deliver(client, "one", 3)
            ids = [*first, *second, *third]
            assert len(ids) == 6
            assert ids == [id_.encode() for id_, _ in entries(client, "0")]
            assert deliver(client, "two", 3) == []
            assert client.xack(KEY, "g", *first) == 2
            pending: Any = client.xpending(KEY, "g")
            assert pending["pending"] == 4
            detail: Any = client.xpending_range(KEY, "g", "-", "+", 10)
            assert [it["consumer"] for it in detail] == [b"two"] * 3 + [b"one"]
            history: Any = client.xreadgroup("g", "two", {KEY: "0"})
            pending_again = history[0][1]
            assert [id_ for id_, _ in pending_again] == second
            assert json.loads(pending_again[0][1][b"event"])["value"] == "2"
            claimed: Any = client.xautoclaim(KEY, "g", "three", 0, "0", count=2)
            assert [id_ for id_, _ in claimed[1]] == second[:2]
            got: Any = client.xclaim(KEY, "g", "three", 0, [second[2]])
            assert [id_ for id_, _ in got] == [second[2]]
            groups: Any = client.xinfo_groups(KEY)
            assert (groups[0]["name"], groups[0]["consumers"], groups[0]["pending"]) == (b"g", 3, 4)
            with server.client() as other:
                waiting = begun(lambda: deliver(other, "two", 3, block=WAIT_MS))
                eventually(lambda: client.info("clients")["blocked_clients"])
                client.set("key", "last")
                assert len(waiting.result()) == 1
        server.stop()
        server = again(tmp_path)
        with server.client() as client:
            assert deliver(client, "one", 3) == []
            client.set("key", "new")
            assert len(deliver(client, "one", 3)) == 1
            history = client.xreadgroup("g", "three", {KEY: "0"})
            assert [id_ for id_, _ in history[0][1]] == second
            assert client.xgroup_destroy(KEY, "g") == 1
            assert client.xinfo_groups(KEY) == []
    finally:
        server.kill()


def test_who_waits_in_a_group_that_is_destroyed_is_told(start_server: StartServer) -> None:
    server = start_server(*DURABLE)
    read = ["XREADGROUP", "GROUP", "g", "one", "BLOCK", "0", "STREAMS"]
    with server.wire() as wire, server.wire() as waiting, server.wire() as other:
        wire.call("XGROUP", "CREATE", "k", "g", "$", "MKSTREAM")
        assert wire.call("XLEN", KEY) >= 0
        for name in ("g", "h"):
            assert wire.call("XGROUP", "CREATE", KEY, name, "$") == b"OK"
        waiting.command(*read, KEY, ">")
        other.command(*read, "k", ">")
        eventually(lambda: b"blocked_clients:2\r" in wire.call("INFO", "clients"))
        assert wire.call("XGROUP", "DESTROY", KEY, "h") == 1
        assert wire.call("XGROUP", "DESTROY", KEY, "g") == 1
        told = waiting.reply()
        assert isinstance(told, Error)
        assert told.startswith(b"NOGROUP No such key 'distcache:changefeed' or consumer group 'g'")
        assert not other.has_reply()
        assert waiting.call("PING") == b"PONG"


def deliver(client: redis.Redis, consumer: str, count: int, **options: Any) -> list[bytes]:
    """The ids that a consumer gets."""
    reply: Any = client.xreadgroup("g", consumer, {KEY: ">"}, count=count, **options)
    return [id_ for id_, _ in reply[0][1]] if reply else []


def test_under_resp3_and_with_a_time_to_wait(start_server: StartServer) -> None:
    server = start_server(*DURABLE)
    with server.client(3) as client:
        client.set("a", 1)
        assert [fields[b"key"] for _, fields in entries(client, "0", block=1000)] == [b"a"]
        last = entries(client, "0")[-1][0]
        assert entries(client, last, block=50) == []
        client.execute_command("CLIENT", "NO-EVICT", "ON")
        assert client.ping()


# What can be configured


def test_filters_heartbeats_and_formats(start_server: StartServer) -> None:
    server = start_server(
        *(*DURABLE, "--changefeed-keys", "user:*", "--changefeed-databases", "0 1"),
        *("--changefeed-heartbeat", "20", "--changefeed-value-limit", "10"),
        *("--changefeed-large-values", "reference"),
    )
    with server.client() as client:
        client.set("user:1", "short")
        client.set("other", "unseen")
        last, documents = read_all(client, "0")
        assert brief(documents) == [("set", "user:1", "short")]
        ((beat, fields),) = entries(client, last, block=WAIT_MS)
        document = json.loads(fields[b"event"])
        assert (document["op"], document["key"]) == ("heartbeat", None)
        assert document["source"]["offset"] == int(beat.partition("-")[0])
        assert fields[b"op"] == b"heartbeat"
        client.set("user:1", "x" * 11)
        ((_, fields),) = entries(client, beat, block=WAIT_MS)
        document = json.loads(fields[b"event"])
        assert document["op"] == "set"
        assert (document["value"], document["omitted"]) == (None, 11)
        assert document["reference"] == {"db": 0, "key": "user:1"}
        # Changed while it runs.
        client.config_set("changefeed-keys", "")
        client.config_set("changefeed-format", "msgpack")
        found = entries(client, "0")
        assert [fields[b"key"] for _, fields in found] == [b"user:1", b"other", b"user:1"]
        assert msgpack.unpackb(found[2][1][b"event"])["value"] is None
        assert msgpack.unpackb(found[0][1][b"event"])["value"] == b"short"


def test_evicted_keys_carry_what_they_were(start_server: StartServer) -> None:
    server = start_server(
        *(*DURABLE, "--changefeed-before", "yes", "--maxmemory", "100mb"),
        *("--maxmemory-eviction-tenacity", "100"),
    )
    with server.client() as client:
        with client.pipeline(transaction=False) as pipe:
            for number in range(2000):
                pipe.set(f"key:{number}", "x" * 1000)
            pipe.execute()
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", used + (200 << 10))
        for number in range(2000):
            client.set(f"more:{number}", "y" * 1000)
            if client.info("stats")["evicted_keys"]:
                break
        _, documents = read_all(client, "0")
        evicted = [it for it in documents if it["op"] == "evict"]
        assert evicted
        assert all(it["before"]["value"][:1] in ("x", "y") for it in evicted)


def test_what_is_no_longer_kept_begins_with_a_snapshot(start_server: StartServer) -> None:
    server = start_server(*DURABLE, "--changefeed-retention", "0", "--repl-disk-retention", "0")
    with server.client() as client:
        for number in range(50):
            client.set(f"key:{number % 5}", number)
        for _ in range(2):
            rewrites = client.info("persistence")["aof_rewrites"]
            client.bgrewriteaof()
            eventually(lambda n=rewrites: client.info("persistence")["aof_rewrites"] > n)  # type: ignore[misc]
        _, documents = read_all(client, "1")
        assert [it["op"] for it in documents] == ["snapshot"] * 7
        assert [it.get("mark") for it in documents] == ["begin", *[None] * 5, "end"]
        assert {it["key"]: it["value"] for it in documents[1:-1]} == {
            f"key:{n}": str(45 + n) for n in range(5)
        }


def test_without_a_log_on_disk(start_server: StartServer) -> None:
    server = start_server("--databases", "3")
    with server.client() as client:
        client.set("a", 1)
        last, documents = read_all(client, "snapshot")
        assert [(it["op"], it["key"]) for it in documents] == [
            ("snapshot", None),
            ("snapshot", "a"),
            ("snapshot", None),
        ]
        client.incr("a")
        client.select(1)
        client.set("b", 2)
        _, documents = read_all(client, last)
        assert [(it["op"], it["db"], it["key"], it["value"]) for it in documents] == [
            ("set", 0, "a", "2"),
            ("set", 1, "b", "2"),
        ]


def test_what_the_log_has_not_come_to_begins_with_a_snapshot(tmp_path: Path) -> None:
    """An id of a life that nothing is left of; a replica may get there yet."""
    seen: list[Any] = []
    last = ""
    for life in range(2):
        server = Process(OURS, ("--databases", "3"), tmp_path)
        try:
            with server.client() as client:
                if life == 0:
                    client.xgroup_create(KEY, "g", "$")
                    for number in range(50):
                        client.set(f"key:{number}", number)
                    assert len(deliver(client, "one", 50)) == 50
                    last, seen = read_all(client, "snapshot")
                    continue
                client.set("new", 1)
                _, documents = read_all(client, last)
                assert brief(documents) == [
                    ("snapshot", None, None),
                    ("snapshot", "new", "1"),
                    ("snapshot", None, None),
                ]
                assert documents[0]["source"] != seen[0]["source"]
                assert len(deliver(client, "one", 50)) == 3
                client.set("new", 2)
                assert len(deliver(client, "one", 50)) == 1
                client.execute_command("REPLICAOF", "127.0.0.1", 1)
                assert entries(client, last) == []
        finally:
            server.stop()


def test_a_snapshot_is_gone_on_with_after_a_crash(tmp_path: Path) -> None:
    server = Process(OURS, DURABLE, tmp_path)
    try:
        with server.client() as client:
            client.mset({f"key:{number:03}": number for number in range(100)})
            found = entries(client, "snapshot", count=40)
            client.set("key:000", "changed")
        server.kill()
        server = again(tmp_path)
        with server.client() as client:
            _, documents = read_all(client, found[-1][0])
            first = [json.loads(fields[b"event"]) for _, fields in found]
            keys = [it["key"] for it in [*first, *documents] if it["op"] == "snapshot"]
            assert keys == [None, *sorted(f"key:{n:03}" for n in range(100)), None]
            assert brief(documents)[-1] == ("set", "key:000", "changed")
    finally:
        server.kill()


# The command line


def test_the_command_line_shows_a_line_for_each_event(start_server: StartServer) -> None:
    server = start_server(*DURABLE)

    def shown(*options: str) -> list[str]:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "distcache_server.changefeed.following"),
                *("--port", str(server.port), *options),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.splitlines()

    with server.client() as client:
        client.set("user:1", "Ann")
        client.rpush("queue", "a\nb")
        client.delete("queue")
        lines = shown("--from", "0", "--end")
        assert len(lines) == 3
        assert lines[0].split()[2:] == ["set", "db0", '"user:1"', "string", '"Ann"']
        assert lines[1].split()[2:] == ["set", "db0", '"queue"', "list", '["a\\nb"]']
        assert lines[2].split()[2:] == ["delete", "db0", '"queue"']
        (line,) = shown("--from", "0", "--end", "--json", "--key", "user:*")
        assert json.loads(line)["value"] == "Ann"
        assert len(shown("--from", "0", "--op", "delete", "--count", "1")) == 1
        assert [line.split()[2] for line in shown("--from", "snapshot", "--end")] == [
            "snapshot"
        ] * 3


# Failover


def test_a_reader_goes_on_at_a_replica_that_was_promoted(start_server: StartServer) -> None:
    old = start_server(*DURABLE, *SETTINGS)
    new = start_server(*DURABLE, "--replicaof", f"127.0.0.1 {old.port}")
    with old.client() as client, new.client() as other:
        eventually(lambda: other.info("replication")["master_link_status"] == "up")
        for number in range(50):
            client.rpush(f"key:{number % 5}", number)
        client.wait(1, 10_000)
        seen = entries(client, "0", count=20)
        history = json.loads(seen[0][1][b"event"])["source"]["history"]
        # A replica shows the same.
        eventually(lambda: len(read_all(other, seen[9][0])[1]) == 40)
        old.kill()
        other.execute_command("REPLICAOF", "NO", "ONE")
        other.rpush("key:0", "new")
        _, documents = read_all(other, seen[-1][0])
        assert len(documents) == 31
        assert [it["value"][-1] for it in documents[:-1]] == [str(n) for n in range(20, 50)]
        assert {it["source"]["history"] for it in documents[:-1]} == {history}
        assert documents[-1]["value"][-1] == "new"
        assert documents[-1]["source"]["history"] != history


def test_a_reader_waits_at_a_replica_that_gets_another_primary(start_server: StartServer) -> None:
    """The offset that is waited for comes in a log that the cursor has not begun with."""
    one, other = (start_server(*DURABLE, *SETTINGS) for _ in range(2))
    replica = start_server(*DURABLE)
    with one.client() as first, other.client() as second, replica.client() as client:

        def follow(primary: Process) -> None:
            client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
            eventually(
                lambda: (
                    info(replica)["master_port"] == str(primary.port)
                    and info(replica)["master_link_status"] == "up"
                )
            )

        for _ in range(20):
            first.append("key", "one")
        for _ in range(10):
            second.append("key", "other")
        follow(one)
        last, _ = read_all(client, "0")
        with replica.client() as reader:
            waiting = begun(lambda: entries(reader, last, block=WAIT_MS))
            eventually(lambda: info(replica, "changefeed")["changefeed_readers"] == "1")
            follow(other)
            history = info(other)["master_replid"]
            while not waiting.done():
                second.append("key", "!")
        documents = [json.loads(fields[b"event"]) for _, fields in waiting.result()]
        assert {it["source"]["history"] for it in documents} == {history}
        # It may be a snapshot, where the log is so far only later.
        documents = [it for it in documents if "mark" not in it]
        lengths = [len(it["value"]) for it in documents]
        assert lengths == list(range(lengths[0], lengths[0] + len(documents)))
        assert all(it["value"] == "other" * 10 + "!" * (len(it["value"]) - 50) for it in documents)
        assert "Unexpected error" not in replica.log()


def test_who_begins_behind_a_change_of_history_sees_nothing_of_before(
    start_server: StartServer,
) -> None:
    primary, replica = (start_server(*DURABLE, *SETTINGS) for _ in range(2))
    with primary.client() as first, replica.client() as client:
        first.set("key", "right")
        for _ in range(20):
            client.append("key", "wrong")
        # There is a cursor that has been there from the beginning.
        assert len(read_all(client, "0")[1]) == 20
        client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        history = info(primary)["master_replid"]
        eventually(lambda: info(replica)["master_replid"] == history)
        _, documents = read_all(client, "0")
        assert {it["source"]["history"] for it in documents} == {history}
        assert {it["value"] for it in documents if it["key"]} == {"right"}


def test_bases_of_another_history_are_of_no_use(start_server: StartServer) -> None:
    """Not even where one is of the offset at which the log begins anew."""
    silent = ("--repl-ping-replica-period", "3600")
    one, other = (start_server(*DURABLE, *SETTINGS, *silent) for _ in range(2))
    replica = start_server(*DURABLE)
    with one.client() as first, other.client() as second, replica.client() as client:

        def wait_for_base(number: int) -> None:
            eventually(lambda: client.info("persistence")["aof_rewrites"] == number)

        first.set("key", "one")
        second.set("key", "two")
        client.execute_command("REPLICAOF", "127.0.0.1", one.port)
        wait_for_base(1)
        # By name the tenth comes before the ninth.
        for number in range(2, 10):
            client.bgrewriteaof()
            wait_for_base(number)
        client.execute_command("REPLICAOF", "127.0.0.1", other.port)
        wait_for_base(10)
        offsets = {info(server)["master_repl_offset"] for server in (one, other)}
        assert len(offsets) == 1
        second.append("key", "!")
        eventually(lambda: client.get("key") == b"two!")
        _, documents = read_all(client, f"{offsets.pop()}-0")
        assert [it["value"] for it in documents] == ["two!"]


def test_keys_from_before_the_log_are_in_a_snapshot(start_server: StartServer) -> None:
    """Where the log has nothing yet there is no place before it."""
    server = start_server()
    with server.client() as client:
        client.set("old", "value")
        client.config_set("appendonly", "yes")
        eventually(lambda: client.info("persistence")["aof_rewrites"] == 1)
        assert info(server)["master_repl_offset"] == "0"
        last, documents = read_all(client, "snapshot")
        assert brief(documents) == [
            ("snapshot", None, None),
            ("snapshot", "old", "value"),
            ("snapshot", None, None),
        ]
        client.set("new", 1)
        [(id_, fields)] = entries(client, last, block=0)
        assert brief([json.loads(fields[b"event"])]) == [("set", "new", "1")]
        assert read_all(client, id_) == (id_, [])
        # It can be gone on with from within.
        _, rest = read_all(client, documents[0]["id"])
        assert brief(rest) == [*brief(documents[1:]), ("set", "new", "1")]
    assert "Unexpected" not in server.log()


def test_a_replica_that_has_keys_and_no_log_yet(start_server: StartServer) -> None:
    primary = start_server("--repl-ping-replica-period", "3600")
    with primary.client() as client:
        client.set("old", "value")
    replica = start_server("--replicaof", f"127.0.0.1 {primary.port}")
    with primary.client() as client, replica.client() as reader:
        eventually(lambda: reader.get("old") == b"value")
        assert info(replica)["master_repl_offset"] == "0"
        waiting = begun(lambda: read_all(reader, "snapshot")[1])
        eventually(lambda: info(replica, "changefeed")["changefeed_readers"] == "1")
        client.set("new", 1)
        documents = waiting.result()
        assert sorted(it for it in brief(documents) if it[1]) == [
            ("snapshot", "new", "1"),
            ("snapshot", "old", "value"),
        ]
