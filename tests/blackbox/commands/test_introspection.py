"""COMMAND, and that it says of each command what Redis says."""

from typing import Any, TypeAlias

import pytest
import redis

from tests.blackbox.commands.conftest import Ask
from tests.support import Error, Map, Process, Server, Set, StartServer, Wire

Facts: TypeAlias = dict[str, Any]

DIFFERENT = {
    # Redis 7.2 changed these, and so do we.
    "blmove": {"flags"},  # they may be called by scripts
    "blpop": {"flags"},
    "brpop": {"flags"},
    "brpoplpush": {"flags"},
    "bzpopmax": {"flags"},
    "bzpopmin": {"flags"},
    "wait": {"flags"},
    "command|getkeys": {"arity"},  # a command of one word is no malformed command
    "command|getkeysandflags": {"arity"},
    "zrank": {"arity"},  # WITHSCORE
    "zrevrank": {"arity"},
    "client|setname": {"tips"},
    "config|resetstat": {"tips"},
    "config|rewrite": {"tips"},
    "latency|reset": {"tips"},
    "msetnx": {"tips"},
    "randomkey": {"tips"},
    "scan": {"tips"},
    # Redis says that the old value of the destination is read, which it is not.
    "sinterstore": {"keys"},
}
"""Commands of which COMMAND INFO tells something else than Redis 7.0, and about what."""

LATER = {
    "acl|deluser",
    "acl|dryrun",
    "acl|genpass",
    "acl|getuser",
    "acl|list",
    "acl|load",
    "acl|log",
    "acl|save",
    "acl|setuser",
    "acl|users",
    "asking",
    "bgrewriteaof",
    "bgsave",
    "client|caching",
    "client|tracking",
    "cluster",
    "dump",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "failover",
    "fcall",
    "fcall_ro",
    "function|delete",
    "function|dump",
    "function|kill",
    "function|list",
    "function|load",
    "function|restore",
    "function|stats",
    "migrate",
    "module|load",
    "module|loadex",
    "module|unload",
    "psync",
    "readonly",
    "readwrite",
    "replconf",
    "restore",
    "save",
    "script",
    "sync",
}
"""Commands of Redis 7.0 that belong to scripts, users, persistence and the like."""


def text(reply: Any) -> Any:
    """A reply as plain values that compare: sets without order, maps as dictionaries."""
    match reply:
        case Map():
            return {text(key): text(value) for key, value in reply if key != b"notes"}
        case Set():
            return sorted((text(item) for item in reply), key=repr)
        case list():
            return [text(item) for item in reply]
        case bytes():
            return reply.decode()
    return reply


def facts(entry: list[Any]) -> Facts:
    name, arity, flags, first, last, step, categories, tips, keys, _ = entry
    return {
        "name": name,
        "arity": arity,
        "flags": flags,
        "range": (first, last, step),
        "categories": categories,
        "tips": tips,
        "keys": keys,
    }


def table(server: Server) -> dict[str, Facts]:
    """What a server says about each command and subcommand."""
    with server.wire() as wire:
        wire.call("HELLO", 3)
        entries = text(wire.call("COMMAND"))
    every = [*entries, *(sub for entry in entries for sub in entry[9])]
    return {entry[0]: facts(entry) for entry in every}


@pytest.mark.ours("compares with the reference")
def test_every_command_is_described_as_in_redis(server: Server, reference: Process) -> None:
    ours, theirs = table(server), table(reference)
    common = ours.keys() & theirs.keys()
    assert len(common) > 200
    differences = {
        name: {about for about in facts if facts[about] != theirs[name][about]}
        for name, facts in ours.items()
        if name in common
    }
    assert {name: about for name, about in differences.items() if about} == DIFFERENT


@pytest.mark.ours("compares with the reference")
def test_keys_have_notes_where_redis_has_them(server: Server, reference: Process) -> None:
    def noted(place: Server) -> set[str]:
        with place.wire() as wire:
            return {
                entry[0].decode()
                for entry in wire.call("COMMAND")
                if any(b"notes" in keys for keys in entry[8])
            }

    assert noted(server) == noted(reference) & table(server).keys()


@pytest.mark.ours("compares with the reference")
def test_no_other_command_is_missing(server: Server, reference: Process) -> None:
    missing = table(reference).keys() - table(server).keys()
    known = {name for name in missing if name in LATER or name.split("|")[0] in LATER}
    assert missing == known


