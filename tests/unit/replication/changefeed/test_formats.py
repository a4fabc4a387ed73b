"""Every kind of event, in both formats, against the schema; headers and tombstones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import pytest
from distcache_replication.changefeed.event import (
    OMITTED,
    OPERATIONS,
    Event,
    Run,
    State,
    Transaction,
)
from distcache_replication.changefeed.filters import Filter
from distcache_replication.changefeed.formats import (
    JSON,
    MSGPACK,
    REFERENCE,
    Style,
    document,
    encode,
    headers,
    records,
    run_records,
)
from distcache_replication.changefeed.position import SNAPSHOT, Position, before_snapshot

HISTORY = "5" * 40
SCHEMA = json.loads(
    (Path(__file__).parents[4] / "docs" / "changefeed.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

VALUES = {
    "text": State("string", b"plain \xc3\xa9"),
    "bytes": State("string", b"\xff\x00"),
    "dated": State("string", b"", 1_700_000_000_000),
    "list": State("list", [b"a", b"\xfe"]),
    "set": State("set", [b"a", b"b"]),
    "zset": State("zset", [(b"a", float("-inf")), (b"b", 1.5), (b"c", float("inf"))]),
    "hash": State("hash", [(b"f", b"v"), (b"g", b"\xff")], None, [(b"f", 1_700_000_000_000)]),
    "hash of bytes": State("hash", [(b"\xff", b"v"), (b"g", b"w")]),
    "stream": State("stream", [(b"1-0", [b"f", b"v", b"f", b"\xff"])]),
    "large": State("list", OMITTED, length=1_000_000),
}


def event(operation: str = "set", **members: Any) -> Event:
    given: dict[str, Any] = {"key": b"k", "time_ms": 1_700_000_000_123, "command": [b"SET", b"k"]}
    return Event(Position(72, 1), operation, HISTORY, **{**given, **members})


EVENTS = {
    **{f"set {name}": event(after=state, before=state) for name, state in VALUES.items()},
    "delete": event("delete", before=VALUES["text"]),
    "without before": event("delete"),
    "expire": event("expire", before=VALUES["dated"], command=[b"del", b"k"]),
    "evict": event("evict", before=VALUES["hash"], command=[b"unlink", b"k"]),
    "load": event("load", after=VALUES["zset"], database=0),
    "flush": event("flush", key=b"\xff", command=[b"FLUSHALL"], database=3),
    "large command": event(after=VALUES["text"], command=None),
    "large": event(after=VALUES["large"], command=None),
    "in a transaction": event(after=VALUES["text"], transaction=Transaction(3, 2)),
    "snapshot": Event(
        Position(71, SNAPSHOT + 1), "snapshot", HISTORY, 4, 0, b"k", VALUES["set"], time_ms=1
    ),
    "begin": Event(Position(71, SNAPSHOT), "snapshot", HISTORY, mark="begin"),
    "end": Event(Position(72), "snapshot", HISTORY, mark="end"),
    "heartbeat": Event(Position(99), "heartbeat", HISTORY, time_ms=5),
}


def test_all_operations_are_here() -> None:
    assert {it.operation for it in EVENTS.values()} == set(OPERATIONS)


@pytest.mark.parametrize("large", ["omit", REFERENCE])
@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_as_the_schema_says(name: str, large: str) -> None:
    VALIDATOR.validate(json.loads(encode(EVENTS[name], 1_700_000_000_456, Style(JSON, large))))


USUAL = {
    "dated": event(after=VALUES["dated"], command=[b"SET", b"k", b"", b"PXAT", b"17"]),
    "not dated": event(after=VALUES["text"], command=[b"SET", b"k", VALUES["text"].value]),
    "quoted": event(after=State("string", b'"\\\x00\n/\x7f\xc2\x80'), key=b'"'),
    "no time": event(after=VALUES["text"], time_ms=None),
    "no command": event(after=VALUES["text"], command=None),
    "bytes in the key": event("delete", key=b"\xff"),
    "bytes in the command": event("delete", command=[b"DEL", b"\xff"]),
    "deleted": event("delete", database=3, epoch=7),
    **{f"list of {name}": event(after=state) for name, state in VALUES.items()},
}


@pytest.mark.parametrize("name", [*EVENTS, *USUAL])
def test_what_is_usual_is_written_as_everything_else(name: str) -> None:
    one = {**EVENTS, **USUAL}[name]
    for large in ("omit", REFERENCE):
        style = Style(JSON, large)
        whole = json.dumps(document(one, 7, style), ensure_ascii=False, separators=(",", ":"))
        assert encode(one, 7, style) == whole.encode()


def test_the_schema_refuses_what_is_no_event() -> None:
    found = json.loads(encode(EVENTS["set text"], 1))
    for name, value in (("op", "update"), ("value", None), ("id", "1"), ("more", 1)):
        assert not VALIDATOR.is_valid({**found, name: value})
    assert not VALIDATOR.is_valid({**found, "op": "delete"})


def test_bytes_are_text_where_they_are_utf_8() -> None:
    found = json.loads(encode(EVENTS["set hash"], 7))
    assert found["value"] == {"f": "v", "g": {"base64": "/w=="}}
    assert found["published_ms"] == 7
    assert found["source"] == {"history": HISTORY, "epoch": 0, "offset": 72}
    assert json.loads(encode(EVENTS["set text"], 7))["value"] == "plain é"
    assert json.loads(encode(EVENTS["set hash of bytes"], 7))["value"] == [
        [{"base64": "/w=="}, "v"],
        ["g", "w"],
    ]
    assert json.loads(encode(EVENTS["set zset"], 7))["value"] == [
        ["a", "-inf"],
        ["b", 1.5],
        ["c", "inf"],
    ]


@pytest.mark.parametrize("name", EVENTS)
def test_msgpack_has_the_same_members_and_all_bytes(name: str) -> None:
    plain = json.loads(encode(EVENTS[name], 7))
    packed = msgpack.unpackb(encode(EVENTS[name], 7, Style(MSGPACK)), strict_map_key=False)
    assert packed.keys() == plain.keys()
    if name == "set hash of bytes":
        assert packed["value"] == {b"\xff": b"v", b"g": b"w"}
    if name == "set zset":
        assert packed["value"][0] == [b"a", float("-inf")]


def test_a_value_that_is_too_large_is_left_out_or_referred_to() -> None:
    large = event(after=VALUES["large"])
    found = json.loads(encode(large, 7))
    assert (found["value"], found["omitted"]) == (None, 1_000_000)
    assert "reference" not in found
    found = json.loads(encode(large, 7, Style(large=REFERENCE)))
    assert found["reference"] == {"db": 0, "key": "k"}


def test_headers_are_those_of_cloudevents() -> None:
    assert dict(headers(EVENTS["set text"])) == {
        "ce_specversion": b"1.0",
        "ce_id": f"{HISTORY}:72-1".encode(),
        "ce_type": b"distcache.set",
        "ce_source": f"/distcache/{HISTORY}/0".encode(),
        "ce_time": b"2023-11-14T22:13:20.123Z",
        "ce_subject": b"k",
        "content-type": b"application/json",
    }
    assert dict(headers(EVENTS["flush"]))["ce_subject"] == b"%FF"
    assert "ce_subject" not in dict(headers(EVENTS["heartbeat"]))
    assert "ce_time" not in dict(headers(event(time_ms=None)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_tombstone_follows_where_the_key_is_gone(operation: str) -> None:
    found = list(records(event(operation), 7, Style(tombstones=True)))
    gone = operation in ("delete", "expire", "evict", "flush")
    assert [(it.key, it.value is None) for it in found] == [(b"k", False), (b"k", True)][: 1 + gone]
    assert len(list(records(event(operation), 7))) == 1


@pytest.mark.parametrize("style", [Style(), Style(MSGPACK)])
def test_a_run_makes_the_messages_of_its_events(style: Style) -> None:
    keys = [b"k", b'"\n', b"\xc3\xa9", b"\xff", b"k", b""]
    values = [b"v", b"", b"\xff", b"text", b'"\x01\xc3\xa9', b"v"]
    times = [None, 5, 5, 6, 1_700_000_000_123, 7]
    run = Run(HISTORY, 3, 2, [7, 40, 90, 120, 200, 1 << 40], keys, values, times)
    made = run_records(run, 8, style)
    assert made == [it for each in run.events() for it in records(each, 8, style)]
    assert [it.key for it in made] == keys


def test_positions_are_in_the_order_of_what_they_stand_for() -> None:
    begin = before_snapshot(100)
    assert Position(98, 3) < begin < Position(99, SNAPSHOT + 1) < Position(100) < Position(100, 1)
    assert begin.applied == 100
    assert begin.in_snapshot
    assert not Position(100).in_snapshot
    assert before_snapshot(0) == Position(0)
    assert str(Position(7, 2)) == "7-2"


def test_a_filter_asks_for_key_and_database() -> None:
    assert Filter().passes(7, b"any")
    some = Filter([lambda key: key.startswith(b"a")], frozenset((1, 2)))
    assert some.passes(1, b"ab")
    assert not some.passes(0, b"ab")
    assert not some.passes(1, b"b")
    assert Filter([], frozenset((1,))).passes(1, b"b")
