"""commands/lcs.py: the same answers as the table that Redis fills."""

import random

import pytest
from distcache_server.commands.lcs import Match, matches


def by_table(one: bytes, other: bytes) -> list[Match]:
    """The textbook's table, and Redis's way back through it."""
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, byte in enumerate(one, 1):
        for j, another in enumerate(other, 1):
            if byte == another:
                lengths[i][j] = lengths[i - 1][j - 1] + 1
            else:
                lengths[i][j] = max(lengths[i - 1][j], lengths[i][j - 1])
    i, j, length = len(one), len(other), 0
    found = []
    while i and j:
        if one[i - 1] == other[j - 1]:
            i, j, length = i - 1, j - 1, length + 1
            continue
        if length:
            found.append(Match(i, j, length))
            length = 0
        if lengths[i - 1][j] > lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return [*found, Match(i, j, length)] if length else found


@pytest.mark.parametrize("letters", [1, 2, 4, 20])
def test_beside_the_table(letters: int) -> None:
    generator = random.Random(letters)
    alphabet = range(97, 97 + letters)
    for _ in range(300):
        one, other = (
            bytes(generator.choices(alphabet, k=generator.randrange(25))) for _ in range(2)
        )
        assert matches(one, other) == by_table(one, other), (one, other)


def test_what_is_equal_is_one_match() -> None:
    text = random.Random(1).randbytes(3000)
    assert matches(text, text) == [Match(0, 0, 3000)]
    assert matches(text, b"") == matches(b"", text) == matches(b"", b"") == []
