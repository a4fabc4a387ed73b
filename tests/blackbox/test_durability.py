"""What was promised is there after a restart, whatever ended the server."""

import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.support import Error, Process, Server, StartServer, eventually
from tests.support.samples import LIBRARY
from tests.support.servers import OURS, free_port, redis_server
from tests.support.writes import write
from tests.torture.clients import Load, check

pytestmark = pytest.mark.ours("it is about our files")

POLICIES = ["always", "everysec", "no"]
LOG = "appendonly.aof"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data directory, which outlives the servers."""
    data = tmp_path / "data"
    data.mkdir()
    return data


Start = Callable[..., Process]


@pytest.fixture
def start(start_server: StartServer, folder: Path) -> Start:
    """Start a server on the data directory, and wait until it has loaded it."""

    def begin(*arguments: str) -> Process:
        server = start_server(
            *("--dir", str(folder), "--appendonly", "yes", "--rdb-version", "10", *arguments),
        )
        wait_loaded(server)
        return server

    return begin


def wait_loaded(server: Server) -> None:
    def loaded() -> bool:
        with server.wire() as wire:
            reply: object = wire.call("PING")
        return reply == b"PONG"

    eventually(loaded)


def digest(server: Server) -> object:
    with server.wire() as wire:
        return wire.call("DEBUG", "DIGEST")


def contents(server: Server) -> dict[object, object]:
    """All keys, however the server prints scores; deadlines are looked at for being there."""
    found: dict[object, object] = {}
    for database in (0, 3):
        with server.client(db=database) as client:
            for key in client.scan_iter():
                found[database, key] = value_of(client, key), client.pttl(key) > 0
    return found


def value_of(client: redis.Redis, key: bytes) -> object:
    match client.type(key):
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"hash":
            return client.hgetall(key)
        case b"zset":
            return client.zrange(key, 0, -1, withscores=True)
        case b"stream":
            return client.xrange(key), client.xinfo_groups(key)
    return client.get(key)


def information(server: Server) -> dict[str, object]:
    with server.client() as client:
        found: dict[str, object] = client.info("persistence")
        return found


def fill(server: Server, seed: int = 0, count: int = 3000) -> None:
    """Random writes; nothing that expires soon, so that the digest stays."""
    generator = random.Random(seed)
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(count):
            words = write(generator)
            if words[0].startswith("B") or "PX" in words or "EXPIRE" in words[0]:
                continue
            if words[0] not in ("SETEX", "PSETEX"):
                pipe.execute_command(*words)
        pipe.execute(raise_on_error=False)
        client.select(3)
        client.set("in another database", 1, ex=10_000)


def finish_rewrite(server: Server) -> None:
    def finished() -> bool:
        return not information(server)["aof_rewrite_in_progress"]

    eventually(finished)
    assert information(server)["aof_last_bgrewrite_status"] == "ok"


def files(folder: Path) -> list[Path]:
    return sorted((folder / "appendonlydir").iterdir())


@pytest.mark.parametrize(
    ("policy", "rewrite", "preamble"),
    [("always", True, "yes"), ("everysec", True, "no"), ("no", False, "yes")],
)
def test_a_restart_brings_everything_back(
    start: Start, policy: str, rewrite: bool, preamble: str
) -> None:
    server = start("--appendfsync", policy, "--aof-use-rdb-preamble", preamble)
    fill(server)
    if rewrite:
        with server.client() as client:
            assert client.bgrewriteaof()
        finish_rewrite(server)
        fill(server, 1)
    before = digest(server)
    assert server.stop() == 0
    assert digest(start()) == before


@pytest.mark.parametrize(
    ("policy", "rewrite"),
    [("always", True), ("everysec", True), ("everysec", False), ("no", False)],
)
def test_killed_at_any_moment(start: Start, policy: str, rewrite: bool) -> None:
    server = start("--appendfsync", policy)
    load = Load(server)
    eventually(lambda: load.acknowledged > 300)
    if rewrite:
        with server.client() as client:
            client.bgrewriteaof()
    seen = load.acknowledged
    eventually(lambda: load.acknowledged > seen)
    server.kill()
    load.wait()
    again = start("--appendfsync", policy)
    assert not check(again, load.records)
    # And once more: what was recovered is on disk.
    again.kill()
    assert not check(start(), load.records)


def test_killed_during_one_rewrite_after_the_other(start: Start, folder: Path) -> None:
    small = ("--auto-aof-rewrite-min-size", "1kb", "--auto-aof-rewrite-percentage", "1")
    server = start(*small, "--repl-disk-retention", "0", "--changefeed-retention", "0")
    load = Load(server)
    eventually(lambda: int(str(information(server)["aof_rewrites"])) >= 3)
    server.kill()
    load.wait()
    assert not check(
        start("--repl-disk-retention", "0", "--changefeed-retention", "0"), load.records
    )

    def is_clean() -> bool:
        # While old files go, there is another manifest for a moment.
        names = [path.name for path in files(folder)]
        return len(names) <= 6 and not any(name.startswith("temp") for name in names)

    eventually(is_clean)


@pytest.mark.parametrize(
    "words",
    [
        ("RPOP", "c0:log"),
        ("RPUSH", "c0:log", "1000000"),
        ("LSET", "c0:log", "0", "other"),
        ("HSET", "c0:hash", "other", "1"),
        ("INCR", "c0:count"),
        ("INCR", "bank:a"),
        ("DEL", "c0:zset"),
        ("PERSIST", "c0:until4"),
        ("SET", "c0:new", "1"),
    ],
)
def test_the_checker_sees_what_is_wrong(server: Server, words: tuple[str, ...]) -> None:
    load = Load(server, clients=1)
    eventually(lambda: load.acknowledged > 40)
    load.stop()
    assert not check(server, load.records)
    with server.client() as client:
        client.execute_command(*words)
    assert check(server, load.records)


def test_a_torn_tail_is_cut_and_reported(start: Start, folder: Path) -> None:
    server = start()
    with server.client() as client:
        client.set("a", 1)
        client.set("b", 2)
    server.kill()
    last = files(folder)[-2]
    data = last.read_bytes()
    # Within the last command; there may be a line behind it that says that it was flushed.
    last.write_bytes(data[: data.rindex(b"\r\n2\r\n") + 2])
    server = start()
    assert f"file={last} offset=" in server.log()
    with server.client() as client:
        assert client.mget("a", "b") == [b"1", None]


def test_a_torn_transaction_of_redis_is_cut(start: Start, folder: Path) -> None:
    server = start()
    with server.client() as client:
        client.set("a", 1)
    server.kill()
    last = files(folder)[-2]
    begun = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n"
    last.write_bytes(last.read_bytes() + begun)
    for count in range(1, 4):
        server = start()
        with server.client() as client:
            assert client.get("a") == b"%d" % count
            client.incr("a")
        server.stop()


@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_damage_stops_the_start(start: Start, folder: Path, harm: str) -> None:
    server = start()
    with server.client() as client:
        client.set("a", "value")
        client.set("b", "value")
    first = folder / "appendonlydir" / f"{LOG}.1.incr.aof"
    # What was not flushed may be anything.
    eventually(lambda: b"#dc=" in first.read_bytes().rpartition(b"value")[2])
    server.kill()
    data = bytearray(first.read_bytes())
    data[data.index(b"value")] ^= 1
    if harm == "flip":
        first.write_bytes(data)
    else:
        first.unlink()
    result = subprocess.run(
        [*OURS, "--port", str(free_port()), "--dir", str(folder), "--appendonly", "yes"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    message = next(line for line in result.stdout.splitlines() if "cannot be loaded" in line)
    assert str(first) in message
    assert "To go on: " in message
    assert ("at offset " in message) == (harm == "flip")


def test_appendonly_at_run_time(start_server: StartServer, start: Start, folder: Path) -> None:
    server = start_server("--dir", str(folder))
    fill(server)
    with server.client() as client:
        client.config_set("appendonly", "yes")
        finish_rewrite(server)
        client.set("later", 1)
        assert information(server)["aof_enabled"] == 1
    before = digest(server)
    server.kill()
    server = start()
    assert digest(server) == before
    with server.client() as client:
        client.config_set("appendonly", "no")
        assert information(server)["aof_enabled"] == 0
        client.set("not logged", 1)
        client.config_set("appendonly", "yes")
        client.config_set("appendonly", "no")
        client.config_set("appendonly", "yes")
        eventually(lambda: information(server)["aof_enabled"] == 1)
        finish_rewrite(server)
        client.set("logged", 1)
    before = digest(server)
    server.kill()
    assert digest(start()) == before


def limit(server: Process, size: int) -> None:
    """No file of the server may become longer."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_full_disk(start: Start, policy: str) -> None:
    server = start("--appendfsync", policy)
    with server.client() as client, server.wire() as wire:
        client.set("a", "x" * 1000)
        limit(server, 2000)
        # Nobody knows what becomes of the write that fails: it is not acknowledged.
        wire.command("SET", "b", "x" * 2000)
        wire.expect_closed()
        for words in (("SET", "c", "1"), ("PING",)):
            with server.wire() as other:
                reply = other.call(*words)
            assert isinstance(reply, Error)
            assert reply.startswith(b"MISCONF Errors writing to the AOF file: ")
        with server.wire() as other:
            assert other.call("MULTI") == b"OK"
            assert isinstance(other.call("DEL", "a"), Error)
            assert isinstance(other.call("EXEC"), Error)
        assert client.get("a") == b"x" * 1000
        assert information(server)["aof_last_write_status"] == "err"
        limit(server, resource.RLIM_INFINITY)
        eventually(lambda: information(server)["aof_last_write_status"] == "ok")
        client.set("d", 1)
    before = digest(server)
    server.kill()
    again = start()
    assert digest(again) == before
    with again.client() as client:
        assert client.mget("c", "d") == [None, b"1"]


