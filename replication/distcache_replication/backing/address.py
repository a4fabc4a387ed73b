"""Addresses of stores, which may have passwords in them."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*@")
_OPTION = re.compile(r"(?<=[?&])[^=&]*pass[^=&]*=[^&#]*&?", re.IGNORECASE)


def without_password(address: str) -> str:
    """The address as logs may show it."""
    return _OPTION.sub("", _PASSWORD.sub(r"\1@", address)).rstrip("?&")
