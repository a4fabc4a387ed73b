"""The commands of a stream's entries; those of its consumer groups are in stream_*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import INT64_MAX, Args, Columns, integer, options
from distcache_server.errors import NoSuchKey, SyntaxFailure, WrongArity, WrongType
from distcache_server.events import STREAM
from distcache_server.registry import DENYOOM, FAST, ONE_KEY, READONLY, WRITE, group
from distcache_server.reply import EMPTY_ARRAY, OK, Entries, NullArray
from distcache_server.stream_errors import (
    BadEntriesAdded,
    BadSetId,
    IdIsZero,
    IdNotLarger,
    LimitOfExactTrimming,
    LimitWithoutTrimming,
    NegativeTrimming,
    NoMoreIds,
    NoTrimming,
    TooFewEntriesAdded,
    TwoTrimmings,
)
from distcache_server.types.stream import MOST_ENTRIES, Stream
from distcache_server.types.stream_id import (
    BITS,
    LARGEST,
    SEQUENCE,
    end_of_range,
    parsed,
    shown,
    start_of_range,
    without_sequence,
)

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("stream")

NODES = 100
"""Nodes that are removed at once where a stream is trimmed about and no limit is given."""
MOST_TRIMMED = 1_000_000


class Trimming:
    """MAXLEN or MINID, as XADD and XTRIM have it."""

    def __init__(self, by_id: bool, threshold: int, about: bool) -> None:
        self.by_id = by_id
        self.threshold = threshold
        self.about = about
        self.limit: int | None = None
        """How many entries may go (0: any number) where only whole nodes do; else None."""

    def apply(self, stream: Stream) -> int:
        """Trim a stream; how many entries went."""
        if self.by_id:
            return stream.trim_to_id(self.threshold, self.limit)
        return stream.trim_to_length(self.threshold, self.limit)


class _Options:
    """The words of XADD up to its id, or of XTRIM."""

    def __init__(self, client: Client, words: Args, adds: bool) -> None:
        self.trimming: Trimming | None = None
        self.must_exist = False
        self.at = 2
        """The place of the id."""
        limit: int | None = None
        while self.at < len(words):
            word = words[self.at]
            more = len(words) - self.at - 1
            option = word.upper()
            if adds and word == b"*":
                break
            if option in (b"MAXLEN", b"MINID") and more:
                self._trim(words, option)
            elif option == b"LIMIT" and more:
                self.at += 1
                limit = integer(words[self.at])
                if limit < 0:
                    raise NegativeTrimming(b"LIMIT")
            elif adds and option == b"NOMKSTREAM":
                self.must_exist = True
            elif adds:
                break
            else:
                raise SyntaxFailure
            self.at += 1
        self.id, self.ms = _id_of(words, self.at) if adds else (None, None)
        self._limit(client, limit, adds)

    def _trim(self, words: Args, option: bytes) -> None:
        if self.trimming is not None:
            raise TwoTrimmings
        about = False
        self.at += 1
        if words[self.at] in (b"~", b"=") and self.at + 1 < len(words):
            about = words[self.at] == b"~"
            self.at += 1
        word = words[self.at]
        if option == b"MINID":
            self.trimming = Trimming(True, parsed(word), about)
            return
        length = integer(word)
        if length < 0:
            raise NegativeTrimming(b"MAXLEN")
        self.trimming = Trimming(False, length, about)

    def _limit(self, client: Client, limit: int | None, adds: bool) -> None:
        trimming = self.trimming
        if trimming is None:
            if limit:
                raise LimitWithoutTrimming
            if not adds:
                raise NoTrimming
            return
        if trimming.about:
            usual = min(NODES * client.engine.config.stream_node_max_entries, MOST_TRIMMED)
            trimming.limit = (usual or MOST_ENTRIES) if limit is None else limit
        elif limit is not None and client.id:
            # What a primary sends may have one left over.
            raise LimitOfExactTrimming


def _id_of(words: Args, at: int) -> tuple[int | None, int | None]:
    """The id that XADD is to use, or its milliseconds where the number is to be found."""
    if at == len(words) or words[at] == b"*":
        return None, None
    ms = without_sequence(words[at])
    return (parsed(words[at]), None) if ms is None else (None, ms)


def next_id(last: int, now_ms: int) -> int:
    """The id of an entry that is added now."""
    number = now_ms << BITS
    if number > last:
        return number
    if last == LARGEST:
        raise NoMoreIds
    return last + 1


def next_of(last: int, ms: int) -> int:
    """The next id of this millisecond."""
    if last == LARGEST:
        raise NoMoreIds
    if last >> BITS != ms:
        return ms << BITS
    if last & SEQUENCE == SEQUENCE:
        raise IdNotLarger
    return last + 1


def xadd_run(client: Client, columns: Columns) -> list[Any] | None:
    """Entries that arrived together, where they go to one stream and get their ids here."""
    keyspace = client.keyspace
    keys, ids = columns[1], columns[2]
    key, count = keys[0], len(keys)
    if keyspace.observed or keys.count(key) != count or ids.count(b"*") != count:
        return None
    stream = keyspace.find(key)
    if type(stream) is not Stream or len(columns) & 1 == 0:
        return None
    first = max(keyspace.now_ms << BITS, stream.last_id + 1)
    sequence = first & SEQUENCE
    if sequence + count > SEQUENCE or first > LARGEST:
        return None
    stream.extend(first, columns[3:], keyspace.limits)
    keyspace.changes += count
    moment = b"%d-" % (first >> BITS)
    texts: list[Any] = [b"%b%d" % (moment, number) for number in range(sequence, sequence + count)]
    if client.engine.log is not None:
        client.effect = [
            [b"XADD", key, text, *entry] for text, *entry in zip(texts, *columns[3:], strict=True)
        ]
    return texts


@command(
    "XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id>"
    " field value [field value ...]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW UPDATE", "Trimming deletes entries"),
    since="5.0.0",
    tips="nondeterministic_output",
    complexity="O(1) when adding a new entry, O(N) when trimming where N being the number of "
    "entries evicted.",
    run=xadd_run,
    runs_all=True,
)
def xadd(client: Client, words: Args) -> bytes | None:
    """Adds an entry to the end of a stream, which is made if need be."""
    options = None
    at = 2
    if words[2] != b"*":
        options = _Options(client, words, adds=True)
        at = options.at
    if len(words) < at + 3 or (len(words) - at) & 1 == 0:
        raise WrongArity(b"xadd")
    if options is not None and options.id == 0:
        raise IdIsZero
    keyspace, key = client.keyspace, words[1]
    stream = keyspace.find(key)
    if stream is None:
        if options is not None and options.must_exist:
            return None
        last = 0
    elif type(stream) is not Stream:
        raise WrongType
    else:
        last = stream.last_id
    if options is None or (options.id is None and options.ms is None):
        number = next_id(last, keyspace.now_ms)
    elif options.ms is not None:
        number = next_of(last, options.ms)
    else:
        assert options.id is not None
        number = options.id
    if number <= last:
        raise NoMoreIds if last == LARGEST else IdNotLarger
    if stream is None:
        stream = Stream()
        keyspace.replace(key, stream)
    entry = words[at + 1 :]
    stream.add(number, entry, keyspace.limits)
    text = shown(number)
    keyspace.changed(key, b"xadd", STREAM)
    trimmed: list[bytes] = []
    if options is not None and options.trimming is not None and options.trimming.apply(stream):
        keyspace.also(key, b"xtrim", STREAM)
        # The first entries went, so this says exactly which.
        trimmed = [b"MAXLEN", b"=", b"%d" % len(stream)]
    if client.engine.log is not None:
        client.effect = [b"XADD", key, *trimmed, text, *entry]
    return text


@command("XLEN key", READONLY | FAST, keys=ONE_KEY("RO"), since="5.0.0")
def xlen(client: Client, words: Args) -> int:
    """Counts the entries of a stream."""
    stream = client.keyspace.read_as(words[1], Stream)
    return 0 if stream is None else len(stream)


RANGE = (
    "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking "
    "for the first 10 elements with COUNT), you can consider it O(1)."
)


def in_range(client: Client, words: Args, first: bytes, last: bytes, backwards: bool) -> Any:
    """XRANGE and XREVRANGE."""
    start, end = start_of_range(first), end_of_range(last)
    count = options(words[4:], {b"COUNT": integer}).get(b"COUNT")
    stream = client.keyspace.read_as(words[1], Stream)
    if stream is None:
        return EMPTY_ARRAY
    if count is not None and count <= 0:
        return NullArray
    find = stream.range_backwards if backwards else stream.range
    return Entries(find(start, end, count or 0))


@command(
    "XRANGE key start end [COUNT count]",
    READONLY,
    keys=ONE_KEY,
    since="5.0.0",
    complexity=RANGE,
)
def xrange_(client: Client, words: Args) -> Any:
    """Lists the entries between two ids, oldest first."""
    return in_range(client, words, words[2], words[3], backwards=False)


@command(
    "XREVRANGE key end start [COUNT count]",
    READONLY,
    keys=ONE_KEY,
    since="5.0.0",
    complexity=RANGE,
)
def xrevrange(client: Client, words: Args) -> Any:
    """Lists the entries between two ids, newest first."""
    return in_range(client, words, words[3], words[2], backwards=True)


@command(
    "XDEL key id [id ...]",
    WRITE | FAST,
    keys=ONE_KEY("RW DELETE"),
    since="5.0.0",
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
)
def xdel(client: Client, words: Args) -> int:
    """Removes entries from a stream; how many were there."""
    keyspace, key = client.keyspace, words[1]
    stream = keyspace.find_as(key, Stream)
    if stream is None:
        return 0
    gone = stream.delete(map(parsed, words[2:]))
    if gone:
        keyspace.changed(key, b"xdel", STREAM)
    return gone


@command(
    "XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
    WRITE,
    keys=ONE_KEY("RW DELETE"),
    since="5.0.0",
    tips="nondeterministic_output",
    complexity="O(N), with N being the number of evicted entries. Constant times are very small "
    "however, since entries are organized in macro nodes containing multiple entries that can be "
    "released with a single deallocation.",
)
def xtrim(client: Client, words: Args) -> int:
    """Removes the oldest entries of a stream."""
    trimming = _Options(client, words, adds=False).trimming
    assert trimming is not None
    keyspace, key = client.keyspace, words[1]
    stream = keyspace.find_as(key, Stream)
    if stream is None:
        return 0
    gone = trimming.apply(stream)
    if gone:
        keyspace.changed(key, b"xtrim", STREAM)
        client.effect = [b"XTRIM", key, b"MAXLEN", b"=", b"%d" % len(stream)]
    return gone


@command(
    "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
    WRITE | DENYOOM | FAST,
    keys=ONE_KEY("RW UPDATE"),
    since="5.0.0",
)
def xsetid(client: Client, words: Args) -> Any:
    """Sets the last id of a stream, and what it counts."""
    keyspace, key = client.keyspace, words[1]
    last = parsed(words[2])

    def deleted_id(word: bytes) -> int:
        number = parsed(word)
        if last < number:
            raise BadSetId(b"the provided max_deleted_entry_id")
        return number

    given = options(words[3:], {b"ENTRIESADDED": _entries_added, b"MAXDELETEDID": deleted_id})
    added = given.get(b"ENTRIESADDED")
    stream = keyspace.find_as(key, Stream)
    if stream is None:
        raise NoSuchKey
    if last < stream.deleted_id:
        raise BadSetId(b"current max_deleted_entry_id")
    if len(stream):
        if last < stream.top_id:
            raise BadSetId(b"the target stream top item")
        if added is not None and added < len(stream):
            raise TooFewEntriesAdded
    stream.last_id = last
    if added is not None:
        stream.added = added
    stream.deleted_id = given.get(b"MAXDELETEDID") or stream.deleted_id
    keyspace.noted(key, b"xsetid", STREAM)
    return OK


def _entries_added(word: bytes) -> int:
    added = integer(word)
    if not 0 <= added <= INT64_MAX:
        raise BadEntriesAdded
    return added
