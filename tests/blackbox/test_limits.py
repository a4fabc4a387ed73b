"""Bad input and greedy clients: refused in Redis's words, while other clients are served."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Error, Server, StartServer, Wire, encode, eventually

BIG = 1 << 20


def answers(server: Server) -> bool:
    """Somebody else is served."""
    with server.wire() as wire:
        return bool(wire.call("PING") == b"PONG")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"*2147483648\r\n", b"invalid multibulk length"),
        (b"*1_0\r\n", b"invalid multibulk length"),
        (b"*01\r\n", b"invalid multibulk length"),
        (b"*1\r\n$1_0\r\n", b"invalid bulk length"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$600000000\r\n", b"invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:5\r\n", b"expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n*1\r\n", b"expected '$', got '*'"),
        (b"*1\r\n" + b"$" + b"1" * 70_000, b"too big bulk count string"),
        (b"*" + b"1" * 70_000, b"too big mbulk count string"),
        (b"*\0" + b"x" * 70_000, b"too big mbulk count string"),
        (b"x" * 70_000, b"too big inline request"),
        (b"SET a 'b\r\n", b"unbalanced quotes in request"),
        (b'SET a "b"c\r\n', b"unbalanced quotes in request"),
    ],
)
def test_what_is_no_command_ends_the_connection(server: Server, sent: bytes, text: bytes) -> None:
    with server.wire() as wire:
        wire.send(sent)
        wire.expect(b"-ERR Protocol error: " + text + b"\r\n")
        wire.expect_closed()
    assert answers(server)


def test_commands_before_the_error_are_answered(server: Server) -> None:
    with server.wire() as wire:
        wire.send(b"PING\r\n" + encode("PING") + b"*2\r\n$4\r\nECHO\r\n:5\r\n")
        wire.expect(b"+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n")
        wire.expect_closed()


@pytest.mark.parametrize("nothing", [b"*0\r\n", b"*-10\r\n", b"\r\n", b"\n", b"   \r\n"])
def test_an_empty_command_is_passed_over(wire: Wire, nothing: bytes) -> None:
    wire.send(nothing + encode("PING"))
    wire.expect(b"+PONG\r\n")
    wire.send(nothing * 100 + b"PING\r\n")
    wire.expect(b"+PONG\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"*2000000000\r\n$3\r\nSET\r\n",
        pytest.param(b"*2\r\n$500000000\r\n", marks=pytest.mark.ours("Redis makes room")),
    ],
)
def test_a_header_allocates_nothing(start_server: StartServer, sent: bytes) -> None:
    """Two thousand million arguments are announced by many clients; memory does not move."""
    server = start_server()
    assert answers(server)
    before = peak_address_space(server.pid)
    wires = [server.wire() for _ in range(20)]
    for wire in wires:
        wire.send(sent)
    assert answers(server)
    for wire in wires:
        assert not wire.is_closed()
        wire.close()
    assert answers(server)
    # Also where nothing was ever touched: hiredis would reserve 15 GB for the first of them.
    assert peak_address_space(server.pid) < before + 64 * BIG


def peak_address_space(pid: int) -> int:
    """The most bytes that a process has ever reserved."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    found = re.search(r"VmPeak:\s+(\d+) kB", status.read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize(
    "hello",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_browsers_are_cut_off_without_a_word(server: Server, hello: bytes) -> None:
    with server.wire() as wire:
        wire.send(hello)
        eventually(wire.is_closed)
    assert answers(server)


@pytest.mark.parametrize(
    "hello",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\x00\x00\x00\x1c\x00\x12\x00\x04\x00\x00\x00\x01\x00\x09client-id\x00",
    ],
)
def test_other_protocols_disturb_nobody(server: Server, hello: bytes) -> None:
    with server.wire() as wire:
        wire.send(hello)
        wire.shut_writing()
        assert answers(server)


@pytest.mark.ours("Redis does not limit its log")
def test_abuse_is_logged_once_a_minute(start_server: StartServer) -> None:
    server = start_server()
    for _ in range(20):
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\n\r\n")
            wire.expect_closed()
    assert server.log().count("SECURITY ATTACK") == 1


def test_errors_that_echo_input_are_one_line(wire: Wire) -> None:
    reply = wire.call(b"no\r\nsuch", b"a\r\n+OK")
    assert isinstance(reply, Error)
    assert reply.startswith(b"ERR unknown command 'no  such'")
    assert wire.call("PING") == b"PONG"


