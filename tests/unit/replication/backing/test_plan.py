"""Which values fit the columns of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import pytest
from distcache_replication import rdb
from distcache_replication.backing import kinds, mapping
from distcache_replication.backing.changes import change, changes_of_strings
from distcache_replication.backing.errors import Unfit
from distcache_replication.backing.kinds import Kind
from distcache_replication.backing.pattern import matcher
from distcache_replication.backing.plan import Column, Plan, Table, bind
from hypothesis import given
from hypothesis import strategies as st

KINDS = [
    *(kinds.text(), kinds.text("varchar(3)", 3), kinds.integer("int2", 16)),
    *(kinds.integer("int8", 64), kinds.numeric(), kinds.BOOLEAN, kinds.BYTES),
]
WORDS = st.one_of(
    st.integers(-(2**64), 2**64).map(b"%d".__mod__),
    st.sampled_from([b"", b"0", b"-0", b"007", b"1\0", b"\0", b"\xff", b"true", b"a\0b"]),
    st.text(max_size=5).map(str.encode),
)


def outcome(of: Callable[[], Sequence[object]]) -> Sequence[object] | None:
    try:
        return of()
    except Unfit:
        return None


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda it: it.name)
@given(values=st.lists(WORDS, max_size=4))
def test_many_values_fit_as_each_alone(kind: Kind, values: list[bytes]) -> None:
    each = outcome(lambda: list(map(kind.fit, values)))
    assert outcome(lambda: kind.fit_all(values)) == each


def test_changes_of_many_strings_are_those_of_each() -> None:
    of = plan(kinds.integer("int4", 32))
    keys, variables = [b"row:a", b"row:b"], [(b"a",), (b"b",)]
    made = changes_of_strings(keys, of, variables, rdb.STRING, [b"1", b"-2"])
    assert made is not None
    assert list(made) == [
        change(b"row:a", of, (b"a",), rdb.STRING, b"1", None),
        change(b"row:b", of, (b"b",), rdb.STRING, b"-2", None),
    ]
    assert changes_of_strings(keys, of, variables, rdb.STRING, [b"1", b"x"]) is None
    hashes = plan(kinds.text(), "hash")
    assert changes_of_strings(keys, hashes, variables, rdb.STRING, [b"1", b"2"]) is None


def keyed(key: str, *kinds_: Kind) -> Plan:
    """A plan of keys with these variables, ``a``, ``b`` and so on."""
    map_ = f'[rows]\nkey = "{key}"\nas = "column"\ncolumn = "value"\n'
    names = "abc"[: len(kinds_)]
    columns = [Column(name, kind, kind.name) for name, kind in zip(names, kinds_, strict=True)]
    columns.append(Column("value", kinds.text(), "text"))
    return bind(mapping.load(map_)[0], Table(("rows",), tuple(columns), (tuple(names),)))


INT2, VARCHAR = kinds.integer("int2", 16), kinds.text("varchar(3)", 3)
IN_KEYS = [
    keyed("row:{a}", INT2),
    keyed("row:{a}", kinds.integer("int8", 64)),
    keyed("row:{a}", kinds.text()),
    keyed("row:{a}", kinds.BYTES),
    keyed("\u00e4{a}", VARCHAR),
    keyed("row:{a:int}", kinds.text()),
    keyed("row:{a}", kinds.UUID),
    keyed("{a}-{b}:{c}", VARCHAR, INT2, kinds.text()),
]
UUID = b"123e4567-e89b-12d3-a456-426614174abc"
IN_KEY = st.one_of(
    st.integers(-40_000, 40_000).map(b"%d".__mod__),
    st.sampled_from([b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809"]),
    st.sampled_from([b"32767", b"32768", b"-32768", b"-32769", b"abcd", b"\0", b"\xff", UUID]),
    st.text(min_size=1, max_size=5).map(str.encode),
)


@pytest.mark.parametrize("of", IN_KEYS, ids=lambda it: it.pattern.source)
@given(values=st.lists(st.tuples(IN_KEY, IN_KEY, IN_KEY), min_size=1, max_size=3))
def test_keys_that_are_known_to_fit_do(of: Plan, values: list[tuple[bytes, ...]]) -> None:
    match = matcher([of.pattern])
    keys = [of.pattern.key(parts[: len(of.keys)]) for parts in values]
    for key in keys:
        found = match(key)
        if found is None:
            continue
        row = of.key_of(key, found[1])
        with nullcontext() if row is not None else pytest.raises(Unfit, match="in the key"):
            of.judge_key(key, found[1])
        assert row is not None or not of.takes_keys(keys)
        if row is not None:
            # No two keys are the same row.
            assert tuple(it.encode() if isinstance(it, str) else it for it in row) == found[1]


def test_usual_keys_are_known_to_fit() -> None:
    assert keyed("row:{a}", kinds.integer("int8", 64)).takes_keys([b"row:1", b"row:1%017d" % 7])
    assert keyed("row:{a}", kinds.text()).takes_keys([b"row:" + b"a" * 1000])
    assert keyed("row:{a}", VARCHAR).takes_keys([b"row:abc", b"row:a"])
    assert keyed("row:{a}", kinds.UUID).takes_keys([b"row:" + UUID])
