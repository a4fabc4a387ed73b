"""Deadlines on a replica that takes writes (``replica-read-only no``).

A replica leaves it to its primary to say that a key has gone, and hides it meanwhile.  Of what its
own clients have written the primary says nothing: such keys go by themselves.  And a write that
meets a key past its deadline finds none there, as else it would be hidden with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distcache_server.arguments import Args
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace
    from distcache_server.registry import Command, Handler

READ_ONLY = "RO"
"""How the access to a key begins that is only read."""


class OwnDeadlines:
    """When the keys go that clients of this replica have written."""

    def __init__(self, databases: Sequence[Keyspace]) -> None:
        self._databases = databases
        self._known: dict[tuple[int, bytes], int] = {}
        """The deadline with which a key stands in the queue, by database and key."""
        self._queue: list[tuple[int, int, bytes]] = []

    def around(self, command: Command, handler: Handler) -> Handler:
        """Let a write remove what is past its deadline, and note the deadlines of its keys."""
        databases = self._databases

        def run(client: Client, words: Args) -> Any:
            for each in databases:
                each.frozen = False
            try:
                reply = handler(client, words)
            finally:
                for each in databases:
                    each.frozen = True
            if client.keyspace.deadlines.count:
                for at, access in command.find_keys(words):
                    if not access.startswith(READ_ONLY):
                        self._note(client.keyspace, words[at])
            return reply

        return run

    def _note(self, keyspace: Keyspace, key: bytes) -> None:
        place = keyspace.index, key
        deadline = keyspace.deadline(key)
        if deadline is not None and self._known.get(place) != deadline:
            self._known[place] = deadline
            heappush(self._queue, (deadline, *place))

    def expire(self, now_ms: int, end: int) -> bool:
        """Remove keys that are due until ``end`` (perf_counter_ns); True where some are left."""
        queue, known = self._queue, self._known
        while queue and queue[0][0] <= now_ms:
            noted, index, key = heappop(queue)
            if known.get((index, key)) != noted:
                continue
            del known[index, key]
            keyspace = self._databases[index]
            keyspace.now_ms = now_ms
            deadline = keyspace.deadline(key)
            if deadline is not None and deadline <= now_ms:
                keyspace.lapse(key)
            elif deadline is not None:
                self._note(keyspace, key)
            if perf_counter_ns() > end:
                return bool(queue)
        return False

    def clear(self) -> None:
        """The keys are others now, or go as those of a primary."""
        self._known, self._queue = {}, []