def test_count_and_list(ask: Ask) -> None:
    names = ask("COMMAND", "LIST")
    assert len(names) == len(set(names))
    assert {b"set", b"client", b"client|list"} <= set(names)
    assert ask("COMMAND", "COUNT") == len([name for name in names if b"|" not in name])
    assert len(ask("COMMAND")) == ask("COMMAND", "COUNT") == len(ask("COMMAND", "INFO"))


def test_list_with_filters(ask: Ask) -> None:
    def listed(*words: str) -> set[bytes]:
        return set(ask("COMMAND", "LIST", "FILTERBY", *words))

    assert listed("PATTERN", "set") == {b"set"}
    assert listed("pattern", "SET") == {b"set"}
    assert {b"config", b"config|get", b"config|help"} <= listed("PATTERN", "config*")
    assert b"config|resetstat" in listed("PATTERN", "config|*re*")
    assert listed("PATTERN", "no such") == set()
    assert {b"pfadd", b"pfcount", b"pfmerge"} <= listed("ACLCAT", "hyperloglog")
    assert b"set" not in listed("ACLCAT", "hyperloglog")
    assert listed("ACLCAT", "no such") == set()
    assert listed("MODULE", "no such") == set()
    for words in (["x"], ["FILTERBY"], ["FILTERBY", "x"], ["FILTERBY", "x", "y"]):
        assert ask("COMMAND", "LIST", *words) == b"ERR syntax error"


def test_info(ask: Ask) -> None:
    missing, get, sub, nested, deep = ask(
        "COMMAND", "INFO", "nosuch", "GET", "config|get", "get|x", "config|get|x"
    )
    assert (missing, nested, deep) == (None, None, None)
    assert get[:6] == [b"get", 2, get[2], 1, 1, 1]
    assert set(get[2]) == {b"readonly", b"fast"}
    assert set(get[6]) == {b"@read", b"@string", b"@fast"}
    assert sub[0] == b"config|get"
    assert sub[1] == -3


def test_info_of_a_container(wire: Wire) -> None:
    wire.call("HELLO", 3)
    (entry,) = wire.call("COMMAND", "INFO", "client")
    assert entry[1] == -2
    assert b"client|kill" in [sub[0] for sub in entry[9]]
    (entry,) = wire.call("COMMAND", "INFO", "get")
    assert entry[9] == Set()
    assert isinstance(entry[9], Set)


@pytest.mark.parametrize(
    ("command", "moves"),
    [
        ("get", False),
        ("mset", False),
        ("lmove", False),
        ("rename", False),
        ("georadius_ro", False),
        ("zunionstore", True),
        ("sort", True),
        ("sort_ro", True),
        ("georadius", True),
        ("lmpop", True),
    ],
)
def test_keys_that_move(ask: Ask, command: str, moves: bool) -> None:
    (entry,) = ask("COMMAND", "INFO", command)
    assert (b"movablekeys" in entry[2]) == moves


# DOCS


def docs(wire: Wire, name: str) -> Facts:
    reply = text(wire.call("COMMAND", "DOCS", name))
    assert list(reply) == [name]
    found: Facts = reply[name]
    return found


@pytest.fixture
def resp3(wire: Wire) -> Wire:
    wire.call("HELLO", 3)
    return wire


def test_docs_of_all(resp3: Wire) -> None:
    every = text(resp3.call("COMMAND", "DOCS"))
    assert len(every) == resp3.call("COMMAND", "COUNT")
    for facts in every.values():
        assert {"summary", "since", "group"} <= set(facts)
        assert facts["summary"]
    assert text(resp3.call("COMMAND", "DOCS", "nosuch")) == {}


def test_docs_of_subcommands(resp3: Wire) -> None:
    facts = docs(resp3, "config")
    assert set(facts["subcommands"]) >= {"config|get", "config|set", "config|help"}
    assert facts["subcommands"]["config|get"]["since"] == "2.0.0"
    assert docs(resp3, "config|get")["group"] == "server"


def flags(argument: Facts) -> set[str]:
    return set(argument.get("flags", ()))


