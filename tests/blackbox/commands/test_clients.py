"""CLIENT."""

import time
from collections.abc import Iterator

import pytest
import redis

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Push, Server, Verbatim, Wire, encode, eventually


@pytest.fixture
def other(server: Server) -> Iterator[Wire]:
    """A second connection."""
    with server.wire() as wire:
        yield wire


def fields(line: bytes) -> dict[str, str]:
    """A line of CLIENT LIST."""
    return dict(field.split("=", 1) for field in line.decode().strip().split(" "))


def line_of(wire: Wire, number: int) -> dict[str, str]:
    """What CLIENT LIST says about a client; empty where it is gone."""
    line = wire.call("CLIENT", "LIST", "ID", number)
    return fields(line) if line else {}


def is_blocked(wire: Wire, number: int) -> bool:
    return "b" in line_of(wire, number).get("flags", "")


def address_of(wire: Wire) -> str:
    host, port = wire.socket.getsockname()[:2]
    return f"{host}:{port}"


def address_at_server(wire: Wire) -> str:
    host, port = wire.socket.getpeername()[:2]
    return f"{host}:{port}"


# Looking


def test_ids_grow(wire: Wire, other: Wire) -> None:
    assert 0 < wire.call("CLIENT", "ID") < other.call("CLIENT", "ID")


def test_names(ask: Ask) -> None:
    assert ask("CLIENT", "GETNAME") is None
    assert ask("CLIENT", "SETNAME", "worker-1") == b"OK"
    assert ask("CLIENT", "GETNAME") == b"worker-1"
    for name in ("two words", "line\n", "\x00", "é"):
        refused = b"ERR Client names cannot contain spaces, newlines or special characters."
        assert ask("CLIENT", "SETNAME", name) == refused
    assert ask("CLIENT", "GETNAME") == b"worker-1"
    assert ask("CLIENT", "SETNAME", "") == b"OK"
    assert ask("CLIENT", "GETNAME") is None


@pytest.mark.since("7.2")
def test_setinfo(ask: Ask) -> None:
    assert ask("CLIENT", "SETINFO", "lib-name", "redis-py") == b"OK"
    assert ask("CLIENT", "SETINFO", "LIB-VER", "8.1") == b"OK"
    assert ask("CLIENT", "SETINFO", "badger", "x") == b"ERR Unrecognized option 'badger'"
    refused = b"ERR lib-name cannot contain spaces, newlines or special characters."
    assert ask("CLIENT", "SETINFO", "lib-name", "two words") == refused
    assert b"lib-name=redis-py lib-ver=8.1" in ask("CLIENT", "INFO")
    assert ask("RESET") == b"RESET"
    assert b"lib-name=redis-py lib-ver=8.1" in ask("CLIENT", "INFO")
    assert ask("CLIENT", "SETINFO", "lib-name", "") == b"OK"
    assert b"lib-name= lib-ver=8.1" in ask("CLIENT", "INFO")


def test_info_describes_the_connection(wire: Wire, server: Server) -> None:
    wire.call("HELLO", 3, "SETNAME", "me")
    wire.call("SELECT", 3)
    wire.call("WATCH", "a", "b")
    info = wire.call("CLIENT", "INFO")
    assert isinstance(info, Verbatim)
    assert info.endswith(b"\n")
    facts = fields(info)
    assert facts["addr"] == address_of(wire)
    assert facts["laddr"] == f"{server.host}:{server.port}"
    assert facts["name"] == "me"
    assert facts["db"] == "3"
    assert facts["flags"] == "N"
    assert facts["resp"] == "3"
    assert facts["user"] == "default"
    assert facts["cmd"] == "client|info"
    assert facts["multi"] == "-1"
    assert facts["redir"] == "-1"
    assert facts["sub"] == facts["psub"] == facts["ssub"] == "0"
    assert int(facts["fd"]) > 0
    assert int(facts["tot-mem"]) > 0
    assert 0 <= int(facts["idle"]) <= int(facts["age"]) < 60


def test_list_has_a_line_for_each_client(wire: Wire, other: Wire) -> None:
    other.call("MULTI")
    other.call("PING")
    lines = [fields(line) for line in wire.call("CLIENT", "LIST").splitlines()]
    by_id = {int(line["id"]): line for line in lines}
    assert len(by_id) == 2
    me = by_id.pop(wire.call("CLIENT", "ID"))
    assert me["cmd"] == "client|list"
    (them,) = by_id.values()
    assert (them["flags"], them["multi"], them["cmd"]) == ("x", "1", "ping")


