"""Databases, time, roles, MONITOR, SHUTDOWN, and the small commands of the server group."""

import re
import time

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Server, StartServer, Verbatim, Wire, encode, eventually

# Databases


def test_dbsize(ask: Ask) -> None:
    assert ask("DBSIZE") == 0
    ask("MSET", "a", 1, "b", 2)
    assert ask("DBSIZE") == 2
    ask("SELECT", 1)
    assert ask("DBSIZE") == 0
    assert ask("DBSIZE", "x") == b"ERR wrong number of arguments for 'dbsize' command"


@pytest.mark.parametrize("mode", [[], ["SYNC"], ["async"]])
def test_flushdb_empties_one_database(ask: Ask, mode: list[str]) -> None:
    ask("SET", "a", 1)
    ask("SELECT", 1)
    ask("MSET", "a", 1, "b", 2)
    ask("EXPIRE", "a", 100)
    assert ask("FLUSHDB", *mode) == b"OK"
    assert ask("DBSIZE") == 0
    assert ask("TTL", "a") == -2
    ask("SELECT", 0)
    assert ask("DBSIZE") == 1


@pytest.mark.parametrize("mode", [[], ["SYNC"], ["async"]])
def test_flushall_empties_all(ask: Ask, mode: list[str]) -> None:
    for database in (0, 1, 15):
        ask("SELECT", database)
        ask("RPUSH", "list", *range(1000))
    assert ask("FLUSHALL", *mode) == b"OK"
    for database in (0, 1, 15):
        ask("SELECT", database)
        assert ask("DBSIZE") == 0
    assert ask("RPUSH", "list", "anew") == 1


@pytest.mark.parametrize("name", ["FLUSHDB", "FLUSHALL"])
def test_flush_refused(ask: Ask, name: str) -> None:
    assert ask(name, "LATER") == b"ERR syntax error"
    assert ask(name, "SYNC", "ASYNC") == b"ERR syntax error"


@pytest.mark.parametrize("name", ["FLUSHDB", "FLUSHALL"])
def test_flush_fails_transactions_that_watch(server: Server, ask: Ask, name: str) -> None:
    with server.wire() as watching:
        watching.call("SET", "there", 1)
        for key, outcome in (("there", None), ("missing", [b"PONG"])):
            ask("SET", "there", 1)
            watching.call("WATCH", key)
            ask(name)
            watching.call("MULTI")
            watching.call("PING")
            assert watching.call("EXEC") == outcome


def test_swapdb_exchanges_keys(ask: Ask) -> None:
    ask("SET", "key", "was in 0", "EX", 100)
    ask("SELECT", 1)
    ask("SET", "key", "was in 1")
    assert ask("SWAPDB", 0, 1) == b"OK"
    assert ask("GET", "key") == b"was in 0"
    assert 0 < ask("TTL", "key") <= 100
    ask("SELECT", 0)
    assert ask("GET", "key") == b"was in 1"
    assert ask("TTL", "key") == -1
    assert ask("SWAPDB", 0, 0) == b"OK"
    assert ask("GET", "key") == b"was in 1"


def test_swapdb_serves_who_waits_there(wire: Wire, server: Server) -> None:
    with server.wire() as waiting:
        waiting.command("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1\r" in wire.call("INFO", "clients"))
        wire.call("SELECT", 9)
        wire.call("RPUSH", "list", "element")
        wire.call("SWAPDB", 0, 9)
        assert waiting.reply() == [b"list", b"element"]


@pytest.mark.parametrize(
    ("key", "outcome"), [("in 0", None), ("in 1", None), ("missing", [b"PONG"])]
)
def test_swapdb_fails_transactions_that_watch(
    server: Server, wire: Wire, key: str, outcome: object
) -> None:
    wire.call("SET", "in 0", 1)
    wire.call("SELECT", 1)
    wire.call("SET", "in 1", 1)
    with server.wire() as watching:
        watching.call("WATCH", key)
        wire.call("SWAPDB", 0, 1)
        watching.call("MULTI")
        watching.call("PING")
        assert watching.call("EXEC") == outcome


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ("a", "b", b"ERR invalid first DB index"),
        ("0", "b", b"ERR invalid second DB index"),
        ("0", "16", b"ERR DB index is out of range"),
        ("-1", "0", b"ERR DB index is out of range"),
    ],
)
def test_swapdb_refused(ask: Ask, first: str, second: str, error: bytes) -> None:
    assert ask("SWAPDB", first, second) == error


# Time


def test_time(ask: Ask) -> None:
    seconds, micros = ask("TIME")
    assert abs(int(seconds) - time.time()) < 60
    assert 0 <= int(micros) < 1_000_000
    assert ask("TIME", "x") == b"ERR wrong number of arguments for 'time' command"


# MONITOR


