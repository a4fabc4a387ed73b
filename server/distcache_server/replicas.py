"""The replicas of this server: what they ask for, what they get, how far they are.

One that cannot go on from the log gets a snapshot first: the keys as they were at one moment, which
is where its log begins.  Replicas that ask at about the same time share it.  It is sent as it is
made; or, to those that must know its length, from a file without a name.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import IO, TYPE_CHECKING

from distcache_replication import rdb
from distcache_replication.archive import Lost
from distcache_replication.log import Log
from distcache_replication.primary import (
    GONE,
    LOADING,
    ONLINE,
    SENDING,
    SERVED,
    WAITING,
    Replica,
    can_go_on,
    confirmed,
    confirming,
    well,
)
from distcache_replication.reader import Reader
from distcache_replication.segment import encode

from distcache_server import logs, memory, snapshot
from distcache_server.base import SnapshotBase, slices
from distcache_server.capture import Walk
from distcache_server.confirming import Confirming
from distcache_server.engine import REDIS_VERSION
from distcache_server.journal import UNKNOWN
from distcache_server.reply import NOTHING, Wire
from distcache_server.rewriting import write_all
from distcache_server.shipping import Shipping
from distcache_server.waits import Waits

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.engine import Engine
    from distcache_server.persistence import Persistence

PING, GETACK = encode([b"PING"]), encode([b"REPLCONF", b"GETACK", b"*"])
VERSION = 10
"""Of the snapshots: what Redis 7.0 can read, and all that came after it."""
PATIENCE_S = 2.0
"""How long a stopping server feeds its replicas."""
CHUNK = 1 << 18
"""Bytes of a snapshot that are gathered before they are sent."""


class Replicas:
    """All replicas that asked for the log, and the snapshot that is being made for some."""

    def __init__(self, engine: Engine, persistence: Persistence) -> None:
        self.engine = engine
        self.persistence = persistence
        self.loop = persistence.loop
        self.log: Log = persistence.log
        self.clients: dict[Client, Replica] = {}
        self.full = self.partial = self.denied = 0
        """Syncs so far: with a snapshot, without, and those that could not be without."""
        self.good = 0
        """Replicas that were heard of within ``min-replicas-max-lag``."""
        self._logging = False
        """The log is kept for replicas, whether it is for the disk or not."""
        self._left_s = 0.0
        """When the last replica left."""
        self._pinged_s = monotonic()
        self.waits = Waits(self)
        persistence.told = self.waits.serve
        self.confirming = Confirming(engine, self.loop, self.log, self.ask_soon)
        self.shipping = Shipping(self.log, self.clients.values, self.loop.call_soon)
        persistence.ship = self.shipping.ship
        self._asking = False
        """An acknowledgement is about to be asked for."""
        self.quiet = False
        """Nothing is asked of replicas, so that the log stands still."""
        self.acknowledged: list[Callable[[], None]] = []
        """Told of acknowledgements, and of replicas that leave."""
        self._job: asyncio.Task[None] | None = None
        self._due_s: float | None = None
        """When the next snapshot is to begin."""
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            engine.config.on_change(self.count, name)
        engine.config.on_change(self._synchronize, "synchronous-replicas")
        self.confirming.configure()

    # What replicas say

    def known(self, client: Client) -> Replica:
        """The replica that a client is, or may become."""
        if client.replica is None:
            client.replica = Replica(client.send, lambda: client.memory()[1])
        return client.replica

    def ask(self, client: Client, history: str, offset: int | None, old: bool = False) -> Wire:
        """It asks for the log from an offset on, or for all; what it is answered at once."""
        if client in self.clients:
            return NOTHING
        it, persistence = self.known(client), self.persistence
        now_s = monotonic()
        it.heard_s = it.since_s = now_s
        it.silent = old
        active = persistence.journal.active
        if (
            offset is not None
            and active
            and can_go_on(persistence.history, self.log, persistence.archive, history, offset)
        ):
            self.partial += 1
            self._join(client, it)
            it.offset = it.acknowledged = offset
            it.reader = self._reader(it, client)
            place = "disk" if it.reader.on_disk else "memory"
            self._keep_log()
            self._go_online(it)
            logs.notice(
                "Partial resynchronization request accepted",
                bytes=self.log.end - offset,
                source=place,
            )
            id_ = f" {persistence.history.id}" if it.knows_histories else ""
            return Wire(f"+CONTINUE{id_}\r\n".encode())
        if offset is not None:
            self.denied += 1
            logs.notice("Partial resynchronization not accepted", history=history, offset=offset)
        self.full += 1
        self._join(client, it)
        self._keep_log()
        self._schedule(now_s)
        return NOTHING

    def _reader(self, it: Replica, client: Client) -> Reader:
        """The log from where a replica is."""
        persistence = self.persistence
        name = f"replica {self.place(client)}"
        return Reader(self.log, persistence.archive, persistence.off_reading, it, name)

    def _join(self, client: Client, it: Replica) -> None:
        self.clients[client] = it
        client.enter("monitoring")
        if self.engine.config.repl_disable_tcp_nodelay:
            _gather(client.descriptor)
        logs.notice("Replica asks for synchronization", replica=self.place(client))
        self.count()

    def host(self, client: Client) -> str:
        """The address of a replica, as INFO shows it."""
        return self.known(client).address or client.address.rpartition(":")[0].strip("[]")

    def place(self, client: Client) -> str:
        """Where a replica listens."""
        return f"{self.host(client)}:{self.known(client).port}"

    def acknowledge(self, client: Client, offset: int, flushed: int | None) -> None:
        """A replica says how far it is."""
        it = self.clients.get(client)
        if it is None:
            return
        it.heard_s = monotonic()
        # What nobody has sent, nobody can have.
        it.acknowledged = max(it.acknowledged, min(offset, it.offset))
        if flushed is not None:
            it.flushed = max(it.flushed, min(flushed, it.offset))
        if it.state == LOADING:
            self._go_online(it)
        self.count()
        if self.engine.confirm is not None:
            self._confirm()
        self._tell()
        self.waits.serve()

    def _tell(self) -> None:
        for tell in list(self.acknowledged):
            tell()

    def forget(self, client: Client) -> None:
        """A client is gone."""
        self.waits.forget(client)
        it, client.replica = client.replica, None
        if it is None:
            return
        it.state = GONE
        it.drained.set()
        if it.task is not None:
            it.task.cancel()
        if it.reader is not None:
            it.reader.close()
        # These refer to it; the collector is off.
        it.task = it.reader = None
        if self.clients.pop(client, None) is not None:
            self.engine.counters.repl_output += client.net_out
            logs.notice("Connection with replica lost", replica=client.address)
            self._left_s = monotonic()
            self.count()
            self._tell()

    def disconnect(self) -> None:
        """Let all replicas come again: the history has changed."""
        for client in list(self.clients):
            client.kill()
            self.engine.forget(client)

    # How many there are

    def count(self) -> None:
        """See how many replicas are well, and whether writes have enough of them."""
        engine, config = self.engine, self.engine.config
        self.good = well(self.clients.values(), monotonic(), config.min_replicas_max_lag)
        wanted = config.min_replicas_to_write if config.min_replicas_max_lag else 0
        lonely = not engine.follows and (
            self.good < wanted or confirming(self.clients.values()) < config.synchronous_replicas
        )
        relaying = bool(self.clients) and not engine.follows
        if lonely != engine.lonely or relaying != engine.relaying:
            engine.lonely, engine.relaying = lonely, relaying
            engine.on_the_way = self.shipping.may_go if relaying else None
            engine.arrange_barrier()
            self.shipping.ship()
            engine.rebuild()

    def _synchronize(self) -> None:
        """synchronous-replicas was changed."""
        self.confirming.configure()
        self.count()
        self._confirm()

    def _confirm(self) -> None:
        """Send the replies that enough replicas have confirmed."""
        number = self.engine.config.synchronous_replicas
        if number:
            self.confirming.confirm(confirmed(self.clients.values(), number))

    def ask_soon(self) -> None:
        """Have all replicas say how far they are, once for all that is done meanwhile."""
        if not self._asking and self.clients:
            self._asking = True
            self.loop.call_soon(self.ask_now)

    def ask_now(self) -> None:
        """Have all replicas say how far they are."""
        self._asking = False
        if self.clients and not self.engine.follows and not self.quiet:
            self.log.append(GETACK)

    # The log

    def _keep_log(self) -> None:
        """Log for replicas from now on."""
        if self._logging:
            return
        self._logging = True
        persistence = self.persistence
        if not persistence.journal.active and not self.engine.follows:
            # What was written until now is in no log.
            persistence.history.reset()
        persistence.journal.attach()

    def _drop_log(self) -> None:
        """There have been no replicas for long."""
        self._logging = False
        persistence = self.persistence
        persistence.journal.detach()
        if not persistence.journal.active:
            persistence.history.reset()
            self.log.restart(self.log.end)

    def _go_online(self, it: Replica) -> None:
        it.state = ONLINE
        reader, it.reader = it.reader, None
        assert reader is not None
        # Others may be sent the log now; what this one is answered must go first.
        self.count()
        it.reader = reader
        it.task = self.loop.create_task(self._follow(it, reader))
        self.shipping.ship_soon()

    async def _follow(self, it: Replica, reader: Reader) -> None:
        try:
            await it.follow(reader)
        except Lost as error:
            # It comes again, for a snapshot.
            logs.warning(
                "The log on disk cannot be read: a replica needs a full resync", reason=str(error)
            )
            self._kill(it)
        except Exception as error:
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error: closing a replica", error)
            self._kill(it)

    def _kill(self, it: Replica) -> None:
        for client in [client for client, other in self.clients.items() if other is it]:
            client.kill()

    # What is done now and then

    def tick(self, now_s: float) -> None:
        """Ten times a second."""
        config, log = self.engine.config, self.log
        if not self.clients:
            idle_s = now_s - self._left_s
            if self._logging and not self.engine.follows and 0 < config.repl_backlog_ttl < idle_s:
                self._drop_log()
            return
        for client, it in list(self.clients.items()):
            self._check(client, it, now_s)
        if now_s - self._pinged_s >= config.repl_ping_replica_period:
            self._pinged_s = now_s
            if not self.engine.follows and not self.quiet:
                log.append(PING)
        if self._due_s is not None and now_s >= self._due_s:
            self._begin()

    def each_second(self) -> None:
        """Those that wait for a snapshot are told that we are there."""
        for it in self.clients.values():
            if it.state == WAITING:
                it.send(b"\n")
        self.count()

    def _check(self, client: Client, it: Replica, now_s: float) -> None:
        """Close a replica that is silent, or that takes too little of what it is sent."""
        config = self.engine.config
        if (
            it.state in (ONLINE, SERVED)
            and not it.silent
            and now_s - it.heard_s > config.repl_timeout
        ):
            logs.warning("Disconnecting timedout replica", replica=self.place(client))
            client.kill()
            return
        if it.stuck_s(now_s, client.net_out, client.net_in) > config.repl_timeout:
            logs.warning("Disconnecting timedout replica (full sync)", replica=self.place(client))
            client.kill()
            self.engine.forget(client)
            return
        if it.reader is not None:
            it.reader.relax()
        limit = config.client_output_buffer_limit.replica
        size = it.pending(self.log)
        # Redis lets no limit be smaller than the backlog, which is kept anyhow.
        hard, soft = (max(most, self.log.limit) if most else 0 for most in limit[:2])
        if not soft or size <= soft:
            it.soft_since_s = 0.0
        elif not it.soft_since_s:
            it.soft_since_s = now_s
        too_long = it.soft_since_s and now_s - it.soft_since_s > limit.soft_seconds
        if too_long or (hard and size > hard):
            self.engine.counters.output_limit_disconnections += 1
            logs.warning(
                "Replica closed: it is too far behind", replica=self.place(client), unsent=size
            )
            client.kill()
            self.engine.forget(client)

    # Snapshots

    def _schedule(self, now_s: float) -> None:
        """Begin a snapshot now, or wait a while for more replicas that want one."""
        config = self.engine.config
        delay_s = 0
        waiting = [it for it in self.clients.values() if it.state == WAITING]
        if all(self._streams(it) for it in waiting):
            most = config.repl_diskless_sync_max_replicas
            if not most or len(waiting) < most:
                delay_s = config.repl_diskless_sync_delay
        due_s = now_s + delay_s
        self._due_s = due_s if self._due_s is None else min(due_s, self._due_s)
        if not delay_s:
            self.loop.call_soon(self._begin)

    def _streams(self, it: Replica) -> bool:
        return it.takes_unknown_length and self.engine.config.repl_diskless_sync

    def _begin(self) -> None:
        if self._job is not None or self._due_s is None:
            return
        self._due_s = None
        self._job = self.loop.create_task(self._work())

    async def _work(self) -> None:
        """Make a snapshot for all that wait for one."""
        try:
            async with self.persistence.walking:
                await self._sync()
        except OSError as error:
            logs.warning("The snapshot for replicas failed", error=error.strerror)
        except Exception as error:
            logs.failure("The snapshot for replicas failed", error)
        finally:
            self._job = None
            for it in list(self.clients.values()):
                if it.state == SENDING and it.task is None:
                    self._kill(it)
            if any(it.state == WAITING for it in self.clients.values()):
                self._schedule(monotonic())

    async def _sync(self) -> None:
        waiting = [it for it in self.clients.values() if it.state == WAITING]
        # Those who want no keys get a snapshot of their own.
        bare = [it for it in waiting if it.no_keys]
        waiting = bare or waiting
        engine, persistence = self.engine, self.persistence
        if not waiting:
            return
        file: IO[bytes] | None = None
        if not all(self._streams(it) for it in waiting):
            file = await persistence.off(lambda: _nameless(engine.config.dir))
            waiting = [it for it in waiting if it.state == WAITING]
        streaming = [it for it in waiting if file is None or self._streams(it)]
        filing = [it for it in waiting if it not in streaming]
        offset = self.log.end
        form = SnapshotBase(
            rdb.Style(VERSION, engine.config.rdbcompression),
            engine.limits,
            engine.config.rdbchecksum,
            self.aux(offset),
        )
        # From here to the walk nothing may wait: the log goes on from what the walk will see.
        walk = Walk([] if bare else engine.databases, form.add)
        persistence.journal.selected = UNKNOWN
        head = f"+FULLRESYNC {persistence.history.id} {offset}\r\n".encode()
        mark = secrets.token_hex(20).encode()
        clients = {it: client for client, it in self.clients.items()}
        for it in waiting:
            it.state = SENDING
            it.offset = offset
            if not it.only_snapshot:
                it.reader = self._reader(it, clients[it])
            if not it.silent:
                it.send(head)
        for it in streaming:
            it.send(b"$EOF:%b\r\n" % mark)
        logs.notice("Snapshot for replicas begins", replicas=len(waiting), offset=offset)
        try:
            size = 0
            for data in slices(walk, form):
                if not data:
                    await asyncio.sleep(0)
                    continue
                size += len(data)
                if file is not None:
                    descriptor = file.fileno()
                    await persistence.off(
                        partial(write_all, persistence.files, descriptor, data, False)
                    )
                for it in streaming:
                    it.send(data)
                for it in streaming:
                    await it.drained.wait()
                if not any(it.state == SENDING for it in (*streaming, *filing)):
                    return
            for it in streaming:
                if it.state == SENDING:
                    it.send(mark)
                    self._sent(it, LOADING)
            if file is not None:
                for it in filing:
                    if it.state == SENDING:
                        it.task = self.loop.create_task(
                            self._send_file(it, os.dup(file.fileno()), size)
                        )
        finally:
            walk.stop()
            if file is not None:
                file.close()

    def aux(self, offset: int) -> dict[bytes, bytes]:
        """What a snapshot tells of itself."""
        return snapshot.aux(REDIS_VERSION, int(time.time()), memory.resident()) | {
            b"repl-stream-db": b"%d" % (self.engine.selected),
            b"repl-id": self.persistence.history.id.encode(),
            b"repl-offset": b"%d" % offset,
        }

    async def _send_file(self, it: Replica, descriptor: int, size: int) -> None:
        """Send the snapshot in a file, which is closed, and go on with the log."""
        try:
            await it.give(b"$%d\r\n" % size)
            for at in range(0, size, CHUNK):
                read = partial(os.pread, descriptor, CHUNK, at)
                await it.give(await self.persistence.off(read))
        except OSError as error:
            logs.warning("The snapshot for a replica cannot be read", error=error.strerror)
            self._kill(it)
            return
        finally:
            os.close(descriptor)
        self._sent(it, ONLINE)

    def _sent(self, it: Replica, state: str) -> None:
        """A replica has its snapshot."""
        it.heard_s = monotonic()
        it.state = SERVED if it.only_snapshot else state
        if it.state == ONLINE:
            self._go_online(it)

    def promoted(self) -> None:
        """The log is ours now: it is kept for those who followed it."""
        self._logging = True
        self._left_s = monotonic()
        self.persistence.journal.attach()

    async def stop(self) -> None:
        """Give replicas what is left, and make no more snapshots."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])
        end_s = monotonic() + PATIENCE_S
        while monotonic() < end_s and any(  # noqa: ASYNC110
            it.state == ONLINE and it.offset < self.log.end for it in self.clients.values()
        ):
            await asyncio.sleep(0.01)
        self.confirming.give_up()


def _gather(descriptor: int) -> None:
    """Have the kernel wait for more before it sends a small packet."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)


def _nameless(folder: str) -> IO[bytes]:
    """A file that is gone when it is closed."""
    return tempfile.TemporaryFile(dir=folder)
