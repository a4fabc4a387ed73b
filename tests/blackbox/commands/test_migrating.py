"""MIGRATE to servers like the one that is asked, and to one that a test plays."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Process, StartServer, Wire, free_port
from tests.support.replication import Start, info
from tests.support.resp import encode, parse
from tests.support.samples import commands

HOST = "127.0.0.1"


class Target:
    """The other server, played by a test."""

    def __init__(self) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.listener.settimeout(10)
        self.port: int = self.listener.getsockname()[1]
        self.socket: socket.socket | None = None
        self._unread = b""

    def accept(self) -> None:
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(10)

    def command(self) -> list[bytes]:
        """The next command."""
        if self.socket is None:
            self.accept()
        assert self.socket is not None
        while True:
            try:
                words, end = parse(self._unread)
            except Exception:
                data = self.socket.recv(65536)
                assert data, "closed"
                self._unread += data
                continue
            self._unread = self._unread[end:]
            assert isinstance(words, list)
            return [word for word in words if isinstance(word, bytes)]

    def reply(self, data: bytes) -> None:
        assert self.socket is not None
        self.socket.sendall(data)

    def hang_up(self) -> None:
        assert self.socket is not None
        self.socket.close()
        self.socket = None
        self._unread = b""

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.listener.close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


def test_refusals(ask: Ask) -> None:
    closed = free_port()
    assert ask("MIGRATE", HOST, closed, "k", 0, 100) == b"NOKEY"
    ask("SET", "k", "v")
    not_integer = b"ERR value is not an integer or out of range"
    assert ask("MIGRATE", HOST, closed, "k", "x", 100) == not_integer
    assert ask("MIGRATE", HOST, closed, "k", 0, "x") == not_integer
    assert ask("MIGRATE", HOST, closed, "k", 0, 100, "x") == b"ERR syntax error"
    assert ask("MIGRATE", HOST, closed, "k", 0, 100, "AUTH") == b"ERR syntax error"
    assert ask("MIGRATE", HOST, closed, "k", 0, 100, "AUTH2", "u") == b"ERR syntax error"
    assert ask("MIGRATE", HOST, closed, "k", 0, 100, "KEYS", "k") == (
        b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
    )
    assert ask("MIGRATE", HOST, 1) == b"ERR wrong number of arguments for 'migrate' command"
    away = b"IOERR error or timeout writing to target instance"
    assert ask("MIGRATE", HOST, closed, "k", 0, 20_000) == away
    assert ask("MIGRATE", "host.invalid", 1, "k", 0, 100) == (
        b"IOERR error or timeout connecting to the client"
    )
    assert ask("GET", "k") == b"v"
    keys = ["h", 1, "", 0, 1, "COPY", "AUTH", "keys", "KEYS", "a", "b"]
    assert ask("COMMAND", "GETKEYS", "MIGRATE", *keys) == [b"a", b"b"]
    assert ask("COMMAND", "GETKEYS", "MIGRATE", "h", 1, "k", 0, 1) == [b"k"]


def test_what_is_sent(ask: Ask, target: Target, wire: Wire) -> None:
    ask("SET", "a", "1")
    ask("SET", "b", "2", "PX", 100_000)
    move = ("MIGRATE", HOST, target.port, "", 3, 20_000, "REPLACE", "AUTH2", "u", "p")
    wire.command(*move, "KEYS", "a", "missing", "b")
    assert target.command() == [b"AUTH", b"u", b"p"]
    assert target.command() == [b"SELECT", b"3"]
    name, key, time, _, replace = target.command()
    assert (name, key, time, replace) == (b"RESTORE", b"a", b"0", b"REPLACE")
    name, key, time, _, replace = target.command()
    assert (name, key, replace) == (b"RESTORE", b"b", b"REPLACE")
    assert 0 < int(time) <= 100_000
    # Nothing is deleted before it is there, and what is refused stays.
    target.reply(b"+OK\r\n+OK\r\n+OK\r\n-ERR no\r\n")
    assert wire.reply() == b"ERR Target instance replied with error: ERR no"
    assert (ask("EXISTS", "a"), ask("EXISTS", "b")) == (0, 1)


def test_a_password_that_is_wrong(ask: Ask, target: Target, wire: Wire) -> None:
    ask("SET", "k", "v")
    wire.command("MIGRATE", HOST, target.port, "k", 0, 20_000, "AUTH", "p")
    assert target.command() == [b"AUTH", b"p"]
    target.reply(b"-WRONGPASS no\r\n+OK\r\n+OK\r\n")
    assert wire.reply() == b"ERR Target instance replied with error: WRONGPASS no"
    assert ask("EXISTS", "k") == 1


def test_a_target_that_is_silent_or_leaves(ask: Ask, target: Target, wire: Wire) -> None:
    ask("SET", "k", "v")
    ask("SET", "first", "v")
    wire.command("MIGRATE", HOST, target.port, "first", 0, 20_000)
    assert [target.command()[0], target.command()[0]] == [b"SELECT", b"RESTORE"]
    target.reply(b"+OK\r\n+OK\r\n")
    assert wire.reply() == b"OK"
    # The connection is there, so that nothing but the reply can take too long.
    late = b"IOERR error or timeout reading to target instance"
    assert wire.call("MIGRATE", HOST, target.port, "k", 0, 20) == late
    target.hang_up()
    # Redis tries that twice.
    wire.command("MIGRATE", HOST, target.port, "k", 0, 5000)
    target.command()
    target.hang_up()
    assert wire.reply() == late
    assert ask("EXISTS", "k") == 1


def test_what_a_target_said_before_it_left(ask: Ask, target: Target, wire: Wire) -> None:
    for key in "abc":
        ask("SET", key, "v")
    wire.command("MIGRATE", HOST, target.port, "", 0, 20_000, "KEYS", "a", "b", "c")
    for _ in ("SELECT", "a", "b", "c"):
        target.command()
    target.reply(b"+OK\r\n+OK\r\n-ERR no\r\n")
    target.hang_up()
    assert wire.reply() == b"ERR Target instance replied with error: ERR no"
    assert ask("EXISTS", "b", "c") == 2
    # In place of the one that was given up.
    wire.command("MIGRATE", HOST, target.port, "b", 0, 20_000)
    assert [target.command()[0], target.command()[1]] == [b"SELECT", b"b"]
    target.reply(b"+OK\r\n+OK\r\n")
    assert wire.reply() == b"OK"


def test_a_connection_is_kept(target: Target, start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        for key in "abc":
            wire.call("SET", key, "v")
        wire.command("MIGRATE", HOST, target.port, "a", 0, 20_000)
        assert [target.command()[0], target.command()[0]] == [b"SELECT", b"RESTORE"]
        target.reply(b"+OK\r\n+OK\r\n")
        assert wire.reply() == b"OK"
        assert int(info(server, "stats")["migrate_cached_sockets"]) == 1
        wire.command("MIGRATE", HOST, target.port, "b", 0, 20_000)
        assert target.command()[:2] == [b"RESTORE", b"b"]
        target.reply(b"+OK\r\n")
        assert wire.reply() == b"OK"
        # One that was closed meanwhile is replaced.
        target.hang_up()
        wire.command("MIGRATE", HOST, target.port, "c", 0, 20_000)
        assert [target.command()[0], target.command()[1]] == [b"SELECT", b"c"]
        target.reply(b"+OK\r\n+OK\r\n")
        assert wire.reply() == b"OK"
        assert wire.call("DBSIZE") == 0


@pytest.mark.ours("Redis serves nobody meanwhile")
def test_others_are_served(ask: Ask, target: Target, wire: Wire) -> None:
    ask("SET", "a", "1")
    ask("SET", "b", "2")
    ask("RPUSH", "list", "x")
    ask("SET", "gone", "4")
    keys = ["KEYS", "a", "b", "list", "gone"]
    wire.command("MIGRATE", HOST, target.port, "", 0, 20_000, *keys)
    for _ in range(5):
        target.command()
    ask("SET", "a", "changed")
    ask("EXPIRE", "b", 1000)
    ask("DEL", "gone")
    wire.command("PING")
    target.reply(b"+OK\r\n" * 5)
    answer = wire.reply()
    assert isinstance(answer, bytes)
    assert answer.startswith(b"ERR Keys were changed after they had been sent")
    assert wire.reply() == b"PONG"
    assert (ask("GET", "a"), ask("GET", "b"), ask("EXISTS", "list")) == (b"changed", b"2", 0)
    wire.send(b"MULTI\r\n" + encode("MIGRATE", HOST, target.port, "a", 0, 100) + b"EXEC\r\n")
    wire.reply()
    wire.reply()
    assert wire.reply() == [b"ERR MIGRATE is not possible within a transaction"]


@pytest.mark.ours("Redis serves nobody meanwhile")
def test_a_pause(ask: Ask, target: Target, wire: Wire) -> None:
    ask("SET", "a", "1")
    wire.command("MIGRATE", HOST, target.port, "a", 0, 20_000)
    target.command()
    ask("CLIENT", "PAUSE", 100_000, "WRITE")
    target.reply(b"+OK\r\n+OK\r\n")
    assert ask("GET", "a") == b"1"
    assert not wire.has_reply()
    ask("CLIENT", "UNPAUSE")
    assert wire.reply() == b"OK"
    assert ask("GET", "a") is None


@pytest.mark.ours("it is about ours and real ones together")
@pytest.mark.parametrize(
    ("source", "target"), [("ours", "ours"), ("ours", "real"), ("real", "ours")]
)
def test_all_types(start: Start, source: str, target: str) -> None:
    one: Process = start(source, "--appendonly", "yes")
    other: Process = start(target, "--requirepass", "secret")
    with one.wire() as wire, other.wire() as there:
        assert there.call("AUTH", "secret") == b"OK"
        for words in commands():
            wire.call(*words)
        wire.call("EXPIRE", "string", 1000)
        digest = wire.call("DEBUG", "DIGEST")
        keys = wire.call("KEYS", "*")
        move = ("MIGRATE", other.host, other.port, "", 0, 20_000)
        refused = b"ERR Target instance replied with error: NOAUTH Authentication required."
        assert wire.call(*move, "KEYS", *keys) == refused
        login = ("AUTH2", "default", "secret", "KEYS", *keys)
        assert wire.call(*move, "COPY", *login) == b"OK"
        assert there.call("DEBUG", "DIGEST") == digest
        busy = wire.call(*move, *login)
        assert busy.startswith(b"ERR Target instance replied with error: BUSYKEY")
        assert wire.call("DBSIZE") == len(keys)
        assert wire.call(*move, "REPLACE", *login) == b"OK"
        assert there.call("DEBUG", "DIGEST") == digest
        assert wire.call("DBSIZE") == 0
        if source == "ours":
            # The log knows that they are gone.
            one.stop()
            log = next((one.folder / "appendonlydir").glob("*.incr.aof")).read_bytes()
            assert log.count(b"$3\r\nDEL\r\n") == len(keys)
            assert b"MIGRATE" not in log