def lines(monitor: Wire, count: int) -> list[bytes]:
    """The next lines that a monitor shows, without time and address."""
    shown = []
    for _ in range(count):
        line = monitor.reply()
        assert isinstance(line, bytes)
        found = re.fullmatch(rb"\d+\.\d{6} \[(\d+) 127\.0\.0\.1:\d+\] (.*)", line)
        assert found, line
        shown.append(found[1] + b" " + found[2])
    return shown


@pytest.fixture
def monitor(wire: Wire) -> Wire:
    assert wire.call("MONITOR") == b"OK"
    return wire


def test_monitor_shows_what_runs(monitor: Wire, server: Server) -> None:
    with server.wire() as other:
        other.call("SET", "key", 'a "quoted"\r\n\x00 value')
        other.call("get", "key")
        other.call("SELECT", 5)
        other.call("LPUSH", "key", "in 5")
        other.call("LPOP", "key", "wrong")
    assert lines(monitor, 5) == [
        b'0 "SET" "key" "a \\"quoted\\"\\r\\n\\x00 value"',
        b'0 "get" "key"',
        b'5 "SELECT" "5"',
        b'5 "LPUSH" "key" "in 5"',
        b'5 "LPOP" "key" "wrong"',
    ]


def test_monitor_shows_a_transaction_as_it_runs(monitor: Wire, server: Server) -> None:
    with server.wire() as other:
        other.call("MULTI")
        other.call("SET", "key", "value")
        other.call("EXEC")
    assert lines(monitor, 3) == [b'0 "MULTI"', b'0 "SET" "key" "value"', b'0 "EXEC"']


def test_monitor_shows_neither_passwords_nor_administration(monitor: Wire, server: Server) -> None:
    with server.wire() as other:
        other.call("AUTH", "secret")
        other.call("AUTH", "default", "secret")
        other.call("HELLO", 3, "SETNAME", "AUTH", "AUTH", "default", "secret")
        other.call("CONFIG", "SET", "maxmemory", 0)
        other.call("SET", "key")
        other.call("NOSUCH")
        other.call("PING")
    assert lines(monitor, 4) == [
        b'0 "AUTH" "(redacted)"',
        b'0 "AUTH" "(redacted)" "(redacted)"',
        b'0 "HELLO" "3" "SETNAME" "AUTH" "AUTH" "(redacted)" "(redacted)"',
        b'0 "PING"',
    ]


def test_monitor_shows_a_command_that_blocks_once(monitor: Wire, server: Server) -> None:
    with server.wire() as waiting, server.wire() as other:
        waiting.command("BLPOP", "list", 0)
        assert lines(monitor, 1) == [b'0 "BLPOP" "list" "0"']
        other.call("RPUSH", "list", "element")
        assert waiting.reply() == [b"list", b"element"]
        other.call("PING")
    assert lines(monitor, 2) == [b'0 "RPUSH" "list" "element"', b'0 "PING"']


def test_a_monitor_may_not_use_keys(monitor: Wire) -> None:
    refused = b"ERR Replica can't interact with the keyspace"
    for words in (["GET", "key"], ["SET", "key", 1], ["PUBLISH", "news", "hello"]):
        assert monitor.call(*words) == refused
    monitor.call("MULTI")
    assert lines(monitor, 1) == [b'0 "MULTI"']
    assert monitor.call("GET", "key") == refused
    assert monitor.call("DISCARD") == b"OK"
    assert lines(monitor, 1) == [b'0 "DISCARD"']
    monitor.send(encode("MONITOR") + encode("PING"))
    assert monitor.reply() == b"PONG"
    assert lines(monitor, 1) == [b'0 "PING"']


def test_several_monitors(server: Server, monitor: Wire) -> None:
    with server.wire() as second, server.wire() as other:
        second.call("MONITOR")
        other.call("PING")
        assert lines(second, 1) == lines(monitor, 1) == [b'0 "PING"']
        second.close()
        eventually(lambda: other.call("CLIENT", "LIST").count(b"flags=O") == 1)
        other.call("PING", "again")
    assert lines(monitor, 1) == [b'0 "PING" "again"']


@pytest.mark.ours("in Redis a monitor that does not read takes any amount of memory")
def test_a_monitor_that_does_not_read_is_closed(monitor: Wire, server: Server) -> None:
    with server.wire() as other:
        other.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
        value = "x" * 1_000_000

        def closed() -> bool:
            other.call("SET", "key", value)
            return b"flags=O" not in other.call("CLIENT", "LIST")

        eventually(closed)
    # What was sent before is read first.
    eventually(monitor.is_closed)


# SHUTDOWN


@pytest.mark.parametrize("options", [[], ["NOSAVE"], ["nosave", "now", "force"]])
def test_shutdown(start_server: StartServer, options: list[str]) -> None:
    server = start_server()
    with server.wire() as wire, server.wire() as other:
        wire.command("SHUTDOWN", *options)
        wire.expect_closed()
        other.expect_closed()
    assert server.process.wait(20) == 0


