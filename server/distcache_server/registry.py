"""Commands are declared once, beside their functions; everything else reads ``COMMANDS``.

The usage line (``"EXPIRE key seconds [NX | XX | GT | LT]"``) gives name, arity and the arguments
of COMMAND DOCS; the docstring's first line is the summary; group and flags give the ACL categories;
the key specification serves COMMAND GETKEYS, and later access rules and cluster slots.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from distcache_server import usage as usages
from distcache_server.arguments import Args, Columns

if TYPE_CHECKING:
    from distcache_server.client import Client
    from distcache_server.errors import CommandError

Handler = Callable[["Client", Args], Any]
Run = Callable[["Client", Columns], list[Any] | None]
H = TypeVar("H", bound=Handler)
TableKey = bytes | tuple[bytes, bytes]

MANY = 1 << 62
REDACTED = b"(redacted)"


class Flag(enum.IntFlag):
    """What Redis calls command flags; COMMAND INFO prints their names in lower case."""

    WRITE = enum.auto()
    READONLY = enum.auto()
    DENYOOM = enum.auto()
    ADMIN = enum.auto()
    PUBSUB = enum.auto()
    NOSCRIPT = enum.auto()
    BLOCKING = enum.auto()
    LOADING = enum.auto()
    STALE = enum.auto()
    SKIP_MONITOR = enum.auto()
    SKIP_SLOWLOG = enum.auto()
    ASKING = enum.auto()
    FAST = enum.auto()
    NO_AUTH = enum.auto()
    MAY_REPLICATE = enum.auto()  # COMMAND INFO does not show it
    NO_MANDATORY_KEYS = enum.auto()
    NO_ASYNC_LOADING = enum.auto()
    NO_MULTI = enum.auto()
    MOVABLEKEYS = enum.auto()
    ALLOW_BUSY = enum.auto()
    DANGEROUS = enum.auto()  # ours: stands for the ACL category alone
    INSTANT = enum.auto()  # ours: runs inside MULTI instead of being queued
    SUBSCRIBED = enum.auto()  # ours: allowed to a RESP2 client that is subscribed
    UNPAUSABLE = enum.auto()  # ours: runs while CLIENT PAUSE holds all commands

    @property
    def names(self) -> list[str]:
        """The names that COMMAND INFO shows, in Redis's order."""
        shown = self & ~_HIDDEN
        return [flag.name.lower() for flag in Flag if flag in shown and flag.name]


