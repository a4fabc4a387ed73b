"""Equal commands that arrive together and are run in one call: answered as if each came alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distcache_server import commands, connection, dispatch, turn
from distcache_server.registry import COMMANDS, Flag
from distcache_server.types.stream_id import SEQUENCE

from tests.support.resp import encode
from tests.unit.server.test_turn import House

commands.load()

NOW_NS = 1_800_000_000 * 10**9
TIMES = 3
KINDS = [
    ["SET", "k", "1"],
    ["RPUSH", "k", "1", "b", "c"],
    ["RPUSH", "k", *map(str, range(600))],
    ["HSET", "k", "1", "1"],
    ["SADD", "k", "1"],
    ["ZADD", "k", "1", "1"],
    ["XADD", "k", "1-1", "1", "1"],
]


def names() -> list[str]:
    """The commands of keys whose answers are no matter of chance or of time."""
    return [
        command.name
        for command in COMMANDS.values()
        if (command.flags & Flag.WRITE or (command.keys and command.flags & Flag.READONLY))
        and not command.flags & (Flag.ADMIN | Flag.BLOCKING)
        and not any(tip.startswith("nondeterministic") for tip in command.tips)
    ]


class Ways:
    """The same commands one by one, in a pipeline, and in one turn of the loop."""

    def __init__(self) -> None:
        self.alone, self.piped, self.spread = House(1), House(1), House(TIMES)

    def prepare(self, words: list[str]) -> None:
        for house in (self.alone, self.piped, self.spread):
            house(encode("FLUSHALL"))
            house(encode(*words))

    def __call__(self, words: list[str]) -> tuple[bytes, bytes, bytes]:
        given = encode(*words)
        one_by_one = [self.alone(given)[0] for _ in range(TIMES)]
        (piped,) = self.piped(given * TIMES)
        return b"".join(one_by_one), piped, b"".join(self.spread(*[given] * TIMES))


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with pytest.MonkeyPatch.context() as patch:
        # Time stands still, so that no key goes by a deadline of a millisecond.
        for module in (connection, dispatch, turn):
            patch.setattr(module, "time_ns", lambda: NOW_NS)
        yield Ways()


@pytest.mark.parametrize("name", names())
def test_a_run_is_answered_as_its_commands_are(ways: Ways, name: str) -> None:
    for width in range(1, COMMANDS[name].least + 3):
        for word in ("1", "k"):
            words = [name.upper(), "k", *[word] * (width - 2)][:width]
            for kind in KINDS:
                ways.prepare(kind)
                one_by_one, piped, spread = ways(words)
                assert (kind, words, piped) == (kind, words, one_by_one)
                assert (kind, words, spread) == (kind, words, one_by_one)
    stats = [
        [(it.calls, it.failed, it.rejected) for it in house.engine.stats.values()]
        for house in (ways.alone, ways.piped)
    ]
    assert stats[0] == stats[1]


@pytest.mark.parametrize("words", [["XADD", "k", "*"], ["XADD", "k", "*", "a"]])
def test_an_entry_without_words(ways: Ways, words: list[str]) -> None:
    ways.prepare(["XADD", "k", "1-1", "a", "b"])
    error = b"-ERR wrong number of arguments for 'xadd' command\r\n"
    assert ways(words) == (error * TIMES,) * 3


def test_a_stream_that_has_no_more_ids(ways: Ways) -> None:
    error = b"-ERR The stream has exhausted the last possible ID, unable to add more items\r\n"
    ways.prepare(["XADD", "k", f"{SEQUENCE}-{SEQUENCE}", "a", "b"])
    assert ways(["XADD", "k", "*", "a", "b"]) == (error * TIMES,) * 3


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("waiting", "given", "served"),
    [
        ("BZPOPMIN k 0", [["ZADD", "k", "5", "m"], ["ZADD", "k", "1", "m"]], b"5"),
        ("BLPOP k 0", [["RPUSH", "k", "1"], ["RPUSH", "k", "2"]], b"1"),
        ("XREAD BLOCK 0 STREAMS k $", [["XADD", "k", "*", "a", "1"]] * 2, b"1"),
    ],
)
def test_who_waits_is_served_between_the_commands_of_a_run(
    waiting: str, given: list[list[str]], served: bytes, together: bool
) -> None:
    house = House(3)
    house(encode(*waiting.split()))
    one, two = (encode(*words) for words in given)
    answers = house(b"", one, two) if together else house(b"", one + two, b"")
    added = b"".join(answers[1:])
    assert served in answers[0].split(b"\r\n")
    assert waiting.startswith("X") or added == b":1\r\n" * 2
