"""The disk as a follower of the log: writes increments, flushes them off the event loop.

``write`` hands everything new to the kernel; ``commit`` flushes what was written, one flush at a
time, so that all who wait meanwhile share the next one.  What may be acknowledged is up to the
policy: what is flushed (always), or what is written (everysec, no).

A write that fails is taken back and tried again: the log keeps the bytes until then.  After a
failed flush nobody knows what is in the file, so nothing written to it is trusted or acknowledged
any more, until a new base and a new increment have taken its place.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import time_ns

from distcache_replication.files import Files
from distcache_replication.history import History
from distcache_replication.log import Log
from distcache_replication.segment import annotation, before, flushed, head, select

Done = Callable[[OSError | None], None]
Run = Callable[[Callable[[], None], Done], None]
"""Runs a function off the event loop, and then the other on it, with the error if there was one."""

ALWAYS, EVERYSEC, NO = "always", "everysec", "no"
MARK = 1 << 20
"""Bytes of a file between two places that are remembered."""

TIME_MS = 100
"""So precisely the file says when a batch was written."""
MOST_TIMES = 10_000
"""So often it is remembered when one was."""

Mark = tuple[int, int, int, int | None]
"""The offset of a batch, where in its file it stands, the salt of its checksum, and its time."""


class Disk:
    """Writes the log to one increment after the other."""

    def __init__(
        self, log: Log, files: Files, run: Run, policy: str, changed: Callable[[], None]
    ) -> None:
        self.log = log
        self.files = files
        self.policy = policy
        self.offset = log.end
        """Written up to here."""
        self.flushed = log.end
        """Flushed up to here."""
        self.error: OSError | None = None
        self.lost = False
        """A flush failed: only a new base helps."""
        self.complete = True
        """A start would have what is flushed: not before there is a base."""
        self.size = 0
        """Bytes in the present increment."""
        self.marks: list[Mark] = []
        """Some places in it, so that an offset is soon found."""
        self._run = run
        self._changed = changed
        """Told when more may be acknowledged, and when ``error`` comes or goes."""
        self._descriptor = -1
        self._old: list[int] = []
        """Increments before the present one that are still to be flushed and closed."""
        self._salt = 0
        self._head = b""
        """Which history the log is, until that is written."""
        self._database = 0
        """The database that is selected there, unless that is said otherwise."""
        self._mark_at = 0
        """The size at which the next place is remembered."""
        self.begun = log.end
        """The offset at which the present increment begins."""
        self._held = False
        """The increment before the present one is still to be flushed."""
        self._flushing = False
        self._told: int | None = None
        """Up to where the present increment says that all is flushed; None where it does not."""
        self._time_ms = 0
        """The time that it said last."""
        self.times: deque[tuple[int, int]] = deque(maxlen=MOST_TIMES)
        """From which offset on what was written when, in milliseconds."""

    @property
    def acknowledged(self) -> int:
        """The offset up to which replies may leave."""
        return self.flushed if self.policy == ALWAYS else self.offset

    @property
    def flushing(self) -> bool:
        return self._flushing

    @property
    def held(self) -> bool:
        """Nothing can be written until the increment before the present one is flushed."""
        return self._held and not self.lost

    def attach(self) -> None:
        """From now on the log keeps what was not written yet."""
        self.log.holders.append(self)
        self.log.durable = self.flushed

    def detach(self) -> None:
        """Let go of the log."""
        if self in self.log.holders:
            self.log.holders.remove(self)
        self.log.advance(None)

    def switch(self, descriptor: int, history: History, database: int = 0) -> None:
        """Go on in a new increment, from the present end of the log.

        There a ``database`` is selected, if what comes next does not say which.
        What the last one does not have, because a flush failed, is lost to it: the caller makes a
        base that holds it.
        """
        if self._descriptor >= 0:
            self._old.append(self._descriptor)
        self._descriptor, self.size = descriptor, 0
        if self.offset != self.log.end:
            self.times.clear()
        self.offset = self.begun = self.log.end
        self.marks, self._mark_at = [], 0
        self._told, self._time_ms = None, 0
        self._database = database
        self._name(history)
        if not self.lost:
            # The log on disk must have no gap, whatever the order in which files get there: so
            # nothing goes into this one before all of the last is there for good; and then its
            # head, without which nobody knows what was flushed of it.
            self._held = True
            if not self._old:
                self._begin()
            self.commit()

    def rename(self, history: History) -> None:
        """The log goes on under another id, from its present end."""
        self.write()
        # Where that failed, what is left is said to be of the new history, as it is, too.
        self._name(history)

    def _name(self, history: History) -> None:
        salt = self._salt = secrets.randbits(32)
        lines = [before(former, end, salt) for former, end in history.lineage]
        if self._database:
            lines.append(select(self._database, salt))
        self._head = b"".join([head(history.id, self.offset, salt), *lines])

    def _begin(self) -> bool:
        """Write the head; where that fails, it is written with what comes first."""
        try:
            self._put(self._head + self._flush_line())
        except OSError as error:
            if self.lost:
                self._fail(error)
            return False
        self._head, self._database, self._told = b"", 0, self._tellable
        return True

    @property
    def _tellable(self) -> int | None:
        """Up to where the increment is to say that all is flushed."""
        return None if self.policy == NO else self.flushed

    def _flush_line(self, time_ms: int | None = None) -> bytes:
        if self._told == self._tellable and time_ms is None:
            return b""
        return flushed(self._tellable, self._salt, time_ms)

    def _advance(self) -> None:
        """Let those go on who take only what cannot be lost."""
        if self.complete:
            self.log.advance(self.offset if self.policy == NO else self.flushed)

    def recovered(self) -> None:
        """A new base holds all from before the present increment, which can be trusted."""
        if self.lost:
            for descriptor in self._old:
                # Nobody needs them any more, well closed or not.
                with suppress(OSError):
                    self.files.close(descriptor)
            self._old = []
            self._held = False
        self.flushed = max(self.flushed, self.begun)
        self.complete = True
        self._advance()
        self.lost = False
        self.error = None
        self._changed()

    def write(self) -> bool:
        """Hand everything new to the kernel; False where that fails, or has to wait."""
        if self.lost or self._held:
            return False
        offset, end = self.offset, self.log.end
        told = self._tellable
        if offset == end and not self._head and told == self._told:
            return True
        now_ms, time_ms = time_ns() // 1_000_000, None
        if offset < end and not 0 <= now_ms - self._time_ms < TIME_MS:
            time_ms = now_ms
        start = self._head + self._flush_line(time_ms)
        data, size = self.log.slice(offset), self.size + len(start)
        line = annotation(data, offset, self._salt) if data else b""
        try:
            self._put(start + line + data)
        except OSError as error:
            self._fail(error)
            return False
        if time_ms is not None:
            self._time_ms = time_ms
            self.times.append((offset, time_ms))
        if size >= self._mark_at:
            self.marks.append((offset, size, self._salt, self._time_ms or None))
            self._mark_at = size + MARK
        self._head, self._database, self._told = b"", 0, told
        self.offset = end
        if self.policy == NO:
            self._advance()
        if self.error is not None:
            self.error = None
            self._changed()
        return True

    def _put(self, data: bytes) -> None:
        """Append all of ``data`` or nothing."""
        files, descriptor = self.files, self._descriptor
        try:
            done = files.write(descriptor, data)
            while done < len(data):
                done += files.write(descriptor, data[done:])
        except OSError:
            try:
                files.cut(descriptor, self.size)
            except OSError:
                self.lost = True
            raise
        self.size += len(data)

    def commit(self) -> None:
        """Flush what was written, and under ``always`` first write what is new."""
        if self._flushing or self.lost:
            return
        if self.policy == ALWAYS and not self._held and not self.write():
            return
        if self.flushed == self.offset and not self._old and not self._held:
            return
        mark, descriptor, old = self.offset, self._descriptor, self._old
        self._old = []
        self._flushing = True

        def flush() -> None:
            for former in old:
                self.files.sync(former)
                self.files.close(former)
            self.files.sync(descriptor)

        self._run(flush, lambda error: self._committed(mark, error))

    def _committed(self, mark: int, error: OSError | None) -> None:
        self._flushing = False
        if self._descriptor < 0:
            # It was closed meanwhile.
            return
        if error is not None:
            self.lost = True
            self._fail(error)
            return
        self.flushed = max(self.flushed, mark)
        self._advance()
        if self._held and not self._old:
            self._held = bool(self._head) and self._begin()
            if not self._held:
                self.write()
        self._changed()
        if self._held or (self.policy == ALWAYS and self.log.end > self.flushed):
            self.commit()

    def _fail(self, error: OSError) -> None:
        self.error = error
        self._changed()

    def close(self) -> None:
        """Write and flush the rest, here and now; raises OSError where something is lost."""
        try:
            for descriptor in self._old:
                self.files.sync(descriptor)
            self._held = False
            if not self.write():
                raise self.error or OSError("an earlier flush failed")
            self.files.sync(self._descriptor)
            self.flushed = self.offset
            # So that who changes something in it is found out.
            self.write()
        finally:
            for descriptor in (*self._old, self._descriptor):
                if descriptor >= 0:
                    with suppress(OSError):
                        self.files.close(descriptor)
            self._old, self._descriptor = [], -1
            self.detach()
