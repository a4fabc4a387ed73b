"""Intsets: different integers in order, all of one width.

Format: the width in bytes (2, 4, 8) and the number of members in 4 bytes each, then the members,
lowest byte first.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack, unpack_from

from distcache_replication.rdb.errors import BadRdb
from distcache_replication.rdb.window import Window

HEADER = 8
PIECE = 1 << 10
FORMS = {2: "h", 4: "i", 8: "q"}

_header = Struct("<II")


def decode(data: bytes) -> list[int]:
    """The members, in order."""
    if len(data) < HEADER:
        raise BadRdb("An intset is too short")
    width, count = _header.unpack_from(data)
    if width not in FORMS or len(data) != HEADER + width * count:
        raise BadRdb("An intset does not have the length that it says")
    numbers = list(unpack_from(f"<{count}{FORMS[width]}", data, HEADER))
    if any(map(int.__ge__, numbers, numbers[1:])):
        raise BadRdb("The members of an intset are not in order")
    return numbers


def check(window: Window) -> None:
    """BadRdb where ``decode`` would raise it."""
    pos = window.move(0)
    if window.size < HEADER:
        raise BadRdb("An intset is too short")
    width, count = _header.unpack_from(window.data)
    if width not in FORMS or window.size != HEADER + width * count:
        raise BadRdb("An intset does not have the length that it says")
    pos = HEADER
    last: int | None = None
    while count:
        pos = window.move(pos)
        some = min(count, PIECE, (len(window.data) - pos) // width)
        numbers = unpack_from(f"<{some}{FORMS[width]}", window.data, pos)
        if any(map(int.__ge__, numbers, numbers[1:])) or (last is not None and last >= numbers[0]):
            raise BadRdb("The members of an intset are not in order")
        last = numbers[-1]
        pos += some * width
        count -= some


def encode(numbers: Sequence[int]) -> bytes:
    """An intset of these members, which are in order."""
    most = max(numbers[-1], ~numbers[0]) if numbers else 0
    width = 2 if most < 1 << 15 else 4 if most < 1 << 31 else 8
    count = len(numbers)
    return _header.pack(width, count) + pack(f"<{count}{FORMS[width]}", *numbers)
