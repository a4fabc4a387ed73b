"""What a table of commands holds, and finding the entry for some words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distcache_server.arguments import Args
from distcache_server.errors import (
    DebugNotAllowed,
    Misconfigured,
    NotAllowedInMulti,
    NotAuthenticated,
    NotInThisContext,
    NotWhileMonitoring,
    OutOfMemory,
    PrimaryDown,
    ReadOnly,
    StillLoading,
    TooFewReplicas,
    UnknownCommand,
    UnknownSubcommand,
    WrongArity,
)
from distcache_server.registry import Command, Handler, TableKey
from distcache_server.stats import Stats

if TYPE_CHECKING:
    from distcache_server.client import Client

REFUSALS = (
    UnknownCommand,
    UnknownSubcommand,
    WrongArity,
    NotAuthenticated,
    OutOfMemory,
    NotInThisContext,
    NotWhileMonitoring,
    NotAllowedInMulti,
    DebugNotAllowed,
    Misconfigured,
    StillLoading,
    ReadOnly,
    TooFewReplicas,
    PrimaryDown,
)
"""Errors that keep a command from running at all."""


class Entry:
    """What a table holds for a command: the function, the number of words, where to count."""

    __slots__ = ("alike", "command", "counts", "handler", "least", "most", "run", "stats")

    def __init__(self, command: Command, handler: Handler, stats: Stats) -> None:
        self.command = command
        self.handler = handler
        self.stats = stats
        self.counts = True
        """A call is one of the command, not of what refuses or queues it."""
        self.run = command.run
        self.alike = False
        """Takes so little time that many may be timed together."""
        self.least = command.least
        self.most = command.most
        if command.subcommands:
            # No number of words fits, so that `misfit` finds the subcommand: others pay nothing.
            self.least, self.most = 1, 0


Table = dict[TableKey, Entry]


def other_spelling(client: Client, words: Args) -> Entry:
    """The entry of a name in mixed case; UnknownCommand where there is none."""
    entry = client.table.get(words[0].upper())
    if entry is not None:
        return entry
    shown = b""
    for word in words[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % word[: 128 - len(shown)]
    raise UnknownCommand(words[0][:128], shown)


def misfit(client: Client, entry: Entry, words: Args) -> Entry:
    """The subcommand's entry where there are some; else the number of words is wrong."""
    command = entry.command
    if not command.subcommands or len(words) < 2:
        if len(words) == command.least:
            return entry  # COMMAND alone
        raise WrongArity(command.name.encode())
    name = command.name.upper().encode()
    found = client.table.get((name, words[1].upper()))
    if found is None:
        raise UnknownSubcommand(words[1][:128], name)
    if not found.least <= len(words) <= found.most:
        raise WrongArity(found.command.name.encode())
    return found


def find(client: Client, words: Args) -> Entry:
    """The entry for these words; raises what the client is told if there is none that fits."""
    entry = client.table.get(words[0]) or other_spelling(client, words)
    if not entry.least <= len(words) <= entry.most:
        entry = misfit(client, entry, words)
    return entry


def refused(entry: Entry | None, words: Args) -> Command | None:
    """The command that a refusal counts for: a subcommand where the words name one."""
    if entry is None or not entry.command.subcommands:
        return entry.command if entry is not None else None
    sub = words[1].lower().decode("latin-1") if len(words) > 1 else ""
    return entry.command.subcommands.get(sub)
