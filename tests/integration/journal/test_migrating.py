"""A journal of an older version becomes one of this version, and loses nothing of what is owed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from sidecar.engine.ports import Order
from sidecar.journal.queries import MIGRATIONS
from sidecar.journal.schema import APPLICATION_ID
from sidecar.turn.state import StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.journal.store import SqliteJournal

FIRST = """
INSERT INTO turns (id, route, principal, request_id, captured, begins, state, cause, created_at, looks, rollbacks)
VALUES ('t1', '/chat', 'p1', 'r1', '{}', 1, 'cancelling', 'closed', 100.0, 0, 0);
INSERT INTO outbox (id, turn_id, kind, rank, state, attempts, due_at, lease_until, round, idempotency_key, created_at)
VALUES (7, 't1', 'cancel', 1, 'leased', 3, 101.0, 130.0, 0, 't1:cancel', 100.5),
       (9, 't1', 'rollback', 2, 'dead', 20, 101.0, NULL, 2, 't1:rollback:2', 100.5),
       (12, 't1', 'verify', 4, 'pending', 0, 200.0, NULL, 0, 't1:verify', 100.5);
DELETE FROM outbox WHERE id = 12;
INSERT INTO orders (turn_id, given_at) VALUES ('t1', 102.0);
INSERT INTO turns (id, route, principal, request_id, captured, begins, state, created_at, settled_at, looks, rollbacks)
VALUES ('t2', '/chat', 'p1', 'r2', '{}', 1, 'open', 100.0, NULL, 0, 0),
       ('t3', '/chat', 'p1', 'r3', '{}', 1, 'completed', 10.0, 20.0, 0, 0),
       ('t4', '/chat', 'p1', 'r4', '{}', 1, 'unresolved', 10.0, 20.0, 0, 0);
"""


async def test_the_first_version_is_brought_up_to_date(
    open_journal: Callable[..., Awaitable[SqliteJournal]], path: str
) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"{MIGRATIONS[0]} {FIRST} PRAGMA application_id = {APPLICATION_ID};")
        database.execute("PRAGMA user_version = 1")
    journal = await open_journal()
    turn = await journal.load("t1")
    assert turn is not None
    assert turn.steps == {StepKind.CANCEL: StepState.PENDING, StepKind.ROLLBACK: StepState.DEAD}
    assert turn.cancelled_at is None
    rows = [(row.id, row.state, row.attempts) for row in await journal.outbox()]
    assert rows == [(9, "dead", 20), (7, "leased", 3)]
    assert await journal.orders() == [Order(turn_id="t1")]
    assert await journal.release_leases() == 1
    (owed,) = await journal.lease(now=150.0, until=160.0, limit=5)
    assert (owed.kind, owed.attempts, owed.idempotency_key) == (StepKind.CANCEL, 3, "t1:cancel")
    assert [turn.id for turn in await journal.unsettled()] == ["t2"]
    assert await journal.prune(settled_before=30.0, now=150.0) == 1
    assert {turn.id for turn in await journal.turns()} == {"t1", "t2", "t4"}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone() == (12,)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA foreign_key_list(outbox)").fetchone()[2] == "turns"
