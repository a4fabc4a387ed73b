"""What `make bench` runs: throughput, memory, latency and replication beside a real redis-server.

    python -m benchmarks             # about fifteen minutes
    python -m benchmarks --quick     # about three

Each of the four can run alone: `python -m benchmarks.throughput`, `.memory`, `.latency`,
`.replication`. Time per command without a socket is `python -m benchmarks.hot_path`; what snapshots
cost, `.saving`; and what a database behind the cache does, `.backing`.
"""

from benchmarks import latency, memory, replication, report, throughput

report.run(
    __doc__,
    [throughput.BENCHMARK, memory.BENCHMARK, latency.BENCHMARK, replication.BENCHMARK],
)
