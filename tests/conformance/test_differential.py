"""The same random commands to distcache and to a real Redis: every reply must be the same.

Three clients of each server send what drawing.py makes, pipelined, under RESP2 and RESP3, inside
MULTI and outside, with and without deadlines; some of them block until another one serves them.
What may differ is listed here: what Redis itself leaves open (the order of sets and hashes, random
members, cursors), the time that passes between two calls, and what newer versions than the
reference say otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

import pytest
from distcache_server.registry import BLOCKING, COMMANDS
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.conformance.drawing import ANY_KEY, CHOSEN, POOLS, SETTINGS, drawn
from tests.support import Error, Map, Process, Server, Wire
from tests.support.fuzzing import fuzz_commands
from tests.support.resp import encode

UNORDERED = {b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS", b"SPOP"}
RANDOM = {b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"}
SCANS = {b"SSCAN", b"HSCAN", b"ZSCAN"}
CLOCKS = {b"TTL": 30, b"PTTL": 30_000, b"EXPIRETIME": 30, b"PEXPIRETIME": 30_000}
"""What may pass between the two calls, in the command's unit; what is drawn differs by more."""
FLOATING = {"sorted-set", "sorted_set", "geo"}
RANK_REFUSED = b"ERR value is out of range, value must between -9223372036854775807"
"""LPOS with a RANK that 7.2 does not take."""
OTHER_TEXTS = (
    b"ERR Unbalanced",
    b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
)
"""Errors that 7.2 gives another text, or another place."""
CLIENTS = 3
MOST_BLOCKED = CLIENTS - 1
FOREVER = b"0"
LOOKED_AFTER = {b"OBJECT", b"EXEC"}
"""Their replies may be compared by what the data are: nothing is sent behind them."""
SEEDS = st.integers(0, 2**32)


def plain(reply: Any) -> str:
    """A form that keeps the types apart and can be sorted."""
    return repr(reply)


def numbers(reply: Any) -> Any:
    """The reply with its numbers as floats: 7.0 prints 17 digits, 7.2 the shortest that do."""
    if isinstance(reply, list):
        return [numbers(each) for each in reply]
    if type(reply) is bytes:
        try:
            return float(reply)
        except ValueError:
            return reply
    return reply


def comparable(command: list[bytes], reply: Any) -> Any:
    """What of a reply has to be the same."""
    name = command[0].upper() if command else b""
    if isinstance(reply, Error) or reply is None or reply == b"QUEUED":
        return plain(reply)
    if name in STREAMS:
        return plain(STREAMS[name](command, reply))
    if name in RANDOM:
        return type(reply).__name__, len(reply) if isinstance(reply, list) else None
    if name in SCANS and isinstance(reply, list):
        # A hash table of Redis answers in parts: then only that it answers counts.
        entries = numbers(reply[1]) if name == b"ZSCAN" else reply[1]
        return sorted(map(plain, entries)) if reply[0] == b"0" else None
    if isinstance(reply, Map):
        return sorted(map(plain, reply))
    if name == b"HGETALL":
        return sorted(zip(map(plain, reply[::2]), map(plain, reply[1::2]), strict=True))
    if name in UNORDERED and isinstance(reply, list | set | frozenset):
        return sorted(map(plain, reply))
    if name.startswith(b"SORT") and isinstance(reply, list):
        words = set(command)
        if (b"ALPHA" in words and b"BY" in words) or any(key.startswith(b"set") for key in words):
            # Equal weights, and sets that are not sorted, may come in any order.
            return len(reply) if b"LIMIT" in words else sorted(map(plain, reply))
    known = COMMANDS.get(name.decode("latin-1").lower())
    if known is not None and known.group in FLOATING:
        return plain(numbers(reply))
    return plain(reply)


def flat(reply: Any) -> Any:
    """A reply with its maps as RESP2 has them."""
    if isinstance(reply, Map):
        return [flat(each) for pair in reply for each in pair]
    return [flat(each) for each in reply] if isinstance(reply, list) else reply


def pending(command: list[bytes], reply: Any) -> Any:
    """XPENDING without the time since the delivery."""
    if len(command) < 6:
        return reply
    return [(number, consumer, count) for number, consumer, _, count in reply]


def info(command: list[bytes], reply: Any) -> Any:
    """XINFO without times; consumers that were never given anything are not there before 7.2."""
    reply = flat(reply)
    what = command[1].upper()
    if what == b"STREAM":
        unlike = {b"radix-tree-nodes"} | ({b"groups"} if len(command) > 3 else set())
        return [pair for pair in zip(reply[::2], reply[1::2], strict=True) if pair[0] not in unlike]
    if what == b"GROUPS":
        return [group[:2] + group[4:] for group in reply]
    if what == b"CONSUMERS":
        return [consumer[:4] for consumer in reply if consumer[3]]
    return type(reply).__name__


