"""What a newcomer meets before it may become a turn, and what is gone, on the real journal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.engine.ports import Change, StepUpdate
from sidecar.errors import InProgressError, RollbackPendingError, SidecarError
from sidecar.turn.events import AnswerEnded, Delivered, DownstreamGone, StepDelivered
from sidecar.turn.state import Cause, State, StepKind, StepState
from tests.fakes.engine import CANCEL, PLAN, ROLLBACK, FakeExchange, locked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sidecar.engine.live import LiveTurn
    from sidecar.turn.state import Turn
    from tests.fakes.engine import Engine

IMPATIENT_S = 0.0
PATIENT_S = 5.0


class Way:
    """The way of newcomers into an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.late = LateContent(engine.journal, engine.driver)
        self.gate = Gate(engine.journal, engine.driver, engine.tombstones, self.late)
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def pass_(self, turn: Turn, timeout_s: float = IMPATIENT_S) -> bool:
        return await self.gate.pass_(turn, timeout_s=timeout_s, left=self.left)

    async def what_hinders(self, turn: Turn) -> type[SidecarError] | None:
        try:
            await self.pass_(turn)
        except SidecarError as error:
            return type(error)
        return None

    def wait(self, turn: Turn) -> asyncio.Task[bool]:
        return asyncio.get_running_loop().create_task(self.pass_(turn, PATIENT_S))


@pytest.fixture
async def way(engine: Engine) -> Way:
    return Way(engine)


def done(live: LiveTurn, engine: Engine, kind: StepKind) -> asyncio.Future[None]:
    """Have a step of a live turn delivered."""
    update = StepUpdate(turn_id=live.turn.id, kind=kind, state=StepState.DELIVERED, attempts=1, due_at=engine.clock())
    return engine.driver.feed(live, StepDelivered(at=engine.clock(), kind=kind), update)


async def test_nothing_is_in_the_way_of_what_is_new(way: Way) -> None:
    assert await way.pass_(way.engine.new_turn()) is False


async def test_who_waited_is_told_so(way: Way) -> None:
    await way.engine.abandon(await way.engine.open("t1"), "c1")
    waiting = way.wait(way.engine.new_turn(begins=False, conversation_id="c1"))
    await way.engine.work()
    assert await waiting is True


@pytest.mark.parametrize("again", [{"request_id": "req_t1"}, {"conversation_id": "c1"}])
async def test_what_is_undone_in_memory_only_is_not_undone(way: Way, impatient: None, again: dict[str, str]) -> None:
    """After a crash the call would be made again, and hit what has taken the ids since."""
    del impatient
    engine = way.engine
    live = await engine.open("t1", conversation_id="c1")
    await engine.driver.feed(live, DownstreamGone(at=engine.clock(), cause=Cause.CLOSED))
    newcomer = replace(engine.new_turn("t2"), captured={"request_id": "req_t2", **again})
    with locked(engine.path):
        undone = [done(live, engine, kind) for kind in (CANCEL, ROLLBACK)]
        assert live.turn.state is State.CANCELLED
        assert await way.what_hinders(newcomer) is RollbackPendingError
    await asyncio.gather(*undone)
    assert await way.what_hinders(newcomer) is None


async def test_what_is_cancelled_in_memory_only_is_gone(way: Way, impatient: None) -> None:
    del impatient
    engine = way.engine
    live = await engine.open("t1", conversation_id="c1")
    assert await way.late.tombstoned({"c1", "c2"}) == frozenset()
    with locked(engine.path):
        cancelled = engine.driver.feed(live, DownstreamGone(at=engine.clock(), cause=Cause.CLOSED))
        assert await way.late.tombstoned({"c1", "c2"}) == {"c1"}
        assert await way.what_hinders(engine.new_turn("t2", conversation_id="c1")) is RollbackPendingError
    await cancelled


async def test_what_is_delivered_in_memory_only_keeps_its_conversation(way: Way, impatient: None) -> None:
    del impatient
    engine = way.engine
    await engine.put(replace(engine.new_turn("t1", conversation_id="c1"), state=State.CANCELLED, cause=Cause.RESET))
    other = await engine.open("t2", begins=False, conversation_id="c1")
    await engine.driver.feed(other, AnswerEnded(at=engine.clock()))
    assert await way.late.tombstoned({"c1"}) == {"c1"}
    with locked(engine.path):
        delivered = engine.driver.feed(other, Delivered(at=engine.clock()))
        assert await way.late.tombstoned({"c1"}) == frozenset()
    await delivered


