"""One socket: bytes in, replies out, back-pressure both ways.

``feed`` is the whole path of a batch and touches no socket, so that tests and benchmarks can call
it.  A client that blocks, is paused or does not read its replies has its input kept until it goes
on; other clients are not held up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from time import time_ns
from typing import TYPE_CHECKING, cast

from distcache_server import logs
from distcache_server.arguments import Args, Columns
from distcache_server.client import Client
from distcache_server.dispatch import execute, execute_one, execute_run, rows
from distcache_server.engine import Shutdown
from distcache_server.errors import CommandError
from distcache_server.framing import (
    STAR,
    Framer,
    HttpRequest,
    Parser,
    ProtocolError,
    canonical,
    parse_inline,
    parse_long,
    parse_single,
)
from distcache_server.reply import encode_run
from distcache_server.unconfirmed import joined, mark

if TYPE_CHECKING:
    from distcache_server.gate import Gate

SLICE = 128
"""Commands that run before the size of their replies is looked at."""
LARGE = 16 << 10
"""A longer read does not wait for the others of its turn."""
FULL = 1 << 20
"""Unsent reply bytes at which a client's next commands wait until it has read some."""
SINGLE, UNIFORM, MIXED = "single", "uniform", "mixed"
MISREADS = 16
"""After so many a connection's batches are left to hiredis."""
READ_AHEAD = 64 << 20
"""Bytes read from a client whose commands wait; then the kernel's buffers have to do."""
PIECE = 256 << 10
"""Bytes of them that are answered at a time: as many as the loop reads at once."""

_first = itemgetter(0)


