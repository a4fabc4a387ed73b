"""MIGRATE, as far as it is a command: its words, and the order that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from distcache_server.arguments import Args, integer
from distcache_server.blocking import Wait
from distcache_server.errors import Failure, SyntaxFailure
from distcache_server.registry import MOVABLEKEYS, WRITE, Keys, group
from distcache_server.reply import Wire

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("generic")

NOKEY = Wire(b"+NOKEY\r\n")
DEFAULT_TIMEOUT_MS = 1000
ACCESS = "RW ACCESS DELETE"


class Order(NamedTuple):
    """What is to go where, and how."""

    host: str
    port: int
    database: int
    timeout_s: float
    """For each step on the way."""
    copy: bool
    """The keys stay here, too."""
    replace: bool
    login: Args
    """The words of AUTH; none where there is no password."""
    keys: list[bytes]

    def heads(self, selected: int) -> list[Args]:
        """The commands before the first key, to a server that has that database selected."""
        select = [[b"SELECT", b"%d" % self.database]] if selected != self.database else []
        return [self.login, *select] if self.login else select


class _Options:
    """What stands behind the timeout."""

    def __init__(self, words: Args) -> None:
        self.copy = self.replace = False
        self.login: Args = []
        self.keys: list[bytes] = [words[3]]
        at = 6
        while at < len(words):
            option, left = words[at].upper(), len(words) - at - 1
            if option == b"COPY":
                self.copy = True
            elif option == b"REPLACE":
                self.replace = True
            elif option == b"AUTH" and left >= 1:
                self.login = [b"AUTH", words[at + 1]]
                at += 1
            elif option == b"AUTH2" and left >= 2:
                self.login = [b"AUTH", *words[at + 1 : at + 3]]
                at += 2
            elif option == b"KEYS":
                if words[3]:
                    raise Failure(
                        b"When using MIGRATE KEYS option, the key argument must be set to the"
                        b" empty string"
                    )
                self.keys = words[at + 1 :]
                return
            else:
                raise SyntaxFailure
            at += 1


def migrated_keys(words: Args) -> list[tuple[int, str]]:
    """Where the keys are: in the third place, or behind KEYS."""
    at = 6
    while at < len(words):
        option = words[at].upper()
        if option == b"KEYS":
            return [(key, ACCESS) for key in range(at + 1, len(words)) if not words[3]]
        at += {b"AUTH": 2, b"AUTH2": 3}.get(option, 1)
    return [(3, ACCESS)]


def secret_words(words: Args) -> list[int]:
    """The words of AUTH and AUTH2."""
    found: list[int] = []
    for at, word in enumerate(words):
        if at >= 6:
            found += range(at + 1, at + {b"AUTH": 2, b"AUTH2": 3}.get(word.upper(), 1))
    return [at for at in found if at < len(words)]


@command(
    "MIGRATE host port key destination-db timeout [COPY] [REPLACE]"
    " [AUTH password | AUTH2 username password] [KEYS key [key ...]]",
    WRITE | MOVABLEKEYS,
    keys=(
        Keys(first=3, access=ACCESS),
        Keys(first=-2, last=-1, keyword="KEYS", access=f"{ACCESS} INCOMPLETE"),
    ),
    since="2.6.0",
    acl="dangerous",
    tips="nondeterministic_output",
    complexity="DUMP and DEL here, and RESTORE there, for each key.",
    getkeys=migrated_keys,
    secrets=secret_words,
)
def migrate(client: Client, words: Args) -> Any:
    """Moves a key to another server; or, where the key is empty, those behind KEYS."""
    options = _Options(words)
    timeout_ms, database = integer(words[5]), integer(words[4])
    engine, keyspace = client.engine, client.keyspace
    port = int(words[2]) & 0xFFFF if words[2].isdigit() else 0
    if not [key for key in options.keys if keyspace.read(key) is not None]:
        return NOKEY
    if engine.migrate is None or engine.in_transaction:
        # All others would have to wait for the other server.
        raise Failure(b"MIGRATE is not possible within a transaction")
    wait = Wait([], None, 0)
    order = Order(
        words[1].decode("utf-8", "surrogateescape"),
        port,
        database,
        (timeout_ms if timeout_ms > 0 else DEFAULT_TIMEOUT_MS) / 1000,
        options.copy,
        options.replace,
        options.login,
        options.keys,
    )
    engine.migrate(client, wait, order)
    raise wait
