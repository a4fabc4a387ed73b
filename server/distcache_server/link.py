"""The connection to the primary: introduction, its snapshot, its log, acknowledgements.

What we have stays until the primary's snapshot is whole; then it is replaced in one step, so that
readers see the old keys or the new ones.  The log is taken over byte for byte, in whole commands
and whole transactions: where our log ends, there our keys are.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, cast

from distcache_replication import rdb
from distcache_replication.handshake import UNKNOWN, Introduction, Refused, Resync, handshake
from distcache_replication.replica import BadTransfer, Transfer
from distcache_replication.segment import encode

from distcache_server import logs, snapshot
from distcache_server.arguments import Args
from distcache_server.dispatch import rows
from distcache_server.framing import (
    FEW_WORDS,
    STAR,
    Framer,
    Parser,
    ProtocolError,
    encoded_length,
    parse_uniform,
)
from distcache_server.keyspace import Keyspace
from distcache_server.replay import Panic

if TYPE_CHECKING:
    from distcache_server.replication import Replication

RETRY_S = 1.0
PIECE = 32 << 10
"""Bytes that are taken before others have their turn."""
READ_AHEAD = 4 << 20
"""Bytes that may wait to be taken."""
LINE = 64 << 10
SHORT = 4 << 10
"""So few bytes of a command that is cut off are read again when more have come."""
END = b"\r\n"
LIKELY = b"\r\n*"
"""Stands between two commands, and seldom within a word."""
MISPLACED = "a word does not end where its length says"
"""A client is not asked for more than the lengths; of the log no byte may be another."""

CONNECT, CONNECTING, HANDSHAKE, SYNC, CONNECTED = (
    "connect",
    "connecting",
    "handshake",
    "sync",
    "connected",
)


class Link:
    """Follows one primary until it is stopped, however often the connection breaks."""

    def __init__(
        self, replication: Replication, host: str, port: int, failover: bool = False
    ) -> None:
        self.replication = replication
        self.host = host
        self.port = port
        self.failover = failover
        """It is asked to be the primary, until it has answered."""
        self.state = CONNECT
        """As ROLE names it."""
        self.heard_s = monotonic()
        self.down_since_s: float | None = None
        """When it last went down; None where it has never been up, to this primary or the last."""
        self._up_s = inf
        """Since when this connection follows the log."""
        self.transfer: Transfer | None = None
        """The snapshot that is on its way."""
        self.session: Session | None = None
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Follow it from now on."""
        self.task = self.replication.loop.create_task(self._run())

    @property
    def is_up(self) -> bool:
        return self.state == CONNECTED

    def stop(self) -> None:
        """Follow it no more."""
        if self.task is not None:
            self.task.cancel()
        if self.session is not None:
            self.session.drop(None)

    async def _run(self) -> None:
        while True:
            self._up_s = inf
            try:
                await self._connect()
            except Exception as error:
                self.replication.engine.counters.unexpected_errors += 1
                logs.failure("Unexpected error: connecting to the primary", error)
            # Where the log was followed for a while, at once: the backlog of the primary moves on.
            if monotonic() - self._up_s < RETRY_S:
                await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        """One connection, from beginning to end."""
        config = self.replication.engine.config
        loop = self.replication.loop
        self.state = CONNECTING
        logs.notice("Connecting to MASTER", host=self.host, port=self.port)
        source = (config.bind_source_addr, 0) if config.bind_source_addr else None
        try:
            async with asyncio.timeout(config.repl_timeout):
                _, session = await loop.create_connection(
                    lambda: Session(self), self.host, self.port, local_addr=source
                )
        except (OSError, TimeoutError) as error:
            logs.warning("Cannot connect to MASTER", reason=str(error) or "timeout")
            self.state = CONNECT
            return
        await session.closed.wait()

    def up(self) -> None:
        """The log is followed."""
        self.state = CONNECTED
        self._up_s = monotonic()
        self.transfer = None
        self.replication.link_changed()

    def down(self, session: Session) -> None:
        """A connection is closed."""
        if self.session is session:
            self.session = None
            self.transfer = None
            if self.is_up:
                self.down_since_s = monotonic()
            self.state = CONNECT
            self.replication.link_changed()

    def each_second(self) -> None:
        """Acknowledge, and see whether the primary is still there."""
        session = self.session
        if session is None:
            return
        if monotonic() - self.heard_s > self.replication.engine.config.repl_timeout:
            session.drop("the primary is silent")
        elif self.is_up:
            session.acknowledge()
        elif self.transfer is not None:
            # So that the primary does not take us for gone.
            session.send(b"\n")