def grouped(command: list[bytes], reply: Any) -> Any:
    """XGROUP; whether a consumer was there before depends on the version."""
    quiet = command[1].upper() in (b"CREATECONSUMER", b"HELP")
    return type(reply).__name__ if quiet else reply


STREAMS = {b"XPENDING": pending, b"XINFO": info, b"XGROUP": grouped}
OTHER_ENCODINGS = {
    (b"list", b"listpack", b"quicklist"),  # short lists, since 7.2
    (b"set", b"listpack", b"hashtable"),  # short sets, since 7.2
    (b"string", b"int", b"embstr"),  # integers that INCRBYFLOAT left, since ever
}
"""Types, and what keeps them in ours and in the reference."""


class Session:
    """One client of each server, ours first."""

    def __init__(self, servers: list[Server]) -> None:
        self.wires = [server.wire() for server in servers]
        self.ids = [wire.call("CLIENT", "ID") for wire in self.wires]
        self.queue: list[list[bytes]] | None = None
        self.blocked: list[bytes] | None = None
        """What it waits for."""

    def replies(self) -> list[Any]:
        return [wire.reply() for wire in self.wires]


class Differential(RuleBasedStateMachine):
    """Two servers that are told the same."""

    ours: Server
    theirs: Server
    protocol: int
    """Makes other commands of the same seeds, too."""
    sent: Counter[str]

    @initialize()
    def connect(self) -> None:
        servers = [self.ours, self.theirs]
        self.controls = [server.wire() for server in servers]
        for wire in self.controls:
            wire.call("FLUSHALL")
            wire.call("CONFIG", "SET", "rdb-version", "10")  # an error from Redis
            for name, values in SETTINGS.items():
                wire.call("CONFIG", "SET", name, values[-1])
        self.sessions = [Session(servers) for _ in range(CLIENTS)]
        for session in self.sessions:
            for wire in session.wires:
                wire.call("HELLO", self.protocol)

    @rule(seeds=st.lists(SEEDS, min_size=1, max_size=8))
    def send(self, seeds: list[int]) -> None:
        """One client sends some commands, those that do not block in one piece."""
        randoms = [Random(seed ^ self.protocol) for seed in seeds]
        if randoms[0].random() < 0.1:
            self.unblock(randoms[0])
        session = randoms[0].choice([each for each in self.sessions if each.blocked is None])
        together: list[list[bytes]] = []
        for random in randoms:
            command = drawn(random)
            known = COMMANDS.get(command[0].decode("latin-1").lower())
            if known is not None and known.flags & BLOCKING and known.group != "stream":
                self.send_together(session, together)
                together = []
                self.send_blocking(session, command, random)
                if session.blocked is not None:
                    break
            else:
                together.append(command)
                if command[0].upper() in LOOKED_AFTER:
                    self.send_together(session, together)
                    together = []
        self.send_together(session, together)

    def send_together(self, session: Session, commands: list[list[bytes]]) -> None:
        if not commands:
            return
        for wire in session.wires:
            wire.send(b"".join(encode(*command) for command in commands))
        for command in commands:
            self.sent[command[0].decode("latin-1").lower()] += 1
            self.compare(session, command, *session.replies())
        self.settle()

    def send_blocking(self, session: Session, command: list[bytes], random: Random) -> None:
        name = command[0].decode("latin-1").lower()
        blocks = session.queue is None
        at = 1 if name in ("blmpop", "bzmpop") else len(command) - 1
        waiting = sum(each.blocked is not None for each in self.sessions)
        if blocks and waiting < MOST_BLOCKED and at and random.random() < 0.5:
            command = waiting_for_one(command)
            at = 1 if name in ("blmpop", "bzmpop") else len(command) - 1
        elif blocks and command[at] not in POOLS["timeout"]:
            return
        for wire in session.wires:
            wire.command(*command)
        self.sent[name] += 1
        session.blocked = command
        if not blocks or command[at] != FOREVER:
            self.answer(session)
        # Whom it served is only seen when it has run itself.
        self.settle(session)

    @rule(seed=SEEDS)
    def exchange(self, seed: int) -> None:
        """Each gets a value as the other has dumped it, which should change nothing."""
        key = Random(seed ^ self.protocol).choice(ANY_KEY)
        for wire in self.controls:
            wire.send(encode("DUMP", key) + encode("PEXPIRETIME", key))
        payloads, times_ms = zip(
            *([wire.reply(), wire.reply()] for wire in self.controls), strict=True
        )
        if None in payloads:
            assert payloads == (None, None), key
            return
        for wire, payload in zip(self.controls, reversed(payloads), strict=True):
            wire.command("RESTORE", key, max(times_ms[0], 0), payload, "REPLACE", "ABSTTL")
        for wire in self.controls:
            assert wire.reply() == b"OK", (key, payloads)
        self.sent["restore"] += 1
        self.settle()

    def unblock(self, random: Random) -> None:
        """CLIENT UNBLOCK of any client, in either way."""
        session = random.choice(self.sessions)
        reason = random.choice((b"TIMEOUT", b"ERROR"))
        mine, other = (
            wire.call("CLIENT", "UNBLOCK", number, reason)
            for wire, number in zip(self.controls, session.ids, strict=True)
        )
        assert mine == other, (session.blocked, mine, other)
        self.settle()

    def settle(self, *first: Session) -> None:
        """Compare what those hear who wait no longer."""
        for session in (*first, *self.sessions):
            if session.blocked is None:
                continue
            pairs = zip(session.wires, self.controls, session.ids, strict=True)
            mine, other = (waits(*pair) for pair in pairs)
            assert mine == other, (session.blocked, mine, other)
            if not mine:
                self.answer(session)

    def answer(self, session: Session) -> None:
        command = session.blocked
        assert command is not None
        session.blocked = None
        self.compare(session, command, *session.replies())

    def compare(self, session: Session, command: list[bytes], mine: Any, other: Any) -> None:
        name = command[0].upper()
        if name == b"EXEC" and isinstance(other, list) and session.queue is not None:
            assert isinstance(mine, list), (session.queue, mine, other)
            for queued, one, two in zip(session.queue, mine, other, strict=True):
                self.compare(session, queued, one, two)
        elif name in CLOCKS and isinstance(other, int) and isinstance(mine, int):
            assert abs(mine - other) <= CLOCKS[name], (command, mine, other)
        else:
            one, two = comparable(command, mine), comparable(command, other)
            if isinstance(mine, Error) and mine.startswith((RANK_REFUSED, *OTHER_TEXTS)):
                return
            if one != two and None not in (one, two) and name == b"OBJECT":
                kind = session.wires[1].call("TYPE", command[-1])
                if (kind, mine, other) in OTHER_ENCODINGS:
                    return
            assert one == two or None in (one, two), (command, mine, other)
        if name == b"MULTI" and other == b"OK":
            session.queue = []
        elif (name == b"DISCARD" and other == b"OK") or name == b"EXEC":
            session.queue = None
        elif other == b"QUEUED" and session.queue is not None:
            session.queue.append(command)

    def teardown(self) -> None:
        for session in getattr(self, "sessions", ()):
            for wire in session.wires:
                wire.close()
        for at, wire in enumerate(getattr(self, "controls", ())):
            for session in self.sessions:
                # Who is gone must not be served in the next run.
                while wire.call("CLIENT", "LIST", "ID", session.ids[at]):
                    pass
            for name, values in SETTINGS.items():
                wire.call("CONFIG", "SET", name, values[-1])
            wire.close()


