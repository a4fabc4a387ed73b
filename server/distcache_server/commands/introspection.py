"""COMMAND: what the server says about its commands, all of it taken from their declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import (
    BadArguments,
    InvalidCommand,
    NoKeyArguments,
    SyntaxFailure,
    WrongNumber,
)
from distcache_server.glob import matcher
from distcache_server.registry import (
    COMMANDS,
    LOADING,
    STALE,
    Command,
    Flag,
    Keys,
    categories_of,
    group,
)
from distcache_server.reply import SetReply, Status
from distcache_server.usage import Argument

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

PLAIN = LOADING | STALE
ANY_ORDER = "nondeterministic_output_order"
EACH = "O(N) where N is the number of commands"
WORDS = "O(N) where N is the number of words"


def statuses(names: list[str]) -> SetReply:
    """Flags as Redis shows them: a set of simple strings."""
    return SetReply([Status(name.encode()) for name in names])


# COMMAND INFO


def key_range(command: Command) -> tuple[int, int, int, bool]:
    """First key, last key, step: the part of the key specifications that this can express.

    And whether there are keys that it misses, which makes ``movablekeys`` (server.c in Redis).
    """
    first, last, step, missed = 0, 0, 0, False
    for keys in command.keys:
        plain = not (keys.keyword or keys.numkeys or keys.unknown)
        follows = not first or (step == 1 == keys.step and keys.first == last + 1)
        missed |= not (plain and follows) or "INCOMPLETE" in keys.access
        if plain and follows:
            first, step = first or keys.first, keys.step
            last = keys.last if keys.last < 0 else keys.first + keys.last
    return first, last, step, missed


def key_flags(access: str) -> SetReply:
    """``RW ACCESS`` as Redis shows it: kinds of access in capitals, the rest in small letters."""
    kinds = {"RO", "RW", "OW", "RM"}
    return statuses([word if word in kinds else word.lower() for word in access.split()])


def key_specification(keys: Keys) -> dict[bytes, Any]:
    """One element of the key specifications."""
    unknown = {b"type": b"unknown", b"spec": {}}
    begin: dict[bytes, Any] = {b"type": b"index", b"spec": {b"index": keys.first}}
    found: dict[bytes, Any] = {
        b"type": b"range",
        b"spec": {b"lastkey": keys.last, b"keystep": keys.step, b"limit": keys.limit},
    }
    if keys.keyword:
        spec = {b"keyword": keys.keyword.encode(), b"startfrom": keys.first}
        begin = {b"type": b"keyword", b"spec": spec}
    if keys.numkeys:
        spec = {b"keynumidx": 0, b"firstkey": 1, b"keystep": keys.step}
        found = {b"type": b"keynum", b"spec": spec}
    notes = {b"notes": keys.notes.encode()} if keys.notes else {}
    return {
        **notes,
        b"flags": key_flags(keys.access),
        b"begin_search": unknown if keys.unknown else begin,
        b"find_keys": unknown if keys.unknown else found,
    }


def describe(command: Command) -> list[Any]:
    """What COMMAND INFO says about a command."""
    first, last, step, missed = key_range(command)
    flags = command.flags | (Flag.MOVABLEKEYS if missed else Flag(0))
    return [
        command.name.encode(),
        command.arity,
        statuses(flags.names),
        first,
        last,
        step,
        statuses([f"@{name}" for name in categories_of(command)]),
        SetReply([tip.encode() for tip in command.tips]),
        SetReply([key_specification(keys) for keys in command.keys]),
        [describe(sub) for sub in command.subcommands.values()] or SetReply(),
    ]


def found(client: Client, word: bytes) -> Command | None:
    """The command of a name as a client gives it, which rename-command may have changed."""
    name, _, sub = word.upper().partition(b"|")
    entry = client.engine.tables["normal"].get(name)
    if entry is None or not sub:
        return entry.command if entry is not None else None
    return entry.command.subcommands.get(sub.lower().decode("utf-8", "backslashreplace"))


def known(client: Client) -> list[Command]:
    """All commands but those that rename-command has left without a name."""
    gone = {old.lower() for old, new in client.engine.config.rename_command if not new}
    return [each for each in COMMANDS.values() if each.name.encode() not in gone]


@command(
    "COMMAND",
    PLAIN,
    arity=-1,
    since="2.8.13",
    acl="connection",
    tips=ANY_ORDER,
    complexity=EACH,
    help="5.0.0",
)
def command_(client: Client, _: Args) -> list[Any]:
    """Returns what the server knows about each of its commands."""
    return [describe(each) for each in known(client)]


def sub(usage: str, since: str, tips: str = "", complexity: str = "O(1)") -> Callable[..., Any]:
    """Declare a subcommand of COMMAND."""
    return command(
        usage, PLAIN, since=since, acl="connection", tips=tips, complexity=complexity, sub=True
    )


@sub("COMMAND COUNT", "2.8.13")
def command_count(client: Client, _: Args) -> int:
    """Returns the number of commands."""
    return len(known(client))


@sub("COMMAND INFO [command-name [command-name ...]]", "2.8.13", ANY_ORDER, EACH)
def command_info(client: Client, words: Args) -> list[Any]:
    """Returns arity, flags, keys, categories and subcommands of commands, or of all."""
    if len(words) == 2:
        return command_(client, words)
    return [describe(each) if (each := found(client, word)) else None for word in words[2:]]


# COMMAND DOCS


def documentation(command: Command) -> dict[bytes, Any]:
    """What COMMAND DOCS says about a command."""
    facts: dict[bytes, Any] = {
        b"summary": command.summary.encode(),
        b"since": command.since.encode(),
        b"group": command.group.replace("_", "-").encode(),
        b"complexity": command.complexity.encode(),
    }
    if command.arguments:
        specifications = len(command.keys)
        facts[b"arguments"] = [argument(each, specifications) for each in command.arguments]
    if command.subcommands:
        facts[b"subcommands"] = {
            each.name.encode(): documentation(each) for each in command.subcommands.values()
        }
    return facts


def argument(it: Argument, specifications: int) -> dict[bytes, Any]:
    """An argument as COMMAND DOCS describes it."""
    facts: dict[bytes, Any] = {b"name": it.name.encode(), b"type": it.type.encode()}
    if not it.arguments:
        facts[b"display_text"] = it.name.encode()
    if it.type == "key" and specifications:
        facts[b"key_spec_index"] = min(it.key_spec, specifications - 1)
    if it.token:
        facts[b"token"] = it.token.encode()
    flags = [name for name in ("optional", "multiple", "multiple_token") if getattr(it, name)]
    if flags:
        facts[b"flags"] = statuses(flags)
    if it.arguments:
        facts[b"arguments"] = [argument(each, specifications) for each in it.arguments]
    return facts


@sub("COMMAND DOCS [command-name [command-name ...]]", "7.0.0", ANY_ORDER, EACH)
def command_docs(client: Client, words: Args) -> dict[bytes, Any]:
    """Returns summary, complexity and arguments of commands, or of all."""
    names = words[2:]
    wanted = [found(client, name) for name in names] if names else known(client)
    return {each.name.encode(): documentation(each) for each in wanted if each is not None}


# COMMAND LIST


def name_filter(kind: bytes, word: bytes) -> Callable[[Command], bool]:
    """What FILTERBY lets through."""
    match kind.upper():
        case b"MODULE":
            return lambda _: False
        case b"ACLCAT":
            category = word.decode("latin-1").lower()
            return lambda each: category in categories_of(each)
        case b"PATTERN":
            matches = matcher(word.lower())
            return lambda each: matches(each.name.encode())
    raise SyntaxFailure


@sub(
    "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    "7.0.0",
    ANY_ORDER,
    EACH,
)
def command_list(client: Client, words: Args) -> list[bytes]:
    """Returns the names of commands and subcommands: of a category, or that match a pattern."""
    wanted: Callable[[Command], bool] = lambda _: True  # noqa: E731
    if len(words) == 5 and words[2].upper() == b"FILTERBY":
        wanted = name_filter(words[3], words[4])
    elif len(words) > 2:
        raise SyntaxFailure
    commands = [it for each in known(client) for it in (each, *each.subcommands.values())]
    return [each.name.encode() for each in commands if wanted(each)]


# COMMAND GETKEYS


def keys_of(client: Client, words: Args) -> list[tuple[bytes, str]]:
    """The keys of a command and how it uses them; an error where it can have none."""
    it = found(client, words[0])
    if it is None or b"|" in words[0]:
        raise InvalidCommand
    if it.subcommands and len(words) > 1:
        it = it.subcommands.get(words[1].decode("latin-1").lower())
        if it is None:
            raise InvalidCommand
    # A shard channel is looked for like a key, but is none.
    if it.getkeys is None and all("NOT_KEY" in keys.access for keys in it.keys):
        raise NoKeyArguments
    if not it.least <= len(words) <= it.most:
        raise WrongNumber
    positions = it.find_keys(words)
    if not positions and not it.flags & Flag.NO_MANDATORY_KEYS:
        raise BadArguments
    return [(words[at], access) for at, access in positions]


@sub("COMMAND GETKEYS command [arg [arg ...]]", "2.8.13", complexity=WORDS)
def command_getkeys(client: Client, words: Args) -> list[bytes]:
    """Returns the keys among the words of a command."""
    return [key for key, _ in keys_of(client, words[2:])]


@sub("COMMAND GETKEYSANDFLAGS command [arg [arg ...]]", "7.0.0", complexity=WORDS)
def command_getkeysandflags(client: Client, words: Args) -> list[Any]:
    """Returns the keys among the words of a command, and what it does with each."""
    return [[key, key_flags(access)] for key, access in keys_of(client, words[2:])]
