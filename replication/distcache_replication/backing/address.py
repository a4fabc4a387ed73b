"""Addresses of stores, which may have passwords in them."""

from __future__ import annotations

from urllib.parse import urlsplit


def without_password(address: str) -> str:
    """The address as logs may show it."""
    try:
        parts = urlsplit(address)
        query = "&".join(
            it for it in parts.query.split("&") if it and "pass" not in it.partition("=")[0].lower()
        )
        _, at, host = parts.netloc.rpartition("@")
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        return parts._replace(netloc=user + at + host, query=query).geturl()
    except ValueError:
        return "(redacted)"
