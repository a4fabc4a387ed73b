"""What goes on between commands: keys are removed when their deadline comes, large values freed.

Both in small steps, so that no reply waits for long.  A step takes what the timing wheel says is
due; no key is looked at before its time.
"""

from __future__ import annotations

from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

from distcache_server.keyspace import LARGE
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace

STEP_NS = 1_000_000
"""How long a step takes where there is more to do."""
LONGEST_STEP_NS = 50_000_000
SHARE = 2
"""Commands get so many times the processor that steps get, as long as there is more to do."""
BATCH = 64
"""Keys that are removed before the clock is read again."""


class Sweeper:
    """Removes what is due and frees what is gone, a step at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._left_over = False
        self._ended_ns = 0
        """What the thread had used of the processor when the last step ended."""

    def step(self, now_ms: int) -> bool:
        """Work for about a millisecond, or for our share; True where there is more to do."""
        elsewhere_ns = thread_time_ns() - self._ended_ns if self._left_over else 0
        more = self._left_over = self._work(now_ms, perf_counter_ns() + allowed_ns(elsewhere_ns))
        self._ended_ns = thread_time_ns()
        return more

    def _work(self, now_ms: int, end: int) -> bool:
        more = False
        for keyspace in self.engine.databases:
            keyspace.note_use(now_ms)
            due = keyspace.wheel.slots or keyspace.field_wheel.slots
            if due and self.engine.active_expiry and not keyspace.frozen:
                keyspace.now_ms = now_ms
                more |= expire(keyspace, end)
            if keyspace.graveyard:
                more |= free(keyspace.graveyard, end)
        if self.engine.follows and self.engine.active_expiry:
            more |= self.engine.own_deadlines.expire(now_ms, end)
        more |= self.engine.evictor.step(end)
        if self.engine.ready:
            self.engine.blocking.serve(self.engine.ready)
        return more


def allowed_ns(elsewhere_ns: int) -> int:
    """How long a step may take when commands have used so much of the processor since the last.

    With many clients that send many commands at once, a turn of the event loop takes so long that
    steps of a fixed length would never catch up with the keys that are set meanwhile.
    """
    return min(max(elsewhere_ns // SHARE, STEP_NS), LONGEST_STEP_NS)


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
