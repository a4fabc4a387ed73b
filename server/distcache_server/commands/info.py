"""INFO: everything that monitoring wants to know, in sections of ``name:value`` lines.

The names are Redis's, since redis_exporter, Sentinel and client libraries read them.  What does not
exist here is left out, or has the value that says so where somebody relies on the line.
"""

from __future__ import annotations

import os
import platform
import select
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from distcache_replication.primary import ONLINE, SHOWN

from distcache_server import memory
from distcache_server.arguments import Args
from distcache_server.commands.memory import Overview
from distcache_server.config.lists import percentile
from distcache_server.engine import REDIS_VERSION, VERSION
from distcache_server.registry import LOADING, STALE, group
from distcache_server.reply import VerbatimString

if TYPE_CHECKING:
    from distcache_server.changefeed.publishing import Publishing
    from distcache_server.changefeed.stream import Changefeed
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.invalidating import Invalidation
    from distcache_server.keyspace import Keyspace
    from distcache_server.link import Link
    from distcache_server.loading import Loader
    from distcache_server.persistence import Persistence
    from distcache_server.store_waits import StoreWaits

command = group("server")

Lines = Iterable[tuple[str, Any]]
SAMPLE = 100
"""Keys whose deadlines stand for all when a time to live is averaged."""


def human(size: int) -> str:
    """``1.50M``"""
    for unit, letter in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if size >= unit:
            return f"{size / unit:.2f}{letter}"
    return f"{size}B"


def server(engine: Engine) -> Lines:
    """What runs, where and since when."""
    config, uname = engine.config, platform.uname()
    uptime_s = int(time.monotonic() - engine.started_monotonic)
    yield "redis_version", REDIS_VERSION
    yield "distcache_version", VERSION
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "redis_build_id", engine.run_id[:16]
    yield "redis_mode", "standalone"
    yield "os", f"{uname.system} {uname.release} {uname.machine}"
    yield "arch_bits", 64 if sys.maxsize > 1 << 32 else 32
    yield "monotonic_clock", time.get_clock_info("monotonic").implementation
    yield "multiplexing_api", "epoll" if hasattr(select, "epoll") else "select"
    yield "python_version", platform.python_version()
    yield "process_id", os.getpid()
    yield "process_supervised", config.supervised
    yield "run_id", engine.run_id
    yield "tcp_port", engine.port
    yield "server_time_usec", time.time_ns() // 1000
    yield "uptime_in_seconds", uptime_s
    yield "uptime_in_days", uptime_s // 86400
    yield "hz", config.hz
    yield "configured_hz", config.hz
    yield "lru_clock", engine.now_ms // 1000 & 0xFFFFFF
    yield "executable", sys.executable
    yield "config_file", config.config_file
    yield "io_threads_active", 0
    for number, (name, place) in enumerate(_listeners(engine)):
        yield f"listener{number}", f"name={name},{place}"


def _listeners(engine: Engine) -> Iterable[tuple[str, str]]:
    config = engine.config
    if engine.port:
        addresses = ",".join(f"bind={address}" for address in config.bind)
        yield "tcp", f"{addresses},port={engine.port}"
    if config.unixsocket:
        yield "unix", f"bind={config.unixsocket}"


def clients(engine: Engine) -> Lines:
    """Who is connected, and what they wait for."""
    known = engine.clients.values()
    sizes = [client.memory() for client in known]
    blocked = engine.blocking.clients
    yield "connected_clients", len(known) - len(engine.replicas)
    yield "cluster_connections", 0
    yield "maxclients", engine.config.maxclients
    yield "client_recent_max_input_buffer", max((size[0] for size in sizes), default=0)
    yield "client_recent_max_output_buffer", max((size[1] for size in sizes), default=0)
    yield "blocked_clients", len(blocked) + len(engine.pause.held)
    yield "tracking_clients", 0
    yield "pubsub_clients", sum(client.subscriptions > 0 for client in known)
    yield "watching_clients", sum(len(client.watching) > 0 for client in known)
    yield (
        "clients_in_timeout_table",
        sum(it.blocked is not None and it.blocked.timeout_ms > 0 for it in blocked),
    )
    yield "total_watched_keys", sum(len(keyspace.watched) for keyspace in engine.databases)
    yield "total_blocking_keys", sum(len(keyspace.waiting) for keyspace in engine.databases)
    yield (
        "total_blocking_keys_on_nokey",
        sum(
            any(client.blocked is not None and client.blocked.always for client in queue)
            for keyspace in engine.databases
            for queue in keyspace.waiting.values()
        ),
    )


