"""Builds the parts of a server, runs them in one TaskGroup, and stops them in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from distcache_server import backing, commands, dispatch, listeners, logs, memory, systemd
from distcache_server.backing import CannotBack
from distcache_server.blocking import Cancel
from distcache_server.changefeed.publishing import Publishing
from distcache_server.changefeed.stream import Changefeed
from distcache_server.config import Config, ConfigError
from distcache_server.connection import Connection
from distcache_server.engine import Engine, Shutdown
from distcache_server.errors import CannotSave, ShuttingDown
from distcache_server.expiry import Sweeper
from distcache_server.gate import Gate
from distcache_server.listeners import Listener, Place
from distcache_server.migrating import Migrations
from distcache_server.pausing import SHUTDOWN
from distcache_server.persistence import Persistence
from distcache_server.replication import Replication
from distcache_server.snapshot_file import CannotLoad

SWEEP_S = 0.03
"""Between two looks for keys that are due, when there was nothing left to do."""
FLUSH_S = 2.0
"""How long a stopping server waits for clients to take their last replies."""

commands.load()


class Server:
    """A server in the running event loop: ``async with Server(config) as server: ...``.

    ``server.port`` is the TCP port, also where the configuration leaves the choice to the system
    (``any_port``); ``server.stopped`` is set when a client sent SHUTDOWN.  It begins with the keys
    of the snapshot on disk, if there is one, unless ``load`` is off.  Raises CannotListen,
    CannotLoad, CannotBack.
    """

    def __init__(
        self, config: Config | None = None, *, any_port: bool = False, load: bool = True
    ) -> None:
        self.config = config or Config()
        self.any_port = any_port
        self.load = load
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(self.config, self._call_later)
        dispatch.install(self.engine)
        self.gate = Gate(self.engine, self.loop.call_soon, self._shutdown)
        self.engine.stop = self._shutdown
        self.sweeper = Sweeper(self.engine)
        self.stopped = asyncio.Event()
        self.persistence = Persistence(self.engine, self.stopped.is_set)
        self.replication = Replication(self.engine, self.persistence)
        self.replication.panicked = self._panic
        self.status = 0
        """What the process is to end with."""
        self.changefeed = Changefeed(self.engine, self.persistence)
        self.publishing = Publishing(self.engine, self.persistence)
        self.migrations = Migrations(self.engine, self.loop)
        self.place = Place(self._serve_clients)
        self.metrics_place = Place(self._serve_metrics)
        self.unix_place = Place(self._serve_unix)
        self._work: asyncio.Task[None] | None = None
        self._leave_requests: Callable[[], None] | None = None
        """Close the connections to the endpoints of metrics-port."""

    def _call_later(self, seconds: float, callback: Callable[[], None]) -> Cancel:
        return self.loop.call_later(seconds, callback).cancel

    def _shutdown(self, _: Shutdown) -> None:
        # What is written from now on would be in no snapshot.
        self.engine.pause.hold_writes(SHUTDOWN)
        self.stopped.set()

    def _panic(self) -> None:
        self.status = 1
        self._shutdown(Shutdown())

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        """Without it nothing expires or is flushed: better no server than that."""
        if not work.cancelled() and isinstance(error := work.exception(), Exception):
            logs.failure("Unexpected error: stopping, as only commands would go on", error)
            self.status = 1
            self.shut_down(("force",))

    def shut_down(self, flags: tuple[str, ...] = ()) -> None:
        """Stop as SHUTDOWN with these words does; raises CannotSave."""
        save = True if "save" in flags else False if "nosave" in flags else None
        if not self.persistence.save_at_end(save, "force" in flags):
            raise CannotSave
        self.engine.drains &= "now" not in flags
        self._shutdown(Shutdown())

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except (listeners.CannotListen, CannotLoad, CannotBack, OSError):
            await self.stop()
            raise
        return self

    async def _start(self) -> None:
        config = self.config
        clients = listeners.raise_file_limit(config.maxclients)
        if clients != config.maxclients:
            logs.warning(
                "maxclients reduced: the limit of open files (ulimit -n) is too low",
                maxclients=clients,
                needed=config.maxclients + listeners.RESERVED_FILES,
            )
            config.set([(b"maxclients", b"%d" % clients)])
        await backing.start(self.engine, self.loop.call_soon)
        # All listen from here on, but nobody is served before the first pause: by then the keys
        # are loaded, or clients are told that they are not.
        self._find_place()
        if config.unixsocket:
            path = config.locate(config.unixsocket)
            self.unix_place.listen(
                [listeners.unix(path, config.unixsocketperm, config.tcp_backlog)]
            )
        self._find_metrics_place()
        for move, names, refusal in (
            (self._find_place, ("port",), NO_PORT),
            (self._find_place, ("bind",), "Failed to bind to specified addresses."),
            (self._find_metrics_place, ("metrics-port", "metrics-bind"), NO_PORT),
        ):
            config.on_change(_or_refuse(move, refusal), *names)
        config.on_change(self._allow_clients, "maxclients")
        logged = config.appendonly and await self.persistence.load()
        if self.load and not logged:
            await self._load()
        self.persistence.start()
        if self.engine.loading is None:
            self.replication.start()
            await backing.begin(self.engine)
        self._work = self.loop.create_task(self._run())
        self._work.add_done_callback(self._work_ended)
        for place in (self.place, self.unix_place, self.metrics_place):
            await place.ready()

    async def _load(self) -> None:
        """Load the snapshot; clients are answered meanwhile, most of them that it is not done."""
        engine = self.engine
        replica = self.config.replicaof is not None
        keys = 0
        for progress in engine.snapshot.load(keep_expired=replica):
            if engine.loading is None:
                engine.loading = progress
                engine.rebuild()
            delay_us = (progress.keys - keys) * self.config.key_load_delay
            keys = progress.keys
            await asyncio.sleep(max(delay_us, 0) / 1e6)
            if self.stopped.is_set():
                return  # to stop at once, and to show nobody a part of the keys
        if engine.loading is not None:
            engine.loading = None
            engine.rebuild()
            self.replication.resume(engine.snapshot.loaded_aux)

    @property
    def port(self) -> int:
        """The TCP port; 0 for none."""
        return self.place.port

    @property
    def addresses(self) -> list[str]:
        """The TCP addresses that are listened on."""
        return self.place.names

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _allow_clients(self) -> None:
        """CONFIG SET maxclients: as many files may be open, or it is refused."""
        allowed = listeners.raise_file_limit(self.config.maxclients)
        if allowed < self.config.maxclients:
            raise ConfigError(
                "The operating system is not able to handle the specified number of clients,"
                f" try with {allowed}"
            )

    def _find_place(self) -> None:
        """Listen for clients where the configuration says."""
        config = self.config
        port = config.port or (self.port if self.any_port else 0)
        addresses = config.bind if port or self.any_port else ()
        self.place.move(addresses, port, config.tcp_backlog)
        self.engine.port = self.port

    async def _serve_clients(self, sock: socket.socket) -> Listener:
        backlog = self.config.tcp_backlog
        return await self.loop.create_server(
            lambda: Connection(self.gate), sock=sock, backlog=backlog
        )

    async def _serve_unix(self, sock: socket.socket) -> Listener:
        backlog = self.config.tcp_backlog
        return await self.loop.create_unix_server(
            lambda: Connection(self.gate), sock=sock, backlog=backlog
        )

    def _find_metrics_place(self) -> None:
        """Listen for requests of metrics where the configuration says."""
        config = self.config
        addresses = (config.metrics_bind,) if config.metrics_port else ()
        self.metrics_place.move(addresses, config.metrics_port, config.tcp_backlog)

    async def _serve_metrics(self, sock: socket.socket) -> Listener:
        # Loaded only where it is asked for: prometheus-client takes 5 MB.
        from distcache_server.endpoints import Endpoints, Request

        if self._leave_requests is not None:
            self._leave_requests()
        endpoints = Endpoints(self.engine, ready=self._is_ready)
        self._leave_requests = endpoints.close
        logs.notice("Serving metrics", at=listeners.shown(sock))
        return await self.loop.create_server(lambda: Request(endpoints), sock=sock)

    def _is_ready(self) -> bool:
        return not self.stopped.is_set() and self.engine.loading is None

    async def _run(self) -> None:
        """Everything that goes on besides commands, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            group.create_task(self._tick())
            group.create_task(self.persistence.run())
            group.create_task(self.replication.run())
            if self.engine.changes is not None:
                group.create_task(self.engine.changes.run())
            if self.engine.reader is not None and self.engine.reader.warming is not None:
                group.create_task(self.engine.reader.warming.run())
            group.create_task(self.publishing.run())

    async def _sweep(self) -> None:
        while True:
            more = self.sweeper.step(self.engine.now_ms)
            # With more to do, other callbacks have their turn, and then it goes on at once.
            await asyncio.sleep(0 if more else SWEEP_S)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.gate.tick()

    async def stop(self) -> None:
        """Accept nobody any more, tell who waits, send what is left, close."""
        self.place.close()
        self.metrics_place.close()
        self.unix_place.close()
        if self._leave_requests is not None:
            self._leave_requests()
        await self.persistence.settle()
        await self.publishing.finish(self.config.shutdown_timeout)
        if self._work is not None:
            self._work.remove_done_callback(self._work_ended)
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await self.migrations.stop()
        await self.changefeed.stop()
        await backing.drain(self.engine)
        await self.replication.stop()
        await backing.stop(self.engine)
        clients = list(self.engine.clients.values())
        for client in clients:
            if client.blocked is not None:
                self.engine.blocking.forget(client)
                client.send(ShuttingDown().wire())
        end = self.loop.time() + FLUSH_S
        while any(c.memory()[1] for c in clients) and self.loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self.persistence.stop()
        for client in clients:
            client.kill()
        await asyncio.sleep(0)
        if self.config.unixsocket:
            with suppress(FileNotFoundError):
                os.unlink(self.config.locate(self.config.unixsocket))


