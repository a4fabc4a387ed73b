"""LOLWUT: a picture, and the version."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from distcache_server.arguments import Args, integer
from distcache_server.engine import REDIS_VERSION, VERSION
from distcache_server.registry import FAST, READONLY, group
from distcache_server.reply import VerbatimString

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

SHADES = " .:-=+*#"
MOST = 200, 100
"""The widest and the highest picture."""


def ripples(width: int, height: int, stones: int) -> list[str]:
    """A pond some stones fell into: one log, many followers."""
    places = [(random.random() * width, random.random() * height * 2) for _ in range(stones)]
    rows = []
    for y in range(height):
        row = ""
        for x in range(width):
            waves = [math.cos(math.dist((x, 2 * y), place) / 1.9) for place in places]
            level = (sum(waves) / len(waves) + 1) / 2
            row += SHADES[min(int(level * len(SHADES)), len(SHADES) - 1)]
        rows.append(row.rstrip())
    return rows


@command("LOLWUT [VERSION version] [columns [rows [stones]]]", READONLY | FAST, since="5.0.0")
def lolwut(_: Client, words: Args) -> VerbatimString:
    """Draws a picture and tells the version."""
    rest = words[1:]
    if len(rest) > 1 and rest[0].upper() == b"VERSION":
        integer(rest[1])  # there is one picture for all versions
        rest = rest[2:]
    numbers = [integer(word) for word in rest[:3]]
    width, height, stones = (numbers + [66, 16, 2][len(numbers) :])[:3]
    width = min(max(width, 1), MOST[0])
    height = min(max(height, 1), MOST[1])
    picture = ripples(width, height, min(max(stones, 1), 9))
    footer = f"distcache ver. {VERSION} (Redis ver. {REDIS_VERSION})"
    return VerbatimString("\n".join([*picture, "", footer, ""]).encode())