def memory_(engine: Engine) -> Lines:
    """What takes how many bytes."""
    it, limit, machine = Overview(engine), engine.config.maxmemory, memory.total()
    peak_resident = memory.peak_resident()
    dying = sum(len(keyspace.graveyard) for keyspace in engine.databases)
    for name, size in (
        ("used_memory", it.used),
        ("used_memory_rss", it.resident),
        ("used_memory_peak", it.peak),
    ):
        yield name, size
        yield f"{name}_human", human(size)
    yield "used_memory_peak_perc", f"{100 * it.used / it.peak if it.peak else 0:.2f}%"
    yield "used_memory_overhead", it.overhead
    yield "used_memory_startup", 0
    yield "used_memory_dataset", it.dataset
    yield "used_memory_dataset_perc", f"{it.dataset_percentage:.2f}%"
    yield "used_memory_rss_peak", peak_resident
    yield "allocator_allocated", it.used
    yield "allocator_active", it.resident
    yield "allocator_resident", it.resident
    yield "total_system_memory", machine
    yield "total_system_memory_human", human(machine)
    yield "used_memory_lua", 0
    yield "used_memory_lua_human", human(0)
    yield "used_memory_scripts", 0
    yield "used_memory_scripts_human", human(0)
    yield "number_of_cached_scripts", 0
    yield "number_of_functions", 0
    yield "number_of_libraries", 0
    yield "maxmemory", limit
    yield "maxmemory_human", human(limit)
    yield "maxmemory_policy", engine.config.maxmemory_policy
    yield "allocator_frag_ratio", f"{it.fragmentation:.2f}"
    yield "allocator_frag_bytes", it.excess
    yield "allocator_rss_ratio", "1.00"
    yield "allocator_rss_bytes", 0
    yield "rss_overhead_ratio", "1.00"
    yield "rss_overhead_bytes", 0
    yield "mem_fragmentation_ratio", f"{it.fragmentation:.2f}"
    yield "mem_fragmentation_bytes", it.excess
    yield "mem_not_counted_for_evict", 0
    yield "mem_replication_backlog", it.backlog
    yield "mem_total_replication_buffers", it.backlog
    yield "mem_clients_slaves", it.replicas
    yield "mem_clients_normal", it.clients
    yield "mem_cluster_links", 0
    yield "mem_aof_buffer", it.unwritten
    yield "mem_allocator", "pymalloc"
    yield "active_defrag_running", 0
    yield "lazyfree_pending_objects", dying
    yield "lazyfreed_objects", sum(keyspace.buried for keyspace in engine.databases)


def persistence(engine: Engine) -> Lines:
    """What is on disk, and how it got there."""
    file, loading, disk = engine.snapshot, engine.loading, engine.persistence
    yield "loading", int(loading is not None)
    yield "async_loading", 0
    saver = disk.saver if disk is not None else None
    keys = saver.keys if saver is not None else (0, 0)
    yield "current_cow_peak", 0
    yield "current_cow_size", 0
    yield "current_cow_size_age", 0
    yield "current_fork_perc", f"{100 * keys[0] / max(keys[1], 1):.2f}"
    yield "current_save_keys_processed", keys[0]
    yield "current_save_keys_total", keys[1]
    yield "rdb_changes_since_last_save", file.changes
    yield "rdb_bgsave_in_progress", int(disk is not None and disk.saving)
    yield "rdb_last_save_time", file.saved_s
    yield "rdb_last_bgsave_status", "err" if file.failed else "ok"
    yield "rdb_last_bgsave_time_sec", saver.last_s if saver is not None else -1
    yield "rdb_current_bgsave_time_sec", saver.seconds if saver is not None else -1
    yield "rdb_saves", file.saves
    yield "rdb_last_cow_size", 0
    yield "rdb_last_load_keys_expired", file.loaded_expired
    yield "rdb_last_load_keys_loaded", file.loaded_keys
    yield "aof_enabled", int(disk is not None and disk.disk is not None)
    if disk is not None:
        yield from append_only(disk)
    if loading is not None:
        yield "loading_start_time", int(loading.started_s)
        yield "loading_total_bytes", loading.total_bytes
        yield "loading_rdb_used_mem", 0
        yield "loading_loaded_bytes", loading.loaded_bytes
        yield "loading_loaded_perc", f"{loading.percent:.2f}"
        yield "loading_eta_seconds", int(loading.left_s)


