"""CONFIG, and that settings take effect when they are changed."""

from pathlib import Path

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Map, Server, StartServer, Wire, free_port


def get(ask: Ask, *patterns: str) -> dict[bytes, bytes]:
    reply = ask("CONFIG", "GET", *patterns)
    return dict(zip(reply[::2], reply[1::2], strict=True))


def test_get(ask: Ask) -> None:
    assert get(ask, "maxmemory") == {b"maxmemory": b"0"}
    assert get(ask, "MaxMemory") in ({b"MaxMemory": b"0"}, {b"maxmemory": b"0"})
    assert {b"maxmemory", b"maxmemory-policy", b"maxmemory-samples"} <= set(get(ask, "maxmemory*"))
    assert {b"slaveof", b"replicaof", b"bind"} <= set(get(ask, "*of", "bind"))
    assert get(ask, "no-such-setting") == {}
    assert len(get(ask, "*")) > 150
    assert ask("CONFIG", "GET") == b"ERR wrong number of arguments for 'config|get' command"


def test_get_is_a_map_in_resp3(wire: Wire) -> None:
    wire.call("HELLO", 3)
    assert wire.call("CONFIG", "GET", "maxmemory") == Map(((b"maxmemory", b"0"),))


def test_set_one_and_several(ask: Ask) -> None:
    assert ask("CONFIG", "SET", "hz", 20) == b"OK"
    assert ask("CONFIG", "SET", "HZ", 30, "maxmemory", "10mb", "save", "3000 5") == b"OK"
    assert get(ask, "hz", "maxmemory", "save") == {
        b"hz": b"30",
        b"maxmemory": b"10485760",
        b"save": b"3000 5",
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["hz"], b"ERR wrong number of arguments for 'config|set' command"),
        (["hz", "1", "maxmemory"], b"ERR syntax error"),
        (
            ["no-such", "1"],
            b"ERR Unknown option or number of arguments for CONFIG SET - 'no-such'",
        ),
        (
            ["maxmemory", "much"],
            b"ERR CONFIG SET failed (possibly related to argument 'maxmemory')"
            b" - argument must be a memory value",
        ),
        (
            ["hz", "1", "hz", "2"],
            b"ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter",
        ),
        (
            ["databases", "1"],
            b"ERR CONFIG SET failed (possibly related to argument 'databases')"
            b" - can't set immutable config",
        ),
        (
            ["port", "99999"],
            b"ERR CONFIG SET failed (possibly related to argument 'port')"
            b" - argument must be between 0 and 65535 inclusive",
        ),
    ],
)
def test_set_refused(ask: Ask, words: list[str], error: bytes) -> None:
    before = get(ask, "*")
    assert ask("CONFIG", "SET", *words) == error
    assert get(ask, "*") == before


def test_all_or_nothing(ask: Ask) -> None:
    before = get(ask, "*")
    assert ask("CONFIG", "SET", "hz", 77, "maxmemory", "10mb", "timeout", "x").startswith(b"ERR")
    assert get(ask, "*") == before


def test_protected_settings(start_server: StartServer) -> None:
    with start_server().wire() as wire:
        assert wire.call("CONFIG", "SET", "dir", "/").endswith(b"can't set protected config")
    with start_server("--enable-protected-configs", "local").wire() as wire:
        assert wire.call("CONFIG", "SET", "dir", "/") == b"OK"
        assert wire.call("CONFIG", "GET", "dir") == [b"dir", b"/"]


