"""MEMORY: what keys and the process take."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distcache_server import memory
from distcache_server.arguments import Args, integer
from distcache_server.errors import SyntaxFailure
from distcache_server.registry import NO_FLAGS, READONLY, Keys, group
from distcache_server.reply import OK, VerbatimString

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine

command = group("server")

REPORT = "nondeterministic_output request_policy:all_shards response_policy:special"
DEEP = "Depends on how much memory there is; it may be slow"
SMALL = 32 << 20
"""Less than this is not worth a diagnosis."""


@command("MEMORY", arity=-2, since="4.0.0", complexity="Depends on subcommand.", help="4.0.0")
def memory_(_: Client, __: Args) -> Any:
    """Looks at the use of memory."""


@command(
    "MEMORY USAGE key [SAMPLES count]",
    READONLY,
    since="4.0.0",
    keys=Keys(first=2, access="RO"),
    complexity="O(1): of a large value a few entries are looked at",
    sub=True,
)
def memory_usage(client: Client, words: Args) -> int | None:
    """Returns about how many bytes a key, its value and its deadline take."""
    key, options = words[2], words[3:]
    # How many entries are looked at is up to the value; a number that Redis refuses is refused.
    for at in range(0, len(options), 2):
        if options[at].upper() != b"SAMPLES" or at + 1 == len(options):
            raise SyntaxFailure
        if integer(options[at + 1]) < 0:
            raise SyntaxFailure
    value = client.keyspace.peek(key)
    if value is None:
        return None
    return memory.size_with_key(key, value, client.keyspace.deadline(key) is not None)


class Overview:
    """The use of memory as a whole, in bytes: ``used`` is what counts against maxmemory.

    What the process takes without any data and clients is in ``resident`` alone, and no ``excess``.
    """

    def __init__(self, engine: Engine) -> None:
        self.used = engine.evictor.used()
        self.peak = max(engine.evictor.peak, self.used)
        self.resident = memory.resident()
        self.excess, self.fragmentation = engine.evictor.excess()
        self.replicas = sum(client.footprint for client in engine.replicas)
        self.clients = sum(it.footprint for it in engine.clients.values()) - self.replicas
        self.backlog = self.unwritten = 0
        """The log in memory, and what of it is to be written to the disk."""
        if (persistence := engine.persistence) is not None:
            self.backlog = persistence.log.end - persistence.log.start
            if persistence.disk is not None:
                self.unwritten = persistence.log.end - persistence.disk.offset
        self.tables = {
            keyspace.index: (
                len(keyspace) * memory.ENTRY,
                keyspace.deadlines.count * memory.DEADLINE,
            )
            for keyspace in engine.databases
            if len(keyspace)
        }
        self.overhead = self.clients + self.replicas + sum(map(sum, self.tables.values()))
        self.dataset = max(self.used - self.overhead, 0)
        self.keys = sum(map(len, engine.databases))

    @property
    def dataset_percentage(self) -> float:
        return 100 * self.dataset / self.used if self.used else 0.0


@command("MEMORY STATS", NO_FLAGS, since="4.0.0", tips=REPORT, sub=True)
def memory_stats(client: Client, _: Args) -> dict[bytes, Any]:
    """Returns what takes how many bytes."""
    it = Overview(client.engine)
    databases = {
        b"db.%d" % index: {
            b"overhead.hashtable.main": main,
            b"overhead.hashtable.expires": expires,
        }
        for index, (main, expires) in it.tables.items()
    }
    return {
        b"peak.allocated": it.peak,
        b"total.allocated": it.used,
        b"startup.allocated": 0,
        b"replication.backlog": it.backlog,
        b"clients.slaves": it.replicas,
        b"clients.normal": it.clients,
        b"cluster.links": 0,
        b"aof.buffer": it.unwritten,
        b"lua.caches": 0,
        b"functions.caches": 0,
        **databases,
        b"overhead.total": it.overhead,
        b"keys.count": it.keys,
        b"keys.bytes-per-key": it.used // it.keys if it.keys else 0,
        b"dataset.bytes": it.dataset,
        b"dataset.percentage": it.dataset_percentage,
        b"peak.percentage": 100 * it.used / it.peak if it.peak else 0.0,
        b"allocator.allocated": it.used,
        b"allocator.active": it.resident,
        b"allocator.resident": it.resident,
        b"allocator-fragmentation.ratio": it.fragmentation,
        b"allocator-fragmentation.bytes": it.excess,
        b"allocator-rss.ratio": 1.0,
        b"allocator-rss.bytes": 0,
        b"rss-overhead.ratio": 1.0,
        b"rss-overhead.bytes": 0,
        b"fragmentation": it.fragmentation,
        b"fragmentation.bytes": it.excess,
    }


@command("MEMORY DOCTOR", NO_FLAGS, since="4.0.0", tips=REPORT, sub=True)
def memory_doctor(client: Client, _: Args) -> VerbatimString:
    """Says in words what takes more memory than it should."""
    return VerbatimString("\n".join([*diagnosis(client.engine), ""]).encode())


def diagnosis(engine: Engine) -> list[str]:
    """A sentence for each thing that is not as it should be."""
    it = Overview(engine)
    if it.used < SMALL:
        return ["There is so little data that nothing can be said about it."]
    found = []
    if it.peak > it.used * 1.5:
        found.append(
            f"At its peak the server used {it.peak} bytes, more than one and a half times of what"
            " it uses now. Memory that is free again is reused, but not all of it goes back to"
            " the system; MEMORY PURGE returns what can be returned."
        )
    if it.fragmentation > 1.5:
        found.append(
            f"The process takes {it.fragmentation:.1f} times of what keys and clients account for."
            " Values that came and went in different sizes leave holes; a restart closes them."
        )
    if engine.clients and it.clients > max(it.used // 4, SMALL):
        found.append(
            f"Clients take {it.clients} bytes. CLIENT LIST shows those with a large tot-mem;"
            " client-output-buffer-limit and maxmemory-clients keep them in bounds."
        )
    if engine.config.maxmemory and it.used > engine.config.maxmemory * 0.95:
        found.append(
            f"maxmemory is nearly reached, and the policy is {engine.config.maxmemory_policy}."
        )
    return found or ["All is well."]


@command("MEMORY MALLOC-STATS", NO_FLAGS, since="4.0.0", complexity=DEEP, tips=REPORT, sub=True)
def memory_malloc_stats(_: Client, __: Args) -> VerbatimString:
    """Returns what the allocator and the system say about the process."""
    lines = [f"Blocks that Python's allocator has given out: {sys.getallocatedblocks()}"]
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as file:
        lines += [line.expandtabs(1).strip() for line in file if line.startswith(("Vm", "Rss"))]
    return VerbatimString("\n".join([*lines, ""]).encode())


@command(
    "MEMORY PURGE",
    NO_FLAGS,
    since="4.0.0",
    complexity=DEEP,
    tips="request_policy:all_shards response_policy:all_succeeded",
    sub=True,
)
def memory_purge(_: Client, __: Args) -> Any:
    """Asks the allocator to give free memory back to the system."""
    memory.give_back()
    return OK
