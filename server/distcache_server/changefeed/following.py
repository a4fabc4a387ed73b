"""``distcache-changefeed``: shows the changefeed of a server in a terminal, one line per event."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis
import msgpack
from distcache_replication.segment import encode

from distcache_server.glob import Matcher, matcher
from distcache_server.reserved import CHANGEFEED

COUNT = b"500"
BLOCK_MS = b"1000"
"""So often the connection is seen to be alive."""
SILENCE_S = 30
RETRY_S = 1.0
SHORT = 60
"""Characters of a value on its line."""

EXIT_FAILED = 1


PASSING = ("LOADING", "MASTERDOWN")
"""Errors of a server that is there again, but not yet ready."""


class Refused(Exception):
    """The server answers with an error."""


class NotYet(OSError):
    """The server answers with an error that passes by itself."""


class Connection:
    """To a server; each call waits for its reply."""

    def __init__(self, options: argparse.Namespace) -> None:
        if options.socket:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.settimeout(SILENCE_S)
            self._sock.connect(options.socket)
        else:
            self._sock = socket.create_connection((options.host, options.port), SILENCE_S)
        self._reader = hiredis.Reader()
        if options.password:
            user = [options.user.encode()] if options.user else []
            self.call(b"AUTH", *user, options.password.encode())

    def call(self, *words: bytes) -> Any:
        """A reply; raises Refused, NotYet, OSError."""
        self._sock.sendall(encode(words))
        while (reply := self._reader.gets()) is False:
            data = self._sock.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            raise NotYet(text) if text.startswith(PASSING) else Refused(text)
        return reply


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow until interrupted; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _follow(options)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Who read this is gone: nothing may be said at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Refused as error:
        print(f"distcache-changefeed: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="distcache-changefeed",
        description="Shows what happens to the keys of a distcache server, one line per event.",
        add_help=False,
    )
    add = parser.add_argument
    add("--help", action="help", help="print this")
    add("-h", "--host", default="127.0.0.1", help="where the server listens (127.0.0.1)")
    add("-p", "--port", type=int, default=6379, help="its port (6379)")
    add("-s", "--socket", default="", help="its Unix socket, in place of host and port")
    add("--user", default="", help="the user to authenticate as")
    add(
        "-a",
        "--password",
        default=os.environ.get("REDISCLI_AUTH", ""),
        help="the password; better in REDISCLI_AUTH",
    )
    add(
        "--from",
        dest="start",
        default="$",
        metavar="ID",
        help="go on behind this id; 0 for all that is left, snapshot for all keys first ($: from"
        " now on)",
    )
    add("--key", action="append", default=[], metavar="PATTERN", help="only such keys; repeatable")
    add("--db", action="append", type=int, default=[], help="only this database; repeatable")
    add("--op", action="append", default=[], help="only such events: set, delete, ...; repeatable")
    add("--json", action="store_true", help="the whole events, as JSON lines")
    add("--count", type=int, default=0, help="stop after so many lines")
    add("--end", action="store_true", help="stop where there is nothing more for now")
    return parser


def _follow(options: argparse.Namespace) -> int:
    wanted = [matcher(it.encode()) for it in options.key]
    shown = 0
    for entry in _entries(options):
        if entry is None:
            return 0
        fields = dict(zip(entry[::2], entry[1::2], strict=True))
        if not _is_wanted(fields, options, wanted):
            continue
        document = _document(fields[b"event"])
        line = json.dumps(document, ensure_ascii=False) if options.json else pretty(document)
        print(line, flush=True)
        shown += 1
        if shown == options.count:
            break
    return 0


def _entries(options: argparse.Namespace) -> Iterator[list[bytes] | None]:
    """The words of all entries, across broken connections; None where there is no more for now."""
    last = options.start.encode()
    connection: Connection | None = None
    while True:
        try:
            connection = connection or Connection(options)
            wait = () if options.end else (b"BLOCK", BLOCK_MS)
            if last == b"$":
                # The same place however often it is asked for.
                last = _end(connection)
            reply = connection.call(b"XREAD", b"COUNT", COUNT, *wait, b"STREAMS", CHANGEFEED, last)
        except OSError as error:
            if last == b"$" and not isinstance(error, NotYet):
                raise Refused(f"cannot connect: {error}") from None
            print(f"distcache-changefeed: {error}; trying again", file=sys.stderr)
            connection = None
            time.sleep(RETRY_S)
            continue
        if not reply:
            if options.end:
                yield None
            continue
        for id_, words in reply[0][1]:
            yield words
            last = id_


def _end(connection: Connection) -> bytes:
    """The id that stands for now."""
    facts = connection.call(b"INFO", b"persistence", b"changefeed").split(b"\r\n")
    if b"loading:1" in facts:
        raise NotYet("the server is loading its keys")
    for line in facts:
        if line.startswith(b"changefeed_offset:"):
            end: bytes = line.partition(b":")[2] + b"-0"
            return end
    raise Refused("the server has no changefeed")


def _is_wanted(
    fields: dict[bytes, bytes], options: argparse.Namespace, wanted: Sequence[Matcher]
) -> bool:
    if options.op and fields[b"op"].decode() not in options.op:
        return False
    if b"key" not in fields:
        return not wanted and not options.db
    if options.db and int(fields[b"db"]) not in options.db:
        return False
    return not wanted or any(matches(fields[b"key"]) for matches in wanted)


def _document(data: bytes) -> Any:
    """An event, in either format, as JSON would have it."""
    if data[:1] == b"{":
        return json.loads(data)
    return _textual(msgpack.unpackb(data))


def _textual(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return [_textual(it) for it in value]
    if isinstance(value, dict):
        return {_textual(key): _textual(it) for key, it in value.items()}
    return value


def pretty(document: Any) -> str:
    """An event on one line: time, place, what happened, key, value."""
    ms = document["time_ms"] or document["published_ms"]
    seconds, rest = divmod(ms, 1000)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest:03}"
    if document["time_ms"] is None:
        clock = f"({clock})"
    parts = [f"{clock:>14}", f"{document['id']:<12}", f"{document['op']:<8}"]
    if document["key"] is None:
        return " ".join([*parts, document.get("mark", "")]).rstrip()
    parts += [f"db{document['db']}", _short(document["key"])]
    state = document
    if document["value"] is None and "omitted" not in document and "before" in document:
        parts.append("was")
        state = document["before"]
    if "omitted" in state:
        parts.append(f"{state['type']} of {state['omitted']}")
    elif state["value"] is not None:
        parts += [state["type"], _short(state["value"])]
    if "expires_ms" in document:
        parts.append(f"expires {_date(document['expires_ms'])}")
    if "transaction" in document:
        transaction = document["transaction"]
        parts.append(f"[{transaction['index']}/{transaction['size']}]")
    return " ".join(parts)


def _date(ms: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(ms / 1000))
    except (OverflowError, ValueError):
        return f"at {ms} ms"


def _short(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    line = "".join(it if it.isprintable() else f"\\x{ord(it):02x}" for it in line)
    return line if len(line) <= SHORT else f"{line[: SHORT - 3]}..."


if __name__ == "__main__":
    sys.exit(main())
