"""groups.py: reads by pattern, and the survey of all keys."""

from __future__ import annotations

from time import perf_counter_ns

from distcache_server import memory
from distcache_server.groups import Groups, Survey

from tests.support.direct import Direct

LATER = 1 << 62


def configured(*patterns: bytes) -> Groups:
    groups = Groups()
    groups.configure(patterns)
    return groups


def counts(groups: Groups) -> list[tuple[str, int, int]]:
    return [(group.name, group.hits, group.misses) for group in groups.groups]


def test_a_key_counts_for_the_first_pattern_that_matches() -> None:
    groups = configured(b"user:1*", b"user:*", b"*")
    for key, hit in ((b"user:12", True), (b"user:2", False), (b"other", True), (b"user:3", True)):
        groups.note(key, hit)
    assert counts(groups) == [("user:1*", 1, 0), ("user:*", 1, 1), ("*", 1, 0)]
    assert [group.hit_ratio for group in groups.groups] == [1.0, 0.5, 1.0]


def test_a_key_may_belong_to_no_group() -> None:
    groups = configured(b"user:*")
    groups.note(b"session:1", True)
    assert counts(groups) == [("user:*", 0, 0)]
    assert groups.groups[0].hit_ratio == 0.0


def test_a_pattern_that_stays_keeps_its_counts() -> None:
    groups = configured(b"a*", b"b*")
    groups.note(b"a", True)
    groups.note(b"b", True)
    groups.configure([b"c*", b"b*", b"b*"])
    assert counts(groups) == [("c*", 0, 0), ("b*", 1, 0)]
    groups.reset()
    assert counts(groups) == [("c*", 0, 0), ("b*", 0, 0)]


def test_names_of_any_bytes_can_be_shown() -> None:
    assert [group.name for group in configured(b"\xff*", "ä*".encode()).groups] == ["\\xff*", "ä*"]


def test_reads_are_counted_while_there_are_groups() -> None:
    server = Direct("--key-groups", "user:* session:*")
    server("SET", "user:1", "x")
    server("GET", "user:1")
    server("MGET", "user:1", "user:2", "session:1", "other")
    server("HGET", "session:2", "field")
    assert counts(server.engine.groups) == [("user:*", 2, 1), ("session:*", 0, 2)]
    assert b"pattern=user:*,hits=2,misses=1,hit_ratio=0.6667" in server("INFO", "keygroups")
    server("CONFIG", "RESETSTAT")
    assert counts(server.engine.groups) == [("user:*", 0, 0), ("session:*", 0, 0)]
    server("CONFIG", "SET", "key-groups", "")
    server("GET", "user:1")
    assert server.keyspace.groups is None
    assert not server.keyspace.special


def test_a_survey_counts_keys_and_bytes_by_database() -> None:
    server = Direct("--key-groups", "user:* session:*")
    for n in range(500):
        server("SET", f"user:{n:03}", "x" * 100)
    server("SELECT", "3")
    server("SET", "session:1", "x", "EX", "100")
    server("HSET", "session:2", "field", "value")
    server("SET", "other", "x")
    survey = Survey(server.engine.groups, server.engine.databases)
    steps = 1
    while survey.step(perf_counter_ns()):
        steps += 1
    assert steps > 3
    users, sessions = server.engine.groups.groups
    assert survey.counts == {(0, users): 500, (3, sessions): 2}
    assert survey.sizes[0, users] == 500 * memory.size_with_key(b"user:000", b"x" * 100, False)
    values = server.keyspace.values
    assert survey.sizes[3, sessions] == sum(
        memory.size_with_key(key, values[key], key == b"session:1")
        for key in (b"session:1", b"session:2")
    )


def test_a_survey_ends_when_there_is_nothing_to_count() -> None:
    server = Direct()
    server("SET", "key", "value")
    assert not Survey(server.engine.groups, server.engine.databases).step(LATER)
    server("CONFIG", "SET", "key-groups", "k*")
    assert not Survey(server.engine.groups, server.engine.databases[1:]).step(LATER)


def test_a_database_may_be_emptied_during_a_survey() -> None:
    server = Direct("--key-groups", "*")
    for n in range(1000):
        server("SET", f"key:{n}", "x")
    survey = Survey(server.engine.groups, server.engine.databases)
    assert survey.step(0)
    server("FLUSHALL")
    assert not survey.step(LATER)
