"""Loads, shows, changes and watches the settings that a subclass declares."""

from __future__ import annotations

import glob as files
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from distcache_server import logs
from distcache_server.config.kinds import ConfigError, Setting, raw, text
from distcache_server.config.lists import Repeated, words_of
from distcache_server.config.rewriting import replace_file, rewritten
from distcache_server.glob import matcher
from distcache_server.quoting import quote

Change = Callable[[], None]

COMMAND_LINE = "the command line"
# Directives that Redis once had: a line with one of them is accepted and ignored.
_FORGOTTEN = frozenset(
    {"list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"}
)
_IS_PATTERN = re.compile(rb"[*?[]")


class LoadError(ConfigError):
    """A line that cannot be loaded: ``source`` says from where, ``number`` counts from one."""

    def __init__(self, reason: str, source: str, number: int, line: str) -> None:
        super().__init__(reason)
        self.source, self.number, self.line = source, number, line

    def __str__(self) -> str:
        where = "" if self.source == COMMAND_LINE else f", at line {self.number}"
        return f"Reading {self.source}{where}\n>>> '{self.line}'\n{self.reason}"


class Store:
    """What is configured.  A setting is read as an attribute and changed by `load` and `set`."""

    directives: ClassVar[dict[str, Setting[Any]]] = {}  # by name, and by alias

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.directives = {}
        for setting in declared(cls):
            for name in filter(None, (setting.name, setting.alias)):
                if name in cls.directives:
                    raise TypeError(f"the directive '{name}' is declared twice")
                cls.directives[name] = setting

    def __init__(self) -> None:
        self.config_file = ""  # absolute path of the file that CONFIG REWRITE rewrites
        self._met: set[str] = set()  # directives of which a line was loaded
        self._open_files: list[str] = []  # the file that is being loaded and those that include it
        self._watchers: list[tuple[Change, frozenset[str]]] = []
        for setting in declared(type(self)):
            self.__dict__[setting.attribute] = setting.initial()

    def locate(self, path: str) -> str:
        """Where a path in the configuration leads."""
        return os.path.abspath(path)

    # Loading

    def load(self, configuration: str, source: str) -> None:
        """Take over directives, one a line; LoadError says which line is wrong, and why."""
        lines = raw(configuration).partition(b"\0")[0].split(b"\n")
        for number, line in enumerate(map(bytes.strip, lines), 1):
            if not line or line.startswith(b"#"):
                continue
            try:
                self._load_line(line)
            except LoadError:
                raise
            except ConfigError as error:
                shown = text(self._without_secrets(line))
                raise LoadError(error.reason, source, number, shown) from None

    def load_file(self, path: str) -> None:
        """Take over a file, and remember it as the one that CONFIG REWRITE rewrites."""
        self.config_file = os.path.abspath(path)
        self._load_path(self.config_file)

    def load_arguments(self, arguments: Sequence[str]) -> None:
        """Take over a command line: ``--port 6380 --save "" --bind 127.0.0.1 ::1``."""
        for line in option_lines(arguments):
            self.load(line, COMMAND_LINE)

    def _load_path(self, path: str) -> None:
        if path in self._open_files:
            raise ConfigError(f"Fatal error, config file '{path}' includes itself")
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                configuration = file.read()
        except OSError as error:
            problem = os.strerror(error.errno or 0)
            raise ConfigError(f"Fatal error, can't open config file '{path}': {problem}") from None
        self._open_files.append(path)
        try:
            self.load(configuration, f"the configuration file {path}")
        finally:
            self._open_files.pop()

    def _load_line(self, line: bytes) -> None:
        first, *words = words_of(line)
        name = text(first.lower())
        if name in self.directives:
            self._load_setting(self.directives[name], words)
        elif name == "include" and len(words) == 1:
            for path in included(self.locate(text(words[0]))):
                self._load_path(path)
        elif name == "sentinel":
            raise ConfigError("sentinel directive while not in sentinel mode")
        elif name not in _FORGOTTEN or len(words) != 1:
            raise ConfigError("Bad directive or wrong number of arguments")

    def _load_setting(self, setting: Setting[Any], words: list[bytes]) -> None:
        if not setting.several_words and len(words) != 1:
            raise ConfigError("wrong number of arguments")
        if setting.several_words and not setting.file_only and len(words) == 1 and words[0]:
            words = words_of(words[0])
        old = self.__dict__[setting.attribute]
        if isinstance(setting, Repeated) and setting.name not in self._met:
            old = ()
        self._met.add(setting.name)
        self.__dict__[setting.attribute] = setting.parse(words, old)

    def _without_secrets(self, line: bytes) -> bytes:
        """The line as an error message may show it."""
        name, *rest = line.split(None, 1)
        secret = rest and self.is_secret(name.strip(b"\"'"))
        return name + b" (redacted)" if secret else line

    # Showing and changing

    def is_secret(self, name: bytes) -> bool:
        """Must the value of this directive be kept out of logs?"""
        setting = self.directives.get(text(name.lower()))
        return setting is not None and setting.secret

    def get(self, patterns: Sequence[bytes]) -> dict[bytes, bytes]:
        """The settings whose names match, as CONFIG GET shows them."""
        found: dict[str, tuple[bytes, Setting[Any]]] = {}
        for pattern in patterns:
            if _IS_PATTERN.search(pattern):
                matches = matcher(pattern, ignore_case=True)
                for name, setting in self.directives.items():
                    if not setting.hidden and matches(raw(name)):
                        found.setdefault(name, (raw(name), setting))
            elif (name := text(pattern.lower())) in self.directives:
                found.setdefault(name, (pattern, self.directives[name]))
        return {
            shown: setting.show(self.__dict__[setting.attribute])
            for shown, setting in found.values()
            if not setting.file_only
        }

    def on_change(self, change: Change, *names: str) -> None:
        """Call ``change`` after CONFIG SET gave one of these directives another value.

        It may refuse by a ConfigError.  Then all of the command is undone, and what was called for
        it is called again with the old values in place.
        """
        watched = frozenset(self.directives[name].name for name in names)
        self._watchers.append((change, watched))

    def set(self, pairs: Sequence[tuple[bytes, bytes]], *, local: bool = False) -> None:
        """Change settings as CONFIG SET does: all of them, or none and a ConfigError.

        ``local`` says that the client's connection does not come from another machine.
        """
        chosen = self._settable(pairs, local)
        before = {setting.attribute: self.__dict__[setting.attribute] for _, setting, _ in chosen}
        called: list[Change] = []
        try:
            for name, setting in self._assign(chosen):
                self._tell(name, setting, called)
        except ConfigError:
            self.__dict__.update(before)
            self._undo(called)
            raise

    def put(self, name: str, value: Any) -> None:
        """Change a setting for a command other than CONFIG SET; nobody is told."""
        self.__dict__[self.directives[name].attribute] = value

    def _assign(
        self, chosen: list[tuple[str, Setting[Any], bytes]]
    ) -> list[tuple[str, Setting[Any]]]:
        """Put the new values in place; which of them differ from the old ones."""
        changed = []
        for name, setting, argument in chosen:
            old = self.__dict__[setting.attribute]
            base = () if isinstance(setting, Repeated) else old
            try:
                value = setting.parse(setting.split(argument), base)
            except ConfigError as error:
                raise _refused(name, error.reason) from None
            self.__dict__[setting.attribute] = value
            if value != old:
                changed.append((name, setting))
        return changed

    def _tell(self, name: str, setting: Setting[Any], called: list[Change]) -> None:
        for change, watched in self._watchers:
            if setting.name in watched and change not in called:
                called.append(change)
                try:
                    change()
                except ConfigError as error:
                    logs.warning("New settings refused, old ones restored", setting=name)
                    raise _refused(name, error.reason) from None

    def _undo(self, called: list[Change]) -> None:
        for change in called:
            try:
                change()
            except ConfigError as error:
                logs.warning("Old settings could not be applied again", reason=error.reason)

    def _settable(
        self, pairs: Sequence[tuple[bytes, bytes]], local: bool
    ) -> list[tuple[str, Setting[Any], bytes]]:
        chosen: dict[str, tuple[str, Setting[Any], bytes]] = {}
        for given, argument in pairs:
            name = text(given.lower())
            setting = self.directives.get(name)
            if setting is None or setting.file_only:
                raise ConfigError(
                    f"Unknown option or number of arguments for CONFIG SET - '{text(given)}'"
                )
            if not setting.runtime:
                raise _refused(text(given), "can't set immutable config")
            if setting.protected and not self.permits_protected(local):
                raise _refused(text(given), "can't set protected config")
            if name in chosen:
                raise _refused(text(given), "duplicate parameter")
            chosen[name] = name, setting, argument
        return list(chosen.values())

    def permits_protected(self, local: bool) -> bool:
        """May this client change protected settings?"""
        return False

    def rewrite(self) -> None:
        """Bring the configuration file up to date, as CONFIG REWRITE does."""
        if not self.config_file:
            raise ConfigError("The server is running without a config file")
        settings = list(declared(type(self)))
        left_alone = {setting.name for setting in settings if setting.file_only}
        try:
            replace_file(
                self.config_file,
                rewritten(
                    read_or_empty(self.config_file),
                    [setting for setting in settings if not setting.file_only],
                    self.__dict__,
                    frozenset({"include", *left_alone, *_FORGOTTEN}),
                ),
            )
        except OSError as error:
            problem = os.strerror(error.errno or 0)
            logs.warning("CONFIG REWRITE failed", file=self.config_file, error=problem)
            raise ConfigError(f"Rewriting config file: {problem}") from None
        logs.notice("CONFIG REWRITE executed with success", file=self.config_file)


