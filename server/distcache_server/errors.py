"""Every error a client can see: a class holding its wire text, raised as a class.

The texts are those of Redis 7.0, to the byte.  Classes with placeholders take their
values when they are built: ``raise WrongArity(name)``.  Text that echoes input is
flattened to one line, since a line break would end the reply.  They stand in one long module, so
that no text is written twice.
"""

from __future__ import annotations

_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class CommandError(Exception):
    """An error reply: ``text`` is what stands between ``-`` and the line break."""

    text: bytes = b"ERR"

    def __init__(self, *values: bytes | int) -> None:
        super().__init__()
        if values:
            self.text = type(self).text % values

    @property
    def code(self) -> str:
        """The first word, as ``INFO errorstats`` counts it."""
        return self.text.split(b" ", 1)[0].decode("latin-1")

    def wire(self) -> bytes:
        """The whole reply line."""
        return self.line(self.text)

    @staticmethod
    def line(text: bytes) -> bytes:
        """An error line of any text: no line breaks at its end, and blanks for those within."""
        return b"-%b\r\n" % text.rstrip(b"\r\n").translate(_BREAKS)

    def __str__(self) -> str:
        return self.text.decode("latin-1")


class Failure(CommandError):
    """Any text under the general code: ``raise Failure(b"no such key")``."""

    text = b"ERR %b"


class Verbatim(CommandError):
    """A text with its own code, from somewhere that already has both."""

    text = b"%b"


class ReservedKey(CommandError):
    text = b"ERR 'distcache:changefeed' shows what happens to other keys and cannot be written"


class ChangefeedAlone(CommandError):
    text = b"ERR 'distcache:changefeed' can only be read alone"


class ChangefeedWaits(CommandError):
    text = b"ERR 'distcache:changefeed' cannot be read within a transaction"


class ChangefeedFailed(CommandError):
    text = b"ERR the changefeed cannot be read now: %b"


# Syntax and dispatch


class SyntaxFailure(CommandError):
    text = b"ERR syntax error"


class UnknownCommand(CommandError):
    text = b"ERR unknown command '%b', with args beginning with: %b"


class UnknownSubcommand(CommandError):
    text = b"ERR unknown subcommand '%b'. Try %b HELP."


class WrongArity(CommandError):
    text = b"ERR wrong number of arguments for '%b' command"


class NotAuthenticated(CommandError):
    text = b"NOAUTH Authentication required."


class WrongPassword(CommandError):
    text = b"WRONGPASS invalid username-password pair or user is disabled."


class NoPasswordSet(CommandError):
    text = (
        b"ERR AUTH <password> called without any password configured for the default user."
        b" Are you sure your configuration is correct?"
    )


class HelloNeedsAuth(CommandError):
    text = (
        b"NOAUTH HELLO must be called with the client already authenticated, otherwise the"
        b" HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and"
        b" select the RESP protocol version at the same time"
    )


class BadHelloOption(CommandError):
    text = b"ERR Syntax error in HELLO option '%b'"


class BadProtocolVersion(CommandError):
    text = b"ERR Protocol version is not an integer or out of range"


class BadClientName(CommandError):
    text = b"ERR Client names cannot contain spaces, newlines or special characters."


class NoProtocol(CommandError):
    text = b"NOPROTO unsupported protocol version"


class Denied(CommandError):
    text = (
        b"DENIED Running in protected mode because protected mode is enabled and no password is"
        b" set for the default user. In this mode connections are only accepted from the loopback"
        b" interface. If you want to connect from external computers, set a password with"
        b" 'CONFIG SET requirepass', or turn protected mode off with 'CONFIG SET protected-mode no'"
        b" from the loopback interface, and make sure that the server is not reachable from the"
        b" internet."
    )


class NotInThisContext(CommandError):
    """A command that a RESP2 client may not send while subscribed."""

    text = (
        b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
        b" are allowed in this context"
    )


class NotWhileMonitoring(CommandError):
    """Redis counts clients in MONITOR as replicas; hence the text."""

    text = b"ERR Replica can't interact with the keyspace"


class DebugNotAllowed(CommandError):
    text = (
        b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local",'
        b" you can run it from a local connection, otherwise you need to set this option in the"
        b" configuration file, and then restart the server."
    )


class MaxClients(CommandError):
    text = b"ERR max number of clients reached"


