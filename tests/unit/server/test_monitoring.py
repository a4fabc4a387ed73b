"""The lines of MONITOR."""

import re

from distcache_server.client import Client
from distcache_server.dispatch import install
from distcache_server.engine import Engine
from distcache_server.monitoring import show


def test_a_line() -> None:
    engine = Engine()
    install(engine)
    speaker, monitor = Client(engine, 1), Client(engine, 2)
    heard: list[bytes] = []
    monitor.send = heard.append
    engine.monitor(monitor)
    speaker.address = "127.0.0.1:4711"
    speaker.keyspace = engine.databases[3]
    show(speaker, [b"SET", b'a "key"', b"\x00\r\n\xff"])
    (line,) = heard
    assert re.fullmatch(
        rb'\+\d{10}\.\d{6} \[3 127\.0\.0\.1:4711\] "SET" "a \\"key\\"" "\\x00\\r\\n\\xff"\r\n', line
    )
    speaker.unix, speaker.address = True, "/tmp/socket:0"  # noqa: S108
    show(speaker, [b"PING"])
    assert heard[1].endswith(b'[3 unix:/tmp/socket] "PING"\r\n')


def test_a_monitor_gets_its_own_line_from_the_caller() -> None:
    engine = Engine()
    install(engine)
    monitor = Client(engine, 1)
    heard: list[bytes] = []
    monitor.send = heard.append
    engine.monitor(monitor)
    assert show(monitor, [b"PING"]).endswith(b'"PING"\r\n')
    assert heard == []
