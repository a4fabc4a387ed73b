"""The reserved key: a stream that is not stored, and that shows what happens to all other keys.

Its entries come from the process of the changefeed, which is started when somebody reads and ended
when nobody has for a while.  Who reads waits, as blocked clients do.  Consumer groups are those of
any stream; their commands run on a stream that holds just the entries they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from distcache_replication.changefeed.position import Position, before_snapshot

from distcache_server import logs
from distcache_server.arguments import Args, integer, options
from distcache_server.blocking import Wait
from distcache_server.changefeed import settings
from distcache_server.changefeed.groups import Groups
from distcache_server.changefeed.peer import Failed, Gone, Peer
from distcache_server.changefeed.process import Process, snapshot_offset
from distcache_server.commands.stream_pending import ATTEMPTS
from distcache_server.commands.stream_reading import NEW, Request
from distcache_server.errors import (
    ChangefeedAlone,
    ChangefeedFailed,
    ChangefeedWaits,
    CommandError,
    ReservedKey,
)
from distcache_server.registry import Command, Flag, Handler
from distcache_server.reply import EMPTY_ARRAY, ByKey, Entries, NullArray
from distcache_server.reserved import CHANGEFEED, READS_CHANGEFEED
from distcache_server.stream_errors import NoLastId, NoNewId
from distcache_server.types.stream_id import (
    BITS,
    LARGEST,
    SEQUENCE,
    end_of_range,
    parsed,
    shown,
    start_of_range,
)

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.persistence import Persistence

MOST = 10_000
"""Entries in a reply."""
IDLE_S = 60.0
"""The process is ended when nobody has read for so long."""
LOOK_S = 1.0
TRIES = 5
"""The process is asked so often where it ended meanwhile, or what it read was gone, ..."""
SOON_S = 60.0
"""... each time within so long; what we ended ourselves does not count."""
SNAPSHOT = b"snapshot"
"""In place of an id: all keys first."""

WRITES = int(Flag.WRITE)
Row = tuple[int, list[bytes]]
Serve = Callable[["Changefeed", "Client", Args], Any]


def number_of(position: Position) -> int:
    """A position as the id of an entry."""
    return position.offset << BITS | position.number


def position_of(number: int) -> Position:
    """The position that an id names; no log comes to where ids end."""
    return Position(min(number >> BITS, (1 << 63) - 1), min(number & SEQUENCE, (1 << 63) - 1))


class Changefeed:
    """The stream of a server."""

    def __init__(self, engine: Engine, persistence: Persistence) -> None:
        self.engine = engine
        self.persistence = persistence
        self.loop = persistence.loop
        self.groups = Groups(engine.config, persistence)
        self.process: Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._renewals = 0
        """How often a process was of no use any more."""
        self.readers = 0
        """Those who wait for the process."""
        self._used_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._following = False
        self._look: asyncio.TimerHandle | None = None
        engine.feed = self
        engine.rebuild()
        engine.config.on_change(self._renew, *settings.NAMES)

    # Around the handlers

    def around(self, command: Command, handler: Handler) -> Handler:
        """The handler of a command that knows the reserved key, or must not touch it."""
        if command.name in READS_CHANGEFEED:
            return self._serving(command, handler, SERVES.get(command.name, _by_groups))
        if command.bits & WRITES and not _is_of_one_key(command):
            return self._guarding(command, handler)
        return handler

    def _serving(self, command: Command, handler: Handler, serve: Serve) -> Handler:
        def run(client: Client, words: Args) -> Any:
            if CHANGEFEED in words and _has_key(command, words):
                self._follow_log()
                return serve(self, client, words)
            return handler(client, words)

        return run

    def _guarding(self, command: Command, handler: Handler) -> Handler:
        def run(client: Client, words: Args) -> Any:
            if CHANGEFEED in words and _has_key(command, words):
                raise ReservedKey
            return handler(client, words)

        return run

    # The log

    def _follow_log(self) -> None:
        """Like a replica, who reads wants the log whether the disk does or not."""
        self._used_s = monotonic()
        if self._following:
            return
        self._following = True
        it = self.persistence
        if not it.journal.active and not self.engine.follows:
            # Nobody knows what was written until now: no position of before may seem to be good.
            it.log.restart(it.log.end + 1)
        it.journal.attach()
        self._look_later()

    def _leave_log(self) -> None:
        self._following = False
        self.persistence.journal.detach()

    # The process

    async def _peer(self) -> Peer:
        """The process, which is started if need be; raises Gone where that is in vain."""
        if self._starting is None and not self._is_of_use:
            if self.process is not None and self.process.is_up:
                # Who waits there goes on at the next, and that is no failure.
                self._renewals += 1
            # Not by one reader, who may be gone before it is done.
            self._starting = self._begin(self._start())
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self.process is None or self.process.peer is None:
            raise Gone
        return self.process.peer

    @property
    def _is_of_use(self) -> bool:
        """There is a process, and what it follows is our log."""
        process = self.process
        return process is not None and process.is_up and process.is_of_our_history

    async def _start(self) -> None:
        try:
            await self._end_process()
            while self.process is None:
                renewals = self._renewals
                process = Process(self.persistence)
                try:
                    await process.start()
                except (OSError, Gone, Failed) as error:
                    logs.warning("The changefeed cannot be started", reason=str(error))
                    await process.stop()
                    break
                if renewals == self._renewals:
                    self.process = process
                else:
                    # It began with settings that have changed meanwhile.
                    await process.stop()
        finally:
            self._starting = None

    async def _end_process(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            await process.stop()

    async def call(self, name: str, *arguments: Any) -> Any:
        """Ask the process; raises ChangefeedFailed."""
        reason = ""
        failures = 0
        self.readers += 1
        try:
            while failures < TRIES and not self._closing:
                renewals, asked_s = self._renewals, monotonic()
                try:
                    return await (await self._peer()).call(name, *arguments)
                except Gone:
                    reason = "its process has ended"
                except Failed as error:
                    reason = str(error)
                if renewals == self._renewals:
                    failures = failures + 1 if monotonic() - asked_s < SOON_S else 1
        finally:
            self.readers -= 1
            self._used_s = monotonic()
        logs.warning("The changefeed cannot be read", reason=reason)
        raise ChangefeedFailed(reason.encode())

    def _look_later(self) -> None:
        if not self._closing:
            self._look = self.loop.call_later(LOOK_S, self._look_after)

    def _look_after(self) -> None:
        """End the process if it is of no use, or follows a log that is not ours any more."""
        unused = not self.readers and monotonic() - self._used_s > IDLE_S
        if self.process is not None and not self._is_of_use:
            self._renew()
        if unused:
            self._begin(self._end_process())
            self._leave_log()
        else:
            self._look_later()

    def _renew(self) -> None:
        """Begin anew, with other settings or another log; readers go on where they are."""
        self._renewals += 1
        if self.process is not None:
            self._begin(self._end_process())

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """The server stops."""
        self._closing = True
        if self._look is not None:
            self._look.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._end_process()
        await self.groups.stop()
        # These refer to each other; the collector is off.
        self.engine.feed = None

    # Waiting

    def wait(self, client: Client, work: Callable[[], Coroutine[Any, Any, Any]]) -> Wait:
        """To be raised: the client waits for the result of this."""
        if self.engine.in_transaction:
            raise ChangefeedWaits
        wait = Wait([], None, 0)
        task = self._begin(self._answer(client, wait, work()))

        def cancel() -> None:
            task.cancel()

        wait.cancel = cancel
        return wait

    async def _answer(self, client: Client, wait: Wait, work: Coroutine[Any, Any, Any]) -> None:
        blocking = self.engine.blocking
        try:
            reply = await work
        except CommandError as error:
            wait.cancel = None
            if client.blocked is wait:
                blocking.fail(client, error)
        except Exception as error:
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error in the changefeed", error)
            wait.cancel = None
            if client.blocked is wait:
                blocking.fail(client, ChangefeedFailed(b"an unexpected error"))
        else:
            wait.cancel = None
            if client.blocked is wait:
                blocking.answer(client, reply)

    # Entries

    @property
    def end(self) -> Position:
        """All that is told of begins before this."""
        return Position(self.persistence.log.frontier)

    def id_of(self, word: bytes) -> int:
        """An id that a client begins with."""
        if word.lower() == SNAPSHOT:
            return number_of(before_snapshot(snapshot_offset(self.persistence)))
        if word == b"$":
            return number_of(self.end)
        return parsed(word)

    def is_ahead(self, position: Position) -> bool:
        """Whether our log has not come there: so it is of another one, or of what was lost of it.

        A replica may have it yet to come.
        """
        return not self.engine.follows and position.applied > self.persistence.log.end

    async def behind(self, number: int, count: int, timeout_ms: int | None) -> list[Row]:
        """The entries behind an id; waits for some where there is a time to (0: for ever)."""
        after = position_of(number)
        if self.is_ahead(after):
            after = before_snapshot(snapshot_offset(self.persistence))
        count = min(count or MOST, MOST)
        # What is there already is waited for as long as that takes.
        if after < self.end or after.in_snapshot:
            rows = _rows(await self.call("read", *after, count, self.end.offset))
            if rows:
                return rows
        if timeout_ms is None:
            return []
        end_s = monotonic() + timeout_ms / 1000 if timeout_ms else None
        beat_s = self.engine.config.changefeed_heartbeat / 1000
        while True:
            left_s = None if end_s is None else max(end_s - monotonic(), 0)
            is_last = not beat_s or (left_s is not None and left_s <= beat_s)
            try:
                async with asyncio.timeout(left_s if is_last else beat_s):
                    return _rows(await self.call("read", *after, count, None))
            except TimeoutError:
                if is_last:
                    return []
            found = _rows(await self.call("heartbeat", *after, count, self.end.offset))
            if found:
                return found

    async def between(self, start: int, end: int, count: int, backwards: bool) -> list[Row]:
        """The entries between two ids, as many as a reply may have."""
        count = min(count or MOST, MOST)
        until = self.end.offset
        last = min(position_of(end), Position(until))
        return _rows(await self.call("range", position_of(start), last, count, until, backwards))

    async def pick(self, numbers: list[int]) -> list[Row]:
        """The entries with these ids that there are."""
        if not numbers:
            return []
        ids = [tuple(position_of(number)) for number in sorted(numbers)]
        return _rows(await self.call("pick", ids, self.end.offset))

    async def count(self) -> tuple[int, list[Row]]:
        """How many entries there are, and the first of them."""
        total, first = await self.call("count", self.end.offset)
        return total, _rows(first)


def _rows(found: list[list[Any]]) -> list[Row]:
    return [(offset << BITS | number, words) for offset, number, words in found]


def _is_of_one_key(command: Command) -> bool:
    """Then the keyspace refuses the reserved key, before anything has changed."""
    places = command.keys
    return not places or (
        len(places) == 1
        and not (places[0].last or places[0].keyword or places[0].numkeys or places[0].unknown)
    )


def _has_key(command: Command, words: Args) -> bool:
    return any(words[at] == CHANGEFEED for at, _ in command.find_keys(words))


# The commands


def _alone(request: Request) -> None:
    if request.keys != [CHANGEFEED]:
        raise ChangefeedAlone


def xread(feed: Changefeed, client: Client, words: Args) -> Any:
    request = Request(words, grouped=False)
    _alone(request)
    if request.ids[0] == b">":
        raise NoNewId
    number = feed.id_of(request.ids[0])

    async def read() -> Any:
        rows = await feed.behind(number, request.count, request.timeout_ms)
        return ByKey([(CHANGEFEED, Entries(rows))]) if rows else NullArray

    raise feed.wait(client, read)


def xreadgroup(feed: Changefeed, client: Client, words: Args) -> Any:
    request = Request(words, grouped=True)
    _alone(request)
    word = request.ids[0]
    if word == b"$":
        raise NoLastId
    number = NEW if word == b">" else parsed(word)
    assert request.group is not None
    feed.groups.to_read(request.group)
    raise feed.wait(client, partial(_read_group, feed, words, request, number))


async def _read_group(feed: Changefeed, words: Args, request: Request, number: int) -> Any:
    groups, name = feed.groups, request.group
    assert name is not None
    if number != NEW:
        consumer = groups.to_read(name).consumers.get(request.consumer)
        ids = list(consumer.pending.between(number + 1)) if consumer is not None else []
        rows = await feed.pick(ids[: min(request.count or MOST, MOST)])
        return groups.run(words, rows, feed.end)
    end_s = monotonic() + request.timeout_ms / 1000 if request.timeout_ms else None
    timeout_ms = request.timeout_ms
    while True:
        group = groups.to_read(name)
        if feed.is_ahead(position_of(group.last_id)):
            group.last_id = feed.id_of(SNAPSHOT)
        rows = await feed.behind(group.last_id, request.count, timeout_ms)
        try:
            return groups.run(words, rows, feed.end)
        except Wait:
            # Nothing came, or another consumer was quicker.
            if not rows or timeout_ms is None:
                return NullArray
        if end_s is not None:
            timeout_ms = max(int((end_s - monotonic()) * 1000), 1)


def xrange_(feed: Changefeed, client: Client, words: Args) -> Any:
    return _range(feed, client, words, words[2], words[3], backwards=False)


def xrevrange(feed: Changefeed, client: Client, words: Args) -> Any:
    return _range(feed, client, words, words[3], words[2], backwards=True)


def _range(
    feed: Changefeed, client: Client, words: Args, first: bytes, last: bytes, backwards: bool
) -> Any:
    start, end = start_of_range(first), end_of_range(last)
    count = options(words[4:], {b"COUNT": integer}).get(b"COUNT")
    if count is not None and count <= 0:
        return NullArray
    if start > end:
        return EMPTY_ARRAY

    async def read() -> Any:
        return Entries(await feed.between(start, end, count or 0, backwards))

    raise feed.wait(client, read)


def xlen(feed: Changefeed, client: Client, _: Args) -> Any:
    async def read() -> int:
        return (await feed.count())[0]

    raise feed.wait(client, read)


def xinfo_stream(feed: Changefeed, client: Client, words: Args) -> Any:
    feed.groups.run(words, [], feed.end)  # refuses what is no such command

    async def read() -> Any:
        total, first = await feed.count()
        last = await feed.between(0, LARGEST, 1, backwards=True)
        facts = feed.groups.run(
            words, [*first, *(row for row in last if row not in first)], feed.end
        )
        facts[b"length"] = facts[b"entries-added"] = total
        return facts

    raise feed.wait(client, read)


def xclaim(feed: Changefeed, client: Client, words: Args) -> Any:
    feed.groups.of(words[2])
    ids = []
    for word in words[5:]:
        try:
            ids.append(parsed(word))
        except CommandError:
            break

    async def claim() -> Any:
        return feed.groups.run(words, await feed.pick(ids), feed.end)

    raise feed.wait(client, claim)


def xautoclaim(feed: Changefeed, client: Client, words: Args) -> Any:
    start, count = start_of_range(words[5]), 100
    words = words[:]
    for at in range(6, len(words) - 1):
        if words[at].upper() == b"COUNT" and words[at + 1].isdigit():
            count = min(int(words[at + 1]), MOST // ATTEMPTS)
            words[at + 1] = b"%d" % count
    feed.groups.of(words[2])

    async def claim() -> Any:
        rows: dict[int, list[bytes]] = {}
        known: set[int] = set()
        # Each entry that is looked at must be here: of one that is not it is thought that it went.
        while missing := [it for it in seen() if it not in known]:
            rows |= dict(await feed.pick(missing))
            known.update(missing)
        return feed.groups.run(words, sorted(rows.items()), feed.end)

    def seen() -> list[int]:
        pending = feed.groups.of(words[2]).pending
        return list(islice(pending.between(start), count * ATTEMPTS + 1))

    raise feed.wait(client, claim)


def _by_groups(feed: Changefeed, _: Client, words: Args) -> Any:
    """A command that is only about the groups."""
    if words[0].upper() == b"XGROUP" and words[1].upper() in (b"CREATE", b"SETID"):
        words = [*words[:4], shown(feed.id_of(words[4])) if words[4] != b"-" else b"0", *words[5:]]
    reply = feed.groups.run(words, [], feed.end)
    if words[1].upper() == b"DESTROY" and reply:
        _end_reads(feed)
    return reply


def _end_reads(feed: Changefeed) -> None:
    """Tell those who wait to read in a group that is gone."""
    blocking = feed.engine.blocking
    for client in list(blocking.clients):
        wait = client.blocked
        if wait is None or wait.command is None or wait.command.name != "xreadgroup":
            continue
        request = Request(wait.words, grouped=True)
        if request.keys == [CHANGEFEED]:
            try:
                feed.groups.to_read(request.group or b"")
            except CommandError as error:
                blocking.fail(client, error)


SERVES: dict[str, Serve] = {
    "xread": xread,
    "xreadgroup": xreadgroup,
    "xrange": xrange_,
    "xrevrange": xrevrange,
    "xlen": xlen,
    "xinfo|stream": xinfo_stream,
    "xclaim": xclaim,
    "xautoclaim": xautoclaim,
}
