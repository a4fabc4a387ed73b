"""WAIT and WAITAOF, where there are no replicas."""

import pytest

from tests.blackbox.commands.conftest import Ask
from tests.support import Wire, eventually

NOT_INTEGER = b"ERR value is not an integer or out of range"
NOT_A_TIMEOUT = b"ERR timeout is not an integer or out of range"


def test_wait_for_nobody(ask: Ask) -> None:
    ask("SET", "k", "v")
    assert ask("WAIT", 0, 0) == 0
    assert ask("WAIT", -1, 0) == 0


def test_wait_until_time_is_up(ask: Ask) -> None:
    ask("SET", "k", "v")
    assert ask("WAIT", 1, 1) == 0
    assert ask("WAIT", 10, 20) == 0


def test_nobody_waits_in_multi(ask: Ask) -> None:
    ask("MULTI")
    ask("WAIT", 1, 0)
    assert ask("EXEC") == [0]


def test_wait_ends_by_client_unblock(ask: Ask, wire: Wire) -> None:
    number = wire.call("CLIENT", "ID")
    wire.command("WAIT", 1, 0)
    eventually(lambda: ask("CLIENT", "UNBLOCK", number) == 1)
    assert wire.reply() == 0
    assert wire.call("PING") == b"PONG"


def test_wait_refusals(ask: Ask) -> None:
    expected = b"ERR wrong number of arguments for 'wait' command"
    assert ask("WAIT", 1) == expected
    assert ask("WAIT", 1, 2, 3) == expected
    assert ask("WAIT", "x", 1) == NOT_INTEGER
    assert ask("WAIT", 1, "x") == NOT_A_TIMEOUT
    assert ask("WAIT", 1, "1.5") == NOT_A_TIMEOUT
    assert ask("WAIT", 1, -1) == b"ERR timeout is negative"


@pytest.mark.since("7.2")
def test_waitaof(ask: Ask) -> None:
    assert ask("WAITAOF", 0, 0, 0) == [0, 0]
    assert ask("WAITAOF", 0, 1, 1) == [0, 0]
    off = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    assert ask("WAITAOF", 1, 0, 0) == off
    between = b"ERR value is out of range, value must between 0 and 1"
    assert ask("WAITAOF", 2, 0, 0) == between
    assert ask("WAITAOF", -1, 0, 0) == between
    assert ask("WAITAOF", 0, -1, 0) == b"ERR value is out of range, must be positive"
    assert ask("WAITAOF", 0, 0, -1) == b"ERR timeout is negative"
    assert ask("WAITAOF", 0, 0, "x") == NOT_A_TIMEOUT
    assert ask("WAITAOF", "x", 0, 0) == NOT_INTEGER
    expected = b"ERR wrong number of arguments for 'waitaof' command"
    assert ask("WAITAOF", 0, 0) == expected
