"""Messages of pgoutput: as PostgreSQL 15 sent them, drawn at random, cut and broken."""

import contextlib
from struct import pack

import pytest
from distcache_replication.backing.pgoutput import (
    UNCHANGED,
    Attribute,
    BadMessage,
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    Truncate,
    Type,
    Update,
    Values,
    decode,
    lsn,
    lsn_text,
)
from hypothesis import given
from hypothesis import strategies as st

RECORDED: list[tuple[bytes, Decoded]] = [
    (
        b"B\x00\x00\x00\x00\x01\x94H\x00\x00\x03\x044\xc7D\x94\xcf\x00\x00\x02\xd7",
        Begin(0x1944800, 727),
    ),
    (
        b"R\x00\x00@\x01public\x00users\x00d\x00\x02\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff"
        b"\x00name\x00\x00\x00\x00\x19\xff\xff\xff\xff",
        Relation(
            16385,
            ("public", "users"),
            "d",
            (Attribute("id", identity=True), Attribute("name", identity=False)),
        ),
    ),
    (b"I\x00\x00@\x01N\x00\x02t\x00\x00\x00\x011t\x00\x00\x00\x02n1", Insert(16385, (b"1", b"n1"))),
    (
        b"U\x00\x00@\x01K\x00\x02t\x00\x00\x00\x013nN\x00\x02t\x00\x00\x00\x02-3t\x00\x00\x00\x02n3",
        Update(16385, (b"3", None), (b"-3", b"n3")),
    ),
    (b"D\x00\x00@\x01K\x00\x02t\x00\x00\x00\x014n", Delete(16385, (b"4", None))),
    (b"T\x00\x00\x00\x01\x00\x00\x00@\x01", Truncate((16385,))),
    (
        b"M\x01\x00\x00\x00\x00\x01\x94W distcache:x\x00\x00\x00\x00\x05hello",
        Message(transactional=True, prefix="distcache:x", content=b"hello"),
    ),
    (
        b"C\x00\x00\x00\x00\x00\x01\x94W \x00\x00\x00\x00\x01\x94WP\x00\x03\x044\xc7D\xb2\xce",
        Commit(0x1945720, 0x1945750),
    ),
]


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def row(values: Values) -> bytes:
    parts = [pack("!H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, bytes):
            parts.append(b"t" + pack("!I", len(value)) + value)
        else:
            parts.append(b"u")
    return b"".join(parts)


def encoded(message: Decoded) -> bytes:
    """The bytes of a message, as PostgreSQL would send it."""
    match message:
        case Begin(commit, transaction):
            return b"B" + pack("!QqI", commit, 0, transaction)
        case Commit(commit, end):
            return b"C" + pack("!BQQq", 0, commit, end, 0)
        case Message(transactional, prefix, content):
            size = pack("!I", len(content))
            return b"M" + pack("!BQ", transactional, 0) + text(prefix) + size + content
        case Origin(name):
            return b"O" + pack("!Q", 0) + text(name)
        case Relation(id_, name, identity, attributes):
            columns = b"".join(
                pack("!B", it.identity) + text(it.name) + pack("!II", 25, 0xFFFFFFFF)
                for it in attributes
            )
            head = b"R" + pack("!I", id_) + text(name[0]) + text(name[1]) + identity.encode()
            return head + pack("!H", len(attributes)) + columns
        case Type(id_, name):
            return b"Y" + pack("!I", id_) + text(name[0]) + text(name[1])
        case Insert(relation, new):
            return b"I" + pack("!I", relation) + b"N" + row(new)
        case Update(relation, old, new):
            before = b"" if old is None else b"O" + row(old)
            return b"U" + pack("!I", relation) + before + b"N" + row(new)
        case Delete(relation, old):
            return b"D" + pack("!I", relation) + b"O" + row(old)
        case Truncate(relations):
            return b"T" + pack("!IB", len(relations), 0) + pack(f"!{len(relations)}I", *relations)


NUMBERS = st.integers(0, 2**32 - 1)
PLACES = st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = st.tuples(TEXTS.filter(bool), TEXTS)
ROWS = st.lists(st.one_of(st.none(), st.binary(max_size=20), st.just(UNCHANGED)), max_size=5).map(
    tuple
)
MESSAGES = st.one_of(
    st.builds(Begin, PLACES, NUMBERS),
    st.builds(Commit, PLACES, PLACES),
    st.builds(Message, st.booleans(), TEXTS, st.binary(max_size=20)),
    st.builds(Origin, TEXTS),
    st.builds(
        Relation,
        NUMBERS,
        NAMES,
        st.sampled_from("dnif"),
        st.lists(st.builds(Attribute, TEXTS, st.booleans()), max_size=5).map(tuple),
    ),
    st.builds(Type, NUMBERS, NAMES),
    st.builds(Insert, NUMBERS, ROWS),
    st.builds(Update, NUMBERS, st.none() | ROWS, ROWS),
    st.builds(Delete, NUMBERS, ROWS),
    st.builds(Truncate, st.lists(NUMBERS, max_size=5).map(tuple)),
)


@pytest.mark.parametrize(("data", "message"), RECORDED)
def test_what_postgresql_sent(data: bytes, message: Decoded) -> None:
    assert decode(data) == message


@given(MESSAGES)
def test_a_message_cut_anywhere_or_followed_by_something(message: Decoded) -> None:
    data = encoded(message)
    assert decode(data) == message
    for end in range(len(data)):
        with pytest.raises(BadMessage):
            decode(data[:end])
    with pytest.raises(BadMessage):
        decode(data + b"\0")


@given(MESSAGES, st.data())
def test_broken_bytes(message: Decoded, data: st.DataObject) -> None:
    broken = bytearray(encoded(message))
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadMessage):
        decode(bytes(broken))


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    for kind in b"BCMORYIUDT\0":
        with contextlib.suppress(BadMessage):
            decode(bytes([kind]) + data)


def test_places_in_the_wal() -> None:
    assert lsn("16/B374D848") == 0x16_B374_D848
    assert lsn_text(0x16_B374_D848) == "16/B374D848"