def waiting_for_one(command: list[bytes]) -> list[bytes]:
    """A blocking command that waits for ever, for one key.

    When it is served, the reference looks at one of its keys, and 7.2 at all of them.
    """
    match command[0].upper():
        case b"BLMPOP" | b"BZMPOP":
            keys = [word for word in command[3:] if word in ANY_KEY]
            return [command[0], FOREVER, b"1", *keys[:1], *command[3 + len(keys) :]]
        case b"BLMOVE" | b"BRPOPLPUSH":
            return [*command[:-1], FOREVER]
        case _:
            return [*command[:2], FOREVER]


def waits(wire: Wire, control: Wire, number: int) -> bool:
    """Whether the client is blocked, as opposed to having been answered."""
    while not wire.has_reply():
        line = control.call("CLIENT", "LIST", "ID", number)
        if re.search(rb"flags=\w*b", line):
            return True
    return False


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_every_reply_is_that_of_redis(
    server: Server, reference: Process, protocol: int, record_property: Any
) -> None:
    steps = 40
    sent: Counter[str] = Counter()
    told = {"ours": server, "theirs": reference, "protocol": protocol, "sent": sent}
    run_state_machine_as_test(
        type("Machine", (Differential,), told),
        settings=settings(
            # Half of what is asked for, under each protocol. A run sends some 55 commands.
            max_examples=fuzz_commands(20_000) // 2 // 50 + 1,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )
    total = sum(sent.values())
    missing = {name for name, _, _ in CHOSEN} - set(sent)
    record_property(
        "summary",
        f"differential, RESP{protocol}: {total} commands, {len(sent)} different ones, "
        "none unexplained",
    )
    assert not missing or total < 10_000, f"never sent: {sorted(missing)}"
