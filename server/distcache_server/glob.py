r"""Redis's glob patterns: KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET, ACL.

``*`` any bytes, ``?`` one byte, ``[abc]`` ``[a-c]`` ``[^a]`` one of (none of) these, ``\x`` just x.
Nothing is an error: a class that never closes ends with the pattern, a last ``\`` means itself.

Three habits of Redis's matcher (util.c, stringmatchlen) that a caller can see are kept: the empty
text matches the empty pattern only, not even ``*`` (KEYS and SCAN never ask for a plain ``*``); the
ends of a range are compared as signed bytes, so ``[a-\xff]`` spans 0xff..a; and a pattern in which
more than 1000 stars have something behind them matches nothing.

A pattern is compiled once into a function of the text.  None of these functions recurses or goes
back over a ``*`` once passed, so the work is bounded by len(pattern) * len(text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized

Matcher = Callable[[bytes], bool]

_SPECIAL = re.compile(rb"[*?\[\\]")
_STEPS = re.compile(rb"[?\[\\]")
_TOKEN = re.compile(
    rb"(?P<stars>\*+)|(?P<any>\?)|(?P<class>\[)|\\(?P<escaped>.)|[^*?\[]", re.DOTALL
)

Step = frozenset[int]
"""The bytes that may stand at one place."""

_EVERY: Step = frozenset(range(256))
_EXACT = [frozenset((byte,)) for byte in range(256)]
_FOLDED = [frozenset(one.lower() + one.upper()) for one in map(b"%c".__mod__, range(256))]
_MOST_STARS = 1000
_LONGEST_REGEX = 256
"""One-byte steps; past it a regular expression costs more to compile than it saves."""


def literal(pattern: bytes) -> bool:
    """Whether the pattern matches itself and nothing else."""
    return _SPECIAL.search(pattern) is None


def match(pattern: bytes, text: bytes, *, ignore_case: bool = False) -> bool:
    """Whether the whole text has the form of the pattern."""
    return matcher(pattern, ignore_case)(text)


def matcher(pattern: bytes, ignore_case: bool = False) -> Matcher:
    """The test for one pattern and many texts."""
    if _STEPS.search(pattern) is None:
        first, *rest = (pattern.lower() if ignore_case else pattern).split(b"*")
        words = [first, *filter(None, rest[:-1]), *rest[-1:]]
        if _too_many_stars(words):
            return _never
        test = _by_words(words)
        return (lambda text: test(text.lower())) if ignore_case else test
    segments = _parse(pattern, ignore_case)
    if _too_many_stars(segments):
        return _never
    if sum(map(len, segments)) <= _LONGEST_REGEX:
        return _by_regex(segments)
    return _by_bits(segments)


def _too_many_stars(parts: Sequence[Sized]) -> bool:
    return len(parts) - 1 - (not parts[-1]) > _MOST_STARS


def _never(_: bytes) -> bool:
    return False


def _parse(pattern: bytes, ignore_case: bool) -> list[list[Step]]:
    """What stands between the stars: one step for every byte that must be there."""
    singles = _FOLDED if ignore_case else _EXACT
    segments: list[list[Step]] = [[]]
    position, end = 0, len(pattern)
    while position < end:
        token = _TOKEN.match(pattern, position)
        assert token is not None
        position = token.end()
        if token["stars"]:
            segments.append([])
        elif token["any"]:
            segments[-1].append(_EVERY)
        elif token["class"]:
            step, position = _class(pattern, position, ignore_case)
            segments[-1].append(step)
        else:
            segments[-1].append(singles[token[0][-1]])
    return segments


def _class(pattern: bytes, position: int, ignore_case: bool) -> tuple[Step, int]:
    """The bytes of a class whose ``[`` stands before the position, and where the class ends."""
    end = len(pattern)
    negated = pattern.startswith(b"^", position)
    position += negated
    members: set[int] = set()
    while position < end and pattern[position] != 0x5D:  # ]
        byte = pattern[position]
        if byte == 0x5C and position + 1 < end:  # an escaped byte is exact, whatever the case
            members.add(pattern[position + 1])
            position += 2
        elif position + 2 < end and pattern[position + 1] == 0x2D:  # -
            members |= _range(byte, pattern[position + 2], ignore_case)
            position += 3
        else:
            members |= _FOLDED[byte] if ignore_case else {byte}
            position += 1
    return (_EVERY - members if negated else frozenset(members)), position + 1


def _range(first: int, last: int, ignore_case: bool) -> set[int]:
    low, high = sorted((_signed(first), _signed(last)))
    if not ignore_case:
        return {value & 0xFF for value in range(low, high + 1)}
    low, high = _lower(low), _lower(high)
    return {byte for byte in _EVERY if low <= _lower(_signed(byte)) <= high}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lower(value: int) -> int:
    return value + 32 if 0x41 <= value <= 0x5A else value


def _by_words(words: list[bytes]) -> Matcher:
    """For a pattern of fixed words between stars."""
    first, *middle = words
    if not middle:
        return first.__eq__
    last = middle.pop()
    if middle:
        inner = middle[0]
        if len(middle) == 1 and not first and not last:
            return lambda text: inner in text
        return lambda text: _in_order(text, first, middle, last)
    if not first and not last:
        return bool
    if not last:
        return lambda text: text.startswith(first)
    if not first:
        return lambda text: text.endswith(last)
    least = len(first) + len(last)
    return lambda text: text.startswith(first) and text.endswith(last) and len(text) >= least


def _in_order(text: bytes, first: bytes, middle: list[bytes], last: bytes) -> bool:
    """Whether the words stand in the text one after the other, the outer ones at its ends."""
    if not (text.startswith(first) and text.endswith(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for word in middle:
        # The leftmost place is always good: it leaves the most to the words that follow.
        position = text.find(word, position, end)
        if position < 0:
            return False
        position += len(word)
    return position <= end


def _by_regex(segments: list[list[Step]]) -> Matcher:
    """For a short pattern: an expression that keeps the first place it finds for each segment."""
    first, *middle = [b"".join(map(_expression, segment)) for segment in segments]
    if middle:
        last = middle.pop()
        first += b"".join([b"(?>.*?%b)" % segment for segment in middle]) + b".*" + last
    whole = re.compile(first, re.DOTALL).fullmatch
    return lambda text: whole(text) is not None


def _expression(step: Step) -> bytes:
    if not step:
        return b"(?!)"
    if step == _EVERY:
        return b"."
    return b"[%b]" % b"".join([b"\\x%02x" % byte for byte in sorted(step)])


def _by_bits(segments: list[list[Step]]) -> Matcher:
    """For a long pattern: all the ways to have come this far are the bits of one number.

    Bit n is set when the text so far can be read as the first n steps (Baeza-Yates and Gonnet,
    1992, "A new approach to text searching").  A star after n steps keeps bit n alive.
    """
    steps = [step for segment in segments for step in segment]
    stars, passed = 0, 0
    for segment in segments[:-1]:
        passed += len(segment)
        stars |= 1 << passed
    accepted: dict[int, int] = {}

    def test(text: bytes) -> bool:
        if len(text) < len(steps):
            return False
        for byte in set(text) - accepted.keys():
            bits = ["1" if byte in step else "0" for step in reversed(steps)]
            accepted[byte] = int("".join(bits), 2)
        state = 1
        for byte in text:
            state = (state & accepted[byte]) << 1 | state & stars
            if not state:
                return False
        return bool(state >> len(steps))

    return test
