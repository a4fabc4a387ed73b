"""Changes are coalesced; what is refused of them becomes dead letters, and nothing else does."""

from __future__ import annotations

from distcache_replication import rdb
from distcache_replication.backing import kinds, mapping
from distcache_replication.backing.changes import Change, First, Gathering, change
from distcache_replication.backing.plan import Column, Plan, Table, bind
from distcache_replication.backing.position import Position
from distcache_replication.backing.transaction import (
    ARCHIVE,
    DELETE,
    UPSERT,
    Conversation,
    Step,
    steps,
)
from hypothesis import given
from hypothesis import strategies as st

TABLE = Table(
    ("rows",),
    (
        Column("id", kinds.integer("int8", 64), "int8", nullable=False),
        Column("value", kinds.text(), "text"),
        Column("state", kinds.text(), "text", nullable=False, filled=True),
    ),
    (("id",),),
)
THERE = Position(1, "1" * 40, 100)


def plan(options: str = "") -> Plan:
    text = f'[rows]\nkey = "row:{{id}}"\ndirection = "write-behind"\n{options}'
    return bind(mapping.load(text)[0], TABLE)


ROWS = plan()


def written(number: int, fields: dict[bytes, bytes] | None) -> Change:
    key = b"row:%d" % number
    return change(key, ROWS, (b"%d" % number,), rdb.HASH, fields, None)


def gathered(*changes: Change) -> Gathering:
    gathering = Gathering(First(0, 0, 0.0))
    gathering.take([it.key for it in changes], changes)
    return gathering


class Shop:
    """A store that refuses some rows, and others until a row that they need is there."""

    def __init__(self, refused: set[int], needs: dict[int, int]) -> None:
        self.refused = refused
        self.needs = needs
        self.rows: dict[int, list[object]] = {}

    def do(self, step: Step) -> str:
        there = dict(self.rows)
        for each in step.changes:
            number = int(each.values[0])
            if step.verb in (DELETE, ARCHIVE):
                there.pop(number, None)
                continue
            if number in self.refused:
                return f"row {number} is refused"
            if number in self.needs and self.needs[number] not in there:
                return f"row {number} needs another"
            there[number] = list(each.row or ())
        self.rows = there
        return ""


def run(gathering: Gathering, shop: Shop, size: int = 1000) -> set[int]:
    """Write what was gathered; the rows that became dead letters."""
    talk = Conversation(steps(gathering.seal(THERE, 100), size))
    while (step := talk.step) is not None:
        talk.answer(shop.do(step))
    assert all(it.reason for it in talk.dead)
    return {int(it.change.values[0]) for it in talk.dead}


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40), max_size=6), st.integers(1, 50))
def test_what_is_refused_does_not_hold_up_the_rest(
    numbers: set[int], refused: set[int], size: int
) -> None:
    shop = Shop(refused, {})
    changes = [written(it, {b"value": b"x", b"state": b"new"}) for it in numbers]
    assert run(gathered(*changes), shop, size) == numbers & refused
    assert shop.rows.keys() == numbers - refused


def test_a_row_that_needs_another_is_tried_again() -> None:
    shop = Shop({5}, {1: 2, 2: 3, 4: 5})
    changes = [written(it, {b"state": b"x"}) for it in range(1, 6)]
    assert run(gathered(*changes), shop, 2) == {4, 5}
    assert shop.rows.keys() == {1, 2, 3}


def test_what_cannot_be_a_row_is_a_dead_letter() -> None:
    shop = Shop(set(), {})
    unfit = [
        written(1, {b"nothing": b"x"}),
        change(b"row:2", ROWS, (b"2",), rdb.LIST, [b"x"], None),
    ]
    assert run(gathered(*unfit, written(3, {b"value": b"x"})), shop) == {1, 2}
    assert shop.rows == {3: ["x", None]}


def test_rows_go_before_others_come() -> None:
    talk = Conversation(
        steps(gathered(written(1, {b"value": b"x"}), written(2, None)).seal(THERE, 0), 9)
    )
    found = []
    while (step := talk.step) is not None:
        found.append((step.verb, [int(it.values[0]) for it in step.changes], step.omitted))
        talk.answer("")
    assert found == [(DELETE, [2], ()), (UPSERT, [1], (1,))]


def test_the_last_state_wins() -> None:
    gathering = gathered(written(1, {b"value": b"x"}))
    gathering.noted[b"row:1"] = (ROWS, (b"1",))
    assert gathering.size == 2
    del gathering.noted[b"row:1"]
    gathering.take([b"row:1"], [written(1, None)])
    batch = gathering.seal(THERE, 100)
    assert batch.changes == {b"row:1": written(1, None)}
    assert batch.size == 1
    assert batch.holds(b"row:1", ROWS)
    assert not batch.holds(b"row:2", ROWS)


def test_a_row_that_goes_to_the_archive_and_comes_back() -> None:
    gathering = gathered()
    gathering.keep(written(1, {b"value": b"last"}))
    gathering.archive(written(1, None))
    gathering.take([b"row:1"], [written(1, {b"value": b"new"})])
    talk = Conversation(steps(gathering.seal(THERE, 0), 9))
    found = []
    while (step := talk.step) is not None:
        found.append((step.verb, [it.row for it in step.changes]))
        talk.answer("")
    assert found == [(UPSERT, [["last", None]]), (ARCHIVE, [None]), (UPSERT, [["new", None]])]


def test_what_came_before_counts_less() -> None:
    older = gathered(written(1, {b"value": b"old"}), written(2, {b"value": b"old"}))
    older.noted[b"row:3"] = (ROWS, (b"3",))
    older.first = First(7, 2, 0.5)
    newer = gathered(written(1, {b"value": b"new"}))
    newer.precede(older)
    assert newer.first == First(7, 2, 0.5)
    assert newer.changes[b"row:1"].row == ["new", None]
    assert newer.changes[b"row:2"].row == ["old", None]
    assert set(newer.noted) == {b"row:3"}
    newer.empty(ROWS)
    assert not newer.noted
    assert newer.size == 1
