"""What /metrics says, under the names of redis_exporter, whose dashboards and alerts work here.

Figures are read when somebody asks; nothing is counted for this alone.  Only to know the size of
groups of keys all keys are looked at, in small steps (groups.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from distcache_replication.primary import SHOWN
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from distcache_server import memory
from distcache_server.commands import info
from distcache_server.config.lists import percentile
from distcache_server.engine import REDIS_VERSION
from distcache_server.groups import Group, Survey

if TYPE_CHECKING:
    from distcache_server.changefeed.publishing import Publishing
    from distcache_server.engine import Engine
    from distcache_server.invalidating import Invalidation
    from distcache_server.loading import Loader
    from distcache_server.store_waits import StoreWaits

CONTENT_TYPE = CONTENT_TYPE_LATEST
STEP_NS = 1_000_000
"""How long a survey of all keys works at a time ..."""
PAUSE_S = 0.002
"""... and how long it leaves the rest to others."""
PATIENCE_S = 1.0
"""How long a scrape waits for a survey, before it shows the last one."""


class Figure(NamedTuple):
    """A metric without labels."""

    name: str
    help: str
    read: Callable[[Engine], float]


def _fragmentation(engine: Engine) -> float:
    return engine.evictor.excess()[1]


GAUGES = (
    Figure("up", "1: the server answers.", lambda _: 1),
    Figure(
        "uptime_in_seconds",
        "Seconds since the server was started.",
        lambda it: int(time.monotonic() - it.started_monotonic),
    ),
    Figure("start_time_seconds", "When the server was started.", lambda it: it.started_ms / 1000),
    Figure("connected_clients", "Clients that are connected.", lambda it: it.connected),
    Figure(
        "blocked_clients",
        "Clients that wait: for a key, or for the end of a pause.",
        lambda it: len(it.blocking.clients) + len(it.pause.held),
    ),
    Figure("max_clients", "Clients that may be connected.", lambda it: it.config.maxclients),
    Figure("config_maxclients", "The directive maxclients.", lambda it: it.config.maxclients),
    Figure(
        "memory_used_bytes",
        "Bytes that keys, values and clients take.",
        lambda it: it.evictor.used(),
    ),
    Figure("memory_used_peak_bytes", "The most of that.", lambda it: it.evictor.peak),
    Figure(
        "memory_used_rss_bytes",
        "Bytes of the process in memory.",
        lambda _: memory.resident(),
    ),
    Figure("memory_max_bytes", "The directive maxmemory.", lambda it: it.config.maxmemory),
    Figure("mem_fragmentation_ratio", "Bytes in memory for each byte used.", _fragmentation),
    Figure("memory_fragmentation_ratio", "Bytes in memory for each byte used.", _fragmentation),
    Figure("total_system_memory_bytes", "Memory of this machine.", lambda _: memory.total()),
    Figure("slowlog_length", "Commands in the slow log.", lambda it: len(it.slowlog.entries)),
    Figure(
        "slowlog_last_id",
        "The number of the last command in the slow log.",
        lambda it: max(it.slowlog.next_number - 1, 0),
    ),
)

COUNTERS = (
    Figure("rdb_saves", "Snapshots that were asked for.", lambda it: it.snapshot.saves),
    Figure(
        "connections_received",
        "Connections that were made.",
        lambda it: it.counters.connections_received,
    ),
    Figure(
        "rejected_connections",
        "Connections that were refused.",
        lambda it: it.counters.connections_rejected,
    ),
    Figure(
        "keyspace_hits",
        "Reads that found their key.",
        lambda it: sum(keyspace.hits for keyspace in it.databases),
    ),
    Figure(
        "keyspace_misses",
        "Reads that found no key.",
        lambda it: sum(keyspace.misses for keyspace in it.databases),
    ),
    Figure("evicted_keys", "Keys that maxmemory removed.", lambda it: it.counters.evicted_keys),
    Figure(
        "expired_keys",
        "Keys that went by their deadline.",
        lambda it: sum(keyspace.expired for keyspace in it.databases),
    ),
)

SECTIONS = (info.replication, info.persistence, info.stats)
FROM_INFO = {
    "connected_slaves": ("connected_slaves", "Replicas that are connected."),
    "master_repl_offset": ("master_repl_offset", "How far the log has come, in bytes."),
    "sync_full": ("replica_resyncs_full", "Full syncs of replicas."),
    "sync_partial_ok": (
        "replica_partial_resync_accepted",
        "Replicas that went on where they had been.",
    ),
    "sync_partial_err": (
        "replica_partial_resync_denied",
        "Replicas that could not go on where they had been.",
    ),
    "repl_disk_first_byte_offset": (
        "repl_disk_first_byte_offset",
        "The first byte of the log that is on disk; 0: none.",
    ),
    "repl_disk_size": ("repl_disk_size_bytes", "The log on disk, in bytes."),
    "repl_disk_retained": (
        "repl_disk_retained_bytes",
        "What is kept of it only for those who were away, in bytes.",
    ),
    "rdb_changes_since_last_save": (
        "rdb_changes_since_last_save",
        "Changes that are in no snapshot.",
    ),
    "rdb_bgsave_in_progress": ("rdb_bgsave_in_progress", "1: a snapshot is being saved."),
    "rdb_last_save_time": ("rdb_last_save_timestamp_seconds", "When data was last saved."),
    "rdb_last_bgsave_status": ("rdb_last_bgsave_status", "1: the last snapshot did not fail."),
    "rdb_last_bgsave_time_sec": (
        "rdb_last_bgsave_duration_sec",
        "Seconds that the last snapshot took.",
    ),
    "rdb_current_bgsave_time_sec": (
        "rdb_current_bgsave_duration_sec",
        "Seconds that the present snapshot has taken so far.",
    ),
    "aof_enabled": ("aof_enabled", "1: there is an append-only file."),
    "aof_rewrite_in_progress": ("aof_rewrite_in_progress", "1: the log is being rewritten."),
    "aof_rewrite_scheduled": ("aof_rewrite_scheduled", "1: it is about to be."),
    "aof_last_rewrite_time_sec": (
        "aof_last_rewrite_duration_sec",
        "Seconds that the last rewrite took.",
    ),
    "aof_current_rewrite_time_sec": (
        "aof_current_rewrite_duration_sec",
        "Seconds that the present rewrite has taken so far.",
    ),
    "aof_last_bgrewrite_status": (
        "aof_last_bgrewrite_status",
        "1: the last rewrite did not fail.",
    ),
    "aof_last_write_status": ("aof_last_write_status", "1: the log can be written."),
    "aof_current_size": ("aof_current_size_bytes", "Bytes in the files of the log."),
    "aof_base_size": ("aof_base_size_bytes", "Bytes in them after the last rewrite."),
    "aof_buffer_length": ("aof_buffer_length", "Bytes of the log that wait to be written."),
    "aof_pending_bio_fsync": ("aof_pending_bio_fsync", "1: the log is being flushed."),
    "aof_delayed_fsync": ("aof_delayed_fsync", "Writes that waited for a flush."),
    "loading": ("loading_dump_file", "1: data is being loaded."),
}
"""Lines of these sections of INFO that are metrics as they are, where they are there."""
STATUS = {"ok": 1, "err": 0}


def overall(engine: Engine) -> Iterator[Metric]:
    """What has no labels, and who the server is."""
    for it in GAUGES:
        yield GaugeMetricFamily(f"redis_{it.name}", it.help, it.read(engine))
    for it in COUNTERS:
        yield CounterMetricFamily(f"redis_{it.name}", it.help, it.read(engine))
    if engine.reader is not None:
        yield from _backing(engine.reader)
        if engine.reader.waits is not None:
            yield from _backing_writes(engine.reader.waits)
    if engine.changes is not None:
        yield from _changes(engine.changes)
    if engine.publishing is not None and engine.config.changefeed:
        yield from _publishing(engine.publishing)
    totals = engine.totals()
    for name, text, total in (
        ("commands_processed", "Commands that were run.", totals.commands),
        ("net_input_bytes", "Bytes read from clients.", totals.net_input),
        ("net_output_bytes", "Bytes sent to clients.", totals.net_output),
    ):
        yield CounterMetricFamily(f"redis_{name}", text, total)
    lines = dict(chain.from_iterable(section(engine) for section in SECTIONS))
    for line, (name, text) in FROM_INFO.items():
        if line in lines:
            figure = STATUS.get(lines[line], lines[line])
            yield GaugeMetricFamily(f"redis_{name}", text, float(figure))
    labels = {
        "role": lines["role"],
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "maxmemory_policy": engine.config.maxmemory_policy,
        "tcp_port": str(engine.port),
        "run_id": engine.run_id,
        "master_replid": engine.history.id,
    }
    instance = GaugeMetricFamily("redis_instance_info", "What the server is.", labels=list(labels))
    instance.add_metric(list(labels.values()), 1)
    yield instance


def replication(engine: Engine) -> Iterator[Metric]:
    """How far the replicas are; on a replica, how its link to the primary is."""
    it = engine.replication
    if it is None:
        return
    labels = ["slave_ip", "slave_port", "slave_state"]
    name = "redis_connected_slave"
    offset = GaugeMetricFamily(
        f"{name}_offset_bytes", "The log that it has applied.", labels=labels
    )
    lag = GaugeMetricFamily(f"{name}_lag_seconds", "Since it was heard of.", labels=labels)
    now_s = time.monotonic()
    for client, replica in it.replicas.clients.items():
        if replica.state in SHOWN:
            values = [it.replicas.host(client), str(replica.port), SHOWN[replica.state]]
            offset.add_metric(values, replica.acknowledged)
            lag.add_metric(values, replica.lag_s(now_s))
    yield from (offset, lag)
    confirming = it.replicas.confirming
    for figure, text, value in (
        ("replicas", "The directive synchronous-replicas.", confirming.number),
        ("replies_held", "Replies that wait for replicas.", len(confirming.held)),
    ):
        yield GaugeMetricFamily(f"redis_synchronous_{figure}", text, value)
    yield CounterMetricFamily(
        "redis_synchronous_replies_late", "Replies that waited too long.", confirming.late
    )
    if it.link is not None:
        up = it.link.is_up
        idle_s = int(now_s - it.link.heard_s) if up else -1
        for figure, text, value in (
            ("master_link_up", "1: the primary's log is followed.", int(up)),
            ("master_last_io_seconds_ago", "Since the primary was heard of.", idle_s),
            ("slave_repl_offset", "How far its log was applied.", it.persistence.log.end),
        ):
            yield GaugeMetricFamily(f"redis_{figure}", text, value)


def commands(engine: Engine) -> Iterator[Metric]:
    """Calls and times of each command that was called."""
    calls, duration, failed, rejected = families = [
        CounterMetricFamily(f"redis_{name}", text, labels=["cmd"])
        for name, text in (
            ("commands", "Calls."),
            ("commands_duration_seconds", "Time that calls took."),
            ("commands_failed_calls", "Calls that ended with an error."),
            ("commands_rejected_calls", "Calls that were refused."),
        )
    ]
    for name, it in sorted(engine.stats.items()):
        if (count := it.calls) or it.rejected or it.failed:
            calls.add_metric([name], count)
            duration.add_metric([name], it.ns / 1e9)
            failed.add_metric([name], it.failed)
            rejected.add_metric([name], it.rejected)
    yield from families


def latencies(engine: Engine) -> Iterator[Metric]:
    """How long the calls of each command took: a summary whose quantiles are percentages."""
    if not engine.config.latency_tracking:
        return
    name = "redis_latency_percentiles_usec"
    family = Metric(name, "Microseconds that this share of calls did not exceed.", "summary")
    shares = [
        (percentile(share).decode(), share / 100)
        for share in engine.config.latency_tracking_info_percentiles
    ]
    for command, it in sorted(engine.stats.items()):
        if calls := it.calls:
            for shown, share in shares:
                labels = {"cmd": command, "quantile": shown}
                family.add_sample(name, labels, it.percentile(share))
            family.add_sample(f"{name}_sum", {"cmd": command}, it.ns // 1000)
            family.add_sample(f"{name}_count", {"cmd": command}, calls)
    yield family


def errors(engine: Engine) -> Iterator[Metric]:
    """Error replies by their first word."""
    family = CounterMetricFamily("redis_errors", "Error replies.", labels=["err"])
    for code, count in sorted(engine.counters.errors.items()):
        family.add_metric([code], count)
    yield family


def databases(engine: Engine) -> Iterator[Metric]:
    """The keys of each database that has some; of the first in any case."""
    keys = GaugeMetricFamily("redis_db_keys", "Keys.", labels=["db"])
    expiring = GaugeMetricFamily("redis_db_keys_expiring", "Keys with a deadline.", labels=["db"])
    ttl = GaugeMetricFamily("redis_db_avg_ttl_seconds", "Time they have left.", labels=["db"])
    for it in engine.databases:
        if len(it) or not it.index:
            name = f"db{it.index}"
            keys.add_metric([name], len(it))
            expiring.add_metric([name], it.deadlines.count)
            ttl.add_metric([name], info.average_ttl(it, engine.now_ms) / 1000)
    yield from (keys, expiring, ttl)


def group_reads(engine: Engine) -> Iterator[Metric]:
    """Which groups of keys are found, and which are read in vain."""
    hits = CounterMetricFamily("redis_key_group_hits", "Reads that found it.", labels=["key_group"])
    misses = CounterMetricFamily("redis_key_group_misses", "Reads in vain.", labels=["key_group"])
    for group in engine.groups.groups:
        hits.add_metric([group.name], group.hits)
        misses.add_metric([group.name], group.misses)
    yield from (hits, misses)


def group_sizes(survey: Survey) -> Iterator[Metric]:
    """How many keys each group has, and what they take."""

    def family(name: str, text: str, figures: dict[tuple[int, Group], int]) -> Metric:
        metric = GaugeMetricFamily(f"redis_{name}", text, labels=["db", "key_group"])
        for (index, group), figure in figures.items():
            metric.add_metric([f"db{index}", group.name], figure)
        return metric

    yield family("key_group_count", "Keys of the group.", survey.counts)
    yield family("key_group_memory_usage_bytes", "Bytes that they take.", survey.sizes)


def _backing(reader: Loader) -> Iterator[Metric]:
    """The backing store."""
    figures = reader.figures
    answers = not reader.breaker.is_open
    yield GaugeMetricFamily("distcache_backing_up", "1: the backing store answers.", int(answers))
    yield GaugeMetricFamily(
        "distcache_backing_loading", "Keys that are being loaded.", len(reader.loads)
    )
    for name, text, count in (
        ("queries", "Statements that loaded keys.", figures.queries),
        ("loaded", "Rows that were put into the cache.", figures.loaded),
        ("absent", "Keys that were found to have no row.", figures.absent),
        ("failed", "Keys that could not be loaded.", figures.failed),
        ("fenced", "Keys that changed while they were loaded.", figures.fenced),
        ("refreshed", "Loads ahead of the end of a key's time.", figures.refreshed),
        ("stale", "Reads that were answered with a value past its time.", figures.stale),
        ("shed", "Keys that were not asked for.", figures.shed),
    ):
        yield CounterMetricFamily(f"distcache_backing_{name}", text, count)
    if reader.warming is not None:
        yield CounterMetricFamily(
            "distcache_backing_warmed", "Keys that were loaded ahead.", reader.warming.warmed
        )


def _changes(changes: Invalidation) -> Iterator[Metric]:
    """Changes that others make in the backing store."""
    figures = changes.figures
    up = int(changes.status == "up")
    for name, text, value in (
        ("up", "1: changes by others in the backing store are followed.", up),
        ("lag_bytes", "Bytes of the store's log that are still to be read.", changes.feed.lag),
    ):
        yield GaugeMetricFamily(f"distcache_backing_changes_{name}", text, value)
    for name, text, count in (
        ("changes_seen", "Changes by others that were told.", figures.seen),
        ("changes_own", "Changes that the cache had written itself.", figures.own),
        ("changes_connections", "Connections for changes that were made.", figures.reconnects),
        ("invalidated", "Keys that went since others changed their rows.", figures.dropped),
        ("swept", "Times that all mapped keys went.", figures.swept),
    ):
        yield CounterMetricFamily(f"distcache_backing_{name}", text, count)


def _backing_writes(waits: StoreWaits) -> Iterator[Metric]:
    """Writing to it."""
    writer, figures = waits.writer, waits.writer.figures
    size, seconds = writer.lag()
    position = writer.position
    for name, text, value in (
        ("writing", "1: what clients write reaches the rows.", int(writer.status == "writing")),
        ("epoch", "The epoch of our writes.", position.epoch if position is not None else 0),
        ("offset", "The rows are the keys as of here.", position.offset if position else 0),
        ("pending", "Changes that are not written.", writer.pending),
        ("lag_bytes", "Bytes of the log that it is behind.", size),
        ("lag_seconds", "Seconds that it is behind.", seconds),
        ("held_writes", "Commands that wait as it is too far behind.", waits.held),
    ):
        yield GaugeMetricFamily(f"distcache_backing_{name}", text, value)
    for name, text, count in (
        ("batches", "Transactions that wrote rows.", figures.batches),
        ("rows", "Changes that were written.", figures.rows),
        ("dead_letters", "Changes that it refused.", figures.dead),
        ("write_failures", "Attempts to write that failed.", figures.failed),
        ("deposed", "Times that another server had taken over.", figures.deposed),
        ("full_passes", "Times that all keys were written.", figures.passes),
        ("dropped", "Keys that were dropped as rows were newer.", figures.dropped),
    ):
        yield CounterMetricFamily(f"distcache_backing_{name}", text, count)


def _publishing(it: Publishing) -> Iterator[Metric]:
    """The changefeed in Kafka."""
    for name, text, value in (
        ("up", "1: changes are being published.", int(it.is_up)),
        ("deposed", "1: another server has gone on with the stream.", int(it.is_deposed)),
        ("epoch", "How often the stream has changed hands, from 1.", it.epoch),
        ("offset_bytes", "The log is published up to here.", it.offset or 0),
        ("lag_bytes", "Bytes of the log that are not published yet.", it.lag),
        ("lag_seconds", "For how long something has not been published.", it.lag_s),
    ):
        yield GaugeMetricFamily(f"distcache_changefeed_{name}", text, value)
    for name, text in (
        ("events", "Events that were published."),
        ("records", "Records that were published, tombstones and marks for all among them."),
        ("transactions", "Batches that were published."),
        ("dead_letters", "Events that the broker did not take."),
        ("failures", "Times that the stream had to be opened again."),
    ):
        yield CounterMetricFamily(f"distcache_changefeed_{name}", text, it.counts[name])


class _These(Collector):
    """Metrics at hand, as a collector."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Metrics as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_These(metrics))
    return generate_latest(registry)


class Exporter:
    """Answers scrapes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._survey: Survey | None = None
        """The last one that was finished."""
        self._surveying: asyncio.Task[None] | None = None

    async def scrape(self) -> bytes:
        """All metrics.  Others get their turn between the parts."""
        if self.engine.groups.groups:
            if self._surveying is None or self._surveying.done():
                self._surveying = asyncio.create_task(self._survey_all())
            await asyncio.wait([self._surveying], timeout=PATIENCE_S)
        texts = []
        for part in (overall, replication, commands, latencies, errors, databases, group_reads):
            texts.append(exposition(part(self.engine)))
            await asyncio.sleep(0)
        if self._survey is not None:
            texts.append(exposition(group_sizes(self._survey)))
        return b"".join(texts)

    async def _survey_all(self) -> None:
        survey = Survey(self.engine.groups, self.engine.databases)
        while survey.step(time.perf_counter_ns() + STEP_NS):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
        self._survey = survey

    def close(self) -> None:
        """Stop what is going on."""
        if self._surveying is not None:
            self._surveying.cancel()
