"""The kinds of settings that take several words, or several lines that add up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, TypeVar, Unpack

from distcache_server.config.kinds import (
    ConfigError,
    Options,
    Setting,
    choose,
    in_units,
    memory,
    raw,
    text,
)
from distcache_server.quoting import Unbalanced, quote_if_needed, split

E = TypeVar("E")

_MOST_ADDRESSES = 16
_DECIMAL = re.compile(rb"[+-]?[0-9]{1,18}")
_REAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class Addresses(Setting[tuple[str, ...]]):
    """Addresses to listen on.  One that starts with ``-`` may be missing on this machine."""

    several_words = True

    def parse(self, words: Sequence[bytes], old: tuple[str, ...]) -> tuple[str, ...]:
        if len(words) > _MOST_ADDRESSES:
            raise ConfigError("Too many bind addresses specified.")
        return () if list(words) == [b""] else tuple(text(word) for word in words)

    def show(self, value: tuple[str, ...]) -> bytes:
        return raw(" ".join(value))

    def lines(self, value: tuple[str, ...]) -> list[tuple[bytes, bool]]:
        return [] if value == self.default else [(self.show(value) or b'""', True)]

    def accepts(self) -> str:
        return "addresses"


class Globs(Setting[tuple[bytes, ...]]):
    """Patterns for keys, in their order.  A pattern with a blank in it stands between quotes."""

    several_words = True

    def split(self, argument: bytes) -> list[bytes]:
        return words_of(argument)

    def parse(self, words: Sequence[bytes], old: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return tuple(word for word in words if word)

    def show(self, value: tuple[bytes, ...]) -> bytes:
        return b" ".join(map(quote_if_needed, value))

    def lines(self, value: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
        return [(self.show(value) or b'""', value != self.default)]

    def accepts(self) -> str:
        return "patterns"


def words_of(argument: bytes) -> list[bytes]:
    """The words of one argument that holds several."""
    try:
        return split(argument)
    except Unbalanced:
        raise ConfigError("Unbalanced quotes in configuration line") from None


class Flags(Setting[tuple[str, ...]]):
    """Any of several words, shown in the order of ``choices``; the first stands for none."""

    several_words = True

    def __init__(
        self,
        choices: tuple[str, ...],
        summary: str,
        *,
        valid: Callable[[tuple[str, ...]], None] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__((), summary, **options)
        self.choices, self.valid = choices, valid

    def parse(self, words: Sequence[bytes], old: tuple[str, ...]) -> tuple[str, ...]:
        chosen = {choose(self.choices, word) for word in words or [b""]}
        value = tuple(choice for choice in self.choices[1:] if choice in chosen)
        if self.valid:
            self.valid(value)
        return value

    def show(self, value: tuple[str, ...]) -> bytes:
        return " ".join(value or self.choices[:1]).encode("ascii")

    def accepts(self) -> str:
        return "any of " + ", ".join(self.choices)


class Numbers(Setting[tuple[int, ...]]):
    """A fixed count of numbers between two limits."""

    several_words = True

    def __init__(
        self,
        default: tuple[int, ...],
        lowest: int,
        highest: int,
        summary: str,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(default, summary, **options)
        self.lowest, self.highest = lowest, highest

    def parse(self, words: Sequence[bytes], old: tuple[int, ...]) -> tuple[int, ...]:
        if len(words) != len(self.default):
            raise ConfigError("wrong number of arguments")
        limits = f"{self.lowest} and {self.highest}"
        for word in words:
            if not _DECIMAL.fullmatch(word) or not self.lowest <= int(word) <= self.highest:
                raise ConfigError(f"Invalid {self.name}, elements must be between {limits}.")
        return tuple(int(word) for word in words)

    def show(self, value: tuple[int, ...]) -> bytes:
        return b" ".join(b"%d" % number for number in value)

    def accepts(self) -> str:
        return f"{len(self.default)} numbers, {self.lowest} to {self.highest}"


class Percentiles(Setting[tuple[float, ...]]):
    """Real numbers between 0 and 100."""

    several_words = True

    def parse(self, words: Sequence[bytes], old: tuple[float, ...]) -> tuple[float, ...]:
        if list(words) == [b""]:
            return ()
        for word in words:
            if not _REAL.fullmatch(word):
                raise ConfigError(f"Invalid {self.name} parameters")
            if not 0.0 <= float(word) <= 100.0:
                raise ConfigError(f"{self.name} parameters should sit between [0.0,100.0]")
        return tuple(float(word) for word in words)

    def show(self, value: tuple[float, ...]) -> bytes:
        return b" ".join(map(percentile, value))

    def lines(self, value: tuple[float, ...]) -> list[tuple[bytes, bool]]:
        return [(self.show(value) or b'""', True)]

    def accepts(self) -> str:
        return "numbers, 0 to 100"


def percentile(value: float) -> bytes:
    """``99.9``: at most six decimals, and no zeros at the end."""
    return f"{value:.6f}".rstrip("0").rstrip(".").encode("ascii")


class OutputLimit(NamedTuple):
    """When a client that does not read is closed; zero means never."""

    hard: int
    soft: int
    soft_seconds: int


class OutputLimits(NamedTuple):
    """The limits of each class of clients."""

    normal: OutputLimit
    replica: OutputLimit
    pubsub: OutputLimit


class BufferLimits(Setting[OutputLimits]):
    """Limits for some of the classes of clients; the others keep theirs."""

    several_words = True
    _CLASSES: ClassVar = {
        b"normal": "normal",
        b"slave": "replica",
        b"replica": "replica",
        b"pubsub": "pubsub",
    }

    def parse(self, words: Sequence[bytes], old: OutputLimits) -> OutputLimits:
        if len(words) % 4:
            raise ConfigError("Wrong number of arguments in buffer limit configuration.")
        changed = {}
        for start in range(0, len(words), 4):
            who, hard, soft, seconds = words[start : start + 4]
            if who.lower() not in self._CLASSES:
                raise ConfigError("Invalid client class specified in buffer limit configuration.")
            changed[self._CLASSES[who.lower()]] = _output_limit(hard, soft, seconds)
        return old._replace(**changed)

    def show(self, value: OutputLimits) -> bytes:
        names = (b"normal", b"slave", b"pubsub")
        return b" ".join(
            b"%b %d %d %d" % (name, *limit) for name, limit in zip(names, value, strict=True)
        )

    def lines(self, value: OutputLimits) -> list[tuple[bytes, bool]]:
        return [
            (
                b"%b %b %b %d" % (raw(name), in_units(hard), in_units(soft), seconds),
                (hard, soft, seconds) != getattr(self.default, name),
            )
            for name, (hard, soft, seconds) in zip(value._fields, value, strict=True)
        ]

    def accepts(self) -> str:
        return "class, hard limit, soft limit, seconds"


def _output_limit(hard: bytes, soft: bytes, seconds: bytes) -> OutputLimit:
    limits = memory(hard), memory(soft)
    if None in limits or not _DECIMAL.fullmatch(seconds) or int(seconds) < 0:
        raise ConfigError(
            "Error in hard, soft or soft_seconds setting in buffer limit configuration."
        )
    return OutputLimit(limits[0] or 0, limits[1] or 0, int(seconds))


class Primary(Setting[tuple[str, int] | None]):
    """The host and port of a primary, or None for being one."""

    several_words = True

    def parse(self, words: Sequence[bytes], old: tuple[str, int] | None) -> tuple[str, int] | None:
        if len(words) != 2:
            raise ConfigError("wrong number of arguments")
        if [word.lower() for word in words] == [b"no", b"one"]:
            return None
        if not _DECIMAL.fullmatch(words[1]) or not 0 <= int(words[1]) <= 65535:
            raise ConfigError("Invalid master port")
        return text(words[0]), int(words[1])

    def show(self, value: tuple[str, int] | None) -> bytes:
        return b"%b %d" % (raw(value[0]), value[1]) if value else b""

    def lines(self, value: tuple[str, int] | None) -> list[tuple[bytes, bool]]:
        return [(self.show(value), True)] if value else []

    def accepts(self) -> str:
        return "host and port"


class Repeated(Setting[tuple[E, ...]]):
    """A directive whose lines add up, where those of others replace each other."""

    several_words = True

    def __init__(
        self, summary: str, default: tuple[E, ...] = (), **options: Unpack[Options]
    ) -> None:
        super().__init__(default, summary, **options)


class SavePoint(NamedTuple):
    """A snapshot is due after so many seconds with at least so many changes."""

    seconds: int
    changes: int


class SavePoints(Repeated[SavePoint]):
    """Pairs of seconds and changes; an empty word drops what came before."""

    def parse(self, words: Sequence[bytes], old: tuple[SavePoint, ...]) -> tuple[SavePoint, ...]:
        if list(words) == [b""]:
            return ()
        if len(words) % 2 or not all(_DECIMAL.fullmatch(word) for word in words):
            raise ConfigError("Invalid save parameters")
        points = [SavePoint(int(s), int(c)) for s, c in zip(words[::2], words[1::2], strict=True)]
        if any(point.seconds < 1 or point.changes < 0 for point in points):
            raise ConfigError("Invalid save parameters")
        return (*old, *points)

    def show(self, value: tuple[SavePoint, ...]) -> bytes:
        return b" ".join(b"%d %d" % point for point in value)

    def lines(self, value: tuple[SavePoint, ...]) -> list[tuple[bytes, bool]]:
        return [(b"%d %d" % point, True) for point in value] or [(b'""', True)]

    def accepts(self) -> str:
        return "seconds and changes"


class Lines(Repeated[tuple[bytes, ...]]):
    """Whole lines of a file, kept as their words; CONFIG REWRITE leaves them alone."""

    def __init__(
        self, least: int, most: int, takes: str, summary: str, **options: Unpack[Options]
    ) -> None:
        options["file_only"] = True
        options["runtime"] = False
        super().__init__(summary, **options)
        self.least, self.most, self.takes = least, most, takes

    def parse(
        self, words: Sequence[bytes], old: tuple[tuple[bytes, ...], ...]
    ) -> tuple[tuple[bytes, ...], ...]:
        if not self.least <= len(words) <= self.most:
            raise ConfigError("Bad directive or wrong number of arguments")
        return (*old, tuple(words))

    def accepts(self) -> str:
        return self.takes
