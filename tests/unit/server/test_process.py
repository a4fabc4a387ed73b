"""The background and the file with the process id."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distcache_server.process import pid_file

from tests.support import eventually


def test_a_pid_file_lives_as_long_as_the_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_no_pid_file() -> None:
    with pid_file(""):
        pass


def test_a_pid_file_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_a_pid_file_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = False
    with pid_file(str(tmp_path / "none" / "pid")):
        ran = True
    assert ran
    assert "Failed to write PID file" in caplog.text


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "pid").symlink_to(victim)
    with pid_file(str(tmp_path / "pid")):
        assert victim.read_text() == "precious"
    assert victim.read_text() == "precious"


def test_going_into_the_background(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = (
        "import os\n"
        "from distcache_server.process import daemonize\n"
        "daemonize()\n"
        "print('to nobody')\n"
        f"with open({str(told) + '.new'!r}, 'w') as file:\n"
        "    print(os.getpid(), os.getsid(0), os.readlink('/proc/self/fd/1'), file=file)\n"
        f"os.rename({str(told) + '.new'!r}, {str(told)!r})\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    )
    assert finished.stdout == finished.stderr == b""
    eventually(told.exists)
    process, session, output = told.read_text().split()
    assert output == os.devnull
    assert len({process, session, str(os.getsid(0))}) == 3
