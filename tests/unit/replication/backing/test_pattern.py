from __future__ import annotations

import pytest
from distcache_replication.backing.errors import BadMap
from distcache_replication.backing.pattern import matcher, parse
from hypothesis import given
from hypothesis import strategies as st

USER = parse("user:{id:int}", "m")
ORDER = parse("order:{shop}:{number}/x", "m")
REST = parse("{key}", "m")


def test_the_first_that_matches() -> None:
    match = matcher([USER, ORDER, REST])
    assert match(b"user:42") == (0, (b"42",))
    assert match(b"user:-1") == (0, (b"-1",))
    assert match(b"order:a:b:c/x") == (1, (b"a", b"b:c"))
    for other in (
        b"user:042",
        b"user:",
        b"user:4x",
        b"order:a:/x",
        b"order::b/x",
        b"a\nb",
        b"\xff",
    ):
        assert match(other) == (2, (other,)), other
    assert matcher([USER, ORDER])(b"user:042") is None


def test_uuids() -> None:
    match = matcher([parse("{id:uuid}", "m")])
    assert match(b"123e4567-e89b-12d3-a456-426614174000") is not None
    assert match(b"123E4567-e89b-12d3-a456-426614174000") is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("user", "no variable"),
        ("user:{}", "without a name"),
        ("user:{id:float}", "types are int, text and uuid"),
        ("{a}{b}", "side by side"),
        ("{a}:{a}", "stands twice"),
        ("user:{id}:{", "brace"),
    ],
)
def test_what_is_no_pattern(source: str, problem: str) -> None:
    with pytest.raises(BadMap, match=problem):
        parse(source, "m")


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_keys_made_of_values_match(first: bytes, second: bytes) -> None:
    first = first.replace(b":", b"") or b"x"
    pattern = parse("a.*{one}:{two}", "m").typed(["text", "text"])
    assert matcher([pattern])(pattern.key([first, second])) == (0, (first, second))


@given(st.integers(-(10**18), 10**18))
def test_numbers(number: int) -> None:
    assert matcher([USER])(b"user:%d" % number) == (0, (b"%d" % number,))
