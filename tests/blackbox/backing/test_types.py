"""Each type of column: how it is read, and which writes are refused."""

import json

import pytest

from tests.blackbox.backing.conftest import Backed
from tests.support import Error, Wire
from tests.support.databases import Database
from tests.support.resp import encode
from tests.support.rows import dead_letters, figure

pytestmark = pytest.mark.ours("the backing store")

only_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)

ROWS = """
[rows]
key = "row:{id}"
direction = "write-behind"
"""

COLUMNS = [
    # name, type on PostgreSQL, type on SQLite, SQL literal, as it is read
    ("small", "smallint", "smallint", "-5", b"-5"),
    ("big", "bigint", "bigint", "9223372036854775807", b"9223372036854775807"),
    ("amount", "numeric(10,2)", "text", "'12.50'", b"12.50"),
    ("free", "numeric", "text", "'0.1000000000000000000001'", b"0.1000000000000000000001"),
    ("real", "double precision", "real", "2.5", b"2.5"),
    ("word", "varchar(5)", "varchar(5)", "'grüß'", "grüß".encode()),
    ("text", "text", "text", "'it''s'", b"it's"),
    ("flag", "boolean", "boolean", "true", b"true"),
    (
        "number",
        "uuid",
        "uuid",
        "'123e4567-e89b-12d3-a456-426614174000'",
        b"123e4567-e89b-12d3-a456-426614174000",
    ),
    (
        "stamp",
        "timestamptz",
        "timestamptz",
        "'2026-11-26T08:30:00.5+00:00'",
        None,
    ),
    ("clock", "timestamp", "timestamp", "'2026-11-26T08:30:00'", b"2026-11-26T08:30:00"),
    ("day", "date", "date", "'2026-11-26'", b"2026-11-26"),
    ("doc", "jsonb", "json", """'{"a": [1, null]}'""", b'{"a": [1, null]}'),
    ("empty", "text", "text", "NULL", None),
]

REFUSED = [
    ("small", b"40000"),
    ("small", b"1.5"),
    ("small", b"007"),
    ("big", b"9223372036854775808"),
    ("real", b"x"),
    ("word", b"longer"),
    ("text", b"\xff"),
    ("text", b"a\x00b"),
    ("flag", b"maybe"),
    ("number", b"123"),
    ("stamp", b"yesterday"),
    ("clock", b"2026-13-01"),
    ("day", b"2026-02-30"),
    ("doc", b"{"),
    ("doc", b"1e99999999999999999999"),
    ("real", b"1e400"),
    ("real", b"-1e-400"),
    ("stamp", b"2026-11-26T08:30:00+23:00"),
    ("day", b"20000-02-30"),
    ("nowhere", b"1"),
]

ACCEPTED = [
    ("small", b"32767"),
    ("big", b"-9223372036854775808"),
    ("real", b"-1e300"),
    ("word", "äöüäö".encode()),
    ("flag", b"0"),
    ("number", b"123E4567-E89B-12D3-A456-426614174000"),
    ("stamp", b"2026-11-26 09:30:00+01:00"),
    ("clock", b"2026-11-26"),
    ("day", b"2026-02-28"),
    ("day", b"infinity"),
    ("doc", b'"text"'),
    ("empty", b""),
]


@pytest.fixture
def rows(database: Database) -> Database:
    ours = database.kind == "postgres"
    columns = ", ".join(f"{it[0]} {it[1] if ours else it[2]}" for it in COLUMNS)
    database.execute(
        f"CREATE TABLE things (id bigint PRIMARY KEY, {columns}, data bytea)",
        f"INSERT INTO things VALUES (1, {', '.join(it[3] for it in COLUMNS)}, NULL)",  # noqa: S608
    )
    if database.kind == "postgres":
        database.execute(
            "ALTER TABLE things ADD list integer[], ADD words text[], ADD must text NOT NULL"
            " DEFAULT 'x'",
            "UPDATE things SET data = '\\x00ff', list = '{1,NULL,3}', words = '{\"a b\",c}'",
        )
    else:
        database.execute("UPDATE things SET data = X'00ff'")
    return database


def test_reading(rows: Database, backed: Backed) -> None:
    server = backed(
        '[things]\nkey = "t:{id}"\n[json]\nkey = "j:{id}"\ntable = "things"\nas = "json"\n'
    )
    with server.client() as client:
        found = client.hgetall("t:1")
        for name, _, _, _, expected in COLUMNS:
            if expected is not None:
                assert found[name.encode()] == expected, name
        assert found[b"stamp"].startswith(b"2026-11-26T08:30:00.5")
        assert found[b"stamp"].endswith(b"+00:00")
        assert found[b"data"] == b"\x00\xff"
        assert b"empty" not in found
        whole = json.loads(client.get("j:1") or b"")
        assert whole["big"] == 9223372036854775807
        assert whole["flag"] is True
        assert whole["doc"] == {"a": [1, None]}
        assert whole["data"] == "AP8="
        assert whole["empty"] is None
        if rows.kind == "postgres":
            assert json.loads(found[b"list"]) == [1, None, 3]
            assert whole["words"] == ["a b", "c"]
        # What was read can be written.
        client.hset("t:1", mapping=found)
        client.set("j:1", client.get("j:1") or b"")