class Session(asyncio.Protocol):
    """One connection to a primary."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.replication = link.replication
        self.engine = link.replication.engine
        self.closed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self._take: Callable[[bytes], None] = self._line
        """What is done with the bytes that arrive, in this part of the conversation."""
        self._inbox: deque[bytes] = deque()
        self._size = 0
        self._scheduled = False
        self._held = bytearray()
        """Bytes of a line, or of a transaction, that is not complete."""
        self._talk = handshake(self._introduction())
        self._loader: snapshot.Loader | None = None
        self._fresh: list[Keyspace] = []
        self._resync: Resync | None = None
        self._parser = Parser()
        self._framer: Framer | None = None
        """Reads a command that came in several pieces."""
        self._fed = 0
        """Bytes that it was fed and that belong to no command yet."""
        self._tail = b""
        """The last two of them."""
        self._cut = b""
        """All of them, where they are few: what comes next is read together with them."""

    def _introduction(self) -> Introduction:
        config, persistence = self.engine.config, self.replication.persistence
        known = self.replication.has_history
        return Introduction(
            port=config.replica_announce_port or self.engine.port,
            address=config.replica_announce_ip.encode(),
            user=config.masteruser.encode(),
            password=config.masterauth,
            history=persistence.history.id.encode() if known else UNKNOWN,
            offset=persistence.log.end,
            failover=self.link.failover,
        )

    @property
    def behind(self) -> int:
        """Bytes of the log that have arrived and are not applied."""
        cut_off = 0 if self._framer is None else self._fed
        return self._size + cut_off + len(self._held)

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        link = self.link
        if link.task is not None and link.task.cancelling():
            self.drop(None)
            return
        link.session = self
        link.state = HANDSHAKE
        link.heard_s = monotonic()
        self.send(encode(next(self._talk)))

    def data_received(self, data: bytes) -> None:
        self.link.heard_s = monotonic()
        self.engine.counters.repl_input += len(data)
        inbox, size = self._inbox, len(data)
        inbox += (
            [data] if size <= PIECE else [data[at : at + PIECE] for at in range(0, size, PIECE)]
        )
        self._size += size
        if self._size > READ_AHEAD and self.transport is not None:
            self.transport.pause_reading()
        if not self._scheduled:
            # In this turn, so that a write is soon seen here.
            self._work()

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        self._end("the connection was closed")

    def send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def drop(self, reason: str | None) -> None:
        """Close the connection, and let the primary see it at once.

        The transport would close it in its next turn, after CONFIG REWRITE in the transaction by
        which Sentinel promotes us.  Until then the old primary would count us among its replicas.
        """
        if self.transport is not None:
            with suppress(OSError), _duplicate(self.transport) as sock:
                sock.shutdown(socket.SHUT_RDWR)
            self.transport.abort()
        self._end(reason)

    def _end(self, reason: str | None) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        if reason is not None:
            logs.warning("Connection with MASTER lost", reason=reason)
        self._inbox.clear()
        self._discard()
        self.replication.hide_primary()
        self.replication.replay.abandon()
        self.link.down(self)
        # These refer to each other; the collector is off.
        self._take = _ignore

    def _work(self) -> None:
        """Take a piece of what has arrived; others have their turn before the next."""
        self._scheduled = False
        if not self._inbox or self.closed.is_set():
            return
        data = self._inbox.popleft()
        full = self._size > READ_AHEAD
        self._size -= len(data)
        if full and self._size <= READ_AHEAD and self.transport is not None:
            self.transport.resume_reading()
        try:
            self._take(data)
        except (Refused, BadTransfer) as error:
            self.drop(f"the primary said {error}")
            if self.link.failover:
                self.replication.failing_over.abort(f"the target said {error}")
        except rdb.BadRdb as error:
            self.drop(f"the snapshot cannot be used: {error.reason}, at offset {error.offset}")
        except ProtocolError as error:
            self.drop(f"the log cannot be read: {error.text}")
        except Panic as error:
            self.drop(None)
            self.replication.panic(str(error))
        except Exception as error:
            self.engine.counters.unexpected_errors += 1
            logs.failure("Unexpected error in the link to the primary", error)
            self.drop("an unexpected error")
        if self._inbox and not self.closed.is_set():
            self._scheduled = True
            self.replication.loop.call_soon(self._work)

    # Introduction

    def _line(self, data: bytes) -> None:
        """A line of the introduction."""
        line, end, rest = (bytes(self._held) + data).partition(b"\n")
        self._held.clear()
        if not end:
            if len(line) > LINE:
                raise Refused("a line without an end")
            self._held += line
            return
        line = line.strip()
        if line:
            try:
                self.send(encode(self._talk.send(line)))
            except StopIteration as answer:
                self._answered(answer.value)
        if rest and not self.closed.is_set():
            self._take(rest)

    def _answered(self, resync: Resync) -> None:
        self._resync = resync
        self.link.failover = False
        self.replication.failing_over.answered()
        if not resync.full:
            logs.notice("MASTER accepts a partial resynchronization", offset=resync.offset)
            self.replication.continued(resync)
            self._follow()
            return
        history = resync.history.decode()
        logs.notice("Full resync from master", history=history, offset=resync.offset)
        engine = self.engine
        self.link.state = SYNC
        self.link.transfer = Transfer()
        self._fresh = [Keyspace(it.index, engine.limits) for it in engine.databases]
        self._take = self._snapshot

    # The snapshot

    def _snapshot(self, data: bytes) -> None:
        """A piece of the snapshot."""
        transfer = self.link.transfer
        assert transfer is not None
        data = transfer.feed(data)
        if not transfer.begun:
            return
        if self._loader is None:
            self._loader = snapshot.Loader(
                self._fresh,
                self.engine.now_ms,
                keep_expired=True,
                checksum=self.engine.config.rdbchecksum,
                size=transfer.size,
            )
        if data:
            self._loader.feed(data)
        if transfer.done:
            self._loaded(self._loader, transfer)

    def _loaded(self, loader: snapshot.Loader, transfer: Transfer) -> None:
        """The snapshot is there: now it takes the place of what we had."""
        loader.finish()
        if loader.decoder.rest:
            raise BadTransfer("more behind the snapshot")
        assert self._resync is not None
        number = loader.decoder.aux.get(b"repl-stream-db", b"0")
        fresh, self._fresh, self._loader = self._fresh, [], None
        self.replication.replace(fresh, self._resync, int(number) if number.isdigit() else 0)
        logs.notice("MASTER <-> REPLICA sync: finished", keys=loader.loaded)
        self._follow()
        if transfer.rest:
            self._take(transfer.rest)

    def _discard(self) -> None:
        """Free what was loaded of a snapshot that did not become whole."""
        graveyard = self.engine.databases[0].graveyard
        for keyspace in self._fresh:
            graveyard += [keyspace.values, keyspace.deadlines]
        self._fresh, self._loader = [], None

    # The log

    def _follow(self) -> None:
        self.replication.show_primary(self)
        self._take = self._stream
        self.link.up()
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the primary how far we are."""
        persistence = self.replication.persistence
        words = [b"REPLCONF", b"ACK", b"%d" % persistence.log.end]
        if persistence.kept >= 0:
            words += [b"FACK", b"%d" % persistence.kept]
        self.send(encode(words))

    def _stream(self, data: bytes) -> None:
        """A piece of the log."""
        if self._cut or self._framer is None:
            data, self._cut = self._cut + data, b""
            if data[0] != STAR:
                raise ProtocolError(f"{data[:1]!r} stands where a command should begin")
            data = self._take_whole(data)
            if not data:
                self._framer = None
                return
            self._framer = Framer()
            self._fed, self._tail = 0, b""
            if len(data) < SHORT:
                self._cut = data
        framer = self._framer
        framer.feed(data)
        self._fed += len(data)
        tail = self._tail + data
        while (words := framer.next()) is not None:
            self._cut = b""
            whole, end = encode(words), len(tail) - len(framer)
            if self._fed - len(framer) != len(whole) or tail[end - 2 : end] != END:
                raise ProtocolError(MISPLACED)
            self._fed = len(framer)
            self._apply([words], whole)
            if not framer.missing and len(framer):
                data = framer.take_rest()
                self._framer = None
                self._stream(data)
                return
        self._tail = tail[-2:]
        if framer.between_commands:
            self._framer = None

    def _take_whole(self, data: bytes) -> bytes:
        """Run the commands that are whole, as far as the fast ways tell; the bytes behind them."""
        behind = b""
        if not data.endswith(END):
            # Where the last command most likely begins.
            at = data.rfind(LIKELY) + len(END)
            if at < len(LIKELY):
                return data
            data, behind = data[:at], data[at:]
        columns = parse_uniform(data) if data[:4] in FEW_WORDS else None
        if columns is not None and self.replication.replay.run_alike(columns):
            self._append(data)
            return behind
        parsed = self._parser.parse(data) if columns is None else (rows(columns), b"")
        if parsed is None:
            return data + behind
        batch, rest = parsed
        if batch:
            read = data[: len(data) - len(rest)] if rest else data
            if not read.endswith(END):
                raise ProtocolError(MISPLACED)
            self._apply(batch, read)
        return rest + behind

    def _apply(self, batch: list[Args], data: bytes) -> None:
        """Run commands of the log, whose bytes these are, and take them into ours."""
        replay = self.replication.replay
        asked = b"REPLCONF" in data and any(words[0] == b"REPLCONF" for words in batch)
        replay.run(batch)
        whole = len(data)
        if replay.in_transaction:
            begun = [at for at, words in enumerate(batch) if words[0].upper() == b"MULTI"]
            whole = encoded_length(batch[: begun[-1]]) if begun else 0
        if whole:
            read = data[:whole]
            self._append(bytes(self._held) + read if self._held else read)
            self._held.clear()
        self._held += data[whole:]
        if asked:
            self.acknowledge()

    def _append(self, data: bytes) -> None:
        """Take what was applied into our log."""
        self.replication.persistence.log.append(data)
        if self.engine.ready:
            self.engine.blocking.serve(self.engine.ready)


def _duplicate(transport: asyncio.Transport) -> socket.socket:
    """The socket of a transport, which keeps its own."""
    return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))


def _ignore(_: bytes) -> None:
    """Bytes that came too late."""
