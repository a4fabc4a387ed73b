"""CLIENT: looking at connections, and changing how the server treats them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, integer, is_integer
from distcache_server.commands.connection import DEFAULT_USER, is_printable, name_client
from distcache_server.errors import (
    BadClientAttribute,
    BadClientId,
    BadPauseMode,
    BadUnblockReason,
    NegativeTimeout,
    NoSuchClient,
    NoSuchUser,
    NotAboveZero,
    NotATimeout,
    SyntaxFailure,
    TimeoutTooLong,
    UnknownClientAttribute,
    UnknownClientType,
    UnknownSubcommandOrArity,
)
from distcache_server.registry import ADMIN, LOADING, NOSCRIPT, STALE, UNPAUSABLE, group
from distcache_server.reply import NOTHING, OK, SetReply, VerbatimString

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("connection")

PLAIN = NOSCRIPT | LOADING | STALE
EVERYWHERE = "request_policy:all_nodes response_policy:all_succeeded"


@command("CLIENT", arity=-2, since="2.4.0", complexity="Depends on subcommand.", help="5.0.0")
def client_(_: Client, __: Args) -> Any:
    """Looks at client connections and changes them."""


# Looking


@command("CLIENT ID", PLAIN, since="5.0.0", sub=True)
def client_id(client: Client, _: Args) -> int:
    """Returns the number of the connection, which no other gets as long as the server runs."""
    return client.id


def flags_of(client: Client) -> str:
    """A letter for each thing that is special about a client."""
    blocked = client.blocked is not None or client.engine.pause.holds(client)
    letters = (
        ("O", client.monitoring),
        ("S", client.kind == "replica"),
        ("M", client.is_primary),
        ("P", client.subscriptions),
        ("x", client.state == "multi"),
        ("b", blocked),
        ("d", client.conflict),
        ("c", client.close_after_reply),
        ("U", client.unix),
        ("e", client.no_evict),
        ("T", client.no_touch),
    )
    return "".join(letter for letter, holds in letters if holds) or "N"


def describe(client: Client) -> bytes:
    """The client's line in CLIENT LIST."""
    now_ms = client.engine.now_ms
    query, output = client.memory()
    fields = (
        f"id={client.id}",
        f"addr={client.address}",
        f"laddr={client.local_address}",
        f"fd={client.descriptor}",
        f"name={client.name.decode('ascii')}",
        f"age={(now_ms - client.created_ms) // 1000}",
        f"idle={(now_ms - client.last_ms) // 1000}",
        f"flags={flags_of(client)}",
        f"db={client.keyspace.index}",
        f"sub={len(client.channels)}",
        f"psub={len(client.patterns)}",
        f"ssub={len(client.shard_channels)}",
        f"multi={len(client.queue) if client.state == 'multi' else -1}",
        f"watch={len(client.watching)}",
        f"qbuf={query}",
        "qbuf-free=0",
        "argv-mem=0",
        f"multi-mem={client.queued_bytes}",
        "rbs=0",
        "rbp=0",
        "obl=0",
        f"oll={int(output > 0)}",
        f"omem={output}",
        f"tot-mem={client.footprint}",
        f"events={'rw' if output else 'r'}",
        f"cmd={client.last_command}",
        f"user={client.user.decode('utf-8', 'backslashreplace')}",
        "redir=-1",
        f"resp={client.protocol}",
        f"lib-name={client.library.decode('ascii')}",
        f"lib-ver={client.library_version.decode('ascii')}",
        f"tot-net-in={client.net_in}",
        f"tot-net-out={client.net_out}",
        f"tot-cmds={client.commands}",
    )
    return " ".join(fields).encode("utf-8", "surrogateescape") + b"\n"


@command("CLIENT INFO", PLAIN, since="6.2.0", tips="nondeterministic_output", sub=True)
def client_info(client: Client, _: Args) -> VerbatimString:
    """Returns what CLIENT LIST says about this connection."""
    client.last_command = "client|info"
    return VerbatimString(describe(client))


KINDS = {
    b"NORMAL": "normal",
    b"MASTER": "master",
    b"REPLICA": "replica",
    b"SLAVE": "replica",
    b"PUBSUB": "pubsub",
}


