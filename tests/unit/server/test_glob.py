"""glob.py: which texts a Redis pattern matches."""

from __future__ import annotations

import pytest
from distcache_server.glob import literal, match, matcher
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import fuzz_commands

NUL = 0


def at(pattern: bytes, place: int) -> int:
    """A byte of the pattern; the NUL that ends a C string past its end."""
    return pattern[place] if place < len(pattern) else NUL


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def lower(value: int) -> int:
    return value | 0x20 if ord("A") <= value <= ord("Z") else value


def slow(pattern: bytes, text: bytes, fold: bool) -> bool:
    """The matcher of Redis, as it behaves: byte for byte, with recursion at every star."""
    if not text:
        return not pattern
    if not pattern:
        return False
    head = pattern[0]
    if head == ord("*"):
        rest = pattern.lstrip(b"*")
        return not rest or any(slow(rest, text[skip:], fold) for skip in range(len(text)))
    if head == ord("?"):
        used, accepted = 1, True
    elif head == ord("["):
        used, accepted = slow_class(pattern, text[0], fold)
    else:
        used = 2 if head == ord("\\") and len(pattern) > 1 else 1
        wanted = pattern[used - 1]
        accepted = lower(wanted) == lower(text[0]) if fold else wanted == text[0]
    if not accepted:
        return False
    if len(text) == 1:
        return not pattern[used:].lstrip(b"*")
    return slow(pattern[used:], text[1:], fold)


def slow_class(pattern: bytes, byte: int, fold: bool) -> tuple[int, bool]:
    """How many bytes of the pattern the class takes, and whether it has the byte."""
    place, found = 1, False
    negated = at(pattern, place) == ord("^")
    place += negated
    while place < len(pattern) and pattern[place] != ord("]"):
        left = len(pattern) - place
        if pattern[place] == ord("\\") and left >= 2:
            place += 1
            found |= pattern[place] == byte
        elif left >= 3 and pattern[place + 1] == ord("-"):
            ends = sorted([signed(pattern[place]), signed(pattern[place + 2])])
            value = signed(byte)
            if fold:
                ends, value = [lower(end) for end in ends], lower(value)
            found |= ends[0] <= value <= ends[1]
            place += 2
        elif fold:
            found |= lower(pattern[place]) == lower(byte)
        else:
            found |= pattern[place] == byte
        place += 1
    return min(place + 1, len(pattern)), found != negated


def among(alphabet: bytes, most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(list(alphabet)), max_size=most).map(bytes)


@pytest.mark.fuzz
@given(among(b"**??[]^-\\abcAB\xff\x80", 12), among(b"aabcABC-]^\\\xff\x80", 9), st.booleans())
@example(b"*", b"", False)
@example(b"[^", b"a", False)
@example(b"[a-]]", b"^]", False)
@example(b"[\\A]", b"a", True)
@settings(max_examples=fuzz_commands(1000))
def test_it_agrees_with_the_plain_recursive_matcher(
    pattern: bytes, text: bytes, ignore_case: bool
) -> None:
    assert match(pattern, text, ignore_case=ignore_case) == slow(pattern, text, ignore_case)


@given(among(b"*?[^a-b]\\", 10), among(b"ab", 12))
@settings(max_examples=300)
def test_a_long_pattern_agrees_too(pattern: bytes, text: bytes) -> None:
    assert match(b"?" * 300 + pattern, b"x" * 299 + text) == slow(b"?" + pattern, text, False)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"", [b""], [b"a"]),
        (b"*", [b"a", b"\xff\n"], [b""]),
        (b"***", [b"a"], [b""]),
        (b"hello", [b"hello"], [b"hell", b"hello ", b"Hello"]),
        (b"user:*", [b"user:", b"user:1"], [b"user", b"a user:1"]),
        (b"*:name", [b":name", b"1:name"], [b"1:names"]),
        (b"*mid*", [b"mid", b"amidst"], [b"m.id"]),
        (b"a*a", [b"aa", b"aba"], [b"a", b"ab"]),
        (b"a*b*c", [b"abc", b"a.b.b.c"], [b"acb", b"ac"]),
        (b"*ab*ab*", [b"abab", b"ab.ab"], [b"aab", b"ab"]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-b]llo", [b"hallo", b"hbllo"], [b"hcllo"]),
        (b"h[b-a]llo", [b"hallo"], [b"hcllo"]),
        (b"[a-\xff]", [b"a", b"\xff", b"\x00"], [b"b", b"\xfe"]),
        (b"[]a]", [], [b"a", b"]", b"a]"]),
        (b"[a-]", [b"a", b"]", b"^"], [b"-", b"b"]),
        (b"[abc", [b"a", b"c"], [b"[abc", b""]),
        (b"[\\]]", [b"]"], [b"\\", b"\\]"]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"[^]", [b"a", b"]"], [b""]),
    ],
)
def test_each_form(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    test = matcher(pattern)
    assert [text for text in yes if not test(text)] == []
    assert [text for text in no if test(text)] == []


def test_case_can_be_ignored() -> None:
    assert match(b"MAX*", b"maxmemory", ignore_case=True)
    assert match(b"max[M-N]?mory", b"MAXmEMORY", ignore_case=True)
    assert not match(b"MAX*", b"maxmemory")


def test_literal() -> None:
    assert literal(b"")
    assert literal(b"plain-^]")
    for special in b"*?[\\":
        assert not literal(b"a%cb" % special)


@pytest.mark.parametrize(
    "text", [b"", b"a" * 100, b"a" * 20_000 + b"b", b"a" * 40_000, b"b" * 50_000]
)
@pytest.mark.parametrize("pattern", [b"a*", b"*a", b"?*", b"[ab]*", b"\\a*"])
def test_a_hostile_pattern_is_answered(pattern: bytes, text: bytes) -> None:
    """A matcher that goes back over its stars would run into the timeout of the tests."""
    possible = len(text) >= 20_000 and (text[:1] == b"a" or pattern in (b"?*", b"[ab]*"))
    if pattern == b"*a" and text.endswith(b"b"):
        possible = False
    assert match(pattern * 1000, text) == possible
    assert not match(pattern * 20_000, text)


@pytest.mark.parametrize("step", [b"*a", b"**a", b"*?", b"*[ab]", b"*\\a"])
def test_more_than_a_thousand_stars_match_nothing(step: bytes) -> None:
    text = b"a" * 3000
    assert match(step * 1000, text)
    assert match(step * 1000 + b"*", text)
    assert not match(step * 1001, text)
