"""``distcache-changefeed``: what it does while the server is not ready."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence

import hiredis
import pytest
from distcache_server.changefeed import following

EVENT = json.dumps({"id": "9-1", "op": "set"}).encode()
ENTRY = b"*1\r\n*2\r\n$20\r\ndistcache:changefeed\r\n*1\r\n*2\r\n$3\r\n9-1\r\n*4\r\n" + b"".join(
    b"$%d\r\n%b\r\n" % (len(it), it) for it in (b"op", b"set", b"event", EVENT)
)
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"


class Fake:
    """A server that has its answers ready, and remembers what it was asked."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.asked: list[list[bytes]] = []
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            connection, _ = self._listener.accept()
            reader = hiredis.Reader()
            with connection:
                while self._answers and (data := connection.recv(1 << 16)):
                    reader.feed(data)
                    while (words := reader.gets()) is not False:
                        self.asked.append(words)
                        connection.sendall(self._answers.pop(0))

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_S", 0)


def facts(loading: int, offset: int) -> bytes:
    text = b"loading:%d\r\nchangefeed_offset:%d\r\n" % (loading, offset)
    return b"$%d\r\n%b\r\n" % (len(text), text)


def follow(answers: Sequence[bytes], *options: str) -> tuple[int, list[list[bytes]]]:
    fake = Fake(answers)
    try:
        arguments = ("--port", str(fake.port), "--count", "1", "--json", *options)
        return following.main(arguments), fake.asked
    finally:
        fake.close()


def test_it_goes_on_when_the_server_has_loaded_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    status, asked = follow([LOADING, LOADING, ENTRY], "--from", "5-1")
    assert status == 0
    assert [words[-1] for words in asked] == [b"5-1"] * 3
    assert json.loads(capsys.readouterr().out)["id"] == "9-1"


def test_from_now_on_is_from_when_the_keys_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, asked = follow([facts(1, 0), facts(0, 7), ENTRY])
    assert status == 0
    assert asked[-1][-1] == b"7-0"
    assert json.loads(capsys.readouterr().out)["id"] == "9-1"


def test_other_errors_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = follow([b"-NOPERM no\r\n"], "--from", "0")
    assert status == following.EXIT_FAILED
    assert "NOPERM" in capsys.readouterr().err
