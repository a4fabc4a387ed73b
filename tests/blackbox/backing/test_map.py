"""The map is compared with the real schema at the start: what does not fit stops it."""

from pathlib import Path

import pytest
from distcache_server.__main__ import main

from tests.blackbox.backing.conftest import PATIENT, Backed
from tests.support import Process, StartServer, free_port
from tests.support.databases import Database, PostgresDatabase

pytestmark = pytest.mark.ours("the backing store")

TABLES = """
CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL, place point);
CREATE TABLE loose (id integer, name text);
CREATE TABLE pairs (a integer, b text, c text, UNIQUE (b, a));
CREATE TABLE times (at timestamp PRIMARY KEY, c text);
CREATE TABLE bare (id integer PRIMARY KEY);
CREATE TABLE odd (key text PRIMARY KEY, value text, expires_at bigint)
"""

BAD = [
    ('key = "user:{id}"\ntable = "nowhere"', "there is no table nowhere", "create it"),
    ('key = "user:{id}"\ntable = "a.b.c"', "table has to be", "'schema.table'"),
    ('key = "user:{nr}"\ntable = "users"', "names nr", "it has id, name, place"),
    ('key = "user:{name}"\ntable = "users"', "name is no primary key", "let key name"),
    ('key = "user:{id}"\ntable = "loose"', "id is no primary key", "or create one"),
    ('key = "pair:{a}"\ntable = "pairs"', "a is no primary key", "let key name"),
    ('key = "user:{id}"\ntable = "users"', "place of table", "leave it out of columns"),
    ('key = "user:{id}"\ntable = "users"\ncolumns = ["x"]', "names x", "it has id, name"),
    ('key = "user:{id:uuid}"\ntable = "users"\ncolumns = ["name"]', "integer", "write {id}"),
    ('key = "at:{at}"\ntable = "times"', "cannot stand in a key", "integers, text"),
    ('key = "bare:{id}"\ntable = "bare"', "no column besides its key", ""),
    ('key = "{key}"\nas = "any"\ntable = "odd"', "has to have the columns", "say which other"),
]


@pytest.fixture
def tables(database: Database) -> Database:
    database.execute(*TABLES.split(";"))
    return database


def tried(database: Database, folder: Path, text: str) -> int:
    path = folder / "map.toml"
    path.write_text(text)
    words = ["--backing-store", database.address, "--backing-map", str(path), *PATIENT]
    return main([*words, "--test-config"])


@pytest.mark.parametrize(("text", "problem", "cure"), BAD, ids=[it[1] for it in BAD])
def test_what_is_wrong_and_the_cure(
    tables: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    problem: str,
    cure: str,
) -> None:
    assert tried(tables, tmp_path, f"[people]\n{text}\n") == 1
    said = capsys.readouterr().err
    assert "mapping 'people'" in said
    assert problem.lower() in said.lower(), said
    assert cure in said, said


