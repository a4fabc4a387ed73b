"""The command line, up to the point where the daemon starts."""

import io
import logging
import re
import sys
import types
from pathlib import Path

import pytest
from distcache_server import __main__
from distcache_server.config import Config
from distcache_server.engine import VERSION

FATAL = f"\n*** FATAL CONFIG FILE ERROR (distcache {VERSION}) ***\n"


@pytest.fixture
def run_daemon(monkeypatch: pytest.MonkeyPatch, own_logging: None) -> list[Config]:
    """The configurations that would have started a daemon."""
    started: list[Config] = []

    def run(config: Config) -> int:
        started.append(config)
        if config.port == 666:
            raise OSError("no such port")
        return 7

    daemon = types.ModuleType("distcache_server.daemon")
    daemon.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "distcache_server.daemon", daemon)
    monkeypatch.setattr("distcache_server.daemon", daemon, raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    return started


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([option]) == 0
    assert re.fullmatch(
        r"distcache-server v=[0-9.]+ redis=7\.2\.\d+ python=3\.\S+ \S+\n", capsys.readouterr().out
    )


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([option]) == 0
    assert capsys.readouterr().out.startswith("Usage: distcache-server [FILE]")


def test_file_then_input_then_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_daemon: list[Config]
) -> None:
    path = tmp_path / "x.conf"
    path.write_text("port 1\ntimeout 1\nhz 1\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("timeout 2\nhz 2\n"))
    assert __main__.main([str(path), "--hz", "3", "--logfile", str(tmp_path / "log"), "-"]) == 7
    (config,) = run_daemon
    assert (config.port, config.timeout, config.hz) == (1, 2, 3)
    assert config.config_file == str(path)


def test_configuration_from_input_alone(
    monkeypatch: pytest.MonkeyPatch, run_daemon: list[Config]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("timeout 2\n"))
    assert __main__.main(["-", "--hz", "3"]) == 7
    (config,) = run_daemon
    assert (config.timeout, config.hz, config.config_file) == (2, 3, "")


def test_nothing_but_defaults(run_daemon: list[Config]) -> None:
    assert __main__.main([]) == 7
    assert run_daemon[0].port == 6379


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "x"], "Reading the command line\n>>> 'port \"x\"'\n"),
        (["--port"], "Reading the command line\n>>> 'port'\nwrong number of arguments\n"),
        (["--nosuch", "1"], "Bad directive or wrong number of arguments\n"),
        (["--hz", "1", "-", "--port", "1"], "wrong number of arguments\n"),
        (["/nonexistent.conf"], "Fatal error, can't open config file '/nonexistent.conf': No such"),
        (["--logfile", "/none/log"], "Can't open the log file /none/log: No such file or"),
    ],
)
def test_fatal_errors(
    arguments: list[str],
    message: str,
    run_daemon: list[Config],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for only_test in ([], ["--test-config"]):
        assert __main__.main(only_test + arguments) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(FATAL)
        assert message in printed.err
        assert printed.out == ""
    assert run_daemon == []


def test_an_error_names_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.conf"
    path.write_text("port 1\nnosuch 1\n")
    assert __main__.main([str(path)]) == 1
    assert capsys.readouterr().err == (
        f"{FATAL}Reading the configuration file {path}, at line 2\n>>> 'nosuch 1'\n"
        "Bad directive or wrong number of arguments\n"
    )


def test_only_a_test(tmp_path: Path, run_daemon: list[Config]) -> None:
    path = tmp_path / "x.conf"
    path.write_text("port 1\n")
    assert __main__.main([str(path), "--hz", "5", "--test-config"]) == 0
    assert __main__.main(["--test-config", str(path)]) == 0
    assert run_daemon == []


def test_the_log_of_a_start(tmp_path: Path, run_daemon: list[Config]) -> None:
    log = tmp_path / "log"
    pid = tmp_path / "pid"
    arguments = ["--logfile", "log", "--dir", str(tmp_path), "--pidfile", str(pid)]
    assert __main__.main([*arguments, "--activedefrag", "yes", "--requirepass", "sesame"]) == 7
    text = log.read_text()
    assert f"distcache is starting version={VERSION}" in text
    assert "# These directives have no effect here directives=activedefrag\n" in text
    assert "sesame" not in text
    assert not pid.exists()
    run_daemon[0].set([(b"loglevel", b"nothing")])
    logging.getLogger("distcache").warning("unheard")
    assert "unheard" not in log.read_text()


def test_a_daemon_that_fails(tmp_path: Path, run_daemon: list[Config]) -> None:
    log = tmp_path / "log"
    assert __main__.main(["--port", "666", "--logfile", str(log)]) == 1
    assert '# The server failed error="OSError: no such port"' in log.read_text()


def test_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_daemon: list[Config]
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(__main__, "daemonize", lambda: steps.append("background"))
    arguments = ["--daemonize", "yes", "--pidfile", str(tmp_path / "pid")]
    assert __main__.main(arguments) == 7
    assert steps == ["background"]
    monkeypatch.setattr("distcache_server.systemd.supervise", lambda mode: mode == "systemd")
    assert __main__.main([*arguments, "--supervised", "systemd"]) == 7
    assert steps == ["background"]