def test_docs_of_arguments(resp3: Wire) -> None:
    key, value, condition, get, expiry = docs(resp3, "set")["arguments"]
    assert (key["name"], key["type"], key["key_spec_index"]) == ("key", "key", 0)
    assert (value["name"], value["type"]) == ("value", "string")
    assert (condition["type"], flags(condition)) == ("oneof", {"optional"})
    assert [it["token"] for it in condition["arguments"]] == ["NX", "XX"]
    assert {it["type"] for it in condition["arguments"]} == {"pure-token"}
    assert (get["type"], get["token"], flags(get)) == ("pure-token", "GET", {"optional"})
    tokens = {it["token"]: it["type"] for it in expiry["arguments"]}
    assert tokens == {
        "EX": "integer",
        "PX": "integer",
        "EXAT": "unix-time",
        "PXAT": "unix-time",
        "KEEPTTL": "pure-token",
    }


def test_docs_of_arguments_that_come_again(resp3: Wire) -> None:
    (key,) = docs(resp3, "del")["arguments"]
    assert flags(key) == {"multiple"}
    (pairs,) = docs(resp3, "mset")["arguments"]
    assert (pairs["type"], flags(pairs)) == ("block", {"multiple"})
    assert [it["name"] for it in pairs["arguments"]] == ["key", "value"]
    by_token = {it.get("token"): it for it in docs(resp3, "sort")["arguments"]}
    assert flags(by_token["GET"]) == {"optional", "multiple", "multiple_token"}
    assert [it["name"] for it in by_token["LIMIT"]["arguments"]] == ["offset", "count"]


def with_subcommands(every: dict[str, Facts]) -> dict[str, Facts]:
    found = dict(every)
    for facts in every.values():
        found |= facts.get("subcommands", {})
    return found


def tokens(arguments: list[Facts]) -> set[str]:
    """The words that stand for themselves."""
    found: set[str] = set()
    for argument in arguments:
        found |= {argument["token"]} if argument.get("token") else set()
        found |= tokens(argument.get("arguments", []))
    return found


def least(arguments: list[Facts]) -> int:
    """The fewest words that arguments take."""
    return sum(least_of(argument) for argument in arguments if "optional" not in flags(argument))


def least_of(argument: Facts) -> int:
    inside = argument.get("arguments", [])
    words = bool(argument.get("token"))
    if argument["type"] == "oneof":
        return words + min(map(least_of, inside))
    if argument["type"] == "block":
        return words + least(inside)
    return words + int(argument["type"] != "pure-token")


UNLIKE = {
    "client|kill": "each filter may be missing; Redis says that one must be there",
    "command|getkeys": "a command must be there, as the arity says",
    "command|getkeysandflags": "the same",
    "debug": "it is one command to us, and Redis does not say what follows it",
    "geohash": "Redis 7.2 says that there need be no member, as the arity does",
    "geopos": "the same",
    "migrate": "the empty key is a key to us, and a word of its own to Redis",
    "pfmerge": "Redis 7.2 says that there need be no source, as the arity does",
}
"""Commands whose arguments differ from those in Redis 7.0, and why."""


@pytest.mark.ours("compares with the reference")
def test_arguments_of_every_command_resemble_those_of_redis(
    resp3: Wire, reference: Process
) -> None:
    """Names are our own; what counts is which words may and which must be there."""
    ours = with_subcommands(text(resp3.call("COMMAND", "DOCS")))
    with reference.wire() as wire:
        wire.call("HELLO", 3)
        theirs = with_subcommands(text(wire.call("COMMAND", "DOCS")))
    unlike = set()
    for name in ours.keys() & theirs.keys():
        mine, known = (facts[name].get("arguments", []) for facts in (ours, theirs))
        if not tokens(known) <= tokens(mine) or least(mine) != least(known):
            unlike.add(name)
    assert unlike == UNLIKE.keys()


# GETKEYS


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("get key", "key"),
        ("mset a 1 b 2", "a b"),
        ("lcs a b", "a b"),
        ("memory usage key", "key"),
        ("object encoding key", "key"),
        ("blpop a b 0", "a b"),
        ("zunionstore out 2 a b weights 1 2", "out a b"),
        ("zinter 2 a b withscores", "a b"),
        ("lmpop 2 a b left", "a b"),
        ("sort key", "key"),
        ("sort key by w_* get # store out", "key out"),
        ("georadius key 0 0 1 m store out", "key out"),
        ("bitop and out a b", "out a b"),
        ("watch a b", "a b"),
    ],
)
def test_getkeys(ask: Ask, words: str, keys: str) -> None:
    assert ask("COMMAND", "GETKEYS", *words.split()) == keys.encode().split()