def append_only(it: Persistence) -> Lines:
    """The log on disk."""
    rewriter, disk = it.rewriter, it.disk
    yield "aof_rewrite_in_progress", int(rewriter.in_progress)
    yield "aof_rewrite_scheduled", int(rewriter.scheduled or rewriter.waits)
    yield "aof_last_rewrite_time_sec", rewriter.last_s
    yield "aof_current_rewrite_time_sec", rewriter.seconds
    yield "aof_last_bgrewrite_status", rewriter.status
    yield "aof_rewrites", rewriter.count
    yield "aof_rewrites_consecutive_failures", rewriter.failures
    yield "aof_last_write_status", "ok" if disk is None or disk.error is None else "err"
    yield "aof_last_cow_size", 0
    yield "module_fork_in_progress", 0
    yield "module_fork_last_cow_size", 0
    if disk is not None:
        yield "aof_current_size", it.size
        yield "aof_base_size", it.base_size
        yield "aof_pending_rewrite", 0
        yield "aof_buffer_length", it.log.end - disk.offset
        yield "aof_pending_bio_fsync", int(disk.flushing)
        yield "aof_delayed_fsync", 0
        yield "aof_flushed_offset", disk.flushed


def stats(engine: Engine) -> Lines:
    """What has happened since the start, or since CONFIG RESETSTAT."""
    counters, pubsub, keyspaces = engine.counters, engine.pubsub, engine.databases
    totals = engine.totals()
    operations, incoming, outgoing, from_primary, to_replicas = engine.rates.per_second()
    yield "total_connections_received", counters.connections_received
    yield "total_commands_processed", totals.commands
    yield "instantaneous_ops_per_sec", round(operations)
    yield "total_net_input_bytes", totals.net_input
    yield "total_net_output_bytes", totals.net_output
    yield "total_net_repl_input_bytes", totals.repl_input
    yield "total_net_repl_output_bytes", totals.repl_output
    yield "instantaneous_input_kbps", f"{incoming / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{outgoing / 1024:.2f}"
    yield "instantaneous_input_repl_kbps", f"{from_primary / 1024:.2f}"
    yield "instantaneous_output_repl_kbps", f"{to_replicas / 1024:.2f}"
    yield "rejected_connections", counters.connections_rejected
    replicas = engine.replication.replicas if engine.replication is not None else None
    yield "sync_full", replicas.full if replicas is not None else 0
    yield "sync_partial_ok", replicas.partial if replicas is not None else 0
    yield "sync_partial_err", replicas.denied if replicas is not None else 0
    yield "expired_keys", sum(keyspace.expired for keyspace in keyspaces)
    yield "expired_subkeys", sum(keyspace.expired_fields for keyspace in keyspaces)
    yield "expired_stale_perc", "0.00"
    yield "expired_time_cap_reached_count", 0
    yield "evicted_keys", counters.evicted_keys
    yield "evicted_clients", counters.evicted_clients
    yield "keyspace_hits", sum(keyspace.hits for keyspace in keyspaces)
    yield "keyspace_misses", sum(keyspace.misses for keyspace in keyspaces)
    yield "pubsub_channels", len(pubsub.channels)
    yield "pubsub_patterns", len(pubsub.patterns)
    yield "pubsubshard_channels", len(pubsub.shard_channels)
    yield "latest_fork_usec", 0
    yield "total_forks", 0
    yield "migrate_cached_sockets", len(engine.targets)
    yield "slave_expires_tracked_keys", 0
    yield "tracking_total_keys", 0
    yield "tracking_total_items", 0
    yield "tracking_total_prefixes", 0
    yield "unexpected_error_replies", counters.unexpected_errors
    yield "total_error_replies", sum(counters.errors.values())
    yield "dump_payload_sanitizations", 0
    yield "client_query_buffer_limit_disconnections", counters.query_limit_disconnections
    yield "client_output_buffer_limit_disconnections", counters.output_limit_disconnections
    yield "acl_access_denied_auth", counters.auth_failures
    yield "acl_access_denied_cmd", 0
    yield "acl_access_denied_key", 0
    yield "acl_access_denied_channel", 0


