"""What can happen to a primary that Sentinels watch over, each as a function of the group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.failover import Load, Verdict, straight, through_sentinels
from tests.support.replication import agree, ask, info
from tests.support.sentinels import LONG, NAME, Group
from tests.support.servers import OURS
from tests.support.waiting import eventually

SOME = 30
"""Writes of each client between two steps."""

Scenario = Callable[[Group, Load], None]


def killed(group: Group, load: Load) -> None:
    """The primary is killed, and started again when another has taken its place."""
    old = group.primary
    old.kill()
    new = group.wait_promoted()
    load.wait(SOME)
    # Sentinels have the replica write down whom it follows now.
    other = next(node for node in group.nodes if node not in (old, new))
    eventually(lambda: f"replicaof 127.0.0.1 {new.address}" in other.file.read_text(), timeout=LONG)
    other.kill()
    other.restart()
    eventually(lambda: other.follows(new), timeout=LONG)
    old.restart()
    group.wait_settled()
    load.wait(SOME)


def paused(group: Group, load: Load) -> None:
    """The primary stands still, and goes on when another has taken its place."""
    old = group.primary
    old.pause()
    group.wait_promoted()
    load.wait(SOME)
    old.go_on()
    group.wait_settled()
    load.wait(SOME)


def cut_off(group: Group, load: Load) -> None:
    """The primary and some clients are cut off from everybody else for a while."""
    old = group.primary
    port = old.port
    load.start("near", straight(port), clients=2)
    load.start("near-wait", straight(port), group.durable, clients=2)
    load.wait(SOME)
    assert old.way is not None
    old.way.cut()
    group.wait_promoted()
    # Those with the old primary cannot know, and go on where it lets them.
    load.wait(SOME, "plain")
    load.wait(SOME, "wait")
    old.way.heal()
    group.wait_settled()
    load.wait(SOME, "plain")
    load.wait(SOME, "wait")


def tell_to_fail_over(group: Group) -> None:
    """Until it does: on a busy machine it may just have lost sight of the replicas."""
    eventually(lambda: ask(group.sentinels[0], "SENTINEL", "FAILOVER", NAME) == b"OK", timeout=LONG)


def by_hand(group: Group, load: Load) -> None:
    """An operator tells a Sentinel to make another the primary."""
    tell_to_fail_over(group)
    group.wait_promoted()
    group.wait_settled()
    load.wait(SOME)


def planned(group: Group, load: Load) -> None:
    """The same, with what docs/failover.md does to lose nothing."""
    old = group.primary
    ask(old.server, "CLIENT", "PAUSE", 600_000, "WRITE")
    tell_to_fail_over(group)
    new = group.wait_promoted()
    ask(old.server, "REPLICAOF", "127.0.0.1", new.address)
    ask(old.server, "CLIENT", "UNPAUSE")
    load.wait(SOME)
    group.wait_settled()
    load.wait(SOME)


def syncing(group: Group, load: Load) -> None:
    """A replica is killed while it takes a snapshot; then the primary is, before it is back."""
    replica = group.replicas[0]
    replica.kill()
    ask(group.primary.server, "DEBUG", "POPULATE", 20_000, "large", 4096)
    if group.primary.command != OURS:
        # Else it is done before anybody has looked.
        ask(group.primary.server, "CONFIG", "SET", "rdb-key-save-delay", 100)

    def is_syncing() -> bool:
        its = info(replica.server)
        return int(its.get("master_sync_read_bytes", 0)) > 0 or its["master_link_status"] == "up"

    def interrupted() -> bool:
        replica.restart()
        eventually(is_syncing, timeout=LONG, interval=0.001)
        replica.kill()
        return "inished" not in replica.logs[-1]

    eventually(interrupted, timeout=LONG)
    old = group.primary
    replica.restart()
    eventually(is_syncing, timeout=LONG, interval=0.001)
    old.kill()
    new = group.wait_promoted()
    load.wait(SOME)
    eventually(lambda: replica is new or replica.follows(new), timeout=LONG)


SCENARIOS: dict[str, Scenario] = {
    "kill -9": killed,
    "pause": paused,
    "partition": cut_off,
    "manual": by_hand,
    "planned": planned,
    "kill while syncing": syncing,
}


def run(
    name: str,
    folder: Path,
    kinds: Sequence[str] = ("ours", "ours", "ours"),
    *settings: str,
    preferred: int | None = None,
    down_ms: int = 1000,
    durable: int = 1,
) -> dict[str, Verdict]:
    """Let it happen while clients write, and say what became of their writes.

    Clients of the name "wait" wait for as many replicas as `durable` says.  Where there is one
    `preferred`, by its number, Sentinels promote no other.  Afterwards all that run must have the
    same keys.
    """
    if name == "kill while syncing":
        settings = (*settings, "--rdbcompression", "no")
    group = Group(
        folder,
        kinds,
        *settings,
        proxied=name == "partition",
        preferred=preferred,
        durable=durable,
        down_ms=down_ms,
    )
    load = Load()
    try:
        connect = through_sentinels(sentinel.port for sentinel in group.sentinels)
        load.start("plain", connect, clients=2)
        load.start("wait", connect, durable, clients=2)
        load.wait()
        SCENARIOS[name](group, load)
        load.stop()
        if preferred is not None:
            assert group.promoted[0] is group.nodes[preferred]
        # To compare all keys takes longer than a Sentinel waits for an answer.
        group.dismiss_sentinels()
        agree(*(node.server for node in group.nodes if node.server.is_running()))
        return load.check(group.primary.server)
    finally:
        load.stop()
        group.stop()
        assert "Traceback" not in group.logs(), group.logs()[-4000:]


__all__ = ["SCENARIOS", "Scenario", "run"]
