"""The key that is no key: a stream of what happens to all others (changefeed/)."""

from __future__ import annotations

CHANGEFEED = b"distcache:changefeed"

READS_CHANGEFEED = frozenset(
    (
        "xack",
        "xautoclaim",
        "xclaim",
        "xgroup|create",
        "xgroup|createconsumer",
        "xgroup|delconsumer",
        "xgroup|destroy",
        "xgroup|setid",
        "xinfo|consumers",
        "xinfo|groups",
        "xinfo|stream",
        "xlen",
        "xpending",
        "xrange",
        "xread",
        "xreadgroup",
        "xrevrange",
    )
)
"""The commands that know it."""
