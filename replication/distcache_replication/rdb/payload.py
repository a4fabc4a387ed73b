"""Single values outside of a snapshot, as DUMP makes them and RESTORE takes them.

Format: the type and the value as in a snapshot, the version of the format in 2 bytes, and the
CRC-64 of all that in 8 bytes, lowest byte first.
"""

from __future__ import annotations

from distcache_replication.rdb.crc64 import crc64
from distcache_replication.rdb.errors import BadChecksum, BadRdb, Short
from distcache_replication.rdb.forms import Form
from distcache_replication.rdb.reading import READ
from distcache_replication.rdb.values import STRING, Value, read_value

FOOTER = 10


def dump(form: Form, version: int) -> bytes:
    """A value with its footer."""
    body = b"%c%b%b" % (form.type, b"".join(form.body), version.to_bytes(2, "little"))
    return body + crc64(body).to_bytes(8, "little")


def restore(payload: bytes) -> tuple[int, Value]:
    """What the value is (STRING, LIST, ...), and the value; BadChecksum, BadRdb."""
    end = len(payload) - FOOTER
    if end < 1:
        raise BadChecksum("The payload is too short")
    version = int.from_bytes(payload[end : end + 2], "little")
    if version >= READ.stop:
        raise BadChecksum("The payload is of a later version")
    if crc64(memoryview(payload)[:-8]) != int.from_bytes(payload[-8:], "little"):
        raise BadChecksum("The checksum of the payload is wrong")
    try:
        # Not a copy without the footer: all that reads must end where that begins.
        kind, value, pos = read_value(payload, 1, payload[0], end)
    except (Short, IndexError):
        raise BadRdb("The payload ends too early", end) from None
    if not value and kind != STRING:
        raise BadRdb("A collection is empty", pos)
    return kind, value
