"""DEBUG."""

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import (
    BigNumber,
    Error,
    Map,
    Process,
    Push,
    Reply,
    Server,
    Set,
    StartServer,
    Verbatim,
    Wire,
    encode,
    eventually,
)

NOTHING = b"0" * 40


@pytest.mark.parametrize("allowed", ["no", "local"])
def test_it_must_be_allowed(start_server: StartServer, allowed: str) -> None:
    with start_server("--enable-debug-command", allowed).wire() as wire:
        reply = wire.call("DEBUG", "SLEEP", "0")
    assert reply == (
        b"OK"
        if allowed == "local"
        else b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local",'
        b" you can run it from a local connection, otherwise you need to set this option in the"
        b" configuration file, and then restart the server."
    )


def test_refused(ask: Ask) -> None:
    for words in (["NOSUCH"], ["SLEEP"], ["DIGEST", "x"], ["PROTOCOL"]):
        error = b"ERR unknown subcommand or wrong number of arguments for '%b'. Try DEBUG HELP."
        assert ask("DEBUG", *words) == error % words[0].encode()
    assert ask("DEBUG") == b"ERR wrong number of arguments for 'debug' command"


# Keys and values


def test_object(ask: Ask) -> None:
    assert ask("DEBUG", "OBJECT", "missing") == b"ERR no such key"
    ask("SET", "number", 123456)
    ask("RPUSH", "list", "a", "b")
    for key, encoding in (("number", b"int"), ("list", ask("OBJECT", "ENCODING", "list"))):
        line = ask("DEBUG", "OBJECT", key)
        assert line.startswith(b"Value at:0x")
        facts = dict(field.split(b":") for field in line.split()[1:])
        assert facts[b"encoding"] == encoding
        assert int(facts[b"serializedlength"]) > 0
        assert int(facts[b"lru_seconds_idle"]) < 60
        assert int(facts[b"lru"]) >= 0
    ask("CONFIG", "SET", "list-max-listpack-size", "128", "list-compress-depth", "1")
    ask("RPUSH", "long", *range(1000))
    facts = dict(field.split(b":") for field in ask("DEBUG", "OBJECT", "long").split()[1:])
    assert facts[b"encoding"] == b"quicklist"
    assert float(facts[b"ql_avg_node"]) * int(facts[b"ql_nodes"]) == pytest.approx(1000, rel=0.01)
    assert (facts[b"ql_listpack_max"], facts[b"ql_compressed"]) == (b"128", b"1")
    assert int(facts[b"ql_uncompressed_size"]) >= 1000


def fill(wire: Wire) -> None:
    """A key of each type."""
    for words in (
        ["SET", "string", "value"],
        ["SET", "number", 12],
        ["SET", "expiring", "value", "EX", 1000],
        ["RPUSH", "list", "a", "b", 3],
        ["SADD", "set", "a", "b", 3],
        ["SADD", "integers", 1, 2, 3],
        ["HSET", "hash", "field", "value", "number", 3],
        ["ZADD", "sorted", 1, "one", -2, "two", "inf", "all"],
    ):
        wire.call(*words)


def test_digests_are_those_of_redis(wire: Wire, reference: Process) -> None:
    assert wire.call("DEBUG", "DIGEST") == NOTHING
    with reference.wire() as other:
        for each in (wire, other):
            each.call("FLUSHALL")
            fill(each)
            each.call("SELECT", 3)
            fill(each)
        keys = ["string", "number", "expiring", "list", "set", "integers", "hash", "sorted", "none"]
        ours, theirs = (each.call("DEBUG", "DIGEST-VALUE", *keys) for each in (wire, other))
        assert ours == theirs
        assert len(set(ours)) == len(keys)
        assert ours[-1] == NOTHING
        assert wire.call("DEBUG", "DIGEST") == other.call("DEBUG", "DIGEST")


def test_digests_tell_data_apart(wire: Wire) -> None:
    def digest(*words: str) -> bytes:
        wire.call("FLUSHALL")
        wire.call(*words)
        found = wire.call("DEBUG", "DIGEST")
        assert isinstance(found, bytes)
        return found

    commands = [
        ["SET", "a", "b"],
        ["SET", "b", "a"],
        ["RPUSH", "a", "b"],
        ["RPUSH", "a", "b", "c"],
        ["RPUSH", "a", "c", "b"],
        ["SADD", "a", "b", "c"],
        ["ZADD", "a", "1", "b"],
        ["ZADD", "a", "2", "b"],
        ["HSET", "a", "b", "c"],
        ["HSET", "a", "c", "b"],
    ]
    assert len({digest(*words) for words in commands}) == len(commands)
    assert digest("SADD", "a", "b", "c") == digest("SADD", "a", "c", "b")


def test_populate(ask: Ask) -> None:
    ask("SET", "key:1", "stays")
    not_positive = b"ERR value is out of range, must be positive"
    assert ask("DEBUG", "POPULATE", -1) == ask("DEBUG", "POPULATE", "x") == not_positive
    assert ask("DEBUG", "POPULATE", 100) == b"OK"
    assert ask("DBSIZE") == 100
    assert ask("GET", "key:1") == b"stays"
    assert ask("GET", "key:2") == b"value:2"
    assert ask("DEBUG", "POPULATE", 2, "sized", 10) == b"OK"
    assert ask("GET", "sized:1") == b"value:1\0\0\0"


