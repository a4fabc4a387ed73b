"""The checksum of snapshots: CRC-64 as Redis has it (polynomial 0xad93d23594c935a9, reflected)."""

from __future__ import annotations

from typing import cast

import anycrc

_MODEL = anycrc.Model("CRC64-REDIS")


def crc64(data: bytes | memoryview, before: int = 0) -> int:
    """The checksum of these bytes, or with that of the bytes before them, of all."""
    return cast(int, _MODEL.calc(data, before))
