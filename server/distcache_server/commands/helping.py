"""HELP, a subcommand of every container: made of what its other subcommands declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distcache_server.arguments import Args
from distcache_server.registry import COMMANDS, LOADING, STALE, Command, group
from distcache_server.reply import Status

if TYPE_CHECKING:
    from distcache_server.client import Client

INDENT = "    "


def help_lines(container: Command) -> list[Status]:
    """Usage and summary of each subcommand, in the order of the alphabet, HELP last."""
    name = container.name.upper()
    lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for sub in sorted(container.subcommands):
        if sub != "help":
            command = container.subcommands[sub]
            lines += [command.usage.partition(" ")[2], f"{INDENT}{command.summary}."]
    lines += ["HELP", f"{INDENT}{show_help.__doc__}"]
    return [Status(line.encode()) for line in lines]


def show_help(_: Client, words: Args) -> list[Status]:
    """Prints this help."""
    return help_lines(COMMANDS[words[0].decode().lower()])


def declare() -> None:
    """Give every container that has no HELP its own."""
    for container in list(COMMANDS.values()):
        if container.subcommands and "help" not in container.subcommands:
            command = group(container.group)
            declared = command(
                f"{container.name.upper()} HELP",
                LOADING | STALE,
                since=container.help_since,
                acl=" ".join(container.acl),
                sub=True,
            )
            declared(show_help)