def _refused(name: str, reason: str) -> ConfigError:
    return ConfigError(f"CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def declared(store: type[Store]) -> Iterator[Setting[Any]]:
    """The settings of a class and of those that it is made of, in the order of declaration."""
    for owner in store.__mro__:
        for value in vars(owner).values():
            if isinstance(value, Setting):
                yield value


def included(pattern: str) -> list[str]:
    """The files that an ``include`` names.  A pattern may match none; a plain name must exist."""
    return sorted(files.glob(pattern)) if re.search(r"[*?[]", pattern) else [pattern]


def read_or_empty(path: str) -> bytes:
    """What is in a file; nothing, if there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def option_lines(arguments: Sequence[str]) -> list[str]:
    """The lines of a configuration file that say the same as the options of a command line.

    What begins with ``--`` is a directive, unless it stands where the first word of the one before
    it is due.
    """
    lines: list[str] = []
    complete = True  # has the last directive a word, so that ``--`` opens the next one?
    for index, argument in enumerate(arguments):
        if complete and argument.startswith("--"):
            lines.append(argument[2:] + " ")
            complete = len(argument.split()) > 1
            following = arguments[index + 1 : index + 2]
            if argument.lower() == "--save" and (not following or following[0].startswith("--")):
                # ``--save --port 1`` came from scripts that expand an empty list of save points.
                lines[-1] += '""'
                complete = True
        else:
            if not lines:
                lines.append("")
            lines[-1] += text(quote(raw(argument))) + " "
            complete = True
    return lines
