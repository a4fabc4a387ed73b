"""Puts keys into a database that nobody looks at yet: what loading spends most of its time on.

All is written out here that Keyspace, Table and Wheel would do for each key, and what it would be
good for to hear of one (events, ``changed``) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from distcache_server.keyspace import Keyspace, Value
from distcache_server.types.hash import Hash
from distcache_server.types.limits import Limits
from distcache_server.types.table import LIMIT, Table
from distcache_server.types.wheel import SHIFT

Entry = tuple[int, bytes, int, Any, int | None, int | None, int | None]
"""A key as a snapshot has it; of kind 0 is a string, which is stored as it is."""
Maker = Callable[[Any, Limits], Value]
"""Makes the value of one that is plain."""


def fill(
    keyspace: Keyspace, entries: Iterator[Entry], least_ms: int, makers: Mapping[int, Maker]
) -> Entry | None:
    """Put in keys up to one that is not to be taken, which is returned.

    That is one of another database, one that is there already, and one whose deadline is not after
    ``least_ms``.  The database must have no ledger, and no walk over it.
    """
    index, limits = keyspace.index, keyspace.limits
    values, deadlines, wheel = keyspace.values, keyspace.deadlines, keyspace.wheel
    parts, mask = values.parts, values.mask
    dated_parts, dated_mask = deadlines.parts, deadlines.mask
    slots = wheel.slots
    added = dated = 0
    try:
        for entry in entries:
            at, key, kind, value, deadline, _, _ = entry
            number = hash(key)
            part = parts[number & mask]
            if at != index or key in part or (deadline is not None and deadline <= least_ms):
                return entry
            if kind:
                value = makers[kind](value, limits)
                if type(value) is Hash and value.deadlines is not None:
                    keyspace.note_fields(key, value)
            part[key] = value
            added += 1
            if len(part) > LIMIT:
                values.split(number & mask)
                parts, mask = values.parts, values.mask
            if deadline is None:
                continue
            part = dated_parts[number & dated_mask]
            part[key] = deadline
            dated += 1
            if len(part) > LIMIT:
                deadlines.split(number & dated_mask)
                dated_parts, dated_mask = deadlines.parts, deadlines.mask
            slot = slots.get(deadline >> SHIFT)
            if type(slot) is not Table:
                wheel.add(key, deadline)
                continue
            part = slot.parts[number & slot.mask]
            part[key] = None
            slot.count += 1
            if len(part) > LIMIT:
                slot.split(number & slot.mask)
        return None
    finally:
        values.count += added
        deadlines.count += dated
        keyspace.arrange()
