"""Waiting for something that happens soon, without sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


PATIENCE_S = 60.0
"""How long a test waits for what is to come soon: a machine may be busy with other things."""


def eventually(
    condition: Callable[[], T], timeout: float = PATIENCE_S, interval: float = 0.01
) -> T:
    """Call `condition` until it is truthy and return what it said.

    An AssertionError counts as "not yet", so a condition may be written with asserts. When time is
    up it is asked once more, as the machine may have stood still; then the last one is raised, or
    a plain AssertionError with the last value.
    """
    deadline = time.monotonic() + timeout
    while True:
        is_over = time.monotonic() > deadline
        failure: AssertionError | None = None
        try:
            if value := condition():
                return value
        except AssertionError as error:
            failure = error
        if is_over:
            if failure is not None:
                raise failure
            raise AssertionError(f"still {value!r} after {timeout} s")
        time.sleep(interval)


__all__ = ["PATIENCE_S", "eventually"]
