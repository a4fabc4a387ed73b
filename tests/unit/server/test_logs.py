"""The log: one line per event, whatever is in it."""

import json
import logging
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from distcache_server import logs

LINE = re.compile(r"(\d+):M (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.*#-]) (.*)")


@pytest.fixture
def log(tmp_path: Path, own_logging: None) -> Path:
    """The process's log goes to this file for the time of a test."""
    path = tmp_path / "log"
    logs.configure("debug", str(path))
    return path


def events(path: Path) -> list[str]:
    return [f"{found[3]} {found[4]}" for found in map(LINE.fullmatch, lines(path)) if found]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_line(log: Path) -> None:
    logs.notice("Client closed", id=12, reason="output buffer limit", name=b"", at="127.0.0.1:6379")
    (line,) = lines(log)
    found = LINE.fullmatch(line)
    assert found
    assert int(found[1]) == os.getpid()
    assert found[4] == (
        'Client closed id=12 reason="output buffer limit" name="" at=127.0.0.1:6379'
    )


def test_marks_of_the_levels(log: Path) -> None:
    logs.debug("a")
    logs.verbose("b")
    logs.notice("c")
    logs.warning("d")
    logging.getLogger("asyncio").error("e")
    assert events(log) == [". a", "- b", "* c", "# d", "# e"]


@pytest.mark.parametrize(
    ("level", "seen"),
    [("debug", "abcd"), ("verbose", "bcd"), ("notice", "cd"), ("warning", "d"), ("nothing", "")],
)
def test_levels(log: Path, level: str, seen: str) -> None:
    logs.set_level(level)
    logs.debug("a")
    logs.verbose("b")
    logs.notice("c")
    logs.warning("d")
    assert "".join(event[-1] for event in events(log)) == seen


@pytest.mark.parametrize(
    "hostile",
    [
        "a\n1:M 01 Jan 2026 00:00:00.000 # forged",
        "\r\x1b[2J",
        'say "hi"',
        "a=b c=d",
        "\u2028",
    ],
    ids=["line", "terminal", "quotes", "fields", "separator"],
)
def test_nothing_forges_a_line_or_a_field(log: Path, hostile: str) -> None:
    logs.warning("Bad request", data=hostile, end="here")
    logging.getLogger("asyncio").warning("Bad request %s", hostile)
    first, second = lines(log)
    assert all(" " <= letter <= "~" for letter in first)
    field = re.search(r'data=("(?:[^"\\]|\\.)*") end=here$', first)
    assert field
    assert json.loads(field[1]) == hostile
    assert second.isprintable()


def test_half_a_character_is_escaped() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "half \ud800", None, None)
    assert logs.one_line(record).isascii()


def test_a_field_without_a_value_is_left_out(log: Path) -> None:
    logs.warning("Cannot write", file=None, error="no space")
    assert log.read_text().endswith('# Cannot write error="no space"\n')


def test_bytes_are_shown_as_text(log: Path) -> None:
    logs.notice("a", key=b"user:1", other=b"\xff")
    assert events(log) == ['* a key=user:1 other="\\\\xff"']


def test_a_bug_is_one_line(log: Path) -> None:
    def inner() -> None:
        raise ValueError("two\nlines")

    def outer() -> None:
        inner()

    try:
        outer()
    except ValueError as error:
        logs.failure("Command failed", error, command="GET")
        logging.getLogger("distcache").exception("the standard library's way")
    first, second = events(log)
    assert first.startswith('# Command failed command=GET error="ValueError: two\\nlines" at="')
    assert re.search(
        r"test_logs.py:\d+ inner < test_logs.py:\d+ outer < test_logs.py:\d+ test_a_bug", first
    )
    assert second.startswith('# the standard library\'s way error="ValueError: two\\nlines" at="')


def test_the_only_error_of_a_group_is_the_one_to_show(log: Path) -> None:
    logs.failure("Task failed", ExceptionGroup("tasks", [ExceptionGroup("more", [OSError("x")])]))
    assert events(log) == ['# Task failed error="OSError: x" at=""']


def test_the_file_may_be_renamed(log: Path) -> None:
    logs.notice("before")
    old = log.rename(log.with_name("log.1"))
    logs.notice("after")
    assert events(old) == ["* before"]
    assert events(log) == ["* after"]


def test_standard_output(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("notice")
    logs.notice("hello")
    assert capsys.readouterr().out.endswith(" * hello\n")


def test_a_closed_pipe_stops_nobody(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1, encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        logs.configure("notice")
        logs.notice("into the void")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_a_warning_a_minute(log: Path) -> None:
    now = 1000.0
    rarely = logs.Rarely(period_s=60, clock=lambda: now)
    for kind in ("http", "http", "tls", "http"):
        rarely.warning(kind, "Possible SECURITY ATTACK detected", kind=kind)
    now += 59.9
    rarely.warning("http", "Possible SECURITY ATTACK detected", kind="http")
    now += 0.1
    rarely.warning("http", "Possible SECURITY ATTACK detected", kind="http")
    now += 60
    rarely.warning("http", "Possible SECURITY ATTACK detected", kind="http")
    assert events(log) == [
        "# Possible SECURITY ATTACK detected kind=http",
        "# Possible SECURITY ATTACK detected kind=tls",
        "# Possible SECURITY ATTACK detected kind=http held_back=3",
        "# Possible SECURITY ATTACK detected kind=http",
    ]


def test_the_first_lines(log: Path) -> None:
    logs.starting("1.2.3", "7.2.4", "/etc/distcache.conf")
    logs.running(6379, "/var/lib/distcache", "/run/distcache.sock")
    logs.ready(["127.0.0.1:6379", "[::1]:6379"], "/run/distcache.sock")
    first, *others = events(log)
    assert first.startswith("* distcache is starting version=1.2.3 redis_version=7.2.4 python=3.")
    assert first.endswith(f" pid={os.getpid()}")
    assert others == [
        "* Configuration loaded file=/etc/distcache.conf",
        f"* Running in standalone mode port=6379 pid={os.getpid()} data=/var/lib/distcache"
        " unixsocket=/run/distcache.sock",
        "* Ready to accept connections tcp at=127.0.0.1:6379,[::1]:6379",
        "* Ready to accept connections unix at=/run/distcache.sock",
    ]


def test_an_application_that_embeds_the_server_gets_the_events(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logs.VERBOSE, "distcache"):
        logs.verbose("Accepted", id=7)
        logs.debug("not asked for")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("distcache", "Accepted id=7")
    ]


def test_syslog(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log.with_name("syslog")
    monkeypatch.setattr(logs, "SYSLOG", str(path))
    logs.configure("notice", str(log), ("cache one", "local3"))
    assert events(log) == [f"# syslog cannot be reached socket={path}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(10)
        logs.warning("It is there now", said=b"a\n<0>b")
        # Facility 19 and the level as one number, as in RFC 3164; Redis's warning is one too.
        text = f'<{19 << 3 | 4}>cache one[{os.getpid()}]: It is there now said="a\\n<0>b"'
        assert daemon.recv(1000).rstrip(b"\0").decode() == text
        logs.notice("And more")
        assert daemon.recv(1000).startswith(b"<%d>" % (19 << 3 | 5))
