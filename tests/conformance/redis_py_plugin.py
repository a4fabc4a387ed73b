"""A pytest plugin for the run of redis-py's own suite: what to leave out, what came of the rest.

It is loaded by name where `tests` is redis-py's package, so it imports nothing of ours.
"""

import functools
import importlib.metadata
import json
import socket
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import pytest

TIMEOUT_S = 60
"""For a test: some of redis-py's end the whole run when one of them has not ended in 5 s."""
_USUAL = (("127.0.0.1", 6379), ("localhost", 6379))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exclusions", type=Path, required=True)
    parser.addoption("--outcome", type=Path, required=True)
    parser.addoption("--part", choices=("asyncio", "other"), required=True)
    parser.addoption("--only", type=Path, help="a list of tests, the rest of which are left out")
    parser.addoption("--reported-version", action="store_true", help="believe INFO everywhere")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Selection(config), "selection")
    url = urlparse(config.getoption("--redis-url"))
    _redirect((url.hostname, url.port))


def _redirect(to: tuple[str, int]) -> None:
    """Some tests connect to localhost:6379, whatever --redis-url says. They get the same server."""
    connect = socket.socket.connect

    def connect_elsewhere(self: Any, address: Any) -> None:
        connect(self, to if address[:2] in _USUAL else address)

    socket.socket.connect = connect_elsewhere  # type: ignore[method-assign]


class _Selection:
    def __init__(self, config: pytest.Config) -> None:
        listed = tomllib.loads(config.getoption("--exclusions").read_text())
        protocol = int(config.getoption("--protocol"))
        self._patterns: list[str] = []
        self._markers: list[str] = []
        for entry in listed["exclusion"]:
            if entry.get("protocol", protocol) == protocol:
                self._patterns += entry.get("tests", ())
                self._markers += entry.get("markers", ())
        believe = config.getoption("--reported-version")
        self._versions: dict[str, str] = {} if believe else listed["version"]
        self._is_asyncio = config.getoption("--part") == "asyncio"
        only: Path | None = config.getoption("--only")
        self._only: set[str] | None = set(json.loads(only.read_text())) if only else None
        self._unused = {*self._patterns, *self._markers}
        self._config = config
        self._counts = Counter[str]()
        self._passed: list[str] = []
        self._failures: dict[str, str] = {}

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """A file that is left out is not even imported: it may need what is not installed."""
        if not collection_path.is_relative_to(self._config.rootpath):
            return None
        name = collection_path.relative_to(self._config.rootpath).as_posix()
        if collection_path.is_file() and ("test_asyncio" in name) != self._is_asyncio:
            return True
        return self._is_excluded(name) or None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """redis-py decides by version while a test module is imported, from a dict of its conftest.

        Some of what we answer came later than the version that we report.
        """
        if isinstance(collector, pytest.Module):
            known: dict[str, str] = self._config.REDIS_INFO  # type: ignore[attr-defined]
            reported = known.setdefault("reported_version", known["version"])
            known["version"] = self._versions.get(collector.nodeid, reported)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        left_out = {item: None for item in items if self._is_left_out(item)}
        items[:] = [item for item in items if item not in left_out]
        self._counts["excluded"] += len(left_out)
        self._config.hook.pytest_deselected(items=[*left_out])
        if self._only is not None:
            items[:] = [item for item in items if item.nodeid in self._only]
        for item in items:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S, method="signal"), append=False)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failures[report.nodeid] = str(report.longrepr)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failures[report.nodeid] = str(report.longrepr)
        elif report.skipped and not hasattr(report, "wasxfail"):
            self._counts["skipped"] += 1
        elif report.when == "call":
            self._counts["passed"] += 1
            self._passed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        outcome = {
            "counts": self._counts,
            "passed": [name for name in self._passed if name not in self._failures],
            "failures": self._failures,
            "unused": sorted(self._unused),
        }
        self._config.getoption("--outcome").write_text(json.dumps(outcome))

    def _is_left_out(self, item: pytest.Item) -> bool:
        # Without its parameters first: the brackets around them mean something else in a pattern.
        excluded = self._is_excluded(item.nodeid.partition("[")[0])
        return self._has_marker(item) or excluded or self._is_excluded(item.nodeid)

    def _is_excluded(self, name: str) -> bool:
        found = [pattern for pattern in self._patterns if fnmatchcase(name, pattern)]
        self._unused.difference_update(found)
        return bool(found)

    def _has_marker(self, item: pytest.Item) -> bool:
        found = [name for name in self._markers if item.get_closest_marker(name)]
        self._unused.difference_update(found)
        return bool(found)


# redis-py asks for its own version, by reading a file, for every connection.
importlib.metadata.version = functools.cache(importlib.metadata.version)


class _Absent(ModuleType):
    """Stands in for a module that test files import at their top and use only in excluded tests."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for absent in ("redis_entraid", "redis_entraid.cred_provider", "redis_entraid.identity_provider"):
    sys.modules.setdefault(absent, _Absent(absent))
