"""What the log gets of commands on streams: explicit ids and times, exact trims, whole groups."""

from __future__ import annotations

import pytest
from distcache_server.arguments import Args
from distcache_server.client import Client
from distcache_server.replay import CannotApply, Replay

from tests.support.direct import Direct

NOW_MS = 1_700_000_000_000
BEFORE = (
    *("XADD k 1-0 a b", "XADD k 2-0 a b", "XADD k 3-0 a b", "XGROUP CREATE k g 0 ENTRIESREAD 0"),
    *("XREADGROUP GROUP g c COUNT 2 STREAMS k >", "XDEL k 2-0"),
)


def logging(direct: Direct) -> list[str]:
    """The log of an engine, from now on."""
    log: list[str] = []

    def write(client: Client, words: Args) -> None:
        effect = client.effect or words
        several = effect if isinstance(effect[0], list) else [effect]
        log.extend(b" ".join(each).decode() for each in several if isinstance(each, list))

    direct.engine.log = write
    return log


@pytest.mark.parametrize(
    ("line", "effects"),
    [
        ("XADD k * a b", [f"XADD k {NOW_MS}-0 a b"]),
        ("XADD k 3-* a b", ["XADD k 3-1 a b"]),
        ("XADD new NOMKSTREAM * a b", []),
        ("XADD k MAXLEN ~ 1 LIMIT 5 5-0 a b", ["XADD k 5-0 a b"]),
        ("XADD k MAXLEN 1 5-0 a b", ["XADD k MAXLEN = 1 5-0 a b"]),
        ("XADD k MINID 3 5-0 a b", ["XADD k MAXLEN = 2 5-0 a b"]),
        ("XTRIM k MINID 3", ["XTRIM k MAXLEN = 1"]),
        ("XTRIM k MAXLEN 5", []),
        ("XDEL k 7-0", []),
        ("XACK k g 7-0", []),
        ("XACK k g 1-0", ["XACK k g 1-0"]),
        (
            "XREADGROUP GROUP g c STREAMS k >",
            [
                f"XCLAIM k g c 0 3-0 TIME {NOW_MS} RETRYCOUNT 1 FORCE JUSTID LASTID 3-0",
                "XGROUP SETID k g 3-0 ENTRIESREAD 3",
            ],
        ),
        ("XREADGROUP GROUP g c NOACK STREAMS k >", ["XGROUP SETID k g 3-0 ENTRIESREAD 3"]),
        (
            "XREADGROUP GROUP g c STREAMS k 0",
            [f"XCLAIM k g c 0 1-0 TIME {NOW_MS} RETRYCOUNT 2 FORCE JUSTID LASTID 2-0"],
        ),
        ("XREADGROUP GROUP g c STREAMS k 1", []),
        ("XREADGROUP GROUP g d STREAMS k 0", ["XGROUP CREATECONSUMER k g d"]),
        (
            "XCLAIM k g d 0 1-0 2-0 JUSTID",
            [
                "XGROUP CREATECONSUMER k g d",
                f"XCLAIM k g d 0 1-0 TIME {NOW_MS} RETRYCOUNT 1 FORCE JUSTID LASTID 2-0",
                "XACK k g 2-0",
            ],
        ),
        ("XCLAIM k g c 0 9-0 LASTID 3-0", ["XGROUP SETID k g 3-0 ENTRIESREAD 2"]),
        ("XCLAIM k g c 0 9-0", []),
        (
            "XAUTOCLAIM k g c 0 0",
            [
                f"XCLAIM k g c 0 1-0 TIME {NOW_MS} RETRYCOUNT 2 FORCE JUSTID LASTID 2-0",
                "XACK k g 2-0",
            ],
        ),
        ("XGROUP CREATECONSUMER k g c", []),
        ("XGROUP DESTROY k h", []),
    ],
)
def test_effects(line: str, effects: list[str]) -> None:
    direct = Direct(now_ms=NOW_MS)
    for each in BEFORE:
        assert not direct(*each.split()).startswith(b"-")
    log = logging(direct)
    assert not direct(*line.split()).startswith(b"-")
    assert log == effects


def test_a_consumer_who_waits_is_logged() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("XGROUP", "CREATE", "k", "g", "$", "MKSTREAM")
    log = logging(direct)
    direct("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "k", ">")
    assert direct.client.blocked is not None
    assert log == ["XGROUP CREATECONSUMER k g c"]
    assert direct.client.effect is None


def test_a_consumer_who_finds_nothing_is_logged_and_no_more() -> None:
    direct = Direct(now_ms=NOW_MS)
    direct("XGROUP", "CREATE", "k", "g", "$", "MKSTREAM")
    log = logging(direct)
    for _ in range(2):
        direct("XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    assert log == ["XGROUP CREATECONSUMER k g c"]
    assert direct.client.effect is None


def test_what_a_primary_may_send() -> None:
    direct = Direct()
    replay = Replay(direct.engine)
    sent = ["XADD k 1-0 a b", "XADD k MAXLEN = 1 LIMIT 100 2-0 a b", "xgroup create k g 0"]
    assert replay.apply([line.encode().split() for line in sent]) == 3
    assert direct("XLEN", "k") == b":1\r\n"
    assert len(direct.keyspace.values[b"k"].groups) == 1
    with pytest.raises(CannotApply):
        replay.apply([[b"XGROUP", b"NOSUCH"]])
