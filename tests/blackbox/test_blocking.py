"""Commands that wait: who is served, when, with what, and what ends a wait otherwise."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import Error, Server, Wire, eventually

Connect = Callable[[], Wire]

LISTS = {
    "BLPOP": ("BLPOP", "k", "0"),
    "BRPOP": ("BRPOP", "k", "0"),
    "BLMOVE": ("BLMOVE", "k", "other", "LEFT", "RIGHT", "0"),
    "BRPOPLPUSH": ("BRPOPLPUSH", "k", "other", "0"),
    "BLMPOP": ("BLMPOP", "0", "1", "k", "LEFT"),
}
SORTED_SETS = {
    "BZPOPMIN": ("BZPOPMIN", "k", "0"),
    "BZPOPMAX": ("BZPOPMAX", "k", "0"),
    "BZMPOP": ("BZMPOP", "0", "1", "k", "MIN"),
}
ALL = LISTS | SORTED_SETS


@pytest.fixture
def connect(server: Server, protocol: int) -> Iterator[Connect]:
    """Opens connections that speak the protocol under test."""
    with ExitStack() as stack:

        def opened() -> Wire:
            wire = stack.enter_context(server.wire())
            if protocol == 3:
                wire.call("HELLO", 3)
            return wire

        yield opened


@pytest.fixture
def do(connect: Connect) -> Callable[..., Any]:
    """Sends a command over a connection that never waits."""
    return connect().call


Do = Callable[..., Any]


def reply(wire: Wire) -> Any:
    """The next reply, of a type that the test knows."""
    return wire.reply()


def blocked(do: Do) -> int:
    """How many clients wait now."""
    info = do("INFO", "clients")
    return int(info.split(b"blocked_clients:")[1].split(b"\r\n")[0])


def waiting(connect: Connect, do: Do, *words: bytes | str | float) -> Wire:
    """A client that has begun to wait with this command."""
    before = blocked(do)
    wire = connect()
    wire.command(*words)
    eventually(lambda: blocked(do) == before + 1)
    return wire


def timed(words: tuple[str, ...], timeout: object) -> list[str]:
    """The command with another timeout."""
    at = 1 if words[0] in ("BLMPOP", "BZMPOP") else len(words) - 1
    return [*words[:at], str(timeout), *words[at + 1 :]]


def fill(do: Do, words: tuple[str, ...], key: str = "k") -> None:
    """Give the command what it waits for: a single entry named ``a``."""
    if words[0] in LISTS:
        assert do("RPUSH", key, "a") == 1
    else:
        assert do("ZADD", key, 1.5, "a") == 1


def expected(words: tuple[str, ...], protocol: int) -> object:
    """The reply with that entry."""
    score = 1.5 if protocol == 3 else b"1.5"
    if words[0] in ("BLPOP", "BRPOP"):
        return [b"k", b"a"]
    if words[0] in ("BLMOVE", "BRPOPLPUSH"):
        return b"a"
    if words[0] == "BLMPOP":
        return [b"k", [b"a"]]
    if words[0] == "BZMPOP":
        return [b"k", [[b"a", score]]]
    return [b"k", b"a", score]


every_command = pytest.mark.parametrize("words", ALL.values(), ids=ALL)
list_command = pytest.mark.parametrize("words", LISTS.values(), ids=LISTS)


# One client


@every_command
def test_what_is_there_is_taken_at_once(do: Do, protocol: int, words: tuple[str, ...]) -> None:
    fill(do, words)
    assert do(*words) == expected(words, protocol)
    assert do("EXISTS", "k") == 0


@every_command
def test_what_comes_is_taken(
    connect: Connect, do: Do, protocol: int, words: tuple[str, ...]
) -> None:
    wire = waiting(connect, do, *words)
    fill(do, words)
    assert reply(wire) == expected(words, protocol)
    assert do("EXISTS", "k") == 0
    assert blocked(do) == 0


@every_command
def test_time_is_up(connect: Connect, do: Do, protocol: int, words: tuple[str, ...]) -> None:
    wire = connect()
    wire.command(*timed(words, 0.02))
    wire.expect(b"_\r\n" if protocol == 3 else b"*-1\r\n")
    fill(do, words)
    assert do("EXISTS", "k") == 1


@every_command
def test_wrong_type(connect: Connect, do: Do, words: tuple[str, ...]) -> None:
    do("SET", "k", "text")
    assert b"WRONGTYPE" in do(*words)
    assert b"WRONGTYPE" in do(*timed(words, 1))


@every_command
def test_wrong_arity(do: Do, words: tuple[str, ...]) -> None:
    fewest = {"BLMPOP": 5, "BZMPOP": 5, "BLMOVE": 6, "BRPOPLPUSH": 4}.get(words[0], 3)
    for count in range(1, fewest):
        assert b"wrong number of arguments" in do(*words[:count])
    if words[0] in ("BLMOVE", "BRPOPLPUSH"):
        assert b"wrong number of arguments" in do(*words, "0")


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        ("-1", "timeout is negative"),
        ("-0.01", "timeout is negative"),
        ("x", "timeout is not a float or out of range"),
        ("", "timeout is not a float or out of range"),
        (" 1", "timeout is not a float or out of range"),
        ("nan", "timeout is not a float or out of range"),
    ],
)
@every_command
def test_bad_timeouts(do: Do, words: tuple[str, ...], timeout: str, error: str) -> None:
    assert do(*timed(words, timeout)) == b"ERR " + error.encode()


@pytest.mark.since("7.2")
@pytest.mark.parametrize("timeout", ["inf", "1e300", "9223372036854775807", "9223372036854775"])
def test_timeouts_that_no_clock_reaches(do: Do, timeout: str) -> None:
    # The last one can be counted in milliseconds, but not from now on.
    for words in ALL.values():
        assert do(*timed(words, timeout)) == b"ERR timeout is out of range"


@pytest.mark.parametrize("timeout", ["0", "0.0", "-0", "-0.0001", "1e3", "0x10", "+100"])
def test_good_timeouts(connect: Connect, do: Do, timeout: str) -> None:
    wire = waiting(connect, do, "BLPOP", "k", timeout)
    do("RPUSH", "k", "a")
    assert reply(wire) == [b"k", b"a"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("BLMPOP 1 0 k LEFT", "numkeys should be greater than 0"),
        ("BLMPOP 1 x k LEFT", "numkeys should be greater than 0"),
        ("BLMPOP 1 2 k LEFT", "syntax error"),
        ("BLMPOP 1 1 k UP", "syntax error"),
        ("BLMPOP 1 1 k LEFT COUNT 0", "count should be greater than 0"),
        ("BLMPOP x 1 k LEFT COUNT 0", "count should be greater than 0"),
        ("BLMPOP 1 1 k LEFT COUNT 1 COUNT 1", "syntax error"),
        ("BZMPOP 1 0 k MIN", "numkeys should be greater than 0"),
        ("BZMPOP 1 1 k LEFT", "syntax error"),
        ("BZMPOP 1 1 k MAX COUNT x", "count should be greater than 0"),
        ("BLMOVE k l UP LEFT 1", "syntax error"),
        ("BLMOVE k l LEFT UP x", "syntax error"),
    ],
)
def test_bad_words(do: Do, line: str, error: str) -> None:
    assert do(*line.split()) == b"ERR " + error.encode()


def test_what_was_sent_behind_waits_its_turn(connect: Connect, do: Do) -> None:
    wire = connect()
    for words in (("PING",), ("BLPOP", "k", 0), ("INCR", "n"), ("BLPOP", "l", 0), ("INCR", "n")):
        wire.command(*words)
    assert reply(wire) == b"PONG"
    eventually(lambda: blocked(do) == 1)
    assert do("GET", "n") is None
    do("RPUSH", "k", "a")
    assert [reply(wire), reply(wire)] == [[b"k", b"a"], 1]
    wire.command("INCR", "n")
    do("RPUSH", "l", "b")
    assert [reply(wire), reply(wire), reply(wire)] == [[b"l", b"b"], 2, 3]


# Several clients


def test_the_longest_waiting_is_served_first(connect: Connect, do: Do) -> None:
    wires = [waiting(connect, do, "BLPOP", "k", 0) for _ in range(5)]
    for n in range(5):
        do("RPUSH", "k", n)
    assert [reply(wire) for wire in wires] == [[b"k", b"%d" % n] for n in range(5)]


def test_one_push_serves_several_from_the_whole_list(connect: Connect, do: Do) -> None:
    lefts = [waiting(connect, do, "BLPOP", "k", 0) for _ in range(2)]
    right = waiting(connect, do, "BRPOP", "k", 0)
    # The list is built before anybody is served: c b a.
    assert do("LPUSH", "k", "a", "b", "c", "d") == 4
    assert [reply(wire)[1] for wire in (*lefts, right)] == [b"d", b"c", b"a"]
    assert do("LRANGE", "k", 0, -1) == [b"b"]


def test_pushes_that_arrive_together_are_served_one_by_one(connect: Connect, do: Do) -> None:
    do("RPUSH", "full", *range(3000))
    wires = [waiting(connect, do, "BRPOP", "k", 0) for _ in range(2)]
    pusher = connect()
    for n in range(4):
        pusher.command("LPUSH", "k", n)
    # Each push finds the list empty again as long as somebody waits.
    assert [reply(pusher) for _ in range(4)] == [1, 1, 1, 2]
    assert [reply(wire)[1] for wire in wires] == [b"0", b"1"]
    assert do("LRANGE", "k", 0, -1) == [b"3", b"2"]


def test_members_for_several_that_wait(connect: Connect, do: Do) -> None:
    lowest = waiting(connect, do, "BZPOPMIN", "k", 0)
    highest = waiting(connect, do, "BZPOPMAX", "k", 0)
    several = waiting(connect, do, "BZMPOP", 0, 2, "j", "k", "MAX", "COUNT", 2)
    assert do("ZADD", "k", 1, "a", 2, "b", 3, "c", 4, "d", 5, "e") == 5
    assert reply(lowest)[1] == b"a"
    assert reply(highest)[1] == b"e"
    assert [member for member, _ in reply(several)[1]] == [b"d", b"c"]
    assert do("ZRANGE", "k", 0, -1) == [b"b"]


def test_many_clients_get_one_each(connect: Connect, do: Do) -> None:
    wires = [connect() for _ in range(200)]
    for wire in wires:
        wire.command("BLPOP", "k", 0)
    eventually(lambda: blocked(do) == 200)
    for start in range(0, 200, 50):
        do("RPUSH", "k", *range(start, start + 50))
    assert sorted(int(reply(wire)[1]) for wire in wires) == list(range(200))
    assert do("EXISTS", "k") == 0


def test_a_client_that_was_served_waits_for_no_other_key(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BLPOP", "j", "k", "l", "k", 0)
    do("RPUSH", "k", "a")
    assert reply(wire) == [b"k", b"a"]
    for key in "jkl":
        assert do("RPUSH", key, "b") == 1
    assert do("LLEN", "j") == do("LLEN", "k") == do("LLEN", "l") == 1
    # Of several keys that have something the first one counts.
    assert wire.call("BLPOP", "missing", "l", "j", 0) == [b"l", b"b"]
    assert wire.call("BLMPOP", 0, 3, "missing", "k", "j", "LEFT") == [b"k", [b"b"]]


@pytest.mark.since("7.2")
def test_of_keys_that_come_together_the_first_one_named_counts(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BLPOP", "j", "k", 0)
    do("MULTI")
    do("RPUSH", "k", "a")
    do("RPUSH", "j", "b")
    do("EXEC")
    assert reply(wire) == [b"j", b"b"]


def test_databases_are_apart(connect: Connect, do: Do) -> None:
    wire = connect()
    wire.call("SELECT", 3)
    wire.command("BLPOP", "k", 0)
    eventually(lambda: blocked(do) == 1)
    assert do("RPUSH", "k", "here") == 1
    assert blocked(do) == 1
    do("SELECT", 3)
    do("RPUSH", "k", "there")
    assert reply(wire) == [b"k", b"there"]
    do("FLUSHALL")


# What makes a key ready

WAKE = {
    "RENAME": [("RPUSH", "s", "a"), ("RENAME", "s", "k")],
    "RENAMENX": [("RPUSH", "s", "a"), ("RENAMENX", "s", "k")],
    "COPY": [("RPUSH", "s", "a"), ("COPY", "s", "k")],
    "SORT": [("RPUSH", "s", "a"), ("SORT", "s", "ALPHA", "STORE", "k")],
    "LMOVE": [("RPUSH", "s", "a"), ("LMOVE", "s", "k", "LEFT", "LEFT")],
    "RPOPLPUSH": [("RPUSH", "s", "a"), ("RPOPLPUSH", "s", "k")],
    "MOVE": [("SELECT", "9"), ("RPUSH", "k", "a"), ("MOVE", "k", "0"), ("SELECT", "0")],
    "COPY DB": [("SELECT", "9"), ("RPUSH", "s", "a"), ("COPY", "s", "k", "DB", "0")],
    "SWAPDB": [("SELECT", "9"), ("RPUSH", "k", "a"), ("SWAPDB", "0", "9")],
    "LPUSH after another type": [("SET", "k", "text"), ("DEL", "k"), ("LPUSH", "k", "a")],
    "SET, then RENAME over it": [("SET", "k", "text"), ("RPUSH", "s", "a"), ("RENAME", "s", "k")],
}
WAKE_SORTED = {
    "ZUNIONSTORE": [("ZADD", "s", "1.5", "a"), ("ZUNIONSTORE", "k", "1", "s")],
    "ZINTERSTORE": [("ZADD", "s", "1.5", "a"), ("ZINTERSTORE", "k", "1", "s")],
    "ZDIFFSTORE": [("ZADD", "s", "1.5", "a"), ("ZDIFFSTORE", "k", "1", "s")],
    "ZRANGESTORE": [("ZADD", "s", "1.5", "a"), ("ZRANGESTORE", "k", "s", "0", "-1")],
    "ZINCRBY": [("ZINCRBY", "k", "1.5", "a")],
    "RENAME": [("ZADD", "s", "1.5", "a"), ("RENAME", "s", "k")],
    "after a list": [("RPUSH", "k", "x"), ("LPOP", "k"), ("ZADD", "k", "1.5", "a")],
}


@pytest.mark.parametrize("commands", WAKE.values(), ids=WAKE)
def test_a_list_may_come_in_many_ways(
    connect: Connect, do: Do, commands: list[tuple[str, ...]]
) -> None:
    wire = waiting(connect, do, "BLPOP", "k", 0)
    for words in commands:
        assert not isinstance(do(*words), Error)
    assert reply(wire) == [b"k", b"a"]
    do("FLUSHALL")


@pytest.mark.parametrize("commands", WAKE_SORTED.values(), ids=WAKE_SORTED)
def test_a_sorted_set_may_come_in_many_ways(
    connect: Connect, do: Do, commands: list[tuple[str, ...]]
) -> None:
    wire = waiting(connect, do, "BZPOPMIN", "k", 0)
    for words in commands:
        assert not isinstance(do(*words), Error)
    assert reply(wire)[:2] == [b"k", b"a"]


def test_a_geo_set_is_a_sorted_set(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BZPOPMIN", "k", 0)
    do("GEOADD", "k", 13.4, 52.5, "Berlin")
    assert reply(wire)[1] == b"Berlin"


def test_each_kind_of_value_wakes_those_who_wait_for_it(connect: Connect, do: Do) -> None:
    sorted_set = waiting(connect, do, "BZPOPMIN", "k", 0)
    of_list = waiting(connect, do, "BLPOP", "k", 0)
    for words in (("SET", "k", "x"), ("SADD", "k", "x"), ("HSET", "k", "f", "x")):
        do("DEL", "k")
        do(*words)
    assert blocked(do) == 2
    do("DEL", "k")
    do("RPUSH", "k", "a")
    assert reply(of_list) == [b"k", b"a"]
    do("ZADD", "k", 1, "b")
    assert reply(sorted_set)[1] == b"b"


def test_flushing_wakes_nobody(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BLPOP", "k", 0)
    do("FLUSHALL")
    do("FLUSHDB")
    assert blocked(do) == 1
    do("RPUSH", "k", "a")
    assert reply(wire) == [b"k", b"a"]


def test_a_key_that_goes_by_its_deadline_while_somebody_waits(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BLPOP", "k", 0)
    do("SET", "k", "text", "PX", 20)
    eventually(lambda: do("EXISTS", "k") == 0)
    assert blocked(do) == 1
    do("RPUSH", "k", "a")
    assert reply(wire) == [b"k", b"a"]


def test_a_list_that_is_gone_before_anybody_was_served(connect: Connect, do: Do) -> None:
    """Within a transaction, by its deadline: the wait goes on, and no longer than it should."""
    do("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    wire = connect()
    wire.command("BLPOP", "k", 0.5)
    # On a machine that stands still the time may be up before anybody has looked.
    eventually(lambda: blocked(do) == 1 or wire.has_reply())
    do("MULTI")
    do("RPUSH", "k", "a")
    do("PEXPIRE", "k", 10)
    do("DEBUG", "SLEEP", 0.05)
    do("EXEC")
    assert reply(wire) is None
    assert do("EXISTS", "k") == 0
    do("DEBUG", "SET-ACTIVE-EXPIRE", 1)


# Transactions


@every_command
def test_nobody_waits_inside_a_transaction(
    connect: Connect, do: Do, protocol: int, words: tuple[str, ...]
) -> None:
    wire = connect()
    for line in (("MULTI",), words, ("PING",)):
        assert wire.call(*line) in (b"OK", b"QUEUED")
    wire.command("EXEC")
    null = b"$-1\r\n" if words[0] in ("BLMOVE", "BRPOPLPUSH") else b"*-1\r\n"
    wire.expect(b"*2\r\n" + (b"_\r\n" if protocol == 3 else null) + b"+PONG\r\n")
    fill(do, words)
    wire.call("MULTI")
    wire.call(*words)
    assert wire.call("EXEC") == [expected(words, protocol)]


def test_a_transaction_is_over_before_anybody_is_served(connect: Connect, do: Do) -> None:
    wire = waiting(connect, do, "BLPOP", "k", 0)
    for line in (("MULTI",), ("LPUSH", "k", "a"), ("DEL", "k"), ("LPUSH", "k", "b", "c")):
        do(*line)
    assert do("EXEC") == [1, 1, 2]
    assert reply(wire) == [b"k", b"c"]
    wire.command("BLPOP", "l", 0)
    eventually(lambda: blocked(do) == 1)
    for line in (("MULTI",), ("LPUSH", "l", "a"), ("LPOP", "l")):
        do(*line)
    assert do("EXEC") == [1, b"a"]
    assert blocked(do) == 1


def test_being_served_changes_a_watched_key(connect: Connect, do: Do) -> None:
    watcher = connect()
    wire = waiting(connect, do, "BLMOVE", "k", "l", "LEFT", "LEFT", 0)
    watcher.call("WATCH", "l")
    do("RPUSH", "k", "a")
    assert reply(wire) == b"a"
    watcher.call("MULTI")
    watcher.call("PING")
    assert watcher.call("EXEC") is None


# Commands that feed others


def test_moving_feeds_the_next_one(connect: Connect, do: Do) -> None:
    last = waiting(connect, do, "BLPOP", "c", 0)
    second = waiting(connect, do, "BLMOVE", "b", "c", "LEFT", "LEFT", 0)
    first = waiting(connect, do, "BRPOPLPUSH", "a", "b", 0)
    assert do("RPUSH", "a", "x") == 1
    assert [reply(first), reply(second), reply(last)] == [b"x", b"x", [b"c", b"x"]]
    assert do("EXISTS", "a", "b", "c") == 0


def test_a_long_chain(connect: Connect, do: Do) -> None:
    length = 300
    wires = [connect() for _ in range(length)]
    for n, wire in enumerate(wires):
        wire.command("BLMOVE", n, n + 1, "LEFT", "LEFT", 0)
    eventually(lambda: blocked(do) == length)
    do("RPUSH", 0, "x")
    assert [reply(wire) for wire in wires] == [b"x"] * length
    assert do("LRANGE", length, 0, -1) == [b"x"]


def test_moving_in_a_circle_ends(connect: Connect, do: Do) -> None:
    one = waiting(connect, do, "BLMOVE", "a", "b", "LEFT", "LEFT", 0)
    other = waiting(connect, do, "BLMOVE", "b", "a", "LEFT", "LEFT", 0)
    itself = waiting(connect, do, "BRPOPLPUSH", "a", "a", 0)
    do("RPUSH", "a", "x")
    assert [reply(one), reply(other), reply(itself)] == [b"x", b"x", b"x"]
    assert do("LRANGE", "a", 0, -1) == [b"x"]
    assert do("EXISTS", "b") == 0


def test_moving_to_a_key_of_another_type(connect: Connect, do: Do) -> None:
    do("SET", "text", "x")
    first = waiting(connect, do, "BLMOVE", "k", "text", "LEFT", "LEFT", 0)
    second = waiting(connect, do, "BLPOP", "k", 0)
    do("RPUSH", "k", "a")
    assert b"WRONGTYPE" in reply(first)
    assert reply(second) == [b"k", b"a"]


# What ends a wait otherwise


@every_command
def test_unblocking(connect: Connect, do: Do, protocol: int, words: tuple[str, ...]) -> None:
    wire = connect()
    number = wire.call("CLIENT", "ID")
    null = b"_\r\n" if protocol == 3 else b"*-1\r\n"
    for reason, answer in (
        ((), null),
        (("TIMEOUT",), null),
        (("error",), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
    ):
        assert do("CLIENT", "UNBLOCK", number) == 0
        wire.command(*words)
        wire.command("ECHO", "next")
        eventually(lambda: blocked(do) == 1)
        assert do("CLIENT", "UNBLOCK", number, *reason) == 1
        wire.expect(answer)
        assert reply(wire) == b"next"
    fill(do, words)
    assert do("EXISTS", "k") == 1


@list_command
def test_who_is_gone_takes_nothing(connect: Connect, do: Do, words: tuple[str, ...]) -> None:
    for leave in (Wire.close, Wire.reset, Wire.shut_writing):
        wire = waiting(connect, do, *words)
        leave(wire)
        eventually(lambda: blocked(do) == 0)
        do("RPUSH", "k", "a")
        assert do("LRANGE", "k", 0, -1) == [b"a"]
        do("DEL", "k")


def test_who_is_being_closed_takes_nothing(connect: Connect, do: Do) -> None:
    """Even before its socket is closed, by what follows in the same batch."""
    wire = connect()
    number = wire.call("CLIENT", "ID")
    wire.command("BLPOP", "k", 0)
    eventually(lambda: blocked(do) == 1)
    other = connect()
    other.command("CLIENT", "KILL", "ID", number)
    other.command("RPUSH", "k", "a")
    other.command("LRANGE", "k", 0, -1)
    assert [reply(other) for _ in range(3)] == [1, 1, [b"a"]]
    wire.expect_closed()


def test_the_next_one_is_served_where_the_first_is_gone(connect: Connect, do: Do) -> None:
    first = waiting(connect, do, "BLPOP", "k", 0)
    second = waiting(connect, do, "BLPOP", "k", 0)
    first.close()
    eventually(lambda: blocked(do) == 1)
    do("RPUSH", "k", "a")
    assert reply(second) == [b"k", b"a"]


# What is told and counted


def test_events(connect: Connect, do: Do) -> None:
    do("CONFIG", "SET", "notify-keyspace-events", "Elzg")
    listener = connect()
    listener.call("PSUBSCRIBE", "__keyevent@0__:*")
    pop = waiting(connect, do, "BLPOP", "k", 0)
    move = waiting(connect, do, "BLMOVE", "l", "m", "LEFT", "RIGHT", 0)
    member = waiting(connect, do, "BZPOPMAX", "z", 0)
    do("RPUSH", "k", "a")
    do("LPUSH", "l", "a", "b")
    do("ZADD", "z", 1, "a")
    for wire in (pop, move, member):
        reply(wire)
    seen: list[str] = []
    while len(seen) < 9:
        _, _, channel, key = reply(listener)
        seen.append(f"{channel.decode().partition(':')[2]} {key.decode()}")
    assert seen == [
        *("rpush k", "lpop k", "del k"),
        *("lpush l", "rpush m", "lpop l"),
        *("zadd z", "zpopmax z", "del z"),
    ]


def statistics(do: Do, name: str) -> dict[str, str]:
    """The line of INFO commandstats; empty where the command was not called."""
    for line in do("INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{name}:"):
            return dict(pair.split("=") for pair in line.partition(":")[2].split(","))
    return {}


@pytest.mark.since("7.2")
def test_a_command_counts_once_when_it_is_answered(connect: Connect, do: Do) -> None:
    do("CONFIG", "RESETSTAT")
    wire = connect()
    number = wire.call("CLIENT", "ID")
    wire.command("BLPOP", "k", 0)
    eventually(lambda: blocked(do) == 1)
    assert statistics(do, "blpop") == {}
    do("RPUSH", "k", "a")
    reply(wire)
    assert statistics(do, "blpop")["calls"] == "1"
    assert wire.call("BLPOP", "k", 0.01) is None
    assert statistics(do, "blpop")["calls"] == "2"
    assert statistics(do, "blpop")["failed_calls"] == "0"
    wire.command("BLPOP", "k", 0)
    eventually(lambda: blocked(do) == 1)
    do("CLIENT", "UNBLOCK", number, "ERROR")
    assert b"UNBLOCKED" in reply(wire)
    assert statistics(do, "blpop")["calls"] == "3"
    assert statistics(do, "blpop")["failed_calls"] == "1"
    assert b"errorstat_UNBLOCKED:count=1" in do("INFO", "errorstats")


@pytest.mark.since("7.2")
def test_changes_are_counted_once(connect: Connect, do: Do) -> None:
    def changes() -> int:
        info = do("INFO", "persistence")
        return int(info.split(b"rdb_changes_since_last_save:")[1].split(b"\r\n")[0])

    for words in (LISTS["BLPOP"], LISTS["BLMOVE"], SORTED_SETS["BZPOPMIN"]):
        wire = waiting(connect, do, *words)
        before = changes()
        fill(do, words)
        reply(wire)
        assert changes() == before + 2