def kind_of(word: bytes) -> str:
    """A class of clients by its name."""
    kind = KINDS.get(word.upper())
    if kind is None:
        raise UnknownClientType(word)
    return kind


@command(
    "CLIENT LIST [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>]"
    " [ID client-id [client-id ...]]",
    PLAIN | ADMIN,
    since="2.4.0",
    tips="nondeterministic_output",
    complexity="O(N) where N is the number of clients",
    sub=True,
)
def client_list(client: Client, words: Args) -> VerbatimString:
    """Returns a line about each connection, each one of a type, or those with these numbers."""
    client.last_command = "client|list"
    clients = client.engine.clients
    found: Iterable[Client] = clients.values()
    option = words[2].upper() if len(words) > 2 else b""
    if option == b"TYPE" and len(words) == 4:
        kind = kind_of(words[3])
        found = [each for each in found if each.kind == kind]
    elif option == b"ID" and len(words) > 3:
        numbers = [integer(word, BadClientId) for word in words[3:]]
        found = [clients[number] for number in numbers if number in clients]
    elif option:
        raise SyntaxFailure
    return VerbatimString(b"".join(map(describe, found)))


@command("CLIENT GETNAME", PLAIN, since="2.6.9", sub=True)
def client_getname(client: Client, _: Args) -> bytes | None:
    """Returns the name of the connection."""
    return client.name or None


@command("CLIENT GETREDIR", PLAIN, since="6.0.0", sub=True)
def client_getredir(_: Client, __: Args) -> int:
    """Returns who gets this connection's invalidations: -1, since nothing is tracked."""
    return -1


@command("CLIENT TRACKINGINFO", PLAIN, since="6.2.0", sub=True)
def client_trackinginfo(_: Client, __: Args) -> dict[bytes, Any]:
    """Returns how keys are tracked for this connection: not at all."""
    return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}


# Changing


@command("CLIENT SETNAME connection-name", PLAIN, since="2.6.9", tips=EVERYWHERE, sub=True)
def client_setname(client: Client, words: Args) -> Any:
    """Names the connection; with an empty word, takes its name away."""
    name_client(client, words[2])
    return OK


@command(
    "CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>",
    PLAIN,
    since="7.2.0",
    tips=EVERYWHERE,
    sub=True,
)
def client_setinfo(client: Client, words: Args) -> Any:
    """Says which library is at the other end of the connection."""
    _, _, attribute, value = words
    option = attribute.upper()
    if option not in (b"LIB-NAME", b"LIB-VER"):
        raise UnknownClientAttribute(attribute)
    if not is_printable(value):
        raise BadClientAttribute(attribute)
    if option == b"LIB-NAME":
        client.library = value
    else:
        client.library_version = value
    return OK


def is_on(word: bytes) -> bool:
    """ON or OFF."""
    if word.upper() not in (b"ON", b"OFF"):
        raise SyntaxFailure
    return word.upper() == b"ON"


@command("CLIENT NO-EVICT <ON | OFF>", PLAIN | ADMIN, since="7.0.0", sub=True)
def client_no_evict(client: Client, words: Args) -> Any:
    """Keeps the connection open when clients use too much memory."""
    client.no_evict = is_on(words[2])
    return OK


@command("CLIENT NO-TOUCH <ON | OFF>", PLAIN, since="7.2.0", sub=True)
def client_no_touch(client: Client, words: Args) -> Any:
    """Keeps this connection's commands from making keys look recently used."""
    client.engine.touch_no_keys(client, is_on(words[2]))
    return OK


@command("CLIENT REPLY <ON | OFF | SKIP>", PLAIN, since="3.2.0", sub=True)
def client_reply(client: Client, words: Args) -> Any:
    """Turns replies on or off, or skips the next one."""
    match words[2].upper():
        case b"ON":
            client.answer_again()
            return OK
        case b"OFF":
            client.stop_answering()
        case b"SKIP":
            client.skip_next_answer()
        case _:
            raise SyntaxFailure
    return NOTHING


# Other clients

ATTRIBUTES = {
    b"ID": "id",
    b"TYPE": "kind",
    b"ADDR": "address",
    b"LADDR": "local_address",
    b"USER": "user",
}


