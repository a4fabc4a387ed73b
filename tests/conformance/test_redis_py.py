"""redis-py's own tests pass against us, under both protocols."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance import redis_py
from tests.support import StartServer


@pytest.mark.timeout(1500)
def test_the_suite_of_redis_py(
    pytestconfig: pytest.Config,
    start_server: StartServer,
    protocol: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    try:
        redis_py.source()
    except redis_py.Unavailable as error:
        pytest.skip(f"the source package of redis-py cannot be downloaded: {error}")
    ours = pytestconfig.getoption("--server") is None
    outcome = redis_py.run(lambda: start_server().address, protocol, tmp_path, ours)
    record_property("summary", f"redis-py, RESP{protocol}: {outcome.summary()}")
    failures = "\n\n".join(f"{test}\n{trace}" for test, trace in outcome.failures.items())
    assert not outcome.failures, f"{outcome.summary()}\n\n{failures}"
    assert not outcome.unused, f"exclusions that match nothing: {outcome.unused}"
