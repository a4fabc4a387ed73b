"""How many bytes keys and values take, by estimate, and how many the process has, by measurement.

The estimates are those of CPython on a 64-bit system: an object's own size, what allocators add on
average, and its share of the tables.  They hold for maxmemory, MEMORY USAGE and the metrics.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import Any

STRING = 41
"""What a bytes object takes besides its bytes: 33, and 8 for rounding."""
ENTRY = 40
"""An entry in a table of keys, at an average filling."""
STAMP = 24
"""A number of its own in such an entry, where some keys share theirs."""
DEADLINE = 220
"""A key's deadline, its entry in the table of deadlines and its place in the timing wheel."""


def size_of(value: Any) -> int:
    """Bytes that a value takes."""
    return len(value) + STRING if type(value) is bytes else int(value.memory())


def size_with_key(key: bytes, value: Any, dated: bool) -> int:
    """Bytes that a key and its value take, and the deadline where the key is ``dated``."""
    return len(key) + STRING + ENTRY + size_of(value) + (DEADLINE if dated else 0)


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


def peak_resident() -> int:
    """The most bytes that this process ever had in memory; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Ask the allocator to give free pages back: some milliseconds for each 100 MB."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def total() -> int:
    """Bytes of memory that this machine has; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * _PAGE
    except (AttributeError, OSError, ValueError):
        return 0


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
