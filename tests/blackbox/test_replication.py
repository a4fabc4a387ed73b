"""Replication between ours and real ones: syncs, breaks, chains, promotions."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import Error, Process, Wire, eventually, free_port
from tests.support.replication import (
    Start,
    agree,
    ask,
    follow,
    info,
    wait_linked,
)
from tests.support.samples import LIBRARY, OTHERS, commands
from tests.support.writes import write

pytestmark = pytest.mark.ours("it is about ours and real ones together")

PAIRS = [("ours", "ours"), ("ours", "real"), ("real", "ours")]


def write_samples(server: Process) -> None:
    """Values of every type and encoding."""
    with server.wire() as wire:
        for words in (*commands(), *(words for words in OTHERS if words[0] != "FUNCTION")):
            reply = wire.call(*words)
            assert not isinstance(reply, Error), (words[:2], reply)


def test_libraries_of_redis_are_passed_over(start: Start) -> None:
    primary, replica = start("real"), start("ours", "--propagation-error-behavior", "panic")
    follow(replica, primary)
    with primary.wire() as wire:
        assert wire.call("FUNCTION", "LOAD", LIBRARY) == b"library"
        assert wire.call("MULTI") == b"OK"
        for words in (("FUNCTION", "FLUSH"), ("FUNCTION", "LOAD", LIBRARY), ("SET", "key", "v")):
            assert wire.call(*words) == b"QUEUED"
        assert wire.call("EXEC") == [b"OK", b"library", b"OK"]
    assert agree(primary, replica)
    assert "the keys differ" not in replica.log()
    assert "Libraries in the log have no meaning here" in replica.log()


LATER = (
    "HEXPIRE",
    "HPEXPIRE",
    "HPERSIST",
    "HEXPIREAT",
    "HPEXPIREAT",
    "HGETEX",
    "HSETEX",
    "HGETDEL",
)
"""A Redis 7.0 does not know them."""
WAITING = ("BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP")


def write_much(server: Process, seed: int, count: int = 2000, keys: int = 12) -> None:
    """Random writes, some of them in transactions and in other databases."""
    generator = random.Random(seed)
    with server.wire() as wire:
        for number in range(count):
            words = write(generator, keys)
            if words[0] in LATER + WAITING or "0.1" in words:
                # Nor does its digest have 0.1 as a score as that of Redis 7.2 has it.
                continue
            if number % 50 == 0:
                wire.call("SELECT", generator.randrange(4))
            if number % 20 == 0:
                wire.call("MULTI")
                wire.call("INCR", "counter")
                wire.call(*words)
                wire.call("EXEC")
            else:
                wire.call(*words)


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
def test_all_types(start: Start, primary: str, replica: str) -> None:
    one, other = start(primary), start(replica)
    write_samples(one)
    follow(other, one)
    assert agree(one, other)
    write_samples(one)
    write_much(one, 1)
    assert agree(one, other)


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
def test_a_snapshot_of_known_length(start: Start, primary: str, replica: str) -> None:
    one, other = start(primary, "--repl-diskless-sync", "no"), start(replica)
    write_samples(one)
    follow(other, one)
    write_much(one, 2)
    assert agree(one, other)


@pytest.mark.parametrize("kinds", [("ours", "real", "ours"), ("real", "ours", "real")])
def test_a_chain(start: Start, kinds: tuple[str, str, str]) -> None:
    first, second, third = map(start, kinds)
    write_much(first, 3)
    follow(second, first)
    write_much(first, 4)
    follow(third, second)
    write_much(first, 5)
    assert agree(first, second, third)
    assert len({info(server)["master_replid"] for server in (first, second, third)}) == 1


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
def test_a_link_that_breaks(start: Start, primary: str, replica: str) -> None:
    one, other = start(primary), start(replica)
    write_much(one, 6, 200)
    follow(other, one)
    for number in range(3):
        killer, kind = (one, "replica") if number % 2 else (other, "master")
        assert ask(killer, "CLIENT", "KILL", "TYPE", kind) == 1
        write_much(one, 7 + number, 200)
        wait_linked(other)
        assert agree(one, other)
    stats = info(one, "stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "3")


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
def test_too_far_behind(start: Start, primary: str, replica: str) -> None:
    one, other = start(primary, "--repl-backlog-size", "16kb"), start(replica)
    follow(other, one)
    # While it is away it misses more than is kept.
    other.process.send_signal(signal.SIGSTOP)
    with one.wire() as wire:
        wire.send(b"CLIENT KILL TYPE replica\r\n" + b"SET key %b\r\n" % (b"x" * 60_000) * 20)
        for _ in range(21):
            assert not isinstance(wire.reply(), Error)
    other.process.send_signal(signal.SIGCONT)
    eventually(lambda: info(one, "stats")["sync_full"] == "2")
    wait_linked(other)
    assert agree(one, other)


@pytest.mark.parametrize(
    "kinds", [("ours", "ours", "ours"), ("ours", "real", "ours"), ("real", "ours", "real")]
)
def test_promotion(start: Start, kinds: tuple[str, str, str]) -> None:
    old, new, third = map(start, kinds)
    write_much(old, 11, 200)
    follow(new, old)
    follow(third, old)
    # No key goes after the promotion: of that the new primary would not know.
    ask(old, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    write_much(old, 12, 200)
    assert agree(old, new, third)
    before = info(old)["master_replid"]
    assert ask(new, "REPLICAOF", "NO", "ONE") == b"OK"
    after = info(new)
    assert after["role"] == "master"
    assert after["master_replid2"] == before
    assert after["master_replid"] != before
    # Keys that were hidden go now, which is logged.
    assert 0 < int(after["second_repl_offset"]) <= int(after["master_repl_offset"]) + 1
    write_much(new, 13, 200)
    follow(third, new)
    follow(old, new)
    assert agree(old, new, third)
    assert info(new, "stats")["sync_full"] == "0"
    assert info(new, "stats")["sync_partial_ok"] == "2"


def test_a_primary_that_went_on_alone(start: Start) -> None:
    old, new = start("ours"), start("ours")
    follow(new, old)
    write_much(old, 14, 200)
    assert agree(old, new)
    ask(new, "REPLICAOF", "NO", "ONE")
    ask(old, "SET", "only", "here")
    ask(new, "SET", "only", "there")
    follow(old, new)
    assert ask(old, "GET", "only") == b"there"
    assert agree(old, new)
    assert info(new, "stats")["sync_full"] == "1"


def test_what_was_written_before_there_was_a_log(start: Start) -> None:
    """Offset 0 of a history says nothing of keys that no log has."""
    one, other = start("ours"), start("ours")
    ask(one, "SET", "key", "value")
    follow(other, one)
    assert ask(other, "GET", "key") == b"value"
    ask(other, "REPLICAOF", "NO", "ONE")
    ask(other, "SET", "more", "value")
    follow(one, other)
    assert agree(one, other)


# What a replica does


def test_a_replica_is_read_only(start: Start) -> None:
    one, other = start("ours"), start("ours")
    follow(other, one)
    with other.wire() as wire:
        read_only = b"READONLY You can't write against a read only replica."
        assert wire.call("SET", "key", "value") == read_only
        assert wire.call("MULTI") == b"OK"
        assert wire.call("DEL", "key") == read_only
        assert wire.call("EXEC") == b"EXECABORT Transaction discarded because of previous errors."
        assert wire.call("GET", "key") is None
        assert wire.call("CONFIG", "SET", "replica-read-only", "no") == b"OK"
        assert wire.call("SET", "key", "here") == b"OK"
    assert ask(one, "GET", "key") is None
    assert info(other)["slave_read_only"] == "0"


def test_stale_data(start: Start) -> None:
    one, other = start("ours"), start("ours")
    ask(one, "SET", "key", "value")
    follow(other, one)
    one.kill()
    eventually(lambda: info(other)["master_link_status"] == "down")
    assert ask(other, "GET", "key") == b"value"
    down = b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    with other.wire() as wire:
        assert wire.call("CONFIG", "SET", "replica-serve-stale-data", "no") == b"OK"
        assert wire.call("GET", "key") == down
        assert wire.call("PING") == down
        assert wire.call("REPLICAOF", "NO", "ONE") == b"OK"
        assert wire.call("GET", "key") == b"value"


@pytest.mark.parametrize("primary", ["ours", "real"])
def test_a_key_past_its_deadline_waits_for_the_primary(start: Start, primary: str) -> None:
    one, other = start(primary), start("ours")
    follow(other, one)
    ask(one, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    ask(one, "SET", "key", "value", "PX", 30)
    eventually(lambda: ask(other, "DBSIZE") == 1)
    eventually(lambda: ask(other, "GET", "key") is None)
    assert ask(other, "EXISTS", "key") == 0
    assert ask(other, "DBSIZE") == 1
    assert ask(one, "GET", "key") is None
    eventually(lambda: ask(other, "DBSIZE") == 0)
    assert agree(one, other)


def test_clients_that_block_are_told(start: Start) -> None:
    one, other = start("ours"), start("ours")
    with other.wire() as wire:
        wire.command("BLPOP", "list", 0)
        eventually(lambda: info(other, "clients")["blocked_clients"] == "1")
        follow(other, one)
        told = wire.reply()
        assert isinstance(told, Error)
        assert told.startswith(b"UNBLOCKED force unblock from blocking operation")


def test_watched_keys_and_messages(start: Start) -> None:
    one, other = start("ours"), start("ours")
    follow(other, one)
    with other.wire() as watching, other.wire() as listening:
        listening.call("SUBSCRIBE", "news")
        watching.call("WATCH", "key")
        ask(one, "SET", "key", "value")
        ask(one, "PUBLISH", "news", "text")
        assert listening.reply() == [b"message", b"news", b"text"]
        watching.call("MULTI")
        watching.call("GET", "key")
        assert watching.call("EXEC") is None
    assert agree(one, other)


def test_a_password(start: Start) -> None:
    one = start("ours", "--requirepass", "secret")
    other = start("ours", "--replicaof", f"127.0.0.1 {one.port}")
    eventually(lambda: "NOAUTH" in other.log())
    assert ask(other, "CONFIG", "SET", "masterauth", "secret") == b"OK"
    wait_linked(other)


def test_who_is_connected(start: Start) -> None:
    one, other = start("ours"), start("ours", "--replica-announce-ip", "replica.example")
    follow(other, one)
    eventually(lambda: info(one)["slave0"].startswith("ip=replica.example,"))
    port = other.port
    eventually(lambda: f"port={port},state=online" in info(one)["slave0"])
    assert b" flags=S " in ask(one, "CLIENT", "LIST", "TYPE", "replica")
    assert b" flags=M " in ask(other, "CLIENT", "LIST", "TYPE", "master")
    assert ask(one, "ROLE")[2] == [[b"replica.example", b"%d" % port, b"0"]]
    assert ask(other, "ROLE") == [b"slave", b"127.0.0.1", one.port, b"connected", 0]
    assert info(other)["slave_priority"] == "100"
    assert ask(other, "SLAVEOF", "127.0.0.1", one.port) == (
        b"OK Already connected to specified master"
    )


@pytest.mark.parametrize(("primary", "replica"), PAIRS)
def test_what_replication_sends_and_holds(start: Start, primary: str, replica: str) -> None:
    first, second = start(primary), start(replica)
    follow(second, first)
    with first.wire() as wire:
        wire.call("SET", "key", "x" * 100_000)
        assert wire.call("WAIT", 1, 10_000) == 1
        assert b"\r\nconnected_clients:1\r\n" in wire.call("INFO", "clients")
    sent, received = info(first, "stats"), info(second, "stats")
    assert 100_000 < int(sent["total_net_repl_output_bytes"]) < 200_000
    assert int(sent["total_net_output_bytes"]) > int(sent["total_net_repl_output_bytes"])
    assert 100_000 < int(received["total_net_repl_input_bytes"]) < 200_000
    assert int(received["total_net_input_bytes"]) > int(received["total_net_repl_input_bytes"])
    assert int(info(first, "memory")["mem_replication_backlog"]) > 100_000
    ask(first, "CONFIG", "RESETSTAT")
    assert int(info(first, "stats")["total_net_repl_output_bytes"]) < 100_000
    second.kill()
    eventually(lambda: info(first)["connected_slaves"] == "0")
    assert int(info(first, "stats")["total_net_repl_output_bytes"]) < 100_000


def test_metrics(start: Start) -> None:
    ports = [free_port(), free_port()]
    one, other = (start("ours", "--metrics-port", str(port)) for port in ports)
    follow(other, one)

    def scraped(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text: str = page.read().decode()
        return text

    line = f'slave_ip="127.0.0.1",slave_port="{other.port}",slave_state="online"}}'
    eventually(lambda: f"redis_connected_slave_offset_bytes{{{line}" in scraped(ports[0]))
    assert "redis_connected_slaves 1.0" in scraped(ports[0])
    assert "redis_master_link_up 1.0" in scraped(ports[1])
    assert 'role="slave"' in scraped(ports[1])


# What a primary does


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_wait(start: Start, replica: str) -> None:
    one, other = start("ours"), start(replica)
    follow(other, one)
    with one.wire() as wire:
        for number in range(20):
            wire.call("SET", "key", number)
            assert wire.call("WAIT", 1, 10_000) == 1
        assert wire.call("WAIT", 2, 50) == 1
        wire.call("MULTI")
        wire.call("SET", "key", "value")
        wire.call("WAIT", 1, 0)
        assert wire.call("EXEC") == [b"OK", 1]
    with other.wire() as wire:
        assert wire.call("WAIT", 0, 0).startswith(b"ERR WAIT cannot be used with replica")


def test_a_write_needs_replicas(start: Start) -> None:
    one, other = start("ours", "--min-replicas-to-write", "1"), start("ours")
    refused = b"NOREPLICAS Not enough good replicas to write."
    with one.wire() as wire:
        assert wire.call("SET", "key", "value") == refused
        assert wire.call("GET", "key") is None
        follow(other, one)
        eventually(lambda: wire.call("SET", "key", "value") == b"OK")
        assert info(one)["min_slaves_good_slaves"] == "1"
        other.kill()
        eventually(lambda: wire.call("SET", "key", "value") == refused)


def test_a_replica_may_not_touch_keys(start: Start) -> None:
    one = start("ours")
    with one.wire() as wire:
        assert wire.call("REPLCONF", "listening-port", 1234) == b"OK"
        wire.command("PSYNC", "?", -1)
        wire.read_until(b"\r\n")
        ask(one, "SET", "key", "value")
        wire.command("REPLCONF", "ACK", 0)
        wire.command("GET", "key")
        wire.read_until(b"-ERR Replica can't interact with the keyspace\r\n")


def test_who_asks_by_sync(start: Start) -> None:
    one = start("ours")
    ask(one, "SET", "key", "value")
    with one.wire() as wire:
        wire.command("SYNC")
        # Until the snapshot begins an empty line may say that the primary is there.
        size = int(wire.read_until(b"\r\n").lstrip(b"\n")[1:])
        assert wire.read(size).startswith(b"REDIS")
        ask(one, "SET", "other", "value")
        wire.expect(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$5\r\nother\r\n")


def test_an_acknowledgement_of_what_was_not_sent(start: Start) -> None:
    one = start("ours")
    with one.wire() as wire, one.wire() as client:
        wire.command("PSYNC", "?", -1)
        wire.read_until(b"\r\n")
        wire.read(int(wire.read_until(b"\r\n").lstrip(b"\n")[1:]))
        wire.command("REPLCONF", "ACK", 1 << 60)
        # It has been taken when this is answered.
        wire.command("GET", "key")
        wire.read_until(b"-ERR Replica can't interact with the keyspace\r\n")
        client.call("SET", "key", "value")
        assert client.call("WAIT", 1, 100) == 0


def cli(*arguments: str) -> subprocess.Popen[bytes]:
    command = shutil.which("redis-cli")
    if command is None:
        pytest.skip("redis-cli is not installed")
    return subprocess.Popen([command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("replica", ["ours", "real"])
def test_what_expired_or_was_evicted_goes_at_the_replica(start: Start, replica: str) -> None:
    one, other = start("ours", "--maxmemory-policy", "allkeys-random"), start(replica)
    follow(other, one)
    for key in "abcd":
        ask(one, "SET", key, "v")
    ask(one, "del", "a")
    ask(one, "unlink", "b")
    ask(one, "PEXPIRE", "c", "1")
    eventually(lambda: ask(one, "DBSIZE") == 1)
    assert agree(one, other)
    ask(one, "CONFIG", "SET", "maxmemory", "1")
    eventually(lambda: ask(other, "DBSIZE") == 0)
    assert agree(one, other)


def test_redis_cli_as_a_replica(start: Start) -> None:
    one = start("ours")
    ask(one, "SET", "key", "value")
    process = cli("-p", str(one.port), "--replica")
    assert process.stdout is not None
    try:
        eventually(lambda: "state=online" in info(one).get("slave0", ""))
        ask(one, "SET", "other", "value")
        while b'"SET","other","value"' not in process.stdout.readline():
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_redis_cli_fetches_a_snapshot(start: Start, tmp_path: Path) -> None:
    one = start("ours")
    write_samples(one)
    file = tmp_path / "fetched.rdb"
    process = cli("-p", str(one.port), "--rdb", str(file))
    assert process.wait(20) == 0
    checker = shutil.which("redis-check-rdb")
    assert checker is not None
    checked = subprocess.run([checker, str(file)], capture_output=True, text=True, check=False)
    assert "RDB looks OK" in checked.stdout
    process.communicate()


def test_a_promoted_replica_is_gone_at_once(start: Start) -> None:
    """The old primary does not count it until the transaction that promotes it is over."""
    one, other = start("ours"), start("ours")
    follow(other, one)
    with other.wire() as wire:
        for words in (("MULTI",), ("REPLICAOF", "NO", "ONE"), ("DEBUG", "SLEEP", 60)):
            wire.call(*words)
        wire.command("EXEC")
        eventually(lambda: info(one)["connected_slaves"] == "0")
        assert not wire.has_reply()
    other.kill()


# Faults


class Rogue:
    """A primary that answers what it is told to."""

    def __init__(self, server: Process) -> None:
        import socket

        self.listener = socket.create_server(("127.0.0.1", 0))
        ask(server, "REPLICAOF", "127.0.0.1", self.listener.getsockname()[1])

    def meet(self) -> Wire:
        """The replica has connected and asked for the log; nothing is answered to that yet."""
        wire = Wire.__new__(Wire)
        wire._unread, wire._timeout = b"", 10.0
        wire.socket, _ = self.listener.accept()
        wire.socket.settimeout(10)
        for _ in range(3):
            wire.reply()
            wire.send(b"+OK\r\n")
        reply = wire.reply()
        assert isinstance(reply, list)
        assert reply[0] == b"PSYNC", reply
        return wire


ID = b"a" * 40
EMPTY = b"REDIS0010\xff" + b"\0" * 8


@pytest.mark.parametrize(
    "answer",
    [
        b"+FULLRESYNC\r\n",
        b"+FULLRESYNC " + ID + b" -5\r\n",
        b"+CONTINUE\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        b"+FULLRESYNC " + ID + b" 0\r\n-ERR no\r\n",
        b"+FULLRESYNC " + ID + b" 0\r\n$5\r\nREDIS",
        b"+FULLRESYNC " + ID + b" 0\r\n$18\r\nREDIS0010\xfe\x00\x00\x01a\xff\xff\xff\xff",
        b"+FULLRESYNC " + ID + b" 0\r\n$18\r\nREDIS0099\xff" + b"\0" * 8,
    ],
)
def test_a_rogue_primary_changes_nothing(start: Start, answer: bytes) -> None:
    server = start("ours")
    # No key goes until it is a replica.
    ask(server, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    write_much(server, 21, 100)
    before = ask(server, "DEBUG", "DIGEST")
    rogue = Rogue(server)
    with rogue.meet() as wire:
        wire.send(answer)
        wire.expect_closed()
    assert ask(server, "DEBUG", "DIGEST") == before
    assert info(server)["master_link_status"] == "down"


@pytest.mark.parametrize(
    "garbage", [b"*3000000000\r\n", b":5\r\n", b"*1\r\n:5\r\n", b"PING\r\n", b"\0"]
)
def test_garbage_in_the_log(start: Start, garbage: bytes) -> None:
    server = start("ours")
    rogue = Rogue(server)
    with rogue.meet() as wire:
        wire.send(b"+FULLRESYNC %b 7\r\n$18\r\n%b" % (ID, EMPTY))
        wait_linked(server)
        wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" + garbage)
        eventually(lambda: info(server)["master_link_status"] == "down")
    assert ask(server, "GET", "a") == b"b"
    assert info(server)["master_repl_offset"] == str(7 + 27)


def test_a_transaction_that_is_cut_off(start: Start) -> None:
    server = start("ours")
    rogue = Rogue(server)
    with rogue.meet() as wire:
        wire.send(b"+FULLRESYNC %b 0\r\n$18\r\n%b" % (ID, EMPTY))
        wait_linked(server)
        one = b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n"
        wire.send(one + b"*1\r\n$5\r\nMULTI\r\n" + one)
        eventually(lambda: ask(server, "GET", "a") == b"1")
        wire.send(one)
        assert info(server)["master_repl_offset"] == str(len(one))
    with rogue.meet() as wire:
        wire.send(b"+CONTINUE\r\n*1\r\n$5\r\nMULTI\r\n" + one * 3 + b"*1\r\n$4\r\nEXEC\r\n")
        eventually(lambda: ask(server, "GET", "a") == b"4")


def test_a_sync_that_is_cut_off(start: Start) -> None:
    """The old keys stay until all of the new ones are there."""
    source, server = start("real"), start("ours")
    write_samples(source)
    with source.wire() as wire:
        wire.command("SYNC")
        size = int(wire.read_until(b"\r\n").lstrip(b"\n")[1:])
        snapshot = wire.read(size)
    # No key goes until it is a replica.
    ask(server, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    write_much(server, 22, 200)
    before = ask(server, "DEBUG", "DIGEST")
    rogue = Rogue(server)
    head = b"+FULLRESYNC %b 100\r\n$%d\r\n" % (ID, size)
    for part in (0, 1, 3, 7, 8):
        with rogue.meet() as wire:
            wire.send(head + snapshot[: size * part // 8 - (part == 8)])
            eventually(lambda: info(server)["master_sync_in_progress"] == "1")
            assert ask(server, "DEBUG", "DIGEST") == before
        eventually(lambda: info(server)["master_sync_in_progress"] == "0")
        assert ask(server, "DEBUG", "DIGEST") == before
    with rogue.meet() as wire:
        wire.send(head + snapshot)
        wait_linked(server)
        assert ask(server, "DEBUG", "DIGEST") == ask(source, "DEBUG", "DIGEST")
        assert info(server)["master_repl_offset"] == "100"


# Restarts


@pytest.fixture
def restart(start: Start) -> Callable[[Process, str], Process]:
    """Kill a server with an append-only file and start it again, as a replica or not."""

    def again(server: Process, replicaof: str = "") -> Process:
        folder = ask(server, "CONFIG", "GET", "dir")[1].decode()
        server.kill()
        primary = ("--replicaof", replicaof) if replicaof else ()
        port = str(server.port)
        new = start("ours", *APPENDING, "--dir", folder, "--port", port, *primary)
        eventually(lambda: info(new, "persistence")["loading"] == "0")
        return new

    return again


APPENDING = ("--appendonly", "yes", "--appendfsync", "always")
Restart = Callable[..., Process]


@pytest.mark.parametrize("primary", ["ours", "real"])
def test_a_replica_that_restarts_goes_on(start: Start, restart: Restart, primary: str) -> None:
    one, other = start(primary), start("ours", *APPENDING)
    write_much(one, 31, 300)
    follow(other, one)
    eventually(lambda: info(other, "persistence")["aof_rewrite_in_progress"] == "0")
    write_much(one, 32, 300)
    assert agree(one, other)
    other = restart(other, f"127.0.0.1 {one.port}")
    wait_linked(other)
    write_much(one, 33, 300)
    assert agree(one, other)
    assert info(one, "stats")["sync_full"] == "1"
    assert ask(other, "BGREWRITEAOF")
    eventually(lambda: info(other, "persistence")["aof_rewrite_in_progress"] == "0")
    write_much(one, 34, 300)
    assert agree(one, other)
    other = restart(other, f"127.0.0.1 {one.port}")
    wait_linked(other)
    write_much(one, 35, 300)
    assert agree(one, other)
    assert info(one, "stats")["sync_full"] == "1"


def test_a_primary_that_restarts_is_followed_on(start: Start, restart: Restart) -> None:
    one, other = start("ours", *APPENDING), start("ours")
    follow(other, one)
    # That a key has gone may be on its way to the replica before it is on disk.
    ask(one, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
    write_much(one, 36, 300)
    assert agree(one, other)
    one = restart(one)
    eventually(lambda: info(one)["connected_slaves"] == "1")
    wait_linked(other)
    write_much(one, 37, 300)
    assert agree(one, other)
    assert info(one, "stats")["sync_full"] == "0"


def test_a_replica_that_restarts_as_a_primary(start: Start, restart: Restart) -> None:
    one, other = start("ours"), start("ours", *APPENDING)
    write_much(one, 38, 300)
    follow(other, one)
    eventually(lambda: info(other, "persistence")["aof_rewrite_in_progress"] == "0")
    write_much(one, 39, 300)
    assert agree(one, other)
    before = info(one)["master_replid"]
    other = restart(other)
    eventually(lambda: info(other)["master_replid2"] == before)  # it may be loading still
    write_much(other, 40, 300)
    follow(one, other)
    assert agree(one, other)