class Connection(asyncio.Protocol):
    """A client's connection over TCP or a Unix socket."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.engine = gate.engine
        self.turn = gate.turn
        self.client: Client = None  # type: ignore[assignment]
        self.transport: asyncio.Transport | None = None
        self.descriptor = -1
        self.parser = Parser()
        self.framer: Framer | None = None
        """Holds a command that is cut off, or all input while the fast ways are not for it."""
        self.shape = SINGLE
        """What the last read held, and so probably the next."""
        self.misread = 0
        """Reads that looked uniform, but were not."""
        self.replies: list[bytes] | None = None
        """The batch that is running; what is sent meanwhile goes behind its replies."""
        self.inbox = bytearray()
        """Input that waits: the client is blocked, on hold or has replies to read first."""
        self.congested = False
        """The transport has bytes that the peer did not take yet."""
        self.clogged = False
        """... so many that further commands wait."""
        self.scheduled = False
        self.closing = False
        self.open = True
        """Nothing stands in the way of the next read: what is off here need not be asked for."""
        self.parked = 0
        """Bytes that wait for the disk ..."""
        self.held = 0
        """... those that wait for replicas ..."""
        self.kept = 0
        """... and those that wait until replicas were sent the log."""

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=FULL, low=FULL // 4)
        sock = transport.get_extra_info("socket")
        self.descriptor = sock.fileno()
        self.attach(Client(self.engine, self.engine.next_client))
        self.engine.next_client += 1
        self.gate.welcome(self, sock)

    def attach(self, client: Client) -> None:
        """Carry the bytes of this client."""
        self.client = client
        client.descriptor = self.descriptor
        client.send = self.send
        client.resume = self.resume
        client.kill = self.kill
        client.memory = self.memory
        self.engine.clients[client.id] = client

    def data_received(self, data: bytes) -> None:
        turn = self.turn
        if not turn.begun:
            turn.begin()
        turn.arrivals.append((self, data))
        if not turn.gathers or len(data) > LARGE:
            turn.answer_arrivals()

    def receive(self, data: bytes) -> None:
        """Answer what was read, or keep it until its turn comes."""
        client = self.client
        client.net_in += len(data)
        if not self.open:
            if self.closing:
                return
            if self.inbox or self.clogged or client.blocked is not None or client.backlog:
                self._keep(data)
                return
        out = self.feed(data)
        if out:
            self.write(out)
        if not self.open:
            self._settle()

    def _settle(self) -> None:
        """See whether the next read may be answered at once, and what else is to be done."""
        client = self.client
        if client.close_after_reply or self.closing:
            self.close()
            return
        self.open = self.framer is None and not self.clogged and self._may_run()
        if client.backlog or (self.framer is not None and not self.framer.starved):
            self.resume()

    def pause_writing(self) -> None:
        self.clogged = True
        self.open = False
        if self.client.replica is not None:
            self.client.replica.drained.clear()

    def resume_writing(self) -> None:
        self.clogged = False
        if self.client.replica is not None:
            self.client.replica.drained.set()
        self.resume()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.forget(self.client)
        self.engine.counters.net_input += self.client.net_in
        self.engine.counters.net_output += self.client.net_out
        # Client and connection refer to each other; the collector is off, so let go.
        fresh = Client(self.engine)
        client, self.client = self.client, fresh
        client.send, client.resume = fresh.send, fresh.resume
        client.kill, client.memory = fresh.kill, fresh.memory
        client.backlog = []
        self.inbox.clear()
        self.framer = None
        self.transport = None
        self.descriptor = -1
        self.closing = True
        self.open = False

    # Input

    def feed(self, data: bytes) -> bytes:
        """Run the commands in what was read; their replies, encoded."""
        client = self.client
        if (
            self.shape is SINGLE
            and self.framer is None
            # What is within the limits of parse_single is so for clients of all states.
            and (
                (words := parse_single(data)) is not None
                or (client.state != "unauthenticated" and (words := parse_long(data)) is not None)
            )
        ):
            try:
                out = execute_one(client, words)
            except Exception as error:
                self._stop_for(error)
                return b""
            if out is None or client.close_after_reply:
                self.open = False
            return out or b""
        self.open = False
        client.last_ms = client.keyspace.now_ms = time_ns() // 1_000_000
        if self.framer is not None:
            self.framer.feed(data)
            return self._answered(self._run_framed)
        if self.shape is UNIFORM and client.state != "unauthenticated":
            if columns := self.parser.columns(data):
                if len(columns[0]) == 1:
                    self.shape = SINGLE
                return self._answered(self._run_uniform, columns, canonical(data))
            self.misread += 1
        return self._answered(self._run_batch, data)

    def _answered(self, run: Callable[..., None], *input_: Columns | bytes) -> bytes:
        """Run commands, and see to what may end them; their replies, encoded."""
        replies: list[bytes] = []
        self.replies = replies
        try:
            run(replies, *input_)
        except ProtocolError as error:
            self._refuse(error, replies)
        except Exception as error:
            self._stop_for(error)
        finally:
            self.replies = None
        return joined(replies) if self.engine.confirm is not None else b"".join(replies)

    def _stop_for(self, error: Exception) -> None:
        """What ends a batch: SHUTDOWN, or a bug."""
        self.open = False
        if isinstance(error, Shutdown):
            self.gate.shutdown(error)
            return
        self.engine.counters.unexpected_errors += 1
        logs.failure("Unexpected error: closing the client", error, id=self.client.id)
        self.closing = True

    def _run_uniform(self, replies: list[bytes], columns: Columns, data: bytes) -> None:
        """Run commands with equal numbers of words, all at once where they are few and alike."""
        if len(columns[0]) > SLICE or not self._run_alike(replies, columns, data):
            self._run(replies, rows(columns))

    def _run_batch(self, replies: list[bytes], data: bytes) -> None:
        """Let hiredis read the batch if it may, and run it."""
        client = self.client
        parsed = None
        if client.state != "unauthenticated":
            if data[0] != STAR and (batch := parse_inline(data)) is not None:
                self.shape = MIXED
                if batch:
                    self._run(replies, batch)
                return
            parsed = self.parser.parse(data)
        if parsed is None:
            self._frame(data)
            self._run_framed(replies, tried=True)
            return
        batch, rest = parsed
        if rest:
            self._frame(rest)
        self.shape = self._shape_of(batch, rest)
        if batch:
            self._run(replies, batch)
        if rest and self._may_run():
            # Tells at once when the rest can be no command.
            self._run_framed(replies)

    def _run(self, replies: list[bytes], batch: list[Args]) -> None:
        """Run commands, in slices; what has to wait is left in the client's backlog."""
        if len(batch) <= SLICE:
            self._run_slice(replies, batch)
            return
        client = self.client
        seen = size = 0
        for stop in range(SLICE, len(batch) + SLICE, SLICE):
            if not self._run_slice(replies, batch[stop - SLICE : stop]):
                client.backlog += batch[stop:]
                return
            size += sum(map(len, replies[seen:]))
            seen = len(replies)
            if size > FULL:
                client.backlog = batch[stop:]
                return

    def _run_slice(self, replies: list[bytes], batch: list[Args]) -> bool:
        """Run a few commands, in one call where they are alike; False where the rest must wait."""
        if (
            len(batch) > 1
            and len(set(map(_first, batch))) == 1
            and len(set(map(len, batch))) == 1
            and self._run_alike(replies, list(zip(*batch, strict=True)))
        ):
            return True
        return execute(self.client, batch, replies, time_ns())

    def _run_alike(self, replies: list[bytes], columns: Columns, data: bytes = b"") -> bool:
        """Run commands in one call, if they are of one name and may be; else do nothing."""
        names = columns[0]
        if names.count(names[0]) != len(names) or len(names) == 1:
            return False
        client = self.client
        logged = client.logged
        values = execute_run(client, columns, data)
        if values is None:
            return False
        out = encode_run(values, client.encoders)
        if self.engine.confirm is not None and client.logged != logged:
            out = mark(out, client.logged)
        replies.append(out)
        return True

    def _shape_of(self, batch: list[Args], rest: bytes) -> str:
        if len(batch) == 1:
            return SINGLE
        if rest or self.misread > MISREADS or len(set(map(len, batch))) != 1:
            return MIXED
        return UNIFORM

    def _frame(self, data: bytes) -> None:
        framer = self.framer = Framer(self.engine.config.proto_max_bulk_len)
        framer.feed(data)

    def _run_framed(self, replies: list[bytes], tried: bool = False) -> None:
        """Read command by command, each under the limits of the state it finds the client in.

        ``tried`` says that the fast way has just refused this input.
        """
        client, framer = self.client, self.framer
        assert framer is not None
        size, seen = sum(map(len, replies)), len(replies)
        while self._may_run() and size <= FULL:
            framer.authenticated = client.state != "unauthenticated"
            words = framer.next()
            if words is None:
                break
            execute(client, [words], replies, time_ns())
            fast = framer.authenticated and not tried and not framer.missing
            if fast and len(framer) > SLICE and self._may_run():
                # Past the command that was cut off the fast way is open again.
                data = framer.take_rest()
                self.framer = None
                self._run_batch(replies, data)
                return
            size += sum(map(len, replies[seen:]))
            seen = len(replies)
        if framer.between_commands:
            self.framer = None
        elif len(framer) > self.engine.config.client_query_buffer_limit:
            self.engine.counters.query_limit_disconnections += 1
            logs.warning("Client closed: its query buffer is too long", id=client.id)
            self.closing = True

    def _may_run(self) -> bool:
        """Nothing stands in the way of this client's next command."""
        client = self.client
        return not (
            client.backlog or client.blocked is not None or client.close_after_reply or self.closing
        )

    def _refuse(self, error: ProtocolError, replies: list[bytes]) -> None:
        client = self.client
        client.close_after_reply = True
        if isinstance(error, HttpRequest):
            self.gate.abuse(
                "possible SECURITY ATTACK: a POST or Host: header on the Redis port", client
            )
            return
        self.engine.counters.errors["ERR"] += 1
        text = f"ERR Protocol error: {error.text}".encode("latin-1")
        replies.append(CommandError.line(text))

    def _keep(self, data: bytes) -> None:
        """Put input aside; stop reading when there is a lot."""
        self.inbox += data
        if len(self.inbox) > READ_AHEAD and self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on with what waits, soon: not within somebody else's command."""
        if not self.scheduled and not self.closing:
            self.scheduled = True
            self.gate.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Run a piece of what waits, if it still may; the rest has its turn after other clients."""
        self.scheduled = False
        client = self.client
        if (
            self.clogged
            or self.closing
            or client.blocked is not None
            or client in self.engine.pause.held
        ):
            return
        if client.backlog:
            out = self._answered(self._run_backlog)
        elif self.framer is not None and not self.framer.starved:
            out = self._answered(self._run_framed)
        elif self.inbox:
            data = bytes(memoryview(self.inbox)[:PIECE])
            del self.inbox[:PIECE]
            if len(self.inbox) <= READ_AHEAD and self.transport is not None:
                self.transport.resume_reading()
            out = self.feed(data)
        else:
            self._settle()
            return
        if out:
            self.write(out)
        if client.close_after_reply or self.closing:
            self.close()
        else:
            self.resume()

    def _run_backlog(self, replies: list[bytes]) -> None:
        client = self.client
        batch, client.backlog = client.backlog, []
        client.last_ms = client.keyspace.now_ms = time_ns() // 1_000_000
        self._run(replies, batch)

    # Output

    def send(self, data: bytes) -> None:
        """Send bytes now, or behind the replies of the batch that is running."""
        if self.replies is not None:
            self.replies.append(data)
        elif data:
            self.write(data)

    def write(self, data: bytes, durable: bool = False) -> None:
        """Hand bytes to the kernel, or to the transport where the kernel takes no more.

        Unless they are ``durable``, they may have to wait until disk or replicas have them.
        """
        barrier = self.engine.barrier
        if barrier is not None and not durable and not barrier(self, data):
            return
        self.client.net_out += len(data)
        if not self.congested or self._is_drained():
            try:
                sent = os.write(self.descriptor, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.kill()
                return
            if sent == len(data):
                return
            data = data[sent:]
            self.congested = True
        if self.transport is not None:
            self.transport.write(data)
            self.gate.check_output(self.client)

    def _is_drained(self) -> bool:
        """The transport has sent all that it was given."""
        if self.transport is not None and self.transport.get_write_buffer_size() == 0:
            self.congested = False
        return not self.congested

    def memory(self) -> tuple[int, int]:
        """Bytes in the query buffer and in the output buffer.

        Input whose turn comes soon is none of it: Redis would have left it in the kernel's buffers.
        """
        framer = self.framer
        held = len(self.inbox) + (framer.held if framer is not None else 0)
        stuck = self.clogged or self.client.blocked is not None
        if not stuck and (self.inbox or (framer is not None and not framer.starved)):
            held = max(held - FULL, 0)
        waiting = self.transport.get_write_buffer_size() if self.transport is not None else 0
        return held, waiting + self.parked + self.held + self.kept

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._stop()
        if self.transport is not None and not (self.parked or self.held or self.kept):
            self.transport.close()

    def kill(self) -> None:
        """Close at once."""
        self._stop()
        # Its number may soon be that of another file.
        self.descriptor = -1
        if self.transport is not None:
            with suppress(OSError):
                self.transport.abort()

    def _stop(self) -> None:
        self.closing = True
        self.open = False
        # Nothing must be taken from a list for a client that will not get it.
        self.engine.blocking.forget(self.client)
