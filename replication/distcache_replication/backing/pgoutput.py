"""The messages of pgoutput, in which PostgreSQL's logical decoding tells of changes.

Version 1 of the protocol: a transaction comes whole, after its commit, and values are text.

    byte  a letter that says which message; big-endian integers, strings that end with a zero byte
    B     Begin: int64 LSN of the commit, int64 time, int32 transaction
    C     Commit: int8 flags, int64 LSN of the commit, int64 LSN behind it, int64 time
    M     Message: int8 1 if part of a transaction, int64 LSN, string prefix, int32 length, content
    O     Origin: int64 LSN, string name
    R     Relation: int32 id, string schema ("" for pg_catalog), string name, int8 replica identity,
          int16 number of columns; each: int8 1 if part of the identity, string name, int32 type,
          int32 modifier
    Y     Type: int32 id, string schema, string name
    I     Insert: int32 relation, "N", row
    U     Update: int32 relation, then "K" and the old identity, or "O" and the old row, or neither;
          "N", row
    D     Delete: int32 relation, "K" or "O", row
    T     Truncate: int32 number of relations, int8 options, their ids
    row   int16 number of columns; each: "n" NULL, "u" unchanged and not sent, "t" text or
          "b" binary with an int32 length

https://www.postgresql.org/docs/15/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import NamedTuple


class Unchanged:
    """Stands for a large value that was not changed, and is not sent."""


UNCHANGED = Unchanged()
Values = tuple[bytes | Unchanged | None, ...]
"""A row; in an old identity the other columns are None."""


class BadMessage(Exception):
    """Bytes that are no message of pgoutput."""


class Begin(NamedTuple):
    commit: int
    transaction: int


class Commit(NamedTuple):
    commit: int
    end: int


class Message(NamedTuple):
    """What somebody wrote with pg_logical_emit_message."""

    transactional: bool
    prefix: str
    content: bytes


class Origin(NamedTuple):
    """The transaction was replicated from elsewhere."""

    name: str


class Attribute(NamedTuple):
    name: str
    identity: bool
    """It tells which row was changed."""


class Relation(NamedTuple):
    """A table, told before its first change and when it has become another."""

    id: int
    name: tuple[str, str]
    identity: str
    """d: the primary key, i: another index, f: all columns, n: nothing."""
    attributes: tuple[Attribute, ...]


class Type(NamedTuple):
    id: int
    name: tuple[str, str]


class Insert(NamedTuple):
    relation: int
    new: Values


class Update(NamedTuple):
    relation: int
    old: Values | None
    """None where the identity is what it was."""
    new: Values


class Delete(NamedTuple):
    relation: int
    old: Values


class Truncate(NamedTuple):
    relations: tuple[int, ...]


Decoded = Begin | Commit | Message | Origin | Relation | Type | Insert | Update | Delete | Truncate

_INT16, _INT32, _INT64 = Struct("!H"), Struct("!I"), Struct("!Q")
_BEGIN, _COMMIT = Struct("!QqI"), Struct("!BQQq")
NULL, NOT_SENT, TEXT, BINARY = b"nutb"
OLD_KEY, OLD_ROW, NEW_ROW = b"KON"


def lsn(text: str) -> int:
    """A place in the WAL, as ``16/B374D848``."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(place: int) -> str:
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


class _Reader:
    """Takes a message apart, from left to right."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def take(self, form: Struct) -> tuple[int, ...]:
        found = form.unpack_from(self.data, self.at)
        self.at += form.size
        return found

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def int16(self) -> int:
        return self.take(_INT16)[0]

    def int32(self) -> int:
        return self.take(_INT32)[0]

    def int64(self) -> int:
        return self.take(_INT64)[0]

    def text(self) -> str:
        end = self.data.index(0, self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def sized(self) -> bytes:
        size = self.int32()
        end = self.at + size
        if end > len(self.data):
            raise BadMessage(f"{size} bytes are announced, and are not there")
        found = self.data[self.at : end]
        self.at = end
        return found

    def row(self) -> Values:
        return tuple(self._value() for _ in range(self.int16()))

    def _value(self) -> bytes | Unchanged | None:
        kind = self.byte()
        if kind == TEXT:
            return self.sized()
        if kind == NULL:
            return None
        if kind == NOT_SENT:
            return UNCHANGED
        raise BadMessage(f"a value of the kind {kind:#x}, which was not asked for")


def decode(data: bytes) -> Decoded:
    """The message that these bytes are; raises BadMessage."""
    if not data:
        raise BadMessage("it is empty")
    read = _READERS.get(data[0])
    if read is None:
        raise BadMessage(f"a message of the kind {data[0]:#x}")
    reader = _Reader(data)
    try:
        message = read(reader)
    except (StructError, IndexError, ValueError):
        raise BadMessage("it ends too soon, or has text that is not UTF-8") from None
    if reader.at != len(data):
        raise BadMessage("bytes follow its end")
    return message


def _begin(it: _Reader) -> Begin:
    commit, _, transaction = it.take(_BEGIN)
    return Begin(commit, transaction)


def _commit(it: _Reader) -> Commit:
    _, commit, end, _ = it.take(_COMMIT)
    return Commit(commit, end)


def _message(it: _Reader) -> Message:
    transactional = it.byte() == 1
    it.int64()
    return Message(transactional, it.text(), it.sized())


def _origin(it: _Reader) -> Origin:
    it.int64()
    return Origin(it.text())


def _relation(it: _Reader) -> Relation:
    id_ = it.int32()
    schema = it.text() or "pg_catalog"
    name, identity = it.text(), chr(it.byte())
    return Relation(id_, (schema, name), identity, tuple(_attribute(it) for _ in range(it.int16())))


def _attribute(it: _Reader) -> Attribute:
    identity, name = it.byte() & 1 == 1, it.text()
    it.int64()  # type and modifier
    return Attribute(name, identity)


def _type(it: _Reader) -> Type:
    return Type(it.int32(), (it.text() or "pg_catalog", it.text()))


def _insert(it: _Reader) -> Insert:
    relation = it.int32()
    _expect(it.byte() == NEW_ROW)
    return Insert(relation, it.row())


def _update(it: _Reader) -> Update:
    relation, kind, old = it.int32(), it.byte(), None
    if kind in (OLD_KEY, OLD_ROW):
        old, kind = it.row(), it.byte()
    _expect(kind == NEW_ROW)
    return Update(relation, old, it.row())


def _delete(it: _Reader) -> Delete:
    relation = it.int32()
    _expect(it.byte() in (OLD_KEY, OLD_ROW))
    return Delete(relation, it.row())


def _truncate(it: _Reader) -> Truncate:
    count = it.int32()
    it.byte()
    return Truncate(tuple(it.int32() for _ in range(count)))


def _expect(what: bool) -> None:
    if not what:
        raise BadMessage("the row does not stand where it has to")


_READERS: dict[int, Callable[[_Reader], Decoded]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("M"): _message,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
}
