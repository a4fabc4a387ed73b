"""/metrics and the health endpoints, over HTTP as Prometheus and load balancers ask for them."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.support import Process, StartServer, eventually, free_port
from tests.support.replication import SETTINGS

pytestmark = pytest.mark.ours("metrics-port is a directive of distcache")

# The names of redis_exporter that mean something for a server without replicas.
EXPECTED = {
    "up",
    "uptime_in_seconds",
    "start_time_seconds",
    "instance_info",
    "connected_clients",
    "blocked_clients",
    "max_clients",
    "config_maxclients",
    "config_maxmemory",
    "cpu_sys_seconds_total",
    "cpu_user_seconds_total",
    "cpu_sys_children_seconds_total",
    "cpu_user_children_seconds_total",
    "cpu_sys_main_thread_seconds_total",
    "cpu_user_main_thread_seconds_total",
    "pubsub_channels",
    "pubsub_patterns",
    "rejected_connections_total",
    "connections_received_total",
    "commands_processed_total",
    "commands_total",
    "commands_duration_seconds_total",
    "commands_failed_calls_total",
    "commands_rejected_calls_total",
    "latency_percentiles_usec",
    "errors_total",
    "keyspace_hits_total",
    "keyspace_misses_total",
    "evicted_keys_total",
    "expired_keys_total",
    "db_keys",
    "db_keys_expiring",
    "db_avg_ttl_seconds",
    "memory_used_bytes",
    "memory_used_rss_bytes",
    "memory_used_peak_bytes",
    "memory_max_bytes",
    "mem_fragmentation_ratio",
    "memory_fragmentation_ratio",
    "total_system_memory_bytes",
    "net_input_bytes_total",
    "net_output_bytes_total",
    "connected_slaves",
    "master_repl_offset",
    "replica_resyncs_full",
    "replica_partial_resync_accepted",
    "replica_partial_resync_denied",
    "rdb_last_save_timestamp_seconds",
    "aof_enabled",
    "loading_dump_file",
    "slowlog_length",
    "slowlog_last_id",
    "key_group_count",
    "key_group_memory_usage_bytes",
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Observed:
    """A server with metrics-port."""

    def __init__(self, start_server: StartServer, *arguments: str) -> None:
        self.port = free_port()
        self.server: Process = start_server("--metrics-port", str(self.port), *arguments)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def json(self, path: str) -> tuple[int, Any]:
        status, headers, body = self.get(path)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(body)

    def samples(self) -> Samples:
        """All values, by name without the prefix and labels."""
        status, headers, body = self.get("/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=")
        return {
            (sample.name.removeprefix("redis_"), tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    @contextmanager
    def bare(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as bare:
            yield bare

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        with self.bare() as bare:
            bare.sendall(data)
            return b"".join(iter(lambda: bare.recv(65536), b""))


@pytest.fixture
def observed(start_server: StartServer) -> Observed:
    return Observed(start_server, "--key-groups", "user:* session:*")


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_every_name_that_dashboards_know(observed: Observed) -> None:
    with observed.server.client() as client:
        client.set("user:1", "x", ex=1000)
        client.get("user:1")
        with pytest.raises(redis.ResponseError):
            client.lpush("user:1", "x")
    names = {name for name, _ in observed.samples()}
    assert not EXPECTED - names
    families = text_string_to_metric_families(observed.get("/metrics")[2].decode())
    assert all(family.documentation and family.type != "unknown" for family in families)


def test_figures_follow_what_happens(observed: Observed) -> None:
    before = observed.samples()
    with observed.server.client() as client:
        for n in range(10):
            client.set(f"user:{n}", "x", ex=1000)
        for n in range(15):
            client.get(f"user:{n}")
        with pytest.raises(redis.ResponseError):
            client.lpush("user:1", "x")
        with pytest.raises(redis.ResponseError):
            client.execute_command("GET")
        client.config_set("slowlog-log-slower-than", 0)
        after = observed.samples()

        def change(name: str, **labels: str) -> float:
            return after[name, labelled(**labels)] - before.get((name, labelled(**labels)), 0)

        assert change("commands_total", cmd="get") == 15
        assert change("commands_total", cmd="set") == 10
        assert change("commands_duration_seconds_total", cmd="get") > 0
        assert change("commands_failed_calls_total", cmd="lpush") == 1
        assert change("commands_rejected_calls_total", cmd="get") == 1
        assert change("errors_total", err="WRONGTYPE") == 1
        assert change("errors_total", err="ERR") == 1
        assert change("keyspace_hits_total") == 10
        assert change("keyspace_misses_total") == 5
        assert change("connected_clients") == 1
        assert change("connections_received_total") == 1
        assert change("commands_processed_total") >= 26
        assert change("net_input_bytes_total") > 500
        assert change("net_output_bytes_total") > 100
        assert after["db_keys", labelled(db="db0")] == 10
        assert after["db_keys_expiring", labelled(db="db0")] == 10
        assert 900 < after["db_avg_ttl_seconds", labelled(db="db0")] <= 1000
        assert after["memory_used_rss_bytes", ()] > 10 << 20
        assert after["latency_percentiles_usec_count", labelled(cmd="get")] == 15
        for quantile in ("50", "99", "99.9"):
            assert after["latency_percentiles_usec", labelled(cmd="get", quantile=quantile)] > 0
        assert after["slowlog_length", ()] >= 0


def test_who_the_server_is(observed: Observed) -> None:
    instance = [dict(labels) for name, labels in observed.samples() if name == "instance_info"]
    with observed.server.client() as client:
        info = client.info()
    assert instance == [
        {
            "role": "master",
            "redis_version": info["redis_version"],
            "redis_mode": "standalone",
            "maxmemory_policy": "noeviction",
            "tcp_port": str(observed.server.port),
            "run_id": info["run_id"],
            "master_replid": info["master_replid"],
        }
    ]


def test_groups_of_keys(observed: Observed) -> None:
    with observed.server.client() as client:
        for n in range(3):
            client.set(f"user:{n}", "x" * 100)
        client.mget("user:0", "user:9", "session:1", "other")
    samples = observed.samples()
    users = labelled(key_group="user:*")
    assert samples["key_group_hits_total", users] == 1
    assert samples["key_group_misses_total", users] == 1
    assert samples["key_group_misses_total", labelled(key_group="session:*")] == 1
    assert samples["key_group_count", labelled(db="db0", key_group="user:*")] == 3
    size = samples["key_group_memory_usage_bytes", labelled(db="db0", key_group="user:*")]
    assert 300 < size < 3000


def test_a_large_database_is_surveyed_while_it_is_in_use(observed: Observed) -> None:
    with observed.server.client() as client:
        for start in range(0, 100_000, 10_000):
            client.mset({f"user:{n}": "x" for n in range(start, start + 10_000)})

        def counted() -> bool:
            at = "key_group_count", labelled(db="db0", key_group="user:*")
            return observed.samples().get(at) == 100_000

        eventually(counted)
        assert client.ping()


def test_health(observed: Observed) -> None:
    status, facts = observed.json("/liveness")
    assert (status, facts["status"]) == (200, "alive")
    assert observed.json("/readiness") == (200, {"status": "ready"})
    with observed.server.client() as client:
        info = client.info()
    who = {
        "role": "primary",
        "replication_id": info["master_replid"],
        "offset": info["master_repl_offset"],
        "run_id": info["run_id"],
    }
    assert observed.json("/leader") == (200, who)
    assert observed.json("/replica") == (503, who)
    assert observed.json("/replica?lag=16kb") == (503, who)
    assert observed.json("/leader?unknown=1") == (200, who)


def test_a_replica_that_loses_its_primary(start_server: StartServer) -> None:
    primary = start_server(*SETTINGS)
    replica = Observed(start_server, "--replicaof", f"{primary.host} {primary.port}")
    eventually(lambda: replica.json("/replica?lag=1mb")[0] == 200)
    assert replica.json("/replica")[0] == 200
    assert replica.json("/leader")[0] == 503
    primary.kill()
    eventually(lambda: replica.json("/replica?lag=1mb")[0] == 503)
    assert replica.json("/replica")[0] == 200


@pytest.mark.parametrize(
    ("settings", "role"), [((), "primary"), (("--replicaof", "127.0.0.1 1"), "replica")]
)
def test_while_it_loads(start_server: StartServer, settings: Sequence[str], role: str) -> None:
    server = start_server()
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", 100_000)
        client.save()
    server.kill()
    slow = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    loading = Observed(start_server, "--dir", str(server.folder), *slow, *settings)
    assert loading.json("/readiness") == (503, {"status": "loading"})
    for path in ("/leader", "/replica"):
        status, facts = loading.json(path)
        assert (status, facts["role"]) == (503, role)


def test_a_lag_that_is_no_size(observed: Observed) -> None:
    for query in ("lag=", "lag=x", "lag=-1", "lag=1&lag=2", "lag=%FF"):
        assert observed.json(f"/replica?{query}")[0] == 400, query


def test_other_paths(observed: Observed) -> None:
    for path in ("/", "/nothing", "/metrics/", "//metrics", "/metrics%00", "/[", "//[", "/\xff"):
        request = f"GET {path} HTTP/1.1\r\n\r\n".encode("latin-1")
        assert observed.exchange(request).startswith(b"HTTP/1.1 404 Not Found\r\n"), path
    assert "/metrics" in observed.json("/nothing")[1]["endpoints"]


def test_other_methods(observed: Observed) -> None:
    for method in ("POST", "PUT", "DELETE", "TRACE", "get"):
        status, headers, _ = observed.get("/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS"), method


def test_methods_that_ask_for_the_status_alone(observed: Observed) -> None:
    """HAProxy sends OPTIONS, others HEAD."""
    _, headers, body = observed.get("/leader")
    for method, length in (("HEAD", str(len(body))), ("OPTIONS", "0")):
        for path, expected in (("/leader", 200), ("/replica", 503), ("/nothing", 404)):
            reply = observed.exchange(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            assert reply.startswith(b"HTTP/1.1 %d " % expected)
            assert reply.endswith(b"\r\n\r\n")
        assert observed.get("/leader", method)[1]["Content-Length"] == length
    assert headers["Content-Length"] == str(len(body))


def test_what_is_no_request(observed: Observed) -> None:
    for request in (
        b"GET\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET  /metrics HTTP/1.1\r\n\r\n",
        b"GET metrics HTTP/1.1\r\n\r\n",
        b"GET http://host/metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ):
        assert observed.exchange(request).startswith(b"HTTP/1.1 400 Bad Request\r\n"), request
    assert observed.get("/liveness")[0] == 200


def test_requests_are_bounded(observed: Observed) -> None:
    long = b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000
    for tail in (b"", b"\r\n\r\n"):
        assert observed.exchange(long + tail).startswith(b"HTTP/1.1 431 ")
    with observed.bare() as bare:
        bare.sendall(b"GET /liveness HTTP/1.1\r\n")
        assert observed.get("/liveness")[0] == 200  # nobody waits for who is slow
        for byte in b"Host: here\r\n\r\n":
            bare.sendall(bytes([byte]))
        assert bare.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_so_many_connections_and_no_more(observed: Observed) -> None:
    with observed.server.client() as client:
        connections = [
            socket.create_connection(("127.0.0.1", observed.port), timeout=10) for _ in range(100)
        ]
        try:
            closed = eventually(lambda: [it for it in connections if _is_closed(it)])
            assert eventually(lambda: len([it for it in connections if _is_closed(it)]) == 36)
            assert client.ping()
        finally:
            for connection in connections:
                connection.close()
        assert closed
    eventually(lambda: observed.get("/liveness")[0] == 200)


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_the_address_and_what_happens_when_it_is_taken(
    observed: Observed, start_server: StartServer
) -> None:
    assert f"at=127.0.0.1:{observed.port}" in observed.server.log()
    with pytest.raises(AssertionError, match="did not start"):
        start_server("--metrics-port", str(observed.port))


def test_the_endpoints_close_with_the_server(observed: Observed) -> None:
    with observed.bare() as bare:
        bare.sendall(b"GET /liveness")
        # Who came later is answered, so that has been read.
        assert observed.get("/liveness")[0] == 200
        assert observed.server.stop() == 0
        assert bare.recv(1) == b""


def test_scrapes_leave_nothing_behind(observed: Observed) -> None:
    """The collector of cycles is off in the daemon: what refers to itself would stay for ever."""
    for _ in range(20):
        observed.get("/metrics")
    before = observed.samples()["memory_used_rss_bytes", ()]
    for _ in range(150):
        observed.get("/metrics")
    assert observed.samples()["memory_used_rss_bytes", ()] - before < 1 << 20