def test_writing(rows: Database, backed: Backed) -> None:
    server = backed(
        '[things]\nkey = "t:{id}"\n[json]\nkey = "j:{id}"\ntable = "things"\nas = "json"\n'
    )
    with server.wire() as wire:
        before = wire.call("HGETALL", "t:1")
        for field, value in REFUSED:
            reply = wire.call("HSET", "t:1", field, value)
            assert isinstance(reply, Error), (field, value)
            assert reply.startswith(b"MISFIT the value does not fit mapping 'things': "), reply
            assert field.encode() in bytes(reply)
        assert wire.call("HGETALL", "t:1") == before
        for field, value in ACCEPTED:
            assert wire.call("HSET", "t:1", field, value) in (0, 1), (field, value)
            assert wire.call("HGET", "t:1", field) == value
        for words in (
            ("SET", "t:1", "x"),
            ("LPUSH", "t:99", "x"),
            ("HINCRBY", "t:1", "small", "1"),
            ("HINCRBYFLOAT", "t:1", "small", "0.5"),
            ("HEXPIRE", "t:1", "100", "FIELDS", "1", "text"),
            ("SET", "j:1", "[1]"),
            ("SET", "j:1", '{"small": "1"}'),
            ("SET", "j:1", '{"data": "?"}'),
            ("SET", "j:1", '{"none": 1}'),
            ("APPEND", "j:1", "}"),
            ("SETRANGE", "j:1", "0", "["),
            ("BITOP", "NOT", "j:1", "j:1"),
        ):
            reply = wire.call(*words)
            assert isinstance(reply, Error), words
            assert reply.code == b"MISFIT", (words, reply)
        wire.call("MULTI")
        wire.call("HSET", "t:1", "small", "1")
        wire.call("HSET", "t:1", "small", "x")
        replies = wire.call("EXEC")
        assert isinstance(replies, list)
        assert replies[0] == 0
        assert isinstance(replies[1], Error)
        if rows.kind == "postgres":
            reply = wire.call("HSET", "t:1", "list", '[1, "x"]')
            assert isinstance(reply, Error)
            assert wire.call("HSET", "t:1", "amount", "12345678.999") == 0
            reply = wire.call("HSET", "t:1", "amount", "123456789")
            assert isinstance(reply, Error)
            assert wire.call("HSET", "t:1", "list", "[4, null]") == 0


def test_columns_that_must_not_be_empty(database: Database, backed: Backed) -> None:
    database.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL,"
        " state text NOT NULL DEFAULT 'new', note text)"
    )
    with backed('[users]\nkey = "user:{id}"\n').wire() as wire:
        reply = wire.call("HSET", "user:1", "note", "x")
        assert isinstance(reply, Error)
        assert b"column name must not be empty" in bytes(reply)
        assert wire.call("HSET", "user:1", "note", "x", "name", "Ada") == 2
        reply = wire.call("HDEL", "user:1", "name")
        assert isinstance(reply, Error)
        assert wire.call("HDEL", "user:1", "note", "name") == 2  # then there is no row at all
        assert wire.call("EXISTS", "user:1") == 0


def write(wire: Wire) -> None:
    """Wait until the rows are what the keys are."""
    assert wire.call("DISTCACHE", "WAIT", "backing", 50_000) == 1


@only_postgres
def test_numbers_of_any_size(database: Database, backed: Backed) -> None:
    """What fits is written as PostgreSQL rounds it, and what does not is no dead letter."""
    database.execute(
        "CREATE TABLE rows (id integer PRIMARY KEY, wide numeric(30,20), whole numeric(20,0),"
        " single real)"
    )
    with backed(ROWS).wire() as wire:
        for field, value, stored in (
            ("wide", "1234567890.5", "1234567890.50000000000000000000"),
            ("wide", "-9999999999.99999999999999999999", "-9999999999.99999999999999999999"),
            ("wide", "9999999999.999999999999999999995", None),
            ("wide", "12345678901", None),
            ("wide", "1e-300", "0.00000000000000000000"),
            ("whole", "18446744073709551615", "18446744073709551615"),
            ("whole", "0.5", "1"),
            ("whole", "99999999999999999999.4", "99999999999999999999"),
            ("whole", "99999999999999999999.5", None),
            ("single", "3e38", "3e+38"),
            ("single", "1e39", None),
            ("single", "1e-60", None),
            ("single", "0e-60", "0"),
        ):
            reply = wire.call("HSET", "row:1", field, value)
            assert isinstance(reply, Error) == (stored is None), (field, value, reply)
            if stored is not None:
                write(wire)
                found = database.query(f"SELECT {field}::text FROM rows")  # noqa: S608
                assert found == [(stored,)], value
    assert dead_letters(database) == []


