"""When a value is held in its compact form."""


class Limits:
    """Thresholds of the compact encodings, copied from the configuration when it changes."""

    __slots__ = (
        "hash_entries",
        "hash_value",
        "hll_sparse",
        "list_size",
        "set_entries",
        "set_intset",
        "set_value",
        "stream_bytes",
        "stream_entries",
        "zset_entries",
        "zset_value",
    )

    def __init__(self) -> None:
        self.hash_entries = 128
        self.hash_value = 64
        self.hll_sparse = 3000
        self.list_size = -2
        self.set_entries = 128
        self.set_intset = 512
        self.set_value = 64
        self.stream_bytes = 4096
        self.stream_entries = 100
        self.zset_entries = 128
        self.zset_value = 64
