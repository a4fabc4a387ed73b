"""The backing store of a server: opened and compared with the map before anybody is served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from distcache_replication.backing import mapping
from distcache_replication.backing.errors import BadMap, StoreError
from distcache_replication.backing.feed import Feed, NotSetUp, Wanted
from distcache_replication.backing.feeds import open_feed, setup_sql
from distcache_replication.backing.inbound import Rows
from distcache_replication.backing.plan import Plan
from distcache_replication.backing.store import (
    BadAddress,
    WritableStore,
    bind_all,
    open_store,
)

from distcache_server import logs
from distcache_server.config import Config
from distcache_server.engine import Engine
from distcache_server.invalidating import Invalidation
from distcache_server.loading import Loader
from distcache_server.snapshot_file import Progress
from distcache_server.store_waits import StoreWaits
from distcache_server.warming import Warming
from distcache_server.writing import Writer


class CannotBack(Exception):
    """The backing store or its map cannot be used; the text says why, and the cure."""


def is_asked_for(config: Config) -> bool:
    """Does a directive ask for the backing store?"""
    return bool(config.backing_store or config.backing_map or config.backing_invalidation != "no")


async def opened(config: Config, *, prepared: bool = True) -> tuple[WritableStore, list[Plan]]:
    """The store that is configured, and the plans of all mappings; raises CannotBack.

    It has our own tables then, and those of keys of any type, unless ``prepared`` is false.
    """
    if not config.backing_store:
        raise CannotBack(
            "there is no backing-store: set it, or leave out backing-map and backing-invalidation"
        )
    try:
        mappings = _mappings(config)
        store = open_store(
            config.backing_store,
            config.dir,
            config.backing_connections,
            config.backing_timeout / 1000,
        )
    except (BadMap, BadAddress) as error:
        raise CannotBack(str(error)) from None
    try:
        store.write_timeout_s = config.backing_write_timeout / 1000
        await store.open()
        plans = await bind_all(store, mappings, create=prepared)
        if prepared and any(plan.mapping.writes for plan in plans):
            await store.prepare(plans)
        return store, plans
    except BadMap as error:
        await store.close()
        raise CannotBack(f"{config.backing_map or store.shown}: {error}") from None
    except StoreError as error:
        await store.close()
        raise CannotBack(f"{store.shown}: {error.reason}") from None


def _mappings(config: Config) -> list[mapping.Mapping]:
    if not config.backing_map:
        return [mapping.whole_cache()]
    path = config.locate(config.backing_map)
    try:
        with open(path, encoding="utf-8") as file:
            return mapping.load(file.read())
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not text in UTF-8"
        raise CannotBack(f"backing-map {path}: {reason}") from None
    except BadMap as error:
        raise CannotBack(f"backing-map {path}: {error}") from None


def stream_of(config: Config) -> str:
    """Under which name the store remembers how far it is, and by which our changes are known."""
    return config.backing_stream or config.backing_slot


def _wanted(config: Config) -> Wanted:
    """How the configuration wants to hear of changes."""
    return Wanted(
        config.backing_invalidation,
        config.backing_slot,
        config.backing_publication,
        stream_of(config),
        config.backing_slot_max_lag,
        config.backing_store,
        config.backing_timeout / 1000,
    )


async def _feed(config: Config, store: WritableStore, plans: list[Plan]) -> Feed | None:
    """What tells of changes by others; raises CannotBack where it is not set up."""
    if config.backing_invalidation == "no":
        return None
    try:
        feed = open_feed(store, Rows(plans), _wanted(config))
    except NotSetUp as error:
        await store.close()
        raise CannotBack(f"backing-invalidation, {store.shown}: {error}") from None
    try:
        await feed.check()
        return feed
    except (NotSetUp, StoreError) as error:
        await store.close()
        reason = error.reason if isinstance(error, StoreError) else str(error)
        hint = "distcache-server --backing-setup-sql prints what is to be run there"
        raise CannotBack(f"backing-invalidation, {store.shown}: {reason}: {hint}") from None


async def _test(config: Config) -> None:
    store, plans = await opened(config)
    await _feed(config, store, plans)
    await store.close()


async def _setup(config: Config) -> str:
    store, plans = await opened(config, prepared=False)
    try:
        return await setup_sql(store, Rows(plans), _wanted(config))
    except (NotSetUp, StoreError) as error:
        reason = error.reason if isinstance(error, StoreError) else str(error)
        raise CannotBack(f"{store.shown}: {reason}") from None
    finally:
        await store.close()


def setup(config: Config) -> str:
    """The SQL that prepares the store for `backing-invalidation`; raises CannotBack."""
    if not config.backing_store:
        raise CannotBack("there is none: set backing-store")
    return asyncio.run(_setup(config))


def test(config: Config) -> None:
    """Compare the map with the store as a start does, and stop; raises CannotBack."""
    asyncio.run(_test(config))


async def start(engine: Engine, call_soon: Callable[[Callable[[], None]], object]) -> None:
    """Read through the store that is configured, if there is one; raises CannotBack."""
    config = engine.config
    if not is_asked_for(config):
        return
    store, plans = await opened(config)
    feed = await _feed(config, store, plans)
    engine.reader = Loader(engine, store, plans, call_soon)
    if feed is not None:
        engine.changes = Invalidation(engine, engine.reader, feed, config.backing_invalidation)
    if config.backing_warm:
        engine.reader.warming = Warming(engine, engine.reader)
    for plan in plans:
        logs.notice(
            "Mapped",
            mapping=plan.mapping.name,
            key=plan.mapping.pattern.source,
            table=plan.table,
            form=plan.mapping.form,
            direction=plan.mapping.direction,
        )
    logs.notice("Reading through to the backing store", store=store.shown)
    if any(plan.mapping.writes for plan in plans):
        writer = Writer(engine, store, plans, engine.reader.match, stream_of(config))
        engine.writer = writer
        if engine.changes is not None:
            engine.changes.holds = writer.unwritten
            engine.changes.written = writer.reached
        engine.reader.waits = StoreWaits(writer, engine.reader)
        engine.evictor.pinned = writer.pins
        if engine.config.replicaof is None:
            try:
                await writer.succession.ask()
            except StoreError as error:
                await stop(engine)
                raise CannotBack(f"{store.shown}: {error.reason}") from None
    engine.rebuild()


async def begin(engine: Engine) -> None:
    """Write from now on, and hear of changes; until then, clients are told that we are loading."""
    changes, writer = engine.changes, engine.writer
    if (changes is None and writer is None) or engine.config.replicaof is not None:
        return  # a replica writes when it is promoted
    engine.loading = Progress(0)
    engine.rebuild()
    try:
        if writer is not None:
            await writer.begin()
        if changes is not None:
            await changes.begin()
    finally:
        engine.loading = None
        engine.rebuild()


async def drain(engine: Engine) -> None:
    """Before a clean end: write what is left, for as long as a shutdown may take."""
    if engine.writer is not None and engine.drains:
        await engine.writer.drain(engine.config.shutdown_timeout)


async def stop(engine: Engine) -> None:
    """Let go of the store."""
    reader = engine.reader
    if engine.writer is not None:
        await engine.writer.stop()
    if reader is not None:
        if reader.warming is not None:
            reader.warming.save()
        await reader.stop()
        await reader.store.close()
