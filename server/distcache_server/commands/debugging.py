"""DEBUG: what test suites need to look behind the scenes, where the configuration allows it.

Its subcommands are no commands of their own: COMMAND, statistics and access rules know DEBUG alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distcache_replication.directory import Refused

from distcache_server import digest, logs, snapshot, usage
from distcache_server.arguments import Args, integer
from distcache_server.config import permits
from distcache_server.config.kinds import memory
from distcache_server.errors import (
    BadDebugThreshold,
    BadDebugType,
    BadReloadOption,
    DebugNotAllowed,
    LogReloadFailed,
    NoPersistence,
    NoSuchDatabase,
    NoSuchKey,
    NotAListpack,
    NotAllowedInResp2,
    NotATable,
    NotPositive,
    ReloadFailed,
    SaveFailed,
    StillLoading,
    UnknownSubcommandOrArity,
    Verbatim,
)
from distcache_server.events import STRING
from distcache_server.glob import match
from distcache_server.registry import ADMIN, LOADING, MANY, NOSCRIPT, STALE, group
from distcache_server.reply import (
    ENCODERS,
    OK,
    BigNumber,
    Push,
    Replies,
    SetReply,
    Status,
    VerbatimString,
    Wire,
)
from distcache_server.snapshot_file import CannotLoad
from distcache_server.types.list import List
from distcache_server.types.names import encoding_of
from distcache_server.types.table import Table

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.keyspace import Value

command = group("server")

Action = Callable[["Client", Args], Any]


class _Entry:
    """A subcommand: how many words it takes, and what it does."""

    def __init__(self, line: str, run: Action) -> None:
        arguments = usage.parse(line, 1)
        self.line = line
        self.run = run
        self.least = 2 + sum(argument.least for argument in arguments)
        self.most = MANY if any(argument.varies for argument in arguments) else self.least


ACTIONS: dict[bytes, _Entry] = {}


def action(line: str) -> Callable[[Action], Action]:
    """Declare a subcommand by its usage; the docstring is its line of HELP."""

    def declare(run: Action) -> Action:
        ACTIONS[line.split(" ")[0].encode()] = _Entry(line, run)
        return run

    return declare


@command(
    "DEBUG subcommand [arg [arg ...]]",
    ADMIN | NOSCRIPT | LOADING | STALE,
    since="1.0.0",
    complexity="Depends on subcommand.",
)
def debug(client: Client, words: Args) -> Any:
    """Looks behind the scenes, and changes what is there."""
    if not permits(client.engine.config.enable_debug_command, client.is_local):
        raise DebugNotAllowed
    entry = ACTIONS.get(words[1].upper())
    if entry is None or not entry.least <= len(words) <= entry.most:
        raise UnknownSubcommandOrArity(words[1][:128], b"DEBUG")
    return entry.run(client, words)


@action("HELP")
def help_(_: Client, __: Args) -> list[Status]:
    """Prints this help."""
    lines = ["DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for entry in ACTIONS.values():
        lines += [entry.line, f"    {(entry.run.__doc__ or '').splitlines()[0]}"]
    return [Status(line.encode()) for line in lines]


# Keys and values


def value_at(client: Client, key: bytes) -> Value:
    """The value of a key, or NoSuchKey."""
    value = client.keyspace.peek(key)
    if value is None:
        raise NoSuchKey
    return value


def serialized_length(client: Client, value: Value, compress: bool) -> int:
    """How long the value is in a snapshot."""
    style = client.engine.snapshot.style
    if not compress:
        style = style._replace(compress=False)
    return sum(map(len, snapshot.form_of(value, client.keyspace.limits, style).body))


def quicklist_facts(client: Client, value: List) -> Iterable[str]:
    """What DEBUG OBJECT says of a long list besides."""
    config, nodes = client.engine.config, value.parts
    return (
        f"ql_nodes:{nodes}",
        f"ql_avg_node:{len(value) / nodes:.2f}",
        f"ql_listpack_max:{config.list_max_listpack_size}",
        f"ql_compressed:{int(config.list_compress_depth != 0)}",
        f"ql_uncompressed_size:{serialized_length(client, value, compress=False)}",
    )


@action("OBJECT key [fast]")
def object_(client: Client, words: Args) -> Status:
    """Shows where and how a value is kept, and how long it was not used."""
    keyspace, key = client.keyspace, words[2]
    value = value_at(client, key)
    idle_ms = keyspace.idle_ms()
    if keyspace.ledger is not None:
        idle_ms = keyspace.ledger.idle_seconds(key, keyspace.now_ms) * 1000
    facts = (
        f"Value at:{id(value):#x}",
        "refcount:1",
        f"encoding:{encoding_of(value).decode()}",
        f"serializedlength:{serialized_length(client, value, compress=True)}",
        f"lru:{(keyspace.now_ms - idle_ms) // 1000 & 0xFFFFFF}",
        f"lru_seconds_idle:{idle_ms // 1000}",
        *(quicklist_facts(client, value) if isinstance(value, List) and not value.packed else ()),
    )
    return Status(" ".join(facts).encode())


@action("LISTPACK key")
def listpack(client: Client, words: Args) -> Status:
    """Tells whether a value is kept in the compact way."""
    if encoding_of(value_at(client, words[2])) != b"listpack":
        raise NotAListpack
    return Status(b"Kept as a listpack would be; there is no structure to print")


@action("DIGEST")
def digest_(client: Client, _: Args) -> Status:
    """Returns a signature of all keys and values.

    With many of them nobody is served meanwhile, as in Redis: a signature is of one moment.
    """
    return Status(digest.of_databases(client.engine.databases).hex().encode())


@action("DIGEST-VALUE [key [key ...]]")
def digest_value(client: Client, words: Args) -> list[Status]:
    """Returns a signature of each of these values."""
    keyspace = client.keyspace
    digests = []
    for key in words[2:]:
        value = keyspace.values.get(key)
        expires = keyspace.deadline(key) is not None
        found = digest.EMPTY if value is None else digest.of_value(value, expires)
        digests.append(Status(found.hex().encode()))
    return digests


@action("POPULATE count [prefix [size]]")
def populate(client: Client, words: Args) -> Any:
    """Makes so many keys prefix:number where there are none, with values of a size."""
    count = positive(words[2])
    prefix = words[3] if len(words) > 3 else b"key"
    size = positive(words[4]) if len(words) > 4 else 0
    keyspace = client.keyspace
    for number in range(count):
        key, value = b"%b:%d" % (prefix, number), b"value:%d" % number
        if keyspace.find(key) is None:
            keyspace.put(key, value[:size].ljust(size, b"\0") if size else value)
            keyspace.changed(key, b"set", STRING)
    return OK


def positive(word: bytes) -> int:
    """A number that is not negative."""
    number = integer(word, NotPositive)
    if number < 0:
        raise NotPositive
    return number


def table_report(title: str, table: Table[Any, Any]) -> str:
    """The state of a hash table in words."""
    if not table.count:
        return f"[{title}]\nNo stats available for empty dictionaries\n"
    parts = {id(part): len(part) for part in table.parts}
    return (
        f"[{title}]\n"
        f" table size: {len(table.parts)}\n"
        f" number of elements: {table.count}\n"
        f" parts: {len(parts)}\n"
        f" largest part: {max(parts.values())}\n"
    )


@action("HTSTATS dbid [full]")
def htstats(client: Client, words: Args) -> VerbatimString:
    """Shows how the tables of a database are filled."""
    index = integer(words[2])
    if not 0 <= index < len(client.engine.databases):
        raise NoSuchDatabase
    keyspace = client.engine.databases[index]
    report = table_report("Dictionary HT", keyspace.values)
    return VerbatimString((report + table_report("Expires HT", keyspace.deadlines)).encode())


@action("HTSTATS-KEY key [full]")
def htstats_key(client: Client, words: Args) -> VerbatimString:
    """Shows how the table of a value is filled."""
    value = value_at(client, words[2])
    for name in getattr(type(value), "__slots__", ()):
        table = getattr(value, name)
        if isinstance(table, Table):
            return VerbatimString(table_report("Value HT", table).encode())
    raise NotATable


# Time, errors, the log


@action("SLEEP seconds")
def sleep(client: Client, words: Args) -> Any:
    """Stops the whole server for so many seconds, decimals allowed."""
    with suppress(ValueError):
        time.sleep(max(float(words[2]), 0.0))
    if not client.engine.in_transaction:  # in one, time stands still
        client.keyspace.now_ms = client.engine.now_ms
    return OK


@action("ERROR text")
def error(_: Client, words: Args) -> Any:
    """Answers with this error."""
    raise Verbatim(words[2])


@action("LOG message")
def log(client: Client, words: Args) -> Any:
    """Writes a line to the log."""
    logs.warning("DEBUG LOG", message=words[2], client=client.id)
    return OK


@action("STRINGMATCH-LEN length pattern")
def stringmatch_len(_: Client, words: Args) -> int:
    """Matches a pattern against so many letters a."""
    return int(match(words[3], b"a" * positive(words[2])))


# Switches


def number_of(word: bytes) -> int:
    """What C's atoi makes of a word."""
    try:
        return int(word)
    except ValueError:
        return 0


