"""Values of any type as msgpack, for the table that keeps whole keys.

A pair of type and contents: ``["string", bytes]``, ``["list", [element, ...]]``,
``["set", [member, ...]]``, ``["zset", [member, score, ...]]``, ``["hash", {field: value}]``; a hash
whose fields have deadlines has them as a third item, ``{field: Unix milliseconds}``.

A stream is ``["stream", [entry, ...], last, first, deleted, added, [group, ...]]``, where an entry
is ``[ms, sequence, [field, value, ...]]``, and the ids are ``[ms, sequence]``: of the last entry
ever, of the first there is, and of the last that was deleted.  ``added`` counts all there ever
were.  A group is ``[name, last, read, [pending, ...], [consumer, ...]]``, what is pending is
``[ms, sequence, delivered in Unix milliseconds, times]``, and a consumer is
``[name, seen, active, [id, ...]]`` with the ids that it has to acknowledge.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack

from distcache_replication import rdb

NAMES = {
    rdb.STRING: "string",
    rdb.LIST: "list",
    rdb.SET: "set",
    rdb.ZSET: "zset",
    rdb.HASH: "hash",
    rdb.STREAM: "stream",
}
KINDS = {name: kind for kind, name in NAMES.items()}


class BadValue(Exception):
    """Bytes that are no value."""


def pack(kind: int, value: Any) -> bytes:
    """A plain value of the snapshot codec, as bytes."""
    contents: list[Any]
    if kind == rdb.ZSET:
        contents = [word for item in value for word in item]
    elif isinstance(value, rdb.Stream):
        return _packed([NAMES[kind], *_of_stream(value)])
    elif isinstance(value, rdb.Expiring):
        return _packed([NAMES[kind], value.fields, value.deadlines])
    else:
        contents = value
    return _packed([NAMES[kind], contents])


def _packed(value: list[Any]) -> bytes:
    data = msgpack.packb(value)
    assert isinstance(data, bytes)
    return data


def unpack(data: bytes) -> tuple[int, Any]:
    """The type and the plain value; BadValue."""
    try:
        name, contents, *more = msgpack.unpackb(data, strict_map_key=False)
        kind = KINDS[name]
        return kind, _CHECKS[kind](contents, *more)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise BadValue(str(error)) from None


def _string(value: Any) -> bytes:
    return _bytes(value)


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise TypeError("bytes are expected")
    return value


def _list(value: Any) -> list[bytes]:
    if not value:
        raise ValueError("nothing in it")
    return [_bytes(each) for each in value]


def _set(value: Any) -> list[bytes]:
    return list(dict.fromkeys(_list(value)))


def _zset(value: Any) -> list[tuple[bytes, float]]:
    if not value or len(value) % 2:
        raise ValueError("members without scores")
    pairs = {_bytes(m): float(s) for m, s in zip(value[::2], value[1::2], strict=True)}
    if any(score != score for score in pairs.values()):
        raise ValueError("a score that is no number")
    return list(pairs.items())


def _hash(value: Any, deadlines: Any = None) -> dict[bytes, bytes] | rdb.Expiring:
    if not value:
        raise ValueError("nothing in it")
    plain = {_bytes(field): _bytes(each) for field, each in value.items()}
    if not deadlines:
        return plain
    return rdb.Expiring(plain, {_bytes(f): int(at) for f, at in deadlines.items() if f in plain})


# Streams

Id = tuple[int, int]
LARGEST = 2**64 - 1


def _of_stream(value: rdb.Stream) -> list[Any]:
    return [
        [[*it.id, list(it.words)] for it in value.entries],
        *(value.last_id, value.first_id, value.deleted_id, value.added),
        [
            [
                *(group.name, group.last_id, group.read),
                [[*it.id, it.delivered_ms, it.deliveries] for it in group.pending],
                [[it.name, it.seen_ms, it.active_ms, list(it.pending)] for it in group.consumers],
            ]
            for group in value.groups
        ],
    ]


def _int(value: Any, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number that is none")
    return value


def _id(ms: Any, sequence: Any) -> Id:
    return _int(ms, 0, LARGEST), _int(sequence, 0, LARGEST)


def _stream(
    entries: Any, last: Any, first: Any, deleted: Any, added: Any, groups: Any
) -> rdb.Stream:
    found = []
    for ms, sequence, words in entries:
        if not words or len(words) % 2:
            raise ValueError("an entry without values")
        found.append(rdb.Entry(_id(ms, sequence), [_bytes(word) for word in words]))
    ids = [*(it.id for it in found), _id(*last)]
    if any(one >= other for one, other in pairwise(ids[:-1])) or ids[-2:] != sorted(ids[-2:]):
        raise ValueError("entries out of order")
    made = [_group(*each) for each in groups]
    _distinct([it.name for it in made])
    count = _int(added, 0)
    return rdb.Stream(found, ids[-1], _id(*first), _id(*deleted), count, made)


def _group(name: Any, last: Any, read: Any, pending: Any, consumers: Any) -> rdb.Group:
    waiting = [rdb.Pending(_id(*it[:2]), _int(it[2]), _int(it[3], 0)) for it in pending]
    readers = [
        rdb.Consumer(_bytes(who), _int(seen), _int(active), [_id(*it) for it in mine])
        for who, seen, active, mine in consumers
    ]
    _distinct([it.name for it in readers])
    _distinct([it.id for it in waiting])
    owned = _distinct([each for it in readers for each in it.pending])
    if owned != {it.id for it in waiting}:
        raise ValueError("what is pending and what consumers have differ")
    return rdb.Group(_bytes(name), _id(*last), _int(read, -1), waiting, readers)


def _distinct(values: list[Any]) -> set[Any]:
    found = set(values)
    if len(found) < len(values):
        raise ValueError("something stands twice")
    return found


_CHECKS: dict[int, Any] = {
    rdb.STRING: _string,
    rdb.LIST: _list,
    rdb.SET: _set,
    rdb.ZSET: _zset,
    rdb.HASH: _hash,
    rdb.STREAM: _stream,
}
