"""Replication over a network that cuts, loses and doubles bytes: equal digests at equal offsets.

Those who look are tested too, with replication that is deliberately broken.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from distcache_replication.handshake import Resync
from distcache_replication.primary import Replica
from distcache_replication.segment import command_end
from distcache_server import link, serve
from distcache_server.client import Client
from distcache_server.daemon import Server
from distcache_server.digest import of_databases
from distcache_server.replicas import Replicas
from distcache_server.reply import Wire as Reply
from distcache_server.waits import Waits
from redis.asyncio import Redis

from tests.support.proxy import Proxy, proxy
from tests.support.replication import SETTINGS, agree, follow, info, wait_linked
from tests.support.servers import OURS, Process
from tests.support.waiting import eventually
from tests.torture.machine import Machine, missing

pytestmark = pytest.mark.ours("the failures are put into the process")

PATIENCE_S = 30.0
Check = Callable[["Pair"], Awaitable[None]]


@dataclass
class Pair:
    """A primary, a replica that follows it, and the network between them."""

    one: Server
    other: Server
    between: Proxy
    client: Redis
    count: int = 0

    async def write(self) -> None:
        """Some writes, whose effects tell how often and in which order they are applied."""
        self.count += 1
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.incr("counter")
            pipe.rpush("list", self.count)
            pipe.ltrim("list", -20, -1)
            pipe.execute_command("SELECT", self.count % 2)
            pipe.execute_command("MULTI")
            pipe.decr("a")
            pipe.incr("b")
            pipe.append("text", "x" * (self.count % 5))
            pipe.execute_command("EXEC")
            await pipe.execute()

    @property
    def is_linked(self) -> bool:
        it = self.other.replication.link
        return it is not None and it.is_up

    @property
    def differs(self) -> str:
        """What is not equal; nothing where both are at the same offset with the same keys."""
        ends = [server.persistence.log.end for server in (self.one, self.other)]
        digests = [of_databases(server.engine.databases) for server in (self.one, self.other)]
        return "" if ends[0] == ends[1] and digests[0] == digests[1] else f"{ends} {digests}"

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def agree(self) -> None:
        """Both come to hold the same."""
        try:
            await self.until(lambda: self.is_linked and not self.differs)
        except TimeoutError:
            raise AssertionError(self.differs or "not linked") from None


@asynccontextmanager
async def pair(**settings: Any) -> AsyncIterator[Pair]:
    given: dict[str, Any] = {
        "repl_diskless_sync_delay": 0,
        "repl_ping_replica_period": 3600,
        "save": '""',
    }
    async with (
        serve(**given, **settings) as one,
        proxy(one.port) as between,
        serve(**given, replicaof=f"127.0.0.1 {between.port}", **settings) as other,
        Redis(port=one.port, single_connection_client=True) as client,
    ):
        it = Pair(one, other, between, client)
        await it.write()
        await it.agree()
        yield it


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica comes again at once."""
    monkeypatch.setattr(link, "RETRY_S", 0.0)


async def test_a_link_that_held_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as it:
        kept = it.other.replication.link
        assert kept is not None
        # It would be an hour, if this one had not been up for longer.
        monkeypatch.setattr(link, "RETRY_S", 3600.0)
        kept._up_s -= 3600
        assert await it.client.execute_command("CLIENT", "KILL", "TYPE", "replica") == 1
        await it.until(lambda: it.one.replication.replicas.partial == 1)
        await it.agree()
        assert (await it.client.info("stats"))["sync_partial_ok"] == 1


