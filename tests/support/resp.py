"""A strict reader of RESP2 and RESP3 replies that keeps every type apart.

hiredis folds `+OK` and `$2 OK` into the same bytes and a set into a list. A test that compares two
servers must see the difference, so each type of the wire has its own Python type here.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias


class Simple(bytes):
    """`+OK`"""


class Error(bytes):
    """`-ERR ...`, or the RESP3 bulk form `!21`"""

    @property
    def code(self) -> bytes:
        return self.split(b" ", 1)[0]


class Verbatim(bytes):
    """`=15 txt:...`, without the three letters and the colon"""


class BigNumber(int):
    """`(123`"""


class Set(list["Reply"]):
    """`~2 ...`"""


class Push(list["Reply"]):
    """`>2 ...`"""


class Map(tuple[tuple["Reply", "Reply"], ...]):
    """`%2 ...` as pairs in the order of the wire, since a key may be of any type"""


Reply: TypeAlias = "bool | int | float | bytes | list[Reply] | Map | None"


class Incomplete(Exception):
    """The buffer ends before the reply does."""


class Malformed(ValueError):
    """The bytes are not RESP."""


def parse(data: bytes, at: int = 0) -> tuple[Reply, int]:
    """The reply that starts at `at`, and where the next one starts."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, head, at = data[at : at + 1], data[at + 1 : end], end + 2
    if b"\r" in head or b"\n" in head:
        raise Malformed(data[:200])
    if kind in _LINES:
        return _LINES[kind](head), at
    if kind in b"$=!" and kind:
        return _bulk(kind, data, at, _number(head))
    if kind in b"*~>%" and kind:
        return _aggregate(kind, data, at, _number(head))
    raise Malformed(data[:200])


def parse_all(data: bytes) -> list[Reply]:
    """Every reply in `data`, which must end where a reply ends."""
    return list(_each(data))


def encode(*words: bytes | str | float) -> bytes:
    """A command as clients send it: an array of bulk strings."""
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    bulks = (b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
    return b"*%d\r\n" % len(encoded) + b"".join(bulks)


def plain(reply: Reply) -> Reply:
    """The reply as RESP2 would have shaped it, so that one expectation serves both protocols.

    Maps become flat lists, sets sorted lists, booleans integers, doubles and verbatim text bytes.
    """
    match reply:
        case Map():
            return [plain(part) for pair in reply for part in pair]
        case Set():
            return sorted((plain(item) for item in reply), key=repr)
        case list():
            return [plain(item) for item in reply]
        case bool():
            return int(reply)
        case float():
            return b"%d" % reply if reply.is_integer() and abs(reply) < 2**53 else b"%a" % reply
        case BigNumber():
            return b"%d" % reply
        case Error():
            return reply
        case bytes():
            return bytes(reply)
        case _:
            return reply


def flat(reply: Reply) -> list[Reply]:
    """Pairs as RESP2 shapes them, one after the other; RESP3 may have an array for each."""
    assert isinstance(reply, list), reply
    return [part for item in reply for part in (item if isinstance(item, list) else [item])]


def _each(data: bytes) -> Iterator[Reply]:
    at = 0
    while at < len(data):
        reply, at = parse(data, at)
        yield reply


def _number(head: bytes) -> int:
    if not head.removeprefix(b"-").isdigit():
        raise Malformed(head)
    return int(head)


def _double(head: bytes) -> float:
    if b"_" in head or head != head.strip():
        raise Malformed(head)
    return float(head)


def _boolean(head: bytes) -> bool:
    if head not in (b"t", b"f"):
        raise Malformed(head)
    return head == b"t"


def _null(head: bytes) -> None:
    if head:
        raise Malformed(head)


_LINES: dict[bytes, Callable[[bytes], Reply]] = {
    b"+": Simple,
    b"-": Error,
    b":": _number,
    b",": _double,
    b"#": _boolean,
    b"_": _null,
    b"(": lambda head: BigNumber(_number(head)),
}


def _bulk(kind: bytes, data: bytes, at: int, size: int) -> tuple[Reply, int]:
    if size == -1 and kind == b"$":
        return None, at
    if size < 0:
        raise Malformed(kind + b"%d" % size)
    end = at + size
    if len(data) < end + 2:
        raise Incomplete
    if data[end : end + 2] != b"\r\n":
        raise Malformed(data[end : end + 20])
    body = data[at:end]
    if kind == b"$":
        return body, end + 2
    if kind == b"!":
        return Error(body), end + 2
    if body[3:4] != b":":
        raise Malformed(body)
    return Verbatim(body[4:]), end + 2


def _aggregate(kind: bytes, data: bytes, at: int, size: int) -> tuple[Reply, int]:
    if size == -1 and kind == b"*":
        return None, at
    if size < 0:
        raise Malformed(kind + b"%d" % size)
    items: list[Reply] = []
    for _ in range(size * 2 if kind == b"%" else size):
        item, at = parse(data, at)
        items.append(item)
    if kind == b"%":
        return Map(zip(items[::2], items[1::2], strict=True)), at
    return {b"*": list, b"~": Set, b">": Push}[kind](items), at


__all__ = [
    "BigNumber",
    "Error",
    "Incomplete",
    "Malformed",
    "Map",
    "Push",
    "Reply",
    "Set",
    "Simple",
    "Verbatim",
    "encode",
    "parse",
    "parse_all",
    "plain",
]
