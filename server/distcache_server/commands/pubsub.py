"""The pub/sub commands: channels, patterns, shard channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import Failure, UnknownSubcommandOrArity
from distcache_server.glob import matcher
from distcache_server.registry import (
    FAST,
    LOADING,
    MAY_REPLICATE,
    NOSCRIPT,
    PUBSUB,
    STALE,
    SUBSCRIBED,
    Keys,
    group,
)
from distcache_server.reply import Push, Replies

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("pubsub")

LISTEN = PUBSUB | NOSCRIPT | LOADING | STALE | SUBSCRIBED
SHARD_CHANNELS = Keys(last=-1, access="NOT_KEY")
SHARD_CHANNEL = Keys(access="NOT_KEY")


def _counted(
    client: Client,
    kind: bytes,
    names: Iterable[bytes],
    act: Callable[[Client, bytes], None],
    count: Callable[[], int],
) -> Replies:
    """Do it to each name; one message for each, with the number of subscriptions after it."""
    replies = Replies()
    for name in names:
        act(client, name)
        replies.append(Push([kind, name, count()]))
    client.enter(client.usual_state())
    return replies


def _none_left(kind: bytes, count: int) -> Replies:
    """What a client hears that unsubscribes from everything, when there was nothing."""
    return Replies([Push([kind, None, count])])


def _plain(client: Client) -> Callable[[], int]:
    """Counts channels and patterns together, as their messages do."""
    return lambda: len(client.channels) + len(client.patterns)


@command("SUBSCRIBE channel [channel ...]", LISTEN, since="2.0.0", complexity="O(N)")
def subscribe(client: Client, words: Args) -> Any:
    """Has messages sent to this client from channels."""
    act = client.engine.pubsub.subscribe
    return _counted(client, b"subscribe", words[1:], act, _plain(client))


@command("UNSUBSCRIBE [channel [channel ...]]", LISTEN, since="2.0.0", complexity="O(N)")
def unsubscribe(client: Client, words: Args) -> Any:
    """Ends subscriptions to channels, or all of them."""
    names = words[1:] or list(client.channels)
    if not names:
        return _none_left(b"unsubscribe", _plain(client)())
    act = client.engine.pubsub.unsubscribe
    return _counted(client, b"unsubscribe", names, act, _plain(client))


@command("PSUBSCRIBE pattern [pattern ...]", LISTEN, since="2.0.0", complexity="O(N)")
def psubscribe(client: Client, words: Args) -> Any:
    """Has messages sent to this client from channels that match patterns."""
    act = client.engine.pubsub.subscribe_pattern
    return _counted(client, b"psubscribe", words[1:], act, _plain(client))


@command("PUNSUBSCRIBE [pattern [pattern ...]]", LISTEN, since="2.0.0", complexity="O(N)")
def punsubscribe(client: Client, words: Args) -> Any:
    """Ends subscriptions to patterns, or all of them."""
    names = words[1:] or list(client.patterns)
    if not names:
        return _none_left(b"punsubscribe", _plain(client)())
    act = client.engine.pubsub.unsubscribe_pattern
    return _counted(client, b"punsubscribe", names, act, _plain(client))


@command(
    "SSUBSCRIBE shardchannel [shardchannel ...]",
    LISTEN,
    keys=SHARD_CHANNELS,
    since="7.0.0",
    complexity="O(N)",
)
def ssubscribe(client: Client, words: Args) -> Any:
    """Has messages sent to this client from shard channels."""
    if client.engine.in_transaction:
        raise Failure(b"SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
    act = client.engine.pubsub.subscribe_shard
    return _counted(client, b"ssubscribe", words[1:], act, lambda: len(client.shard_channels))


@command(
    "SUNSUBSCRIBE [shardchannel [shardchannel ...]]",
    LISTEN,
    keys=SHARD_CHANNELS,
    since="7.0.0",
    complexity="O(N)",
)
def sunsubscribe(client: Client, words: Args) -> Any:
    """Ends subscriptions to shard channels, or all of them."""
    names = words[1:] or list(client.shard_channels)
    if not names:
        return _none_left(b"sunsubscribe", 0)
    act = client.engine.pubsub.unsubscribe_shard
    return _counted(client, b"sunsubscribe", names, act, lambda: len(client.shard_channels))


SEND = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE


@command("PUBLISH channel message", SEND, since="2.0.0", complexity="O(N+M)")
def publish(client: Client, words: Args) -> int:
    """Sends a message to whoever listens to a channel."""
    _, channel, message = words
    return client.engine.pubsub.publish(channel, message)


@command(
    "SPUBLISH shardchannel message", SEND, keys=SHARD_CHANNEL, since="7.0.0", complexity="O(N)"
)
def spublish(client: Client, words: Args) -> int:
    """Sends a message to whoever listens to a shard channel."""
    _, channel, message = words
    return client.engine.pubsub.publish_shard(channel, message)


@command("PUBSUB", since="2.8.0", arity=-2, complexity="Depends on subcommand.", help="6.2.0")
def pubsub(_: Client, __: Args) -> Any:
    """Tells of channels and subscriptions."""


LOOK = PUBSUB | LOADING | STALE


def _matching(names: Iterable[bytes], words: Args) -> list[bytes]:
    if len(words) > 3:
        raise UnknownSubcommandOrArity(words[1], b"PUBSUB")
    if len(words) == 2:
        return list(names)
    matches = matcher(words[2])
    return [name for name in names if matches(name)]


@command("PUBSUB CHANNELS [pattern]", LOOK, sub=True, since="2.8.0", complexity="O(N)")
def pubsub_channels(client: Client, words: Args) -> Any:
    """Lists the channels that somebody listens to."""
    return _matching(client.engine.pubsub.channels, words)


@command("PUBSUB NUMSUB [channel [channel ...]]", LOOK, sub=True, since="2.8.0", complexity="O(N)")
def pubsub_numsub(client: Client, words: Args) -> Any:
    """Counts who listens to each channel."""
    channels = client.engine.pubsub.channels
    return [part for name in words[2:] for part in (name, len(channels.get(name, ())))]


@command("PUBSUB NUMPAT", LOOK, sub=True, since="2.8.0")
def pubsub_numpat(client: Client, _: Args) -> int:
    """Counts the patterns that somebody listens to."""
    return len(client.engine.pubsub.patterns)


@command("PUBSUB SHARDCHANNELS [pattern]", LOOK, sub=True, since="7.0.0", complexity="O(N)")
def pubsub_shardchannels(client: Client, words: Args) -> Any:
    """Lists the shard channels that somebody listens to."""
    return _matching(client.engine.pubsub.shard_channels, words)


@command(
    "PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]",
    LOOK,
    sub=True,
    since="7.0.0",
    complexity="O(N)",
)
def pubsub_shardnumsub(client: Client, words: Args) -> Any:
    """Counts who listens to each shard channel."""
    channels = client.engine.pubsub.shard_channels
    return [part for name in words[2:] for part in (name, len(channels.get(name, ())))]
