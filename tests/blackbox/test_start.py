"""How the daemon starts and ends: exit status, background, pid file, systemd."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import Server, StartServer, eventually
from tests.support.servers import OURS, free_port

pytestmark = pytest.mark.ours("it starts our daemon")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*OURS, *arguments], capture_output=True, text=True, timeout=60)


def test_a_bad_configuration() -> None:
    finished = run("--port", "0", "--nosuch", "1")
    assert finished.returncode == 1
    assert "*** FATAL CONFIG FILE ERROR" in finished.stderr
    assert "Bad directive or wrong number of arguments" in finished.stderr


def test_a_test_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("maxmemory 10mb\n")
    assert run(str(file), "--test-config").returncode == 0
    file.write_text("maxmemory ten\n")
    assert run(str(file), "--test-config").returncode == 1


def test_nowhere_to_listen(tmp_path: Path) -> None:
    finished = run("--port", "0", "--dir", str(tmp_path))
    assert finished.returncode == 1
    assert "Configured to not listen anywhere, exiting." in finished.stdout


@pytest.mark.parametrize("files", [10, 20])
def test_too_few_open_files(files: int, tmp_path: Path) -> None:
    words = [*OURS, "--port", str(free_port()), "--dir", str(tmp_path)]
    finished = subprocess.run(
        ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 1
    assert f"(ulimit -n) is {files}: raise it to 10032" in finished.stdout
    assert finished.stderr == ""


def test_fewer_clients_than_asked_for(tmp_path: Path) -> None:
    port = free_port()
    words = [*OURS, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    limited = ["sh", "-c", 'ulimit -n 100 && exec "$@"', "sh", *words]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        log = ""
        for line in process.stdout:
            log += line
            if "Ready to accept connections" in line:
                with Server("127.0.0.1", port).wire() as wire:
                    assert wire.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"68"]
                process.send_signal(signal.SIGTERM)
    assert log.count("maxclients reduced: the limit of open files (ulimit -n) is too low") == 1
    assert "maxclients=68 needed=10032" in log


def test_into_the_background_and_out_of_it(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "x.conf").write_text(
        f"daemonize yes\ndir {tmp_path}\nlogfile log\npidfile pid\nbind 127.0.0.1\nport {port}\n"
    )
    pid_file = tmp_path / "pid"
    finished = run(str(tmp_path / "x.conf"))
    assert finished.returncode == 0
    assert finished.stdout == finished.stderr == ""
    eventually(lambda: "Ready to accept connections" in (tmp_path / "log").read_text())
    process = int(pid_file.read_text())
    try:
        with Server("127.0.0.1", port).wire() as wire:
            assert wire.call("SET", "key", "value") == b"OK"
    finally:
        os.kill(process, signal.SIGTERM)
    eventually(lambda: not pid_file.exists())
    assert "bye bye" in (tmp_path / "log").read_text()


def test_a_terminal_that_closes(start_server: StartServer) -> None:
    server = start_server()
    with server.wire() as wire:
        assert wire.call("SET", "key", "value") == b"OK"
        server.process.send_signal(signal.SIGHUP)
        assert wire.call("GET", "key") == b"value"
    assert server.stop() == 0


def test_systemd_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_server: StartServer
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        # Whoever is supervised stays in the foreground.
        server = start_server("--supervised", "auto", "--daemonize", "yes")
        assert listener.recv(100) == b"STATUS=Loading"
        assert listener.recv(100) == b"READY=1"
        assert server.stop() == 0
        assert listener.recv(100) == b"STOPPING=1"


def test_a_signal_before_anything_is_loaded(tmp_path: Path) -> None:
    snapshot = tmp_path / "dump.rdb"
    snapshot.write_bytes(b"whatever was there")
    (tmp_path / "map.toml").write_text('[users]\nkey = "user:{id}"\n')
    with socket.create_server(("127.0.0.1", 0)) as store:
        address = f"postgresql://127.0.0.1:{store.getsockname()[1]}/shop"
        words = ["--port", str(free_port()), "--dir", str(tmp_path), "--save", "3600 1"]
        words += ["--backing-store", address, "--backing-map", "map.toml"]
        words += ["--backing-timeout", "20000"]
        with subprocess.Popen([*OURS, *words], stdout=subprocess.PIPE, text=True) as process:
            store.settimeout(20)
            with store.accept()[0]:  # it waits for the store, and will load after that
                process.send_signal(signal.SIGTERM)
                assert process.stdout is not None
                assert any("Received a signal" in line for line in process.stdout)
            store.close()
            process.stdout.read()
    assert snapshot.read_bytes() == b"whatever was there"
