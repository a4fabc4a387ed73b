"""Values of any type as msgpack, for the table that keeps whole keys.

A pair of type and contents: ``["string", bytes]``, ``["list", [element, ...]]``,
``["set", [member, ...]]``, ``["zset", [member, score, ...]]``, ``["hash", {field: value}]``; a hash
whose fields have deadlines has them as a third item, ``{field: Unix milliseconds}``.
"""

from __future__ import annotations

from typing import Any

import msgpack

from distcache_replication import rdb

NAMES = {
    rdb.STRING: "string",
    rdb.LIST: "list",
    rdb.SET: "set",
    rdb.ZSET: "zset",
    rdb.HASH: "hash",
}
KINDS = {name: kind for kind, name in NAMES.items()}


class BadValue(Exception):
    """Bytes that are no value."""


def pack(kind: int, value: Any) -> bytes:
    """A plain value of the snapshot codec, as bytes."""
    contents: list[Any]
    if kind == rdb.ZSET:
        contents = [word for item in value for word in item]
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


_CHECKS: dict[int, Any] = {
    rdb.STRING: _string,
    rdb.LIST: _list,
    rdb.SET: _set,
    rdb.ZSET: _zset,
    rdb.HASH: _hash,
}
