"""CLIENT PAUSE: commands wait until the pause is over, then go on in the order they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from distcache_server.blocking import Cancel, Hold

if TYPE_CHECKING:
    from distcache_server.client import Client


class Pause:
    """Whether commands have to wait, which and until when, and the clients that do."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Cancel],
        changed: Callable[[], None],
    ) -> None:
        self._call_later = call_later
        self._changed = changed
        """Told when a pause begins, ends, or holds more than before."""
        self._cancel: Cancel | None = None
        self.until_ms = 0
        """Unix time in milliseconds; 0 while there is no pause."""
        self.writes_only = False
        self.held: dict[Client, None] = {}

    def begin(self, now_ms: int, until_ms: int, writes_only: bool) -> None:
        """Pause, or go on for longer; of two pauses the later end and the greater extent count."""
        if until_ms <= now_ms:
            return
        self.writes_only = writes_only and (not self.until_ms or self.writes_only)
        if until_ms > self.until_ms:
            self.until_ms = until_ms
            if self._cancel is not None:
                self._cancel()
            self._cancel = self._call_later((until_ms - now_ms) / 1000, self.end)
        self._changed()

    def end(self) -> None:
        """Let everybody go on."""
        if not self.until_ms:
            return
        self.until_ms = 0
        self.writes_only = False
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._changed()
        waiting, self.held = self.held, {}
        for client in waiting:
            client.resume()

    def hold(self, client: Client) -> NoReturn:
        """Put the command that the client has just sent back until the end."""
        self.held[client] = None
        raise Hold

    def holds(self, client: Client) -> bool:
        """Whether the client has a command waiting for the end."""
        return client in self.held

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self.held.pop(client, None)