# Values and numbers


class WrongType(CommandError):
    text = b"WRONGTYPE Operation against a key holding the wrong kind of value"


class NotInteger(CommandError):
    text = b"ERR value is not an integer or out of range"


class NotFloat(CommandError):
    text = b"ERR value is not a valid float"


class OutOfRange(CommandError):
    text = b"ERR value is out of range"


class NotWithin(CommandError):
    text = b"ERR value is out of range, value must between %d and %d"


class NotPositive(CommandError):
    text = b"ERR value is out of range, must be positive"


class IndexOutOfRange(CommandError):
    text = b"ERR index out of range"


class IncrementOverflow(CommandError):
    text = b"ERR increment or decrement would overflow"


class HashNotInteger(CommandError):
    text = b"ERR hash value is not an integer"


class HashNotFloat(CommandError):
    text = b"ERR hash value is not a float"


class FieldsMissing(CommandError):
    text = b"ERR Mandatory argument FIELDS is missing or not at the right position"


class FieldsMismatch(CommandError):
    text = b"ERR The `numfields` parameter must match the number of arguments"


class BadScoreRange(CommandError):
    text = b"ERR min or max is not a float"


class BadNameRange(CommandError):
    text = b"ERR min or max not valid string range item"


class ScoreNotANumber(CommandError):
    text = b"ERR resulting score is not a number (NaN)"


class BadWeight(CommandError):
    text = b"ERR weight value is not a float"


class NoInputKeys(CommandError):
    text = b"ERR at least 1 input key is needed for '%b' command"


class NotFinite(CommandError):
    text = b"ERR increment would produce NaN or Infinity"


class StringTooLong(CommandError):
    text = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"


class NotAnHLL(CommandError):
    text = b"WRONGTYPE Key is not a valid HyperLogLog string value."


class CorruptHLL(CommandError):
    text = b"INVALIDOBJ Corrupted HLL object detected"


class NoSuchKeyAtAll(CommandError):
    """As DEBUG and PFDEBUG say it."""

    text = b"ERR The specified key does not exist"


class BadBitOffset(CommandError):
    text = b"ERR bit offset is not an integer or out of range"


class BadBit(CommandError):
    text = b"ERR bit is not an integer or out of range"


class BadBitfieldType(CommandError):
    text = (
        b"ERR Invalid bitfield type. Use something like i16 u8."
        b" Note that u64 is not supported but i64 is."
    )


class BadSortScore(CommandError):
    text = b"ERR One or more scores can't be converted into double"


class SameObject(CommandError):
    text = b"ERR source and destination objects are the same"


class NoSuchKey(CommandError):
    text = b"ERR no such key"


class BadNumkeys(CommandError):
    text = b"ERR numkeys should be greater than 0"


class TooManyKeys(CommandError):
    text = b"ERR Number of keys can't be greater than number of args"


class NegativeLimit(CommandError):
    text = b"ERR LIMIT can't be negative"


class BadCount(CommandError):
    text = b"ERR count should be greater than 0"


class NegativeCount(CommandError):
    text = b"ERR COUNT can't be negative"


class NegativeMaxlen(CommandError):
    text = b"ERR MAXLEN can't be negative"


class RankIsZero(CommandError):
    text = (
        b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second"
        b" ... or use negative to start from the end of the list"
    )


class InvalidExpire(CommandError):
    text = b"ERR invalid expire time in '%b' command"


class InvalidCursor(CommandError):
    text = b"ERR invalid cursor"


class InvalidTimeout(CommandError):
    text = b"ERR timeout is not a float or out of range"


class NotATimeout(CommandError):
    text = b"ERR timeout is not an integer or out of range"


class TimeoutTooLong(CommandError):
    text = b"ERR timeout is out of range"


class NegativeTimeout(CommandError):
    text = b"ERR timeout is negative"


class InvalidDatabase(CommandError):
    text = b"ERR DB index is out of range"


class OutOfMemory(CommandError):
    text = b"OOM command not allowed when used memory > 'maxmemory'."


# CLIENT


class UnknownClientType(CommandError):
    text = b"ERR Unknown client type '%b'"


class BadClientId(CommandError):
    text = b"ERR Invalid client ID"


class NoSuchClient(CommandError):
    text = b"ERR No such client"