def test_flags_of_clients(wire: Wire, other: Wire) -> None:
    number = other.call("CLIENT", "ID")
    other.call("SUBSCRIBE", "news")
    assert line_of(wire, number)["flags"] == "P"
    assert line_of(wire, number)["sub"] == "1"
    other.call("RESET")
    other.call("MONITOR")
    assert line_of(wire, number)["flags"] == "O"
    other.call("RESET")
    other.call("CLIENT", "NO-EVICT", "ON")
    assert line_of(wire, number)["flags"] == "e"
    other.call("CLIENT", "NO-EVICT", "OFF")
    other.call("WATCH", "key")
    wire.call("SET", "key", "value")
    assert line_of(wire, number)["flags"] == "d"
    other.call("UNWATCH")
    other.command("BLPOP", "list", 0)
    eventually(lambda: line_of(wire, number)["flags"] == "b")
    assert line_of(wire, number)["cmd"] == "blpop"


def test_list_by_type_and_number(wire: Wire, other: Wire) -> None:
    me, them = wire.call("CLIENT", "ID"), other.call("CLIENT", "ID")
    other.call("SUBSCRIBE", "news")

    def ids(*words: str | int) -> list[int]:
        lines = wire.call("CLIENT", "LIST", *words).splitlines()
        return [int(fields(line)["id"]) for line in lines]

    assert ids("TYPE", "pubsub") == [them]
    assert ids("TYPE", "NORMAL") == [me]
    assert ids("TYPE", "master") == ids("TYPE", "replica") == ids("TYPE", "slave") == []
    assert ids("ID", them, me, 999999) == [them, me]
    assert wire.call("CLIENT", "LIST", "TYPE", "x") == b"ERR Unknown client type 'x'"
    assert wire.call("CLIENT", "LIST", "ID", "x") == b"ERR Invalid client ID"
    for words in (["ID"], ["TYPE"], ["X"], ["TYPE", "normal", "x"]):
        assert wire.call("CLIENT", "LIST", *words) == b"ERR syntax error"


@pytest.mark.ours("counts what Valkey counts")
def test_totals_of_a_connection(wire: Wire) -> None:
    before = fields(wire.call("CLIENT", "INFO"))
    after = fields(wire.call("CLIENT", "INFO"))
    sent = len(encode("CLIENT", "INFO"))
    assert int(after["tot-net-in"]) - int(before["tot-net-in"]) == sent
    assert int(after["tot-net-out"]) - int(before["tot-net-out"]) > 300
    assert int(after["tot-cmds"]) - int(before["tot-cmds"]) == 1


def test_nothing_is_tracked(wire: Wire) -> None:
    assert wire.call("CLIENT", "GETREDIR") == -1
    wire.call("HELLO", 3)
    facts = dict(wire.call("CLIENT", "TRACKINGINFO"))
    assert facts == {b"flags": [b"off"], b"redirect": -1, b"prefixes": []}


# How a client is treated


@pytest.mark.since("7.2")
def test_no_touch(wire: Wire) -> None:
    number = wire.call("CLIENT", "ID")
    assert wire.call("CLIENT", "NO-TOUCH", "on") == b"OK"
    assert line_of(wire, number)["flags"] == "T"
    assert wire.call("CLIENT", "NO-TOUCH", "OFF") == b"OK"
    assert line_of(wire, number)["flags"] == "N"
    assert wire.call("CLIENT", "NO-TOUCH", "maybe") == b"ERR syntax error"


def test_no_evict(ask: Ask) -> None:
    assert ask("CLIENT", "NO-EVICT", "ON") == b"OK"
    assert ask("CLIENT", "NO-EVICT", "off") == b"OK"
    assert ask("CLIENT", "NO-EVICT", "maybe") == b"ERR syntax error"


def test_replies_off_and_on(wire: Wire) -> None:
    for words in (["OFF"], ["SKIP"]):
        wire.command("CLIENT", "REPLY", *words)
    wire.command("PING", "unheard")
    wire.command("NOSUCH")
    wire.send(encode("PING") * 5)
    assert wire.call("CLIENT", "REPLY", "ON") == b"OK"
    assert wire.call("PING", "heard") == b"heard"
    assert wire.call("CLIENT", "REPLY", "x") == b"ERR syntax error"


def test_the_next_reply_is_skipped(wire: Wire) -> None:
    wire.command("CLIENT", "REPLY", "SKIP")
    wire.command("PING", "first")
    assert wire.call("PING", "second") == b"second"


