"""Streams: all three versions of the format, and what is no stream."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from distcache_replication import rdb
from distcache_replication.rdb import listpack, stream
from distcache_replication.rdb.errors import BadRdb, Short
from distcache_replication.rdb.stream import Consumer, Entry, Group, Pending, Stream
from hypothesis import given
from hypothesis import strategies as st

LARGEST = 2**64 - 1

ENTRIES = [
    Entry((5, 1), [b"a", b"1", b"b", b"2"]),
    Entry((5, 2), [b"a", b"3", b"b", b"4"]),
    Entry((5, LARGEST), [b"other", b"5"]),
    Entry((LARGEST, 0), [b"a", b"", b"b", b"x" * 300]),
]
GROUPS = [
    Group(
        b"group",
        (5, 2),
        2,
        [Pending((5, 1), 1_700_000_000_000, 3), Pending((5, 2), 1_700_000_000_001, 1)],
        [
            Consumer(b"one", 1_700_000_000_002, 1_700_000_000_001, [(5, 1), (5, 2)]),
            Consumer(b"never", 1_700_000_000_003, -1, []),
        ],
    ),
    Group(b"other", (0, 0), -1, [], []),
]
FULL = Stream(ENTRIES, (LARGEST, 7), (5, 1), (4, 4), 9, GROUPS)
EMPTY = Stream([], (7, 7), (0, 0), (7, 7), 3, [])


def written(value: Stream, version: int = 3) -> bytes:
    return b"".join(stream.write_stream(value, version))


@pytest.mark.parametrize("value", [FULL, EMPTY])
def test_streams_come_back(value: Stream) -> None:
    data = written(value)
    assert stream.read_stream(b"x" + data + b"rest", 1, 3) == (value, 1 + len(data))
    for cut in range(len(data)):
        with pytest.raises((Short, IndexError)):
            stream.read_stream(data[:cut], 0, 3)


def test_what_earlier_versions_do_not_know() -> None:
    data = written(FULL, 2)
    value, _ = stream.read_stream(data, 0, 2)
    assert value.groups[0].consumers[1].active_ms == value.groups[0].consumers[1].seen_ms
    assert value._replace(groups=[]) == FULL._replace(groups=[])
    value, _ = stream.read_stream(written(FULL, 1), 0, 1)
    assert (value.first_id, value.deleted_id, value.added) == ((5, 1), (0, 0), 4)
    assert [group.read for group in value.groups] == [-1, 0]
    for version, kind in ((9, 15), (10, 19), (11, 21)):
        form = rdb.of_stream(FULL, rdb.Style(version))
        assert form.type == kind
        assert rdb.restore(rdb.dump(form, version))[0] == rdb.STREAM


def test_many_entries_take_several_nodes() -> None:
    entries = [Entry((1, number), [b"field", b"%d" % number]) for number in range(1000)]
    value = Stream(entries, (1, 999), (1, 0), (0, 0), 1000, [])
    data = written(value)
    assert data[0] == 10
    assert stream.read_stream(data, 0, 3)[0] == value
    wide = [Entry((1, number), [b"field", b"x" * 3000]) for number in range(5)]
    assert written(Stream(wide, (1, 4), (1, 0), (0, 0), 5, []))[0] == 5


def test_a_large_stream_takes_no_more_memory_than_its_bytes() -> None:
    entries = [Entry((number, 0), [b"f", b"%d" % number]) for number in range(20_000)]
    data = written(Stream(entries, (19_999, 0), (0, 0), (0, 0), 20_000, []))
    tracemalloc.start()
    value, _ = stream.read_stream(data, 0, 3)
    assert sum(1 for _ in value.entries) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(data)


ids = st.tuples(st.integers(0, LARGEST), st.integers(0, LARGEST))
pairs = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"1"]), st.binary(max_size=9)), max_size=3)


@given(st.dictionaries(ids, pairs, max_size=9))
def test_any_entries_come_back(found: dict[Any, Any]) -> None:
    entries = [Entry(key, [word for pair in found[key] for word in pair]) for key in sorted(found)]
    last = entries[-1].id if entries else (0, 0)
    value = Stream(entries, last, (0, 0), (0, 0), len(entries), [])
    assert stream.read_stream(written(value), 0, 3)[0] == value


def node(words: list[bytes], count: int = 1) -> bytes:
    """A stream of one node that holds these words."""
    packed = listpack.encode(words)
    head = b"\1\x10" + bytes(16) + rdb.length(len(packed)) + packed
    return head + bytes([count]) + b"\0\1" + b"\0" * 4 + bytes([count]) + b"\0"


RIGHT = [b"1", b"1", b"1", b"f", b"0", b"3", b"0", b"0", b"v", b"4", b"2", b"0", b"1", b"w", b"4"]


def test_entries_that_are_deleted_are_not_there() -> None:
    value, _ = stream.read_stream(node(RIGHT), 0, 2)
    assert value.entries == [Entry((0, 1), [b"f", b"w"])]


@pytest.mark.parametrize("place", range(len(RIGHT)))
def test_words_that_are_missing_or_wrong(place: int) -> None:
    wrong = [RIGHT[:place] + RIGHT[place + 1 :], RIGHT[:place], [*RIGHT, b"3"]]
    if place not in (3, 5, 6, 7, 8, 10, 11, 12, 13):
        wrong += [[*RIGHT[:place], word, *RIGHT[place + 1 :]] for word in (b"9", b"-1", b"x")]
    for words in wrong:
        with pytest.raises(BadRdb):
            stream.read_stream(node(words), 0, 2)


WRONG = [
    FULL._replace(last_id=(5, 2)),
    FULL._replace(entries=[ENTRIES[1], ENTRIES[0]]),
    FULL._replace(entries=[ENTRIES[0], ENTRIES[0]]),
    FULL._replace(groups=[GROUPS[1], GROUPS[1]]),
    FULL._replace(groups=[GROUPS[0]._replace(consumers=[])]),
    FULL._replace(groups=[GROUPS[0]._replace(pending=[])]),
    FULL._replace(groups=[GROUPS[0]._replace(pending=[*GROUPS[0].pending, *GROUPS[0].pending])]),
    FULL._replace(groups=[GROUPS[0]._replace(consumers=GROUPS[0].consumers * 2)]),
]


@pytest.mark.parametrize("value", WRONG)
def test_streams_that_contradict_themselves(value: Stream) -> None:
    with pytest.raises(BadRdb):
        stream.read_stream(written(value), 0, 3)