class NoSuchUser(CommandError):
    text = b"ERR No such user '%b'"


class NotAboveZero(CommandError):
    text = b"ERR %b should be greater than 0"


class UnknownClientAttribute(CommandError):
    text = b"ERR Unrecognized option '%b'"


class BadClientAttribute(CommandError):
    text = b"ERR %b cannot contain spaces, newlines or special characters."


class BadUnblockReason(CommandError):
    text = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"


class BadPauseMode(CommandError):
    text = b"ERR CLIENT PAUSE mode must be WRITE or ALL"


# The server


class BadFirstDatabase(CommandError):
    text = b"ERR invalid first DB index"


class BadSecondDatabase(CommandError):
    text = b"ERR invalid second DB index"


class BadPrimaryPort(CommandError):
    text = b"ERR Invalid master port"


class NoReplication(CommandError):
    """There is an engine, and no server around it."""

    text = b"ERR this server cannot take part in replication"


class ReadOnly(CommandError):
    text = b"READONLY You can't write against a read only replica."


class TooFewReplicas(CommandError):
    text = b"NOREPLICAS Not enough good replicas to write."


class NotConfirmed(CommandError):
    """Of ours: the write is done, and may be lost if another server becomes the primary."""

    text = b"UNCONFIRMED The write was applied, but %d replicas did not confirm it in time."


class AppendOnlyOff(CommandError):
    text = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."


class NotOnReplicaEither(CommandError):
    text = (
        b"ERR WAITAOF cannot be used with replica instances. Please also note that writes to"
        b" replicas are just local and are not propagated."
    )


class CutOff(CommandError):
    text = b"IOERR error or timeout %b to target instance"


class CannotReach(CommandError):
    text = b"IOERR error or timeout connecting to the client"


class TargetError(CommandError):
    text = b"ERR Target instance replied with error: %b"


class KeysChanged(CommandError):
    """Of ours: in Redis nobody else is served while keys are on their way."""

    text = (
        b"ERR Keys were changed after they had been sent to the target instance, and stay here:"
        b" MIGRATE them again with REPLACE"
    )


class PrimaryDown(CommandError):
    text = b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."


class NoPrimaryLink(CommandError):
    text = b"NOMASTERLINK Can't SYNC while not connected with my master"


class FailingOver(CommandError):
    text = b"NOMASTERLINK Can't SYNC while failing over"


class InstanceChanged(CommandError):
    text = (
        b"UNBLOCKED force unblock from blocking operation, instance state changed"
        b" (master -> replica?)"
    )


class NotOnReplica(CommandError):
    text = (
        b"ERR %b cannot be used with replica instances. Please also note that since Redis 4.0 if a"
        b" replica is configured to be writable (which is not the default) writes to replicas are"
        b" just local and are not propagated."
    )


class BadReplicaOption(CommandError):
    text = b"ERR Unrecognized REPLCONF option: %b"


class AddressTooLong(CommandError):
    text = b"ERR REPLCONF ip-address provided by replica instance is too long: %d bytes"


class NoFilter(CommandError):
    text = b"ERR Missing rdb-filter-only values"


class BadFilter(CommandError):
    text = b"ERR Unsupported rdb-filter-only option: %b"


class NoShutdown(CommandError):
    text = b"ERR No shutdown in progress."


class Misconfigured(CommandError):
    """Writes are refused, since they could not be made durable."""

    text = b"MISCONF %b"


class CannotRewrite(CommandError):
    text = (
        b"ERR Can't execute an AOF background rewriting."
        b" Please check the server logs for more information."
    )


class RewriteInProgress(CommandError):
    text = b"ERR Background append only file rewriting already in progress"


class SaveInProgress(CommandError):
    text = b"ERR Background save already in progress"


class RewriteBeforeSave(CommandError):
    text = (
        b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE"
        b" in order to schedule a BGSAVE whenever possible."
    )


class CannotSave(CommandError):
    text = b"ERR Errors trying to SHUTDOWN. Check logs."


class NoSamples(CommandError):
    text = b"ERR No samples available for event '%b'"


class UnknownCategory(CommandError):
    text = b"ERR Unknown category '%b'"


class InvalidCommand(CommandError):
    text = b"ERR Invalid command specified"


class NoKeyArguments(CommandError):
    text = b"ERR The command has no key arguments"


