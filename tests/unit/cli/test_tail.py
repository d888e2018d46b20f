"""What is followed: each change once, the oldest first; nothing is lost when many come between two looks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.cli.tail import WINDOW, Tail, Wanted
from sidecar.turn.state import Cause, Plan, State, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence


def turn(number: int, state: State = State.OPEN, **others: object) -> Turn:
    one = Turn(
        id=f"t{number}",
        route="/chat",
        principal="p",
        begins=True,
        captured={"request_id": f"r{number}", "conversation_id": f"c{number}"},
        created_at=float(number),
        plan=Plan(),
        state=state,
    )
    return replace(one, **others)  # type: ignore[arg-type]


class Journal:
    """Turns in memory."""

    def __init__(self, *turns: Turn) -> None:
        self.by_id = {one.id: one for one in turns}

    def put(self, *turns: Turn) -> None:
        self.by_id.update({one.id: one for one in turns})

    async def turns(self, state: State | None = None, limit: int = 50) -> Sequence[Turn]:
        found = [one for one in self.by_id.values() if state in {None, one.state}]
        return sorted(found, key=lambda one: -one.created_at)[:limit]

    async def turn(self, turn_id: str) -> Turn | None:
        return self.by_id.get(turn_id)


def told(turns: Sequence[Turn]) -> list[tuple[str, State]]:
    return [(one.id, one.state) for one in turns]


async def test_the_newest_first_then_each_change_once() -> None:
    journal = Journal(*(turn(number) for number in range(5)))
    tail = Tail(journal, Wanted())
    assert told(await tail.first(2)) == [("t3", State.OPEN), ("t4", State.OPEN)]
    assert await tail.changes() == []
    journal.put(turn(0, State.COMPLETED), turn(5), turn(4, State.CANCELLING))
    assert told(await tail.changes()) == [
        ("t0", State.COMPLETED),
        ("t4", State.CANCELLING),
        ("t5", State.OPEN),
    ]
    assert await tail.changes() == []


async def test_a_rush_between_two_looks_hides_nothing() -> None:
    journal = Journal(turn(0))
    tail = Tail(journal, Wanted())
    await tail.first(10)
    journal.put(*(turn(number, State.COMPLETED) for number in range(1, 4 * WINDOW)))
    assert len(await tail.changes()) == 4 * WINDOW - 1
    journal.put(turn(0, State.CANCELLED))  # far behind by now, and yet not lost sight of
    assert told(await tail.changes()) == [("t0", State.CANCELLED)]


async def test_an_empty_journal_is_followed_too() -> None:
    journal = Journal()
    tail = Tail(journal, Wanted())
    assert await tail.first(10) == []
    journal.put(turn(1))
    assert told(await tail.changes()) == [("t1", State.OPEN)]


async def test_what_is_forgotten_is_no_change() -> None:
    journal = Journal(turn(1))
    tail = Tail(journal, Wanted())
    await tail.first(10)
    journal.by_id.clear()
    assert await tail.changes() == []


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Wanted(), True),
        (Wanted(state=State.CANCELLED, cause=Cause.CLOSED, route="/chat", id="t1"), True),
        (Wanted(state=State.OPEN), False),
        (Wanted(cause=Cause.RESET), False),
        (Wanted(route="/other"), False),
        (Wanted(id="r1"), True),
        (Wanted(id="c1"), True),
        (Wanted(id="temp"), True),
        (Wanted(id="c2"), False),
    ],
)
async def test_only_what_is_wanted(wanted: Wanted, matches: bool) -> None:
    one = turn(1, State.CANCELLED, cause=Cause.CLOSED, temp_id="temp")
    assert wanted.match(one) is matches
    tail = Tail(Journal(one), wanted)
    assert bool(await tail.first(10)) is matches
