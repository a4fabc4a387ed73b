"""The server's part in replication: primary or replica, and what changes with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from distcache_replication.handshake import Resync
from distcache_replication.history import new_id

from distcache_server import logs
from distcache_server.errors import InstanceChanged
from distcache_server.failing_over import FailingOver
from distcache_server.journal import UNKNOWN
from distcache_server.link import CONNECT, Link, Session
from distcache_server.replay import Replay
from distcache_server.replicas import Replicas
from distcache_server.stopping import Stopping

if TYPE_CHECKING:
    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace
    from distcache_server.persistence import Persistence

TICK_S = 0.1
ID = re.compile(rb"[0-9a-f]{40}")


class Replication:
    """The replicas of a server, and its link to a primary where it is a replica itself."""

    def __init__(self, engine: Engine, persistence: Persistence) -> None:
        self.engine = engine
        self.persistence = persistence
        self.loop = persistence.loop
        self.replicas = Replicas(engine, persistence)
        self.failing_over = FailingOver(self)
        self.stopping = Stopping(self.replicas)
        self.link: Link | None = None
        self.replay = Replay(engine)
        """Applies the log of a primary; knows which database it has selected."""
        self.replay.client.user = b""
        self.has_history = False
        """Our keys are those of our history at the end of our log."""
        self.panicked: Callable[[], None] = _nothing
        """Ends the server, where the configuration forbids to go on as a replica."""
        engine.replication = self
        for name in ("replica-read-only", "replica-serve-stale-data"):
            engine.config.on_change(self._rules_changed, name)
        self._started = False
        # While it loads, a replica says so only to those whom it would answer as a replica.
        self._set_rules()

    def start(self) -> None:
        """Follow the primary that is configured, if there is one."""
        self._started = True
        self.has_history = self.persistence.is_known
        self.replay.select(self.engine.selected)
        self.replicas.count()
        if (primary := self.engine.config.replicaof) is not None:
            self._become_replica()
            self.link = Link(self, *primary)

    def resume(self, aux: dict[bytes, bytes]) -> None:
        """Go on in the history that a snapshot tells of, which was loaded at the start."""
        engine, persistence = self.engine, self.persistence
        id_, offset = aux.get(b"repl-id", b""), aux.get(b"repl-offset", b"")
        selected = aux.get(b"repl-stream-db", b"")
        if not (ID.fullmatch(id_) and offset.isdigit() and selected.isdigit()):
            return
        persistence.history.id = id_.decode()
        persistence.log.restart(int(offset))
        if engine.config.replicaof is not None:
            persistence.is_known = True
            engine.selected = int(selected) if int(selected) < len(engine.databases) else 0
            return
        persistence.history.fork(int(offset))
        self.replicas.promoted()
        for index, key in engine.snapshot.lapsed:
            persistence.journal.expired(engine.databases[index], key)
        engine.snapshot.lapsed = []

    # Roles

    @property
    def primary(self) -> tuple[str, int] | None:
        """Whom we follow, or are to follow once all is loaded."""
        if self.link is not None:
            return self.link.host, self.link.port
        return None if self._started else self.engine.config.replicaof

    @property
    def state(self) -> str:
        """How far the link to the primary is, as ROLE names it."""
        return CONNECT if self.link is None else self.link.state

    def follow(self, host: str, port: int, failover: bool = False) -> bool:
        """Be a replica of that server; False where we are already.

        With ``failover`` it is one of ours, and is asked to be the primary.
        """
        link = self.link
        if link is not None and (link.host, link.port) == (host, port):
            return False
        logs.notice("REPLICAOF: following another server", host=host, port=port)
        engine = self.engine
        engine.config.put("replicaof", (host, port))
        down_since_s = None
        if link is not None:
            down_since_s = monotonic() if link.is_up else link.down_since_s
            link.stop()
        else:
            # A primary that nobody followed has a log only if the disk has it.
            self.has_history = self.persistence.journal.active
            self._become_replica()
        self.link = Link(self, host, port, failover)
        self.link.down_since_s = down_since_s
        return True

    def _become_replica(self) -> None:
        engine = self.engine
        for client in list(engine.blocking.clients):
            engine.blocking.fail(client, InstanceChanged())
        engine.follows = True
        if engine.reader is not None:
            engine.reader.fence_all()
        if engine.writer is not None:
            engine.writer.demoted()
        logs.set_role("S")
        self.persistence.journal.mute(True)
        for client in engine.clients.values():
            client.logged = 0
        self.replicas.confirming.give_up()
        self._rules_changed()

    def promote(self) -> bool:
        """Be a primary; False where we are one."""
        link, self.link = self.link, None
        if link is None:
            return False
        engine, persistence = self.engine, self.persistence
        engine.config.put("replicaof", None)
        link.stop()
        logs.set_role("M")
        engine.follows = False
        persistence.become(new_id(), persistence.log.end)
        persistence.journal.selected = UNKNOWN
        engine.selected = 0
        engine.own_deadlines.clear()
        persistence.journal.mute(False)
        # They learn of the new history, and go on where they are.
        self.replicas.disconnect()
        self.replicas.promoted()
        logs.notice("MASTER MODE enabled", history=persistence.history.id)
        self._rules_changed()
        if engine.writer is not None:
            engine.writer.promoted()
        return True

    def _rules_changed(self) -> None:
        """Have the tables say what clients may do in this part."""
        self._set_rules()
        self.engine.freeze()
        self.replicas.count()
        self.engine.rebuild()

    def _set_rules(self) -> None:
        engine, config, link = self.engine, self.engine.config, self.link
        follows = engine.follows or (not self._started and config.replicaof is not None)
        down = follows and (link is None or not link.is_up)
        engine.read_only = follows and config.replica_read_only
        engine.stale = down and not config.replica_serve_stale_data

    def link_changed(self) -> None:
        """The link to the primary is up, or down."""
        if self.engine.stale or not self.engine.config.replica_serve_stale_data:
            self._rules_changed()

    def panic(self, reason: str) -> None:
        """Follow the primary no more, and have the server end."""
        logs.warning("The replica stops", reason=reason)
        if self.link is not None:
            self.link.stop()
        self.panicked()

    # What the link has to say

    def continued(self, resync: Resync) -> None:
        """The primary goes on where we are, maybe under another history."""
        history = self.persistence.history
        id_ = resync.history.decode()
        if id_ != history.id:
            self.persistence.become(id_, resync.offset)
            self.replicas.disconnect()
        self.has_history = True

    def replace(self, fresh: list[Keyspace], resync: Resync, selected: int) -> None:
        """Take over a snapshot: the keys of a primary at an offset of its history."""
        engine, persistence = self.engine, self.persistence
        self.replicas.disconnect()
        for mine, theirs in zip(engine.databases, fresh, strict=True):
            mine.adopt(theirs)
        engine.known_changes = None  # until the log behind the snapshot tells
        engine.own_deadlines.clear()
        engine.evictor.recount()
        engine.freeze()
        persistence.history.reset(resync.history.decode())
        persistence.restart(resync.offset)
        self.replay.select(selected)
        engine.selected = selected
        self.has_history = True
        if engine.ready:
            engine.blocking.serve(engine.ready)

    def show_primary(self, session: Session) -> None:
        """Have the primary among the clients."""
        engine, client, link = self.engine, self.replay.client, self.link
        client.id = engine.next_client
        engine.next_client += 1
        client.address = f"{link.host}:{link.port}" if link is not None else "?:0"
        client.is_primary = True
        client.created_ms = client.last_ms = engine.now_ms
        client.kill = lambda: session.drop("killed")
        engine.clients[client.id] = client

    def hide_primary(self) -> None:
        """It is gone."""
        client = self.replay.client
        client.kill = _nothing
        self.engine.clients.pop(client.id, None)

    # What goes on besides

    async def run(self) -> None:
        """Ping, count and check, until cancelled."""
        second_s = monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if not self.engine.ticking:
                continue
            now_s = monotonic()
            self.replicas.tick(now_s)
            if now_s - second_s >= 1:
                second_s = now_s
                self.replicas.each_second()
                if self.link is not None:
                    self.link.each_second()

    async def stop(self) -> None:
        """Follow nobody, and make no more snapshots."""
        if self.link is not None:
            self.link.stop()
        await self.replicas.stop()


def _nothing() -> None:
    """A request to a primary that is gone, or to nobody."""