@pytest.mark.parametrize(("owner", "name"), [(link.Link, "_connect"), (Replica, "follow")])
async def test_a_bug_does_not_end_replication(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """It is told, and the replica comes again."""
    async with pair() as it:
        well = getattr(owner, name)

        async def fails(*_: object) -> None:
            monkeypatch.setattr(owner, name, well)
            raise RuntimeError("it fails")

        monkeypatch.setattr(owner, name, fails)
        assert await it.client.execute_command("CLIENT", "KILL", "TYPE", "replica") == 1
        await it.until(lambda: getattr(owner, name) is well)
        await it.write()
        await it.agree()
        counters = [server.engine.counters.unexpected_errors for server in (it.one, it.other)]
        assert sum(counters) == 1


async def cuts_of_the_log(it: Pair) -> None:
    """The link is cut after each byte of some writes."""
    before = it.one.persistence.log.end
    await it.write()
    size = it.one.persistence.log.end - before
    for place in range(size + 1):
        it.between.cut_after = place
        await it.write()
        await it.until(lambda: not it.between.is_due or not it.differs)
        it.between.cut_after = None
        await it.agree()


async def cuts_of_the_handshake(it: Pair) -> None:
    for place in range(0, 90, 2):
        it.between.cut_after = 0
        await it.write()
        await it.until(lambda: not it.between.is_due)
        it.between.cut_after = place
        await it.agree()
        it.between.cut_after = None


async def bytes_that_get_lost(it: Pair) -> None:
    for place in range(150):
        it.between.lose = place
        await it.write()
        await it.write()
        await it.until(lambda: not it.between.is_due)
        # What is missing at the end shows when more comes.
        await it.write()
        await it.agree()


async def bytes_that_come_twice(it: Pair) -> None:
    for place in range(150):
        before = it.one.persistence.log.end
        it.between.open.clear()
        await it.write()
        await it.write()
        sent = it.one.persistence.log.slice(before)
        if not fits_by_chance(sent[: place + 1] + sent[place:], place):
            it.between.double = place
        it.between.open.set()
        await it.until(lambda: not it.between.is_due)
        await it.write()
        await it.agree()


def fits_by_chance(data: bytes, place: int) -> bool:
    """Whether another length leads to a line end all the same: nobody can see that."""
    start = data.rfind(b"$", 0, place)
    number, end, _ = data[start + 1 :].partition(b"\r\n")
    if start < 0 or not end or not number.isdigit() or place > start + len(number):
        return False
    after = start + 1 + len(number) + 2 + int(number)
    return data[after : after + 2] == b"\r\n"


@pytest.mark.parametrize(
    "check",
    [cuts_of_the_log, cuts_of_the_handshake, bytes_that_get_lost, bytes_that_come_twice],
)
async def test_a_bad_network(check: Check) -> None:
    async with pair() as it:
        await check(it)
        assert it.one.replication.replicas.full == 1
        assert it.one.replication.replicas.partial >= 20


async def cuts_of_a_full_sync(it: Pair) -> None:
    """Readers see the old keys until there are all of the new ones."""
    for number in range(200):
        await it.client.set(f"key:{number}", number)
    await it.agree()
    it.other.replication.promote()
    async with Redis(port=it.other.port) as client:
        await client.flushall()
        await client.set("mine", 1)
    before = of_databases(it.other.engine.databases)
    for part in range(12):
        it.between.cut_after = 100 + part * 200
        it.other.replication.follow("127.0.0.1", it.between.port)
        await it.until(lambda: not it.between.is_due)
        assert of_databases(it.other.engine.databases) == before, part
        it.other.replication.promote()
    it.other.replication.follow("127.0.0.1", it.between.port)
    await it.agree()


@pytest.mark.parametrize("diskless", ["yes", "no"])
async def test_a_full_sync_that_is_cut(diskless: str) -> None:
    async with pair(repl_diskless_sync=diskless, rdbcompression="no") as it:
        await cuts_of_a_full_sync(it)


async def acknowledgements(it: Pair) -> None:
    """WAIT counts a replica that has applied a write, and none that was only sent it."""
    it.between.open.clear()
    await it.client.set("key", 1)
    assert await it.client.wait(1, 100) == 0
    it.between.open.set()
    await it.agree()
    await it.client.set("key", 2)
    assert await it.client.wait(1, 30_000) == 1


async def test_acknowledgements() -> None:
    async with pair() as it:
        await acknowledgements(it)


# Those who look


def drops_a_command_after_reconnecting(patch: pytest.MonkeyPatch) -> None:
    ask = Replicas.ask

    def asked(self: Replicas, client: Client, history: str, offset: int | None) -> Reply:
        answer = ask(self, client, history, offset)
        if offset is not None and (it := self.clients.get(client)) is not None and it.offset:
            it.offset += command_end(self.log.slice(it.offset), 0) or 0
        return answer

    patch.setattr(Replicas, "ask", asked)


def sends_a_command_twice_after_reconnecting(patch: pytest.MonkeyPatch) -> None:
    ask = Replicas.ask

    def asked(self: Replicas, client: Client, history: str, offset: int | None) -> Reply:
        answer = ask(self, client, history, offset)
        if offset is not None and (it := self.clients.get(client)) is not None and it.offset:
            data, at, last = self.log.slice(self.log.start), 0, 0
            while at < it.offset - self.log.start:
                last, at = at, command_end(data, at) or len(data)
            it.offset = self.log.start + last
        return answer

    patch.setattr(Replicas, "ask", asked)


def goes_on_without_a_byte(patch: pytest.MonkeyPatch) -> None:
    """What cannot be read is passed over."""
    drop = link.Session.drop

    def dropped(self: link.Session, reason: str | None) -> None:
        if reason is None or not reason.startswith("the log cannot be read"):
            drop(self, reason)

    patch.setattr(link.Session, "drop", dropped)


def loads_into_the_live_keys(patch: pytest.MonkeyPatch) -> None:
    answered = link.Session._answered

    def answer(self: link.Session, resync: Resync) -> None:
        answered(self, resync)
        if resync.full:
            self._fresh = self.engine.databases

    patch.setattr(link.Session, "_answered", answer)
    patch.setattr(link.Session, "_discard", lambda _: None)


def counts_what_was_sent(patch: pytest.MonkeyPatch) -> None:
    having = Waits.having

    def all_have_it(self: Waits, offset: int) -> int:
        for it in self.replicas.clients.values():
            it.acknowledged = it.offset
        return having(self, offset)

    patch.setattr(Waits, "having", all_have_it)


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (drops_a_command_after_reconnecting, cuts_of_the_log),
        (sends_a_command_twice_after_reconnecting, cuts_of_the_log),
        (goes_on_without_a_byte, bytes_that_get_lost),
        (loads_into_the_live_keys, cuts_of_a_full_sync),
        (counts_what_was_sent, acknowledgements),
    ],
)
async def test_who_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch], None],
    check: Check,
) -> None:
    async with pair(rdbcompression="no") as it:
        breaks(monkeypatch)
        monkeypatch.setattr("tests.blackbox.test_replication_faults.PATIENCE_S", 2.0)
        with pytest.raises((AssertionError, TimeoutError)):
            await check(it)


