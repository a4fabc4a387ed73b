"""What is in the log makes another engine the same, whatever its clock says."""

import random

import pytest
from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_replication.rdb import Style
from distcache_replication.segment import commands
from distcache_server import digest, stream_form
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.dispatch import execute_run
from distcache_server.engine import Engine
from distcache_server.expiry import Sweeper
from distcache_server.journal import UNKNOWN, Journal
from distcache_server.registry import WRITE, every_command
from distcache_server.replay import CannotApply, Replay
from distcache_server.snapshot import dump
from distcache_server.types.stream import Stream

from tests.support.direct import Direct
from tests.support.writes import write

NOW_MS = 1_700_000_000_000


def journal_of(direct: Direct) -> Journal:
    journal = Journal(direct.engine, Log(), History())
    journal.attach()
    return journal


def lines(journal: Journal, since: int = 0) -> list[str]:
    return [b" ".join(words).decode() for words in commands(journal.log.slice(since))]


def replayed(journal: Journal) -> Engine:
    engine = Direct().engine
    replay = Replay(engine)
    replay.apply(commands(journal.log.slice(0)))
    assert not replay.in_transaction
    return engine


def signature(engine: Engine) -> tuple[bytes, list[list[list[bytes]]]]:
    """The digest of everything, and what it does not cover: groups and what is pending."""
    streams = [
        sorted(stream_form.commands_for(key, value))
        for keyspace in engine.databases
        for key, value in sorted(keyspace.values.items())
        if type(value) is Stream
    ]
    return digest.of_databases(engine.databases), streams


def run_due(direct: Direct) -> None:
    while Sweeper(direct.engine).step(direct.now_ms):
        pass


@pytest.mark.parametrize("seed", range(10))
def test_random_writes(seed: int) -> None:
    generator = random.Random(seed)
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    for _ in range(1500):
        choice = generator.random()
        if choice < 0.02:
            direct("SELECT", generator.randrange(4))
        elif choice < 0.023:
            direct(generator.choice(["FLUSHDB", "FLUSHALL"]))
        elif choice < 0.026:
            direct("SWAPDB", generator.randrange(4), generator.randrange(4))
        elif choice < 0.05:
            direct("MULTI")
            for _ in range(generator.randrange(4)):
                direct(*write(generator))
            direct("EXEC")
        else:
            direct(*write(generator))
        if direct.client.blocked is not None:
            direct.engine.blocking.unblock(direct.client, with_error=False)
        direct.now_ms += generator.choice([0, 0, 0, 1, 30])
        if generator.random() < 0.05:
            run_due(direct)
    direct.now_ms += 10
    for keyspace in direct.engine.databases:
        keyspace.now_ms = direct.now_ms
    run_due(direct)
    assert signature(replayed(journal)) == signature(direct.engine)


def test_values_that_are_restored() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    direct("RPUSH", "list", "a", "b")
    payload = dump(direct.keyspace.values[b"list"], direct.engine.limits, Style(11, True))
    direct("RESTORE", "other", 5000, payload)
    direct("RESTORE", "list", 0, payload, "REPLACE")
    direct("RESTORE", "gone", 1, payload, "ABSTTL")
    assert signature(replayed(journal)) == signature(direct.engine)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
def test_evictions(policy: str) -> None:
    generator = random.Random(policy)
    direct = Direct("--maxmemory", "100kb", "--maxmemory-policy", policy, now_ms=NOW_MS)
    journal = journal_of(direct)
    for number in range(2000):
        direct("SET", f"k{number}", "x" * generator.randrange(200), "EX", 100 + number)
        direct("SADD", f"m{number % 70}", number)
    assert direct.engine.counters.evicted_keys
    assert signature(replayed(journal)) == signature(direct.engine)


def test_clients_that_waited() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    waiting = Client(direct.engine, 2)
    engine, first = direct.engine, direct.client
    direct.client = waiting
    direct("BLMOVE", "from", "to", "LEFT", "RIGHT", 0)
    direct.client = first
    direct("MULTI")
    direct("RPUSH", "from", "a", "b")
    direct("INCR", "n")
    direct("EXEC")
    assert lines(journal) == [
        "MULTI",
        "SELECT 0",
        "RPUSH from a b",
        "INCR n",
        "EXEC",
        "LMOVE from to LEFT RIGHT",
    ]
    assert waiting.logged == journal.log.end > first.logged > 0
    assert signature(replayed(journal)) == signature(engine)


def test_where_a_database_is_selected() -> None:
    direct = Direct()
    journal = journal_of(direct)
    for words in ("SET a 1", "SET b 2", "SELECT 3", "GET a", "SET c 1", "SELECT 0", "SET d 1"):
        direct(*words.split())
    assert lines(journal) == [
        *("SELECT 0", "SET a 1", "SET b 2", "SELECT 3", "SET c 1", "SELECT 0", "SET d 1")
    ]
    end = journal.log.end
    journal.selected = UNKNOWN
    direct("SET", "e", 1)
    assert lines(journal, end) == ["SELECT 0", "SET e 1"]


