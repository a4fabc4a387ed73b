"""XPENDING, XCLAIM and XAUTOCLAIM: what is delivered and not acknowledged, who takes it over."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, integer, integer_between
from distcache_server.commands.stream_reading import claim, read_stream
from distcache_server.errors import NotInteger, SyntaxFailure
from distcache_server.events import STREAM
from distcache_server.registry import FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import EMPTY_ARRAY, Entries, NullArray
from distcache_server.stream_errors import (
    BadClaimArgument,
    BadClaimCount,
    BadStreamId,
    NoGroup,
    UnknownClaimOption,
)
from distcache_server.types.consumer_group import Consumer, Group
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import end_of_range, parsed, shown, start_of_range

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Keyspace

command = group("stream")

ATTEMPTS = 10
"""Entries that XAUTOCLAIM looks at for each that it may claim."""
MOST_CLAIMED = INT64_MAX // 16


# XPENDING


@command(
    "XPENDING key group [[IDLE min-idle-time] start end count [consumer]]",
    READONLY,
    keys=ONE_KEY,
    since="5.0.0",
    tips="nondeterministic_output",
    complexity="O(N) with N being the number of elements returned, so asking for a small fixed "
    "number of entries per call is O(1). O(M), where M is the total number of entries scanned when "
    "used with the IDLE filter. When the command returns just the summary and the list of "
    "consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating "
    "every consumer.",
)
def xpending(client: Client, words: Args) -> Any:
    """Sums up or lists what consumers got and did not acknowledge."""
    keyspace, key, name, options = client.keyspace, words[1], words[2], words[3:]
    idle_ms = 0
    if len(options) not in (0, 3, 4, 5, 6):
        raise SyntaxFailure
    if options and options[0].upper() == b"IDLE":
        idle_ms = integer(options[1])
        options = options[2:]
        if len(options) < 3:
            raise SyntaxFailure
    if options:
        count = max(integer(options[2]), 0)
        start, end = start_of_range(options[0]), end_of_range(options[1])
    stream = keyspace.read_as(key, Stream)
    group = stream.groups.get(name) if stream is not None else None
    if group is None:
        raise NoGroup(key, name)
    if not options:
        return _summary(group)
    pending = group.pending
    if len(options) > 3:
        consumer = group.consumers.get(options[3])
        if consumer is None:
            return EMPTY_ARRAY
        pending = consumer.pending
    now_ms = keyspace.now_ms
    found: list[Any] = []
    for number, it in pending.deliveries(start, end) if count else ():
        if not idle_ms or now_ms - it.time_ms >= idle_ms:
            found.append([shown(number), it.consumer, max(now_ms - it.time_ms, 0), it.count])
            if len(found) == count:
                break
    return found


def _summary(group: Group) -> list[Any]:
    pending = group.pending
    if not pending:
        return [0, None, None, NullArray]
    consumers = [
        [name, b"%d" % len(consumer.pending)]
        for name, consumer in sorted(group.consumers.items())
        if consumer.pending
    ]
    return [len(pending), shown(pending.first), shown(pending.last), consumers]


# Claiming


class _Claim:
    """A consumer takes entries over; what the client hears of it, and the log."""

    def __init__(self, client: Client, words: Args) -> None:
        self.client = client
        self.keyspace: Keyspace = client.keyspace
        self.now_ms = client.keyspace.now_ms
        self.key, self.group_name, self.name = words[1:4]
        stream = read_stream(client.keyspace, self.key)
        group = stream.groups.get(self.group_name) if stream is not None else None
        if stream is None or group is None:
            raise NoGroup(self.key, self.group_name)
        self.stream: Stream = stream
        self.group: Group = group
        self.idle_ms = 0
        """Entries that were delivered later than so long ago stay where they are."""
        self.just_id = False
        self.claimed: list[int] = []
        self.gone: list[int] = []
        """Entries that were pending, and are deleted from the stream."""
        self.effects: list[Args] = []
        self._counts: dict[tuple[int, int], list[int]] = {}
        """Claimed entries by the time of their delivery and their count."""

    def begin(self) -> None:
        """See to the consumer."""
        now_ms = self.now_ms
        consumer = self.group.consumers.get(self.name)
        if consumer is None:
            consumer = self.group.consumers[self.name] = Consumer(now_ms)
            self.keyspace.noted(self.key, b"xgroup-createconsumer", STREAM)
            self.effects.append(
                [b"XGROUP", b"CREATECONSUMER", self.key, self.group_name, self.name]
            )
        consumer.seen_ms = now_ms

    def drop(self, number: int) -> None:
        """The entry is no longer in the stream: nor shall it be pending."""
        self.group.acknowledge(number)
        self.gone.append(number)

    def is_idle(self, delivery: Delivery) -> bool:
        """Whether the entry was delivered so long ago that it may be claimed."""
        return not self.idle_ms or self.now_ms - delivery.time_ms >= self.idle_ms

    def take(self, number: int, delivery: Delivery, time_ms: int, count: int) -> None:
        """Claim an entry; it is then delivered so often."""
        self.group.hand_over(number, delivery, self.name)
        delivery.time_ms, delivery.count = time_ms, count
        self.note(number, delivery)

    def note(self, number: int, delivery: Delivery) -> None:
        """The entry is the consumer's."""
        self.claimed.append(number)
        self._counts.setdefault((delivery.time_ms, delivery.count), []).append(number)

    def end(self) -> None:
        """Tell the log."""
        if self.claimed:
            self.group.consumers[self.name].active_ms = self.now_ms
        for (time_ms, count), numbers in self._counts.items():
            names = self.key, self.group_name, self.name
            self.effects.append(claim(*names, self.group, numbers, time_ms, count))
        if self.gone:
            self.effects.append([b"XACK", self.key, self.group_name, *map(shown, self.gone)])
        if self.effects:
            self.keyspace.noted(self.key)
            self.client.effect = self.effects

    def reply(self) -> Any:
        """The ids, or the entries."""
        if self.just_id:
            return list(map(shown, self.claimed))
        entries = ((number, self.stream.get(number)) for number in self.claimed)
        return Entries([(number, words) for number, words in entries if words is not None])


