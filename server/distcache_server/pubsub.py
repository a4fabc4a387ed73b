"""Channels, patterns and shard channels, and who listens to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from distcache_server import events
from distcache_server.glob import matcher
from distcache_server.reply import RESP2, RESP3, Encoders, Push

if TYPE_CHECKING:
    from distcache_server.client import Client

Listeners = dict["Client", None]


class PubSub:
    """The subscriptions of a server."""

    def __init__(self) -> None:
        self.channels: dict[bytes, Listeners] = {}
        self.shard_channels: dict[bytes, Listeners] = {}
        self.patterns: dict[bytes, tuple[Callable[[bytes], bool], Listeners]] = {}

    def subscribe(self, client: Client, channel: bytes) -> None:
        client.channels[channel] = None
        self.channels.setdefault(channel, {})[client] = None

    def unsubscribe(self, client: Client, channel: bytes) -> None:
        client.channels.pop(channel, None)
        _leave(self.channels, client, channel)

    def subscribe_shard(self, client: Client, channel: bytes) -> None:
        client.shard_channels[channel] = None
        self.shard_channels.setdefault(channel, {})[client] = None

    def unsubscribe_shard(self, client: Client, channel: bytes) -> None:
        client.shard_channels.pop(channel, None)
        _leave(self.shard_channels, client, channel)

    def subscribe_pattern(self, client: Client, pattern: bytes) -> None:
        client.patterns[pattern] = None
        if pattern not in self.patterns:
            self.patterns[pattern] = matcher(pattern), {}
        self.patterns[pattern][1][client] = None

    def unsubscribe_pattern(self, client: Client, pattern: bytes) -> None:
        client.patterns.pop(pattern, None)
        entry = self.patterns.get(pattern)
        if entry is not None:
            entry[1].pop(client, None)
            if not entry[1]:
                del self.patterns[pattern]

    def forget(self, client: Client) -> None:
        """Drop all subscriptions of a client that is gone or was reset."""
        for channel in list(client.channels):
            self.unsubscribe(client, channel)
        for pattern in list(client.patterns):
            self.unsubscribe_pattern(client, pattern)
        for channel in list(client.shard_channels):
            self.unsubscribe_shard(client, channel)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send to everybody who listens; how many messages that were."""
        receivers = 0
        listeners = self.channels.get(channel)
        if listeners:
            receivers += _send(listeners, Push([b"message", channel, message]))
        for pattern, (matches, listening) in list(self.patterns.items()):
            if matches(channel):
                receivers += _send(listening, Push([b"pmessage", pattern, channel, message]))
        return receivers

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Send to everybody who listens to the shard channel."""
        listeners = self.shard_channels.get(channel)
        return _send(listeners, Push([b"smessage", channel, message])) if listeners else 0

    def notifier(self, mask: int) -> Callable[[int, int, bytes, bytes], None] | None:
        """A function that publishes keyspace events of the classes in ``mask``; None for none."""
        if not mask & (events.KEYSPACE | events.KEYEVENT):
            return None

        def notify(database: int, kind: int, event: bytes, key: bytes) -> None:
            if not kind & mask:
                return
            if mask & events.KEYSPACE:
                self.publish(b"__keyspace@%d__:%b" % (database, key), event)
            if mask & events.KEYEVENT:
                self.publish(b"__keyevent@%d__:%b" % (database, event), key)

        return notify


def _leave(channels: dict[bytes, Listeners], client: Client, channel: bytes) -> None:
    listeners = channels.get(channel)
    if listeners is not None:
        listeners.pop(client, None)
        if not listeners:
            del channels[channel]


def _send(listeners: Listeners, message: Push) -> int:
    """Encode once for each protocol; a client may be closed by its output limit as we go."""
    encoded: dict[int, bytes] = {}
    tables: dict[int, Encoders] = {2: RESP2, 3: RESP3}
    for client in list(listeners):
        if client.aside is not None:
            client.aside.append(message)
            continue
        data = encoded.get(client.protocol)
        if data is None:
            data = encoded[client.protocol] = tables[client.protocol][Push](message)
        client.send(data)
    return len(listeners)