WRITE, READONLY, DENYOOM, ADMIN, PUBSUB = (
    Flag.WRITE,
    Flag.READONLY,
    Flag.DENYOOM,
    Flag.ADMIN,
    Flag.PUBSUB,
)
NOSCRIPT, BLOCKING, LOADING, STALE, SKIP_MONITOR = (
    Flag.NOSCRIPT,
    Flag.BLOCKING,
    Flag.LOADING,
    Flag.STALE,
    Flag.SKIP_MONITOR,
)
SKIP_SLOWLOG, ASKING, FAST, NO_AUTH, MAY_REPLICATE = (
    Flag.SKIP_SLOWLOG,
    Flag.ASKING,
    Flag.FAST,
    Flag.NO_AUTH,
    Flag.MAY_REPLICATE,
)
NO_ASYNC_LOADING, NO_MULTI, MOVABLEKEYS, ALLOW_BUSY, NO_MANDATORY_KEYS = (
    Flag.NO_ASYNC_LOADING,
    Flag.NO_MULTI,
    Flag.MOVABLEKEYS,
    Flag.ALLOW_BUSY,
    Flag.NO_MANDATORY_KEYS,
)
DANGEROUS, INSTANT, SUBSCRIBED, UNPAUSABLE = (
    Flag.DANGEROUS,
    Flag.INSTANT,
    Flag.SUBSCRIBED,
    Flag.UNPAUSABLE,
)
NO_FLAGS = Flag(0)
MAY_WRITE = WRITE | MAY_REPLICATE
_HIDDEN = MAY_REPLICATE | DANGEROUS | INSTANT | SUBSCRIBED | UNPAUSABLE


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys stand among the words of a command: one key specification of COMMAND INFO.

    The search begins at word ``first``, or behind the word ``keyword`` looked for from ``first``
    on.  From there keys reach to ``last`` (relative; -1 is the last word, -2 the one before; with
    ``limit`` 2 half of the rest) in steps of ``step``; or, with ``numkeys``, the word there is
    their number.  ``access`` lists Redis's flags: RO, RW, OW or RM, and what is done with the data.
    ``unknown`` keys stand where no rule finds them; then ``getkeys`` of the command does.
    ``notes`` say for what readers may wonder about.
    """

    first: int = 1
    last: int = 0
    step: int = 1
    access: str = ""
    keyword: str = ""
    limit: int = 0
    numkeys: bool = False
    unknown: bool = False
    notes: str = ""

    def __call__(self, access: str, notes: str = "") -> Keys:
        """The same places with other access flags: ``ONE_KEY("OW INSERT")``."""
        return replace(self, access=access, notes=notes)

    def positions(self, words: Args) -> list[int] | None:
        """Indexes of the words that are keys; None where their number makes no sense."""
        if self.unknown:
            return []
        start = self.first
        if self.keyword:
            sought = self.keyword.encode()
            places = range(start, len(words)) if start > 0 else range(len(words) + start, 0, -1)
            found = [at for at in places if words[at].upper() == sought]
            if not found:
                return []
            start = found[0] + 1
        if start >= len(words):
            return []
        if self.numkeys:
            try:
                count = int(words[start])
            except ValueError:
                return None
            start += 1
            if not 0 < count <= len(words) - start:
                return None
            return list(range(start, start + count * self.step, self.step))
        if self.last >= 0:
            stop = start + self.last
        elif self.limit > 1:
            stop = start + (len(words) - start) // self.limit + self.last
        else:
            stop = len(words) + self.last
        return list(range(start, min(stop + 1, len(words)), self.step))


ONE_KEY = Keys()
ALL_KEYS = Keys(last=-1)
KEYS_THEN_ONE = Keys(last=-2)  # BLPOP key [key ...] timeout
NUMKEYS = Keys(numkeys=True)  # LMPOP numkeys key [key ...]


@dataclass(slots=True)
class Command:
    """One command or subcommand, as declared."""

    name: str
    """In lower case; a subcommand is ``config|get``."""
    usage: str
    arguments: list[usages.Argument]
    """What the usage line says, taken apart."""
    handler: Handler
    flags: Flag
    keys: tuple[Keys, ...]
    group: str
    since: str
    summary: str
    complexity: str
    least: int
    most: int
    acl: tuple[str, ...]
    tips: tuple[str, ...]
    run: Run | None = None
    """Answers a run of equal commands at once; the hot path's shortcut."""
    runs_all: bool = False
    """``run`` takes commands of more words than the least, too."""
    getkeys: Callable[[Args], list[tuple[int, str]]] | None = None
    """Finds keys and their access flags where no specification can."""
    refusal: Callable[[Client, CommandError], CommandError] | None = None
    """What the client is told where the command is refused, in place of the error."""
    help_since: str = ""
    """Of a container: since when it has a subcommand HELP."""
    secrets: Callable[[Args], Iterable[int]] | None = None
    """Indexes of the words that MONITOR and SLOWLOG must not show."""
    subcommands: dict[str, Command] = field(default_factory=dict)
    keys_in_table: tuple[TableKey, ...] = field(init=False)
    """The name as dispatch tables have it; of a subcommand it is a pair, which nobody can send."""
    bits: int = field(init=False)
    """The flags as a plain number."""

    def __post_init__(self) -> None:
        small = self.name.encode()
        container, _, name = small.upper().partition(b"|")
        self.keys_in_table = ((container, name),) if name else (small, container)
        self.bits = int(self.flags)

    @property
    def arity(self) -> int:
        """As COMMAND INFO has it: negative where more words may follow."""
        return self.least if self.least == self.most else -self.least

    @property
    def is_container(self) -> bool:
        """Nothing but the common first word of its subcommands."""
        return bool(self.subcommands) and self.least > 1

    def shown(self, words: Args) -> Args:
        """The words as other clients may see them."""
        if self.secrets is None:
            return words
        hidden = set(self.secrets(words))
        return [REDACTED if at in hidden else word for at, word in enumerate(words)]

    def find_keys(self, words: Args) -> list[tuple[int, str]]:
        """Index and access flags of every word that is a key; empty for a malformed command."""
        if self.getkeys is not None:
            return self.getkeys(words)
        found: list[tuple[int, str]] = []
        for keys in self.keys:
            positions = keys.positions(words)
            if positions is None:
                return []
            found += [(at, keys.access) for at in positions]
        return found


