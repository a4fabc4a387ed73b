"""Three real Sentinels fail a primary over while clients write: what is lost, what must not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distcache_server.config import Config

from tests.support import Process, eventually
from tests.support.failover import Load, Outcome, Verdict, Write, judge, straight
from tests.support.network import Dropping, Hasty, Network, Proxy
from tests.support.replication import SETTINGS, ask, follow
from tests.support.scenarios import run
from tests.support.sentinels import redis_sentinel
from tests.support.servers import OURS, redis_server

pytestmark = [
    pytest.mark.ours("it is about ours and real ones together"),
    pytest.mark.timeout(300),
]

needs_sentinel = pytest.mark.skipif(redis_sentinel() is None, reason="redis-sentinel is missing")

Record = Callable[[str, object], None]


def show(record_property: Record, name: str, verdicts: dict[str, Verdict]) -> None:
    """Have the figures printed; they are not asserted, since they depend on the machine."""
    for who, it in verdicts.items():
        figures = f"{it.acknowledged} acknowledged, {len(it.lost)} lost, gap {it.gap_s:.1f} s"
        record_property("summary", f"failover, {name}, {who}: {figures}")


@needs_sentinel
@pytest.mark.parametrize(
    "name", ["kill -9", "pause", "partition", "manual", "planned", "kill while syncing"]
)
def test_failover(name: str, tmp_path: Path, record_property: Record) -> None:
    # Another may be promoted by hand while the one that has the write follows on: all must have it.
    durable = 2 if name == "manual" else 1
    verdicts = run(name, tmp_path / "group", durable=durable)
    show(record_property, name, verdicts)
    for who, verdict in verdicts.items():
        assert not verdict.wrong(), (who, verdict.wrong()[:5])
        if "wait" in who or name == "planned":
            assert not verdict.lost, (who, verdict.lost[:5])
        if "near" not in who:
            assert verdict.acknowledged


@needs_sentinel
@pytest.mark.skipif(redis_server() is None, reason="redis-server is not installed")
def test_redis_takes_over(tmp_path: Path, record_property: Record) -> None:
    """A Redis is promoted in the place of ours, which comes back as its replica."""
    verdicts = run("kill -9", tmp_path / "group", ("ours", "real", "ours"), preferred=1)
    show(record_property, "kill -9, to Redis", verdicts)
    for who, verdict in verdicts.items():
        assert not verdict.wrong(), (who, verdict.wrong()[:5])
    assert not verdicts["wait"].lost


@needs_sentinel
@pytest.mark.skipif(
    "synchronous-replicas" not in Config.directives, reason="there is no synchronous-replicas"
)
def test_synchronous_replicas(tmp_path: Path, record_property: Record) -> None:
    """Nothing that was acknowledged is lost, whether clients WAIT or not."""
    verdicts = run("partition", tmp_path / "group", ("ours",) * 3, "--synchronous-replicas", "1")
    show(record_property, "partition, synchronous-replicas 1", verdicts)
    for who, verdict in verdicts.items():
        assert not verdict.wrong(), (who, verdict.wrong()[:5])
        assert not verdict.lost, (who, verdict.lost[:5])


# The checker


def writes(outcomes: str, connections: str = "") -> list[Write]:
    """A history: o is acknowledged, f refused, u not answered; and over which connection."""
    outcome = {"o": Outcome.ok, "f": Outcome.failed, "u": Outcome.unknown}
    return [
        Write(f"k{at}", outcome[letter], int(connection), 1, float(at))
        for at, (letter, connection) in enumerate(
            zip(outcomes, connections or "0" * len(outcomes), strict=True)
        )
    ]


@pytest.mark.parametrize(
    ("outcomes", "connections", "there", "lost", "holes", "resurrected"),
    [
        ("oooo", "", "0123", 0, 0, 0),
        ("oooo", "", "01", 2, 0, 0),
        ("oooo", "", "013", 1, 1, 0),
        ("oooo", "0011", "023", 1, 0, 0),
        ("ouuo", "", "03", 0, 0, 0),
        ("ouuo", "", "0123", 0, 0, 0),
        ("offo", "", "03", 0, 0, 0),
        ("offo", "", "023", 0, 0, 1),
        ("oouo", "", "023", 1, 1, 0),
    ],
)
def test_what_the_checker_says(
    outcomes: str, connections: str, there: str, lost: int, holes: int, resurrected: int
) -> None:
    verdict = judge(writes(outcomes, connections), {f"k{number}" for number in there}.__contains__)
    assert verdict.acknowledged == outcomes.count("o")
    found = len(verdict.lost), len(verdict.holes), len(verdict.resurrected)
    assert found == (lost, holes, resurrected)


def test_the_gap_that_the_checker_finds() -> None:
    assert judge(writes("oouuuo"), lambda _: True).gap_s == 4.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """A primary and its replica."""
    primary, replica = (Process(OURS, SETTINGS, tmp_path / name) for name in ("one", "other"))
    follow(replica, primary)
    yield primary, replica
    for process in (primary, replica):
        process.kill()


@pytest.mark.parametrize(("kind", "caught"), [(Proxy, False), (Dropping, True), (Hasty, True)])
def test_the_checker_catches_a_primary_that_lies(
    pair: tuple[Process, Process], kind: type[Proxy], caught: bool
) -> None:
    """Even with WAIT: these acknowledge what they have not written."""
    primary, replica = pair
    network, load = Network(), Load()
    try:
        way = network.proxy(primary.port, kind)
        load.start("plain", straight(way.port))
        load.start("wait", straight(way.port), 1)
        load.wait(100)
        primary.kill()
        eventually(lambda: all(it.writes[-1].outcome is not Outcome.ok for it in load.writers))
        load.stop()
        ask(replica, "REPLICAOF", "NO", "ONE")
        verdicts = load.check(replica)
        assert bool(verdicts["wait"].lost) is caught
        assert bool(verdicts["wait"].wrong() or verdicts["plain"].wrong()) is caught
    finally:
        load.stop()
        network.close()
