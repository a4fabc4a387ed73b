"""What `make bench` runs: throughput, memory and latency beside a real redis-server.

    python -m benchmarks             # under ten minutes
    python -m benchmarks --quick     # under two

Each of the three can run alone: `python -m benchmarks.throughput`, `.memory`, `.latency`. Time per
command without a socket is `python -m benchmarks.hot_path`; what snapshots cost, `.saving`.
"""

from benchmarks import latency, memory, report, throughput

report.run(__doc__, [throughput.BENCHMARK, memory.BENCHMARK, latency.BENCHMARK])
