"""Visits and turns as an examination sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict

from sidecar.doctor.visit import Deed, Visit
from sidecar.turn.state import Plan, State, StepKind, Turn

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_000_000.0
PLAN = Plan(
    needs={StepKind.CANCEL: frozenset({"request_id"}), StepKind.ROLLBACK: frozenset({"conversation_id"})},
    looks_after_s=(0.0,),
)


@pytest.fixture
def make_visit() -> Callable[..., Visit]:
    """Give a visit whose answer came in pieces from NOW + 0.1 to NOW + 2, unless told otherwise."""

    def make(deed: Deed = Deed.READ, headers: dict[str, str] | None = None, **changes: object) -> Visit:
        seen: dict[str, Any] = {
            "request_id": "doctor_1",
            "sent_at": NOW,
            "status": 200,
            "head_at": NOW + 0.1,
            "first_at": NOW + 0.1,
            "last_at": NOW + 2,
            "pieces": 9,
            "ended_at": NOW + 2,
            "left_at": NOW + 2,
            **changes,
        }
        return Visit(deed=deed, headers=CIMultiDict({"X-Request-Id": "doctor_1"} | (headers or {})), **seen)

    return make


@pytest.fixture
def make_turn() -> Callable[..., Turn]:
    """Give a completed turn whose answer was made from NOW + 0.1 to NOW + 2, unless told otherwise."""

    def make(captured: dict[str, str] | None = None, **changes: object) -> Turn:
        facts: dict[str, Any] = {
            "state": State.COMPLETED,
            "answer_began_at": NOW + 0.1,
            "answered_at": NOW + 2,
            "begins": True,
            "plan": PLAN,
            **changes,
        }
        ids = {"request_id": "doctor_1", "conversation_id": "c1"} if captured is None else captured
        return Turn(id="t1", route="/chat", principal="p", captured=ids, created_at=NOW + 0.01, **facts)

    return make
