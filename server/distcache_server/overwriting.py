"""SET before a backing store: most writes are such, and nothing has to be loaded for them.

The same as for other commands (loading.py), in fewer steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distcache_replication import rdb
from distcache_replication.backing.errors import Unfit

from distcache_server.arguments import Args, Columns
from distcache_server.client import Client

if TYPE_CHECKING:
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
            fitting.judge(home, command, words, (key,), ((key, plan),))
        return handler(client, words)

    return run


def many(loader: Loader, original: Run) -> Run:
    """What runs many SET without options at once."""
    home, match, fence, plans = loader.home, loader.match, loader.fence, loader.plans

    def run(client: Client, columns: Columns) -> list[Any] | None:
        if client.keyspace is not home:
            return original(client, columns)
        if loader.waits is not None and loader.waits.writer.full:
            return None
        for key, value in zip(columns[1], columns[2], strict=True):
            if (found := match(key)) is None:
                continue
            plan = plans[found[0]]
            if plan.mapping.through:
                return None
            if not plan.any_type:
                try:
                    plan.fit(rdb.STRING, value)
                except Unfit:
                    return None
            fence(key)
        return original(client, columns)

    return run
