"""The kinds of settings: how each reads its words, shows its value and writes its line.

A setting is a descriptor that knows its directive's name from the attribute it is assigned to.  The
value lives in the instance's dictionary under the same name, so that reading one costs what reading
any attribute costs.  Values are immutable: a rollback puts the old object back.

Here are the kinds that take one word; `lists` has those that take several.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOENT
from typing import ClassVar, Generic, Self, TypedDict, TypeVar, Unpack, overload

from distcache_replication.backing.address import without_password

from distcache_server import events
from distcache_server.quoting import quote

T = TypeVar("T")

INT_MAX = (1 << 31) - 1
UINT_MAX = (1 << 32) - 1
LONG_MAX = (1 << 63) - 1
ULONG_MAX = (1 << 64) - 1

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_MEMORY = re.compile(rb"([0-9]{0,127})(b|kb?|mb?|gb?)?", re.IGNORECASE)
_UNITS = {
    b"": 1,
    b"b": 1,
    b"k": 1000,
    b"kb": 1 << 10,
    b"m": 1000**2,
    b"mb": 1 << 20,
    b"g": 1000**3,
    b"gb": 1 << 30,
}


class ConfigError(Exception):
    """A setting or a configuration that cannot be accepted; ``reason`` is Redis's text for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Section:
    """Settings that belong together, under the heading that the docstring gives."""


class Options(TypedDict, total=False):
    """What any kind of setting may be told besides its default, its limits and its summary."""

    alias: str  # the directive's older name
    name: str  # the directive's name, where it does not follow from the attribute's
    runtime: bool  # can CONFIG SET change it? (yes, unless said otherwise)
    protected: bool  # CONFIG SET needs ``enable-protected-configs``
    hidden: bool  # CONFIG GET shows it only under its full name
    secret: bool  # kept out of logs and error messages
    file_only: bool  # for files and the command line; CONFIG GET and SET do not know it


class Setting(Generic[T]):
    """One setting.  ``words`` are what follows the directive's name, already unquoted."""

    several_words: ClassVar[bool] = False

    def __init__(self, default: T, summary: str, **options: Unpack[Options]) -> None:
        self.default = default
        self.summary = summary
        self.name = options.get("name", "")
        self.alias = options.get("alias", "")
        self.runtime = options.get("runtime", True)
        self.protected = options.get("protected", False)
        self.hidden = options.get("hidden", False)
        self.secret = options.get("secret", False)
        self.file_only = options.get("file_only", False)
        self.attribute = ""
        self.section: type = Section

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute, self.section = name, owner
        self.name = self.name or name.replace("_", "-")

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        return self if instance is None else self.default

    def initial(self) -> T:
        """The value where nothing is configured."""
        return self.default

    def split(self, argument: bytes) -> list[bytes]:
        """The words in an argument of CONFIG SET."""
        if self.several_words:
            return argument.split(b" ") if argument else []
        return [argument]

    def parse(self, words: Sequence[bytes], old: T) -> T:
        """The new value; ConfigError says what is wrong with the words."""
        raise NotImplementedError

    def show(self, value: T) -> bytes:
        """The value as CONFIG GET answers it."""
        raise NotImplementedError

    def lines(self, value: T) -> list[tuple[bytes, bool]]:
        """What CONFIG REWRITE puts behind the name, and whether it must be there.

        What need not be there only replaces an old line.  Old lines that get no replacement leave
        the file.
        """
        return [(self.show(value), value != self.default)]

    def accepts(self) -> str:
        """The values that it takes, for the documentation."""
        raise NotImplementedError


