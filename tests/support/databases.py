"""Databases behind the cache: a real PostgreSQL that tests start, and files of SQLite."""

import glob
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.support.servers import free_port

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "max_connections": "60",
    "fsync": "off",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
    "timezone": "Europe/Vienna",  # ours must not depend on it
    "datestyle": "German",
}


def postgres_programs() -> str | None:
    """The folder of initdb and postgres, the newest where there are several."""
    if found := shutil.which("initdb"):
        return os.path.dirname(os.path.realpath(found))
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    return max(folders, key=lambda it: int(it.split("/")[4]), default=None)


class Postgres:
    """A PostgreSQL server in a folder of its own."""

    def __init__(self, programs: str) -> None:
        self.programs = programs
        # Not below pytest's folders: those are closed to other users, and it refuses root.
        self.folder = Path(tempfile.mkdtemp(prefix="distcache-postgres-"))
        self.user: str | None = None
        if os.geteuid() == 0:
            self.user = "postgres"
            owner = pwd.getpwnam(self.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.port = free_port()
        self._names = 0
        self._call("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        self.process = self._spawn()
        self.connection = self._connected()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def _call(self, program: str, *words: str) -> None:
        subprocess.run(
            [f"{self.programs}/{program}", *words],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self.user,
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        )

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [f"{self.programs}/postgres", "-D", self.data, f"-p{self.port}", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.user,
                env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
            )

    def _connected(self) -> "Session":
        return Session(self.port, "postgres", patience=True)

    def new_database(self) -> "PostgresDatabase":
        """An empty database."""
        self._names += 1
        name = f"test{self._names}"
        self.connection.execute(f"CREATE DATABASE {name}")
        return PostgresDatabase(self, name)

    def kill(self) -> None:
        """Stop it at once, without a checkpoint, as after a crash."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def start(self) -> None:
        """Start it again, after `kill`."""
        self.connection.close()
        self.process = self._spawn()
        self.connection = self._connected()

    def stop(self) -> None:
        """End it, and remove its folder."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Session:
    """A connection for tests, driven from outside of any event loop."""

    def __init__(self, port: int, database: str, patience: bool = False) -> None:
        import asyncio

        import asyncpg

        from tests.support.waiting import eventually

        self._loop = asyncio.new_event_loop()

        def connect() -> Any:
            try:
                return self._loop.run_until_complete(
                    asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database=database)
                )
            except (OSError, asyncpg.PostgresError) as error:
                raise AssertionError(str(error)) from error

        self._connection = eventually(connect, timeout=60) if patience else connect()

    def execute(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        rows = self._loop.run_until_complete(self._connection.fetch(statement))
        return [tuple(row) for row in rows]

    def close(self) -> None:
        if not self._loop.is_closed():
            self._connection.terminate()
            # Lets the transport see that it is closed.
            import asyncio

            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


class Database(Protocol):
    """What the tests of both stores use."""

    kind: str
    address: str

    def execute(self, *statements: str) -> None:
        """Run statements, each committed."""

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""

    def fill(self, table: str, rows: Iterable[Sequence[int | str]]) -> None:
        """Insert rows of numbers and texts."""

    def close(self) -> None:
        """Let go of it."""


def _literal(value: int | str) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _insert(table: str, rows: Iterable[Sequence[int | str]]) -> str:
    values = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)
    return f"INSERT INTO {table} VALUES {values}"  # noqa: S608


class PostgresDatabase:
    kind = "postgres"

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.address = f"postgresql://postgres@127.0.0.1:{server.port}/{name}"
        self._session = Session(server.port, name)

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self._session.execute(statement)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._session.query(statement)

    def fill(self, table: str, rows: Iterable[Sequence[int | str]]) -> None:
        self.execute(_insert(table, rows))

    def wait_left(self) -> None:
        """Until the slot of this name is free: it notices a moment later that its reader ended."""
        from tests.support.waiting import eventually

        found = f"SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = '{self.name}'"  # noqa: S608
        eventually(lambda: not self.query(found))

    def reconnect(self) -> None:
        """After the server was started again."""
        self._session.close()
        self._session = Session(self.server.port, self.name)

    def refuse_connections(self) -> None:
        """Nobody can connect any more, so that a server cannot make its slot anew."""
        self.server.connection.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")

    def drop_slots(self) -> None:
        """Take the replication slots away, from who is reading them too."""
        from tests.support.waiting import eventually

        ask = self.server.connection.query
        slots = f"FROM pg_replication_slots WHERE database = '{self.name}'"

        def dropped() -> bool:
            ask(f"SELECT pg_terminate_backend(active_pid) {slots} AND active_pid IS NOT NULL")
            ask(f"SELECT pg_drop_replication_slot(slot_name) {slots} AND active_pid IS NULL")
            return not ask(f"SELECT 1 {slots}")

        eventually(dropped, 30)

    def close(self) -> None:
        self._session.close()


class SqliteDatabase:
    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.db"
        self.address = f"sqlite:///{self.path}"
        self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def execute(self, *statements: str) -> None:
        for statement in statements:
            self._connection.execute(statement)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def fill(self, table: str, rows: Iterable[Sequence[int | str]]) -> None:
        self.execute(_insert(table, rows))

    def close(self) -> None:
        self._connection.close()
