"""From changed rows to the keys that they are in the cache.  Pure: no database, no cache.

``Rows`` knows which keys a row of a table is.  ``Tracker`` follows the messages of pgoutput and
gives for each transaction the keys concerned, and whether the transaction is one of our own.
A batch of ours is known by the row of our stream in ``distcache.position``, which it changes, too:
what it does to rows that we write is nothing new, but a cascade or a trigger may have changed
others.  Any other program says by a logical message with the prefix ``distcache:<stream>`` that
nothing of a transaction is new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from distcache_replication.backing.pattern import matcher
from distcache_replication.backing.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Relation,
    Truncate,
    Unchanged,
    Update,
    Values,
)
from distcache_replication.backing.plan import Plan

ROWS = b"IUD"
"""How messages about rows begin."""
MOST = 100_000
"""Keys of one transaction that are remembered; with more, all keys of their mapping count."""
OWN = "distcache:"
"""How the prefix of the message begins that our own transactions may carry."""
POSITIONS, STREAM = ("distcache", "position"), "stream"
"""The table in which a stream notes how far it was written, and the column that names it."""


class Changes(NamedTuple):
    """What changed up to ``position``."""

    keys: Collection[bytes]
    mappings: Collection[int]
    """Mappings all of whose keys may have changed, by their numbers."""
    position: int = 0
    own: bool = False
    """The cache wrote it itself; the keys are those that it does not know of all the same."""


class Rows:
    """Which keys a row is, by the tables of all mappings that want to hear of changes."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans
        self.tables: dict[tuple[str, ...], list[int]] = {}
        """The numbers of the mappings of each table."""
        for number, plan in enumerate(plans):
            if plan.mapping.changes != "ignore":
                self.tables.setdefault(plan.table.name, []).append(number)
        self._match = matcher([plan.pattern for plan in plans])

    def written(self, number: int) -> bool:
        """Whether we write the rows of a mapping ourselves."""
        return self.plans[number].mapping.writes

    def key_columns(self, number: int) -> tuple[str, ...]:
        return tuple(column.name for column in self.plans[number].keys)

    def columns(self, table: tuple[str, ...]) -> list[str]:
        """The columns that make up the keys of a table, each once."""
        names = [name for number in self.tables[table] for name in self.key_columns(number)]
        return list(dict.fromkeys(names))

    def key(self, number: int, values: Sequence[bytes]) -> bytes | None:
        """The key that a row is, by the texts of its key columns; None where it is no key."""
        plan = self.plans[number]
        written = tuple(
            _written(column.kind is not None and column.kind.family == "bytes", value)
            for column, value in zip(plan.keys, values, strict=True)
        )
        if plan.any_type:
            key = written[0]
            found = self._match(key)
            return key if found is not None and found[0] == number else None
        key = plan.pattern.key(written)
        # A text may have the very character in it that ends a variable: that is another row.
        return key if self._match(key) == (number, written) else None


def _written(is_bytes: bool, value: bytes) -> bytes:
    """A value of a key column as it stands in keys; bytea comes in hexadecimal."""
    if not is_bytes or not value.startswith(b"\\x"):
        return value
    try:
        return bytes.fromhex(value[2:].decode())
    except ValueError:
        return value


