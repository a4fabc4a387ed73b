"""Random commands, right ones and wrong ones, on few keys of all types.

The words are drawn from the usage lines of the commands: options in any order, more than once and
in any case, numbers of keys and weights that mostly fit.  SORT, large values, settings that change
encodings, and what has no usage line worth drawing from are made here.
"""

from __future__ import annotations

from random import Random
from typing import Any

from distcache_server import commands
from distcache_server.registry import COMMANDS

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
    "stream",
    "generic",
)
LEFT_OUT = {
    "object": "see encodings()",
    "wait": "waits",
    "waitaof": "newer than the reference",
    "scan": "cursors: tested on its own",
    "randomkey": "random",
    "spop": "random, so that the data would differ: see OTHERS",
    "pfdebug": "internal",
    "pfselftest": "internal",
    "sort": "see sorts()",
    "sort_ro": "see sorts()",
    "keys": "see OTHERS",
    "dump": "bytes of another version: see exchange",
    "restore": "see exchange",
    "migrate": "needs another server",
}
CONTAINERS = {"xgroup", "xinfo"}
"""Commands whose subcommands are sent."""
NEWER_WORDS = {b"WITHSCORE", b"NOVALUES", b"NOSCORES"}
NEWER_ARITY = {b"ZRANK": 3, b"ZREVRANK": 3}
"""Commands that take more words in 7.2 than in the reference."""

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
    "stream": [b"x1", b"x2"],
}
ANY_KEY = [*{key: None for keys in KEYS.values() for key in keys}, b"missing", b""]
VALUES = [
    *(b"a", b"b", b"c", b"d", b"e", b"1", b"2", b"3", b"10", b"-5", b"0", b"", b"3.5", b"05"),
    *(b" 5", b"1e3", b"abcdefgh", b"x" * 80, b"\xff\x01\r\n", b"9223372036854775807", b"hello"),
]
INTEGERS = [b"0", b"1", b"2", b"3", b"-1", b"-2", b"5", b"100", b"-100"]
ODD = [b"", b"abc", b"1.5", b"9223372036854775808", b"-9223372036854775808", b"1_0", b"+1", b"nan"]
SCORES = [b"0", b"1", b"2", b"-1", b"1.5", b"2.25", b"inf", b"-inf", b"1e10", b"+2", b"(1"]
FROM = [b"-inf", b"0", b"(1", b"1", b"-", b"[a", b"(b", b"+", b"[", b"(", b"(-inf"]
TO = [b"+inf", b"2", b"(2", b"1.5", b"+", b"[c", b"(d", b"-", b"inf", b"[1"]
DISTANCES = [b"0", b"100", b"200", b"5000", b"0.5", b"100000000", b"-1"]
POOLS: dict[str, list[bytes]] = {
    "seconds": [b"100", b"1000", b"100000", b"0", b"-1", b"9223372036854775", b"33177117420"],
    "milliseconds": [b"100000", b"1000000", b"0", b"-1000", b"9223372036854775807"],
    "unix-time-seconds": [
        b"33177117420",
        b"33177117421",
        b"1",
        b"0",
        b"-1",
        b"9223372036854775807",
    ],
    "unix-time-milliseconds": [b"33177117420000", b"33177117421000", b"1", b"0", b"-5"],
    "offset": [b"0", b"1", b"7", b"8", b"100", b"-1", b"#1", b"536870912", b"4294967296", b"#0"],
    "bit": [b"0", b"1", b"2"],
    "encoding": [b"u8", b"i8", b"u1", b"i64", b"u63", b"u64", b"i5", b"i0", b"i65", b"u0", b"i16"],
    "pattern": [b"*", b"a*", b"[ab]", b"?"],
    "cursor": [b"0"],
    "timeout": [b"0.01", b"-1", b"abc", b"0.001", b"1e-3"],
    "score": SCORES,
    "increment": [b"1", b"-1", b"2", b"1.5", b"0.1", b"1e3", b"9223372036854775807", b"3.0e3"],
    "decrement": [b"1", b"2", b"-9223372036854775808"],
    "min": FROM,
    "max": TO,
    "weight": [b"1", b"2", b"0.5", b"-1", b"inf", b"-inf", b"0", b"nan", b"x"],
    "longitude": [b"13.361389", b"15.087269", b"-122.4", b"0", b"181", b"-180", b"180", b"13.5"],
    "latitude": [b"38.115556", b"37.502669", b"37.77", b"0", b"86", b"85.05", b"-85.05", b"38"],
    "radius": DISTANCES,
    "width": DISTANCES,
    "height": DISTANCES,
    "db": [b"0", b"1", b"99", b"-1"],
    "destination-db": [b"0", b"1", b"99", b"-1"],
    "numkeys": [b"1", b"2", b"3", b"0", b"-1"],
    "type": [b"string", b"list"],
}
STREAM_IDS = [*(b"%d-%d" % (ms, ms % 3) for ms in range(1, 90, 4)), b"7", b"0-0"]
NEW_IDS = [*(b"%d-*" % ms for ms in range(0, 90, 5)), *STREAM_IDS]
"""What is added needs an id that does not depend on the clock."""
STREAM_BOUNDS = [b"-", b"+", b"(9-0", b"(", *STREAM_IDS]
STREAM_POOLS: dict[str, list[bytes]] = {
    **dict.fromkeys(("id", "lastid", "last-id", "max-deleted-id"), STREAM_IDS),
    **dict.fromkeys(("start", "end"), STREAM_BOUNDS),
    "threshold": [b"0", b"1", b"3", b"10", b"30", b"50-1"],
    "*": NEW_IDS,
    "$": [b"$"],
    "=": [b"="],
    "~": [b"~"],
    "group": [b"g", b"h"],
    "consumer": [b"a", b"b"],
    "milliseconds": [b"1"],
    "min-idle-time": [b"0", b"0", b"100000000", b"-1"],
    "ms": [b"0", b"1000000000", b"-1"],
    "unix-time-milliseconds": [b"0", b"1000", b"33177117420000"],
    "entries-added": [b"0", b"10", b"100", b"-5"],
    "entries-read": [b"0", b"3", b"100", b"-1", b"-2"],
    "field": [b"a", b"b", b"c"],
}
OF_GROUP: dict[tuple[str, str], list[bytes]] = {
    ("bitmap", "value"): [b"0", b"1", b"-1", b"255", b"256", b"-129", b"9223372036854775807"],
    ("bitmap", "increment"): [b"1", b"-1", b"127", b"300", b"-9223372036854775808"],
    ("sorted_set", "start"): [*INTEGERS, *FROM],
    ("sorted_set", "stop"): [*INTEGERS, *TO],
    ("sorted-set", "start"): [*INTEGERS, *FROM],
    ("sorted-set", "stop"): [*INTEGERS, *TO],
    ("sorted_set", "offset"): INTEGERS,
    ("sorted-set", "offset"): INTEGERS,
    **{("stream", name): pool for name, pool in STREAM_POOLS.items()},
    ("geo", "member"): [b"a", b"b", b"c", b"d"],
    ("geo", "member1"): [b"a", b"b", b"c", b"d"],
    ("geo", "member2"): [b"a", b"b", b"c", b"d"],
}
"""What a name stands for in one group of commands."""
KEY_NAMES = {
    *("key", "key1", "key2", "newkey", "source", "destination", "destkey", "sourcekey"),
    *("dst", "src"),
}
INTEGER_NAMES = {
    *("start", "stop", "end", "index", "count", "rank", "num-matches", "len", "min-match-len"),
    *("limit", "numfields"),
}
OTHERS = [
    b"SPOP set1 100000",
    b"SPOP set2 0",
    b"SPOP s1",
    b"SPOP set1 -1",
    b"SPOP missing",
    b"KEYS *",
    b"KEYS s*",
    b"KEYS [hl]*1",
    b"DBSIZE",
    b"SELECT 1",
    b"SELECT 0",
    b"SELECT 0",
    b"SELECT 99",
    b"SWAPDB 0 1",
    b"SWAPDB 0 0",
    b"SWAPDB 0 99",
    b"SWAPDB x 1",
    b"SWAPDB 0 x",
    b"FLUSHDB",
    b"FLUSHDB ASYNC",
    b"FLUSHALL SYNC",
    b"FLUSHALL NOW",
    b"MULTI",
    b"MULTI",
    b"MULTI",
    b"EXEC",
    b"EXEC",
    b"EXEC",
    b"EXEC now",
    b"DISCARD",
    b"DISCARD now",
    b"WATCH s1 list1",
    b"WATCH zset1 hash1 set1 missing",
    b"UNWATCH",
    b"PUBLISH news text",
    b"SPUBLISH news text",
    b"PUBSUB CHANNELS",
    b"PUBSUB NUMSUB news",
    b"PUBSUB NUMPAT",
    b"PUBSUB NOSUCH",
    b"NOSUCH command here",
    b"CLIENT NOSUCH",
    b"CLIENT SETNAME a",
    b"CLIENT GETNAME",
    b"CLIENT REPLY MAYBE",
    b"CONFIG GET",
    b"CONFIG SET nosuch 1",
    b"CONFIG NOSUCH",
    b"OBJECT NOSUCH s1",
    b"OBJECT ENCODING",
    b"OBJECT REFCOUNT list1",
    b"MEMORY USAGE",
    b"MEMORY USAGE s1 SAMPLES -1",
    b"SLOWLOG GET x",
    b"LATENCY HISTOGRAM nosuch",
    b"TIME now",
    b"ECHO a",
    b"PING",
    b"PING a b",
    b"COMMAND GETKEYS MSET a 1 b 2",
    b"COMMAND GETKEYS ZUNIONSTORE d 2 a b",
    b"COMMAND GETKEYS SORT a BY b GET c STORE d",
    b"COMMAND COUNT x",
    b"WAIT 0 0",
    b"WAIT x 0",
    b"RESET now",
    b"HELLO 4",
    b"HELLO x",
    b"HELLO 3 SETNAME",
    b"AUTH x",
    b"AUTH a b",
    b"AUTH a b c",
]
SETTINGS = {
    b"hash-max-listpack-entries": [b"2", b"128"],
    b"hash-max-listpack-value": [b"4", b"64"],
    b"zset-max-listpack-entries": [b"2", b"128"],
    b"zset-max-listpack-value": [b"4", b"64"],
    b"set-max-intset-entries": [b"2", b"512"],
    b"list-max-listpack-size": [b"2", b"-2"],
    b"hll-sparse-max-bytes": [b"20", b"3000"],
    b"stream-node-max-entries": [b"3", b"100"],
}
"""What makes values change their encoding, and what it is by default."""
WEIGHTS = [b"nosort", b"s*", b"hash*->a", b"w_*", b"hash1->*", b"*", b"s*->a", b""]


