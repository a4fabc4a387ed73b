"""The commands, a module or a few per group; importing one declares its commands."""

from __future__ import annotations

from importlib import import_module

GROUPS = (
    "connection",
    "clients",
    "keys",
    "key_deadlines",
    "dumping",
    "sorting",
    "waiting",
    "strings",
    "lcs",
    "bitmaps",
    "hashes",
    "field_deadlines",
    "lists",
    "blocking_lists",
    "sets",
    "sorted_sets",
    "sorted_set_ranges",
    "sorted_set_pops",
    "sorted_set_algebra",
    "hyperloglog",
    "geo",
    "streams",
    "stream_reading",
    "stream_groups",
    "stream_pending",
    "stream_info",
    "pubsub",
    "migrating",
    "transactions",
    "server",
    "saving",
    "replication",
    "append_only",
    "configuration",
    "info",
    "memory",
    "slowlog",
    "latency",
    "acl",
    "lolwut",
    "introspection",
    "debugging",
    "functions",
    "distcache",
)


def load() -> None:
    """Declare all commands."""
    for name in GROUPS:
        import_module(f"distcache_server.commands.{name}")
    import_module("distcache_server.commands.helping").declare()
