"""One broker for all tests of a worker; each has topics of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.broker import Broker, missing

Name = Callable[[str], str]
"""Gives names that no other test uses: `name("changes")`."""

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def _broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if reason := missing():
        pytest.skip(f"missing: {reason}")
    broker = Broker(tmp_path_factory.mktemp("kafka") / "broker")
    yield broker
    broker.kill()


@pytest.fixture
def broker(_broker: Broker) -> Iterator[Broker]:
    """A running broker. A test may kill it, and starts it again."""
    yield _broker
    if _broker.process.poll() is not None:
        _broker.start()


@pytest.fixture
def name() -> Name:
    """Names that no other test of this worker uses."""
    number = next(_numbers)
    return lambda text: f"{text}-{number}"
