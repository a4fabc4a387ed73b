"""`serve` and the pytest plugin, as docs/embedding.md shows them: its examples are run."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from distcache_server import CannotBack, CannotListen, ConfigError, serve
from distcache_server.pytest_plugin import DistcacheServer

PAGE = Path(__file__).parents[3] / "docs" / "embedding.md"


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_example_of_a_program(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(examples()[0])
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "hello\n", done.stderr


def test_the_example_of_tests(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(examples()[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_each_test_has_a_server_of_its_own(
    distcache: DistcacheServer, distcache_factory: Callable[..., DistcacheServer]
) -> None:
    other = distcache_factory()
    assert other.port != distcache.port
    with distcache.client() as one, other.client() as two:
        one.set("key", "value")
        assert two.dbsize() == 0
    with redis.Redis.from_url(distcache.url) as again:
        assert again.get("key") == b"value"


def test_a_wrong_setting_and_a_taken_port_are_told_apart() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="maxmemory"):
            async with serve(maxmemory="a lot"):
                pass
        async with serve() as server:
            with pytest.raises(CannotListen, match=str(server.port)):
                async with serve(port=server.port):
                    pass

    asyncio.run(main())


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        store, map_ = f"sqlite:///{tmp_path}/rows.db", str(tmp_path / "nowhere.toml")
        with pytest.raises(CannotBack, match=r"nowhere\.toml"):
            async with serve(backing_store=store, backing_map=map_):
                pass

    asyncio.run(main())


def test_a_stopped_server_leaves_nothing_open() -> None:
    async def main() -> None:
        async with serve() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"BLPOP queue 0\r\n")
            port = server.port
            while not server.engine.blocking.clients:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert (await reader.readline()).startswith(b"-UNBLOCKED")
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())
