"""What is remembered about a client, whatever carries its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.reply import ENCODERS, RESP2, Encoder, Encoders, Push, Replies

if TYPE_CHECKING:
    from distcache_replication.primary import Replica

    from distcache_server.blocking import Wait
    from distcache_server.engine import Engine
    from distcache_server.keyspace import Keyspace
    from distcache_server.lookup import Table


CLIENT_BYTES = 6000
"""What a client takes besides its buffers: transport, parser, the object itself."""


class _Silence(Encoders):
    """Encoders of a client that asked for no replies: to the next ``commands``, or to any (0).

    What it subscribed to still reaches it.
    """

    def __init__(self, client: Client, commands: int) -> None:
        super().__init__()
        self.client = client
        self.left = commands

    def __missing__(self, _: type) -> Encoder:
        if self.left:
            self.left -= 1
            if not self.left:
                self.client.answer_again()
        return self.encode

    def encode(self, reply: Any) -> bytes:
        if type(reply) is not Replies:
            return b""
        encode = ENCODERS[self.client.protocol][Push]
        return b"".join([encode(message) for message in reply if type(message) is Push])


class Client:
    """A client's state.  Times are Unix milliseconds."""

    __slots__ = (
        "address",
        "aside",
        "backlog",
        "blocked",
        "channels",
        "close_after_reply",
        "commands",
        "conflict",
        "created_ms",
        "descriptor",
        "effect",
        "encoders",
        "engine",
        "failed",
        "id",
        "is_primary",
        "keyspace",
        "kill",
        "last_command",
        "last_ms",
        "library",
        "library_version",
        "local_address",
        "logged",
        "memory",
        "monitoring",
        "name",
        "net_in",
        "net_out",
        "no_evict",
        "no_touch",
        "patterns",
        "protocol",
        "queue",
        "queued_bytes",
        "replica",
        "resume",
        "send",
        "shard_channels",
        "silent",
        "soft_since_ms",
        "state",
        "table",
        "unix",
        "user",
        "watching",
    )

    def __init__(self, engine: Engine, number: int = 0) -> None:
        self.engine = engine
        self.id = number
        self.keyspace: Keyspace = engine.databases[0]
        self.state = "normal"
        self.table: Table = engine.tables["normal"]
        self.protocol = 2
        self.encoders = RESP2
        self.silent = False
        """CLIENT REPLY: the next reply, or all of them, are not wanted."""

        self.address = ""
        self.local_address = ""
        self.unix = False
        self.descriptor = -1
        self.name = b""
        self.user = b"default"
        self.library = b""
        self.library_version = b""
        self.created_ms = engine.now_ms
        self.last_ms = engine.now_ms
        self.last_command = "NULL"
        self.commands = 0
        """Commands that were answered."""
        self.logged = 0
        """The offset in the log after the last write of this client."""
        self.net_in = 0
        self.net_out = 0
        self.no_evict = False
        self.no_touch = False
        self.monitoring = False
        self.is_primary = False
        """It stands for the primary whose log we apply."""
        self.replica: Replica | None = None
        """What it said of itself, where it is a replica or about to be one."""
        self.soft_since_ms = 0
        """Since when the output buffer is over its soft limit; 0 if it is not."""

        self.effect: Args | list[Args] | None = None
        """What the log gets in place of the words: one command, or a list of several."""
        self.queue: list[Args] = []
        """Commands since MULTI."""
        self.queued_bytes = 0
        self.failed = False
        """A command could not be queued: EXEC will refuse."""
        self.watching: dict[tuple[Keyspace, bytes], bool] = {}
        """Watched keys, and whether each was there when it was first watched."""
        self.conflict = False
        """A watched key was changed: EXEC will do nothing."""
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.aside: list[Push] | None = None
        """Messages that its own command made, sent behind the reply; None where they go at once."""

        self.blocked: Wait | None = None
        self.backlog: list[Args] = []
        """Commands that arrived behind one that blocks."""
        self.close_after_reply = False

        # How to reach whatever carries the bytes; set by it, and cleared when it closes.
        self.send: Callable[[bytes], None] = _nowhere
        """Send bytes now, or behind the replies of the batch that is running."""
        self.resume: Callable[[], None] = _nothing
        """Go on with the backlog soon."""
        self.kill: Callable[[], None] = _nothing
        """Close at once, without sending what is left."""
        self.memory: Callable[[], tuple[int, int]] = _no_memory
        """Bytes in the query buffer and in the output buffer."""

    def enter(self, state: str) -> None:
        """Take the command table of another state."""
        self.state = state
        self.table = self.engine.tables[state]

    def usual_state(self) -> str:
        """The state outside MULTI: a RESP2 client that is subscribed may do little else.

        Under RESP3 it may do everything, and hears what its own commands publish behind the reply.
        """
        if self.monitoring or self.kind == "replica":
            return "monitoring"
        if self.subscriptions:
            return "subscribed" if self.protocol == 2 else "listening"
        return "normal"

    def speak(self, protocol: int) -> None:
        """Encode replies for this version of RESP."""
        self.protocol = protocol
        if not self.silent:
            self.encoders = ENCODERS[protocol]

    def stop_answering(self) -> None:
        """Send no replies until `answer_again`."""
        self.silent = True
        self.encoders = _Silence(self, 0)

    def skip_next_answer(self) -> None:
        """Send no reply to this command and the next, unless none is sent anyhow."""
        if not isinstance(self.encoders, _Silence) or self.encoders.left:
            self.silent = True
            self.encoders = _Silence(self, 2)

    @property
    def unanswered(self) -> bool:
        """No replies are sent at all, until CLIENT REPLY ON."""
        return isinstance(self.encoders, _Silence) and not self.encoders.left

    def answer_again(self) -> None:
        """Send replies."""
        self.silent = False
        self.encoders = ENCODERS[self.protocol]

    @property
    def kind(self) -> str:
        """The class that limits of the output buffer and CLIENT KILL go by."""
        if self.replica is not None and self.replica.since_s:
            return "replica"
        if self.is_primary:
            return "master"
        return "pubsub" if self.subscriptions else "normal"

    @property
    def is_local(self) -> bool:
        """Whether the client runs on this machine."""
        return self.unix or self.address.startswith(("127.", "[::1]", "[::ffff:127."))

    @property
    def footprint(self) -> int:
        """Bytes that the client takes, with its buffers and its transaction."""
        query, output = self.memory()
        return CLIENT_BYTES + query + output + self.queued_bytes

    @property
    def subscriptions(self) -> int:
        return len(self.channels) + len(self.patterns) + len(self.shard_channels)

    def push(self, message: Any) -> None:
        """Send an out-of-band message, encoded for this client's protocol."""
        self.send(ENCODERS[self.protocol][type(message)](message))

    def database(self, index: int) -> Keyspace:
        """Another database, its clock set to that of this client's batch."""
        other = self.engine.databases[index]
        other.now_ms = self.keyspace.now_ms
        return other


def _nowhere(_: bytes) -> None:
    """Bytes to a client that is gone."""


def _nothing() -> None:
    """A request to a client that is gone."""


def _no_memory() -> tuple[int, int]:
    return 0, 0
