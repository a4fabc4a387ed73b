from __future__ import annotations

import pytest
from distcache_replication.backing.errors import BadMap
from distcache_replication.backing.mapping import load

KEY = 'key = "user:{id}"\n'
WRITE = 'direction = "write-behind"\n'


def test_defaults_and_times() -> None:
    first, second = load(
        f"[users]\n{KEY}[other]\n{KEY}table = 's.t'\nas = 'json'\ncolumns = ['a']\n"
        "ttl = '10m'\nstale = '1h'\nabsent = 5\nrefresh = 0.5\njitter = 0\naway = 'stale'\n"
    )
    assert (first.table, first.form, first.columns, first.ttl_ms) == (("users",), "hash", None, 0)
    assert first.away == "error"
    assert second.table == ("s", "t")
    assert (second.ttl_ms, second.stale_ms, second.absent_ms) == (600_000, 3_600_000, 5000)
    assert second.refresh_ms == 300_000


def test_writing() -> None:
    first, second, third = load(
        f"[users]\n{KEY}{WRITE}[other]\n{KEY}{WRITE}table = 's.t'\nexpired = 'archive'\n"
        f"[any]\n{KEY}direction = 'write-through'\nas = 'any'"
    )
    assert (first.writes, first.through, first.expired, first.archive) == (True, False, "keep", ())
    assert (second.expired, second.archive) == ("archive", ("s", "t_archive"))
    assert (third.writes, third.through, third.expired) == (True, True, "delete")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no mapping"),
        ("x = 1", "outside of a mapping"),
        ("[users", "not TOML"),
        ("[users]", "key is missing"),
        (f"[users]\n{KEY}keys = 1", "unknown option 'keys'; there are"),
        (f"[users]\n{KEY}as = 'list'", "'list' is none of hash, json"),
        (f"[users]\n{KEY}direction = 'both'", "direction = 'both' is none of"),
        (f"[users]\n{KEY}as = 'column'", "column is missing"),
        (f"[users]\n{KEY}as = 'column'\ncolumns = ['a']", "write column ="),
        (f"[users]\n{KEY}column = 'a'", "write columns ="),
        (f"[users]\n{KEY}columns = []", "at least one"),
        (f"[users]\n{KEY}columns = ['a', 'a']", "each once"),
        (f"[users]\n{KEY}columns = ['id']", "in the key already"),
        (f"[users]\n{KEY}columns = 3", "'all' or a list"),
        (f"[users]\n{KEY}as = 'any'\ncolumns = ['a']", "leave columns out"),
        (f"[users]\n{KEY}ttl = '10 minutes'", "ttl has to be a time"),
        (f"[users]\n{KEY}ttl = true", "ttl has to be a time"),
        (f"[users]\n{KEY}jitter = 2", "from 0 to 1"),
        (f"[users]\n{KEY}refresh = 0.5", "set ttl"),
        (f"[users]\n{KEY}away = 'stale'", "say how long"),
        (f"[users]\n{KEY}expired = 'delete'", "set direction"),
        (f"[users]\n{KEY}{WRITE}expired = 'never'", "none of keep, delete, archive"),
        (f"[users]\n{KEY}{WRITE}archive = 'a'", "set that"),
        (f"[users]\n{KEY}{WRITE}ttl = '1h'\nexpired = 'delete'", "leave out one of them"),
        (f"[users]\n{KEY}{WRITE}ttl = '1h'\nas = 'any'", "leave ttl out"),
        (f"[users]\n{KEY}{WRITE}expired = 'archive'\narchive = 'a.b.c'", "archive has to be"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(BadMap, match=problem):
        load(text)