@action("SET-ACTIVE-EXPIRE <0 | 1>")
def set_active_expire(client: Client, words: Args) -> Any:
    """With 0, keys past their deadline go only when somebody asks for them."""
    client.engine.active_expiry = number_of(words[2]) != 0
    return OK


@action("PAUSE-CRON <0 | 1>")
def pause_cron(client: Client, words: Args) -> Any:
    """With 1, what is done once a second is not done."""
    client.engine.ticking = number_of(words[2]) == 0
    return OK


@action("CHANGE-REPL-ID")
def change_repl_id(client: Client, _: Args) -> Any:
    """Begins a new history."""
    engine = client.engine
    engine.history.reset()
    if engine.persistence is not None and engine.persistence.disk is not None:
        engine.persistence.disk.rename(engine.history)
    return OK


@action("QUICKLIST-PACKED-THRESHOLD size")
def quicklist_packed_threshold(_: Client, words: Args) -> Any:
    """Accepted; there is nothing that it could change."""
    size = memory(words[2])
    if size is None or not 0 <= size < 1 << 32:
        raise BadDebugThreshold
    return OK


@action("SET-DISABLE-DENY-SCRIPTS <0 | 1>")
@action("DICT-RESIZING <0 | 1>")
@action("REPLYBUFFER <PEAK-RESET-TIME value | RESIZING value>")
def accepted(_: Client, __: Args) -> Any:
    """Accepted; there is nothing that it could change."""
    return OK


