"""A drained answer's limits: in time, in bytes, in number; over exactly once, and never after its end."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.config import Drain as DrainLimits
from sidecar.downstream.drain import Drain
from tests.fakes.waiting import eventually, loop_turns

LIMITS = DrainLimits(timeout_s=60.0, bytes_max=100, streams_max=2)
SOON = LIMITS.model_copy(update={"timeout_s": 0.001})


class Answer:
    """An abandoned answer that is drained."""

    def __init__(self, limits: DrainLimits = LIMITS, underway: set[object] | None = None) -> None:
        self.over = 0
        self.underway = set() if underway is None else underway
        self.drain = Drain(limits, self.underway, self._over)

    def begin(self, *, possible: bool = True) -> None:
        self.drain.begin(asyncio.get_running_loop(), possible=possible)

    def _over(self) -> None:
        self.over += 1


async def test_it_is_over_when_its_time_is() -> None:
    answer = Answer(SOON)
    before = answer.drain.active
    answer.begin()
    assert (before, answer.drain.active) == (False, True)
    assert answer.over == 0
    await eventually(lambda: answer.over)
    assert answer.over == 1


@pytest.mark.parametrize("pieces", [[101], [100, 1], [40, 40, 40], [99, 1, 0, 1]])
async def test_it_is_over_when_too_many_bytes_came(pieces: list[int]) -> None:
    answer = Answer()
    answer.begin()
    for number in pieces[:-1]:
        answer.drain.count(number)
    assert answer.over == 0
    answer.drain.count(pieces[-1])
    assert answer.over == 1


async def test_it_is_over_at_once_but_not_within_begin_where_it_is_not_possible() -> None:
    answer = Answer()
    answer.begin(possible=False)
    assert answer.over == 0  # who begins it is still in the midst of something
    await loop_turns()
    assert answer.over == 1
    assert answer.underway == set()


async def test_one_too_many_is_over_at_once_and_takes_no_place() -> None:
    underway: set[object] = set()
    answers = [Answer(LIMITS, underway) for _ in range(3)]
    for answer in answers:
        answer.begin()
    await loop_turns()
    assert [answer.over for answer in answers] == [0, 0, 1]
    assert len(underway) == 2


@pytest.mark.parametrize("ending", ["end", "bytes", "time"])
async def test_who_is_over_leaves_its_place_to_the_next(ending: str) -> None:
    underway: set[object] = set()
    first, second, next_one = (Answer(SOON if ending == "time" else LIMITS, underway) for _ in range(3))
    first.begin()
    second.begin()
    if ending == "end":
        first.drain.end()
    elif ending == "bytes":
        first.drain.count(101)
    else:
        await eventually(lambda: first.over)
    next_one.begin()
    assert next_one.drain in underway
    assert len(underway) <= 2
    for answer in (first, second, next_one):
        answer.drain.end()
    assert underway == set()


@pytest.mark.parametrize("possible", [True, False])
async def test_it_is_never_over_after_its_end(*, possible: bool) -> None:
    answer = Answer(SOON)
    answer.begin(possible=possible)
    answer.drain.end()
    answer.drain.end()
    assert not answer.drain.active
    answer.drain.count(1000)
    later = Answer(SOON)
    later.begin()
    await eventually(lambda: later.over)  # whatever was due by then has come
    assert answer.over == 0


async def test_it_is_over_exactly_once_whatever_comes_after() -> None:
    answer = Answer(SOON)
    answer.begin()
    answer.drain.count(101)
    answer.drain.count(101)
    later = Answer(SOON)
    later.begin()
    await eventually(lambda: later.over)
    later.drain.count(101)
    assert (answer.over, later.over) == (1, 1)
    assert not answer.drain.active


async def test_a_limit_of_none_at_all() -> None:
    nothing = Answer(LIMITS.model_copy(update={"bytes_max": 0}))
    nothing.begin()
    nothing.drain.count(0)
    assert nothing.over == 0
    nothing.drain.count(1)
    assert nothing.over == 1
    nobody = Answer(LIMITS.model_copy(update={"streams_max": 0}))
    nobody.begin()
    await loop_turns()
    assert nobody.over == 1


async def test_what_came_before_it_began_is_not_counted() -> None:
    answer = Answer()
    answer.drain.count(1000)
    answer.begin()
    answer.drain.count(100)
    assert answer.over == 0