def _number(word: bytes, what: bytes, name: bytes) -> int:
    try:
        return integer(word)
    except NotInteger:
        raise BadClaimArgument(what, name) from None


class _ClaimOptions:
    """What stands behind the ids in XCLAIM."""

    def __init__(self, words: Args, now_ms: int) -> None:
        self.time_ms = self.retries = -1
        self.last_id = 0
        self.force = self.just_id = False
        rest = iter(words)
        for word in rest:
            option = word.upper()
            if option == b"FORCE":
                self.force = True
            elif option == b"JUSTID":
                self.just_id = True
            else:
                value = next(rest, None)
                if value is None or not self._take(option, value, now_ms):
                    raise UnknownClaimOption(word)
        if not 0 <= self.time_ms <= now_ms:
            self.time_ms = now_ms

    def _take(self, option: bytes, value: bytes, now_ms: int) -> bool:
        if option == b"IDLE":
            self.time_ms = now_ms - _number(value, b"IDLE option", b"XCLAIM")
        elif option == b"TIME":
            self.time_ms = _number(value, b"TIME option", b"XCLAIM")
        elif option == b"RETRYCOUNT":
            self.retries = _number(value, b"RETRYCOUNT option", b"XCLAIM")
        elif option == b"LASTID":
            self.last_id = parsed(value)
        else:
            return False
        return True


def _ids(words: Args) -> list[int]:
    """The ids that these words begin with."""
    found = []
    for word in words:
        try:
            found.append(parsed(word))
        except BadStreamId:
            break
    return found


@command(
    "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds]"
    " [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
    WRITE | FAST,
    keys=ONE_KEY("RW UPDATE"),
    since="5.0.0",
    tips="nondeterministic_output",
    complexity="O(log N) with N being the number of messages in the PEL of the consumer group.",
)
def xclaim(client: Client, words: Args) -> Any:
    """Gives the pending entries of these ids to another consumer."""
    it = _Claim(client, words)
    it.idle_ms = _number(words[4], b"min-idle-time", b"XCLAIM")
    numbers = _ids(words[5:])
    # While a log is replayed the clock stands at zero, and what it says of times holds.
    options = _ClaimOptions(words[5 + len(numbers) :], it.now_ms or client.engine.now_ms)
    it.now_ms = it.now_ms or options.time_ms
    it.just_id = options.just_id
    group = it.group
    if options.last_id > group.last_id:
        group.last_id = options.last_id
        it.effects.append(
            [
                *(b"XGROUP", b"SETID", it.key, it.group_name, shown(group.last_id)),
                *(b"ENTRIESREAD", b"%d" % group.read),
            ]
        )
    it.begin()
    for number in numbers:
        delivery = group.pending.get(number)
        if number not in it.stream:
            if delivery is not None:
                it.drop(number)
        elif delivery is None:
            if options.force:
                count = options.retries if options.retries >= 0 else 1 + (not options.just_id)
                delivery = Delivery(it.name, options.time_ms, count)
                group.deliver(number, delivery)
                it.note(number, delivery)
        elif it.is_idle(delivery):
            count = delivery.count + (not options.just_id)
            if options.retries >= 0:
                count = options.retries
            it.take(number, delivery, options.time_ms, count)
    it.end()
    return it.reply()


@command(
    "XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]",
    WRITE | FAST,
    keys=ONE_KEY("RW DELETE"),
    since="6.2.0",
    tips="nondeterministic_output",
    complexity="O(1) if COUNT is small.",
)
def xautoclaim(client: Client, words: Args) -> Any:
    """Gives pending entries that were idle for long to another consumer."""
    idle_ms = _number(words[4], b"min-idle-time", b"XAUTOCLAIM")
    start = start_of_range(words[5])
    count, just_id = 100, False
    rest = iter(words[6:])
    for word in rest:
        option = word.upper()
        value = next(rest, None) if option == b"COUNT" else None
        if value is not None:
            count = integer_between(value, 1, MOST_CLAIMED, BadClaimCount)
        elif option == b"JUSTID":
            just_id = True
        else:
            raise SyntaxFailure
    it = _Claim(client, words)
    it.idle_ms, it.just_id = idle_ms, just_id
    it.begin()
    now_ms = client.keyspace.now_ms
    pending = it.group.pending.deliveries(start)
    cursor = 0
    for at, (number, delivery) in enumerate(
        list(islice(pending, min(count, 1 << 32) * ATTEMPTS + 1))
    ):
        if len(it.claimed) + len(it.gone) == count or at == count * ATTEMPTS:
            cursor = number
            break
        if number not in it.stream:
            it.drop(number)
        elif it.is_idle(delivery):
            it.take(number, delivery, now_ms, delivery.count + (not just_id))
    it.end()
    return [shown(cursor), it.reply(), list(map(shown, it.gone))]
