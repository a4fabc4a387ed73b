"""How the position of the store relates to a log."""

import pytest
from distcache_replication.backing.position import (
    AHEAD,
    HERE,
    NEW,
    STRANGE,
    Position,
    Stored,
    relation,
)
from distcache_replication.history import History

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


@pytest.mark.parametrize(
    ("history", "offset", "expected"),
    [
        (TWO, 150, HERE),
        (TWO, 200, HERE),
        (TWO, 201, AHEAD),
        (ONE, 100, HERE),
        (ONE, 101, AHEAD),
        (ONE, 0, HERE),
        (THREE, 10, STRANGE),
        ("", 0, NEW),
    ],
)
def test_relation(history: str, offset: int, expected: str) -> None:
    """A log that left another history at 100 and ends at 200."""
    stored = Stored(Position(1, history, offset), 0.0)
    assert relation(stored.position, History(TWO, [(ONE, 100)]), 200) == expected


def test_nothing_was_written() -> None:
    assert relation(None, History(), 0) == NEW
