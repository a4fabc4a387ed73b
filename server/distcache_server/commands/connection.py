"""Commands by which a client says who it is and how it wants to talk."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, Columns, integer
from distcache_server.commands.transactions import leave_multi
from distcache_server.engine import REDIS_VERSION
from distcache_server.errors import (
    BadClientName,
    BadHelloOption,
    BadProtocolVersion,
    HelloNeedsAuth,
    InvalidDatabase,
    NoPasswordSet,
    NoProtocol,
    SyntaxFailure,
    WrongArity,
    WrongPassword,
)
from distcache_server.registry import (
    ALLOW_BUSY,
    FAST,
    INSTANT,
    LOADING,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    SUBSCRIBED,
    group,
)
from distcache_server.reply import OK, PONG, Status

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("connection")

ALWAYS = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY
DEFAULT_USER = b"default"


def ping_run(client: Client, columns: Columns) -> list[Any] | None:
    """PING without a message, many times."""
    return None if client.state == "subscribed" else [PONG] * len(columns[0])


@command(
    "PING [message]",
    FAST | SUBSCRIBED,
    since="1.0.0",
    tips="request_policy:all_shards response_policy:all_succeeded",
    run=ping_run,
)
def ping(client: Client, words: Args) -> Any:
    """Tells that the server is alive, or repeats a message."""
    if len(words) > 2:
        raise WrongArity(b"ping")
    if len(words) == 1 and client.state != "subscribed":
        return PONG
    message = words[1] if len(words) > 1 else b""
    return [b"pong", message] if client.state == "subscribed" else message


@command("ECHO message", LOADING | STALE | FAST, since="1.0.0")
def echo(_: Client, words: Args) -> bytes:
    """Repeats a message."""
    return words[1]


@command("SELECT index", LOADING | STALE | FAST, since="1.0.0")
def select(client: Client, words: Args) -> Any:
    """Chooses the database for the commands that follow."""
    index = integer(words[1])
    if not 0 <= index < len(client.engine.databases):
        raise InvalidDatabase
    client.keyspace = client.database(index)
    return OK


@command("QUIT", ALWAYS | INSTANT | SUBSCRIBED, arity=-1, since="1.0.0")
def quit_(client: Client, _: Args) -> Any:
    """Closes the connection once everything before it is answered."""
    client.close_after_reply = True
    return OK


@command("RESET", ALWAYS | INSTANT | SUBSCRIBED, since="6.2.0")
def reset(client: Client, _: Args) -> Any:
    """Makes the connection what it was when it was new, except for its library's name."""
    engine = client.engine
    engine.stop_monitoring(client)
    engine.pubsub.forget(client)
    client.answer_again()
    client.speak(2)
    leave_multi(client)
    client.keyspace = client.database(0)
    client.name = b""
    client.no_evict = False
    engine.touch_no_keys(client, False)
    client.user = DEFAULT_USER
    if engine.config.requirepass:
        client.enter("unauthenticated")
    return Status(b"RESET")


def authenticate(client: Client, user: bytes, password: bytes) -> None:
    """Let the client in; WrongPassword where the pair is not right."""
    engine = client.engine
    required = engine.config.requirepass
    if user != DEFAULT_USER or (required and not compare_digest(required, password)):
        engine.counters.auth_failures += 1
        raise WrongPassword
    client.user = user
    if client.state == "unauthenticated":
        client.enter(client.usual_state())


@command(
    "AUTH [username] password",
    ALWAYS,
    since="1.0.0",
    secrets=lambda words: range(1, len(words)),
)
def auth(client: Client, words: Args) -> Any:
    """Authenticates the connection."""
    if len(words) > 3:
        raise SyntaxFailure
    if len(words) == 2 and not client.engine.config.requirepass:
        raise NoPasswordSet
    user = words[1] if len(words) == 3 else DEFAULT_USER
    authenticate(client, user, words[-1])
    return OK


def is_printable(word: bytes) -> bool:
    """No blanks and nothing that is not ASCII, so that CLIENT LIST can be taken apart again."""
    return all(0x21 <= byte <= 0x7E for byte in word)


def name_client(client: Client, name: bytes) -> None:
    """Set the client's name; BadClientName where it would break the lines of CLIENT LIST."""
    if not is_printable(name):
        raise BadClientName
    client.name = name


def hello_secrets(words: Args) -> list[int]:
    """The name and the password behind each AUTH."""
    hidden: list[int] = []
    at = 2
    while at < len(words):
        if words[at].upper() == b"AUTH":
            hidden += [at + 1, at + 2]
            at += 1
        at += 2
    return hidden


@command(
    "HELLO [protover [AUTH username password] [SETNAME clientname]]",
    ALWAYS,
    since="6.0.0",
    secrets=hello_secrets,
)
def hello(client: Client, words: Args) -> dict[bytes, Any]:
    """Chooses the version of the protocol, and tells what server this is."""
    protocol = 0
    if len(words) > 1:
        protocol = integer(words[1], BadProtocolVersion)
        if protocol not in (2, 3):
            raise NoProtocol
    login: Args = []
    name: bytes | None = None
    at = 2
    while at < len(words):
        option, more = words[at].upper(), len(words) - at - 1
        if option == b"AUTH" and more >= 2:
            login = words[at + 1 : at + 3]
            at += 3
        elif option == b"SETNAME" and more:
            name = words[at + 1]
            if not is_printable(name):
                raise BadClientName
            at += 2
        else:
            raise BadHelloOption(words[at])
    if login:
        authenticate(client, *login)
    if client.state == "unauthenticated":
        raise HelloNeedsAuth
    if name is not None:
        client.name = name
    if protocol:
        client.speak(protocol)
        client.enter(client.usual_state())
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": client.protocol,
        b"id": client.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }
