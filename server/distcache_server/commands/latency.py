"""LATENCY: how long commands take, and what took longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args
from distcache_server.errors import NoSamples
from distcache_server.latency import Event, graph
from distcache_server.registry import ADMIN, LOADING, NOSCRIPT, STALE, by_name, group
from distcache_server.reply import VerbatimString

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("server")

PLAIN = ADMIN | NOSCRIPT | LOADING | STALE
REPORT = "nondeterministic_output request_policy:all_nodes response_policy:special"


@command("LATENCY", arity=-2, since="2.8.13", complexity="Depends on subcommand.", help="2.8.13")
def latency(_: Client, __: Args) -> Any:
    """Looks at what took long."""


@command("LATENCY LATEST", PLAIN, since="2.8.13", tips=REPORT, sub=True)
def latency_latest(client: Client, _: Args) -> list[Any]:
    """Returns of each event: name, Unix time of the last, its milliseconds, and the longest ever.

    Events are ``command``, ``fast-command`` and what the server does besides.
    """
    return [
        [name.encode(), event.samples[-1].time_s, event.samples[-1].ms, event.longest_ms]
        for name, event in client.engine.latency.events.items()
    ]


@command("LATENCY HISTORY event", PLAIN, since="2.8.13", tips=REPORT, sub=True)
def latency_history(client: Client, words: Args) -> list[Any]:
    """Returns Unix time and milliseconds of the last occurrences of an event."""
    return [list(sample) for sample in client.engine.latency.history(_name(words[2]))]


@command(
    "LATENCY RESET [event [event ...]]",
    PLAIN,
    since="2.8.13",
    tips="request_policy:all_nodes response_policy:agg_sum",
    sub=True,
)
def latency_reset(client: Client, words: Args) -> int:
    """Forgets events, or all of them."""
    return client.engine.latency.reset([_name(word) for word in words[2:]])


@command("LATENCY GRAPH event", PLAIN, since="2.8.13", tips=REPORT, sub=True)
def latency_graph(client: Client, words: Args) -> VerbatimString:
    """Draws the last occurrences of an event."""
    event = client.engine.latency.events.get(_name(words[2]))
    if event is None:
        raise NoSamples(words[2])
    times = [sample.ms for sample in event.samples]
    title = (
        f"{_name(words[2])} - high {max(times)} ms, low {min(times)} ms"
        f" (all time high {event.longest_ms} ms)"
    )
    picture = graph(list(event.samples), client.engine.now_ms // 1000)
    return VerbatimString("\n".join([title, "-" * len(title), *picture, ""]).encode())


@command("LATENCY DOCTOR", PLAIN, since="2.8.13", tips=REPORT, sub=True)
def latency_doctor(client: Client, _: Args) -> VerbatimString:
    """Says in words which events took long, and what helps."""
    latency = client.engine.latency
    if not latency.threshold_ms:
        lines = [
            "Nothing is measured, since latency-monitor-threshold is 0. To note whatever takes"
            " 100 ms or more: CONFIG SET latency-monitor-threshold 100"
        ]
    elif not latency.events:
        lines = [f"All is well: nothing took {latency.threshold_ms} ms or more."]
    else:
        lines = [_finding(name, event) for name, event in sorted(latency.events.items())]
        if {"command", "fast-command"} & latency.events.keys():
            lines.append(
                "SLOWLOG GET shows which commands these were. One that looks at every element of"
                " a large value, or at every key, keeps all other clients waiting: use the SCAN"
                " family, smaller values, or ranges."
            )
    return VerbatimString("\n".join([*lines, ""]).encode())


def _finding(name: str, event: Event) -> str:
    times = [sample.ms for sample in event.samples]
    seconds = event.samples[-1].time_s - event.samples[0].time_s + 1
    return (
        f"{name}: in {len(times)} of {seconds} seconds, {sum(times) / len(times):.0f} ms on"
        f" average, {event.longest_ms} ms at worst."
    )


@command(
    "LATENCY HISTOGRAM [command [command ...]]",
    PLAIN,
    since="7.0.0",
    complexity="O(N) where N is the number of commands",
    tips=REPORT,
    sub=True,
)
def latency_histogram(client: Client, words: Args) -> dict[bytes, Any]:
    """Returns how many calls of each command took no longer than so many microseconds."""
    engine = client.engine
    names: list[str] = []
    for word in words[2:]:
        found = by_name(_name(word))
        if found is not None:
            names += [found.name, *(sub.name for sub in found.subcommands.values())]
    return {
        name.encode(): {b"calls": stats.calls, b"histogram_usec": stats.distribution()}
        for name in (names if len(words) > 2 else sorted(engine.stats))
        if engine.config.latency_tracking and (stats := engine.stats[name]).calls
    }


def _name(word: bytes) -> str:
    return word.decode("utf-8", "backslashreplace")
