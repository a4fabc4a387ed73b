"""What a primary sends before its log: a snapshot, and where it ends.

Format: ``$<length>\\r\\n`` and so many bytes; or, where the primary does not know the length yet,
``$EOF:<40 bytes>\\r\\n``, the snapshot, and the same 40 bytes again.  Empty lines before it only
say that the primary is still there.
"""

from __future__ import annotations

import re

MARK = 40
LINE = 128
_HEAD = re.compile(rb"\$(?:EOF:(.{40})|([0-9]{1,18}))\r\n", re.DOTALL)


class BadTransfer(Exception):
    """The bytes do not begin as a snapshot does on its way."""


class Transfer:
    """Takes the bytes apart: ``feed`` returns those of the snapshot."""

    def __init__(self) -> None:
        self.begun = False
        self.size: int | None = None
        """Bytes of the snapshot, where the primary has said so."""
        self.received = 0
        self.done = False
        self.rest = b""
        """What came after the snapshot: the log."""
        self._mark = b""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the snapshot that are among these; raises BadTransfer."""
        if self._held:
            data = self._held + data
            self._held = b""
        if not self.begun:
            data = self._begin(data)
            if not self.begun:
                self._held = data
                return b""
        if self._mark:
            return self._until_mark(data)
        assert self.size is not None
        left = self.size - self.received
        part = data[:left]
        self.received += len(part)
        if self.received == self.size:
            self._end(data[left:])
        return part

    def _begin(self, data: bytes) -> bytes:
        data = data.lstrip(b"\r\n")
        end = data.find(b"\r\n") + 2
        if end < 2:
            if len(data) > LINE:
                raise BadTransfer(repr(data[:LINE]))
            return data
        found = _HEAD.fullmatch(data, 0, end)
        if found is None:
            raise BadTransfer(repr(data[:LINE]))
        self.begun = True
        if found[1] is not None:
            self._mark = found[1]
        else:
            self.size = int(found[2])
        return data[end:]

    def _until_mark(self, data: bytes) -> bytes:
        at = data.find(self._mark)
        if at >= 0:
            part = data[:at]
            self._end(data[at + MARK :])
        else:
            # The mark may have begun to arrive.
            part, self._held = data[: 1 - MARK], data[1 - MARK :]
        self.received += len(part)
        return part

    def _end(self, rest: bytes) -> None:
        self.done = True
        self.rest = rest