class TestBeforeAuthentication:
    @pytest.fixture
    def locked(self, start_server: StartServer) -> Server:
        return start_server("--requirepass", "secret")

    def test_little_is_accepted(self, locked: Server) -> None:
        for sent, text in (
            (b"*11\r\n", b"unauthenticated multibulk length"),
            (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"unauthenticated bulk length"),
        ):
            with locked.wire() as wire:
                wire.send(sent)
                wire.expect(b"-ERR Protocol error: " + text + b"\r\n")
                wire.expect_closed()
        with locked.wire() as wire:
            assert wire.call("GET", "a") == b"NOAUTH Authentication required."
            assert wire.call("AUTH", "secret") == b"OK"
            words = ["DEL", *(f"key:{n}" for n in range(20)), "x" * 20_000]
            assert wire.call(*words) == 0

    def test_authentication_and_large_commands_in_one_write(self, locked: Server) -> None:
        with locked.wire() as wire:
            wire.send(encode("AUTH", "secret") + encode("DEL", *"abcdefghijklmnop"))
            assert wire.reply() == b"OK"
            assert wire.reply() == 0

    @pytest.mark.ours("Redis 7.0 has no such limit")
    def test_replies_that_are_not_read(self, locked: Server) -> None:
        wire = locked.wire()
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def send_without_end() -> None:
            for _ in range(100_000):
                wire.send(encode("GET", "a") * 100)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_without_end()
        assert answers_with(locked, "secret")


def answers_with(server: Server, password: str) -> bool:
    with server.wire() as wire:
        wire.call("AUTH", password)
        return bool(wire.call("PING") == b"PONG")


