"""Blocks of code in the documentation, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parents[2]


def block(file: str, language: str, having: str = "") -> str:
    """The first block of code in a language in which something stands."""
    text = (DOCS / file).read_text()
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return next(found for found in blocks if having in found)


def shown(text: str) -> list[str]:
    """What the comments behind its print calls say that it prints."""
    return re.findall(r"(?:print|console\.log|fmt\.Println)\(.*(?:  # | // )(.*)", text)


def renumbered(text: str, ports: Mapping[int, int]) -> str:
    """The text with other ports in it."""
    return re.sub(r"\b\d{4,5}\b", lambda found: str(ports.get(int(found[0]), found[0])), text)


__all__ = ["block", "renumbered", "shown"]
