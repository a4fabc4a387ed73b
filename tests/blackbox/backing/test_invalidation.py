"""Rows are changed by others, and the cache hears of it from PostgreSQL."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support import Process, StartServer, eventually
from tests.support.databases import PostgresDatabase, Session
from tests.support.replication import SETTINGS
from tests.support.servers import OURS

pytestmark = pytest.mark.ours("the backing store")

MAP = """
[users]
key = "user:{id}"
columns = ["name"]
absent = "1h"

[profiles]
key = "profile:{tenant}:{login}"
table = "users"
as = "column"
column = "name"

[warm]
key = "warm:{id}"
table = "users"
as = "column"
column = "name"
changes = "load"

[quiet]
key = "quiet:{id}"
table = "others"
as = "column"
column = "name"
changes = "ignore"
"""
LOG = ("--appendonly", "yes")


@pytest.fixture
def users(postgres: PostgresDatabase) -> Iterator[PostgresDatabase]:
    """Tables, a publication, and a role that may do no more than it must."""
    postgres.execute(
        "CREATE TABLE users (id integer PRIMARY KEY, tenant text NOT NULL, login text NOT NULL,"
        " name text, UNIQUE (tenant, login))",
        "CREATE TABLE others (id integer PRIMARY KEY, name text)",
        "INSERT INTO users SELECT i, 'acme', 'login' || i, 'name ' || i"
        " FROM generate_series(1, 100) AS i",
        "INSERT INTO others VALUES (1, 'one')",
        f"CREATE ROLE {postgres.name} LOGIN",
        f"GRANT SELECT ON users, others TO {postgres.name}",
    )
    postgres.address = postgres.address.replace("postgres@", f"{postgres.name}@")
    yield postgres
    postgres.refuse_connections()
    postgres.drop_slots()


def directives(users: PostgresDatabase, mode: str, folder: Path) -> tuple[str, ...]:
    path = folder / "map.toml"
    path.write_text(MAP)
    return (
        *("--backing-store", users.address, "--backing-map", str(path)),
        *("--backing-invalidation", mode, "--backing-slot", users.name),
        *("--backing-timeout", "20000"),
    )


def set_up(users: PostgresDatabase, mode: str, folder: Path) -> None:
    """Run the SQL that the command prints."""
    words = directives(users, mode, folder)
    done = subprocess.run(
        [*OURS, *words, "--backing-setup-sql"], capture_output=True, text=True, check=True
    )
    users.execute(done.stdout)


class Cache:
    """A server that hears of changes, and where to start another."""

    def __init__(self, users: PostgresDatabase, start: StartServer, mode: str, path: Path) -> None:
        self.users = users
        self.words = directives(users, mode, path)
        self._start = start

    def start(self, *words: str) -> Process:
        server = self._start(*self.words, *words)
        with server.client() as client:
            eventually(lambda: client.info("backing")["backing_changes_status"] == "up")
            eventually(lambda: client.info("persistence")["loading"] == 0)
        return server


@pytest.fixture(params=["decoding", "notify"])
def cache(
    request: pytest.FixtureRequest,
    users: PostgresDatabase,
    start_server: StartServer,
    tmp_path: Path,
) -> Cache:
    set_up(users, request.param, tmp_path)
    return Cache(users, start_server, request.param, tmp_path)


decoding = pytest.mark.parametrize("cache", ["decoding"], indirect=True)


def test_all_kinds_of_changes(cache: Cache) -> None:
    users = cache.users
    server = cache.start(*LOG)
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        assert client.get("profile:acme:login1") == "name 1"
        users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.exists("user:1") and client.hget("user:1", "name") == "new")
        eventually(lambda: client.get("profile:acme:login1") == "new")
        # The key of a row changes: the old and the new one are concerned.
        assert client.exists("user:1001") == 0
        assert client.get("profile:acme:moved") is None
        users.execute("UPDATE users SET id = 1001, login = 'moved' WHERE id = 1")
        eventually(lambda: client.hget("user:1001", "name") == "new")
        eventually(lambda: client.exists("user:1") == 0)
        eventually(lambda: client.get("profile:acme:login1") is None)
        eventually(lambda: client.get("profile:acme:moved") == "new")
        users.execute("DELETE FROM users WHERE id = 1001")
        eventually(lambda: client.exists("user:1001") == 0)
        # A row that was known not to be there.
        assert client.exists("user:2000") == 0
        users.execute("INSERT INTO users VALUES (2000, 'acme', 'late', 'late')")
        eventually(lambda: client.hget("user:2000", "name") == "late")
        assert client.hget("user:3", "name") == "name 3"
        users.execute("TRUNCATE users")
        eventually(lambda: client.exists("user:3") == 0)
        assert client.info("backing")["backing_invalidated"] >= 5


def test_what_is_loaded_anew_and_what_is_ignored(cache: Cache) -> None:
    server = cache.start()
    with server.client(decode_responses=True) as client:
        assert client.get("warm:1") == "name 1"
        assert client.get("quiet:1") == "one"
        loaded = client.info("backing")["backing_loaded"]
        cache.users.execute(
            "UPDATE others SET name = 'new'", "UPDATE users SET name = 'new' WHERE id = 1"
        )
        eventually(lambda: client.info("backing")["backing_loaded"] == loaded + 1)
        assert client.get("warm:1") == "new"
        assert client.get("quiet:1") == "one"


@decoding
def test_a_commit_that_nobody_sees_yet(cache: Cache) -> None:
    """It is told while it waits for a standby: a load would read what was before."""
    server, users = cache.start(), cache.users

    def write() -> None:
        session = Session(users.server.port, users.name)
        session.execute("UPDATE users SET name = 'new' WHERE id = 1")
        session.close()

    def probe() -> None:
        """Commits do not wait from the moment on at which they are told to: until one does."""
        session = Session(users.server.port, users.name)
        while not done.is_set():
            session.execute("UPDATE others SET name = name")
        session.close()

    done = Event()
    prober, writer = Thread(target=probe), Thread(target=write)
    with server.client(decode_responses=True) as client:
        assert client.get("warm:1") == client.hget("user:1", "name") == "name 1"
        users.execute(
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
        )
        try:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            prober.start()
            eventually(lambda: users.query(waiting))
            writer.start()
            eventually(lambda: len(users.query(waiting)) >= 2)
            told = "SELECT 1 FROM pg_stat_replication WHERE sent_lsn >= pg_current_wal_flush_lsn()"
            eventually(lambda: users.query(told))
            assert client.get("warm:1") == client.hget("user:1", "name") == "name 1"
        finally:
            done.set()
            users.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
            prober.join()
            writer.join()
        eventually(lambda: client.get("warm:1") == "new")
        eventually(lambda: client.hget("user:1", "name") == "new")


def test_replicas_follow(cache: Cache, start_server: StartServer) -> None:
    server = cache.start(*SETTINGS)
    replica = start_server(*cache.words, "--replicaof", f"127.0.0.1 {server.port}")
    with server.client(decode_responses=True) as client, replica.client() as other:
        assert client.hget("user:1", "name") == "name 1"
        eventually(lambda: other.exists("user:1"))
        assert other.info("backing")["backing_changes_status"] == "standby"
        cache.users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: not other.exists("user:1"))
        assert client.hget("user:1", "name") == "new"
        eventually(lambda: other.hget("user:1", "name") == b"new")
        # The replica takes over, while the primary has the slot: it gets it in the end.
        server.kill()
        cache.users.execute("UPDATE users SET name = 'newer' WHERE id = 1")
        other.replicaof("NO", "ONE")
        eventually(lambda: other.info("backing")["backing_changes_status"] == "up")
        eventually(lambda: other.hget("user:1", "name") == b"newer")


@decoding
@pytest.mark.parametrize("kill", [True, False])
def test_nothing_is_missed_across_a_restart(cache: Cache, kill: bool) -> None:
    server = cache.start(*LOG, "--appendfsync", "always", "--dir", str(cache_folder(cache)))
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        assert client.hget("user:2", "name") == "name 2"
        cache.users.execute("UPDATE users SET name = 'x' WHERE id = 3")
        eventually(lambda: client.info("backing")["backing_changes_seen"] == 1)
        eventually(lambda: b"distcache changes" in log_of(cache))
    server.kill() if kill else server.stop()
    cache.users.execute("UPDATE users SET name = 'new' WHERE id = 1")
    cache.users.wait_left()
    server = cache.start(*LOG, "--dir", str(cache_folder(cache)))
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "new"
        assert client.info("backing")["backing_swept"] == 0
        loaded = client.info("backing")["backing_loaded"]
        assert client.hget("user:2", "name") == "name 2"
        assert client.info("backing")["backing_loaded"] == loaded  # it was still there


def cache_folder(cache: Cache) -> Path:
    folder = Path(cache.words[3]).parent / "data"
    folder.mkdir(exist_ok=True)
    return folder


def log_of(cache: Cache) -> bytes:
    files = sorted((cache_folder(cache) / "appendonlydir").glob("*.incr.aof"))
    return b"".join(file.read_bytes() for file in files)


@decoding
@pytest.mark.parametrize("how", ["dropped", "advanced", "behind"])
def test_a_slot_that_cannot_tell_all(cache: Cache, how: str) -> None:
    users = cache.users
    data = ("--dir", str(cache_folder(cache)))
    server = cache.start(*LOG, *data)
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        users.execute("UPDATE users SET name = 'x' WHERE id = 3")
        eventually(lambda: b"distcache changes" in log_of(cache))
        assert client.set("mine", "x")
    server.stop()
    users.execute("UPDATE users SET name = 'new' WHERE id = 1")
    users.wait_left()
    if how == "dropped":
        users.drop_slots()
    elif how == "advanced":
        users.execute(
            f"SELECT pg_replication_slot_advance('{users.name}', pg_current_wal_flush_lsn())"
        )
    server = cache.start(*LOG, *data, *(("--backing-slot-max-lag", "1") if how == "behind" else ()))
    with server.client(decode_responses=True) as client:
        assert client.exists("mine")
        assert client.hget("user:1", "name") == "new"
        assert client.info("backing")["backing_swept"] == 1
        users.execute("UPDATE users SET name = 'newer' WHERE id = 1")
        eventually(lambda: client.hget("user:1", "name") == "newer")
    assert "Changes may have been missed" in server.log()


@decoding
def test_the_database_goes_away_and_comes_back(cache: Cache) -> None:
    users = cache.users
    server = cache.start()
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        users.server.kill()
        eventually(lambda: client.info("backing")["backing_changes_status"] == "down")
        assert client.hget("user:1", "name") == "name 1"
        users.server.start()
        users.reconnect()
        users.execute("UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.hget("user:1", "name") == "new")


@decoding
def test_our_own_transactions(cache: Cache) -> None:
    users = cache.users
    server = cache.start()
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        users.execute(
            "BEGIN",
            f"SELECT pg_logical_emit_message(true, 'distcache:{users.name}', '')",
            "UPDATE users SET name = 'new' WHERE id = 1",
            "COMMIT",
        )
        eventually(lambda: client.info("backing")["backing_changes_own"] == 1)
        assert client.hget("user:1", "name") == "name 1"
        assert client.info("backing")["backing_invalidated"] == 0


@decoding
def test_a_transaction_of_many_rows(cache: Cache) -> None:
    users = cache.users
    server = cache.start()
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        users.execute(
            "INSERT INTO users SELECT i, 'bulk', 'login' || i, 'name ' || i"
            " FROM generate_series(10001, 60000) AS i",
            "UPDATE users SET name = 'new'",
        )
        eventually(lambda: client.hget("user:1", "name") == "new", timeout=100)
        assert client.hget("user:50000", "name") == "new"


@pytest.mark.timeout(300)
@decoding
def test_a_publication_that_is_made_anew(cache: Cache) -> None:
    """What was written before it was there can never be decoded: the slot is made anew."""
    users = cache.users
    server = cache.start()
    with server.client(decode_responses=True) as client:
        assert client.hget("user:1", "name") == "name 1"
        users.execute("DROP PUBLICATION distcache", "UPDATE users SET name = 'new' WHERE id = 1")
        eventually(lambda: client.info("backing")["backing_swept"] > 0)
        users.execute("CREATE PUBLICATION distcache FOR TABLE users")
        eventually(lambda: client.hget("user:1", "name") == "new")

        def is_told() -> bool:
            users.execute("UPDATE users SET name = name || '!' WHERE id = 1")
            return bool(client.info("backing")["backing_changes_seen"])

        eventually(is_told, timeout=200, interval=0.5)


@pytest.mark.parametrize("mode", ["decoding", "notify"])
def test_a_database_that_is_not_set_up(users: PostgresDatabase, mode: str, tmp_path: Path) -> None:
    words = directives(users, mode, tmp_path)
    done = subprocess.run([*OURS, *words, "--test-config"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "--backing-setup-sql" in done.stderr
    set_up(users, mode, tmp_path)
    done = subprocess.run([*OURS, *words, "--test-config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    set_up(users, mode, tmp_path)  # as often as one likes


def test_modes_that_the_store_does_not_have(users: PostgresDatabase, tmp_path: Path) -> None:
    words = directives(users, "poll", tmp_path)
    done = subprocess.run([*OURS, *words, "--test-config"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "for SQLite" in done.stderr
