"""Who is woken at the fence, and who is found there."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from sidecar.engine.fence import Fence
from sidecar.turn.state import Plan, Turn

TURN: Final = Turn(
    id="t1",
    route="/chat",
    principal="p1",
    begins=False,
    captured={"request_id": "r1", "conversation_id": "c1"},
    created_at=1.0,
    plan=Plan(),
)


def other(**captured: str) -> Turn:
    return replace(TURN, id="t2", captured={"request_id": "r2", **captured})


@pytest.mark.parametrize(
    ("moved", "woken"),
    [
        (TURN, True),
        (other(request_id="r1"), True),
        (other(conversation_id="c1"), True),
        (replace(other(conversation_id="real"), temp_id="c1"), True),
        (other(), False),
        (other(conversation_id="c2"), False),
    ],
)
async def test_whoever_names_what_has_moved_is_woken(moved: Turn, *, woken: bool) -> None:
    fence = Fence()
    with fence.waiting(TURN) as waiter:
        fence.moved(moved)
        assert waiter._event.is_set() is woken


async def test_all_are_woken_who_name_it() -> None:
    fence = Fence()
    with fence.waiting(TURN) as first, fence.waiting(other(conversation_id="c1")) as second:
        fence.wake("c1")
        assert first._event.is_set()
        assert second._event.is_set()


async def test_what_moves_is_noted_for_as_long_as_it_is_asked_for() -> None:
    fence = Fence()
    with fence.noting() as first:
        fence.moved(TURN)
        with fence.noting() as second:
            fence.moved(replace(TURN, temp_id="newer"))
        fence.moved(other())
    fence.moved(replace(TURN, temp_id="newest"))
    assert {name: turn.temp_id for name, turn in first.items()} == {"t1": "newer", "t2": None}
    assert {name: turn.temp_id for name, turn in second.items()} == {"t1": "newer"}
    assert fence._notes == []


async def test_nobody_is_left_behind() -> None:
    fence = Fence()
    with fence.waiting(TURN), fence.waiting(other(conversation_id="c1")):
        assert len(fence.newcomers("p1", "conversation_id", "c1")) == 2
    assert fence._waiters == {}
    fence.moved(TURN)
    assert fence.newcomers("p1", "conversation_id", "c1") == []
    assert fence._waiters == {}, "to ask leaves nothing behind"


async def test_newcomers_are_found_by_their_own_ids_alone() -> None:
    fence = Fence()
    with fence.waiting(TURN):
        assert fence.newcomers("p1", "request_id", "r1") == [TURN]
        assert fence.newcomers("p1", "conversation_id", "c1") == [TURN]
        assert fence.newcomers("p2", "request_id", "r1") == []
        assert fence.newcomers("p1", "request_id", "c1") == []
        assert fence.newcomers("p1", "conversation_id", "r1") == []
