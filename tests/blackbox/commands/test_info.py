"""INFO: the sections, and that the figures are right."""

import re
import shutil
import subprocess
import time

import pytest
import redis

from tests.blackbox.commands.conftest import Ask
from tests.support import Process, Server, StartServer, Verbatim, Wire, encode, eventually

USUAL = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Modules",
    "Errorstats",
    "Cluster",
    "Keyspace",
]
EVERY = [*USUAL[:8], "Commandstats", "Errorstats", "Latencystats", "Cluster", "Keyspace"]


OURS = {"Keygroups", "Changefeed"}


def sections(ask: Ask, *wanted: str) -> list[str]:
    found = re.findall(r"^# (\w+)\r$", ask("INFO", *wanted).decode(), re.MULTILINE)
    return [name for name in found if name not in OURS]


def values(wire: Wire, section: str) -> dict[str, str]:
    """The lines of a section."""
    reply = wire.call("INFO", section)
    title, *lines = bytes(reply).decode().splitlines()
    assert title.startswith("# ")
    return dict(line.split(":", 1) for line in lines)


def number(wire: Wire, section: str, name: str) -> int:
    return int(values(wire, section)[name])


def statistic(wire: Wire, section: str, name: str) -> dict[str, float]:
    """``calls=1,usec=5`` of a line."""
    line = values(wire, section)[name]
    return {key: float(value) for key, value in (it.split("=") for it in line.split(","))}


# Sections


def test_sections(ask: Ask) -> None:
    assert sections(ask) == sections(ask, "default") == USUAL
    assert sections(ask, "all") == sections(ask, "everything") == EVERY
    assert sections(ask, "CPU") == sections(ask, "cpu", "cpu") == ["CPU"]
    assert sections(ask, "keyspace", "commandSTATS") == ["Commandstats", "Keyspace"]
    assert sections(ask, "default", "latencystats") == [*USUAL[:9], "Latencystats", *USUAL[9:]]
    assert sections(ask, "cpu", "all") == EVERY
    assert sections(ask, "nosuch", "cpu") == ["CPU"]
    assert ask("INFO", "nosuch") == b""


def test_the_layout(wire: Wire) -> None:
    cluster, keyspace = wire.call("INFO", "cluster", "keyspace").split(b"\r\n\r\n")
    assert cluster == b"# Cluster\r\ncluster_enabled:0"
    assert keyspace == b"# Keyspace\r\n"
    wire.call("HELLO", 3)
    assert isinstance(wire.call("INFO"), Verbatim)


@pytest.mark.ours("compares with the reference")
def test_whatever_redis_tells_that_others_read(wire: Wire, reference: Process) -> None:
    """Lines of Redis 7.0 that are missing belong to what does not exist here."""
    of_redis = {
        "gcc_version",
        "atomicvar_api",
        "expire_cycle_cpu_milliseconds",
        "total_eviction_exceeded_time",
        "current_eviction_exceeded_time",
        "total_active_defrag_time",
        "current_active_defrag_time",
        "total_reads_processed",
        "total_writes_processed",
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "reply_buffer_shrinks",
        "reply_buffer_expands",
        "current_cow_peak",
        "current_cow_size",
        "current_cow_size_age",
        "current_fork_perc",
        "current_save_keys_processed",
        "current_save_keys_total",
        "module_fork_in_progress",
        "module_fork_last_cow_size",
        "used_memory_functions",
        "used_memory_vm_eval",
        "used_memory_scripts_eval",
        "used_memory_vm_functions",
        "used_memory_vm_total",
        "used_memory_vm_total_human",
        "rdb_last_load_keys_expired",
        "rdb_last_load_keys_loaded",
        "aof_rewrites",
        "aof_rewrites_consecutive_failures",
    }
    with reference.wire() as wire_of_redis:
        for section in (
            "server",
            "clients",
            "memory",
            "persistence",
            "stats",
            "replication",
            "cpu",
        ):
            missing = values(wire_of_redis, section).keys() - values(wire, section).keys()
            missing = {name for name in missing if not name.startswith("active_defrag")}
            assert missing - of_redis == set(), section


