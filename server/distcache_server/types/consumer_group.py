"""A consumer group of a stream: how far it has read, and who has which entries in hand."""

from __future__ import annotations

from distcache_server.types.pending_list import BYTES, Delivery, PendingList

UNKNOWN = -1
"""So many entries were read, where nobody knows it."""
NEVER = -1
"""When a consumer was active that never was."""
DRAINED = 1000
"""Deliveries that are freed together."""
CONSUMER = 600
"""What a consumer takes besides its deliveries."""


class Consumer:
    """A member of a group."""

    __slots__ = ("active_ms", "pending", "seen_ms")

    def __init__(self, seen_ms: int, active_ms: int = NEVER) -> None:
        self.seen_ms = seen_ms
        """When it last asked for entries."""
        self.active_ms = active_ms
        """When it last got one."""
        self.pending = PendingList()


class Group:
    """Consumers who share the entries of a stream."""

    __slots__ = ("consumers", "last_id", "pending", "read")

    def __init__(self, last_id: int, read: int = UNKNOWN) -> None:
        self.last_id = last_id
        """The last id that was delivered."""
        self.read = read
        """How many entries that makes since the stream began, or UNKNOWN."""
        self.pending = PendingList()
        self.consumers: dict[bytes, Consumer] = {}

    def copy(self) -> Group:
        other = Group(self.last_id, self.read)
        for name, consumer in self.consumers.items():
            other.consumers[name] = Consumer(consumer.seen_ms, consumer.active_ms)
        for number, delivery in self.pending.deliveries():
            other.deliver(number, delivery.copy())
        return other

    def deliver(self, number: int, delivery: Delivery) -> None:
        """Put an entry that is pending for nobody into the hands of a consumer of the group."""
        self.pending.put(number, delivery)
        self.consumers[delivery.consumer].pending.put(number, delivery)

    def hand_over(self, number: int, delivery: Delivery, name: bytes) -> None:
        """Give a pending entry to another consumer of the group, or the same."""
        if delivery.consumer != name:
            self.consumers[delivery.consumer].pending.pop(number)
            delivery.consumer = name
            self.consumers[name].pending.put(number, delivery)

    def acknowledge(self, number: int) -> bool:
        """An entry is done with; False if it is not pending."""
        delivery = self.pending.pop(number)
        if delivery is None:
            return False
        self.consumers[delivery.consumer].pending.pop(number)
        return True

    def remove(self, name: bytes) -> int:
        """Remove a consumer and what is pending for it; how many entries that is."""
        consumer = self.consumers.pop(name)
        for number in consumer.pending.between(0):
            self.pending.pop(number)
        return len(consumer.pending)

    def release(self) -> None:
        """Who read the group is done."""
        self.pending.release()
        for consumer in self.consumers.values():
            consumer.pending.release()

    def memory(self) -> int:
        """Bytes that it takes."""
        return CONSUMER * (1 + len(self.consumers)) + BYTES * len(self.pending)

    def drain(self) -> bool:
        """Free a part of a group that is no longer used; False where nothing is left."""
        if self.consumers:
            pending = next(iter(self.consumers.values())).pending
            if not pending.drain(DRAINED):
                self.consumers.popitem()
                self.consumers = {**self.consumers}
            return True
        return self.pending.drain(DRAINED)
