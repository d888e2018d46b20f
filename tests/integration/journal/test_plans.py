"""No statement reads a whole table that grows; SQLite itself says so."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.engine.ports import Change
from sidecar.journal.connection import TRUSTED
from sidecar.journal.queries import MIGRATIONS, QUERIES
from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.journal.store import SqliteJournal
    from sidecar.turn.state import Turn

TABLES = "turns|outbox|tombstones|orders|step|earlier|own|other|leased"
# These walk an index in its order and stop at their limit.
WALKS = {"next_due": "outbox_owed"}
INDEXES = {
    "find_turns": ["turns_request", "turns_conversation", "turns_temp"],
    "turns_of_request": ["turns_request (request_id=?)"],
    "turns_in_conversations": ["turns_conversation (conversation_id=?)", "turns_temp (temp_id=?)"],
    "unsettled_turns": ["turns_unsettled (id>?)"],
    "standing_turns": ["turns_state_created (state=?)"],
    "overdue_turns": ["turns_state_created (state=? AND created_at<?)"],
    "neighbours": ["turns_conversation (conversation_id=?)"],
    "due_steps": ["outbox_owed (owner=? AND due_at<?)", "turns_conversation (conversation_id=?)"],
    "prune_turns": ["turns_prunable (settled_at<?)"],
    "prune_tombstones": ["tombstones_expires (expires_at<?)"],
    "page_of_steps_in_state": ["outbox_state (state=? AND rowid<?)"],
    "page_of_turns": ["turns_created (created_at<?)"],
    "page_of_turns_in_state": ["turns_state_created (state=? AND created_at<?)"],
    "cancels_by_minute": ["COVERING INDEX turns_cancelled (cancelled_at>?)"],
    "oldest_steps_in_state": ["outbox_state (state=?)"],
    "postpone_later_steps": ["sqlite_autoindex_outbox_1 (turn_id=?)"],
}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in MIGRATIONS:
            connection.executescript(migration)
        yield connection


def explained(database: sqlite3.Connection, how: str, sql: str) -> list[tuple[Any, ...]]:
    values = dict.fromkeys(re.findall(r":(\w+)", sql)) or (None,) * sql.count("?")
    return list(database.execute(f"{how} {sql}", values))


def plan(database: sqlite3.Connection, sql: str) -> list[str]:
    return [row[3] for row in explained(database, "EXPLAIN QUERY PLAN", sql)]


def scans(lines: list[str]) -> list[str]:
    return [line for line in lines if re.match(rf"SCAN ({TABLES})\b", line)]


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_scans_a_table_that_grows(database: sqlite3.Connection, name: str) -> None:
    lines = plan(database, QUERIES[name])
    # `SCAN step` without more is the handful of steps that due_steps has already chosen.
    found = [line for line in scans(lines) if (name, line) != ("due_steps", "SCAN step")]
    if walked := WALKS.get(name):
        assert all(line.endswith(f" USING INDEX {walked}") for line in found)
        assert "LIMIT" in QUERIES[name]
    else:
        assert found == []
    for index in INDEXES.get(name, []):
        assert any(index in line for line in lines)


def test_a_scan_would_be_found(database: sqlite3.Connection) -> None:
    assert scans(plan(database, "SELECT * FROM turns WHERE route = :route"))
    assert scans(plan(database, "SELECT * FROM outbox WHERE error = :error"))


def test_no_write_of_a_row_makes_a_table_of_its_own(database: sqlite3.Connection) -> None:
    """SQLite makes one for each list of more than two in an index's condition; for a CHECK's it does not, as told."""
    database.execute(TRUSTED)
    for name in ("put_turn", "owe_step", "update_step"):
        assert "OpenEphemeral" not in [row[1] for row in explained(database, "EXPLAIN", QUERIES[name])], name


def test_due_steps_are_found_in_order_without_sorting_all(database: sqlite3.Connection) -> None:
    lines = plan(database, QUERIES["due_steps"])
    inner = lines[: lines.index("SCAN step")]  # choosing; what follows only joins what was chosen
    assert not any("TEMP B-TREE" in line for line in inner)


def test_a_status_and_an_age_of_conversations_find_their_index(database: sqlite3.Connection) -> None:
    lines = plan(database, "SELECT id FROM conversations WHERE status = 'temp' AND created_at < :before")
    assert scans(lines) == []
    assert any("turns_state_created (state=? AND created_at<?)" in line for line in lines)


async def test_the_conversations_that_turns_began(
    journal: SqliteJournal, make_turn: Callable[..., Turn], path: str
) -> None:
    for state in State:
        await journal.submit(Change(turn=make_turn(f"t-{state}", conversation=f"c-{state}", state=state), at=1.0))
    await journal.submit(Change(turn=make_turn("named", conversation="old", begins=False), at=1.0))
    temporary = make_turn("unnamed", temp_id="temp_1", confirmed_at=7.0, state=State.COMPLETED)
    await journal.submit(Change(turn=temporary, at=1.0))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, user, status, created_at, confirmed_at FROM conversations").fetchall()
    assert {row[0]: row[2] for row in rows} == {
        "c-open": "temp",
        "c-answered": "temp",
        "c-confirming": "active",
        "c-completed": "active",
        "temp_1": "active",
        "c-cancelling": "cancelled",
        "c-cancelled": "cancelled",
        "c-unresolved": "cancelled",
    }
    assert ("temp_1", "p1", "active", 100.0, 7.0) in rows