def replication(engine: Engine) -> Lines:
    """The server's part in replication, its replicas, and the log."""
    it, history, persistence = engine.replication, engine.history, engine.persistence
    config = engine.config
    primary = it.primary if it is not None else None
    yield "role", "slave" if primary is not None else "master"
    if it is not None and primary is not None:
        yield from _of_primary(engine, primary, it.link)
    replicas = it.replicas.clients if it is not None else {}
    yield "connected_slaves", len(replicas)
    if it is not None and config.min_replicas_to_write and config.min_replicas_max_lag:
        yield "min_slaves_good_slaves", it.replicas.good
    if it is not None and config.synchronous_replicas:
        confirming = it.replicas.confirming
        yield "synchronous_replicas", config.synchronous_replicas
        yield "synchronous_offset", confirming.offset
        yield "synchronous_replies_held", len(confirming.held)
        yield "synchronous_replies_late", confirming.late
    now_s = time.monotonic()
    for number, (client, each) in enumerate(replicas.items()):
        if it is None or each.state not in SHOWN:
            continue
        host, port = it.replicas.host(client), each.port
        lag = each.lag_s(now_s) if each.state == ONLINE else 0
        yield (
            f"slave{number}",
            f"ip={host},port={port},state={SHOWN[each.state]},offset={each.acknowledged},lag={lag}",
        )
    yield "master_failover_state", it.failing_over.state if it is not None else "no-failover"
    yield "master_replid", history.id
    yield "master_replid2", history.second
    log = persistence.log if persistence is not None else None
    start, end = (log.start, log.end) if log is not None else (0, 0)
    active = persistence is not None and (persistence.journal.active or engine.follows)
    yield "master_repl_offset", end
    yield "second_repl_offset", history.second_end + 1 if history.second_end >= 0 else -1
    yield "repl_backlog_active", int(active)
    yield "repl_backlog_size", config.repl_backlog_size
    yield "repl_backlog_first_byte_offset", start + 1 if active else 0
    yield "repl_backlog_histlen", end - start if active else 0
    if persistence is not None:
        yield from _on_disk(persistence)


def _on_disk(it: Persistence) -> Lines:
    """The log on disk, for who was away."""
    archive = it.archive
    start = archive.start
    yield "repl_disk_active", int(start is not None)
    yield "repl_disk_first_byte_offset", start + 1 if start is not None else 0
    yield "repl_disk_size", archive.size
    yield "repl_disk_retained", sum(each.size for each in archive.superfluous)
    yield "repl_disk_slots", len(archive.slots)
    for number, slot in enumerate(archive.slots):
        yield (
            f"repl_disk_slot{number}",
            f"name={slot.name},offset={slot.offset},lost={int(slot.lost)}",
        )


def _of_primary(engine: Engine, primary: tuple[str, int], link: Link | None) -> Lines:
    """What a replica says of its primary; while it loads it has no link to it yet."""
    config, now_s = engine.config, time.monotonic()
    assert engine.persistence is not None
    offset, is_up = engine.persistence.log.end, link is not None and link.is_up
    idle_s = -1 if link is None else int(now_s - link.heard_s)
    transfer = None if link is None else link.transfer
    yield "master_host", primary[0]
    yield "master_port", primary[1]
    yield "master_link_status", "up" if is_up else "down"
    yield "master_last_io_seconds_ago", idle_s if is_up else -1
    yield "master_sync_in_progress", int(transfer is not None)
    yield "slave_read_repl_offset", offset
    yield "slave_repl_offset", offset
    if transfer is not None:
        total = transfer.size or 0
        yield "master_sync_total_bytes", total
        yield "master_sync_read_bytes", transfer.received
        yield "master_sync_left_bytes", total - transfer.received
        yield "master_sync_perc", f"{100 * transfer.received / total if total else 0:.2f}"
        yield "master_sync_last_io_seconds_ago", idle_s
    if not is_up:
        since_s = None if link is None else link.down_since_s
        yield "master_link_down_since_seconds", -1 if since_s is None else int(now_s - since_s)
    yield "slave_priority", config.replica_priority
    yield "slave_read_only", int(config.replica_read_only)
    yield "replica_announced", int(config.replica_announced)