@pytest.mark.parametrize("skipped", [["PING"], ["NOSUCH"], ["GET"], ["MULTI"]])
def test_whatever_comes_next_is_skipped(wire: Wire, skipped: list[str]) -> None:
    wire.send(encode("CLIENT", "REPLY", "SKIP") + encode(*skipped))
    assert wire.call("CLIENT", "GETNAME") in (None, b"QUEUED")


def test_only_the_next_reply_is_skipped_around_a_transaction(wire: Wire) -> None:
    wire.call("MULTI")
    wire.call("SET", "key", "value")
    wire.call("INCR", "number")
    wire.send(encode("EXEC") + encode("CLIENT", "REPLY", "SKIP"))
    assert wire.reply() == [b"OK", 1]
    wire.send(encode("MULTI") + encode("CLIENT", "REPLY", "ON") + encode("EXEC"))
    assert wire.reply() == b"QUEUED"
    assert wire.reply() == [b"OK"]


def test_messages_come_although_replies_do_not(wire: Wire, client: redis.Redis) -> None:
    wire.call("HELLO", 3)
    wire.send(encode("CLIENT", "REPLY", "OFF") + encode("SUBSCRIBE", "news"))
    assert wire.push() == [b"subscribe", b"news", 1]
    assert client.publish("news", "hello") == 1
    assert wire.push() == Push([b"message", b"news", b"hello"])


# Closing


def test_kill_by_address(wire: Wire, other: Wire) -> None:
    assert other.call("PING") == b"PONG"  # the server knows it by now
    assert wire.call("CLIENT", "KILL", address_of(other)) == b"OK"
    other.expect_closed()
    assert wire.call("CLIENT", "KILL", address_of(other)) == b"ERR No such client"
    assert wire.call("CLIENT", "KILL", "000.123.321.567:0000") == b"ERR No such client"


def test_kill_oneself(wire: Wire) -> None:
    wire.send(encode("CLIENT", "KILL", address_of(wire)) + encode("PING"))
    wire.expect_closed(b"+OK\r\n")


def test_kill_by_filters(wire: Wire, server: Server) -> None:
    numbers = []
    others = [server.wire() for _ in range(4)]
    for other in others:
        numbers.append(other.call("CLIENT", "ID"))
    others[1].call("SUBSCRIBE", "news")
    assert wire.call("CLIENT", "KILL", "ID", numbers[0]) == 1
    assert wire.call("CLIENT", "KILL", "ID", numbers[0]) == 0
    assert wire.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
    assert wire.call("CLIENT", "KILL", "ADDR", address_of(others[2]), "ID", numbers[3]) == 0
    assert wire.call("CLIENT", "KILL", "ADDR", address_of(others[2]), "ID", numbers[2]) == 1
    assert wire.call("CLIENT", "KILL", "LADDR", "1.2.3.4:5") == 0
    assert wire.call("CLIENT", "KILL", "LADDR", address_at_server(wire), "USER", "default") == 1
    for other in others:
        other.expect_closed()
    assert wire.call("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal") == 0
    wire.send(encode("CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal"))
    wire.expect_closed(b":1\r\n")


@pytest.mark.since("7.4")
def test_kill_by_age(wire: Wire, server: Server) -> None:
    with server.wire() as old:
        number = old.call("CLIENT", "ID")
        eventually(lambda: int(line_of(wire, number)["age"]) >= 2)
        with server.wire() as young:
            assert wire.call("CLIENT", "KILL", "MAXAGE", 2, "ID", number) == 1
            old.expect_closed()
            assert wire.call("CLIENT", "KILL", "MAXAGE", 3600) == 0
            assert young.call("PING") == b"PONG"
    refused = b"ERR value is not an integer or out of range"
    assert wire.call("CLIENT", "KILL", "MAXAGE", "x") == refused


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], b"ERR wrong number of arguments for 'client|kill' command"),
        (["ID", "x"], b"ERR client-id should be greater than 0"),
        (["ID", "0"], b"ERR client-id should be greater than 0"),
        (["ID", "-1"], b"ERR client-id should be greater than 0"),
        (["ID", "1", "TYPE"], b"ERR syntax error"),
        (["ID", "x", "TYPE"], b"ERR client-id should be greater than 0"),
        (["TYPE", "x"], b"ERR Unknown client type 'x'"),
        (["USER", "nobody"], b"ERR No such user 'nobody'"),
        (["SKIPME", "maybe"], b"ERR syntax error"),
        (["COLOUR", "red"], b"ERR syntax error"),
    ],
)
def test_kill_refused(ask: Ask, words: list[str], error: bytes) -> None:
    assert ask("CLIENT", "KILL", *words) == error


