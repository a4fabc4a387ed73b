"""Two processes that call each other over one socket.

Format: each message is a length in four bytes and a msgpack array: ``[CALL, number, name,
arguments]``, ``[REPLY, number, value]``, ``[FAILURE, number, text]``, ``[CANCEL, number]``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgpack

from distcache_server import logs

CALL, REPLY, FAILURE, CANCEL = range(4)
HEADER = 4

Answer = Callable[..., Awaitable[Any]]


class Gone(Exception):
    """The other process has ended."""


class Failed(Exception):
    """The other process could not do what it was asked for; the text says why."""


class Peer:
    """Our end.  ``answers`` are what the other end may call."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: Mapping[str, Answer],
        failures: tuple[type[Exception], ...] = (),
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answers = answers
        self._failures = failures
        """What answers may raise for the other end to hear of."""
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._next = 0
        self.closed = False

    async def call(self, name: str, *arguments: Any) -> Any:
        """What the other end answers; raises Gone, Failed.  It is told where we are cancelled."""
        if self.closed:
            raise Gone
        self._next = number = self._next + 1
        future = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        self._send([CALL, number, name, arguments])
        try:
            return await future
        finally:
            if self._calls.pop(number, None) is not None and not self.closed:
                self._send([CANCEL, number])
            # An exception in it would refer to this frame, and so to itself; the collector is off.
            del future

    def _send(self, message: list[Any]) -> None:
        data = msgpack.packb(message)
        self._writer.write(len(data).to_bytes(HEADER, "little") + data)

    async def run(self) -> None:
        """Take messages until the other end is gone."""
        reader = self._reader
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(HEADER), "little")
                message = msgpack.unpackb(await reader.readexactly(size), use_list=True)
                self._take(message)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.close()

    def _take(self, message: list[Any]) -> None:
        kind, number, *rest = message
        if kind == CALL:
            task = asyncio.get_running_loop().create_task(self._answer(number, *rest))
            self._tasks[number] = task
        elif kind == CANCEL:
            if number in self._tasks:
                self._tasks[number].cancel()
        elif (future := self._calls.pop(number, None)) is not None and not future.done():
            if kind == REPLY:
                future.set_result(rest[0])
            else:
                future.set_exception(Failed(rest[0]))

    async def _answer(self, number: int, name: str, arguments: list[Any]) -> None:
        try:
            message = [REPLY, number, await self._answers[name](*arguments)]
        except asyncio.CancelledError:
            return
        except self._failures as error:
            message = [FAILURE, number, str(error)]
        except Exception as error:
            logs.failure("Unexpected error in the changefeed", error)
            message = [FAILURE, number, "an unexpected error"]
        finally:
            self._tasks.pop(number, None)
        if not self.closed:
            self._send(message)
            with suppress(OSError):
                await self._writer.drain()

    def close(self) -> None:
        """Hang up; whoever waits for an answer gets Gone."""
        if self.closed:
            return
        self.closed = True
        self._writer.close()
        for task in list(self._tasks.values()):
            task.cancel()
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(Gone())