COMMANDS: dict[str, Command] = {}
"""Every top-level command by its lower-case name; subcommands hang below their container."""

CATEGORIES = (
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
)
"""The categories of commands that access rules know, in Redis's order."""

_OF_GROUP = {
    "generic": "keyspace",
    "sorted_set": "sortedset",
    "sorted-set": "sortedset",
    "transactions": "transaction",
}
_OF_FLAGS = {
    Flag.WRITE: ("write",),
    Flag.READONLY: ("read",),
    Flag.ADMIN: ("admin", "dangerous"),
    Flag.PUBSUB: ("pubsub",),
    Flag.FAST: ("fast",),
    Flag.BLOCKING: ("blocking",),
    Flag.DANGEROUS: ("dangerous",),
}


def categories_of(command: Command) -> list[str]:
    """The categories of a command: by its group, by its flags, and what it says itself.

    ``acl="connection -keyspace"`` adds one and takes one away.  A container is in none but @slow,
    and of the pub/sub commands those that look or talk are in @pubsub by their flag.
    """
    found = {name for flag, names in _OF_FLAGS.items() if flag & command.flags for name in names}
    if not command.is_container and command.group not in ("pubsub", "server"):
        found.add(_OF_GROUP.get(command.group, command.group))
    for name in command.acl:
        found -= {name[1:]} if name.startswith("-") else set()
        found |= set() if name.startswith("-") else {name}
    if "scripting" in found:
        found.discard("read")
    if "fast" not in found:
        found.add("slow")
    return [name for name in CATEGORIES if name in found]


def every_command() -> Iterator[Command]:
    """All commands and subcommands."""
    for command in COMMANDS.values():
        yield command
        yield from command.subcommands.values()


def by_name(name: str) -> Command | None:
    """The command or subcommand (``config|get``) of this name, in any case."""
    container, _, sub = name.lower().partition("|")
    command = COMMANDS.get(container)
    return command.subcommands.get(sub) if command and sub else command


def group(name: str) -> Callable[..., Callable[[H], H]]:
    """The decorator of a command group: ``command = group("string")``."""

    def command(
        usage: str,
        flags: Flag = NO_FLAGS,
        *,
        since: str,
        keys: Keys | tuple[Keys, ...] = (),
        arity: int | None = None,
        acl: str = "",
        tips: str = "",
        complexity: str = "O(1)",
        run: Run | None = None,
        runs_all: bool = False,
        getkeys: Callable[[Args], list[tuple[int, str]]] | None = None,
        refusal: Callable[[Client, CommandError], CommandError] | None = None,
        secrets: Callable[[Args], Iterable[int]] | None = None,
        help: str = "",  # noqa: A002 -- reads well where containers are declared
        sub: bool = False,
    ) -> Callable[[H], H]:
        words = usage.split()
        arguments = usages.parse(usage, 2 if sub else 1)
        least = (2 if sub else 1) + sum(argument.least for argument in arguments)
        more = any(argument.varies for argument in arguments)
        if arity is not None:
            least, more = abs(arity), arity < 0
        access = "RO ACCESS" if flags & READONLY else "RW UPDATE"
        specs = tuple(
            spec if spec.access else spec(access)
            for spec in (keys if isinstance(keys, tuple) else (keys,))
        )

        def declare(handler: H) -> H:
            path = "|".join(words[: 2 if sub else 1]).lower()
            declared = Command(
                name=path,
                usage=usage,
                arguments=arguments,
                handler=handler,
                flags=flags,
                keys=specs,
                group=name,
                since=since,
                summary=" ".join((handler.__doc__ or "").split("\n\n")[0].split()).rstrip("."),
                complexity=complexity,
                least=least,
                most=MANY if more else least,
                acl=tuple(acl.split()),
                tips=tuple(tips.lower().split()),
                run=run,
                runs_all=runs_all,
                getkeys=getkeys,
                refusal=refusal,
                help_since=help or since,
                secrets=secrets,
            )
            place = COMMANDS[words[0].lower()].subcommands if sub else COMMANDS
            last = path.split("|")[-1]
            if last in place:
                raise ValueError(f"command {path} is declared twice")
            place[last] = declared
            return handler

        return declare

    return command
