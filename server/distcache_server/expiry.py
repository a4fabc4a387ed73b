"""What goes on between commands: keys are removed when their deadline comes, large values freed.

Both in small steps, so that no reply waits for long.  A step takes what the timing wheel says is
due; no key is looked at before its time.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from distcache_server.keyspace import LARGE
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace

STEP_NS = 1_000_000
"""A step ends after this time."""
BATCH = 64
"""Keys that are removed before the clock is read again."""


class Sweeper:
    """Removes what is due and frees what is gone, a step at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def step(self, now_ms: int) -> bool:
        """Work for about a millisecond; True where there is more to do."""
        end = perf_counter_ns() + STEP_NS
        more = False
        for keyspace in self.engine.databases:
            keyspace.note_use(now_ms)
            due = keyspace.wheel.slots or keyspace.field_wheel.slots
            if due and self.engine.active_expiry and not keyspace.frozen:
                keyspace.now_ms = now_ms
                more |= expire(keyspace, end)
            if keyspace.graveyard:
                more |= free(keyspace.graveyard, end)
        more |= self.engine.evictor.step(end)
        if self.engine.ready:
            self.engine.blocking.serve(self.engine.ready)
        return more


def expire(keyspace: Keyspace, end: int) -> bool:
    """Remove keys that are due until ``end`` (perf_counter_ns); True where some are left."""
    while keys := keyspace.wheel.due(keyspace.now_ms, BATCH):
        for key in keys:
            keyspace.lapse(key)
        if perf_counter_ns() > end:
            return True
    while (hashed := keyspace.field_wheel.take(keyspace.now_ms)) is not None:
        keyspace.lapse_fields(hashed)
        if perf_counter_ns() > end:
            return True
    return False


def free(graveyard: list[Any], end: int) -> bool:
    """Take values apart until ``end`` (perf_counter_ns); True where some are left."""
    while graveyard:
        value = graveyard[-1]
        if isinstance(value, Table):
            entries = value.drain()
            if not entries:
                graveyard.pop()
            large = [e for e in entries if not isinstance(e, bytes | int) and e and len(e) > LARGE]
            # Put below, so that this table is finished first.
            graveyard[:0] = large
            del entries
        elif not value.drain():
            graveyard.pop()
        if perf_counter_ns() > end:
            return bool(graveyard)
    return False
