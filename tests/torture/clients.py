"""Clients that write until their server dies, and the check of what it holds then.

A client sends units, numbered from zero: one command, or a transaction.  Its keys are its own, and
what they hold is a function of how many units were done, so a recovered state is compared with the
state after each number of units: it must be one of them, between what was acknowledged and what was
sent.  So a unit that is lost, done twice, in part, in another order or database, or without its
deadline is found, whichever it is.  A unit that was answered with an error must not have been done.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.support.resp import Error, encode
from tests.support.servers import Server
from tests.support.waiting import eventually
from tests.support.wire import Wire

Words: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = object

BASE_MS = 4_102_444_800_000
"""Deadlines count from here, the year 2100."""
KEPT = 50
"""Entries that lists are cut to."""
BLOCK = 16
"""So many units in a row are plain SETs, which the server takes as a run."""
DATABASES = 2
ATTEMPTS = 5_000
"""Times of acknowledgements that are remembered."""


@dataclass
class State:
    """What the keys of a client hold."""

    values: dict[str, Value] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    """What it has moved between the accounts that clients share."""

    def copy(self) -> State:
        values = {
            key: value.copy() if isinstance(value, dict | list) else value
            for key, value in self.values.items()
        }
        return State(values, dict(self.deadlines), self.moved)


def is_plain(number: int) -> bool:
    """Whether the unit is one SET among others."""
    return number // BLOCK % 4 == 3


def unit(name: str, number: int) -> list[Words]:
    """The commands of a unit; several of them stand in a transaction."""
    if is_plain(number):
        return [("SET", f"{name}:run{number % BLOCK}", number)]
    push: Words = ("RPUSH", f"{name}:log", number)
    match number % 8:
        case 0:
            return [push, ("LTRIM", f"{name}:log", -KEPT, -1), ("INCR", f"{name}:count")]
        case 1:
            return [push, ("DECRBY", "bank:a", number % 7), ("INCRBY", "bank:b", number % 7)]
        case 2:
            return [push, ("HSET", f"{name}:hash", f"f{number % 20}", number)]
        case 3:
            return [push, ("ZADD", f"{name}:zset", number, f"m{number % 20}")]
        case 4:
            key = f"{name}:until{number % 11}"
            return [push, ("SET", key, number, "PXAT", BASE_MS + number)]
        case 5:
            return [push, ("SET", f"{name}:short{number % 5}", number, "PX", 1)]
        case 6:
            return [push, ("SADD", f"{name}:set", number), ("SREM", f"{name}:set", number - 40)]
    return [push]


def step(state: State, name: str, number: int) -> None:
    """What doing a unit makes of the state."""
    values = state.values
    if is_plain(number):
        values[f"{name}:run{number % BLOCK}"] = str(number)
        return
    log = values.setdefault(f"{name}:log", [])
    assert isinstance(log, list)
    log.append(str(number))
    match number % 8:
        case 0:
            del log[:-KEPT]
            values[f"{name}:count"] = str(int(str(values.get(f"{name}:count", 0))) + 1)
        case 1:
            state.moved += number % 7
        case 2:
            fields = values.setdefault(f"{name}:hash", {})
            assert isinstance(fields, dict)
            fields[f"f{number % 20}"] = str(number)
        case 3:
            scores = values.setdefault(f"{name}:zset", {})
            assert isinstance(scores, dict)
            scores[f"m{number % 20}"] = str(number)
        case 4:
            key = f"{name}:until{number % 11}"
            values[key], state.deadlines[key] = str(number), BASE_MS + number
        case 6:
            members = values.setdefault(f"{name}:set", {})
            assert isinstance(members, dict)
            members[str(number)] = ""
            members.pop(str(number - 40), None)


def wire_bytes(name: str, number: int) -> tuple[bytes, int]:
    """A unit as it is sent, and how many replies it has."""
    commands = [encode(*words) for words in unit(name, number)]
    if len(commands) == 1:
        return commands[0], 1
    return b"".join([encode("MULTI"), *commands, encode("EXEC")]), len(commands) + 2


@dataclass
class Record:
    """What one client sent, and what it was told of it."""

    number: int
    sent: int = 0
    acknowledged: int = 0
    """All units before this one were answered."""
    failed: set[int] = field(default_factory=set)
    """Units that were answered with an error."""
    checked: int = 0
    """``state`` is that after so many units, as it was last found in a server."""
    state: State = field(default_factory=State)
    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=ATTEMPTS))
    """When acknowledgements came: all units before this one."""

    @property
    def name(self) -> str:
        return f"c{self.number}"

    @property
    def database(self) -> int:
        return self.number % DATABASES

    def age_s(self, number: int, now_s: float) -> float:
        """How long ago a unit was acknowledged."""
        return max((now_s - at for before, at in self.times if before > number), default=0.0)


@dataclass
class Verdict:
    """What is wrong with a recovered state; nothing, if it is false."""

    lost: int = 0
    """Units that were acknowledged and are not there."""
    oldest_s: float = 0.0
    """How long before the end the oldest of them was acknowledged."""
    extra: int = 0
    """Units that are there and were not acknowledged, which is no fault."""
    wrong: list[str] = field(default_factory=list)
    """States that no number of units leads to."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.wrong)