NO_PORT = "Unable to listen on this port. Check server logs."


def _or_refuse(move: Callable[[], None], refusal: str) -> Callable[[], None]:
    """Move, or answer CONFIG SET with a refusal."""

    def change() -> None:
        try:
            move()
        except listeners.CannotListen as error:
            logs.warning("Cannot listen", reason=str(error))
            raise ConfigError(refusal) from None

    return change


@asynccontextmanager
async def serve(
    port: int = 0, host: str = "127.0.0.1", **settings: object
) -> AsyncIterator[Server]:
    """Run a server in this event loop: ``async with serve() as server: ... server.port``.

    ``port`` 0 takes a free one.  ``settings`` are directives of redis.conf, with ``_`` for ``-``:
    ``serve(maxmemory="100mb", appendonly="no")``.  A snapshot is loaded where ``dir`` or
    ``dbfilename`` says which, and saved where ``save`` says when.  Raises
    ConfigError, CannotListen, CannotLoad, CannotBack.
    """
    config = Config()
    words = ["--port", str(port), "--bind", host, "--save", ""]
    for name, value in settings.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        words += [f"--{name.replace('_', '-')}", str(value)]
    config.load_arguments(words)
    config.check()
    load = not {"dir", "dbfilename"}.isdisjoint(settings)
    async with Server(config, any_port=not port, load=load) as server:
        yield server


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop's, where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _serve(config: Config) -> int:
    """Run until a signal or SHUTDOWN; the exit status."""
    if not (config.port and config.bind) and not config.unixsocket:
        logs.warning("Configured to not listen anywhere, exiting.")
        return 1
    try:
        server = Server(config)
    except ConfigError as error:
        logs.warning("The configuration cannot be used", reason=error.reason)
        return 1

    def stop(number: int) -> None:
        if server.stopped.is_set():
            logs.warning("Told twice: exiting without waiting for clients")
            os._exit(1)
        logs.warning("Received a signal: shutting down", signal=signal.Signals(number).name)
        flags = config.shutdown_on_sigint if number == signal.SIGINT else config.shutdown_on_sigterm
        stopping = server.replication.stopping
        try:
            if stopping.waiting:
                stopping.finish()
            elif "now" not in flags and stopping.must_wait():
                stopping.begin(partial(server.shut_down, flags))
            else:
                server.shut_down(flags)
        except CannotSave:
            logs.warning(
                "Errors trying to shut down the server: it goes on."
                " SHUTDOWN NOSAVE or FORCE stops it without the snapshot"
            )

    server.engine.evictor.process_size = memory.resident
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell_of_bug)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    # The terminal may close: as in Redis, that is no reason to stop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await server.__aenter__()
    except listeners.CannotListen as error:
        logs.warning("Cannot listen", reason=str(error))
        return 1
    except CannotBack as error:
        logs.warning("The backing store cannot be used", reason=str(error))
        return 1
    except CannotLoad as error:
        logs.warning("The data on disk cannot be loaded", reason=str(error))
        return 1
    except OSError as error:
        logs.warning("The data on disk cannot be used", file=error.filename, error=error.strerror)
        return 1
    logs.running(server.port, config.dir, config.unixsocket)
    logs.ready(server.addresses, config.unixsocket)
    systemd.notify_systemd("READY=1")
    # Nothing that exists now is garbage: spare the collector from looking at it.
    gc.collect()
    gc.freeze()
    await server.stopped.wait()
    systemd.notify_systemd("STOPPING=1")
    await server.stop()
    logs.notice("distcache is now ready to exit, bye bye")
    return server.status


def _tell_of_bug(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the loop caught, as nobody else did."""
    message, error = context["message"], context.get("exception")
    if isinstance(error, BaseException):
        logs.failure("Unexpected error", error, said=message)
    else:
        logs.warning("Unexpected event", said=message)


def run(config: Config) -> int:
    """Run the daemon in this process until it is told to stop; the exit status."""
    # The engine creates no reference cycles, so there is nothing to collect; with millions of
    # values a collection would stop the world for seconds.
    gc.disable()
    try:
        # The event loop itself opens some.
        listeners.raise_file_limit(config.maxclients)
    except listeners.CannotListen as error:
        logs.warning("Cannot listen", reason=str(error))
        return 1
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(config))
