"""librdkafka's brokers in memory, which answer with the errors that a test wants.

confluent-kafka has no names for them, but its library has: see rdkafka_mock.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _library() -> Any:
    import confluent_kafka

    place = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    found = sorted(place.glob("librdkafka*")) if place.is_dir() else []
    return ctypes.CDLL(str(found[0])) if found else None


def missing() -> str | None:
    """What is missing for it."""
    library = _library()
    if library is None or not hasattr(library, "rd_kafka_mock_cluster_new"):
        return "librdkafka beside confluent-kafka (its wheel has it)"
    return None


class MockCluster:
    """One broker."""

    def __init__(self) -> None:
        self._library = library = _library()
        for name in ("conf_new", "new", "mock_cluster_new"):
            getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        error = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(library.rd_kafka_conf_new())
        self._client = ctypes.c_void_p(library.rd_kafka_new(0, conf, error, len(error)))
        assert self._client, error.value
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(self._client, 1))

    @property
    def address(self) -> str:
        """For ``bootstrap.servers``."""
        found: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return found.decode()

    def create(self, topic: str) -> None:
        """A topic of one partition."""
        assert not self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), 1, 1)

    def answer(self, kind: int, errors: Sequence[int]) -> None:
        """The next requests of that kind get these errors, one after the other."""
        given = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(kind), ctypes.c_size_t(len(errors)), given
        )

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)
