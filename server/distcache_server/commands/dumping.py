"""The commands that carry values from server to server: DUMP and RESTORE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_replication import rdb

from distcache_server import snapshot
from distcache_server.arguments import INT64_MAX, Args, integer
from distcache_server.errors import (
    BadFrequency,
    BadIdleTime,
    BadPayload,
    BadTimeToLive,
    BusyKey,
    DamagedPayload,
    SyntaxFailure,
)
from distcache_server.events import GENERIC
from distcache_server.journal import LOADED
from distcache_server.registry import ASKING, DENYOOM, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import OK

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("generic")

TAKES = "O(N) where N is the number of entries of a collection and the size of each."


@command(
    "DUMP key",
    READONLY,
    keys=ONE_KEY("RO ACCESS"),
    since="2.6.0",
    tips="nondeterministic_output",
    complexity=TAKES,
)
def dump(client: Client, words: Args) -> bytes | None:
    """Returns the value of a key in the form that RESTORE takes."""
    _, key = words
    keyspace = client.keyspace
    value = keyspace.read(key)
    if value is None:
        return None
    return snapshot.dump(value, keyspace.limits, client.engine.snapshot.style)


class _Options:
    """What stands behind the value in RESTORE."""

    def __init__(self, words: Args) -> None:
        self.replace = self.absolute = False
        self.idle_s: int | None = None
        self.frequency: int | None = None
        rest = iter(words)
        for word in rest:
            option = word.upper()
            value = None
            if option in (b"IDLETIME", b"FREQ"):
                value = next(rest, None)
            if option == b"REPLACE":
                self.replace = True
            elif option == b"ABSTTL":
                self.absolute = True
            elif option == b"IDLETIME" and value is not None and self.frequency is None:
                self.idle_s = integer(value)
                if self.idle_s < 0:
                    raise BadIdleTime
            elif option == b"FREQ" and value is not None and self.idle_s is None:
                self.frequency = integer(value)
                if not 0 <= self.frequency <= 255:
                    raise BadFrequency
            else:
                raise SyntaxFailure


RESTORED = "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"


@command(
    f"RESTORE {RESTORED}",
    WRITE | DENYOOM,
    keys=ONE_KEY("OW UPDATE"),
    since="2.6.0",
    acl="dangerous",
    complexity=TAKES,
)
def restore(client: Client, words: Args) -> Any:
    """Creates a key with a value that DUMP has returned."""
    return restore_key(client, words)


@group("server")(
    f"RESTORE-ASKING {RESTORED}",
    WRITE | DENYOOM | ASKING,
    keys=ONE_KEY("OW UPDATE"),
    since="3.0.0",
    acl="keyspace dangerous",
    complexity=TAKES,
)
def restore_asking(client: Client, words: Args) -> Any:
    """RESTORE as a node of a cluster sends it, which need not say ASKING first."""
    return restore_key(client, words)


def restore_key(client: Client, words: Args) -> Any:
    """RESTORE and RESTORE-ASKING."""
    key, time_ms, payload = words[1], words[2], words[3]
    options = _Options(words[4:])
    keyspace = client.keyspace
    if not options.replace and keyspace.find(key) is not None:
        raise BusyKey
    deadline = integer(time_ms)
    if deadline < 0:
        raise BadTimeToLive
    value = _value_in(client, payload)
    replaced = options.replace and keyspace.remove(key)
    if deadline and not options.absolute:
        deadline = min(deadline + keyspace.now_ms, INT64_MAX)
    if deadline and deadline <= keyspace.now_ms:
        if replaced:
            keyspace.changed(key, b"del", GENERIC)
            client.effect = [b"DEL", key]
        return OK
    snapshot.install(keyspace, key, value, deadline or None, options.idle_s, options.frequency)
    keyspace.changed(key, b"restore", GENERIC)
    if tuple(words[4:]) == LOADED:
        client.effect = words[:-2]
    elif deadline and not options.absolute:
        client.effect = [*words[:2], b"%d" % deadline, *words[3:], b"ABSTTL"]
    return OK


def _value_in(client: Client, payload: bytes) -> Any:
    try:
        kind, value = rdb.restore(payload)
        return snapshot.value_of(kind, value, client.keyspace.limits)
    except rdb.BadChecksum:
        raise DamagedPayload from None
    except rdb.BadRdb:
        raise BadPayload from None