def sorts(random: Random) -> list[bytes]:
    """SORT with some of its options, in any order."""
    name = random.choice((b"SORT", b"SORT", b"SORT_RO"))
    key = random.choice(
        (b"list1", b"list2", b"set1", b"set2", b"zset1", b"zset2", b"s1", b"missing")
    )
    options = [[b"ALPHA"]] * random.choice((0, 1, 1))
    if random.random() < 0.4:
        options.append([b"LIMIT", random.choice(INTEGERS), random.choice([*INTEGERS, b"x"])])
    if random.random() < 0.3:
        options.append([random.choice((b"ASC", b"DESC"))])
    if random.random() < 0.5:
        options.append([b"BY", random.choice(WEIGHTS)])
    for _ in range(random.choice((0, 0, 1, 2))):
        options.append([b"GET", random.choice((b"#", b"s*", b"hash*->a", b"nosuch", b"hash1->*"))])
    if random.random() < 0.2 and not {b"ALPHA", b"BY"} <= {option[0] for option in options}:
        options.append([b"STORE", random.choice((b"list1", b"list2", b"set1"))])
    random.shuffle(options)
    return [name, key, *(word for option in options for word in option)]


def encodings(random: Random) -> list[bytes]:
    """How a value is kept, of the types that 7.2 keeps as the reference does."""
    named = [KEYS[kind] for kind in ("string", "hash", "sorted_set", "hyperloglog", "geo")]
    return [b"OBJECT", b"ENCODING", random.choice(random.choice(named))]


