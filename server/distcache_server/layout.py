"""Commands that are alike to the byte count, cut at the same places without being parsed.

Many clients that run one piece of code send the same command with words of the same lengths:
``SET user:00017 <16 bytes>``.  The layout of such a command is learnt when it is seen the second
time.  A batch of equal size is then compared with the layout's headers, all of them in one
operation on integers, and cut by ``struct``: a fraction of the time that finding the line breaks
takes.  Where one header is another the batch is parsed as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from distcache_server.arguments import Columns

LEAST = 8
"""Commands that a batch must have to be worth it."""
REACH = 24 << 10
"""Bytes that are compared at a time."""
MAX_SIZE = 2 << 10
"""Bytes of the longest command that is tried."""
SIGHTS = 1024
"""Kinds of batches that are remembered."""
LAYOUTS = 64
"""Layouts that are kept, of up to 50 KB each."""
HEAD = 13
"""The bytes that tell kinds apart, with the length: ``*3\\r\\n$3\\r\\nSET\\r``."""

Kind = tuple[bytes, int]
Lengths = tuple[int, ...]


class Layout:
    """Where the words of a command are, if each has this many bytes."""

    __slots__ = ("_headers", "_mask", "_reach", "_struct", "size")

    def __init__(self, lengths: Lengths) -> None:
        form, headers, mask = [], [], []
        header = b"*%d" % len(lengths)
        for length in lengths:
            header += b"\r\n$%d\r\n" % length
            form.append(f"{len(header)}x{length}s")
            headers.append(header + bytes(length))
            mask.append(b"\xff" * len(header) + bytes(length))
            header = b""
        self._struct = Struct("=" + "".join(form) + "2x")
        self.size = self._struct.size
        self._reach = max(REACH // self.size, 1)
        self._headers = int.from_bytes(b"".join([*headers, b"\r\n"]) * self._reach, "little")
        self._mask = int.from_bytes(b"".join([*mask, b"\xff\xff"]) * self._reach, "little")

    def cut(self, data: bytes) -> Columns | None:
        """The commands in ``data``, which are whole ones of this size; None where one differs."""
        size, reach = self.size, self._reach
        step = size * reach
        if len(data) <= step:
            if not self._fits(data):
                return None
        elif not all(self._fits(data[at : at + step]) for at in range(0, len(data), step)):
            return None
        return list(zip(*self._struct.iter_unpack(data), strict=True))

    def _fits(self, data: bytes) -> bool:
        # The expected headers repeat, so that those of fewer commands are the upper part of them.
        missing = self.size * self._reach - len(data)
        return int.from_bytes(data, "little") & self._mask == self._headers >> 8 * missing


_seen: dict[Kind, Lengths | Layout | None] = {}
"""What was found in a batch of this kind: once, again, or that such batches are not alike."""
_layouts: dict[Lengths, Layout] = {}


def cut(data: bytes, size: int) -> Columns | None:
    """What is known to be commands of one layout, in words; None where it has to be parsed.

    ``data`` are reads of ``size`` bytes each.
    """
    kind = data[:HEAD], size
    layout = _seen.get(kind)
    if type(layout) is not Layout or len(data) < LEAST * layout.size:
        return None
    columns = layout.cut(data)
    if columns is None:
        _seen[kind] = None
    return columns


def learn(data: bytes, size: int, columns: Sequence[Sequence[bytes]]) -> None:
    """Take note of what reads of ``size`` bytes each turned out to be."""
    count = len(columns[0])
    kind = data[:HEAD], size
    if count < LEAST or len(data) % count or len(data) // count > MAX_SIZE:
        return
    lengths = tuple(len(column[0]) for column in columns)
    if kind not in _seen:
        if len(_seen) >= SIGHTS:
            _seen.clear()
        _seen[kind] = lengths
    elif _seen[kind] == lengths:
        if lengths not in _layouts and len(_layouts) >= LAYOUTS:
            _layouts.clear()
            _seen.clear()
        layout = _layouts.get(lengths) or Layout(lengths)
        # Reads that hold parts of commands of this size are not to be taken for whole ones.
        if layout.size * count == len(data) and size % layout.size == 0:
            _layouts[lengths] = layout
            _seen[kind] = layout
        else:
            _seen[kind] = None
