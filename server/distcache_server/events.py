"""Keyspace events: their classes, and the letters of ``notify-keyspace-events``.

See https://redis.io/docs/latest/develop/use/keyspace-notifications/
"""

from __future__ import annotations

KEYSPACE = 1 << 0  # K: to __keyspace@<db>__:<key>
KEYEVENT = 1 << 1  # E: to __keyevent@<db>__:<event>
GENERIC = 1 << 2  # g
STRING = 1 << 3  # $
LIST = 1 << 4  # l
SET = 1 << 5  # s
HASH = 1 << 6  # h
SORTED_SET = 1 << 7  # z
EXPIRED = 1 << 8  # x
EVICTED = 1 << 9  # e
STREAM = 1 << 10  # t
MISSED = 1 << 11  # m: not part of A
MODULE = 1 << 13  # d
NEW = 1 << 14  # n: not part of A

LETTERS = {
    "g": GENERIC,
    "$": STRING,
    "l": LIST,
    "s": SET,
    "h": HASH,
    "z": SORTED_SET,
    "x": EXPIRED,
    "e": EVICTED,
    "t": STREAM,
    "d": MODULE,
    "K": KEYSPACE,
    "E": KEYEVENT,
    "m": MISSED,
    "n": NEW,
}
ALL = sum(LETTERS[letter] for letter in "g$lshzxetd")


def parse(text: str) -> int:
    """``KEA`` to a mask of classes; ValueError for a letter that stands for nothing."""
    mask = 0
    for letter in text:
        if letter == "A":
            mask |= ALL
        elif letter in LETTERS:
            mask |= LETTERS[letter]
        else:
            raise ValueError(f"'{letter}' is no class of keyspace events")
    return mask


def letters(mask: int) -> str:
    """The mask as CONFIG GET shows it: ``A`` where all of its classes are in."""
    text = "A" if mask & ALL == ALL else ""
    return text + "".join(
        letter for letter, bit in LETTERS.items() if mask & bit and not (text and bit & ALL)
    )