def settings(random: Random) -> list[bytes]:
    """CONFIG SET of a setting that values are kept by."""
    name = random.choice(list(SETTINGS))
    return [b"CONFIG", b"SET", name, random.choice(SETTINGS[name])]


def large(random: Random) -> list[bytes]:
    """Many members at once, so that no value stays small."""
    first, count = random.randrange(100), random.choice((40, 150, 600))
    numbers = [b"%d" % n for n in range(first, first + count)]
    twice = [word for n in numbers for word in (n, b"v" + n)]
    return random.choice(
        (
            [b"RPUSH", random.choice(KEYS["list"]), *numbers],
            [b"LPUSH", random.choice(KEYS["list"]), *numbers],
            [b"SADD", random.choice(KEYS["set"]), *numbers],
            [b"HSET", random.choice(KEYS["hash"]), *twice],
            [b"ZADD", random.choice(KEYS["sorted_set"]), *twice],
            [b"PFADD", random.choice(KEYS["hyperloglog"]), *numbers],
            [b"APPEND", random.choice(KEYS["string"]), b"".join(numbers)],
        )
    )


def chosen() -> list[tuple[str, str, list[Any]]]:
    """Name, group and parsed usage of the commands to send."""
    return [
        (name, command.group, parsed(command.usage))
        for name, container in sorted(COMMANDS.items())
        if container.group in GROUPS
        and name not in LEFT_OUT
        and tuple(map(int, container.since.split(".")[:2])) <= (7, 0)
        for command in (container.subcommands.values() if name in CONTAINERS else [container])
    ]


