"""claim.py: a stream goes on where it was left, by whoever holds what it came from."""

from __future__ import annotations

import pytest
from distcache_replication.changefeed.claim import Claim, Deposed, claim, mark
from distcache_replication.changefeed.kafka import Mark
from distcache_replication.changefeed.position import SNAPSHOT, Position

A, B, C = (letter * 40 for letter in "abc")


def test_a_new_stream_begins_with_all_keys() -> None:
    assert claim(None, A, []) == Claim(1, None, "the stream is new")


def test_the_same_history_goes_on_in_its_epoch() -> None:
    stored = mark(3, Position(70, 2), A, [])
    assert claim(stored, A, []) == Claim(3, Position(70, 2), "")


def test_who_was_promoted_goes_on_in_an_epoch_of_its_own() -> None:
    stored = mark(3, Position(70, 2), A, [])
    assert claim(stored, B, [(A, 70)]) == Claim(4, Position(70, 2), "")
    assert claim(stored, C, [(A, 90), (B, 100)]) == Claim(4, Position(70, 2), "")


def test_what_was_published_and_then_lost_is_made_good_by_a_snapshot() -> None:
    stored = mark(3, Position(70, 2), A, [])
    again = claim(stored, B, [(A, 69)])
    assert (again.epoch, again.position) == (4, None)
    assert "offset 70, of which the log has 69" in again.reason


def test_who_was_overtaken_stands_back() -> None:
    stored = mark(4, Position(90), C, [(A, 70), (B, 80)])
    for former in (A, B):
        with pytest.raises(Deposed, match=C):
            claim(stored, former, [])


def test_another_history_begins_again_with_all_keys() -> None:
    stored = mark(3, Position(70), A, [])
    found = claim(stored, B, [(C, 70)])
    assert (found.epoch, found.position) == (4, None)
    assert A in found.reason


def test_a_place_within_a_snapshot() -> None:
    position = Position(99, SNAPSHOT + 7)
    stored = mark(1, position, A, [])
    assert claim(stored, B, [(A, 100)]).position == position
    assert claim(stored, B, [(A, 99)]).position is None


def test_marks_come_back() -> None:
    stored = mark(2, Position(70, 2), C, [(A, 50), (B, 60)])
    assert Mark.decode(stored.encode()) == stored
    assert stored.lineage == [[C, None], [B, 60], [A, 50]]
    for data in (b"", b"{}", b"[]", b'{"epoch": 1}', b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011
            Mark.decode(data)
