"""Words for a command, drawn from its usage line: `SET key value [NX | XX] [EX seconds]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

_token = re.compile(r"\[|\]|<|>|\||\.\.\.|[^\s\[\]<>|]+")


@dataclass(frozen=True)
class Group:
    """Alternatives, of which one is taken: or none, or several in a row."""

    alternatives: list[list[str | Group]]
    optional: bool
    repeated: bool


def parsed(usage: str) -> list[str | Group]:
    """The items of a usage line."""
    tokens = _token.findall(usage)

    def sequences(closing: str) -> tuple[list[list[str | Group]], bool]:
        found: list[list[str | Group]] = [[]]
        repeated = False
        while tokens:
            token = tokens.pop(0)
            if token == closing:
                break
            if token == "|":
                found.append([])
            elif token == "...":
                repeated = True
            elif token in "[<":
                inner, again = sequences("]" if token == "[" else ">")
                found[-1].append(Group(inner, token == "[", again))
            else:
                found[-1].append(token)
        return found, repeated

    return sequences("")[0][0]


def words(items: list[str | Group], fill: Callable[[str], bytes], random: Random) -> list[bytes]:
    """One way to write the command; ``fill`` gives the word for a name such as ``key``.

    Options that stand side by side come in any order, now and then all of them, or one twice.
    """
    made: list[bytes] = []
    generous = random.random() < 0.1
    for item in _shuffled(items, random):
        if isinstance(item, str):
            made.append(item.encode() if item.isupper() else fill(item))
            continue
        times = 1
        if item.optional:
            times = random.choice((0, 0, 1, 2, 4) if item.repeated else (0, 0, 1))
            if generous:
                times = max(times, random.choice((1, 1, 1, 2)))
        for _ in range(times):
            made += words(random.choice(item.alternatives), fill, random)
    return made


def _shuffled(items: list[str | Group], random: Random) -> list[str | Group]:
    """The items, with the options at their end in another order half of the time."""
    start = len(items)
    while start and isinstance(items[start - 1], Group) and _is_option(items[start - 1]):
        start -= 1
    options = items[start:]
    if random.random() < 0.5:
        random.shuffle(options)
    return [*items[:start], *options]


def _is_option(item: str | Group) -> bool:
    """A keyword that may be left out, with what follows it."""
    return (
        isinstance(item, Group)
        and item.optional
        and all(isinstance(way[0], str) and way[0].isupper() for way in item.alternatives)
    )
