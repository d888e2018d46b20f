"""What is put in comes out; each read gives what its port promises, whichever implementation it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change, Neighbours, Order, StepUpdate, Tombstone
from sidecar.engine.standing import TurnIds
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import UNSETTLED, Cause, State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.engine.ports import Journal
    from sidecar.turn.state import Turn
    from tests.fakes.memory_journal import WholeJournal


@pytest.fixture
def journal(any_journal: WholeJournal) -> WholeJournal:
    return any_journal


async def put(journal: WholeJournal, *turns: Turn) -> None:
    for turn in turns:
        await journal.submit(Change(turn=turn, at=turn.created_at))


def ids(turns: Sequence[Turn]) -> list[str]:
    return [turn.id for turn in turns]


def test_it_is_a_journal(journal: WholeJournal) -> None:
    port: Journal = journal
    assert port is journal


async def test_a_full_turn_comes_back_as_it_was(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    turn = make_turn(
        captured={"request_id": "r", "conversation_id": "c", "task": "ünï'\"\n; --"},
        begins=False,
        state=State.CANCELLING,
        cause=Cause.RESET,
        temp_id="temp_1",
        traceparent="00-1-2-01",
        answer_began_at=101.0,
        answered_at=101.5,
        confirmed_at=102.5,
        settled_at=103.5,
        looks=2,
        rollbacks=1,
    )
    await put(journal, turn)
    assert await journal.load("t1") == turn


async def test_a_new_version_replaces_the_old_one(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    turn = make_turn()
    await put(journal, turn)
    later = replace(
        turn,
        captured={**turn.captured, "conversation_id": "c"},
        state=State.REFUSED,
        begins=False,
        settled_at=110.0,
        looks=3,
        rollbacks=4,
    )
    await put(journal, later)
    assert await journal.load("t1") == later


@pytest.mark.parametrize("state", State)
async def test_every_state_can_be_kept(journal: WholeJournal, make_turn: Callable[..., Turn], state: State) -> None:
    await put(journal, make_turn(state=state))
    assert [turn.state for turn in await journal.turns(state)] == [state]


@pytest.mark.parametrize("cause", Cause)
async def test_every_cause_can_be_kept(journal: WholeJournal, make_turn: Callable[..., Turn], cause: Cause) -> None:
    await put(journal, make_turn(cause=cause))
    loaded = await journal.load("t1")
    assert loaded is not None
    assert loaded.cause is cause


async def test_who_may_still_be_in_the_way(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    turns = {
        state: make_turn(
            f"t-{state.value}", captured={"request_id": f"r-{state.value}", "conversation_id": "c"}, state=state
        )
        for state in State
    }
    await put(journal, *turns.values())
    await put(journal, replace(turns[State.CANCELLING], id="t9", principal="p9", captured={"request_id": "r9"}))
    standing = await journal.standing(limit=10)
    assert {one.id for one in standing} == {
        "t-open",
        "t-answered",
        "t-cancelling",
        "t-confirming",
        "t-unresolved",
        "t9",
    }
    assert TurnIds("t-open", "p1", "r-open", "c", None) in standing
    assert TurnIds("t9", "p9", "r9", None, None) in standing
    assert len(await journal.standing(limit=2)) == 2


async def test_an_unknown_turn_is_none(journal: WholeJournal) -> None:
    assert await journal.load("nobody") is None


async def test_find_by_any_id_newest_first(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    await put(
        journal,
        make_turn("a", conversation="c1", at=1.0),
        make_turn("b", conversation="c1", at=3.0),
        make_turn("c", temp_id="c1", at=2.0),
        make_turn("d", conversation="c1", at=9.0, principal="stranger"),
        make_turn("e", conversation="c2", at=4.0),
    )
    assert ids(await journal.find("p1", conversation_id="c1")) == ["b", "c", "a"]
    assert ids(await journal.find("p1", conversation_id="c1", limit=2)) == ["b", "c"]
    assert ids(await journal.find("p1", request_id="req_a")) == ["a"]
    assert ids(await journal.find("p1", request_id="req_e", conversation_id="c1")) == ["e", "b", "c", "a"]
    assert ids(await journal.find("p1", request_id="req_d")) == []
    assert ids(await journal.find("stranger", conversation_id="c1")) == ["d"]


async def test_find_without_any_id_finds_nothing(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    await put(journal, make_turn())
    assert await journal.find("p1") == []


async def test_unsettled_pages_through_in_the_order_of_ids(
    journal: WholeJournal, make_turn: Callable[..., Turn]
) -> None:
    for number, state in enumerate(State):
        await put(journal, make_turn(f"t{number}", state=state))
    expected = [f"t{number}" for number, state in enumerate(State) if state in UNSETTLED]
    assert ids(await journal.unsettled()) == expected
    first = await journal.unsettled(limit=3)
    assert ids(first) == expected[:3]
    assert ids(await journal.unsettled(after=first[-1].id)) == expected[3:]


async def test_overdue_are_open_and_answered_ones_made_before(
    journal: WholeJournal, make_turn: Callable[..., Turn]
) -> None:
    for number, state in enumerate(State):
        await put(journal, make_turn(f"old-{state}", state=state, at=float(number)))
        await put(journal, make_turn(f"new-{state}", state=state, at=50.0))
    assert await journal.overdue(created_before=50.0) == ["old-open", "old-answered"]
    assert await journal.overdue(created_before=50.0, limit=1) == ["old-open"]


@pytest.mark.parametrize("state", State)
async def test_neighbours_are_the_other_turns_of_the_conversation(
    journal: WholeJournal, make_turn: Callable[..., Turn], state: State
) -> None:
    mine = make_turn("mine", conversation="c", state=State.CANCELLING)
    await put(journal, mine, make_turn("other", conversation="c", state=state, principal="p2"))
    await put(journal, make_turn("elsewhere", conversation="d", state=State.OPEN))
    assert await journal.neighbours(mine) == Neighbours(
        confirmed=state in {State.CONFIRMING, State.COMPLETED}, unsettled=state in {State.OPEN, State.ANSWERED}
    )


async def test_a_turn_is_no_neighbour_of_its_own(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    alone, unknown = make_turn("a", conversation="c"), make_turn("b")
    await put(journal, alone, unknown, make_turn("x"))
    nothing = Neighbours(confirmed=False, unsettled=False)
    assert await journal.neighbours(alone) == nothing
    assert await journal.neighbours(unknown) == nothing


async def test_tombstones_until_they_expire(journal: WholeJournal) -> None:
    first = Tombstone(principal="p1", name="request_id", value="r", expires_at=20.0)
    other = replace(first, principal="p2", expires_at=30.0)
    for tombstone in (first, replace(first, expires_at=10.0), other):
        await journal.submit(Change(tombstone=tombstone, at=1.0))
    assert await journal.tombstones(now=19.0) == [first, other]
    assert await journal.tombstones(now=20.0) == [other]


async def test_prune_forgets_what_is_over(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    for state in State:
        await put(journal, make_turn(f"old-{state}", state=state, settled_at=10.0))
        await put(journal, make_turn(f"new-{state}", state=state, settled_at=30.0))
    await journal.submit(Change(tombstone=Tombstone(principal="p", name="n", value="v", expires_at=5.0), at=1.0))
    assert await journal.prune(settled_before=20.0, now=5.0) == 4
    left = set(ids(await journal.turns(limit=100)))
    gone = {f"old-{state}" for state in (State.COMPLETED, State.CANCELLED, State.REFUSED)}
    assert left == {f"{age}-{state}" for age in ("old", "new") for state in State} - gone
    assert await journal.prune(settled_before=20.0, now=5.0) == 0


async def test_prune_takes_steps_along_and_leaves_undelivered_ones(
    journal: WholeJournal, make_turn: Callable[..., Turn]
) -> None:
    for turn_id, state in (("done", StepState.DELIVERED), ("dead", StepState.DEAD), ("pending", StepState.PENDING)):
        turn = make_turn(turn_id, state=State.CANCELLED, settled_at=10.0)
        await journal.submit(Change(turn=turn, owed=(StepKind.CANCEL,), at=1.0))
        update = StepUpdate(turn_id=turn_id, kind=StepKind.CANCEL, state=state, attempts=1, due_at=5.0)
        await journal.submit(Change(update=update, at=2.0))
    assert await journal.prune(settled_before=20.0, now=5.0) == 1
    assert {step.turn_id for step in await journal.outbox()} == {"dead", "pending"}


async def test_prune_keeps_to_its_limit_oldest_first(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    await put(journal, *(make_turn(f"t{n}", state=State.COMPLETED, settled_at=float(9 - n)) for n in range(5)))
    assert await journal.prune(settled_before=20.0, now=5.0, limit=2) == 2
    assert sorted(ids(await journal.turns())) == ["t0", "t1", "t2"]


async def test_the_operator_sees_the_newest_first(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    turns = [make_turn(f"t{n}", at=float(n), state=State.OPEN if n % 2 else State.COMPLETED) for n in range(6)]
    await put(journal, *turns)
    assert ids(await journal.turns(limit=3)) == ["t5", "t4", "t3"]
    assert ids(await journal.turns(State.COMPLETED, limit=2)) == ["t4", "t2"]


async def test_orders_are_kept_until_they_are_dropped(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    await put(journal, make_turn("a"), make_turn("b"))
    assert await journal.orders() == []
    await journal.order_cancel("b", at=1.0)
    await journal.order_cancel("a", at=2.0)
    await journal.order_cancel("b", at=3.0)
    a, b = Order(turn_id="a"), Order(turn_id="b")
    assert await journal.orders() == [b, a]
    await journal.forget_order(b)
    await journal.forget_order(b)
    assert await journal.orders() == [a]


async def test_after_close_everything_says_so(journal: WholeJournal) -> None:
    await journal.close()
    await journal.close()
    for reading in (journal.load("x"), journal.lease(now=1.0, until=2.0, limit=1), journal.release_leases()):
        with pytest.raises(JournalUnavailableError):
            await reading
    with pytest.raises(JournalUnavailableError, match="closed"):
        await journal.submit(Change(at=1.0))