def cpu(_: Engine) -> Lines:
    """Seconds of processor time."""
    times = os.times()
    own = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
    share = own / (times.user + times.system) if times.user + times.system else 0.0
    yield "used_cpu_sys", f"{times.system:.6f}"
    yield "used_cpu_user", f"{times.user:.6f}"
    yield "used_cpu_sys_children", f"{times.children_system:.6f}"
    yield "used_cpu_user_children", f"{times.children_user:.6f}"
    yield "used_cpu_sys_main_thread", f"{times.system * share:.6f}"
    yield "used_cpu_user_main_thread", f"{times.user * share:.6f}"


def modules(_: Engine) -> Lines:
    """Loaded modules: none."""
    return ()


def commandstats(engine: Engine) -> Lines:
    """Calls and times of each command that was called, or refused."""
    for name, it in sorted(engine.stats.items()):
        calls, usec = it.calls, it.ns // 1000
        if calls or it.rejected or it.failed:
            yield (
                f"cmdstat_{name}",
                f"calls={calls},usec={usec},usec_per_call={usec / calls if calls else 0:.2f}"
                f",rejected_calls={it.rejected},failed_calls={it.failed}",
            )


def errorstats(engine: Engine) -> Lines:
    """Error replies by their first word."""
    for code, count in sorted(engine.counters.errors.items()):
        yield f"errorstat_{code}", f"count={count}"


def latencystats(engine: Engine) -> Lines:
    """How long most calls of each command took, in microseconds."""
    if not engine.config.latency_tracking:
        return
    shares = engine.config.latency_tracking_info_percentiles
    for name, it in sorted(engine.stats.items()):
        if it.calls:
            values = (f"p{percentile(n).decode()}={it.percentile(n / 100):.3f}" for n in shares)
            yield f"latency_percentiles_usec_{name}", ",".join(values)


def cluster(_: Engine) -> Lines:
    """Whether this is part of a cluster."""
    yield "cluster_enabled", 0


def keyspace_(engine: Engine) -> Lines:
    """Keys of each database that has some."""
    for it in engine.databases:
        if len(it):
            dated, ttl = it.deadlines.count, average_ttl(it, engine.now_ms)
            yield f"db{it.index}", f"keys={len(it)},expires={dated},avg_ttl={ttl}"


def keygroups(engine: Engine) -> Lines:
    """Which reads found a key, by key-groups."""
    for number, it in enumerate(engine.groups.groups):
        yield (
            f"keygroup{number}",
            f"pattern={it.name},hits={it.hits},misses={it.misses},hit_ratio={it.hit_ratio:.4f}",
        )


def average_ttl(keyspace: Keyspace, now_ms: int) -> int:
    """About how many milliseconds keys with a deadline have left."""
    keys = keyspace.deadlines.sample(SAMPLE)
    left = [max((keyspace.deadlines.get(key) or 0) - now_ms, 0) for key in keys]
    return sum(left) // len(left) if left else 0


def backing(engine: Engine) -> Lines | None:
    """The backing store: what was loaded and written, and what could not be."""
    reader = engine.reader
    if reader is None:
        return None
    writes = _backing_writes(reader.waits) if reader.waits is not None else iter(())
    return chain(_backing(reader), _changes(engine.changes), writes)


def _backing(reader: Loader) -> Lines:
    figures = reader.figures
    yield "backing_store", reader.store.shown
    yield "backing_status", "down" if reader.breaker.is_open else "up"
    yield "backing_mappings", len(reader.plans)
    yield "backing_loading", len(reader.loads)
    yield "backing_queries", figures.queries
    yield "backing_loaded", figures.loaded
    yield "backing_absent", figures.absent
    yield "backing_failed", figures.failed
    yield "backing_fenced", figures.fenced
    yield "backing_refreshed", figures.refreshed
    yield "backing_stale", figures.stale
    yield "backing_shed", figures.shed
    yield "backing_absent_known", len(reader.absent)
    if reader.warming is not None:
        yield "backing_warm_keys", min(len(reader.warming.hot.counts), reader.warming.hot.most)
        yield "backing_warmed", reader.warming.warmed


def _changes(changes: Invalidation | None) -> Lines:
    yield "backing_invalidation", "no" if changes is None else changes.mode
    if changes is None:
        return
    figures = changes.figures
    yield "backing_changes_status", changes.status
    yield "backing_changes_seen", figures.seen
    yield "backing_changes_own", figures.own
    yield "backing_changes_lag_bytes", changes.feed.lag
    yield "backing_changes_connections", figures.reconnects
    yield "backing_invalidated", figures.dropped
    yield "backing_swept", figures.swept


