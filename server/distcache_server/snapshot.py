"""Keyspaces as a snapshot, and back: which form a value gets, and what a record becomes.

``entry`` writes one key and ``Loader.feed`` takes records one by one, so that whoever walks over
the keys decides when and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from distcache_replication import rdb

from distcache_server import stream_form
from distcache_server.filling import Entry, fill
from distcache_server.keyspace import Keyspace
from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash
from distcache_server.types.limits import Limits
from distcache_server.types.list import List
from distcache_server.types.set import LISTPACK, Set
from distcache_server.types.sorted_set import Item, SortedSet
from distcache_server.types.stream import Stream

FIELD_DEADLINES = 12
"""The version of the format that has deadlines of fields."""


# Writing


def form_of(value: Any, limits: Limits, style: rdb.Style, kept: bool = False) -> rdb.Form:
    """The form of a value, compact or not as its encoding is.

    If ``kept``, of the value as it is now, which may change while the form is written, until its
    ``release``.
    """
    return FORMS[type(value)](value, limits, style, kept)


def _of_string(value: bytes, _limits: Limits, style: rdb.Style, _kept: bool) -> rdb.Form:
    return rdb.of_string(bytes(value), style)


def _of_list(value: List, limits: Limits, style: rdb.Style, kept: bool) -> rdb.Form:
    return rdb.of_list(*value.batches_twice(kept), limits.list_size, style)


def _of_set(value: Set, _: Limits, style: rdb.Style, kept: bool) -> rdb.Form:
    if value.numbers is not None:
        return rdb.of_intset(value.numbers, style)
    members = chain.from_iterable(value.batches(kept))
    return rdb.of_set(members, len(value), value.encoding is LISTPACK, style)


def _of_sorted_set(value: SortedSet, _: Limits, style: rdb.Style, kept: bool) -> rdb.Form:
    if value.packed:
        return rdb.of_zset(value.items((0, len(value))), len(value), True, style)
    # Redis reads a large one faster from the end; here it makes no difference.
    return rdb.of_zset(chain.from_iterable(value.batches(kept)), len(value), False, style)


def _of_hash(value: Hash, _: Limits, style: rdb.Style, kept: bool) -> rdb.Form:
    items = chain.from_iterable(value.batches(kept))
    packed = value.encoding != b"hashtable"
    if not value.deadlines:
        return rdb.of_hash(items, len(value), packed, style)
    deadlines = value.deadlines
    reader, earliest = deadlines.reader(kept), deadlines.earliest_ms
    return rdb.of_expiring(items, len(value), reader, earliest, packed, style)


def _of_stream(value: Stream, _: Limits, style: rdb.Style, kept: bool) -> rdb.Form:
    return stream_form.form_of(value, style, kept)


FORMS: dict[type, Callable[[Any, Limits, rdb.Style, bool], rdb.Form]] = {
    bytes: _of_string,
    Buffer: _of_string,
    List: _of_list,
    Set: _of_set,
    SortedSet: _of_sorted_set,
    Hash: _of_hash,
    Stream: _of_stream,
}


def dump(value: Any, limits: Limits, style: rdb.Style) -> bytes:
    """The payload of DUMP."""
    dated = type(value) is Hash and value.deadlines
    return rdb.dump(form_of(value, limits, style), FIELD_DEADLINES if dated else style.version)


def entry(keyspace: Keyspace, key: bytes, value: Any, style: rdb.Style) -> Iterable[bytes]:
    """A key as it stands in a snapshot, piece by piece."""
    deadline = keyspace.deadlines.get(key) if keyspace.deadlines.count else None
    if keyspace.ledger is None:
        if deadline is None and type(value) is bytes:
            return (rdb.plain_entry(key, value, style.compress),)
        idle_s = frequency = None
    else:
        idle_s, frequency = keyspace.ledger.recorded(key, keyspace.now_ms)
    form = form_of(value, keyspace.limits, style)
    return rdb.entry(key, form, style.compress, deadline, idle_s, frequency)


def pieces(
    databases: Iterable[Keyspace], style: rdb.Style, aux: dict[bytes, bytes]
) -> Iterator[bytes]:
    """All keys of all databases, to be sealed."""
    yield rdb.header(style.version, aux)
    for keyspace in databases:
        if len(keyspace):
            yield rdb.select(keyspace.index, len(keyspace), len(keyspace.deadlines))
            for key, value in keyspace.values.items():
                yield from entry(keyspace, key, value, style)


# Reading


def value_of(kind: int, value: Any, limits: Limits) -> Any:
    """What the keyspace keeps for a plain value."""
    return MAKERS[kind](value, limits)


def _string(value: bytes, _: Limits) -> bytes:
    return value


def _list(value: list[bytes], limits: Limits) -> List:
    return List(value, limits.list_size)


def _sorted_set(value: list[Item], limits: Limits) -> SortedSet:
    return SortedSet(value, limits)


def _hash(value: dict[bytes, bytes] | rdb.Expiring, limits: Limits) -> Hash:
    if not isinstance(value, rdb.Expiring):
        return Hash.of(value, limits)
    made = Hash.of(value.fields, limits)
    for field, deadline in value.deadlines.items():
        made.expire_at(field, deadline)
    return made


MAKERS: dict[int, Callable[[Any, Limits], Any]] = {
    rdb.STRING: _string,
    rdb.LIST: _list,
    rdb.SET: Set.of,
    rdb.ZSET: _sorted_set,
    rdb.HASH: _hash,
    rdb.STREAM: stream_form.made,
}


def install(
    keyspace: Keyspace,
    key: bytes,
    value: Any,
    deadline_ms: int | None = None,
    idle_s: int | None = None,
    frequency: int | None = None,
) -> None:
    """Put a value where no key is.  Then ``changed``, where anybody is to know."""
    keyspace.replace(key, value)
    if deadline_ms is not None:
        keyspace.expire_at(key, deadline_ms)
    ledger = keyspace.ledger
    if ledger is not None:
        ledger.measure(key, value)
        if idle_s is not None or frequency is not None:
            ledger.recall(key, idle_s, frequency, keyspace.now_ms)


def plain(value: Any) -> tuple[int, Any]:
    """The type and the plain form of what the keyspace keeps: `value_of` makes the same of it."""
    return PLAIN[type(value)](value)


def _plain_hash(value: Hash) -> tuple[int, Any]:
    fields = dict(value.items())
    if not value.deadlines:
        return rdb.HASH, fields
    return rdb.HASH, rdb.Expiring(fields, dict(value.deadlines.by_field.items()))


PLAIN: dict[type, Callable[[Any], tuple[int, Any]]] = {
    bytes: lambda value: (rdb.STRING, value),
    Buffer: lambda value: (rdb.STRING, bytes(value)),
    List: lambda value: (rdb.LIST, list(value)),
    Set: lambda value: (rdb.SET, list(value)),
    SortedSet: lambda value: (rdb.ZSET, list(value.items((0, len(value))))),
    Hash: _plain_hash,
    Stream: lambda value: (rdb.STREAM, stream_form.plain(value)),
}


class Loader:
    """Takes a snapshot into databases, as it arrives.

    ``keep_expired`` is for a replica, which removes a key only when its primary says so.  A key
    that is there already is an error, or with ``merge`` gets the value in the snapshot.
    """

    def __init__(
        self,
        databases: list[Keyspace],
        now_ms: int,
        *,
        keep_expired: bool = False,
        merge: bool = False,
        checksum: bool = True,
        size: int | None = None,
    ) -> None:
        self.databases = databases
        self.keyspace = databases[0]
        """That of the last key."""
        self.now_ms = now_ms
        self.keep_expired = keep_expired
        self.merge = merge
        self.decoder = rdb.Decoder(checksum, size)
        self.loaded = 0
        self.expired = 0
        self.lapsed: list[tuple[int, bytes]] = []
        """Databases and keys of those that were past their deadlines."""
        for keyspace in databases:
            keyspace.now_ms = now_ms

    def feed(self, data: bytes) -> None:
        """Take the keys that are complete with these bytes; BadRdb."""
        self._take(self.decoder.feed(data))

    def finish(self) -> None:
        """Take the last keys; BadRdb where the snapshot is not complete."""
        self._take(self.decoder.finish())

    def _take(self, records: Iterator[rdb.Record]) -> None:
        oldest = -1 if self.keep_expired else self.now_ms
        while True:
            keyspace = self.keyspace
            if keyspace.ledger is None and keyspace.capture is None:
                before = len(keyspace)
                record = fill(keyspace, records, oldest, MAKERS)
                self.loaded += len(keyspace) - before
            else:
                record = next(records, None)
            if record is None:
                return
            self._install(record, oldest)

    def _install(self, record: Entry, oldest: int) -> None:
        """Take a key of which there is more to say."""
        index, key, kind, value, deadline, idle_s, frequency = record
        if index >= len(self.databases):
            count = len(self.databases)
            raise self._bad(
                f"A key is in database {index}, and there are {count} (set databases to more)"
            )
        self.keyspace = keyspace = self.databases[index]
        if deadline is not None and deadline <= oldest:
            self.expired += 1
            self.lapsed.append((index, key))
            return
        if key in keyspace.values:
            if not self.merge:
                raise self._bad(f"The key {key[:100]!r} comes twice in database {index}")
            keyspace.remove(key)
        if kind != rdb.STRING:
            value = value_of(kind, value, keyspace.limits)
        install(keyspace, key, value, deadline, idle_s, frequency)
        self.loaded += 1

    def _bad(self, reason: str) -> rdb.BadRdb:
        return rdb.BadRdb(reason, self.decoder.offset)


def aux(redis_version: str, now_s: int, used_memory: int) -> dict[bytes, bytes]:
    """What a snapshot tells about where it comes from, in the words of Redis."""
    return {
        b"redis-ver": redis_version.encode(),
        b"redis-bits": b"64",
        b"ctime": b"%d" % now_s,
        b"used-mem": b"%d" % used_memory,
        b"aof-base": b"0",
    }
