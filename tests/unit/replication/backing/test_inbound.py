"""From the messages of pgoutput to the keys concerned."""

import pytest
from distcache_replication.backing import inbound, kinds, mapping
from distcache_replication.backing.inbound import Changes, Rows, Tracker
from distcache_replication.backing.listening import gather
from distcache_replication.backing.pgoutput import (
    UNCHANGED,
    Attribute,
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Relation,
    Truncate,
    Update,
)
from distcache_replication.backing.plan import Column, Table, bind

USERS = Table(
    ("public", "users"),
    (
        Column("id", kinds.integer("int4", 32), "integer", nullable=False),
        Column("tenant", kinds.text(), "text"),
        Column("login", kinds.text(), "text"),
    ),
    (("id",), ("tenant", "login")),
)
FILES = Table(
    ("public", "files"),
    (Column("name", kinds.BYTES, "bytea"), Column("size", kinds.integer("int4", 32), "integer")),
    (("name",),),
)
MAP = """
[users]
key = "user:{id}"
[profiles]
key = "profile:{tenant}:{login}"
table = "users"
columns = ["id"]
[files]
key = "file:{name}"
[quiet]
key = "quiet:{id}"
table = "users"
changes = "ignore"
"""
USERS_ID, FILES_ID, POSITIONS_ID = 1, 2, 3


def rows() -> Rows:
    mappings = mapping.load(MAP)
    return Rows([bind(it, FILES if it.name == "files" else USERS) for it in mappings])


def relation(id_: int, name: str, identity: str, columns: str) -> Relation:
    """A table; the columns that tell which row it is are in capitals."""
    attributes = tuple(Attribute(it.lower(), it.isupper()) for it in columns.split())
    schema, _, table = name.rpartition(".")
    return Relation(id_, (schema or "public", table), identity, attributes)


FULL = relation(USERS_ID, "users", "f", "ID TENANT LOGIN")
USUAL = relation(USERS_ID, "users", "d", "ID tenant login")
OF_FILES = relation(FILES_ID, "files", "d", "NAME size")


def run(*messages: Decoded) -> Changes:
    """What a transaction with these messages changed."""
    tracker = Tracker(rows(), "mine")
    for message in (Begin(90, 1), *messages):
        assert tracker.take(message) is None
    assert tracker.inside
    found = tracker.take(Commit(90, 100))
    assert found is not None
    assert not tracker.inside
    assert found.position == 100
    return found


def test_old_and_new_keys() -> None:
    old, new = (b"1", b"a", b"x"), (b"2", b"a", b"y")
    found = run(FULL, Update(USERS_ID, old, new))
    assert set(found.keys) == {b"user:1", b"profile:a:x", b"user:2", b"profile:a:y"}
    assert not found.mappings
    assert not found.own
    assert set(run(FULL, Delete(USERS_ID, old)).keys) == {b"user:1", b"profile:a:x"}


def test_an_identity_that_does_not_tell_all() -> None:
    """The old login is not told: all keys of that mapping may be concerned."""
    found = run(USUAL, Update(USERS_ID, None, (b"1", b"a", b"x")))
    assert set(found.keys) == {b"user:1"}
    assert set(found.mappings) == {1}
    found = run(USUAL, Delete(USERS_ID, (b"1", None, None)))
    assert set(found.keys) == {b"user:1"}
    assert set(found.mappings) == {1}
    found = run(USUAL, Insert(USERS_ID, (b"1", b"a", b"x")))
    assert set(found.keys) == {b"user:1", b"profile:a:x"}
    assert not found.mappings


def test_what_was_not_sent_and_null() -> None:
    found = run(FULL, Update(USERS_ID, (b"1", b"a", None), (b"1", b"a", UNCHANGED)))
    assert set(found.keys) == {b"user:1"}
    assert set(found.mappings) == {1}
    found = run(FULL, Insert(USERS_ID, (b"1", None, b"x")))
    assert set(found.keys) == {b"user:1"}
    assert not found.mappings


def test_a_column_that_was_renamed() -> None:
    found = run(relation(USERS_ID, "users", "f", "NUMBER TENANT LOGIN"), Insert(1, (b"1",) * 3))
    assert set(found.mappings) == {0}


def test_bytes_come_in_hexadecimal() -> None:
    assert set(run(OF_FILES, Insert(FILES_ID, (b"\\x00ff", b"1"))).keys) == {b"file:\0\xff"}


def test_a_text_that_means_another_row() -> None:
    """profile:a:b:c is tenant a and login b:c, whoever else would be written like that."""
    found = run(FULL, Insert(USERS_ID, (b"1", b"a:b", b"c")))
    assert set(found.keys) == {b"user:1"}