class Gathered:
    """The keys of a transaction, as they come."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.keys: dict[bytes, int] = {}
        """With the numbers of their mappings."""
        self.mappings: set[int] = set()
        self._with_keys: set[int] = set()

    def whole(self, numbers: Collection[int]) -> None:
        """All keys of these mappings may have changed."""
        self.mappings.update(numbers)

    def row(self, number: int, values: Sequence[bytes | Unchanged | None]) -> None:
        """A row was there, or is now; its key columns, UNCHANGED where they were not told."""
        if number in self.mappings:
            return
        told = [value for value in values if isinstance(value, bytes)]
        if UNCHANGED in values:
            self.mappings.add(number)
        elif len(told) == len(values) and (key := self.rows.key(number, told)) is not None:
            self.keys[key] = number
            self._with_keys.add(number)
            if len(self.keys) > MOST:
                self.mappings |= self._with_keys
                self.keys.clear()

    def but_written(self) -> tuple[Collection[bytes], Collection[int]]:
        """Keys and mappings, but for those that we write ourselves."""
        written = self.rows.written
        return (
            [key for key, number in self.keys.items() if not written(number)],
            {number for number in self.mappings if not written(number)},
        )

    def named(self, number: int, values: Mapping[str, object]) -> None:
        """The same, from the texts of columns by their names."""
        found = [values.get(name, UNCHANGED) for name in self.rows.key_columns(number)]
        self.row(number, [_told(value) for value in found])


def _told(value: object) -> bytes | Unchanged | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return None if value is None else UNCHANGED


class _Table:
    """A table, as the Relation message told, with the mappings whose rows it has."""

    def __init__(self, relation: Relation, rows: Rows) -> None:
        names = [attribute.name for attribute in relation.attributes]
        identity = {it.name for it in relation.attributes if it.identity}
        self.places: dict[int, list[int | None]] = {}
        """Where the columns of the key stand, for each mapping."""
        self.blind: set[int] = set()
        """Mappings whose old key an update or delete does not tell."""
        for number in rows.tables.get(relation.name, ()):
            columns = rows.key_columns(number)
            self.places[number] = [names.index(it) if it in names else None for it in columns]
            if relation.identity != "f" and not identity.issuperset(columns):
                self.blind.add(number)
        self.is_written = all(map(rows.written, self.places))


class Tracker:
    """Follows the messages of one stream."""

    def __init__(self, rows: Rows, stream: str) -> None:
        self.rows = rows
        self.inside = False
        """Within a transaction."""
        self.transaction = 0
        """The number of this one, or the last."""
        self._stream = stream.encode()
        self._own_prefix = OWN + stream
        self._positions: tuple[int, int] | None = None
        """The number of that table, and where its column is."""
        self._tables: dict[int, _Table] = {}
        self._gathered = Gathered(rows)
        self._own = self._batch = False
        """Others say that a transaction is ours; it is a batch of the write-behind."""

    def wants(self, data: bytes) -> bool:
        """Whether a message can tell something new: of large transactions most cannot."""
        if data[0] not in ROWS:
            return True
        relation = int.from_bytes(data[1:5], "big")
        table = self._tables.get(relation)
        if (
            table is None
            or self._gathered.mappings.issuperset(table.places)
            or (self._batch and table.is_written)
        ):
            return self._positions is not None and relation == self._positions[0]
        return True

    def take(self, message: Decoded) -> Changes | None:
        """What a transaction changed, once the message ends it."""
        match message:
            case Insert(relation, new):
                self._row(relation, new, is_new=True)
            case Update(relation, old, new):
                if old is not None:
                    self._row(relation, old)
                self._row(relation, new, is_new=old is not None)
            case Delete(relation, old):
                self._row(relation, old)
            case Truncate(relations):
                for relation in relations:
                    if (table := self._tables.get(relation)) is not None:
                        self._gathered.whole(table.places)
            case Relation():
                self._told(message)
            case Message(transactional, prefix):
                self._own |= transactional and prefix == self._own_prefix
            case Begin(_, transaction):
                self.transaction = transaction
                self.inside, self._own, self._batch = True, False, False
                self._gathered = Gathered(self.rows)
            case Commit(_, end):
                self.inside = False
                found = self._gathered
                if self._own:
                    return Changes((), (), end, own=True)
                if self._batch:
                    return Changes(*found.but_written(), end, own=True)
                return Changes(found.keys, found.mappings, end)
        return None

    def _told(self, relation: Relation) -> None:
        """There is a table, or it is another now."""
        self._tables[relation.id] = _Table(relation, self.rows)
        if relation.name == POSITIONS:
            names = [attribute.name for attribute in relation.attributes]
            if STREAM in names:
                self._positions = relation.id, names.index(STREAM)

    def _row(self, relation: int, row: Values, is_new: bool = False) -> None:
        """A row that is new (``is_new``), or that might have had other keys before."""
        table = self._tables.get(relation)
        if table is None:
            return
        if self._positions is not None and relation == self._positions[0]:
            self._batch |= row[self._positions[1] :][:1] == (self._stream,)
        if not is_new and table.blind:
            self._gathered.whole(table.blind)
        for number, places in table.places.items():
            self._gathered.row(
                number,
                [row[at] if at is not None and at < len(row) else UNCHANGED for at in places],
            )