class Load:
    """Several clients at once, until they are stopped or lose their connections."""

    def __init__(
        self,
        server: Server,
        records: list[Record] | None = None,
        *,
        clients: int = 4,
        reconnect: bool = False,
    ) -> None:
        self.server = server
        self.records = [Record(number) for number in range(clients)] if records is None else records
        self._reconnect = reconnect
        self._go_on = threading.Event()
        self._go_on.set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write, args=(record, 1 + 7 * number), daemon=True)
            for number, record in enumerate(self.records)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def acknowledged(self) -> int:
        return sum(record.acknowledged for record in self.records)

    @property
    def alive(self) -> bool:
        """Whether a client still writes."""
        return any(thread.is_alive() for thread in self._threads)

    def wait_for(self, more: int) -> bool:
        """Until so many units more are acknowledged; False where the server is gone before."""
        end = self.acknowledged + more
        eventually(lambda: self.acknowledged >= end or not self.alive, 60, 0.001)
        return self.alive

    def wait(self) -> None:
        """Until all clients have lost their connections."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client still waits for its server"

    def stop(self) -> None:
        self._go_on.clear()
        self.wait()

    def _write(self, record: Record, depth: int) -> None:
        while True:
            try:
                with Wire(self.server.address, 20) as wire:
                    wire.call("SELECT", record.database)
                    while self._go_on.is_set():
                        _write_some(wire, record, depth)
            except (OSError, AssertionError):
                # Nobody knows what became of the units on the way: another client goes on.
                pass
            if not (self._reconnect and self._go_on.is_set()):
                return
            time.sleep(0.01)
            if record.sent > record.acknowledged:
                with self._lock:
                    record = Record(len(self.records))
                    self.records.append(record)


def _write_some(wire: Wire, record: Record, depth: int) -> None:
    """Send units in one piece, and take note of the replies."""
    first = record.sent
    pieces = [wire_bytes(record.name, number) for number in range(first, first + depth)]
    record.sent += depth
    wire.send(b"".join(data for data, _ in pieces))
    for number, (_, replies) in enumerate(pieces, first):
        last = [wire.reply() for _ in range(replies)][-1]
        if isinstance(last, Error):
            record.failed.add(number)
        elif isinstance(last, list):
            assert not any(isinstance(each, Error) for each in last), last
        record.acknowledged = number + 1
        record.times.append((number + 1, time.monotonic()))


def check(
    server: Server,
    records: list[Record],
    floors: list[int] | None = None,
    ended_s: float = 0.0,
) -> Verdict:
    """Compare what a server holds with what its clients were told.

    The records go on from what was found.  ``floors`` are what counts as acknowledged where it is
    less than what was: the log was off meanwhile.
    """
    verdict = Verdict()
    for record in records:
        floor = record.acknowledged
        if floors is not None:
            floor = min(floor, floors[record.number]) if record.number < len(floors) else 0
        found = recovered(server, record)
        count, state = _match(record, found, floor)
        if state is None:
            verdict.wrong.append(_difference(record, found, floor))
            continue
        if count < floor:
            done = set(range(count, floor)) - record.failed
            verdict.lost += len(done)
            if done:
                verdict.oldest_s = max(verdict.oldest_s, record.age_s(min(done), ended_s))
        verdict.extra += max(count - floor, 0)
        record.checked, record.state = count, state
    if not verdict.wrong:
        _check_bank(server, records, verdict)
    for record in records:
        record.sent = record.acknowledged = record.checked
        record.failed = {number for number in record.failed if number < record.checked}
        record.times.clear()
    return verdict


def _match(record: Record, found: State, floor: int) -> tuple[int, State | None]:
    """After how many units the state is this one; the largest number, as failed ones leave none."""
    state = record.state.copy()
    best: tuple[int, State | None] = 0, None
    for count in range(record.checked, record.sent + 1):
        same = state.values == found.values and state.deadlines == found.deadlines
        if same and (best[1] is None or count <= record.acknowledged):
            best = count, state.copy()
        if count not in record.failed:
            step(state, record.name, count)
    return best


def _difference(record: Record, found: State, floor: int) -> str:
    """What is not as after ``floor`` units."""
    state = record.state.copy()
    for number in range(record.checked, floor):
        if number not in record.failed:
            step(state, record.name, number)
    keys = sorted(
        key
        for key in state.values.keys() | found.values.keys()
        if state.values.get(key) != found.values.get(key)
        or state.deadlines.get(key) != found.deadlines.get(key)
    )
    shown = [
        f"{key}: {str(found.values.get(key))[-60:]} {found.deadlines.get(key, '')}"
        f" in place of {str(state.values.get(key))[-60:]} {state.deadlines.get(key, '')}"
        for key in keys[:3]
    ]
    return f"{record.name} after {floor} of {record.sent} units: {len(keys)} keys; {shown}"


def recovered(server: Server, record: Record) -> State:
    """What the keys of a client hold in a server."""
    name = record.name
    with server.client(db=record.database, decode_responses=True) as client:
        # Those with a short deadline are gone by now, or will be in a moment.
        with suppress(AssertionError):
            short = [f"{name}:short{number}" for number in range(5)]
            eventually(lambda: not client.exists(*short), 1)
        state = State()
        keys = sorted(client.scan_iter(f"{name}:*", count=1000))
        for key in keys:
            match key.partition(":")[2]:
                case "log":
                    state.values[key] = client.lrange(key, 0, -1)
                case "hash":
                    state.values[key] = client.hgetall(key)
                case "zset":
                    pairs = client.zrange(key, 0, -1, withscores=True)
                    state.values[key] = {member: str(int(score)) for member, score in pairs}
                case "set":
                    state.values[key] = dict.fromkeys(client.smembers(key), "")
                case _:
                    state.values[key] = client.get(key)
            if (deadline := client.pexpiretime(key)) >= 0:
                state.deadlines[key] = deadline
    return state


def _check_bank(server: Server, records: list[Record], verdict: Verdict) -> None:
    """No transfer between the accounts was done in part."""
    for database in range(DATABASES):
        moved = sum(record.state.moved for record in records if record.database == database)
        with server.client(db=database) as client:
            bank = [int(value or 0) for value in client.mget("bank:a", "bank:b")]
        if bank != [-moved, moved]:
            verdict.wrong.append(f"bank {bank} in database {database}, {moved} moved")


__all__ = ["Load", "Record", "State", "Verdict", "check", "recovered"]