# A primary that comes back with less than its replica has


@pytest.mark.parametrize("well", [True, False], ids=["ours", "broken"])
def test_a_primary_that_lost_its_end(tmp_path: Path, well: bool) -> None:
    if reason := missing():
        pytest.skip(f"no power can be cut: {reason}")
    here = Path(__file__).parents[1] / "torture" / "broken.py"
    command = OURS if well else (OURS[0], str(here), "keeps-its-history")
    with Machine(tmp_path) as machine:
        data = machine.mount / "data"
        data.mkdir()
        machine.settle()
        arguments = (
            "--dir",
            str(data),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            *SETTINGS,
        )
        one = Process(command, arguments, tmp_path / "one")
        other = Process(OURS, SETTINGS, tmp_path / "other")
        again = one
        try:
            with one.client() as client:
                client.set("key", "value")
                follow(other, one)
                client.config_set("appendfsync", "no")
                client.set("lost", "value")
                assert client.wait(1, 10_000) == 1
            # It comes again when the primary's log is longer than its own.
            other.process.send_signal(signal.SIGSTOP)
            machine.cut("drop")
            one.kill()
            machine.turn_on()
            again = Process(command, (*arguments, "--port", str(one.port)), tmp_path / "again")
            with again.client() as client:
                assert client.get("lost") is None
                for number in range(100):
                    client.set(f"other:{number}", number)
            other.process.send_signal(signal.SIGCONT)
            if well:
                wait_linked(other)
                assert agree(again, other)
                assert info(again, "stats")["sync_full"] == "1"
            else:
                eventually(lambda: info(again, "stats")["sync_partial_ok"] != "0")
                with again.client() as client, other.client() as replica:
                    assert client.get("lost") != replica.get("lost")
        finally:
            for process in (one, again, other):
                process.kill()