@action("RELOAD [option [option ...]]")
def reload(client: Client, words: Args) -> Any:
    """Saves the snapshot (not with NOSAVE) and loads it again, into empty databases (NOFLUSH)."""
    options = {word.upper() for word in words[2:]}
    if options - {b"NOSAVE", b"NOFLUSH", b"MERGE"}:
        raise BadReloadOption
    if client.engine.loading is not None:
        raise StillLoading
    file = client.engine.snapshot
    if b"NOSAVE" not in options and not file.save():
        raise SaveFailed
    try:
        file.reload(keep=b"NOFLUSH" in options, merge=b"MERGE" in options)
    except CannotLoad as error:
        logs.warning("Cannot load the snapshot", reason=str(error))
        raise ReloadFailed from None
    return OK


@action("LOADAOF")
def load_aof(client: Client, _: Args) -> Any:
    """Loads the append-only log again, into empty databases."""
    persistence = client.engine.persistence
    try:
        loaded = persistence is not None and persistence.reload()
    except (Refused, OSError) as error:
        logs.warning("Cannot load the log", reason=str(error))
        raise LogReloadFailed from None
    if not loaded:
        raise NoPersistence
    return OK


# The protocol

NUMBERS = [0, 1, 2]
MEANT = b"Some real reply following the "
SHAPES: dict[bytes, Any] = {
    b"STRING": b"Hello World",
    b"INTEGER": 12345,
    b"DOUBLE": 3.141,
    b"BIGNUM": BigNumber(1234567999999999999999999999999999999),
    b"NULL": None,
    b"ARRAY": NUMBERS,
    b"SET": SetReply(NUMBERS),
    b"MAP": {number: number == 1 for number in NUMBERS},
    b"ATTRIB": MEANT + b"attribute",
    b"PUSH": Replies([Push([b"server-cpu-usage", 42]), MEANT + b"push reply"]),
    b"VERBATIM": VerbatimString(b"This is a verbatim\nstring"),
    b"TRUE": True,
    b"FALSE": False,
}


@action("PROTOCOL type")
def protocol(client: Client, words: Args) -> Any:
    """Answers with a value of this type."""
    name = words[2].upper()
    if name not in SHAPES:
        raise BadDebugType
    reply = SHAPES[name]
    if name == b"PUSH" and client.protocol == 2:
        raise NotAllowedInResp2
    if name == b"ATTRIB" and client.protocol == 3:
        # The attribute of a reply: https://github.com/redis/redis-specifications, RESP3.
        encode = ENCODERS[3]
        popularity = encode[bytes](b"key-popularity") + encode[list]([b"key:123", 90])
        return Wire(b"|1\r\n" + popularity + encode[bytes](reply))
    return reply
