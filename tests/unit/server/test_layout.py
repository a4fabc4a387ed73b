"""layout.py: what is cut without being parsed is what a parser finds; nothing else is cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distcache_server import layout
from distcache_server.dispatch import rows
from distcache_server.framing import Framer, ProtocolError
from distcache_server.layout import LAYOUTS, LEAST, REACH, SIGHTS
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.resp import encode

word = st.binary(max_size=12)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    layout._seen.clear()
    layout._layouts.clear()
    yield
    layout._seen.clear()
    layout._layouts.clear()


def read_by_framer(data: bytes) -> list[list[bytes]] | None:
    """The commands in these bytes; None where there is anything but whole ones."""
    framer = Framer()
    framer.feed(data)
    found = []
    try:
        while (words := framer.next()) is not None:
            found.append(words)
    except ProtocolError:
        return None
    return found if framer.between_commands else None


def learnt(words: list[bytes], count: int = LEAST) -> bytes:
    """So many of this command, whose layout is known from now on."""
    data = encode(*words) * count
    for _ in range(2):
        assert layout.cut(data, len(data)) is None
        layout.learn(data, len(data), [[each] * count for each in words])
    return data


@settings(max_examples=200, deadline=None)
@given(st.lists(word, min_size=1, max_size=5), st.data())
def test_what_is_cut_is_what_a_parser_reads(words: list[bytes], data: st.DataObject) -> None:
    layout._seen.clear()
    known = learnt(words)
    for filler in (0, 0x0D, 0x24, 0xFF):
        other = b"".join(encode(*[bytes([filler]) * len(each) for each in words]) for _ in range(4))
        batch = other + known[len(other) :]
        columns = layout.cut(batch, len(known))
        if batch[: layout.HEAD] == known[: layout.HEAD]:
            assert columns is not None
            assert rows(columns) == read_by_framer(batch)
    changed = bytearray(known)
    at = data.draw(st.integers(layout.HEAD, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    columns = layout.cut(bytes(changed), len(changed))
    if columns is not None:
        assert rows(columns) == read_by_framer(bytes(changed))


def test_words_of_other_lengths_are_left_to_the_parser_from_then_on() -> None:
    known = learnt([b"SET", b"key:00000001", b"value"])
    assert layout.cut(known, len(known)) is not None
    other = encode(b"SET", b"key:00000001", b"value") * (LEAST - 1)
    other += encode(b"SET", b"key:0000001", b"value2")
    assert len(other) == len(known)
    assert layout.cut(other, len(other)) is None
    assert layout.cut(known, len(known)) is None


def test_a_batch_longer_than_what_is_compared_at_a_time() -> None:
    words = [b"SET", b"key:00000001", b"v" * 100]
    count = 3 * REACH // len(encode(*words))
    known = learnt(words, count)
    columns = layout.cut(known, len(known))
    assert columns is not None
    assert rows(columns) == [words] * count
    broken = bytearray(known)
    broken[-1] = 0x0B
    assert layout.cut(bytes(broken), len(broken)) is None


def test_few_commands_and_large_ones_are_not_learnt() -> None:
    for words, count in (([b"GET", b"key"], LEAST - 1), ([b"SET", b"key", b"v" * 4096], LEAST)):
        data = encode(*words) * count
        for _ in range(3):
            layout.learn(data, len(data), [[each] * count for each in words])
            assert layout.cut(data, len(data)) is None


def test_what_is_kept_is_bounded() -> None:
    for size in range(1, 2 * SIGHTS, 7):
        learnt([b"SET", b"key", b"v" * (size % 900), b"w" * (size % 7)])
    assert len(layout._layouts) <= LAYOUTS
    assert len(layout._seen) <= SIGHTS