class TestProtectedMode:
    """With no password, only this machine is served."""

    def peers(self) -> str | None:
        """An address of this machine that is not loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing
            except OSError:
                return None
            host: str = probe.getsockname()[0]
            return None if host.startswith("127.") else host

    def test_others_are_denied(self, start_server: StartServer) -> None:
        host = self.peers()
        if host is None:
            pytest.skip("this machine has no address but loopback")
        server = start_server("--bind", "127.0.0.1", host)
        with Wire((host, server.port)) as wire:
            assert b"protected mode" in wire.read_until(b"\r\n")
            wire.expect_closed()
        assert answers(server)
        with server.wire() as wire:
            assert wire.call("CONFIG", "SET", "protected-mode", "no") == b"OK"
        with Wire((host, server.port)) as wire:
            assert wire.call("PING") == b"PONG"


def test_maxclients(start_server: StartServer) -> None:
    server = start_server("--maxclients", "3")
    wires = [server.wire() for _ in range(3)]
    for wire in wires:
        assert wire.call("PING") == b"PONG"
    with server.wire() as refused:
        refused.expect(b"-ERR max number of clients reached\r\n")
        refused.expect_closed()
    wires.pop().close()
    eventually(lambda: answers(server))


def test_idle_clients_are_closed(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as idle, server.wire() as listening:
        listening.call("SUBSCRIBE", "news")
        assert idle.call("CONFIG", "SET", "timeout", "1") == b"OK"
        idle.expect_closed()
        assert not listening.is_closed()


def test_a_reader_that_is_too_slow_for_its_channel(start_server: StartServer) -> None:
    server = start_server("--client-output-buffer-limit", "pubsub 4mb 0 0")
    slow, quick = server.wire(), server.wire()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.call("SUBSCRIBE", "news")
    receivers = [quick.call("PUBLISH", "news", b"x" * BIG) for _ in range(40)]
    assert receivers[0] == 1
    assert receivers[-1] == 0


def test_a_reader_that_stays_slow_for_too_long(start_server: StartServer) -> None:
    """Over the soft limit for a second: closed, though nothing more is sent to it."""
    server = start_server("--client-output-buffer-limit", "pubsub 0 4mb 1")
    slow, quick = server.wire(), server.wire()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.call("SUBSCRIBE", "news")
    # On a busy machine the second may be over before all are sent.
    receivers = [quick.call("PUBLISH", "news", b"x" * BIG) for _ in range(16)]
    assert receivers[0] == 1
    eventually(lambda: quick.call("PUBSUB", "NUMSUB", "news") == [b"news", 0])
    if server.version() >= (7, 2):
        assert b"client_output_buffer_limit_disconnections:1\r" in quick.call("INFO", "stats")


@pytest.mark.parametrize("limit", ["normal 4mb 0 0", "normal 0 4mb 1"])
def test_a_reply_that_is_too_long_for_its_reader(start_server: StartServer, limit: str) -> None:
    server = start_server("--client-output-buffer-limit", limit)
    slow, quick = server.wire(), server.wire()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    quick.call("SET", "big", b"x" * (64 * BIG))
    slow.command("GET", "big")
    eventually(lambda: quick.call("CLIENT", "LIST").count(b"\n") == 1)
    assert quick.call("STRLEN", "big") == 64 * BIG


def test_a_command_that_is_longer_than_the_query_buffer_may_be(start_server: StartServer) -> None:
    server = start_server("--client-query-buffer-limit", "1mb")
    with server.wire() as wire:
        wire.send(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2000000\r\n" + b"x" * 1_500_000)
        wire.expect_closed()
    with server.wire() as wire:
        if server.version() >= (7, 2):
            assert b"client_query_buffer_limit_disconnections:1\r" in wire.call("INFO", "stats")
        assert wire.call("ECHO", b"x" * 500_000) == b"x" * 500_000


@pytest.mark.ours("Redis keeps all the replies in memory")
@pytest.mark.parametrize("key", ["big", "100%"])
def test_replies_wait_for_their_reader(start_server: StartServer, key: str) -> None:
    """A client that reads nothing holds up itself: its commands wait, and so does memory.

    Commands with marks of RESP3 in them are read in another way.
    """
    server = start_server()
    with server.wire() as wire:
        wire.call("SET", key, b"x" * BIG)
    greedy = server.wire()
    greedy.send(encode("GET", key) * 200)
    assert answers(server)
    with server.wire() as wire:
        for line in str(wire.call("CLIENT", "LIST"), "ascii").splitlines():
            fields = dict(field.partition("=")[::2] for field in line.split(" "))
            assert int(fields["omem"]) < 16 * BIG
    for _ in range(200):
        assert len(greedy.read(BIG + 12)) == BIG + 12


def test_a_pipeline_larger_than_all_buffers(server: Server) -> None:
    """A client may write everything before it reads anything."""
    with server.wire() as wire:
        wire.send(encode("ECHO", b"x" * 1000) * 20_000)
        for _ in range(200):
            wire.read(100 * 1009)
        assert wire.call("PING") == b"PONG"


def test_a_value_in_many_small_pieces(server: Server) -> None:
    with server.wire() as wire:
        data = encode("SET", "key", b"y" * 300_000)
        for start in range(0, len(data), 1000):
            wire.send(data[start : start + 1000])
        assert wire.reply() == b"OK"
        assert wire.call("STRLEN", "key") == 300_000


def test_slow_and_broken_connections_hold_up_nobody(server: Server) -> None:
    wires = [server.wire() for _ in range(200)]
    for number, wire in enumerate(wires):
        wire.send(encode("SET", "key", "value")[: number % 30 + 1])
    assert answers(server)
    for number, wire in enumerate(wires):
        if number % 2:
            wire.reset()
        else:
            wire.close()
    assert answers(server)


@pytest.mark.ours("started with a limit on open files")
def test_out_of_file_descriptors(tmp_path: Path) -> None:
    """At the limit, those who are connected are served; afterwards all are."""
    from tests.support import free_port

    port = free_port()
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96));"
        "from distcache_server.__main__ import main; sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, "--port", str(port), "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            server = Server("127.0.0.1", port)

            def up() -> bool:
                try:
                    return answers(server)
                except OSError:
                    return False

            eventually(up)
            first = server.wire()
            wires = [server.wire() for _ in range(150)]
            assert first.call("PING") == b"PONG"
            for wire in wires:
                wire.close()
            eventually(up)
        finally:
            process.kill()


def test_unix_socket_permissions(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start_server("--unixsocket", str(path), "--unixsocketperm", "700")
    assert path.stat().st_mode & 0o777 == 0o700
    with Wire(str(path)) as wire:
        assert wire.call("PING") == b"PONG"
        assert b"%b:0 " % bytes(path) in wire.call("CLIENT", "LIST")
    assert answers(server)
    server.stop()
    assert not path.exists()


def test_many_idle_connections(start_server: StartServer) -> None:
    """A thousand here; benchmarks/latency.py has ten thousand, and slow readers."""
    server = start_server()
    wires = [server.wire() for _ in range(1000)]
    assert answers(server)
    for wire in wires:
        wire.close()


def test_a_transaction_of_a_million_commands_has_a_limit(start_server: StartServer) -> None:
    server = start_server("--maxmemory-clients", "20mb")
    with server.wire() as wire:
        wire.call("MULTI")

        def queue_without_end() -> None:
            for _ in range(10_000):
                wire.send(encode("SET", "key", b"x" * 1000) * 100)
                wire.read(len(b"+QUEUED\r\n") * 100)

        with pytest.raises((ConnectionResetError, BrokenPipeError, AssertionError)):
            queue_without_end()
    assert answers(server)
