"""How much a fuzzing test does: little in `make test`, as much as asked in `make fuzz`.

`make test` draws the same examples every time, so that a change is judged by what it changed.
`make fuzz` draws new ones, and keeps what failed in `.hypothesis`.
"""

import os

from hypothesis import HealthCheck, settings

_COMMANDS = "DISTCACHE_FUZZ_COMMANDS"


def fuzz_commands(usual: int) -> int:
    """How many commands, messages or documents a test marked `fuzz` shall try."""
    return int(os.environ.get(_COMMANDS) or usual)


def load_profile() -> None:
    """Choose how hypothesis draws; called once, before tests are collected."""
    # How long it takes to draw says more of the machine than of us.
    timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("test", timeless, derandomize=True, database=None)
    settings.register_profile("fuzz", timeless, print_blob=True)
    settings.load_profile("fuzz" if os.environ.get(_COMMANDS) else "test")


__all__ = ["fuzz_commands", "load_profile"]
