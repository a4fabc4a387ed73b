"""The append-only file of a server: loaded, written, rewritten when it is long.

Replies leave once the disk has what they say: `barrier` stands before every byte that is sent.
With ``appendfsync always`` replies are parked until the flush that contains them, which all
clients that write meanwhile share.  When the disk fails, the clients whose writes it does not have
are closed, as nobody knows what will become of these; later writes are refused (MISCONF), and
reads go on.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import ENOSPC
from time import monotonic, time
from typing import TYPE_CHECKING, TypeVar

from distcache_replication.archive import Archive
from distcache_replication.directory import Directory, Refused
from distcache_replication.disk import ALWAYS, EVERYSEC, Disk, Done
from distcache_replication.files import Files
from distcache_replication.log import Log
from distcache_replication.manifest import File
from distcache_replication.upgrade import upgrade

from distcache_server import logs
from distcache_server.config import ConfigError
from distcache_server.journal import Journal
from distcache_server.quoting import quote, split
from distcache_server.retention import Keeper
from distcache_server.rewriting import Rewriter
from distcache_server.saving import Saver
from distcache_server.snapshot_file import CannotLoad
from distcache_server.startup import Loader

T = TypeVar("T")

if TYPE_CHECKING:
    from distcache_server.connection import Connection
    from distcache_server.engine import Engine

TICK_S = 0.1
FLUSH_S = 0.5
"""Under ``everysec`` a flush begins this long after the last: what it takes must fit in too."""
RETRY_S = 1.0
NO_SNAPSHOTS = (
    b"Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
    b" Commands that may modify the data set are disabled, because this instance is configured to"
    b" report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option)."
    b" Please check the Redis logs for details about the RDB error."
)


class Persistence:
    """What a server keeps on disk."""

    def __init__(self, engine: Engine, stopping: Callable[[], bool]) -> None:
        config = engine.config
        self.engine = engine
        self.loop = asyncio.get_running_loop()
        self.stopping = stopping
        """Whether a load is of no use any more."""
        self.files = Files()
        self.log = Log(config.repl_backlog_size)
        self.history = engine.history
        self.journal = Journal(engine, self.log, self.history)
        self.begun = False
        """What is on disk has been loaded."""
        self.is_known = False
        """What was loaded is the whole of its history up to the end of the log."""
        self.walking = asyncio.Lock()
        """Held by whoever walks over all keys."""
        self.filing = asyncio.Lock()
        """Held by whoever changes which files there are."""
        self.directory = self._directory()
        self.archive = Archive(self.files)
        self.disk: Disk | None = None
        self.rewriter = Rewriter(self)
        self.keeper = Keeper(self)
        self.saver = Saver(self)
        engine.snapshot.whereabouts = self._whereabouts
        self.base_size = 0
        """Bytes in the files after the last rewrite, or at the start."""
        self.closed_size = 0
        """Bytes in increments since then, without the present one."""
        self._threads = ThreadPoolExecutor(2, "distcache-disk")
        self._readers = ThreadPoolExecutor(1, "distcache-read")
        self._parked: deque[tuple[int, Connection, bytes]] = deque()
        self.published: int | None = None
        """How far the changefeed in Kafka is, where there is one."""
        self.told: Callable[[], None] = _nobody
        """Told when the disk has more, or is used no more."""
        self.ship: Callable[[], None] = _nobody
        """Sends replicas the log: what a flush releases first of all."""
        self._commit_due = False
        self._flushed_s = 0.0
        self._tried_s = 0.0
        self._log_error: bytes | None = None
        """Why the log cannot be written."""
        engine.persistence = self

    def _directory(self, folder: str | None = None) -> Directory:
        config = self.engine.config
        folder = folder or os.path.abspath(config.locate(config.appenddirname))
        return Directory(self.files, folder, config.appendfilename, split, quote)

    def place(self) -> Directory:
        """Where a log that begins now is to be; what was left there is to become its history.

        In a thread; raises OSError.
        """
        directory = self._directory()
        if directory.folder == self.directory.folder and self.directory.manifest.files:
            return self.directory
        try:
            directory.open()
        except Refused as error:
            logs.warning("An old log is in the way, and is given up", reason=str(error))
        return directory

    # Beginning and end

    async def load(self) -> bool:
        """Load the log; clients are answered meanwhile.  Raises CannotLoad, OSError.

        False where one was begun while the server ran, and it did not live to see its first base:
        then the keys are those of the snapshot, as if it had not been begun.
        """
        directory = self.directory
        try:
            old = upgrade(self.files, directory.folder, directory.name, split, quote)
            if old is not None:
                logs.notice("Took an old log into its directory", file=old, to=directory.folder)
            if directory.open():
                await self._load()
            else:
                self._tell_of_no_log()
        except Refused as error:
            raise CannotLoad(str(error)) from None
        return not directory.unfinished

    def _tell_of_no_log(self) -> None:
        directory, snapshot = self.directory, self.engine.snapshot.path
        if directory.unfinished:
            logs.warning("The log never had its first base: it is begun anew", at=directory.folder)
        elif os.path.exists(snapshot):
            logs.warning("There is no log yet, and the snapshot is not loaded", file=snapshot)

    async def _load(self) -> None:
        engine, directory = self.engine, self.directory
        started_s = monotonic()
        loader = Loader(engine, directory)
        for progress in loader.load():
            if engine.loading is None:
                engine.loading = progress
                engine.rebuild()
            await asyncio.sleep(0)
            if self.stopping():
                return
        engine.loading = None
        engine.rebuild()
        seconds = f"{monotonic() - started_s:.3f}"
        keys = sum(map(len, engine.databases))
        logs.notice("DB loaded from append only file", keys=keys, seconds=seconds)
        if directory.history:
            self.history.reset(directory.history, directory.lineage)
            self.is_known = directory.checked == directory.offset
            if engine.config.replicaof is None or not self.is_known:
                self.history.fork(directory.checked)
        engine.selected = loader.replay.selected
        self.log.restart(directory.offset)
        self.archive.load(directory, monotonic() - time())

    def reload(self) -> bool:
        """Load the log again, here and now; False where there is none.  Raises Refused, OSError.

        While nothing is logged it is the one that was left when something was last.
        """
        engine, disk = self.engine, self.disk
        if disk is not None and not self.complete:
            return False
        if disk is not None and (disk.error is not None or not disk.write()):
            raise disk.error or OSError("the log cannot be written now")
        now_ms = engine.now_ms
        directory = self._directory(None if disk is None else self.directory.folder)
        if not directory.open():
            return False
        for keyspace in engine.databases:
            keyspace.clear()
        loader = Loader(engine, directory)
        engine.loading = loader.progress
        try:
            for _ in loader.load():
                pass
        finally:
            engine.loading = None
            for keyspace in engine.databases:
                keyspace.now_ms = now_ms
            engine.evictor.recount()
        engine.snapshot.saved_changes = engine.snapshot.all_changes()
        return True

    def start(self) -> None:
        """Log from now on, where that is configured; raises OSError."""
        engine = self.engine
        self.begun = True
        if engine.config.appendonly and engine.loading is None:
            if self.directory.unfinished:
                self.rewriter.begin()
            else:
                self._append()
        for change, name in (
            (self._switch_on_or_off, "appendonly"),
            (self._moved, "dir"),
            (self._policy_changed, "appendfsync"),
            (self._limit_changed, "repl-backlog-size"),
            (self.judge, "save"),
            (self.judge, "stop-writes-on-bgsave-error"),
        ):
            engine.config.on_change(change, name)

    def _append(self) -> None:
        """Write to a new increment from now on; raises OSError."""
        directory = self.directory
        file, descriptor = directory.begin()
        directory.clean_up()
        # So that the next start knows this history, too, if nothing is written.
        self.attach()
        self.switch(file, descriptor).write()
        self.base_size = directory.size

    def attach(self) -> Disk:
        """Log to a disk that has no file yet; then `switch`."""
        disk = Disk(self.log, self.files, self._off, self.engine.config.appendfsync, self._changed)
        self.disk = disk
        disk.attach()
        self.journal.attach()
        self.engine.on_disk = self.barrier
        self.engine.arrange_barrier()
        return disk

    def switch(self, file: File, descriptor: int) -> Disk:
        """Let the log go on in a new increment; see `Disk.switch`."""
        disk = self.disk
        assert disk is not None
        self.archive.settle()
        self.closed_size += disk.size
        # Else the next write says where it belongs.
        database = self.engine.selected if self.engine.follows else 0
        disk.switch(descriptor, self.history, database)
        self.archive.switch(self.directory.folder, file, disk, monotonic())
        return disk

    def become(self, id_: str, offset: int) -> None:
        """Go on under another history, which is the same up to ``offset``; the disk notes it."""
        self.history.become(id_, offset)
        if self.disk is not None:
            self.disk.rename(self.history)

    def detach(self) -> None:
        """Write what is left and log no more."""
        disk, self.disk = self.disk, None
        if disk is None:
            return
        self.engine.on_disk = None
        self.engine.arrange_barrier()
        self.archive.clear()
        self.journal.detach()
        try:
            disk.close()
        except OSError as error:
            logs.warning("The last writes may not be on disk", error=error.strerror)
        self._release(self.log.end)
        self._log_error = None
        self.judge()
        if not self.journal.active and not self.engine.follows:
            # What is written from now on is in no log.
            self.history.reset()
            self.log.restart(self.log.end)
        self.told()

    async def settle(self) -> None:
        """The server is about to stop: nobody is to wait for the first base, which will not be."""
        if self.disk is not None and not self.complete:
            self.rewriter.stop()
            await self.rewriter.wait()

    async def stop(self) -> None:
        """Leave everything on disk."""
        self.saver.stop()
        self.rewriter.stop()
        await self.saver.wait()
        await self.rewriter.wait()
        await self.keeper.wait()
        self.detach()
        self._threads.shutdown(wait=True)
        self._readers.shutdown(wait=True)

    @property
    def complete(self) -> bool:
        """The files hold all keys: false until the first base after appendonly was turned on."""
        return self.disk is not None and self.disk.complete

    @property
    def kept(self) -> int:
        """Up to where a start would have the log; -1 where none would, as the base is not done."""
        return self.disk.flushed if self.disk is not None and self.disk.complete else -1

    def rewritten(self, well: bool) -> None:
        """A rewrite is over."""
        disk = self.disk
        if disk is None:
            return
        if well and (disk.lost or not disk.complete):
            disk.recovered()
        elif not disk.complete:
            # There never was a base, so that nothing in the increment is of use.
            self.detach()

    def restart(self, offset: int) -> None:
        """All keys are others now: the log goes on at another offset, and the files begin anew."""
        self.rewriter.stop()
        self.detach()
        self.log.restart(offset)
        if self.engine.config.appendonly:
            self.rewriter.begin()

    # Snapshots

    @property
    def saving(self) -> bool:
        """A snapshot is being made, for the disk or for replicas."""
        return self.saver.running or (self.walking.locked() and not self.rewriter.walking)

    def flushed(self) -> None:
        """All keys are gone: where snapshots are kept, there is one that says so."""
        engine = self.engine
        self.saver.stop()
        if engine.config.save and engine.loading is None:
            engine.snapshot.save()
            self.judge()

    def save_at_end(self, save: bool | None, force: bool) -> bool:
        """Write the last snapshot, where there is to be one; whether the server may stop.

        ``save`` is what was asked for, if anything was.
        """
        engine = self.engine
        engine.drains = save is not False
        # Until it is loaded, what is there is nothing or a part of the snapshot.
        if not self.begun or engine.loading is not None:
            return True
        if engine.config.appendonly and not self.complete and self.rewriter.running:
            # Where there are no snapshots nothing would be left of the keys.
            logs.warning("Writing initial AOF", exiting="yes" if force else "no")
            if not force:
                return False
        self.saver.stop()
        if save is None:
            save = bool(engine.config.save)
        if not save:
            return True
        logs.notice("Saving the final RDB snapshot before exiting.")
        if engine.snapshot.save():
            return True
        logs.warning("Error trying to save the DB", exiting="yes" if force else "no")
        return force

    def _whereabouts(self) -> dict[bytes, bytes]:
        """What a snapshot of now says of our place in the history of the log, as Redis has it."""
        engine, replication = self.engine, self.engine.replication
        selected = max(self.journal.selected, 0)
        known = self.journal.active
        if engine.follows:
            known = replication is not None and replication.has_history
            selected = engine.selected
        if not known:
            return {}
        return {
            b"repl-stream-db": b"%d" % selected,
            b"repl-id": self.history.id.encode(),
            b"repl-offset": b"%d" % self.log.end,
        }

    # Settings

    def _switch_on_or_off(self) -> None:
        if self.engine.config.appendonly and self.disk is None:
            if not self.can_make_files():
                raise ConfigError("Unable to turn on AOF. Check server logs.")
            self.rewriter.begin()
        elif not self.engine.config.appendonly:
            self.rewriter.stop()
            self.detach()

    def can_make_files(self) -> bool:
        """Whether new files can be made where those of the log are, or are to be."""
        folder = self.directory.folder if self.disk is not None else self._directory().folder
        if not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        if os.access(folder, os.W_OK | os.X_OK):
            return True
        logs.warning("Cannot rewrite the log: no files can be made here", folder=folder)
        return False

    def _moved(self) -> None:
        if self.disk is not None and self._directory().folder != self.directory.folder:
            logs.warning(
                "The log stays where it is until appendonly is turned off and on",
                folder=self.directory.folder,
            )

    def _policy_changed(self) -> None:
        if self.disk is not None:
            self.disk.policy = self.engine.config.appendfsync
            if self.disk.write():
                self._changed()

    def _limit_changed(self) -> None:
        self.log.limit = self.engine.config.repl_backlog_size
        self.log.trim()

    # Replies

    def barrier(self, connection: Connection, data: bytes) -> bool:
        """Whether these bytes may be sent now; else they are kept, or their client is closed."""
        disk, end = self.disk, self.log.end
        assert disk is not None
        if disk.acknowledged == end and not connection.parked:
            return True
        if disk.policy != ALWAYS and disk.error is None and disk.write():
            return True
        if disk.error is None:
            self._parked.append((end, connection, data))
            connection.parked += len(data)
            if not self._commit_due and not disk.flushing:
                self._commit_due = True
                self.loop.call_soon(self._commit)
            return False
        if connection.client.logged > disk.acknowledged:
            connection.kill()
            return False
        return True

    def _commit(self) -> None:
        """Flush what all clients wrote that were served in this round of the loop."""
        self._commit_due = False
        if self.disk is not None:
            self.ship()
            self.disk.commit()

    def _changed(self) -> None:
        """More may be acknowledged, or the disk failed or works again."""
        disk = self.disk
        if disk is None:
            return
        if disk.error is None:
            self._refuse_writes(None)
            self._release(disk.acknowledged)
            self.told()
            if disk.policy == ALWAYS:
                # The next flush begins now, and releases that, too.
                self.ship()
            return
        if disk.error.errno == ENOSPC:
            self.keeper.make_room()
        reason = disk.error.strerror or str(disk.error)
        if self._refuse_writes(b"Errors writing to the AOF file: " + reason.encode()):
            until = "a new base is written" if disk.lost else "it can be written"
            logs.warning("Cannot write the log: writes are refused", error=reason, until=until)
        self._release(disk.acknowledged)
        while self._parked:
            _, connection, data = self._parked.popleft()
            connection.parked -= len(data)
            if connection.client.logged > disk.acknowledged:
                connection.kill()
            else:
                self._send(connection, data)

    def _refuse_writes(self, reason: bytes | None) -> bool:
        """Answer writes with MISCONF, or no more; whether that is new."""
        if self._log_error == reason:
            return False
        if reason is None:
            logs.notice("The log can be written again")
        self._log_error = reason
        self.judge()
        return True

    def judge(self) -> None:
        """See whether writes must be refused: the log or the snapshot cannot be written."""
        engine, config = self.engine, self.engine.config
        reason = self._log_error
        if engine.snapshot.failed and config.save and config.stop_writes_on_bgsave_error:
            reason = NO_SNAPSHOTS
        if reason != engine.broken:
            engine.broken = reason
            engine.rebuild()

    def _release(self, offset: int) -> None:
        """Send what waited for the disk to come this far: replicas first, then who wrote it."""
        parked = self._parked
        released: list[tuple[Connection, bytes]] = []
        while parked and parked[0][0] <= offset:
            _, connection, data = parked.popleft()
            released.append((connection, data))
        released.sort(key=_is_no_replica)
        for connection, data in released:
            connection.parked -= len(data)
            self._send(connection, data)

    def _send(self, connection: Connection, data: bytes) -> None:
        confirm = self.engine.confirm
        if confirm is None or confirm(connection, data):
            connection.write(data, durable=True)
        if connection.closing and not connection.parked:
            connection.close()

    # What goes on besides

    async def run(self) -> None:
        """Write, flush and rewrite when it is time, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            if self.engine.ticking:
                self.tick(monotonic())

    def tick(self, now_s: float) -> None:
        disk, config = self.disk, self.engine.config
        if disk is not None and disk.error is not None:
            pause = RETRY_S + max(self.rewriter.last_s, 0)
            if now_s - self._tried_s >= pause and not self.rewriter.running:
                self._tried_s = now_s
                if disk.lost:
                    if not disk.flushing:
                        self.rewriter.begin()
                elif disk.write():
                    disk.commit()
        elif disk is not None:
            disk.write()
            held = config.no_appendfsync_on_rewrite and self.rewriter.running
            if disk.policy == ALWAYS:
                self.ship()
                disk.commit()
            elif disk.policy == EVERYSEC and now_s - self._flushed_s >= FLUSH_S and not held:
                self._flushed_s = now_s
                disk.commit()
        elif config.appendonly and now_s - self._tried_s >= RETRY_S and not self.stopping():
            # An earlier attempt to begin failed.
            self._tried_s = now_s
            self.rewriter.begin()
        self.keeper.tick(now_s)
        if self.rewriter.scheduled:
            self.rewriter.begin()
        if disk is not None and not self.rewriter.running and self._is_long():
            logs.notice("Starting automatic rewriting of AOF", size=self.size)
            self.rewriter.begin()
        if not self.walking.locked() and not self.rewriter.running:
            self.saver.tick(int(time()))

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return self.base_size + self.closed_size + (self.disk.size if self.disk is not None else 0)

    def _is_long(self) -> bool:
        config = self.engine.config
        percentage, size = config.auto_aof_rewrite_percentage, self.size
        if not percentage or size <= config.auto_aof_rewrite_min_size:
            return False
        return (size - self.base_size) * 100 >= percentage * max(self.base_size, 1)

    # Threads

    def _off(self, work: Callable[[], None], done: Done) -> None:
        """Run a function in a thread, and then the other in the loop."""

        def finished(future: asyncio.Future[None]) -> None:
            error = future.exception()
            if error is not None and not isinstance(error, OSError):
                logs.failure("Unexpected error on the way to the disk", error)
                error = OSError(str(error))
            done(error)

        self.loop.run_in_executor(self._threads, work).add_done_callback(finished)

    async def off(self, work: Callable[[], T]) -> T:
        """Run a function in a thread; its result, or what it raises."""
        return await self.loop.run_in_executor(self._threads, work)

    async def off_reading(self, work: Callable[[], T]) -> T:
        """`off`, for who reads and checks the log: no write waits for it."""
        return await self.loop.run_in_executor(self._readers, work)


def _is_no_replica(released: tuple[Connection, bytes]) -> bool:
    return released[0].client.replica is None


def _nobody() -> None:
    """There is nobody to tell."""