class WrongNumber(CommandError):
    text = b"ERR Invalid number of arguments specified for command"


class BadArguments(CommandError):
    text = b"ERR Invalid arguments specified for command"


# DEBUG


class UnknownSubcommandOrArity(CommandError):
    text = b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."


class BadDebugThreshold(CommandError):
    text = b"ERR argument must be a memory value bigger than 1 and smaller than 4gb"


class BadDebugType(CommandError):
    text = (
        b"ERR Wrong protocol type name. Please use one of the following: string|integer|double|"
        b"bignum|null|array|set|map|attrib|push|verbatim|true|false"
    )


class NotAllowedInResp2(CommandError):
    text = b"ERR RESP2 is not supported by this command"


class NoSuchDatabase(CommandError):
    text = b"ERR Out of range database"


class NotAListpack(CommandError):
    text = b"ERR Not a listpack encoded object."


class NotATable(CommandError):
    text = b"ERR The value stored at the specified key is not represented using an hash table"


class NoPersistence(CommandError):
    text = b"ERR nothing is kept on disk that could be loaded"


class BadReloadOption(CommandError):
    text = b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."


class LogReloadFailed(CommandError):
    text = b"ERR Error trying to load the AOF files, check server logs"


class ReloadFailed(CommandError):
    text = b"ERR Error trying to load the RDB dump, check server logs."


# Snapshots


class StillLoading(CommandError):
    text = b"LOADING Redis is loading the dataset in memory"


class SaveFailed(CommandError):
    text = b"ERR"


class BusyKey(CommandError):
    text = b"BUSYKEY Target key name already exists."


class DamagedPayload(CommandError):
    text = b"ERR DUMP payload version or checksum are wrong"


class BadPayload(CommandError):
    text = b"ERR Bad data format"


class BadTimeToLive(CommandError):
    text = b"ERR Invalid TTL value, must be >= 0"


class BadIdleTime(CommandError):
    text = b"ERR Invalid IDLETIME value, must be >= 0"


class BadFrequency(CommandError):
    text = b"ERR Invalid FREQ value, must be >= 0 and <= 255"


# SLOWLOG, COMMAND, LATENCY, ACL


class BadFlushMode(CommandError):
    text = b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option"


class BadSlowlogCount(CommandError):
    text = b"ERR count should be greater than or equal to -1"


# Transactions


class NestedMulti(CommandError):
    text = b"ERR MULTI calls can not be nested"


class ExecWithoutMulti(CommandError):
    text = b"ERR EXEC without MULTI"


class DiscardWithoutMulti(CommandError):
    text = b"ERR DISCARD without MULTI"


class WatchInMulti(CommandError):
    text = b"ERR WATCH inside MULTI is not allowed"


class ExecAborted(CommandError):
    text = b"EXECABORT Transaction discarded because of previous errors."


class ExecAbortedBy(CommandError):
    """With the text of the error that kept EXEC from running."""

    text = b"EXECABORT Transaction discarded because of: %b"


class NotAllowedInMulti(CommandError):
    text = b"ERR Command not allowed inside a transaction"


# Blocking


class Unblocked(CommandError):
    text = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"


class ShuttingDown(CommandError):
    text = b"UNBLOCKED the server is shutting down"


# The backing store


class BackingDown(CommandError):
    """With the name of the mapping."""

    text = b"BACKINGDOWN the row of mapping '%b' cannot be loaded: %b"


class Misfit(CommandError):
    """With the name of the mapping, and what is wrong."""

    text = b"MISFIT the value does not fit mapping '%b': %b"


class MappedElsewhere(CommandError):
    text = b"ERR keys that are mapped to rows cannot come from another database"


class BackingLag(CommandError):
    text = b"BACKINGLAG the backing store is too far behind: writes to its keys are refused"


class NotStored(CommandError):
    text = (
        b"NOTSTORED the backing store does not have this write yet: it stays, and follows when"
        b" that is possible"
    )


class NotABackend(CommandError):
    text = b"ERR there is no backing store that is written to"


class NotPublished(CommandError):
    text = b"ERR the changefeed is not published: see the directive changefeed"


class RowsStay(CommandError):
    """With the name of the command."""

    text = b"ERR %b would drop keys whose rows are written: delete keys, or rows in the database"