def test_shutdown_refused(ask: Ask) -> None:
    assert ask("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."
    for words in (["LATER"], ["SAVE", "NOSAVE"], ["ABORT", "NOW"], ["NOSAVE", "ABORT"]):
        assert ask("SHUTDOWN", *words) == b"ERR syntax error"
    ask("MULTI")
    assert ask("SHUTDOWN") == b"ERR Command not allowed inside a transaction"


# Modules, users, functions, pictures


def test_there_are_no_modules(ask: Ask) -> None:
    assert ask("MODULE", "LIST") == []
    assert ask("MODULE", "HELP")[0].startswith(b"MODULE <subcommand>")
    assert isinstance(ask("MODULE"), Error)


def test_whoami(ask: Ask) -> None:
    assert ask("ACL", "WHOAMI") == b"default"


def test_categories_of_commands(ask: Ask) -> None:
    categories = ask("ACL", "CAT")
    assert len(categories) == 21
    assert {b"keyspace", b"read", b"dangerous", b"transaction"} <= set(categories)
    names = set(ask("ACL", "CAT", "connection"))
    assert {b"ping", b"client|list", b"command|docs", b"wait"} <= names
    assert not {b"client", b"get"} & names
    assert ask("ACL", "CAT", "nosuch") == b"ERR Unknown category 'nosuch'"
    refused = b"ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP."
    assert ask("ACL", "CAT", "read", "write") == refused


def test_there_are_no_functions(ask: Ask) -> None:
    assert ask("FUNCTION", "FLUSH") == b"OK"
    assert ask("FUNCTION", "FLUSH", "ASYNC") == b"OK"
    refused = b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option"
    assert ask("FUNCTION", "FLUSH", "LATER") == refused
    refused = b"ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP."
    assert ask("FUNCTION", "FLUSH", "SYNC", "ASYNC") == refused
    assert ask("FUNCTION", "LIST", "WITHCODE", "LIBRARYNAME", "x") == []
    assert ask("FUNCTION", "LIST", "x") == b"ERR Unknown argument x"
    assert ask("FUNCTION", "LIST", "WITHCODE", "WITHCODE") == b"ERR Unknown argument WITHCODE"
    assert ask("FUNCTION", "LIST", "LIBRARYNAME") == b"ERR library name argument was not given"


def test_lolwut(wire: Wire) -> None:
    wire.call("HELLO", 3)
    picture = wire.call("LOLWUT")
    assert isinstance(picture, Verbatim)
    assert bytes(picture).count(b"ver. ")
    assert b"ver. " in wire.call("LOLWUT", "VERSION", 5, 1, 1, 1)
    refused = b"ERR value is not an integer or out of range"
    assert wire.call("LOLWUT", "VERSION", "x") == refused


@pytest.mark.ours("a picture of our own")
def test_lolwut_of_a_size(wire: Wire) -> None:
    *picture, blank, footer = wire.call("LOLWUT", 10, 3, 1).splitlines()
    assert len(picture) == 3
    assert max(map(len, picture)) <= 10
    assert blank == b""
    assert footer.startswith(b"distcache ver. ")
    assert len(wire.call("LOLWUT", 10**9, 10**9, 10**9)) < 30_000


@pytest.mark.parametrize(
    "container",
    [
        "ACL",
        "CLIENT",
        "COMMAND",
        "CONFIG",
        "DEBUG",
        "FUNCTION",
        "LATENCY",
        "MEMORY",
        "MODULE",
        "OBJECT",
        "PUBSUB",
        "SLOWLOG",
    ],
)
def test_every_container_has_help(ask: Ask, container: str) -> None:
    first, *rest = ask(container, "HELP")
    assert first == f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".encode()
    assert b"HELP" in rest
    assert any(line.startswith(b"    ") for line in rest)
    if container != "DEBUG":
        name = container.lower()
        wrong = f"ERR wrong number of arguments for '{name}|help' command".encode()
        assert ask(container, "HELP", "x") == wrong


@pytest.mark.parametrize(
    "line",
    [
        "PUBSUB channels a b",
        "PUBSUB SHARDCHANNELS a b",
        "SLOWLOG GET 1 2",
        "CLIENT UNBLOCK 1 TIMEOUT x",
        "CLIENT PAUSE 1 ALL x",
    ],
)
def test_subcommands_with_a_word_too_many(wire: Wire, line: str) -> None:
    container, sub, *_ = line.encode().split()
    expected = b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
    assert wire.call(*line.split()) == expected % (sub, container)


def test_samples_of_memory_usage(wire: Wire) -> None:
    assert wire.call("MEMORY", "USAGE", "none", "SAMPLES", "0", "SAMPLES", "3") is None
    not_integer = b"ERR value is not an integer or out of range"
    assert wire.call("MEMORY", "USAGE", "none", "SAMPLES", "x", "SAMPLES", "-1") == not_integer
