"""The errors of the stream commands; see errors.py."""

from __future__ import annotations

from distcache_server.errors import CommandError


class BadStreamId(CommandError):
    text = b"ERR Invalid stream ID specified as stream command argument"


class BadRangeStart(CommandError):
    text = b"ERR invalid start ID for the interval"


class BadRangeEnd(CommandError):
    text = b"ERR invalid end ID for the interval"


class IdIsZero(CommandError):
    text = b"ERR The ID specified in XADD must be greater than 0-0"


class IdNotLarger(CommandError):
    text = b"ERR The ID specified in XADD is equal or smaller than the target stream top item"


class NoMoreIds(CommandError):
    text = b"ERR The stream has exhausted the last possible ID, unable to add more items"


class TwoTrimmings(CommandError):
    text = b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible"


class NoTrimming(CommandError):
    text = b"ERR syntax error, XTRIM must be called with a trimming strategy"


class LimitWithoutTrimming(CommandError):
    text = b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"


class LimitOfExactTrimming(CommandError):
    text = b"ERR syntax error, LIMIT cannot be used without the special ~ option"


class NegativeTrimming(CommandError):
    text = b"ERR The %b argument must be >= 0."


class BadEntriesAdded(CommandError):
    text = b"ERR entries_added must be positive"


class BadSetId(CommandError):
    text = b"ERR The ID specified in XSETID is smaller than %b"


class TooFewEntriesAdded(CommandError):
    text = b"ERR The entries_added specified in XSETID is smaller than the target stream length"


class UnbalancedStreams(CommandError):
    text = (
        b"ERR Unbalanced '%b' list of streams: for each stream key an ID or '%b' must be specified."
    )


class OnlyOfXreadgroup(CommandError):
    text = b"ERR The %b option is only supported by XREADGROUP. You called XREAD instead."


class GroupMissing(CommandError):
    text = b"ERR Missing GROUP option for XREADGROUP"


class NoLastId(CommandError):
    text = (
        b"ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of"
        b" this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID"
        b" would just return an empty result set."
    )


class NoNewId(CommandError):
    text = (
        b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group>"
        b" <consumer> option."
    )


class NoGroup(CommandError):
    text = b"NOGROUP No such key '%b' or consumer group '%b'"


class NoGroupToRead(CommandError):
    text = b"NOGROUP No such key '%b' or consumer group '%b' in XREADGROUP with GROUP option"


class NoGroupAtKey(CommandError):
    text = b"NOGROUP No such consumer group '%b' for key name '%b'"


class GroupExists(CommandError):
    text = b"BUSYGROUP Consumer Group name already exists"


class NoStreamForGroup(CommandError):
    text = (
        b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to"
        b" use the MKSTREAM option to create an empty stream automatically."
    )


class BadEntriesRead(CommandError):
    text = b"ERR value for ENTRIESREAD must be positive or -1"


class BadClaimArgument(CommandError):
    text = b"ERR Invalid %b argument for %b"


class UnknownClaimOption(CommandError):
    text = b"ERR Unrecognized XCLAIM option '%b'"


class BadClaimCount(CommandError):
    text = b"ERR COUNT must be > 0"
