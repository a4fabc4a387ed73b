"""The settings that do something here, each declared once.

A class holds what belongs together; its docstring heads a section of docs/configuration.md, which
``python -m distcache_server.config.docs`` writes.  `kept` has the directives of Redis that are
accepted without a meaning.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence

from distcache_server.config.changefeed import Changefeed
from distcache_server.config.kafka import Kafka
from distcache_server.config.kept import (
    Cluster,
    Engine,
    Functions,
    Kept,
    Persistence,
    Replicating,
    Tls,
)
from distcache_server.config.kinds import (
    INT_MAX,
    LONG_MAX,
    UINT_MAX,
    ULONG_MAX,
    Address,
    Boolean,
    ConfigError,
    Directory,
    Enum,
    EventClasses,
    Integer,
    Memory,
    MemoryPortion,
    Octal,
    Portion,
    Secret,
    Section,
    String,
)
from distcache_server.config.lists import (
    Addresses,
    BufferLimits,
    Flags,
    Globs,
    Lines,
    OutputLimit,
    OutputLimits,
    Percentiles,
    Primary,
    SavePoint,
    SavePoints,
)
from distcache_server.config.store import Store, declared
from distcache_server.config.writing import Writing

_WHO = ("no", "yes", "local")
_SIGNALS = ("default", "save", "nosave", "now", "force")
_UNRESTRICTED = (
    {b"on"},
    {b"~*", b"allkeys"},
    {b"&*", b"allchannels"},
    {b"+@all", b"allcommands"},
)
_HARMLESS = {b"nopass", b"sanitize-payload", b"skip-sanitize-payload"}
_PASSWORD_HASH = re.compile(rb"#[0-9a-f]{64}")


def _no_users(aclfile: str) -> None:
    if aclfile:
        raise ConfigError("users and rules are not supported, so that an ACL file has no effect")


def _one_of_save_and_nosave(flags: tuple[str, ...]) -> None:
    if {"save", "nosave"} <= set(flags):
        raise ConfigError("shutdown options SAVE and NOSAVE can't be used simultaneously")


def _snapshot_name(name: str) -> None:
    if "/" in name or "\\" in name:
        raise ConfigError("dbfilename can't be a path, just a filename")


def _log_name(name: str) -> None:
    if not name:
        raise ConfigError("appendfilename can't be empty")
    if "/" in name or "\\" in name:
        raise ConfigError("appendfilename can't be a path, just a filename")


def _log_directory(name: str) -> None:
    if not name:
        raise ConfigError("appenddirname can't be empty")
    if "/" in name or "\\" in name:
        raise ConfigError("appenddirname can't be a path, just a dirname")


class DefaultUser(Lines):
    """The line that CONFIG REWRITE of Redis writes for a default user who may do everything."""

    def parse(
        self, words: Sequence[bytes], old: tuple[tuple[bytes, ...], ...]
    ) -> tuple[tuple[bytes, ...], ...]:
        lines = super().parse(words, old)
        name, rules = words[0], set(words[1:])
        for grants in _UNRESTRICTED:
            if name != b"default" or not rules & grants:
                raise ConfigError(self._REFUSAL)
            rules -= grants
        if not all(rule in _HARMLESS or _PASSWORD_HASH.fullmatch(rule) for rule in rules):
            raise ConfigError(self._REFUSAL)
        return lines

    _REFUSAL = (
        "Error in user declaration: only an unrestricted default user is supported,"
        " with its password in requirepass"
    )


class Process(Section):
    """The process: where it works, how it is started and stopped."""

    dir = Directory(
        "./",
        "The working directory: relative paths in the configuration start here.",
        protected=True,
    )
    daemonize = Boolean(False, "Go into the background.", runtime=False)
    pidfile = String(
        "",
        "A file for the process id. In the background, there is always one:"
        " /var/run/distcache-server.pid if nothing else is said.",
        optional=True,
        runtime=False,
    )
    supervised = Enum(
        "no",
        ("upstart", "systemd", "auto", "no"),
        "Who started the process and is told when it is ready. auto: systemd, if it is there.",
        runtime=False,
    )
    databases = Integer(16, 1, INT_MAX, "Databases that SELECT can choose from.", runtime=False)


class Network(Section):
    """The network: where the server listens, and what a connection may do."""

    bind = Addresses(
        ("*", "-::*"),
        "Addresses to listen on. With - before it, an address may be missing on this machine.",
    )
    port = Integer(6379, 0, 65535, "The TCP port; 0 turns TCP off.")
    unixsocket = String("", "The path of a Unix socket to listen on.", optional=True, runtime=False)
    unixsocketperm = Octal(
        0,
        0,
        0o777,
        "The permissions of the Unix socket; 0 leaves them to the umask.",
        runtime=False,
    )
    protected_mode = Boolean(
        True, "Without a password, serve only clients on this machine (loopback or Unix socket)."
    )
    tcp_backlog = Integer(
        511, 0, INT_MAX, "Connections that may wait to be accepted.", runtime=False
    )
    tcp_keepalive = Integer(
        300, 0, INT_MAX, "Seconds of silence before TCP probes a client; 0 turns that off."
    )
    timeout = Integer(0, 0, INT_MAX, "Seconds until an idle client is closed; 0 means never.")
    maxclients = Integer(10000, 1, UINT_MAX, "Clients that may be connected at the same time.")
    maxmemory_clients = MemoryPortion(
        Portion(), "Memory that all clients together may use, 0 for any; past it, the largest go."
    )
    client_output_buffer_limit = BufferLimits(
        OutputLimits(
            normal=OutputLimit(0, 0, 0),
            replica=OutputLimit(256 << 20, 64 << 20, 60),
            pubsub=OutputLimit(32 << 20, 8 << 20, 60),
        ),
        "Close a client that does not read its replies: at once past the hard limit,"
        " or past the soft limit for so many seconds. Classes: normal, replica, pubsub.",
    )
    client_query_buffer_limit = Memory(
        1 << 30, 1 << 20, LONG_MAX, "Close a client with more than this of unfinished requests."
    )
    proto_max_bulk_len = Memory(512 << 20, 1 << 20, LONG_MAX, "The longest argument of a command.")


class Security(Section):
    """Security: passwords, and what clients may not do."""

    requirepass = Secret("The password of the default user; empty for none.")
    user = DefaultUser(
        1,
        1 << 30,
        "name and rules",
        "Accepted for an unrestricted default user, as CONFIG REWRITE of Redis writes it."
        " Any other user or rule is refused, since it would not be obeyed.",
        secret=True,
    )
    aclfile = String(
        "", "Refused unless empty: users and rules are not obeyed.", runtime=False, valid=_no_users
    )
    enable_protected_configs = Enum(
        "no",
        _WHO,
        "May clients set protected directives? local: those on this machine.",
        runtime=False,
    )
    enable_debug_command = Enum(
        "no", _WHO, "May clients use DEBUG? local: those on this machine.", runtime=False
    )
    rename_command = Lines(
        2, 2, "old and new name", "Give a command another name, or with an empty one, none at all."
    )


class Snapshots(Section):
    """Snapshots: the file that is saved, and loaded at the start."""

    save = SavePoints(
        "A snapshot is saved so many seconds after the last one, if there were so many changes,"
        ' and at the end. Each line adds a point; "" drops all.',
        (SavePoint(3600, 1), SavePoint(300, 100), SavePoint(60, 10_000)),
    )
    stop_writes_on_bgsave_error = Boolean(
        True, "While there are save points, refuse writes after a snapshot could not be saved."
    )
    shutdown_on_sigint = Flags(
        _SIGNALS,
        "How SIGINT stops the server, in words of SHUTDOWN.",
        valid=_one_of_save_and_nosave,
    )
    shutdown_on_sigterm = Flags(_SIGNALS, "How SIGTERM stops it.", valid=_one_of_save_and_nosave)
    rdb_key_save_delay = Integer(
        0,
        -INT_MAX - 1,
        INT_MAX,
        "Microseconds to wait for each key when saving in the background, for tests.",
        hidden=True,
    )
    key_load_delay = Integer(
        0,
        -INT_MAX - 1,
        INT_MAX,
        "Microseconds to wait for each key when a snapshot is loaded at the start, for tests.",
        hidden=True,
    )
    dbfilename = String(
        "dump.rdb",
        "The file of the snapshot, in the working directory.",
        protected=True,
        valid=_snapshot_name,
    )
    rdbcompression = Boolean(True, "Compress strings in snapshots and in what DUMP returns.")
    rdbchecksum = Boolean(
        True, "Put a checksum at the end of snapshots, and check it.", runtime=False
    )
    loading_process_events_interval_bytes = Memory(
        2 << 20,
        1024,
        INT_MAX,
        "Clients are served again after so much was loaded, or earlier.",
        hidden=True,
    )
    rdb_version = Integer(
        11,
        10,
        11,
        "The version of the format of snapshots and of DUMP: 11 for Redis 7.2 and later,"
        " 10 for Redis 7.0 too.",
    )


class AppendOnly(Section):
    """The append-only log: every write on disk, in the files of Redis 7."""

    appendonly = Boolean(False, "Log every write to disk, and load the log at the start.")
    appendfilename = String(
        "appendonly.aof", "The first part of the log files' names.", runtime=False, valid=_log_name
    )
    appenddirname = String(
        "appendonlydir",
        "The directory of the log files, in dir.",
        runtime=False,
        valid=_log_directory,
    )
    appendfsync = Enum(
        "everysec",
        ("everysec", "always", "no"),
        "When the log is flushed to the disk. always: before the reply; everysec: within a second"
        " of it; no: when the system likes. Replies wait at least until the log is written.",
    )
    no_appendfsync_on_rewrite = Boolean(
        False, "Under everysec, do not flush the log while it is rewritten."
    )
    auto_aof_rewrite_percentage = Integer(
        100, 0, INT_MAX, "Growth of the log, in percent, after which it is rewritten; 0 for never."
    )
    auto_aof_rewrite_min_size = Memory(
        64 << 20, 0, LONG_MAX, "Size of the log below which it is not rewritten."
    )
    aof_load_truncated = Boolean(
        True, "Load a log that ends in the middle of a write: what is torn is cut off."
    )
    aof_use_rdb_preamble = Boolean(True, "Begin a rewritten log with a snapshot.")
    aof_segment_size = Memory(
        64 << 20, 1 << 10, LONG_MAX, "Size of an increment after which the log goes on in another."
    )


class Replication(Section):
    """Replication: a primary and its replicas."""

    replicaof = Primary(None, "The primary to replicate from.", alias="slaveof", runtime=False)
    masterauth = Secret("The primary's password.")
    masteruser = String("", "The user to log in as at the primary.", optional=True, secret=True)
    replica_serve_stale_data = Boolean(
        True, "Answer while the primary is away.", alias="slave-serve-stale-data"
    )
    replica_read_only = Boolean(True, "Refuse writes on a replica.", alias="slave-read-only")
    replica_ignore_maxmemory = Boolean(
        True, "Leave it to the primary to keep to maxmemory.", alias="slave-ignore-maxmemory"
    )
    replica_ignore_disk_write_errors = Boolean(
        False,
        "Let a replica that cannot write to its disk go on applying writes of its primary; it"
        " stops if not.",
    )
    propagation_error_behavior = Enum(
        "ignore",
        ("ignore", "panic", "panic-on-replicas"),
        "What a read-only replica does that cannot apply a command of its primary: go on, and say"
        " so in its log file, or stop. A log on disk that cannot be applied always ends the start.",
    )
    replica_priority = Integer(
        100, 0, INT_MAX, "Sentinel promotes the lowest first, and 0 never.", alias="slave-priority"
    )
    replica_announced = Boolean(True, "Let Sentinel show this replica.")
    replica_announce_ip = String(
        "", "The address to tell the primary.", optional=True, alias="slave-announce-ip"
    )
    replica_announce_port = Integer(
        0, 0, 65535, "The port to tell the primary.", alias="slave-announce-port"
    )
    min_replicas_to_write = Integer(
        0, 0, INT_MAX, "Refuse writes with fewer replicas than this.", alias="min-slaves-to-write"
    )
    min_replicas_max_lag = Integer(
        10,
        0,
        INT_MAX,
        "Seconds after which a silent replica does not count.",
        alias="min-slaves-max-lag",
    )
    synchronous_replicas = Integer(
        0, 0, INT_MAX, "Hold the reply to a write until so many replicas have it; 0 waits for none."
    )
    synchronous_replicas_timeout = Integer(
        5000, 0, INT_MAX, "Milliseconds that such a reply is held; 0 for as long as it takes."
    )
    synchronous_replicas_on_timeout = Enum(
        "error",
        ("error", "close", "reply"),
        "What becomes of a reply then. error: UNCONFIRMED in its place, which says that the write"
        " was applied; close: the connection is closed; reply: it is sent.",
    )
    repl_disable_tcp_nodelay = Boolean(
        False, "Have the kernel gather what goes to replicas that connect from now on."
    )
    repl_timeout = Integer(60, 1, INT_MAX, "Seconds of silence after which a link is dropped.")
    repl_ping_replica_period = Integer(
        10, 1, INT_MAX, "Seconds between pings to replicas.", alias="repl-ping-slave-period"
    )
    repl_backlog_size = Memory(
        1 << 20,
        1,
        LONG_MAX,
        "How much of the log is kept for resuming, 16kb or more.",
        clamp=(16 << 10, LONG_MAX),
    )
    repl_backlog_ttl = Integer(3600, 0, LONG_MAX, "Seconds to keep it without replicas.")
    repl_disk_retention = Memory(
        256 << 20,
        0,
        LONG_MAX,
        "With appendonly: how much of the log is kept on disk for resuming, beyond what a start"
        " needs.",
    )
    repl_disk_retention_time = Integer(
        3600, 0, LONG_MAX, "Seconds to keep that; 0 for no limit of time."
    )
    repl_disk_slot_limit = Memory(
        1 << 30,
        0,
        LONG_MAX,
        "How much is kept while somebody reads it, or has asked to keep it. Who falls further"
        " behind begins with a snapshot.",
    )
    repl_diskless_sync = Boolean(True, "Send snapshots without writing them to disk.")
    repl_diskless_sync_delay = Integer(5, 0, INT_MAX, "Seconds to wait for more replicas.")
    repl_diskless_sync_max_replicas = Integer(0, 0, INT_MAX, "Wait no longer with this many.")
    shutdown_timeout = Integer(
        10, 0, INT_MAX, "Seconds that a shutdown waits for replicas that lack something."
    )
    bind_source_addr = String("", "The address to connect from.", optional=True)


class Backing(Section):
    """The backing store: a database whose rows are keys."""

    backing_store = Address(
        "Read rows of this database through the cache: postgresql://user@host/database,"
        " or sqlite:///file. See docs/backing.md.",
        runtime=False,
    )
    backing_map = String(
        "",
        "The file that says which keys are which rows. Without one, keys of any type are kept in"
        " a table of their own.",
        optional=True,
        runtime=False,
    )
    backing_connections = Integer(
        4, 1, 1000, "Connections to the backing store, and so loads at a time.", runtime=False
    )
    backing_timeout = Integer(
        1000,
        1,
        INT_MAX,
        "Milliseconds until a load counts as failed, and until connecting does.",
        runtime=False,
    )
    backing_max_loads = Integer(
        20000,
        1,
        INT_MAX,
        "Keys that may be waiting to be loaded; what is missed beyond them fails.",
        runtime=False,
    )
    backing_invalidation = Enum(
        "no",
        ("no", "decoding", "notify", "poll"),
        "How to hear of rows that others change: logical decoding, triggers with NOTIFY, or, with"
        " SQLite, looking whether anything was changed.",
        runtime=False,
    )
    backing_slot = String(
        "distcache", "The replication slot, or the channel of NOTIFY.", runtime=False
    )
    backing_publication = String(
        "distcache", "The publication with the mapped tables.", runtime=False
    )
    backing_warm = Integer(
        0,
        0,
        100_000,
        "How many of the keys that are read most are kept in `dir`, to be loaded first after a"
        " start; 0: none.",
        runtime=False,
    )
    backing_slot_max_lag = Memory(
        1 << 30,
        0,
        LONG_MAX,
        "Bytes of WAL that are still read after a pause; with more, all mapped keys are dropped"
        " instead. 0: any number.",
        runtime=False,
    )


class Limits(Section):
    """Memory and eviction."""

    maxmemory = Memory(0, 0, ULONG_MAX, "Memory for keys and values; 0 means no limit.")
    maxmemory_policy = Enum(
        "noeviction",
        (
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ),
        "Which keys go when memory is full: of all keys or of those that expire (volatile),"
        " the longest or least used, any, or the first to expire.",
    )
    maxmemory_samples = Integer(
        5,
        1,
        INT_MAX,
        "Keys that are looked at to find the one to evict: more is exacter and slower.",
    )
    maxmemory_eviction_tenacity = Integer(
        10, 0, 100, "How long a command may be held up by evictions: 0 hardly, 100 without limit."
    )
    lfu_log_factor = Integer(10, 0, INT_MAX, "How slowly the counter of uses grows.")
    lfu_decay_time = Integer(1, 0, INT_MAX, "Minutes after which the counter of uses is lowered.")


class Keys(Section):
    """Keys: expiry, events, and when a small value changes its encoding."""

    notify_keyspace_events = EventClasses(0, "Classes of keyspace events to publish.")
    hash_max_listpack_entries = Integer(
        512,
        0,
        LONG_MAX,
        "Fields up to which a hash is a listpack.",
        alias="hash-max-ziplist-entries",
    )
    hash_max_listpack_value = Memory(
        64,
        0,
        LONG_MAX,
        "Length of a field or value up to which a hash is a listpack.",
        alias="hash-max-ziplist-value",
    )
    list_max_listpack_size = Integer(
        -2,
        -INT_MAX - 1,
        INT_MAX,
        "Size up to which a list is a listpack: elements, or -1 to -5 for 4, 8, 16, 32, 64 kb.",
        alias="list-max-ziplist-size",
    )
    set_max_intset_entries = Integer(
        512, 0, LONG_MAX, "Members up to which a set of integers is an intset."
    )
    set_max_listpack_entries = Integer(128, 0, LONG_MAX, "Members up to which a set is a listpack.")
    set_max_listpack_value = Integer(
        64, 0, LONG_MAX, "Length of a member up to which a set is a listpack."
    )
    zset_max_listpack_entries = Integer(
        128,
        0,
        LONG_MAX,
        "Members up to which a sorted set is a listpack.",
        alias="zset-max-ziplist-entries",
    )
    zset_max_listpack_value = Memory(
        64,
        0,
        LONG_MAX,
        "Length of a member up to which a sorted set is a listpack.",
        alias="zset-max-ziplist-value",
    )
    hll_sparse_max_bytes = Memory(3000, 0, LONG_MAX, "Size up to which a HyperLogLog is sparse.")
    stream_node_max_bytes = Memory(4096, 0, LONG_MAX, "Bytes in a node of a stream; 0: any number.")
    stream_node_max_entries = Integer(
        100, 0, LONG_MAX, "Entries in a node of a stream; 0: any number."
    )


class Observation(Section):
    """Logs, statistics and metrics."""

    loglevel = Enum(
        "notice",
        ("debug", "verbose", "notice", "warning", "nothing"),
        "The least important events that are logged.",
    )
    logfile = String(
        "", "The log; empty for standard output. It may be renamed at any time.", runtime=False
    )
    syslog_enabled = Boolean(False, "Log to syslog too.", runtime=False)
    syslog_ident = String("redis", "The name under which syslog knows us.", runtime=False)
    syslog_facility = Enum(
        "local0",
        ("user", *(f"local{number}" for number in range(8))),
        "The facility of our events in syslog.",
        runtime=False,
    )
    slowlog_log_slower_than = Integer(
        10000, -1, LONG_MAX, "Microseconds from which a command is slow; -1: none is, 0: all are."
    )
    slowlog_max_len = Integer(128, 0, LONG_MAX, "Commands that SLOWLOG remembers.")
    latency_monitor_threshold = Integer(
        0, 0, LONG_MAX, "Milliseconds from which LATENCY notes an event; 0 turns it off."
    )
    latency_tracking = Boolean(True, "Keep the distribution of each command's latency.")
    latency_tracking_info_percentiles = Percentiles(
        (50.0, 99.0, 99.9), "The percentiles in the latencystats section of INFO."
    )
    metrics_port = Integer(
        0, 0, 65535, "The port of /metrics and the health endpoints; 0 turns them off."
    )
    metrics_bind = String("127.0.0.1", "The address of /metrics.")
    key_groups = Globs(
        (),
        "Patterns of keys to count hits and misses for, as in user:* session:*."
        " A key counts for the first that matches.",
    )


class Config(
    Process,
    Network,
    Security,
    Snapshots,
    AppendOnly,
    Replication,
    Backing,
    Writing,
    Changefeed,
    Kafka,
    Limits,
    Keys,
    Observation,
    Persistence,
    Replicating,
    Cluster,
    Tls,
    Functions,
    Engine,
    Store,
):
    """All that can be configured."""

    def locate(self, path: str) -> str:
        """Where a path in the configuration leads: relative ones start at ``dir``."""
        return os.path.join(self.dir, path)

    def permits_protected(self, local: bool) -> bool:
        """May a client change protected settings?"""
        return permits(self.enable_protected_configs, local)

    def check(self) -> None:
        """Refuse what contradicts itself, once everything is loaded."""
        if self.logfile:
            try:
                with open(self.locate(self.logfile), "a"):
                    pass
            except OSError as error:
                problem = f"{self.locate(self.logfile)}: {os.strerror(error.errno or 0)}"
                raise ConfigError(f"Can't open the log file {problem}") from None
        if self.cluster_enabled and self.replicaof:
            raise ConfigError("replicaof directive not allowed in cluster mode")
        ours = b"#" + hashlib.sha256(self.requirepass).hexdigest().encode("ascii")
        for line in self.user:
            hashes = {rule for rule in line if _PASSWORD_HASH.fullmatch(rule)}
            if hashes and (not self.requirepass or hashes != {ours}):
                raise ConfigError(
                    "Error in user declaration: the password is not that of requirepass"
                )

    def without_effect(self) -> list[str]:
        """The directives that are not at their defaults and have no meaning here."""
        return [
            setting.name
            for setting in declared(type(self))
            if issubclass(setting.section, Kept)
            and getattr(self, setting.attribute) != setting.default
        ]


def permits(who: str, local: bool) -> bool:
    """Does ``no``, ``yes`` or ``local`` let a client do it, on this machine or on another?"""
    return who == "yes" or (who == "local" and local)