def test_a_killed_client_waits_for_nothing(wire: Wire, other: Wire) -> None:
    number = other.call("CLIENT", "ID")
    other.command("BLPOP", "list", 0)
    eventually(lambda: is_blocked(wire, number))
    assert wire.call("CLIENT", "KILL", "ID", number) == 1
    assert wire.call("RPUSH", "list", "element") == 1
    assert wire.call("LLEN", "list") == 1


# Unblocking


@pytest.mark.parametrize("reason", [[], ["TIMEOUT"]])
def test_unblock_as_if_time_were_up(wire: Wire, other: Wire, reason: list[str]) -> None:
    number = other.call("CLIENT", "ID")
    other.send(encode("BLPOP", "list", 0) + encode("PING"))
    eventually(lambda: is_blocked(wire, number))
    assert wire.call("CLIENT", "UNBLOCK", number, *reason) == 1
    other.expect(b"*-1\r\n+PONG\r\n")
    assert wire.call("CLIENT", "UNBLOCK", number) == 0


def test_unblock_with_an_error(wire: Wire, other: Wire) -> None:
    number = other.call("CLIENT", "ID")
    other.command("BLPOP", "list", 0)
    eventually(lambda: is_blocked(wire, number))
    assert wire.call("CLIENT", "UNBLOCK", number, "ERROR") == 1
    assert other.reply() == b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
    assert b"errorstat_UNBLOCKED:count=1" in wire.call("INFO", "errorstats")
    assert b"cmdstat_blpop:calls=1," in wire.call("INFO", "commandstats")


def test_unblock_refused(ask: Ask) -> None:
    assert ask("CLIENT", "UNBLOCK", 999999) == 0
    assert ask("CLIENT", "UNBLOCK", "x") == b"ERR value is not an integer or out of range"
    refused = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
    assert ask("CLIENT", "UNBLOCK", 1, "x") == refused


# Pausing


@pytest.fixture
def pausing(wire: Wire) -> Iterator[Wire]:
    """A connection that ends the pause of writes it began."""
    yield wire
    assert wire.call("CLIENT", "UNPAUSE") == b"OK"


def blocked_clients(wire: Wire) -> int:
    info = wire.call("INFO", "clients")
    (line,) = [line for line in info.splitlines() if line.startswith(b"blocked_clients:")]
    return int(line.partition(b":")[2])


def eventually_blocked(wire: Wire, count: int) -> None:
    eventually(lambda: blocked_clients(wire) == count)


def test_writes_wait_and_reads_do_not(pausing: Wire, other: Wire) -> None:
    pausing.call("SET", "key", "before")
    assert pausing.call("CLIENT", "PAUSE", 60000, "WRITE") == b"OK"
    assert other.call("GET", "key") == b"before"
    other.send(encode("SET", "key", "after") + encode("GET", "key"))
    eventually_blocked(pausing, 1)
    assert is_blocked(pausing, int(fields(pausing.call("CLIENT", "LIST").splitlines()[-1])["id"]))
    assert pausing.call("GET", "key") == b"before"
    assert pausing.call("CLIENT", "UNPAUSE") == b"OK"
    other.expect(b"+OK\r\n$5\r\nafter\r\n")
    assert blocked_clients(pausing) == 0


