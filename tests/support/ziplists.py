"""Ziplists and zipmaps as Redis before 7 wrote them; the server only reads them."""

from __future__ import annotations

from collections.abc import Sequence


def _size(size: int) -> bytes:
    return bytes([size]) if size < 254 else b"\xfe" + size.to_bytes(4, "little")


def _entry(value: bytes) -> bytes:
    size = len(value)
    if value.lstrip(b"-").isdigit() and b"%d" % int(value) == value:
        number = int(value)
        if 0 <= number <= 12:
            return bytes([0xF1 + number])
        for kind, width in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
            if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
                return bytes([kind]) + number.to_bytes(width, "little", signed=True)
    if size < 64:
        return bytes([size]) + value
    if size < 16384:
        return (0x4000 | size).to_bytes(2, "big") + value
    return b"\x80" + size.to_bytes(4, "big") + value


def make_ziplist(entries: Sequence[bytes]) -> bytes:
    body, last, before = b"", 10, 0
    for value in entries:
        entry = _size(before) + _entry(value)
        last, before = 10 + len(body), len(entry)
        body += entry
    total = (10 + len(body) + 1).to_bytes(4, "little") + last.to_bytes(4, "little")
    return total + len(entries).to_bytes(2, "little") + body + b"\xff"


def make_zipmap(entries: Sequence[bytes]) -> bytes:
    data = bytes([min(len(entries) // 2, 254)])
    for field, value in zip(entries[::2], entries[1::2], strict=True):
        data += _size(len(field)) + field + _size(len(value)) + b"\0" + value
    return data + b"\xff"