def wanted_value(option: bytes, word: bytes) -> Any:
    """The value that a client's attribute must have for a filter of CLIENT KILL to take it."""
    if option == b"ID":
        number = integer(word) if is_integer(word) else 0
        if number < 1:
            raise NotAboveZero(b"client-id")
        return number
    if option == b"TYPE":
        return kind_of(word)
    if option == b"USER":
        if word != DEFAULT_USER:
            raise NoSuchUser(word)
        return word
    return word.decode("utf-8", "surrogateescape")


def close(client: Client, found: list[Client]) -> int:
    """Close clients at once; oneself only after the reply."""
    for each in found:
        if each is client:
            client.close_after_reply = True
        else:
            each.kill()
            # Gone for whoever counts clients next, not only once the event loop says so.
            client.engine.forget(each)
    return len(found)


@command(
    "CLIENT KILL <ip:port | [ID client-id] [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>]"
    " [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE maxage]>",
    PLAIN | ADMIN,
    arity=-3,
    since="2.4.0",
    complexity="O(N) where N is the number of clients",
    sub=True,
)
def client_kill(client: Client, words: Args) -> Any:
    """Closes the connection from an address, or all that pass every filter."""
    engine = client.engine
    clients = list(engine.clients.values())
    if len(words) == 3:
        address = words[2].decode("utf-8", "surrogateescape")
        if not close(client, [each for each in clients if each.address == address]):
            raise NoSuchClient
        return OK
    wanted: dict[str, Any] = {}
    newest_ms = INT64_MAX
    spare_me = True
    options = iter(words[2:])
    for word in options:
        option, value = word.upper(), next(options, None)
        if value is None:
            raise SyntaxFailure
        if option in ATTRIBUTES:
            wanted[ATTRIBUTES[option]] = wanted_value(option, value)
        elif option == b"SKIPME" and value.upper() in (b"YES", b"NO"):
            spare_me = value.upper() == b"YES"
        elif option == b"MAXAGE":
            age_s = integer(value)
            if age_s < 1:
                raise NotAboveZero(b"maxage")
            newest_ms = engine.now_ms - age_s * 1000
        else:
            raise SyntaxFailure
    found = [
        each
        for each in clients
        if all(getattr(each, name) == value for name, value in wanted.items())
        and each.created_ms <= newest_ms
        and not (spare_me and each is client)
    ]
    return close(client, found)


@command(
    "CLIENT UNBLOCK client-id [TIMEOUT | ERROR]",
    PLAIN | ADMIN,
    since="5.0.0",
    sub=True,
)
def client_unblock(client: Client, words: Args) -> int:
    """Ends the wait of a client, as if its time were up or with an error."""
    if len(words) > 4:
        raise UnknownSubcommandOrArity(words[1], b"CLIENT")
    reason = words[3].upper() if len(words) == 4 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise BadUnblockReason
    other = client.engine.clients.get(integer(words[2]))
    if other is None:
        return 0
    return int(client.engine.blocking.unblock(other, with_error=reason == b"ERROR"))


@command("CLIENT PAUSE timeout [WRITE | ALL]", PLAIN | ADMIN, since="3.0.0", sub=True)
def client_pause(client: Client, words: Args) -> Any:
    """Lets all commands, or those that may write, wait for so many milliseconds."""
    if len(words) > 4:
        raise UnknownSubcommandOrArity(words[1], b"CLIENT")
    mode = words[3].upper() if len(words) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise BadPauseMode
    timeout_ms = integer(words[2], NotATimeout)
    if timeout_ms < 0:
        raise NegativeTimeout
    now_ms = client.engine.now_ms
    if timeout_ms > INT64_MAX - now_ms:
        raise TimeoutTooLong
    client.engine.pause.begin(now_ms, now_ms + timeout_ms, mode == b"WRITE")
    return OK


# In Redis a pause of all commands holds this one as well.
@command(
    "CLIENT UNPAUSE",
    PLAIN | ADMIN | UNPAUSABLE,
    since="6.2.0",
    complexity="O(N) where N is the number of clients that wait",
    sub=True,
)
def client_unpause(client: Client, _: Args) -> Any:
    """Ends a pause: all clients go on."""
    client.engine.pause.end()
    return OK
