"""SET before a backing store: most writes are such, and nothing has to be loaded for them.

The same as for other commands (loading.py), in fewer steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from distcache_replication.backing.errors import Unfit

from distcache_server.arguments import Args, Columns
from distcache_server.client import Client

if TYPE_CHECKING:
    from distcache_replication.backing.plan import Plan

    from distcache_server.fitting import Fitting
    from distcache_server.loading import Loader
    from distcache_server.registry import Command, Handler, Run


def one(
    loader: Loader, fitting: Fitting, command: Command, general: Handler, handler: Handler
) -> Handler:
    """The handler of SET; ``general`` is for what is not so simple."""
    home, match, fence, plans = loader.home, loader.match, loader.fence, loader.plans

    def run(client: Client, words: Args) -> Any:
        key = words[1]
        if (found := match(key)) is None:
            return handler(client, words)
        plan, waits = plans[found[0]], loader.waits
        if (
            len(words) > 3
            or client.keyspace is not home
            or plan.mapping.through
            or (waits is not None and waits.writer.full)
        ):
            return general(client, words)
        fence(key)
        if not plan.any_type:
            fitting.judge(home, command, words, (key,), ((key, plan, found[1]),))
        return handler(client, words)

    return run


def many(loader: Loader, original: Run) -> Run:
    """What runs many SET without options at once."""
    home, plan = loader.home, loader.plans[0]
    # What fits whatever it is the value of need not be told apart.
    simple = len(loader.plans) == 1 and not plan.mapping.through

    def run(client: Client, columns: Columns) -> list[Any] | None:
        if client.keyspace is not home:
            return original(client, columns)
        if loader.waits is not None and loader.waits.writer.full:
            return None
        _, keys, values = columns
        if not (simple and plan.takes(values) and plan.takes_keys(keys)):
            try:
                for each, its in _by_plan(loader, keys, values):
                    if each.mapping.through:
                        return None
                    each.fit_strings(its)
            except Unfit:
                return None
        if loader.loads or loader.absent:
            for key in keys:
                loader.fence(key)
        return original(client, columns)

    return run


def _by_plan(
    loader: Loader, keys: Sequence[bytes], values: Sequence[bytes]
) -> Iterable[tuple[Plan, Sequence[bytes]]]:
    """The values of keys that are rows, by their plans; Unfit where no row can have such a key."""
    match, plans, waits = loader.match, loader.plans, loader.waits
    # Keys that have changed since the last batch are known by now.
    noted = waits.writer.noter.gathering.noted if waits is not None else {}
    found: dict[Plan, list[bytes]] = {}
    for key, value in zip(keys, values, strict=True):
        if key in noted:
            plan = noted[key][0]
        elif (matched := match(key)) is not None:
            plan = plans[matched[0]]
            plan.judge_key(key, matched[1])
        else:
            continue
        found.setdefault(plan, []).append(value)
    return found.items()