class Integer(Setting[int]):
    """A number between two limits, which are included."""

    def __init__(
        self,
        default: int,
        lowest: int,
        highest: int,
        summary: str,
        *,
        clamp: tuple[int, int] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(default, summary, **options)
        self.lowest, self.highest, self.clamp = lowest, highest, clamp

    def number(self, word: bytes) -> int:
        if not _INTEGER.fullmatch(word) or not -LONG_MAX - 1 <= int(word) <= LONG_MAX:
            raise ConfigError("argument couldn't be parsed into an integer")
        return int(word)

    def digits(self, value: int) -> str:
        return str(value)

    def parse(self, words: Sequence[bytes], old: int) -> int:
        value = self.number(words[0])
        if not self.lowest <= value <= self.highest:
            lowest, highest = self.digits(self.lowest), self.digits(self.highest)
            raise ConfigError(f"argument must be between {lowest} and {highest} inclusive")
        return min(max(value, self.clamp[0]), self.clamp[1]) if self.clamp else value

    def show(self, value: int) -> bytes:
        return self.digits(value).encode("ascii")

    def accepts(self) -> str:
        if self.lowest == -INT_MAX - 1:
            return "an integer"
        if self.highest in (INT_MAX, UINT_MAX, LONG_MAX, ULONG_MAX):
            return f"{self.digits(self.lowest)} or more"
        return f"{self.digits(self.lowest)} to {self.digits(self.highest)}"


class Octal(Integer):
    """File permissions."""

    def number(self, word: bytes) -> int:
        if not re.fullmatch(rb"[0-7]{1,21}", word):
            raise ConfigError("argument couldn't be parsed as an octal number")
        return int(word, 8)

    def digits(self, value: int) -> str:
        return f"{value:o}"

    def accepts(self) -> str:
        return f"octal, {super().accepts()}"


class Memory(Integer):
    """A number of bytes, or of ``k m g`` (powers of 1000) or ``kb mb gb`` (powers of 1024)."""

    def number(self, word: bytes) -> int:
        if (value := memory(word)) is None:
            raise ConfigError("argument must be a memory value")
        return value

    def lines(self, value: int) -> list[tuple[bytes, bool]]:
        return [(in_units(value), value != self.default)]

    def accepts(self) -> str:
        highest = self.highest in (INT_MAX, LONG_MAX, ULONG_MAX)
        limits = f"{in_units(self.lowest).decode()} or more" if highest else super().accepts()
        return "memory" if self.lowest == 0 and highest else f"memory, {limits}"


def memory(word: bytes) -> int | None:
    """``64mb`` as a number of bytes; None where it is no such thing, or more than 64 bits."""
    match = _MEMORY.fullmatch(word)
    if match is None:
        return None
    value = min(int(match[1] or b"0"), ULONG_MAX) * _UNITS[(match[2] or b"").lower()]
    return value if value <= ULONG_MAX else None


def in_units(value: int) -> bytes:
    """A number of bytes in the largest unit that leaves no rest."""
    for unit in (b"gb", b"mb", b"kb"):
        if value and value % _UNITS[unit] == 0:
            return b"%d%b" % (value // _UNITS[unit], unit)
    return b"%d" % value


@dataclass(frozen=True, slots=True)
class Portion:
    """So many bytes, or where ``percent`` is not zero, that part of something else."""

    bytes: int = 0
    percent: int = 0

    def of(self, whole: int) -> int:
        """The number of bytes; zero where there is no limit."""
        return whole * self.percent // 100 if self.percent else self.bytes


class MemoryPortion(Setting[Portion]):
    """A number of bytes, or a percentage of ``maxmemory``."""

    def parse(self, words: Sequence[bytes], old: Portion) -> Portion:
        (word,) = words
        if (value := memory(word)) is not None:
            if value > LONG_MAX:
                raise ConfigError(f"argument must be between 0 and {LONG_MAX} inclusive")
            return Portion(bytes=value)
        if not word.endswith(b"%") or not _INTEGER.fullmatch(word[:-1]) or word.startswith(b"-"):
            raise ConfigError("argument must be a memory or percent value")
        if int(word[:-1]) > 100:
            raise ConfigError("percentage argument must be less or equal to 100")
        return Portion(percent=int(word[:-1]))

    def show(self, value: Portion) -> bytes:
        return b"%d%%" % value.percent if value.percent else b"%d" % value.bytes

    def lines(self, value: Portion) -> list[tuple[bytes, bool]]:
        text = self.show(value) if value.percent else in_units(value.bytes)
        return [(text, value != self.default)]

    def accepts(self) -> str:
        return "memory or percent"


class Boolean(Setting[bool]):
    """``yes`` or ``no``."""

    def parse(self, words: Sequence[bytes], old: bool) -> bool:
        match words[0].lower():
            case b"yes":
                return True
            case b"no":
                return False
        raise ConfigError("argument must be 'yes' or 'no'")

    def show(self, value: bool) -> bytes:
        return b"yes" if value else b"no"

    def accepts(self) -> str:
        return "yes or no"


class Enum(Setting[str]):
    """One of several words.  A synonym is accepted and shown as what it stands for."""

    def __init__(
        self,
        default: str,
        choices: tuple[str, ...],
        summary: str,
        *,
        synonyms: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(default, summary, **options)
        self.choices, self.synonyms = choices, synonyms or {}

    def parse(self, words: Sequence[bytes], old: str) -> str:
        return self.synonyms.get(choice := choose(self.choices, words[0]), choice)

    def show(self, value: str) -> bytes:
        return value.encode("ascii")

    def accepts(self) -> str:
        return ", ".join(self.choices)


def choose(choices: tuple[str, ...], word: bytes) -> str:
    """The word if it is one of the choices, in any case."""
    choice = word.decode("latin-1").lower()
    if choice not in choices:
        raise ConfigError(f"argument(s) must be one of the following: {', '.join(choices)}")
    return choice


class String(Setting[str]):
    """Text.  With ``optional``, an empty one means that nothing is set."""

    def __init__(
        self,
        default: str,
        summary: str,
        *,
        optional: bool = False,
        valid: Callable[[str], None] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(default, summary, **options)
        self.optional, self.valid = optional, valid

    def parse(self, words: Sequence[bytes], old: str) -> str:
        value = text(words[0].partition(b"\0")[0])
        if self.valid:
            self.valid(value)
        return value

    def show(self, value: str) -> bytes:
        return raw(value)

    def lines(self, value: str) -> list[tuple[bytes, bool]]:
        if self.optional and not value:
            return []
        return [(quote(raw(value)), value != self.default)]

    def accepts(self) -> str:
        return "text"


class Secret(Setting[bytes]):
    """A password, as the bytes that clients send; empty where there is none."""

    def __init__(self, summary: str, **options: Unpack[Options]) -> None:
        options["secret"] = True
        super().__init__(b"", summary, **options)

    def parse(self, words: Sequence[bytes], old: bytes) -> bytes:
        return words[0]

    def show(self, value: bytes) -> bytes:
        return value

    def lines(self, value: bytes) -> list[tuple[bytes, bool]]:
        return [(quote(value), True)] if value else []

    def accepts(self) -> str:
        return "text"


class Address(Setting[str]):
    """Where a database is, as a URL that may have a password in it, which is not shown."""

    def __init__(self, summary: str, **options: Unpack[Options]) -> None:
        options["secret"] = True
        super().__init__("", summary, **options)

    def parse(self, words: Sequence[bytes], old: str) -> str:
        return text(words[0])

    def show(self, value: str) -> bytes:
        return raw(without_password(value))

    def lines(self, value: str) -> list[tuple[bytes, bool]]:
        return [(quote(raw(value)), True)] if value else []

    def accepts(self) -> str:
        return "a URL"


class Directory(Setting[str]):
    """A directory that exists, as an absolute path.  The process does not change into it."""

    def initial(self) -> str:
        return os.path.realpath(self.default)

    def parse(self, words: Sequence[bytes], old: str) -> str:
        given = text(words[0].partition(b"\0")[0])
        if not given:
            raise ConfigError(os.strerror(ENOENT))
        path = os.path.realpath(os.path.join(old, given))
        try:
            os.stat(os.path.join(path, "."))
        except OSError as error:
            raise ConfigError(os.strerror(error.errno or 0)) from None
        return path

    def show(self, value: str) -> bytes:
        return raw(value)

    def lines(self, value: str) -> list[tuple[bytes, bool]]:
        return [(quote(raw(value)), True)]

    def accepts(self) -> str:
        return "a directory"


class EventClasses(Setting[int]):
    """Classes of keyspace events, a letter each: the mask that `events` works with."""

    def parse(self, words: Sequence[bytes], old: int) -> int:
        try:
            return events.parse(words[0].decode("latin-1"))
        except ValueError:
            raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.") from None

    def show(self, value: int) -> bytes:
        return events.letters(value).encode("ascii")

    def lines(self, value: int) -> list[tuple[bytes, bool]]:
        return [(quote(self.show(value)), value != self.default)]

    def accepts(self) -> str:
        return "letters of Ag$lshzxeKEtmdn"


def text(word: bytes) -> str:
    """Bytes of a configuration as text; `raw` gives the same bytes back, whatever they are."""
    return word.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """The bytes that `text` was made of."""
    return value.encode("utf-8", "surrogateescape")
