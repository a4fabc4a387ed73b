"""What the process of the changefeed has to know of the configuration."""

from __future__ import annotations

from typing import NamedTuple

from distcache_replication.changefeed.filters import Filter
from distcache_replication.changefeed.formats import Style

from distcache_server.config import Config
from distcache_server.glob import matcher


class Settings(NamedTuple):
    """Plain values, as they are sent to it."""

    databases: int
    patterns: list[bytes]
    only: list[int]
    """Databases whose keys are wanted; none for all."""
    most: int
    """Bytes of a value that an event carries."""
    before: bool
    format: str
    large: str
    tombstones: bool
    buffer: int
    """Bytes of events that are kept for readers."""

    @property
    def filter(self) -> Filter:
        return Filter([matcher(it) for it in self.patterns if it != b"*"], frozenset(self.only))

    @property
    def style(self) -> Style:
        return Style(self.format, self.large, self.tombstones)


NAMES = (
    "changefeed-keys",
    "changefeed-databases",
    "changefeed-value-limit",
    "changefeed-before",
    "changefeed-format",
    "changefeed-large-values",
    "changefeed-tombstones",
    "changefeed-buffer",
)
"""The directives that make these."""


def of(config: Config) -> Settings:
    """The settings as they are configured now."""
    return Settings(
        config.databases,
        list(config.changefeed_keys),
        [int(it) for it in config.changefeed_databases],
        config.changefeed_value_limit,
        config.changefeed_before,
        config.changefeed_format,
        config.changefeed_large_values,
        config.changefeed_tombstones,
        config.changefeed_buffer,
    )
