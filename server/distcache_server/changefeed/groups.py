"""Consumer groups of the changefeed: how far each has read, and what is pending for whom.

They are kept in a file beside the data, which is written a moment after something changed.  So a
crash forgets the last of it, and what was read then is delivered once more.

Format: msgpack, ``[1, {group: [last id, consumers, pending]}]`` with ids as ``[offset, number]``,
consumers as ``{name: [seen, active]}``, pending as ``[[id, consumer, time, count], ...]``; behind
it a CRC-32 of that in four bytes.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgpack
from distcache_replication.changefeed.position import Position

from distcache_server import dispatch, logs
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.config import Config
from distcache_server.engine import Engine
from distcache_server.lookup import find
from distcache_server.reserved import CHANGEFEED
from distcache_server.stream_errors import NoGroup, NoGroupToRead
from distcache_server.types.consumer_group import UNKNOWN, Consumer, Group
from distcache_server.types.pending_list import Delivery
from distcache_server.types.stream import Stream
from distcache_server.types.stream_id import BITS, SEQUENCE

if TYPE_CHECKING:
    from distcache_server.persistence import Persistence

NAME = "changefeed.groups"
VERSION = 1
SOON_S = 0.2
SHARE = 50
"""Writing the file takes no more than one part in so many of the time."""


class Groups:
    """The groups of a server, and a stream for the commands that are about them."""

    def __init__(self, config: Config, persistence: Persistence) -> None:
        self._config = config
        self._persistence = persistence
        self._client: Client | None = None
        self._groups: dict[bytes, Group] = {}
        self._due: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = False
        self._took_s = 0.0

    @property
    def _path(self) -> str:
        return self._config.locate(NAME)

    def _reader(self) -> Client:
        """Who runs the commands, in an engine that holds nothing else."""
        if self._client is None:
            engine = Engine(Config())
            dispatch.install(engine)
            self._client = Client(engine)
            self._load()
        return self._client

    @property
    def count(self) -> int:
        return len(self._groups)

    def of(self, name: bytes) -> Group:
        """A group; raises NoGroup."""
        self._reader()
        group = self._groups.get(name)
        if group is None:
            raise NoGroup(CHANGEFEED, name)
        return group

    def to_read(self, name: bytes) -> Group:
        """The same; raises NoGroupToRead."""
        self._reader()
        group = self._groups.get(name)
        if group is None:
            raise NoGroupToRead(CHANGEFEED, name)
        return group

    def run(self, words: Args, rows: list[tuple[int, list[bytes]]], end: Position) -> Any:
        """Run a command on a stream with these entries, and all groups."""
        client = self._reader()
        keyspace = client.keyspace
        stream = Stream()
        for number, entry in rows:
            stream.add(number, entry, keyspace.limits)
        stream.last_id = max(stream.last_id, end.offset << BITS | end.number)
        stream.groups = self._groups
        keyspace.values[CHANGEFEED] = stream
        keyspace.now_ms = client.engine.now_ms
        changes = keyspace.changes
        command = find(client, words).command
        try:
            reply = command.handler(client, words)
        finally:
            client.effect = None
            if keyspace.changes != changes:
                self._note()
        if command.name == "xinfo|groups":
            for facts in reply:
                # Nobody counts what there is to read.
                facts[b"entries-read"] = facts[b"lag"] = None
        return reply

    # The file

    def _note(self) -> None:
        for group in self._groups.values():
            group.read = UNKNOWN
        self._changed = True
        if self._due is None and self._task is None:
            delay_s = max(SOON_S, self._took_s * SHARE)
            self._due = self._persistence.loop.call_later(delay_s, self._begin)

    def _begin(self) -> None:
        self._due = None
        self._task = self._persistence.loop.create_task(self._save())

    async def _save(self) -> None:
        started_s = monotonic()
        self._changed = False
        data = encode(self._groups)
        self._took_s = monotonic() - started_s
        try:
            await self._persistence.off(lambda: self._write(data))
        except OSError as error:
            logs.warning("Cannot write the groups of the changefeed", error=error.strerror)
            self._changed = True
        self._task = None
        if self._changed:
            self._note()

    def _write(self, data: bytes) -> None:
        files, path = self._persistence.files, self._path
        temporary = f"{path}.temp"
        descriptor = files.create(temporary)
        try:
            while data:
                data = data[files.write(descriptor, data) :]
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(temporary, path)

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                self._groups = decode(file.read())
        except FileNotFoundError:
            return
        except (OSError, BadGroups) as error:
            # They can be made again, and nothing else hangs on them.
            logs.warning("The groups of the changefeed cannot be read", reason=str(error))
            os.replace(self._path, f"{self._path}.damaged")

    async def stop(self) -> None:
        """Leave everything on disk."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._changed:
            await self._save()
        self._client = None


class BadGroups(Exception):
    """The file is not what was written."""


Id = list[int]


def _apart(number: int) -> Id:
    return [number >> BITS, number & SEQUENCE]


def _together(parts: Id) -> int:
    return parts[0] << BITS | parts[1]


def encode(groups: dict[bytes, Group]) -> bytes:
    """The file."""
    plain = {
        name: [
            _apart(group.last_id),
            {name: [it.seen_ms, it.active_ms] for name, it in group.consumers.items()},
            [
                [_apart(number), it.consumer, it.time_ms, it.count]
                for number, it in group.pending.deliveries()
            ],
        ]
        for name, group in groups.items()
    }
    data: bytes = msgpack.packb([VERSION, plain])
    return data + crc32(data).to_bytes(4, "little")


def decode(data: bytes) -> dict[bytes, Group]:
    """The groups in a file; raises BadGroups."""
    body, check = data[:-4], data[-4:]
    if crc32(body).to_bytes(4, "little") != check:
        raise BadGroups("the checksum is wrong")
    version, plain = msgpack.unpackb(body, strict_map_key=False)
    if version != VERSION:
        raise BadGroups(f"version {version} is not known here")
    groups: dict[bytes, Group] = {}
    for name, (last_id, consumers, pending) in plain.items():
        group = groups[name] = Group(_together(last_id))
        for consumer, (seen_ms, active_ms) in consumers.items():
            group.consumers[consumer] = Consumer(seen_ms, active_ms)
        for number, consumer, time_ms, count in pending:
            group.deliver(_together(number), Delivery(consumer, time_ms, count))
    return groups
