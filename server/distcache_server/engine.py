"""The parts of one server that commands share: databases, clients, configuration, statistics."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sized
from typing import TYPE_CHECKING

from distcache_replication.history import History

from distcache_server.arguments import Args, Columns
from distcache_server.blocking import Blocking, Cancel, Wait
from distcache_server.config import Config
from distcache_server.groups import Groups
from distcache_server.keyspace import Keyspace
from distcache_server.latency import Latency
from distcache_server.maxmemory import Evictor
from distcache_server.own_deadlines import OwnDeadlines
from distcache_server.pausing import Pause
from distcache_server.pubsub import PubSub
from distcache_server.registry import Command, Flag, Handler
from distcache_server.snapshot_file import Progress, SnapshotFile
from distcache_server.stats import Counters, Rates, SlowLog, Stats, Totals
from distcache_server.types.limits import Limits
from distcache_server.types.stream import MOST_BYTES, MOST_ENTRIES

if TYPE_CHECKING:
    from distcache_replication.backing.feed import Known

    from distcache_server.changefeed.publishing import Publishing
    from distcache_server.changefeed.stream import Changefeed
    from distcache_server.client import Client
    from distcache_server.commands.migrating import Order
    from distcache_server.connection import Connection
    from distcache_server.invalidating import Invalidation
    from distcache_server.loading import Loader
    from distcache_server.lookup import Table
    from distcache_server.persistence import Persistence
    from distcache_server.replication import Replication
    from distcache_server.stopping import Stopping
    from distcache_server.writing import Writer

VERSION = "0.1.0"
REDIS_VERSION = "7.2.4"
"""The level of compatibility, which clients read from INFO and HELLO."""


NOTABLE_NS = 20_000
"""A reply that took longer may be a large one."""


class Shutdown(Exception):
    """Raised by SHUTDOWN: stop the server; the client gets no reply."""


def _never(_: float, __: Callable[[], None]) -> Cancel:
    """A clock for an engine without an event loop: nothing ever times out."""
    return lambda: None


class Engine:
    """Everything a handler can reach through ``client.engine``.  It owns no socket and no task."""

    def __init__(
        self,
        config: Config | None = None,
        call_later: Callable[[float, Callable[[], None]], Cancel] = _never,
    ) -> None:
        self.config = config = config or Config()
        self.run_id = secrets.token_hex(20)
        self.history = History()
        """Which log ours is, as replicas know it."""
        self.started_ms = self.now_ms
        self.started_monotonic = time.monotonic()

        self.limits = Limits()
        self.databases = [Keyspace(index, self.limits) for index in range(config.databases)]
        self.ready: dict[tuple[Keyspace, bytes], None] = {}
        for keyspace in self.databases:
            keyspace.ready = self.ready
        self.blocking = Blocking(call_later)
        self.call_later = call_later
        self.pubsub = PubSub()
        self.notify_mask = 0

        self.clients: OrderedDict[int, Client] = OrderedDict()
        self.next_client = 1
        self.monitors: dict[Client, None] = {}
        self.untouching: dict[Client, None] = {}
        """Clients whose reads do not count as uses of keys (CLIENT NO-TOUCH)."""
        self.pause = Pause(call_later, self._pause_changed)
        self.in_transaction = False
        self.active_expiry = True
        """Keys are removed when their deadline comes, not only when somebody asks for them."""
        self.own_deadlines = OwnDeadlines(self.databases)
        self.ticking = True
        """What is to be done once a second is done; DEBUG can turn it off."""
        self.log: Callable[[Client, Args], None] | None = None
        """Takes the effect of each write: ``client.effect``, or the words themselves."""
        self.log_run: Callable[[Client, Columns, bytes], None] | None = None
        """The same for several commands that are their own effects, as ``execute_run`` has them."""
        self.transaction_ended: Callable[[Client], None] | None = None
        """Told after the last effect of a transaction."""
        self.persistence: Persistence | None = None
        """What is kept on disk; None for an engine without a server around it."""
        self.replication: Replication | None = None
        """The part in replication; None for an engine without a server around it."""
        self.targets: Sized = ()
        """Connections to other servers that are kept for MIGRATE."""
        self.migrate: Callable[[Client, Wait, Order], None] | None = None
        """Moves keys to another server while the client waits."""
        self.stopping: Stopping | None = None
        """Waits for replicas before the server stops."""
        self.stop: Callable[[Shutdown], None] | None = None
        """Stops the server around it."""
        self.follows = False
        """It is a replica."""
        self.read_only = False
        self.stale = False
        """A replica without its primary, which is to answer no one."""
        self.lonely = False
        """A primary with fewer replicas than writes need."""
        self.selected = 0
        """The database that the log of our primary has selected."""
        self.relaying = False
        """What is published reaches replicas, too."""
        self.barrier: Callable[[Connection, bytes], bool] | None = None
        """Asked before replies are sent: False keeps them until what they say is safe."""
        self.on_disk: Callable[[Connection, bytes], bool] | None = None
        """The barrier of the disk ..."""
        self.confirm: Callable[[Connection, bytes], bool] | None = None
        """... and that of replicas, which bytes pass after it (synchronous-replicas), ..."""
        self.on_the_way: Callable[[Connection, bytes], bool] | None = None
        """... or this one, where it is enough that replicas were sent the log."""
        self.reader: Loader | None = None
        """Loads rows of the backing store that commands ask for; None without one."""
        self.changes: Invalidation | None = None
        """Drops keys whose rows others change in the backing store; None where nobody tells."""
        self.known_changes: Known | None = None
        """Up to where in the store our keys have all changes of others."""
        self.writer: Writer | None = None
        """Writes rows of the backing store; None where none are written."""
        self.drains = True
        """Before the server stops, what is left is written to the backing store, and published."""
        self.feed: Changefeed | None = None
        """The stream of all changes; None for an engine without a server around it."""
        self.publishing: Publishing | None = None
        """Has them published in Kafka; likewise."""
        self.broken: bytes | None = None
        """Why writes are refused: the text of the error."""
        self.refusal: Handler | None = None
        """What answers writes where all are refused."""

        self.stats: dict[str, Stats] = {}
        """By command name; subcommands as ``config|get``."""
        self.counters = Counters()
        self.rates = Rates()
        self.slowlog = SlowLog(config.slowlog_max_len)
        self.slow_ns = 0
        """Commands that take longer get an entry in the slow log."""
        self.notable_ns = 0
        """Commands that take longer are looked at: slow log, latency, size of the reply."""
        self.latency = Latency()
        self.evictor = Evictor(self.databases, self.clients, config, self.counters, self.latency)
        self.snapshot = SnapshotFile(config, self.databases, REDIS_VERSION)
        self.loading: Progress | None = None
        """Set while the keys are loaded, when few commands are answered."""
        self.groups = Groups()
        """Counts reads by ``key-groups``."""
        self.tables: dict[str, Table] = {}
        """One table of commands per state of a client; see dispatch.py."""
        self.rebuild: Callable[[], None] = _nothing_to_rebuild
        """Build the tables anew, after MONITOR, maxmemory or CLIENT PAUSE changed what they do."""
        self.port = config.port
        """The TCP port that is listened on, also where the system chose it."""
        self._configure()

    @property
    def now_ms(self) -> int:
        """Unix time in milliseconds, now; handlers use ``client.keyspace.now_ms``."""
        return time.time_ns() // 1_000_000

    def _configure(self) -> None:
        """Copy settings to where they are used, now and whenever they change."""
        config = self.config

        def limits() -> None:
            self.limits.hash_entries = config.hash_max_listpack_entries
            self.limits.hash_value = config.hash_max_listpack_value
            self.limits.hll_sparse = config.hll_sparse_max_bytes
            self.limits.list_size = config.list_max_listpack_size
            self.limits.set_entries = config.set_max_listpack_entries
            self.limits.set_intset = config.set_max_intset_entries
            self.limits.set_value = config.set_max_listpack_value
            self.limits.stream_bytes = config.stream_node_max_bytes or MOST_BYTES
            self.limits.stream_entries = config.stream_node_max_entries or MOST_ENTRIES
            self.limits.zset_entries = config.zset_max_listpack_entries
            self.limits.zset_value = config.zset_max_listpack_value

        def notifications() -> None:
            self.notify_mask = config.notify_keyspace_events
            notify = self.pubsub.notifier(self.notify_mask)
            for keyspace in self.databases:
                keyspace.notify = notify
                keyspace.arrange()

        def slowlog() -> None:
            micros = config.slowlog_log_slower_than
            self.slow_ns = micros * 1000 if micros >= 0 else 1 << 62
            self.notable_ns = min(self.slow_ns, NOTABLE_NS)
            self.slowlog.resize(config.slowlog_max_len)
            self.rebuild()

        def latency() -> None:
            self.latency.threshold_ms = config.latency_monitor_threshold

        def memory() -> None:
            self.evictor.configure()
            self.rebuild()

        def groups() -> None:
            self.groups.configure(config.key_groups)
            for keyspace in self.databases:
                keyspace.groups = self.groups.note if config.key_groups else None
                keyspace.arrange()

        def password() -> None:
            if not config.requirepass:
                for client in self.clients.values():
                    if client.state == "unauthenticated":
                        client.enter("normal")

        for apply, names in (
            (
                limits,
                (
                    "hash-max-listpack-entries",
                    "hash-max-listpack-value",
                    "hll-sparse-max-bytes",
                    "list-max-listpack-size",
                    "set-max-listpack-entries",
                    "set-max-intset-entries",
                    "set-max-listpack-value",
                    "stream-node-max-bytes",
                    "stream-node-max-entries",
                    "zset-max-listpack-entries",
                    "zset-max-listpack-value",
                ),
            ),
            (notifications, ("notify-keyspace-events",)),
            (slowlog, ("slowlog-log-slower-than", "slowlog-max-len")),
            (latency, ("latency-monitor-threshold",)),
            (memory, ("maxmemory", "maxmemory-policy")),
            (groups, ("key-groups",)),
            (password, ("requirepass",)),
            (self.freeze, ("replica-ignore-maxmemory",)),
        ):
            apply()
            config.on_change(apply, *names)

    def reset_stats(self) -> None:
        """Set back to zero what is counted."""
        self.counters.reset()
        self.groups.reset()
        # What open connections have counted so far is taken off the sum.
        self.counters.net_input = -sum(client.net_in for client in self.clients.values())
        self.counters.net_output = -sum(client.net_out for client in self.clients.values())
        self.counters.repl_output = -sum(client.net_out for client in self.replicas)
        for stats in self.stats.values():
            stats.reset()
        for keyspace in self.databases:
            keyspace.hits = keyspace.misses = keyspace.expired = keyspace.expired_fields = 0
            keyspace.buried = 0
        self.rates = Rates()

    @property
    def replicas(self) -> Collection[Client]:
        """The clients that follow our log."""
        return () if self.replication is None else self.replication.replicas.clients.keys()

    def totals(self) -> Totals:
        """What the server has done so far."""
        counters, clients = self.counters, self.clients.values()
        return Totals(
            sum(stats.calls for stats in self.stats.values()),
            counters.net_input + counters.repl_input + sum(client.net_in for client in clients),
            counters.net_output + sum(client.net_out for client in clients),
            counters.repl_input,
            counters.repl_output + sum(client.net_out for client in self.replicas),
        )

    def _pause_changed(self) -> None:
        self.freeze()
        self.rebuild()

    def freeze(self) -> None:
        """While writes wait, no key goes by its deadline; it is hidden all the same.

        Nor does one on a replica, before its primary says so.
        """
        paused = self.pause.until_ms > 0
        self.evictor.idle = paused or (self.follows and self.config.replica_ignore_maxmemory)
        for keyspace in self.databases:
            keyspace.frozen = paused or self.follows

    def note_slow(self, client: Client, command: Command, words: Args, elapsed_ns: int) -> None:
        """A command took longer than ``notable_ns``: slow log and latency."""
        now_ms = self.now_ms
        if elapsed_ns > self.slow_ns and not command.flags & Flag.SKIP_SLOWLOG:
            shown = command.shown(words)
            self.slowlog.add(now_ms // 1000, elapsed_ns // 1000, shown, client.address, client.name)
        event = "fast-command" if command.flags & Flag.FAST else "command"
        self.latency.note(event, now_ms, elapsed_ns)

    def monitor(self, client: Client) -> None:
        """Show the client every command from now on."""
        client.monitoring = True
        self.monitors[client] = None
        self.rebuild()

    def stop_monitoring(self, client: Client) -> None:
        """Show it none any more."""
        client.monitoring = False
        if client in self.monitors:
            del self.monitors[client]
            self.rebuild()

    def touch_no_keys(self, client: Client, on: bool) -> None:
        """Whether the client's reads leave the keys' access times as they are."""
        if on == client.no_touch:
            return
        client.no_touch = on
        if on:
            self.untouching[client] = None
        else:
            del self.untouching[client]
        if len(self.untouching) <= 1:
            self.rebuild()

    def arrange_barrier(self) -> None:
        """Put one barrier before replies where there are two."""
        on_disk, confirm = self.on_disk, self.confirm or self.on_the_way
        self.barrier = on_disk or confirm
        if on_disk is not None and confirm is not None:
            self.barrier = lambda connection, data: (
                on_disk(connection, data) and confirm(connection, data)
            )

    def forget(self, client: Client) -> None:
        """A client is gone: it waits for nothing, watches nothing, listens to nothing."""
        self.blocking.forget(client)
        self.pubsub.forget(client)
        self.unwatch(client)
        self.pause.forget(client)
        self.stop_monitoring(client)
        self.touch_no_keys(client, False)
        if self.replication is not None:
            self.replication.replicas.forget(client)
        self.clients.pop(client.id, None)

    def watch(self, client: Client, keyspace: Keyspace, key: bytes) -> None:
        """Fail the client's next EXEC if the key changes until then."""
        client.watching.setdefault((keyspace, key), keyspace.exists(key))
        keyspace.watched.setdefault(key, set()).add(client)
        keyspace.arrange()

    def unwatch(self, client: Client) -> None:
        """Forget all watched keys of a client."""
        for keyspace, key in client.watching:
            clients = keyspace.watched.get(key)
            if clients is not None:
                clients.discard(client)
                if not clients:
                    del keyspace.watched[key]
                    keyspace.arrange()
        client.watching.clear()
        client.conflict = False


def _nothing_to_rebuild() -> None:
    """Before the tables exist."""
