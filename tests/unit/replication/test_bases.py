"""From where the log is left, and which bases are kept."""

from __future__ import annotations

from distcache_replication.archive import Archive, Segment
from distcache_replication.bases import Base, bases, kept, needed
from distcache_replication.files import Files
from distcache_replication.manifest import BASE, HISTORY, INCREMENT, File, Manifest


def archive(*starts: int, end: int = 1000) -> Archive:
    made = Archive(Files())
    ends = [*starts[1:], end]
    made._segments = [
        Segment(f"a.{number}.incr.aof", start, stop, stop - start, closed_s=float(number))
        for number, (start, stop) in enumerate(zip(starts, ends, strict=True), 1)
    ]
    return made


def increments(count: int, type_: str = INCREMENT) -> tuple[File, ...]:
    return tuple(File(f"a.{number}.incr.aof", number, type_) for number in range(1, count + 1))


def base(number: int, offset: int | None, type_: str = BASE) -> File:
    return File(f"a.{number}.base.rdb", number, type_, 50, offset)


def test_a_log_without_a_base_began_without_keys() -> None:
    assert bases(Manifest(None, increments(1)), archive(23)) == [Base(23, "", 0)]
    assert bases(Manifest(), Archive(Files())) == []


def test_the_first_base_was_made_of_the_log_before_it() -> None:
    manifest = Manifest(base(1, 300), increments(2)[1:], increments(1, HISTORY))
    found = bases(manifest, archive(23, 300))
    assert found == [Base(23, "", 0), Base(300, "a.1.base.rdb", 50)]


def test_where_the_log_began_with_keys_there_is_a_base() -> None:
    # The log was turned on later: the base is of the moment at which it began.
    manifest = Manifest(base(1, 23), increments(1))
    assert bases(manifest, archive(23)) == [Base(23, "a.1.base.rdb", 50)]
    # And when that is gone nobody knows what there was.
    manifest = Manifest(base(2, 300), increments(2)[1:], increments(1, HISTORY))
    assert bases(manifest, archive(23, 300)) == [Base(300, "a.2.base.rdb", 50)]


def test_a_base_counts_where_the_log_behind_it_is_on_disk() -> None:
    history = (base(1, 100, HISTORY), base(2, 300, HISTORY), base(3, None, HISTORY))
    manifest = Manifest(base(4, 600), increments(3)[2:], (*history, *increments(2, HISTORY)))
    found = bases(manifest, archive(200, 300, 600))
    assert [it.offset for it in found] == [300, 600]


def test_old_bases_stay_within_bytes_and_time() -> None:
    log = archive(0, 100, 300, 600)
    found = [Base(0, "", 0), Base(100, "one", 50), Base(300, "two", 50), Base(600, "three", 50)]
    assert kept(found, log, 10_000, 0, 5.0) == 4
    # The last is needed by a start; before it stand 350, 250 and 100 bytes.
    assert kept(found, log, 0, 0, 5.0) == 1
    assert kept(found, log, 350, 0, 5.0) == 2
    assert kept(found, log, 600, 0, 5.0) == 3
    assert kept(found, log, 700, 0, 5.0) == 4
    # The segments were closed at 1, 2 and 3 seconds.
    assert kept(found, log, 10_000, 2, 5.0) == 2
    assert kept(found, log, 10_000, 3, 5.0) == 3
    assert kept([], log, 10_000, 0, 5.0) == 0


def test_a_follower_that_is_behind_needs_older_bases() -> None:
    log = archive(0, 100, 300, 600)
    found = [Base(0, "", 0), Base(100, "one", 50), Base(300, "two", 50), Base(600, "three", 50)]
    assert needed(found, log, 1000, 10_000) == 1
    assert needed(found, log, 600, 10_000) == 1
    assert needed(found, log, 599, 10_000) == 2
    assert needed(found, log, 0, 10_000) == 4
    # A base and 700 bytes of the log: what is more than it may take is not kept at all.
    assert needed(found, log, 599, 750) == 2
    assert needed(found, log, 599, 749) == 0
    assert needed(found[1:], log, 99, 10_000) == 0
    assert needed([], log, 99, 10_000) == 0
