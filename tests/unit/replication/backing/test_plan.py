"""Which values fit the columns of a row."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from distcache_replication import rdb
from distcache_replication.backing import kinds, mapping
from distcache_replication.backing.errors import Unfit
from distcache_replication.backing.kinds import Kind
from distcache_replication.backing.plan import Column, Plan, Table, bind


def plan(kind: Kind, form: str = "column") -> Plan:
    what = 'column = "value"' if form == "column" else ""
    map_ = f'[rows]\nkey = "row:{{id}}"\nas = "{form}"\ndirection = "write-behind"\n{what}\n'
    columns = (
        Column("id", kinds.text(), "text", nullable=False),
        Column("value", kind, kind.name),
    )
    return bind(mapping.load(map_)[0], Table(("rows",), columns, (("id",),)))


@pytest.mark.parametrize(
    ("of", "values", "fit"),
    [
        (plan(kinds.text()), [b"plain", b"", b"\xc3\xa9"], True),
        (plan(kinds.text()), [b"plain", b"with\0nul"], False),
        (plan(kinds.text()), [b"half \xc3", b"\xa9 and half"], False),
        (plan(kinds.text("varchar(3)", 3)), [b"abc", b"\xc3\xa9\xc3\xa9\xc3\xa9"], True),
        (plan(kinds.text("varchar(3)", 3)), [b"abc", b"abcd"], False),
        (plan(kinds.integer("int4", 32)), [b"1", b"-2147483648"], True),
        (plan(kinds.integer("int4", 32)), [b"1", b"x"], False),
        (plan(kinds.BYTES), [b"\0\xff"], True),
        (plan(kinds.text(), "json"), [b'{"value":"x"}', b"{}"], True),
        (plan(kinds.text(), "json"), [b'{"value":"x"}', b'{"other":"x"}'], False),
        (plan(kinds.text(), "hash"), [b"x"], False),
    ],
)
def test_many_strings_are_judged_as_each_alone(of: Plan, values: list[bytes], fit: bool) -> None:
    def each() -> None:
        for value in values:
            of.fit(rdb.STRING, value)

    for judge in (each, lambda: of.fit_strings(values)):
        with nullcontext() if fit else pytest.raises(Unfit):
            judge()
