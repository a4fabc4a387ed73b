"""XGROUP and XACK: consumer groups are made, and done with entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer
from distcache_server.commands.stream_reading import read_stream
from distcache_server.errors import UnknownSubcommandOrArity
from distcache_server.events import STREAM
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, WRITE, Flag, Keys, group
from distcache_server.reply import OK
from distcache_server.stream_errors import (
    BadEntriesRead,
    GroupExists,
    NoGroupAtKey,
    NoStreamForGroup,
)
from distcache_server.types.consumer_group import UNKNOWN, Consumer, Group
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import bound, parsed

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("stream")


@command("XGROUP", arity=-2, since="5.0.0", complexity="Depends on subcommand.", help="5.0.0")
def xgroup(_: Client, __: Args) -> Any:
    """Changes the consumer groups of a stream."""


def sub(
    usage: str, flags: Flag, access: str, since: str = "5.0.0", complexity: str = "O(1)"
) -> Callable[..., Any]:
    """Declare a subcommand of XGROUP."""
    keys = Keys(2, access=f"RW {access}")
    return command(usage, flags, keys=keys, since=since, complexity=complexity, sub=True)


class _Options:
    """What stands behind the id in XGROUP CREATE and SETID."""

    def __init__(self, words: Args, creates: bool) -> None:
        self.make_stream = False
        self.read = UNKNOWN
        at = 5
        while at < len(words):
            option = words[at].upper()
            if creates and option == b"MKSTREAM":
                self.make_stream = True
                at += 1
            elif option == b"ENTRIESREAD" and at + 1 < len(words):
                self.read = integer(words[at + 1])
                if self.read < UNKNOWN:
                    raise BadEntriesRead
                at += 2
            else:
                raise UnknownSubcommandOrArity(words[1][:128], b"XGROUP")


def found(client: Client, key: bytes) -> Stream:
    """The stream at a key."""
    stream = client.keyspace.find_as(key, Stream)
    if stream is None:
        raise NoStreamForGroup
    return stream


def found_group(client: Client, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """A group of the stream at a key."""
    stream = found(client, key)
    group = stream.groups.get(name)
    if group is None:
        raise NoGroupAtKey(name, key)
    return stream, group


@sub(
    "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
    WRITE | DENYOOM,
    "INSERT",
)
def create(client: Client, words: Args) -> Any:
    """Adds a group to a stream."""
    keyspace, key, name, word = client.keyspace, words[2], words[3], words[4]
    options = _Options(words, creates=True)
    stream = keyspace.find_as(key, Stream)
    if stream is None and not options.make_stream:
        raise NoStreamForGroup
    if len(words) > 8:
        raise UnknownSubcommandOrArity(words[1][:128], b"XGROUP")
    new = Stream() if stream is None else stream
    last = new.last_id if word == b"$" else parsed(word)
    if stream is None:
        stream = new
        keyspace.replace(key, stream)
        keyspace.touch_watched(key)
    elif name in stream.groups:
        raise GroupExists
    stream.groups[name] = Group(last, options.read)
    keyspace.noted(key, b"xgroup-create", STREAM)
    return OK


@sub("XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]", WRITE, "UPDATE")
def setid(client: Client, words: Args) -> Any:
    """Says where a group goes on to read."""
    key, name, word = words[2], words[3], words[4]
    options = _Options(words, creates=False)
    stream, group = found_group(client, key, name)
    if len(words) not in (5, 7):
        raise UnknownSubcommandOrArity(words[1][:128], b"XGROUP")
    group.last_id = stream.last_id if word == b"$" else bound(word, 0)
    group.read = options.read
    client.keyspace.noted(key, b"xgroup-setid", STREAM)
    return OK


@sub(
    "XGROUP DESTROY key group",
    WRITE,
    "DELETE",
    complexity="O(N) where N is the number of entries in the group's pending entries list (PEL).",
)
def destroy(client: Client, words: Args) -> int:
    """Removes a group from a stream."""
    keyspace, key = client.keyspace, words[2]
    group = found(client, key).groups.pop(words[3], None)
    if group is None:
        return 0
    keyspace.graveyard.append(group)
    keyspace.noted(key, b"xgroup-destroy", STREAM)
    if key in keyspace.waiting:
        # Its consumers are to hear that it is gone.
        keyspace.ready[keyspace, key] = None
    return 1


@sub("XGROUP CREATECONSUMER key group consumer", WRITE | DENYOOM, "INSERT", since="6.2.0")
def createconsumer(client: Client, words: Args) -> int:
    """Adds a consumer to a group, unless it is there."""
    _, _, key, name, consumer = words
    keyspace = client.keyspace
    _, group = found_group(client, key, name)
    if consumer in group.consumers:
        return 0
    # While a log is replayed the clock stands at zero.
    group.consumers[consumer] = Consumer(keyspace.now_ms or client.engine.now_ms)
    keyspace.noted(key, b"xgroup-createconsumer", STREAM)
    return 1


@sub("XGROUP DELCONSUMER key group consumer", WRITE, "DELETE")
def delconsumer(client: Client, words: Args) -> int:
    """Removes a consumer with what it has pending; how much that was."""
    _, _, key, name, consumer = words
    _, group = found_group(client, key, name)
    if consumer not in group.consumers:
        return 0
    pending = group.remove(consumer)
    client.keyspace.noted(key, b"xgroup-delconsumer", STREAM)
    return pending


@command(
    "XACK key group id [id ...]",
    WRITE | FAST,
    keys=ONE_KEY("RW UPDATE"),
    since="5.0.0",
    complexity="O(1) for each message ID processed.",
)
def xack(client: Client, words: Args) -> int:
    """Takes entries off the pending list of a group; how many were on it."""
    keyspace, key = client.keyspace, words[1]
    stream = read_stream(keyspace, key)
    group = stream.groups.get(words[2]) if stream is not None else None
    if group is None:
        return 0
    count = sum(map(group.acknowledge, list(map(parsed, words[3:]))))
    if count:
        keyspace.noted(key)
    return count
