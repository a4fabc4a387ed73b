"""The settings of the changefeed."""

from __future__ import annotations

from collections.abc import Sequence

from distcache_server.config.kinds import (
    INT_MAX,
    LONG_MAX,
    Boolean,
    ConfigError,
    Enum,
    Integer,
    Memory,
    Section,
    Setting,
)
from distcache_server.config.lists import Globs


class Databases(Setting[tuple[int, ...]]):
    """Numbers of databases."""

    several_words = True

    def parse(self, words: Sequence[bytes], old: tuple[int, ...]) -> tuple[int, ...]:
        given = [word for word in words if word]
        if not all(word.isdigit() and len(word) < 10 for word in given):
            raise ConfigError(f"{self.name} should be numbers of databases")
        return tuple(map(int, given))

    def show(self, value: tuple[int, ...]) -> bytes:
        return b" ".join(b"%d" % number for number in value)

    def lines(self, value: tuple[int, ...]) -> list[tuple[bytes, bool]]:
        return [(self.show(value) or b'""', value != self.default)]

    def accepts(self) -> str:
        return "numbers"


class Changefeed(Section):
    """The changefeed: what happens to keys, as a stream. See docs/changefeed.md."""

    changefeed_keys = Globs(
        (), "Only keys that match one of these patterns; all where there is none."
    )
    changefeed_databases = Databases((), "Only keys in these databases; all where there is none.")
    changefeed_format = Enum("json", ("json", "msgpack"), "How events are written.")
    changefeed_before = Boolean(
        False, "Events carry what the key was before, also where it expired or was evicted."
    )
    changefeed_value_limit = Memory(
        512 << 10, 0, 256 << 20, "Values that are larger are not carried by events."
    )
    changefeed_large_values = Enum(
        "omit",
        ("omit", "reference"),
        "What stands for a value that is too large: its length, or also where to get it.",
    )
    changefeed_tombstones = Boolean(
        False, "A record without a value follows when a key is gone, so that a topic is compacted."
    )
    changefeed_heartbeat = Integer(
        0,
        0,
        INT_MAX,
        "Milliseconds after which a reader who waits gets an event that only says how far the"
        " changefeed is; 0 for none.",
    )
    changefeed_buffer = Memory(
        64 << 20, 1 << 20, LONG_MAX, "How much of the last events is kept in memory for readers."
    )
    changefeed_retention = Memory(
        256 << 20,
        0,
        LONG_MAX,
        "With appendonly: how much of the log, and of the bases that it goes on from, is kept on"
        " disk for readers who come late, beyond what a start needs.",
    )
    changefeed_retention_time = Integer(
        3600, 0, LONG_MAX, "Seconds to keep that; 0 for no limit of time."
    )
