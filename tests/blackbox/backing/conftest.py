"""A database behind the cache, once of each kind, and servers that read through it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Process, StartServer
from tests.support.databases import (
    Database,
    Postgres,
    PostgresDatabase,
    SqliteDatabase,
    postgres_programs,
)
from tests.support.rows import LAZY, NO_BEAT


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres | None]:
    programs = postgres_programs()
    server = Postgres(programs) if programs else None
    yield server
    if server is not None:
        server.stop()


@pytest.fixture
def postgres(_postgres: Postgres | None) -> Iterator[PostgresDatabase]:
    """An empty database of a real PostgreSQL."""
    if _postgres is None:
        pytest.skip("PostgreSQL is not installed")
    if _postgres.process.poll() is not None:
        _postgres.start()  # a test has failed that had killed it
    database = _postgres.new_database()
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database, once of each kind."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres")
        return
    database = SqliteDatabase(tmp_path)
    yield database
    database.close()


Backed = Callable[..., Process]

PATIENT = ("--backing-timeout", "20000")
"""For loads and for the checks at the start: on a busy machine both can take over a second."""


@pytest.fixture
def backed(database: Database, start_server: StartServer, tmp_path: Path) -> Backed:
    """Start a server that reads through the database: `backed(map, *directives)`."""

    def start(text: str, *directives: str, command: tuple[str, ...] | None = None) -> Process:
        path = tmp_path / "map.toml"
        path.write_text(text)
        return start_server(
            *("--backing-store", database.address, "--backing-map", str(path)),
            *(*PATIENT, *directives),
            command=command,
        )

    return start


@pytest.fixture
def lazy(backed: Backed) -> Backed:
    """The same, but it writes rows only when somebody waits for them, or as it is told then."""

    def start(text: str, *directives: str) -> Process:
        return backed(text, *LAZY, *directives, command=NO_BEAT)

    return start
