"""What the operator reads in the journal; newest first, unless told otherwise. Nothing here changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.engine.operator import ANY_TURN, ID_MAX, NEWEST, TurnFilter
from sidecar.engine.ports import OutboxSizes
from sidecar.journal.rows import read_history, read_step_row, read_turn
from sidecar.turn.state import Cause, StepKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import StepRow
    from sidecar.journal.connection import Reader
    from sidecar.journal.rows import Values
    from sidecar.turn.state import Plan, State, Turn


class JournalReads:
    """The operator's reads, of whoever has a connection that reads, and knows a route's plan.

    Every coroutine raises JournalUnavailableError where the database cannot be read.
    """

    _reader: Reader
    _plan_of: Callable[[str], Plan]

    async def turns(self, state: State | None = None, limit: int = 50) -> list[Turn]:
        """Give the newest turns, newest first."""
        return await self.page(TurnFilter(state=state), limit=limit)

    async def of_request(self, request_id: str, limit: int = 10) -> list[Turn]:
        """Give the turns of a request id, whoever's they are, newest first."""
        return self._turns(await self._reader.rows("turns_of_request", {"request_id": request_id, "limit": limit}))

    async def page(
        self, which: TurnFilter = ANY_TURN, *, before: tuple[float, str] = NEWEST, limit: int = 50
    ) -> list[Turn]:
        """Give the newest turns that are older than `before` (when one was made, and its id), newest first."""
        query = "page_of_turns" if which.state is None else "page_of_turns_in_state"
        place: Values = {"before_at": before[0], "before_id": before[1], "limit": limit}
        wanted: Values = {"state": which.state, "cause": which.cause, "route": which.route}
        return self._turns(await self._reader.rows(query, {**wanted, **place}))

    async def under_way(self, limit: int) -> tuple[int, list[Turn]]:
        """Give how many turns are open or answered, and the newest of them."""
        (row,) = await self._reader.rows("count_under_way", {})
        return row["number"], self._turns(await self._reader.rows("newest_under_way", {"limit": limit}))

    async def outbox(self, state: str | None = None, limit: int = 50, *, before: int = ID_MAX) -> list[StepRow]:
        """Give the newest steps with ids below `before`, newest first.

        `state` is one of pending, leased, delivered, dead, dropped.
        """
        query = "page_of_steps" if state is None else "page_of_steps_in_state"
        rows = await self._reader.rows(query, {"state": state, "before": before, "limit": limit})
        return [read_step_row(row) for row in rows]

    async def oldest_steps(self, state: str, limit: int) -> list[StepRow]:
        """Give the oldest steps in a state, oldest first."""
        rows = await self._reader.rows("oldest_steps_in_state", {"state": state, "limit": limit})
        return [read_step_row(row) for row in rows]

    async def cancels_by_minute(self, *, since: float) -> list[tuple[int, Cause, int]]:
        """Count the turns that were cancelled since a time: the minute since then, the cause, their number."""
        rows = await self._reader.rows("cancels_by_minute", {"since": since})
        return [(row["minute"], Cause(row["cause"]), row["number"]) for row in rows]

    async def latest_undone(self, limit: int) -> list[tuple[StepKind, float]]:
        """Give the steps of the latest cancelled turns, and how many seconds after the cancel they were delivered."""
        rows = await self._reader.rows("latest_undone", {"limit": limit})
        return [(StepKind(row["kind"]), row["seconds"]) for row in rows]

    async def step(self, step_id: int) -> StepRow | None:
        """Give a step by its id in the outbox."""
        rows = await self._reader.rows("load_step", {"id": step_id})
        return read_step_row(rows[0]) if rows else None

    async def dead_steps(self) -> list[StepRow]:
        """Give all dead steps, newest first."""
        return await self.outbox("dead", limit=-1)  # to SQLite: without limit

    async def outbox_sizes(self) -> OutboxSizes:
        """Say how full the outbox is."""
        counts = {row["state"]: row["number"] for row in await self._reader.rows("outbox_sizes", {})}
        (oldest,) = await self._reader.rows("oldest_owed", {})
        return OutboxSizes(counts=counts, oldest_owed_at=oldest["created_at"])

    async def steps_of(self, turn_id: str) -> list[StepRow]:
        """Give a turn's steps, in the order of their calls."""
        return [read_step_row(row) for row in await self._reader.rows("steps_of_turn", {"turn_id": turn_id})]

    async def recorded(self, turn_id: str) -> list[HistoryEntry]:
        """Give what was recorded of a turn, in the order in which it was."""
        return [read_history(row) for row in await self._reader.rows("history_of_turn", {"turn_id": turn_id})]

    def _turns(self, rows: Sequence[sqlite3.Row]) -> list[Turn]:
        return [read_turn(row, self._plan_of) for row in rows]
