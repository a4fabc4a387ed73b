"""Events as bytes: JSON or msgpack, headers of CloudEvents, and records for a topic.

Both formats have the same members (docs/changefeed.schema.json).  JSON has text where bytes are
UTF-8, and ``{"base64": "..."}`` where they are not; msgpack has them as they are.  A hash is an
object, or in JSON a list of pairs where the name of a field is no text.  A score that is no number
of JSON is the string ``inf`` or ``-inf``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from math import isinf
from typing import Any, NamedTuple

import msgpack

from distcache_replication.changefeed.event import (
    HASH,
    REMOVALS,
    SET,
    STREAM,
    ZSET,
    Event,
    Omitted,
    Run,
    State,
)

JSON, MSGPACK = "json", "msgpack"
CONTENT_TYPES = {JSON: "application/json", MSGPACK: "application/msgpack"}
OMIT, REFERENCE = "omit", "reference"
"""What stands for a value that is too large: nothing but its length, or also where to get it."""


class Style(NamedTuple):
    """How events are written."""

    format: str = JSON
    large: str = OMIT
    tombstones: bool = False
    """A record without a value follows when a key is gone, so that a topic can be compacted."""


PLAIN = Style()


Headers = dict[str, str | bytes | None]
"""As confluent-kafka takes them fastest; all are bytes."""


class Record(NamedTuple):
    """A message for a topic; without a value it is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def text(data: bytes) -> Any:
    """Bytes in JSON."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def _same(data: bytes) -> Any:
    return data


Word = Callable[[bytes], Any]
"""How a format has bytes."""

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def document(event: Event, published_ms: int, style: Style = PLAIN) -> dict[str, Any]:
    """All that is said of an event, as maps, lists and plain values."""
    word = text if style.format == JSON else _same
    members: dict[str, Any] = {
        "id": str(event.position),
        "op": event.operation,
        "db": event.database,
        "key": None if event.key is None else word(event.key),
        "type": None,
        "value": None,
        "source": {
            "history": event.history,
            "epoch": event.epoch,
            "offset": event.position.applied,
        },
        "time_ms": event.time_ms,
        "published_ms": published_ms,
    }
    state = event.after or event.before
    if state is not None:
        members["type"] = state.type
    if event.after is not None:
        _put(members, event.after, style, word)
        if style.large == REFERENCE and isinstance(event.after.value, Omitted):
            members["reference"] = {"db": members["db"], "key": members["key"]}
    if event.before is not None:
        before: dict[str, Any] = {"type": event.before.type, "value": None}
        _put(before, event.before, style, word)
        members["before"] = before
    if event.command is not None:
        members["command"] = [word(each) for each in event.command]
    if (transaction := event.transaction) is not None:
        members["transaction"] = {
            "id": f"{event.history}:{event.position.offset}",
            "size": transaction.size,
            "index": transaction.index,
        }
    if event.mark is not None:
        members["mark"] = event.mark
    return members


def _put(members: dict[str, Any], state: State, style: Style, word: Word) -> None:
    """What is said of a key at one moment."""
    if isinstance(state.value, Omitted):
        members["omitted"] = state.length
    else:
        members["value"] = plain(state, style.format, word)
    if state.expires_ms is not None:
        members["expires_ms"] = state.expires_ms
    if state.field_expiry:
        members["field_expiry"] = [[word(field), ms] for field, ms in state.field_expiry]


def plain(state: State, format_: str, word: Word) -> Any:
    """The value of a key."""
    value: Any = state.value
    if isinstance(value, bytes):
        return word(value)
    if state.type == HASH:
        pairs = [(word(field), word(it)) for field, it in value]
        if format_ == MSGPACK or all(isinstance(field, str) for field, _ in pairs):
            return dict(pairs)
        return [list(pair) for pair in pairs]
    if state.type == ZSET:
        return [[word(member), _score(score, format_)] for member, score in value]
    if state.type == STREAM:
        return [[id_.decode(), [word(each) for each in words]] for id_, words in value]
    return [word(each) for each in value]


def _score(score: float, format_: str) -> Any:
    if format_ == JSON and isinf(score):
        return "inf" if score > 0 else "-inf"
    return score


def encode(event: Event, published_ms: int, style: Style = PLAIN) -> bytes:
    """An event in the format that is configured."""
    if style.format == MSGPACK:
        packed: bytes = msgpack.packb(document(event, published_ms, style))
        return packed
    return _usual(event, published_ms) or _json(document(event, published_ms, style)).encode()


def _usual(event: Event, published_ms: int) -> bytes | None:
    """What most events are in JSON, in a fifth of the time; None where ``document`` is needed."""
    key, after, command = event.key, event.after, event.command
    if key is None or command is None or event.before is not None or event.transaction is not None:
        return None
    more = ""
    given: Any = None
    try:
        name = quoted(key.decode())
        if after is None:
            kind = value = "null"
        else:
            given = after.value
            if type(given) is bytes:
                kind, value = '"string"', quoted(given.decode())
            elif isinstance(given, Omitted) or after.field_expiry:
                return None
            else:
                kind, value = f'"{after.type}"', _json(plain(after, JSON, text))
            if after.expires_ms is not None:
                more = f',"expires_ms":{after.expires_ms}'
        words = [
            name if it is key else value if it is given else quoted(it.decode()) for it in command
        ]
    except UnicodeDecodeError:
        return None
    # What has a command is no part of a snapshot, so that this is the offset applied, too.
    offset, number = event.position
    return _line(
        f"{offset}-{number}",
        event.operation,
        event.database,
        name,
        kind,
        value,
        f'{{"history":"{event.history}","epoch":{event.epoch},"offset":{offset}}}',
        event.time_ms,
        published_ms,
        more,
        ",".join(words),
    )


def _line(
    id_: str,
    operation: str,
    database: int,
    name: str,
    kind: str,
    value: str,
    source: str,
    time_ms: int | None,
    published_ms: int,
    more: str,
    words: str,
) -> bytes:
    return (
        f'{{"id":"{id_}","op":"{operation}","db":{database},"key":{name},'
        f'"type":{kind},"value":{value},"source":{source},'
        f'"time_ms":{"null" if time_ms is None else time_ms},'
        f'"published_ms":{published_ms}{more},"command":[{words}]}}'
    ).encode()


def headers(event: Event, style: Style = PLAIN) -> Headers:
    """What CloudEvents 1.0 has in the headers of a message, in binary mode."""
    offset, number = event.position
    found: Headers = {
        "ce_id": b"%b:%d-%d" % (event.history.encode(), offset, number),
        **_same_headers(event.operation, event.history, event.database, style.format),
    }
    if event.time_ms is not None:
        found["ce_time"] = _time(event.time_ms)
    if (key := event.key) is not None:
        found["ce_subject"] = key if key.isascii() else _subject(key)
    return found


@lru_cache(256)
def _same_headers(operation: str, history: str, database: int, format_: str) -> Headers:
    """Those that many events have in common."""
    return {
        "ce_specversion": b"1.0",
        "ce_type": f"distcache.{operation}".encode(),
        "ce_source": f"/distcache/{history}/{database}".encode(),
        "content-type": CONTENT_TYPES[format_].encode(),
    }


@lru_cache(16)
def _time(time_ms: int) -> bytes:
    seconds, ms = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z".encode()


def _subject(key: bytes) -> bytes:
    """Attributes of CloudEvents are text: what is none is written as an URI would have it."""
    try:
        key.decode()
    except UnicodeDecodeError:
        return b"".join(
            b"%%%02X" % each if each > 126 or each < 33 else b"%c" % each for each in key
        )
    return key


def records(event: Event, published_ms: int, style: Style = PLAIN) -> list[Record]:
    """The messages that an event makes."""
    made = [Record(event.key, encode(event, published_ms, style), headers(event, style))]
    if style.tombstones and event.operation in REMOVALS:
        made.append(Record(event.key, None, {}))
    return made


def run_records(run: Run, published_ms: int, style: Style = PLAIN) -> list[Record]:
    """The messages of a run, in half the time."""
    if style.format != JSON:
        return [it for event in run.events() for it in records(event, published_ms, style)]
    made: list[Record] = []
    database, prefix = run.database, f"{run.history}:".encode()
    source = f'{{"history":"{run.history}","epoch":{run.epoch},"offset":'
    same = _same_headers(SET, run.history, database, JSON)
    each = zip(run.offsets, run.keys, run.values, run.times_ms, strict=True)
    for index, (offset, key, value, time_ms) in enumerate(each):
        try:
            name, text_ = quoted(key.decode()), quoted(value.decode())
        except UnicodeDecodeError:
            made += records(run.event(index), published_ms, style)
            continue
        id_, words = f"{offset}-1", f'"SET",{name},{text_}'
        line = _line(
            *(id_, SET, database, name, '"string"', text_),
            *(f"{source}{offset}}}", time_ms, published_ms, "", words),
        )
        about: Headers = {"ce_id": prefix + id_.encode(), **same}
        if time_ms is not None:
            about["ce_time"] = _time(time_ms)
        about["ce_subject"] = key
        made.append(Record(key, line, about))
    return made
