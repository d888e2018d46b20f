"""A row that was edited by hand is told as such, never guessed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import StepKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from sidecar.journal.store import SqliteJournal
    from sidecar.turn.state import Turn


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE turns SET state = 'asleep'", "'asleep'"),
        ("UPDATE turns SET cause = 'bad luck'", "'bad luck'"),
        ("UPDATE turns SET captured = '[1]'", "captured"),
        ("UPDATE turns SET captured = '{'", "captured"),
        ("UPDATE outbox SET kind = 'sing'", "'sing'"),
        ("UPDATE outbox SET state = 'lost'", "'lost'"),
    ],
)
async def test_what_was_edited_by_hand_is_told(
    journal: SqliteJournal, make_turn: Callable[..., Turn], sql: str, what: str
) -> None:
    await journal.submit(Change(turn=make_turn(), owed=(StepKind.CANCEL,), at=1.0))

    def edit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(sql)

    await journal._writer.run(edit)
    with pytest.raises(JournalUnavailableError, match=what):
        await journal.load("t1")
