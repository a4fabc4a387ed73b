"""What LATENCY remembers and draws."""

from distcache_server.latency import LENGTH, Latency, Sample, age, graph

MS = 1_000_000


def test_nothing_is_noted_below_the_threshold() -> None:
    latency = Latency()
    latency.note("command", 5_000, 500 * MS)
    latency.threshold_ms = 10
    latency.note("command", 5_000, 10 * MS - 1)
    assert latency.events == {}
    latency.note("command", 5_000, 10 * MS)
    assert latency.history("command") == [Sample(5, 10)]
    assert latency.history("other") == []


def test_the_longest_of_a_second_counts() -> None:
    latency = Latency()
    latency.threshold_ms = 1
    for now_ms, ms in ((5_000, 20), (5_500, 30), (5_999, 10), (6_000, 5)):
        latency.note("command", now_ms, ms * MS)
    assert latency.history("command") == [Sample(5, 30), Sample(6, 5)]
    assert latency.events["command"].longest_ms == 30


def test_old_samples_go() -> None:
    latency = Latency()
    latency.threshold_ms = 1
    for second in range(LENGTH + 10):
        latency.note("command", second * 1000, (LENGTH - second % LENGTH) * MS)
    assert len(latency.history("command")) == LENGTH
    assert latency.history("command")[0].time_s == 10
    assert latency.events["command"].longest_ms == LENGTH


def test_reset() -> None:
    latency = Latency()
    latency.threshold_ms = 1
    for name in ("a", "b", "c"):
        latency.note(name, 0, MS)
    assert latency.reset(["a", "x"]) == 1
    assert set(latency.events) == {"b", "c"}
    assert latency.reset() == 2
    assert latency.reset() == 0


def test_a_graph() -> None:
    assert graph([], 0) == []
    assert graph([Sample(95, 100)], 100) == ["", "", "", "_", "", "5", "s"]
    picture = graph([Sample(0, 10), Sample(50, 60), Sample(90, 120)], 100)
    assert picture == [
        "  #",
        "  #",
        " ##",
        "_##",
        "",
        "151",
        "m00",
        " ss",
    ]


def test_ages() -> None:
    ages = [age(seconds) for seconds in (-1, 0, 59, 60, 3599, 3600, 86399, 86400, 10**6)]
    assert ages == ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "11d"]
