"""expiry.py: what goes on between commands, in steps."""

from distcache_server.expiry import LONGEST_STEP_NS, STEP_NS, Sweeper, allowed_ns

from tests.support.direct import Direct


def test_a_step_is_short_where_commands_are() -> None:
    assert allowed_ns(0) == allowed_ns(STEP_NS) == STEP_NS


def test_a_step_has_its_share_of_a_busy_processor() -> None:
    assert allowed_ns(30_000_000) == 15_000_000
    assert allowed_ns(10**10) == LONGEST_STEP_NS


def test_steps_until_all_that_is_due_is_gone() -> None:
    server = Direct()
    for number in range(20_000):
        server("SET", f"key:{number}", "value", "PXAT", server.keyspace.now_ms + 100)
    server("SET", "later", "value", "PXAT", server.keyspace.now_ms + 10_000)
    sweeper = Sweeper(server.engine)
    due = server.keyspace.now_ms + 200
    assert sweeper.step(due)
    assert 1 < len(server.keyspace) <= 20_001
    while sweeper.step(due):
        pass
    assert list(server.keyspace) == [b"later"]
