"""Every answer that was handed over is decided exactly once: by its acknowledgement, its peer's leaving, or a proof."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream import delivery as delivery_module
from sidecar.downstream.delivery import TICK_S, DeliveryWatch
from sidecar.turn.state import Cause
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Answer:
    """A Handover with a number of bytes that the peer has not acknowledged."""

    veiled = False

    def __init__(self, outstanding: int = 5) -> None:
        self.outstanding = outstanding
        self.decided: list[Cause | None] = []
        self.asked = 0
        self.then: Callable[[], object] = lambda: None

    def unacknowledged(self) -> int:
        self.asked += 1
        return self.outstanding

    def delivered(self) -> None:
        self.decided.append(None)
        self.then()

    def undelivered(self, cause: Cause) -> None:
        self.decided.append(cause)
        self.then()


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DeliveryWatch]:
    monkeypatch.setattr(delivery_module, "TICK_S", 0.001)
    watch = DeliveryWatch(asyncio.get_running_loop())
    yield watch
    watch.close()


def ticking(watch: DeliveryWatch) -> bool:
    return watch._tick is not None


async def a_tick(watch: DeliveryWatch) -> None:
    """Wait until the watch has looked at all of its answers."""
    witness = Answer(0)
    watch.add(witness)
    await eventually(lambda: witness.decided)


def test_a_tick_is_longer_than_a_delayed_acknowledgement() -> None:
    assert 0.04 <= TICK_S <= 0.1


async def test_it_is_delivered_when_the_last_byte_is_acknowledged(watch: DeliveryWatch) -> None:
    answer = Answer()
    watch.add(answer)
    await eventually(lambda: answer.asked >= 3)
    assert answer.decided == []
    answer.outstanding = 0
    await eventually(lambda: answer.decided)
    assert answer.decided == [None]


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("outstanding", [0, 1])
async def test_who_leaves_had_it_only_after_an_orderly_close_with_all_acknowledged(
    watch: DeliveryWatch, cause: Cause, outstanding: int
) -> None:
    answer = Answer(outstanding)
    watch.add(answer)
    watch.left(answer, cause)
    assert answer.decided == [None if cause is Cause.CLOSED and outstanding == 0 else cause]


async def test_the_next_request_proves_it(watch: DeliveryWatch) -> None:
    answer = Answer()
    watch.add(answer)
    watch.confirm(answer)
    assert answer.decided == [None]


@pytest.mark.parametrize("order", list(permutations(["acknowledged", "left", "proved", "added"], 3)), ids="-".join)
async def test_it_is_decided_once_whatever_comes_in_whichever_order(
    watch: DeliveryWatch, order: tuple[str, ...]
) -> None:
    answer = Answer()
    watch.add(answer)
    for what in order:
        if what == "acknowledged":
            answer.outstanding = 0
            await a_tick(watch)
        elif what == "left":
            watch.left(answer, Cause.RESET)
        elif what == "proved":
            watch.confirm(answer)
        elif not answer.decided:
            watch.add(answer)
    await a_tick(watch)
    assert len(answer.decided) <= 1
    assert answer.decided or order[0] == "added"


async def test_nothing_is_decided_about_what_was_never_handed_over(watch: DeliveryWatch) -> None:
    answer = Answer(0)
    watch.left(answer, Cause.CLOSED)
    watch.confirm(answer)
    assert answer.decided == []


async def test_one_tick_serves_all_and_only_while_there_are_any(watch: DeliveryWatch) -> None:
    assert not ticking(watch)
    answers = [Answer() for _ in range(50)]
    watch.add(answers[0])
    tick = watch._tick
    for answer in answers[1:]:
        watch.add(answer)
    assert watch._tick is tick
    assert ticking(watch)
    for answer in answers:
        answer.outstanding = 0
    await eventually(lambda: not ticking(watch))
    assert all(answer.decided == [None] for answer in answers)
    late = Answer(0)
    watch.add(late)
    await eventually(lambda: late.decided)


async def test_a_decision_may_bring_about_another(watch: DeliveryWatch) -> None:
    """Closing one connection of a client may make it drop the others."""
    first, second = Answer(0), Answer(0)
    first.then = lambda: watch.left(second, Cause.RESET)
    second.then = lambda: watch.left(first, Cause.RESET)
    watch.add(first)
    watch.add(second)
    await eventually(lambda: first.decided and second.decided)
    await eventually(lambda: not ticking(watch))
    assert sorted([first.decided, second.decided], key=str) == [[Cause.RESET], [None]]


async def test_one_that_fails_holds_up_no_other(watch: DeliveryWatch) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    answers = [Answer(0) for _ in range(5)]
    for answer in answers:
        answer.then = lambda: 1 / 0
        watch.add(answer)
    await eventually(lambda: all(answer.decided for answer in answers))
    assert [type(error) for error in told] == [ZeroDivisionError] * 5


async def test_closed_it_decides_nothing_more(watch: DeliveryWatch) -> None:
    answer = Answer()
    watch.add(answer)
    watch.close()
    watch.close()
    answer.outstanding = 0
    await loop_turns(100)
    assert answer.decided == []
    assert answer.asked == 0


class Veiled(Answer):
    """One of which the bytes show only at times."""

    veiled = True
    readings = (0, 5, 0, 0)

    def unacknowledged(self) -> int:
        super().unacknowledged()
        return self.readings[self.asked - 1]


async def test_behind_a_veil_one_look_is_no_proof(watch: DeliveryWatch) -> None:
    answer = Veiled()
    watch.add(answer)
    await eventually(lambda: answer.decided)
    assert (answer.decided, answer.asked) == ([None], len(Veiled.readings))