def test_getkeys_of_many(ask: Ask) -> None:
    keys = [f"key{number}" for number in range(300)]
    found = ask("COMMAND", "GETKEYS", "ZUNIONSTORE", "out", 300, *keys)
    assert found == [b"out", *(key.encode() for key in keys)]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("get key", [[b"key", [b"RO", b"access"]]]),
        ("set key value", [[b"key", [b"OW", b"update"]]]),
        ("set key value get", [[b"key", [b"RW", b"access", b"update"]]]),
        ("mset a 1 b 2", [[b"a", [b"OW", b"update"]], [b"b", [b"OW", b"update"]]]),
        (
            "lmove a b left right",
            [[b"a", [b"RW", b"access", b"delete"]], [b"b", [b"RW", b"insert"]]],
        ),
        ("sort a store b", [[b"a", [b"RO", b"access"]], [b"b", [b"OW", b"update"]]]),
        ("bitfield key get u8 0 overflow sat", [[b"key", [b"RO", b"access"]]]),
        ("bitfield key set u8 0 1", [[b"key", [b"RW", b"access", b"update"]]]),
        ("bitfield key get u8 0 incrby u8 0 1", [[b"key", [b"RW", b"access", b"update"]]]),
    ],
)
def test_getkeysandflags(ask: Ask, words: str, keys: list[Any]) -> None:
    reply = ask("COMMAND", "GETKEYSANDFLAGS", *words.split())
    assert [[key, sorted(access)] for key, access in reply] == keys


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("nosuch a b", b"ERR Invalid command specified"),
        ("config get x", b"ERR The command has no key arguments"),
        ("echo hello", b"ERR The command has no key arguments"),
        ("spublish channel message", b"ERR The command has no key arguments"),
        ("get a b", b"ERR Invalid number of arguments specified for command"),
        ("zunionstore out 9 a b", b"ERR Invalid arguments specified for command"),
        ("zunionstore out x a b", b"ERR Invalid arguments specified for command"),
    ],
)
def test_getkeys_refused(ask: Ask, words: str, error: bytes) -> None:
    assert ask("COMMAND", "GETKEYS", *words.split()) == error
    assert ask("COMMAND", "GETKEYSANDFLAGS", *words.split()) == error


def test_getkeys_without_a_command(ask: Ask) -> None:
    error = ask("COMMAND", "GETKEYS")
    assert error == b"ERR wrong number of arguments for 'command|getkeys' command"


# Names


@pytest.mark.parametrize("words", [["GET|"], ["GET|SET", "x"], ["CONFIG|GET", "x"], ["config|get"]])
def test_subcommands_cannot_be_named_directly(ask: Ask, words: list[str]) -> None:
    assert ask(*words).startswith(b"ERR unknown command")


def test_a_subcommand_that_does_not_exist(ask: Ask) -> None:
    assert ask("CONFIG", "GET_X") == b"ERR unknown subcommand 'GET_X'. Try CONFIG HELP."
    ask("MULTI")
    assert isinstance(ask("CONFIG", "GET_X"), Error)
    assert ask("EXEC") == b"EXECABORT Transaction discarded because of previous errors."


def test_redis_py_reads_it(client: redis.Redis) -> None:
    commands = client.command()
    assert commands["get"]["arity"] == 2
    assert client.command_count() == len(commands)
    assert list(map(str, client.command_getkeys("MSET", "a", 1, "b", 2))) in (
        ["a", "b"],
        ["b'a'", "b'b'"],
    )


def test_names_that_were_changed(start_server: StartServer) -> None:
    renamed = ("--rename-command", "LRANGE", "slice", "--rename-command", "config", "")
    with start_server().wire() as usual, start_server(*renamed).wire() as wire:
        assert wire.call("COMMAND", "COUNT") == usual.call("COMMAND", "COUNT") - 1
        names = wire.call("COMMAND", "LIST")
        assert set(usual.call("COMMAND", "LIST")) - set(names) >= {b"config", b"config|get"}
        assert b"lrange" in names
        infos = wire.call("COMMAND", "INFO", "lrange", "Slice", "config", "config|get")
        assert infos == [None, *usual.call("COMMAND", "INFO", "lrange"), None, None]
        assert wire.call("COMMAND", "DOCS", "lrange") == []
        assert wire.call("COMMAND", "DOCS", "slice")[0] == b"lrange"
        assert wire.call("COMMAND", "GETKEYS", "slice", "k", "0", "1") == [b"k"]
        error = wire.call("COMMAND", "GETKEYS", "lrange", "k", "0", "1")
        assert error == b"ERR Invalid command specified"