def test_what_belongs_together_stays_together() -> None:
    direct = Direct()
    journal = journal_of(direct)
    direct("SELECT", 0)
    for transaction in (["SET a 1", "SET b 1"], ["SET c 1"], ["GET a"], []):
        direct("MULTI")
        for words in transaction:
            direct(*words.split())
        direct("EXEC")
    assert lines(journal) == [
        *("MULTI", "SELECT 0", "SET a 1", "SET b 1", "EXEC"),
        "SET c 1",
    ]


def test_a_key_that_lapses_within_a_command_comes_first() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    direct("SET", "k", 5, "PX", 10)
    start = journal.log.end
    direct.now_ms += 10
    direct("INCR", "k")
    assert lines(journal, start) == ["del k", "INCR k"]


def test_the_log_says_why_a_key_went() -> None:
    direct = Direct("--maxmemory-policy", "allkeys-random", now_ms=NOW_MS)
    journal = journal_of(direct)
    for key in "abcd":
        direct("SET", key, "v")
    direct("PEXPIRE", "a", "1")
    start = journal.log.end
    direct("del", "b")
    direct("unlink", "c")
    direct.now_ms += 1
    direct("GET", "a")
    direct("CONFIG", "SET", "maxmemory", "1")
    direct("PING")
    assert lines(journal, start) == ["DEL b", "UNLINK c", "del a", "unlink d"]
    assert not len(replayed(journal).databases[0])


def test_a_run_of_one_command_is_logged_as_its_commands() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    direct.keyspace.now_ms = NOW_MS
    for columns in (
        [[b"SET", b"SET"], [b"a", b"b"], [b"1", b"2"]],
        [[b"INCR", b"INCR"], [b"a", b"b"]],
        [[b"GET", b"GET"], [b"a", b"b"]],
    ):
        assert execute_run(direct.client, columns) is not None
    assert lines(journal) == ["SELECT 0", "SET a 1", "SET b 2", "INCR a", "INCR b"]
    assert direct.client.logged == journal.log.end


def test_nothing_is_logged_once_detached() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    direct("SET", "k", 5, "PX", 10)
    end = journal.log.end
    journal.detach()
    direct("SET", "l", 1)
    direct.now_ms += 100
    direct("GET", "k")
    assert journal.log.end == end
    assert direct.engine.log is None


def test_the_random_writes_are_of_every_kind() -> None:
    generator = random.Random(0)
    used = set()
    for _ in range(20_000):
        name, sub, *_ = write(generator)
        used.add(f"{name}|{sub}".lower() if name == "XGROUP" else name.lower())
    known = {command.name for command in every_command() if command.flags & WRITE}
    elsewhere = {"flushall", "flushdb", "swapdb", "pfdebug", "function|flush", "migrate"}
    elsewhere |= {name for name in known if name.startswith("restore")}
    assert used >= known - elsewhere


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([b"NOSUCH", b"a"], "not known"),
        ([b"SET", b"a"], "number of arguments"),
        ([b"LPUSH", b"s", b"x"], "refused"),
    ],
)
def test_what_cannot_be_applied(words: Args, reason: str) -> None:
    engine = Direct().engine
    replay = Replay(engine)
    with pytest.raises(CannotApply, match=reason) as raised:
        replay.apply([[b"set", b"s", b"1"], words])
    assert raised.value.words == words


def test_an_open_transaction_does_nothing() -> None:
    engine = Direct().engine
    replay = Replay(engine)
    replay.apply([[b"MULTI"], [b"SET", b"a", b"1"]])
    assert replay.in_transaction
    assert not len(engine.databases[0])
    replay.begin()
    assert not replay.in_transaction


def test_counting_keeps_its_result_in_the_value() -> None:
    direct = Direct(now_ms=NOW_MS)
    journal = journal_of(direct)
    direct("PFADD", "hll", "a", "b")
    since = journal.log.end
    for _ in range(2):
        assert direct("PFCOUNT", "hll") == b":2\r\n"
    assert lines(journal, since) == ["PFCOUNT hll"]
    assert signature(replayed(journal)) == signature(direct.engine)
    direct("PFADD", "hll", "c")
    for state in ("follows", "broken"):
        # What cannot be logged is not kept.
        setattr(direct.engine, state, b"why" if state == "broken" else True)
        before, since = direct("GET", "hll"), journal.log.end
        assert direct("PFCOUNT", "hll") == b":3\r\n"
        assert (direct("GET", "hll"), journal.log.end) == (before, since)
        setattr(direct.engine, state, None if state == "broken" else False)
