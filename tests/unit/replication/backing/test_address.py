from __future__ import annotations

import pytest
from distcache_replication.backing.address import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite:///cache.db", "sqlite:///cache.db"),
        ("postgresql://me@host:1/x", "postgresql://me@host:1/x"),
        ("postgresql://me:p@ss:w@host/x", "postgresql://me@host/x"),
        ("postgresql://me:pw@host/x?password=pw&sslmode=off", "postgresql://me@host/x?sslmode=off"),
        ("postgresql:///x?sslpassword=pw", "postgresql:///x"),
        ("postgresql://h/x?sslmode=a&PASSWORD=pw&b=c", "postgresql://h/x?sslmode=a&b=c"),
    ],
)
def test_passwords_are_taken_out(address: str, shown: str) -> None:
    assert without_password(address) == shown
