"""The keys that are read most."""

import asyncio
import os
import random
import stat
from pathlib import Path

import pytest
from distcache_server.warming import HEAD, NAME, Hot, Warming, decoded, encoded
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.server.test_read_through import Bench


def test_the_keys_that_are_read_most() -> None:
    hot = Hot(10)
    numbers = random.Random(7)
    for _ in range(20_000):
        hot.note(b"%d" % min(int(numbers.paretovariate(0.8)), 100_000))
    assert len(hot.counts) <= 20
    assert {key for key, _ in hot.top()[:5]} >= {b"1", b"2", b"3"}


def test_what_was_read_long_ago_is_forgotten() -> None:
    hot = Hot(10)
    for _ in range(1000):
        hot.note(b"old")
    for number in range(100_000):
        hot.note(b"new %d" % (number % 5))
        hot.note(b"once %d" % number)
    assert {key for key, _ in hot.top()[:5]} == {b"new %d" % number for number in range(5)}


@given(st.dictionaries(st.binary(), st.integers(0, 2**40), max_size=20))
def test_the_file_holds_any_keys(counts: dict[bytes, int]) -> None:
    assert decoded(encoded(counts.items()), 20) == counts


@given(st.binary(max_size=80))
def test_broken_files(data: bytes) -> None:
    decoded(HEAD + b"\n" + data, 10)
    with pytest.raises(ValueError, match="not been written"):
        decoded(b"x" + data, 10)


async def test_what_was_read_is_loaded_at_the_next_start(tmp_path: Path) -> None:
    rows: dict[str | bytes, bytes] = {str(number): b"value %d" % number for number in range(9)}

    def warmed(bench: Bench) -> Warming:
        assert bench.engine.reader is not None
        bench.engine.config.put("dir", str(tmp_path))
        bench.engine.config.put("backing-warm", 100)
        warming = Warming(bench.engine, bench.engine.reader)
        bench.engine.reader.warming = warming
        bench.engine.rebuild()
        bench.store.rows = rows
        return warming

    bench = Bench()
    warming = warmed(bench)
    for number in (3, 3, 5, 3):
        await bench.ask(0, "GET", f"row:{number}")
        warming.sample()
    await bench.ask(0, "MGET", "row:7", "row:7")
    warming.sample()
    await bench.ask(0, "GET", "other")
    warming.sample()
    warming.sample()
    assert dict(warming.hot.counts) == {b"row:3": 3, b"row:5": 1, b"row:7": 1}
    warming.save()
    assert stat.S_IMODE(os.stat(tmp_path / NAME).st_mode) == 0o600

    bench = Bench()
    warming = warmed(bench)
    warming.read()
    task = asyncio.get_running_loop().create_task(warming.warm())
    while not task.done():
        await bench.finish()
    assert warming.warmed == 3
    assert set(bench.engine.databases[0]) == {b"row:3", b"row:5", b"row:7"}
    assert bench.store.asked[0][0] == ("3",)
