"""WATCH: who has lost is told once, and heard of no more until its EXEC."""

from __future__ import annotations

import pytest
from distcache_server.client import Client
from distcache_server.dispatch import execute

from tests.support.direct import Direct


def run(client: Client, *lines: bytes) -> bytes:
    replies: list[bytes] = []
    execute(client, [line.split() for line in lines], replies, 0)
    return b"".join(replies)


@pytest.mark.parametrize(
    "change", [("SET", "k", 2), ("DEL", "k"), ("FLUSHALL",), ("SWAPDB", 0, 1), ("RENAME", "k", "o")]
)
def test_who_has_lost_watches_nothing_any_more(change: tuple[str | int, ...]) -> None:
    direct = Direct()
    direct("MSET", "k", 1, "other", 1)
    clients = [Client(direct.engine, number) for number in (2, 3, 4)]
    one, two, three = clients
    for client in (one, two):
        run(client, b"WATCH k missing other")
    run(three, b"WATCH missing")
    direct(*change)
    assert [(it.conflict, len(it.watching)) for it in clients] == [(True, 0)] * 2 + [(False, 1)]
    assert list(direct.engine.databases[0].watched) == [b"missing"]
    # A key that is watched too late changes nothing.
    run(one, b"WATCH again")
    assert run(one, b"MULTI", b"PING", b"EXEC").endswith(b"*-1\r\n")
    assert run(two, b"UNWATCH", b"MULTI", b"PING", b"EXEC").endswith(b"*1\r\n+PONG\r\n")
    assert run(one, b"MULTI", b"PING", b"EXEC").endswith(b"*1\r\n+PONG\r\n")
    assert run(three, b"MULTI", b"PING", b"EXEC").endswith(b"*1\r\n+PONG\r\n")
    assert not direct.engine.databases[0].watched
    assert not direct.engine.databases[0].observed
