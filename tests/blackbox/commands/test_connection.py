"""PING, ECHO, SELECT, QUIT, RESET, AUTH and HELLO."""

import pytest
import redis

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Map, Server, StartServer, Wire, encode

WRONG_PASSWORD = b"WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD = (
    b"ERR AUTH <password> called without any password configured for the default user."
    b" Are you sure your configuration is correct?"
)


def test_ping(ask: Ask) -> None:
    assert ask("PING") == b"PONG"
    assert ask("PING", "hello\r\n\x00") == b"hello\r\n\x00"
    assert ask("PING", "a", "b") == b"ERR wrong number of arguments for 'ping' command"


def test_ping_of_a_subscriber(wire: Wire) -> None:
    wire.call("SUBSCRIBE", "news")
    assert wire.call("PING") == [b"pong", b""]
    assert wire.call("PING", "hello") == [b"pong", b"hello"]


@pytest.mark.parametrize("command", [b"PING\r\n", b"PING\r\n*1\r\n$4\r\nPING\r\n"])
def test_many_inline_commands_of_which_the_last_is_cut_off(wire: Wire, command: bytes) -> None:
    wire.send(command * 10_000 + b"PI")
    wire.send(b"NG\r\n")
    wire.expect(b"+PONG\r\n" * (10_000 * command.count(b"PING") + 1))


def test_echo(ask: Ask) -> None:
    assert ask("ECHO", "\x00\xff hello") == "\x00\xff hello".encode()
    assert ask("ECHO") == b"ERR wrong number of arguments for 'echo' command"
    assert ask("ECHO", "a", "b") == b"ERR wrong number of arguments for 'echo' command"


def test_select_changes_the_database(ask: Ask) -> None:
    assert ask("SET", "key", "in 0") == b"OK"
    assert ask("SELECT", 9) == b"OK"
    assert ask("GET", "key") is None
    assert ask("SET", "key", "in 9") == b"OK"
    assert ask("SELECT", 0) == b"OK"
    assert ask("GET", "key") == b"in 0"


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ("16", b"ERR DB index is out of range"),
        ("-1", b"ERR DB index is out of range"),
        ("1.0", b"ERR value is not an integer or out of range"),
        ("one", b"ERR value is not an integer or out of range"),
        ("99999999999999999999", b"ERR value is not an integer or out of range"),
    ],
)
def test_select_of_what_is_no_database(ask: Ask, index: str, error: bytes) -> None:
    assert ask("SELECT", index) == error


def test_databases_as_configured(start_server: StartServer) -> None:
    with start_server("--databases", "2").wire() as wire:
        assert wire.call("SELECT", 1) == b"OK"
        assert wire.call("SELECT", 2) == b"ERR DB index is out of range"


def test_quit_answers_and_closes(wire: Wire, client: redis.Redis) -> None:
    wire.send(encode("SET", "before", 1) + encode("QUIT", "now") + encode("SET", "behind", 1))
    wire.expect_closed(b"+OK\r\n+OK\r\n")
    assert client.exists("before", "behind") == 1


@pytest.mark.parametrize("before", [126, 127, 128])
def test_nothing_behind_quit_runs_wherever_it_stands(
    wire: Wire, client: redis.Redis, before: int
) -> None:
    """Of a long pipeline, too, which is run in slices."""
    wire.send(encode("PING") * before + encode("QUIT") + encode("SET", "behind", 1) * 2)
    wire.expect_closed(b"+PONG\r\n" * before + b"+OK\r\n")
    assert not client.exists("behind")


# RESET


def test_reset_forgets_what_the_connection_was_told(wire: Wire) -> None:
    wire.call("HELLO", 3, "SETNAME", "worker")
    wire.call("SELECT", 5)
    assert wire.call("RESET") == b"RESET"
    assert wire.call("CLIENT", "GETNAME") is None
    info = wire.call("CLIENT", "INFO")
    assert isinstance(info, bytes)
    for field in (b"db=0", b"flags=N", b"resp=2", b"name=", b"user=default"):
        assert field in info.split()


@pytest.mark.since("7.2")
def test_reset_forgets_how_the_connection_was_treated(wire: Wire) -> None:
    wire.call("CLIENT", "NO-EVICT", "ON")
    wire.call("CLIENT", "NO-TOUCH", "ON")
    assert wire.call("RESET") == b"RESET"
    assert b"flags=N" in wire.call("CLIENT", "INFO")


def test_reset_ends_a_transaction(wire: Wire, client: redis.Redis) -> None:
    wire.call("WATCH", "key")
    wire.call("MULTI")
    wire.call("SET", "key", "value")
    assert wire.call("RESET") == b"RESET"
    assert wire.call("EXEC") == b"ERR EXEC without MULTI"
    client.set("key", "other")
    wire.call("MULTI")
    assert wire.call("EXEC") == []


def test_reset_ends_subscriptions(wire: Wire, client: redis.Redis) -> None:
    wire.call("SUBSCRIBE", "news")
    wire.call("PSUBSCRIBE", "n*")
    assert wire.call("GET", "key").startswith(b"ERR Can't execute 'get': only (P|S)SUBSCRIBE")
    assert wire.call("RESET") == b"RESET"
    assert client.publish("news", "hello") == 0
    assert wire.call("GET", "key") is None


def test_reset_ends_monitor(wire: Wire) -> None:
    assert wire.call("MONITOR") == b"OK"
    wire.command("RESET")
    assert wire.reply() == b"RESET"
    assert wire.call("GET", "key") is None


def test_reset_lets_replies_come_again(wire: Wire) -> None:
    wire.command("CLIENT", "REPLY", "OFF")
    assert wire.call("RESET") == b"RESET"
    assert wire.call("PING") == b"PONG"


