"""XREAD and XREADGROUP that wait: who is served with what, and what ends a wait otherwise."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import Error, Map, Server, Wire, eventually

Begin = Callable[..., Wire]


@pytest.fixture
def do(server: Server) -> Iterator[Callable[..., Any]]:
    """Sends a command over a connection that never waits."""
    with server.wire() as wire:
        yield wire.call


Do = Callable[..., Any]


@pytest.fixture
def begin(server: Server, do: Do) -> Iterator[Begin]:
    """Sends a command over a connection of its own, which then waits."""
    wires: list[Wire] = []

    def blocked() -> int:
        return int(do("INFO", "clients").split(b"blocked_clients:")[1].split(b"\r\n")[0])

    def begun(*words: Any) -> Wire:
        before = blocked()
        wires.append(server.wire())
        wires[-1].command(*words)
        eventually(lambda: blocked() == before + 1)
        return wires[-1]

    yield begun
    for wire in wires:
        wire.close()


def entries(*numbers: int, key: bytes = b"k") -> list[Any]:
    return [[key, [[b"%d-0" % number, [b"a", b"b"]] for number in numbers]]]


def add(do: Do, number: int, key: str = "k") -> None:
    assert do("XADD", key, f"{number}-0", "a", "b") == b"%d-0" % number


def group(do: Do) -> None:
    assert do("XGROUP", "CREATE", "k", "g", "$", "MKSTREAM") == b"OK"


READ = ("XREAD", "BLOCK", "0", "STREAMS", "k", "$")
TAKE = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "k", ">")


def test_all_readers_are_served(do: Do, begin: Begin) -> None:
    add(do, 1)
    readers = [begin(*READ) for _ in range(3)]
    from_there = begin("XREAD", "BLOCK", 0, "COUNT", 1, "STREAMS", "other", "k", "0", "1")
    add(do, 2)
    assert [reader.reply() for reader in [*readers, from_there]] == [entries(2)] * 4


def test_what_is_there_is_not_waited_for(do: Do, server: Server) -> None:
    add(do, 1)
    with server.wire() as wire:
        assert wire.call("XREAD", "BLOCK", 0, "STREAMS", "other", "k", "$", "0") == entries(1)
        wire.call("HELLO", 3)
        reply = wire.call("XREAD", "BLOCK", 0, "STREAMS", "k", "0")
        assert reply == Map([(b"k", entries(1)[0][1])])


def test_only_what_is_new_is_served(do: Do, begin: Begin) -> None:
    reader = begin("XREAD", "BLOCK", 0, "STREAMS", "k", "5-0")
    add(do, 1)
    add(do, 5)
    add(do, 6)
    assert reader.reply() == entries(6)


@pytest.mark.since("7.2")
def test_an_entry_that_does_not_stay(do: Do, begin: Begin) -> None:
    reader = begin(*READ)
    do("XADD", "k", "MAXLEN", "0", "1-0", "a", "b")
    do("MULTI")
    do("XADD", "k", "2-0", "a", "b")
    do("XDEL", "k", "2-0")
    do("EXEC")
    add(do, 3)
    assert reader.reply() == entries(3)


def test_another_type_is_not_waited_for(do: Do, begin: Begin) -> None:
    reader = begin(*READ)
    do("RPUSH", "k", "x")
    do("DEL", "k")
    add(do, 1)
    assert reader.reply() == entries(1)


def test_a_key_that_is_renamed_or_restored(do: Do, begin: Begin) -> None:
    add(do, 1, "other")
    payload = do("DUMP", "other")
    for words in (("RENAME", "other", "k"), ("RESTORE", "k", 0, payload)):
        reader = begin("XREAD", "BLOCK", 0, "STREAMS", "k", "0")
        do(*words)
        assert reader.reply() == entries(1)
        do("DEL", "k")


def test_consumers_are_served_in_their_order(do: Do, begin: Begin) -> None:
    group(do)
    consumers = [begin(*TAKE[:3], name, *TAKE[4:]) for name in ("a", "b", "c")]
    for number, consumer in enumerate(consumers, 1):
        add(do, number)
        assert consumer.reply() == entries(number)
    assert do("XPENDING", "k", "g")[3] == [[b"a", b"1"], [b"b", b"1"], [b"c", b"1"]]


def test_consumers_in_a_transaction(do: Do, begin: Begin) -> None:
    group(do)
    first, second = begin(*TAKE), begin(*TAKE)
    do("MULTI")
    add_all = [do("XADD", "k", f"{number}-0", "a", "b") for number in (1, 2)]
    assert add_all == [b"QUEUED"] * 2
    do("EXEC")
    assert first.reply() == entries(1, 2)
    add(do, 3)
    assert second.reply() == entries(3)


def test_a_transaction_does_not_wait(server: Server, do: Do) -> None:
    group(do)
    with server.wire() as wire:
        wire.call("MULTI")
        wire.call(*READ)
        wire.call(*TAKE)
        assert wire.call("EXEC") == [None, None]


@pytest.mark.parametrize(
    "words",
    [
        ("DEL", "k"),
        ("UNLINK", "k"),
        ("SET", "k", "text"),
        ("RENAME", "k", "other"),
        ("FLUSHALL",),
        ("PEXPIRE", "k", "1"),
        ("XGROUP", "DESTROY", "k", "g"),
    ],
)
def test_the_group_is_gone(do: Do, begin: Begin, words: tuple[str, ...]) -> None:
    group(do)
    consumer, reader = begin(*TAKE), begin(*READ)
    do(*words)
    reply = consumer.reply()
    assert isinstance(reply, Error)
    # 7.0 has texts of its own for this.
    assert reply.startswith((b"NOGROUP", b"WRONGTYPE", b"UNBLOCKED"))
    do("DEL", "k")
    add(do, 1)
    assert reader.reply() == entries(1)


@pytest.mark.since("7.2")
def test_the_text_where_the_group_is_gone(do: Do, begin: Begin) -> None:
    group(do)
    consumer = begin(*TAKE)
    do("XGROUP", "DESTROY", "k", "g")
    expected = b"NOGROUP No such key 'k' or consumer group 'g' in XREADGROUP with GROUP option"
    assert consumer.reply() == expected


@pytest.mark.since("7.2")
def test_keys_that_are_waited_for_until_they_are_gone_are_counted(do: Do, begin: Begin) -> None:
    def counted() -> list[bytes]:
        lines = do("INFO", "clients").splitlines()
        return [line for line in lines if line.startswith(b"total_blocking_keys")]

    group(do)
    begin(*READ)
    assert counted() == [b"total_blocking_keys:1", b"total_blocking_keys_on_nokey:0"]
    consumer = begin(*TAKE)
    assert counted() == [b"total_blocking_keys:1", b"total_blocking_keys_on_nokey:1"]
    do("DEL", "k")
    assert isinstance(consumer.reply(), Error)
    assert counted() == [b"total_blocking_keys:1", b"total_blocking_keys_on_nokey:0"]


def test_changes_of_the_group_serve_nobody(do: Do, begin: Begin) -> None:
    group(do)
    add(do, 1)
    do(*TAKE)
    consumer = begin(*TAKE)
    do("XACK", "k", "g", "1-0")
    do("XGROUP", "CREATECONSUMER", "k", "g", "other")
    do("XTRIM", "k", "MAXLEN", "0")
    add(do, 2)
    assert consumer.reply() == entries(2)


@pytest.mark.parametrize("words", [READ, TAKE], ids=["XREAD", "XREADGROUP"])
def test_waits_that_end(do: Do, begin: Begin, server: Server, words: tuple[str, ...]) -> None:
    group(do)
    at = words.index("BLOCK") + 1
    with server.wire() as wire:
        assert wire.call(*words[:at], 1, *words[at + 1 :]) is None
    waiting = begin(*words)
    name = b"cmd=" + words[0].lower().encode()
    line = next(line for line in do("CLIENT", "LIST").splitlines() if name in line)
    number = int(line.split()[0].removeprefix(b"id="))
    assert do("CLIENT", "UNBLOCK", number) == 1
    assert waiting.reply() is None
    waiting.command(*words)
    eventually(lambda: do("CLIENT", "UNBLOCK", number, "ERROR") == 1)
    assert waiting.reply() == b"UNBLOCKED client unblocked via CLIENT UNBLOCK"


@pytest.mark.since("7.2")
def test_a_consumer_who_waits_is_there(do: Do, begin: Begin) -> None:
    group(do)
    begin(*TAKE)
    (consumer,) = do("XINFO", "CONSUMERS", "k", "g")
    assert consumer[1] == b"c"
