"""The HyperLogLog commands.  Values are strings with the bytes of Redis's HyperLogLogs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import CorruptHLL, Failure, NoSuchKeyAtAll, NotAnHLL
from distcache_server.events import STRING
from distcache_server.registry import (
    ADMIN,
    ALL_KEYS,
    DENYOOM,
    FAST,
    MAY_REPLICATE,
    ONE_KEY,
    READONLY,
    WRITE,
    Keys,
    group,
)
from distcache_server.reply import OK, Status
from distcache_server.types import hyperloglog as hll
from distcache_server.types.buffer import Buffer
from distcache_server.types.names import EMBEDDED

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("hyperloglog")

NO_EVENT = 0


def _checked(value: bytes | None) -> bytes | None:
    """The value of a key, if it looks like a HyperLogLog."""
    if value is not None and not hll.is_hll(value):
        raise NotAnHLL
    return value


def _kept(value: bytes) -> bytes | Buffer:
    """As the keyspace holds it: Redis changes HyperLogLogs in place, so even a short one is raw."""
    return Buffer(value) if len(value) <= EMBEDDED else value


def _sources(client: Client, keys: Args) -> list[bytes]:
    """The HyperLogLogs at these keys, leaving out those that are missing."""
    found = (_checked(client.keyspace.read_as(key, bytes)) for key in keys)
    return [value for value in found if value is not None]


@command(
    "PFADD key [element [element ...]]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW INSERT"),
    since="2.8.9",
    complexity="O(1) to add every element.",
)
def pfadd(client: Client, words: Args) -> int:
    """Adds elements to a HyperLogLog key. Creates the key if it doesn't exist."""
    keyspace, key = client.keyspace, words[1]
    old = _checked(keyspace.find_as(key, bytes))
    try:
        value, changed = hll.add(old, words[2:], keyspace.limits.hll_sparse)
    except hll.InvalidHLL:
        raise CorruptHLL from None
    if not changed and old is not None:
        return 0
    keyspace.replace(key, _kept(value))
    keyspace.changed(key, b"pfadd", STRING)
    return 1


@command(
    "PFCOUNT key [key ...]",
    READONLY | MAY_REPLICATE,
    keys=ALL_KEYS("RW ACCESS", "The count may be kept in the value"),
    since="2.8.9",
    complexity="O(1) with a very small average constant time when called with a single key. O(N) "
    "with N being the number of keys, and much bigger constant times, when called with multiple "
    "keys.",
)
def pfcount(client: Client, words: Args) -> int:
    """Estimates how many different elements were added to the keys together."""
    keyspace = client.keyspace
    try:
        if len(words) > 2:
            return hll.count_union(_sources(client, words[1:]))
        old = _checked(keyspace.read_as(words[1], bytes))
        if old is None:
            return 0
        total, value = hll.count(old)
    except hll.InvalidHLL:
        raise CorruptHLL from None
    engine = client.engine
    if value is not old and (client.is_primary or not (engine.follows or engine.broken)):
        # The value keeps its cardinality, which replicas and the disk must agree on: so counting is
        # logged, too, and what cannot be logged is not kept.
        keyspace.replace(words[1], _kept(value))
        keyspace.changed(words[1], b"pfcount", NO_EVENT)
    return total


@command(
    "PFMERGE destkey [sourcekey [sourcekey ...]]",
    WRITE | DENYOOM,
    keys=(ONE_KEY("RW ACCESS INSERT"), Keys(first=2, last=-1, access="RO ACCESS")),
    since="2.8.9",
    complexity="O(N) to merge N HyperLogLogs, but with high constant times.",
)
def pfmerge(client: Client, words: Args) -> Any:
    """Merges one or more HyperLogLog values into a single key."""
    keyspace, key = client.keyspace, words[1]
    # Redis reads the target like a source, and then looks it up again to write.
    _checked(keyspace.read_as(key, bytes))
    sources = _sources(client, words[2:])
    target = keyspace.find_as(key, bytes)
    try:
        merged = hll.merge(target, sources, keyspace.limits.hll_sparse)
        keyspace.replace(key, _kept(merged))
    except hll.InvalidHLL:
        raise CorruptHLL from None
    keyspace.changed(key, b"pfadd", STRING)
    return OK


@command(
    "PFDEBUG subcommand key",
    WRITE | DENYOOM | ADMIN,
    keys=Keys(first=2, access="RW ACCESS"),
    since="2.8.9",
    complexity="N/A",
)
def pfdebug(client: Client, words: Args) -> Any:
    """Shows how a HyperLogLog is stored."""
    keyspace = client.keyspace
    _, subcommand, key = words
    value = _checked(keyspace.find_as(key, bytes))
    if value is None:
        raise NoSuchKeyAtAll
    try:
        match subcommand.upper():
            case b"GETREG":
                dense = hll.to_dense(value)
                if dense != value:
                    keyspace.replace(key, _kept(dense))
                    keyspace.changed(key, b"pfadd", STRING)
                return list(hll.registers(dense))
            case b"DECODE":
                if hll.encoding(value) != "sparse":
                    raise Failure(b"HLL encoding is not sparse")
                return Status(hll.decode(value))
            case b"ENCODING":
                return Status(hll.encoding(value).encode())
            case b"TODENSE":
                if hll.encoding(value) == "dense":
                    return 0
                keyspace.replace(key, _kept(hll.to_dense(value)))
                keyspace.changed(key, b"pfadd", STRING)
                return 1
    except hll.InvalidHLL:
        raise CorruptHLL from None
    raise Failure(b"Unknown PFDEBUG subcommand '%b'" % subcommand)


@command("PFSELFTEST", ADMIN, since="2.8.9", complexity="N/A")
def pfselftest(_: Client, __: Args) -> Any:
    """Says that HyperLogLogs work."""
    # The representation is tested with the rest of the code; this counts a set of known size.
    value, _changed = hll.add(None, (b"%d" % n for n in range(1000)), 3000)
    if abs(hll.count(value)[0] - 1000) > 50:
        raise Failure(b"TESTFAILED Too high error")
    return OK