def test_truncate_and_tables_that_are_not_mapped() -> None:
    found = run(FULL, OF_FILES, Truncate((USERS_ID, 77)))
    assert set(found.mappings) == {0, 1}
    found = run(relation(77, "others", "f", "ID"), Insert(77, (b"1",)), Delete(78, (b"1",)))
    assert found == Changes({}, set(), 100)


def test_our_own_transactions() -> None:
    insert = Insert(USERS_ID, (b"1", b"a", b"x"))
    mine = Message(transactional=True, prefix="distcache:mine", content=b"")
    assert run(mine, FULL, insert).own
    assert run(FULL, insert, mine).own
    assert not run(FULL, insert, mine._replace(transactional=False)).own
    assert not run(FULL, insert, mine._replace(prefix="distcache:yours")).own
    positions = relation(POSITIONS_ID, "distcache.position", "d", "STREAM epoch")
    moved = Update(POSITIONS_ID, None, (b"mine", b"1"))
    assert run(FULL, insert, positions, moved).own
    assert not run(FULL, insert, positions, moved._replace(new=(b"yours", b"1"))).own


def test_what_our_own_batch_changes_elsewhere() -> None:
    """Rows that we do not write: a cascade or a trigger did that."""
    plans = [
        bind(it, FILES if it.name == "files" else USERS)
        for it in mapping.load(
            '[users]\nkey = "user:{id}"\ndirection = "write-behind"\n[files]\nkey = "file:{name}"\n'
        )
    ]
    tracker = Tracker(Rows(plans), "mine")
    positions = relation(POSITIONS_ID, "distcache.position", "d", "STREAM epoch")
    for message in (
        Begin(90, 1),
        FULL,
        OF_FILES,
        positions,
        Update(POSITIONS_ID, None, (b"mine", b"1")),
        Insert(USERS_ID, (b"1", b"a", b"x")),
        Insert(FILES_ID, (b"x", b"1")),
    ):
        assert tracker.take(message) is None
    assert not tracker.wants(b"I\0\0\0\1")
    assert tracker.wants(b"I\0\0\0\2")
    found = tracker.take(Commit(90, 100))
    assert found is not None
    assert found.own
    assert list(found.keys) == [b"file:x"]
    tracker.take(Begin(190, 1))
    tracker.take(Insert(USERS_ID, (b"1", b"a", b"x")))
    found = tracker.take(Commit(190, 200))
    assert found is not None
    assert not found.own
    assert list(found.keys) == [b"user:1"]


def test_a_large_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "MOST", 3)
    found = run(OF_FILES, FULL, *[Insert(USERS_ID, (b"%d" % it, None, None)) for it in range(5)])
    assert set(found.mappings) == {0}
    assert not found.keys


@pytest.mark.parametrize(
    ("payload", "keys", "mappings"),
    [
        ('{"t": "public.users", "n": {"id": "1", "tenant": "a", "login": "x"}}', 2, 0),
        ('{"t": "public.users", "o": {"id": "1", "tenant": null, "login": "x"}}', 1, 0),
        ('{"t": "public.users", "n": {"id": "1"}}', 1, 1),
        ('{"t": "public.users", "n": {"id": 1}}', 0, 2),
        ('{"t": "public.users"}', 0, 2),
        ('{"t": "public.others"}', 0, 0),
        ('{"t": ["public.users"]}', 0, 0),
        ("[]", 0, 0),
        ("{", 0, 0),
        ("[" * 100_000, 0, 0),
    ],
)
def test_notifications(payload: str, keys: int, mappings: int) -> None:
    gathered = inbound.Gathered(rows())
    gather(gathered, payload)
    assert (len(gathered.keys), len(gathered.mappings)) == (keys, mappings)


def test_what_need_not_be_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "MOST", 0)
    tracker = Tracker(rows(), "mine")
    of_users, of_others = b"I\0\0\0\1", b"D\0\0\0\x4d"
    tracker.take(Begin(90, 1))
    tracker.take(FULL)
    tracker.take(relation(POSITIONS_ID, "distcache.position", "d", "STREAM epoch"))
    assert tracker.wants(of_users)
    assert not tracker.wants(of_others)
    assert tracker.wants(b"U\0\0\0\3")
    tracker.take(Insert(USERS_ID, (b"1", None, b"x")))
    assert tracker.wants(of_users)
    tracker.take(Insert(USERS_ID, (b"1", b"a", b"x")))
    assert not tracker.wants(of_users)  # all keys of both mappings may have changed already
    tracker.take(Commit(90, 100))
    tracker.take(Begin(190, 1))
    assert tracker.wants(of_users)
    assert tracker.wants(b"C")