def test_clients_go_on_in_the_order_they_came(pausing: Wire, server: Server) -> None:
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    others = [server.wire() for _ in range(5)]
    for number, other in enumerate(others):
        other.command("RPUSH", "list", number)
        eventually_blocked(pausing, number + 1)
    pausing.call("CLIENT", "UNPAUSE")
    for number, other in enumerate(others):
        assert other.reply() == number + 1
        other.close()
    assert pausing.call("LRANGE", "list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_pause_ends_by_itself(wire: Wire, other: Wire) -> None:
    begun = time.monotonic()
    assert wire.call("CLIENT", "PAUSE", 100, "ALL") == b"OK"
    assert other.call("PING") == b"PONG"
    assert time.monotonic() - begun > 0.09


def test_errors_do_not_wait(pausing: Wire, other: Wire) -> None:
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    assert other.call("SET", "key") == b"ERR wrong number of arguments for 'set' command"
    assert other.call("NOSUCH").startswith(b"ERR unknown command")


def test_messages_and_counts_wait_like_writes(pausing: Wire, other: Wire, server: Server) -> None:
    pausing.call("PFADD", "hll", "a")
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    with server.wire() as third:
        other.command("PUBLISH", "news", "hello")
        third.command("PFCOUNT", "hll")
        eventually_blocked(pausing, 2)
        pausing.call("CLIENT", "UNPAUSE")
        assert (other.reply(), third.reply()) == (0, 1)


def test_a_transaction_that_writes_waits(pausing: Wire, other: Wire) -> None:
    other.call("MULTI")
    other.call("SET", "key", "value")
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    other.command("EXEC")
    eventually_blocked(pausing, 1)
    pausing.call("CLIENT", "UNPAUSE")
    assert other.reply() == [b"OK"]


def test_a_transaction_that_reads_does_not(pausing: Wire, other: Wire) -> None:
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    other.call("MULTI")
    other.call("GET", "key")
    assert other.call("EXEC") == [None]


def test_a_pause_begins_behind_its_transaction(pausing: Wire, other: Wire) -> None:
    pausing.call("MULTI")
    pausing.call("SET", "a", 1)
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    pausing.call("SET", "b", 1)
    assert pausing.call("EXEC") == [b"OK"] * 3
    other.command("SET", "c", 1)
    eventually_blocked(pausing, 1)
    assert pausing.call("MGET", "a", "b", "c") == [b"1", b"1", None]


def test_keys_are_hidden_but_stay_while_writes_wait(pausing: Wire) -> None:
    def expired() -> int:
        (line,) = [
            line
            for line in pausing.call("INFO", "stats").splitlines()
            if line.startswith(b"expired_keys:")
        ]
        return int(line.partition(b":")[2])

    pausing.call("MULTI")
    pausing.call("SET", "key", "value", "PX", 1)
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    pausing.call("EXEC")
    eventually(lambda: pausing.call("GET", "key") is None)
    assert pausing.call("EXISTS", "key") == 0
    assert expired() == 0
    pausing.call("CLIENT", "UNPAUSE")
    eventually(lambda: pausing.call("DBSIZE") == 0)
    assert expired() == 1


@pytest.mark.ours("Redis 7.0 never comes back from this")
def test_no_random_key_where_all_are_hidden(pausing: Wire) -> None:
    pausing.call("MULTI")
    pausing.call("SET", "key", "value", "PX", 1)
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    pausing.call("EXEC")
    eventually(lambda: pausing.call("GET", "key") is None)
    assert pausing.call("RANDOMKEY") is None


def test_the_longer_pause_counts(pausing: Wire, other: Wire) -> None:
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    pausing.call("CLIENT", "PAUSE", 1, "WRITE")
    other.command("SET", "key", "value")
    eventually_blocked(pausing, 1)
    (begun, _) = pausing.call("TIME")
    eventually(lambda: int(pausing.call("TIME")[0]) > int(begun))
    assert blocked_clients(pausing) == 1


@pytest.mark.ours("in Redis a pause of everything cannot be ended")
def test_a_pause_of_everything_can_be_ended(wire: Wire, other: Wire) -> None:
    wire.call("CLIENT", "PAUSE", 60000)
    other.command("PING")
    assert wire.call("CLIENT", "UNPAUSE") == b"OK"
    assert other.reply() == b"PONG"


def test_a_client_on_hold_that_leaves(pausing: Wire, other: Wire) -> None:
    pausing.call("CLIENT", "PAUSE", 60000, "WRITE")
    other.command("SET", "key", "value")
    eventually_blocked(pausing, 1)
    other.close()
    eventually_blocked(pausing, 0)
    pausing.call("CLIENT", "UNPAUSE")
    assert pausing.call("EXISTS", "key") == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["x"], b"ERR timeout is not an integer or out of range"),
        (["-1"], b"ERR timeout is negative"),
        (["1", "SOME"], b"ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ],
)
def test_pause_refused(ask: Ask, words: list[str], error: bytes) -> None:
    assert ask("CLIENT", "PAUSE", *words) == error
    assert ask("CLIENT", "PAUSE", 0) == b"OK"
    assert ask("SET", "key", "value") == b"OK"


@pytest.mark.since("7.2")
def test_a_pause_without_end(ask: Ask) -> None:
    assert ask("CLIENT", "PAUSE", 2**63 - 1) == b"ERR timeout is out of range"


# The container


def test_help_and_what_does_not_exist(ask: Ask) -> None:
    lines = ask("CLIENT", "HELP")
    assert lines[0].startswith(b"CLIENT <subcommand>")
    assert any(line.startswith(b"KILL") for line in lines)
    assert b"HELP" in lines
    assert ask("CLIENT") == b"ERR wrong number of arguments for 'client' command"
    assert ask("CLIENT", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."
    assert ask("CLIENT", "ID", "x") == b"ERR wrong number of arguments for 'client|id' command"
    assert isinstance(ask("CLIENT|ID"), Error)