CHOSEN = chosen()
MADE = ((0.10, None), (0.04, sorts), (0.03, encodings), (0.015, settings), (0.02, large))
"""How often a command is one that is made here; None stands for OTHERS."""


def drawn(random: Random) -> list[bytes]:
    """A command: mostly right, sometimes with a word too many, too few, or another."""
    which = random.random()
    for share, make in MADE:
        if which < share:
            return make(random) if make else random.choice(OTHERS).split()
        which -= share
    made_by, group, items = random.choice(CHOSEN)

    def fill(name: str) -> bytes:
        if random.random() < 0.03 and name != "timeout":
            return random.choice(ODD)
        if name in KEY_NAMES:
            return random.choice(KEYS.get(group, ANY_KEY) if random.random() < 0.9 else ANY_KEY)
        if group == "stream" and name == "id" and made_by == "xreadgroup":
            return random.choice([b">", b">", *STREAM_IDS])
        if (group, name) in OF_GROUP:
            return random.choice(OF_GROUP[group, name])
        if name in POOLS:
            return random.choice(POOLS[name])
        return random.choice(INTEGERS if name in INTEGER_NAMES else VALUES)

    made = fitted(words(items, fill, random), random)
    if random.random() < 0.05:
        at = random.randrange(1, len(made) + 1)
        made[at:at] = [random.choice(VALUES)]
    if random.random() < 0.05 and len(made) > 1:
        del made[random.randrange(1, len(made))]
    if made[0] in NEWER_ARITY:
        made = made[: NEWER_ARITY[made[0]]]
    if random.random() < 0.1:
        made = [word.lower() if word.isupper() else word for word in made]
    return [word for word in made if word.upper() not in NEWER_WORDS]


def fitted(made: list[bytes], random: Random) -> list[bytes]:
    """Mostly give the number of keys, and as many weights, where the command wants one."""
    name = made[0].decode().lower()
    usage = COMMANDS[name].usage.split()
    if "numkeys" not in usage or random.random() < 0.1:
        return made
    at = usage.index("numkeys")
    stop = at + 1
    while stop < len(made) and made[stop] in ANY_KEY:
        stop += 1
    count = max(stop - at - 1, 1)
    made[at] = b"%d" % count
    if b"WEIGHTS" in made:
        first = last = made.index(b"WEIGHTS") + 1
        while last < len(made) and made[last] in POOLS["weight"]:
            last += 1
        made[first:last] = [random.choice(POOLS["weight"][:7]) for _ in range(count)]
    return made
