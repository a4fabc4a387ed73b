"""Splitting a line into words, and quoting one."""

import pytest
from distcache_server.quoting import Unbalanced, quote, quote_if_needed, split
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t\v ", []),
        (b"set key value", [b"set", b"key", b"value"]),
        (b"  set\tkey\rvalue\n", [b"set", b"key", b"value"]),
        (b'save ""', [b"save", b""]),
        (b"''", [b""]),
        (b'"a b" c', [b"a b", b"c"]),
        (b"'a b' c", [b"a b", b"c"]),
        (b'a"b c"', [b"ab c"]),
        (b'"\\n\\r\\t\\b\\a\\\\\\"\\q"', [b'\n\r\t\b\a\\"q']),
        (b'"\\x00\\xfF\\xg1"', [b"\x00\xffxg1"]),
        (b"'\\n\\'\\\\ '", [b"\\n'\\\\ "]),
        (b"\\n", [b"\\n"]),
        (b"a\vb", [b"a\vb"]),
        (b"a \v b", [b"a", b"b"]),
        (b'"a"\vb', [b"a", b"b"]),
        (b"a\0b c", [b"a"]),
    ],
)
def test_words(line: bytes, words: list[bytes]) -> None:
    assert split(line) == words


@pytest.mark.parametrize(
    "line", [b'"', b"'", b'a "b', b"a 'b", b'"a"b', b"'a'b", b"'a\\'", b'"a\\"']
)
def test_unbalanced_quotes(line: bytes) -> None:
    with pytest.raises(Unbalanced):
        split(line)


@given(st.binary())
def test_a_quoted_word_comes_back(word: bytes) -> None:
    assert split(quote(word)) == [word]
    assert split(b"a " + quote_if_needed(word) + b" b") == [b"a", word, b"b"]


def test_quotes_are_printable() -> None:
    assert quote(b'\xe9 "\\\n') == b'"\\xe9 \\"\\\\\\n"'
    assert quote_if_needed(b"plain*") == b"plain*"
    assert quote_if_needed(b"") == b'""'


@given(st.lists(st.sampled_from([b" ", b'"', b"'", b"\\", b"x", b"4", b"\v", b"\0"]), max_size=14))
def test_any_line_has_words_or_is_unbalanced(pieces: list[bytes]) -> None:
    try:
        words = split(b"".join(pieces))
    except Unbalanced:
        return
    assert split(b" ".join(map(quote, words))) == words
