"""Directives of Redis that have no meaning here: accepted, kept, shown by CONFIG GET.

They have Redis's types, limits and defaults, so that a configuration that Redis would refuse is
refused here too.  One that gets a meaning moves to `settings`.
"""

from __future__ import annotations

import re

from distcache_server.config.kinds import (
    INT_MAX,
    LONG_MAX,
    UINT_MAX,
    ULONG_MAX,
    Boolean,
    ConfigError,
    Enum,
    Integer,
    Memory,
    Section,
    String,
)
from distcache_server.config.lists import Lines, Numbers

_TITLE = re.compile(
    r"(?:[^{]|\{\{|\{(?:title|listen-addr|server-mode|port|tls-port|unixsocket|config-file)\})+"
)


def _title_template(template: str) -> None:
    if not _TITLE.fullmatch(template):
        raise ConfigError("template format is invalid or contains unknown variables")


def _host_name(name: str) -> None:
    if len(name) >= 256:
        raise ConfigError("Hostnames must be less than 256 characters")
    if not re.fullmatch(r"[A-Za-z0-9.-]*", name):
        raise ConfigError("Hostnames may only contain alphanumeric characters, hyphens or dots")


def _node_name(name: str) -> None:
    if set(name) & set("!#$%&()*+:;<>?@[]^{|}~"):
        raise ConfigError("Announced human node name contained invalid character")


class Kept(Section):
    """What has no meaning here."""


class Persistence(Kept):
    """Persistence."""

    rdb_del_sync_files = Boolean(False, "Delete snapshots that replication left behind.")
    rdb_save_incremental_fsync = Boolean(True, "Flush a snapshot to the disk as it is written.")
    sanitize_dump_payload = Enum(
        "no", ("no", "yes", "clients"), "Check the whole of a serialized value before use."
    )
    aof_timestamp_enabled = Boolean(False, "Put times into the log.")
    aof_rewrite_incremental_fsync = Boolean(True, "Flush a log to the disk as it is rewritten.")
    aof_disable_auto_gc = Boolean(False, "Keep old log files.")


class Replicating(Kept):
    """Replication."""

    replica_lazy_flush = Boolean(
        False, "Drop old data in the background before a full sync.", alias="slave-lazy-flush"
    )
    repl_diskless_load = Enum(
        "disabled",
        ("disabled", "on-empty-db", "swapdb"),
        "Load a received snapshot without writing it to disk.",
    )


class Cluster(Kept):
    """Cluster."""

    cluster_enabled = Boolean(False, "Be a node of a cluster.", runtime=False)
    cluster_config_file = String("nodes.conf", "The file of the node's state.", runtime=False)
    cluster_node_timeout = Integer(15000, 0, LONG_MAX, "Milliseconds until a node counts as away.")
    cluster_ping_interval = Integer(0, 0, LONG_MAX, "Milliseconds between pings.", hidden=True)
    cluster_port = Integer(0, 0, 65535, "The port of the bus; 0: port + 10000.", runtime=False)
    cluster_announce_ip = String("", "The address to announce.", optional=True)
    cluster_announce_hostname = String(
        "", "The host name to announce.", optional=True, valid=_host_name
    )
    cluster_announce_human_nodename = String(
        "", "The node's name for people.", optional=True, valid=_node_name
    )
    cluster_announce_port = Integer(0, 0, 65535, "The port to announce.")
    cluster_announce_tls_port = Integer(0, 0, 65535, "The TLS port to announce.")
    cluster_announce_bus_port = Integer(0, 0, 65535, "The port of the bus to announce.")
    cluster_preferred_endpoint_type = Enum(
        "ip", ("ip", "hostname", "unknown-endpoint"), "What redirections name."
    )
    cluster_require_full_coverage = Boolean(True, "Stop when a slot has no node.")
    cluster_allow_reads_when_down = Boolean(False, "Read while the cluster is down.")
    cluster_allow_pubsubshard_when_down = Boolean(True, "Publish while the cluster is down.")
    cluster_allow_replica_migration = Boolean(True, "Let replicas move to other primaries.")
    cluster_migration_barrier = Integer(1, 0, INT_MAX, "Replicas that stay with a primary.")
    cluster_replica_no_failover = Boolean(
        False, "Never promote this replica.", alias="cluster-slave-no-failover"
    )
    cluster_replica_validity_factor = Integer(
        10,
        0,
        INT_MAX,
        "How old a replica's data may be to be promoted.",
        alias="cluster-slave-validity-factor",
    )
    cluster_link_sendbuf_limit = Memory(0, 0, ULONG_MAX, "Memory for a link between nodes.")


class Tls(Kept):
    """TLS."""

    tls_port = Integer(0, 0, 65535, "The port for TLS; 0 turns it off.")
    tls_cert_file = String("", "The server's certificate.", optional=True)
    tls_key_file = String("", "The server's key.", optional=True)
    tls_key_file_pass = String("", "The key's passphrase.", optional=True, secret=True)
    tls_client_cert_file = String("", "The certificate for outgoing links.", optional=True)
    tls_client_key_file = String("", "The key for outgoing links.", optional=True)
    tls_client_key_file_pass = String("", "Its passphrase.", optional=True, secret=True)
    tls_dh_params_file = String("", "Diffie-Hellman parameters.", optional=True)
    tls_ca_cert_file = String("", "Certificates of authorities, in a file.", optional=True)
    tls_ca_cert_dir = String("", "Certificates of authorities, in a directory.", optional=True)
    tls_auth_clients = Enum("yes", ("no", "yes", "optional"), "Ask clients for a certificate.")
    tls_replication = Boolean(False, "Use TLS to the primary.")
    tls_cluster = Boolean(False, "Use TLS between nodes.")
    tls_protocols = String("", "The versions of TLS.", optional=True)
    tls_ciphers = String("", "The ciphers up to TLS 1.2.", optional=True)
    tls_ciphersuites = String("", "The ciphers of TLS 1.3.", optional=True)
    tls_prefer_server_ciphers = Boolean(False, "Let the server choose the cipher.")
    tls_session_caching = Boolean(True, "Let clients resume sessions.")
    tls_session_cache_size = Integer(20480, 0, INT_MAX, "Sessions that are kept.")
    tls_session_cache_timeout = Integer(300, 0, INT_MAX, "Seconds for which they are kept.")


