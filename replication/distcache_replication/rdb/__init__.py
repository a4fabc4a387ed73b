"""The snapshot codec: RDB as Redis writes and reads it, without a file or a socket.

Read ``reading.py`` and ``writing.py`` for the whole, ``values.py`` and ``forms.py`` for single
values. Values are plain: bytes, lists, dicts, (member, score) pairs; what they mean to a server is
not known here.
"""

from distcache_replication.rdb.crc64 import crc64
from distcache_replication.rdb.errors import BadChecksum, BadRdb, Unsupported
from distcache_replication.rdb.forms import (
    Form,
    Style,
    of_expiring,
    of_hash,
    of_intset,
    of_list,
    of_set,
    of_stream,
    of_string,
    of_zset,
)
from distcache_replication.rdb.payload import dump, restore
from distcache_replication.rdb.primitives import length, string
from distcache_replication.rdb.reading import Decoder, Record
from distcache_replication.rdb.stream import Consumer, Entry, Group, Listed, Nodes, Pending, Stream
from distcache_replication.rdb.values import (
    HASH,
    LIST,
    SET,
    STREAM,
    STRING,
    ZSET,
    Expiring,
    Value,
)
from distcache_replication.rdb.writing import (
    END,
    entry,
    function,
    header,
    plain_entry,
    sealed,
    select,
)

__all__ = [
    "END",
    "HASH",
    "LIST",
    "SET",
    "STREAM",
    "STRING",
    "ZSET",
    "BadChecksum",
    "BadRdb",
    "Consumer",
    "Decoder",
    "Entry",
    "Expiring",
    "Form",
    "Group",
    "Listed",
    "Nodes",
    "Pending",
    "Record",
    "Stream",
    "Style",
    "Unsupported",
    "Value",
    "crc64",
    "dump",
    "entry",
    "function",
    "header",
    "length",
    "of_expiring",
    "of_hash",
    "of_intset",
    "of_list",
    "of_set",
    "of_stream",
    "of_string",
    "of_zset",
    "plain_entry",
    "restore",
    "sealed",
    "select",
    "string",
]
