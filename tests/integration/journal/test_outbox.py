"""Owed steps: leased in order, never hidden by those that wait, never lost. For every implementation of the port."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change, Lease, StepUpdate
from sidecar.turn.state import State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.engine.ports import OwedStep
    from sidecar.turn.state import Turn
    from tests.fakes.memory_journal import WholeJournal

CONFIRM, CANCEL, ROLLBACK, VERIFY = StepKind.CONFIRM, StepKind.CANCEL, StepKind.ROLLBACK, StepKind.VERIFY
BOTH = (CANCEL, ROLLBACK)


@pytest.fixture
def journal(any_journal: WholeJournal) -> WholeJournal:
    return any_journal


async def owe(journal: WholeJournal, turn: Turn, *kinds: StepKind, at: float = 10.0) -> None:
    await journal.submit(Change(turn=turn, owed=kinds, at=at))


async def tell(  # what the dispatcher tells of an attempt
    journal: WholeJournal, turn_id: str, kind: StepKind, state: StepState, *, due_at: float = 10.0, attempts: int = 1
) -> None:
    update = StepUpdate(turn_id=turn_id, kind=kind, state=state, attempts=attempts, due_at=due_at, error="503")
    await journal.submit(Change(update=update, at=11.0))


async def lease(journal: WholeJournal, now: float = 20.0, limit: int = 100) -> list[tuple[str, StepKind]]:
    return [(step.turn.id, step.kind) for step in await journal.lease(now=now, until=now + 30.0, limit=limit)]


@pytest.fixture
def cancelled(make_turn: Callable[..., Turn]) -> Callable[..., Turn]:
    return lambda turn_id="t1", conversation="c1": make_turn(turn_id, conversation=conversation, state=State.CANCELLING)


async def test_a_leased_step_comes_with_its_turn(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    turn = cancelled()
    await owe(journal, turn, *BOTH)
    (step,) = await journal.lease(now=20.0, until=50.0, limit=10)
    assert (step.kind, step.attempts, step.idempotency_key) == (CANCEL, 0, "t1:cancel")
    assert step.turn == replace(turn, steps=dict.fromkeys(BOTH, StepState.PENDING))
    loaded = await journal.load("t1")
    assert loaded == step.turn  # to the core a leased step is a pending one
    assert [row.kind for row in await journal.outbox("leased")] == [CANCEL]


async def test_a_step_can_be_leased_in_the_change_that_makes_it_owed(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    lease = Lease(kind=CANCEL, until=50.0)
    await journal.submit(Change(turn=cancelled(), owed=BOTH, lease=lease, at=10.0))
    assert await journal.lease(now=49.0, until=90.0, limit=10) == []
    (step,) = await journal.lease(now=50.0, until=90.0, limit=10)  # nobody has told what became of it
    assert (step.kind, step.attempts, step.idempotency_key) == (CANCEL, 0, "t1:cancel")


async def test_the_next_step_can_be_leased_in_the_change_that_delivers_the_one_before(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    turn = cancelled()
    await journal.submit(Change(turn=turn, owed=BOTH, lease=Lease(kind=CANCEL, until=50.0), at=10.0))
    update = StepUpdate(turn_id="t1", kind=CANCEL, state=StepState.DELIVERED, attempts=1, due_at=11.0)
    await journal.submit(Change(turn=turn, update=update, lease=Lease(kind=ROLLBACK, until=50.0), at=11.0))
    assert await journal.lease(now=49.0, until=90.0, limit=10) == []
    assert await journal.release_leases() == 1
    (step,) = await journal.lease(now=49.0, until=90.0, limit=10)
    assert step.kind is ROLLBACK


@pytest.mark.parametrize("state", [StepState.DELIVERED, StepState.DEAD, StepState.DROPPED])
async def test_what_is_over_is_not_leased(
    journal: WholeJournal, cancelled: Callable[..., Turn], state: StepState
) -> None:
    await owe(journal, cancelled(), CANCEL)
    await tell(journal, "t1", CANCEL, state)
    await journal.submit(Change(turn=cancelled(), lease=Lease(kind=CANCEL, until=50.0), at=11.0))
    assert (await journal.steps_of("t1"))[0].state == state


async def test_a_step_waits_for_the_earlier_ones_of_its_turn(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    ends = {
        CONFIRM: StepState.DELIVERED,
        CANCEL: StepState.DEAD,
        ROLLBACK: StepState.DELIVERED,
        StepKind.ROLLBACK_TURN: StepState.DEAD,
        VERIFY: StepState.DELIVERED,
    }
    await owe(journal, cancelled(), *reversed(StepKind))
    for kind, end in ends.items():
        assert await lease(journal) == [("t1", kind)]
        assert await lease(journal) == []  # leased: it still holds up the next
        await tell(journal, "t1", kind, end)
    assert await lease(journal) == []
    turn = await journal.load("t1")
    assert turn is not None
    assert turn.steps == ends


async def test_only_what_is_due_is_leased_oldest_first(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    for turn_id, at in (("b", 12.0), ("a", 13.0), ("c", 11.0), ("later", 21.0)):
        await owe(journal, cancelled(turn_id, turn_id), CANCEL, at=at)
    assert await lease(journal, limit=2) == [("c", CANCEL), ("b", CANCEL)]
    assert await lease(journal) == [("a", CANCEL)]
    assert await journal.next_due_at() == 21.0
    assert await lease(journal, now=21.0) == [("later", CANCEL)]


async def test_a_failed_attempt_ends_the_lease_and_postpones_what_waits_for_it(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    await owe(journal, cancelled(), *BOTH)
    await lease(journal)
    await tell(journal, "t1", CANCEL, StepState.PENDING, due_at=60.0, attempts=3)
    assert await lease(journal, now=59.0) == []
    assert {row.kind: (row.state, row.attempts, row.due_at, row.error) for row in await journal.outbox()} == {
        CANCEL: ("pending", 3, 60.0, "503"),
        ROLLBACK: ("pending", 0, 60.0, None),
    }
    (step,) = await journal.lease(now=60.0, until=90.0, limit=10)
    assert (step.kind, step.attempts) == (CANCEL, 3)


async def test_a_lease_that_is_over_is_given_again(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    await owe(journal, cancelled(), CANCEL)
    assert await lease(journal, now=20.0) == [("t1", CANCEL)]
    assert await journal.next_due_at() == 50.0
    assert await lease(journal, now=49.9) == []
    assert await lease(journal, now=50.0) == [("t1", CANCEL)]


async def test_release_leases_makes_them_due_again(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    for turn_id in "abc":
        await owe(journal, cancelled(turn_id, turn_id), CANCEL)
    await lease(journal, limit=2)
    assert await journal.release_leases() == 2
    assert await journal.release_leases() == 0
    assert len(await lease(journal)) == 3


@pytest.mark.parametrize("state", State)
async def test_a_rollback_waits_for_turns_under_way_in_its_conversation(
    journal: WholeJournal, cancelled: Callable[..., Turn], make_turn: Callable[..., Turn], state: State
) -> None:
    await owe(journal, cancelled(), ROLLBACK)
    other = make_turn("other", conversation="c1", principal="p2", state=state)
    await owe(journal, other)
    waits = state in {State.OPEN, State.ANSWERED}
    assert await journal.next_due_at() == (None if waits else 10.0)
    assert await lease(journal) == ([] if waits else [("t1", ROLLBACK)])
    await owe(journal, replace(other, state=State.COMPLETED))
    assert await lease(journal) == ([("t1", ROLLBACK)] if waits else [])


async def test_other_steps_and_other_conversations_do_not_wait(
    journal: WholeJournal, cancelled: Callable[..., Turn], make_turn: Callable[..., Turn]
) -> None:
    await owe(journal, make_turn("open", conversation="c1"))
    await owe(journal, make_turn("unknown"))
    await owe(journal, cancelled("a", "c1"), CANCEL)
    await owe(journal, cancelled("b", "c2"), ROLLBACK)
    await owe(journal, cancelled("c", None), ROLLBACK)
    assert await lease(journal) == [("a", CANCEL), ("b", ROLLBACK), ("c", ROLLBACK)]


async def test_an_ended_lease_that_has_to_wait_is_not_counted_as_due(
    journal: WholeJournal, cancelled: Callable[..., Turn], make_turn: Callable[..., Turn]
) -> None:
    await owe(journal, cancelled(), ROLLBACK)
    assert await lease(journal, now=20.0) == [("t1", ROLLBACK)]
    await owe(journal, make_turn("open", conversation="c1"))
    assert await journal.next_due_at() is None
    assert await lease(journal, now=99.0) == []


async def test_those_that_wait_hide_nothing_behind_the_limit(
    journal: WholeJournal, cancelled: Callable[..., Turn], make_turn: Callable[..., Turn]
) -> None:
    await owe(journal, make_turn("open", conversation="busy"))
    for number in range(20):
        await owe(journal, cancelled(f"waits-{number}", "busy"), ROLLBACK, at=1.0)
    await owe(journal, cancelled("free", "quiet"), ROLLBACK, at=19.0)
    assert await journal.next_due_at() == 19.0
    assert await lease(journal, limit=1) == [("free", ROLLBACK)]


async def test_next_due_is_none_when_nothing_is_owed(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    assert await journal.next_due_at() is None
    await owe(journal, cancelled(), CANCEL)
    await tell(journal, "t1", CANCEL, StepState.DELIVERED)
    assert await journal.next_due_at() is None


async def test_next_due_does_not_count_a_step_that_waits(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    await owe(journal, cancelled(), *BOTH)
    await lease(journal, now=20.0)
    assert await journal.next_due_at() == 50.0  # the lease's end; the rollback was due at 10, but cannot go yet


async def test_a_dead_step_can_be_owed_again(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    turn = cancelled()
    await owe(journal, turn, CANCEL)
    await tell(journal, "t1", CANCEL, StepState.DEAD, attempts=20)
    (dead,) = await journal.dead_steps()
    assert (dead.state, dead.attempts, dead.error, dead.created_at) == ("dead", 20, "503", 10.0)
    await owe(journal, turn, CANCEL, at=15.0)
    assert await journal.dead_steps() == []
    (step,) = await journal.lease(now=20.0, until=50.0, limit=10)
    assert (step.attempts, step.idempotency_key) == (0, "t1:cancel")
    assert [row.id for row in await journal.outbox("leased")] == [dead.id]


@pytest.mark.parametrize("leased", [True, False])
async def test_a_step_that_is_not_over_is_not_owed_twice(
    journal: WholeJournal, cancelled: Callable[..., Turn], *, leased: bool
) -> None:
    await owe(journal, cancelled(), CANCEL)
    await tell(journal, "t1", CANCEL, StepState.PENDING, attempts=2)
    if leased:
        await lease(journal)
    before = await journal.outbox()
    await owe(journal, cancelled(), CANCEL, at=15.0)
    assert await journal.outbox() == before


async def test_what_was_delivered_and_is_owed_anew_is_another_call(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    keys = []
    for at in (10.0, 20.0, 30.0):
        await owe(journal, cancelled(), CANCEL, at=at)
        for end in (StepState.DEAD, StepState.DELIVERED):
            (step,) = await journal.lease(now=at, until=50.0, limit=10)
            keys.append(step.idempotency_key)
            await tell(journal, "t1", CANCEL, end, attempts=20)
            if end is StepState.DEAD:
                await owe(journal, cancelled(), CANCEL, at=at)
    assert keys == ["t1:cancel"] * 2 + ["t1:cancel:1"] * 2 + ["t1:cancel:2"] * 2
    (row,) = await journal.outbox()
    assert (row.state, row.created_at) == ("delivered", 10.0)


async def test_an_attempt_that_has_its_step_owed_anew_is_one_change(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    """As the machine has it after a look (law 7): this one was made, the next is due some time later."""
    turn = cancelled()
    await owe(journal, turn, ROLLBACK, VERIFY)
    for kind in (ROLLBACK, VERIFY):
        assert await lease(journal) == [("t1", kind)]
        await tell(journal, "t1", kind, StepState.PENDING, attempts=3)
        assert await lease(journal) == [("t1", kind)]
        update = StepUpdate(turn_id="t1", kind=kind, state=StepState.DELIVERED, attempts=4, due_at=21.0)
        owed = (VERIFY,) if kind is VERIFY else ()
        await journal.submit(Change(turn=turn, owed=owed, after_s={VERIFY: 8.0}, update=update, at=21.0))
    assert {row.kind: (row.state, row.attempts, row.due_at, row.error) for row in await journal.outbox()} == {
        ROLLBACK: ("delivered", 4, 21.0, None),
        VERIFY: ("pending", 0, 29.0, None),
    }
    (step,) = await journal.lease(now=29.0, until=50.0, limit=10)
    assert (step.kind, step.idempotency_key) == (VERIFY, "t1:verify:1")


async def test_a_rollback_owed_anew_holds_up_no_look_that_was_made(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    turn = cancelled()
    await owe(journal, turn, ROLLBACK, VERIFY)
    await tell(journal, "t1", ROLLBACK, StepState.DELIVERED)
    update = StepUpdate(turn_id="t1", kind=VERIFY, state=StepState.DELIVERED, attempts=1, due_at=12.0)
    await journal.submit(Change(turn=turn, owed=(ROLLBACK,), update=update, at=12.0))
    loaded = await journal.load("t1")
    assert loaded is not None
    assert loaded.steps == {ROLLBACK: StepState.PENDING, VERIFY: StepState.DELIVERED}
    (step,) = await journal.lease(now=12.0, until=50.0, limit=10)
    assert (step.kind, step.attempts, step.idempotency_key) == (ROLLBACK, 0, "t1:rollback:1")


async def test_a_step_may_have_to_wait_from_the_start(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    change = Change(turn=cancelled(), owed=(CANCEL, VERIFY), after_s={VERIFY: 60.0}, at=10.0)
    await journal.submit(change)
    await tell(journal, "t1", CANCEL, StepState.DELIVERED)
    assert await journal.next_due_at() == 70.0
    assert await lease(journal, now=69.9) == []
    assert await lease(journal, now=70.0) == [("t1", VERIFY)]


async def test_the_operator_sees_steps_newest_first(journal: WholeJournal, cancelled: Callable[..., Turn]) -> None:
    for turn_id in "abc":
        await owe(journal, cancelled(turn_id, turn_id), CANCEL)
    await tell(journal, "b", CANCEL, StepState.DEAD)
    assert [row.turn_id for row in await journal.outbox(limit=2)] == ["c", "b"]
    assert [row.turn_id for row in await journal.outbox("pending")] == ["c", "a"]
    assert [row.turn_id for row in await journal.dead_steps()] == ["b"]
    assert await journal.step(999) is None


async def test_leases_and_changes_at_once_give_each_step_once(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    given: list[OwedStep] = []

    async def lease_some() -> None:
        given.extend(await journal.lease(now=20.0, until=50.0, limit=7))

    async def owe_one(number: int) -> None:
        await owe(journal, cancelled(f"t{number}", f"c{number}"), CANCEL)

    await asyncio.gather(*(work for n in range(200) for work in (owe_one(n), lease_some())))
    given.extend(await journal.lease(now=20.0, until=50.0, limit=1000))
    assert sorted(step.turn.id for step in given) == sorted(f"t{n}" for n in range(200))


async def test_a_lease_cancelled_at_any_point_harms_nobody(
    journal: WholeJournal, cancelled: Callable[..., Turn]
) -> None:
    await owe(journal, cancelled(), CANCEL)
    for turns_of_the_loop in range(12):
        leasing = asyncio.ensure_future(journal.lease(now=20.0, until=50.0, limit=1))
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        leasing.cancel()
        await asyncio.gather(leasing, return_exceptions=True)
        await owe(journal, cancelled(f"n{turns_of_the_loop}", None))
    await journal.release_leases()
    assert await lease(journal) == [("t1", CANCEL)]
    assert len(await journal.turns()) == 13
