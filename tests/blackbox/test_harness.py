"""The harness itself: what every other black-box test takes for granted."""

import pytest
import redis

from tests.support import Error, Process, Server, StartServer, Wire, eventually
from tests.support.network import Hasty, Network


def test_a_client_under_both_protocols(client: redis.Redis, protocol: int) -> None:
    assert client.set("key", "value") is True
    assert client.get("key") == b"value"
    assert client.client_info()["resp"] == str(protocol)


def test_every_test_finds_an_empty_server_with_default_settings(wire: Wire) -> None:
    assert wire.call("DBSIZE") == 0
    assert wire.call("CONFIG", "GET", "hash-max-listpack-entries")[1] in (b"128", b"512")
    assert wire.call("SET", "key", "value") == b"OK"
    assert wire.call("CONFIG", "SET", "hash-max-listpack-entries", "7") == b"OK"


test_and_again = test_every_test_finds_an_empty_server_with_default_settings


def test_a_wire_sees_bytes(wire: Wire) -> None:
    wire.send(b"PING\r\n")
    wire.expect(b"+PONG\r\n")
    assert isinstance(wire.call("NOSUCH"), Error)
    wire.command("QUIT")
    wire.expect_closed(b"+OK\r\n")


def test_a_server_with_settings_of_its_own(start_server: StartServer) -> None:
    server = start_server("--maxmemory", "10mb")
    with server.wire() as wire:
        assert wire.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"10485760"]
    assert server.stop() == 0
    assert "Ready to accept connections" in server.log()


def test_the_reference_is_a_real_redis(reference: Process) -> None:
    assert reference.version() >= (6, 0)
    assert reference.client().dbsize() == 0


@pytest.mark.since("7.2")
def test_a_capability_of_a_later_version(server: Server) -> None:
    with server.wire() as wire:
        assert wire.call("CLIENT", "NO-TOUCH", "ON") == b"OK"


def test_eventually_returns_what_came_true() -> None:
    answers = iter([0, 0, 7])
    assert eventually(lambda: next(answers)) == 7
    with pytest.raises(AssertionError, match="still 0"):
        eventually(lambda: 0, timeout=0)


def test_a_hasty_network_writes_nothing_once_it_is_closed() -> None:
    """What it would begin then would never run."""
    network = Network()
    hasty = network.proxy(1, Hasty)
    assert isinstance(hasty, Hasty)
    network.close()
    hasty._write(b"PING\r\n")
    assert not hasty._tasks
