"""The list commands; those that wait are in tests/blackbox/test_blocking.py."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

Do = Callable[..., Any]

COMMANDS = [
    *("LPUSH k a", "RPUSH k a", "LPUSHX k a", "RPUSHX k a", "LPOP k", "LPOP k 2", "RPOP k"),
    *("RPOP k 2", "LLEN k", "LRANGE k 0 -1", "LINDEX k 0", "LPOS k a", "LSET k 0 a"),
    *("LINSERT k BEFORE a b", "LREM k 0 a", "LTRIM k 0 -1", "LMOVE k l LEFT RIGHT"),
    *("RPOPLPUSH k l", "LMPOP 1 k LEFT", "LMPOP 2 missing k RIGHT COUNT 2"),
]
FEWEST = {"LPOP": 2, "RPOP": 2, "LPOS": 3, "LMPOP": 4}
"""Words, of commands that take more."""
EXACT = ("LLEN", "LRANGE", "LINDEX", "LSET", "LINSERT", "LREM", "LTRIM", "LMOVE", "RPOPLPUSH")


@pytest.fixture
def do(client: redis.Redis) -> Do:
    """Sends a command; the reply as it came, not as redis-py would turn it."""
    client.response_callbacks.clear()
    return client.execute_command


def fill(do: Do, key: str, count: int) -> list[bytes]:
    """A list of so many elements."""
    values = [b"value:%d" % n for n in range(count)]
    for start in range(0, count, 1000):
        do("RPUSH", key, *values[start : start + 1000])
    return values


def everything(do: Do, key: str) -> Any:
    return do("LRANGE", key, 0, -1)


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_type(do: Do, line: str) -> None:
    do("SET", "k", "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        do(*line.split())
    assert do("GET", "k") == b"text"


@pytest.mark.parametrize("line", COMMANDS)
def test_wrong_arity(do: Do, line: str) -> None:
    words = line.split()
    for count in range(1, FEWEST.get(words[0], len(words))):
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words[:count])
    if words[0] in EXACT:
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            do(*words, "more")


def test_missing_keys(do: Do) -> None:
    assert do("LPUSHX", "k", "a") == 0
    assert do("RPUSHX", "k", "a") == 0
    assert do("LPOP", "k") is None
    assert do("RPOP", "k") is None
    assert do("LPOP", "k", 3) is None
    assert do("RPOP", "k", 0) is None
    assert do("LLEN", "k") == 0
    assert do("LRANGE", "k", 0, -1) == []
    assert do("LINDEX", "k", "no number") is None
    assert do("LPOS", "k", "a") is None
    assert do("LPOS", "k", "a", "COUNT", 2) == []
    assert do("LINSERT", "k", "AFTER", "a", "b") == 0
    assert do("LREM", "k", 0, "a") == 0
    assert do("LTRIM", "k", 0, 1) == b"OK"
    assert do("LMOVE", "k", "l", "LEFT", "LEFT") is None
    assert do("RPOPLPUSH", "k", "l") is None
    assert do("LMPOP", 2, "k", "l", "LEFT") is None
    with pytest.raises(redis.ResponseError, match="no such key"):
        do("LSET", "k", "no number", "a")
    assert do("EXISTS", "k", "l") == 0


def test_pushing_several_leaves_the_last_one_outermost(do: Do) -> None:
    assert do("RPUSH", "k", "a", "b", "c") == 3
    assert do("LPUSH", "k", "1", "2", "3") == 6
    assert do("LPUSHX", "k", "x", "y") == 8
    assert do("RPUSHX", "k", "z") == 9
    assert everything(do, "k") == [b"y", b"x", b"3", b"2", b"1", b"a", b"b", b"c", b"z"]
    assert do("LLEN", "k") == 9


@pytest.mark.parametrize("count", [1, 5, 3000])
def test_popping(do: Do, count: int) -> None:
    values = fill(do, "k", count)
    assert [do("LPOP", "k") for _ in range(count)] == values
    assert do("EXISTS", "k") == 0
    fill(do, "k", count)
    assert [do("RPOP", "k") for _ in range(count)] == values[::-1]
    assert do("EXISTS", "k") == 0


def test_popping_several(do: Do) -> None:
    values = fill(do, "k", 5000)
    assert do("LPOP", "k", 0) == []
    assert do("RPOP", "k", 0) == []
    assert do("LPOP", "k", 1) == values[:1]
    assert do("LPOP", "k", 2000) == values[1:2001]
    assert do("RPOP", "k", 2) == [values[4999], values[4998]]
    assert do("RPOP", "k", 2**63 - 1) == values[2001:4998][::-1]
    assert do("EXISTS", "k") == 0


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "9223372036854775808", ""])
def test_the_count_of_a_pop_must_be_positive(do: Do, count: str) -> None:
    fill(do, "k", 3)
    for name in ("LPOP", "RPOP"):
        with pytest.raises(redis.ResponseError, match="out of range, must be positive"):
            do(name, "k", count)
        with pytest.raises(redis.ResponseError, match=f"arguments for '{name.lower()}'"):
            do(name, "k", 1, 1)
    assert do("LLEN", "k") == 3


def test_ranges(do: Do) -> None:
    values = fill(do, "k", 5000)
    edges = [0, 1, 2, 700, 2500, 4000, 4998, 4999, 5000, 6000, 2**62]
    for start in [*edges, *(-edge for edge in edges)]:
        for stop in [*edges, *(-edge for edge in edges)]:
            first = max(start + 5000, 0) if start < 0 else start
            last = stop + 5000 if stop < 0 else stop
            expected = values[first : last + 1] if last >= 0 else []
            assert do("LRANGE", "k", start, stop) == expected, (start, stop)


@pytest.mark.parametrize("line", ["LRANGE k {} 1", "LRANGE k 1 {}", "LTRIM k {} 1", "LTRIM k 1 {}"])
def test_ends_of_ranges_are_integers(do: Do, line: str) -> None:
    for key in ("k", "missing"):
        fill(do, "k", 3)
        for word in ("x", "1.0", "9223372036854775808", "+1", "01"):
            with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
                do(*line.format(word).replace("k", key, 1).split())


def test_elements_of_all_lengths(do: Do) -> None:
    values = [b"x" * size for size in (0, 1, 63, 64, 1023, 1024, 5000)] + [b"\r\n", b"\0", b"17"]
    do("RPUSH", "k", *values)
    assert everything(do, "k") == values
    assert [do("LINDEX", "k", at) for at in range(len(values))] == values


def test_index(do: Do) -> None:
    values = fill(do, "k", 5000)
    for at in (0, 1, 1024, 2500, 4999):
        assert do("LINDEX", "k", at) == values[at]
        assert do("LINDEX", "k", at - 5000) == values[at]
    assert do("LINDEX", "k", 5000) is None
    assert do("LINDEX", "k", -5001) is None
    with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
        do("LINDEX", "k", "1.5")


def test_set(do: Do) -> None:
    values = fill(do, "k", 5000)
    for at in (0, 1024, 2500, 4999, -1, -4000):
        values[at] = b"new:%d" % at
        assert do("LSET", "k", at, values[at]) == b"OK"
    assert everything(do, "k") == values
    for at in (5000, -5001):
        with pytest.raises(redis.ResponseError, match="index out of range"):
            do("LSET", "k", at, "x")
    with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
        do("LSET", "k", "x", "x")


def test_insert(do: Do) -> None:
    do("RPUSH", "k", "a", "b", "c", "b")
    assert do("LINSERT", "k", "before", "b", "x") == 5
    assert do("LINSERT", "k", "AFTER", "b", "y") == 6
    assert do("LINSERT", "k", "BEFORE", "a", "z") == 7
    assert do("LINSERT", "k", "AFTER", "missing", "y") == -1
    assert everything(do, "k") == [b"z", b"a", b"x", b"b", b"y", b"c", b"b"]
    with pytest.raises(redis.ResponseError, match="syntax error"):
        do("LINSERT", "k", "BESIDE", "a", "b")
    with pytest.raises(redis.ResponseError, match="syntax error"):
        do("LINSERT", "missing", "BESIDE", "a", "b")


def test_insert_into_a_long_list(do: Do) -> None:
    values = fill(do, "k", 4000)
    for at in (3, 1500, 3990):
        for _ in range(3):
            do("LINSERT", "k", "AFTER", values[at], f"after:{at}")
            values.insert(at + 1, b"after:%d" % at)
    assert everything(do, "k") == values


@pytest.mark.parametrize(
    ("count", "removed", "left"),
    [
        (0, 3, "b c"),
        (1, 1, "b a c a"),
        (2, 2, "b c a"),
        (9, 3, "b c"),
        (-1, 1, "a b a c"),
        (-2, 2, "a b c"),
        (-9, 3, "b c"),
    ],
)
def test_remove(do: Do, count: int, removed: int, left: str) -> None:
    do("RPUSH", "k", "a", "b", "a", "c", "a")
    assert do("LREM", "k", count, "a") == removed
    assert everything(do, "k") == left.encode().split()
    assert do("LREM", "k", count, "missing") == 0


def test_removing_the_last_element_removes_the_list(do: Do) -> None:
    for words in (
        ("LREM", "k", 0, "a"),
        ("LTRIM", "k", 5, 9),
        ("LTRIM", "k", 1, 0),
        ("LMOVE", "k", "l", "LEFT", "LEFT"),
        ("RPOPLPUSH", "k", "l"),
        ("LMPOP", 1, "k", "RIGHT"),
    ):
        do("RPUSH", "k", "a")
        do(*words)
        assert do("EXISTS", "k") == 0, words


def test_remove_needs_a_number(do: Do) -> None:
    for key in ("k", "missing"):
        with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
            do("LREM", key, "x", "a")


def test_trim(do: Do) -> None:
    values = fill(do, "k", 5000)
    for start, stop in ((0, -1), (1, 4998), (10, -20), (0, 4000), (-3000, 2**62), (1500, 1502)):
        size = len(values)
        first = start if start >= 0 else size + start
        last = stop if stop >= 0 else size + stop
        values = values[first : last + 1]
        assert do("LTRIM", "k", start, stop) == b"OK"
        assert everything(do, "k") == values
        assert do("LLEN", "k") == len(values)
    assert do("LTRIM", "k", 3, 9) == b"OK"
    assert do("EXISTS", "k") == 0


def test_a_list_that_is_kept_short_by_trimming(do: Do) -> None:
    for n in range(300):
        do("LPUSH", "k", n)
        do("LTRIM", "k", 0, 99)
    assert everything(do, "k") == [b"%d" % n for n in range(299, 199, -1)]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", 0),
        ("RANK 2", 2),
        ("rank -1", 6),
        ("RANK -2", 4),
        ("RANK 5", None),
        ("COUNT 0", [0, 2, 4, 6]),
        ("COUNT 2", [0, 2]),
        ("COUNT 9 RANK 3", [4, 6]),
        ("RANK -1 COUNT 3", [6, 4, 2]),
        ("COUNT 0 MAXLEN 3", [0, 2]),
        ("MAXLEN 1 RANK -1", 6),
        ("MAXLEN 1 RANK 2", None),
        ("COUNT 0 MAXLEN 3 RANK -1", [6, 4]),
        ("MAXLEN 0", 0),
        ("RANK 1 RANK 2", 2),
    ],
)
def test_positions(do: Do, options: str, found: object) -> None:
    do("RPUSH", "k", *"axaxaxa")
    assert do("LPOS", "k", "a", *options.split()) == found


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("RANK 0", "RANK can't be zero: use 1 to start from the first match"),
        ("RANK x", "not an integer or out of range"),
        ("COUNT -1", "COUNT can't be negative"),
        ("COUNT x", "COUNT can't be negative"),
        ("MAXLEN -1", "MAXLEN can't be negative"),
        ("RANK", "syntax error"),
        ("NEAR 1", "syntax error"),
    ],
)
def test_bad_options_of_lpos(do: Do, options: str, error: str) -> None:
    for key in ("k", "missing"):
        with pytest.raises(redis.ResponseError, match=error):
            do("LPOS", key, "a", *options.split())


@pytest.mark.since("7.2")
def test_the_least_rank_of_all(do: Do) -> None:
    with pytest.raises(redis.ResponseError, match="value must between -9223372036854775807 and"):
        do("LPOS", "k", "a", "RANK", -(2**63))


def test_positions_in_a_long_list(do: Do) -> None:
    values = fill(do, "k", 4000)
    do("RPUSH", "k", *values[:2000])
    assert do("LPOS", "k", values[1500]) == 1500
    assert do("LPOS", "k", values[1500], "RANK", -1) == 5500
    assert do("LPOS", "k", values[1500], "COUNT", 0) == [1500, 5500]
    assert do("LPOS", "k", values[1500], "COUNT", 0, "RANK", -1, "MAXLEN", 4500) == [5500, 1500]
    assert do("LPOS", "k", values[1500], "MAXLEN", 1500) is None
    assert do("LPOS", "k", values[1500], "MAXLEN", 1501) == 1500


@pytest.mark.parametrize("start", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("end", ["left", "Right"])
def test_move(do: Do, start: str, end: str) -> None:
    do("RPUSH", "k", "a", "b", "c")
    do("RPUSH", "l", "x", "y")
    moved = b"a" if start == "LEFT" else b"c"
    assert do("LMOVE", "k", "l", start, end) == moved
    assert everything(do, "k") == ([b"b", b"c"] if start == "LEFT" else [b"a", b"b"])
    assert everything(do, "l") == ([moved, b"x", b"y"] if end == "left" else [b"x", b"y", moved])


def test_moving_within_a_list_turns_it(do: Do) -> None:
    do("RPUSH", "k", "a", "b", "c")
    assert do("RPOPLPUSH", "k", "k") == b"c"
    assert do("LMOVE", "k", "k", "LEFT", "RIGHT") == b"c"
    assert do("LMOVE", "k", "k", "LEFT", "LEFT") == b"a"
    assert everything(do, "k") == [b"a", b"b", b"c"]
    do("RPUSH", "single", "x")
    assert do("RPOPLPUSH", "single", "single") == b"x"
    assert everything(do, "single") == [b"x"]


def test_moving_to_a_key_of_another_type_changes_nothing(do: Do) -> None:
    do("RPUSH", "k", "a")
    do("SET", "s", "text")
    for words in (("LMOVE", "k", "s", "LEFT", "LEFT"), ("RPOPLPUSH", "k", "s")):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            do(*words)
    assert everything(do, "k") == [b"a"]
    # With nothing to move, nobody looks at where it would go.
    assert do("LMOVE", "missing", "s", "LEFT", "LEFT") is None


def test_move_knows_two_ends(do: Do) -> None:
    for ends in (("UP", "LEFT"), ("LEFT", "DOWN")):
        with pytest.raises(redis.ResponseError, match="syntax error"):
            do("LMOVE", "missing", "l", *ends)


def test_popping_from_one_of_several(do: Do) -> None:
    do("RPUSH", "k", "a", "b", "c")
    do("RPUSH", "l", "x", "y")
    assert do("LMPOP", 2, "missing", "k", "LEFT") == [b"k", [b"a"]]
    assert do("LMPOP", 3, "missing", "l", "k", "right", "count", 10) == [b"l", [b"y", b"x"]]
    assert do("EXISTS", "l") == 0
    assert do("LMPOP", 2, "l", "k", "RIGHT", "COUNT", 1) == [b"k", [b"c"]]
    assert everything(do, "k") == [b"b"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("0 k LEFT", "numkeys should be greater than 0"),
        ("-1 k LEFT", "numkeys should be greater than 0"),
        ("x k LEFT", "numkeys should be greater than 0"),
        ("2 k LEFT", "syntax error"),
        ("9223372036854775807 k LEFT", "syntax error"),
        ("1 k UP", "syntax error"),
        ("1 k UP COUNT 0", "syntax error"),
        ("1 k LEFT COUNT", "syntax error"),
        ("1 k LEFT COUNT 0", "count should be greater than 0"),
        ("1 k LEFT COUNT x", "count should be greater than 0"),
        ("1 k LEFT COUNT 1 COUNT 2", "syntax error"),
        ("1 k LEFT LIMIT 1", "syntax error"),
    ],
)
def test_bad_words_of_lmpop(do: Do, line: str, error: str) -> None:
    fill(do, "k", 3)
    with pytest.raises(redis.ResponseError, match=error):
        do("LMPOP", *line.split())
    assert do("LLEN", "k") == 3


def test_pipelines_of_one_command(client: redis.Redis) -> None:
    """Runs of the same command have a way of their own, with the same replies."""
    pipe = client.pipeline(transaction=False)
    for n in range(2500):
        pipe.execute_command("RPUSH", "k", n)
    assert pipe.execute() == list(range(1, 2501))
    for n in range(2500):
        pipe.execute_command("LPUSH", "k", n)
    assert pipe.execute() == list(range(2501, 5001))
    for _ in range(2500):
        pipe.execute_command("LPOP", "k")
    assert pipe.execute() == [b"%d" % n for n in range(2499, -1, -1)]
    for _ in range(2502):
        pipe.execute_command("RPOP", "k")
    assert pipe.execute() == [*(b"%d" % n for n in range(2499, -1, -1)), None, None]
    for n in range(300):
        pipe.execute_command("RPUSH", f"list:{n % 3}", n)
    assert pipe.execute() == [n // 3 + 1 for n in range(300)]
    client.execute_command("SET", "text", "x")
    for _ in range(3):
        pipe.execute_command("RPUSH", "text", "a")
    replies = pipe.execute(raise_on_error=False)
    assert all("WRONGTYPE" in str(reply) for reply in replies)


# Encodings, as Redis has had them since 7.2


def encoding(do: Do, key: str = "k") -> bytes:
    found: bytes = do("OBJECT", "ENCODING", key)
    return found


@pytest.mark.since("7.2")
@pytest.mark.parametrize(
    ("limit", "value", "most"),
    [
        (-1, b"x" * 30, 127),
        (-2, b"x" * 30, 255),
        (-2, b"12345", 2046),
        (-5, b"x" * 1000, 65),
        (3, b"x", 3),
        (100, b"x" * 1000, 8),
        (0, b"x", 1),
    ],
)
def test_a_list_outgrows_its_listpack(do: Do, limit: int, value: bytes, most: int) -> None:
    do("CONFIG", "SET", "list-max-listpack-size", limit)
    for _ in range(most):
        do("RPUSH", "k", value)
    assert encoding(do) == b"listpack"
    do("LPUSH", "k", value)
    assert encoding(do) == b"quicklist"


@pytest.mark.since("7.2")
def test_a_list_shrinks_to_a_listpack_at_half_the_limit(do: Do) -> None:
    do("CONFIG", "SET", "list-max-listpack-size", 8)
    shrinkers: list[list[tuple[Any, ...]]] = [
        [("LPOP", "k"), ("RPOP", "k", 5)],
        [("LREM", "k", 1, "c"), ("LREM", "k", 5, "a")],
        [("LTRIM", "k", 0, 8), ("LTRIM", "k", 2, 5)],
        [("LMOVE", "k", "l", "LEFT", "LEFT"), ("LMPOP", 1, "k", "LEFT", "COUNT", 5)],
    ]
    for first, second in shrinkers:
        do("DEL", "k")
        do("RPUSH", "k", *"aaaaabbbbc")
        assert encoding(do) == b"quicklist"
        do(*first)
        assert encoding(do) == b"quicklist", first
        do(*second)
        assert do("LLEN", "k") == 4
        assert encoding(do) == b"listpack", second


@pytest.mark.since("7.2")
def test_large_elements_change_the_encoding(do: Do) -> None:
    large = "x" * 9000
    do("RPUSH", "k", "a", "b")
    do("LSET", "k", 0, large)
    assert encoding(do) == b"quicklist"
    do("LSET", "k", 0, "a")
    assert encoding(do) == b"listpack"
    # It is made ready for the element before the pivot is looked for.
    do("LINSERT", "k", "BEFORE", "missing", large)
    assert encoding(do) == b"quicklist"
    do("LPOP", "k")
    assert encoding(do) == b"listpack"
    do("RPUSH", "l", large)
    do("LMOVE", "l", "k", "LEFT", "RIGHT")
    assert encoding(do) == b"quicklist"


@pytest.mark.since("7.2")
def test_a_copy_has_the_encoding_of_the_list(do: Do) -> None:
    do("CONFIG", "SET", "list-max-listpack-size", 4)
    do("RPUSH", "k", *"abcde")
    do("RPOP", "k")
    do("COPY", "k", "l")
    assert encoding(do, "k") == encoding(do, "l") == b"quicklist"
    do("CONFIG", "SET", "list-max-listpack-size", 100)
    do("LPUSH", "l", "more")
    assert everything(do, "k") == [b"a", b"b", b"c", b"d"]
    assert everything(do, "l") == [b"more", b"a", b"b", b"c", b"d"]


# Events


EVENTS = {
    "RPUSH k a": ["rpush k"],
    "LPUSH k x y": ["lpush k"],
    "LPUSHX k z": ["lpush k"],
    "RPUSHX missing z": [],
    "LSET k 0 w": ["lset k"],
    "LINSERT k BEFORE x v": ["linsert k"],
    "LINSERT k BEFORE missing v": [],
    "LREM k 0 v": ["lrem k"],
    "LREM k 0 missing": [],
    "LTRIM k 0 2": ["ltrim k"],
    "LMOVE k l LEFT RIGHT": ["rpush l", "lpop k"],
    "RPOPLPUSH k l": ["lpush l", "rpop k"],
    "LMPOP 2 missing k RIGHT": ["rpop k", "del k"],
    "LPOP l": ["lpop l"],
    "RPOP l 5": ["rpop l", "del l"],
    "RPOP l": [],
}


def test_events(client: redis.Redis) -> None:
    client.execute_command("CONFIG", "SET", "notify-keyspace-events", "Elg")
    with client.pubsub() as pubsub:
        pubsub.psubscribe("__keyevent@*")
        assert pubsub.get_message(timeout=20)
        for line, expected in EVENTS.items():
            client.execute_command(*line.split())
            client.execute_command("PUBLISH", "__keyevent@end", "")
            seen = []
            while (message := pubsub.get_message(timeout=20)) and message["data"]:
                event = message["channel"].decode().partition(":")[2]
                seen.append(f"{event} {message['data'].decode()}")
            assert seen == expected, line


def test_a_change_fails_transactions_and_a_miss_does_not(client: redis.Redis, do: Do) -> None:
    lines = ["RPUSH k a b c d e f", *(line for line in EVENTS if "k" in line.split())]
    for line in lines:
        changes = bool(EVENTS.get(line, ["rpush k"]))
        with client.pipeline() as pipe:
            pipe.watch("k")
            do(*line.split())
            pipe.multi()
            pipe.ping()
            try:
                pipe.execute()
            except redis.WatchError:
                assert changes, line
            else:
                assert not changes, line
