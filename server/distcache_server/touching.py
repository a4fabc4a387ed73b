"""Which keys a command reads or overwrites: what a backing store must have loaded before it runs.

This comes from the key specifications of the command.  A key that is only overwritten (SET, MSET)
or dropped (DEL) need not be loaded, unless its row is to go, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from distcache_server.arguments import Args
from distcache_server.registry import Command

CONDITIONS = frozenset({b"NX", b"XX", b"GET", b"KEEPTTL"})
"""Options with which a command that overwrites asks what was there."""


class Touched:
    """The keys of a command, by what it does to them."""

    __slots__ = (
        "_command",
        "_conditional",
        "_fixed",
        "_replaces",
        "_stores",
        "changed",
        "crosses",
        "only",
        "place",
    )

    def __init__(self, command: Command) -> None:
        self._command = command
        specs = command.keys
        self._conditional = any("VARIABLE_FLAGS" in spec.access for spec in specs)
        # Without REPLACE a key that is there decides what it does (COPY, RESTORE).
        self._replaces = "REPLACE" in [argument.token for argument in command.arguments]
        # What it makes of others may be nothing, as with SINTERSTORE; so may what is restored.
        self._stores = self._replaces or any(spec.access.startswith("RO") for spec in specs)
        simple = all(
            not (spec.keyword or spec.numkeys or spec.unknown or spec.last or spec.limit > 1)
            for spec in specs
        )
        self.only = specs[0].first if simple and len(specs) == 1 else 0
        """The one word that is a key; 0 where there may be several."""
        self.changed = self.only if not specs[0].access.startswith("RO") else 0
        """The same, where that key may be changed or dropped."""
        fixed = simple and command.getkeys is None
        self._fixed: list[tuple[int, str]] | None = None
        if fixed:
            self._fixed = [(spec.first, spec.access) for spec in specs]
        self.place = 0
        """``only``, where that key is always read."""
        if self._fixed is not None and len(self._fixed) == 1 and is_read(self._fixed[0][1]):
            self.place = self._fixed[0][0]
        # What MIGRATE names is a database of another server.
        self.crosses = command.getkeys is None and any(
            argument.name.endswith("db") for argument in command.arguments
        )
        """It can reach into another database."""

    def _found(self, words: Args) -> list[tuple[int, str]]:
        if self._fixed is not None:
            return [it for it in self._fixed if it[0] < len(words)]
        return self._command.find_keys(words)

    def read(self, words: Args) -> Sequence[bytes]:
        """Keys whose values must be known before the command runs."""
        if self.place:
            return (words[self.place],)
        if self._conditional and not CONDITIONS.isdisjoint(map(bytes.upper, words[3:])):
            return [words[at] for at, _ in self._found(words)]
        if self._replaces and b"REPLACE" not in map(bytes.upper, words[3:]):
            return [words[at] for at, _ in self._found(words)]
        return [words[at] for at, access in self._found(words) if is_read(access)]

    def dropped(self, words: Args) -> list[bytes]:
        """Keys that may go without having been read: nothing is changed where they are missing."""
        if self.place:
            return []
        start = ("RM", "OW") if self._stores else "RM"
        return [words[at] for at, access in self._found(words) if access.startswith(start)]

    def written(self, words: Args) -> list[bytes]:
        """Keys that may be changed or dropped."""
        return [words[at] for at, access in self._found(words) if not access.startswith("RO")]

    def all(self, words: Args) -> list[bytes]:
        return [words[at] for at, _ in self._found(words)]

    def columns(self, width: int) -> list[int]:
        """Places of keys in commands of so many words, where their number alone decides."""
        return [at for at, _ in self._command.find_keys([b""] * width)]


def is_read(access: str) -> bool:
    """Whether what stands at a key decides what the command does or answers."""
    flags = access.split()
    return flags[0] in ("RO", "RW") or "INSERT" in flags


def touched_by(command: Command) -> Touched | None:
    """The keys of a command; None where it has none."""
    if not command.keys or any("NOT_KEY" in spec.access for spec in command.keys):
        return None
    return Touched(command)
