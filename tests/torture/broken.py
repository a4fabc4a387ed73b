"""The server with one thing deliberately broken, to test those who are to find such things.

``python tests/torture/broken.py VARIANT [arguments of distcache-server]``

Nothing of this is in the server: each variant replaces a function of it before it starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from distcache_replication import segment
from distcache_replication.disk import Disk
from distcache_replication.files import Files
from distcache_replication.history import History
from distcache_server import persistence, startup
from distcache_server.arguments import Args
from distcache_server.errors import CommandError
from distcache_server.replay import Replay

VARIANTS: dict[str, Callable[[], None]] = {}

_sync = Files.sync
_write = Files.write
_run = Replay._run
_commands = segment.commands


def variant(function: Callable[[], None]) -> Callable[[], None]:
    VARIANTS[function.__name__.replace("_", "-")] = function
    return function


def put(owner: object, name: str, replacement: object) -> None:
    """``setattr``, where the type checker would not have it."""
    setattr(owner, name, replacement)


# The disk


@variant
def acknowledges_before_it_writes() -> None:
    put(persistence.Persistence, "barrier", lambda *_: True)


@variant
def acknowledges_before_it_flushes() -> None:
    put(Disk, "acknowledged", property(lambda disk: disk.offset))


@variant
def skips_flushes() -> None:
    put(Files, "sync", lambda *_: None)


@variant
def takes_failed_flushes_for_done() -> None:
    def sync(files: Files, descriptor: int) -> None:
        with suppress(OSError):
            _sync(files, descriptor)

    put(Files, "sync", sync)


@variant
def takes_failed_writes_for_done() -> None:
    def write(files: Files, descriptor: int, data: bytes) -> int:
        try:
            return _write(files, descriptor, data)
        except OSError:
            return len(data)

    put(Files, "write", write)


@variant
def skips_flushes_of_folders() -> None:
    put(Files, "sync_folder", lambda *_: None)


@variant
def forgets_the_new_folder() -> None:
    def make_folder(_: Files, path: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)

    put(Files, "make_folder", make_folder)


@variant
def names_a_base_that_is_not_flushed() -> None:
    def flush(files: Files, descriptor: int) -> None:
        if not os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).startswith("temp-"):
            _sync(files, descriptor)

    put(Files, "sync", flush)


@variant
def ignores_checksums() -> None:
    put(segment, "crc32", lambda *_: 0)


# Loading


@variant
def applies_half_of_a_transaction() -> None:
    def apply(replay: Replay, commands: Iterator[Args]) -> int:
        queue: list[Args] | None = replay._queue
        for words in commands:
            name = words[0].upper()
            if name == b"MULTI":
                queue = []
            elif name == b"EXEC":
                for queued in (queue or [])[: -(-len(queue or []) // 2)]:
                    replay._run(queued)
                queue = None
            elif queue is not None:
                queue.append(words)
            else:
                replay._run(words)
        replay._queue = queue
        return 0

    put(Replay, "apply", apply)


@variant
def forgets_the_last_write() -> None:
    """Of each batch that has several commands."""

    def commands(data: bytes) -> list[list[bytes]]:
        found = _commands(data)
        return found[:-1] if len(found) > 2 and found[-1][0] != b"EXEC" else found

    put(startup, "commands", commands)


@variant
def applies_a_write_twice() -> None:
    def commands(data: bytes) -> list[list[bytes]]:
        found = _commands(data)
        return [*found, found[-1]] if found[-1][0] == b"RPUSH" else found

    put(startup, "commands", commands)


@variant
def forgets_deadlines() -> None:
    def run(replay: Replay, words: Args) -> None:
        _run(replay, words[:3] if words[0] == b"SET" else words)

    put(Replay, "_run", run)


@variant
def stays_in_one_database() -> None:
    def run(replay: Replay, words: Args) -> None:
        if words[0] != b"SELECT":
            _run(replay, words)

    put(Replay, "_run", run)


@variant
def does_writes_that_it_refuses() -> None:
    """The client gets the error, and the write is done all the same."""
    from distcache_server import dispatch, wrappers

    refuse = wrappers.refuse_broken

    def do_it(client: object, words: Args) -> object:
        with suppress(CommandError):
            Replay(client.engine)._run(words)  # type: ignore[attr-defined]
        return refuse(client, words)  # type: ignore[arg-type]

    put(dispatch, "refuse_broken", do_it)


@variant
def keeps_its_history() -> None:
    """Even where it lost some of it."""
    put(History, "fork", lambda *_: None)


def main() -> int:
    from distcache_server.__main__ import main

    VARIANTS[sys.argv[1]]()
    return main(sys.argv[2:])


__all__ = ["VARIANTS"]

if __name__ == "__main__":
    sys.exit(main())
