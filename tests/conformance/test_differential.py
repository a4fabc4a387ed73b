"""The same random commands to distcache and to a real Redis: every reply must be the same.

The words are drawn from the usage lines of the commands, right ones and wrong ones, on few keys of
all types, under RESP2 and RESP3, inside MULTI and outside, with and without deadlines.  What may
differ is listed here: what Redis itself leaves open (the order of sets and hashes, random members,
cursors), the time that passes between two calls, and what newer versions than the reference say
otherwise.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from distcache_server import commands
from distcache_server.registry import COMMANDS
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.support import Error, Map, Process, Server
from tests.support.fuzzing import fuzz_commands
from tests.support.usage import parsed, words

commands.load()

GROUPS = (
    "string",
    "bitmap",
    "hash",
    "list",
    "set",
    "sorted-set",
    "sorted_set",
    "hyperloglog",
    "geo",
    "generic",
)
LEFT_OUT = {
    "object": "encodings of 7.2",
    "wait": "waits",
    "waitaof": "newer than the reference",
    "scan": "cursors: tested on its own",
    "randomkey": "random",
    "spop": "random, so that the data would differ: see POP_ALL",
    "pfdebug": "internal",
    "pfselftest": "internal",
    "sort": "see SORTS: equal weights may come in any order",
    "sort_ro": "see SORTS",
    "keys": "see ALL_KEYS",
    "dump": "bytes of another version",
    "restore": "bytes of another version",
    "migrate": "needs another server",
}
NEWER_WORDS = {b"WITHSCORE", b"NOVALUES"}
NEWER_ARITY = {b"ZRANK": 3, b"ZREVRANK": 3}
"""Commands that take more words in 7.2 than in the reference."""
SORTS = [
    b"SORT list1 ALPHA",
    b"SORT list2 LIMIT 1 2 DESC",
    b"SORT set1 ALPHA LIMIT 0 10",
    b"SORT set2 BY nosort GET # GET s1",
    b"SORT zset1 ALPHA STORE list1",
    b"SORT zset2 BY nosort",
    b"SORT list1 BY s* GET hash*->a ALPHA",
    b"SORT s1",
    b"SORT missing STORE list2",
    b"SORT_RO list1 ALPHA DESC",
    b"SORT list1 LIMIT x 1",
]
OTHERS = [
    *SORTS,
    b"SPOP set1 100",
    b"SPOP set2 0",
    b"SPOP s1",
    b"SPOP missing",
    b"KEYS *",
    b"KEYS s*",
    b"KEYS [hl]*1",
    b"DBSIZE",
    b"SELECT 1",
    b"SELECT 0",
    b"SELECT 99",
    b"SWAPDB 0 1",
    b"FLUSHDB",
    b"MULTI",
    b"MULTI",
    b"EXEC",
    b"EXEC",
    b"EXEC",
    b"DISCARD",
    b"WATCH s1 list1",
    b"UNWATCH",
    b"PUBLISH news text",
    b"NOSUCH command here",
    b"ECHO a",
    b"PING",
    b"PING a b",
    b"COMMAND GETKEYS MSET a 1 b 2",
]
UNORDERED = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS", b"SPOP"}
RANDOM = {b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
SCANS = {b"SSCAN", b"HSCAN", b"ZSCAN"}
CLOCKS = {b"TTL": 2, b"PTTL": 2000, b"EXPIRETIME": 2, b"PEXPIRETIME": 2000}
FLOATING = {"sorted-set", "sorted_set", "geo"}

KEYS = {
    "string": [b"s1", b"s2", b"10"],
    "bitmap": [b"s1", b"s2"],
    "hash": [b"hash1", b"hash2"],
    "list": [b"list1", b"list2"],
    "set": [b"set1", b"set2", b"set3"],
    "sorted-set": [b"zset1", b"zset2", b"zset3"],
    "sorted_set": [b"zset1", b"zset2", b"zset3"],
    "hyperloglog": [b"hll1", b"hll2"],
    "geo": [b"geo1", b"geo2"],
}
ANY_KEY = [*{key for keys in KEYS.values() for key in keys}, b"missing", b""]
VALUES = [
    *(b"a", b"b", b"c", b"d", b"e", b"1", b"2", b"3", b"10", b"-5", b"0", b"", b"3.5", b"05"),
    *(b" 5", b"1e3", b"abcdefgh", b"x" * 80, b"\xff\x01\r\n", b"9223372036854775807", b"hello"),
]
INTEGERS = [b"0", b"1", b"2", b"3", b"-1", b"-2", b"5", b"100", b"-100"]
ODD = [b"", b"abc", b"1.5", b"9223372036854775808", b"-9223372036854775808", b"1_0", b"+1", b"nan"]
POOLS: dict[str, list[bytes]] = {
    "seconds": [b"100", b"1000", b"100000"],
    "milliseconds": [b"100000", b"1000000"],
    "unix-time-seconds": [b"33177117420", b"33177117421", b"1"],
    "unix-time-milliseconds": [b"33177117420000", b"33177117421000", b"1"],
    "offset": [b"0", b"1", b"7", b"8", b"100", b"-1", b"#1", b"536870912", b"4294967296"],
    "bit": [b"0", b"1", b"2"],
    "encoding": [b"u8", b"i8", b"u1", b"i64", b"u63", b"u64", b"i5"],
    "pattern": [b"*", b"a*", b"[ab]", b"?"],
    "cursor": [b"0"],
    "timeout": [b"0.01", b"-1", b"abc"],
    "score": [b"0", b"1", b"2", b"-1", b"1.5", b"2.25", b"inf", b"-inf", b"1e10"],
    "increment": [b"1", b"-1", b"2", b"1.5", b"0.1", b"1e3", b"9223372036854775807", b"3.0e3"],
    "decrement": [b"1", b"2", b"-9223372036854775808"],
    "min": [b"-inf", b"0", b"(1", b"1", b"-", b"[a", b"(b", b"+"],
    "max": [b"+inf", b"2", b"(2", b"1.5", b"+", b"[c", b"(d", b"-"],
    "weight": [b"1", b"2", b"0.5", b"-1", b"inf"],
    "longitude": [b"13.361389", b"15.087269", b"-122.4", b"0", b"181"],
    "latitude": [b"38.115556", b"37.502669", b"37.77", b"0", b"86"],
    "radius": [b"0", b"100", b"200", b"5000"],
    "width": [b"100", b"400", b"9000"],
    "height": [b"100", b"400", b"9000"],
    "db": [b"0", b"1", b"99"],
    "destination-db": [b"0", b"1", b"99"],
    "numkeys": [b"1", b"2", b"3"],
    "type": [b"string", b"list"],
}
KEY_NAMES = {"key", "key1", "key2", "newkey", "source", "destination", "destkey", "sourcekey"}
INTEGER_NAMES = {
    *("start", "stop", "end", "index", "count", "rank", "num-matches", "len", "min-match-len"),
    *("limit", "numfields"),
}


def chosen() -> list[tuple[str, str, list[Any]]]:
    """Name, group and parsed usage of the commands to send."""
    return [
        (name, command.group, parsed(command.usage))
        for name, command in sorted(COMMANDS.items())
        if command.group in GROUPS
        and name not in LEFT_OUT
        and tuple(map(int, command.since.split(".")[:2])) <= (7, 0)
    ]


CHOSEN = chosen()


def drawn(random: Random) -> list[bytes]:
    """A command: mostly right, sometimes with a word too many, too few, or another."""
    if random.random() < 0.12:
        return random.choice(OTHERS).split()
    _, group, items = random.choice(CHOSEN)

    def fill(name: str) -> bytes:
        if random.random() < 0.03 and name != "timeout":
            return random.choice(ODD)
        if name in KEY_NAMES:
            return random.choice(KEYS.get(group, ANY_KEY) if random.random() < 0.9 else ANY_KEY)
        if name in POOLS:
            return random.choice(POOLS[name])
        return random.choice(INTEGERS if name in INTEGER_NAMES else VALUES)

    made = words(items, fill, random)
    if random.random() < 0.05:
        at = random.randrange(1, len(made) + 1)
        made[at:at] = [random.choice(VALUES)]
    if random.random() < 0.05 and len(made) > 1:
        del made[random.randrange(1, len(made))]
    if made[0] in NEWER_ARITY:
        made = made[: NEWER_ARITY[made[0]]]
    return [word for word in made if word not in NEWER_WORDS]


def plain(reply: Any) -> str:
    """A form that keeps the types apart and can be sorted."""
    return repr(reply)


def numbers(reply: Any) -> Any:
    """The reply with its numbers as floats: 7.0 prints 17 digits, 7.2 the shortest that do."""
    if isinstance(reply, list):
        return [numbers(each) for each in reply]
    if type(reply) is bytes:
        try:
            return float(reply)
        except ValueError:
            return reply
    return reply


def comparable(command: list[bytes], reply: Any) -> Any:
    """What of a reply has to be the same."""
    name = command[0].upper() if command else b""
    if isinstance(reply, Error) or reply is None or reply == b"QUEUED":
        return plain(reply)
    if name in RANDOM:
        return type(reply).__name__, len(reply) if isinstance(reply, list) else None
    if name in SCANS and isinstance(reply, list):
        # A hash table of Redis answers in parts: then only that it answers counts.
        entries = numbers(reply[1]) if name == b"ZSCAN" else reply[1]
        return sorted(map(plain, entries)) if reply[0] == b"0" else None
    if isinstance(reply, Map):
        return sorted(map(plain, reply))
    if name == b"HGETALL":
        return sorted(zip(map(plain, reply[::2]), map(plain, reply[1::2]), strict=True))
    if name in UNORDERED and isinstance(reply, list | set | frozenset):
        return sorted(map(plain, reply))
    if name.startswith(b"SORT") and b"nosort" in command and isinstance(reply, list):
        return sorted(map(plain, reply))
    known = COMMANDS.get(name.decode("latin-1").lower())
    if known is not None and known.group in FLOATING:
        return plain(numbers(reply))
    return plain(reply)


class Differential(RuleBasedStateMachine):
    """Two servers that are told the same."""

    ours: Server
    theirs: Server
    sent: Counter[str]

    @initialize(protocol=st.sampled_from((2, 3)))
    def connect(self, protocol: int) -> None:
        self.wires = [self.ours.wire(), self.theirs.wire()]
        for wire in self.wires:
            wire.call("FLUSHALL")
            wire.call("HELLO", protocol)
        self.queue: list[list[bytes]] | None = None

    @rule(seed=st.integers(0, 2**32))
    def send(self, seed: int) -> None:
        command = drawn(Random(seed))
        for wire in self.wires:
            wire.command(*command)
        mine, other = (wire.reply() for wire in self.wires)
        self.sent[command[0].decode("latin-1").lower()] += 1
        self.compare(command, mine, other)

    def compare(self, command: list[bytes], mine: Any, other: Any) -> None:
        name = command[0].upper()
        if name == b"EXEC" and isinstance(other, list) and self.queue is not None:
            assert isinstance(mine, list), (self.queue, mine, other)
            for queued, one, two in zip(self.queue, mine, other, strict=True):
                self.compare(queued, one, two)
        elif name in CLOCKS and isinstance(other, int) and isinstance(mine, int):
            assert abs(mine - other) <= CLOCKS[name], (command, mine, other)
        else:
            one, two = comparable(command, mine), comparable(command, other)
            assert one == two or None in (one, two), (command, mine, other)
        if name == b"MULTI" and other == b"OK":
            self.queue = []
        elif name in (b"EXEC", b"DISCARD"):
            self.queue = None
        elif other == b"QUEUED" and self.queue is not None:
            self.queue.append(command)

    def teardown(self) -> None:
        for wire in getattr(self, "wires", ()):
            wire.close()


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_every_reply_is_that_of_redis(
    server: Server, reference: Process, record_property: Any
) -> None:
    steps = 100
    sent: Counter[str] = Counter()
    run_state_machine_as_test(
        type("Machine", (Differential,), {"ours": server, "theirs": reference, "sent": sent}),
        settings=settings(
            max_examples=fuzz_commands(20_000) // steps * 11 // 10 + 1,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )
    total = sum(sent.values())
    missing = {name for name, _, _ in CHOSEN} - set(sent)
    record_property(
        "summary",
        f"differential: {total} commands, {len(sent)} different ones, none unexplained",
    )
    assert not missing or total < 10_000, f"never sent: {sorted(missing)}"
