"""What may stand in a newcomer's way: nothing that does is ever missed, and what no longer does is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine import standing as standing_module
from sidecar.engine.standing import Standing, TurnIds
from sidecar.turn.state import Plan, State, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

TURN = Turn(
    id="t1",
    route="/chat",
    principal="p1",
    begins=True,
    captured={"request_id": "r1", "conversation_id": "c1"},
    created_at=50.0,
    plan=Plan(),
    state=State.CANCELLING,
)
DONE = replace(TURN, state=State.CANCELLED)
FOR_GOOD = frozenset({State.COMPLETED, State.CANCELLED, State.REFUSED})

turns = st.builds(
    lambda number, principal, request_id, conversation_id, temp_id, state: replace(
        TURN,
        id=f"t{number}",
        principal=principal,
        captured={"request_id": request_id} | ({"conversation_id": conversation_id} if conversation_id else {}),
        temp_id=temp_id,
        state=state,
    ),
    st.integers(0, 3),
    st.sampled_from("pq"),
    st.sampled_from("rs"),
    st.sampled_from([None, "c", "d", "x"]),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from(State),
)


def meets(standing: Standing, turn: Turn) -> bool:
    by_conversation = [standing.in_conversation(one) for one in (turn.conversation_id, turn.temp_id) if one is not None]
    return standing.by_request(turn.principal, turn.request_id) and all(by_conversation)


def ids(turn: Turn) -> TurnIds:
    return TurnIds(turn.id, turn.principal, turn.request_id, turn.conversation_id, turn.temp_id)


def test_without_notes_anything_may_stand_anywhere() -> None:
    standing = Standing()
    standing.left(TURN)
    standing.moved(TURN, DONE)
    assert meets(standing, TURN)


def test_nobody_stands_at_the_start_but_who_was_left() -> None:
    assert meets(Standing([ids(TURN)]), TURN)
    assert not Standing([]).by_request("p1", "r1")
    assert not Standing([]).in_conversation("c1")


def test_it_stands_from_its_leaving_to_its_end() -> None:
    standing = Standing([])
    standing.left(TURN)
    standing.moved(TURN, TURN)
    assert meets(standing, TURN)
    standing.moved(TURN, DONE)
    assert not standing.by_request("p1", "r1")
    assert not standing.in_conversation("c1")


@pytest.mark.parametrize("state", State)
def test_only_what_is_settled_for_good_stands_nowhere(state: State) -> None:
    standing = Standing([])
    standing.left(replace(TURN, state=state))
    assert standing.by_request("p1", "r1") is (state not in FOR_GOOD)


def test_it_is_found_by_each_of_its_ids_but_not_by_another_principals() -> None:
    standing = Standing([])
    standing.left(replace(TURN, temp_id="temp_1"))
    assert standing.by_request("p1", "r1")
    assert standing.in_conversation("c1")
    assert standing.in_conversation("temp_1")
    assert not standing.by_request("p2", "r1")
    assert not standing.in_conversation("r1")


def test_an_id_behind_which_several_stood_stays_noted() -> None:
    standing = Standing([])
    other = replace(TURN, id="t2", captured={"request_id": "r2", "conversation_id": "c1"})
    for turn in (TURN, other):
        standing.left(turn)
    for turn in (TURN, other):
        standing.moved(turn, replace(turn, state=State.CANCELLED))
    assert standing.in_conversation("c1")
    assert not standing.by_request("p1", "r1")


def test_with_too_many_to_note_anything_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_module, "_IDS_MAX", 3)
    standing = Standing([])
    standing.left(TURN)
    assert not standing.by_request("p1", "r9")
    standing.left(replace(TURN, id="t2", captured={"request_id": "r2", "conversation_id": "c2"}))
    assert standing.by_request("p1", "r9")


@given(left_behind=st.lists(turns, max_size=2), story=st.lists(turns, max_size=12))
def test_nothing_that_stands_is_missed(left_behind: list[Turn], story: list[Turn]) -> None:
    """However turns leave and move, and also while what they become is not durable yet."""
    durable = {turn.id: turn for turn in left_behind}
    standing = Standing(map(ids, standing_in(durable.values())))
    for after in story:
        before = durable.get(after.id)
        standing.left(after)
        assert all(meets(standing, turn) for turn in standing_in([*durable.values(), after]))
        durable[after.id] = after
        if before is not None:
            standing.moved(before, after)
        assert all(meets(standing, turn) for turn in standing_in(durable.values()))


def standing_in(among: Iterable[Turn]) -> list[Turn]:
    return [turn for turn in among if turn.state not in FOR_GOOD]
