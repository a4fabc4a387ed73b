"""A primary, two replicas and three real Sentinels that watch over them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.network import Network, Proxy
from tests.support.replication import SETTINGS, ask, info
from tests.support.servers import OURS, Process, redis_server
from tests.support.waiting import eventually

NAME = "cache"
LONG = 90.0
"""Seconds that a failover, or the return of an old primary, may take on a loaded machine."""


def redis_sentinel() -> str | None:
    """The real redis-sentinel, wherever set-up put it."""
    beside_python = Path(sys.executable).parent / "redis-sentinel"
    return str(beside_python) if beside_python.exists() else shutil.which("redis-sentinel")


def configuration(primary: int, down_ms: int) -> str:
    """A sentinel.conf for a primary at a port of this machine."""
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"sentinel monitor {NAME} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {NAME} {down_ms}",
            f"sentinel failover-timeout {NAME} 10000",
            f"sentinel parallel-syncs {NAME} 1",
            "",
        ]
    )


class Sentinel(Process):
    """A redis-sentinel with a configuration file of its own."""

    def __init__(self, text: str, folder: Path) -> None:
        self.text = text
        command = redis_sentinel()
        assert command is not None, "redis-sentinel is not installed"
        super().__init__((command,), (), folder)

    def _start(self, command: Sequence[str], _: Sequence[str]) -> subprocess.Popen[bytes]:
        file = self.folder / "sentinel.conf"
        file.write_text(f"port {self.port}\ndir {self.folder}\n{self.text}")
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                [*command, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def state(self) -> dict[str, str]:
        """What it knows of the primary."""
        return _fields(ask(self, "SENTINEL", "MASTER", NAME))

    def replicas(self) -> list[dict[str, str]]:
        """What it knows of the replicas."""
        return [_fields(each) for each in ask(self, "SENTINEL", "REPLICAS", NAME)]


def _fields(reply: Any) -> dict[str, str]:
    words = [word.decode() for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


class Node:
    """A server with its configuration file, which Sentinel has it rewrite, and its address."""

    def __init__(self, kind: str, settings: Iterable[str], folder: Path) -> None:
        real = redis_server()
        assert kind == "ours" or real is not None, "redis-server is not installed"
        self.command: tuple[str, ...] = OURS if kind == "ours" or real is None else (real,)
        self.folder = folder
        folder.mkdir(parents=True)
        self.file = folder / "redis.conf"
        words = [*SETTINGS, *settings]
        pairs = zip(words[::2], words[1::2], strict=True)
        self.file.write_text("".join(f"{name[2:]} {value}\n" for name, value in pairs))
        self.logs: list[str] = []
        self.server = Process(self.command, (str(self.file),), folder)
        self.port = self.server.port
        self.way: Proxy | None = None

    @property
    def address(self) -> int:
        """The port at which others reach it."""
        return self.port if self.way is None else self.way.port

    def behind(self, way: Proxy) -> None:
        """Have others reach it this way from now on."""
        self.way = way
        for name, value in (("ip", "127.0.0.1"), ("port", way.port)):
            ask(self.server, "CONFIG", "SET", f"replica-announce-{name}", value)
        ask(self.server, "CONFIG", "REWRITE")

    def follow(self, primary: Node) -> None:
        ask(self.server, "REPLICAOF", "127.0.0.1", primary.address)
        ask(self.server, "CONFIG", "REWRITE")

    def kill(self) -> None:
        self.logs.append(self.server.log())
        self.server.kill()

    def restart(self) -> None:
        """Start it again with the file that it has."""
        port = ("--port", str(self.port))
        self.server = Process(self.command, (str(self.file), *port), self.folder)

    def pause(self) -> None:
        os.kill(self.server.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.server.pid, signal.SIGCONT)

    def follows(self, primary: Node) -> bool:
        """Whether it is a replica of that one, and up to date enough to be read."""
        try:
            its = info(self.server)
        except OSError as error:
            raise AssertionError("Sentinel closes connections when it changes a role") from error
        assert its["role"] == "slave", "it is a primary"
        assert its["master_port"] == str(primary.address), "it follows another"
        assert its["master_link_status"] == "up", "the link is down"
        return True


class Group:
    """Three servers, of which the first is the primary, and three Sentinels."""

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[str] = ("ours", "ours", "ours"),
        *settings: str,
        proxied: bool = False,
        preferred: int | None = None,
        durable: int = 1,
        down_ms: int = 1000,
    ) -> None:
        self.durable = durable
        """How many replicas must have what clients that wait for them have written."""
        self.network = Network()
        self.nodes: list[Node] = []
        self.sentinels: list[Sentinel] = []
        self.promoted: list[Node] = []
        """One after the other, as far as somebody waited for it."""
        try:
            for number, kind in enumerate(kinds):
                self.nodes.append(Node(kind, settings, folder / f"node-{number}"))
                if proxied:
                    self.nodes[-1].behind(self.network.proxy(self.nodes[-1].port))
            self.primary = self.nodes[0]
            for node in self.replicas:
                node.follow(self.primary)
            eventually(lambda: all(n.follows(self.primary) for n in self.replicas), timeout=LONG)
            for number, node in enumerate(self.nodes[1:], 1):
                # A better priority would not do: whom it has not heard of lately it passes over.
                if preferred not in (None, number):
                    ask(node.server, "CONFIG", "SET", "replica-priority", 0)
            text = configuration(self.primary.address, down_ms)
            self.sentinels += [Sentinel(text, folder / f"sentinel-{n}") for n in range(3)]
            eventually(self.is_complete, timeout=LONG)
        except BaseException:
            self.stop()
            raise

    @property
    def replicas(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.primary]

    def is_complete(self) -> bool:
        """Whether all Sentinels see all servers and each other, and nothing wrong with them."""
        for sentinel in self.sentinels:
            state, replicas = sentinel.state(), sentinel.replicas()
            assert state["flags"] == "master", state
            assert state["num-other-sentinels"] == "2", state
            assert {int(it["port"]) for it in replicas} == {n.address for n in self.replicas}
            assert {it["flags"] for it in replicas} == {"slave"}, replicas
        return True

    def named(self) -> Node:
        """The primary that all Sentinels name, also to clients that ask for the state of all.

        The Sentinel that leads a failover goes on naming the old one to these until it has
        reconfigured the replicas; an old one that starts again earlier gets their writes.
        """
        ports = {sentinel.state()["port"] for sentinel in self.sentinels}
        assert len(ports) == 1, ports
        return next(node for node in self.nodes if str(node.address) in ports)

    def wait_promoted(self) -> Node:
        """Until all Sentinels name another primary; it is ours from then on."""
        before = self.primary

        def another() -> Node:
            node = self.named()
            assert node is not before
            return node

        self.primary = eventually(another, timeout=LONG)
        self.promoted.append(self.primary)
        return self.primary

    def wait_settled(self) -> None:
        """Until all others follow the primary, and Sentinels know of it.

        On a machine that is too busy they may have chosen another one meanwhile.
        """

        def settled() -> bool:
            self.primary = self.named()
            return all(node.follows(self.primary) for node in self.replicas) and self.is_complete()

        eventually(settled, timeout=LONG, interval=0.05)

    def dismiss_sentinels(self) -> None:
        """Let nobody watch any more."""
        for sentinel in self.sentinels:
            sentinel.kill()

    def logs(self) -> str:
        """What ours have logged, those that are gone included."""
        ours = [node for node in self.nodes if node.command == OURS]
        return "\n".join(log for node in ours for log in (*node.logs, node.server.log()))

    def stop(self) -> None:
        self.dismiss_sentinels()
        for node in self.nodes:
            node.server.kill()
        self.network.close()


__all__ = ["LONG", "NAME", "Group", "Node", "Sentinel", "configuration", "redis_sentinel"]
