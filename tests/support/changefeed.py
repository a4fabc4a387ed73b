"""Reading the changefeed, and replaying it: what it makes of an empty map must be the keys."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import redis

from tests.support.replication import info
from tests.support.servers import Server
from tests.support.waiting import eventually

KEY = "distcache:changefeed"
Contents = dict[tuple[int, bytes], tuple[Any, ...]]
"""Type, value and deadline by database and key."""


def entries(
    client: redis.Redis, after: str, **options: Any
) -> list[tuple[str, dict[bytes, bytes]]]:
    """One reply to XREAD: ids and fields."""
    reply: Any = client.xread({KEY: after}, **options)
    if not reply:
        return []
    found = reply[KEY.encode()][0] if isinstance(reply, dict) else reply[0][1]
    return [(id_.decode(), fields) for id_, fields in found]


def read_all(client: redis.Redis, after: str, count: int = 500) -> tuple[str, list[Any]]:
    """All events behind an id, as documents, and the last id."""
    documents = []
    while page := entries(client, after, count=count):
        documents += [json.loads(fields[b"event"]) for _, fields in page]
        after = page[-1][0]
    return after, documents


def data(value: Any) -> Any:
    """Bytes, as JSON has them."""
    return b64decode(value["base64"]) if isinstance(value, dict) else value.encode()


def replay(contents: Contents, document: Any) -> None:
    """Let a map follow a change."""
    operation = document["op"]
    if operation == "heartbeat":
        return
    if document["key"] is None:
        if document["mark"] == "begin":
            contents.clear()
        return
    place = document["db"], data(document["key"])
    if operation in ("delete", "expire", "evict", "flush"):
        assert document["value"] is None
        contents.pop(place, None)
        return
    assert operation in ("set", "load", "snapshot"), document
    contents[place] = (
        document["type"],
        value_of(document["type"], document["value"]),
        document.get("expires_ms", -1),
        [(data(field), ms) for field, ms in document.get("field_expiry", ())],
    )


def value_of(kind: str, value: Any) -> Any:
    """The value in a document, as `contents` has it."""
    match kind:
        case "string":
            return data(value)
        case "list":
            return [data(it) for it in value]
        case "set":
            return {data(it) for it in value}
        case "zset":
            return [(data(member), float(score)) for member, score in value]
        case "hash":
            pairs = value.items() if isinstance(value, dict) else value
            return {data(field): data(it) for field, it in pairs}
        case "stream":
            return [(id_, [data(word) for word in words]) for id_, words in value]
    raise AssertionError(kind)


def contents(client: redis.Redis, databases: int = 3) -> Contents:
    """What a server holds."""
    call: Any = client.execute_command
    found: Contents = {}
    for number in range(databases):
        call("SELECT", number)
        for key in call("KEYS", "*"):
            kind = call("TYPE", key).decode()
            found[number, key] = (
                kind,
                _value(client, kind, key),
                call("PEXPIRETIME", key),
                _field_deadlines(client, key) if kind == "hash" else [],
            )
    call("SELECT", 0)
    return found


def _field_deadlines(client: redis.Redis, key: bytes) -> list[tuple[bytes, int]]:
    fields: Any = client.hkeys(key)
    times: Any = client.execute_command("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
    return sorted((field, ms) for field, ms in zip(fields, times, strict=True) if ms > 0)


def _value(client: redis.Redis, kind: str, key: bytes) -> Any:
    call: Any = client.execute_command
    match kind:
        case "string":
            return call("GET", key)
        case "list":
            return call("LRANGE", key, 0, -1)
        case "set":
            return set(call("SMEMBERS", key))
        case "zset":
            scored: Any = client.zrange(key, 0, -1, withscores=True)
            return [(it, float(score)) for it, score in scored]
        case "hash":
            return client.hgetall(key)
        case "stream":
            found: Any = client.xrange(key)
            return [
                (id_.decode(), [word for pair in fields.items() for word in pair])
                for id_, fields in found
            ]
    raise AssertionError(kind)


def state(server: Server) -> dict[str, str]:
    """INFO's lines of the changefeed in Kafka, without what all their names begin with."""
    return {
        name.removeprefix("changefeed_kafka_"): value
        for name, value in info(server, "changefeed").items()
        if name.startswith("changefeed_kafka_")
    }


def wait_published(server: Server) -> None:
    """Until the topic has all that this server was told."""
    end = int(info(server)["master_repl_offset"])
    eventually(lambda: int(state(server)["offset"]) >= end, timeout=60)
