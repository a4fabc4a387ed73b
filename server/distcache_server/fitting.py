"""Refuses a write whose outcome would not fit the columns that its key is mapped to.

So that this holds for every command, a write to such a key is rehearsed: its handler runs on copies
of the values that it works with, and what it leaves there is judged.  Only then does it run for
good.  Keys that are not mapped to columns are not rehearsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from distcache_replication import rdb
from distcache_replication.backing.errors import Unfit

from distcache_server.arguments import Args
from distcache_server.blocking import Wait
from distcache_server.client import Client
from distcache_server.errors import CommandError, Misfit
from distcache_server.keyspace import Keyspace
from distcache_server.types.buffer import Buffer
from distcache_server.types.hash import Hash

if TYPE_CHECKING:
    from distcache_replication.backing.plan import Plan

    from distcache_server.engine import Engine
    from distcache_server.registry import Command


class _Rehearsal(Client):
    """A client whose databases are empty but for what it is given."""

    __slots__ = ("stage",)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.stage: dict[int, Keyspace] = {}

    def set(self, home: Keyspace) -> Keyspace:
        """Make an empty stage for a database; its clock is that of the batch."""
        stage = Keyspace(home.index, home.limits)
        stage.now_ms = home.now_ms
        self.keyspace = stage
        self.stage = {home.index: stage}
        return stage

    def database(self, index: int) -> Keyspace:
        """Other databases are empty, too."""
        found = self.stage.get(index)
        if found is None:
            found = self.stage[index] = Keyspace(index, self.keyspace.limits)
            found.now_ms = self.keyspace.now_ms
        return found


def plain(value: Any) -> tuple[int, Any]:
    """A string or hash in plain form; any other value only says that it is none."""
    if type(value) is bytes:
        return rdb.STRING, value
    if type(value) is Buffer:
        return rdb.STRING, bytes(value)
    if type(value) is Hash:
        fields = dict(value.items())
        if value.deadlines:
            return rdb.HASH, rdb.Expiring(fields, dict(value.deadlines.by_field.items()))
        return rdb.HASH, fields
    return rdb.LIST, None


def _set(_: Keyspace, words: Args, plan: Plan) -> bool:
    """SET without options: the value is what it says."""
    if len(words) != 3:
        return False
    plan.fit(rdb.STRING, words[2])
    return True


def _hset(home: Keyspace, words: Args, plan: Plan) -> bool:
    """HSET of a row that is there: its other fields stay what they are."""
    if plan.mapping.form != "hash" or type(home.peek(words[1])) is not Hash or len(words) & 1:
        return False
    for field, value in zip(words[2::2], words[3::2], strict=True):
        plan.fit_field(field, value)
    return True


SHORT: dict[str, Callable[[Keyspace, Args, Plan], bool]] = {"set": _set, "hset": _hset}
"""Frequent commands that are judged by their words.  False leaves it to a rehearsal."""


class Fitting:
    """Judges writes of one engine, before they run."""

    def __init__(self, engine: Engine) -> None:
        self._client = _Rehearsal(engine)

    def judge(
        self,
        home: Keyspace,
        command: Command,
        words: Args,
        keys: Iterable[bytes],
        mapped: Sequence[tuple[bytes, Plan, Sequence[bytes]]],
    ) -> None:
        """Raise Misfit where ``words`` would leave a key unfit for its plan.

        ``keys`` are all that the command works with, ``mapped`` those that it may change, with
        their variables.
        """
        short = SHORT.get(command.name)
        if short is not None:
            key, plan, variables = mapped[0]
            try:
                if short(home, words, plan):
                    plan.judge_key(key, variables)
                    return
            except Unfit as error:
                raise _misfit(plan, error) from None
        engine = self._client.engine
        stage = self._client.set(home)
        for key in keys:
            value = home.peek(key)
            if value is not None:
                stage.replace(key, value if type(value) is bytes else value.copy())
                if (deadline := home.deadline(key)) is not None:
                    stage.expire_at(key, deadline)
        # Nothing is begun that waits.  What has expired above is in the log by now.
        within, engine.in_transaction = engine.in_transaction, True
        try:
            command.handler(self._client, words)
        except (CommandError, Wait):
            return  # so will the command itself
        finally:
            engine.in_transaction = within
            self._client.effect = None
        for key, plan, variables in mapped:
            value = stage.peek(key)
            if value is None:
                continue
            try:
                plan.judge_key(key, variables)
                plan.fit(*plain(value))
            except Unfit as error:
                raise _misfit(plan, error) from None


def _misfit(plan: Plan, error: Unfit) -> Misfit:
    return Misfit(plan.mapping.name.encode(), error.reason.encode("utf-8", "replace"))
