"""Clients that write until their server dies, and the check of what it knows afterwards."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.support.resp import encode
from tests.support.servers import Server
from tests.support.wire import Wire


@dataclass
class Record:
    """What one client sent, and of how much of it it was told that it is done."""

    name: str
    sent: int = 0
    acknowledged: int = 0

    def key(self, number: int) -> str:
        return f"{self.name}:{number}"


@dataclass
class Verdict:
    """What is wrong with a recovered state; nothing, if all is empty."""

    lost: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.phantoms or self.torn)


def write(server: Server, record: Record, pipeline: int, go_on: threading.Event) -> None:
    """Write until the connection breaks: a key each, a counter, and a transfer in a transaction."""
    try:
        with Wire(server.address, 20) as wire:
            while go_on.is_set():
                numbers = range(record.sent, record.sent + pipeline)
                record.sent += pipeline
                wire.send(b"".join(transaction(record, number) for number in numbers))
                for _ in numbers:
                    replies = [wire.reply() for _ in range(6)]
                    if not isinstance(replies[-1], list):
                        return
                    record.acknowledged += 1
    except (OSError, AssertionError):
        return


def transaction(record: Record, number: int) -> bytes:
    """What a client sends for one write."""
    return b"".join(
        [
            encode("MULTI"),
            encode("SET", record.key(number), str(number)),
            encode("INCR", f"{record.name}:count"),
            encode("DECR", "bank:a"),
            encode("INCR", "bank:b"),
            encode("EXEC"),
        ]
    )


def check(server: Server, records: list[Record]) -> Verdict:
    """Compare what a server has with what its clients were told."""
    verdict = Verdict()
    with server.client(decode_responses=True) as client:
        moved = 0
        for record in records:
            numbers = range(record.sent + 50)
            values = client.mget([record.key(n) for n in numbers])
            there = {n for n, value in zip(numbers, values, strict=True) if value is not None}
            verdict.lost += [record.key(n) for n in range(record.acknowledged) if n not in there]
            verdict.phantoms += [record.key(n) for n in there if n >= record.sent]
            if int(client.get(f"{record.name}:count") or 0) != len(there):
                verdict.torn.append(record.name)
            moved += len(there)
        bank = [int(client.get(key) or 0) for key in ("bank:a", "bank:b")]
        if bank != [-moved, moved]:
            verdict.torn.append(f"bank {bank}, {moved} moved")
    return verdict


class Load:
    """Several clients at once."""

    def __init__(self, server: Server, clients: int = 3, pipeline: int = 4) -> None:
        self.records = [Record(f"c{number}") for number in range(clients)]
        self._go_on = threading.Event()
        self._go_on.set()
        self._threads = [
            threading.Thread(target=write, args=(server, record, pipeline + number, self._go_on))
            for number, record in enumerate(self.records)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def acknowledged(self) -> int:
        return sum(record.acknowledged for record in self.records)

    def wait(self) -> None:
        """Until all clients have lost their connections."""
        for thread in self._threads:
            thread.join(30)

    def stop(self) -> None:
        self._go_on.clear()
        self.wait()


__all__ = ["Load", "Record", "Verdict", "check"]