# What each section says


def test_server(wire: Wire, server: Server) -> None:
    facts = values(wire, "server")
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["redis_version"])
    assert re.fullmatch(r"[0-9a-f]{40}", facts["run_id"])
    assert facts["tcp_port"] == str(server.port)
    assert facts["redis_mode"] == "standalone"
    assert abs(int(facts["server_time_usec"]) / 1e6 - time.time()) < 60
    assert int(facts["uptime_in_seconds"]) >= 0
    if isinstance(server, Process):
        assert facts["process_id"] == str(server.pid)


def test_the_configuration_file(start_server: StartServer) -> None:
    server = start_server()
    file = server.folder / "our.conf"
    file.write_text("maxmemory 0\n")
    with start_server(str(file)).wire() as wire:
        assert values(wire, "server")["config_file"] == str(file)


def test_clients(wire: Wire, server: Server) -> None:
    assert number(wire, "clients", "connected_clients") == 1
    with server.wire() as other:
        other.command("BLPOP", "a", "b", 100)
        eventually(lambda: number(wire, "clients", "blocked_clients") == 1)
        facts = values(wire, "clients")
        assert facts["connected_clients"] == "2"
        assert facts["clients_in_timeout_table"] == "1"
    eventually(lambda: number(wire, "clients", "connected_clients") == 1)
    assert number(wire, "clients", "blocked_clients") == 0
    assert number(wire, "clients", "maxclients") > 0


@pytest.mark.since("7.2")
def test_keys_that_clients_wait_for(wire: Wire, server: Server) -> None:
    with server.wire() as other:
        other.command("BLPOP", "a", "b", 0)
        eventually(lambda: number(wire, "clients", "total_blocking_keys") == 2)


@pytest.mark.since("7.4")
def test_clients_that_listen_or_watch(wire: Wire, server: Server) -> None:
    with server.wire() as listener, server.wire() as watcher:
        listener.call("SUBSCRIBE", "news")
        watcher.call("WATCH", "a", "b")
        facts = values(wire, "clients")
        assert facts["pubsub_clients"] == "1"
        assert facts["watching_clients"] == "1"
        assert facts["total_watched_keys"] == "2"


