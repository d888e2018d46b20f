"""What the journal tells of conversations that may be gone, whichever implementation it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from sidecar.engine.ports import Change
from sidecar.journal import store
from sidecar.turn.state import Cause, State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.turn.state import Turn
    from tests.fakes.memory_journal import WholeJournal

Put: TypeAlias = "Callable[..., Awaitable[Turn]]"
WENT_WELL = {State.CONFIRMING, State.COMPLETED, State.REFUSED}


@pytest.fixture
def journal(any_journal: WholeJournal) -> WholeJournal:
    return any_journal


@pytest.fixture
def put(journal: WholeJournal, make_turn: Callable[..., Turn]) -> Put:
    async def put_one(turn_id: str, conversation: str | None = "c1", **rest: object) -> Turn:
        turn = make_turn(turn_id, conversation=conversation, **rest)
        await journal.submit(Change(turn=turn, at=turn.created_at))
        return turn

    return put_one


async def told(journal: WholeJournal, *ids: str) -> set[str]:
    turns = await journal.in_conversations(ids)
    assert len({turn.id for turn in turns}) == len(turns)
    return {turn.id for turn in turns}


async def test_nothing_of_nothing(journal: WholeJournal, put: Put) -> None:
    await put("t1", state=State.CANCELLED)
    assert await told(journal) == await told(journal, "c2", "t1", "req_t1") == set()


@pytest.mark.parametrize("state", State)
async def test_who_began_it_unless_that_went_well(journal: WholeJournal, put: Put, state: State) -> None:
    await put("began", state=state)
    await put("went_on", begins=False, state=State.CANCELLED)
    assert await told(journal, "c1") == (set() if state in WENT_WELL else {"began"})


@pytest.mark.parametrize("state", State)
async def test_who_was_delivered_in_it(journal: WholeJournal, put: Put, state: State) -> None:
    await put("began", state=State.CANCELLING)
    await put("other", begins=False, principal="p2", state=state)
    await put("elsewhere", "c2", begins=False, state=state)
    others = {"other"} & ({"other"} if state in {State.CONFIRMING, State.COMPLETED} else set())
    assert await told(journal, "c1", "c2") == {"began", *others}


async def test_a_temporary_id_is_an_id(journal: WholeJournal, put: Put) -> None:
    await put("t1", "real", temp_id="temp_1", state=State.CANCELLED)
    await put("t2", None, temp_id="temp_2", state=State.CANCELLED)
    assert await told(journal, "temp_1") == await told(journal, "real") == {"t1"}
    assert await told(journal, "temp_1", "real", "temp_2", "real") == {"t1", "t2"}


async def test_a_turn_comes_whole(journal: WholeJournal, make_turn: Callable[..., Turn]) -> None:
    turn = make_turn("t1", conversation="c1", state=State.CANCELLING, cause=Cause.RESET)
    await journal.submit(Change(turn=turn, owed=(StepKind.CANCEL,), at=1.0))
    (found,) = await journal.in_conversations(["c1"])
    assert found == await journal.load("t1")
    assert (found.steps, found.cause) == ({StepKind.CANCEL: StepState.PENDING}, Cause.RESET)


async def test_odd_ids(journal: WholeJournal, put: Put) -> None:
    odd = ['"', "\\", "'; --", "ünï😀", "[1]", " c "]
    for number, one in enumerate(odd):
        await put(f"t{number}", one, state=State.CANCELLED)
    assert await told(journal, *odd) == {f"t{number}" for number in range(len(odd))}


@pytest.mark.parametrize("at_once", [1, 2, 500])
async def test_many(journal: WholeJournal, put: Put, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(store, "IDS_AT_ONCE", at_once)
    for number in range(5):
        await put(f"t{number}", f"c{number}", state=State.CANCELLED)
    assert await told(journal, *(f"c{number}" for number in range(5))) == {f"t{number}" for number in range(5)}
