"""Commands wait until a pause is over, then go on in the order they came.

A client asks for a pause (CLIENT PAUSE), or the server itself, for as long as something takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from distcache_server.blocking import Cancel, Hold

if TYPE_CHECKING:
    from distcache_server.client import Client

CLIENT, FAILOVER, SHUTDOWN = "client", "failover", "shutdown"
"""What pauses are for; those of the same kind are one."""
FOREVER_MS = 1 << 62


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
        self._pauses: dict[str, tuple[int, bool]] = {}
        """The end of each, and whether it holds only writes."""
        self.held: dict[Client, None] = {}

    def begin(self, now_ms: int, until_ms: int, writes_only: bool) -> None:
        """Pause, or go on for longer; of two pauses the later end and the greater extent count."""
        if until_ms <= now_ms:
            return
        former_ms, only = self._pauses.get(CLIENT, (0, True))
        self._pauses[CLIENT] = max(until_ms, former_ms), writes_only and only
        if until_ms > former_ms:
            if self._cancel is not None:
                self._cancel()
            self._cancel = self._call_later((until_ms - now_ms) / 1000, self.end)
        self._arrange()

    def hold_writes(self, what_for: str) -> None:
        """Pause writes until `end`."""
        self._pauses[what_for] = FOREVER_MS, True
        self._arrange()

    def _arrange(self) -> None:
        """All pauses together hold what one of them holds."""
        self.until_ms = max((until_ms for until_ms, _ in self._pauses.values()), default=0)
        self.writes_only = bool(self._pauses) and all(only for _, only in self._pauses.values())
        self._changed()

    def end(self, what_for: str = CLIENT) -> None:
        """Let everybody go on whom no other pause holds."""
        if self._pauses.pop(what_for, None) is None:
            return
        if what_for == CLIENT and self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._arrange()
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
