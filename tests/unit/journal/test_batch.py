"""A group in few statements comes to the same as its changes one after the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.ports import Change, StepUpdate, Tombstone
from sidecar.journal.batch import ROWS_AT_ONCE, batches, statements
from sidecar.journal.queries import MIGRATIONS, QUERIES
from sidecar.journal.rows import turn_values
from sidecar.turn.state import Plan, State, StepKind, StepState, Turn

TURNS = [
    Turn(
        id=turn_id,
        route="/chat",
        principal="p",
        begins=True,
        captured={"request_id": f"r-{turn_id}"},
        created_at=1.0,
        plan=Plan(),
    )
    for turn_id in "ab"
]
times = st.floats(min_value=0, max_value=100)
turns = st.builds(
    replace,
    st.sampled_from(TURNS),
    state=st.sampled_from(State),
    temp_id=st.none() | st.just("temp_1"),
    looks=st.integers(0, 4),
    rollbacks=st.integers(0, 4),
)
updates = st.builds(
    StepUpdate,
    turn_id=st.sampled_from([turn.id for turn in TURNS]),
    kind=st.sampled_from(StepKind),
    state=st.sampled_from(StepState),
    attempts=st.integers(0, 20),
    due_at=times,
    error=st.none() | st.just("503"),
)
tombstones = st.builds(
    Tombstone, principal=st.just("p"), name=st.just("request_id"), value=st.sampled_from("xy"), expires_at=times
)
owing = st.builds(
    Change,
    turn=turns,
    owed=st.lists(st.sampled_from(StepKind), unique=True).map(tuple),
    after_s=st.dictionaries(st.sampled_from(StepKind), times),
    update=st.none() | updates,
    at=times,
)
telling = st.builds(Change, update=updates, tombstone=st.none() | tombstones, at=times)


def apply(database: sqlite3.Connection, changes: list[Change]) -> None:
    for query, rows in batches(changes):
        database.executemany(QUERIES[query], rows)


def everything(*groups: list[Change]) -> list[list[tuple[object, ...]]]:
    """Run each group, then give the tables, but for what may differ: a step's id, and when a waiting step falls due."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA foreign_keys = ON")
        for migration in MIGRATIONS:
            database.executescript(migration)
        for group in groups:
            apply(database, group)
        return [
            database.execute(sql).fetchall()
            for sql in (
                "SELECT * FROM turns ORDER BY id",
                """
                SELECT turn_id, kind, rank, state, attempts, round, idempotency_key, created_at, delivered_at, error
                FROM outbox ORDER BY turn_id, kind
                """,
                "SELECT * FROM tombstones",
            )
        ]


@given(st.lists(owing, max_size=4), st.lists(owing | telling, max_size=12))
def test_a_group_comes_to_the_same_as_one_after_the_other(before: list[Change], group: list[Change]) -> None:
    assert everything(before, group) == everything(before, *([change] for change in group))


def test_a_busy_group_is_few_statements() -> None:
    changes = [
        Change(turn=replace(TURNS[0], id=f"t{number}"), owed=(StepKind.CANCEL, StepKind.ROLLBACK), at=1.0)
        for number in range(100)
    ]
    assert [(query, len(rows)) for query, rows in batches(changes)] == [("put_turn", 100), ("owe_step", 200)]


def test_turns_are_written_many_in_one_statement() -> None:
    numbers = range(ROWS_AT_ONCE + 2)
    turns = [replace(TURNS[0], id=f"t{number}", captured={"request_id": f"r{number}"}) for number in numbers]
    full, rest = statements([Change(turn=turn, at=1.0) for turn in turns])
    with closing(sqlite3.connect(":memory:")) as database:
        for migration in MIGRATIONS:
            database.executescript(migration)
        for sql, values in (full, rest):
            assert len(values) == 1
            database.executemany(sql, values)
        assert database.execute("SELECT count(*), count(DISTINCT id) FROM turns").fetchone() == (len(turns), len(turns))


def test_a_step_that_has_to_wait_is_due_after_that_time() -> None:
    change = Change(turn=TURNS[0], owed=(StepKind.CANCEL, StepKind.VERIFY), after_s={StepKind.VERIFY: 8.0}, at=1.0)
    (owed,) = (rows for query, rows in batches([change]) if query == "owe_step")
    named = [row for row in owed if isinstance(row, dict)]
    assert {row["kind"]: (row["at"], row["due_at"]) for row in named} == {
        StepKind.CANCEL: (1.0, 1.0),
        StepKind.VERIFY: (1.0, 9.0),
    }


def test_of_a_turn_only_the_last_version_is_written() -> None:
    versions = [Change(turn=replace(TURNS[0], state=state), at=1.0) for state in State]
    assert list(batches(versions)) == [("put_turn", [turn_values(replace(TURNS[0], state=list(State)[-1]))])]


def test_only_what_still_waits_for_another_attempt_postpones_what_follows() -> None:
    failed = StepUpdate(turn_id="a", kind=StepKind.CANCEL, state=StepState.PENDING, attempts=1, due_at=9.0)
    died = replace(failed, state=StepState.DEAD)
    assert [query for query, _ in batches([Change(update=failed, at=1.0)])] == [
        "update_step",
        "postpone_later_steps",
        "put_history",
    ]
    assert "postpone_later_steps" not in {
        query for query, _ in batches([Change(update=failed, at=1.0), Change(update=died, at=2.0)])
    }


def test_nothing_to_write_is_no_statement() -> None:
    assert list(batches([Change(at=1.0)])) == []
