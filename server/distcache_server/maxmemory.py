"""Keeps the databases within ``maxmemory``: when keys go, how many, and from where.

``make_room`` runs before each command while there is a limit, and takes no longer than
``maxmemory-eviction-tenacity`` allows; what is left to do is done between commands.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from operator import itemgetter
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from distcache_server import events
from distcache_server.eviction import POLICIES, Policy, least
from distcache_server.expiry import free
from distcache_server.ledger import Budget, Ledger
from distcache_server.memory import give_back, resident
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.config import Config
    from distcache_server.keyspace import Keyspace
    from distcache_server.latency import Latency
    from distcache_server.stats import Counters

NO_LIMIT = 1 << 64
MOST_DOUBLINGS = 12
BATCH = 8
"""Keys that go before the clock is read again."""
FIRST_COUNT_NS = 4_000_000
"""How long CONFIG SET is held up by counting what is there; the rest is counted in steps."""
FREE_NS = 300_000
"""How long an eviction is held up by freeing values that went before."""
CLIENTS = 256
"""Clients whose memory is added up in one step."""
WATCH_NS = 20_000_000
"""Between two looks at the size of the process."""
TRIM_NS = 10_000_000_000
"""Between two requests to the allocator to give back what is free."""
MOST_LOOKS = 20
"""Times that a key is sought which may go."""
FRESH_NS = 5_000_000
"""How old that sum may be when keys have to go for it, where one step is enough."""

_worth = itemgetter(0)


def longest_ns(tenacity: int, percent_over: int = 0) -> int:
    """How long evictions may hold up a command: 0.5 ms at 10, 15 % more for each after it.

    That doubles with each percent by which the limit is passed, so that it is not passed by many.
    """
    if tenacity >= 100:
        return NO_LIMIT
    usual = 50_000 * tenacity if tenacity <= 10 else 500_000 * 1.15 ** (tenacity - 10)
    return int(usual) << min(percent_over, MOST_DOUBLINGS)


def within_process(limit: int, process: int) -> int:
    """The limit to keep so that a process of this size stays below 1.5 times ``maxmemory`` + 64 MB.

    Where objects of many sizes have come and gone, the process holds memory that nothing uses, and
    keys have to go for it: the more, the closer it comes to that bound, but never all of them.
    """
    excess = process - limit * 142 // 100 - (56 << 20)
    return max(limit - 8 * excess, limit // 4) if excess > 0 else limit


class Evictor:
    """Keeps accounts of the databases while a limit or a policy asks for it, and evicts keys."""

    def __init__(
        self,
        databases: list[Keyspace],
        clients: Mapping[int, Client],
        config: Config,
        counters: Counters,
        latency: Latency,
    ) -> None:
        self.databases = databases
        self.clients = clients
        self.config = config
        self.counters = counters
        self.latency = latency
        self.budget = Budget()
        self.process_size: Callable[[], int] | None = None
        """Bytes of the process, where nothing but this server is in it."""
        self.peak = 0
        """The most that ``used`` said, as of the steps."""
        self._at_start = resident()
        self.active = False
        self._policy: type[Policy] | None = None
        self._volatile = False
        self._counting = False
        self._doomed: list[tuple[int, Keyspace, bytes]] = []
        """Keys that are to go, the last one first, each with what it was worth when found."""
        self._client_bytes = 0
        """What clients took when all of them had been looked at."""
        self._seen_bytes = 0
        self._unseen: list[Client] = []
        """In the round that goes on: what those take who have been looked at, and who is left."""
        self._seen_ns = 0
        """When keys last had to go, and so clients were looked at."""
        self._watched_ns = self._trimmed_ns = 0
        """When the size of the process was last looked at, and was last found too large."""
        self.pinned: Callable[[Keyspace, bytes], bool] | None = None
        """Whether a key must not go, as the backing store does not have it yet."""
        self.idle = False
        """Nothing is evicted for the time being: writes are paused, or the primary sees to it."""
        self.configure()

    def configure(self) -> None:
        """Take over limit and policy; begin or end to keep accounts."""
        config = self.config
        scope, _, kind = config.maxmemory_policy.partition("-")
        policy = POLICIES.get(kind)
        active = config.maxmemory > 0 or (policy is not None and policy.tracks)
        self.budget.limit = config.maxmemory or NO_LIMIT
        self._volatile = scope == "volatile"
        self._doomed.clear()
        if active == self.active and policy is self._policy:
            return
        self.active, self._policy = active, policy
        self._client_bytes = self._seen_bytes = 0
        self._unseen = []
        for keyspace in self.databases:
            if keyspace.ledger is not None:
                keyspace.graveyard += keyspace.ledger.clear()
            keyspace.ledger = self._open(keyspace) if active else None
            keyspace.arrange()
        self.budget.used = sum(it.ledger.total for it in self.databases if it.ledger is not None)
        self._counting = active
        self._count(perf_counter_ns() + FIRST_COUNT_NS)

    def _open(self, keyspace: Keyspace) -> Ledger:
        ledger = Ledger(self.budget, self._policy(self.config) if self._policy else None)
        ledger.dated(keyspace.deadlines.count)
        return ledger

    def _count(self, end: int) -> bool:
        """Count keys that were there before their ledger; True where some are left."""
        now_ms = time_ns() // 1_000_000
        self._counting = self._counting and any(
            keyspace.ledger is not None and keyspace.ledger.count(keyspace.values, now_ms, end)
            for keyspace in self.databases
        )
        return self._counting

    def recount(self) -> None:
        """All keys are others now: count them, in steps."""
        for keyspace in self.databases:
            if keyspace.ledger is not None:
                keyspace.ledger.counted = 0
                keyspace.ledger.dated(keyspace.deadlines.count)
        self._counting = self.active

    def used(self) -> int:
        """Bytes that keys, values and clients take: as counted, or else as the system sees it."""
        used = self.budget.used if self.active else max(resident() - self._at_start, 0)
        self.peak = max(self.peak, used)
        return used

    def excess(self) -> tuple[int, float]:
        """Bytes that the process takes without a reason, and all it takes over what has one.

        The reasons are what is `used`, and what it took before there was any data.
        """
        now, explained = resident(), self._at_start + self.used()
        return now - explained, now / max(explained, 1)

    # Making room

    def make_room(self) -> bool:
        """Evict until the limit is kept or time is up; False where there is nothing to evict."""
        budget = self.budget
        if budget.used <= budget.limit or self.idle:
            return True
        started = perf_counter_ns()
        if started >= self._seen_ns + FRESH_NS and len(self.clients) <= CLIENTS:
            # Clients may have gone, or read their replies, since they were looked at.
            self._seen_ns = started
            self._add_up_clients()
            if budget.used <= budget.limit:
                return True
        if self._policy is None:
            return False
        now_ms = time_ns() // 1_000_000
        over = (budget.used - budget.limit) * 100 // budget.limit
        end = started + longest_ns(self.config.maxmemory_eviction_tenacity, over)
        evicted, possible = 0, True
        while budget.used > budget.limit:
            victim = self._victim(now_ms)
            if victim is None:
                possible = False
                break
            self._evict(*victim)
            evicted += 1
            if not evicted % BATCH and perf_counter_ns() > end:
                break
        self.latency.note("eviction-cycle", now_ms, perf_counter_ns() - started)
        return possible

    def _victim(self, now_ms: int) -> tuple[Keyspace, bytes] | None:
        """The key that is to go, or None where the policy allows none to."""
        looks = 0
        while True:
            if not self._doomed:
                looks += 1
                if looks > MOST_LOOKS:
                    return None
                self._doomed = self._doom(now_ms)
                if not self._doomed:
                    return None
            worth, keyspace, key = self._doomed.pop()
            policy, deadline = self._policy_of(keyspace), keyspace.deadlines.get(key)
            # It may have gone, or been used, since it was found.
            there = key in keyspace.values and not (self._volatile and deadline is None)
            if not there or policy is None or policy.worth(key, deadline, now_ms) > worth:
                continue
            if self.pinned is None or not self.pinned(keyspace, key):
                return keyspace, key

    def _doom(self, now_ms: int) -> list[tuple[int, Keyspace, bytes]]:
        """Keys worth little, from a random part of each database; the one worth least is last."""
        samples = self.config.maxmemory_samples
        every = not self._volatile and not self._counting
        found: list[tuple[int, Keyspace, bytes]] = []
        most = databases = 0
        for keyspace in self.databases:
            table: Table[bytes, Any] = keyspace.deadlines if self._volatile else keyspace.values
            policy = self._policy_of(keyspace)
            if table.count and policy is not None:
                keys = least(policy.draw(table, every, now_ms), samples)
                found += [(worth, keyspace, key) for key, worth in keys]
                most = max(most, len(keys))
                databases += 1
        if databases > 1:
            random.shuffle(found)  # what is worth the same goes from any of them
            found.sort(key=_worth)
        return found[:most][::-1]

    def _policy_of(self, keyspace: Keyspace) -> Policy | None:
        return keyspace.ledger.policy if keyspace.ledger is not None else None

    def _evict(self, keyspace: Keyspace, key: bytes) -> None:
        # Where the deadline has come already, the key has expired instead.
        if keyspace.remove(key):
            keyspace.changed(key, b"evicted", events.EVICTED)
            self.counters.evicted_keys += 1
            if keyspace.on_evicted is not None:
                keyspace.on_evicted(keyspace, key)
        if keyspace.graveyard:
            free(keyspace.graveyard, perf_counter_ns() + FREE_NS)

    # Between commands

    def step(self, end: int) -> bool:
        """Do what is left to do, until ``end`` (perf_counter_ns); True where there is more."""
        if not self.active:
            return False
        more = self._counting and self._count(end)
        self._add_up_clients()
        if self.process_size is not None and end > self._watched_ns + WATCH_NS:
            self._watched_ns = end
            self._watch_process(self.process_size)
        budget = self.budget
        self.peak = max(self.peak, budget.used)
        if budget.used > budget.limit:
            more |= self.make_room() and budget.used > budget.limit and self._policy is not None
        return more

    def _watch_process(self, size: Callable[[], int]) -> None:
        """Lower the limit while the process is too large; raise it again little by little."""
        most = self.config.maxmemory
        if not most:
            return
        limit = within_process(most, size())
        if limit < most and self._watched_ns > self._trimmed_ns + TRIM_NS:
            self._trimmed_ns = self._watched_ns
            give_back()
            limit = within_process(most, size())
        self.budget.limit = min(limit, self.budget.limit + most // 100)

    def _add_up_clients(self) -> None:
        """Look at some clients; when all have been seen, the sum of what they take counts."""
        if not self._unseen:
            self._unseen = list(self.clients.values())
        some, self._unseen = self._unseen[:CLIENTS], self._unseen[CLIENTS:]
        self._seen_bytes += sum(client.footprint for client in some)
        if not self._unseen:
            # Of clients that take more than maxmemory-clients some are about to go.
            most = self.config.maxmemory_clients.of(self.config.maxmemory)
            size = min(self._seen_bytes, most) if most else self._seen_bytes
            self.budget.used += size - self._client_bytes
            self._client_bytes, self._seen_bytes = size, 0