@only_postgres
def test_a_scale_in_front_of_the_point(database: Database, backed: Backed) -> None:
    version = database.query("SELECT current_setting('server_version_num')::int")
    if version < [(150000,)]:
        pytest.skip("from PostgreSQL 15 on")
    database.execute("CREATE TABLE rows (id integer PRIMARY KEY, round numeric(3,-2))")
    with backed(ROWS).wire() as wire:
        assert wire.call("HSET", "row:1", "round", "99949") == 1
        assert isinstance(wire.call("HSET", "row:1", "round", "99950"), Error)
        write(wire)
    assert database.query("SELECT round::text FROM rows") == [("99900",)]
    assert dead_letters(database) == []


@only_postgres
def test_all_that_was_read_can_be_written(database: Database, backed: Backed) -> None:
    """A row is written whole, so that it has to fit again, whatever the database had in it."""
    database.execute(
        "CREATE TABLE rows (id integer PRIMARY KEY, name text, day date, clock timestamp,"
        " stamp timestamptz, list integer[], words text[], doc jsonb)",
        "INSERT INTO rows VALUES"
        " (1, 'x', 'infinity', '-infinity', 'infinity', '{}', '{}', NULL),"
        " (2, 'x', '0044-03-15 BC', '4705-02-29 BC', '0044-03-15 BC', '{{1,2},{NULL,4}}', NULL,"
        " NULL),"
        " (3, 'x', '5000000-12-31', '290000-01-01 10:11:12.5', '20000-01-01', NULL,"
        """ '{"a\\"b\\\\",NULL,"NULL","{}",""}', '"\\\\u0000"')""",
    )
    columns = ", ".join(
        f"{name}::text" for name in ("day", "clock", "stamp", "list", "words", "doc")
    )
    kept = f"SELECT {columns} FROM rows ORDER BY id"  # noqa: S608
    before = database.query(kept)
    with backed(ROWS).wire() as wire:
        for number in (1, 2, 3):
            assert wire.call("HSET", f"row:{number}", "name", "y") == 0  # judged by itself
        write(wire)
        for number in (1, 2, 3):
            assert wire.call("HSETNX", f"row:{number}", "name", "z") == 0  # with all others
            assert wire.call("HDEL", f"row:{number}", "name") == 1
        write(wire)
        for value in ("[[1],[2,3]]", "[[]]", "[1,[2]]", "[[[[[[[1]]]]]]]", '["x"]'):
            assert isinstance(wire.call("HSET", "row:1", "list", value), Error), value
        assert isinstance(wire.call("HSET", "row:1", "doc", '"\\ud800"'), Error)
        assert isinstance(wire.call("HSET", "row:1", "doc", "1e200000"), Error)
    assert database.query(kept) == before
    assert database.query("SELECT DISTINCT name FROM rows") == [(None,)]
    assert dead_letters(database) == []


def test_keys_that_no_row_can_have(database: Database, backed: Backed) -> None:
    """They are missing, and writes of them are refused as those of values that do not fit."""
    small = "smallint" if database.kind == "postgres" else "integer"
    least = -(2**15) if database.kind == "postgres" else -(2**63)
    database.execute(
        f"CREATE TABLE numbers (id {small} PRIMARY KEY, name text)",
        f"CREATE TABLE hash (id {small} PRIMARY KEY, name text)",
        "CREATE TABLE names (id varchar(5) PRIMARY KEY, name text)",
    )
    writes = 'as = "column"\ncolumn = "name"\ndirection = "write-behind"\n'
    server = backed(
        f'[numbers]\nkey = "n:{{id}}"\n{writes}[names]\nkey = "t:{{id}}"\n{writes}'
        '[hash]\nkey = "h:{id}"\n'
    )
    with server.wire() as wire:
        before = figure(server, "queries")
        unfit = [b"n:%d" % (least - 1), b"h:%d" % (least - 1), b"t:abcdef", b"t:\xff", b"t:\0"]
        for key in unfit:
            assert wire.call("GET", key) is None
            assert wire.call("EXISTS", key) == wire.call("DEL", key) == 0
            for words in (
                ("SET", key, "x"),
                ("SET", key, "x", "EX", "100"),
                ("MSET", "plain", "x", key, "x"),
                ("APPEND", key, "x"),
                ("HSET", key, "name", "x"),
                ("LPUSH", key, "x"),
                ("COPY", "other", key),
            ):
                wire.call("SET", "other", "x")
                reply = wire.call(*words)
                assert isinstance(reply, Error), words
                assert reply.startswith(b"MISFIT the value does not fit mapping '"), words
                assert words[0] != "SET" or key.startswith(b"h") or b"column id" in bytes(reply)
            # Beside others that fit.
            for number in range(99):
                wire.send(encode("SET", key if number == 50 else f"n:{number}", "y"))
            for number in range(99):
                assert isinstance(wire.reply(), Error) == (number == 50)
            assert wire.call("EXISTS", key) == 0
        assert figure(server, "queries") == before
        for fit in (b"n:%d" % least, "t:\u00c4\u00c4\u00c4\u00c4\u00c4".encode()):
            assert wire.call("SET", fit, "x") == b"OK"
        write(wire)
    assert database.query("SELECT min(id), count(*) FROM numbers") == [(least, 99)]
    assert dead_letters(database) == []