def test_memory(wire: Wire) -> None:
    wire.call("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
    before = number(wire, "memory", "used_memory")
    for key in range(10):
        wire.call("SETRANGE", f"large{key}", 1_000_000, "x")
    facts = values(wire, "memory")
    assert int(facts["used_memory"]) - before > 9_000_000
    assert int(facts["used_memory_peak"]) >= int(facts["used_memory"])
    assert int(facts["used_memory_rss"]) > 0
    assert int(facts["total_system_memory"]) > int(facts["used_memory_rss"])
    assert facts["maxmemory"] == str(1 << 30)
    assert facts["maxmemory_human"] == "1.00G"
    assert facts["maxmemory_policy"] == "allkeys-lru"
    assert re.fullmatch(r"\d+\.\d\dM", facts["used_memory_human"])
    assert re.fullmatch(r"-?\d+\.\d\d", facts["mem_fragmentation_ratio"])


def test_persistence(wire: Wire) -> None:
    before = number(wire, "persistence", "rdb_changes_since_last_save")
    wire.call("MSET", "a", 1, "b", 2)
    facts = values(wire, "persistence")
    assert int(facts["rdb_changes_since_last_save"]) - before == 2
    assert facts["loading"] == "0"
    assert facts["aof_enabled"] == "0"
    assert facts["rdb_last_save_time"] == str(wire.call("LASTSAVE"))


def test_stats(wire: Wire, server: Server) -> None:
    wire.call("CONFIG", "RESETSTAT")
    before = values(wire, "stats")
    wire.call("SET", "key", "value")
    for key in ("key", "key", "missing"):
        wire.call("GET", key)
    with server.wire() as other:
        other.call("SUBSCRIBE", "news")
        other.call("PSUBSCRIBE", "n*")
        after = values(wire, "stats")
    assert after["keyspace_hits"] == "2"
    assert after["keyspace_misses"] == "1"
    assert (after["pubsub_channels"], after["pubsub_patterns"]) == ("1", "1")
    grown = {name: int(after[name]) - int(before[name]) for name in before if _counts(name)}
    assert grown["total_connections_received"] == 1
    assert grown["total_commands_processed"] == 7
    assert grown["total_net_input_bytes"] >= len(encode("SET", "key", "value")) + 3 * 22
    assert grown["total_net_output_bytes"] > 1000


def _counts(name: str) -> bool:
    return name.startswith("total_") and not name.endswith("_time")


def test_rejected_connections(wire: Wire, server: Server) -> None:
    wire.call("CONFIG", "SET", "maxclients", 1)
    with server.wire() as second:
        second.expect_closed(b"-ERR max number of clients reached\r\n")
    assert number(wire, "stats", "rejected_connections") == 1


def test_expired_and_evicted_keys(wire: Wire) -> None:
    wire.call("SET", "key", "value", "PX", 1)
    eventually(lambda: wire.call("DBSIZE") == 0)
    assert number(wire, "stats", "expired_keys") == 1
    wire.call("SET", "key", "value")
    wire.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", 1)
    wire.call("SET", "other", "value")
    eventually(lambda: number(wire, "stats", "evicted_keys") >= 1)


def test_values_that_are_freed_in_the_background(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    wire.call("SET", "small", "value")
    wire.call("SADD", "large", *range(10_000))
    wire.call("UNLINK", "small", "large")
    eventually(lambda: values(wire, "memory")["lazyfree_pending_objects"] == "0")
    assert values(wire, "memory")["lazyfreed_objects"] == "1"
    wire.call("CONFIG", "RESETSTAT")
    assert values(wire, "memory")["lazyfreed_objects"] == "0"


def test_operations_per_second(wire: Wire) -> None:
    def busy() -> bool:
        wire.send(encode("PING") * 100)
        for _ in range(100):
            wire.reply()
        return number(wire, "stats", "instantaneous_ops_per_sec") > 0

    eventually(busy)
    assert float(values(wire, "stats")["instantaneous_input_kbps"]) > 0


def test_replication(wire: Wire) -> None:
    facts = values(wire, "replication")
    assert facts["role"] == "master"
    assert facts["connected_slaves"] == "0"
    assert re.fullmatch(r"[0-9a-f]{40}", facts["master_replid"])
    assert facts["master_replid2"] == "0" * 40
    assert facts["second_repl_offset"] == "-1"


def test_cpu(wire: Wire) -> None:
    facts = values(wire, "cpu")
    assert float(facts["used_cpu_user"]) > 0
    assert {"used_cpu_sys", "used_cpu_user_children", "used_cpu_sys_main_thread"} <= set(facts)


def test_keyspace(wire: Wire) -> None:
    assert values(wire, "keyspace") == {}
    wire.call("SET", "a", 1)
    wire.call("SELECT", 9)
    wire.call("SET", "b", 1, "PX", 100_000)
    wire.call("SET", "c", 1)
    found = values(wire, "keyspace")
    assert set(found) == {"db0", "db9"}
    assert found["db0"].startswith("keys=1,expires=0,avg_ttl=0")
    assert found["db9"].startswith("keys=2,expires=1,avg_ttl=")
    if statistic(wire, "keyspace", "db9")["avg_ttl"]:
        assert 90_000 < statistic(wire, "keyspace", "db9")["avg_ttl"] <= 100_000


# Commands


def test_calls_of_commands(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    for _ in range(3):
        wire.call("SET", "key", "value")
    wire.call("CLIENT", "ID")
    wire.call("LPUSH", "key", "wrong")
    wire.call("SET", "key")
    calls = statistic(wire, "commandstats", "cmdstat_set")
    assert (calls["calls"], calls["rejected_calls"], calls["failed_calls"]) == (3, 1, 0)
    assert calls["usec_per_call"] == pytest.approx(calls["usec"] / 3, abs=0.01)
    assert statistic(wire, "commandstats", "cmdstat_lpush")["failed_calls"] == 1
    assert statistic(wire, "commandstats", "cmdstat_client|id")["calls"] == 1
    names = values(wire, "commandstats")
    assert "cmdstat_client" not in names
    assert "cmdstat_get" not in names


def test_calls_in_a_transaction(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    wire.call("MULTI")
    wire.call("SET", "key", "value")
    wire.call("LPUSH", "key", "wrong")
    wire.call("EXEC")
    for name, failed in (("multi", 0), ("set", 0), ("lpush", 1), ("exec", 0)):
        calls = statistic(wire, "commandstats", f"cmdstat_{name}")
        assert (calls["calls"], calls["failed_calls"]) == (1, failed), name


def test_pipelined_calls(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    wire.send(encode("SET", "key", "value") * 50 + encode("GET", "key") * 50)
    for _ in range(100):
        wire.reply()
    assert statistic(wire, "commandstats", "cmdstat_set")["calls"] == 50
    assert statistic(wire, "commandstats", "cmdstat_get")["calls"] == 50


def test_errors(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    wire.call("NOSUCH")
    wire.call("SET", "key")
    wire.call("SET", "key", "value")
    wire.call("LPUSH", "key", "wrong")
    wire.call("AUTH", "nobody", "x")
    wire.call("MULTI")
    wire.call("NOSUCH")
    wire.call("EXEC")
    found = values(wire, "errorstats")
    assert found == {
        "errorstat_ERR": "count=3",
        "errorstat_EXECABORT": "count=1",
        "errorstat_WRONGPASS": "count=1",
        "errorstat_WRONGTYPE": "count=1",
    }
    assert number(wire, "stats", "total_error_replies") == 6


def test_latencies_of_commands(wire: Wire) -> None:
    wire.call("CONFIG", "RESETSTAT")
    wire.call("SET", "key", "value")
    found = statistic(wire, "latencystats", "latency_percentiles_usec_set")
    assert set(found) == {"p50", "p99", "p99.9"}
    assert found["p50"] > 0
    wire.call("CONFIG", "SET", "latency-tracking-info-percentiles", "0 75.5 100")
    found = statistic(wire, "latencystats", "latency_percentiles_usec_set")
    assert set(found) == {"p0", "p75.5", "p100"}
    assert "latency_percentiles_usec_config|set" in values(wire, "latencystats")
    wire.call("DEBUG", "SLEEP", "0.05")
    slow = statistic(wire, "latencystats", "latency_percentiles_usec_debug")
    assert 50_000 <= slow["p100"] < 40_000_000
    wire.call("CONFIG", "RESETSTAT")
    wire.call("CONFIG", "SET", "latency-tracking", "no")
    wire.call("SET", "key", "value")
    assert "latency_percentiles_usec_set" not in values(wire, "latencystats")


# Others who read it


def test_redis_py_reads_it(client: redis.Redis) -> None:
    client.set("key", "value")
    everything = client.info("everything")
    assert everything["redis_version"]
    assert everything["db0"]["keys"] == 1
    assert everything["cmdstat_set"]["calls"] >= 1


@pytest.mark.parametrize("option", ["--bigkeys", "--memkeys", "--hotkeys"])
def test_redis_cli_reads_it(wire: Wire, server: Server, option: str) -> None:
    wire.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    wire.call("SET", "string", "x" * 1000)
    wire.call("RPUSH", "list", *range(100))
    command = _redis_cli(server, option)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Sampled" in done.stdout or "hot key" in done.stdout


def test_redis_cli_stat(wire: Wire, server: Server) -> None:
    wire.call("SET", "key", "value")
    command = _redis_cli(server, "--stat", "-i", "0.01")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        header, names, first = (process.stdout.readline() for _ in range(3))
        process.kill()
    assert header.startswith("------- data")
    assert names.split()[:2] == ["keys", "mem"]
    assert first.split()[0] == "1"


def _redis_cli(server: Server, *words: str) -> list[str]:
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")
    return ["redis-cli", "-h", server.host, "-p", str(server.port), *words]