def test_rewrite_keeps_comments_and_order(start_server: StartServer, tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("# mine\nmaxmemory 1mb\n\n# theirs\ntimeout 7\n")
    with start_server(str(file)).wire() as wire:
        assert wire.call("CONFIG", "SET", "maxmemory", "2mb", "maxmemory-samples", 9) == b"OK"
        assert wire.call("CONFIG", "REWRITE") == b"OK"
    lines = file.read_text().splitlines()
    assert lines[:5] == ["# mine", "maxmemory 2mb", "", "# theirs", "timeout 7"]
    assert "maxmemory-samples 9" in lines[5:]


def test_rewrite_without_a_file(ask: Ask) -> None:
    assert ask("CONFIG", "REWRITE") == b"ERR The server is running without a config file"


def test_resetstat(wire: Wire) -> None:
    wire.call("SET", "key", "value")
    wire.call("GET", "key")
    wire.call("GET", "missing")
    wire.call("NOSUCH")
    assert wire.call("CONFIG", "RESETSTAT") == b"OK"
    stats = wire.call("INFO", "stats")
    for name in ("keyspace_hits", "keyspace_misses", "total_error_replies", "expired_keys"):
        assert f"{name}:0\r".encode() in stats
    assert wire.call("INFO", "errorstats") == b"# Errorstats\r\n"
    commands = wire.call("INFO", "commandstats")
    assert b"cmdstat_get:" not in commands
    assert b"cmdstat_config|resetstat:calls=1," in commands


# Settings that take effect at once


def test_encodings(ask: Ask) -> None:
    ask("CONFIG", "SET", "list-max-listpack-size", 2, "set-max-intset-entries", 2)
    ask("RPUSH", "list", 1, 2, 3)
    ask("SADD", "set", 1, 2, 3)
    assert ask("OBJECT", "ENCODING", "list") == b"quicklist"
    assert ask("OBJECT", "ENCODING", "set") != b"intset"


def test_keyspace_events(wire: Wire, server: Server) -> None:
    with server.wire() as listener:
        listener.call("SUBSCRIBE", "__keyevent@0__:set")
        wire.call("SET", "unheard", 1)
        wire.call("CONFIG", "SET", "notify-keyspace-events", "E$")
        wire.call("SET", "heard", 1)
        assert listener.reply() == [b"message", b"__keyevent@0__:set", b"heard"]


def test_maxclients(wire: Wire, server: Server) -> None:
    wire.call("CONFIG", "SET", "maxclients", 2)
    with server.wire() as second:
        assert second.call("PING") == b"PONG"
        with server.wire() as third:
            third.expect_closed(b"-ERR max number of clients reached\r\n")
    wire.call("CONFIG", "SET", "maxclients", 100)
    with server.wire() as again:
        assert again.call("PING") == b"PONG"


@pytest.mark.ours("Redis 7.0 takes minutes to find out")
def test_more_clients_than_there_can_be(ask: Ask) -> None:
    refused = ask("CONFIG", "SET", "maxclients", 4_000_000_000)
    assert refused.startswith(
        b"ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system"
        b" is not able to handle the specified number of clients, try with "
    )
    assert get(ask, "maxclients") != {b"maxclients": b"4000000000"}


def test_timeout(server: Server) -> None:
    with server.wire() as idle, server.wire() as listener:
        # Who listens is not closed, however long nothing is heard.
        listener.call("HELLO", 3)
        listener.call("SUBSCRIBE", "news")
        assert idle.call("CONFIG", "SET", "timeout", 1) == b"OK"
        idle.expect_closed()
        assert listener.call("CONFIG", "SET", "timeout", 0) == b"OK"


def test_maxmemory(ask: Ask) -> None:
    ask("SET", "old", "value")
    ask("CONFIG", "SET", "maxmemory", 1)
    refused = b"OOM command not allowed when used memory > 'maxmemory'."
    assert ask("SET", "new", "value") == refused
    assert ask("GET", "old") == b"value"
    ask("CONFIG", "SET", "maxmemory", 0)
    assert ask("SET", "new", "value") == b"OK"


def test_port(start_server: StartServer) -> None:
    server = start_server()
    other = start_server()
    with server.wire() as wire:
        refused = wire.call("CONFIG", "SET", "maxmemory", "5mb", "port", other.port)
        assert refused == (
            b"ERR CONFIG SET failed (possibly related to argument 'port')"
            b" - Unable to listen on this port. Check server logs."
        )
        assert wire.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]
        with server.wire() as still:
            assert still.call("PING") == b"PONG"
        other.kill()
        assert wire.call("CONFIG", "SET", "port", other.port) == b"OK"
        assert f"tcp_port:{other.port}\r".encode() in wire.call("INFO", "server")
    with Server(other.host, other.port).wire() as moved:
        assert moved.call("PING") == b"PONG"


def test_bind(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        refused = wire.call("CONFIG", "SET", "bind", "999.999.999.999")
        assert refused == (
            b"ERR CONFIG SET failed (possibly related to argument 'bind')"
            b" - Failed to bind to specified addresses."
        )
        for addresses in ("127.0.0.2", "127.0.0.1 127.0.0.2", "*", "127.0.0.1 -::1"):
            assert wire.call("CONFIG", "SET", "bind", addresses) == b"OK"
            host = "127.0.0.2" if "127.0.0.2" in addresses else "127.0.0.1"
            with Server(host, server.port).wire() as other:
                assert other.call("PING") == b"PONG"
        assert wire.call("CONFIG", "SET", "bind", "") == b"OK"
        with pytest.raises(ConnectionRefusedError):
            server.wire()
        assert wire.call("CONFIG", "SET", "bind", "127.0.0.1") == b"OK"
        with server.wire() as again:
            assert again.call("PING") == b"PONG"


@pytest.mark.ours("metrics-port is a directive of distcache")
def test_metrics_port(start_server: StartServer) -> None:
    server = start_server()
    first, second = free_port(), free_port()

    def answers(port: int) -> bool:
        try:
            with Server("127.0.0.1", port).wire() as web:
                web.send(b"GET /liveness HTTP/1.1\r\n\r\n")
                return web.read_until(b"\r\n").startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    with server.wire() as wire:
        assert wire.call("CONFIG", "SET", "metrics-port", first) == b"OK"
        assert answers(first)
        assert wire.call("CONFIG", "SET", "metrics-port", server.port).startswith(b"ERR CONFIG SET")
        assert answers(first)
        assert wire.call("CONFIG", "SET", "metrics-port", second) == b"OK"
        assert answers(second)
        assert not answers(first)
        assert wire.call("CONFIG", "SET", "metrics-port", 0) == b"OK"
        assert not answers(second)
