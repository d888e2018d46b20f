"""A journal on a real file, and turns to put in it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Plan, State, StepKind, Turn
from tests.fakes.memory_journal import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.fakes.memory_journal import WholeJournal

PLAN = Plan(
    needs={StepKind.CANCEL: frozenset({"request_id"}), StepKind.ROLLBACK: frozenset({"conversation_id"})},
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sidecar.db")


@pytest.fixture
async def open_journal(path: str) -> AsyncIterator[Callable[..., Awaitable[SqliteJournal]]]:
    """Open the journal at `path`, as often as wanted; all are closed in the end."""
    async with AsyncExitStack() as opened:

        async def open_it(*, own: bool = True) -> SqliteJournal:
            journal = await SqliteJournal.open(path, plan_of=lambda _: PLAN, clock=lambda: 1000.0, own=own)
            opened.push_async_callback(journal.close)
            return journal

        yield open_it


@pytest.fixture
async def journal(open_journal: Callable[..., Awaitable[SqliteJournal]]) -> SqliteJournal:
    return await open_journal()


@pytest.fixture(params=["file", "memory"])
async def any_journal(
    request: pytest.FixtureRequest, open_journal: Callable[..., Awaitable[SqliteJournal]]
) -> WholeJournal:
    """Give each implementation of the port in turn: what they promise is the same."""
    return MemoryJournal() if request.param == "memory" else await open_journal()


@pytest.fixture
def make_turn() -> Callable[..., Turn]:
    def make(turn_id: str = "t1", *, conversation: str | None = None, at: float = 100.0, **rest: object) -> Turn:
        captured = {"request_id": f"req_{turn_id}"}
        if conversation is not None:
            captured["conversation_id"] = conversation
        fields = {
            "route": "/chat",
            "principal": "p1",
            "begins": True,
            "state": State.OPEN,
            "captured": captured,
            **rest,
        }
        return Turn(id=turn_id, created_at=at, plan=PLAN, **fields)  # type: ignore[arg-type]  # tests give what fits

    return make
