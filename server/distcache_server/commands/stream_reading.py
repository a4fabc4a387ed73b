"""XREAD and XREADGROUP: the next entries of streams, for one reader or a group's consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import LONGEST_MS, Args, integer
from distcache_server.blocking import Wait
from distcache_server.errors import (
    NegativeTimeout,
    NotATimeout,
    SyntaxFailure,
    TimeoutTooLong,
    WrongType,
)
from distcache_server.events import STREAM
from distcache_server.registry import BLOCKING, READONLY, WRITE, Keys, group
from distcache_server.reply import ByKey, Entries, NullArray
from distcache_server.stream_errors import (
    GroupMissing,
    NoGroupToRead,
    NoLastId,
    NoNewId,
    OnlyOfXreadgroup,
    UnbalancedStreams,
)
from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import LARGEST, parsed, shown

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("stream")

NEW = LARGEST
"""The id that stands for ``>``: what was not yet delivered."""


class Request:
    """The words of XREAD or XREADGROUP."""

    def __init__(self, words: Args, grouped: bool) -> None:
        self.count = 0
        """The most entries of each stream; 0 for all."""
        self.timeout_ms: int | None = None
        self.group: bytes | None = None
        self.consumer = b""
        self.acknowledged = False
        """NOACK: what is delivered is not pending."""
        self.at = 0
        """Where the keys begin."""
        at = 1
        while at < len(words) and not self.at:
            at += self._option(words, at, grouped)
        if not self.at:
            raise SyntaxFailure
        if grouped and self.group is None:
            raise GroupMissing
        middle = (self.at + len(words)) // 2
        self.keys, self.ids = words[self.at : middle], words[middle:]

    def _option(self, words: Args, at: int, grouped: bool) -> int:
        """Take the option at this place; how many words it has."""
        option, more = words[at].upper(), len(words) - at - 1
        if option == b"BLOCK" and more:
            self.timeout_ms = _timeout(words[at + 1])
        elif option == b"COUNT" and more:
            self.count = max(integer(words[at + 1]), 0)
        elif option == b"STREAMS" and more:
            if more % 2:
                raise UnbalancedStreams(words[0].lower(), b">" if grouped else b"$")
            self.at = at + 1
        elif option == b"GROUP" and more >= 2:
            if not grouped:
                raise OnlyOfXreadgroup(b"GROUP")
            self.group, self.consumer = words[at + 1], words[at + 2]
            return 3
        elif option == b"NOACK":
            if not grouped:
                raise OnlyOfXreadgroup(b"NOACK")
            self.acknowledged = True
            return 1
        else:
            raise SyntaxFailure
        return 2

    def wait(self, words: Args, ids: list[int] | None, always: bool = False) -> Any:
        """Nothing is there: raise Wait, or return what says so."""
        if self.timeout_ms is None:
            return NullArray
        wait = Wait(self.keys, Stream, self.timeout_ms, always=always)
        if ids is not None:
            # Later "$" would be another id.
            wait.words = [*words[: self.at], *self.keys, *map(shown, ids)]
        raise wait


def _timeout(word: bytes) -> int:
    timeout = integer(word, NotATimeout)
    if timeout < 0:
        raise NegativeTimeout
    if timeout > LONGEST_MS:
        raise TimeoutTooLong
    return timeout


@command(
    "XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
    BLOCKING | READONLY,
    keys=Keys(keyword="STREAMS", last=-1, limit=2, access="RO ACCESS"),
    since="5.0.0",
)
def xread(client: Client, words: Args) -> Any:
    """Reads what came behind given ids in several streams, or waits for it."""
    request = Request(words, grouped=False)
    streams: list[Stream | None] = []
    ids: list[int] = []
    for key, word in zip(request.keys, request.ids, strict=True):
        streams.append(client.keyspace.read_as(key, Stream))
        ids.append(_after(word, streams[-1]))
    found = ByKey()
    for key, stream, number in zip(request.keys, streams, ids, strict=True):
        # Redis looks each up again.
        client.keyspace.count(key, stream)
        if stream is not None and stream.top_id > number:
            found.append((key, Entries(stream.range(number + 1, LARGEST, request.count))))
    return found or request.wait(words, ids)


def _after(word: bytes, stream: Stream | None) -> int:
    """The id behind which XREAD is to begin."""
    if word == b"$":
        return stream.last_id if stream is not None else 0
    if word == b">":
        raise NoNewId
    return parsed(word)


def read_stream(keyspace: Keyspace, key: bytes) -> Stream | None:
    """The stream at a key, to be changed; it counts as one that was read."""
    stream = keyspace.find(key)
    keyspace.count(key, stream)
    if stream is None or type(stream) is Stream:
        return stream
    raise WrongType


class _Source:
    """A stream that a consumer reads from, and what the log gets of that."""

    def __init__(self, client: Client, key: bytes, request: Request) -> None:
        stream = read_stream(client.keyspace, key)
        assert request.group is not None
        group = stream.groups.get(request.group) if stream is not None else None
        if stream is None or group is None:
            raise NoGroupToRead(key, request.group)
        self.key = key
        self.stream: Stream = stream
        self.group: Group = group
        self.group_name = request.group
        self.name = request.consumer
        self.effects: list[Args] = []

    def read(self, keyspace: Keyspace, number: int, request: Request) -> Any:
        """The entries for this consumer; None where a client may wait for some."""
        consumer, now_ms = self._consumer(keyspace), keyspace.now_ms
        if number != NEW:
            return self._history(consumer, number, now_ms, request.count)
        if self.stream.top_id <= self.group.last_id:
            return None
        entries = self.stream.range(self.group.last_id + 1, LARGEST, request.count)
        numbers = [each for each, _ in entries]
        self.stream.read_on(self.group, numbers)
        if not request.acknowledged:
            self._deliver(consumer, numbers, now_ms)
        self.effects.append(
            [
                *(b"XGROUP", b"SETID", self.key, self.group_name, shown(self.group.last_id)),
                *(b"ENTRIESREAD", b"%d" % self.group.read),
            ]
        )
        return Entries(entries)

    def _consumer(self, keyspace: Keyspace) -> Consumer:
        consumer = self.group.consumers.get(self.name)
        if consumer is None:
            consumer = self.group.consumers[self.name] = Consumer(keyspace.now_ms)
            keyspace.noted(self.key, b"xgroup-createconsumer", STREAM)
            self.effects.append(
                [b"XGROUP", b"CREATECONSUMER", self.key, self.group_name, self.name]
            )
        consumer.seen_ms = keyspace.now_ms
        return consumer

    def _deliver(self, consumer: Consumer, numbers: list[int], now_ms: int) -> None:
        group = self.group
        for number in numbers:
            # After XGROUP SETID it may be pending already, for anybody.
            delivery = group.pending.get(number)
            if delivery is None:
                group.deliver(number, Delivery(self.name, now_ms, 1))
            else:
                group.hand_over(number, delivery, self.name)
                delivery.time_ms, delivery.count = now_ms, 1
        consumer.active_ms = now_ms
        self.effects.append(self.claim(numbers, now_ms, 1))

    def _history(self, consumer: Consumer, number: int, now_ms: int, count: int) -> list[Any]:
        """What is pending for the consumer; entries that are deleted have no words."""
        reply: list[Any] = []
        for each in consumer.pending.between(number + 1):
            words = self.stream.get(each)
            reply.append([shown(each), NullArray if words is None else words])
            delivery = self.group.pending.get(each)
            if words is not None and delivery is not None:
                delivery.time_ms = now_ms
                delivery.count += 1
                self.effects.append(self.claim([each], now_ms, delivery.count))
            if len(reply) == count:
                break
        return reply

    def claim(self, numbers: list[int], time_ms: int, count: int) -> Args:
        """The command that delivers entries to the consumer, wherever it runs."""
        return claim(self.key, self.group_name, self.name, self.group, numbers, time_ms, count)


def claim(
    key: bytes,
    group_name: bytes,
    name: bytes,
    group: Group,
    numbers: list[int],
    time_ms: int,
    count: int,
) -> Args:
    """XCLAIM that makes entries pending for a consumer, since then and for so many times."""
    return [
        *(b"XCLAIM", key, group_name, name, b"0", *map(shown, numbers)),
        *(b"TIME", b"%d" % time_ms, b"RETRYCOUNT", b"%d" % count),
        *(b"FORCE", b"JUSTID", b"LASTID", shown(group.last_id)),
    ]


@command(
    "XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS"
    " key [key ...] id [id ...]",
    BLOCKING | WRITE,
    keys=Keys(first=4, keyword="STREAMS", last=-1, limit=2, access="RO ACCESS"),
    since="5.0.0",
    complexity="For each stream mentioned: O(M) with M being the number of elements returned. If M "
    "is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it "
    "O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve "
    "the N clients blocked on the stream getting new data.",
)
def xreadgroup(client: Client, words: Args) -> Any:
    """Reads for a consumer of a group: new entries, or those that it has pending."""
    request = Request(words, grouped=True)
    keyspace = client.keyspace
    sources: list[tuple[_Source, int]] = []
    for key, word in zip(request.keys, request.ids, strict=True):
        source = _Source(client, key, request)
        if word == b"$":
            raise NoLastId
        sources.append((source, NEW if word == b">" else parsed(word)))
    found = ByKey()
    effects: list[Args] = []
    for source, number in sources:
        keyspace.count(source.key, source.stream)
        entries = source.read(keyspace, number, request)
        if entries is not None:
            found.append((source.key, entries))
        if source.effects:
            effects += source.effects
            keyspace.noted(source.key)
    if found or not effects or request.timeout_ms is None:
        client.effect = effects or None
        return found or request.wait(words, None, always=True)
    # The consumer is new, and stays so if the client waits.
    if client.engine.log is not None:
        client.effect = effects
        client.engine.log(client, words)
        client.effect = None
    return request.wait(words, None, always=True)