def test_a_good_map(tables: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
    [users]
    key = "user:{id:int}"
    columns = ["name"]
    [pairs]
    key = "pair:{a}:{b:text}"
    [cache]
    key = "cache:{rest}"
    as = "any"
    """
    assert tried(tables, tmp_path, text) == 0
    assert "valid" in capsys.readouterr().out


def test_rights(
    postgres: PostgresDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    role = f"reader_{postgres.name}"
    postgres.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, name text, secret text)",
        f"CREATE ROLE {role} LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",  # which PostgreSQL 14 still grants
    )
    path = tmp_path / "map.toml"
    address = postgres.address.replace("postgres@", f"{role}:hunter2@")
    words = ["--backing-store", address, "--backing-map", str(path), *PATIENT, "--test-config"]
    path.write_text('[users]\nkey = "user:{id}"\n')
    assert main(words) == 1
    assert "may not read column id of table public.users: GRANT SELECT" in capsys.readouterr().err
    postgres.execute(f"GRANT SELECT (id, name) ON users TO {role}")
    assert main(words) == 1
    assert "secret" in capsys.readouterr().err
    path.write_text('[users]\nkey = "user:{id}"\ncolumns = ["name"]\n')
    assert main(words) == 0
    path.write_text('[any]\nkey = "{key}"\nas = "any"\n')
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "mapping 'any'" in said
    assert "CREATE TABLE IF NOT EXISTS" in said
    assert "hunter2" not in said


def test_set_up_of_keys_of_any_type(
    postgres: PostgresDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed creates their table, too, and may be run again by its owner."""
    owner, role = f"owner_{postgres.name}", f"keeper_{postgres.name}"
    postgres.execute(f"CREATE ROLE {role} LOGIN", f"CREATE ROLE {owner}")
    postgres.execute(
        f"GRANT CREATE ON SCHEMA public TO {owner}",
        f"GRANT CREATE ON DATABASE {postgres.name} TO {owner}",
    )
    path = tmp_path / "map.toml"
    path.write_text('[any]\nkey = "{key}"\nas = "any"\ndirection = "write-behind"\n')
    address = postgres.address.replace("postgres@", f"{role}@")
    words = ["--backing-store", address, "--backing-map", str(path), *PATIENT]
    words += ["--backing-invalidation", "decoding", "--backing-publication", role]
    assert main([*words, "--backing-setup-sql"]) == 0
    printed = capsys.readouterr().out
    assert "ALTER ROLE" in printed
    postgres.execute(f"ALTER ROLE {role} REPLICATION")
    for _ in range(2):
        assert main([*words, "--backing-setup-sql"]) == 0
        printed = capsys.readouterr().out
        assert "ALTER ROLE" not in printed
        postgres.execute(f"SET ROLE {owner};\n{printed}\nRESET ROLE")
        assert main([*words, "--test-config"]) == 0
        assert capsys.readouterr().out == "The configuration is valid.\n"


def test_the_server_does_not_start(
    tables: Database, backed: Backed, start_server: StartServer, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="there is no table nowhere"):
        backed('[people]\nkey = "user:{id}"\ntable = "nowhere"\n')
    with pytest.raises(AssertionError, match="No such file"):
        start_server("--backing-store", tables.address, "--backing-map", str(tmp_path / "none"))


def test_a_store_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for address, reason in (
        ("postgresql://me:hunter2@127.0.0.1:1/x?password=hunter2", "127.0.0.1"),
        (f"sqlite:///{tmp_path}/none/x.db", "unable to open"),
        ("mysql://x", "write postgresql://"),
    ):
        assert main(["--backing-store", address, *PATIENT, "--test-config"]) == 1
        said = capsys.readouterr().err
        assert reason in said
        assert "hunter2" not in said


@pytest.mark.parametrize(
    "words", [["--backing-map", "map.toml"], ["--backing-invalidation", "poll"]]
)
def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    (tmp_path / "map.toml").write_text('[users]\nkey = "user:{id}"\n')
    words = [*words, "--dir", str(tmp_path), "--port", str(free_port())]
    for last in (["--test-config"], []):
        assert main([*words, *last]) == 1
    said = capsys.readouterr()
    assert "no backing-store: set it" in said.err
    assert "no backing-store: set it" in said.out


def _info(server: Process) -> bytes:
    with server.wire() as wire:
        found = wire.call("INFO", "backing")
    assert isinstance(found, bytes)
    return found


def test_passwords_are_not_shown(postgres: PostgresDatabase, start_server: StartServer) -> None:
    postgres.execute("CREATE TABLE users (id integer PRIMARY KEY, name text)")
    address = postgres.address.replace("postgres@", "postgres:hunter2@") + "?sslmode=disable"
    server = start_server("--backing-store", address, *PATIENT)
    with server.client(decode_responses=True) as client:
        shown = postgres.address + "?sslmode=disable"
        server_info = _info(server)
        assert client.config_get("backing-store") == {"backing-store": shown}
        assert f"backing_store:{shown}\r\n".encode() in server_info
    assert "hunter2" not in server.log()


def test_keys_of_any_type(database: Database, start_server: StartServer) -> None:
    """Without a map, keys are kept whole, with their deadlines."""
    from distcache_replication import rdb
    from distcache_replication.backing.packing import pack

    server = start_server("--backing-store", database.address, *PATIENT)
    rows: list[tuple[bytes, bytes, str]] = [
        (b"string", pack(rdb.STRING, b"\x00\xff"), "NULL"),
        (b"list", pack(rdb.LIST, [b"a", b"b", b"a"]), "NULL"),
        (b"set", pack(rdb.SET, [b"1", b"2"]), "NULL"),
        (b"zset", pack(rdb.ZSET, [(b"m", 1.5), (b"n", -1.0)]), "NULL"),
        (b"hash", pack(rdb.HASH, {b"f": b"v"}), "4102444800000"),
        (b"dated", pack(rdb.HASH, rdb.Expiring({b"f": b"v"}, {b"f": 4102444800000})), "NULL"),
        (b"gone", pack(rdb.STRING, b"x"), "1"),
        (b"bad", b"\xc1", "NULL"),
    ]
    for key, value, deadline in rows:
        key_, value_ = (
            (f"X'{key.hex()}'", f"X'{value.hex()}'")
            if database.kind == "sqlite"
            else (f"'\\x{key.hex()}'", f"'\\x{value.hex()}'")
        )
        database.execute(f"INSERT INTO distcache_cache VALUES ({key_}, {value_}, {deadline})")  # noqa: S608
    with server.client() as client:
        assert client.get("string") == b"\x00\xff"
        assert client.lrange("list", 0, -1) == [b"a", b"b", b"a"]
        assert client.smembers("set") == {b"1", b"2"}
        assert client.zrange("zset", 0, -1, withscores=True) == [(b"n", -1.0), (b"m", 1.5)]
        assert client.hgetall("hash") == {b"f": b"v"}
        assert client.pexpiretime("hash") == 4102444800000
        assert client.execute_command("HPEXPIRETIME", "dated", "FIELDS", 1, "f") == [4102444800000]
        assert client.get("gone") is None
        assert client.blpop(["list"], 1) == (b"list", b"a")
        with pytest.raises(Exception, match="holds no value"):
            client.get("bad")
