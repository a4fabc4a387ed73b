"""Telling systemd how far we are."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from distcache_server.systemd import notify_systemd, supervise


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = tmp_path / "notify"
        listener.bind(str(path))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listener


def test_a_state_arrives(listener: socket.socket) -> None:
    assert notify_systemd("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_a_socket_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"distcache-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify_systemd("STOPPING=1")
        assert listener.recv(100) == b"STOPPING=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert not notify_systemd("READY=1")


@pytest.mark.parametrize("mode", ["systemd", "auto"])
def test_supervised(listener: socket.socket, mode: str) -> None:
    assert supervise(mode)
    assert listener.recv(100) == b"STATUS=Loading"
    assert notify_systemd("READY=1")


@pytest.mark.parametrize("mode", ["no", "upstart"])
def test_nobody_asked_for_supervision(listener: socket.socket, mode: str) -> None:
    assert not supervise(mode)
    assert not notify_systemd("READY=1")


def test_supervision_without_systemd(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not supervise("auto")
    assert not caplog.records
    assert not supervise("systemd")
    assert "NOTIFY_SOCKET not found" in caplog.text
