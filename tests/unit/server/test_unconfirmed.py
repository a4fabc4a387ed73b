"""Replies that are marked, joined, and taken apart again."""

from __future__ import annotations

from typing import Any

import pytest
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.reply import ENCODERS, NullArray, Push, Scores, SetReply, VerbatimString, Wire
from distcache_server.unconfirmed import (
    Unconfirmed,
    joined,
    mark,
    marked_since,
    marking,
    replaced,
    values,
)

from tests.support.direct import Direct

ERROR = b"-UNCONFIRMED\r\n"
REPLIES: list[Any] = [
    b"",
    b"text\r\nwith a break",
    None,
    7,
    -1,
    1.5,
    True,
    [],
    [b"a", [1, None, [b"b", []]], 2.5],
    {b"k": [1, 2], b"other": {b"deeper": None}},
    SetReply([b"a", 1]),
    Scores([(b"a", 1.0), (b"b", 0.1)]),
    VerbatimString(b"words"),
    Wire(b"+OK\r\n"),
    Wire(b"-ERR no\r\n"),
    NullArray,
    1 << 70,
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_values_of_all_shapes(protocol: int) -> None:
    table = ENCODERS[protocol]
    encoded = [table[type(reply)](reply) for reply in REPLIES]
    assert list(values(b"".join(encoded))) == encoded


def test_messages_stay_where_replies_are_replaced() -> None:
    message = ENCODERS[3][Push](Push([b"message", b"channel", b"text"]))
    assert replaced(mark(b":1\r\n" + message + b"$2\r\nab\r\n", 5), ERROR) == (
        ERROR + message + ERROR
    )


def test_a_batch() -> None:
    read, write, other = b"$1\r\nv\r\n", mark(b"+OK\r\n", 10), mark(b":1\r\n:2\r\n", 30)
    batch = joined([read, write, other, read])
    assert isinstance(batch, Unconfirmed)
    assert (batch, batch.offset) == (read + b"+OK\r\n:1\r\n:2\r\n" + read, 30)
    assert replaced(batch, ERROR) == read + ERROR * 3 + read
    assert type(joined([read, read])) is bytes


def test_only_what_wrote_is_marked() -> None:
    client = Client(Direct().engine)

    def write(client: Client, _: Args) -> int:
        client.logged = 40
        return 1

    marked = marking(write)(client, [])
    assert isinstance(marked, Unconfirmed)
    assert (marked, marked.offset) == (b":1\r\n", 40)
    assert marking(lambda _, __: 1)(client, []) == 1
    client.stop_answering()
    client.logged = 50
    assert marked_since(client, 1, 40) == 1