def test_tables(ask: Ask) -> None:
    assert b"[Dictionary HT]" in ask("DEBUG", "HTSTATS", 0)
    ask("DEBUG", "POPULATE", 1000)
    assert b"number of elements: 1000" in ask("DEBUG", "HTSTATS", 0)
    assert ask("DEBUG", "HTSTATS", 99) == b"ERR Out of range database"
    ask("SADD", "set", *(f"member:{number}" for number in range(1000)))
    assert b"number of elements: 1000" in ask("DEBUG", "HTSTATS-KEY", "set")
    assert ask("DEBUG", "HTSTATS-KEY", "missing") == b"ERR no such key"
    assert ask("DEBUG", "HTSTATS-KEY", "key:1").startswith(b"ERR The value stored at")


def test_listpack(ask: Ask) -> None:
    ask("HSET", "small", "field", "value")
    ask("HSET", "large", "field", "x" * 1000)
    assert isinstance(ask("DEBUG", "LISTPACK", "small"), bytes)
    assert ask("DEBUG", "LISTPACK", "large") == b"ERR Not a listpack encoded object."
    assert ask("DEBUG", "LISTPACK", "missing") == b"ERR no such key"


# Time, errors, the log


def test_sleep(wire: Wire) -> None:
    wire.call("SET", "key", "value", "PX", 20)
    wire.send(encode("DEBUG", "SLEEP", "0.05") + encode("EXISTS", "key"))
    assert wire.reply() == b"OK"
    assert wire.reply() == 0


def test_error(wire: Wire) -> None:
    reply = wire.call("DEBUG", "ERROR", "MINE is an\r\nerror")
    assert reply == b"MINE is an  error"
    assert isinstance(reply, Error)


def test_log(wire: Wire, server: Server) -> None:
    assert wire.call("DEBUG", "LOG", "written\nto the log") == b"OK"
    if isinstance(server, Process):
        assert r"written\nto the log" in server.log()


@pytest.mark.ours("Redis does not have it")
def test_patterns(ask: Ask) -> None:
    assert ask("DEBUG", "STRINGMATCH-LEN", 100_000, "a*" * 100) == 1
    assert ask("DEBUG", "STRINGMATCH-LEN", 100_000, "*b") == 0


# Switches


def test_keys_that_expire_stay_until_asked_for(wire: Wire) -> None:
    try:
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 0) == b"OK"
        wire.call("SET", "a", "value", "PX", 1)
        wire.call("SET", "b", "value", "PX", 1)
        eventually(lambda: wire.call("GET", "a") is None)
        assert wire.call("DBSIZE") == 1
    finally:
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 1) == b"OK"
    eventually(lambda: wire.call("DBSIZE") == 0)


def test_a_new_history(wire: Wire) -> None:
    before = wire.call("INFO", "replication")
    assert wire.call("DEBUG", "CHANGE-REPL-ID") == b"OK"
    assert wire.call("INFO", "replication") != before


def test_switches_without_a_meaning(ask: Ask) -> None:
    for words in (
        ["QUICKLIST-PACKED-THRESHOLD", "100b"],
        ["SET-DISABLE-DENY-SCRIPTS", 0],
        ["REPLYBUFFER", "RESIZING", 1],
        ["PAUSE-CRON", 1],
        ["PAUSE-CRON", 0],
    ):
        assert ask("DEBUG", *words) == b"OK"
    refused = b"ERR argument must be a memory value bigger than 1 and smaller than 4gb"
    assert ask("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "x") == refused


@pytest.mark.ours("Redis exits")
def test_no_log_can_be_loaded(ask: Ask) -> None:
    ask("SET", "key", "value")
    assert ask("DEBUG", "LOADAOF") == b"ERR nothing is kept on disk that could be loaded"
    assert ask("GET", "key") == b"value"


# The protocol

SHAPES: dict[str, tuple[Reply, Reply]] = {
    "string": (b"Hello World", b"Hello World"),
    "integer": (12345, 12345),
    "double": (b"3.141", 3.141),
    "bignum": (b"1234567" + b"9" * 30, BigNumber(b"1234567" + b"9" * 30)),
    "null": (None, None),
    "array": ([0, 1, 2], [0, 1, 2]),
    "set": ([0, 1, 2], Set([0, 1, 2])),
    "map": ([0, 0, 1, 1, 2, 0], Map([(0, False), (1, True), (2, False)])),
    "verbatim": (b"This is a verbatim\nstring", Verbatim(b"This is a verbatim\nstring")),
    "true": (1, True),
    "false": (0, False),
}


@pytest.mark.parametrize("name", SHAPES)
def test_types_of_replies(wire: Wire, name: str) -> None:
    old, new = SHAPES[name]
    reply = wire.call("DEBUG", "PROTOCOL", name)
    assert (reply, type(reply)) == (old, type(old))
    wire.call("HELLO", 3)
    reply = wire.call("DEBUG", "PROTOCOL", name)
    assert (reply, type(reply)) == (new, type(new))


def test_a_push_comes_before_its_reply(wire: Wire) -> None:
    refused = b"ERR RESP2 is not supported by this command"
    assert wire.call("DEBUG", "PROTOCOL", "push") == refused
    wire.call("HELLO", 3)
    assert wire.call("DEBUG", "PROTOCOL", "push") == Push([b"server-cpu-usage", 42])
    assert wire.reply() == b"Some real reply following the push reply"


def test_an_attribute_comes_before_its_reply(wire: Wire) -> None:
    text = b"$39\r\nSome real reply following the attribute\r\n"
    wire.send(encode("DEBUG", "PROTOCOL", "attrib"))
    wire.expect(text)
    wire.call("HELLO", 3)
    wire.send(encode("DEBUG", "PROTOCOL", "attrib"))
    wire.expect(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n" + text)


def test_no_such_type(ask: Ask) -> None:
    assert ask("DEBUG", "PROTOCOL", "x").startswith(b"ERR Wrong protocol type name.")
