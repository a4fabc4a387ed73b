"""The settings of write-behind."""

from __future__ import annotations

from distcache_server.config.kinds import (
    INT_MAX,
    ULONG_MAX,
    Enum,
    Integer,
    Memory,
    Section,
    String,
)


class Writing(Section):
    """Writing to the backing store."""

    backing_write_timeout = Integer(
        10000,
        1,
        INT_MAX,
        "Milliseconds until a statement that writes to the backing store counts as failed.",
        runtime=False,
    )
    backing_stream = String(
        "",
        "Under this name the backing store remembers how far it is; that of `backing-slot` if there"
        " is none. A primary and its replicas have the same; servers that are not replicas of each"
        " other need different ones.",
        optional=True,
        runtime=False,
    )
    backing_batch_size = Integer(
        1000, 1, INT_MAX, "So many changed keys are written without waiting for more."
    )
    backing_batch_delay = Integer(
        100, 0, INT_MAX, "Milliseconds after which fewer changed keys are written."
    )
    backing_max_lag = Memory(
        256 << 20,
        0,
        ULONG_MAX,
        "Bytes of the log that the backing store may be behind; 0 for any number.",
    )
    backing_max_lag_time = Integer(0, 0, INT_MAX, "Seconds that it may be behind; 0 for any time.")
    backing_on_lag = Enum(
        "wait",
        ("wait", "fail"),
        "What becomes of writes to mapped keys while it is further behind.",
    )
    backing_through_timeout = Integer(
        0,
        0,
        INT_MAX,
        "Milliseconds until a client is told that its write is not in the backing store yet, where"
        " it waits for that (`write-through`); 0 for no end.",
    )
    backing_takeover_time = Integer(
        15,
        0,
        INT_MAX,
        "For so many seconds another server must have been silent before this one writes to the"
        " backing store in its place, where it does not go on from the other's log.",
    )
