"""Which feed tells of the changes in a store, and how it is set up."""

from __future__ import annotations

from distcache_replication.backing.feed import Feed, NotSetUp, Wanted
from distcache_replication.backing.inbound import Rows
from distcache_replication.backing.store import Store


def open_feed(store: Store, rows: Rows, wanted: Wanted) -> Feed:
    """The feed that is wanted; NotSetUp where the store has none of that kind."""
    if wanted.mode == "poll":
        from distcache_replication.backing.sqlite import Sqlite

        if not isinstance(store, Sqlite):
            raise NotSetUp("'poll' is for SQLite: use 'decoding' or 'notify'")
        from distcache_replication.backing.polling import Polling

        return Polling(store, rows)
    if not store.shown.startswith("postgres"):
        raise NotSetUp(f"'{wanted.mode}' is for PostgreSQL: use 'poll'")
    from distcache_replication.backing.decoding import Decoding
    from distcache_replication.backing.listening import Listening
    from distcache_replication.backing.postgres import Postgres

    assert isinstance(store, Postgres)
    if wanted.mode == "notify":
        return Listening(store, rows, wanted)
    return Decoding(store, rows, wanted)


async def setup_sql(store: Store, rows: Rows, wanted: Wanted) -> str:
    """The SQL that prepares the database for a feed."""
    if not store.shown.startswith("postgres"):
        raise NotSetUp("SQLite needs no set-up")
    from distcache_replication.backing.postgres import Postgres
    from distcache_replication.backing.setup import setup_sql

    assert isinstance(store, Postgres)
    return await setup_sql(store, rows, wanted)