@pytest.mark.parametrize("read", ["in_conversations", "find"])
async def test_what_moves_while_the_journal_is_read_is_not_missed(
    way: Way, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """What was read says that the turn is open; by the time that is told, it is cancelled, and live no longer."""
    engine = way.engine
    live = await engine.open("t1", conversation_id="c1")
    before = getattr(engine.journal, read)

    async def slowly(*ids: object, **named: object) -> Sequence[Turn]:
        found: Sequence[Turn] = await before(*ids, **named)
        if not live.released:
            assert [turn.state for turn in found] == [State.OPEN]
            await engine.abandon(live)
        return found

    monkeypatch.setattr(engine.journal, read, slowly)
    if read == "find":
        monkeypatch.setattr("sidecar.engine.gate._UNDER_WAY", frozenset())  # as if what was read did not know it at all
        assert await way.what_hinders(engine.new_turn("t2", request_id="req_t1")) is RollbackPendingError
    else:
        assert await way.late.tombstoned({"c1"}) == {"c1"}
        assert await way.late.rollback_pending("c1")
    assert live.released
    assert not engine.driver.live


async def test_what_moves_elsewhere_meanwhile_does_not_matter(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = way.engine
    live = await engine.open("t1", conversation_id="elsewhere")
    await engine.deliver(await engine.open("t2"), "c1")
    before = engine.journal.in_conversations

    async def slowly(ids: Sequence[str]) -> Sequence[Turn]:
        if not live.released:
            await engine.abandon(live)
        return await before(ids)

    monkeypatch.setattr(engine.journal, "in_conversations", slowly)
    assert await way.late.tombstoned({"c1"}) == frozenset()
    assert live.released
    live = await engine.open("t3", conversation_id="elsewhere")
    assert not await way.late.rollback_pending("c1")
    assert live.released


async def test_of_two_with_one_id_only_one_passes(way: Way) -> None:
    engine = way.engine

    async def come(turn: Turn) -> bool:
        try:
            await way.pass_(turn)
        except InProgressError:
            return False
        await engine.driver.open(engine.driver.admit(turn, FakeExchange()))
        return True

    turns = [replace(engine.new_turn(f"t{number}"), captured={"request_id": "r"}) for number in range(8)]
    assert sorted(await asyncio.gather(*map(come, turns))) == [False] * 7 + [True]


async def test_whoever_leaves_waits_no_longer(way: Way) -> None:
    await way.engine.abandon(await way.engine.open("t1"), "c1")
    waiting = way.wait(way.engine.new_turn(begins=False, conversation_id="c1"))
    await asyncio.sleep(0)
    way.left.set_result(None)
    async with asyncio.timeout(1):
        await waiting
    assert way.engine.driver.fence._waiters == {}


async def test_whoever_was_cancelled_first_does_not_even_look(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = way.engine
    await engine.ask("req_t2")
    monkeypatch.delattr(type(engine.journal), "find")
    assert await way.pass_(engine.new_turn("t2")) is False


@pytest.mark.parametrize(
    ("needs", "steps", "hinders"),
    [
        ({"conversation_id"}, {}, True),
        ({"conversation_id"}, {CANCEL: "delivered"}, True),
        ({"conversation_id"}, {CANCEL: "delivered", ROLLBACK: "pending"}, True),
        ({"conversation_id"}, {CANCEL: "delivered", ROLLBACK: "delivered", StepKind.VERIFY: "pending"}, False),
        ({"conversation_id"}, {CANCEL: "dead", ROLLBACK: "delivered", StepKind.VERIFY: "pending"}, False),
        ({"request_id"}, {CANCEL: "delivered", ROLLBACK: "delivered", StepKind.VERIFY: "pending"}, True),
        ({"conversation_id"}, {StepKind.CONFIRM: "pending", ROLLBACK: "delivered", CANCEL: "delivered"}, True),
    ],
)
@pytest.mark.parametrize("of_what", [StepKind.VERIFY, ROLLBACK])
async def test_what_is_owed_under_a_request_id_hinders_its_next_use(
    start: Callable[..., Awaitable[Engine]],
    needs: set[str],
    steps: dict[StepKind, str],
    *,
    hinders: bool,
    of_what: StepKind,
) -> None:
    known = {**PLAN.needs, StepKind.VERIFY: frozenset({"conversation_id"}), of_what: frozenset(needs)}
    engine = await start(plan=replace(PLAN, needs=MappingProxyType(known), looks_after_s=(0.0, 60.0)))
    way = Way(engine)
    first = replace(engine.new_turn("t1", conversation_id="c1"), state=State.CANCELLING, cause=Cause.RESET)
    await engine.put(first, *steps)
    for kind, state in steps.items():
        update = StepUpdate(turn_id="t1", kind=kind, state=StepState(state), attempts=1, due_at=engine.clock())
        await engine.journal.submit(Change(update=update, at=engine.clock()))
    newcomer = engine.new_turn("t2", request_id="req_t1")
    assert await way.what_hinders(newcomer) is (RollbackPendingError if hinders else None)