def _backing_writes(waits: StoreWaits) -> Lines:
    writer, figures = waits.writer, waits.writer.figures
    size, seconds = writer.lag()
    position = writer.position
    yield "backing_write_status", writer.status
    yield "backing_write_problem", writer.problem or "none"
    yield "backing_epoch", position.epoch if position is not None else 0
    yield "backing_history", position.history if position is not None else ""
    yield "backing_offset", position.offset if position is not None else 0
    yield "backing_pending", writer.pending
    yield "backing_lag_bytes", size
    yield "backing_lag_seconds", f"{seconds:.3f}"
    yield "backing_held_writes", waits.held
    yield "backing_batches", figures.batches
    yield "backing_rows", figures.rows
    yield "backing_dead_letters", figures.dead
    yield "backing_write_failures", figures.failed
    yield "backing_deposed", figures.deposed
    yield "backing_full_passes", figures.passes
    yield "backing_dropped", figures.dropped


def changefeed(engine: Engine) -> Lines | None:
    """The stream of all changes, and its process."""
    if engine.feed is None:
        return None
    lines = list(_changefeed(engine.feed))
    if engine.publishing is not None and engine.config.changefeed:
        lines += _changefeed_in_kafka(engine.publishing)
    return lines


def _changefeed_in_kafka(it: Publishing) -> Lines:
    yield "changefeed_kafka_state", it.state
    yield "changefeed_kafka_error", it.error
    yield "changefeed_kafka_epoch", it.epoch
    yield "changefeed_kafka_offset", it.offset or 0
    yield "changefeed_kafka_lag", it.lag
    yield "changefeed_kafka_lag_seconds", f"{it.lag_s:.3f}"
    for name, count in it.counts.items():
        yield f"changefeed_kafka_{name}", count


def _changefeed(feed: Changefeed) -> Lines:
    process = feed.process
    offsets = process.offsets if process is not None else []
    end = feed.end.offset
    yield "changefeed_active", int(process is not None)
    yield "changefeed_offset", end
    yield "changefeed_readers", feed.readers
    yield "changefeed_cursors", len(offsets)
    yield "changefeed_lag", max(end - max(offsets), 0) if offsets else 0
    yield "changefeed_groups", feed.groups.count


SECTIONS: dict[str, Callable[[Engine], Lines | None]] = {
    "server": server,
    "clients": clients,
    "memory": memory_,
    "persistence": persistence,
    "stats": stats,
    "replication": replication,
    "cpu": cpu,
    "modules": modules,
    "commandstats": commandstats,
    "errorstats": errorstats,
    "latencystats": latencystats,
    "cluster": cluster,
    "keyspace": keyspace_,
    "keygroups": keygroups,
    "backing": backing,
    "changefeed": changefeed,
}
"""In the order in which they are shown.  One that gives None is not shown."""
TITLES = {"cpu": "CPU"}
DETAILED = {"commandstats", "latencystats"}
"""Only shown when asked for."""
DEFAULT = SECTIONS.keys() - DETAILED
SEVERAL = {
    "default": DEFAULT,
    "all": SECTIONS.keys(),
    "everything": SECTIONS.keys(),
    "module_list": {"modules"},
}


@command(
    "INFO [section [section ...]]",
    LOADING | STALE,
    since="1.0.0",
    acl="dangerous",
    tips="nondeterministic_output request_policy:all_shards response_policy:special",
)
def info(client: Client, words: Args) -> VerbatimString:
    """Returns facts and figures about the server."""
    wanted: set[str] = set() if len(words) > 1 else set(DEFAULT)
    for word in words[1:]:
        name = word.decode("latin-1").lower()
        wanted |= SEVERAL.get(name, {name})
    texts = []
    for name, lines in SECTIONS.items():
        if name in wanted and (shown := lines(client.engine)) is not None:
            title = f"# {TITLES.get(name, name.capitalize())}\r\n"
            body = "".join(f"{key}:{value}\r\n" for key, value in shown)
            texts.append(title + body)
    return VerbatimString("\r\n".join(texts).encode("utf-8", "surrogateescape"))
