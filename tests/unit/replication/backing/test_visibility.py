"""Which transactions a snapshot sees, also when their numbers begin again."""

from __future__ import annotations

import pytest
from distcache_replication.backing.visibility import Snapshot


@pytest.mark.parametrize(
    ("snapshot", "seen", "unseen"),
    [
        ("100:100:", [99, 5], [100, 101, 2_000_000_000]),
        ("90:100:90,95", [89, 91, 94, 99], [90, 95, 100]),
        ("8589934600:8589934610:8589934601", [7, 8, 17, 4_294_967_295], [9, 18, 19]),
        ("4294967290:4294967295:4294967291", [4_294_967_294], [4_294_967_291, 4_294_967_295, 0, 5]),
    ],
)
def test_what_is_seen(snapshot: str, seen: list[int], unseen: list[int]) -> None:
    found = Snapshot.parse(snapshot)
    assert [found.sees(it) for it in seen] == [True] * len(seen)
    assert [found.sees(it) for it in unseen] == [False] * len(unseen)