def start_redis(folder: Path, preamble: str) -> Process:
    """One that may be killed: under everysec it acknowledges before it writes, during a flush."""
    settings = ("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always")
    command = (str(redis_server()),)
    return Process(command, (*settings, "--aof-use-rdb-preamble", preamble), folder.parent / "real")


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_redis_takes_over_and_back(start: Start, folder: Path, preamble: str) -> None:
    if redis_server() is None:
        pytest.skip("redis-server is not installed")
    server = start("--aof-use-rdb-preamble", preamble)
    fill(server)
    with server.client() as client:
        client.delete(*[key for key in client.scan_iter() if client.type(key) == b"hash"])
        client.bgrewriteaof()
        finish_rewrite(server)
        client.rpush("list", *range(200))
    before = contents(server)
    server.stop()
    subprocess.run(
        ["redis-check-aof", str(folder / "appendonlydir" / f"{LOG}.manifest")],
        check=True,
        capture_output=True,
    )
    real = start_redis(folder, preamble)
    try:
        wait_loaded(real)
        assert contents(real) == before
        with real.client() as client:
            client.set("from redis", 1)
            client.transaction(lambda pipe: pipe.incr("n").incr("m"))
        middle = contents(real)
        real.kill()
        server = start()
        assert contents(server) == middle
        with server.client() as client:
            client.set("from us", 1)
        server.kill()
        server = start()
        with server.client() as client:
            assert client.mget("from redis", "from us", "n") == [b"1", b"1", b"1"]
    finally:
        real.kill()


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_redis_rewrote(start: Start, folder: Path, preamble: str) -> None:
    if redis_server() is None:
        pytest.skip("redis-server is not installed")
    real = start_redis(folder, preamble)
    try:
        fill(real, 5)
        with real.client() as client:
            client.function_load(LIBRARY)
            client.bgrewriteaof()
            eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
            client.function_load(LIBRARY, replace=True)
            client.set("behind it", 1)
        before = contents(real)
    finally:
        real.kill()
    assert contents(start()) == before


def test_nothing_is_left_behind(start: Start, folder: Path) -> None:
    for _ in range(3):
        start().stop()
    assert len(files(folder)) == 2
    shutil.rmtree(folder / "appendonlydir")
    with start().client() as client:
        assert client.dbsize() == 0


def test_bgrewriteaof_without_a_log(start_server: StartServer, start: Start, folder: Path) -> None:
    server = start_server("--dir", str(folder))
    fill(server)
    with server.client() as client:
        assert client.bgrewriteaof()
    finish_rewrite(server)
    before = digest(server)
    server.kill()
    assert digest(start()) == before


def test_one_rewrite_at_a_time(start: Start) -> None:
    server = start()
    with server.wire() as wire:
        wire.send(b"BGREWRITEAOF\r\nBGREWRITEAOF\r\n")
        assert wire.reply() == b"Background append only file rewriting started"
        error = wire.reply()
        assert isinstance(error, Error)
        assert error.endswith(b"already in progress")
    finish_rewrite(server)
