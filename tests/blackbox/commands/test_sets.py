"""The set commands."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.support import Wire

Do = Callable[..., Any]

COMMANDS = [
    *("SADD k a", "SREM k a", "SISMEMBER k a", "SMISMEMBER k a", "SMEMBERS k", "SCARD k"),
    *("SPOP k", "SPOP k 1", "SRANDMEMBER k", "SRANDMEMBER k 1", "SMOVE k other a", "SINTER k"),
    *("SINTERCARD 1 k", "SINTERSTORE other k", "SUNION k", "SUNIONSTORE other k", "SDIFF k"),
    *("SDIFFSTORE other k", "SSCAN k 0"),
]
EXACT = ["SISMEMBER k a", "SMEMBERS k", "SCARD k", "SMOVE k other a"]


@pytest.fixture
def do(client: redis.Redis) -> Do:
    return client.execute_command


def members(count: int, of: str = "member:%d") -> list[bytes]:
    return [(of % n).encode() for n in range(count)]


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(do: Do, line: str) -> None:
    do("SET", "k", "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        do(*line.split())
    assert do("GET", "k") == b"text"
    assert do("EXISTS", "other") == 0


@pytest.mark.parametrize("line", [*COMMANDS[:6], "SPOP k", "SRANDMEMBER k", *COMMANDS[10:]])
def test_wrong_arity(do: Do, line: str) -> None:
    words = line.split()
    for count in range(1, len(words)):
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words[:count])
    if line in EXACT:
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words, "more")


def test_missing_keys(do: Do, wire: Wire) -> None:
    assert do("SREM", "s", "a") == 0
    assert do("SISMEMBER", "s", "a") == 0
    assert do("SMISMEMBER", "s", "a", "b") == [0, 0]
    assert wire.call("SMEMBERS", "s") == []
    assert do("SCARD", "s") == 0
    assert do("SPOP", "s") is None
    assert wire.call("SPOP", "s", 3) == []
    assert do("SRANDMEMBER", "s") is None
    assert do("SRANDMEMBER", "s", -3) == []
    assert do("SMOVE", "s", "other", "a") == 0
    assert wire.call("SSCAN", "s", 0) == [b"0", []]
    assert do("DBSIZE") == 0


def test_replies_on_the_wire(wire: Wire) -> None:
    wire.call("SADD", "s", "1")
    for command, expected in [
        (("SMEMBERS", "s"), b"*1\r\n$1\r\n1\r\n"),
        (("SMISMEMBER", "s", "1", "2"), b"*2\r\n:1\r\n:0\r\n"),
        (("SRANDMEMBER", "none"), b"$-1\r\n"),
        (("SRANDMEMBER", "none", "1"), b"*0\r\n"),
        (("SPOP", "none", "1"), b"*0\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)
    wire.call("HELLO", "3")
    for command, expected in [
        (("SMEMBERS", "s"), b"~1\r\n$1\r\n1\r\n"),
        (("SMEMBERS", "none"), b"~0\r\n"),
        (("SUNION", "s", "none"), b"~1\r\n$1\r\n1\r\n"),
        (("SINTER", "s", "none"), b"~0\r\n"),
        (("SDIFF", "s", "none"), b"~1\r\n$1\r\n1\r\n"),
        (("SISMEMBER", "s", "1"), b":1\r\n"),
        (("SRANDMEMBER", "s", "1"), b"*1\r\n$1\r\n1\r\n"),
        (("SRANDMEMBER", "none"), b"_\r\n"),
        (("SSCAN", "s", "0"), b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\n1\r\n"),
        (("SPOP", "s", "1"), b"~1\r\n$1\r\n1\r\n"),
        (("SPOP", "s", "1"), b"~0\r\n"),
        (("SPOP", "s"), b"_\r\n"),
    ]:
        wire.command(*command)
        wire.expect(expected)


@pytest.mark.parametrize("kind", ["%d", "member:%d"])
@pytest.mark.parametrize("count", [1, 20, 200, 700])
def test_all_sizes(do: Do, wire: Wire, count: int, kind: str) -> None:
    all_of_them = members(count, kind)
    shuffled = random.Random(count).sample(all_of_them, count)
    assert do("SADD", "s", *shuffled[: count // 2], shuffled[0]) == max(count // 2, 1)
    assert do("SADD", "s", *shuffled) == count - max(count // 2, 1)
    assert do("SCARD", "s") == count
    assert sorted(wire.call("SMEMBERS", "s")) == sorted(all_of_them)
    assert all(do("SISMEMBER", "s", member) == 1 for member in all_of_them)
    assert do("SMISMEMBER", "s", all_of_them[0], "none", "00") == [1, 0, 0]
    assert do("SREM", "s", "none", *shuffled[1:]) == count - 1
    assert do("SREM", "s", shuffled[0], shuffled[0]) == 1
    assert do("EXISTS", "s") == 0


def test_integers_come_in_order(wire: Wire) -> None:
    limits = [b"%d" % -(2**63), b"-5", b"0", b"3", b"10", b"%d" % (2**63 - 1)]
    wire.call("SADD", "s", *random.Random(1).sample(limits, len(limits)))
    assert wire.call("SMEMBERS", "s") == limits
    assert wire.call("SSCAN", "s", "0") == [b"0", limits]
    wire.call("SADD", "t", "10", "4", "3")
    assert wire.call("SUNION", "t", "s") == [*limits[:4], b"4", *limits[4:]]
    assert wire.call("SINTER", "s", "t") == [b"3", b"10"]
    assert wire.call("SDIFF", "s", "t") == [*limits[:3], limits[-1]]
    assert wire.call("SRANDMEMBER", "s", "100") == limits
    assert wire.call("SPOP", "s", "100") == limits


def test_members_are_the_bytes_they_were(do: Do, wire: Wire) -> None:
    odd = [b"1", b"01", b"+1", b" 1", b"1.0", b"-0", b"", b"%d" % 2**63, bytes(range(256))]
    assert do("SADD", "s", *odd) == len(odd)
    assert sorted(wire.call("SMEMBERS", "s")) == sorted(odd)
    assert do("SREM", "s", "1") == 1
    assert do("SISMEMBER", "s", "01") == 1


def test_sets_that_shrink_and_grow(do: Do, wire: Wire) -> None:
    model: set[bytes] = set()
    pool = [*members(15, "%d"), *members(5, "m%d"), b"x" * 70]
    draw = random.Random(1)
    for _ in range(1500):
        member = draw.choice(pool)
        if draw.random() < 0.45:
            assert do("SADD", "s", member) == (member not in model)
            model.add(member)
        else:
            assert do("SREM", "s", member) == (member in model)
            model.discard(member)
        assert do("SCARD", "s") == len(model)
        if draw.random() < 0.1:
            assert set(wire.call("SMEMBERS", "s")) == model


# Encodings


@pytest.mark.since("7.2")
def test_encodings(do: Do) -> None:
    def encoding(*added: object) -> bytes:
        do("DEL", "s")
        do("SADD", "s", *added)
        answer: bytes = do("OBJECT", "ENCODING", "s")
        return answer

    assert encoding(*range(512)) == b"intset"
    assert encoding(*range(513)) == b"hashtable"
    assert encoding(1, "a") == b"listpack"
    assert encoding(*members(128)) == b"listpack"
    assert encoding(*members(129)) == b"hashtable"
    assert encoding("m" * 64) == b"listpack"
    assert encoding("m" * 65) == b"hashtable"
    assert encoding("m" * 65, 1) == b"hashtable"
    do("SREM", "s", "m" * 65)
    assert do("OBJECT", "ENCODING", "s") == b"hashtable"
    assert encoding(*range(128)) == b"intset"
    do("SADD", "s", "a")
    assert do("OBJECT", "ENCODING", "s") == b"hashtable"
    do("CONFIG", "SET", "set-max-intset-entries", 2, "set-max-listpack-entries", 3)
    do("CONFIG", "SET", "set-max-listpack-value", 5)
    assert encoding(1, 2) == b"intset"
    assert encoding("a", "b", "c") == b"listpack"
    assert encoding("a", "b", "c", "d") == b"hashtable"
    assert encoding("123456x") == b"hashtable"


@pytest.mark.since("7.2")
def test_encodings_of_results(do: Do) -> None:
    do("SADD", "numbers", *range(600))
    do("SADD", "few", *range(5), "x")
    for command, keys, encoding in [
        ("SINTERSTORE", ("numbers", "few"), b"intset"),
        ("SDIFFSTORE", ("few", "numbers"), b"listpack"),
        ("SUNIONSTORE", ("few",), b"listpack"),
        ("SUNIONSTORE", ("few", "numbers"), b"hashtable"),
    ]:
        do(command, "result", *keys)
        assert do("OBJECT", "ENCODING", "result") == encoding, command


# Random members


@pytest.mark.parametrize("kind", ["%d", "member:%d"])
@pytest.mark.parametrize("count", [5, 100, 700])
def test_srandmember(do: Do, count: int, kind: str) -> None:
    all_of_them = set(members(count, kind))
    do("SADD", "s", *all_of_them)
    assert do("SRANDMEMBER", "s") in all_of_them
    for asked in (0, 1, 2, count // 2, count - 1, count, count + 5):
        drawn = do("SRANDMEMBER", "s", asked)
        assert len(drawn) == len(set(drawn)) == min(asked, count)
        assert set(drawn) <= all_of_them
    drawn = do("SRANDMEMBER", "s", -count * 2)
    assert len(drawn) == count * 2
    assert set(drawn) <= all_of_them
    assert do("SCARD", "s") == count


@pytest.mark.ours("Redis prefers members that stand alone in their bucket")
@pytest.mark.parametrize("kind", ["%d", "member:%d"])
@pytest.mark.parametrize("count", [5, 100, 700])
def test_srandmember_is_fair(do: Do, count: int, kind: str) -> None:
    do("SADD", "s", *members(count, kind))
    drawn: Counter[bytes] = Counter(do("SRANDMEMBER", "s", -count * 100))
    assert len(drawn) == count
    assert max(drawn.values()) < 3 * min(drawn.values())


@pytest.mark.parametrize("kind", ["%d", "member:%d"])
@pytest.mark.parametrize("count", [1, 5, 100, 700])
def test_spop(do: Do, wire: Wire, count: int, kind: str) -> None:
    all_of_them = set(members(count, kind))
    left = set(all_of_them)
    do("SADD", "s", *all_of_them)
    member = do("SPOP", "s")
    left.remove(member)
    for asked in (0, 1, count // 4, count // 2):
        popped = wire.call("SPOP", "s", asked)
        assert len(popped) == len(set(popped)) == min(asked, len(left))
        assert set(popped) <= left
        left -= set(popped)
        assert set(wire.call("SMEMBERS", "s")) == left
    assert set(wire.call("SPOP", "s", count)) == left
    assert do("EXISTS", "s") == 0


def test_pipelined_pops(client: redis.Redis, do: Do) -> None:
    do("SADD", "s", *range(60))
    do("SADD", "t", "a")
    with client.pipeline(transaction=False) as pipe:
        for _ in range(50):
            pipe.execute_command("SPOP", "s")
        popped = pipe.execute()
        assert len(set(popped)) == 50
        for _ in range(15):
            pipe.execute_command("SPOP", "s")
        pipe.execute_command("SPOP", "t")
        pipe.execute_command("SPOP", "none")
        rest = pipe.execute()
    assert {*popped, *rest[:10]} == {b"%d" % n for n in range(60)}
    assert rest[10:] == [None, None, None, None, None, b"a", None]
    assert do("DBSIZE") == 0
    do("SET", "text", "x")
    with client.pipeline(transaction=False) as pipe:
        for key in ("s", "text", "s"):
            pipe.execute_command("SPOP", key)
        first, wrong, last = pipe.execute(raise_on_error=False)
    assert (first, last) == (None, None)
    assert isinstance(wrong, redis.ResponseError)


def test_pipelined_adds(client: redis.Redis, do: Do, wire: Wire) -> None:
    do("SET", "text", "x")
    with client.pipeline(transaction=False) as pipe:
        for n in range(300):
            pipe.execute_command("SADD", f"s{n % 3}", n % 150)
        assert pipe.execute() == [1] * 150 + [0] * 150
        for key in ("s0", "text", "s3"):
            pipe.execute_command("SADD", key, "new")
        first, wrong, last = pipe.execute(raise_on_error=False)
    assert (first, last) == (1, 1)
    assert isinstance(wrong, redis.ResponseError)
    assert set(wire.call("SMEMBERS", "s1")) == {b"%d" % n for n in range(1, 150, 3)}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("SPOP s -1", "value is out of range, must be positive"),
        ("SPOP s x", "value is out of range, must be positive"),
        ("SPOP s 1 2", "syntax error"),
        ("SRANDMEMBER s x", "value is not an integer or out of range"),
        ("SRANDMEMBER s 1 2", "syntax error"),
        (
            f"SRANDMEMBER s -{2**63}",
            f"value is out of range, value must between -{2**63 - 1} and {2**63 - 1}",
        ),
        ("SINTERCARD 0 s", "numkeys should be greater than 0"),
        ("SINTERCARD x s", "numkeys should be greater than 0"),
        ("SINTERCARD 2 s", "Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 s LIMIT", "syntax error"),
        ("SINTERCARD 1 s LIMIT -1", "LIMIT can't be negative"),
        ("SINTERCARD 1 s LIMIT x", "LIMIT can't be negative"),
        ("SINTERCARD 1 s MAX 1", "syntax error"),
        ("SSCAN s x", "invalid cursor"),
        ("SSCAN s 0 COUNT 0", "syntax error"),
        ("SSCAN s 0 COUNT x", "value is not an integer or out of range"),
        ("SSCAN s 0 TYPE set", "syntax error"),
        ("SSCAN s 0 MATCH", "syntax error"),
    ],
)
def test_refusals(do: Do, line: str, error: str) -> None:
    do("SADD", "s", 1, 2, 3)
    with pytest.raises(redis.ResponseError) as raised:
        do(*line.split())
    assert str(raised.value) == error
    assert do("SCARD", "s") == 3


@pytest.mark.ours("Redis builds the reply until its memory is gone")
def test_srandmember_draws_no_more_than_a_reply_can_hold(do: Do) -> None:
    do("SADD", "s", 1)
    with pytest.raises(redis.ResponseError, match=r"^value is out of range$"):
        do("SRANDMEMBER", "s", -(2**62))


# Several sets


def test_smove(do: Do, wire: Wire) -> None:
    do("SADD", "s", 1, 2)
    do("SADD", "t", 2, "x")
    assert do("SMOVE", "s", "t", 9) == 0
    assert do("SMOVE", "s", "t", 1) == 1
    assert do("SMOVE", "s", "s", 2) == 1
    assert do("SMOVE", "s", "s", 9) == 0
    assert do("SMOVE", "s", "t", 2) == 1
    assert do("EXISTS", "s") == 0
    assert sorted(wire.call("SMEMBERS", "t")) == [b"1", b"2", b"x"]
    assert do("SMOVE", "t", "new", "x") == 1
    assert wire.call("SMEMBERS", "new") == [b"x"]
    do("SET", "text", "x")
    assert do("SMOVE", "none", "text", "x") == 0
    for wrong in (("t", "text", 9), ("text", "t", 1)):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            do("SMOVE", *wrong)


KINDS: dict[str, Callable[[random.Random], list[bytes]]] = {
    "numbers": lambda draw: [b"%d" % draw.randrange(40) for _ in range(20)],
    "words": lambda draw: [b"m%d" % draw.randrange(40) for _ in range(20)],
    "mixed": lambda draw: [draw.choice((b"%d", b"m%d")) % draw.randrange(40) for _ in range(30)],
    "many": lambda draw: [draw.choice((b"%d", b"m%d")) % n for n in range(500)],
}


@pytest.mark.parametrize("seed", range(15))
def test_algebra(wire: Wire, seed: int) -> None:
    draw = random.Random(seed)
    sets: dict[str, set[bytes]] = {"none": set()}
    for key, kind in enumerate(draw.choices(list(KINDS), k=5)):
        added = KINDS[kind](draw)
        sets[f"s{key}"] = set(added)
        wire.call("SADD", f"s{key}", *added)
    for _ in range(20):
        keys = draw.choices(list(sets), k=draw.randrange(1, 5))
        first, *others = (sets[key] for key in keys)
        expected = {
            "SINTER": first.intersection(*others),
            "SUNION": first.union(*others),
            "SDIFF": first.difference(*others),
        }
        for name, result in expected.items():
            found = wire.call(name, *keys)
            assert len(found) == len(result)
            assert set(found) == result
            assert wire.call(f"{name}STORE", "result", *keys) == len(result)
            assert set(wire.call("SMEMBERS", "result")) == result
            assert wire.call("EXISTS", "result") == bool(result)
        shared = len(expected["SINTER"])
        assert wire.call("SINTERCARD", len(keys), *keys) == shared
        assert wire.call("SINTERCARD", len(keys), *keys, "LIMIT", 0) == shared
        assert wire.call("SINTERCARD", len(keys), *keys, "limit", 2) == min(shared, 2)
        assert wire.call("SINTERCARD", len(keys), *keys, "LIMIT", 9, "LIMIT", 1) == min(shared, 1)


@pytest.mark.parametrize("name", ["SINTER", "SUNION", "SDIFF"])
def test_results_replace_what_was_there(do: Do, wire: Wire, name: str) -> None:
    do("SADD", "s", 1, 2, 3)
    for before in (("SET", "d", "text", "EX", 100), ("SADD", "d", 9), ("RPUSH", "d", 1)):
        do("DEL", "d")
        do(*before)
        assert do(f"{name}STORE", "d", "s") == 3
        assert wire.call("SMEMBERS", "d") == [b"1", b"2", b"3"]
        assert do("TTL", "d") == -1
        assert do(f"{name}STORE", "d", "none") == 0
        assert do("EXISTS", "d") == 0
    assert do(f"{name}STORE", "s", "s") == 3
    assert do("SCARD", "s") == 3


@pytest.mark.parametrize("name", ["SINTER", "SUNION", "SDIFF"])
def test_one_wrong_type_among_many(do: Do, name: str) -> None:
    do("SET", "text", "x")
    do("SADD", "d", 1)
    for keys in (("none", "text"), ("text", "none")):
        for command in ((name, *keys), (f"{name}STORE", "d", *keys)):
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                do(*command)
    assert do("SCARD", "d") == 1


# Scanning


def scan(wire: Wire, key: str, *options: object) -> tuple[list[bytes], int]:
    """All that SSCAN returns, and in how many calls."""
    cursor, found, calls = b"0", list[bytes](), 0
    while calls == 0 or cursor != b"0":
        cursor, some = wire.call("SSCAN", key, cursor, *map(str, options))
        found += some
        calls += 1
    return found, calls


def test_sscan_of_a_small_set_answers_at_once(wire: Wire) -> None:
    wire.call("SADD", "numbers", *range(500))
    assert scan(wire, "numbers", "COUNT", 1) == ([b"%d" % n for n in range(500)], 1)
    assert len(scan(wire, "numbers", "MATCH", "1*")[0]) == 111
    wire.call("SADD", "words", "a", "b", "ab")
    assert sorted(scan(wire, "words", "MATCH", "a*")[0]) == [b"a", b"ab"]
    assert scan(wire, "words", "match", "x") == ([], 1)


def test_sscan_returns_all_that_stays(wire: Wire) -> None:
    wire.call("SADD", "s", *members(3000))
    found, calls = scan(wire, "s")
    assert calls > 10
    assert set(found) == set(members(3000))
    assert len(set(scan(wire, "s", "MATCH", "member:1*", "COUNT", 100)[0])) == 1111
    assert scan(wire, "s", "COUNT", 100_000)[1] == 1
    cursor, seen, extra = b"0", set[bytes](), 0
    while True:
        cursor, some = wire.call("SSCAN", "s", cursor)
        seen.update(some)
        if cursor == b"0":
            break
        for _ in range(5):
            wire.call("SADD", "s", f"extra{extra}")
            wire.call("SREM", "s", f"member:{2000 + extra % 1000}")
            extra += 1
    assert set(members(2000)) <= seen


def test_sscan_of_nothing_looks_at_the_cursor_alone(do: Do, wire: Wire) -> None:
    assert wire.call("SSCAN", "none", "0", "nonsense") == [b"0", []]
    with pytest.raises(redis.ResponseError, match=r"^invalid cursor$"):
        do("SSCAN", "none", "x")


# Events


def test_events(do: Do, wire: Wire) -> None:
    wire.call("CONFIG", "SET", "notify-keyspace-events", "EA")
    wire.call("PSUBSCRIBE", "*")
    for words in (
        ("SADD", "s", 1, 2, 3, 4, 5),
        ("SADD", "s", 1),
        ("SREM", "s", 9),
        ("SREM", "s", 1),
        ("SPOP", "s"),
        ("SPOP", "s", 0),
        ("SPOP", "s", 2),
        ("SADD", "t", 9),
        ("SMOVE", "t", "t", 9),
        ("SMOVE", "t", "u", 9),
        ("SADD", "t", 9),
        ("SMOVE", "t", "u", 9),
        ("SUNIONSTORE", "d", "u"),
        ("SINTERSTORE", "d", "u"),
        ("SDIFFSTORE", "d", "u"),
        ("SDIFFSTORE", "d", "none"),
        ("SDIFFSTORE", "d", "none"),
        ("SPOP", "u", 9),
        ("SPOP", "s"),
        ("PUBLISH", "end", "end"),
    ):
        do(*words)
    told: list[Any] = []
    while not told or told[-1] != b"end end":
        message = wire.reply()
        assert isinstance(message, list)
        if message[0] == b"pmessage":
            channel, key = message[2:]
            assert isinstance(channel, bytes)
            assert isinstance(key, bytes)
            told.append(b"%b %b" % (channel.removeprefix(b"__keyevent@0__:"), key))
    assert told == [
        *(b"sadd s", b"srem s", b"spop s", b"spop s", b"sadd t", b"srem t", b"del t", b"sadd u"),
        *(b"sadd t", b"srem t", b"del t", b"sunionstore d", b"sinterstore d", b"sdiffstore d"),
        *(b"del d", b"spop u", b"del u", b"spop s", b"del s", b"end end"),
    ]


def test_what_changes_nothing_spoils_no_transaction(client: redis.Redis, do: Do) -> None:
    do("SADD", "s", 1)
    for harmless in (
        ("SADD", "s", 1),
        ("SREM", "s", 9),
        ("SMOVE", "s", "t", 9),
        ("SMOVE", "s", "s", 1),
        ("SPOP", "s", 0),
        ("SRANDMEMBER", "s"),
    ):
        with client.pipeline() as pipe:
            pipe.watch("s", "t")
            do(*harmless)
            pipe.multi()
            pipe.scard("s")
            assert pipe.execute() == [1]
    with client.pipeline() as pipe:
        pipe.watch("s")
        do("SADD", "s", 2)
        pipe.multi()
        pipe.scard("s")
        with pytest.raises(redis.WatchError):
            pipe.execute()