class Functions(Kept):
    """Users, scripts, modules, streams and client-side caching."""

    acl_pubsub_default = Enum(
        "resetchannels", ("allchannels", "resetchannels"), "The channels of a new user."
    )
    acllog_max_len = Integer(128, 0, LONG_MAX, "Entries in the log of refused commands.")
    busy_reply_threshold = Integer(
        5000, 0, LONG_MAX, "Milliseconds after which a script is reported.", alias="lua-time-limit"
    )
    loadmodule = Lines(1, 1 << 30, "path and arguments", "Load a module.")
    enable_module_command = Enum(
        "no", ("no", "yes", "local"), "May clients use MODULE?", runtime=False
    )
    tracking_table_max_keys = Integer(1_000_000, 0, LONG_MAX, "Keys whose readers are remembered.")


class Engine(Kept):
    """Threads, memory allocator and other insides of Redis."""

    io_threads = Integer(1, 1, 128, "Threads for reading and writing.", runtime=False)
    io_threads_do_reads = Boolean(False, "Let them read too.")
    server_cpulist = String(
        "", "CPUs for the server.", name="server_cpulist", optional=True, runtime=False
    )
    bio_cpulist = String(
        "", "CPUs for background threads.", name="bio_cpulist", optional=True, runtime=False
    )
    aof_rewrite_cpulist = String(
        "", "CPUs for rewriting.", name="aof_rewrite_cpulist", optional=True, runtime=False
    )
    bgsave_cpulist = String(
        "", "CPUs for snapshots.", name="bgsave_cpulist", optional=True, runtime=False
    )
    activerehashing = Boolean(True, "Grow hash tables in the background.")
    active_expire_effort = Integer(1, 1, 10, "How much time goes into finding expired keys.")
    hz = Integer(
        10, 0, INT_MAX, "How often a second background work runs, 1 to 500.", clamp=(1, 500)
    )
    dynamic_hz = Boolean(True, "Raise hz with the number of clients.")
    lazyfree_lazy_eviction = Boolean(False, "Free evicted values in the background.")
    lazyfree_lazy_expire = Boolean(False, "Free expired values in the background.")
    lazyfree_lazy_server_del = Boolean(False, "Free replaced values in the background.")
    lazyfree_lazy_user_del = Boolean(False, "Let DEL free in the background.")
    lazyfree_lazy_user_flush = Boolean(False, "Let FLUSHALL free in the background.")
    activedefrag = Boolean(False, "Move values to make memory contiguous.")
    active_defrag_cycle_min = Integer(1, 1, 99, "Least part of the CPU for it, in percent.")
    active_defrag_cycle_max = Integer(25, 1, 99, "Largest part of the CPU for it, in percent.")
    active_defrag_threshold_lower = Integer(10, 0, 1000, "Fragmentation to start at, in percent.")
    active_defrag_threshold_upper = Integer(
        100, 0, 1000, "Fragmentation for the largest effort, in percent."
    )
    active_defrag_ignore_bytes = Memory(100 << 20, 1, LONG_MAX, "Fragmentation not worth it.")
    active_defrag_max_scan_fields = Integer(1000, 1, LONG_MAX, "Members of a value done at once.")
    jemalloc_bg_thread = Boolean(True, "Let the allocator clean up in a thread.")
    list_compress_depth = Integer(0, 0, INT_MAX, "Nodes at the ends of a list left uncompressed.")
    disable_thp = Boolean(True, "Turn transparent huge pages off.", runtime=False)
    oom_score_adj = Enum(
        "no",
        ("no", "yes", "relative", "absolute"),
        "Tell the kernel whom to kill when memory runs out.",
        synonyms={"relative": "yes"},
    )
    oom_score_adj_values = Numbers(
        (0, 200, 800), -2000, 2000, "The scores of primary, replica and background process."
    )
    socket_mark_id = Integer(0, 0, UINT_MAX, "The mark of packets, for routing.", runtime=False)
    set_proc_title = Boolean(True, "Change the title of the process.", runtime=False)
    proc_title_template = String(
        "{title} {listen-addr} {server-mode}", "The title.", valid=_title_template
    )
    always_show_logo = Boolean(False, "Begin the log with a picture.", runtime=False)
    crash_log_enabled = Boolean(True, "Log the state after a crash.")
    crash_memcheck_enabled = Boolean(True, "Test the memory after a crash.")
    use_exit_on_panic = Boolean(False, "Leave with exit() after a failed assertion.", hidden=True)
    watchdog_period = Integer(
        0, 0, INT_MAX, "Milliseconds after which delays are logged.", hidden=True
    )
    ignore_warnings = String("", "Warnings about the system that do not stop the start.")
    locale_collate = String("", "The locale for comparing text.")