# AUTH


def test_auth_without_a_password_set(ask: Ask) -> None:
    assert ask("AUTH", "secret") == NO_PASSWORD
    assert ask("AUTH", "default", "anything") == b"OK"
    assert ask("AUTH", "somebody", "anything") == WRONG_PASSWORD
    assert ask("AUTH", "a", "b", "c") == b"ERR syntax error"
    assert ask("AUTH") == b"ERR wrong number of arguments for 'auth' command"


def test_auth_with_a_password(start_server: StartServer) -> None:
    with start_server("--requirepass", "secret").wire() as wire:
        for words in (["GET", "key"], ["CLIENT", "ID"], ["MULTI"], ["INFO"]):
            assert wire.call(*words) == b"NOAUTH Authentication required."
        assert wire.call("NOSUCH").startswith(b"ERR unknown command 'NOSUCH'")
        assert wire.call("AUTH", "wrong") == WRONG_PASSWORD
        assert wire.call("AUTH", "somebody", "secret") == WRONG_PASSWORD
        assert wire.call("AUTH", "default", "wrong") == WRONG_PASSWORD
        assert wire.call("GET", "key") == b"NOAUTH Authentication required."
        assert wire.call("AUTH", "secret") == b"OK"
        assert wire.call("SET", "key", "value") == b"OK"
        # A failed attempt takes nothing away.
        assert wire.call("AUTH", "default", "wrong") == WRONG_PASSWORD
        assert wire.call("GET", "key") == b"value"
        assert wire.call("RESET") == b"RESET"
        assert wire.call("GET", "key") == b"NOAUTH Authentication required."
        assert wire.call("AUTH", "default", "secret") == b"OK"
        assert wire.call("QUIT") == b"OK"


def test_a_password_of_any_bytes(server: Server, wire: Wire) -> None:
    secret = b"abc\x00def\xff"
    assert wire.call("CONFIG", "SET", "requirepass", secret) == b"OK"
    try:
        with server.wire() as other:
            assert other.call("AUTH", "abc") == WRONG_PASSWORD
            assert other.call("AUTH", secret) == b"OK"
    finally:
        assert wire.call("CONFIG", "SET", "requirepass", "") == b"OK"


def test_a_password_set_and_taken_away_while_clients_are_connected(
    server: Server, wire: Wire
) -> None:
    wire.call("CONFIG", "SET", "requirepass", "secret")
    with server.wire() as late:
        assert late.call("PING") == b"NOAUTH Authentication required."
        assert wire.call("PING") == b"PONG"
        wire.call("CONFIG", "SET", "requirepass", "")
        assert late.call("PING") == b"PONG"


# HELLO


def test_hello_describes_the_server(wire: Wire) -> None:
    flat = wire.call("HELLO")
    assert isinstance(flat, list)
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    assert set(facts) == {b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"}
    assert facts[b"server"] == b"redis"
    assert facts[b"proto"] == 2
    assert facts[b"mode"] == b"standalone"
    assert facts[b"role"] == b"master"
    assert facts[b"id"] == wire.call("CLIENT", "ID")


def test_hello_switches_the_protocol(wire: Wire) -> None:
    reply = wire.call("HELLO", 3)
    assert isinstance(reply, Map)
    assert dict(reply)[b"proto"] == 3
    assert wire.call("CONFIG", "GET", "port")[0][0] == b"port"
    wire.send(encode("GET", "nothing"))
    wire.expect(b"_\r\n")
    assert isinstance(wire.call("HELLO", 2), list)
    wire.send(encode("GET", "nothing"))
    wire.expect(b"$-1\r\n")


def test_hello_in_a_transaction(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("HELLO", 3)
    wire.call("GET", "nothing")
    wire.send(encode("EXEC"))
    assert wire.read(2) == b"*2"
    assert wire.read_until(b"_\r\n").endswith(b"_\r\n")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["1"], b"NOPROTO unsupported protocol version"),
        (["4"], b"NOPROTO unsupported protocol version"),
        (["three"], b"ERR Protocol version is not an integer or out of range"),
        (["3", "FAST"], b"ERR Syntax error in HELLO option 'FAST'"),
        (["3", "SETNAME"], b"ERR Syntax error in HELLO option 'SETNAME'"),
        (["3", "AUTH", "default"], b"ERR Syntax error in HELLO option 'AUTH'"),
        (["3", "AUTH", "somebody", "x"], WRONG_PASSWORD),
        (
            ["3", "SETNAME", "two words"],
            b"ERR Client names cannot contain spaces, newlines or special characters.",
        ),
    ],
)
def test_hello_refused(wire: Wire, words: list[str], error: bytes) -> None:
    assert wire.call("HELLO", *words) == error
    assert b"resp=2" in wire.call("CLIENT", "INFO")


def test_hello_authenticates_and_names(start_server: StartServer) -> None:
    with start_server("--requirepass", "secret").wire() as wire:
        refused = wire.call("HELLO", 3)
        assert isinstance(refused, Error)
        assert refused.startswith(b"NOAUTH HELLO must be called with the client already")
        assert wire.call("HELLO", 3, "AUTH", "default", "wrong") == WRONG_PASSWORD
        welcome = wire.call("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "worker")
        assert dict(welcome)[b"proto"] == 3
        assert wire.call("CLIENT", "GETNAME") == b"worker"


def test_going_back_to_resp2_while_subscribed(wire: Wire) -> None:
    wire.call("HELLO", 3)
    wire.call("SUBSCRIBE", "news")
    assert wire.call("GET", "key") is None
    wire.call("HELLO", 2)
    assert wire.call("GET", "key").startswith(b"ERR Can't execute 'get'")
